//! A machine as a contract test sees it.

use serde_json::Value;

use crate::choice::Rule;
use crate::definition::{Items, Kind, Machine, Mode, Scope, State, TaskState, Then, Work};
use crate::retry::{Catcher, Retrier};

/// A state with the Maps around it.
#[derive(Clone, Debug)]
pub struct Placed<'m> {
    /// The names of the Maps around the state, outermost first.
    pub nesting: Vec<&'m str>,
    /// Whether the scope of the state starts at it.
    pub is_start: bool,
    /// The state.
    pub state: &'m State,
}

impl Placed<'_> {
    /// The state's name after those of the Maps around it: `Work/CopyRanges/CopyParts`.
    #[must_use]
    pub fn path(&self) -> String {
        self.nesting.iter().copied().chain([self.state.name()]).collect::<Vec<_>>().join("/")
    }
}

impl Machine {
    /// The machine's `Comment`.
    #[must_use]
    pub fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// The machine's `TimeoutSeconds`.
    #[must_use]
    pub fn timeout_seconds(&self) -> Option<u64> {
        self.timeout_seconds
    }

    /// The state that an execution begins with.
    #[must_use]
    pub fn start_at(&self) -> &str {
        &self.scope.start_at
    }

    /// Every state in reading order, those inside a Map right after it.
    #[must_use]
    pub fn states(&self) -> Vec<Placed<'_>> {
        let mut all = Vec::new();
        collect(&self.scope, &mut Vec::new(), &mut all);
        all
    }

    /// The state of this name; names are unique in the whole machine.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<&State> {
        self.states().into_iter().map(|placed| placed.state).find(|state| state.name == name)
    }
}

fn collect<'m>(scope: &'m Scope, nesting: &mut Vec<&'m str>, all: &mut Vec<Placed<'m>>) {
    for state in &scope.states {
        all.push(Placed { nesting: nesting.clone(), is_start: state.name == scope.start_at, state });
        if let Kind::Map(map) = &state.kind {
            nesting.push(&state.name);
            collect(&map.scope, nesting, all);
            nesting.pop();
        }
    }
}

impl State {
    /// The state's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The state's `Type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.kind {
            Kind::Task(_) => "Task",
            Kind::Map(_) => "Map",
            Kind::Choice { .. } => "Choice",
            Kind::Pass(_) => "Pass",
            Kind::Wait { .. } => "Wait",
            Kind::Succeed => "Succeed",
            Kind::Fail { .. } => "Fail",
        }
    }

    /// The state's `Comment`.
    #[must_use]
    pub fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// The names of the state's fields in the order of the definition.
    #[must_use]
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// The `Resource` of a Task, as it stands.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.task().map(|task| task.resource.as_str())
    }

    /// Every `Resource`: a Task's own, or those of a Map's `ItemReader` and `ResultWriter`.
    #[must_use]
    pub fn resources(&self) -> Vec<&str> {
        match &self.kind {
            Kind::Task(task) => vec![&task.resource],
            Kind::Map(map) => {
                let reader = match &map.items {
                    Items::Read(reader) => Some(reader),
                    Items::At(_) => None,
                };
                reader.into_iter().chain(&map.result_writer).map(|one| one.resource.as_str()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The `TimeoutSeconds` of a Task.
    #[must_use]
    pub fn timeout_seconds(&self) -> Option<u64> {
        self.task()?.timeout_seconds
    }

    /// The payload template of a Task or Pass (`Parameters`) or of a Map (`ItemSelector`).
    #[must_use]
    pub fn template(&self) -> Option<&Value> {
        let template = match &self.kind {
            Kind::Pass(pass) => pass.parameters.as_ref(),
            _ => self.work()?.template.as_ref(),
        };
        template.map(|template| &template.source)
    }

    /// The `Result` of a Pass.
    #[must_use]
    pub fn result(&self) -> Option<&Value> {
        match &self.kind {
            Kind::Pass(pass) => pass.result.as_ref(),
            _ => None,
        }
    }

    /// The retriers of a Task or Map.
    #[must_use]
    pub fn retry(&self) -> &[Retrier] {
        self.work().map_or(&[], |work| &work.retry)
    }

    /// The catchers of a Task or Map.
    #[must_use]
    pub fn catch(&self) -> &[Catcher] {
        self.work().map_or(&[], |work| &work.catch)
    }

    /// The rules of a Choice.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        match &self.kind {
            Kind::Choice { rules, .. } => rules,
            _ => &[],
        }
    }

    /// The `Default` of a Choice.
    #[must_use]
    pub fn default(&self) -> Option<&str> {
        match &self.kind {
            Kind::Choice { default, .. } => default.as_deref(),
            _ => None,
        }
    }

    /// The mode of a Map.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        match &self.kind {
            Kind::Map(map) => Some(map.mode),
            _ => None,
        }
    }

    /// The state that a Map's iterations begin with.
    #[must_use]
    pub fn iterations_start_at(&self) -> Option<&str> {
        match &self.kind {
            Kind::Map(map) => Some(&map.scope.start_at),
            _ => None,
        }
    }

    /// Whether the execution or iteration can end with this state.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        match &self.kind {
            Kind::Succeed | Kind::Fail { .. } => true,
            _ => matches!(self.then(), Some(Then::End)),
        }
    }

    /// `Next` of the state itself, without its rules and catchers.
    #[must_use]
    pub fn next(&self) -> Option<&str> {
        match self.then()? {
            Then::Next(next) => Some(next),
            Then::End => None,
        }
    }

    /// Every edge out of the state, with the field that holds it (`Next`, `Catch[0].Next`,
    /// `Choices[1].Next`, `Default`), all within the state's own scope.
    #[must_use]
    pub fn edges(&self) -> Vec<(String, &str)> {
        let mut edges = Vec::new();
        edges.extend(self.next().map(|next| ("Next".to_owned(), next)));
        for (index, catcher) in self.catch().iter().enumerate() {
            edges.push((format!("Catch[{index}].Next"), catcher.next.as_str()));
        }
        for (index, rule) in self.rules().iter().enumerate() {
            edges.push((format!("Choices[{index}].Next"), rule.next.as_str()));
        }
        edges.extend(self.default().map(|next| ("Default".to_owned(), next)));
        edges
    }

    fn task(&self) -> Option<&TaskState> {
        match &self.kind {
            Kind::Task(task) => Some(task),
            _ => None,
        }
    }

    fn work(&self) -> Option<&Work> {
        match &self.kind {
            Kind::Task(task) => Some(&task.work),
            Kind::Map(map) => Some(&map.work),
            _ => None,
        }
    }

    fn then(&self) -> Option<&Then> {
        match &self.kind {
            Kind::Pass(pass) => Some(&pass.then),
            Kind::Wait { then, .. } => Some(then),
            _ => self.work().map(|work| &work.then),
        }
    }
}
