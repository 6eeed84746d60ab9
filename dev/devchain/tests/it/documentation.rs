//! docs/devchain.md against the program: methods, flags, faults and changes are the same in both.

use std::collections::BTreeSet;

use basilica_devchain::faults::Faults;
use serde_json::json;

use crate::support::{Devchain, command};

const PAGE: &str = include_str!("../../../../docs/devchain.md");

/// What stands in backticks and begins like this, up to the first blank.
fn quoted(begin: &str) -> BTreeSet<String> {
    PAGE.split('`')
        .skip(1)
        .step_by(2)
        .filter(|quoted| quoted.starts_with(begin))
        .filter_map(|quoted| quoted.split([' ', '"']).next())
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn every_control_is_documented_and_every_documented_one_exists() {
    let chain = Devchain::start(&["--mining", "manual"]);
    let client = chain.client().await;
    let listed = client.call("rpc_methods", json!([])).await;
    let exist: BTreeSet<String> = listed["methods"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|name| name.as_str())
        .filter(|name| name.starts_with("dev_"))
        .map(str::to_owned)
        .collect();
    let mut documented = quoted("dev_");
    assert!(documented.remove("dev_*"));
    assert_eq!(documented, exist);
}

#[test]
fn every_flag_is_documented_and_every_documented_one_exists() {
    let output = command().arg("--help").output().expect("runs");
    let help = String::from_utf8(output.stdout).expect("text");
    let flags: BTreeSet<String> = help
        .lines()
        .filter_map(|line| {
            line.trim_start().strip_prefix("--").or_else(|| line.trim_start().strip_prefix("-h, --"))
        })
        .filter_map(|rest| rest.split([' ', ',']).next())
        .filter(|name| !["help", "version"].contains(name))
        .map(|name| format!("--{name}"))
        .collect();
    assert!(flags.len() > 10, "{flags:?}");
    for flag in &flags {
        assert!(PAGE.contains(flag.as_str()), "{flag} is not documented");
    }
    for flag in quoted("--") {
        assert!(flags.contains(&flag), "{flag} is documented and does not exist");
    }
}

#[test]
fn every_recipe_for_a_fault_is_taken() {
    let recipes: Vec<&str> =
        PAGE.split('`').skip(1).step_by(2).filter(|quoted| quoted.starts_with("{\"kind\"")).collect();
    assert!(recipes.len() >= 4);
    let faults = Faults::new(0);
    for recipe in recipes {
        let spec = serde_json::from_str(recipe).expect("JSON");
        faults.add(spec).unwrap_or_else(|error| panic!("{recipe}: {error}"));
    }
}
