//! `database health|migrate|backup|restore`: what an operator asks of the miner's tables, whether the miner runs or not.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use basilica_console as console;
use basilica_miner_service::config::MinerConfig;
use basilica_ports::Clock as _;
use basilica_status::span;
use basilica_store::{FileHealth, MINER_SCHEMA, MinerLock, OpenError, RESTORE_WAIT, restore_miner};
use basilica_system::SystemClock;
use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::cli::Cli;
use crate::commands::{answer, block_on, configured, open};

#[derive(Debug, Subcommand)]
pub(crate) enum DatabaseCommand {
    /// Whether it is sound and has this program's schema, what is in it, and whether a miner runs on it. Exit code 1 if it is not well.
    Health,
    /// Bring it to this program's schema, or make it.
    Migrate,
    /// Write all of it to a file, as of one moment; a running miner goes on.
    Backup {
        /// The file to be made; it is private and must not exist.
        #[arg(long, value_name = "FILE", value_parser = new_file)]
        to: PathBuf,
    },
    /// Put a backup where no database is. The miner must not run; validators' sessions end.
    Restore {
        /// The file.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
}

/// Elsewhere a dash is the standard output, which a database is not written to.
fn new_file(text: &str) -> Result<PathBuf, String> {
    match text {
        "-" => Err("a backup goes to a file; one of that name is ./-".to_owned()),
        file => Ok(file.into()),
    }
}

/// As JSON, as text, and whether all is well.
type Answer = (Value, String, bool);

pub(crate) fn run(cli: &Cli, command: &DatabaseCommand) -> anyhow::Result<ExitCode> {
    let config = configured(cli, &cli.config)?.config;
    let (report, text, well) = block_on(async {
        match command {
            DatabaseCommand::Health => health(&config).await,
            DatabaseCommand::Migrate => migrate(&config).await,
            DatabaseCommand::Backup { to } => back_up(&config, to).await,
            DatabaseCommand::Restore { from } => restore(&config, from).await,
        }
    })?;
    answer(cli, &report, || cli.program().in_words(&text))?;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(console::FAILURE) })
}

/// How the file is, and its schema; of one that is too damaged to be opened that is not known.
async fn look(config: &MinerConfig) -> anyhow::Result<(FileHealth, Option<i64>)> {
    let error = match open(config, false).await {
        Ok(database) => {
            let health = database.health().await;
            database.close().await;
            return Ok((health?, Some(MINER_SCHEMA.version())));
        }
        Err(error) => error,
    };
    let Some(damage) = error.downcast_ref::<OpenError>().and_then(OpenError::damage) else {
        return Err(error);
    };
    let bytes = std::fs::metadata(config.database.url.as_path()).context("measure the database")?.len();
    Ok((FileHealth { damage: Some(damage), bytes, tables: Vec::new() }, None))
}

async fn health(config: &MinerConfig) -> anyhow::Result<Answer> {
    let url = &config.database.url;
    let holder = MinerLock::holder(url)?;
    let (health, schema) = look(config).await?;
    let tables: Map<String, Value> =
        health.tables.iter().map(|(name, rows)| (name.clone(), json!(rows))).collect();
    let report = json!({
        "healthy": health.damage.is_none(), "engine": "sqlite", "database": url.to_string(), "schema": schema,
        "damage": health.damage, "bytes": health.bytes, "tables": tables,
        "running": holder.is_some(), "pid": holder.as_ref().and_then(|holder| holder.pid),
    });
    let state = match &health.damage {
        None => "healthy".to_owned(),
        Some(damage) => format!("DAMAGED: {damage}"),
    };
    let schema = schema.map_or_else(|| "schema unknown".to_owned(), |schema| format!("schema {schema}"));
    let runs = match holder {
        None => "no miner runs on it".to_owned(),
        Some(holder) => match holder.pid {
            Some(pid) => format!("a miner runs on it (process {pid})"),
            None => "a miner runs on it".to_owned(),
        },
    };
    let mut text = format!("{url} is {state}; {schema}, {} bytes; {runs}", health.bytes);
    for (name, rows) in &health.tables {
        text.push_str(&format!("\n{rows:>12} {name}"));
    }
    if health.damage.is_some() {
        text.push_str(
            "\nstop the miner, move the file and those beside it away, and put a backup in its place \
             (basilica-miner database restore --from FILE), or start without one: validators authenticate anew",
        );
    }
    Ok((report, text, health.damage.is_none()))
}

fn is_mended_by_migrating(error: &OpenError) -> bool {
    matches!(error, OpenError::Absent { .. } | OpenError::Empty { .. } | OpenError::MigrationsDue { .. })
}

async fn migrate(config: &MinerConfig) -> anyhow::Result<Answer> {
    let database = match open(config, false).await {
        Err(error) if error.downcast_ref().is_some_and(is_mended_by_migrating) => {
            // A miner of the version before would go on with tables that it does not know, and one whose file is gone with none.
            let _alone = MinerLock::take(&config.database.url)?;
            open(config, true).await?
        }
        opened => opened?,
    };
    let (from, to) = (database.migrated_from(), MINER_SCHEMA.version());
    database.close().await;
    let text = if from == to {
        format!("database is at schema {to} already")
    } else {
        format!("database migrated from schema {from} to {to}")
    };
    Ok((json!({ "from": from, "to": to }), text, true))
}

async fn back_up(config: &MinerConfig, to: &Path) -> anyhow::Result<Answer> {
    let url = &config.database.url;
    let database = open(config, false).await?;
    let bytes = database.back_up(to).await;
    database.close().await;
    let bytes = bytes?;
    let report =
        json!({ "database": url.to_string(), "file": to, "bytes": bytes, "schema": MINER_SCHEMA.version() });
    Ok((report, format!("all of {url} is in {} ({bytes} bytes)", to.display()), true))
}

async fn restore(config: &MinerConfig, from: &Path) -> anyhow::Result<Answer> {
    let url = &config.database.url;
    let schema = restore_miner(from, url, SystemClock::new().now()).await?;
    let report = json!({ "database": url.to_string(), "file": from, "schema": schema });
    let text = format!(
        "{} is now {url}; sessions that were open in it are ended. For the first {} after the miner's start validators are refused: what they \
         signed before may have been answered after the backup was made",
        from.display(),
        span(RESTORE_WAIT)
    );
    Ok((report, text, true))
}
