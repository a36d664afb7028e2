//! Work for the processor, kept off the threads that serve the network.
//!
//! Verifying, judging and packing take milliseconds per batch. They run on threads of their own, one per core
//! for [short](Length::Short) work and one per core for [long](Length::Long) work, and the network threads only
//! wait for them. Between the two kinds the kernel shares the processor out, so that a few certificates, and a
//! chunk that the HSM has signed, do not wait until a thousand records are judged. What takes only a
//! [moment](Length::Moment) is done where it is: waking another thread and being woken takes as long. All these
//! threads step back behind the others. Nothing that blocks on a disk, a lock or the HSM belongs here.

use std::sync::LazyLock;

use rayon::{ThreadPool, ThreadPoolBuilder};
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use thiserror::Error;
use tokio::sync::oneshot;

/// The work ended without a result: the process is on its way out (a panic of the work would have ended
/// it at once). Nothing was released; a repeat helps after the restart.
#[derive(Debug, Error)]
#[error("work ended without a result")]
pub struct Lost;

/// How long work takes at most, roughly.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Length {
    /// A few tenths of a millisecond.
    Moment,
    /// A few milliseconds.
    Short,
    /// As long as a batch is large.
    Long,
}

/// So many items, of a tenth of a millisecond each, take a moment; fewer are not worth another thread, so
/// iterators do not split them up.
pub const MOMENT_ITEMS: usize = 2;
/// So many are short: a chunk of certificates.
const SHORT_ITEMS: usize = 64;
/// So many bytes are encrypted or digested in a moment: a gigabyte takes a second at worst.
const MOMENT_BYTES: usize = 131_072;

impl Length {
    /// Of what has a signature to be verified for each of so many records or certificates.
    #[must_use]
    pub const fn of_items(items: usize) -> Self {
        if items <= MOMENT_ITEMS {
            Self::Moment
        } else if items <= SHORT_ITEMS {
            Self::Short
        } else {
            Self::Long
        }
    }

    /// Of what goes once over so many bytes.
    #[must_use]
    pub const fn of_bytes(bytes: usize) -> Self {
        if bytes <= MOMENT_BYTES { Self::Moment } else { Self::Short }
    }
}

/// How far threads step back (`nice(2)`) behind those that answer the network and the HSM, which need the
/// processor seldom and for a moment, but then at once; and long work behind the short.
const SHORT_NICE: i32 = 5;
const LONG_NICE: i32 = 10;

static SHORT: LazyLock<Option<ThreadPool>> = LazyLock::new(|| threads("certify", SHORT_NICE));
static LONG: LazyLock<Option<ThreadPool>> = LazyLock::new(|| threads("judge", LONG_NICE));

/// Threads of one kind; none where the system gives no more, and then `rayon`'s own have to do, which costs
/// time and nothing else.
fn threads(name: &'static str, nice: i32) -> Option<ThreadPool> {
    let threads = ThreadPoolBuilder::new().thread_name(move |_| name.to_owned());
    let threads = threads.start_handler(move |_| step_back(nice));
    threads.build().inspect_err(|e| log::warn!("no threads \"{name}\": {e}")).ok()
}

/// Where a sandbox forbids it, the HSM now and then waits for a chunk a few milliseconds longer.
fn step_back(nice: i32) {
    if let Err(error) = setpriority_process(Some(gettid()), nice) {
        log::debug!("threads for the processor have the priority of all others: {error}");
    }
}

/// Runs `work`, on a processor thread unless it takes but a moment, and waits for it without blocking.
///
/// Iterators of `rayon` within it use the threads of the same kind.
///
/// # Errors
/// [`Lost`], where the processor threads are gone before the work was done.
pub async fn run<T: Send + 'static>(
    length: Length,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Lost> {
    if length == Length::Moment {
        return Ok(work());
    }
    let (done, result) = oneshot::channel();
    let work = move || {
        // Nobody may be waiting any more; then the result is not needed.
        let _ = done.send(work());
    };
    let threads = if length == Length::Long { &LONG } else { &SHORT };
    match threads.as_ref() {
        Some(threads) => threads.spawn(work),
        None => rayon::spawn(work),
    }
    result.await.map_err(|_| Lost)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn short_work_does_not_wait_for_long_work() {
        // All threads for long work are held until the short work is done: it is done nevertheless.
        let mut long = Vec::new();
        let mut holds = Vec::new();
        for _ in 0..4 * rayon::current_num_threads() {
            let (hold, held) = mpsc::channel::<()>();
            holds.push(hold);
            long.push(tokio::spawn(run(Length::Long, move || held.recv().is_err())));
        }
        assert_eq!(run(Length::Short, || 1).await.unwrap(), 1);
        drop(holds);
        for done in long {
            assert!(done.await.unwrap().unwrap());
        }
    }

    #[tokio::test]
    async fn a_moment_is_spent_here_and_everything_longer_elsewhere() {
        let here = thread::current().id();
        for (length, is_here) in
            [(Length::Moment, true), (Length::Short, false), (Length::Long, false)]
        {
            let there = run(length, || thread::current().id()).await.unwrap();
            assert_eq!(there == here, is_here, "{length:?}");
        }
    }

    #[test]
    fn one_certificate_takes_a_moment_and_a_chunk_is_short() {
        let lengths = [0, 1, 2, 3, 64, 65, 1_000].map(Length::of_items);
        let [a_moment, short, long] = [Length::Moment, Length::Short, Length::Long];
        assert_eq!(lengths, [a_moment, a_moment, a_moment, short, short, long, long]);
        assert_eq!([5_000, 4_000_000].map(Length::of_bytes), [a_moment, short]);
    }
}
