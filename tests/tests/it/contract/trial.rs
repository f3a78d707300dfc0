//! Runs the definition over functions that read their input as the real ones do and answer by a script.

use super::raw::substitution;
use super::samples::{self, EXECUTION, done, large, request};
use async_trait::async_trait;
use longhaul_asl::{Limits, Machine, RunOptions, TaskError, Tasks, TokioSleep};
use longhaul_core::contract::{
    Batch, Done, End, EndCounts, ItemState, Large, PlanInput, PlanOutput, RangeResult, RangeState, RangeWork, Record,
    Rest, SettleInput, SettleOutput, Settled, Successor, Verdict, Work, WorkTag,
};
use longhaul_core::request::Request;
use longhaul_core::tally::Tally;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Mutex;

const STATE_MACHINE: &str = "arn:of:the:machine";

/// What a function answers where it does not answer as usual.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// An item's state.
    Item(Box<ItemState>),
    /// A range's state.
    Range(Box<RangeState>),
    /// A tag that nothing routes.
    Unheard,
    /// An error of this name.
    Fails(&'static str),
}

/// Which calls of a state an answer is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    /// The call with this number, counted from 0.
    Call(usize),
    /// Every call.
    Always,
}

/// What plan lays out, and how functions depart from the usual.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    /// The items.
    pub(super) work: Vec<ItemState>,
    /// What a successor goes on with.
    pub(super) rest: Rest,
    /// The first that fits is the answer.
    pub(super) told: Vec<(String, When, Answer)>,
}

/// How an execution went.
#[derive(Debug)]
pub(super) struct Trial {
    /// The Tasks that were called, in order.
    pub(super) calls: Vec<String>,
    /// Every state that was entered.
    pub(super) entered: BTreeSet<String>,
    /// Inputs that could not be read: the state, and why.
    pub(super) unread: Vec<(String, String)>,
    /// The error name of a failed execution.
    pub(super) failed: Option<String>,
}

/// A definition in which each Task says its state's name, and each state is preceded by a Task that notes it.
pub(super) fn instrumented(asl: &str) -> Machine {
    let mut machine: Value = serde_json::from_str(asl).unwrap();
    instrument(&mut machine);
    Machine::parse(&machine.to_string()).unwrap()
}

fn instrument(scope: &mut Value) {
    redirect(&mut scope["StartAt"]);
    let states = scope["States"].as_object_mut().unwrap();
    let names: Vec<String> = states.keys().cloned().collect();
    for name in names {
        let state = &mut states[&name];
        match state["Type"].as_str() {
            Some("Map") => {
                instrument(&mut state["ItemProcessor"]);
                for field in ["ItemReader", "ResultWriter"] {
                    if let Some(integration) = state.get_mut(field) {
                        let name = substitution(integration["Resource"].as_str().unwrap()).unwrap();
                        integration["Resource"] = format!("{name} {name}").into();
                    }
                }
            }
            Some("Task") => {
                let resource = state["Resource"].as_str().unwrap();
                state["Resource"] = format!("{name} {}", substitution(resource).unwrap()).into();
            }
            _ => {}
        }
        if let Some(next) = state.get_mut("Next") {
            redirect(next);
        }
        for field in ["Catch", "Choices"] {
            let rules = state.get_mut(field).and_then(Value::as_array_mut);
            rules.into_iter().flatten().for_each(|rule| redirect(&mut rule["Next"]));
        }
        let note = json!({"Type": "Task", "Resource": format!("enter {name}"), "ResultPath": null, "Next": name});
        states.insert(entrance(&name), note);
    }
}

fn redirect(edge: &mut Value) {
    *edge = entrance(edge.as_str().unwrap()).into();
}

fn entrance(name: &str) -> String {
    format!("enter {name}")
}

/// Runs one execution of an [`instrumented`] machine to its end, on a clock that does not wait.
pub(super) fn run(machine: &Machine, script: &Script) -> Trial {
    let options = RunOptions {
        id: EXECUTION.into(),
        name: "e".into(),
        state_machine_id: STATE_MACHINE.into(),
        start_time: "2026-11-22T00:00:00Z".into(),
        limits: Limits::default(),
        seed: 1,
    };
    let functions = Functions { script, calls: Mutex::default(), entered: Mutex::default(), unread: Mutex::default() };
    let input = serde_json::to_value(request()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let outcome = runtime.block_on(machine.run(&options, input, &functions, &TokioSleep));
    Trial {
        calls: functions.calls.into_inner().unwrap(),
        entered: functions.entered.into_inner().unwrap(),
        unread: functions.unread.into_inner().unwrap(),
        failed: outcome.result.err().map(|error| error.error),
    }
}

struct Functions<'s> {
    script: &'s Script,
    calls: Mutex<Vec<String>>,
    entered: Mutex<BTreeSet<String>>,
    unread: Mutex<Vec<(String, String)>>,
}

#[async_trait]
impl Tasks for Functions<'_> {
    async fn call(&self, resource: &str, input: Value) -> Result<Value, TaskError> {
        match resource.split_once(' ').unwrap() {
            ("enter", state) => {
                self.entered.lock().unwrap().insert(state.to_owned());
                Ok(Value::Null)
            }
            (state, function) => self.answer(state, function, input),
        }
    }
}

impl Functions<'_> {
    fn answer(&self, state: &str, function: &str, input: Value) -> Result<Value, TaskError> {
        let number = self.begin(state);
        let input = Input::read(function, input).map_err(|reason| {
            self.unread.lock().unwrap().push((state.to_owned(), reason.clone()));
            TaskError::new("Bug", reason)
        })?;
        let fits = |when: When| match when {
            When::Call(wanted) => wanted == number,
            When::Always => true,
        };
        match self.script.told.iter().find(|(name, when, _)| name == state && fits(*when)) {
            Some((_, _, answer)) => told(answer),
            None => Ok(self.usual(input)),
        }
    }

    /// How often the state called before.
    fn begin(&self, state: &str) -> usize {
        let mut calls = self.calls.lock().unwrap();
        let number = calls.iter().filter(|call| *call == state).count();
        calls.push(state.to_owned());
        number
    }

    /// What the real function returns if all goes well.
    fn usual(&self, input: Input) -> Value {
        match input {
            Input::Plan(PlanInput::Plan(_)) => json(PlanOutput::Work(self.plan())),
            Input::Plan(PlanInput::PlanAgain(_)) => {
                json(PlanOutput::Item(Box::new(ItemState::CopyParts(large(&[(1, 3), (4, 5)]).into()))))
            }
            Input::Batch => json(ItemState::Done(done(Tally { migrated: 1, ..Tally::default() }))),
            Input::Range => json(RangeState::Done(RangeResult::default())),
            Input::Large(large) => json(complete(*large)),
            Input::Settle(SettleInput::Settle(_)) => {
                let failed = done(Tally { failed: 1, ..Tally::default() });
                json(SettleOutput::Item(Box::new(ItemState::Done(failed))))
            }
            Input::Settle(SettleInput::SettleRequest(_)) => json(SettleOutput::Settled(Settled {
                tally: Tally { failed: 2, ..Tally::default() },
                ..Settled::default()
            })),
            Input::Settle(SettleInput::Record(record)) => json(SettleOutput::End(end(record))),
            Input::Successor => json!({"Status": "SUCCEEDED"}),
        }
    }

    fn plan(&self) -> Work {
        Work {
            next: WorkTag::Work,
            work: self.script.work.clone(),
            max_concurrency: 4,
            tally: Tally { unchanged: 1, ..Tally::default() },
            rest: self.script.rest.clone(),
            route: None,
            run: None,
        }
    }
}

fn json(output: impl serde::Serialize) -> Value {
    serde_json::to_value(output).unwrap()
}

fn told(answer: &Answer) -> Result<Value, TaskError> {
    match answer {
        Answer::Item(state) => Ok(json(state)),
        Answer::Range(state) => Ok(json(state)),
        Answer::Unheard => Ok(json!({"next": "unheard"})),
        Answer::Fails(name) => Err(TaskError::new(*name, "because")),
    }
}

fn complete(large: Large) -> ItemState {
    match large.results.iter().find_map(|range| range.error.clone()) {
        Some(error) => ItemState::Settle(Box::new(Large { error: Some(error), ..large })),
        None => ItemState::Done(done(Tally { migrated: 1, ..Tally::default() })),
    }
}

fn end(record: Record) -> End {
    let tally: Tally = record.tally + record.results.iter().map(|done: &Done| done.tally).sum::<Tally>();
    let then = Verdict::of(&tally);
    match then {
        _ if !record.rest.is_empty() => End::Continue(Box::new(Successor { tally, ..samples::successor(then) })),
        Verdict::Succeeded => End::Succeeded(EndCounts { tally }),
        Verdict::Failed => End::Failed(EndCounts { tally }),
    }
}

/// An input, as the type that the function behind a substitution takes.
enum Input {
    Plan(PlanInput),
    Batch,
    Range,
    Large(Box<Large>),
    Settle(SettleInput),
    Successor,
}

impl Input {
    fn read(function: &str, input: Value) -> Result<Self, String> {
        match function {
            "PlanFunctionArn" => typed(input).map(Self::Plan),
            "CopyObjectsFunctionArn" => typed::<Batch>(input).map(|_| Self::Batch),
            "CopyPartsFunctionArn" => typed::<RangeWork>(input).map(|_| Self::Range),
            "CompleteFunctionArn" => typed(input).map(Box::new).map(Self::Large),
            "SettleFunctionArn" => typed(input).map(Self::Settle),
            "StartExecutionSync" => successor(&input).map(|()| Self::Successor),
            _ => Err(format!("no function is known as {function}")),
        }
    }
}

fn typed<T: DeserializeOwned>(input: Value) -> Result<T, String> {
    serde_json::from_value(input).map_err(|error| error.to_string())
}

/// A successor is an execution of the same machine, with a name and a request.
fn successor(input: &Value) -> Result<(), String> {
    if input["StateMachineArn"] != STATE_MACHINE {
        return Err("StateMachineArn is another machine".to_owned());
    }
    if input["Name"].as_str().is_none_or(str::is_empty) {
        return Err("no Name".to_owned());
    }
    Request::from_value(&input["Input"]).map(|_| ()).map_err(|error| error.to_string())
}
