//! The command line: start, what is told about the chain, and a clean end.

mod announcement;
mod flags;

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use announcement::Announcement;
pub use flags::{Flags, UsageError};

use crate::chain::Chain;
use crate::executor;
use crate::genesis::Genesis;
use crate::node::Node;
use crate::persist::{Cut, Store};
use crate::rpc;
use crate::rpc::server::Serving;

/// Threads on which the runtime works for requests; more would only wait for the processor.
const WORKERS: usize = 64;

/// Runs the chain until it is told to stop.
///
/// # Errors
/// It cannot start (settings, file, port) or cannot go on (disk).
pub fn run(flags: &Flags) -> anyhow::Result<()> {
    executor::install_panic_hook();
    let genesis = flags.genesis()?;
    let fresh = Chain::new(genesis.state()?);
    let listener = TcpListener::bind(flags.listen).with_context(|| {
        format!(
            "cannot listen on {}: stop what listens there, or choose another address with --listen (port 0 takes \
             a free one)",
            flags.listen
        )
    })?;
    let (store, chain) = match &flags.state {
        Some(path) => {
            let (mut store, chain) = Store::open(path, fresh, &genesis.settings)?;
            store.serve_with_lag(&chain, flags.finality_lag)?;
            if let Some(cut) = store.cut() {
                warn_of(path, cut);
            }
            (Some(store), chain)
        }
        None => (None, fresh),
    };
    let node = Arc::new(Node::new(chain, store, flags.rules(&genesis)));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(WORKERS)
        .thread_stack_size(executor::STACK)
        .build()?;
    runtime.block_on(serve(flags, &genesis, &node, listener))
}

fn warn_of(path: &Path, cut: Cut) {
    basilica_console::tell(&format!(
        "warning: {} ended in a record that was not whole: its last {} bytes, a block or more, are cut off; \
         the chain goes on after block {}",
        path.display(),
        cut.bytes,
        cut.block
    ));
}

async fn serve(
    flags: &Flags,
    genesis: &Genesis,
    node: &Arc<Node>,
    listener: TcpListener,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let methods = rpc::methods(Arc::clone(node), flags.controls())?;
    let serving = Serving::new(listener, methods, Arc::clone(node))?;
    let url = format!("ws://{}", serving.address());
    // Who waits for `listening` takes it that nothing else can fail.
    flags.write_address(&url)?;
    let announcement = Announcement { flags, genesis, node, url: &url };
    // Who read enough, as head does, does not end the chain.
    basilica_console::print(&announcement.text())
        .context("cannot say on standard output where the chain listens")?;
    let outcome = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        () = serving.run() => Ok(()),
        error = Arc::clone(node).mine() => Err(error.into()),
    };
    // A step that is being made is waited for by the writer's lock.
    node.sync()?;
    outcome
}
