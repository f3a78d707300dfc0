//! The optional network gives what the template takes from it, and takes what the template gives.

use super::Documents;
use serde_yaml_ng::Value as Yaml;
use std::collections::BTreeSet;

fn names(section: &Yaml) -> BTreeSet<&str> {
    section.as_mapping().into_iter().flatten().filter_map(|(name, _)| name.as_str()).collect()
}

#[test]
fn the_network_gives_what_the_template_takes() {
    let text = Documents::real().template;
    let template: Yaml = serde_yaml_ng::from_str(&text).unwrap();
    let network: Yaml = serde_yaml_ng::from_str(include_str!("../../../../network.yaml")).unwrap();
    let taken = text.split("NetworkStack.Outputs.").skip(1);
    let taken: BTreeSet<&str> =
        taken.filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric()).next()).collect();
    assert_eq!(taken, names(&network["Outputs"]));
    let stack = &template["Resources"]["NetworkStack"]["Properties"];
    assert_eq!(stack["TemplateURL"], "network.yaml");
    let given = names(&stack["Parameters"]);
    assert!(given.is_subset(&names(&network["Parameters"])), "{given:?}");
}

/// It is off by default: without it there is nothing in either template that only it needs.
#[test]
fn without_the_network_nothing_of_it_is_made() {
    let template: Yaml = serde_yaml_ng::from_str(&Documents::real().template).unwrap();
    assert_eq!(template["Parameters"]["Network"]["Default"], "false");
    let all = template["Resources"].as_mapping().unwrap().values();
    let of_network = all.filter(|resource| {
        resource["Type"]
            .as_str()
            .is_some_and(|kind| kind.starts_with("AWS::EC2") || kind == "AWS::CloudFormation::Stack")
    });
    let of_network: Vec<&Yaml> = of_network.collect();
    assert!(!of_network.is_empty() && of_network.iter().all(|resource| resource["Condition"] == "InNetwork"));
}
