//! What can go wrong when the front wants signatures, and who can do something about it.
//!
//! One enum for the callers of [`crate::hsm::Pool`]. It carries operator detail for the log; the
//! answer to a client is made elsewhere from [`HsmError::blame`] and [`HsmError::retry`].

/// Why there are no signatures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HsmError {
    /// The pool is being stopped; retry at the next start of the daemon.
    #[error("the signing pool is closed")]
    Closed,
    /// Workers live, yet the request was not finished in its time; retry after some seconds.
    #[error("the signatures were not made within {deadline_ms} ms")]
    Deadline {
        /// The whole request's deadline in milliseconds.
        deadline_ms: u128,
    },
    /// No key of that name is configured or proved; retrying does not help.
    #[error("signing key \"{key}\" is not configured")]
    KeyUnknown {
        /// The name asked for.
        key: String,
    },
    /// The pool was started outside of an async runtime; a bug of the caller, never retry.
    #[error("the signing pool needs an async runtime")]
    NoRuntime,
    /// As many requests as allowed are waiting; retry after some seconds.
    #[error("{queue_max} batches are waiting for signatures, no more are taken")]
    Overloaded {
        /// The limit that was reached.
        queue_max: usize,
    },
    /// The token refused the PIN once, and nobody tries again; an operator must clear the latch.
    #[error("the token refused the pin, signing stands still until the latch is cleared")]
    PinLatched,
    /// No worker became live in time; retry after some seconds.
    #[error("no worker can sign: {fault}")]
    Unavailable {
        /// The last fault of a worker.
        fault: String,
    },
}

impl HsmError {
    /// Who can mend it.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Closed | Self::Overloaded { .. } | Self::PinLatched => Blame::Operator,
            Self::Deadline { .. } | Self::Unavailable { .. } => Blame::Hsm,
            Self::KeyUnknown { .. } | Self::NoRuntime => Blame::Bug,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Closed
            | Self::Deadline { .. }
            | Self::Overloaded { .. }
            | Self::PinLatched
            | Self::Unavailable { .. } => Retry::Later,
            Self::KeyUnknown { .. } | Self::NoRuntime => Retry::Never,
        }
    }
}

/// Whom an error of this module concerns; a client is never to blame for its HSM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// This program.
    Bug,
    /// The HSM or the way to it.
    Hsm,
    /// Who runs the appliance.
    Operator,
}

/// Whether trying again makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same request may succeed after some seconds.
    Later,
    /// The same request will fail again.
    Never,
}
