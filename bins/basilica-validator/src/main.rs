//! The validator: discovers miners, proves their nodes' hardware, scores it and sets weights on chain.

mod ask;
mod build;
mod endpoints;

use std::path::PathBuf;
use std::process::ExitCode;

use basilica_runtime_service::{
    ConfigError, ConfigSource, Loaded, TracingOptions, init_tracing, load, process_environment,
};
use basilica_validator_service::{IGNORED, Settings, ValidatorConfig};
use clap::{Parser, Subcommand};
use tracing::warn;

/// The configuration is wrong (`EX_CONFIG` of sysexits.h).
const BAD_CONFIG: u8 = 78;

/// Verifies GPU nodes and sets weights on a Bittensor subnet.
///
/// Exit codes: 0 done, 1 failed or not healthy, 2 wrong arguments, 78 the configuration is wrong.
#[derive(Debug, Parser)]
#[command(name = "basilica-validator", version)]
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
    /// Read the configuration and say what is wrong with it. Starts nothing.
    CheckConfig,
    /// The configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// What a running validator says of its nodes, and whether it is healthy. Exit code 1 if it is not.
    Status,
    /// Why a node's score is what it is: its state and its latest verdicts.
    Why {
        /// The node's id, or its address as user@host:port.
        node: String,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the configuration as it takes effect.
    Show,
    /// The same as `check-config`.
    Validate,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
            print_error(&chain.join(": "));
            if error.chain().any(|cause| cause.is::<ConfigError>()) {
                ExitCode::from(BAD_CONFIG)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "the last words of a command line program")]
fn print_error(text: &str) {
    eprintln!("error: {text}");
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

fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.gen_config {
        ask::print(include_str!("../../../config/validator.toml.example").trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    init_tracing(&TracingOptions::from_env(args.json, args.verbose))?;
    let (loaded, settings) = configuration(&args)?;
    for notice in &loaded.notices {
        warn!(config.key = %notice.key, place = ?notice.place, "{}", notice.message);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match args.command.unwrap_or(Command::Start) {
        Command::Start => runtime.block_on(build::start(&loaded.value, settings)),
        Command::CheckConfig | Command::Config(ConfigCommand::Validate) => {
            ask::print("Configuration validation passed");
            Ok(ExitCode::SUCCESS)
        }
        Command::Config(ConfigCommand::Show) => {
            let shown = if args.json {
                serde_json::to_string_pretty(&loaded.value)?
            } else {
                toml::to_string(&loaded.value)?
            };
            ask::print(&shown);
            Ok(ExitCode::SUCCESS)
        }
        Command::Status => runtime.block_on(ask::status(loaded.value.api_address(), args.json)),
        Command::Why { node } => runtime.block_on(ask::why(loaded.value.api_address(), &node, args.json)),
    }
}
