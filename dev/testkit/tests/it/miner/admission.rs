//! Who gets a session, and whose discovery counts. Every attack that RULES R6 to R8 name is tried here.

use basilica_store::restore_miner;

use super::*;

async fn site() -> Site {
    Site::start(None, Settings::default()).await
}

#[tokio::test]
async fn a_permitted_validator_gets_a_session_and_a_signed_list() {
    let site = site().await;
    let grant = site.first.authenticate(&site).await;
    assert_eq!(site.first.discover(&site, &grant).await.nodes, []);
}

#[tokio::test]
async fn requests_cost_no_chain_call() {
    let site = site().await;
    site.chain.metagraph.lock().unwrap().take();
    let before = site.chain.metagraph_calls.load(Ordering::SeqCst);
    for _ in 0..20 {
        site.first.authenticate(&site).await;
    }
    // The follower asks by itself once a second at most while the chain is down.
    assert!(site.chain.metagraph_calls.load(Ordering::SeqCst) - before < 10);
}

#[tokio::test]
async fn a_chain_that_hangs_does_not_hold_up_the_stop() {
    let mut site = site().await;
    site.chain.hangs.store(true, Ordering::SeqCst);
    let before = site.chain.metagraph_calls.load(Ordering::SeqCst);
    while site.chain.metagraph_calls.load(Ordering::SeqCst) == before {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // Fails where a task had to be aborted.
    site.stop_miner().await;
}

#[tokio::test]
async fn an_authentication_that_is_not_the_validators_own_is_refused() {
    let site = site().await;
    let client = site.client().await;
    let good = site.first.auth_request(site.miner.hotkey());
    let forged = AuthRequest { signature: site.second.party.signature(b"x"), ..good.clone() };
    let stolen = AuthRequest { validator: site.second.party.hotkey(), ..good.clone() };
    let moved = AuthRequest { timestamp_secs: good.timestamp_secs + 1, ..good.clone() };
    for request in [forged, stolen, moved] {
        let (code, words) = refusal(client.authenticate(request).await);
        assert_eq!((code, words.as_str()), (RefusalCode::Unauthenticated, "Invalid signature"));
    }
    let elsewhere = site.first.auth_request(site.second.party.hotkey());
    let (code, words) = refusal(client.authenticate(elsewhere).await);
    assert_eq!(code, RefusalCode::PermissionDenied);
    assert_eq!(words, "Authentication request not intended for this miner");
    assert!(client.authenticate(good).await.is_ok(), "a refused forgery does not use up the nonce");
}

#[tokio::test]
async fn a_stale_or_undated_authentication_is_refused() {
    let site = site().await;
    let client = site.client().await;
    for timestamp in [now_secs() - 301, now_secs() + 310, 0, -1, i64::MIN, i64::MAX] {
        let request = site.first.auth_request_at(site.miner.hotkey(), timestamp);
        let (code, words) = refusal(client.authenticate(request).await);
        assert_eq!(
            (code, words.as_str()),
            (RefusalCode::Unauthenticated, "Request timestamp too old"),
            "{timestamp}"
        );
    }
    let nearly_late = site.first.auth_request_at(site.miner.hotkey(), now_secs() - 290);
    assert!(client.authenticate(nearly_late).await.is_ok());
}

#[tokio::test]
async fn a_replayed_authentication_is_refused_even_after_a_restart() {
    let mut site = site().await;
    let request = site.first.auth_request(site.miner.hotkey());
    assert!(site.client().await.authenticate(request.clone()).await.is_ok());
    let (code, words) = refusal(site.client().await.authenticate(request.clone()).await);
    assert_eq!((code, words.as_str()), (RefusalCode::Unauthenticated, "Nonce was used before"));
    site.stop_miner().await;
    site.start_miner().await;
    assert_eq!(super::code(site.client().await.authenticate(request).await), RefusalCode::Unauthenticated);
}

#[tokio::test]
async fn a_request_that_a_restored_backup_does_not_know_is_refused_all_the_same() {
    let mut site = site().await;
    assert!(site.client().await.authenticate(site.first.auth_request(site.miner.hotkey())).await.is_ok());
    let (place, copy) = (site.database(), site.directory.path().join("copy"));
    let database = Database::open(&place, &MINER_SCHEMA, OpenOptions::default()).await.unwrap();
    database.back_up(&copy).await.unwrap();
    database.close().await;
    let request = site.first.auth_request(site.miner.hotkey());
    assert!(site.client().await.authenticate(request.clone()).await.is_ok());
    site.stop_miner().await;
    std::fs::remove_file(place.as_path()).unwrap();
    for end in ["-wal", "-shm"] {
        // Who closes the database last has removed them.
        let _ = std::fs::remove_file(format!("{}{end}", place.as_path().display()));
    }
    restore_miner(&copy, &place, SystemClock::new().now()).await.unwrap();
    site.start_miner().await;
    let client = site.client().await;
    let (code, words) = refusal(client.authenticate(request).await);
    assert_eq!(code, RefusalCode::Unavailable, "{words}");
    assert!(words.starts_with("This miner has come up again after an interruption"), "{words}");
    // It may have been asked in the time that the backup does not know, by a clock that is fast.
    let ahead = site.first.auth_request_at(site.miner.hotkey(), now_secs() + 290);
    assert_eq!(super::code(client.authenticate(ahead).await), RefusalCode::Unavailable);
}

/// The first words are what operators search for, the rest keeps them from searching for a mistake before the first epoch.
pub(super) const NO_PERMIT: &str = "Validator not authorized: no validator permit on the subnet; the chain gives permits to the top \
                         stakes at each epoch";

#[tokio::test]
async fn strangers_and_hotkeys_without_permit_are_refused_and_leave_nothing() {
    let site = site().await;
    let client = site.client().await;
    for validator in [&site.unpermitted, &Validator::new(77)] {
        let (code, words) = refusal(client.authenticate(validator.auth_request(site.miner.hotkey())).await);
        assert_eq!((code, words.as_str()), (RefusalCode::PermissionDenied, NO_PERMIT));
        let mut forged = validator.auth_request(site.miner.hotkey());
        forged.signature = site.first.party.signature(b"x");
        let (code, words) = refusal(client.authenticate(forged).await);
        assert_eq!((code, words.as_str()), (RefusalCode::PermissionDenied, NO_PERMIT));
    }
}

#[tokio::test]
async fn nobody_is_let_in_while_the_metagraph_is_unknown() {
    let mut site = site().await;
    site.stop_miner().await;
    site.chain.metagraph.lock().unwrap().take();
    site.start_miner().await;
    let request = site.first.auth_request(site.miner.hotkey());
    assert_eq!(code(site.client().await.authenticate(request.clone()).await), RefusalCode::Unavailable);
    site.set_stakes(1, 2);
    site.until_admitting().await;
    assert!(site.client().await.authenticate(request).await.is_ok(), "the nonce was not used up");
}

#[tokio::test]
async fn a_validators_share_of_nonces_is_bounded() {
    let site = Site::start(None, Settings { nonces_per_validator: 3, ..Settings::default() }).await;
    for _ in 0..3 {
        site.first.authenticate(&site).await;
    }
    let request = site.first.auth_request(site.miner.hotkey());
    assert_eq!(code(site.client().await.authenticate(request).await), RefusalCode::ResourceExhausted);
    site.second.authenticate(&site).await;
}

#[tokio::test]
async fn discovery_without_authentication_is_refused() {
    let site = site().await;
    let grant = site.second.authenticate(&site).await;
    let invented = DiscoverClaim {
        session_token: basilica_types::SessionToken::from_random([9; 32]),
        ..site.first.claim(&grant)
    };
    let (code, words) = refusal(site.client().await.discover(site.first.signed(invented)).await);
    assert_eq!(code, RefusalCode::Unauthenticated);
    assert_eq!(words, "Validator must authenticate before discovering nodes");
}

#[tokio::test]
async fn another_validators_session_opens_nothing() {
    let site = site().await;
    site.first.authenticate(&site).await;
    let stolen = site.second.authenticate(&site).await;
    let request = site.first.discover_request(&stolen);
    assert_eq!(code(site.client().await.discover(request).await), RefusalCode::Unauthenticated);
}

#[tokio::test]
async fn an_expired_session_opens_nothing() {
    let site = Site::start(None, Settings { session_lifetime: Millis(1000), ..Settings::default() }).await;
    let grant = site.first.authenticate(&site).await;
    while now_secs() < grant.expires_at_secs {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(
        code(site.client().await.discover(site.first.discover_request(&grant)).await),
        RefusalCode::Unauthenticated
    );
}

#[tokio::test]
async fn whatever_is_changed_in_transit_breaks_the_signature() {
    let site = site().await;
    let grant = site.first.authenticate(&site).await;
    let request = site.first.discover_request(&grant);
    let with = |change: fn(&mut DiscoverClaim, &Site)| {
        let mut changed = request.clone();
        change(&mut changed.claim, &site);
        changed
    };
    let swapped_key = with(|claim, site| claim.public_key = site.second.key());
    let other_validator = with(|claim, site| claim.validator = site.second.party.hotkey());
    let later = with(|claim, _| claim.timestamp_secs += 1);
    let newer_leader = with(|claim, _| claim.epoch = FencingToken(99));
    let other_nonce = with(|claim, _| claim.nonce = nonce());
    for changed in [swapped_key, other_validator, later, newer_leader, other_nonce] {
        let (code, words) = refusal(site.client().await.discover(changed).await);
        assert_eq!((code, words.as_str()), (RefusalCode::Unauthenticated, "Invalid signature"));
    }
    let other_target = with(|claim, site| claim.target = site.second.party.hotkey());
    assert_eq!(code(site.client().await.discover(other_target).await), RefusalCode::PermissionDenied);
    assert!(site.client().await.discover(request).await.is_ok(), "the true request still counts");
}

#[tokio::test]
async fn replayed_stale_and_superseded_discoveries_are_refused() {
    let site = site().await;
    let client = site.client().await;
    let grant = site.first.authenticate(&site).await;
    let request = site.first.discover_request(&grant);
    assert!(client.discover(request.clone()).await.is_ok());
    assert_eq!(code(client.discover(request.clone()).await), RefusalCode::Unauthenticated);
    let deposed = DiscoverClaim { nonce: nonce(), epoch: FencingToken(0), ..request.claim.clone() };
    let (code_of_deposed, words) = refusal(client.discover(site.first.signed(deposed)).await);
    assert_eq!(code_of_deposed, RefusalCode::PermissionDenied);
    assert_eq!(
        words,
        "A later request of this hotkey was accepted before: one that is newer, or has a higher fencing token"
    );
    let same_second = DiscoverClaim { nonce: nonce(), ..request.claim.clone() };
    assert_eq!(code(client.discover(site.first.signed(same_second)).await), RefusalCode::PermissionDenied);
    let stale = DiscoverClaim { timestamp_secs: now_secs() - 400, ..site.first.claim(&grant) };
    assert_eq!(code(client.discover(site.first.signed(stale)).await), RefusalCode::Unauthenticated);
}

fn v1(validator: &Validator, grant: &AuthGrant) -> DiscoverRequest {
    let claim = DiscoverClaim { epoch: FencingToken(0), ..validator.claim(grant) };
    let signature_v1 = Some(validator.party.signature(&claim.payload_v1()));
    DiscoverRequest { claim, signature_v1, signature_v2: None }
}

#[tokio::test]
async fn the_first_versions_discovery_is_refused_by_default() {
    let site = site().await;
    let grant = site.first.authenticate(&site).await;
    let (code, words) = refusal(site.client().await.discover(v1(&site.first, &grant)).await);
    assert_eq!(code, RefusalCode::Unauthenticated);
    assert!(words.contains("V2 signature"), "{words}");
}

#[tokio::test]
async fn a_listed_hotkey_may_use_the_first_version_until_it_used_the_second() {
    let listed = vec![Party::new(1).hotkey()];
    let site = Site::start(None, Settings { accept_discover_v1: listed, ..Settings::default() }).await;
    let client = site.client().await;
    let grant = site.first.authenticate(&site).await;
    let other = site.second.authenticate(&site).await;
    assert!(client.discover(v1(&site.first, &grant)).await.is_ok());
    assert_eq!(code(client.discover(v1(&site.second, &other)).await), RefusalCode::Unauthenticated);
    let forged =
        DiscoverRequest { signature_v1: Some(site.second.party.signature(b"x")), ..v1(&site.first, &grant) };
    assert_eq!(code(client.discover(forged).await), RefusalCode::Unauthenticated);
    site.first.discover(&site, &grant).await;
    let (code, words) = refusal(client.discover(v1(&site.first, &grant)).await);
    assert_eq!(code, RefusalCode::Unauthenticated);
    assert!(words.contains("no longer accepted"), "{words}");
}

#[tokio::test]
async fn an_epoch_put_into_a_first_versions_discovery_shuts_nobody_out() {
    let listed = vec![Party::new(1).hotkey()];
    let site = Site::start(None, Settings { accept_discover_v1: listed, ..Settings::default() }).await;
    let client = site.client().await;
    let grant = site.first.authenticate(&site).await;
    let mut meddled = v1(&site.first, &grant);
    // The first version's signature does not cover the epoch: it stays valid.
    meddled.claim.epoch = FencingToken(u64::MAX >> 1);
    let (code, words) = refusal(client.discover(meddled).await);
    assert_eq!(code, RefusalCode::Unauthenticated);
    assert!(words.contains("no epoch"), "{words}");
    assert!(client.discover(v1(&site.first, &grant)).await.is_ok());
    site.first.discover(&site, &grant).await;
}

#[tokio::test]
async fn a_validator_opens_only_so_many_sessions_an_hour_and_is_told_when_to_come_again() {
    let rate = SessionRate { most: 2, within: Millis::from_secs(3600) };
    let mut site = Site::start(None, Settings { session_rate: Some(rate), ..Settings::default() }).await;
    site.first.authenticate(&site).await;
    let grant = site.first.authenticate(&site).await;
    for restarted in [false, true] {
        if restarted {
            site.stop_miner().await;
            site.start_miner().await;
        }
        let request = site.first.auth_request(site.miner.hotkey());
        let (code, words) = refusal(site.client().await.authenticate(request).await);
        assert_eq!(code, RefusalCode::ResourceExhausted);
        let told = "Too many new sessions of this hotkey: 2 within an hour are allowed; come again in ";
        let secs: u64 = words.strip_prefix(told).unwrap().strip_suffix(" s").unwrap().parse().unwrap();
        assert!((3000..=3600).contains(&secs), "{words}");
        // Another's limit is its own, and open sessions go on.
        site.second.authenticate(&site).await;
        site.first.discover(&site, &grant).await;
    }
}
