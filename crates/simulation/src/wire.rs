//! The way between the SDK and the two stores: what is lost, late, cut or refused on it, and who dies there.

use crate::steps::Invocation;
use crate::weather::{DESTINATION, HOSTS, Weather, short};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt as _;
use longhaul_testing::{Call, Fault, Rule, connector_for};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Carries requests to the two stores.
#[derive(Clone)]
pub(crate) struct Wire {
    weather: Arc<Weather>,
    inner: SharedHttpConnector,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

impl Wire {
    pub(crate) fn new(weather: Arc<Weather>) -> Self {
        let stores = [weather.here.clone(), weather.there.clone()];
        let inner = connector_for(HOSTS.iter().map(|host| (*host).to_owned()).zip(stores));
        Self { weather, inner }
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let wire = self.clone();
        HttpConnectorFuture::new(async move { wire.exchange(request).await })
    }
}

/// What happens to one request.
enum Mishap {
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
    fn told(&self) -> String {
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

/// A request on its way.
struct Sent {
    call: Call,
    there: bool,
    /// The key at the source.
    key: Option<String>,
    invocation: Option<u64>,
    /// The query of a listing of parts: the part before the first, and how many.
    page: (u32, u32),
}

impl Wire {
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let weather = &self.weather;
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let invocation = Invocation::current();
        let sent = self.read(&request, invocation.as_ref().map(|invocation| invocation.number));
        let line = weather.say(sent.invocation, told(&sent));
        self.check_part(&sent, invocation.as_deref());

        let others = weather.strikes(weather.scenario.rates.others);
        let before = others && weather.dice.chance(0.5);
        if before {
            weather.others();
        }
        if weather.strikes(weather.scenario.rates.stop) {
            weather.stop_one();
        }
        let kill = invocation.filter(|_| weather.strikes(weather.scenario.rates.kill));
        let kill_before = kill.is_some() && weather.dice.chance(0.4);
        if let Some(invocation) = kill.as_ref().filter(|_| kill_before) {
            weather.history().add(line, " [before it]");
            invocation.die(weather).await;
        }
        let mishap =
            if kill.is_none() && weather.strikes(weather.scenario.rates.request) { self.mishap(&sent) } else { None };
        if let Some(mishap) = &mishap {
            weather.history().add(line, &format!(" [{}]", mishap.told()));
        }
        // While a write is late, a newer version may overtake it.
        let writes = matches!(sent.call.operation.as_str(), "PutObject" | "CompleteMultipartUpload");
        if writes
            && matches!(mishap, Some(Mishap::Delay(_) | Mishap::Late(_)))
            && let Some(key) = sent.key.as_ref().filter(|key| weather.history().keys.contains_key(*key))
            && weather.dice.chance(0.6)
        {
            weather.overwrite(key, 0);
        }
        let answer = self.carried(request, &sent, mishap).await;
        let status = answer.as_ref().map_or("lost".into(), |answer| answer.status().as_u16().to_string());
        weather.history().add(line, &format!(" -> {status}"));
        if others && !before {
            weather.others();
        }
        if let Some(invocation) = kill {
            weather.history().add(line, " [after it]");
            invocation.die(weather).await;
        }
        self.arrived(&sent, &answer);
        answer
    }

    fn read(&self, request: &http::Request<SdkBody>, invocation: Option<u64>) -> Sent {
        let call = Call::of(request.method(), request.uri(), request.headers());
        let there = request.uri().host() == Some(HOSTS[1]);
        let prefix = if there { self.weather.scenario.prefix.as_str() } else { "" };
        let key = call.key.as_ref().and_then(|key| key.strip_prefix(prefix)).map(str::to_owned);
        let query = request.uri().query().unwrap_or_default();
        let number = |name: &str| {
            let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            found.and_then(|text| text.parse().ok())
        };
        let page = (number("part-number-marker").unwrap_or(0), number("max-parts").unwrap_or(1_000));
        Sent { call, there, key, invocation, page }
    }

    /// No invocation sends a part that was there when it began, that its listing showed, or whose reply it had.
    fn check_part(&self, sent: &Sent, invocation: Option<&Invocation>) {
        let (Some(upload), Some(part), Some(invocation)) = (&sent.call.upload_id, sent.call.part_number, invocation)
        else {
            return;
        };
        if sent.call.operation != "UploadPart" || !self.weather.there.store().parts(upload).contains_key(&part) {
            return;
        }
        let mut history = self.weather.history();
        let id = (invocation.number, upload.clone(), part);
        let why = if history.replied.contains(&id) {
            "whose reply it had"
        } else if history.shown.contains(&id) {
            "that its listing showed"
        } else if let Some(known) = history.uploads.get(upload)
            && known.stored.get(&part).is_some_and(|stored| stored.iter().any(|moment| *moment < invocation.begun))
        {
            "that was there before it began"
        } else {
            return;
        };
        let told = format!("invocation {} sends part {part} of upload {} {why}", invocation.number, short(upload));
        history.violated("no-part-twice", told);
    }

    fn mishap(&self, sent: &Sent) -> Option<Mishap> {
        let dice = &self.weather.dice;
        let operation = sent.call.operation.as_str();
        let writes =
            matches!(operation, "PutObject" | "UploadPart" | "CompleteMultipartUpload" | "CreateMultipartUpload");
        let has_body = matches!(operation, "PutObject" | "UploadPart");
        let status =
            |status: u16, code: Option<&str>| Some(Mishap::Store(Fault::Status { status, code: code.map(Into::into) }));
        let at = |dice: &crate::dice::Dice| *dice.one(&[0, 1, 77, 600, 4_000, 70_000, 5_000_000]);
        match *dice.weighted(&[
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
        ]) {
            0 => status(500, None),
            1 => status(503, Some("SlowDown")),
            2 => status(403, None),
            3 => {
                // Said of the source it is believed: nobody can know better.
                if let Some(key) = sent.key.as_ref().filter(|_| !sent.there)
                    && let Some(known) = self.weather.history().keys.get_mut(key)
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

    async fn carried(
        &self,
        request: http::Request<SdkBody>,
        sent: &Sent,
        mishap: Option<Mishap>,
    ) -> Result<HttpResponse, ConnectorError> {
        let pause = |ms| tokio::time::sleep(Duration::from_millis(ms));
        match mishap {
            None => self.delivered(request, sent, None).await,
            Some(Mishap::Store(fault)) => self.delivered(request, sent, Some(fault)).await,
            Some(Mishap::Delay(ms)) => {
                pause(ms).await;
                self.delivered(request, sent, None).await
            }
            Some(Mishap::DelayReply(ms)) => {
                let answer = self.delivered(request, sent, None).await;
                pause(ms).await;
                answer
            }
            Some(Mishap::Silence) => std::future::pending().await,
            Some(Mishap::Late(ms)) => {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map_err(ConnectorError::io)?.to_bytes();
                let request = http::Request::from_parts(parts, SdkBody::from(body));
                let (wire, call) = (self.clone(), Sent { call: sent.call.clone(), key: sent.key.clone(), ..*sent });
                self.weather.afloat.fetch_add(1, Relaxed);
                tokio::spawn(async move {
                    pause(ms).await;
                    let line = wire.weather.say(call.invocation, format!("late: {}", told(&call)));
                    let answer = wire.delivered(request, &call, None).await;
                    let status = answer.map_or("lost".into(), |answer| answer.status().as_u16().to_string());
                    wire.weather.history().add(line, &format!(" -> {status}"));
                    wire.weather.afloat.fetch_sub(1, Relaxed);
                    wire.weather.changed.notify_one();
                });
                Err(ConnectorError::io("the connection broke".into()))
            }
        }
    }

    /// Brings a request to its store, and notes what it did there.
    async fn delivered(
        &self,
        request: http::Request<SdkBody>,
        sent: &Sent,
        fault: Option<Fault>,
    ) -> Result<HttpResponse, ConnectorError> {
        let refused =
            matches!(fault, Some(Fault::Status { .. } | Fault::ErrorInBody { .. } | Fault::ResetBeforeRequest));
        let request = HttpRequest::try_from(request).map_err(|error| ConnectorError::user(error.into()))?;
        let store = if sent.there { &self.weather.there } else { &self.weather.here };
        if let Some(fault) = fault {
            // Nobody comes between: the store decides before it waits for anything.
            store.faults().add(Rule::default().fails(fault));
        }
        let answer = self.inner.call(request).await;
        if sent.there && !refused {
            self.note(sent, &answer);
        }
        answer
    }

    fn note(&self, sent: &Sent, answer: &Result<HttpResponse, ConnectorError>) {
        let store = self.weather.there.store();
        let fine = answer.as_ref().map_or(true, |answer| answer.status().as_u16() < 300);
        match (sent.call.operation.as_str(), &sent.call.upload_id) {
            ("CreateMultipartUpload", _) if fine => {
                let mut history = self.weather.history();
                let order = history.moment();
                for upload in store.open_uploads() {
                    let known = history.uploads.entry(upload.id.clone()).or_default();
                    if known.key.is_empty() {
                        known.key = sent.key.clone().unwrap_or_default();
                        known.creator = sent.invocation;
                        known.order = order;
                    }
                }
            }
            ("UploadPart", Some(id)) if fine => {
                let Some(part) = sent.call.part_number.filter(|part| store.parts(id).contains_key(part)) else {
                    return;
                };
                let mut history = self.weather.history();
                let moment = history.moment();
                let stored = history.uploads.entry(id.clone()).or_default().stored.entry(part).or_default();
                stored.push(moment);
                if stored.len() > 1 {
                    *history.again.entry("parts stored again").or_default() += 1;
                }
            }
            ("ListParts", Some(id)) if answer.as_ref().is_ok_and(|answer| answer.status().as_u16() == 200) => {
                let Some(invocation) = sent.invocation else { return };
                let (after, most) = sent.page;
                let parts = store.parts(id);
                let mut history = self.weather.history();
                for part in parts.keys().filter(|part| **part > after).take(most as usize) {
                    history.shown.insert((invocation, id.clone(), *part));
                }
            }
            ("PutObject" | "CompleteMultipartUpload" | "DeleteObject", _) => self.note_object(sent),
            _ => {}
        }
    }

    /// Looks at what stands at the destination after a write.
    fn note_object(&self, sent: &Sent) {
        let (Some(key), Some(there)) = (&sent.key, &sent.call.key) else { return };
        let stands = self.weather.there.store().object(DESTINATION, there);
        let mut history = self.weather.history();
        let Some(known) = history.keys.get(key) else { return };
        let same = match (&known.stands, &stands) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
        }
        let before = known.stands.clone();
        let now = stands.as_ref().and_then(|object| object.body.bytes()).unwrap_or_default();
        let versions = history.versions_of(key, &now);
        if stands.is_some() && versions.is_empty() {
            let told = format!("{there:?} holds {} bytes that no version of the source has", now.len());
            history.violated("byte-for-byte", told);
        }
        let held = before.and_then(|object| object.body.bytes());
        let older = held.map(|held| history.versions_of(key, &held)).unwrap_or_default();
        if let (Some(least), Some(most)) = (older.iter().min(), versions.iter().max())
            && most < least
        {
            history.violated("never-older", format!("version {most} of {key:?} replaced version {least}"));
        }
        let Some(known) = history.keys.get_mut(key) else { return };
        if let Some(object) = &stands {
            known.written.push((object.etag.clone(), now));
        }
        known.stands = stands;
    }

    /// Notes what the client learns.
    fn arrived(&self, sent: &Sent, answer: &Result<HttpResponse, ConnectorError>) {
        if !sent.there {
            return;
        }
        let fine = answer.as_ref().is_ok_and(|answer| answer.status().as_u16() < 300);
        let mut history = self.weather.history();
        match (sent.call.operation.as_str(), &sent.call.upload_id, sent.invocation) {
            ("CreateMultipartUpload", ..) if fine => {
                // The newest one of this invocation is the one that is answered for.
                let ours = history
                    .uploads
                    .values_mut()
                    .filter(|upload| upload.creator == sent.invocation && Some(&upload.key) == sent.key.as_ref());
                if let Some(newest) = ours.max_by_key(|upload| upload.order) {
                    newest.told = true;
                }
            }
            ("UploadPart", Some(id), Some(invocation)) if fine => {
                if let Some(part) = sent.call.part_number {
                    history.replied.insert((invocation, id.clone(), part));
                }
            }
            ("AbortMultipartUpload", Some(id), _) if !fine => {
                if let Some(upload) = history.uploads.get_mut(id) {
                    upload.abort_failed = true;
                }
            }
            _ => {}
        }
    }
}

fn told(sent: &Sent) -> String {
    let Call { operation, key, upload_id, part_number, range, if_match, if_none_match, .. } = &sent.call;
    let mut told = format!("{} {operation}", if sent.there { "there" } else { "here " });
    let mut more = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            told.push_str(&format!(" {name}{value}"));
        }
    };
    more("", key.as_deref().map(|key| format!("{key:?}")).as_deref());
    more("upload ", upload_id.as_deref().map(short));
    more("part ", part_number.map(|part| part.to_string()).as_deref());
    more("", range.as_deref());
    more("if-match ", if_match.as_deref());
    more("if-none-match ", if_none_match.as_deref());
    told
}
