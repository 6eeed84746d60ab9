//! How many connections each peer has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use basilica_types::subscriber;

/// Who is connected how often.
#[derive(Debug)]
pub(super) struct Peers {
    most: usize,
    /// Proxies: their connections are those of many.
    exempt: BTreeSet<IpAddr>,
    open: Mutex<BTreeMap<IpAddr, usize>>,
}

impl Peers {
    pub(super) fn new(most: usize, exempt: BTreeSet<IpAddr>) -> Arc<Self> {
        Arc::new(Self { most, exempt, open: Mutex::default() })
    }

    /// A place for one more connection from there; none if there are too many already.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let peer = peer.to_canonical();
        if self.exempt.contains(&peer) {
            return Some(Place(None));
        }
        let peer = subscriber(peer);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let here = open.entry(peer).or_default();
        if *here >= self.most {
            return None;
        }
        *here += 1;
        Some(Place(Some((Arc::clone(self), peer))))
    }
}

/// One admitted connection.
#[derive(Debug)]
pub(super) struct Place(Option<(Arc<Peers>, IpAddr)>);

impl Drop for Place {
    fn drop(&mut self) {
        let Some((peers, peer)) = &self.0 else { return };
        let mut open = peers.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = open.get_mut(peer) {
            *here -= 1;
            if *here == 0 {
                open.remove(peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_peer_has_its_places_and_gets_them_back() {
        let peers = Peers::new(2, BTreeSet::from([at("10.0.0.9")]));
        let held = [peers.admit(at("198.51.100.1")), peers.admit(at("::ffff:198.51.100.1"))];
        assert!(held.iter().all(Option::is_some) && peers.admit(at("198.51.100.1")).is_none());
        assert!(peers.admit(at("198.51.100.2")).is_some());
        let of_proxy: Vec<_> = (0..9).map(|_| peers.admit(at("10.0.0.9"))).collect();
        assert!(of_proxy.iter().all(Option::is_some), "a proxy's connections are those of many");
        drop(held);
        assert!(peers.admit(at("198.51.100.1")).is_some());
        assert!(peers.open.lock().unwrap().is_empty(), "nobody is remembered who has left");
    }
}
