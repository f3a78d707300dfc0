//! The way between the SDK and the two stores: what is lost, late, cut or refused on it, and who dies there.

use crate::mishaps::Mishap;
use crate::steps::Invocation;
use crate::weather::{HOSTS, Weather, short};
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

/// A request on its way.
pub(crate) struct Sent {
    pub(crate) call: Call,
    pub(crate) there: bool,
    /// The key at the source.
    pub(crate) key: Option<String>,
    pub(crate) invocation: Option<u64>,
    /// The query of a listing of parts: the part before the first, and how many.
    pub(crate) page: (u32, u32),
    /// The moment at which its invocation began.
    pub(crate) begun: Option<u64>,
    /// Why its part is sent again, if it was sent before.
    pub(crate) again: Option<&'static str>,
    /// Which of the requests that carry this part it is, from 0.
    pub(crate) number: Option<usize>,
}

impl Wire {
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let weather = &self.weather;
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let invocation = Invocation::current();
        let mut sent = self.read(&request, invocation.as_ref().map(|invocation| invocation.number));
        sent.begun = invocation.as_ref().map(|invocation| invocation.begun);
        let line = weather.say(sent.invocation, told(&sent));
        let mut part = weather.part_begins(&mut sent, invocation.as_deref());

        let others = weather.strikes(weather.scenario.rates.others);
        let before = others && weather.dice.chance(0.5);
        if before {
            weather.others();
        }
        if weather.strikes(weather.scenario.rates.stop) {
            weather.end_one();
            // Whoever comes next finds what was begun, and another version.
            if weather.scenario.restless
                && let Some(key) = sent.key.as_ref().filter(|key| weather.history().keys.contains_key(*key))
            {
                weather.overwrite(key, 7_000);
            }
        }
        let kill = invocation.filter(|_| weather.strikes(weather.scenario.rates.kill));
        let kill_before = kill.is_some() && weather.dice.chance(0.4);
        if let Some(invocation) = kill.as_ref().filter(|_| kill_before) {
            weather.history().add(line, " [before it]");
            invocation.die(weather).await;
        }
        let mishap = if kill.is_none() && weather.strikes(weather.scenario.request_rate(&sent.call.operation)) {
            weather.mishap(&sent)
        } else {
            None
        };
        if let Some(mishap) = &mishap {
            weather.history().add(line, &format!(" [{}]", mishap.told()));
        }
        // While a write, or the look before it, is late, a newer version may overtake it.
        let writes = matches!(sent.call.operation.as_str(), "PutObject" | "UploadPart" | "CompleteMultipartUpload");
        let looks = sent.there && sent.call.operation == "HeadObject";
        if (writes || looks)
            && matches!(mishap, Some(Mishap::Delay(_) | Mishap::Late(_)))
            && let Some(key) = sent.key.as_ref().filter(|key| weather.history().keys.contains_key(*key))
            && weather.dice.chance(0.6)
        {
            weather.overwrite(key, 0);
        }
        if let Some(mishap) = &mishap {
            weather.in_doubt(&sent, mishap);
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
        if let Some(part) = &mut part {
            part.replied = answer.as_ref().is_ok_and(|answer| answer.status().as_u16() < 300);
        }
        weather.arrived(&sent, &answer);
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
        Sent { call, there, key, invocation, page, begun: None, again: None, number: None }
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
            self.weather.note(sent, &answer);
        }
        answer
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
