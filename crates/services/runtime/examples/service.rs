//! The smallest service: logging, one task, an admin endpoint, an orderly end. The tests of signals run it.
//!
//! `service drain` ends in order; `service stubborn` ignores the stop; `service broken` fails; `service panicking`
//! panics. Prints the address of its admin endpoint once it runs.
#![expect(clippy::print_stdout, reason = "tells its address to who started it")]

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;

use basilica_ports::BoxError;
use basilica_runtime_service::{
    AdminListener, AdminPages, AdminRoutes, AdminState, ErrorChain, Metrics, OnFailure, Readiness, Stop,
    Supervisor, TracingOptions, init_tracing,
};
use basilica_system::{OsEntropy, SystemClock};
use basilica_types::Millis;

#[tokio::main]
async fn main() -> ExitCode {
    match run(std::env::args().nth(1).as_deref()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %ErrorChain(error.as_ref()), "service ended");
            ExitCode::FAILURE
        }
    }
}

async fn run(behaviour: Option<&str>) -> Result<(), BoxError> {
    init_tracing(&TracingOptions { json: true, ..TracingOptions::default() })?;
    let clock = Arc::new(SystemClock::new());
    let supervisor = Supervisor::new(clock.clone(), Arc::new(OsEntropy));
    let metrics = Metrics::new();
    supervisor.observe(&metrics, "basilica_example");

    let listener = AdminListener::bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
    println!("{}", listener.local_addr());
    let readiness = Readiness::new();
    readiness.condition("work").ready();
    let state = AdminState {
        readiness,
        metrics,
        clock,
        version: "0.0.0",
        routes: AdminRoutes::All,
        pages: AdminPages::default(),
    };
    supervisor.spawn_once("admin", async |stop| {
        listener.serve(state, stop).await;
        Ok(())
    });

    match behaviour {
        Some("stubborn") => {
            supervisor.spawn("work", OnFailure::Shutdown, async |_| std::future::pending().await)
        }
        Some("broken") => supervisor.spawn("work", OnFailure::Shutdown, async |_| Err("disk full".into())),
        Some("panicking") => supervisor.spawn("work", OnFailure::Shutdown, async |_| panic!("sum is off")),
        _ => supervisor.spawn("work", OnFailure::Shutdown, drain),
    }
    Ok(supervisor.run_until_stopped(Millis::from_secs(60)).await?)
}

async fn drain(stop: Stop) -> Result<(), BoxError> {
    stop.requested().await;
    tracing::info!("drained");
    Ok(())
}
