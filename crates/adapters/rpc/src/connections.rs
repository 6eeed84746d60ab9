//! Bounds on connections: how many in all and from one address.
//!
//! A connection above its address's share is closed at once. Where all places are taken, one makes way that has sent no request that
//! proved its sender: of the address with the most of these, the one that has been there longest. So strangers who hold connections
//! open, or open ever new ones, from however many addresses, keep neither those out who come with a signature nor each other in, and
//! who comes from an address of its own makes way last. A signature keeps only so many connections of one hotkey ([`PROVEN`]): beyond that its
//! oldest counts like a stranger's again. What an idle connection may cost is bounded by the server's maximal age.
//! An address is a whole /64 of IPv6, which is what one subscriber gets. Where the system itself is out of
//! descriptors the next connection is asked for after a pause: it waits in the kernel, and asking at once would only burn a core.
//!
//! Rejected: closing what comes on top of all. A thousand idle connections, which cost their owner nothing, then kept every
//! validator out that was not connected before. Closing the oldest of all: whoever opens connections fast enough pushes everybody else
//! out before their first request is read.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use basilica_types::{Hotkey, Millis, subscriber};
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

/// Connections that the requests of one hotkey keep: a validator has one, and another while it restarts.
const PROVEN: usize = 8;

#[derive(Debug, Default)]
struct Places {
    taken: usize,
    of_address: HashMap<IpAddr, Here>,
    /// Whose requests keep which connections, the oldest first.
    proven: BTreeMap<Hotkey, VecDeque<Proven>>,
    next: u64,
}

/// The connections of one address.
#[derive(Debug, Default)]
struct Here {
    count: usize,
    /// Those that nobody's request keeps, in the order in which they came.
    unproven: BTreeMap<u64, CancellationToken>,
}

#[derive(Debug)]
struct Proven {
    address: IpAddr,
    number: u64,
    closing: CancellationToken,
}

impl Places {
    /// Tells the connection that is worth least to close; none if each is kept by a request.
    fn evict(&mut self) -> Option<()> {
        let crowd = |here: &&mut Here| {
            let oldest = here.unproven.first_key_value().map_or(0, |(number, _)| *number);
            (here.unproven.len(), std::cmp::Reverse(oldest))
        };
        let most = self.of_address.values_mut().max_by_key(crowd)?;
        // It is counted until it is gone, which is a moment.
        let (_, closing) = most.unproven.pop_first()?;
        closing.cancel();
        Some(())
    }

    /// A hotkey's request keeps a connection; its oldest, if these are too many, is kept no longer.
    fn prove(&mut self, address: IpAddr, number: u64, by: Hotkey) {
        let unproven = self.of_address.get_mut(&address).and_then(|here| here.unproven.remove(&number));
        let Some(closing) = unproven else { return };
        let kept = self.proven.entry(by).or_default();
        kept.push_back(Proven { address, number, closing });
        if kept.len() > PROVEN
            && let Some(oldest) = kept.pop_front()
            && let Some(here) = self.of_address.get_mut(&oldest.address)
        {
            here.unproven.insert(oldest.number, oldest.closing);
        }
    }

    fn forget(&mut self, address: IpAddr, number: u64, by: Option<&Hotkey>) {
        self.taken -= 1;
        if let Some(here) = self.of_address.get_mut(&address) {
            here.count -= 1;
            here.unproven.remove(&number);
            if here.count == 0 {
                self.of_address.remove(&address);
            }
        }
        let Some(by) = by else { return };
        if let Some(kept) = self.proven.get_mut(by) {
            kept.retain(|proven| proven.number != number);
            if kept.is_empty() {
                self.proven.remove(by);
            }
        }
    }
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
        let here = places.of_address.get(&address).map_or(0, |here| here.count);
        if here >= self.per_address {
            return None;
        }
        if places.taken >= self.total {
            places.evict()?;
            // So many more than allowed can be there until those that were told to have gone.
            if places.taken >= self.total.saturating_mul(2) {
                return None;
            }
        }
        let (number, closing) = (places.next, CancellationToken::new());
        places.next += 1;
        places.taken += 1;
        let here = places.of_address.entry(address).or_default();
        here.count += 1;
        here.unproven.insert(number, closing.clone());
        Some(Arc::new(Place { census: Arc::clone(self), address, number, closing, by: OnceLock::new() }))
    }
}

/// The place of one connection.
#[derive(Debug)]
pub(crate) struct Place {
    census: Arc<Census>,
    address: IpAddr,
    number: u64,
    closing: CancellationToken,
    /// Whose request kept it first.
    by: OnceLock<Hotkey>,
}

impl Place {
    /// A request on this connection proved its sender: it makes way for nobody any more, unless that sender has many.
    pub(crate) fn prove(&self, sender: Hotkey) {
        // One connection counts for one hotkey, whoever else speaks over it.
        let by = *self.by.get_or_init(|| sender);
        self.census.places().prove(self.address, self.number, by);
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
        self.census.places().forget(self.address, self.number, self.by.get());
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

    fn hotkey(seed: u8) -> Hotkey {
        Hotkey::from_bytes([seed; 32])
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
        places[0].prove(hotkey(1));
        let newcomer = from(4).unwrap();
        let closed = |places: &[Arc<Place>]| -> Vec<bool> {
            places.iter().map(|place| place.closing.is_cancelled()).collect()
        };
        assert_eq!(closed(&places), [false, true, false]);
        newcomer.prove(hotkey(2));
        let _another = from(5).unwrap();
        assert_eq!(closed(&places), [false, true, true]);
        assert!(!newcomer.closing.is_cancelled());
    }

    #[test]
    fn where_all_have_proved_themselves_nobody_makes_way() {
        let census = Census::new(2, 1);
        let from = |last: u8| census.admit(IpAddr::from([192, 0, 2, last]));
        let places: Vec<_> = (1..=2).map(|last| from(last).unwrap()).collect();
        (0..).zip(&places).for_each(|(n, place)| place.prove(hotkey(n)));
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

    #[test]
    fn who_crowds_makes_way_before_who_comes_alone() {
        let census = Census::new(6, 4);
        let from = |last: u8| census.admit(IpAddr::from([192, 0, 2, last])).unwrap();
        let alone = from(1);
        let crowd: Vec<_> = (0..4).map(|_| from(2)).collect();
        let late = from(3);
        let newcomers: Vec<_> = (4..7).map(from).collect();
        let closed = |places: &[Arc<Place>]| places.iter().filter(|p| p.closing.is_cancelled()).count();
        assert_eq!((closed(&crowd), closed(&newcomers)), (3, 0));
        assert!(
            crowd[0].closing.is_cancelled() && !crowd[3].closing.is_cancelled(),
            "the oldest of the crowd"
        );
        assert!(!alone.closing.is_cancelled() && !late.closing.is_cancelled());
    }

    #[test]
    fn one_hotkey_keeps_only_so_many_connections() {
        let census = Census::new(2 * PROVEN, 2 * PROVEN);
        let from = |last: u8| census.admit(IpAddr::from([192, 0, 2, last]));
        let hoarded: Vec<_> = (0..2 * PROVEN).map(|_| from(1).unwrap()).collect();
        hoarded.iter().for_each(|place| place.prove(hotkey(1)));
        let others: Vec<_> = (2..2 + PROVEN).map(|n| from(u8::try_from(n).unwrap()).unwrap()).collect();
        let closed: Vec<bool> = hoarded.iter().map(|place| place.closing.is_cancelled()).collect();
        assert_eq!(closed, [[true; PROVEN], [false; PROVEN]].concat());
        // One that is used again is kept again, instead of another.
        others.iter().for_each(|place| place.prove(hotkey(2)));
        assert!(from(99).is_none(), "all that are left are kept");
        drop((hoarded, others));
        let places = census.places();
        assert!(places.of_address.is_empty() && places.proven.is_empty());
    }
}
