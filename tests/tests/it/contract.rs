//! The state machines, the template, the functions' types and the folders say the same.
//!
//! [`check`] lists what does not; every violation begins with the state, or the resource, that is to blame. One test
//! asks it about the documents as they stand, the others about documents with a planted fault.

mod backfill;
mod edit;
mod faults;
mod format;
mod machine_roles;
mod metrics;
mod network;
mod operation;
mod permissions;
mod raw;
mod retries;
mod routes;
mod samples;
mod scenarios;
mod states;
mod template;
mod trial;

use longhaul_asl::{DefinitionError, Machine};
use std::path::{Path, PathBuf};

/// What must agree.
#[derive(Clone, Debug, PartialEq)]
struct Documents {
    /// The definition of `migrate`.
    asl: String,
    /// The definition of `backfill`.
    backfill: String,
    /// The SAM template.
    template: String,
    /// The source text that reads the functions' environment.
    environment: String,
    /// Each folder of `functions/` with the name of its package.
    functions: Vec<(String, String)>,
}

impl Documents {
    fn real() -> Self {
        Self {
            asl: include_str!("../../../statemachine/migrate.asl.json").to_owned(),
            backfill: include_str!("../../../statemachine/backfill.asl.json").to_owned(),
            template: include_str!("../../../template.yaml").to_owned(),
            environment: include_str!("../../../crates/aws/src/lambda.rs").to_owned(),
            functions: function_packages(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../functions")),
        }
    }

    /// Each definition under the name of its file.
    fn definitions(&self) -> [(&'static str, &str); 2] {
        [("migrate.asl.json", &self.asl), ("backfill.asl.json", &self.backfill)]
    }
}

fn function_packages(folder: &Path) -> Vec<(String, String)> {
    let mut packages: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| (entry.file_name().into_string().unwrap(), package_name(&entry.path().join("Cargo.toml"))))
        .collect();
    packages.sort();
    packages
}

/// The name in a manifest, which is the binary's too: none of the functions has a `[[bin]]`.
fn package_name(manifest: &Path) -> String {
    let text = std::fs::read_to_string(manifest).unwrap();
    let name = text.lines().find_map(|line| line.strip_prefix("name = "));
    name.unwrap().trim_matches('"').to_owned()
}

/// Everything that does not agree, one line each: the state or resource, a colon, what is wrong.
///
/// The machines are run only if nothing is wrong with them as they stand.
fn check(documents: &Documents) -> Vec<String> {
    let mut violations = as_it_stands(documents);
    for (_, definition) in documents.definitions() {
        match Machine::parse(definition) {
            Err(error) => violations.push(refused(&error)),
            Ok(machine) => {
                violations.extend(states::check(&machine));
                violations.extend(retries::check(&machine));
            }
        }
    }
    let real = Documents::real();
    // What is as it was runs as it did: `the_documents_agree` runs both.
    if violations.is_empty() && (documents.asl != real.asl || *documents == real) {
        violations.extend(scenarios::check(&documents.asl));
    }
    if violations.is_empty() && (documents.backfill != real.backfill || *documents == real) {
        violations.extend(backfill::check(&documents.backfill));
    }
    violations
}

/// What can be seen without the interpreter, so that its own complaint never hides these.
fn as_it_stands(documents: &Documents) -> Vec<String> {
    let (mut violations, mut machines) = (Vec::new(), Vec::new());
    for (name, definition) in documents.definitions() {
        violations.extend(format::check(name, definition));
        match serde_json::from_str(definition) {
            Err(error) => violations.push(format!("{name}: no JSON: {error}")),
            Ok(machine) => {
                violations.extend(raw::check(&machine));
                violations.extend(routes::check(&machine, &routes::of(name)));
                machines.push((name, machine));
            }
        }
    }
    violations.extend(template::check(documents, &machines));
    violations
}

fn refused(error: &DefinitionError) -> String {
    format!("{}: {} {}", error.state, error.field, error.message)
}

#[test]
fn the_documents_agree() {
    assert_eq!(check(&Documents::real()), Vec::<String>::new());
}
