//! Streams that end by themselves: reflection, which anybody may ask for and nobody needs for long.
//!
//! A call of reflection is a stream in both directions that ends when its caller says so, and keeps a task and a message of its caller's
//! size meanwhile. Here it ends after a time and after a number of messages, told why (`DEADLINE_EXCEEDED`, `RESOURCE_EXHAUSTED`), and only
//! so many are open at once, few of them of one address: who takes no answers at all keeps its streams until its connection ends (there
//! is nobody to be told), and must not have all of them.
//!
//! It stands around the generated service as HTTP, because the messages of a request can be ended nowhere else: the service keeps
//! reading them after its answer was given up.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use basilica_types::Millis;
use http_body::Frame;
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::codegen::{BoxFuture, Bytes, Service};
use tonic::server::NamedService;

use crate::connections::Place;

/// What reflection may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BriefLimits {
    /// Until a stream ends.
    pub within: Millis,
    /// Messages that a caller may send on one stream.
    pub messages: u32,
    /// Streams at the same time, over all connections.
    pub streams: usize,
    /// Of these, of one address, or of one /64 of IPv6.
    pub streams_per_address: usize,
}

impl Default for BriefLimits {
    fn default() -> Self {
        // A tool that shows everything asks once for the list and once for each file, of which there are few.
        Self { within: Millis::from_secs(30), messages: 128, streams: 64, streams_per_address: 8 }
    }
}

/// Calls of a service, each within its bounds.
#[derive(Clone, Debug)]
pub(crate) struct Brief<S> {
    inner: S,
    slots: Arc<Slots>,
}

impl<S> Brief<S> {
    /// `slots` may be those of other services too.
    pub(crate) const fn new(inner: S, slots: Arc<Slots>) -> Self {
        Self { inner, slots }
    }
}

/// Room for streams.
#[derive(Debug)]
pub(crate) struct Slots {
    limits: BriefLimits,
    taken: Mutex<HashMap<Option<IpAddr>, usize>>,
}

impl Slots {
    pub(crate) fn new(limits: BriefLimits) -> Arc<Self> {
        Arc::new(Self { limits, taken: Mutex::default() })
    }

    /// The map is whole after every statement.
    fn taken(&self) -> MutexGuard<'_, HashMap<Option<IpAddr>, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one more of this address, which is none behind something of a test.
    fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Slot> {
        let BriefLimits { streams, streams_per_address, .. } = self.limits;
        let mut taken = self.taken();
        let here = taken.get(&address).copied().unwrap_or(0);
        if here >= streams_per_address || taken.values().sum::<usize>() >= streams {
            return None;
        }
        taken.insert(address, here + 1);
        Some(Slot { slots: Arc::clone(self), address })
    }
}

/// The room of one stream.
#[derive(Debug)]
struct Slot {
    slots: Arc<Slots>,
    address: Option<IpAddr>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        if let Some(here) = taken.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

impl<S: NamedService> NamedService for Brief<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Brief<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let place = request.extensions().get::<Arc<Place>>();
        let Some(slot) = self.slots.take(place.map(|place| place.subscriber())) else {
            let refused = Status::resource_exhausted("too many streams of reflection; try again later");
            return Box::pin(std::future::ready(Ok(refused.into_http())));
        };
        let limits = self.slots.limits;
        let call = Arc::new(Call { limits, over: OnceLock::new(), _slot: slot });
        let until = Instant::now() + limits.within.as_duration();
        let end = || Box::pin(tokio::time::sleep_until(until));
        let (asked, answered) = ((Arc::clone(&call), end()), (call, end()));
        let answer = self.inner.call(request.map(|body| {
            let (call, end) = asked;
            Body::new(Asked { part: Part { body, call, end }, messages: Messages::default() })
        }));
        Box::pin(async move {
            let (call, end) = answered;
            let answer = answer.await?;
            Ok(answer.map(|body| Body::new(Answered { part: Part { body, call, end }, is_told: false })))
        })
    }
}

/// What both directions of a call know.
struct Call {
    limits: BriefLimits,
    /// Why it ended before its caller ended it.
    over: OnceLock<Over>,
    _slot: Slot,
}

#[derive(Clone, Copy, Debug)]
enum Over {
    Time,
    Messages,
}

impl Call {
    fn end(&self, why: Over) -> Status {
        let BriefLimits { within, messages, .. } = self.limits;
        match self.over.get_or_init(|| why) {
            Over::Time => Status::deadline_exceeded(format!("reflection ends after {within}; call again")),
            Over::Messages => {
                Status::resource_exhausted(format!("reflection ends after {messages} messages; call again"))
            }
        }
    }
}

/// One direction of a call.
struct Part {
    body: Body,
    call: Arc<Call>,
    end: Pin<Box<Sleep>>,
}

/// What the caller sends.
struct Asked {
    part: Part,
    messages: Messages,
}

impl http_body::Body for Asked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { part, messages } = &mut *self;
        if part.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(part.call.end(Over::Time))));
        }
        let frame = ready!(http_body::Body::poll_frame(Pin::new(&mut part.body), cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            messages.read(data);
        }
        if messages.begun > part.call.limits.messages {
            return Poll::Ready(Some(Err(part.call.end(Over::Messages))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.part.body.is_end_stream()
    }
}

/// Counts the messages of gRPC in bytes that come in pieces of any size.
#[derive(Debug, Default)]
struct Messages {
    begun: u32,
    /// Of the five bytes before a message: a flag, and the length.
    header: usize,
    length: u32,
    /// Bytes of the message that are still to come.
    rest: u32,
}

impl Messages {
    const HEADER: usize = 5;

    fn read(&mut self, mut data: &[u8]) {
        while let Some((first, after)) = data.split_first() {
            if self.rest > 0 {
                let taken = usize::try_from(self.rest).map_or(data.len(), |rest| rest.min(data.len()));
                // No more than `rest`, which has this type.
                self.rest -= u32::try_from(taken).unwrap_or(self.rest);
                data = &data[taken..];
                continue;
            }
            if self.header == 0 {
                self.begun = self.begun.saturating_add(1);
            } else {
                self.length = self.length << 8 | u32::from(*first);
            }
            self.header += 1;
            if self.header == Self::HEADER {
                (self.rest, self.length, self.header) = (self.length, 0, 0);
            }
            data = after;
        }
    }
}

/// What is answered.
struct Answered {
    part: Part,
    is_told: bool,
}

impl Answered {
    /// The last word: the status of a call that was ended.
    fn tell(&mut self, why: Over) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.is_told = true;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(
            self.part.call.end(why).add_header(&mut trailers).map(|()| Frame::trailers(trailers)),
        ))
    }
}

impl http_body::Body for Answered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_told {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.part.body).poll_frame(cx) {
            // Answers that are there are given first.
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(end) => match self.part.call.over.get().copied() {
                Some(why) => self.tell(why),
                None => Poll::Ready(end),
            },
            Poll::Pending => {
                ready!(self.part.end.as_mut().poll(cx));
                self.tell(Over::Time)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_has_all_the_room() {
        let slots = Slots::new(BriefLimits { streams: 3, streams_per_address: 2, ..BriefLimits::default() });
        let take = |last: u8| slots.take(Some(IpAddr::from([192, 0, 2, last])));
        let (first, second) = (take(1).unwrap(), take(1).unwrap());
        assert!(take(1).is_none());
        let other = take(2).unwrap();
        assert!(take(3).is_none(), "all is taken");
        drop(first);
        let again = take(1).unwrap();
        assert!(take(2).is_none());
        drop((second, other, again));
        assert!(slots.taken().is_empty());
    }

    #[test]
    fn messages_are_counted_however_their_bytes_are_cut() {
        let mut bytes = Vec::new();
        for length in [0, 3, 0, 300, 1_u32] {
            bytes.push(0);
            bytes.extend(length.to_be_bytes());
            bytes.extend((0..length).map(|_| 0xff));
        }
        for size in 1..=bytes.len() {
            let mut messages = Messages::default();
            bytes.chunks(size).for_each(|piece| messages.read(piece));
            assert_eq!((messages.begun, messages.header, messages.rest), (5, 0, 0), "in pieces of {size}");
            messages.read(&[0]);
            assert_eq!(messages.begun, 6, "one that has begun counts");
        }
    }
}
