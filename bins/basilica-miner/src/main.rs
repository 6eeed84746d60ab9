//! The miner's composition root: the only place that names its technologies.

mod ask;
mod audit;
mod checkup;
mod cli;
mod commands;
mod config_file;
mod database;
mod doctor;
mod init;
mod keys;
mod maintenance;
mod nodes;
mod pages;
mod pair;
mod program;
mod reload;
mod running;
mod select;
mod service;
mod sessions;
mod status;
mod store;
mod tls;
mod top;
mod wait;

use std::process::ExitCode;

use basilica_console as console;
use basilica_runtime_service::{ConfigError, ErrorChain};

use crate::checkup::ServiceCommand;
use crate::cli::{Cli, Command, ConfigCommand, HostKeyCommand, SessionsCommand};
use crate::database::DatabaseCommand;

/// The configuration is wrong (`EX_CONFIG` of sysexits.h).
const BAD_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let cli: Cli = match console::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    if cli.gen_config && cli.command.is_some() {
        return console::fail(&"--gen-config prints an example and takes no command", console::USAGE);
    }
    match dispatch(&cli) {
        Ok(code) => code,
        Err(error) => {
            let bad_config = error.chain().any(|cause| cause.is::<ConfigError>());
            let words = cli.program().in_words(&ErrorChain(error.as_ref()).to_string());
            console::fail(&words, if bad_config { BAD_CONFIG } else { console::FAILURE })
        }
    }
}

fn dispatch(cli: &Cli) -> anyhow::Result<ExitCode> {
    if cli.gen_config {
        let example = basilica_miner_service::config::EXAMPLE;
        commands::print(&if cli.json {
            format!("{:#}\n", serde_json::json!({ "toml": example }))
        } else {
            example.to_owned()
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let done = match &cli.command {
        None => service::run(cli),
        Some(Command::Config { command: ConfigCommand::Validate { path } }) => {
            commands::validate(cli, path.as_deref())
        }
        Some(Command::Config { command: ConfigCommand::Show { show_sensitive } }) => {
            commands::show(cli, *show_sensitive)
        }
        // What it finds is no failure of its own, and has an exit code all the same.
        Some(Command::Doctor(arguments)) => return doctor::doctor(cli, arguments),
        Some(Command::HealthCheck) => return checkup::health_check(cli),
        Some(Command::Service { command: ServiceCommand::TestSsh }) => return checkup::test_ssh(cli),
        Some(Command::Service { command: ServiceCommand::TestBittensor }) => {
            return checkup::test_bittensor(cli);
        }
        Some(Command::Status) => status::status(cli),
        Some(Command::Top(top)) => top::top(cli, *top),
        Some(Command::Init(arguments)) => init::run(cli, arguments),
        Some(Command::Nodes { command }) => nodes::run(cli, command),
        Some(Command::Keys { command }) => keys::run(cli, command),
        Some(Command::Tls { command }) => tls::run(cli, command),
        Some(Command::Audit(arguments)) => return audit::run(cli, arguments),
        Some(Command::Database { command }) => return database::run(cli, command),
        Some(Command::Migrate) => return database::run(cli, &DatabaseCommand::Migrate),
        Some(Command::HostKey { command: HostKeyCommand::Approve { node, fingerprint } }) => {
            commands::approve_host_key(cli, node, fingerprint)
        }
        Some(Command::HostKey { command: HostKeyCommand::List }) => commands::list_host_keys(cli),
        Some(Command::Sessions { command: SessionsCommand::List { all } }) => sessions::list(cli, *all),
        Some(Command::Sessions { command: SessionsCommand::Revoke { id, validator, all: _, yes } }) => {
            sessions::revoke(cli, *id, *validator, *yes)
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}
