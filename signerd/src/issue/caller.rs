//! Whether anybody still waits for an answer.
//!
//! What was judged for a caller that has gone is not intended: its repeat begins anew, and the HSM is there for
//! those who wait. What was intended is finished all the same, so that no batch is cut in half.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The caller as the work sees it.
#[derive(Clone, Debug, Default)]
pub struct Caller(Arc<AtomicBool>);

/// The caller as its connection sees it: gone when this is dropped.
#[derive(Debug)]
pub struct Presence(Caller);

impl Caller {
    /// A caller that is here for as long as the presence is kept.
    #[must_use]
    pub fn here() -> (Self, Presence) {
        let caller = Self::default();
        (caller.clone(), Presence(caller))
    }

    /// Whether it has gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}
