//! The matrix of docs/devchain-clients.md: read to be compared with, or written with what was found.

use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, Write as _};

pub(super) const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/devchain-clients.md");
/// Around the table; what is outside belongs to people.
const MARKERS: [&str; 2] = ["<!-- begin: written by tests -->", "<!-- end: written by tests -->"];
/// What a client has no operation for.
const NONE: &str = "none";
pub(super) const WORKS: &str = "works";

/// An operation and what it came to.
pub(super) type Cell = (String, String);

/// A table of Markdown: the first row names the columns, the first column the operations.
pub(super) struct Table(Vec<Vec<String>>);

impl Table {
    fn parse(text: &str) -> Self {
        let cells = |line: &str| -> Vec<String> {
            line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        let is_rule = |line: &&str| line.chars().all(|c| "|-: ".contains(c));
        Self(
            text.lines()
                .filter(|line| line.starts_with('|'))
                .filter(|line| !is_rule(line))
                .map(cells)
                .collect(),
        )
    }

    /// As the page has it.
    pub(super) fn of_the_page() -> Self {
        document(&std::fs::read_to_string(PAGE).expect("the page is there")).1
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (index, row) in self.0.iter().enumerate() {
            text += &format!("| {} |\n", row.join(" | "));
            if index == 0 {
                text += &format!("|{}\n", "---|".repeat(row.len()));
            }
        }
        text
    }

    fn position(&self, column: &str) -> usize {
        let head = self.0.first().expect("the table has a head");
        head.iter()
            .position(|name| name == column)
            .unwrap_or_else(|| panic!("no column {column:?} in {head:?}"))
    }

    /// The cells of a column that are operations of this client.
    pub(super) fn column(&self, column: &str) -> Vec<Cell> {
        let position = self.position(column);
        let cells = self.0.iter().skip(1).map(|row| (row[0].clone(), row[position].clone()));
        cells.filter(|(_, cell)| cell != NONE).collect()
    }

    fn set(&mut self, column: &str, results: &[Cell]) {
        let position = self.position(column);
        for row in self.0.iter_mut().skip(1) {
            NONE.clone_into(&mut row[position]);
        }
        for (operation, cell) in results {
            let width = self.0[0].len();
            let found = self.0.iter().position(|row| row[0] == *operation).unwrap_or_else(|| {
                let mut row = vec![NONE.to_owned(); width];
                row[0].clone_from(operation);
                self.0.push(row);
                self.0.len() - 1
            });
            self.0[found][position].clone_from(cell);
        }
        // Operations that no client has any more.
        let mut rows = std::mem::take(&mut self.0).into_iter();
        self.0.extend(rows.next());
        self.0.extend(rows.filter(|row| row.iter().skip(1).any(|cell| cell != NONE)));
    }
}

/// What stands before the table, the table, and what stands after it.
fn document(text: &str) -> (&str, Table, &str) {
    let [begin, end] = MARKERS;
    let (before, rest) = text.split_once(begin).expect("the page has the first marker");
    let (table, after) = rest.split_once(end).expect("the page has the last marker");
    (before, Table::parse(table), after)
}

/// Writes a column; tests of other columns may do so at the same time.
fn write(column: &str, results: &[Cell]) {
    let mut file = OpenOptions::new().read(true).write(true).open(PAGE).expect("the page is there");
    file.lock().expect("the page can be locked");
    let mut text = String::new();
    file.read_to_string(&mut text).expect("the page can be read");
    let (before, mut table, after) = document(&text);
    table.set(column, results);
    let [begin, end] = MARKERS;
    let new = format!("{before}{begin}\n{}{end}{after}", table.text());
    file.set_len(0).and_then(|()| file.rewind()).expect("the page can be emptied");
    file.write_all(new.as_bytes()).expect("the page can be written");
}

/// Compares a column with what was found, or writes it.
pub(super) fn compare(column: &str, results: &[Cell]) {
    if std::env::var_os("BASILICA_UPDATE_DOCS").is_some() {
        write(column, results);
        return;
    }
    let expected = Table::of_the_page().column(column);
    let differ: Vec<_> = results.iter().filter(|result| !expected.contains(result)).collect();
    let gone: Vec<_> = expected.iter().filter(|result| !results.contains(result)).collect();
    assert!(
        differ.is_empty() && gone.is_empty(),
        "{column}: docs/devchain-clients.md says {gone:#?}, but it is {differ:#?}. If that is right now, run this test with \
         BASILICA_UPDATE_DOCS=1 and read what it wrote"
    );
}
