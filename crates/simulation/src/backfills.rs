//! Executions of `backfill`, and whether what they say of themselves is true.

use crate::invariants;
use crate::others::Stop;
use crate::weather::locked;
use crate::world::World;
use longhaul_core::backfill::summary::{RunStatus, RunSummary, summary_key};
use serde_json::{Value, json};
use std::sync::Arc;

impl World {
    /// The request of a run with what every run of this seed is asked.
    pub(crate) fn asked(&self, mut request: Value) -> Value {
        let scenario = &self.weather.scenario;
        if !scenario.filters.is_empty() {
            request["filters"] = json!(scenario.filters);
        }
        if scenario.deletes {
            request["delete"] = json!({"max": 100});
        }
        request
    }

    /// Starts an execution of `backfill`, which may be stopped as any other.
    pub(crate) fn begin_backfill(self: &Arc<Self>, name: &str, request: Value) {
        let stop = Arc::<Stop>::default();
        locked(&self.weather.running).insert(name.to_owned(), Some(stop.clone()));
        let (world, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            world.weather.say(None, format!("backfill {name} begins: {request}"));
            let ended = tokio::select! {
                biased;
                status = stop.ended() => Err(status.to_owned()),
                outcome = world.runner.run_backfill(&name, request, Arc::default()) => {
                    outcome.result.map(drop).map_err(|error| error.to_string())
                }
            };
            world.weather.say(None, format!("backfill {name} ended: {ended:?}"));
            if let Err(status @ ("ABORTED" | "TIMED_OUT")) = ended.as_ref().map_err(String::as_str) {
                world.settle_children(status).await;
            }
            locked(&world.backfills).push((name.clone(), ended));
            locked(&world.weather.running).insert(name, None);
            world.weather.changed.notify_one();
        });
    }

    /// Resumes a backfill that did not come to its end, and checks what it says.
    pub(crate) async fn end_backfill(self: &Arc<Self>) {
        if !self.weather.scenario.backfill {
            return;
        }
        let mut run = "backfill-1".to_owned();
        let failed = locked(&self.backfills).iter().any(|(_, ended)| ended.is_err());
        if failed {
            self.begin_backfill("backfill-2", json!({"resume": run}));
            self.until_quiet().await;
        }
        let broken = locked(&self.backfills).last().and_then(|(_, ended)| ended.clone().err());
        if let Some(told) = broken {
            if !told.contains("no run") {
                self.weather.history().violated("redrive-succeeds", format!("the resumed backfill failed: {told}"));
            }
            run = "backfill-3".to_owned();
            self.begin_backfill(&run, self.asked(json!({})));
            self.until_quiet().await;
        }
        self.check_summary(&run).await;
        if !self.weather.scenario.events {
            // What changed meanwhile has no event: the next run brings it.
            self.begin_backfill("backfill-4", self.asked(json!({"compare": "always"})));
            self.until_quiet().await;
            self.check_summary("backfill-4").await;
        }
    }

    async fn check_summary(&self, run: &str) {
        let found = self.runner.clients().work.find(&summary_key(run), 1 << 24).await;
        let summary = found.ok().flatten().and_then(|found| serde_json::from_slice::<RunSummary>(&found.body).ok());
        let told = match summary {
            None => format!("{run} has no summary"),
            Some(summary) if summary.accounted && summary.missing == 0 && summary.status == RunStatus::Succeeded => {
                invariants::check_run(&self.weather, run);
                return;
            }
            Some(summary) => {
                format!("{run}: {:?} {} {:?} {:?}", summary.status, summary.cause, summary.counts, summary.tally)
            }
        };
        self.weather.history().violated("counts-add-up", told);
    }
}
