//! The command line.

use std::path::PathBuf;

use basilica_types::{Hotkey, SessionId};
use clap::{ArgAction, Parser, Subcommand};

use crate::audit::AuditArgs;
use crate::checkup::ServiceCommand;
use crate::database::DatabaseCommand;
use crate::doctor::DoctorArgs;
use crate::init::Init;
use crate::keys::KeysCommand;
use crate::nodes::NodesCommand;
use crate::program::{Program, USUAL_CONFIG};
use crate::tls::TlsCommand;
use crate::top::Top;

const AFTER_HELP: &str = "First steps:
  basilica-miner init                  write miner.toml
  basilica-miner nodes add USER@HOST   put a GPU server to work
  basilica-miner doctor                find what is wrong, and how to mend it
  basilica-miner                       run

Exit codes:
  0   done, or stopped by a signal in order
  1   something failed; the last line says what
  2   wrong command line
  78  wrong configuration: no file, or a value; the message names its line and
      key, or its variable. A wallet or directory that is not there is 1";

/// Serves GPU nodes to the validators of a Basilica subnet: without a command the miner runs until it is stopped.
#[derive(Debug, Parser)]
#[command(name = "basilica-miner", version, after_help = AFTER_HELP, max_term_width = 80)]
pub(crate) struct Cli {
    /// Configuration file.
    #[arg(short, long, global = true, default_value = USUAL_CONFIG, value_name = "FILE")]
    pub(crate) config: PathBuf,

    /// More words in the log; up to three times. RUST_LOG overrides it.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Output for programs: log lines and answers as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Serve metrics, whatever the configuration says.
    #[arg(long)]
    pub(crate) metrics: bool,

    /// Take validators' keys off all nodes when this run ends, whatever the
    /// configuration says.
    #[arg(long)]
    pub(crate) revoke_on_exit: bool,

    /// Print an annotated configuration and exit.
    #[arg(long)]
    pub(crate) gen_config: bool,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Cli {
    /// This program with the configuration in use, for commands that are printed.
    pub(crate) fn program(&self) -> Program {
        Program::with(&self.config)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check or show the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Find what is wrong with this miner and its nodes before a validator does. Exit code 1 if something is.
    Doctor(DoctorArgs),
    /// Check configuration, wallet, database, chain, nodes and the running miner: a line each, and 0 or 1.
    HealthCheck,
    /// Try one part.
    Service {
        #[command(subcommand)]
        command: ServiceCommand,
    },
    /// Tell how the miner of this configuration is doing.
    Status,
    /// Watch the running miner: nodes, sessions, verdicts, alerts.
    Top(Top),
    /// Write a configuration for a new miner, asking what it cannot know.
    Init(Box<Init>),
    /// Add, list and remove GPU servers, take them out and back.
    Nodes {
        #[command(subcommand)]
        command: NodesCommand,
    },
    /// Check the audit log of SSH: that no line was changed, left out or put in between. Exit code 1 if one was.
    Audit(AuditArgs),
    /// Replace the SSH key with which the miner logs in on its nodes.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Look after the database.
    Database {
        #[command(subcommand)]
        command: DatabaseCommand,
    },
    /// The same as `database migrate`.
    Migrate,
    /// See and approve the host keys of nodes.
    HostKey {
        #[command(subcommand)]
        command: HostKeyCommand,
    },
    /// Make the certificate for gRPC with TLS.
    Tls {
        #[command(subcommand)]
        command: TlsCommand,
    },
    /// See and revoke the sessions of validators.
    Sessions {
        #[command(subcommand)]
        command: SessionsCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check everything that needs no network.
    Validate {
        /// The file to check, instead of --config.
        #[arg(short, long, value_name = "FILE")]
        path: Option<PathBuf>,
    },
    /// Show the configuration in effect.
    Show {
        /// Also where keys and wallet are, and addresses that may hold an access key.
        #[arg(long)]
        show_sensitive: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// List the open sessions of validators, and those that ended but may still have a key on a node.
    List {
        /// Also the sessions that ended within the last day, and why.
        #[arg(long)]
        all: bool,
    },
    /// End sessions before their time: keys and processes leave the nodes.
    #[command(group = clap::ArgGroup::new("which").required(true))]
    Revoke {
        /// The session's id.
        #[arg(group = "which", value_name = "ID")]
        id: Option<SessionId>,
        /// All of this validator.
        #[arg(long, group = "which", value_name = "HOTKEY")]
        validator: Option<Hotkey>,
        /// All of everybody.
        #[arg(long, group = "which")]
        all: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostKeyCommand {
    /// Trust the host key that a node shows now in place of the one it had.
    Approve {
        /// The node's id, or its address as `[USER@]HOST[:PORT]`, as far as no other node fits it.
        node: String,
        /// The fingerprint (SHA256:...) that you found to be the node's own; only a key that has it is trusted.
        fingerprint: String,
    },
    /// List the host keys of all nodes, and the ones offered since.
    List,
}
