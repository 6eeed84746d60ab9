//! `basilica-miner keys …`: the SSH key that the miner logs in on its nodes with.

mod files;
mod hosts;
mod rotate;
mod unfinished;
mod visit;

use clap::Subcommand;

pub(crate) use self::files::{KeyFiles, half};
pub(crate) use self::hosts::Host;
pub(crate) use self::unfinished::{owed, unfinished};

use crate::cli::Cli;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Replace the miner's SSH key: a new one goes to all nodes and is tried on each before it takes the old one's place, which then
    /// leaves them. Run it again after any failure or interruption; it goes on where it stood.
    Rotate(rotate::Rotate),
}

pub(crate) fn run(cli: &Cli, command: &KeysCommand) -> anyhow::Result<()> {
    let KeysCommand::Rotate(arguments) = command;
    rotate::run(cli, arguments)
}
