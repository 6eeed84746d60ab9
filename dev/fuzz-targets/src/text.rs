//! Texts of strangers: addresses, keys, ids, amounts. What is accepted has one spelling, which reads back.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use basilica_proof::ClassName;
use basilica_runtime_service::DurationSetting;
use basilica_types::{
    ChainUrl, Coldkey, DatabasePath, Digest, GpuUuid, Host, HostKey, Hotkey, NodeAddress, NodeId,
    RequestNonce, SessionId, SessionToken, Timestamp, UsdMicros, Username, WalletName,
};
use basilica_wire::Signature;

pub(crate) fn run(bytes: &[u8]) {
    // Keys as servers present them, too.
    if let Ok(key) = HostKey::from_blob(bytes) {
        assert_eq!(key.blob(), bytes);
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    one_spelling::<ChainUrl>(text);
    one_spelling::<ClassName>(text);
    one_spelling::<Coldkey>(text);
    one_spelling::<Digest>(text);
    one_spelling::<GpuUuid>(text);
    one_spelling::<Host>(text);
    one_spelling::<HostKey>(text);
    one_spelling::<Hotkey>(text);
    one_spelling::<NodeAddress>(text);
    one_spelling::<NodeId>(text);
    one_spelling::<RequestNonce>(text);
    one_spelling::<SessionId>(text);
    one_spelling::<Signature>(text);
    one_spelling::<Username>(text);
    one_spelling::<WalletName>(text);
    if let Ok(token) = text.parse::<SessionToken>() {
        assert_eq!(token.reveal().parse::<SessionToken>().map(|again| again.reveal()), Ok(token.reveal()));
    }
    // These are read and never printed in the form they were read in.
    let _ = text.parse::<DatabasePath>();
    let _ = text.parse::<DurationSetting>();
    let _ = UsdMicros::parse_dollars(text);
    if let Ok(milliseconds) = text.parse::<i64>() {
        let _ = Timestamp(milliseconds).rfc3339();
    }
    if let Ok(address) = text.parse::<NodeAddress>() {
        assert_eq!(address.node_id().to_string().parse(), Ok(address.node_id()));
    }
}

fn one_spelling<T>(text: &str)
where
    T: FromStr<Err: Debug> + Display + Debug + PartialEq,
{
    let Ok(value) = text.parse::<T>() else { return };
    let printed = value.to_string();
    let again: T = printed.parse().expect("what is printed reads back");
    assert_eq!((again.to_string(), &again), (printed, &value));
}

const SEEDS: [&str; 24] = [
    "root@10.91.33.10:22",
    "gpu@node-1.example.org:2222",
    "root@[2001:db8::1]:22",
    "Root@Example.ORG.:22",
    "[::ffff:10.0.0.1]",
    "2130706433",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@laptop",
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfU=",
    "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
    "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5",
    "GPU-00000000-0000-0000-0000-000000000001",
    "7e581f75-4a4d-5b9f-b0c3-a4e2b6906d3f",
    "1111111111111111111111111111111111111111111111111111111111111111",
    "11111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111",
    "1111111111111111",
    "ws://127.0.0.1:9944",
    "wss://entrypoint-finney.opentensor.ai:443",
    "sqlite:///var/lib/basilica/miner.db",
    "sqlite::memory:",
    "1h30m",
    "2.505",
    "NVIDIA H100 80GB HBM3",
    "1763762400000",
    "default",
];

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    SEEDS.map(|seed| seed.as_bytes().to_vec()).to_vec()
}
