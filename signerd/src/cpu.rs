//! Work for the processor, kept off the threads that serve the network.
//!
//! Verifying, judging and packing take milliseconds per batch. They run on the `rayon` pool, one thread
//! per core, and the network threads only wait for them. Nothing that blocks on a disk, a lock or the
//! HSM belongs here.

use thiserror::Error;
use tokio::sync::oneshot;

/// The work ended without a result: the process is on its way out (a panic of the work would have ended
/// it at once). Nothing was released; a repeat helps after the restart.
#[derive(Debug, Error)]
#[error("work ended without a result")]
pub struct Lost;

/// Runs `work` on a processor thread and waits for it without blocking.
///
/// # Errors
/// [`Lost`], where the processor threads are gone before the work was done.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Lost> {
    let (done, result) = oneshot::channel();
    rayon::spawn(move || {
        // Nobody may be waiting any more; then the result is not needed.
        let _ = done.send(work());
    });
    result.await.map_err(|_| Lost)
}
