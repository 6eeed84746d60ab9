//! The validator: discovers miners, proves their nodes' hardware, scores it and sets weights on chain.

mod api;
mod ask;
mod audit;
mod build;
mod database;
mod endpoints;
mod look;
mod simulate;
mod verify;

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use basilica_console as console;
use basilica_runtime_service::{
    ConfigError, ConfigSource, DurationSetting, Loaded, LogLevel, TracingOptions, init_tracing, load,
    process_environment,
};
use basilica_types::{Digest, ErrorChain};
use basilica_validator_service::{IGNORED, Settings, ValidatorConfig};
use clap::{Parser, Subcommand};
use tracing::warn;

/// The configuration is wrong (`EX_CONFIG` of sysexits.h).
const BAD_CONFIG: u8 = 78;

/// Verifies GPU nodes and sets weights on a Bittensor subnet.
///
/// Exit codes: 0 done, 1 failed or not healthy, 2 wrong arguments, 78 the configuration is wrong (its file, a line of it,
/// or a variable; a wallet, a directory or a file that it names and that is not there is 1).
#[derive(Debug, Parser)]
#[command(name = "basilica-validator", version, max_term_width = 80)]
struct Args {
    /// Print an annotated example configuration, and nothing else.
    #[arg(long, exclusive = true)]
    gen_config: bool,
    /// Configuration file (TOML); see config/validator.toml.example.
    #[arg(short, long, global = true)]
    config: Option<PathBuf>,
    /// More log lines: -v debug, -vv trace.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Answers and log lines as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until SIGTERM or Ctrl-C; the default.
    Start,
    /// Read the configuration and say what is wrong with it, or with what it names. Starts nothing, asks no network and
    /// changes no file.
    CheckConfig,
    /// The configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// What a running validator says of its nodes, and whether it is healthy. Exit code 1 if it is not.
    Status,
    /// What the configured rules do to honest and to cheating nodes: bans, ramps and detection by simulation, with 95 %
    /// intervals. Needs no network and no wallet.
    SimulatePolicy(simulate::Options),
    /// The database: its health, its schema, backups.
    #[command(subcommand)]
    Database(database::DatabaseCommand),
    /// Check the audit log of SSH: that no line was changed, left out or put in between. Exit code 1 if one was.
    Audit {
        /// Its files, oldest first; without any, those of the configuration.
        files: Vec<PathBuf>,
        /// The hash of a line, kept elsewhere, that must be in it: nobody has written the log anew up to there.
        #[arg(long)]
        head: Option<Digest>,
    },
    /// Go to a node's sshd as far as its host key, and say how far that was. Nothing logs in. Exit code 1 if nothing speaks
    /// SSH there.
    Connect {
        /// The node's address as user@host:port, or its id where the running validator knows it.
        node: ask::NodeName,
    },
    /// Have the running validator check a node in full now instead of when it is due, and tell the verdict. Exit code 1 if it
    /// did not pass.
    Verify {
        /// The node's id, or its address as user@host:port.
        #[arg(long)]
        node: ask::NodeName,
        /// How long to wait for the verdict.
        #[arg(long, default_value = "30m")]
        timeout: DurationSetting,
    },
    /// Why a node's score is what it is: its state and its latest verdicts.
    Why {
        /// The node's id, or its address as user@host:port.
        node: ask::NodeName,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the configuration as it takes effect.
    Show {
        /// With all of the endpoints' URLs, which may hold access keys.
        #[arg(long)]
        show_sensitive: bool,
    },
    /// The same as `check-config`.
    Validate,
    /// Print an annotated example, or write it to a new file.
    Gen {
        /// The file to be made; it must not exist.
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let args: Args = match console::parse() {
        Ok(args) => args,
        Err(code) => return code,
    };
    if args.gen_config && args.command.is_some() {
        return console::fail(&"--gen-config prints an example and takes no command", console::USAGE);
    }
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            let bad_config = error.chain().any(|cause| cause.is::<ConfigError>());
            console::fail(&ErrorChain(error.as_ref()), if bad_config { BAD_CONFIG } else { console::FAILURE })
        }
    }
}

fn configuration(args: &Args) -> anyhow::Result<(Loaded<ValidatorConfig>, Settings)> {
    let source = ConfigSource {
        path: args.config.as_deref(),
        env_prefix: "BASILICA_",
        legacy_env_prefix: Some("BASILCA_"),
        env: process_environment(),
        overrides: Vec::new(),
        ignored: IGNORED,
    };
    let loaded = load::<ValidatorConfig>(&source)?;
    let settings = Settings::new(&loaded)?;
    Ok((loaded, settings))
}

/// Says what was read and whether a start would go on from here.
async fn check(loaded: &Loaded<ValidatorConfig>, json: bool) -> anyhow::Result<()> {
    let obstacles = build::obstacles(&loaded.value).await;
    if !obstacles.is_empty() {
        let lines: String =
            obstacles.iter().map(|error| format!("\n  {}", ErrorChain(error.as_ref()))).collect();
        bail!("the configuration ({}) is valid, but the validator could not start:{lines}", loaded.origin());
    }
    let notices: Vec<String> = loaded.notices.iter().map(ToString::to_string).collect();
    let report = serde_json::json!({
        "valid": true,
        "file": loaded.file().map(|path| path.display().to_string()),
        "variables": loaded.variables(),
        "notices": notices,
    });
    let text = if json {
        format!("{report:#}\n")
    } else {
        format!("read: {}\nConfiguration validation passed\n", loaded.origin())
    };
    print(&text)
}

/// Prints the example, or writes it where nothing is yet.
fn generate(output: Option<&Path>) -> anyhow::Result<ExitCode> {
    let example = include_str!("../../../config/validator.toml.example");
    let Some(path) = output else {
        print(example)?;
        return Ok(ExitCode::SUCCESS);
    };
    let shown = path.display();
    let mut file = File::create_new(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow!("{shown} exists already, and is never written over"),
        ErrorKind::NotFound => anyhow!("make {shown}: its directory does not exist; make that first"),
        _ => anyhow!(error).context(format!("make {shown}")),
    })?;
    file.write_all(example.as_bytes()).with_context(|| format!("write {shown}"))?;
    Ok(ExitCode::SUCCESS)
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.gen_config {
        return generate(None);
    }
    if let Some(Command::Config(ConfigCommand::Gen { output })) = &args.command {
        return generate(output.as_deref());
    }
    init_tracing(&TracingOptions::from_env(
        args.json,
        LogLevel::of_verbosity(args.verbose).unwrap_or_default(),
    ))?;
    let (loaded, settings) = configuration(&args)?;
    for notice in &loaded.notices {
        warn!(config.key = %notice.key, place = %notice.place, "{}", notice.message);
    }
    if let Some(Command::SimulatePolicy(options)) = &args.command {
        return simulate::run(options, &settings, args.json);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match args.command.unwrap_or(Command::Start) {
        Command::Start => runtime.block_on(build::start(&loaded.value, settings)),
        Command::CheckConfig | Command::Config(ConfigCommand::Validate) => {
            runtime.block_on(check(&loaded, args.json)).map(|()| ExitCode::SUCCESS)
        }
        Command::Config(ConfigCommand::Show { show_sensitive }) => {
            let config = loaded.value;
            let config = if show_sensitive { config } else { config.without_secrets() };
            let shown =
                if args.json { serde_json::to_string_pretty(&config)? } else { toml::to_string(&config)? };
            print(&format!("{}\n", shown.trim_end()))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::SimulatePolicy(_) | Command::Config(ConfigCommand::Gen { .. }) => {
            unreachable!("it was answered before, without a runtime")
        }
        Command::Audit { files, head } => audit::check(&loaded.value, files, head, args.json),
        Command::Connect { node } => runtime.block_on(look::connect(&loaded.value, &node, args.json)),
        Command::Verify { node, timeout } => {
            runtime.block_on(verify::verify(&loaded.value, &node, timeout.millis(), args.json))
        }
        Command::Database(command) => runtime.block_on(database::run(&loaded.value, command, args.json)),
        Command::Status => runtime.block_on(ask::status(&ask::Validator::of(&loaded.value)?, args.json)),
        Command::Why { node } => {
            runtime.block_on(ask::why(&ask::Validator::of(&loaded.value)?, &node, args.json))
        }
    }
}

pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    console::print(text).context("write to standard output")
}
