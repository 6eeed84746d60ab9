//! Bounds on connections: how many in all and from one address.
//!
//! A connection above its address's share is closed at once. Where all places are taken, the one that has been there longest
//! without a request that proved its sender makes way: so strangers who hold connections open, from however many addresses, keep
//! neither those out who come with a signature nor each other in. What an idle connection may cost is bounded by the server's
//! maximal age. An address is a whole /64 of IPv6, which is what one subscriber gets. Where the system itself is out of
//! descriptors the next connection is asked for after a pause: it waits in the kernel, and asking at once would only burn a core.
//!
//! Rejected: closing what comes on top of all. A thousand idle connections, which cost their owner nothing, then kept every
//! validator out that was not connected before.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use basilica_types::{Millis, subscriber};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::peer::{Opener, Peer};

/// Who is connected.
#[derive(Debug)]
pub(crate) struct Census {
    total: usize,
    per_address: usize,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    taken: usize,
    of_address: HashMap<IpAddr, usize>,
    /// Those without proof, in the order in which they came.
    unproven: BTreeMap<u64, CancellationToken>,
    next: u64,
}

impl Census {
    pub(crate) fn new(total: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self { total, per_address, places: Mutex::default() })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection from `address`, if need be that of another.
    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Arc<Place>> {
        let address = subscriber(address);
        let mut places = self.places();
        let here = places.of_address.get(&address).copied().unwrap_or(0);
        if here >= self.per_address {
            return None;
        }
        if places.taken >= self.total {
            // It is counted until it is gone, which is a moment; so many more than allowed can be there for that long.
            let (_, closing) = places.unproven.pop_first()?;
            closing.cancel();
            if places.taken >= self.total.saturating_mul(2) {
                return None;
            }
        }
        let (number, closing) = (places.next, CancellationToken::new());
        places.next += 1;
        places.taken += 1;
        places.of_address.insert(address, here + 1);
        places.unproven.insert(number, closing.clone());
        Some(Arc::new(Place { census: Arc::clone(self), address, number, closing }))
    }
}

/// The place of one connection.
#[derive(Debug)]
pub(crate) struct Place {
    census: Arc<Census>,
    address: IpAddr,
    number: u64,
    closing: CancellationToken,
}

impl Place {
    /// A request on this connection proved its sender: it makes way for nobody any more.
    pub(crate) fn prove(&self) {
        self.census.places().unproven.remove(&self.number);
    }

    /// Done once it has to make way.
    pub(crate) fn closing(&self) -> WaitForCancellationFutureOwned {
        self.closing.clone().cancelled_owned()
    }

    /// Whose connection it is: the address, or the /64 of IPv6.
    pub(crate) const fn subscriber(&self) -> IpAddr {
        self.address
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.census.places();
        places.taken -= 1;
        places.unproven.remove(&self.number);
        if let Some(count) = places.of_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                places.of_address.remove(&self.address);
            }
        }
    }
}

/// Where connections come from.
pub(crate) trait Accept {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>>;
}

impl Accept for TcpListener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        Self::poll_accept(self, cx)
    }
}

/// After an error of the listener, until it is asked again.
const PAUSE: Millis = Millis(100);

/// The connections of a listener, those above the bounds left out.
#[derive(Debug)]
pub(crate) struct Bounded<L> {
    listener: L,
    census: Arc<Census>,
    opener: Opener,
    /// Under way since the last error.
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
    /// Whether the last attempt failed; told once.
    failing: bool,
}

impl<L> Bounded<L> {
    pub(crate) const fn new(listener: L, census: Arc<Census>, opener: Opener) -> Self {
        Self { listener, census, opener, pause: None, failing: false }
    }
}

impl<L: Accept + Unpin> Stream for Bounded<L> {
    type Item = io::Result<Peer>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let (stream, address) = match std::task::ready!(self.listener.poll_accept(cx)) {
                Ok(accepted) => accepted,
                // Of one connection (aborted), or out of descriptors.
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(%error, "connections cannot be accepted; trying again until they can");
                    }
                    self.pause = Some(Box::pin(tokio::time::sleep(PAUSE.as_duration())));
                    continue;
                }
            };
            self.failing = false;
            let Some(place) = self.census.admit(address.ip()) else {
                tracing::debug!(peer.address = %address, "connection refused: too many");
                continue;
            };
            return Poll::Ready(Some(Ok(Peer::new(stream, place, self.opener.clone()))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio_stream::StreamExt as _;

    use super::*;

    /// A listener of a process that has no file descriptor left.
    #[derive(Default)]
    struct Exhausted(AtomicUsize);

    impl Accept for &Exhausted {
        fn poll_accept(&self, _: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Poll::Ready(Err(io::Error::other("too many open files")))
        }
    }

    #[tokio::test]
    async fn a_listener_that_fails_is_asked_again_after_a_pause() {
        let listener = Exhausted::default();
        let mut connections = Bounded::new(&listener, Census::new(1, 1), Opener::default());
        let limit = std::time::Duration::from_millis(350);
        assert!(tokio::time::timeout(limit, connections.next()).await.is_err(), "no error ends the server");
        // At once and after each pause that passed; a slow machine asks less often, never more.
        let asked = listener.0.load(Ordering::SeqCst);
        assert!((2..=4).contains(&asked), "{asked}");
    }

    #[test]
    fn a_subscribers_many_addresses_are_one() {
        let census = Census::new(10, 1);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let _first = census.admit(address("2001:db8:0:1::1")).unwrap();
        assert!(census.admit(address("2001:db8:0:1:ffff::2")).is_none());
        assert!(census.admit(address("2001:db8:0:2::1")).is_some());
        let _mapped = census.admit(address("::ffff:192.0.2.1")).unwrap();
        assert!(census.admit(address("192.0.2.1")).is_none());
        assert!(census.admit(address("::ffff:192.0.2.2")).is_some(), "mapped addresses are those of IPv4");
    }

    #[test]
    fn places_are_bounded_and_come_back() {
        let census = Census::new(3, 2);
        let (a, b): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = census.admit(a).unwrap();
        let _second = census.admit(a).unwrap();
        assert!(census.admit(a).is_none(), "one address has its own bound");
        let _third = census.admit(b).unwrap();
        drop(first);
        assert!(census.admit(b).is_some());
        assert_eq!(census.places().of_address.len(), 2);
    }

    #[test]
    fn who_has_proved_nothing_makes_way_the_oldest_first() {
        let census = Census::new(3, 2);
        let from = |last: u8| census.admit(IpAddr::from([192, 0, 2, last]));
        let places: Vec<_> = (1..=3).map(|last| from(last).unwrap()).collect();
        places[0].prove();
        let newcomer = from(4).unwrap();
        let closed = |places: &[Arc<Place>]| -> Vec<bool> {
            places.iter().map(|place| place.closing.is_cancelled()).collect()
        };
        assert_eq!(closed(&places), [false, true, false]);
        newcomer.prove();
        let _another = from(5).unwrap();
        assert_eq!(closed(&places), [false, true, true]);
        assert!(!newcomer.closing.is_cancelled());
    }

    #[test]
    fn where_all_have_proved_themselves_nobody_makes_way() {
        let census = Census::new(2, 1);
        let from = |last: u8| census.admit(IpAddr::from([192, 0, 2, last]));
        let places: Vec<_> = (1..=2).map(|last| from(last).unwrap()).collect();
        places.iter().for_each(|place| place.prove());
        assert!(from(3).is_none());
        drop(places);
        assert!(from(3).is_some());
    }

    #[test]
    fn connections_that_do_not_go_when_told_are_bounded_too() {
        let census = Census::new(2, 1);
        let places: Vec<_> = (1..=9).map(|last| census.admit(IpAddr::from([192, 0, 2, last]))).collect();
        assert_eq!(places.iter().flatten().count(), 4);
    }
}
