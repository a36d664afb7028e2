//! What can go wrong with the ledger, sorted by who must act and whether repeating helps.
//!
//! In come the causes of the engine, out goes a closed list that `api` maps to status and code.
//! No variant carries anything of a request: no body, no identifier of a person, no pseudonym.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

/// The engine's own error, shared because one failed commit answers a whole group of callers.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why the ledger refused or failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another attempt took over, or the batch was released; the result of this one must be thrown
    /// away. Repeating the request finds the state that counts.
    #[error("attempt is no longer the current one of its batch")]
    AttemptSuperseded,
    /// The file or its folder is missing, or this user may not use it. Repeating helps after the
    /// operator has put it right.
    #[error("ledger {path} cannot be opened")]
    CannotOpen {
        /// The file that was to be opened.
        path: PathBuf,
        /// What the operating system or the engine said.
        #[source]
        source: Cause,
    },
    /// The ledger was closed, the process is on its way out. Repeating at the next start helps.
    #[error("ledger is closed")]
    Closed,
    /// The file or the database is not a ledger, or is damaged. Repeating does not help: restore the backup.
    #[error("ledger is damaged: {what}")]
    Corrupt {
        /// What was found.
        what: &'static str,
        /// What the engine said, where it was the engine that noticed.
        #[source]
        source: Option<Cause>,
    },
    /// The engine refused a statement that this program made. Repeating does not help: report it.
    #[error("ledger statement failed")]
    Fault {
        /// What the engine said.
        #[source]
        source: Cause,
    },
    /// Another process holds the ledger. Repeating helps once that process has ended.
    #[error("ledger {path} is in use by another process")]
    InUse {
        /// The lock file that the other process holds.
        path: PathBuf,
    },
    /// An open intent was to be replaced by a different one without releasing it first. Repeating
    /// does not help: it is a mistake of the caller inside this program.
    #[error("intent differs from the one that is open for the batch")]
    IntentDiffers,
    /// A value is outside what the ledger may store. Repeating does not help: it is a mistake of
    /// the caller inside this program.
    #[error("{0}")]
    Malformed(&'static str),
    /// The token's secret is another one than that of the doses in the ledger, so that none of them would
    /// be recognised. Repeating helps once the right token, label and mechanism are configured.
    #[error(
        "ledger belongs to another secret of the token than [secret] of hsm.toml names: put the right one \
         back; a new secret needs a new ledger"
    )]
    OtherSecret,
    /// More callers wait than the queue holds. Repeating a little later helps.
    #[error("ledger queue is full")]
    Overloaded,
    /// A newer release has written the file or the database. Repeating does not help: install that release.
    #[error("ledger schema {found} is newer than {known}, the newest this program knows")]
    SchemaTooNew {
        /// The version that the file carries.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The ledger cannot be written now: disk full, read-only, busy, an I/O error, a file that was
    /// moved away, a server that is not there. Repeating helps as soon as the disk or the server is
    /// back; nothing was stored, unless it was the very commit whose outcome was lost.
    #[error("ledger cannot be written: {what}")]
    Unavailable {
        /// What stands in the way.
        what: &'static str,
        /// What the engine said, where it was the engine that noticed.
        #[source]
        source: Option<Cause>,
    },
}

impl LedgerError {
    /// Says who has to act.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::AttemptSuperseded | Self::Closed | Self::Overloaded => Blame::Nobody,
            Self::CannotOpen { .. }
            | Self::Corrupt { .. }
            | Self::InUse { .. }
            | Self::OtherSecret
            | Self::SchemaTooNew { .. }
            | Self::Unavailable { .. } => Blame::Operator,
            Self::Fault { .. } | Self::IntentDiffers | Self::Malformed(_) => Blame::Bug,
        }
    }

    /// Says whether the same request may succeed later without anybody changing it.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::AttemptSuperseded
            | Self::CannotOpen { .. }
            | Self::Closed
            | Self::InUse { .. }
            | Self::OtherSecret
            | Self::Overloaded
            | Self::Unavailable { .. } => Retry::Later,
            Self::Corrupt { .. }
            | Self::Fault { .. }
            | Self::IntentDiffers
            | Self::Malformed(_)
            | Self::SchemaTooNew { .. } => Retry::Never,
        }
    }
}

/// Who has to act on an error of the ledger.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Blame {
    /// Nobody: load or a take-over, it passes by itself.
    Nobody,
    /// Whoever runs the appliance.
    Operator,
    /// Whoever writes this program.
    Bug,
}

/// Whether repeating a request helps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Retry {
    /// The same request may succeed later.
    Later,
    /// The same request fails again.
    Never,
}

#[cfg(test)]
mod tests {
    use super::{Blame, LedgerError, Retry};

    #[test]
    fn an_error_prints_its_own_level_and_keeps_its_cause() {
        // The text names one level; the cause is the source, so that a chain prints each level once.
        let error = LedgerError::Unavailable {
            what: "disk is full",
            source: Some(std::sync::Arc::new(std::io::Error::other("no space"))),
        };
        assert_eq!(error.to_string(), "ledger cannot be written: disk is full");
        let source = std::error::Error::source(&error).expect("a source");
        assert_eq!(source.to_string(), "no space");
        assert_eq!((error.blame(), error.retry()), (Blame::Operator, Retry::Later));
    }
}
