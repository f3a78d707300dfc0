//! Small objects go whole, large ones in parts.

use crate::layout::PART_DEFAULT;

/// Largest object that is copied with one GET and one PUT, in bytes.
pub const SMALL_MAX: u64 = PART_DEFAULT;

/// How an object is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// One PUT of nothing.
    Zero,
    /// One GET, one PUT.
    Small,
    /// A multipart upload, its parts copied by several functions.
    Large,
}

impl Class {
    /// The class of an object of `size` bytes.
    pub fn of(size: u64) -> Self {
        match size {
            0 => Self::Zero,
            1..=SMALL_MAX => Self::Small,
            _ => Self::Large,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edges_of_the_classes() {
        let classes = [0, 1, SMALL_MAX, SMALL_MAX + 1].map(Class::of);
        assert_eq!(classes, [Class::Zero, Class::Small, Class::Small, Class::Large]);
    }
}
