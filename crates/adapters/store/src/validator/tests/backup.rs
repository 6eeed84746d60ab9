//! Backups, from and to either engine.

use super::*;
use crate::{BackupError, TOKENS_SKIPPED};

on_both_engines!(
    a_backup_restores_on_either_engine_while_the_first_goes_on,
    a_backup_that_is_not_whole_restores_nothing,
    something_is_never_restored_over,
);

async fn filled(store: &ValidatorDatabase) {
    store.record_discovery(miner(1), &[report(7), report(8)], NOW).await.unwrap();
    store.record_check(&passed(key(1, 7), 1, None, vec![gpu(1)])).await.unwrap();
    store.record_check(&passed(key(1, 7), 2, Some(1), vec![gpu(1)])).await.unwrap();
    store.record_discovery_failure(miner(2), "it said \"no\" \u{fffd} \n and left").await.unwrap();
    store.open_window(&weights::window(store), &[]).await.unwrap();
}

async fn backed_up(store: &ValidatorDatabase) -> Vec<u8> {
    let mut file = Vec::new();
    let summary = store.back_up(&mut file, NOW, &mut |_| {}).await.unwrap();
    assert!(summary.rows() >= 10, "{summary:?}");
    file
}

async fn a_backup_restores_on_either_engine_while_the_first_goes_on(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    filled(&store).await;
    let file = backed_up(&store).await;
    let token = store.held().unwrap();
    // What comes after the snapshot is not in it.
    store.record_check(&passed(key(1, 7), 3, Some(2), vec![gpu(1)])).await.unwrap();
    for target in [On::Sqlite, On::Postgres] {
        let place = Place::new(target);
        let told = ValidatorDatabase::restore(&place.url, &file[..], &mut |_| {}).await.unwrap();
        assert_eq!(told.created, NOW.0);
        let restored = place.lead().await;
        assert_eq!(restored.nodes().await.unwrap().len(), 2);
        assert_eq!(kept(&restored, key(1, 7)).await, 2);
        assert_eq!(restored.miners().await.unwrap(), store.miners().await.unwrap());
        let held = restored.held().unwrap();
        assert!(held.0 >= token.0 + u64::try_from(TOKENS_SKIPPED).unwrap(), "no token of before comes again");
        // It goes on where the backup ended: chains, counters, the window under way.
        let next = restored.record_check(&passed(key(1, 7), 3, Some(2), vec![gpu(1)])).await.unwrap();
        assert_eq!(next, Recorded::Stored);
        assert!(matches!(
            restored.open_window(&weights::window(&restored), &[]).await.unwrap(),
            Opened::Busy(_)
        ));
        // The same rows, but for what was added and who led.
        let again = String::from_utf8(backed_up(&restored).await).unwrap();
        let rows = |text: &str| -> BTreeSet<String> {
            text.lines().skip(1).filter(|line| line.starts_with("[\"verdicts\"")).map(str::to_owned).collect()
        };
        assert!(rows(&again).is_superset(&rows(std::str::from_utf8(&file).unwrap())));
        assert_eq!(rows(&again).len(), 3);
    }
}

async fn a_backup_that_is_not_whole_restores_nothing(on: On) {
    let Fixture { store, place: _keep } = Fixture::new(on).await;
    filled(&store).await;
    let file = backed_up(&store).await;
    let text = String::from_utf8(file.clone()).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let cut = lines[..lines.len() - 1].concat();
    let without_a_row = [&lines[..3], &lines[4..]].concat().concat();
    let changed = text.replacen("198.51.100.7", "198.51.100.9", 1);
    let longer = format!("{text}{}", lines[3]);
    let other = text.replacen("basilica-validator-backup/v1", "basilica-validator-backup/v2", 1);
    let newer = text.replacen(&format!("\"schema\":{}", VALIDATOR_SCHEMA.version()), "\"schema\":999", 1);
    let place = Place::new(on);
    for bad in
        [String::new(), cut, without_a_row, changed, longer, other, newer, text[..text.len() / 2].to_owned()]
    {
        let error = ValidatorDatabase::restore(&place.url, bad.as_bytes(), &mut |_| {}).await.unwrap_err();
        assert!(matches!(error, BackupError::Damaged { .. } | BackupError::Newer { .. }), "{error}");
    }
    ValidatorDatabase::restore(&place.url, &file[..], &mut |_| {}).await.unwrap();
}

async fn something_is_never_restored_over(on: On) {
    let Fixture { store, place } = Fixture::new(on).await;
    let file = backed_up_of(&store).await;
    store.close().await;
    drop(store);
    let error = ValidatorDatabase::restore(&place.url, &file[..], &mut |_| {}).await.unwrap_err();
    assert!(matches!(&error, BackupError::NotEmpty { table, .. } if table == "miners"), "{error}");
}

async fn backed_up_of(store: &ValidatorDatabase) -> Vec<u8> {
    let mut file = Vec::new();
    store.back_up(&mut file, NOW, &mut |_| {}).await.unwrap();
    file
}
