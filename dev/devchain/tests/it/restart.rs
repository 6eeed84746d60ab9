//! kill -9 and start again.

use std::io::Write as _;

use basilica_devchain::runtime::RuntimeCall;
use basilica_devchain::runtime::newtypes::NetUid;
use basilica_devchain::runtime::subtensor;
use serde_json::{Value, json};

use crate::support::{Client, Devchain, command};

async fn block(chain: &Devchain, number: u64) -> Value {
    let client = chain.client().await;
    let hash = client.call("chain_getBlockHash", json!([number])).await;
    json!([hash, client.call("chain_getBlock", json!([hash])).await])
}

#[tokio::test]
async fn a_killed_chain_continues_with_everything_it_had_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut chain = Devchain::with_state(&directory.path().join("chain"));
    let call = RuntimeCall::SubtensorModule(subtensor::Call::burned_register {
        netuid: NetUid(39),
        hotkey: crate::support::account_of("//New"),
    });
    let client = chain.client().await;
    let extrinsic = client.signed("//Bob", call).await;
    let told = client.watch(&extrinsic).await.last().unwrap()["finalized"].clone();
    let genesis = client.genesis().await;
    for _ in 0..3 {
        let last = chain.client().await.number().await;
        let known = block(&chain, last).await;
        chain.kill();
        chain = Devchain::with_state(&directory.path().join("chain"));
        let client = chain.client().await;
        assert_eq!(client.genesis().await, genesis);
        assert_eq!(block(&chain, last).await, known, "block {last} after the restart");
        assert!(client.call("chain_getHeader", json!([told])).await.is_object());
        client.until("new blocks", async |client| client.number().await > last + 2).await;
        assert_eq!(client.nonce("//Bob").await, 1);
    }
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_the_chain_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut chain = Devchain::with_state(&directory.path().join("chain"));
    chain.client().await.until("block 5", async |client| client.number().await >= 5).await;
    let known = block(&chain, 5).await;
    chain.kill();
    let path = directory.path().join("chain");
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).expect("a file");
    file.write_all(&[0xff, 1, 0, 0, 7, 7, 7]).expect("writes");
    drop(file);
    let chain = Devchain::with_state(&directory.path().join("chain"));
    assert_eq!(block(&chain, 5).await, known);
    chain.client().await.until("block 9", async |client| client.number().await >= 9).await;
}

#[tokio::test]
async fn a_file_damaged_in_its_middle_is_refused_and_left_alone_and_a_cut_one_is_warned_of() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("chain");
    let mut chain = Devchain::start(&["--state", path.to_str().expect("a plain path"), "--mining", "manual"]);
    let begun = std::fs::read(&path).expect("reads").len();
    chain.client().await.call("dev_newBlock", json!([5])).await;
    chain.kill();
    let whole = std::fs::read(&path).expect("reads");
    // It ends by itself, after the file was opened and before anything is printed.
    let open = || {
        let nowhere = directory.path().join("no/such/place");
        let flags =
            ["--listen", "127.0.0.1:0", "--block-time", "50ms", "--tempo", "10", "--mining", "manual"];
        let output = command()
            .args(flags)
            .args([std::ffi::OsStr::new("--state"), path.as_os_str()])
            .args([std::ffi::OsStr::new("--print-addr"), nowhere.as_os_str()])
            .output()
            .expect("runs");
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty(), "nothing is announced that does not come");
        String::from_utf8(output.stderr).expect("text")
    };
    let message = open();
    assert!(message.contains("cannot write the address") && !message.contains("warning"), "{message}");
    let mut spoilt = whole.clone();
    spoilt[begun + (whole.len() - begun) / 2] ^= 1;
    std::fs::write(&path, &spoilt).expect("writes");
    let message = open();
    assert!(message.contains("is damaged at byte") && message.contains("truncate --size="), "{message}");
    assert_eq!(std::fs::read(&path).expect("reads"), spoilt, "left as it was");
    std::fs::write(&path, &whole[..whole.len() - 1]).expect("writes");
    let message = open();
    assert!(message.contains("warning") && message.contains("goes on after block 4"), "{message}");
}

#[test]
fn a_file_of_another_genesis_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("chain");
    let path = path.to_str().expect("a plain path");
    let mut chain = Devchain::with_state(&directory.path().join("chain"));
    assert_eq!(chain.terminate(), Some(0));
    let output =
        command().args(["--listen", "127.0.0.1:0", "--state", path, "--tempo", "99"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("block_time_ms is 50 there and 250 here, tempo is 10 there and 99 here;"),
        "{message}"
    );
    let mut chain = Devchain::with_state(&directory.path().join("chain"));
    assert_eq!(chain.terminate(), Some(0));
}

#[tokio::test]
async fn what_was_final_stays_final_whatever_the_lag_is_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("chain");
    let path = path.to_str().expect("a plain path");
    let start = |lag: &str| Devchain::start(&["--state", path, "--mining", "manual", "--finality-lag", lag]);
    let final_number = async |client: &Client| {
        let head = client.call("chain_getFinalizedHead", json!([])).await;
        client.call("chain_getHeader", json!([head])).await["number"].clone()
    };
    let mut chain = start("0");
    let client = chain.client().await;
    client.call("dev_newBlock", json!([4])).await;
    assert_eq!(final_number(&client).await, "0x4");
    chain.kill();

    let mut chain = start("3");
    let client = chain.client().await;
    assert_eq!(final_number(&client).await, "0x4", "it was told so");
    let (_, message) = client.refusal("dev_reorg", json!([1])).await;
    assert!(message.contains("final"), "{message}");
    client.call("dev_newBlock", json!([2])).await;
    assert_eq!(final_number(&client).await, "0x4", "the lag is three blocks now");
    client.call("dev_reorg", json!([2])).await;
    assert_eq!(final_number(&client).await, "0x4");
    client.call("dev_fault", json!([{"kind": "stall_finality"}])).await;
    client.call("dev_newBlock", json!([4])).await;
    assert_eq!(final_number(&client).await, "0x4");
    chain.kill();
    let mut chain = start("8");
    assert_eq!(final_number(&chain.client().await).await, "0x4");
    chain.kill();

    // A shorter lag makes more final without a block.
    let mut chain = start("0");
    assert_eq!(final_number(&chain.client().await).await, "0xb");
    chain.kill();
    let chain = start("3");
    let client = chain.client().await;
    assert_eq!(final_number(&client).await, "0xb", "it was told so");
    let (_, message) = client.refusal("dev_reorg", json!([1])).await;
    assert!(message.contains("0 are not final"), "{message}");
}
