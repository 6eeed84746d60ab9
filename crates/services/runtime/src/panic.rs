use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Longest part of a panic's message that is kept, in bytes.
const MESSAGE_LIMIT: usize = 1024;

/// Runs a future and turns its panic into an error that holds the panic's message.
///
/// Unwind safety is asserted: after a panic the future is dropped, never polled again, and what it shared with others
/// is behind locks that report poisoning or channels that report closing.
pub(crate) struct CatchPanic<F> {
    future: Pin<Box<F>>,
}

impl<F: Future> CatchPanic<F> {
    pub(crate) fn new(future: F) -> Self {
        Self { future: Box::pin(future) }
    }
}

impl<F: Future> Future for CatchPanic<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.future.as_mut();
        match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => Poll::Ready(Err(message(payload.as_ref()))),
        }
    }
}

/// What a panic said, as far as it is text.
pub(crate) fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message");
    text[..text.floor_char_boundary(MESSAGE_LIMIT)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_its_message() {
        assert_eq!(CatchPanic::new(async { 7 }).await, Ok(7));
        let long = "é".repeat(MESSAGE_LIMIT);
        let caught = CatchPanic::new(async { panic!("{long}") }).await;
        assert_eq!(caught.map(|()| 0), Err("é".repeat(MESSAGE_LIMIT / 2)));
    }
}
