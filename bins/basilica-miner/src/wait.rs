//! Telling a person in front of a terminal what a command waits for.

use std::io::IsTerminal as _;

use basilica_console as console;
use basilica_ports::Clock;
use basilica_system::SystemClock;
use basilica_types::Millis;

/// After which silence is explained.
const SILENCE: Millis = Millis::from_secs(2);

/// Does the work; where that takes longer than a person likes to look at nothing, says what is waited for.
pub(crate) async fn watched<T>(waits_for: &str, work: impl Future<Output = T>) -> T {
    let tell = |words: &str| {
        if std::io::stderr().is_terminal() {
            console::tell(words);
        }
    };
    telling(&SystemClock::new(), || tell(waits_for), work).await
}

async fn telling<T>(clock: &dyn Clock, tell: impl FnOnce(), work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = clock.sleep(SILENCE) => tell(),
    }
    work.await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use basilica_runtime_service::testing::VirtualClock;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn only_who_waits_for_long_is_told_and_gets_the_answer_all_the_same() {
        let (clock, told) = (VirtualClock::new(), Cell::new(0));
        let tell = || told.set(told.get() + 1);
        assert_eq!(telling(clock.as_ref(), tell, async { 1 }).await, 1);
        assert_eq!(told.get(), 0);
        let (answer, work) = oneshot::channel();
        let node = async {
            clock.sleepers(1).await;
            clock.advance(SILENCE);
            while told.get() == 0 {
                tokio::task::yield_now().await;
            }
            answer.send(2).unwrap();
        };
        let (done, ()) = tokio::join!(telling(clock.as_ref(), tell, work), node);
        assert_eq!((done, told.get()), (Ok(2), 1));
    }
}
