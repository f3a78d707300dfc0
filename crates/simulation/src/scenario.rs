//! What a seed begins with: objects, settings, and how rough it gets.

use crate::dice::Dice;
use longhaul_core::backfill::filters::Filters;
use longhaul_core::config::Overwrite;
use longhaul_core::layout::MIB;
use longhaul_testing::{BucketSettings, Encryption, Versioning};
use std::time::Duration;

/// Everything that a seed decides before the first request.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// The source bucket.
    pub source: BucketSettings,
    /// The destination bucket.
    pub destination: BucketSettings,
    /// What the keys get at the destination.
    pub prefix: String,
    /// The route's setting.
    pub overwrite: Overwrite,
    /// Part sizes that the route is given, in turn.
    pub part_sizes: Vec<Option<u64>>,
    /// The objects at the beginning.
    pub objects: Vec<Planned>,
    /// Most messages of one batch of the queue.
    pub batch: usize,
    /// Whether the events reach the queue. Otherwise a backfill alone brings the objects.
    pub events: bool,
    /// Whether a backfill runs as well.
    pub backfill: bool,
    /// Whether the way to the source, and to the destination, is plain HTTP.
    pub plain: [bool; 2],
    /// How long a function may take.
    pub step_time: Duration,
    /// What the backfills are asked to bring.
    pub filters: Filters,
    /// Whether the backfills remove what the source lacks.
    pub deletes: bool,
    /// Keys that stand at the destination alone.
    pub extras: Vec<String>,
    /// How likely things go wrong.
    pub rates: Rates,
    /// An operation that goes wrong far more often than the others, so that it outlasts what is repeated at once.
    pub worst: Option<&'static str>,
    /// A kind of mishap, by its number among the mishaps, that strikes far more often than the others.
    pub prefers: Option<u32>,
    /// Whether every execution begins with another part size than the one before.
    pub restless: bool,
}

/// An object that the seed puts at the source.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// The size of its parts, where it is put in parts.
    pub parts: Option<u64>,
    /// What stands at the destination before.
    pub stands: Stands,
}

/// What stands at the destination at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Nothing.
    Nothing,
    /// Another object.
    Another,
    /// The same bytes.
    Same,
}

/// How likely things go wrong, each at one request, one write of the ledger or one step.
#[derive(Clone, Debug)]
pub struct Rates {
    /// A request fails, or its reply, or its body.
    pub request: f64,
    /// A function dies at a request.
    pub kill: f64,
    /// Somebody else writes, deletes or aborts.
    pub others: f64,
    /// The ledger throttles or loses a reply.
    pub ledger: f64,
    /// The work bucket throttles or loses a reply.
    pub work: f64,
    /// A step runs twice.
    pub twice: f64,
    /// An execution is stopped.
    pub stop: f64,
    /// Most disasters in all.
    pub most: u64,
}

/// How likely a request of the worst operation goes wrong.
const WORST: f64 = 0.7;
/// Where more fail, no run comes as far as its scan: it looks at both sides first.
const WORST_LISTING: f64 = 0.3;
const LIST_PARTS: &str = "ListParts";
const LIST_OBJECTS: &str = "ListObjectsV2";
const LOOK: &str = "HeadObject";
/// Those of large objects, then the others. What is here twice is twice as likely.
const OPERATIONS: [&str; 10] = [
    LIST_PARTS,
    LIST_PARTS,
    "UploadPart",
    "CreateMultipartUpload",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
    LIST_OBJECTS,
    LOOK,
    "GetObject",
    "PutObject",
];
const OF_UPLOADS: usize = 6;
/// Refused, late, cut or damaged on the way there, damaged on the way back, delayed.
const PREFERRED: [u32; 5] = [REFUSED, 6, 7, 8, DELAYED];
const REFUSED: u32 = 2;
const DELAYED: u32 = 9;

const KEYS: [&str; 16] = [
    "a//b",
    "/abs",
    "../up",
    "dir/",
    "a b+c%20",
    "\u{fc}\u{1F980}",
    "x?y#z&=",
    "plain",
    "deep/er/still/x",
    "%2F",
    "~tilde'()*!",
    "a",
    "a/",
    "A",
    "line\ttab",
    "\"quoted\"<&>",
];

impl Scenario {
    /// The scenario of a seed.
    pub fn of(seed: u64) -> Self {
        let dice = Dice::new(seed);
        // What came later draws for itself: the rest of a seed stays as it was.
        let more = Dice::new(seed ^ 0xbad_7ea);
        let encryption =
            |dice: &Dice| *dice.weighted(&[(6, Encryption::Aes256), (1, Encryption::None), (3, Encryption::Kms)]);
        let versioning =
            |dice: &Dice| *dice.weighted(&[(5, Versioning::Off), (5, Versioning::Enabled), (1, Versioning::Suspended)]);
        let bucket = |dice: &Dice| BucketSettings {
            encryption: encryption(dice),
            versioning: versioning(dice),
            abort_days: Some(30),
            ..BucketSettings::default()
        };
        let (source, destination) = (bucket(&dice), bucket(&dice));
        let mut keys = KEYS.to_vec();
        dice.shuffle(&mut keys);
        let rough = *dice.weighted(&[(1, 0.0), (3, 0.03), (5, 0.1), (4, 0.25)]);
        let restless = rough > 0.0 && more.chance(0.15);
        let worst = (rough > 0.0 && more.chance(0.4)).then(|| *more.one(&OPERATIONS));
        let mut prefers = more.chance(0.5).then(|| *more.one(&PREFERRED));
        // What these are about takes an upload of several parts.
        let uploads = restless || worst.is_some_and(|worst| OPERATIONS[..OF_UPLOADS].contains(&worst));
        let large = (*dice.weighted(&[(8, 0), (9, 1), (2, 2)])).max(u64::from(uploads));
        let small = *dice.weighted(&[(3, 0_u64), (4, 1), (4, 3), (2, 6), (1, 10)]);
        let count = (large + small).max(1);
        let mut objects: Vec<Planned> =
            (0..count).map(|number| Self::object(&dice, keys[number as usize], number < large)).collect();
        if uploads {
            objects[0].size = *more.one(&[11 * MIB, 16 * MIB + 3, 18 * MIB]);
        }
        let share = |dice: &Dice| *dice.weighted(&[(3, 0.0), (3, 0.5), (3, 1.0)]) * rough;
        let mut rates = Rates {
            request: share(&dice),
            kill: share(&dice),
            others: share(&dice),
            ledger: share(&dice),
            twice: share(&dice) * 2.0,
            stop: share(&dice) * 0.3,
            most: dice.between(1, 40),
            work: share(&more),
        };
        let mut sizes = [None, Some(5 * MIB), Some(6 * MIB), Some(16 * MIB)];
        let size = |dice: &Dice| *dice.one(&sizes);
        let mut part_sizes: Vec<_> =
            if dice.chance(0.5) { vec![size(&dice)] } else { (0..4).map(|_| size(&dice)).collect() };
        if restless {
            more.shuffle(&mut sizes);
            part_sizes = sizes.to_vec();
            // Executions end before their uploads do, and others offer the same objects.
            (rates.stop, rates.others) = (rates.stop.max(0.04), rates.others.max(0.06));
        }
        if worst.is_some() {
            rates.most = rates.most.max(15);
        }
        if worst == Some(LIST_PARTS) {
            // Only whoever comes after somebody who died has a list to lose, and only a refusal is not repeated.
            (rates.kill, prefers) = (rates.kill.max(0.15), Some(REFUSED));
        }
        // What a run leaves out must not come by an event.
        let events = dice.chance(0.9) && worst != Some(LIST_OBJECTS);
        let backfill = !events || dice.chance(0.15);
        // Only a refusal outlasts what is repeated; only what is late is overtaken.
        match worst {
            Some(LIST_OBJECTS) => prefers = Some(REFUSED),
            Some(LOOK) => prefers = Some(DELAYED),
            _ => {}
        }
        let filters = if more.chance(0.3) { Self::filters(&more) } else { Filters::default() };
        // What is filtered out would look as if the source lacked it: the product refuses to do both.
        let deletes = filters.is_empty() && more.chance(0.4);
        Self {
            seed,
            source,
            destination,
            prefix: (*dice.one(&["", "to/"])).to_owned(),
            overwrite: *dice.weighted(&[(10, Overwrite::Differs), (2, Overwrite::Always), (2, Overwrite::Never)]),
            part_sizes,
            objects,
            batch: usize::try_from(dice.between(1, 8)).unwrap_or(1),
            events,
            backfill,
            plain: [more.chance(0.2), more.chance(0.25)],
            step_time: Duration::from_secs(*more.weighted(&[(6, 900), (1, 60), (1, 20)])),
            filters,
            deletes,
            extras: if more.chance(0.3) { vec!["extra".to_owned(), "a/extra".to_owned()] } else { Vec::new() },
            rates,
            worst,
            prefers,
            restless,
        }
    }

    /// How likely a request of this operation goes wrong.
    pub fn request_rate(&self, operation: &str) -> f64 {
        match self.worst {
            Some(LIST_OBJECTS) if operation == LIST_OBJECTS => WORST_LISTING,
            Some(worst) if operation == worst => WORST,
            _ => self.rates.request,
        }
    }

    fn filters(dice: &Dice) -> Filters {
        match dice.between(0, 3) {
            0 => Filters { exclude: vec!["a*".to_owned()], ..Filters::default() },
            1 => Filters { include: vec!["*a*".to_owned(), "{p,d}*".to_owned()], ..Filters::default() },
            2 => Filters { min_size: Some(1), max_size: Some(9 * MIB), ..Filters::default() },
            _ => Filters { min_size: Some(5_000), exclude: vec!["*/*".to_owned()], ..Filters::default() },
        }
    }

    fn object(dice: &Dice, key: &str, large: bool) -> Planned {
        let size = if large {
            *dice.weighted(&[(4, 8 * MIB + 1), (6, 9 * MIB + 77), (4, 11 * MIB), (2, 13 * MIB + 5), (1, 26 * MIB)])
        } else {
            *dice.weighted(&[(2, 0), (2, 1), (6, 700), (4, 5_000), (3, 300_000), (1, 2 * MIB)])
        };
        let parts = if large && dice.chance(0.5) {
            Some(*dice.one(&[5 * MIB, 6 * MIB, 3 * MIB]))
        } else if size > 100 && dice.chance(0.1) {
            Some(size / 2 + 1)
        } else {
            None
        };
        let stands = *dice.weighted(&[(7, Stands::Nothing), (4, Stands::Another), (1, Stands::Same)]);
        Planned { key: key.to_owned(), size, parts, stands }
    }
}
