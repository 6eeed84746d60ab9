//! `top`: the running miner, live in a terminal; one frame of text where there is none.

use std::io::IsTerminal as _;
use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use basilica_doctor_service::Presence;
use basilica_screen as screen;
use basilica_status::MinerStatus;

use crate::ask;
use crate::cli::Cli;
use crate::commands::{configured, print};
use crate::program::Program;
use crate::running;

/// What is asked, and how it is shown.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Top {
    /// Health address of the miner, instead of the configuration's.
    #[arg(long, value_name = "IP:PORT")]
    address: Option<SocketAddr>,

    /// Print one frame of plain text and end; also where the output is no terminal.
    #[arg(long)]
    once: bool,
}

pub(crate) fn top(cli: &Cli, top: Top) -> anyhow::Result<()> {
    let address = match top.address {
        Some(address) => address,
        None => {
            let config = configured(cli, &cli.config)?.config;
            let presence = running::presence(&config)?;
            ensure!(!matches!(presence, Presence::Another { .. }), "{}", presence.words());
            config.listen.health
        }
    };
    let program = cli.program();
    let asked = |address| asked(address, &program);
    if cli.json {
        let status = asked(address)?;
        return print(&format!("{:#}\n", serde_json::to_value(status).context("show the status")?));
    }
    if top.once || !std::io::stdout().is_terminal() {
        return print(&screen::plain(&asked(address)?));
    }
    // The first answer decides whether there is anything to show; later ones may fail and are told on the screen.
    asked(address)?;
    let program = program.clone();
    screen::run(move || self::asked(address, &program).map_err(|error| format!("{error:#}")))
        .context("use the terminal")
}

/// The snapshot, its advice with commands for this configuration.
fn asked(address: SocketAddr, program: &Program) -> anyhow::Result<MinerStatus> {
    let mut status = ask::status(address).with_context(|| {
        format!("no miner tells its status on {address}; is it running (systemctl status basilica-miner), with this configuration")
    })?;
    for alert in &mut status.alerts {
        alert.todo = program.in_words(alert.todo.as_str()).into();
    }
    Ok(status)
}
