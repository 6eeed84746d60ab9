//! The set-up by hand that operators of earlier miners have in their notes and scripts, pinned command for command: an interface that this miner
//! keeps. `commands.txt` changes only if that is to end, never because something here does.
//!
//! [`Changes`] is all that the walk puts in place of what stands there.

use crate::manual::blocks;
use crate::older::docker_lines;

const COMMANDS: &str = include_str!("commands.txt");
const GUIDE: &str = include_str!("../../../../../docs/miner.md");
/// The address that documentation may use.
const EXAMPLE: &str = "192.0.2.10";

/// What is put in place of what: hosts, one of which is the chain. No path, no name, no other word.
pub(super) struct Changes([(&'static str, String); 4]);

impl Changes {
    pub(super) fn new(node: &str, miner: &str, chain: &str) -> Self {
        Self([
            ("<gpu_node_ip>", node.to_owned()),
            ("<node_ip>", node.to_owned()),
            ("your_public_ip", miner.to_owned()),
            ("wss://entrypoint-finney.opentensor.ai:443", chain.to_owned()),
        ])
    }

    /// The commands of a step, as the walk types them.
    pub(super) fn commands(&self, step: &str) -> String {
        let pinned = step_of(COMMANDS, step).join("\n");
        self.0.iter().fold(pinned, |text, (theirs, ours)| text.replace(theirs, ours))
    }
}

/// The lines below a step's name.
fn step_of<'a>(text: &'a str, step: &str) -> Vec<&'a str> {
    let lines = text.lines().skip_while(|line| line.strip_prefix("# ") != Some(step)).skip(1);
    let lines: Vec<&str> = lines.take_while(|line| !line.starts_with("# ")).collect();
    assert!(!lines.is_empty(), "{step} has commands");
    lines
}

/// Blocks of commands of a section of our guide.
pub(super) fn steps(section: &str) -> Vec<&'static str> {
    let (_, rest) = GUIDE.split_once(&format!("\n## {section}\n")).expect("the section");
    blocks(rest.split("\n## ").next().unwrap_or_default(), "sh")
}

#[test]
fn every_change_that_the_walk_makes_is_of_something_that_is_there() {
    for (theirs, _) in Changes::new("", "", "").0 {
        assert!(COMMANDS.contains(theirs), "{theirs}");
    }
}

#[test]
fn our_guide_has_its_readers_type_the_commands_that_are_pinned() {
    let lines = |blocks: Vec<&'static str>| {
        let lines = blocks.into_iter().flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let pinned = |steps: &[&str]| {
        let lines = steps.iter().flat_map(|step| step_of(COMMANDS, step));
        lines
            .map(|line| line.replace("<gpu_node_ip>", EXAMPLE).replace("<node_ip>", EXAMPLE))
            .collect::<Vec<_>>()
    };
    assert_eq!(lines(steps("Prepare a node")), pinned(&["node"]));
    let by_hand = ["key", "data directory", "template", "configuration", "own build"];
    assert_eq!(lines(steps("The same by hand")), pinned(&by_hand));
}

/// No daemon runs where tests do: what docker compose makes of these is in `compose`.
#[test]
fn the_lines_that_lead_to_docker_are_answered_for() {
    let known = docker_lines();
    for line in step_of(COMMANDS, "docker compose") {
        assert!(known.contains(&line), "docs/seed-compatibility.md has no {line:?}");
    }
}
