//! Executions of `migrate`: how they run, how they end, and who settles what they left.

use crate::others::Stop;
use crate::steps::{inputs, invoke};
use crate::weather::locked;
use crate::world::World;
use longhaul::in_process::Ended;
use longhaul_asl::TaskError;
use longhaul_aws::steps::{Ended as Lost, settle_ended};
use longhaul_core::contract::SettleOutput;
use longhaul_core::names::successor_name;
use longhaul_core::outcome::Outcome;
use longhaul_core::request::Request;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Times that the service gives an event of an execution's end to `settle`.
const SETTLES: u32 = 3;

impl World {
    /// Runs an execution to its end.
    pub(crate) async fn execution(&self, name: &str, request: Request, stop: &Stop) {
        let weather = &self.weather;
        let started_ms = weather.clock.now_ms();
        if weather.scenario.restless {
            weather.setting.fetch_add(1, Relaxed);
        }
        // What the configuration says now; requests that name a route keep it.
        let request = match &request.route {
            None if weather.scenario.part_sizes.len() > 1 => Request { route: Some(weather.route()), ..request },
            _ => request,
        };
        weather.say(None, format!("execution {name} begins with {} objects", request.objects.len()));
        let ended = tokio::select! {
            biased;
            status = stop.ended() => Err(status),
            ended = self.runner.run_migrate(name, &request, Arc::default()) => Ok(ended),
        };
        let lost = Lost {
            execution: name.to_owned(),
            started_ms,
            status: "FAILED".into(),
            input: serde_json::to_value(&request).ok().map(|input| input.to_string()),
            reason: None,
        };
        match ended {
            Err(status) => self.settle_all(Lost { status: status.into(), ..lost }).await,
            Ok(ended) => {
                self.check_ended(name, &request, &ended);
                if ended.unsettled.is_some() || ended.tally.unsettled > 0 {
                    self.settle_all(lost).await;
                } else if ended.result.as_ref().is_err_and(|error| error.error != "ObjectsFailed") {
                    self.settle_successors(&lost).await;
                }
            }
        }
    }

    /// What the rule on executions that ended badly does, for one and whatever it started.
    async fn settle_all(&self, lost: Lost) {
        self.settle(lost.clone()).await;
        self.settle_successors(&lost).await;
    }

    /// Whoever stops a backfill stops what it started, and each of these has its own event.
    pub(crate) async fn settle_children(&self, status: &str) {
        for (execution, begun) in inputs(&self.weather) {
            if execution.starts_with("manifest-") {
                let lost = Lost {
                    execution,
                    started_ms: begun.started_ms,
                    status: status.into(),
                    input: Some(begun.input.to_string()),
                    reason: None,
                };
                self.settle_all(lost).await;
            }
        }
    }

    async fn settle_successors(&self, lost: &Lost) {
        let mut name = successor_name(&lost.execution);
        while let Some(begun) = inputs(&self.weather).get(&name) {
            let successor = Lost {
                execution: name.clone(),
                started_ms: begun.started_ms,
                input: Some(begun.input.to_string()),
                ..lost.clone()
            };
            self.settle(successor).await;
            name = successor_name(&name);
        }
    }

    async fn settle(&self, lost: Lost) {
        for _ in 0..SETTLES {
            if self.settle_once(&lost).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        self.weather.say(None, format!("execution {} is not settled", lost.execution));
        locked(&self.unsettled).push((lost.execution.clone(), lost));
    }

    async fn settle_once(&self, lost: &Lost) -> Result<(), TaskError> {
        let (clients, context) = (self.runner.clients(), self.context());
        let called = async {
            let settled = settle_ended(clients, &context, lost.clone()).await;
            settled.map_err(|error| TaskError::new(error.name.as_str(), error.message))
        };
        let settled = invoke(&self.weather, &format!("Settle {} {}", lost.execution, lost.status), called).await?;
        let request = lost.input.as_ref().and_then(|input| serde_json::from_str::<Request>(input).ok());
        let continued = inputs(&self.weather).contains_key(&successor_name(&lost.execution));
        if let (SettleOutput::Settled(settled), Some(request)) = (&settled, request)
            && !continued
            && request.manifests.is_empty()
        {
            let (offered, counted) = (offered(&request), settled.tally.objects());
            if offered != counted {
                let told = format!(
                    "{} was offered {offered} objects, settle counts {counted}: {:?}",
                    lost.execution, settled.tally
                );
                self.weather.history().violated("counts-add-up", told);
            }
        }
        Ok(())
    }

    pub(crate) async fn settle_the_rest(&self) {
        let unsettled = std::mem::take(&mut *locked(&self.unsettled));
        for (name, lost) in unsettled {
            if let Err(error) = self.settle_once(&lost).await {
                self.weather.history().violated("exactly-one-outcome", format!("{name} cannot be settled: {error}"));
            }
        }
    }

    fn check_ended(&self, name: &str, request: &Request, ended: &Ended) {
        let weather = &self.weather;
        let result = match &ended.result {
            Ok(_) => "succeeded".to_owned(),
            Err(error) => format!("failed: {error}"),
        };
        let tally = serde_json::to_string(&ended.tally).unwrap_or_default();
        weather.say(None, format!("execution {name} {} {tally}", result.chars().take(200).collect::<String>()));
        let mut history = weather.history();
        if let Err(error) = &ended.result
            && !weather.outgrown.load(Relaxed)
            && matches!(
                error.error.as_str(),
                "States.DataLimitExceeded" | "States.Runtime" | "States.ExceedToleratedFailureThreshold"
            )
        {
            history.violated("within-quotas", format!("{name}: {error}"));
        }
        if ended.stats.history_events >= 25_000 || ended.stats.largest_payload > 262_144 {
            history.violated("within-quotas", format!("{name}: {:?}", ended.stats));
        }
        let whole = ended.unsettled.is_none() && ended.tally.unsettled == 0;
        let (offered, counted) = (offered(request), ended.tally.objects());
        if whole && offered != counted {
            history.violated(
                "counts-add-up",
                format!("{name} was offered {offered} objects and counts {counted}: {tally}"),
            );
        }
        let sent = locked(&weather.failed).clone();
        for exception in &ended.exceptions {
            let key = &exception.object.key;
            let named = |body: &String| {
                serde_json::from_str::<Request>(body)
                    .is_ok_and(|sent| sent.objects.iter().any(|object| object.key == *key))
            };
            if matches!(exception.outcome, Outcome::Failed { .. }) && !sent.iter().any(named) {
                history.violated("failed-is-queued", format!("{name} failed {key:?} and sent no message"));
            }
        }
    }
}

/// The objects that a request offers, each once.
fn offered(request: &Request) -> u64 {
    let keys: BTreeSet<(&str, &str)> =
        request.objects.iter().map(|object| (object.bucket.as_str(), object.key.as_str())).collect();
    keys.len() as u64
}
