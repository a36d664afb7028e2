//! Signatures from a PKCS#11 token, made by worker processes that can be lost at any time.
//!
//! In go the name of a key and digests, out come signatures in the same order, or an
//! [`HsmError`] before the request's deadline. [`Pool`] is the front's side: it starts workers one
//! after the other, spreads small chunks over them, gives a lost worker's chunks to another one and
//! restarts it. [`worker`] is the other process, the only place that loads the vendor's module and
//! the only one that reads the PIN. [`ipc`](self) is what they say to each other.
//!
//! ```text
//!   Pool::sign ──► dispatch (bounded, fair) ──► link 1 ══ socket ══► worker 1: session threads
//!                                          └──► link 2 ══ socket ══► worker 2: session threads
//! ```
//!
//! It promises that no request hangs and that a wrong PIN is tried once. It does not decide what
//! may be signed, and it does not verify signatures: who releases them does both.

mod dispatch;
mod errand;
mod error;
pub(crate) mod ipc;
mod latch;
mod link;
mod pool;
pub mod probe;
pub mod speed;
mod start;
mod turns;
pub mod worker;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use secrecy::SecretBox;

pub use errand::Errand;
pub use errand::ErrandError;
pub use errand::VERB as ERRAND_VERB;
pub use errand::workers_running;
pub use error::Blame;
pub use error::HsmError;
pub use error::Retry;
pub use ipc::FaultKind;
pub use latch::clear_pin_latch;
pub use pool::Pool;

/// What the pool tells whoever counts; every method does nothing unless overridden.
///
/// The methods are called on the runtime's threads and must not block.
pub trait HsmEvents: Send + Sync + 'static {
    /// So many workers are live now.
    fn workers_live(&self, _live: usize) {}
    /// A worker was started again after a fault.
    fn worker_restarted(&self) {}
    /// A worker reported or suffered a fault.
    fn worker_fault(&self, _kind: FaultKind) {}
    /// A chunk was signed; `took` is the time inside the worker.
    fn signed(&self, _key: &str, _signatures: usize, _took: Duration) {}
    /// A request waited that long until the first of its digests went to a worker.
    fn queue_waited(&self, _wait: Duration) {}
}

/// Events that nobody counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl HsmEvents for Unobserved {}

/// How the pool is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Workers that sign now.
    pub live: usize,
    /// Workers that should sign.
    pub configured: usize,
    /// The tokens that refused the PIN, counted from 0; nobody tries there again.
    pub pin_latched: BTreeSet<usize>,
    /// The last fault of a worker, until all are live again; for operators, never for clients.
    pub fault: Option<String>,
}

/// Length of the token's secret.
pub const TOKEN_SECRET_BYTES: usize = 32;

/// A secret that only who can use the token can have; the ledger's keys are derived from it.
///
/// Clones share one copy, which is wiped with the last of them.
#[derive(Clone)]
pub struct TokenSecret(Arc<SecretBox<[u8; TOKEN_SECRET_BYTES]>>);

impl TokenSecret {
    /// Wraps the bytes; for the pool and for tests of who uses the secret.
    #[must_use]
    pub fn new(bytes: [u8; TOKEN_SECRET_BYTES]) -> Self {
        Self(Arc::new(SecretBox::new(Box::new(bytes))))
    }

    /// The bytes themselves, to derive keys from and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &[u8; TOKEN_SECRET_BYTES] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret")
    }
}
