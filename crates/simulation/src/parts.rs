//! Parts that are sent more than once: why, and whether that may be.

use crate::history::History;
use crate::steps::Invocation;
use crate::weather::{Weather, short};
use crate::wire::Sent;
use longhaul_testing::Part;

/// One request that carries a part.
#[derive(Debug)]
pub(crate) struct Send {
    invocation: u64,
    /// The moment of its end, once it has ended.
    ended: Option<u64>,
    /// Its reply arrived and told of success.
    replied: bool,
    /// It left other bytes than those of the source.
    wrong: bool,
}

/// A part on its way. However that ends, it is noted.
pub(crate) struct OnTheWay<'a> {
    weather: &'a Weather,
    place: (String, u32),
    index: usize,
    pub(crate) replied: bool,
}

impl Drop for OnTheWay<'_> {
    fn drop(&mut self) {
        let mut history = self.weather.history();
        let moment = history.moment();
        if let Some(send) = history.sends.get_mut(&self.place).and_then(|sends| sends.get_mut(self.index)) {
            (send.ended, send.replied) = (Some(moment), self.replied);
        }
    }
}

impl Weather {
    /// Notes that a part is on its way, and why once more. No invocation sends a part that was there when it began, that
    /// its listing showed, or whose reply it had, unless other bytes stand there.
    pub(crate) fn part_begins(&self, sent: &mut Sent, invocation: Option<&Invocation>) -> Option<OnTheWay<'_>> {
        let (Some(upload), Some(part), Some(invocation)) = (&sent.call.upload_id, sent.call.part_number, invocation)
        else {
            return None;
        };
        if sent.call.operation != "UploadPart" {
            return None;
        }
        let place = (upload.clone(), part);
        let parts = self.there.store().parts(upload);
        let mut history = self.history();
        let right = parts.get(&part).map(|stands| is_right(&history, sent, part, stands));
        // Whoever was told of other bytes need not know that somebody else has mended them.
        let told_wrong = history
            .sends
            .get(&place)
            .is_some_and(|sends| sends.iter().any(|send| send.invocation == invocation.number && send.wrong));
        // Whoever read other bytes than stand at the source takes what it compares with them for wrong.
        let misread = sent.key.as_ref().is_some_and(|key| history.misread.contains(&(invocation.number, key.clone())));
        let wrong = right == Some(false) || told_wrong || misread;
        sent.again = if wrong { Some(WRONG) } else { cause(&history, &place, invocation) };
        let own = history
            .sends
            .get(&place)
            .map_or(0, |sends| sends.iter().filter(|send| send.invocation == invocation.number).count());
        let why = if own >= SENDS_MAX {
            Some("more often than its repeats allow")
        } else if right == Some(true) && !wrong {
            needless(&history, &place, invocation)
        } else {
            None
        };
        if let Some(why) = why {
            let told = format!("invocation {} sends part {part} of upload {} {why}", invocation.number, short(upload));
            history.violated("no-part-twice", told);
        }
        let sends = history.sends.entry(place.clone()).or_default();
        let index = sends.len();
        sends.push(Send { invocation: invocation.number, ended: None, replied: false, wrong: false });
        sent.number = Some(index);
        Some(OnTheWay { weather: self, place, index, replied: false })
    }

    /// Notes that a part was stored.
    pub(crate) fn part_stored(&self, sent: &Sent) {
        let (Some(upload), Some(part)) = (&sent.call.upload_id, sent.call.part_number) else { return };
        let parts = self.there.store().parts(upload);
        let Some(stands) = parts.get(&part) else { return };
        let mut history = self.history();
        let wrong = !is_right(&history, sent, part, stands);
        if let Some(send) =
            sent.number.and_then(|number| history.sends.get_mut(&(upload.clone(), part))?.get_mut(number))
        {
            send.wrong = wrong;
        }
        let moment = history.moment();
        let stored = history.uploads.entry(upload.clone()).or_default().stored.entry(part).or_default();
        stored.push(moment);
        if stored.len() > 1 {
            // Whoever was the first to be sent and comes second was overtaken.
            *history.again.entry(sent.again.unwrap_or(OVERTAKEN)).or_default() += 1;
        }
    }
}

/// Most times that one invocation sends a part: three requests of the SDK for each of up to eight tries of a transfer,
/// and five transfers, the hedge among them.
const SENDS_MAX: usize = 3 * 8 * 5;
const WRONG: &str = "parts stored again: other bytes stood there, or were read";
const HEDGE: &str = "parts stored again: a hedge";
const NO_REPLY: &str = "parts stored again: the reply was lost, or an error";
const TWIN: &str = "parts stored again: by a twin";
const OVERTAKEN: &str = "parts stored again: overtaken by the repeat";
const OTHER: &str = "parts stored again: for another reason";

/// Why a part need not have been sent that stands there as it should.
fn needless(history: &History, place: &(String, u32), invocation: &Invocation) -> Option<&'static str> {
    let (upload, part) = place;
    let id = (invocation.number, upload.clone(), *part);
    let stored = history.uploads.get(upload).and_then(|known| known.stored.get(part));
    // The first time it was judged; since then it has no reply.
    let own =
        history.sends.get(place).is_some_and(|sends| sends.iter().any(|send| send.invocation == invocation.number));
    if history.replied.contains(&id) {
        Some("whose reply it had")
    } else if own {
        None
    } else if history.shown.contains(&id) {
        Some("that its listing showed")
    } else if stored.is_some_and(|stored| stored.iter().any(|moment| *moment < invocation.begun)) {
        Some("that was there before it began")
    } else {
        None
    }
}

/// Why a part is sent again, if it was sent before.
fn cause(history: &History, place: &(String, u32), invocation: &Invocation) -> Option<&'static str> {
    let sends = history.sends.get(place)?;
    let (own, others): (Vec<_>, Vec<_>) = sends.iter().partition(|send| send.invocation == invocation.number);
    let at_once = |send: &&Send| send.ended.is_none_or(|ended| ended > invocation.begun);
    Some(if own.iter().any(|send| send.ended.is_none()) {
        HEDGE
    } else if own.iter().any(|send| !send.replied) {
        NO_REPLY
    } else if others.into_iter().any(|send| at_once(&send)) {
        TWIN
    } else if sends.iter().all(|send| !send.replied) {
        NO_REPLY
    } else {
        OTHER
    })
}

/// True if the bytes of a part stand at its place in some version of the source, whichever the size of the other parts.
fn is_right(history: &History, sent: &Sent, number: u32, part: &Part) -> bool {
    let Some(bytes) = part.body.bytes() else { return false };
    let (number, size) = (number as usize, bytes.len());
    let versions = sent.key.as_ref().and_then(|key| history.keys.get(key)).map(|known| known.versions.as_slice());
    versions.unwrap_or_default().iter().any(|version| {
        version.content.ends_with(&bytes)
            || version.content.get((number - 1) * size..number * size).is_some_and(|there| there == bytes)
    })
}
