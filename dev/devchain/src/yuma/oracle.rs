//! Yuma in floats over dense matrices, written from the description and sharing nothing with the code under test.

use super::{Fixed, Neuron, Rules};

#[expect(clippy::cast_precision_loss, reason = "the oracle computes in floats; 53 bits hold 33")]
pub(super) fn float(share: Fixed) -> f64 {
    share.bits() as f64 / 4_294_967_296.0
}

pub(super) struct Scores {
    pub(super) consensus: Vec<f64>,
    pub(super) incentive: Vec<f64>,
    pub(super) dividends: Vec<f64>,
    pub(super) emission: Vec<f64>,
    /// How near a median was to falling on another score.
    pub(super) margin: f64,
}

fn unit(values: &[f64]) -> Vec<f64> {
    let sum: f64 = values.iter().sum();
    values.iter().map(|value| if sum > 0.0 { value / sum } else { *value }).collect()
}

fn columns_to_one(matrix: &mut [Vec<f64>]) {
    for column in 0..matrix.len() {
        let sum: f64 = matrix.iter().map(|row| row[column]).sum();
        if sum > 0.0 {
            matrix.iter_mut().for_each(|row| row[column] /= sum);
        }
    }
}

fn median(voices: &[f64], column: &[f64], minority: f64, margin: &mut f64) -> f64 {
    let mut scores: Vec<f64> =
        column.iter().zip(voices).filter(|(_, voice)| **voice > 0.0).map(|(score, _)| *score).collect();
    scores.sort_by(f64::total_cmp);
    scores.dedup();
    let mut answer = None;
    for score in &scores {
        let below: f64 =
            column.iter().zip(voices).filter(|(other, _)| *other <= score).map(|(_, voice)| voice).sum();
        *margin = margin.min((below - minority).abs());
        if answer.is_none() && below > minority {
            answer = Some(*score);
        }
    }
    answer.or(scores.last().copied()).unwrap_or(0.0)
}

#[expect(clippy::cast_precision_loss, reason = "stakes here are far below 2^53")]
pub(super) fn scores(neurons: &[Neuron], rules: &Rules) -> Scores {
    let size = neurons.len();
    let stake: Vec<f64> = neurons
        .iter()
        .map(|neuron| if neuron.stake >= rules.stake_threshold { neuron.stake as f64 } else { 0.0 })
        .collect();
    let stake = unit(&stake);
    let heard =
        |uid: usize| neurons[uid].permit && neurons[uid].last_update + rules.activity_cutoff >= rules.now;
    let voices = unit(&(0..size).map(|uid| if heard(uid) { stake[uid] } else { 0.0 }).collect::<Vec<_>>());
    let mut weights = vec![vec![0.0; size]; size];
    for (uid, neuron) in neurons.iter().enumerate() {
        for (target, weight) in &neuron.weights {
            let target = usize::from(*target);
            if neuron.permit && target != uid && neuron.last_update > neurons[target].registered_at {
                weights[uid][target] = f64::from(*weight);
            }
        }
        weights[uid] = unit(&weights[uid]);
    }
    let mut margin = 1.0;
    let minority = 1.0 - f64::from(rules.kappa) / 65_535.0;
    let consensus: Vec<f64> = (0..size)
        .map(|target| {
            let column: Vec<f64> = weights.iter().map(|row| row[target]).collect();
            median(&voices, &column, minority, &mut margin)
        })
        .collect();
    let clipped: Vec<Vec<f64>> =
        weights.iter().map(|row| row.iter().zip(&consensus).map(|(w, c)| w.min(*c)).collect()).collect();
    let ranks: Vec<f64> =
        (0..size).map(|target| (0..size).map(|uid| voices[uid] * clipped[uid][target]).sum()).collect();
    let incentive = unit(&ranks);
    let penalty = f64::from(rules.bonds_penalty) / 65_535.0;
    let mut bought: Vec<Vec<f64>> = (0..size)
        .map(|uid| {
            (0..size)
                .map(|j| voices[uid] * (weights[uid][j] * (1.0 - penalty) + clipped[uid][j] * penalty))
                .collect()
        })
        .collect();
    columns_to_one(&mut bought);
    let mut bonds = vec![vec![0.0; size]; size];
    for (uid, neuron) in neurons.iter().enumerate() {
        for (target, bond) in &neuron.bonds {
            if neurons[usize::from(*target)].registered_at < rules.bonds_lapse_from {
                bonds[uid][usize::from(*target)] = f64::from(*bond);
            }
        }
    }
    columns_to_one(&mut bonds);
    let keep = rules.bonds_moving_average as f64 / 1e6;
    for (row, fresh) in bonds.iter_mut().zip(&bought) {
        row.iter_mut().zip(fresh).for_each(|(old, new)| *old = keep * *old + (1.0 - keep) * new);
    }
    columns_to_one(&mut bonds);
    let dividends: Vec<f64> =
        bonds.iter().map(|row| row.iter().zip(&incentive).map(|(b, i)| b * i).sum()).collect();
    let dividends = unit(&dividends);
    let combined: Vec<f64> = incentive.iter().zip(&dividends).map(|(a, b)| a + b).collect();
    let emission = match combined.iter().sum::<f64>() {
        sum if sum > 0.0 => unit(&combined),
        _ if voices.iter().any(|voice| *voice > 0.0) => voices,
        _ => stake,
    };
    Scores { consensus, incentive, dividends, emission, margin }
}
