//! Publishing an endpoint: which addresses the chain takes and how often.
//!
//! The same rules run twice: before an extrinsic enters the pool (as `InvalidTransaction::Custom(n)`) and again at
//! dispatch, because the block may be another one by then.

use std::net::Ipv4Addr;

use frame_support::ensure;
use frame_support::pallet_prelude::DispatchResult;

use super::info_types::{AxonInfo, NeuronCertificate, PrometheusInfo};
use super::pallet::*;
use crate::runtime::newtypes::NetUid;

/// Whether others could reach the address: exactly loopback `127.0.0.1`, broadcast and `::1` are refused. Any other
/// loopback address, private networks and 0.0.0.0 pass, as on the public chain.
#[must_use]
pub fn is_servable(ip_type: u8, ip: u128) -> bool {
    match ip_type {
        4 => ip < u128::from(u32::MAX) && ip != u128::from(u32::from(Ipv4Addr::LOCALHOST)),
        _ => ip != 1 && ip != u128::MAX,
    }
}

impl<T: Config> Pallet<T> {
    /// The first rule that publishing this endpoint now would break.
    ///
    /// # Errors
    /// The dispatch error of that rule.
    pub fn check_serve_axon(hotkey: &T::AccountId, netuid: NetUid, axon: &AxonInfo) -> Result<(), Error<T>> {
        Self::ensure_serving_neuron(hotkey, netuid)?;
        ensure!(matches!(axon.ip_type, 4 | 6), Error::<T>::InvalidIpType);
        ensure!(is_servable(axon.ip_type, axon.ip), Error::<T>::InvalidIpAddress);
        let served_at = Axons::<T>::get(netuid, hotkey).map_or(0, |previous| previous.block);
        Self::ensure_serving_rate(netuid, served_at)?;
        ensure!(axon.port != 0, Error::<T>::InvalidPort);
        Ok(())
    }

    /// The first rule that publishing this metrics endpoint now would break. Unlike for an endpoint, the address comes
    /// first and must not be 0.
    ///
    /// # Errors
    /// The dispatch error of that rule.
    pub fn check_serve_prometheus(
        hotkey: &T::AccountId,
        netuid: NetUid,
        endpoint: &PrometheusInfo,
    ) -> Result<(), Error<T>> {
        ensure!(matches!(endpoint.ip_type, 4 | 6), Error::<T>::InvalidIpType);
        let is_address = endpoint.ip != 0 && is_servable(endpoint.ip_type, endpoint.ip);
        ensure!(is_address, Error::<T>::InvalidIpAddress);
        Self::ensure_serving_neuron(hotkey, netuid)?;
        let served_at = Prometheus::<T>::get(netuid, hotkey).map_or(0, |previous| previous.block);
        Self::ensure_serving_rate(netuid, served_at)?;
        ensure!(endpoint.port != 0, Error::<T>::InvalidPort);
        Ok(())
    }

    fn ensure_serving_neuron(hotkey: &T::AccountId, netuid: NetUid) -> Result<(), Error<T>> {
        ensure!(Uids::<T>::contains_key(netuid, hotkey), Error::<T>::HotKeyNotRegisteredInNetwork);
        Ok(())
    }

    fn ensure_serving_rate(netuid: NetUid, served_at: u64) -> Result<(), Error<T>> {
        let limit = ServingRateLimit::<T>::get(netuid);
        let may_change = limit == 0 || served_at == 0 || Self::block_now().saturating_sub(served_at) >= limit;
        ensure!(may_change, Error::<T>::ServingRateLimitExceeded);
        Ok(())
    }

    /// Publishes an endpoint. A certificate is a byte for its algorithm and the public key; the public chain drops one that
    /// it cannot keep without a word, and keeps the one before.
    pub(super) fn do_serve_axon(
        hotkey: &T::AccountId,
        netuid: NetUid,
        axon: AxonInfo,
        certificate: Option<&[u8]>,
    ) -> DispatchResult {
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        Self::check_serve_axon(hotkey, netuid, &axon)?;
        if let Some(certificate) = certificate.and_then(NeuronCertificate::parse) {
            NeuronCertificates::<T>::insert(netuid, hotkey, certificate);
        }
        Axons::<T>::insert(netuid, hotkey, AxonInfo { block: Self::block_now(), ..axon });
        Self::deposit_event(Event::AxonServed(netuid, hotkey.clone()));
        Ok(())
    }

    pub(super) fn do_serve_prometheus(
        hotkey: &T::AccountId,
        netuid: NetUid,
        endpoint: PrometheusInfo,
    ) -> DispatchResult {
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        Self::check_serve_prometheus(hotkey, netuid, &endpoint)?;
        let endpoint = PrometheusInfo { block: Self::block_now(), ..endpoint };
        Prometheus::<T>::insert(netuid, hotkey, endpoint);
        Self::deposit_event(Event::PrometheusServed(netuid, hotkey.clone()));
        Ok(())
    }
}
