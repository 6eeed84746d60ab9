//! `localnet up`: everything in order, a look twice a second, everything down again.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::control::{self, Answer, Ask, Call};
use crate::network::Network;
use crate::programs::Programs;
use crate::progress::Progress;
use crate::report::Report;
use crate::settings::{Layout, Ports, Settings};

/// Between two looks at the whole.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Why the loop ended.
enum End {
    /// By the user: Ctrl-C, SIGTERM or `localnet down`.
    Asked,
    /// The first weights are on chain, and that was all that was wanted.
    Settled,
}

/// Brings a localnet up and keeps it until it is asked to end, showing each new report.
///
/// # Errors
/// If a step of the start fails, or with [`Settings::once`] if the first weights are not on chain in time. Whatever had
/// been started is torn down first.
pub async fn up(
    settings: &Settings,
    programs: &Programs,
    mut show: impl FnMut(&Report) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let layout = Layout::at(&settings.directory);
    layout.claim()?;
    let Some(_lock) = layout.try_lock() else {
        bail!("a localnet is running already; `basilica localnet down` ends it, --dir makes another");
    };
    layout.prepare()?;
    let progress = Progress::default();
    let mut signals = Signals::new()?;
    let (calls_in, calls) = mpsc::channel(8);
    let listener = control::listen(&layout.socket())?;

    let mut network = Network::new(settings, programs, &layout)?;
    let work = async {
        let started = network.start(&progress).await;
        match settings.ports {
            Ports::Standing => {
                started.context("bring the localnet up (if a port is taken, --ports auto takes free ones)")
            }
            Ports::Auto => started.context("bring the localnet up"),
        }?;
        watch(&mut network, settings, &progress, calls, &mut show).await
    };
    let ended = tokio::select! {
        ended = work => ended,
        served = control::serve(listener, calls_in) => served.map(|()| End::Asked),
        () = signals.any() => Ok(End::Asked),
    };
    progress.line("tearing everything down");
    network.stop().await;
    // A socket that cannot be removed is replaced at the next start.
    let _ = std::fs::remove_file(layout.socket());
    match ended? {
        End::Asked if settings.once => bail!("interrupted before the first weights were on chain"),
        End::Asked | End::Settled => Ok(()),
    }
}

async fn watch(
    network: &mut Network,
    settings: &Settings,
    progress: &Progress,
    mut calls: mpsc::Receiver<Call>,
    show: &mut impl FnMut(&Report) -> anyhow::Result<()>,
) -> anyhow::Result<End> {
    let mut settled = false;
    let mut waiting_for = None;
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            Some(call) = calls.recv() => {
                if answer(network, call).await {
                    return Ok(End::Asked);
                }
                continue;
            }
        }
        let report = network.report().await;
        if !settled {
            settled = report.waiting_for.is_none();
            if settled {
                progress.line("weights on chain are those computed");
            } else if waiting_for != report.waiting_for {
                waiting_for.clone_from(&report.waiting_for);
                progress.line(format_args!("waiting for {}", waiting_for.as_deref().unwrap_or("weights")));
            }
        }
        if !settings.once {
            show(&report)?;
        } else if settled {
            show(&report)?;
            return Ok(End::Settled);
        } else if progress.elapsed() > settings.timeout {
            show(&report)?;
            let missing = report.waiting_for.unwrap_or_default();
            bail!("no settled weights within {} s: waiting for {missing}", settings.timeout.as_secs());
        }
    }
}

/// Answers one question; whether it was the last.
async fn answer(network: &mut Network, call: Call) -> bool {
    let (answer, last) = match call.ask {
        Ask::Status => (Answer::Status(Box::new(network.report().await)), false),
        Ask::Start(name) => match network.start_again(&name) {
            Ok(()) => (Answer::Done(format!("{name} started")), false),
            Err(error) => (Answer::Refused(format!("{error:#}")), false),
        },
        Ask::Down => (Answer::Done("going down".to_owned()), true),
    };
    // Whoever asked may have hung up. The last answer must be out before everything goes down.
    let _ = call.answer.send(answer);
    if last {
        let _ = call.written.await;
    }
    last
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("watch for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("watch for SIGTERM")?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
