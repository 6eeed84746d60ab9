//! The command line: flags, start, the list of development keys, blocks on an interval, and a clean end.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::chain::Chain;
use crate::genesis::{Genesis, Settings};
use crate::node::Node;
use crate::persist::Store;
use crate::profile::Profile;
use crate::{clock, executor, rpc};

/// A local development chain that Bittensor SDKs take for subtensor. Its keys are public: never use it for value.
#[derive(Debug, Clone, Parser)]
#[command(name = "basilica-devchain", version, args_override_self = true)]
pub struct Flags {
    /// Where to serve JSON-RPC (WebSocket and HTTP); port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9944")]
    listen: SocketAddr,
    /// Time between blocks, such as 250ms or 12s; over the genesis file's.
    #[arg(long, value_parser = duration_ms)]
    block_time: Option<u64>,
    /// Blocks between epochs; over the genesis file's.
    #[arg(long)]
    tempo: Option<u16>,
    /// Which generation of the public chain to look like; over the genesis file's.
    #[arg(long)]
    profile: Option<Profile>,
    /// Directory that keeps the chain across restarts; without it everything is gone at the end.
    #[arg(long)]
    state: Option<PathBuf>,
    /// JSON file with the settings of a new chain.
    #[arg(long)]
    genesis: Option<PathBuf>,
    /// File to write the WebSocket URL to once the chain listens.
    #[arg(long)]
    print_addr: Option<PathBuf>,
}

/// Milliseconds of `250ms`, `12s` or a bare number of milliseconds.
fn duration_ms(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => match text.strip_suffix('s') {
            Some(digits) => (digits, 1_000),
            None => (text, 1),
        },
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|value| value.checked_mul(factor))
        .ok_or_else(|| format!("{text:?} is not a duration like 250ms or 12s"))
}

impl Flags {
    fn genesis(&self) -> anyhow::Result<Genesis> {
        let mut settings = match &self.genesis {
            Some(path) => Settings::read(path)?,
            None => Settings::default(),
        };
        if let Some(block_time_ms) = self.block_time {
            settings.block_time_ms = block_time_ms;
        }
        if let Some(tempo) = self.tempo {
            settings.tempo = tempo;
        }
        if let Some(profile) = self.profile {
            settings.profile = profile;
        }
        Ok(settings.resolve()?)
    }
}

/// Runs the chain until it is told to stop.
///
/// # Errors
/// It cannot start (settings, directory, port) or cannot go on (disk).
pub fn run(flags: &Flags) -> anyhow::Result<()> {
    executor::install_panic_hook();
    let genesis = flags.genesis()?;
    let fresh = Chain::new(genesis.state()?);
    let (store, chain) = match &flags.state {
        Some(directory) => {
            let (store, chain) = Store::open(directory, fresh)?;
            (Some(store), chain)
        }
        None => (None, fresh),
    };
    let listener = TcpListener::bind(flags.listen).with_context(|| {
        format!(
            "cannot listen on {}: choose another address with --listen, or port 0 for a free one",
            flags.listen
        )
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(flags, &genesis, chain, store, listener))
}

async fn serve(
    flags: &Flags,
    genesis: &Genesis,
    chain: Chain,
    store: Option<Store>,
    listener: TcpListener,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let node = Arc::new(Node::new(chain));
    let (address, server) = rpc::serve(listener, rpc::methods(Arc::clone(&node))?)?;
    announce(flags, genesis, &node, address)?;
    let stopped = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let outcome = produce_until(stopped, &node, store, Duration::from_millis(genesis.block_time_ms)).await;
    // Already stopped is as good as stopped.
    let _ = server.stop();
    outcome
}

/// Prints the keys and, last, the one line that says the chain can be used.
fn announce(flags: &Flags, genesis: &Genesis, node: &Node, address: SocketAddr) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "subnet {}, profile {}, genesis {:?}, block {}",
        genesis.subnet.netuid,
        genesis.profile,
        node.genesis(),
        node.best().header.number
    )?;
    for account in &genesis.accounts {
        let uri = account.uri.as_deref().unwrap_or("");
        writeln!(out, "{:<20} {} {uri}", account.role, account.address())?;
    }
    let url = format!("ws://{address}");
    writeln!(out, "listening {url}")?;
    out.flush()?;
    if let Some(path) = &flags.print_addr {
        std::fs::write(path, format!("{url}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

async fn produce_until(
    stopped: impl Future<Output = ()>,
    node: &Arc<Node>,
    mut store: Option<Store>,
    interval: Duration,
) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = &mut stopped => break,
        }
        let node = Arc::clone(node);
        let (kept, produced) = tokio::task::spawn_blocking(move || {
            let mut store = store;
            let produced = node.produce(clock::now_ms(), store.as_mut());
            (store, produced)
        })
        .await?;
        store = kept;
        produced?;
    }
    if let Some(store) = &mut store {
        store.sync()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::duration_ms;

    #[test]
    fn block_times_have_units() {
        assert_eq!(duration_ms("250ms"), Ok(250));
        assert_eq!(duration_ms("12s"), Ok(12_000));
        assert_eq!(duration_ms("40"), Ok(40));
        for text in ["", "s", "1m", "-1ms", "99999999999999999999ms", "18446744073709551615s"] {
            assert!(duration_ms(text).is_err(), "{text}");
        }
    }
}
