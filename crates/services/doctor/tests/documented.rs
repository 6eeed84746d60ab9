//! The documentation knows every code, and no other.

use std::collections::BTreeSet;

use basilica_doctor_service::{Code, Severity};

const DOCS: &str = include_str!("../../../../docs/doctor.md");
const REASONS: &str = include_str!("../../../../docs/reasons.md");

#[test]
fn every_code_is_documented_with_its_severity_cause_and_effect() {
    let rows: BTreeSet<&str> =
        DOCS.lines().filter(|line| line.starts_with("| `") && line.contains("-")).collect();
    let mut names = BTreeSet::new();
    for code in Code::ALL {
        let severity = match code.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let row = format!("| `{code}` | {severity} | {} | {} |", code.cause(), code.effect());
        assert!(rows.contains(row.as_str()), "docs/doctor.md lacks: {row}");
        assert!(names.insert(code.as_str()), "{code} twice");
    }
    let documented = rows.iter().filter(|row| row.matches('|').count() == 5).count();
    assert_eq!(documented, Code::ALL.len(), "docs/doctor.md has codes that are none");
}

#[test]
fn the_reasons_that_effects_name_are_validators_reasons() {
    for code in Code::ALL {
        let Some((_, rest)) = code.effect().split_once('(') else { continue };
        let named = rest.split(')').next().unwrap_or_default();
        if named.contains('_') {
            assert!(REASONS.contains(&format!("| `{named}` |")), "{code}: {named} is no reason");
        }
    }
}
