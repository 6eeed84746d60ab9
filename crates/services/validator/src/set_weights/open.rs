//! Building a window: the vector, its form, the signed first call, all stored before anything is submitted.

use std::collections::BTreeMap;

use basilica_ports::{
    Beacon, Entropy, EntropyRng, NewWindow, Opened, Salt, StoreError, ValidatorStore, WeightWindow,
    WeightsCall, WindowEnd, WindowForm, WindowState,
};
use basilica_schedule::{Opening, Wait, Waiting, WeightRules, next_window};
use basilica_scoring::weights::{self, Part, divide, upscale};
use basilica_timelock::{BeaconKey, Round, TimelockError, WeightsPayload, commit_hash, encrypt};
use basilica_types::{Digest, Hotkey, Timestamp, Uid, Weight};
use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use tracing::info;

use super::{Report, WeightsError, conclude, pause, paused};
use crate::score;
use crate::settings::Settings;
use crate::shared::Shared;

/// Numbers in a salt, as many as the public clients use: 128 bits.
const SALT_LENGTH: usize = 8;
/// Storage indices of one mechanism: the chain's `GLOBAL_MAX_SUBNET_COUNT`.
const SUBNETS: u16 = 4_096;

/// Encrypts a payload so that a round of the beacon opens it.
pub(crate) type Seal = fn(&Beacon, u64, &[u8], &dyn Entropy) -> Result<Vec<u8>, TimelockError>;

/// As the chain opens it.
pub(crate) fn seal_with_timelock(
    beacon: &Beacon,
    round: u64,
    payload: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, TimelockError> {
    let key = BeaconKey::from_bytes(&beacon.public_key)?;
    encrypt(&key, Round(round), payload, &mut EntropyRng(entropy))
}

/// Opens the next window, if it is time and there is something to say. `last` is the one before, and how it ended.
pub(super) async fn next(
    shared: &Shared,
    last: Option<(&WeightWindow, &WindowEnd)>,
) -> Result<Report, WeightsError> {
    let Some(view) = shared.chain_view() else {
        // Where that will not change by itself, this says why.
        shared.ports.chain.identity().await?;
        return Ok(Report::NotYet);
    };
    let policy = &shared.settings.weight_policy;
    let ended = last.map(|(window, end)| (end, window.opened.prepared.dies));
    if let Some(wait) = next_window(ended, policy)
        && let Some(until) = wait.until
        && shared.ports.chain.head().await? < until
    {
        return Ok(Report::Waiting(wait));
    }
    let uids = view.metagraph.neurons.iter().map(|n| (n.hotkey, n.uid)).collect();
    // Whether there is anything to say; the chain's rules are not read to say nothing.
    if let Err(report) = parts(shared, &uids, last.is_none()).await? {
        return Ok(report);
    }
    let place = last.map(|(window, _)| (window.id, false));
    if let Some(waiting) = paused(shared, place).await? {
        return Ok(waiting);
    }
    let (netuid, mechanism) = (shared.settings.netuid, shared.settings.weight_mechanism);
    let rules = shared.ports.chain.weight_rules(netuid, mechanism).await?;
    // By the neurons of the very block of the rules: a uid that changed hands since the shared view was read must not be
    // paid for its predecessor.
    let parts = match parts(shared, &rules.uids, last.is_none()).await? {
        Ok(parts) => parts,
        Err(report) => return Ok(report),
    };
    let weights = weights::vector(&parts);
    match rules.open(policy, &weights, last.map(|(_, end)| end), shared.now()) {
        Ok(opening) => open(shared, &rules, (weights, &parts), opening).await,
        Err(wait) => Ok(pause(shared, place, &rules, wait)),
    }
}

/// Who gets what by the scores in the database; none if nothing was scored for so long that they say nothing any more.
///
/// # Errors
/// If the scores cannot be read.
pub async fn emission(
    store: &dyn ValidatorStore,
    uids: &BTreeMap<Hotkey, Uid>,
    settings: &Settings,
    now: Timestamp,
) -> Result<Option<Vec<Part>>, StoreError> {
    let scores = store.scores().await?;
    if score::is_stuck(&scores, settings, now) {
        return Ok(None);
    }
    Ok(Some(divide(&score::points(&scores.nodes, uids, settings, now), &settings.allocation)))
}

/// Who gets what by the scores, or why there is nothing to set.
async fn parts(
    shared: &Shared,
    uids: &BTreeMap<Hotkey, Uid>,
    first: bool,
) -> Result<Result<Vec<Part>, Report>, WeightsError> {
    let Some(parts) = emission(shared.ports.store.as_ref(), uids, &shared.settings, shared.now()).await?
    else {
        return Ok(Err(Report::StaleScores));
    };
    // Only the first score is waited for: a window was opened once one was there, and from then on what nobody earns is
    // burnt, or those who lost their score would keep their weights for ever. The newest window is never pruned.
    if first && parts.iter().all(|part| part.points == 0) {
        return Ok(Err(Report::NoScore));
    }
    Ok(Ok(parts))
}

async fn open(
    shared: &Shared,
    rules: &WeightRules,
    (weights, parts): (Vec<(Uid, Weight)>, &[Part]),
    opening: Opening,
) -> Result<Report, WeightsError> {
    let (form, call) = first_call(shared, rules, &weights, opening)?;
    let prepared = shared.ports.chain.prepare_weights(&rules.order(call)).await?;
    // It was signed on a newer block than the rules were read at, and may live longer than they foresaw. Dropped
    // unsubmitted, it does no harm.
    if let (WindowForm::Timelocked { .. }, Err(wait)) = (&form, rules.check_slip(prepared.dies)) {
        return Ok(Report::Waiting(wait));
    }
    let window = NewWindow {
        netuid: rules.netuid,
        mechanism: rules.mechanism,
        fencing: shared.ports.store.fencing_token().await?,
        created: shared.now(),
        expected: upscale(&weights),
        weights,
        version_key: shared.settings.weight_policy.version_key,
        form,
        prepared,
    };
    match shared.ports.store.open_window(&window, parts).await? {
        Opened::Window(id) => {
            info!(
                window.id = id,
                entries = window.weights.len(),
                form = window.form.as_str(),
                nonce = window.prepared.nonce,
                "weights window opened"
            );
            let state = WindowState::Prepared;
            conclude(shared, &WeightWindow { id, opened: window, state, reveal: None, read_back: None }).await
        }
        // The prepared bytes are dropped unsubmitted: the open window goes first.
        Opened::Busy(_) => {
            let interval = shared.settings.weight_policy.interval;
            Ok(Report::Waiting(Wait { until: None, why: Waiting::Interval { interval } }))
        }
        Opened::Fenced { .. } => Ok(Report::Fenced),
    }
}

/// The call that the window begins with, and what it takes to finish it.
fn first_call(
    shared: &Shared,
    rules: &WeightRules,
    weights: &[(Uid, Weight)],
    opening: Opening,
) -> Result<(WindowForm, WeightsCall), WeightsError> {
    let version_key = shared.settings.weight_policy.version_key;
    let hotkey = shared.ports.signer.hotkey();
    let (uids, values): (Vec<u16>, Vec<u16>) = weights.iter().map(|(uid, weight)| (uid.0, weight.0)).unzip();
    Ok(match opening {
        Opening::Set => (WindowForm::Open, WeightsCall::Set { weights: weights.to_vec(), version_key }),
        Opening::CommitHash => {
            let salt = draw_salt(shared.ports.entropy.as_ref());
            let index = u16::from(rules.mechanism.0) * SUBNETS + rules.netuid.0;
            let hash = commit_hash(&hotkey, index, (&uids, &values), salt.expose(), version_key);
            let hash = Digest::from_bytes(hash);
            (WindowForm::Hash { hash, salt }, WeightsCall::CommitHash { hash })
        }
        Opening::CommitTimelocked { round, version } => {
            let payload = WeightsPayload::new(&hotkey, uids, values, version_key).to_bytes();
            // Offered only where the chain follows a beacon.
            let beacon = rules.beacon.as_ref().ok_or(TimelockError::Key)?;
            let ciphertext = (shared.seal)(beacon, round, &payload, shared.ports.entropy.as_ref())?;
            let digest = Digest::from_bytes(Blake2b::<U32>::digest(&ciphertext).into());
            let call = WeightsCall::CommitTimelocked { ciphertext, reveal_round: round, version };
            (WindowForm::Timelocked { digest, round }, call)
        }
    })
}

fn draw_salt(entropy: &dyn Entropy) -> Salt {
    let mut bytes = zeroize::Zeroizing::new([0u8; 2 * SALT_LENGTH]);
    entropy.fill(&mut bytes[..]);
    Salt::new(bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
}
