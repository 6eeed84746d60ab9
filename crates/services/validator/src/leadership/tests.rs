use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use basilica_runtime_service::testing::VirtualClock;
use basilica_runtime_service::{Metrics, Readiness, TaskSet};
use tokio::sync::Notify;

use super::*;

const RULES: LeaseRules = LeaseRules { lease: Millis(3_000), renew: Millis(1_000), poll: Millis(250) };

/// What a database server keeps.
#[derive(Debug, Default)]
struct Row {
    token: u64,
    holder: Option<String>,
    lease_end: u64,
}

/// A server with a clock of its own.
struct Server {
    clock: Arc<VirtualClock>,
    row: Mutex<Row>,
}

/// One validator's view of it.
struct Client {
    server: Arc<Server>,
    seat: AtomicU64,
    vacated: Notify,
    cut_off: AtomicBool,
}

impl Client {
    fn row<T>(&self, ask: impl FnOnce(&mut Row, u64) -> T) -> Result<T, StoreError> {
        if self.cut_off.load(Ordering::SeqCst) {
            let source = std::io::Error::from(std::io::ErrorKind::TimedOut).into();
            return Err(StoreError::Unavailable { operation: "ask", source });
        }
        let now = u64::try_from(self.server.clock.monotonic().as_millis()).unwrap();
        Ok(ask(&mut self.server.row.lock().unwrap_or_else(PoisonError::into_inner), now))
    }

    fn seat(&self) -> Option<FencingToken> {
        Some(self.seat.load(Ordering::SeqCst)).filter(|token| *token > 0).map(FencingToken)
    }

    /// A write, as the store makes it.
    fn write(&self) -> Result<(), StoreError> {
        let current = FencingToken(self.row(|row, _| row.token)?);
        if self.seat() == Some(current) {
            return Ok(());
        }
        let held = self.seat();
        self.step_down();
        Err(StoreError::Fenced { held, current })
    }
}

#[async_trait]
impl Leadership for Client {
    fn is_shared(&self) -> bool {
        true
    }

    fn held(&self) -> Option<FencingToken> {
        self.seat()
    }

    async fn campaign(&self, holder: &str, lease: Millis) -> Result<Campaign, StoreError> {
        self.row(|row, now| {
            if row.lease_end > now {
                return Campaign::Lost(Leader {
                    token: FencingToken(row.token),
                    holder: row.holder.clone(),
                    lease_left: Millis(row.lease_end - now),
                });
            }
            *row = Row { token: row.token + 1, holder: Some(holder.to_owned()), lease_end: now + lease.0 };
            self.seat.store(row.token, Ordering::SeqCst);
            Campaign::Won(FencingToken(row.token))
        })
    }

    async fn renew(&self, lease: Millis) -> Result<(), StoreError> {
        let held = self.seat();
        let current = self.row(|row, now| {
            if held == Some(FencingToken(row.token)) {
                row.lease_end = now + lease.0;
            }
            FencingToken(row.token)
        })?;
        if held == Some(current) { Ok(()) } else { Err(StoreError::Fenced { held, current }) }
    }

    async fn deposed(&self) {
        while self.seat().is_some() {
            self.vacated.notified().await;
        }
    }

    fn step_down(&self) {
        self.seat.store(0, Ordering::SeqCst);
        self.vacated.notify_one();
    }

    async fn resign(&self) -> Result<(), StoreError> {
        self.step_down();
        self.row(|row, _| (row.lease_end, row.holder) = (0, None))
    }

    async fn leader(&self) -> Result<Leader, StoreError> {
        self.row(|row, _| Leader {
            token: FencingToken(row.token),
            holder: row.holder.clone(),
            lease_left: Millis(0),
        })
    }
}

/// A validator with one reconciler, which counts how often it began to work and how many of it work now.
struct Validator {
    client: Arc<Client>,
    leading: Arc<Leading>,
    stop: Stop,
    readiness: Readiness,
    began: Arc<AtomicU64>,
    at_work: Arc<AtomicU64>,
    /// For each term that ended, how many were still at work when its sessions were.
    retired: Arc<Mutex<Vec<u64>>>,
    tasks: TaskSet<Result<(), BoxError>>,
}

struct AtWork(Arc<AtomicU64>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Validator {
    fn start(server: &Arc<Server>, clock: &Arc<VirtualClock>, name: &str) -> Self {
        let client = Arc::new(Client {
            server: Arc::clone(server),
            seat: AtomicU64::new(0),
            vacated: Notify::new(),
            cut_off: AtomicBool::new(false),
        });
        let (readiness, stop, leading) = (Readiness::new(), Stop::new(), Arc::new(Leading::default()));
        let (began, at_work) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let retired: Arc<Mutex<Vec<u64>>> = Arc::default();
        let (ended, working) = (Arc::clone(&retired), Arc::clone(&at_work));
        let office = Office {
            leadership: Arc::<Client>::clone(&client),
            holder: name.to_owned(),
            rules: RULES,
            clock: Arc::<VirtualClock>::clone(clock),
            metrics: ValidatorMetrics::register(&Metrics::new()),
            condition: readiness.condition("leadership"),
            retire: Box::new(move || ended.lock().unwrap().push(working.load(Ordering::SeqCst))),
        };
        let mut tasks = TaskSet::new();
        let (position, until) = (Arc::clone(&leading), stop.clone());
        tasks.spawn("office", async move { office.run(&position, until).await });
        let (position, until) = (Arc::clone(&leading), stop.clone());
        let (count, present) = (Arc::clone(&began), Arc::clone(&at_work));
        tasks.spawn("reconciler", async move {
            let work = |stop: Stop| {
                count.fetch_add(1, Ordering::SeqCst);
                present.fetch_add(1, Ordering::SeqCst);
                let here = AtWork(Arc::clone(&present));
                async move {
                    let _here = here;
                    stop.requested().await;
                    Ok(())
                }
            };
            position.while_leading(until, work).await
        });
        Self { client, leading, stop, readiness, began, at_work, retired, tasks }
    }

    fn works(&self) -> bool {
        self.at_work.load(Ordering::SeqCst) > 0
    }

    fn stands(&self) -> String {
        match &self.readiness.report()[0].1 {
            Ok(()) => "leads".to_owned(),
            Err(why) => why.clone(),
        }
    }
}

/// Lets everybody do what can be done at this moment.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

async fn pass(clocks: &[&Arc<VirtualClock>], span: u64) {
    for _ in 0..span / 50 {
        for clock in clocks {
            clock.advance(Millis(50));
        }
        settle().await;
    }
}

fn server(clock: &Arc<VirtualClock>) -> Arc<Server> {
    Arc::new(Server { clock: Arc::clone(clock), row: Mutex::default() })
}

#[tokio::test]
async fn whoever_is_cut_off_stops_before_the_next_one_works() {
    let clock = VirtualClock::new();
    let server = server(&clock);
    let first = Validator::start(&server, &clock, "first");
    pass(&[&clock], 50).await;
    let second = Validator::start(&server, &clock, "second");
    pass(&[&clock], 10_000).await;
    assert!(first.works() && !second.works());
    assert_eq!(
        (first.stands().as_str(), second.stands().as_str()),
        ("leads", "standby: first leads with token 1")
    );
    first.client.cut_off.store(true, Ordering::SeqCst);
    let mut silent = 0;
    while !second.works() {
        pass(&[&clock], 50).await;
        silent += 50;
        assert!(!(first.works() && second.works()), "both work");
        assert!(silent <= 3_500, "nobody took over");
    }
    assert!(matches!(second.leading.position(), Position::Leading { token: FencingToken(2), .. }));
    first.client.cut_off.store(false, Ordering::SeqCst);
    pass(&[&clock], 1_000).await;
    assert_eq!(first.stands(), "standby: second leads with token 2");
    assert!(!first.works());
    assert_eq!(*first.retired.lock().unwrap(), [0], "its sessions ended with its term, after its work");
    assert!(second.retired.lock().unwrap().is_empty());
}

/// Its own clock stood still: it believes that it leads, and so does its work until the first write.
#[tokio::test]
async fn a_leader_whose_clock_stood_still_ends_its_term_at_the_first_refused_write() {
    let (clock, own) = (VirtualClock::new(), VirtualClock::new());
    let server = server(&clock);
    let first = Validator::start(&server, &own, "first");
    pass(&[&clock, &own], 2_000).await;
    let second = Validator::start(&server, &clock, "second");
    pass(&[&clock], 4_000).await;
    assert!(first.works() && second.works(), "nobody told the first");
    assert!(second.client.write().is_ok());
    assert!(matches!(first.client.write(), Err(StoreError::Fenced { .. })));
    settle().await;
    assert!(!first.works(), "the refused write ended its term");
    pass(&[&clock, &own], 500).await;
    assert_eq!(first.stands(), "standby: second leads with token 2");
}

#[tokio::test]
async fn a_clock_that_is_set_does_not_matter() {
    let clock = VirtualClock::new();
    let server = server(&clock);
    let first = Validator::start(&server, &clock, "first");
    pass(&[&clock], 1_000).await;
    for shift in [86_400_000, -86_400_000] {
        clock.set_wall_clock(shift);
        pass(&[&clock], 5_000).await;
        assert!(first.works() && first.client.write().is_ok());
    }
    assert_eq!(first.began.load(Ordering::SeqCst), 1, "its work was never interrupted");
}

#[tokio::test]
async fn a_leader_that_is_stopped_hands_over_at_once() {
    let clock = VirtualClock::new();
    let server = server(&clock);
    let mut first = Validator::start(&server, &clock, "first");
    pass(&[&clock], 50).await;
    let second = Validator::start(&server, &clock, "second");
    pass(&[&clock], 1_000).await;
    first.stop.request();
    pass(&[&clock], 300).await;
    assert!(second.works(), "within one poll");
    while let Some(ended) = first.tasks.next().await {
        assert!(matches!(ended, Ok(Ok(()))));
    }
}

#[tokio::test]
async fn a_short_cut_does_not_change_the_leader() {
    let clock = VirtualClock::new();
    let server = server(&clock);
    let first = Validator::start(&server, &clock, "first");
    pass(&[&clock], 50).await;
    let second = Validator::start(&server, &clock, "second");
    for _ in 0..20 {
        first.client.cut_off.store(true, Ordering::SeqCst);
        pass(&[&clock], 1_000).await;
        first.client.cut_off.store(false, Ordering::SeqCst);
        pass(&[&clock], 1_500).await;
    }
    assert!(first.works() && !second.works());
    assert_eq!(first.began.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn whoever_leads_again_works_again() {
    let clock = VirtualClock::new();
    let server = server(&clock);
    let first = Validator::start(&server, &clock, "first");
    pass(&[&clock], 50).await;
    for term in 1..=3 {
        assert_eq!((first.works(), first.began.load(Ordering::SeqCst)), (true, term));
        first.client.cut_off.store(true, Ordering::SeqCst);
        pass(&[&clock], 3_500).await;
        assert!(!first.works());
        first.client.cut_off.store(false, Ordering::SeqCst);
        pass(&[&clock], 500).await;
    }
}

#[tokio::test]
async fn who_is_answered_on_the_spot_keeps_its_lead_however_late_it_asks() {
    let clock = VirtualClock::new();
    let server = server(&clock);
    let alone = Validator::start(&server, &clock, "alone");
    pass(&[&clock], 1_000).await;
    clock.advance(Millis(10 * RULES.lease.0));
    settle().await;
    pass(&[&clock], 1_000).await;
    assert!(alone.works());
    assert_eq!(alone.began.load(Ordering::SeqCst), 1, "its work was never interrupted");
}
