//! The service that runs functions: it kills them, runs them twice, and forgets to wait for them.

use crate::weather::{Begun, Weather, locked};
use crate::work::FaultyWork;
use longhaul::in_process::{Around, Step};
use longhaul_asl::TaskError;
use longhaul_aws::work::{MemoryWork, Work};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// A function that dies of no request dies after one of these, in milliseconds.
const LIVES_MS: [u64; 4] = [1, 150, 3_000, 45_000];
/// By what name Step Functions learns that a function died.
const DEATHS: [&str; 7] = [
    "Runtime.ExitError",
    "Runtime.ExitError",
    "Runtime.OutOfMemory",
    "Sandbox.Timedout",
    "Lambda.Unknown",
    "Lambda.ServiceException",
    "Lambda.TooManyRequestsException",
];

tokio::task_local! {
    static INVOCATION: Arc<Invocation>;
}

/// One call of one function.
pub(crate) struct Invocation {
    pub(crate) number: u64,
    /// The moment at which it was begun.
    pub(crate) begun: u64,
    dying: Notify,
    death: Mutex<Option<&'static str>>,
}

impl Invocation {
    /// The one that runs now.
    pub(crate) fn current() -> Option<Arc<Self>> {
        INVOCATION.try_with(Arc::clone).ok()
    }

    /// The number of the one that runs now.
    pub(crate) fn number() -> Option<u64> {
        INVOCATION.try_with(|invocation| invocation.number).ok()
    }

    /// Ends it here and now: nothing that it awaits comes back.
    pub(crate) async fn die(&self, weather: &Weather) {
        let name = *weather.dice.one(&DEATHS);
        weather.say(Some(self.number), format!("the function dies: {name}"));
        *locked(&self.death) = Some(name);
        self.dying.notify_one();
        std::future::pending::<()>().await;
    }
}

/// Counts an invocation as dead unless it came to its end.
struct Alive<'a>(&'a Weather, u64, bool);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        if !self.2 {
            self.0.history().died.insert(self.1);
        }
    }
}

/// Runs `step` as one invocation.
pub(crate) async fn invoke<T>(
    weather: &Weather,
    name: &str,
    step: impl Future<Output = Result<T, TaskError>>,
) -> Result<T, TaskError> {
    let number = weather.invocations.fetch_add(1, Relaxed);
    weather.say(Some(number), format!("> {name}"));
    let begun = weather.history().moment();
    let invocation = Arc::new(Invocation { number, begun, dying: Notify::new(), death: Mutex::default() });
    let mut alive = Alive(weather, number, false);
    let longest = if weather.strikes(weather.scenario.rates.kill) {
        Duration::from_millis(*weather.dice.one(&LIVES_MS))
    } else {
        weather.scenario.step_time
    };
    let answer = tokio::select! {
        biased;
        () = invocation.dying.notified() => {
            let name = locked(&invocation.death).unwrap_or(DEATHS[0]);
            return Err(TaskError::new(name, "killed"));
        }
        answer = INVOCATION.scope(invocation.clone(), step) => answer,
        () = tokio::time::sleep(longest) => {
            weather.say(Some(number), "< its time is up".into());
            return Err(TaskError::new("Sandbox.Timedout", "its time was up"));
        }
    };
    alive.2 = true;
    let told = match &answer {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string().chars().take(300).collect(),
    };
    weather.say(Some(number), format!("< {told}"));
    answer
}

/// See the module.
pub(crate) struct Service(pub(crate) Arc<Weather>);

#[async_trait::async_trait]
impl Around for Service {
    async fn call(&self, resource: &str, input: Value, step: Step) -> Result<Value, TaskError> {
        let weather = &self.0;
        let name = resource.trim_start_matches("${").trim_end_matches("FunctionArn}").to_owned();
        if input["next"] == "plan"
            && let Some(execution) = input["execution"].as_str()
        {
            let begun = Begun { input: input["request"].clone(), started_ms: weather.clock.now_ms() };
            locked(&weather.begun).entry(execution.to_owned()).or_insert(begun);
        }
        let next = input["next"].as_str().unwrap_or_default();
        let name = format!("{name} {next}");
        if !weather.strikes(weather.scenario.rates.twice) {
            return invoke(weather, &name, step()).await;
        }
        match weather.dice.between(0, 8) {
            0 | 1 => {
                let _lost = invoke(weather, &format!("{name}, first of two"), step()).await;
                invoke(weather, &format!("{name}, second of two"), step()).await
            }
            2 | 3 => {
                let names = [format!("{name}, one twin"), format!("{name}, other twin")];
                let (first, second) = (invoke(weather, &names[0], step()), invoke(weather, &names[1], step()));
                let (first, second) = futures::future::join(first, second).await;
                if weather.dice.chance(0.5) { first } else { second }
            }
            4 | 5 => {
                // Whoever called it does not hear of it again, and it goes on.
                let (weather, step) = (weather.clone(), step());
                weather.afloat.fetch_add(1, Relaxed);
                tokio::spawn(async move {
                    let _unheard = invoke(&weather, &format!("{name}, forgotten"), step).await;
                    weather.afloat.fetch_sub(1, Relaxed);
                    weather.changed.notify_one();
                });
                let after = Duration::from_millis(*self.0.dice.one(&[0, 13, 700, 20_011]));
                tokio::time::sleep(after).await;
                Err(TaskError::new("Lambda.SdkClientException", "the connection to the function was lost"))
            }
            6 => {
                weather.outgrown.store(true, Relaxed);
                weather.say(None, format!("{name} answers more than a state may hold"));
                Err(TaskError::new("States.DataLimitExceeded", "simulated"))
            }
            _ => Err(TaskError::new(*weather.dice.one(&DEATHS), "before it began")),
        }
    }

    fn work(&self, work: Arc<MemoryWork>) -> Arc<dyn Work> {
        Arc::new(FaultyWork { weather: self.0.clone(), inner: work })
    }

    fn step_time(&self) -> Duration {
        self.0.scenario.step_time
    }
}

/// The inputs of executions by their names.
pub(crate) fn inputs(weather: &Weather) -> BTreeMap<String, Begun> {
    locked(&weather.begun).clone()
}
