//! `docs/zoo.md` says what the code says: every verdict and reason is computed anew.

use std::collections::BTreeMap;
use std::path::Path;

use basilica_sim::open::{LIST, read};
use basilica_sim::scorecard::{Effort, compute};

/// Adversary, reasons and verdict by row, from a table in which two spaces or more part the columns.
fn table(text: &str) -> BTreeMap<String, [String; 3]> {
    let lines = text.lines().skip_while(|line| !line.starts_with("row ")).skip(1);
    let rows = lines.take_while(|line| !line.trim().is_empty()).map(|line| {
        let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let [id, name, .., by, verdict] = cells.as_slice() else { panic!("no row: {line}") };
        ((*id).to_owned(), [*name, *by, *verdict].map(str::to_owned))
    });
    rows.collect()
}

#[test]
fn the_committed_scorecard_has_the_verdicts_of_a_run() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/zoo.md");
    let committed = table(&std::fs::read_to_string(path).expect("docs/zoo.md"));
    let open = read(LIST).expect("dev/sim/open.toml");
    let card = compute(Effort::QUICK);
    let computed = table(&card.table(&open));
    assert!(computed.len() >= 26);
    for (id, row) in &computed {
        assert_eq!(
            committed.get(id),
            Some(row),
            "row {id}: run `cargo xtask zoo` and put its table into docs/zoo.md"
        );
    }
    assert_eq!(committed.len(), computed.len(), "docs/zoo.md has rows that no longer exist");
    assert_eq!(card.problems(&open), [], "dev/sim/open.toml does not fit");
}
