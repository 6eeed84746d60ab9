//! One adversary per row of the attack catalogue, and more where a row has several.

use basilica_types::{Digest, GpuUuid, Millis};
use basilica_verification::Break;
use basilica_verification::calibration::StageTimes;
use basilica_verification::fleet::Identity;

use crate::adversary::{Adversary, Meanwhile, Play, Serves, World};
use crate::exhibits::Exhibit;
use crate::plays::{Unserved, held, rented, shared};
use crate::timing_model::{RELAY_MS, Rig, class, to_millis};

/// Rows of the attack catalogue.
pub const ROWS: u8 = 26;

/// Every adversary, by row.
pub const ADVERSARIES: &[Adversary] = &[
    Adversary {
        id: "1",
        name: "fake-nvml",
        does: "claims an H100 by a patched NVML and answers on two large processors with matrix units",
        gains: "a card's pay for a server without one",
        play: |world| Play::Always(world.ends(class("h100-sxm"), 1.0, &Rig::cpu())),
    },
    Adversary {
        id: "2",
        name: "fake-model",
        does: "claims an H100 SXM and has an RTX 4090",
        gains: "the pay of a card ten times as dear",
        play: |world| Play::Always(world.ends(class("h100-sxm"), 1.0, &Rig::of(class("rtx-4090"), 1.0))),
    },
    Adversary {
        id: "3a",
        name: "inflate-vram",
        does: "claims an H200 on an H100; makes missing items again and swaps others, in the best proportion",
        gains: "141 GB paid, 80 GB owned",
        play: |world| Play::Always(world.ends(class("h200"), 1.0, &Rig::of(class("h100-sxm"), 1.0))),
    },
    Adversary {
        id: "3b",
        name: "guess-vram",
        does: "claims an H200 on an H100 and guesses the items that do not fit",
        gains: "141 GB paid, 80 GB owned",
        play: |world| Play::Always(world.swift(class("h200"), Exhibit::Forgets(3))),
    },
    Adversary {
        id: "4a",
        name: "eight-on-one",
        does: "claims eight H100 and has one",
        gains: "seven cards' pay",
        play: |world| world.counted(class("h100-sxm"), 8, 1),
    },
    Adversary {
        id: "4b",
        name: "eight-on-seven",
        does: "claims eight H100 and has seven",
        gains: "one card's pay of eight",
        play: |world| world.counted(class("h100-sxm"), 8, 7),
    },
    Adversary {
        id: "4c",
        name: "eight-on-seven-rtx",
        does: "claims eight RTX 4090 and has seven: little bandwidth makes missing memory cheap",
        gains: "one card's pay of eight",
        play: |world| world.counted(class("rtx-4090"), 8, 7),
    },
    Adversary {
        id: "4d",
        name: "b200-as-two-h100",
        does: "claims two H100 and has one B200, which multiplies, reads and holds more than both",
        gains: "whatever two H100 are paid more than a B200",
        play: |world| world.counted_on(class("h100-sxm"), 2, class("b200"), 1),
    },
    Adversary {
        id: "4e",
        name: "h200-as-three-a100",
        does: "claims three A100 40GB and has one H200",
        gains: "whatever three A100 are paid more than an H200",
        play: |world| world.counted_on(class("a100-40gb"), 3, class("h200"), 1),
    },
    Adversary {
        id: "5a",
        name: "share-gpu",
        does: "registers one H100 as two nodes of one miner, with UUIDs of their own",
        gains: "a second node's pay",
        play: |world| shared(world, [1, 1], Serves::InTurn, Unserved::Misses),
    },
    Adversary {
        id: "5b",
        name: "share-gpu-two-miners",
        does: "the same under two hotkeys, one of which takes all misses",
        gains: "a second node's pay",
        play: |world| shared(world, [1, 2], Serves::First, Unserved::Misses),
    },
    Adversary {
        id: "5c",
        name: "share-gpu-in-turn",
        does: "the same under two hotkeys that miss in turn",
        gains: "a second node's pay",
        play: |world| shared(world, [1, 2], Serves::InTurn, Unserved::Misses),
    },
    Adversary {
        id: "5d",
        name: "share-gpu-self-rented",
        does: "the same, and rents the one node itself, so that the epoch leaves it out",
        gains: "a second node's pay, less the rent's share that does not come back",
        play: |world| Play::Always(world.swift(class("h100-sxm"), Exhibit::Honest)),
    },
    Adversary {
        id: "5e",
        name: "share-gpu-hang-up",
        does: "as 5a, but the node that the card does not serve hangs up in the midst of its walk instead of being late",
        gains: "a second node's pay",
        play: |world| shared(world, [1, 1], Serves::InTurn, Unserved::HangsUp),
    },
    Adversary {
        id: "5f",
        name: "share-gpu-two-hang-up",
        does: "as 5b, hanging up",
        gains: "a second node's pay",
        play: |world| shared(world, [1, 2], Serves::First, Unserved::HangsUp),
    },
    Adversary {
        id: "5g",
        name: "share-gpu-in-turn-hang-up",
        does: "as 5c, hanging up",
        gains: "a second node's pay",
        play: |world| shared(world, [1, 2], Serves::InTurn, Unserved::HangsUp),
    },
    Adversary {
        id: "5h",
        name: "share-gpu-unreachable",
        does: "as 5b, but the node that the card does not serve cannot be reached, before any challenge",
        gains: "a second node's pay, less what it is down for",
        play: |world| shared(world, [1, 2], Serves::First, Unserved::IsAway),
    },
    Adversary {
        id: "6",
        name: "relay",
        does: "hands every byte on to a genuine H100 elsewhere",
        gains: "false location and ownership",
        play: |world| {
            let h100 = class("h100-sxm");
            let mut times = World::times(h100, 1.0, &Rig::of(h100, 1.0));
            times.work = Millis(times.work.0 + RELAY_MS);
            times.walk = Millis(times.walk.0 + RELAY_MS);
            Play::Always(world.ends_in(h100, Exhibit::Honest, times))
        },
    },
    Adversary {
        id: "7a",
        name: "rent-on-demand",
        does: "orders a cloud H100 when a check comes and misses the deadline until it is there",
        gains: "pay around the clock for minutes of rent",
        play: |world| {
            let late = world.ends(class("h100-sxm"), 1.0, &Rig::cpu());
            rented(world, Meanwhile::Answers(late))
        },
    },
    Adversary {
        id: "7b",
        name: "rent-and-drop",
        does: "the same, but drops the connection before the challenge until the card is there",
        gains: "pay around the clock for minutes of rent",
        play: |world| rented(world, Meanwhile::Drops),
    },
    Adversary {
        id: "7c",
        name: "rent-and-hang-up",
        does: "the same, but takes the challenge and hangs up until the card is there",
        gains: "pay around the clock for minutes of rent",
        play: |world| {
            let hangs_up = world.swift(class("h100-sxm"), Exhibit::HangsUp);
            rented(world, Meanwhile::Answers(hangs_up))
        },
    },
    Adversary {
        id: "8a",
        name: "share-with-tenant",
        does: "lets a tenant elsewhere keep half of the memory during checks",
        gains: "pay from two markets",
        play: |world| {
            let h100 = class("h100-sxm");
            let rig = Rig { memory_mib: Rig::of(h100, 0.5).memory_mib, ..Rig::of(h100, 1.0) };
            Play::Always(world.ends(h100, 1.0, &rig))
        },
    },
    Adversary {
        id: "8b",
        name: "pause-the-tenant",
        does: "swaps the other tenant's memory out and stops its work for each check",
        gains: "pay from two markets",
        play: |world| {
            let h100 = class("h100-sxm");
            let rig = Rig::of(h100, 1.0);
            let mut times = World::times(h100, 1.0, &rig);
            let swap = rig.memory_mib * 1_048_576.0 / (rig.link_gbs * 1e6);
            times.work = Millis(times.work.0 + to_millis(swap).0);
            Play::Always(world.ends_in(h100, Exhibit::Honest, times))
        },
    },
    Adversary {
        id: "8c",
        name: "tenant-and-hang-up",
        does: "as 8a, but hangs up instead of being late",
        gains: "pay from two markets",
        play: |world| Play::Always(world.swift(class("h100-sxm"), Exhibit::HangsUp)),
    },
    Adversary {
        id: "9",
        name: "mig-slice",
        does: "sells a 3g.40gb slice as a whole H100",
        gains: "several nodes' pay from one card",
        play: |world| {
            let h100 = class("h100-sxm");
            let whole = Rig::of(h100, 0.5);
            let rig = Rig { tops: Rig::of(h100, 3.0 / 7.0).tops, l2_mib: whole.l2_mib / 2.0, ..whole };
            Play::Always(world.ends(h100, 1.0, &rig))
        },
    },
    Adversary {
        id: "10a",
        name: "consumer-card",
        does: "claims an A100 40GB on an RTX 4090, whose int8 is faster",
        gains: "a data-centre card's pay",
        play: |world| Play::Always(world.ends(class("a100-40gb"), 1.0, &Rig::of(class("rtx-4090"), 1.0))),
    },
    Adversary {
        id: "10b",
        name: "no-hbm",
        does: "claims an A100 40GB on an L40S: more int8, more memory, 56 % of the bandwidth",
        gains: "the difference of two similar prices",
        play: |world| Play::Always(world.ends(class("a100-40gb"), 1.0, &Rig::of(class("l40s"), 1.0))),
    },
    Adversary {
        id: "11a",
        name: "replay",
        does: "answers with an earlier run's bytes",
        gains: "no card at all after one check",
        play: |world| Play::Always(world.swift(class("h100-sxm"), Exhibit::Replay)),
    },
    Adversary {
        id: "11b",
        name: "rewritten-replay",
        does: "the same with the acceptance rewritten and whatever leaves are asked opened from the old trees",
        gains: "no card at all after one check",
        play: |world| Play::Always(world.swift(class("h100-sxm"), Exhibit::RewrittenReplay)),
    },
    Adversary {
        id: "12a",
        name: "hankel",
        does: "makes all cells by the recurrence of Hankel matrices, in n² steps",
        gains: "a card's pay for two processor cores",
        play: |world| Play::Always(world.swift(class("h100-sxm"), Exhibit::Hankel)),
    },
    Adversary {
        id: "12b",
        name: "half-rank",
        does: "multiplies the first half of the terms only",
        gains: "half of the work",
        play: |world| Play::Always(world.swift(class("h100-sxm"), Exhibit::HalfRank)),
    },
    Adversary {
        id: "13a",
        name: "skip-5%",
        does: "leaves one cell in 20 to a guess",
        gains: "5 % of the work",
        play: |world| world.skipping(class("h100-sxm"), 0.05, Exhibit::Skips(20)),
    },
    Adversary {
        id: "13b",
        name: "skip-1%",
        does: "leaves one cell in 100 to a guess",
        gains: "1 % of the work",
        play: |world| world.skipping(class("h100-sxm"), 0.01, Exhibit::Skips(100)),
    },
    Adversary {
        id: "13c",
        name: "skip-5%-and-drop",
        does: "leaves one cell in 20 to a guess and drops the connection when it sees that it is caught",
        gains: "5 % of the work",
        play: |world| world.skipping(class("h100-sxm"), 0.05, Exhibit::SkipsAndDrops(20)),
    },
    Adversary {
        id: "13d",
        name: "skip-0.1%",
        does: "leaves one cell in 1,000 to a guess",
        gains: "0.1 % of the work, which any deadline allows for",
        play: |world| world.skipping(class("h100-sxm"), 0.001, Exhibit::Skips(1_000)),
    },
    Adversary {
        id: "14",
        name: "own-clock",
        does: "claims an H100 SXM on an A100 and reports times of its own: the protocol has no field for them",
        gains: "the pay of a newer card",
        play: |world| Play::Always(world.ends(class("h100-sxm"), 1.0, &Rig::of(class("a100-80gb"), 1.0))),
    },
    Adversary {
        id: "15",
        name: "grind",
        does: "leaves one cell in 20 to a guess and commits to what suits a guessed nonce best",
        gains: "5 % of the work",
        play: |world| world.skipping(class("h100-sxm"), 0.05, Exhibit::Grinds(20)),
    },
    Adversary {
        id: "16",
        name: "leaked-nonce",
        does: "a validator tells it the opening nonce beforehand; it makes the opened cells only",
        gains: "one validator's weight without a card",
        play: |_| Play::Beyond,
    },
    Adversary {
        id: "17",
        name: "throttle-tenants",
        does: "slows or freezes a card while a tenant has it",
        gains: "power, and the card for something else",
        play: |_| Play::Beyond,
    },
    Adversary {
        id: "18",
        name: "sold-after-check",
        does: "takes the card away after a passed check; light checks still pass",
        gains: "pay until the next full check",
        play: |world| Play::Always(world.ends(class("h100-sxm"), 1.0, &Rig::cpu())),
    },
    Adversary {
        id: "19",
        name: "host-swap",
        does: "another host answers at the node's address",
        gains: "a good node's record for a bad one",
        play: |_| Play::Breaks(Break::HostKey),
    },
    Adversary {
        id: "20a",
        name: "alias",
        does: "registers one host again under another user and name, with the same UUIDs",
        gains: "a second node's pay",
        play: |world| {
            let uuid = Identity::Gpu(GpuUuid::from_bytes([7; 16]));
            Play::Decided { reason: held(world, &[uuid]), in_service: true }
        },
    },
    Adversary {
        id: "20b",
        name: "alias-new-uuids",
        does: "the same with UUIDs of its own making; host key and machine id are the same",
        gains: "a second node's pay",
        play: |world| {
            let host = Identity::HostKey(Digest::from_bytes([1; 32]));
            let machine = Identity::MachineId(Digest::from_bytes([2; 32]));
            Play::Decided { reason: held(world, &[host, machine]), in_service: true }
        },
    },
    Adversary {
        id: "21",
        name: "honeypot",
        does: "records everything that the validator does on the node",
        gains: "nothing: all of it is public",
        play: |_| Play::Beyond,
    },
    Adversary {
        id: "22",
        name: "patched-prover",
        does: "runs a changed prover under a sha256sum that lies, and skips one cell in 20",
        gains: "5 % of the work",
        play: |world| world.skipping(class("h100-sxm"), 0.05, Exhibit::Skips(20)),
    },
    Adversary {
        id: "23a",
        name: "huge-frame",
        does: "announces a frame of four gigabytes",
        gains: "a validator out of memory",
        play: |world| Play::Always(world.swift(class("h100-sxm"), Exhibit::Oversized)),
    },
    Adversary {
        id: "23b",
        name: "slow-drip",
        does: "sends one byte at a time for ever",
        gains: "a validator's slot",
        play: |world| {
            let h100 = class("h100-sxm");
            let times = World::times(h100, 1.0, &Rig::of(h100, 1.0));
            let for_ever = Millis::from_secs(3_600);
            let times = StageTimes { work: for_ever, ..times };
            Play::Always(world.ends_in(h100, Exhibit::Honest, times))
        },
    },
    Adversary {
        id: "23c",
        name: "garbage",
        does: "sends bytes that are no message",
        gains: "a validator's panic",
        play: |world| Play::Always(world.swift(class("h100-sxm"), Exhibit::Garbage)),
    },
    Adversary {
        id: "24a",
        name: "sabotage-login",
        does: "has a competitor's sshd lock the validator's address out",
        gains: "a competitor's share",
        play: |_| Play::Victim(Break::LockedOut),
    },
    Adversary {
        id: "24b",
        name: "sabotage-network",
        does: "floods a competitor's line",
        gains: "a competitor's share",
        play: |_| Play::Beyond,
    },
    Adversary {
        id: "25",
        name: "attestation-proxy",
        does: "forwards hardware quotes of another machine, or forges them with an interposer",
        gains: "a confidential machine's pay",
        play: |_| Play::Beyond,
    },
    Adversary {
        id: "26",
        name: "swap-to-host",
        does: "claims an A100 80GB on an A100 40GB; the rest lies in host memory and comes over PCIe",
        gains: "twice the memory",
        play: |world| Play::Always(world.ends(class("a100-80gb"), 1.0, &Rig::of(class("a100-40gb"), 1.0))),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_of_the_catalogue_has_an_adversary_and_ids_ascend() {
        let rows: Vec<u8> = ADVERSARIES.iter().map(Adversary::row).collect();
        assert!(rows.is_sorted());
        assert_eq!(BTreeSet::from_iter(rows), (1..=ROWS).collect());
        let mut ids: Vec<&str> = ADVERSARIES.iter().map(|a| a.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), ADVERSARIES.len());
    }
}
