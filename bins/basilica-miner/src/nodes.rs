//! `basilica-miner nodes …`: which GPU servers this miner has.

mod access;
mod add;
mod list;
mod remove;
pub(crate) mod twins;

use basilica_types::{Millis, NodeAddress, NodeAddressError, Username};
use clap::Subcommand;

pub(crate) use self::access::{Access, DEADLINE, KEY_COMMENT, ensure_key, refused};
pub(crate) use self::remove::until_left;

use crate::cli::Cli;
use crate::maintenance;
use crate::select::Partial;

#[derive(Debug, Subcommand)]
pub(crate) enum NodesCommand {
    /// Put a GPU server to work: install the miner's key, pin the server's, look at it, write it into the configuration.
    Add(Box<add::Add>),
    /// List the GPU servers, their ids, prices and host keys.
    List,
    /// Take a GPU server out of the configuration, and all keys that this miner put there off it.
    Remove(remove::Remove),
    /// Take nodes out for maintenance: validators see that, and their keys leave the nodes.
    Drain {
        /// Each node's id, or its address as `[USER@]HOST[:PORT]`, as far as no other node fits it.
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
        /// Why, for your own log.
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: Option<String>,
        /// Return only when the nodes carry no key of a validator, and nothing that was started with one.
        #[arg(long)]
        wait: bool,
        /// Longest to wait, in seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "wait")]
        timeout: u64,
    },
    /// Take back nodes that were lost, where the configuration says auto_recovery = false.
    Recover {
        /// Each node's id, or its address as `[USER@]HOST[:PORT]`, as far as no other node fits it.
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
    },
    /// Take nodes back from maintenance.
    Undrain {
        /// Each node's id, or its address as `[USER@]HOST[:PORT]`, as far as no other node fits it.
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
    },
}

pub(crate) fn run(cli: &Cli, command: &NodesCommand) -> anyhow::Result<()> {
    match command {
        NodesCommand::Add(arguments) => add::run(cli, arguments),
        NodesCommand::List => list::run(cli),
        NodesCommand::Remove(arguments) => remove::run(cli, arguments),
        NodesCommand::Drain { nodes, reason, wait, timeout } => {
            let wait = wait.then_some(Millis::from_secs(*timeout));
            maintenance::drain(cli, nodes, reason.as_deref(), wait)
        }
        NodesCommand::Recover { nodes } => maintenance::recover(cli, nodes),
        NodesCommand::Undrain { nodes } => maintenance::undrain(cli, nodes),
    }
}

/// `[user@]host[:port]` as ssh takes it, with what is usual for what is left out.
pub(crate) fn address(text: &str, default_user: &Username) -> Result<NodeAddress, NodeAddressError> {
    Partial::read(text)?.or_usual(default_user)
}

/// Longest reason, in characters: it stands in lists, beside the node.
const REASON: usize = 200;

/// Words for one line of a terminal.
fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty; leave --reason out where there is none".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("it has control characters, such as an end of line; write it in one line".to_owned());
    }
    match text.chars().count() {
        count if count > REASON => Err(format!("it has {count} characters; at most {REASON} are kept")),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_ssh_reads_them() {
        let read = |text: &str| address(text, &"node".parse().unwrap()).map(|address| address.to_string());
        for (text, expected) in [
            ("gpu-1", "node@gpu-1:22"),
            ("root@GPU-1.", "root@gpu-1:22"),
            ("root@10.0.0.1:2222", "root@10.0.0.1:2222"),
            ("10.0.0.1:2222", "node@10.0.0.1:2222"),
            ("root@[2001:db8::1]", "root@[2001:db8::1]:22"),
            ("root@[2001:db8::1]:2222", "root@[2001:db8::1]:2222"),
            ("2001:db8::1", "node@[2001:db8::1]:22"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
        for bad in ["", "root@", "@host", "host:0", "host:x", "host:", "a b", "-oProxyCommand=x"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reason_is_one_line_that_can_be_shown() {
        assert_eq!(reason(" new fans ").unwrap(), "new fans");
        for refused in ["", "  ", "line\nforged@host  healthy", "\u{1b}[31mred", &"x".repeat(201)] {
            assert!(reason(refused).is_err(), "{refused:?}");
        }
    }
}
