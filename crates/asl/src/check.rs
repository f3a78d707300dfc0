//! What only the whole definition shows.

use std::collections::BTreeSet;

use crate::definition::{Kind, Machine, Scope};
use crate::error::DefinitionError;

/// Checks that every edge leads somewhere, every state is reached, every scope can end and no name
/// stands twice, since Step Functions wants names to be unique in the whole machine.
pub(crate) fn check(machine: &Machine) -> Result<(), DefinitionError> {
    check_scope(&machine.scope, "", &mut BTreeSet::new())
}

fn check_scope<'m>(scope: &'m Scope, around: &str, names: &mut BTreeSet<&'m str>) -> Result<(), DefinitionError> {
    let place = |name: &str| if around.is_empty() { name.to_owned() } else { format!("{around}/{name}") };
    let refuse =
        |state: String, field: &str, message: String| Err(DefinitionError { state, field: field.to_owned(), message });
    if scope.state(&scope.start_at).is_none() {
        let message = format!("there is no state {:?}", scope.start_at);
        return refuse(around.to_owned(), "StartAt", message);
    }
    for state in &scope.states {
        if !names.insert(&state.name) {
            return refuse(place(&state.name), "", "another state has this name".to_owned());
        }
        for (field, next) in state.edges() {
            if scope.state(next).is_none() {
                return refuse(place(&state.name), &field, format!("there is no state {next:?} beside it"));
            }
        }
    }
    let mut reached = BTreeSet::from([scope.start_at.as_str()]);
    let mut waiting = vec![scope.start_at.as_str()];
    while let Some(state) = waiting.pop().and_then(|name| scope.state(name)) {
        for (_, next) in state.edges() {
            if reached.insert(next) {
                waiting.push(next);
            }
        }
    }
    if let Some(state) = scope.states.iter().find(|state| !reached.contains(state.name.as_str())) {
        return refuse(place(&state.name), "", "is never reached".to_owned());
    }
    if !scope.states.iter().any(super::definition::State::is_terminal) {
        return refuse(around.to_owned(), "States", "none of them is terminal".to_owned());
    }
    for state in &scope.states {
        if let Kind::Map(map) = &state.kind {
            check_scope(&map.scope, &place(&state.name), names)?;
        }
    }
    Ok(())
}
