//! Whole executions.
#![allow(clippy::unwrap_used)]

mod data;
mod distributed;
mod fuzz;
mod limits;
mod maps;
mod migrate;
mod retries;

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{Limits, Machine, Outcome, RunOptions, Sleep, TaskError, Tasks, TokioSleep};

type Answer = Result<Value, TaskError>;

/// Tasks that answer by a function of the resource, the input and the number of earlier calls of
/// the same resource and input. An input with `"seconds"` takes that long.
pub(crate) struct Fake<F> {
    answer: F,
    calls: Mutex<Vec<(String, Value)>>,
    ended: Mutex<usize>,
}

impl<F: Fn(&str, &Value, usize) -> Answer + Send + Sync> Fake<F> {
    fn new(answer: F) -> Self {
        Self { answer, calls: Mutex::default(), ended: Mutex::default() }
    }

    fn calls(&self) -> Vec<(String, Value)> {
        self.calls.lock().unwrap().clone()
    }

    fn inputs_of(&self, resource: &str) -> Vec<Value> {
        self.calls().into_iter().filter(|(called, _)| called == resource).map(|(_, input)| input).collect()
    }

    fn ended(&self) -> usize {
        *self.ended.lock().unwrap()
    }
}

#[async_trait]
impl<F: Fn(&str, &Value, usize) -> Answer + Send + Sync> Tasks for Fake<F> {
    async fn call(&self, resource: &str, input: Value) -> Answer {
        let call = (resource.to_owned(), input.clone());
        let earlier = {
            let mut calls = self.calls.lock().unwrap();
            let earlier = calls.iter().filter(|other| **other == call).count();
            calls.push(call);
            earlier
        };
        if let Some(seconds) = input["seconds"].as_u64() {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
        *self.ended.lock().unwrap() += 1;
        (self.answer)(resource, &input, earlier)
    }
}

/// Answers with the input.
fn echo() -> Fake<impl Fn(&str, &Value, usize) -> Answer + Send + Sync> {
    Fake::new(|_, input, _| Ok(input.clone()))
}

/// Fails with the name under `"fail"`, if there is one; else answers with the input.
fn failing() -> Fake<impl Fn(&str, &Value, usize) -> Answer + Send + Sync> {
    Fake::new(|_, input, _| match input["fail"].as_str() {
        Some(name) => Err(TaskError::new(name, "because")),
        None => Ok(input.clone()),
    })
}

/// Tokio's clock, with a record of what was asked.
#[derive(Default)]
struct Recorded(Mutex<Vec<Duration>>);

impl Recorded {
    fn slept(&self) -> Vec<Duration> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Sleep for Recorded {
    async fn sleep(&self, duration: Duration) {
        self.0.lock().unwrap().push(duration);
        tokio::time::sleep(duration).await;
    }
}

fn options() -> RunOptions {
    RunOptions {
        id: "arn:e".into(),
        name: "e".into(),
        state_machine_id: "arn:m".into(),
        start_time: "2026-11-22T00:00:00Z".into(),
        limits: Limits::default(),
        seed: 1,
    }
}

fn machine(definition: &Value) -> Machine {
    Machine::parse(&definition.to_string()).unwrap()
}

fn one(state: Value) -> Machine {
    machine(&json!({"StartAt": "S", "States": {"S": state}}))
}

async fn run(machine: &Machine, input: Value, tasks: &dyn Tasks) -> Outcome {
    machine.run(&options(), input, tasks, &TokioSleep).await
}

fn error_of(outcome: Outcome) -> String {
    outcome.result.unwrap_err().error
}
