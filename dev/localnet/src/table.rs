//! The report for people: plain text that lines up, with colour only where asked for.

use std::fmt::Write as _;

use crate::accounts::Role;
use crate::cheat::Cheat;
use crate::report::{Node, Process, Report, WeightRow};

/// Whether escape codes may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal.
    On,
    /// In files and pipes, or if `NO_COLOR` is set.
    Off,
}

impl Colour {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::On => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Off => text.to_owned(),
        }
    }
}

/// The report as text, ending in a newline.
pub fn render(report: &Report, colour: Colour) -> String {
    let mut out = String::new();
    let block = report.block.map_or("does not answer".to_owned(), |block| format!("block {block}"));
    // Writing to a String cannot fail.
    let _ = writeln!(out, "chain {}  {block}", report.chain_url);
    let validator = report.processes.iter().find(|process| process.name == Role::Validator.name());
    if let Some(api) = validator.and_then(|process| process.address.as_ref()) {
        let _ = writeln!(out, "validator {api}");
    }
    out.push('\n');
    out.push_str(&grid(
        &["NODE", "MINER", "OWNER", "ADDRESS", "VERDICT", "REASON", "SCORE", "UPTIME"],
        report.nodes.iter().map(|node| node_row(node, colour)),
    ));
    out.push('\n');
    out.push_str(&grid(
        &["UID", "WHO", "SUBMITTED", "UPSCALED", "ON CHAIN"],
        report.weights.iter().map(|row| weight_row(row, colour)),
    ));
    let down: Vec<&Process> = report.processes.iter().filter(|p| p.pid.is_none()).collect();
    if !down.is_empty() {
        out.push('\n');
    }
    for process in down {
        let what = colour.paint("31", &format!("{} {}", process.name, process.state));
        let _ = writeln!(out, "{what}; start it again with `basilica localnet start {}`", process.name);
    }
    if let Some(missing) = &report.waiting_for {
        let _ = writeln!(out, "\nwaiting for {missing}");
    }
    out
}

fn node_row(node: &Node, colour: Colour) -> Vec<Cell> {
    let shade = match node.verdict.as_str() {
        "passed" => "32",
        "failed" => "31",
        _ => "33",
    };
    vec![
        Cell::plain(&node.name),
        Cell::plain(&node.miner),
        Cell::plain(node.cheat.map_or("honest", Cheat::name)),
        Cell::plain(&node.address),
        Cell::painted(&node.verdict, colour, shade),
        Cell::plain(&node.reason),
        Cell::plain(&node.score.map_or("-".to_owned(), |bp| hundredths(u32::from(bp)))),
        Cell::plain(&node.multiplier.map_or("-".to_owned(), |ppm| format!("{} %", hundredths(ppm / 100)))),
    ]
}

fn weight_row(row: &WeightRow, colour: Colour) -> Vec<Cell> {
    let on_chain = match row.on_chain {
        Some(weight) if row.expected == Some(weight) => Cell::painted(&weight.to_string(), colour, "32"),
        Some(weight) if row.expected.is_none() => Cell::plain(&weight.to_string()),
        Some(weight) => Cell::painted(&format!("{weight} (differs)"), colour, "31"),
        None => Cell::plain("-"),
    };
    vec![
        Cell::plain(&row.uid.to_string()),
        Cell::plain(&row.who),
        Cell::plain(&or_dash(row.submitted)),
        Cell::plain(&or_dash(row.expected)),
        on_chain,
    ]
}

fn or_dash(value: Option<u16>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

/// A number of hundredths with its decimal point.
fn hundredths(value: u32) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

/// Text with its width on screen, which escape codes do not add to.
struct Cell {
    text: String,
    width: usize,
}

impl Cell {
    fn plain(text: &str) -> Self {
        // A tail of an unknown error may hold anything; a table row is one line without control characters.
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { width: text.chars().count(), text }
    }

    fn painted(text: &str, colour: Colour, code: &str) -> Self {
        let plain = Self::plain(text);
        Self { text: colour.paint(code, &plain.text), width: plain.width }
    }
}

fn grid(headings: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> String {
    let mut lines = vec![headings.iter().map(|h| Cell::plain(h)).collect::<Vec<_>>()];
    lines.extend(rows);
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| lines.iter().filter_map(|line| line.get(column)).map(|c| c.width).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for line in lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            text.push_str(&cell.text);
            text.push_str(&" ".repeat(width - cell.width + 2));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let node = |name: &str, verdict: &str, reason: &str, score: u16| Node {
            name: name.to_owned(),
            miner: "miner-1".to_owned(),
            cheat: (score == 0).then_some(Cheat::SkipWork),
            address: "root@10.91.7.11:22".to_owned(),
            verdict: verdict.to_owned(),
            reason: reason.to_owned(),
            score: Some(score),
            multiplier: Some(123_456),
        };
        let weight = |uid, who: &str, submitted, expected, on_chain| WeightRow {
            uid,
            who: who.to_owned(),
            submitted: Some(submitted),
            expected: Some(expected),
            on_chain,
        };
        let process = |name: &str, pid, state: &str| Process {
            name: name.to_owned(),
            pid,
            state: state.to_owned(),
            address: pid.map(|_| "http://127.0.0.1:8080".to_owned()),
        };
        Report {
            chain_url: "ws://127.0.0.1:9944".to_owned(),
            block: Some(120),
            processes: vec![
                process("validator", Some(7), "running"),
                process("miner-2", None, "was ended by signal 9"),
            ],
            nodes: vec![
                node("gpu-node-1", "passed", "ok", 10_000),
                node("gpu-node-4", "failed", "proof_opening_mismatch", 0),
            ],
            weights: vec![
                weight(0, "burn", 32_767, 65_535, Some(65_535)),
                weight(4, "miner-1", 2, 4, Some(5)),
            ],
            waiting_for: Some("the chain to store the weights".to_owned()),
        }
    }

    #[test]
    fn a_report_reads_like_this() {
        let expected = "\
chain ws://127.0.0.1:9944  block 120
validator http://127.0.0.1:8080

NODE        MINER    OWNER      ADDRESS             VERDICT  REASON                  SCORE   UPTIME
gpu-node-1  miner-1  honest     root@10.91.7.11:22  passed   ok                      100.00  12.34 %
gpu-node-4  miner-1  skip-work  root@10.91.7.11:22  failed   proof_opening_mismatch  0.00    12.34 %

UID  WHO      SUBMITTED  UPSCALED  ON CHAIN
0    burn     32767      65535     65535
4    miner-1  2          4         5 (differs)

miner-2 was ended by signal 9; start it again with `basilica localnet start miner-2`

waiting for the chain to store the weights
";
        assert_eq!(render(&report(), Colour::Off), expected);
        assert!(!report().weights_match());
    }

    #[test]
    fn colour_does_not_move_columns() {
        let painted = render(&report(), Colour::On);
        let mut stripped = painted.clone();
        for code in ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"] {
            stripped = stripped.replace(code, "");
        }
        assert_ne!(painted, stripped);
        assert_eq!(stripped, render(&report(), Colour::Off));
    }
}
