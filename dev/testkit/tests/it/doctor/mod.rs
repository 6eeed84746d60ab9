//! The doctor before hosts that are broken in one way each: it names that way and no other, and what it says that it can heal is
//! whole afterwards.

mod cases;
mod proving;
mod sshd;
mod world;

use std::collections::BTreeSet;

use basilica_doctor_service::Severity;

use self::cases::{Case, HOSTS, Heals};
pub(crate) use self::world::DOCKER;
use self::world::World;

/// The codes of what is wrong.
fn wrong(findings: &[basilica_doctor_service::Finding]) -> Vec<&'static str> {
    findings
        .iter()
        .filter(|finding| finding.severity != Severity::Note)
        .map(|finding| finding.code.as_str())
        .collect()
}

#[tokio::test]
async fn each_broken_host_is_named_for_what_it_is_and_what_can_be_healed_is_whole_afterwards() {
    let mut world = World::start().await;
    for case in HOSTS {
        world.break_host(case).await;
    }
    let mut failures = Vec::new();
    for case in HOSTS {
        let seen = world.look(case).await;
        let found = basilica_doctor_service::judge(&seen);
        if wrong(&found) != case.expected {
            failures.push(format!("{}: expected {:?}, found {found:#?}", case.name, case.expected));
            continue;
        }
        let fixable = found.iter().any(|finding| finding.fixable.is_some());
        if fixable != (case.heals == Heals::Yes) {
            failures.push(format!("{}: fixable is {fixable}: {found:#?}", case.name));
            continue;
        }
        for finding in found.iter().filter(|finding| finding.severity != Severity::Note) {
            assert!(!finding.seen.is_empty() && !finding.fix.is_empty(), "{}: {finding:?}", case.name);
        }
        if case.heals == Heals::Yes {
            let fixed = world.fix(case, &found).await;
            let is_well = fixed.changes.iter().all(|change| change.before != change.after);
            assert!(is_well && fixed.not_fixed.is_empty(), "{}: {fixed:?}", case.name);
            let after = basilica_doctor_service::judge(&world.look(case).await);
            if !wrong(&after).is_empty() {
                failures.push(format!("{}: after --fix: {after:#?}", case.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test]
async fn addresses_behind_which_there_is_no_sshd_are_told_apart() {
    let mut world = World::start_with(&["plain", "gone", "hung", "dropping"]).await;
    let failures = world.addresses_without_sshd().await;
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn there_are_more_than_thirty_ways_and_each_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = HOSTS.iter().map(|case: &Case| case.name).collect();
    assert_eq!(names.len(), HOSTS.len());
    assert!(HOSTS.iter().filter(|case| !case.expected.is_empty()).count() >= 30);
}
