use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::*;
use crate::testing::{SeededEntropy, VirtualClock};

const GRACE: Millis = Millis(10_000);
const RESTART: OnFailure = OnFailure::Restart { initial: Millis(100), max: Millis(1_000) };

/// Signals that a test sends.
impl Signals for mpsc::Receiver<Signal> {
    async fn next(&mut self) -> Signal {
        match self.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

struct Scene {
    clock: Arc<VirtualClock>,
    supervisor: Supervisor,
    send: mpsc::Sender<Signal>,
    signals: mpsc::Receiver<Signal>,
}

impl Scene {
    fn new() -> Self {
        let clock = VirtualClock::new();
        let supervisor = Supervisor::new(clock.clone(), SeededEntropy::new(1));
        let (send, signals) = mpsc::channel(2);
        Self { clock, supervisor, send, signals }
    }

    async fn run(mut self) -> Ended {
        self.supervisor.run(&mut self.signals, GRACE).await
    }
}

fn stopped(ended: Ended) -> Result<(), TaskFailure> {
    match ended {
        Ended::Stopped(result) => result,
        Ended::Interrupted(signal) => panic!("interrupted by {}", signal.name()),
    }
}

async fn until_stopped(stop: Stop) -> Result<(), BoxError> {
    stop.requested().await;
    Ok(())
}

#[tokio::test]
async fn a_signal_stops_every_task_in_order() {
    let scene = Scene::new();
    scene.supervisor.spawn("first", OnFailure::Shutdown, until_stopped);
    scene.supervisor.spawn("second", RESTART, until_stopped);
    scene.send.send(Signal::Terminate).await.unwrap();
    stopped(scene.run().await).expect("both tasks end when asked");
}

#[tokio::test]
async fn a_service_ends_when_its_last_task_is_done() {
    let scene = Scene::new();
    scene.supervisor.spawn("once", OnFailure::Shutdown, async |_| Ok(()));
    stopped(scene.run().await).expect("finished work is no failure");
}

#[tokio::test]
async fn a_failure_under_shutdown_stops_the_rest_and_is_the_result() {
    let scene = Scene::new();
    scene.supervisor.spawn("server", OnFailure::Shutdown, until_stopped);
    scene.supervisor.spawn("store", OnFailure::Shutdown, async |_| Err("disk full".into()));
    let failure = stopped(scene.run().await).expect_err("the store failed");
    assert_eq!(ErrorChain(&failure).to_string(), "task store failed: disk full");
}

#[tokio::test]
async fn a_panic_is_a_failure() {
    let scene = Scene::new();
    scene.supervisor.spawn("weights", OnFailure::Shutdown, async |_| panic!("sum is off"));
    let failure = stopped(scene.run().await).expect_err("it panicked");
    assert_eq!(failure.to_string(), "task weights panicked: sum is off");
}

#[tokio::test]
async fn a_panic_before_the_first_await_is_a_failure_too() {
    let scene = Scene::new();
    let refuse = |_| -> std::future::Ready<Result<(), BoxError>> { panic!("no socket") };
    scene.supervisor.spawn("axon", OnFailure::Shutdown, refuse);
    let failure = stopped(scene.run().await).expect_err("it panicked");
    assert_eq!(failure.to_string(), "task axon panicked: no socket");
}

#[tokio::test]
async fn a_failed_task_starts_again_after_growing_pauses() {
    let scene = Scene::new();
    let (clock, stop) = (scene.clock.clone(), scene.supervisor.stop());
    let metrics = Metrics::new();
    scene.supervisor.observe(&metrics, "basilica_test");
    let runs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&runs);
    scene.supervisor.spawn("chain", RESTART, move |stop| {
        let run = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            match run {
                0..=4 => Err("unreachable".into()),
                5 => panic!("unexpected"),
                _ => until_stopped(stop).await,
            }
        }
    });
    let (ended, pauses) = tokio::join!(scene.run(), async {
        let mut pauses = Vec::new();
        for _ in 0..6 {
            clock.sleepers(1).await;
            pauses.push(clock.advance_to_next().expect("a sleep is under way").0);
        }
        while runs.load(Ordering::Relaxed) < 7 {
            tokio::task::yield_now().await;
        }
        let text = metrics.render().expect("the collector renders");
        assert!(text.contains("basilica_test_task_restarts_total{task=\"chain\"} 6\n"), "{text}");
        assert!(text.contains("basilica_test_tasks_running 1\n"), "{text}");
        let uptime = format!("basilica_test_uptime_seconds {}", clock.monotonic().as_secs_f64());
        assert!(text.contains(&uptime), "{uptime} in {text}");
        stop.request();
        pauses
    });
    stopped(ended).expect("restarts are no failure of the service");
    for (pause, ceiling) in pauses.iter().zip([100, 200, 400, 800, 1_000, 1_000]) {
        assert!((ceiling / 2..=ceiling).contains(pause), "{pauses:?}");
    }
}

#[tokio::test]
async fn a_long_run_makes_the_next_pause_short_again() {
    let scene = Scene::new();
    let (clock, stop) = (scene.clock.clone(), scene.supervisor.stop());
    let task_clock = scene.clock.clone();
    let mut run = 0;
    scene.supervisor.spawn("chain", RESTART, move |_| {
        run += 1;
        let (run, clock) = (run, task_clock.clone());
        async move {
            if run == 5 {
                clock.sleep(Millis(60_000)).await;
            }
            Err("lost".into())
        }
    });
    let (ended, spans) = tokio::join!(scene.run(), async {
        let mut spans = Vec::new();
        for _ in 0..6 {
            clock.sleepers(1).await;
            spans.push(clock.advance_to_next().expect("a sleep is under way").0);
        }
        stop.request();
        spans
    });
    stopped(ended).expect("restarts are no failure of the service");
    assert_eq!(spans[4], 60_000);
    assert!(spans[3] >= 400 && spans[5] <= 100, "{spans:?}");
}

#[tokio::test]
async fn a_stop_during_a_pause_does_not_wait_for_its_end() {
    let scene = Scene::new();
    let (clock, stop) = (scene.clock.clone(), scene.supervisor.stop());
    scene.supervisor.spawn("chain", RESTART, async |_| Err("unreachable".into()));
    let (ended, ()) = tokio::join!(scene.run(), async {
        clock.sleepers(1).await;
        stop.request();
    });
    stopped(ended).expect("nothing overran");
    assert_eq!(clock.monotonic(), Duration::ZERO);
}

#[tokio::test]
async fn a_task_that_ignores_the_stop_is_aborted_and_named() {
    let scene = Scene::new();
    let clock = scene.clock.clone();
    scene.supervisor.spawn("polite", OnFailure::Shutdown, until_stopped);
    scene.supervisor.spawn("stubborn", OnFailure::Shutdown, async |_| std::future::pending().await);
    scene.send.send(Signal::Interrupt).await.unwrap();
    let (ended, ()) = tokio::join!(scene.run(), async {
        clock.sleepers(1).await;
        clock.advance(GRACE);
    });
    let failure = stopped(ended).expect_err("one task had to be aborted");
    assert_eq!(failure.to_string(), "aborted after 10000 ms of waiting for an orderly end: stubborn");
}

#[tokio::test]
async fn a_task_may_finish_its_work_within_the_grace_period() {
    let scene = Scene::new();
    let (clock, task_clock) = (scene.clock.clone(), scene.clock.clone());
    scene.supervisor.spawn("drain", OnFailure::Shutdown, move |stop| {
        let clock = task_clock.clone();
        async move {
            stop.requested().await;
            clock.sleep(Millis(9_000)).await;
            Ok(())
        }
    });
    scene.send.send(Signal::Terminate).await.unwrap();
    let (ended, ()) = tokio::join!(scene.run(), async {
        clock.sleepers(2).await;
        clock.advance(Millis(9_000));
    });
    stopped(ended).expect("it ended in time");
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let scene = Scene::new();
    scene.supervisor.spawn("stubborn", OnFailure::Shutdown, async |_| std::future::pending().await);
    scene.send.send(Signal::Terminate).await.unwrap();
    scene.send.send(Signal::Interrupt).await.unwrap();
    let clock = scene.clock.clone();
    let Ended::Interrupted(signal) = scene.run().await else { panic!("it waited") };
    assert_eq!((signal, signal.exit_code()), (Signal::Interrupt, 130));
    assert_eq!(clock.monotonic(), Duration::ZERO);
}

#[tokio::test]
async fn an_error_while_stopping_is_reported_for_tasks_that_matter_only() {
    let fail_at_the_end = |stop: Stop| async move {
        stop.requested().await;
        Err::<(), BoxError>("flush failed".into())
    };
    let scene = Scene::new();
    scene.supervisor.spawn("cache", RESTART, fail_at_the_end);
    scene.send.send(Signal::Terminate).await.unwrap();
    stopped(scene.run().await).expect("the cache can be lost");
    let scene = Scene::new();
    scene.supervisor.spawn("ledger", OnFailure::Shutdown, fail_at_the_end);
    scene.send.send(Signal::Terminate).await.unwrap();
    stopped(scene.run().await).expect_err("the ledger cannot");
}

#[tokio::test]
async fn a_running_task_can_start_others() {
    let scene = Scene::new();
    let (supervisor, stop) = (scene.supervisor.clone(), scene.supervisor.stop());
    scene.supervisor.spawn("parent", OnFailure::Shutdown, move |_| {
        supervisor.spawn("child", OnFailure::Shutdown, async |_| Err("child failed".into()));
        std::future::ready(Ok(()))
    });
    let failure = stopped(scene.run().await).expect_err("the child failed");
    assert!(matches!(failure, TaskFailure::Failed { task: "child", .. }) && stop.is_requested());
}
