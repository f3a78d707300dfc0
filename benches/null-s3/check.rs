//! What a received body is made of.

use crate::pattern::{Digests, Hashing, MARK, PERIOD, Pattern};

/// A received body, or a part of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Where it was cut from the pattern, if it was.
    pub(crate) place: Option<usize>,
    pub(crate) size: u64,
    pub(crate) digests: Digests,
}

/// Compares a body with the pattern as it comes in: the cost of one `memcmp`, and the digests are already known.
/// A body of anything else is hashed.
pub(crate) struct Check<'a> {
    pattern: &'a Pattern,
    size: u64,
    found: Found,
}

enum Found {
    /// Too few bytes yet to say.
    Little(Vec<u8>),
    /// All bytes so far are the pattern's from here on.
    Place(usize),
    Foreign(Box<Hashing>),
}

impl<'a> Check<'a> {
    pub(crate) fn new(pattern: &'a Pattern) -> Self {
        Self { pattern, size: 0, found: Found::Little(Vec::new()) }
    }

    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match &mut self.found {
                Found::Little(head) => {
                    let taken = bytes.len().min(MARK - head.len());
                    head.extend_from_slice(&bytes[..taken]);
                    if let Some(mark) = head.first_chunk::<MARK>() {
                        self.found = match self.pattern.find(mark) {
                            Some(place) => Found::Place(place),
                            None => foreign(|hashing| hashing.update(mark)),
                        };
                    }
                    taken
                }
                Found::Place(place) => {
                    let next = self.pattern.peek(*place + (self.size % PERIOD as u64) as usize, bytes.len());
                    if *next == bytes[..next.len()] {
                        next.len()
                    } else {
                        let (pattern, place, size) = (self.pattern, *place, self.size);
                        self.found = foreign(|hashing| pattern.hash_into(hashing, place, size));
                        0
                    }
                }
                Found::Foreign(hashing) => {
                    hashing.update(bytes);
                    bytes.len()
                }
            };
            self.size += taken as u64;
            bytes = &bytes[taken..];
        }
    }

    pub(crate) fn end(self) -> Part {
        let (place, digests) = match self.found {
            Found::Place(place) => (Some(place), self.pattern.digests(place, self.size)),
            Found::Foreign(hashing) => (None, hashing.finish()),
            Found::Little(head) => {
                let mut hashing = Hashing::new();
                hashing.update(&head);
                (None, hashing.finish())
            }
        };
        Part { place, size: self.size, digests }
    }
}

fn foreign(first: impl FnOnce(&mut Hashing)) -> Found {
    let mut hashing = Box::new(Hashing::new());
    first(&mut hashing);
    Found::Foreign(hashing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::ALIGN;

    fn checked(pattern: &Pattern, body: &[u8], piece: usize) -> Part {
        let mut check = Check::new(pattern);
        body.chunks(piece).for_each(|bytes| check.feed(bytes));
        check.end()
    }

    fn hashed(body: &[u8]) -> Digests {
        let mut hashing = Hashing::new();
        hashing.update(body);
        hashing.finish()
    }

    #[test]
    fn bodies_are_recognised_however_they_are_cut() {
        let pattern = Pattern::new();
        let cut = pattern.peek(3 * ALIGN, 10_000).to_vec();
        let across = [pattern.peek(PERIOD - ALIGN, ALIGN), pattern.peek(0, 100)].concat();
        for piece in [1, 7, 16, 4_096, 20_000] {
            for (body, place) in [(&cut, 3 * ALIGN), (&across, PERIOD - ALIGN)] {
                let part = checked(&pattern, body, piece);
                assert_eq!(part, Part { place: Some(place), size: body.len() as u64, digests: hashed(body) });
            }
        }
    }

    #[test]
    fn a_changed_bit_is_seen() {
        let pattern = Pattern::new();
        for at in [0, 15, 16, 5_000, 9_999] {
            let mut body = pattern.peek(0, 10_000).to_vec();
            body[at] ^= 1;
            let part = checked(&pattern, &body, 3_000);
            assert_eq!((part.place, part.size, part.digests), (None, 10_000, hashed(&body)));
        }
    }

    #[test]
    fn short_bodies_are_hashed() {
        let pattern = Pattern::new();
        for size in [0, 1, 15] {
            let part = checked(&pattern, pattern.peek(0, size), 4);
            assert_eq!((part.place, part.digests), (None, hashed(pattern.peek(0, size))));
        }
    }
}
