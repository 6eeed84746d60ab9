//! `simulate-policy`: what the configured rules do to nodes.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use basilica_console as console;
use basilica_odds::life::Rules;
use basilica_odds::scenarios::{ALL, Scenario};
use basilica_odds::{Limit, Report, simulate};
use basilica_ports::Clock as _;
use basilica_system::SystemClock;
use basilica_validator_service::Settings;
use clap::builder::PossibleValuesParser;

/// After so long, and then so often, it says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Node-months to live through in each scenario of honest nodes. To show a rate of at most one in a million takes 4000000.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    node_months: u64,
    /// The same seed gives the same report.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these scenarios; may be given several times.
    #[arg(long, value_parser = PossibleValuesParser::new(ALL.iter().map(|scenario| scenario.name)))]
    scenario: Vec<String>,
}

pub(crate) fn run(options: &Options, settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
    let (intervals, retries, scoring) = settings.node_rules();
    let rules = Rules { intervals, retries, scoring, ..Rules::default() };
    let wanted = |scenario: &&Scenario| {
        options.scenario.is_empty() || options.scenario.iter().any(|name| name == scenario.name)
    };
    let reports: Vec<Report> =
        ALL.iter().filter(wanted).map(|scenario| answer(scenario, &rules, options)).collect();
    let text = if json {
        let report = serde_json::json!({ "seed": options.seed, "confidence": 0.95, "scenarios": reports });
        format!("{report:#}\n")
    } else {
        reports.iter().map(table).collect()
    };
    console::print(&text).context("write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

fn answer(scenario: &Scenario, rules: &Rules, options: &Options) -> Report {
    let clock = SystemClock::new();
    let mut next = clock.monotonic() + PROGRESS;
    simulate(scenario, rules, options.node_months, options.seed, &mut |done| {
        if clock.monotonic() >= next {
            console::tell(&format!("{}: {done} of {} node-months", scenario.name, options.node_months));
            next = clock.monotonic() + PROGRESS;
        }
    })
}

fn table(report: &Report) -> String {
    let mut text = format!("{} ({} node-months): {}\n", report.scenario, report.node_months, report.what);
    for measure in &report.measures {
        let limit = match (measure.limit, measure.holds) {
            (None, _) => String::new(),
            (Some(limit), Some(true)) => format!("  {} holds", words(limit)),
            (Some(limit), Some(false)) => format!("  {} FAILS", words(limit)),
            (Some(limit), None) => format!("  {} not decided by so few", words(limit)),
        };
        let (low, high) = (measure.interval.low, measure.interval.high);
        let _infallible = writeln!(
            text,
            "  {:<60} {:>9} of {:<9} 95 %: {low:.2e} to {high:.2e}{limit}",
            measure.what, measure.hits, measure.of
        );
    }
    if let Some(bound) = report.analytic_bans_per_node_month {
        let _infallible =
            writeln!(text, "  bans per node-month, computed without chance: at most {bound:.1e}");
    }
    text.push('\n');
    text
}

fn words(limit: Limit) -> String {
    match limit {
        Limit::AtMost(most) => format!("at most {most:e}"),
        Limit::AtLeast(least) => format!("at least {least}"),
    }
}
