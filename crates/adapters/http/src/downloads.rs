//! Large files, sent part by part.
//!
//! A transcript has up to a dozen megabytes, anybody may ask for it, and a client that reads slowly asks for a while. So it is read
//! from the database in parts, the next one when the last one was taken, and only a few are under way at a time, fewer of one client:
//! what all of them hold at once is [`AT_ONCE`] parts and as many in the connections' buffers. **Rejected**: whole files under a bound on their bytes,
//! which a handful of slow clients would keep to themselves; and waiting for a place, which would let them fill the
//! places of requests as well.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use basilica_ports::{StoreError, TranscriptPart, ValidatorQueries};
use basilica_types::{Digest, ErrorChain};
use hyper::body::{Body, Bytes, Frame, SizeHint};

use crate::limit::Client;
use crate::problem::Refusal;

/// Downloads at a time.
const AT_ONCE: usize = 16;
/// Of these, of one client.
const OF_ONE_CLIENT: usize = 2;
/// Bytes of a part.
pub(crate) const PART: u32 = 512 * 1024;

/// Whose downloads are under way.
#[derive(Debug, Default)]
pub(crate) struct Downloads(Mutex<Vec<Client>>);

impl Downloads {
    /// A place for one more.
    pub(crate) fn admit(self: &Arc<Self>, client: Client) -> Result<Place, Refusal> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_this = under_way.iter().filter(|other| **other == client).count();
        let of_one = if client == Client::ApiKey { AT_ONCE } else { OF_ONE_CLIENT };
        if under_way.len() >= AT_ONCE || of_this >= of_one {
            let detail = format!(
                "{of_this} transcripts are being sent to this client and {} in all; come again when one is done",
                under_way.len()
            );
            return Err(Refusal::busy(detail));
        }
        under_way.push(client);
        Ok(Place { downloads: Arc::clone(self), client })
    }
}

/// One admitted download.
#[derive(Debug)]
pub(crate) struct Place {
    downloads: Arc<Downloads>,
    client: Client,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.downloads.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = under_way.iter().position(|client| *client == self.client) {
            under_way.swap_remove(place);
        }
    }
}

type Reading = Pin<Box<dyn Future<Output = Result<Option<TranscriptPart>, StoreError>> + Send>>;

/// A transcript on its way.
pub(crate) struct Transcript {
    queries: Arc<dyn ValidatorQueries>,
    digest: Digest,
    size: u64,
    /// Bytes that were read.
    read: u64,
    /// What was read and not yet taken.
    part: Option<Bytes>,
    reading: Option<Reading>,
    _place: Place,
}

impl Transcript {
    /// Reads the first part; none if it is not kept.
    pub(crate) async fn open(
        queries: Arc<dyn ValidatorQueries>,
        digest: Digest,
        place: Place,
    ) -> Result<Option<Self>, StoreError> {
        let Some(first) = queries.transcript(digest, 0, PART).await? else { return Ok(None) };
        let part = Bytes::from(first.bytes);
        let (size, read) = (first.size, part.len() as u64);
        Ok(Some(Self { queries, digest, size, read, part: Some(part), reading: None, _place: place }))
    }

    fn next(&self) -> Reading {
        let (queries, digest, skip) = (Arc::clone(&self.queries), self.digest, self.read);
        Box::pin(async move { queries.transcript(digest, skip, PART).await })
    }
}

impl Body for Transcript {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(part) = self.part.take().filter(|part| !part.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        if self.read >= self.size {
            return Poll::Ready(None);
        }
        let mut reading = self.reading.take().unwrap_or_else(|| self.next());
        let Poll::Ready(result) = reading.as_mut().poll(cx) else {
            self.reading = Some(reading);
            return Poll::Pending;
        };
        let gone = || io::Error::new(io::ErrorKind::UnexpectedEof, "it is no longer kept");
        let part = match result {
            Ok(part) => part.map(|part| part.bytes).filter(|bytes| !bytes.is_empty()).ok_or_else(gone),
            Err(error) => {
                tracing::warn!(transcript = %self.digest, error = %ErrorChain(&error), "a transcript is cut off");
                Err(io::Error::other("the database cannot be asked"))
            }
        };
        // The client sees that it is short of the length that was announced.
        Poll::Ready(Some(part.map(|bytes| {
            self.read = self.read.saturating_add(bytes.len() as u64);
            Frame::data(Bytes::from(bytes))
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.part.is_none() && self.read >= self.size
    }

    fn size_hint(&self) -> SizeHint {
        let unsent = self.part.as_ref().map_or(0, |part| part.len() as u64);
        SizeHint::with_exact(self.size.saturating_sub(self.read).saturating_add(unsent))
    }
}
