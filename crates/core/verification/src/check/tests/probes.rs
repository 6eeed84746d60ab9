//! What stands between claims and proof.

use super::*;
use crate::probe::{ContainerRun, Found, ReachEnd, Storage};
use crate::{Blame, Surroundings};

const DOCKER: &[u8] = include_bytes!("../../probe/recorded/docker-info-20.10.json");

fn framed(sections: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let mut output = Vec::new();
    for (name, code, body) in sections {
        output.extend(format!("{name} {code} {}\n", body.len()).into_bytes());
        output.extend(*body);
        output.push(b'\n');
    }
    output.extend(b"end 0 0\n\n");
    output
}

fn survey(available: u64) -> Event {
    let df = format!(
        "Filesystem 1-blocks Used Available Capacity Mounted on\n/dev/a {} 1 {available} 1% /",
        1u64 << 50
    );
    Event::Surveyed(framed(&[
        ("lscpu", 0, b"CPU(s): 64\nModel name: AMD EPYC 7543"),
        ("meminfo", 0, b"MemTotal: 1000 kB"),
        ("os-release", 0, b"PRETTY_NAME=\"Ubuntu\""),
        ("uname", 0, b"Linux 6.8.0"),
        ("docker", 0, DOCKER.trim_ascii_end()),
        ("df", 0, df.as_bytes()),
    ]))
}

fn ran(uuid: &str) -> Event {
    let gpus = format!("GPU 0: NVIDIA H100 80GB HBM3 (UUID: {uuid})");
    Event::ContainerRan(framed(&[("pull", 0, b""), ("image", 0, b""), ("gpus", 0, gpus.as_bytes())]))
}

fn not_pulled() -> Event {
    Event::ContainerRan(framed(&[("pull", 1, b""), ("image", 1, b"")]))
}

fn reached(end: ReachEnd) -> Event {
    Event::Reached(Reach { port: 31_000, end })
}

/// A full check by these rules, with these events behind the claims.
fn full(probes: ProbeRules, events: &[Event]) -> Result<Conclusion, Vec<Effect>> {
    let plan = Plan { probes, ..plan(CheckKind::Full, true) };
    let first = [connected(), Event::ClaimsPrinted(claims_json()), Event::Recalled(vec![])];
    run(plan, &[&first, events].concat())
}

#[test]
fn everything_is_asked_in_order_before_the_proof_and_kept() {
    let own = uuid().to_string();
    let all = [survey(2 << 40), ran(&own), reached(ReachEnd::Answered)];
    let expected = [
        Effect::Survey,
        Effect::RunContainer(Engine::Docker),
        Effect::Reach,
        Effect::Prove(ClaimReport::parse(&claims_json()).unwrap()),
    ];
    for (done, effect) in expected.into_iter().enumerate() {
        assert_eq!(full(ProbeRules::default(), &all[..done]), Err(vec![effect]));
    }
    let proved = [verified(digest(2)), Event::Transferred(None)];
    let end = full(ProbeRules::default(), &[&all[..], &proved].concat()).unwrap();
    assert_eq!(end.finding, Finding::Passed);
    let Probes { cards, hardware, containers, storage, container_run, reach, look } = end.probes;
    assert!(cards.is_some_and(|cards| cards.capability == [9, 0] && !cards.mig));
    assert!(matches!(hardware, Some(Found::Read(hardware)) if hardware.cpus == 64));
    assert!(matches!(containers, Some(Found::Read(host)) if host.version == "20.10.24+dfsg1"));
    let room = Storage { total_bytes: 1 << 50, available_bytes: 2 << 40 };
    assert_eq!(storage, Some(Found::Read(room)));
    assert_eq!((container_run, look), (Some(ContainerRun::SawAll), None));
    assert!(reach.is_some_and(|reach| reach.port == 31_000));
}

#[test]
fn a_failed_probe_ends_the_check_before_the_proof_and_only_where_it_is_required() {
    let (own, other) = (uuid().to_string(), GpuUuid::from_bytes([3; 16]).to_string());
    let cases: [(Vec<Event>, Reason); 8] = [
        (vec![survey(1 << 39)], Reason::StorageTooSmall),
        (vec![Event::Surveyed(b"\x1b[2J\0".to_vec())], Reason::ProbeOutputInvalid),
        (vec![Event::CommandFailed], Reason::CommandFailed),
        (vec![survey(2 << 40), ran(&other)], Reason::ContainerGpuDenied),
        (vec![survey(2 << 40), not_pulled(), Event::Witnessed(true)], Reason::ImagePullFailed),
        (vec![survey(2 << 40), ran(&own), Event::PortsTaken], Reason::PortsTaken),
        (
            vec![survey(2 << 40), ran(&own), reached(ReachEnd::Refused), Event::Witnessed(true)],
            Reason::PortUnreachable,
        ),
        (
            vec![survey(2 << 40), ran(&own), reached(ReachEnd::Wrong), Event::Witnessed(true)],
            Reason::PortUnreachable,
        ),
    ];
    for (events, reason) in cases {
        let end = full(ProbeRules::default(), &events).unwrap();
        assert_eq!((&end.finding, end.proving), (&Finding::Failed(reason), false), "no proof was begun");
        assert!(reason.blame() != Blame::Proven, "retries can tell, or nobody is at fault");
    }
    let recorded = ProbeRules {
        containers: Demand::Recorded,
        gpu_containers: Demand::Recorded,
        hardware: Demand::Recorded,
        cards: Demand::Recorded,
        storage: Demand::Recorded,
        reachability: Demand::Recorded,
        ..ProbeRules::default()
    };
    let events =
        [survey(1), ran(&other), reached(ReachEnd::Silent), verified(digest(2)), Event::Transferred(None)];
    let end = full(recorded, &events).unwrap();
    assert_eq!(end.finding, Finding::Passed);
    assert_eq!(end.probes.container_run, Some(ContainerRun::Missed(1)));
}

#[test]
fn what_may_be_down_for_everybody_is_written_down_and_the_proof_goes_on() {
    let asked = full(ProbeRules::default(), &[survey(2 << 40), not_pulled()]);
    assert_eq!(asked, Err(vec![Effect::SeekWitness(Reason::ImagePullFailed)]));
    let events = [
        survey(2 << 40),
        not_pulled(),
        Event::Witnessed(false),
        reached(ReachEnd::Silent),
        Event::Witnessed(false),
        verified(digest(2)),
        Event::Transferred(None),
    ];
    let end = full(ProbeRules::default(), &events).unwrap();
    assert_eq!((&end.finding, end.gpus.len()), (&Finding::Passed, 1), "it is paid for what it proved");
    assert_eq!(end.probes.container_run, Some(ContainerRun::NoImage));
    assert!(end.probes.reach.is_some_and(|reach| reach.end == ReachEnd::Silent), "and this is told");
}

#[test]
fn a_pull_that_is_put_off_ends_a_check_as_any_and_is_held_against_nobody() {
    let put_off = Event::ContainerRan(b"pull 124 0\n\nimage 1 0\n\nend 0 0\n\n".to_vec());
    let around = Surroundings { chain: Some(true), image_offered: true, ..Surroundings::default() };
    let pull = Reason::ImagePullFailed;
    for (event, run, control) in [
        (not_pulled(), ContainerRun::NoImage, Control::Reachable),
        (put_off, ContainerRun::PullPutOff, Control::Absent),
    ] {
        let events = [survey(2 << 40), event, Event::Witnessed(around.ends_by(pull))];
        let end = full(ProbeRules::default(), &events).unwrap();
        assert_eq!((&end.finding, end.probes.container_run), (&Finding::Failed(pull), Some(run)));
        assert_eq!(end.beside(pull, &around), control);
        assert_eq!(end.beside(Reason::ConnectionLost, &around), Control::Reachable);
    }
}

#[test]
fn a_card_that_lacks_something_is_turned_away_unpaid_and_without_fault() {
    let mig = DeviceFacts { mig: Some(true), ..card("simulated-H100") };
    let old = DeviceFacts { driver: "550.54.15".parse().unwrap(), ..card("simulated-H100") };
    for (facts, reason) in [(mig, Reason::GpuMigEnabled), (old, Reason::CudaTooOld)] {
        let plan = Plan { probes: ProbeRules::default(), ..plan(CheckKind::Full, true) };
        let end = run(plan, &[connected(), Event::ClaimsPrinted(claims_showing(facts))]).unwrap();
        assert_eq!(end.finding, Finding::Failed(reason));
        assert!(reason.voids_proof() && end.probes.cards.is_some());
        assert_eq!(reason.blame(), Blame::Elsewhere(Fault::Node { confirmed: false }));
    }
}

#[test]
fn whoever_is_waited_for_is_asked_nothing_that_takes_long() {
    let quick = ProbeRules::default().quick();
    assert!(!quick.surveys() && !quick.reachability.is_asked() && quick.cards.is_required());
}
