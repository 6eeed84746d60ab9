//! The subnet as a whole, from whichever runtime API the chain has.
//!
//! `get_metagraph` is preferred. Where it is absent, `get_selective_metagraph` is asked for the same columns; where that
//! is absent too, `get_neurons_lite` gives the rows, with the hotkey's alpha for its stake.

use std::collections::BTreeMap;
use std::sync::Arc;

use basilica_ports::{ChainError, Collateral, FailureClass, Metagraph, Neuron};
use basilica_types::{BlockNumber, Coldkey, Hotkey, NetUid, Rao, Timestamp, Uid};
use subxt::ext::scale_decode::DecodeAsType;

use crate::axon::AxonInfo;
use crate::item::{Method, NETWORKS_ADDED, NOW, SUBNET_OWNER_HOTKEY, TEMPO, View};
use crate::link::Link;

const METAGRAPH: Method =
    Method { api: "SubnetInfoRuntimeApi", name: "get_metagraph", full: "SubnetInfoRuntimeApi.get_metagraph" };
const SELECTIVE: Method = Method {
    api: "SubnetInfoRuntimeApi",
    name: "get_selective_metagraph",
    full: "SubnetInfoRuntimeApi.get_selective_metagraph",
};
const NEURONS_LITE: Method = Method {
    api: "NeuronInfoRuntimeApi",
    name: "get_neurons_lite",
    full: "NeuronInfoRuntimeApi.get_neurons_lite",
};

/// What is said to whoever asks for a subnet that the chain does not have.
pub(crate) fn no_subnet(netuid: NetUid) -> ChainError {
    ChainError::Preflight {
        rule: format!("subnet {netuid} does not exist; check the netuid and the network"),
        class: FailureClass::Permanent,
    }
}

/// Why an answer is not a metagraph.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum AnswerError {
    #[error("column {0} is missing or has another length than the hotkeys")]
    Column(&'static str),
    #[error("neurons are not in order of uid without gaps")]
    Order,
}

type Account = [u8; 32];

#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct Columns {
    block: u64,
    tempo: u16,
    owner_hotkey: Account,
    hotkeys: Vec<Account>,
    coldkeys: Vec<Account>,
    axons: Vec<AxonInfo>,
    validator_permit: Vec<bool>,
    last_update: Vec<u64>,
    total_stake: Vec<u64>,
}

#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct SelectedColumns {
    block: Option<u64>,
    tempo: Option<u16>,
    owner_hotkey: Option<Account>,
    hotkeys: Option<Vec<Account>>,
    coldkeys: Option<Vec<Account>>,
    axons: Option<Vec<AxonInfo>>,
    validator_permit: Option<Vec<bool>>,
    last_update: Option<Vec<u64>>,
    total_stake: Option<Vec<u64>>,
}

/// Indices of the chain's `SelectiveMetagraphIndex`, which only grows at its end: owner hotkey, block, tempo, hotkeys,
/// coldkeys, axons, validator permits, last updates, total stakes.
const SELECTED: [u16; 9] = [5, 7, 8, 52, 53, 55, 57, 59, 69];

#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct Row {
    hotkey: Account,
    coldkey: Account,
    uid: u16,
    axon_info: AxonInfo,
    stake: Vec<(Account, u64)>,
    last_update: u64,
    validator_permit: bool,
}

/// The subnet at the newest finalised block.
pub(crate) async fn fetch(link: Arc<Link>, netuid: NetUid) -> Result<Metagraph, ChainError> {
    read(&View::finalized(link).await?, netuid).await
}

/// The subnet at the block of `view`.
pub(crate) async fn read(view: &View, netuid: NetUid) -> Result<Metagraph, ChainError> {
    read_from(view, Source::of(view), netuid).await
}

/// Whether the metagraph tells each neuron's whole stake weight, not only its alpha.
pub(crate) fn tells_stake(view: &View) -> bool {
    !matches!(Source::of(view), Source::Rows)
}

/// Which runtime API is asked.
#[derive(Clone, Copy, Debug)]
enum Source {
    Whole,
    Selected,
    Rows,
}

impl Source {
    fn of(view: &View) -> Self {
        if view.has_method(METAGRAPH) {
            Self::Whole
        } else if view.has_method(SELECTIVE) {
            Self::Selected
        } else {
            Self::Rows
        }
    }
}

async fn read_from(view: &View, source: Source, netuid: NetUid) -> Result<Metagraph, ChainError> {
    let absent = || no_subnet(netuid);
    let (method, metagraph) = match source {
        Source::Whole => {
            let columns: Option<Columns> = view.ask(METAGRAPH, (netuid.0,)).await?;
            (METAGRAPH, columns.ok_or_else(absent)?.assemble(netuid, time(view).await?))
        }
        Source::Selected => {
            let columns: Option<SelectedColumns> = view.ask(SELECTIVE, (netuid.0, SELECTED.to_vec())).await?;
            let (columns, at) = (columns.ok_or_else(absent)?, time(view).await?);
            (SELECTIVE, columns.complete().and_then(|columns| columns.assemble(netuid, at)))
        }
        Source::Rows => {
            let rows: Vec<Row> = view.ask(NEURONS_LITE, (netuid.0,)).await?;
            (NEURONS_LITE, assemble_rows(subnet(view, netuid).await?, rows))
        }
    };
    metagraph.map_err(|error| view.link.fault(method.full, error))
}

/// When the block of `view` was made, by its author; the epoch at genesis, which nobody made.
async fn time(view: &View) -> Result<Timestamp, ChainError> {
    let now: u64 = view.value(NOW, ()).await?;
    Ok(Timestamp(i64::try_from(now).unwrap_or(i64::MAX)))
}

#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct CollateralColumns {
    hotkeys: Vec<Account>,
    collateral_locked: Vec<u64>,
    collateral_min: Vec<u64>,
    collateral_earned: Vec<u64>,
}

/// Locked stake by hotkey, of those that have any; none where the metagraph has no such columns.
pub(crate) async fn collateral(
    view: &View,
    netuid: NetUid,
) -> Result<Option<BTreeMap<Hotkey, Collateral>>, ChainError> {
    if !view.answer_has(METAGRAPH, "collateral_locked") {
        return Ok(None);
    }
    let columns: Option<CollateralColumns> = view.ask(METAGRAPH, (netuid.0,)).await?;
    let columns = columns.ok_or_else(|| no_subnet(netuid))?.assemble();
    columns.map(Some).map_err(|error| view.link.fault(METAGRAPH.full, error))
}

impl CollateralColumns {
    fn assemble(self) -> Result<BTreeMap<Hotkey, Collateral>, AnswerError> {
        for (column, length) in [
            ("collateral_locked", self.collateral_locked.len()),
            ("collateral_min", self.collateral_min.len()),
            ("collateral_earned", self.collateral_earned.len()),
        ] {
            if length != self.hotkeys.len() {
                return Err(AnswerError::Column(column));
            }
        }
        let amounts = self.collateral_locked.into_iter().zip(self.collateral_min).zip(self.collateral_earned);
        let all = self.hotkeys.into_iter().zip(amounts).map(|(hotkey, ((locked, minimum), earned))| {
            let one = Collateral { locked: Rao(locked), minimum: Rao(minimum), earned: Rao(earned) };
            (Hotkey::from_bytes(hotkey), one)
        });
        Ok(all
            .filter(|(_, one)| one.locked != Rao(0) || one.minimum != Rao(0) || one.earned != Rao(0))
            .collect())
    }
}

/// What the rows do not tell about their subnet.
async fn subnet(view: &View, netuid: NetUid) -> Result<Metagraph, ChainError> {
    if !view.value::<_, bool>(NETWORKS_ADDED, (netuid.0,)).await? {
        return Err(no_subnet(netuid));
    }
    let owner = if view.has_entry(SUBNET_OWNER_HOTKEY) {
        view.storage(SUBNET_OWNER_HOTKEY, (netuid.0,)).await?
    } else {
        None
    };
    Ok(Metagraph {
        netuid,
        block: BlockNumber(view.at.block_number()),
        at: time(view).await?,
        tempo: view.value(TEMPO, (netuid.0,)).await?,
        owner_hotkey: owner.and_then(present),
        neurons: Vec::new(),
    })
}

impl SelectedColumns {
    fn complete(self) -> Result<Columns, AnswerError> {
        Ok(Columns {
            block: self.block.ok_or(AnswerError::Column("block"))?,
            tempo: self.tempo.ok_or(AnswerError::Column("tempo"))?,
            owner_hotkey: self.owner_hotkey.ok_or(AnswerError::Column("owner_hotkey"))?,
            hotkeys: self.hotkeys.ok_or(AnswerError::Column("hotkeys"))?,
            coldkeys: self.coldkeys.ok_or(AnswerError::Column("coldkeys"))?,
            axons: self.axons.ok_or(AnswerError::Column("axons"))?,
            validator_permit: self.validator_permit.ok_or(AnswerError::Column("validator_permit"))?,
            last_update: self.last_update.ok_or(AnswerError::Column("last_update"))?,
            total_stake: self.total_stake.ok_or(AnswerError::Column("total_stake"))?,
        })
    }
}

impl Columns {
    fn assemble(self, netuid: NetUid, at: Timestamp) -> Result<Metagraph, AnswerError> {
        let count = self.hotkeys.len();
        for (column, length) in [
            ("coldkeys", self.coldkeys.len()),
            ("axons", self.axons.len()),
            ("validator_permit", self.validator_permit.len()),
            ("last_update", self.last_update.len()),
            ("total_stake", self.total_stake.len()),
        ] {
            if length != count {
                return Err(AnswerError::Column(column));
            }
        }
        let neurons = (0u16..)
            .zip(self.hotkeys)
            .zip(self.coldkeys)
            .zip(self.axons)
            .zip(self.validator_permit)
            .zip(self.last_update)
            .zip(self.total_stake)
            .map(|((((((uid, hotkey), coldkey), axon), validator_permit), last_update), stake)| Neuron {
                uid: Uid(uid),
                hotkey: Hotkey::from_bytes(hotkey),
                coldkey: Coldkey::from_bytes(coldkey),
                stake: Rao(stake),
                validator_permit,
                axon: axon.axon(),
                last_update: BlockNumber(last_update),
            })
            .collect();
        let owner_hotkey = present(self.owner_hotkey);
        let block = BlockNumber(self.block);
        Ok(Metagraph { netuid, block, at, tempo: self.tempo, owner_hotkey, neurons })
    }
}

/// The account, unless it is the one of zeroes that stands for none.
fn present(account: Account) -> Option<Hotkey> {
    (account != [0; 32]).then(|| Hotkey::from_bytes(account))
}

fn assemble_rows(subnet: Metagraph, rows: Vec<Row>) -> Result<Metagraph, AnswerError> {
    let neurons: Vec<Neuron> = rows
        .into_iter()
        .map(|row| Neuron {
            uid: Uid(row.uid),
            hotkey: Hotkey::from_bytes(row.hotkey),
            coldkey: Coldkey::from_bytes(row.coldkey),
            stake: Rao(row.stake.iter().fold(0, |sum, (_, stake)| stake.saturating_add(sum))),
            validator_permit: row.validator_permit,
            axon: row.axon_info.axon(),
            last_update: BlockNumber(row.last_update),
        })
        .collect();
    if (0u16..).zip(&neurons).any(|(uid, neuron)| neuron.uid.0 != uid) {
        return Err(AnswerError::Order);
    }
    Ok(Metagraph { neurons, ..subnet })
}

#[cfg(test)]
mod tests {
    use basilica_ports::Axon;
    use basilica_types::Millis;

    use super::*;
    use crate::connection::Connection;
    use crate::devchain::{Devchain, SUBNET, hotkey, options, permitted};

    #[tokio::test]
    async fn every_runtime_api_gives_the_same_metagraph() {
        let devchain = Devchain::start();
        let miner = devchain.client("//Miner1");
        let axon = Axon { address: "10.1.2.3:9000".parse().unwrap() };
        basilica_ports::Chain::serve_axon(&miner, SUBNET, axon).await.unwrap();
        permitted(&miner).await;
        let (clock, entropy) =
            (Arc::new(basilica_system::SystemClock::new()), Arc::new(basilica_system::OsEntropy));
        let connection = Connection::new(options(&[&devchain.url]), clock, entropy);
        let all = |link| async move {
            let view = View::finalized(link).await?;
            for source in [Source::Whole, Source::Selected, Source::Rows] {
                let absent = read_from(&view, source, NetUid(40)).await;
                let absent = absent.unwrap_err();
                assert_eq!(absent.class(), FailureClass::Permanent, "{source:?}: {absent:?}");
            }
            let whole = read_from(&view, Source::Whole, SUBNET).await?;
            assert_eq!(read_from(&view, Source::Selected, SUBNET).await?, whole);
            assert_eq!(read_from(&view, Source::Rows, SUBNET).await?, whole);
            Ok(whole)
        };
        let metagraph = connection.call("test", all).await.unwrap();
        let now = basilica_ports::Clock::now(&basilica_system::SystemClock::new());
        assert!(metagraph.at.abs_diff(now) < Millis::from_secs(60), "{} at {now}", metagraph.at);
        assert_eq!(metagraph.neuron(&hotkey("//Miner1")).unwrap().axon, Some(axon));
        assert!(metagraph.neuron(&hotkey("//Validator1")).unwrap().validator_permit);
    }

    const AT: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn columns() -> Columns {
        Columns {
            block: 7,
            tempo: 20,
            owner_hotkey: [0; 32],
            hotkeys: vec![[1; 32], [2; 32]],
            coldkeys: vec![[3; 32]; 2],
            axons: vec![AxonInfo::default(); 2],
            validator_permit: vec![true, false],
            last_update: vec![5, 6],
            total_stake: vec![9, 10],
        }
    }

    #[test]
    fn columns_become_neurons_by_uid() {
        let metagraph = columns().assemble(NetUid(39), AT).unwrap();
        assert_eq!(metagraph.at, AT);
        assert_eq!(metagraph.owner_hotkey, None);
        let second = metagraph.neuron(&Hotkey::from_bytes([2; 32])).unwrap();
        assert_eq!((second.uid, second.stake, second.validator_permit), (Uid(1), Rao(10), false));
    }

    #[test]
    fn a_short_column_is_refused_not_filled_up() {
        let mut short = columns();
        short.total_stake.pop();
        assert_eq!(short.assemble(NetUid(39), AT), Err(AnswerError::Column("total_stake")));
    }

    #[test]
    fn rows_out_of_order_are_refused() {
        let row = |uid| Row {
            hotkey: [1; 32],
            coldkey: [2; 32],
            uid,
            axon_info: AxonInfo::default(),
            stake: vec![([0; 32], 4), ([1; 32], 5)],
            last_update: 0,
            validator_permit: false,
        };
        let subnet = columns().assemble(NetUid(1), AT).unwrap();
        let assemble = |rows| assemble_rows(subnet.clone(), rows);
        assert_eq!(assemble(vec![row(0), row(1)]).unwrap().neurons[1].stake, Rao(9));
        assert_eq!(assemble(vec![row(0), row(2)]), Err(AnswerError::Order));
    }
}
