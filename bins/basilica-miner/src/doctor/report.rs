//! The findings for people: worst first, a block for each node, and little where all is well.

use std::fmt::Write as _;

use basilica_doctor_service::{Finding, Remedy, Severity};
use basilica_status::counted;

use super::{NodeReport, Report};

const RED: &str = "\u{1b}[31m";
const YELLOW: &str = "\u{1b}[33m";
const GREEN: &str = "\u{1b}[32m";
const DIM: &str = "\u{1b}[2m";
const PLAIN: &str = "\u{1b}[0m";

/// All of it.
pub(super) fn text(report: &Report, coloured: bool) -> String {
    let mut out = String::new();
    let paint = |colour: &'static str| if coloured { (colour, PLAIN) } else { ("", "") };
    if !report.here.is_empty() {
        let _ = writeln!(out, "this machine");
        for finding in &report.here {
            write_finding(&mut out, finding, coloured);
        }
        out.push('\n');
    }
    let (well, ill): (Vec<&NodeReport>, Vec<&NodeReport>) =
        report.nodes.iter().partition(|node| node.findings.is_empty() && node.changes.is_empty());
    for node in ill {
        let _ = writeln!(out, "{}  (login {} ms)", node.node, node.login_ms);
        for change in &node.changes {
            let _ = writeln!(out, "  fixed\n    before: {}\n    after:  {}", change.before, change.after);
        }
        if let Some(why) = &node.not_fixed {
            let _ = writeln!(out, "  not fixed: {why}");
        }
        for finding in &node.findings {
            write_finding(&mut out, finding, coloured);
        }
        out.push('\n');
    }
    let (green, plain) = paint(GREEN);
    if !well.is_empty() {
        let names: Vec<String> = well.iter().map(|node| node.node.to_string()).collect();
        let _ = writeln!(out, "{green}ok{plain}  {}", names.join(", "));
    }
    let all = || report.here.iter().chain(report.nodes.iter().flat_map(|node| &node.findings));
    let count = |severity| all().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let _ = if report.ok {
        writeln!(out, "{green}nothing is wrong{plain} ({})", counted(report.nodes.len(), "node"))
    } else {
        let remedies = || all().filter_map(|finding| finding.fixable);
        let hint = |flag: &str, count: usize| match count {
            0 => String::new(),
            count => format!("; {flag} heals {count}"),
        };
        let (sshd, safe): (Vec<Remedy>, Vec<Remedy>) = remedies().partition(|remedy| remedy.needs_consent());
        let hint = hint("--fix", safe.len()) + &hint("--fix-sshd", sshd.len());
        let (errors, warnings) = (counted(errors, "error"), counted(warnings, "warning"));
        writeln!(out, "{errors}, {warnings}{hint}; codes are explained in docs/doctor.md")
    };
    out
}

fn write_finding(out: &mut String, finding: &Finding, coloured: bool) {
    let (word, colour) = match finding.severity {
        Severity::Error => ("error", RED),
        Severity::Warning => ("warning", YELLOW),
        Severity::Note => ("note", DIM),
    };
    let (colour, plain) = if coloured { (colour, PLAIN) } else { ("", "") };
    let _ = writeln!(out, "  {colour}{word}{plain} {}: {}", finding.code, finding.cause);
    if !finding.seen.is_empty() {
        let _ = writeln!(out, "    seen:   {}", finding.seen);
    }
    if finding.severity != Severity::Note {
        let _ = writeln!(out, "    effect: {}", finding.effect);
    }
    for (at, line) in finding.fix.iter().enumerate() {
        let head = if at == 0 { "fix:   " } else { "       " };
        let _ = writeln!(out, "    {head} {line}");
    }
}
