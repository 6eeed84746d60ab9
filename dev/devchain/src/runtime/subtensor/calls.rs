//! What one can ask of the pallet. Rules are not here: every call hands over to the module that has them.

use frame_support::pallet_macros::pallet_section;

/// Imported into the pallet; see [`super`].
#[pallet_section]
mod calls {
    const FREE: (Weight, DispatchClass, Pays) =
        (Weight::from_parts(10_000_000, 0), DispatchClass::Normal, Pays::No);

    const PAID: (Weight, DispatchClass, Pays) =
        (Weight::from_parts(340_000_000, 0), DispatchClass::Normal, Pays::Yes);

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Sets the weights of the caller's neuron on mechanism 0 of a subnet.
        #[pallet::call_index(0)]
        #[pallet::weight(FREE)]
        pub fn set_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            dests: Vec<u16>,
            weights: Vec<u16>,
            version_key: u64,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_set_weights(&hotkey, netuid, MechId::MAIN, dests, weights, version_key)
        }

        /// Sets the weights of the caller's neuron on one mechanism of a subnet.
        #[pallet::call_index(119)]
        #[pallet::weight(FREE)]
        pub fn set_mechanism_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            mecid: MechId,
            dests: Vec<u16>,
            weights: Vec<u16>,
            version_key: u64,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_set_weights(&hotkey, netuid, mecid, dests, weights, version_key)
        }

        /// Sets the weights of the caller's neuron on several subnets; an item that fails does not stop the others.
        #[pallet::call_index(80)]
        #[pallet::weight(FREE)]
        pub fn batch_set_weights(
            origin: OriginFor<T>,
            netuids: Vec<Compact<NetUid>>,
            weights: Vec<Vec<(Compact<u16>, Compact<u16>)>>,
            version_keys: Vec<Compact<u64>>,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_batch_set_weights(hotkey, netuids, weights, version_keys)
        }

        /// Commits the hash of weights for mechanism 0 of a subnet.
        #[pallet::call_index(96)]
        #[pallet::weight(FREE)]
        pub fn commit_weights(origin: OriginFor<T>, netuid: NetUid, commit_hash: H256) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_commit_weights(&hotkey, netuid, MechId::MAIN, commit_hash)
        }

        /// Commits the hash of weights for one mechanism of a subnet.
        #[pallet::call_index(115)]
        #[pallet::weight(FREE)]
        pub fn commit_mechanism_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            mecid: MechId,
            commit_hash: H256,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_commit_weights(&hotkey, netuid, mecid, commit_hash)
        }

        /// Commits hashes on several subnets; an item that fails does not stop the others.
        #[pallet::call_index(100)]
        #[pallet::weight(FREE)]
        pub fn batch_commit_weights(
            origin: OriginFor<T>,
            netuids: Vec<Compact<NetUid>>,
            commit_hashes: Vec<H256>,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_batch_commit_weights(hotkey, netuids, commit_hashes)
        }

        /// Reveals the weights of a hash commit for mechanism 0 of a subnet.
        #[pallet::call_index(97)]
        #[pallet::weight(FREE)]
        pub fn reveal_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            uids: Vec<u16>,
            values: Vec<u16>,
            salt: Vec<u16>,
            version_key: u64,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_reveal_weights(&hotkey, netuid, MechId::MAIN, Reveal { uids, values, salt, version_key })
        }

        /// Reveals the weights of a hash commit for one mechanism of a subnet.
        #[pallet::call_index(116)]
        #[pallet::weight(FREE)]
        pub fn reveal_mechanism_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            mecid: MechId,
            uids: Vec<u16>,
            values: Vec<u16>,
            salt: Vec<u16>,
            version_key: u64,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_reveal_weights(&hotkey, netuid, mecid, Reveal { uids, values, salt, version_key })
        }

        /// Reveals several hash commits for mechanism 0 of a subnet, all or none.
        #[pallet::call_index(98)]
        #[pallet::weight(FREE)]
        pub fn batch_reveal_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            uids_list: Vec<Vec<u16>>,
            values_list: Vec<Vec<u16>>,
            salts_list: Vec<Vec<u16>>,
            version_keys: Vec<u64>,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
            let reveals = Reveal::zip(uids_list, values_list, salts_list, version_keys)
                .ok_or(Error::<T>::InputLengthsUnequal)?;
            Self::do_batch_reveal_weights(&hotkey, netuid, reveals)
        }

        /// Commits weights, encrypted to a round of the beacon, for mechanism 0 of a subnet.
        #[pallet::call_index(113)]
        #[pallet::weight(FREE)]
        pub fn commit_timelocked_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            commit: Ciphertext,
            reveal_round: u64,
            commit_reveal_version: u16,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            let version = Some(commit_reveal_version);
            Self::do_commit_timelocked(&hotkey, netuid, MechId::MAIN, (commit, reveal_round), version)
        }

        /// Commits weights, encrypted to a round of the beacon, for one mechanism of a subnet.
        #[pallet::call_index(118)]
        #[pallet::weight(FREE)]
        pub fn commit_timelocked_mechanism_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            mecid: MechId,
            commit: Ciphertext,
            reveal_round: u64,
            commit_reveal_version: u16,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            let version = Some(commit_reveal_version);
            Self::do_commit_timelocked(&hotkey, netuid, mecid, (commit, reveal_round), version)
        }

        /// As [`Pallet::commit_timelocked_mechanism_weights`], from before it took a version.
        #[pallet::call_index(117)]
        #[pallet::weight(FREE)]
        pub fn commit_crv3_mechanism_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            mecid: MechId,
            commit: Ciphertext,
            reveal_round: u64,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_commit_timelocked(&hotkey, netuid, mecid, (commit, reveal_round), None)
        }

        /// Publishes the caller's endpoint on a subnet.
        #[pallet::call_index(4)]
        #[pallet::weight(FREE)]
        pub fn serve_axon(
            origin: OriginFor<T>,
            netuid: NetUid,
            version: u32,
            ip: u128,
            port: u16,
            ip_type: u8,
            protocol: u8,
            placeholder1: u8,
            placeholder2: u8,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            let axon =
                AxonInfo { block: 0, version, ip, port, ip_type, protocol, placeholder1, placeholder2 };
            Self::do_serve_axon(&hotkey, netuid, axon, None)
        }

        /// Registers a hotkey on a subnet; the burn is taken from the calling coldkey.
        #[pallet::call_index(7)]
        #[pallet::weight((Weight::from_parts(10_000_000, 0), DispatchClass::Normal, Pays::No))]
        pub fn burned_register(origin: OriginFor<T>, netuid: NetUid, hotkey: T::AccountId) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_burned_register(&coldkey, netuid, &hotkey)
        }

        /// Registers a hotkey on a subnet if the burn is at most the limit, in rao.
        #[pallet::call_index(134)]
        #[pallet::weight(FREE)]
        pub fn register_limit(
            origin: OriginFor<T>,
            netuid: NetUid,
            hotkey: T::AccountId,
            limit_price: u64,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_register_limit(&coldkey, netuid, &hotkey, limit_price)
        }

        /// Registers a hotkey on the root network.
        #[pallet::call_index(62)]
        #[pallet::weight(FREE)]
        pub fn root_register(origin: OriginFor<T>, hotkey: T::AccountId) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_root_register(&coldkey, &hotkey)
        }

        /// Registers a subnet that the calling coldkey will own; the hotkey becomes its uid 0.
        #[pallet::call_index(59)]
        #[pallet::weight(FREE)]
        pub fn register_network(origin: OriginFor<T>, hotkey: T::AccountId) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_register_network(&coldkey, &hotkey)
        }

        /// Starts the emission of a subnet; for its owner.
        #[pallet::call_index(92)]
        #[pallet::weight(FREE)]
        pub fn start_call(origin: OriginFor<T>, netuid: NetUid) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_start_call(&coldkey, netuid)
        }

        /// Stakes TAO of the calling coldkey on a hotkey.
        #[pallet::call_index(2)]
        #[pallet::weight(PAID)]
        pub fn add_stake(
            origin: OriginFor<T>,
            hotkey: T::AccountId,
            netuid: NetUid,
            amount_staked: TaoBalance,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_add_stake(&Position { coldkey, hotkey, netuid }, amount_staked, None)
        }

        /// Takes alpha of the calling coldkey off a hotkey, for TAO.
        #[pallet::call_index(3)]
        #[pallet::weight(PAID)]
        pub fn remove_stake(
            origin: OriginFor<T>,
            hotkey: T::AccountId,
            netuid: NetUid,
            amount_unstaked: AlphaBalance,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_remove_stake(&Position { coldkey, hotkey, netuid }, amount_unstaked, None)
        }

        /// Stakes TAO as far as the price of alpha stays at most the limit, in rao.
        #[pallet::call_index(88)]
        #[pallet::weight(PAID)]
        pub fn add_stake_limit(
            origin: OriginFor<T>,
            hotkey: T::AccountId,
            netuid: NetUid,
            amount_staked: TaoBalance,
            limit_price: TaoBalance,
            allow_partial: bool,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            let limit = Limit { price: limit_price.0, allow_partial };
            Self::do_add_stake(&Position { coldkey, hotkey, netuid }, amount_staked, Some(limit))
        }

        /// Takes alpha off a hotkey as far as its price stays at least the limit, in rao.
        #[pallet::call_index(89)]
        #[pallet::weight(PAID)]
        pub fn remove_stake_limit(
            origin: OriginFor<T>,
            hotkey: T::AccountId,
            netuid: NetUid,
            amount_unstaked: AlphaBalance,
            limit_price: TaoBalance,
            allow_partial: bool,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            let limit = Limit { price: limit_price.0, allow_partial };
            Self::do_remove_stake(&Position { coldkey, hotkey, netuid }, amount_unstaked, Some(limit))
        }

        /// Takes all alpha off a hotkey, if its price stays at least the limit, in rao.
        #[pallet::call_index(103)]
        #[pallet::weight(PAID)]
        pub fn remove_stake_full_limit(
            origin: OriginFor<T>,
            hotkey: T::AccountId,
            netuid: NetUid,
            limit_price: Option<TaoBalance>,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            let limit = limit_price.map(|price| Limit { price: price.0, allow_partial: false });
            let staked = Self::stake_of(&hotkey, &coldkey, netuid);
            Self::do_remove_stake(&Position { coldkey, hotkey, netuid }, staked, limit)
        }

        /// Moves alpha of the calling coldkey to another hotkey, and to another subnet if so wished.
        #[pallet::call_index(85)]
        #[pallet::weight(PAID)]
        pub fn move_stake(
            origin: OriginFor<T>,
            origin_hotkey: T::AccountId,
            destination_hotkey: T::AccountId,
            origin_netuid: NetUid,
            destination_netuid: NetUid,
            alpha_amount: AlphaBalance,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            let from = Position { coldkey: coldkey.clone(), hotkey: origin_hotkey, netuid: origin_netuid };
            let to = Position { coldkey, hotkey: destination_hotkey, netuid: destination_netuid };
            let worth = Self::do_move_stake(&from, &to, alpha_amount)?;
            Self::deposit_event(Event::StakeMoved(
                from.coldkey,
                from.hotkey,
                from.netuid,
                to.hotkey,
                to.netuid,
                worth,
            ));
            Ok(())
        }

        /// Gives alpha of the calling coldkey to another coldkey, on the same hotkey.
        #[pallet::call_index(86)]
        #[pallet::weight(PAID)]
        pub fn transfer_stake(
            origin: OriginFor<T>,
            destination_coldkey: T::AccountId,
            hotkey: T::AccountId,
            origin_netuid: NetUid,
            destination_netuid: NetUid,
            alpha_amount: AlphaBalance,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            let from = Position { coldkey, hotkey: hotkey.clone(), netuid: origin_netuid };
            let to = Position { coldkey: destination_coldkey, hotkey, netuid: destination_netuid };
            let worth = Self::do_move_stake(&from, &to, alpha_amount)?;
            Self::deposit_event(Event::StakeTransferred(
                from.coldkey,
                to.coldkey,
                from.hotkey,
                from.netuid,
                to.netuid,
                worth,
            ));
            Ok(())
        }

        /// Moves alpha of the calling coldkey to another subnet, on the same hotkey.
        #[pallet::call_index(87)]
        #[pallet::weight(PAID)]
        pub fn swap_stake(
            origin: OriginFor<T>,
            hotkey: T::AccountId,
            origin_netuid: NetUid,
            destination_netuid: NetUid,
            alpha_amount: AlphaBalance,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            let from = Position { coldkey, hotkey, netuid: origin_netuid };
            let to = Position { netuid: destination_netuid, ..from.clone() };
            let worth = Self::do_move_stake(&from, &to, alpha_amount)?;
            Self::deposit_event(Event::StakeSwapped(
                from.coldkey,
                from.hotkey,
                from.netuid,
                to.netuid,
                worth,
            ));
            Ok(())
        }

        /// Has what the caller's neurons on a subnet earn as miners staked on this hotkey.
        #[pallet::call_index(114)]
        #[pallet::weight(PAID)]
        pub fn set_coldkey_auto_stake_hotkey(
            origin: OriginFor<T>,
            netuid: NetUid,
            hotkey: T::AccountId,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_set_auto_stake(&coldkey, netuid, &hotkey)
        }

        /// Says what the caller wants for its stake on the root network.
        #[pallet::call_index(122)]
        #[pallet::weight(PAID)]
        pub fn set_root_claim_type(
            origin: OriginFor<T>,
            new_root_claim_type: RootClaimTypeEnum,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_set_root_claim_type(coldkey, new_root_claim_type)
        }

        /// Publishes the caller's endpoint on a subnet, with the key by which it is known on TLS.
        #[pallet::call_index(40)]
        #[pallet::weight(FREE)]
        pub fn serve_axon_tls(
            origin: OriginFor<T>,
            netuid: NetUid,
            version: u32,
            ip: u128,
            port: u16,
            ip_type: u8,
            protocol: u8,
            placeholder1: u8,
            placeholder2: u8,
            certificate: Vec<u8>,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            let axon =
                AxonInfo { block: 0, version, ip, port, ip_type, protocol, placeholder1, placeholder2 };
            Self::do_serve_axon(&hotkey, netuid, axon, Some(&certificate))
        }

        /// Publishes the endpoint of the caller's metrics on a subnet.
        #[pallet::call_index(5)]
        #[pallet::weight(FREE)]
        pub fn serve_prometheus(
            origin: OriginFor<T>,
            netuid: NetUid,
            version: u32,
            ip: u128,
            port: u16,
            ip_type: u8,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_serve_prometheus(
                &hotkey,
                netuid,
                PrometheusInfo { block: 0, version, ip, port, ip_type },
            )
        }

        /// Says something of a subnet; for its owner.
        #[pallet::call_index(78)]
        #[pallet::weight(PAID)]
        pub fn set_subnet_identity(
            origin: OriginFor<T>,
            netuid: NetUid,
            subnet_name: Vec<u8>,
            github_repo: Vec<u8>,
            subnet_contact: Vec<u8>,
            subnet_url: Vec<u8>,
            discord: Vec<u8>,
            description: Vec<u8>,
            logo_url: Vec<u8>,
            additional: Vec<u8>,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            let identity = SubnetIdentityV3 {
                subnet_name,
                github_repo,
                subnet_contact,
                subnet_url,
                discord,
                description,
                logo_url,
                additional,
            };
            Self::do_set_subnet_identity(&coldkey, netuid, identity)
        }

        /// Says something of the calling coldkey.
        #[pallet::call_index(68)]
        #[pallet::weight(PAID)]
        pub fn set_identity(
            origin: OriginFor<T>,
            name: Vec<u8>,
            url: Vec<u8>,
            github_repo: Vec<u8>,
            image: Vec<u8>,
            discord: Vec<u8>,
            description: Vec<u8>,
            additional: Vec<u8>,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            let identity =
                ChainIdentityV2 { name, url, github_repo, image, discord, description, additional };
            Self::do_set_identity(&coldkey, identity)
        }

        /// Locks alpha of the calling coldkey on its hotkey; what is not staked yet is bought within the limit, in rao for
        /// one alpha.
        #[pallet::call_index(144)]
        #[pallet::weight(PAID)]
        pub fn add_collateral(
            origin: OriginFor<T>,
            netuid: NetUid,
            hotkey: T::AccountId,
            alpha: AlphaBalance,
            limit_price: TaoBalance,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_add_collateral(&Position { coldkey, hotkey, netuid }, alpha, limit_price)
        }

        /// Sets the floor below which earning does not release what is locked on a hotkey of the calling coldkey.
        #[pallet::call_index(145)]
        #[pallet::weight(PAID)]
        pub fn set_min_collateral(
            origin: OriginFor<T>,
            netuid: NetUid,
            hotkey: T::AccountId,
            min_locked: AlphaBalance,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_set_min_collateral(&Position { coldkey, hotkey, netuid }, min_locked)
        }

        /// Schedules an epoch of the caller's subnet out of turn.
        #[pallet::call_index(141)]
        #[pallet::weight(PAID)]
        pub fn trigger_epoch(origin: OriginFor<T>, netuid: NetUid) -> DispatchResult {
            let owner = ensure_signed(origin)?;
            Self::do_trigger_epoch(owner, netuid)
        }
    }
}
