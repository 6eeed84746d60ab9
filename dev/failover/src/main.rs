//! `cargo xtask failover`: strikes the leader of two validators many times, and prints how long the next one took to write.

use std::process::ExitCode;
use std::time::Duration;

use basilica_failover::{Cluster, Fault};
use clap::{Parser, ValueEnum};
use tokio::runtime::Builder;

/// Two validators on one Postgres: something befalls the leader, again and again.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask failover")]
struct Args {
    /// How often.
    #[arg(long, default_value_t = 100)]
    kills: usize,
    /// What.
    #[arg(long, value_enum, default_value_t = Kind::Kill)]
    fault: Kind,
    /// Each validator in a network namespace of its own, as root: a partition then loses what is sent.
    #[arg(long)]
    namespaces: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Kill,
    Pause,
    Partition,
    Terminate,
    Restart,
    /// All of them by turns.
    Mixed,
}

impl Kind {
    const fn at(self, turn: usize) -> Fault {
        const ALL: [Fault; 5] =
            [Fault::Kill, Fault::Pause, Fault::Partition, Fault::Terminate, Fault::Restart];
        match self {
            Self::Kill => Fault::Kill,
            Self::Pause => Fault::Pause,
            Self::Partition => Fault::Partition,
            Self::Terminate => Fault::Terminate,
            Self::Restart => Fault::Restart,
            Self::Mixed => ALL[turn % ALL.len()],
        }
    }
}

/// The smallest of the values that at least so many percent of them do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn main() -> ExitCode {
    let args = Args::parse();
    // Only a single thread can be in another network than the rest.
    let mut runtime =
        if args.namespaces { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    match runtime.enable_all().build() {
        Ok(runtime) => runtime.block_on(strike(&args)),
        Err(error) => panic!("the runtime does not start: {error}"),
    }
}

#[expect(clippy::print_stdout, reason = "its output")]
async fn strike(args: &Args) -> ExitCode {
    let mut cluster =
        if args.namespaces { Cluster::start_apart().await } else { Cluster::start([0, 0]).await };
    let mut took = Vec::with_capacity(args.kills);
    for turn in 0..args.kills {
        let fault = args.fault.at(turn);
        let span = cluster.strike(fault).await;
        println!("{:>4}/{} {fault:?}: the next write after {} ms", turn + 1, args.kills, span.as_millis());
        took.push(span);
    }
    let record = cluster.end().await;
    took.sort();
    let [half, most, all] = [50, 99, 100].map(|percent| percentile(&took, percent).as_millis());
    println!(
        "from the fault to the next leader's first committed write: p50 {half} ms, p99 {most} ms, max {all} ms"
    );
    match record.check() {
        Ok(summary) => {
            println!("one history: {summary:?}");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            println!("NOT one history:\n{}", wrong.join("\n"));
            ExitCode::FAILURE
        }
    }
}
