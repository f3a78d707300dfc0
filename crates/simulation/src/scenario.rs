//! What a seed begins with: objects, settings, and how rough it gets.

use crate::dice::Dice;
use longhaul_core::config::Overwrite;
use longhaul_core::layout::MIB;
use longhaul_testing::{BucketSettings, Encryption, Versioning};

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
    /// How likely things go wrong.
    pub rates: Rates,
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
    /// A step runs twice.
    pub twice: f64,
    /// An execution is stopped.
    pub stop: f64,
    /// Most disasters in all.
    pub most: u64,
}

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
        let large = *dice.weighted(&[(8, 0), (9, 1), (2, 2)]);
        let small = *dice.weighted(&[(3, 0_u64), (4, 1), (4, 3), (2, 6), (1, 10)]);
        let count = (large + small).max(1);
        let objects = (0..count).map(|number| Self::object(&dice, keys[number as usize], number < large)).collect();
        let rough = *dice.weighted(&[(1, 0.0), (3, 0.03), (5, 0.1), (4, 0.25)]);
        let share = |dice: &Dice| *dice.weighted(&[(3, 0.0), (3, 0.5), (3, 1.0)]) * rough;
        let rates = Rates {
            request: share(&dice),
            kill: share(&dice),
            others: share(&dice),
            ledger: share(&dice),
            twice: share(&dice) * 2.0,
            stop: share(&dice) * 0.3,
            most: dice.between(1, 40),
        };
        let size = |dice: &Dice| *dice.one(&[None, Some(5 * MIB), Some(6 * MIB), Some(16 * MIB)]);
        let part_sizes = if dice.chance(0.5) { vec![size(&dice)] } else { (0..4).map(|_| size(&dice)).collect() };
        let events = dice.chance(0.9);
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
            backfill: !events || dice.chance(0.15),
            rates,
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
