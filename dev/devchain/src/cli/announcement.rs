//! What is printed when the chain is ready: its keys, its facts, and how to connect.
//!
//! For people by default, one object with `--json`, nothing with `--silent`. The last line for people is always
//! `listening ws://…`, so that a script can wait for it. Colours go to a terminal only, and not with `NO_COLOR` set.

use std::fmt::{self, Write};
use std::io::IsTerminal as _;

use serde_json::json;
use sp_core::crypto::Pair as _;
use sp_core::sr25519;

use super::Flags;
use crate::genesis::{Genesis, NamedAccount};
use crate::node::Node;
use crate::node::mine::Mining;
use crate::runtime::{Version, drand};

/// The phrase below which every development URI is; `sp_core` has it built in.
const DEVELOPMENT_PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";

/// What is printed about a chain.
pub(super) struct Announcement<'a> {
    /// How it was started.
    pub(super) flags: &'a Flags,
    /// How it began.
    pub(super) genesis: &'a Genesis,
    /// How it is.
    pub(super) node: &'a Node,
    /// Where it serves WebSocket.
    pub(super) url: &'a str,
}

/// Makes words stand out on a terminal.
#[derive(Debug, Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn with(self, code: u8, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn heading(self, text: &str) -> String {
        self.with(1, text)
    }

    fn name(self, text: &str) -> String {
        self.with(36, text)
    }

    fn faint(self, text: &str) -> String {
        self.with(2, text)
    }
}

/// An amount in rao as whole tokens with their digits in threes, and what is behind the point if there is anything.
fn tokens(rao: u64) -> String {
    let digits = (rao / 1_000_000_000).to_string();
    let mut whole = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            whole.push(',');
        }
        whole.push(digit);
    }
    let fraction = format!("{:09}", rao % 1_000_000_000);
    match fraction.trim_end_matches('0') {
        "" => whole,
        fraction => format!("{whole}.{fraction}"),
    }
}

impl Announcement<'_> {
    /// All that is printed.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if self.flags.json {
            text = format!("{}\n", self.as_json());
        } else if !self.flags.silent {
            let terminal = std::io::stdout().is_terminal();
            let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
            self.as_text(&mut text, Paint(colours)).expect("a text takes what is written to it");
        }
        text
    }

    /// The version of the best block's runtime; 0 if the runtime cannot say.
    fn spec_version(&self) -> u32 {
        use frame_support::traits::Get as _;
        let state = self.node.chain().best_state();
        crate::executor::read(&state, Version::get).map_or(0, |version| version.spec_version)
    }

    fn mode(&self) -> &'static str {
        match self.node.mining() {
            Mining::Interval(_) => "interval",
            Mining::Instant => "instant",
            Mining::Manual => "manual",
        }
    }

    fn mining(&self) -> String {
        match self.node.mining() {
            Mining::Interval(ms) => format!("a block every {ms} ms"),
            Mining::Instant => "a block for each transaction, at once".to_owned(),
            Mining::Manual => "a block only by dev_newBlock".to_owned(),
        }
    }

    fn finality_lag(&self) -> u32 {
        self.flags.rules(self.genesis).finality_lag
    }

    /// Alpha staked on an account, in rao; `None` if it is no neuron's hotkey.
    fn stake(&self, account: &NamedAccount) -> Option<u64> {
        let neurons = &self.genesis.subnet.neurons;
        neurons.iter().find(|neuron| neuron.hotkey == account.account).map(|neuron| neuron.stake.0)
    }

    fn http(&self) -> String {
        self.url.replacen("ws://", "http://", 1)
    }

    fn as_text(&self, out: &mut impl Write, paint: Paint) -> fmt::Result {
        writeln!(
            out,
            "{} a subtensor for development. Its keys are public: never use it for value.\n",
            paint.heading(concat!("basilica-devchain ", env!("CARGO_PKG_VERSION"), ","))
        )?;
        self.write_accounts(out, paint)?;
        let facts = self.facts();
        for (heading, facts) in facts {
            writeln!(out, "\n{}", paint.heading(heading))?;
            for (name, fact) in facts {
                writeln!(out, "  {} {fact}", paint.name(&format!("{name:<10}")))?;
            }
        }
        writeln!(out, "\nlistening {}", self.url)
    }

    fn write_accounts(&self, out: &mut impl Write, paint: Paint) -> fmt::Result {
        writeln!(out, "{}", paint.heading("Accounts"))?;
        let head = format!(
            "  {:<20} {:<48} {:>10} {:>9}  {}",
            "role", "address (SS58, sr25519)", "TAO", "alpha", "URI"
        );
        writeln!(out, "{}", paint.faint(&head))?;
        for account in &self.genesis.accounts {
            writeln!(
                out,
                "  {:<20} {} {:>10} {:>9}  {}",
                account.role,
                account.address(),
                tokens(self.genesis.balance_of(&account.account)),
                self.stake(account).map(tokens).unwrap_or_default(),
                paint.name(account.uri.as_deref().unwrap_or(""))
            )?;
        }
        if self.genesis.unlisted > 0 {
            writeln!(
                out,
                "  and {} more neurons, hotkeys //Neuron{{uid}}, coldkeys //Neuron{{uid}}Cold",
                self.genesis.unlisted
            )?;
        }
        writeln!(out, "{}", paint.faint(&format!("  URIs are below the phrase: {DEVELOPMENT_PHRASE}")))
    }

    fn facts(&self) -> [(&'static str, Vec<(&'static str, String)>); 3] {
        let subnet = &self.genesis.subnet;
        let (url, http) = (self.url, self.http());
        let numbers = match subnet.netuid.0 {
            netuid if subnet.empty_below && netuid > 1 => format!("{netuid}; those below it are empty"),
            netuid => netuid.to_string(),
        };
        let weights = if subnet.commit_reveal { "committed first, then revealed" } else { "set in the open" };
        let state = match &self.flags.state {
            Some(path) => format!("kept in {}", path.display()),
            None => "in memory, gone at the end (--state FILE keeps it)".to_owned(),
        };
        let controls = match self.flags.controls() {
            true => "dev_* methods are on",
            false => "off (--dev-rpc on serves the dev_* methods)",
        };
        let key = hex::encode(drand::development_key().as_bytes());
        let period = self.genesis.drand_period_s;
        let finality = match self.finality_lag() {
            0 => "final at once".to_owned(),
            lag => format!("the last {lag} are not final"),
        };
        [
            (
                "Subnet",
                vec![
                    ("netuid", numbers),
                    ("neurons", subnet.neurons.len().to_string()),
                    ("epoch", format!("every {} blocks", subnet.tempo)),
                    ("weights", format!("{weights}, every {} blocks at most", subnet.weights_rate_limit)),
                ],
            ),
            (
                "Chain",
                vec![
                    ("profile", format!("{}, spec version {}", self.genesis.profile, self.spec_version())),
                    ("genesis", format!("{:?}", self.node.genesis())),
                    ("block", self.node.best().header.number.to_string()),
                    ("blocks", format!("{}; {finality}", self.mining())),
                    ("beacon", format!("drand, a round every {period} s, its secret is public; key {key}")),
                    ("state", state),
                    ("controls", controls.to_owned()),
                ],
            ),
            (
                "Connect",
                vec![
                    ("btcli", format!("btcli subnets list --network {url}")),
                    ("Python", format!("bittensor.Subtensor(\"{url}\")")),
                    ("Rust", format!("subxt::OnlineClient::<SubstrateConfig>::from_insecure_url(\"{url}\")")),
                    ("HTTP", format!("JSON-RPC by POST to {http}")),
                ],
            ),
        ]
    }

    fn as_json(&self) -> serde_json::Value {
        let account = |account: &NamedAccount| {
            json!({
                "role": account.role,
                "address": account.address(),
                "uri": account.uri,
                "seed": account.uri.as_deref().and_then(seed_of),
                "rao": self.genesis.balance_of(&account.account),
                "alpha_rao": self.stake(account),
            })
        };
        json!({
            "url": self.url,
            "http": self.http(),
            "netuid": self.genesis.subnet.netuid.0,
            "neurons": self.genesis.subnet.neurons.len(),
            "tempo": self.genesis.subnet.tempo,
            "mining": self.mode(),
            "block_time_ms": self.genesis.block_time_ms,
            "finality_lag": self.finality_lag(),
            "genesis": format!("{:?}", self.node.genesis()),
            "profile": self.genesis.profile.to_string(),
            "spec_version": self.spec_version(),
            "block": self.node.best().header.number,
            "beacon": {
                "public_key": hex::encode(drand::development_key().as_bytes()),
                "period_s": self.genesis.drand_period_s,
            },
            "state": self.flags.state,
            "controls": self.flags.controls(),
            "phrase": DEVELOPMENT_PHRASE,
            "accounts": self.genesis.accounts.iter().map(account).collect::<Vec<_>>(),
        })
    }
}

/// The 32 bytes of a development URI's secret, as wallets import them.
fn seed_of(uri: &str) -> Option<String> {
    let (_, seed) = sr25519::Pair::from_string_with_seed(uri, None).ok()?;
    seed.map(|seed| format!("0x{}", hex::encode(seed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_whole_tokens_in_threes() {
        for (rao, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (999_000_000_000, "999"),
            (1_000_500_000_000, "1,000.5"),
            (1_000_000_000_000_000, "1,000,000"),
        ] {
            assert_eq!(tokens(rao), text);
        }
    }

    #[test]
    fn colours_are_for_terminals() {
        assert_eq!(Paint(false).heading("x"), "x");
        assert_eq!(Paint(true).heading("x"), "\u{1b}[1mx\u{1b}[0m");
    }

    #[test]
    fn the_phrase_and_the_seeds_make_the_accounts() {
        let named = sr25519::Pair::from_string("//Validator1", None).expect("a pair").public();
        let by_phrase = sr25519::Pair::from_string(&format!("{DEVELOPMENT_PHRASE}//Validator1"), None);
        assert_eq!(by_phrase.expect("a pair").public(), named);
        let seed = seed_of("//Validator1").expect("a seed");
        assert_eq!(sr25519::Pair::from_string(&seed, None).expect("a pair").public(), named);
    }
}
