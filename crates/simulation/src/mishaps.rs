//! What may happen to one request on its way.

use crate::dice::Dice;
use crate::weather::Weather;
use crate::wire::Sent;
use longhaul_testing::Fault;

/// What happens to one request.
pub(crate) enum Mishap {
    /// The store or the connection does this.
    Store(Fault),
    /// It waits before it arrives.
    Delay(u64),
    /// Its answer waits.
    DelayReply(u64),
    /// The connection breaks, and the request arrives all the same, after so many milliseconds.
    Late(u64),
    /// Nobody answers.
    Silence,
}

impl Mishap {
    pub(crate) fn told(&self) -> String {
        match self {
            Self::Store(Fault::Status { status, code }) => format!("{status} {}", code.as_deref().unwrap_or_default()),
            Self::Store(fault) => format!("{fault:?}"),
            Self::Delay(ms) => format!("arrives after {ms} ms"),
            Self::DelayReply(ms) => format!("answered after {ms} ms"),
            Self::Late(ms) => format!("lost, and arrives after {ms} ms"),
            Self::Silence => "no answer".into(),
        }
    }
}

impl Weather {
    /// What goes wrong with this request.
    pub(crate) fn mishap(&self, sent: &Sent) -> Option<Mishap> {
        let dice = &self.dice;
        let operation = sent.call.operation.as_str();
        let writes =
            matches!(operation, "PutObject" | "UploadPart" | "CompleteMultipartUpload" | "CreateMultipartUpload");
        let has_body = matches!(operation, "PutObject" | "UploadPart");
        let status =
            |status: u16, code: Option<&str>| Some(Mishap::Store(Fault::Status { status, code: code.map(Into::into) }));
        let at = |dice: &Dice| *dice.one(&[0, 1, 77, 600, 4_000, 70_000, 5_000_000]);
        let any = *dice.weighted(&[
            (3, 0),
            (3, 1),
            (2, 2),
            (1, 3),
            (3, 4),
            (4, 5),
            (4, 6),
            (3, 7),
            (2, 8),
            (3, 9),
            (2, 10),
            (1, 11),
        ]);
        match self.scenario.prefers.filter(|_| dice.chance(0.6)).unwrap_or(any) {
            0 => status(500, None),
            1 => status(503, Some("SlowDown")),
            2 => status(403, None),
            3 => {
                // Said of the source it is believed: nobody can know better.
                if let Some(key) = sent.key.as_ref().filter(|_| !sent.there)
                    && let Some(known) = self.history().keys.get_mut(key)
                {
                    known.denied = true;
                }
                status(404, sent.call.upload_id.as_ref().map(|_| "NoSuchUpload"))
            }
            4 => Some(Mishap::Store(Fault::ResetBeforeRequest)),
            5 => Some(Mishap::Store(Fault::LoseReply)),
            6 if writes => Some(Mishap::Late(*dice.one(&[11, 700, 9_001, 70_007, 400_003]))),
            7 if operation == "GetObject" => Some(Mishap::Store(Fault::CutBody { after: at(dice) })),
            7 if has_body => Some(Mishap::Store(Fault::FlipRequest { at: at(dice) })),
            8 if operation == "GetObject" => Some(Mishap::Store(Fault::FlipResponse { at: at(dice) })),
            8 if operation == "CompleteMultipartUpload" => {
                Some(Mishap::Store(Fault::ErrorInBody { code: "InternalError".into() }))
            }
            8 if writes => status(409, None),
            9 => Some(Mishap::Delay(*dice.one(&[3, 130, 2_003, 31_013]))),
            10 => Some(Mishap::DelayReply(*dice.one(&[3, 130, 2_003, 31_013]))),
            11 => Some(Mishap::Silence),
            _ => Some(Mishap::Store(Fault::LoseReply)),
        }
    }
}
