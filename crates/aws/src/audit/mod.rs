//! An audit: does the destination hold what the source holds? It asks the two sides and nobody else.

mod deep;

use crate::clients::Clients;
use crate::destination::Destination;
use crate::error::{Place, StepError};
use crate::scan::listing::{Lister, Listing};
use crate::source::Source;
use deep::same_bytes;
use futures::stream::{FuturesUnordered, StreamExt as _};
use longhaul_core::backfill::filters::Matcher;
use longhaul_core::backfill::merge::{Turn, turn};
use longhaul_core::config::Route;
use longhaul_core::error::ErrorName;
use longhaul_core::etag::{ETag, Encryption};
use longhaul_core::integrity::{Checksums, Facts, checksums, proof};
use serde::Serialize;

/// What an audit found, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Audited {
    /// Objects of the source.
    pub listed: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Left out by a filter.
    pub excluded: u64,
    /// Proven by equal ETags.
    pub by_etag: u64,
    /// Proven by equal checksums over the whole object.
    pub by_checksum: u64,
    /// Proven by reading both.
    pub by_reading: u64,
    /// Of equal size, and neither ETag nor checksum proves anything.
    pub unproven: u64,
    /// Different at the destination.
    pub different: u64,
    /// Not at the destination.
    pub missing: u64,
    /// That could not be looked at.
    pub unreadable: u64,
    /// Objects of the destination that the source lacks. Not an error.
    pub extra: u64,
}

impl Audited {
    /// True if every object of the source that no filter left out is proven to be at the destination.
    pub fn all_proven(&self) -> bool {
        self.listed == self.excluded + self.by_etag + self.by_checksum + self.by_reading
    }
}

/// What is wrong with one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Its key at the source; at the destination, for an extra one.
    pub key: String,
    /// Its size at the source in bytes; at the destination, for an extra one.
    pub size: u64,
    /// What.
    pub finding: What,
    /// In words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub told: String,
}

/// What may be wrong with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum What {
    /// The destination lacks it.
    Missing,
    /// The destination holds something else.
    Different,
    /// Nothing proves that it is the same.
    Unproven,
    /// It could not be looked at.
    Unreadable,
    /// The source lacks it.
    Extra,
}

/// How an audit is made.
#[derive(Clone, Copy, Debug)]
pub struct Depth {
    /// Reads every byte of both sides.
    pub reads: bool,
    /// Objects looked at, or read, at once.
    pub at_once: usize,
}

/// How one object stood the look.
enum Verdict {
    ByEtag,
    ByChecksum,
    ByReading,
    Not(What, String),
}

/// A pair of equal size, to be looked at.
struct Pair {
    /// Behind the prefixes.
    key: String,
    size: u64,
    etags: [ETag; 2],
}

/// Compares both sides of a route. `tell` is given what is wrong as it is found, and the counts now and then.
///
/// Fails where a listing cannot be read to its end: then nothing is proven.
pub async fn audit(
    clients: &Clients,
    route: &Route,
    matcher: &Matcher,
    depth: Depth,
    mut tell: impl FnMut(&Audited, Option<Finding>),
) -> Result<Audited, StepError> {
    let lister = Lister::connect(clients, &route.source, Place::Source).await?;
    let mut here = Listing::new(lister, None, None, None);
    let lister = Lister::connect(clients, &route.destination, Place::Destination).await?;
    let mut there = Listing::new(lister, None, None, None);
    let sides = Sides {
        route,
        source: Source::connect(clients, &route.source).await?,
        copy: Source::connect(clients, &route.destination).await?,
        destination: Destination::connect(clients, &route.destination).await?,
        reads: depth.reads,
    };
    let mut audited = Audited::default();
    let mut looking = FuturesUnordered::new();
    loop {
        while looking.len() >= depth.at_once
            && let Some(seen) = looking.next().await
        {
            count(&mut audited, route, seen, &mut tell);
        }
        if here.needs_page() || there.needs_page() {
            if here.needs_page() {
                here.turn_page().await?;
            }
            if there.needs_page() {
                there.turn_page().await?;
            }
            tell(&audited, None);
            continue;
        }
        let (one, other) = (here.peek(), there.peek());
        let Some(next) = turn(one.map(|found| found.key), other.map(|found| found.key)) else { break };
        let missing = one.filter(|_| next != Turn::Destination).map(|found| {
            audited.listed += 1;
            audited.bytes += found.size;
            let passes = matcher.passes(found.key, Some(found.size), found.modified);
            audited.excluded += u64::from(!passes);
            (found, passes)
        });
        match (missing, other) {
            (Some((found, true)), Some(copy)) if next == Turn::Both => {
                let pair = Pair {
                    key: found.key.to_owned(),
                    size: found.size,
                    etags: [ETag::new(found.etag), ETag::new(copy.etag)],
                };
                if found.size == copy.size {
                    looking.push(sides.look(pair));
                } else {
                    let told = format!("{} bytes at the destination, not {}", copy.size, found.size);
                    count(&mut audited, route, (pair, Verdict::Not(What::Different, told)), &mut tell);
                }
            }
            (Some((found, true)), _) => {
                let pair = Pair { key: found.key.to_owned(), size: found.size, etags: [ETag::new(""), ETag::new("")] };
                count(&mut audited, route, (pair, Verdict::Not(What::Missing, String::new())), &mut tell);
            }
            (Some((_, false)), _) => {}
            (None, Some(extra)) => {
                audited.extra += 1;
                let key = format!("{}{}", route.destination.prefix, extra.key);
                let finding = Finding { key, size: extra.size, finding: What::Extra, told: String::new() };
                tell(&audited, Some(finding));
            }
            (None, None) => {}
        }
        if next != Turn::Destination {
            here.advance();
        }
        if next != Turn::Source {
            there.advance();
        }
    }
    while let Some(seen) = looking.next().await {
        count(&mut audited, route, seen, &mut tell);
    }
    Ok(audited)
}

fn count(
    audited: &mut Audited,
    route: &Route,
    (pair, verdict): (Pair, Verdict),
    tell: &mut impl FnMut(&Audited, Option<Finding>),
) {
    let place = match &verdict {
        Verdict::ByEtag => &mut audited.by_etag,
        Verdict::ByChecksum => &mut audited.by_checksum,
        Verdict::ByReading => &mut audited.by_reading,
        Verdict::Not(What::Missing, _) => &mut audited.missing,
        Verdict::Not(What::Different, _) => &mut audited.different,
        Verdict::Not(What::Unproven, _) => &mut audited.unproven,
        Verdict::Not(What::Unreadable, _) => &mut audited.unreadable,
        Verdict::Not(What::Extra, _) => &mut audited.extra,
    };
    *place += 1;
    if let Verdict::Not(finding, told) = verdict {
        let key = format!("{}{}", route.source.prefix, pair.key);
        tell(audited, Some(Finding { key, size: pair.size, finding, told }));
    }
}

/// True if the ETag is the MD5 of the bytes (SEMANTICS.md, rule 6).
fn is_md5(facts: &Facts) -> bool {
    facts.encryption == Encryption::Plain && facts.etag.md5_form().is_some()
}

/// Both sides of a route.
struct Sides<'a> {
    route: &'a Route,
    source: Source,
    /// The destination, to be read.
    copy: Source,
    destination: Destination,
    reads: bool,
}

impl Sides<'_> {
    /// Looks at a pair of equal size.
    async fn look(&self, pair: Pair) -> (Pair, Verdict) {
        let verdict = match self.verdict(&pair).await {
            Ok(verdict) => verdict,
            Err(error) if error.name == ErrorName::SourceGone => {
                Verdict::Not(What::Unreadable, "it was removed while it was looked at".to_owned())
            }
            Err(error) => Verdict::Not(What::Unreadable, error.message),
        };
        (pair, verdict)
    }

    async fn verdict(&self, pair: &Pair) -> Result<Verdict, StepError> {
        let [one, other] = &pair.etags;
        // A listing does not tell how an object is encrypted: but ETags of no MD5s are not equal by chance either.
        let equal = one == other && (one.md5_form().is_some() || one.parts_suffix().is_some());
        if equal && !self.reads {
            return Ok(Verdict::ByEtag);
        }
        let keys =
            [&self.route.source.prefix, &self.route.destination.prefix].map(|prefix| format!("{prefix}{}", pair.key));
        let source = self.source.head(&keys[0], None).await?;
        if self.reads {
            let copy = self.copy.head(&keys[1], None).await?;
            return Ok(
                match same_bytes([&self.source, &self.copy], &keys, [&source.identity, &copy.identity]).await? {
                    None => Verdict::ByReading,
                    Some(at) => Verdict::Not(What::Different, format!("the bytes differ at or behind {at}")),
                },
            );
        }
        let Some(stands) = self.destination.head(&keys[1]).await? else {
            return Ok(Verdict::Not(What::Missing, "it was removed while it was looked at".to_owned()));
        };
        let facts = source.facts();
        Ok(match (proof(&facts, &stands, false), checksums(&facts, &stands)) {
            (Some(_), _) => Verdict::ByChecksum,
            (None, Checksums::Different) => Verdict::Not(What::Different, "the checksums differ".to_owned()),
            // An ETag of a single part, in the clear on both sides, is the MD5 of the bytes.
            (None, _) if is_md5(&facts) && is_md5(&stands) => {
                Verdict::Not(What::Different, "the MD5s differ".to_owned())
            }
            (None, _) => {
                Verdict::Not(What::Unproven, "neither ETags nor checksums say anything: --deep reads it".to_owned())
            }
        })
    }
}
