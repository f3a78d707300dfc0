//! Counts what a scan decides, and closes manifests.

use super::log::{Log, Written};
use crate::error::StepError;
use longhaul_core::backfill::counts::Counts;
use longhaul_core::backfill::manifest::{Deletion, Place, Progress};
use longhaul_core::backfill::pack::{Packer, parts_of};
use longhaul_core::classify::Class;
use longhaul_core::request::ObjectRef;

/// Why a scan does not go on as it is.
#[derive(Debug)]
pub(super) enum Stop {
    /// Somebody else has scanned further, or the same: it goes on from there.
    Moved(Box<Progress>),
    /// It failed.
    Failed(StepError),
}

impl From<StepError> for Stop {
    fn from(error: StepError) -> Self {
        Self::Failed(error)
    }
}

/// What is decided and not yet written. Everything is told to it in the order of the keys.
pub(super) struct Writer<'a> {
    log: &'a mut dyn Log,
    part_size: Option<u64>,
    packer: Packer,
    /// Up to here everything is in the log or in the packer.
    position: Place,
    /// Counts of everything up to there.
    counts: Counts,
    /// Counts of what came behind it and needs no manifest.
    pub(super) since: Counts,
    /// What the log knows.
    closed: Place,
}

impl<'a> Writer<'a> {
    pub(super) fn new(log: &'a mut dyn Log, part_size: Option<u64>, progress: Progress) -> Self {
        let Progress { through, counts, .. } = progress;
        let (closed, since) = (through.clone(), Counts::default());
        Self { log, part_size, packer: Packer::default(), position: through, counts, since, closed }
    }

    /// Takes an object to migrate, the last thing that was decided up to `place`.
    pub(super) async fn offer(&mut self, object: ObjectRef, archived: bool, place: Place) -> Result<(), Stop> {
        if !self.packer.has_room(object.size) {
            self.close(false).await?;
        }
        self.advance(place);
        let (parts, mirrored) = match object.size {
            Some(size) => parts_of(size, object.etag.as_ref(), self.part_size),
            None => (0, false),
        };
        self.counts.offer(object.size, parts, mirrored);
        self.counts.archived += u64::from(archived);
        let is_large = object.size.is_some_and(|size| Class::of(size) == Class::Large);
        self.counts.differing += u64::from(object.stands == Some(true) && !is_large);
        self.packer.offer(object);
        Ok(())
    }

    /// Takes a destination object to remove, the last thing that was decided up to `place`.
    pub(super) async fn delete(&mut self, deletion: Deletion, place: Place) -> Result<(), Stop> {
        if !self.packer.has_room_for_deletion() {
            self.close(false).await?;
        }
        self.advance(place);
        self.counts.deletions += 1;
        self.packer.delete(deletion);
        Ok(())
    }

    /// True if something waits for its manifest.
    pub(super) fn is_pending(&self) -> bool {
        !self.packer.is_empty()
    }

    /// Everything up to `place` is decided: leaves nothing unsaved.
    pub(super) async fn save(&mut self, place: Place) -> Result<(), Stop> {
        self.advance(place);
        if self.is_pending() {
            return self.close(false).await;
        }
        if self.closed != self.position {
            self.log.note(&self.progress(false)).await?;
            self.closed = self.position.clone();
        }
        Ok(())
    }

    /// Everything is decided: writes the last manifest, empty or not.
    pub(super) async fn finish(&mut self, place: Place) -> Result<(), Stop> {
        self.advance(place);
        self.close(true).await
    }

    pub(super) async fn is_held(&mut self) -> Result<bool, StepError> {
        self.log.is_held().await
    }

    fn advance(&mut self, place: Place) {
        self.position = place;
        self.counts += &std::mem::take(&mut self.since);
    }

    fn progress(&self, done: bool) -> Progress {
        Progress { through: self.position.clone(), counts: self.counts.clone(), done }
    }

    async fn close(&mut self, done: bool) -> Result<(), Stop> {
        self.counts.manifests += 1;
        let progress = self.progress(done);
        match self.log.write(self.packer.take(), &progress).await? {
            Written::Ours => {}
            // Its manifests hold everything up to the same place, if perhaps not the same of it.
            Written::Theirs(theirs) if theirs.through == progress.through && theirs.done == done => {
                self.counts = theirs.counts;
            }
            Written::Theirs(theirs) => return Err(Stop::Moved(theirs)),
        }
        self.closed = self.position.clone();
        Ok(())
    }
}
