//! The merge of both listings of a shard.

use super::listing::{Lister, Listing};
use super::page::Found;
use super::questions::{Answers, Ask, Question};
use super::writer::{Stop, Writer};
use super::{NOTE_TIME, Scan, ScanEnd, Watch};
use crate::context::MARGIN;
use crate::error::{Place as Whose, StepError};
use longhaul_core::backfill::counts::Counts;
use longhaul_core::backfill::manifest::{Deletion, Place};
use longhaul_core::backfill::merge::{Decision, Listed, Turn, decide, turn};
use longhaul_core::backfill::request::Compare;
use longhaul_core::config::{KEY_MAX_BYTES, Overwrite, Route};
use longhaul_core::etag::ETag;
use longhaul_core::request::ObjectRef;
use tokio::time::{Instant, timeout_at};

/// Decisions that wait behind a question at most.
const QUEUE_MAX: usize = 4_096;

/// What was decided of one key.
enum Step {
    /// It needs no manifest.
    Plain(Plain),
    /// It is migrated.
    Offer(Box<Offer>),
    /// It is migrated, unless the answer to a question is yes.
    Ask(Box<Ask>),
    /// It is removed at the destination.
    Delete(Box<Deletion>),
}

/// A key that needs no manifest.
struct Plain {
    size: u64,
    /// The destination holds something there.
    stands: bool,
    what: What,
}

enum What {
    Excluded,
    Unchanged { proven: bool },
    Exists,
    Extra,
}

/// An object to migrate.
pub(super) struct Offer {
    pub(super) object: ObjectRef,
    pub(super) archived: bool,
    pub(super) stands: bool,
}

/// Merges from behind `from` to the end of the shard.
pub(super) async fn compare(scan: &Scan<'_>, writer: &mut Writer<'_>, from: &Place) -> Result<ScanEnd, Stop> {
    let route = scan.job.route;
    let shard = scan.job.shard;
    let after = match from {
        Place::Start => shard.after.as_deref(),
        Place::Key(key) => Some(key.as_str()),
        Place::Line { .. } => return Err(StepError::bug("a listing does not go on behind a line").into()),
    };
    let after = after.map(|key| behind_prefix(route, key)).transpose()?;
    let through = shard.through.as_deref().map(|key| behind_prefix(route, key)).transpose()?;
    let source = Lister::connect(scan.clients, &route.source, Whose::Source).await?;
    let destination = Lister::connect(scan.clients, &route.destination, Whose::Destination).await?;
    let most = scan.settings.page_size;
    let mut merge = Merge {
        scan,
        answers: Answers::new(scan.clients, route),
        queue: Vec::new(),
        asked: 0,
        source: Listing::new(source, after, through, most),
        destination: match looks_at_destination(scan) {
            true => Listing::new(destination, after, through, most),
            false => Listing::none(destination),
        },
        merged: after.map(str::to_owned),
        before: None,
        from,
        saved: (0, 0),
        noted: Instant::now(),
    };
    merge.run(writer).await
}

/// False if nothing that stands there changes what is done.
fn looks_at_destination(scan: &Scan<'_>) -> bool {
    let request = scan.job.request;
    let offers_all = match scan.job.route.options.overwrite {
        Overwrite::Always => true,
        Overwrite::Differs => request.compare == Compare::Always,
        Overwrite::Never => false,
    };
    !offers_all || request.delete.is_some()
}

fn behind_prefix<'k>(route: &Route, key: &'k str) -> Result<&'k str, StepError> {
    let outside = || StepError::bug(format!("key {key:?} of a shard is not under prefix {:?}", route.source.prefix));
    key.strip_prefix(&route.source.prefix).ok_or_else(outside)
}

struct Merge<'a> {
    scan: &'a Scan<'a>,
    answers: Answers<'a>,
    /// What was decided behind the first open question, in order.
    queue: Vec<Step>,
    /// Open questions.
    asked: usize,
    source: Listing,
    destination: Listing,
    /// The last key that was merged, behind the prefix.
    merged: Option<String>,
    /// The last one before the first open question, if there is one.
    before: Option<String>,
    from: &'a Place,
    /// Pages at the last hint, and at the last manifest or hint that left nothing unsaved.
    saved: (u64, u64),
    /// When the last hint was.
    noted: Instant,
}

impl Merge<'_> {
    async fn run(&mut self, writer: &mut Writer<'_>) -> Result<ScanEnd, Stop> {
        let mut watch = Watch::new();
        loop {
            if self.source.needs_page() || self.destination.needs_page() {
                let begun = self.source.pages() + self.destination.pages() > 0;
                if let Some(end) = watch.end(self.scan, writer, begun).await? {
                    return self.stop(end, writer).await;
                }
                match self.turn_pages(writer).await {
                    Ok(true) => {}
                    Ok(false) => return self.stop(ScanEnd::More, writer).await,
                    Err(error) => {
                        // The error is what counts; what cannot be saved is scanned again.
                        if let Err(Stop::Failed(unsaved)) = self.save(writer).await {
                            tracing::warn!(%unsaved, "scanned and not saved");
                        }
                        return Err(error.into());
                    }
                }
                self.save_at_times(writer).await?;
                continue;
            }
            let Some(turn) =
                turn(self.source.peek().map(|found| found.key), self.destination.peek().map(|found| found.key))
            else {
                break;
            };
            let step = self.step(turn);
            match step {
                Step::Plain(plain) if self.queue.is_empty() => count(&mut writer.since, &plain),
                step => {
                    self.asked += usize::from(matches!(step, Step::Ask(_)));
                    self.queue.push(step);
                    let full = self.asked == Answers::MOST || self.queue.len() == QUEUE_MAX;
                    if (self.asked == 0 || full)
                        && let Some(end) = self.settle_in_time(&mut watch, writer).await?
                    {
                        return Ok(end);
                    }
                }
            }
        }
        if let Some(end) = self.settle_in_time(&mut watch, writer).await? {
            return Ok(end);
        }
        writer.finish(self.place()).await?;
        Ok(ScanEnd::Done)
    }

    /// Waits for the pages that are needed. False if there is no time for it.
    async fn turn_pages(&mut self, writer: &mut Writer<'_>) -> Result<bool, StepError> {
        let before = (self.source.pages(), self.destination.pages());
        let (source, destination) = (&mut self.source, &mut self.destination);
        let first = before == (0, 0);
        let turning = async {
            tokio::try_join!(async { if source.needs_page() { source.turn_page().await } else { Ok(()) } }, async {
                if destination.needs_page() { destination.turn_page().await } else { Ok(()) }
            },)
        };
        let turned = if first {
            turning.await.map(drop)
        } else {
            let latest = self.scan.context.deadline.checked_sub(MARGIN).unwrap_or(self.scan.context.deadline);
            match timeout_at(latest, turning).await {
                Ok(turned) => turned.map(drop),
                Err(_) => return Ok(false),
            }
        };
        writer.since.source_pages += self.source.pages() - before.0;
        writer.since.destination_pages += self.destination.pages() - before.1;
        turned.map(|()| true)
    }

    /// Decides what becomes of the next key, and steps over it.
    fn step(&mut self, turn: Turn) -> Step {
        let (source, destination) = (self.source.peek(), self.destination.peek());
        let key = match turn {
            Turn::Destination => &destination,
            Turn::Source | Turn::Both => &source,
        };
        if self.queue.is_empty() {
            std::mem::swap(&mut self.before, &mut self.merged);
        }
        if let Some(found) = key {
            let merged = self.merged.get_or_insert_default();
            merged.clear();
            merged.push_str(found.key);
        }
        let step = match (turn, source, destination) {
            (Turn::Source, Some(source), _) => self.decided(source, None),
            (Turn::Both, Some(source), destination) => self.decided(source, destination),
            (_, _, Some(destination)) => self.extra(destination),
            // Whose turn it is, has an object.
            (_, _, None) => Step::Plain(Plain { size: 0, stands: false, what: What::Extra }),
        };
        if turn != Turn::Destination {
            self.source.advance();
        }
        if turn != Turn::Source {
            self.destination.advance();
        }
        step
    }

    fn decided(&self, source: Found<'_>, stands: Option<Found<'_>>) -> Step {
        let Found { size, .. } = source;
        let is_standing = stands.is_some();
        let plain = |what| Step::Plain(Plain { size, stands: is_standing, what });
        if !self.scan.matcher.passes(source.key, Some(size), source.modified) {
            return plain(What::Excluded);
        }
        let offer = || Offer {
            object: ObjectRef {
                bucket: self.scan.job.route.source.bucket.clone(),
                key: self.source_key(source.key),
                size: Some(size),
                etag: Some(ETag::new(source.etag)).filter(|etag| !etag.as_str().is_empty()),
                stands: looks_at_destination(self.scan).then_some(is_standing),
                ..ObjectRef::default()
            },
            archived: source.archived,
            stands: is_standing,
        };
        let Some(stands) = stands else { return Step::Offer(Box::new(offer())) };
        let ask = |question| Step::Ask(Box::new(Ask { offer: offer(), size, question }));
        let (request, options) = (self.scan.job.request, &self.scan.job.route.options);
        let decision = decide(
            request.compare,
            options.overwrite,
            Listed { size, etag: source.etag },
            Listed { size: stands.size, etag: stands.etag },
        );
        match decision {
            Decision::Unchanged { proven } => plain(What::Unchanged { proven }),
            Decision::Exists => plain(What::Exists),
            Decision::Offer => Step::Offer(Box::new(offer())),
            Decision::AskLedger => ask(Question::Ledger(ETag::new(stands.etag))),
            Decision::AskChecksums => ask(Question::Checksums),
        }
    }

    fn extra(&self, destination: Found<'_>) -> Step {
        let is_older = |modified: i64| i128::from(modified) * 1_000 < i128::from(self.scan.job.started_ms);
        let length = self.scan.job.route.source.prefix.len() + destination.key.len();
        // No store could tell whether it holds such a key, so that it stays: the marker of a folder, for one.
        let is_key = (1..=KEY_MAX_BYTES).contains(&length);
        if self.scan.job.request.delete.is_none() || !is_key || !destination.modified.is_some_and(is_older) {
            return Step::Plain(Plain { size: 0, stands: true, what: What::Extra });
        }
        Step::Delete(Box::new(Deletion {
            delete: format!("{}{}", self.scan.job.route.destination.prefix, destination.key),
            source_key: self.source_key(destination.key),
            etag: ETag::new(destination.etag),
            size: destination.size,
        }))
    }

    fn source_key(&self, rest: &str) -> String {
        format!("{}{rest}", self.scan.job.route.source.prefix)
    }

    /// Settles; or ends, if there is no time for open questions, or the user holds the scan.
    async fn settle_in_time(&mut self, watch: &mut Watch, writer: &mut Writer<'_>) -> Result<Option<ScanEnd>, Stop> {
        if self.asked > 0 {
            let begun = self.place() != *self.from;
            if let Some(end) = watch.end(self.scan, writer, begun).await? {
                return self.stop(end, writer).await.map(Some);
            }
            self.save_at_times(writer).await?;
        }
        self.settle(writer).await?;
        Ok(None)
    }

    /// Answers the open questions, and tells the writer everything that was decided. Where they cannot be answered, what
    /// stands before them is saved.
    async fn settle(&mut self, writer: &mut Writer<'_>) -> Result<(), Stop> {
        if self.queue.is_empty() {
            return Ok(());
        }
        let asks = self.queue.iter().filter_map(|step| match step {
            Step::Ask(ask) => Some(&**ask),
            _ => None,
        });
        let mut answers = match self.answers.of(asks, &mut writer.since).await {
            Ok(answers) => answers.into_iter(),
            Err(error) => {
                // The error is what counts; what cannot be saved is scanned again.
                if let Err(Stop::Failed(unsaved)) = writer.save(self.place()).await {
                    tracing::warn!(%unsaved, "scanned and not saved");
                }
                return Err(error.into());
            }
        };
        self.asked = 0;
        for step in self.queue.drain(..) {
            match step {
                Step::Plain(plain) => count(&mut writer.since, &plain),
                Step::Offer(offer) => offered(writer, *offer).await?,
                Step::Ask(ask) => {
                    if answers.next().unwrap_or(false) {
                        let what = What::Unchanged { proven: true };
                        count(&mut writer.since, &Plain { size: ask.size, stands: ask.offer.stands, what });
                    } else {
                        offered(writer, ask.offer).await?;
                    }
                }
                Step::Delete(deletion) => {
                    count(&mut writer.since, &Plain { size: 0, stands: true, what: What::Extra });
                    let place = Place::Key(deletion.source_key.clone());
                    writer.delete(*deletion, place).await?;
                }
            }
        }
        Ok(())
    }

    /// How far everything is decided and told to the writer.
    fn place(&self) -> Place {
        let decided = if self.queue.is_empty() { &self.merged } else { &self.before };
        match decided {
            Some(rest) => Place::Key(self.source_key(rest)),
            None => self.from.clone(),
        }
    }

    /// Ends with everything saved. Questions are left open where there may be no time for the answers, unless the next
    /// invocation would begin where this one did.
    async fn stop(&mut self, end: ScanEnd, writer: &mut Writer<'_>) -> Result<ScanEnd, Stop> {
        if end == ScanEnd::More && self.place() == *self.from {
            self.settle(writer).await?;
        }
        writer.save(self.place()).await?;
        Ok(end)
    }

    async fn save(&mut self, writer: &mut Writer<'_>) -> Result<(), Stop> {
        self.settle(writer).await?;
        writer.save(self.place()).await
    }

    /// After many pages or some time, sees to it that a crash does not cost all of them.
    async fn save_at_times(&mut self, writer: &mut Writer<'_>) -> Result<(), Stop> {
        let pages = self.source.pages() + self.destination.pages();
        let (noted, closed) = self.saved;
        if pages - noted < self.scan.settings.note_pages && self.noted.elapsed() < NOTE_TIME {
            return Ok(());
        }
        self.saved.0 = pages;
        self.noted = Instant::now();
        if !writer.is_pending() || pages - closed >= self.scan.settings.close_pages {
            writer.save(self.place()).await?;
            self.saved.1 = pages;
        }
        Ok(())
    }
}

async fn offered(writer: &mut Writer<'_>, offer: Offer) -> Result<(), Stop> {
    let Offer { object, archived, stands } = offer;
    writer.since.listed += 1;
    writer.since.listed_bytes += object.size.unwrap_or(0);
    writer.since.destination_listed += u64::from(stands);
    let place = Place::Key(object.key.clone());
    writer.offer(object, archived, place).await
}

fn count(counts: &mut Counts, plain: &Plain) {
    counts.destination_listed += u64::from(plain.stands);
    match plain.what {
        What::Extra => {
            counts.extra += 1;
            return;
        }
        What::Excluded => counts.excluded += 1,
        What::Exists => counts.exists += 1,
        What::Unchanged { proven } => {
            counts.unchanged += 1;
            counts.unproven += u64::from(!proven);
        }
    }
    counts.listed += 1;
    counts.listed_bytes += plain.size;
}
