//! Splits the keys of a route, so that several scans run at once.
//!
//! Nothing is assumed of the names of keys. The tree of their next characters, or of what stands between slashes, is
//! looked at where it is heavy: where a page does not reach the end of a branch.

use super::listing::{Asked, Lister};
use crate::clients::Clients;
use crate::error::{Place, StepError};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use longhaul_core::backfill::run::Shard;
use longhaul_core::config::Route;

/// Requests after which no further branch is looked into.
const REQUESTS_MAX: u32 = 200;
/// Looks at once.
const LOOKS_AT_ONCE: usize = 8;
/// Branches that are looked at one by one; of more, neighbours count as equally heavy.
const BRANCHES_MAX: usize = 48;

/// At most `most` shards that together hold every key from the first possible to the last, in order: each begins
/// behind the key with which the one before it ends. Their route is 0.
///
/// Small sources give one shard. What is added meanwhile falls into one of them like everything else.
pub async fn shards(clients: &Clients, route: &Route, most: u32) -> Result<Vec<Shard>, StepError> {
    shards_by(clients, route, most, None).await
}

/// [`shards`] by pages of at most `page_size` keys.
pub async fn shards_by(
    clients: &Clients,
    route: &Route,
    most: u32,
    page_size: Option<i32>,
) -> Result<Vec<Shard>, StepError> {
    let lister = Lister::connect(clients, &route.source, Place::Source).await?;
    let mut tree = Tree { lister, page_size, requests: 0 };
    let root = Branch { start: None, prefix: Some(route.source.prefix.clone()), weight: 1.0 };
    let mut branches = vec![root];
    let enough = 1.0 / f64::from(most.max(1)) / 2.0;
    if most > 1 && tree.is_heavy(&route.source.prefix).await? {
        tree.requests += 1;
        while tree.requests < REQUESTS_MAX
            && let Some(index) = heaviest(&branches).filter(|index| branches[*index].weight > enough)
        {
            let parent = branches[index].clone();
            let children = tree.children(&parent).await?;
            branches.splice(index..=index, children);
        }
    }
    Ok(grouped(&branches, most.max(1)))
}

/// Keys that share a beginning, or lie between two.
#[derive(Clone, Debug, PartialEq)]
struct Branch {
    /// Its keys stand behind this one; from the very first where absent.
    start: Option<String>,
    /// What its keys begin with, where it can be looked into.
    prefix: Option<String>,
    /// Its share of all keys, as far as can be told.
    weight: f64,
}

fn heaviest(branches: &[Branch]) -> Option<usize> {
    let open = branches.iter().enumerate().filter(|(_, branch)| branch.prefix.is_some());
    open.max_by(|(_, one), (_, other)| one.weight.total_cmp(&other.weight)).map(|(index, _)| index)
}

/// Neighbouring branches together, so that each group has about the same weight.
fn grouped(branches: &[Branch], most: u32) -> Vec<Shard> {
    let total: f64 = branches.iter().map(|branch| branch.weight).sum();
    let each = total / f64::from(most);
    let mut starts: Vec<&String> = Vec::new();
    let mut before = 0.0;
    for branch in branches {
        // The middle of a branch decides to which group it belongs.
        let group = ((before + branch.weight / 2.0) / each).floor();
        let begins = starts.len() + 1 < most as usize && group >= (starts.len() + 1) as f64 && branch.weight > 0.0;
        if let Some(start) = branch.start.as_ref().filter(|_| begins)
            && starts.last().is_none_or(|last| last.as_bytes() < start.as_bytes())
        {
            starts.push(start);
        }
        before += branch.weight;
    }
    let bounds = || starts.iter().map(|start| Some((*start).clone()));
    let after = std::iter::once(None).chain(bounds());
    let through = bounds().chain(std::iter::once(None));
    after.zip(through).map(|(after, through)| Shard { route: 0, after, through }).collect()
}

struct Tree {
    lister: Lister,
    page_size: Option<i32>,
    requests: u32,
}

impl Tree {
    async fn is_heavy(&self, prefix: &str) -> Result<bool, StepError> {
        let asked = Asked { prefix: prefix.to_owned(), most: self.page_size, ..Asked::default() };
        Ok(self.lister.page(&asked).await?.truncated)
    }

    /// What a heavy branch is made of: in order, the first beginning where it begins. A branch that cannot be split
    /// is returned as it is, not to be looked into again.
    async fn children(&mut self, parent: &Branch) -> Result<Vec<Branch>, StepError> {
        let prefix = parent.prefix.clone().unwrap_or_default();
        let between = self.between_slashes(&prefix).await?;
        let beginnings = match between {
            Some(beginnings) if beginnings.len() > BRANCHES_MAX => {
                let each = beginnings.len().div_ceil(BRANCHES_MAX);
                let starts = beginnings.into_iter().step_by(each).map(|start| (start, None)).collect();
                return Ok(shared(parent, starts));
            }
            Some(beginnings) => beginnings,
            None => self.next_characters(&prefix).await?,
        };
        if beginnings.is_empty() {
            return Ok(vec![Branch { prefix: None, ..parent.clone() }]);
        }
        self.requests += u32::try_from(beginnings.len()).unwrap_or(u32::MAX);
        let looks: Vec<_> = beginnings.iter().map(|beginning| self.is_heavy(beginning)).collect();
        let heavy: Vec<bool> = stream::iter(looks).buffered(LOOKS_AT_ONCE).try_collect().await?;
        let any = heavy.contains(&true);
        let starts = beginnings.into_iter().zip(heavy).map(|(start, heavy)| {
            let prefix = Some(start.clone()).filter(|_| heavy);
            (start, if any { Some(prefix) } else { None })
        });
        Ok(shared(parent, starts.collect()))
    }

    /// What the keys behind a prefix have up to the next slash; `None` where that does not tell them apart.
    async fn between_slashes(&mut self, prefix: &str) -> Result<Option<Vec<String>>, StepError> {
        self.requests += 1;
        let asked = Asked {
            prefix: prefix.to_owned(),
            delimiter: Some("/".to_owned()),
            most: self.page_size,
            ..Asked::default()
        };
        let page = self.lister.page(&asked).await?;
        let tells = !page.truncated && !page.prefixes.is_empty();
        let ascend = page.prefixes.windows(2).all(|pair| pair[0].as_bytes() < pair[1].as_bytes());
        Ok(Some(page.prefixes).filter(|_| tells && ascend))
    }

    /// The prefix with each of the characters that come next, found by leaping over all keys with the one before.
    async fn next_characters(&mut self, prefix: &str) -> Result<Vec<String>, StepError> {
        let mut found = Vec::new();
        let mut last: Option<char> = None;
        while self.requests < REQUESTS_MAX {
            let after = match last.map(following) {
                None => None,
                Some(None) => break,
                Some(Some(next)) => Some(format!("{prefix}{next}")),
            };
            self.requests += 1;
            // A key that is the prefix itself is followed by one that is longer.
            let most = Some(2);
            let page = self.lister.page(&Asked { prefix: prefix.to_owned(), after, most, ..Asked::default() }).await?;
            let next = page.keys().find_map(|key| key.get(prefix.len()..)?.chars().next());
            match next {
                Some(next) if last.is_none_or(|last| next > last) => {
                    found.push(format!("{prefix}{next}"));
                    last = Some(next);
                }
                _ => break,
            }
        }
        Ok(found)
    }
}

/// The next character that a key can hold. A key that is exactly the prefix with this one is leapt over; that does not
/// matter, as it only decides where shards are cut.
fn following(char: char) -> Option<char> {
    (u32::from(char) + 1..=u32::from(char::MAX)).find_map(char::from_u32)
}

/// The branches of `parent`: its weight is shared by those that may be heavy (`Some(Some(prefix))`), or by all where
/// none is told apart (`None`).
fn shared(parent: &Branch, starts: Vec<(String, Option<Option<String>>)>) -> Vec<Branch> {
    let counts = |told: &Option<Option<String>>| !matches!(told, Some(None));
    let sharing = starts.iter().filter(|(_, told)| counts(told)).count().max(1);
    let mut branches: Vec<Branch> = starts
        .into_iter()
        .map(|(start, told)| Branch {
            start: Some(start),
            weight: if counts(&told) { parent.weight / sharing as f64 } else { 0.0 },
            prefix: told.flatten(),
        })
        .collect();
    if let Some(first) = branches.first_mut() {
        first.start = parent.start.clone();
    }
    branches
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn branch(start: &str, weight: f64) -> Branch {
        Branch { start: Some(start.to_owned()).filter(|start| !start.is_empty()), prefix: None, weight }
    }

    fn bounds(branches: &[Branch], most: u32) -> Vec<String> {
        let shards = grouped(branches, most);
        assert_eq!(shards.first().unwrap().after, None);
        assert_eq!(shards.last().unwrap().through, None);
        assert!(shards.windows(2).all(|pair| pair[0].through == pair[1].after && pair[0].through.is_some()));
        shards.into_iter().filter_map(|shard| shard.through).collect()
    }

    #[test]
    fn groups_hold_about_the_same() {
        let even = ["", "b", "c", "d", "e", "f", "g", "h"].map(|start| branch(start, 0.125));
        assert_eq!(bounds(&even, 4), ["c", "e", "g"]);
        assert_eq!(bounds(&even, 1), Vec::<String>::new());
        assert_eq!(bounds(&even, 40).len(), 7);
        let skewed = [branch("", 0.0), branch("b", 0.5), branch("c", 0.0), branch("d", 0.25), branch("e", 0.25)];
        assert_eq!(bounds(&skewed, 2), ["d"]);
    }

    #[test]
    fn the_next_character_leaps_over_what_no_key_can_hold() {
        assert_eq!(following('a'), Some('b'));
        assert_eq!(following('\u{D7FF}'), Some('\u{E000}'));
        assert_eq!(following(char::MAX), None);
    }
}
