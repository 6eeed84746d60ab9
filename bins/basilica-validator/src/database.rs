//! Where the validator's tables are by its configuration, and what an operator asks of them.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use basilica_console as console;
use basilica_ports::Clock as _;
use basilica_store::{BackupSummary, NewFile, OpenOptions, VALIDATOR_SCHEMA, ValidatorDatabase};
use basilica_system::SystemClock;
use basilica_types::DatabaseUrl;
use basilica_validator_service::ValidatorConfig;
use clap::Subcommand;
use serde_json::{Value, json};

use crate::build::expand;
use crate::print;

/// Most bytes of a password's file.
const PASSWORD_BYTES: u64 = 4096;
/// What takes longer than this says how far it is, and again after as long.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Subcommand)]
pub(crate) enum DatabaseCommand {
    /// Whether it answers, is sound and has this program's schema, and who leads. Exit code 1 if it is not well.
    Health,
    /// Bring it to this program's schema, or make it.
    Migrate,
    /// Write all of it to a file, as of one moment; a running validator goes on.
    Backup {
        /// The file to be made; it is private and must not exist.
        #[arg(long)]
        to: PathBuf,
    },
    /// Fill an empty database from a backup, which may be of the other engine. The validator must not run.
    Restore {
        /// The file.
        #[arg(long)]
        from: PathBuf,
    },
    /// How much is in it.
    Stats,
}

/// Does it, and says so.
pub(crate) async fn run(
    config: &ValidatorConfig,
    command: DatabaseCommand,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let url = url(config)?;
    let (report, text, well) = match command {
        DatabaseCommand::Health => health(config, &url).await?,
        DatabaseCommand::Migrate => migrate(config, &url).await?,
        DatabaseCommand::Backup { to } => back_up(config, &url, &to).await?,
        DatabaseCommand::Restore { from } => restore(&url, &from).await?,
        DatabaseCommand::Stats => stats(config, &url).await?,
    };
    print(&if json { format!("{report:#}\n") } else { text })?;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(console::FAILURE) })
}

/// As JSON, as text, and whether all is well.
type Answer = (Value, String, bool);

async fn beside(config: &ValidatorConfig, url: &DatabaseUrl) -> anyhow::Result<ValidatorDatabase> {
    let options = OpenOptions { migrate: false, ..options(config) };
    Ok(ValidatorDatabase::open_beside(url, options).await?)
}

async fn health(config: &ValidatorConfig, url: &DatabaseUrl) -> anyhow::Result<Answer> {
    let store = beside(config, url).await?;
    let health = store.health().await?;
    let leader = &health.leader;
    let report = json!({
        "healthy": health.damage.is_none(), "engine": health.engine, "database": url.shown(),
        "schema": health.schema, "damage": health.damage,
        "leadership": { "token": leader.token, "holder": leader.holder, "lease_left_ms": leader.lease_left },
    });
    let state =
        health.damage.as_deref().map_or_else(|| "healthy".to_owned(), |damage| format!("DAMAGED: {damage}"));
    let leads = match &leader.holder {
        Some(holder) => format!("{holder} leads with token {}\n", leader.token),
        None if health.engine == "postgres" => format!("nobody leads; the last token is {}\n", leader.token),
        None => String::new(),
    };
    let text = format!("{} is {state}; schema {}\n{leads}", url.shown(), health.schema);
    Ok((report, text, health.damage.is_none()))
}

async fn migrate(config: &ValidatorConfig, url: &DatabaseUrl) -> anyhow::Result<Answer> {
    let store = ValidatorDatabase::open(url, OpenOptions { migrate: true, ..options(config) }).await?;
    let (from, to) = (store.migrated_from(), VALIDATOR_SCHEMA.version());
    store.close().await;
    let text = match from {
        0 => format!("{} was made with schema {to}\n", url.shown()),
        from if from == to => format!("{} has schema {to} already\n", url.shown()),
        from => format!("{} went from schema {from} to {to}\n", url.shown()),
    };
    Ok((json!({ "database": url.shown(), "from": from, "to": to }), text, true))
}

async fn back_up(config: &ValidatorConfig, url: &DatabaseUrl, to: &Path) -> anyhow::Result<Answer> {
    let store = beside(config, url).await?;
    let shown = to.display();
    let new = NewFile::create(to)?;
    let mut writer = BufWriter::new(new.file());
    let summary =
        store.back_up(&mut writer, SystemClock::new().now(), &mut Progress::teller("written")).await?;
    writer.flush().with_context(|| format!("write {shown}"))?;
    drop(writer);
    let bytes = new.publish()?;
    let text = format!("{} rows of {} are in {shown} ({bytes} bytes)\n", summary.rows(), url.shown());
    Ok((report(url, to, &summary), text, true))
}

async fn restore(url: &DatabaseUrl, from: &Path) -> anyhow::Result<Answer> {
    let shown = from.display();
    let file = File::open(from).with_context(|| format!("open {shown}"))?;
    let restored =
        ValidatorDatabase::restore(url, BufReader::new(file), &mut Progress::teller("restored")).await;
    let summary = restored.with_context(|| format!("restore {shown}"))?;
    let text = format!("{} rows of {shown} are in {}\n", summary.rows(), url.shown());
    Ok((report(url, from, &summary), text, true))
}

fn report(url: &DatabaseUrl, file: &Path, summary: &BackupSummary) -> Value {
    let tables: serde_json::Map<String, Value> =
        summary.tables.iter().map(|(name, rows)| (name.clone(), json!(rows))).collect();
    json!({ "database": url.shown(), "file": file.display().to_string(), "schema": summary.schema,
        "created": summary.created, "rows": summary.rows(), "tables": tables })
}

async fn stats(config: &ValidatorConfig, url: &DatabaseUrl) -> anyhow::Result<Answer> {
    let stats = beside(config, url).await?.stats().await?;
    let tables: serde_json::Map<String, Value> =
        stats.tables.iter().map(|(name, rows)| (name.clone(), json!(rows))).collect();
    let report =
        json!({ "database": url.shown(), "engine": stats.engine, "bytes": stats.bytes, "tables": tables });
    let mut text = format!("{}: {} bytes\n", url.shown(), stats.bytes);
    for (name, rows) in &stats.tables {
        text.push_str(&format!("{rows:>12} {name}\n"));
    }
    Ok((report, text, true))
}

/// Says on standard error how far something is that takes long.
struct Progress {
    done: &'static str,
    clock: SystemClock,
    said: Duration,
}

impl Progress {
    fn teller(done: &'static str) -> impl FnMut(u64) + Send {
        let clock = SystemClock::new();
        let mut progress = Self { done, said: clock.monotonic(), clock };
        move |rows| progress.tell(rows)
    }

    fn tell(&mut self, rows: u64) {
        let now = self.clock.monotonic();
        if now.saturating_sub(self.said) >= PATIENCE {
            self.said = now;
            console::tell(&format!("{rows} rows {}", self.done));
        }
    }
}

/// The configured database, with the password from its file.
pub(crate) fn url(config: &ValidatorConfig) -> anyhow::Result<DatabaseUrl> {
    let (DatabaseUrl::Postgres(url), Some(file)) = (&config.database.url, &config.database.password_file)
    else {
        return Ok(config.database.url.clone());
    };
    let path = expand(file)?;
    let shown = path.display();
    let bytes = File::open(&path)
        .and_then(|file| console::read_at_most(file, PASSWORD_BYTES))
        .with_context(|| format!("read the database's password from {shown}"))?;
    let text = zeroize::Zeroizing::new(bytes);
    let line = std::str::from_utf8(&text).ok().map(|text| text.trim_end_matches(['\r', '\n']));
    match line {
        Some(line) if !line.is_empty() && !line.contains(['\n', '\0']) => {
            Ok(DatabaseUrl::Postgres(url.with_password(line)))
        }
        _ => bail!("the database's password in {shown} is not one line of text"),
    }
}

/// Where the database's file is; without one the working directory, on whose filesystem the rest is.
pub(crate) fn file(config: &ValidatorConfig) -> PathBuf {
    match &config.database.url {
        DatabaseUrl::Sqlite(path) => path.as_path().to_owned(),
        DatabaseUrl::Postgres(_) => PathBuf::from("."),
    }
}

pub(crate) const fn options(config: &ValidatorConfig) -> OpenOptions {
    OpenOptions { readers: config.database.max_connections, migrate: config.database.run_migrations }
}

/// What a start would find missing, without asking a server anything.
pub(crate) async fn check(config: &ValidatorConfig) -> anyhow::Result<()> {
    Ok(ValidatorDatabase::check(&url(config)?, options(config)).await?)
}
