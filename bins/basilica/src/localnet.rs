//! `basilica localnet …`: arguments in, library calls, text out.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use basilica_localnet::control::{Answer, Ask};
use basilica_localnet::{
    Cheat, Colour, Gpus, Layout, Ports, Programs, Report, Settings, control, render, up,
};
use clap::{Args, Subcommand, ValueEnum};

/// The whole network on this machine.
#[derive(Debug, Args)]
pub(crate) struct Localnet {
    /// Directory of the localnet's files [default: ~/.local/state/basilica/localnet].
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring everything up and show nodes, verdicts, scores and weights until Ctrl-C.
    Up(Up),
    /// Show how the running localnet stands.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Start a process again that has ended.
    Start {
        /// Its name, as `status` shows it.
        name: String,
    },
    /// Tear the running localnet down.
    Down,
    /// Print the log of a process.
    Logs {
        /// Its name: chain, validator, miner-1, miner-2.
        name: String,
    },
}

#[derive(Debug, Args)]
struct Up {
    /// Exit 0 once the first weights are on chain and as computed, 1 with the reason if they are not in time.
    #[arg(long)]
    once: bool,
    /// Longest time to the first weights, in seconds.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    timeout: u64,
    /// Time between blocks, in milliseconds.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u64).range(50..=12_000), value_name = "MS")]
    block_time: u64,
    /// Who cheats, each with a node of its own beside the three honest ones (share-gpu with two): skip-work guesses three
    /// tenths of the work, inflate-vram holds half of the memory that it claims, share-gpu registers one GPU with both miners, replay sends its first answer again,
    /// fake-model calls its card by a dearer one's name.
    #[arg(long, value_delimiter = ',', default_values = ["skip-work"], value_name = "NAME,…", value_parser = cheater)]
    cheaters: Vec<Cheat>,
    /// `standing`: chain on 9944, validator API on 8080 and so on; `auto`: any free ports.
    #[arg(long, value_enum, default_value_t = PortChoice::Standing)]
    ports: PortChoice,
    /// Use the NVIDIA GPUs of this machine in place of simulated ones. Refused by this version, whose prover has no
    /// CUDA backend.
    #[arg(long)]
    real_gpu: bool,
    /// Print the report as JSON (with --once).
    #[arg(long, requires = "once")]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PortChoice {
    Standing,
    Auto,
}

fn cheater(name: &str) -> Result<Cheat, String> {
    let names = || Cheat::ALL.map(Cheat::name).join(", ");
    Cheat::ALL
        .into_iter()
        .find(|cheat| cheat.name() == name)
        .ok_or_else(|| format!("it is none of {}", names()))
}

impl Localnet {
    /// Does what was asked.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let directory = match self.dir {
            Some(directory) => std::path::absolute(directory)?,
            None => Settings::default_directory()?,
        };
        // One thread: the kernel ties the life of child processes to the thread that started them.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match self.command {
                Command::Up(arguments) => bring_up(directory, &arguments).await,
                Command::Status { json } => status(&Layout::at(&directory), json).await,
                Command::Start { name } => tell(&Layout::at(&directory), &Ask::Start(name)).await,
                Command::Down => down(&Layout::at(&directory)).await,
                Command::Logs { name } => logs(&Layout::at(&directory), &name),
            }
        })
    }
}

async fn bring_up(directory: PathBuf, arguments: &Up) -> anyhow::Result<()> {
    let settings = Settings {
        directory,
        ports: match arguments.ports {
            PortChoice::Standing => Ports::Standing,
            PortChoice::Auto => Ports::Auto,
        },
        gpus: if arguments.real_gpu { Gpus::Real } else { Gpus::Simulated },
        cheaters: arguments.cheaters.clone(),
        block_time: Duration::from_millis(arguments.block_time),
        once: arguments.once,
        timeout: Duration::from_secs(arguments.timeout),
    };
    let json = arguments.json;
    let mut screen =
        Screen { live: std::io::stdout().is_terminal() && !arguments.once, shown: String::new() };
    up(&settings, &Programs::beside_this()?, |report| screen.show(report, json)).await
}

/// Shows each new report: in place on a terminal, one after another elsewhere.
struct Screen {
    live: bool,
    shown: String,
}

impl Screen {
    fn show(&mut self, report: &Report, json: bool) -> anyhow::Result<()> {
        if json {
            return show(&format!("{}\n", serde_json::to_string_pretty(report)?));
        }
        let text = render(report, colour());
        // The block number moves all the time; a log wants only what is new.
        let news: String = text.lines().skip(1).collect();
        if self.live {
            // Home, then each line cleared to its end, then whatever stood below.
            let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
            let clear = if self.shown.is_empty() { "\x1b[2J" } else { "" };
            self.shown = news;
            return show(&format!("{clear}\x1b[H{lines}\nCtrl-C ends it\x1b[K\n\x1b[J"));
        }
        if news != self.shown {
            self.shown = news;
            show(&format!("{text}\n"))?;
        }
        Ok(())
    }
}

/// Where nobody looks any more, the network that is shown ends.
fn show(text: &str) -> anyhow::Result<()> {
    basilica_console::deliver(text).context("write to standard output")
}

fn colour() -> Colour {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if std::io::stdout().is_terminal() && !plain { Colour::On } else { Colour::Off }
}

fn print(text: &str) -> anyhow::Result<()> {
    basilica_console::print(text).context("write to standard output")
}

async fn status(layout: &Layout, json: bool) -> anyhow::Result<()> {
    match control::ask(&layout.socket(), &Ask::Status).await? {
        Answer::Status(report) if json => print(&format!("{}\n", serde_json::to_string_pretty(&report)?)),
        Answer::Status(report) => print(&render(&report, colour())),
        Answer::Done(text) => print(&format!("{text}\n")),
        Answer::Refused(reason) => bail!(reason),
    }
}

async fn down(layout: &Layout) -> anyhow::Result<()> {
    tell(layout, &Ask::Down).await?;
    control::until_down(layout).await?;
    print("down\n")
}

async fn tell(layout: &Layout, ask: &Ask) -> anyhow::Result<()> {
    match control::ask(&layout.socket(), ask).await? {
        Answer::Done(text) => print(&format!("{text}\n")),
        Answer::Refused(reason) => bail!(reason),
        Answer::Status(_) => bail!("the running localnet answered something else; is it another version?"),
    }
}

fn logs(layout: &Layout, name: &str) -> anyhow::Result<()> {
    let known = ["chain", "validator", "miner-1", "miner-2"];
    if !known.contains(&name) {
        bail!("no process is called {name}; there are {}", known.join(", "));
    }
    let path = layout.log(name);
    let mut file = std::fs::File::open(&path)
        .with_context(|| format!("open {}; has a localnet been brought up here?", path.display()))?;
    let copied = std::io::copy(&mut file, &mut std::io::stdout().lock());
    match copied {
        // `localnet logs NAME | head` is not a failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map(|_| ()).context("print the log"),
    }
}
