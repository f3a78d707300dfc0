//! What a run has done so far, and how it is shown while it runs.

use crate::in_process::{AbortOnDrop, Live};
use crate::sizes::{bytes_text, count_text, time_text};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use longhaul_core::backfill::counts::Counts;
use longhaul_core::tally::Tally;
use std::collections::{BTreeMap, VecDeque};
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How often the bar is drawn.
const BAR_EVERY: Duration = Duration::from_millis(200);
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Over how much of the past the rate is taken.
const RATE_OVER: Duration = Duration::from_secs(20);

/// Counts of a run, shared by all that take part in it.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the scan has seen.
    scanned: Counts,
    scanned_all: bool,
    /// Executions under way by number, with the bytes of their objects.
    running: BTreeMap<u64, (Arc<Live>, u64)>,
    /// What the steps of ended executions counted.
    counted: Tally,
    ended_objects: u64,
    ended_bytes: u64,
}

/// A moment of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Time since the run began.
    pub elapsed: Duration,
    /// Objects listed so far.
    pub listed_objects: u64,
    /// Bytes of those that are to be copied.
    pub listed_bytes: u64,
    /// No object will be added.
    pub listed_all: bool,
    /// Objects with an outcome.
    pub ended_objects: u64,
    /// Bytes of objects that need no more work.
    pub ended_bytes: u64,
    /// What was counted on the way.
    pub counted: Tally,
}

impl Default for Progress {
    fn default() -> Self {
        Self { begun: Instant::now(), state: Mutex::default() }
    }
}

impl Progress {
    /// The scan has seen all of this, and perhaps everything.
    pub fn scanned(&self, counts: Counts, all: bool) {
        let mut state = self.locked();
        (state.scanned, state.scanned_all) = (counts, all);
    }

    /// What the scan has seen.
    pub fn counts(&self) -> Counts {
        self.locked().scanned.clone()
    }

    /// Execution `number` begins, with objects of `bytes`.
    pub fn began(&self, number: u64, bytes: u64) -> Arc<Live> {
        let live = Arc::new(Live::default());
        self.locked().running.insert(number, (live.clone(), bytes));
        live
    }

    /// Execution `number` ended; all of its `objects` need no more work.
    pub fn ended(&self, number: u64, objects: u64) {
        let mut state = self.locked();
        if let Some((live, bytes)) = state.running.remove(&number) {
            state.counted += live.tally();
            state.ended_objects += objects;
            state.ended_bytes += bytes;
        }
    }

    /// How things stand.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.locked();
        let mut snapshot = Snapshot {
            elapsed: self.begun.elapsed(),
            listed_objects: state.scanned.listed,
            listed_bytes: state.scanned.offered_bytes,
            listed_all: state.scanned_all,
            ended_objects: state.ended_objects
                + state.scanned.unchanged
                + state.scanned.exists
                + state.scanned.excluded,
            ended_bytes: state.ended_bytes,
            counted: state.counted,
        };
        for (live, bytes) in state.running.values() {
            let tally = live.tally();
            snapshot.counted += tally;
            snapshot.ended_objects += tally.objects();
            // A part that is sent again counts twice, but never for more than there is.
            snapshot.ended_bytes += (tally.bytes_up + live.held_bytes()).min(*bytes);
        }
        snapshot
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How progress is shown, on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A bar that is drawn over and over.
    Bar,
    /// A line every few seconds.
    Lines,
    /// Not at all.
    Nothing,
}

impl Shown {
    /// A bar on a terminal that nothing else writes to, lines elsewhere.
    pub fn choose(quiet: bool, verbose: bool) -> Self {
        match (quiet, std::io::stderr().is_terminal() && !verbose) {
            (true, _) => Self::Nothing,
            (false, true) => Self::Bar,
            (false, false) => Self::Lines,
        }
    }
}

/// Shows progress until it is dropped.
#[derive(Debug)]
pub struct Display {
    bar: Option<ProgressBar>,
    _drawing: Option<AbortOnDrop<()>>,
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Begins to show what `look` sees; lines are handed to `write_line`.
pub fn show(look: impl Fn() -> Snapshot + Send + 'static, shown: Shown, write_line: fn(&str)) -> Display {
    if shown == Shown::Nothing {
        return Display { bar: None, _drawing: None };
    }
    let bar = (shown == Shown::Bar).then(|| {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        // A constant that is known to be one.
        let style = ProgressStyle::with_template("[{bar:28}] {percent:>3}%  {msg}");
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("=> "));
        }
        bar
    });
    let drawn = bar.clone();
    let drawing = tokio::spawn(async move {
        let mut rate = Rate::default();
        loop {
            tokio::time::sleep(if drawn.is_some() { BAR_EVERY } else { LINE_EVERY }).await;
            let snapshot = look();
            let text = line(&snapshot, rate.over(snapshot.elapsed, snapshot.ended_bytes));
            match &drawn {
                Some(bar) => {
                    bar.set_length(snapshot.listed_bytes.max(1));
                    bar.set_position(snapshot.ended_bytes);
                    bar.set_message(text);
                    bar.tick();
                }
                None => write_line(&text),
            }
        }
    });
    Display { bar, _drawing: Some(AbortOnDrop(drawing)) }
}

/// A rate over the last seconds.
#[derive(Debug, Default)]
struct Rate(VecDeque<(Duration, u64)>);

impl Rate {
    /// Bytes a second up to now, when `count` bytes are done.
    fn over(&mut self, now: Duration, count: u64) -> f64 {
        self.0.push_back((now, count));
        while self.0.len() > 2 && self.0.front().is_some_and(|(then, _)| now.saturating_sub(*then) > RATE_OVER) {
            self.0.pop_front();
        }
        // The first look has nothing before it but the beginning.
        let (then, before) = if self.0.len() == 1 { (Duration::ZERO, 0) } else { self.0[0] };
        let seconds = now.saturating_sub(then).as_secs_f64();
        if seconds > 0.0 { count.saturating_sub(before) as f64 / seconds } else { 0.0 }
    }
}

/// Progress in one line.
fn line(snapshot: &Snapshot, rate: f64) -> String {
    let more = if snapshot.listed_all { "" } else { "+" };
    let mut text = format!(
        "{}/{}{more} objects, {} of {}{more}, {}/s",
        count_text(snapshot.ended_objects),
        count_text(snapshot.listed_objects),
        bytes_text(snapshot.ended_bytes),
        bytes_text(snapshot.listed_bytes),
        bytes_text(rate as u64),
    );
    if snapshot.counted.failed > 0 {
        text += &format!(", {} failed", count_text(snapshot.counted.failed));
    }
    let left = snapshot.listed_bytes.saturating_sub(snapshot.ended_bytes);
    if !snapshot.listed_all {
        text += ", still listing";
    } else if rate >= 1.0 {
        text += &format!(", ETA {}", time_text((left as f64 / rate) as u64));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_counts() {
        let progress = Progress::default();
        let counts = Counts { listed: 5, unchanged: 1, offered: 4, offered_bytes: 4 << 20, ..Counts::default() };
        progress.scanned(counts, true);
        progress.began(1, 2 << 20);
        progress.began(2, 2 << 20);
        progress.ended(1, 2);
        tokio::time::advance(Duration::from_secs(2)).await;
        let snapshot = progress.snapshot();
        assert_eq!((snapshot.ended_objects, snapshot.ended_bytes), (3, 2 << 20));
        let text = line(&snapshot, Rate::default().over(snapshot.elapsed, snapshot.ended_bytes));
        assert_eq!(text, "3/5 objects, 2.0 MiB of 4.0 MiB, 1.0 MiB/s, ETA 2s");
    }

    #[test]
    fn an_unfinished_listing_promises_no_end() {
        let snapshot = Snapshot { listed_objects: 1_500, listed_bytes: 10, ..Snapshot::default() };
        assert_eq!(line(&snapshot, 5.0), "0/1,500+ objects, 0 B of 10 B+, 5 B/s, still listing");
    }

    #[test]
    fn the_rate_forgets_the_distant_past() {
        let mut rate = Rate::default();
        let seconds = Duration::from_secs;
        assert_eq!(rate.over(seconds(1), 100), 100.0);
        assert_eq!(rate.over(seconds(2), 100), 0.0);
        assert_eq!(rate.over(seconds(100), 100), 0.0);
        assert_eq!(rate.over(seconds(101), 150), 50.0);
        assert_eq!(rate.over(seconds(125), 150), 0.0);
    }
}
