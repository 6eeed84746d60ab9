//! RULES R10: bans and ramp belong to what was proved.

use super::super::gpu::Place;
use super::*;

/// Nodes and GPUs with small names, each entry told to those that it concerns as the store tells it.
struct World {
    policy: Policy,
    nodes: [Record; 2],
    gpus: Vec<Option<(usize, GpuRecord)>>,
}

impl World {
    fn new() -> Self {
        Self { policy: Policy::default(), nodes: Default::default(), gpus: vec![None; 4] }
    }

    fn tell(&mut self, node: usize, entry: Entry, proved: &[usize]) {
        let before = self.nodes[node].clone();
        let has_gpus = self.gpus.iter().flatten().any(|(owner, _)| *owner == node);
        for (name, gpu) in self.gpus.iter_mut().enumerate() {
            let now_proved = proved.contains(&name);
            match (gpu, entry) {
                (Some((owner, record)), _) if *owner == node || now_proved => {
                    *owner = node;
                    record.follow(&entry, &before, now_proved, &self.policy);
                }
                (gpu @ None, Entry::Check(check)) if now_proved => {
                    *gpu = Some((node, GpuRecord::first_proved(&before, has_gpus, &check, &self.policy)));
                }
                _ => {}
            }
        }
        self.nodes[node].apply(&entry, &self.policy);
    }

    fn standing(&self, node: usize, now_ms: u64) -> Standing {
        let its =
            self.gpus.iter().flatten().filter(|(owner, gpu)| *owner == node && gpu.place == Place::Node);
        self.nodes[node].standing(its.map(|(_, gpu)| gpu), &self.policy, at(now_ms))
    }

    fn gpu(&self, name: usize) -> &GpuRecord {
        &self.gpus[name].as_ref().expect("it was proved").1
    }

    fn share(&self, ms: u64) -> Ppm {
        Ppm::new(u32::try_from(ms * 1_000_000 / self.policy.ramp.0).unwrap()).unwrap()
    }
}

#[test]
fn a_nodes_multiplier_is_the_mean_over_its_gpus_and_its_ban_the_longest() {
    let mut world = World::new();
    world.tell(0, pass(0), &[0]);
    world.tell(0, pass(7 * DAY), &[0, 1]);
    assert_eq!(world.standing(0, 7 * DAY).multiplier, world.share(7 * DAY / 2));
    world.tell(1, rejected(8 * DAY), &[]);
    world.tell(1, rejected(8 * DAY + 30 * MINUTE), &[]);
    world.tell(1, pass(8 * DAY + 31 * MINUTE), &[2]);
    let banned = at(8 * DAY + HOUR);
    assert_eq!(
        world.standing(1, 8 * DAY + 32 * MINUTE).banned_until,
        Some(banned),
        "found before any was proved"
    );
    // The card moves to the good node and takes its ban along.
    world.tell(0, pass(8 * DAY + 40 * MINUTE), &[0, 1, 2]);
    assert_eq!(world.standing(0, 8 * DAY + 41 * MINUTE).banned_until, Some(banned));
}

#[test]
fn a_gpu_takes_its_ramp_along_and_a_new_one_begins_its_own() {
    let mut world = World::new();
    world.tell(0, pass(0), &[0]);
    world.tell(1, pass(5 * DAY), &[0]);
    assert_eq!(world.standing(1, 5 * DAY).multiplier, world.share(5 * DAY));
    world.tell(0, pass(5 * DAY), &[3]);
    assert_eq!(world.standing(0, 5 * DAY).multiplier, Ppm::ZERO, "another card is another ramp");
}

#[test]
fn a_rejected_proof_counts_against_every_gpu_of_its_node_and_no_other() {
    let mut world = World::new();
    world.tell(0, pass(0), &[0, 1]);
    world.tell(1, pass(0), &[2]);
    world.tell(0, rejected(DAY), &[]);
    for gpu in [0, 1] {
        assert_eq!(world.gpu(gpu).conduct().multiplier(&world.policy, at(DAY)), Ppm::ZERO);
    }
    assert_eq!(world.standing(1, DAY).multiplier, world.share(DAY));
}

#[test]
fn faults_of_a_host_that_nobody_logged_in_to_are_the_registrations_alone() {
    let mut world = World::new();
    world.tell(0, pass(0), &[0]);
    world.tell(0, Entry::Moved(at(DAY)), &[]);
    for i in 0..3 {
        world.tell(0, dead(DAY + i * 15 * MINUTE), &[]);
    }
    assert_eq!(world.gpu(0).conduct().events.as_slice(), &[], "no event of the card");
    assert_eq!(world.nodes[0].conduct().events.as_slice().len(), 1);
    let lost = |ms| world.gpu(0).conduct().multiplier(&world.policy, at(ms));
    assert!(lost(DAY + 30 * MINUTE) > Ppm::ZERO);
    assert_eq!(lost(DAY + 31 * MINUTE), Ppm::ZERO, "where it is, nobody knows: downtime all the same");
}

#[test]
fn a_rejected_proof_on_a_host_that_moved_and_was_dead_still_counts_against_the_cards() {
    let mut world = World::new();
    world.tell(0, pass(0), &[0]);
    world.tell(0, Entry::Moved(at(DAY)), &[]);
    world.tell(0, dead(DAY + MINUTE), &[]);
    for i in [5, 35] {
        world.tell(0, rejected(DAY + i * MINUTE), &[]);
    }
    world.tell(0, pass(DAY + 36 * MINUTE), &[0]);
    assert_eq!(world.standing(0, DAY + 37 * MINUTE).banned_until, Some(at(DAY + 65 * MINUTE)));
}

#[test]
fn a_host_that_moved_and_answers_loses_nothing() {
    let mut world = World::new();
    world.tell(0, pass(0), &[0]);
    world.tell(0, Entry::Moved(at(DAY)), &[]);
    assert_eq!(world.standing(0, DAY + 1).gate, Gate::AwaitingFullCheck);
    world.tell(0, pass(DAY + MINUTE), &[0]);
    assert_eq!(world.standing(0, DAY + MINUTE).multiplier, world.share(DAY + MINUTE));
    assert_eq!(world.standing(0, DAY + MINUTE).gate, Gate::Open);
}

#[test]
fn a_card_that_was_taken_out_is_as_gone_as_a_node_that_is_not_listed() {
    let mut world = World::new();
    world.tell(0, pass(0), &[0, 1]);
    world.tell(0, pass(DAY), &[0]);
    world.tell(0, light(DAY + 10 * MINUTE), &[]);
    assert_eq!(
        world.standing(0, DAY + 10 * MINUTE).multiplier,
        world.share(DAY + 10 * MINUTE),
        "of what is left"
    );
    world.tell(0, pass(DAY + 20 * MINUTE), &[0, 1]);
    assert!(world.gpu(1).conduct().multiplier(&world.policy, at(DAY + 20 * MINUTE)) > Ppm::ZERO);
    world.tell(0, pass(2 * DAY), &[0]);
    world.tell(0, pass(3 * DAY), &[0, 1]);
    assert_eq!(world.gpu(1).conduct().multiplier(&world.policy, at(3 * DAY)), Ppm::ZERO);
}

#[test]
fn a_new_host_serves_the_proof_fault_ban_of_one_that_is_gone() {
    let mut world = World::new();
    world.tell(0, rejected(0), &[]);
    world.tell(0, rejected(30 * MINUTE), &[]);
    let until = world.nodes[0].conduct().proof_banned_until(at(31 * MINUTE));
    assert_eq!(until, Some(at(HOUR)));
    assert!(!world.nodes[1].has_proved());
    world.nodes[1].serve(until.unwrap());
    world.tell(1, pass(40 * MINUTE), &[0]);
    assert_eq!(world.standing(1, 40 * MINUTE).banned_until, until);
    assert_eq!(world.gpu(0).conduct().banned_until(at(40 * MINUTE)), None, "its cards take nothing along");
    assert_eq!(world.standing(1, HOUR).gate, Gate::Open);
}

#[test]
fn outages_and_rentals_make_no_proof_fault_ban() {
    let mut world = World::new();
    let rental = |ms| check(ms, CheckKind::Light, Some((Failure::Rental, Fault::ConfirmedNode)));
    for i in 0..3 {
        world.tell(0, rental(i), &[]);
    }
    let conduct = world.nodes[0].conduct();
    assert!(conduct.banned_until(at(3)).is_some());
    assert_eq!(conduct.proof_banned_until(at(3)), None);
}

proptest! {
    #[test]
    fn the_only_card_of_a_node_fares_as_the_node(moments in proptest::collection::vec(any_entry(), 0..60), now in 9 * DAY..12 * DAY) {
        let mut world = World::new();
        world.tell(0, pass(0), &[0]);
        // Without a move of the host: before the next login that is the registration's alone.
        let moments = moments.into_iter().filter(|(_, shape)| *shape != 9).collect();
        for entry in history_of(moments) {
            world.tell(0, entry, &[0]);
        }
        let policy = world.policy;
        let (node, gpu) = (world.nodes[0].conduct(), world.gpu(0).conduct());
        prop_assert_eq!(node, gpu);
        prop_assert_eq!(node.multiplier(&policy, at(now)), gpu.multiplier(&policy, at(now)));
        let bytes = world.gpu(0).to_bytes(&policy);
        prop_assert_eq!(&GpuRecord::from_bytes(&policy, &bytes).unwrap(), world.gpu(0));
    }
}
