//! Places around every durable step, where a test ends the process.
//!
//! In goes the name of a place as the work passes it; nothing comes out. The product is built without
//! the feature `failpoints`: then passing a place is no code at all. With it, a binary of the tests
//! decides what happens where (`tests/src/bin/signerd-failing.rs`); whoever sets nothing up passes
//! every place unharmed. This module knows the places and nothing about what is done there.

/// A place, in the order in which a daemon and a batch pass them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// A step of a migration is written and not committed.
    MigrationWritten,
    /// A step of a migration is durable, the next one not begun.
    MigrationCommitted,
    /// The ledger is open, nothing was read from it.
    LedgerOpened,
    /// The log was held against its checkpoints; the start is not in it.
    LogChecked,
    /// A group is open, none of its commands has run.
    GroupOpened,
    /// A command of a group has run, the next one has not.
    GroupBetween,
    /// All commands of a group have run, nothing is durable.
    GroupWritten,
    /// A group is durable, none of its callers has heard of it.
    GroupCommitted,
    /// An intent is written and not committed.
    IntentWritten,
    /// An intent is durable, the HSM was not touched.
    IntentCommitted,
    /// A further attempt is written and not committed.
    ResumeWritten,
    /// A further attempt is durable, the HSM was not touched by it.
    ResumeCommitted,
    /// An intent that will not be continued is removed, the removal not committed.
    DiscardWritten,
    /// The removal is durable, the batch is not judged anew.
    DiscardCommitted,
    /// All signatures of a batch are there, none is stored.
    BatchSigned,
    /// An answer is written and not committed.
    AnswerWritten,
    /// An answer is durable and has not left.
    AnswerCommitted,
    /// A batch that failed is removed, the removal not committed.
    ReleaseWritten,
    /// The removal is durable, the client has not heard of the failure.
    ReleaseCommitted,
    /// The head of the log is known, the audit key has not signed it.
    CheckpointBegun,
    /// A checkpoint is signed and kept nowhere.
    CheckpointSigned,
    /// A checkpoint is in the ledger, and not in its file.
    CheckpointKept,
    /// A checkpoint is in the ledger and in its file.
    CheckpointFiled,
    /// The last batch is answered, the end is not in the log.
    StopDrained,
    /// The end is in the log and signed, the ledger still open.
    StopTold,
    /// The ledger is closed.
    StopClosed,
}

impl Place {
    /// Every place.
    pub const ALL: [Self; 26] = [
        Self::MigrationWritten,
        Self::MigrationCommitted,
        Self::LedgerOpened,
        Self::LogChecked,
        Self::GroupOpened,
        Self::GroupBetween,
        Self::GroupWritten,
        Self::GroupCommitted,
        Self::IntentWritten,
        Self::IntentCommitted,
        Self::ResumeWritten,
        Self::ResumeCommitted,
        Self::DiscardWritten,
        Self::DiscardCommitted,
        Self::BatchSigned,
        Self::AnswerWritten,
        Self::AnswerCommitted,
        Self::ReleaseWritten,
        Self::ReleaseCommitted,
        Self::CheckpointBegun,
        Self::CheckpointSigned,
        Self::CheckpointKept,
        Self::CheckpointFiled,
        Self::StopDrained,
        Self::StopTold,
        Self::StopClosed,
    ];

    /// The name by which a test asks for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MigrationWritten => "ledger::migration::written",
            Self::MigrationCommitted => "ledger::migration::committed",
            Self::LedgerOpened => "start::ledger::opened",
            Self::LogChecked => "start::log::checked",
            Self::GroupOpened => "ledger::group::opened",
            Self::GroupBetween => "ledger::group::between",
            Self::GroupWritten => "ledger::group::written",
            Self::GroupCommitted => "ledger::group::committed",
            Self::IntentWritten => "ledger::intend::written",
            Self::IntentCommitted => "ledger::intend::committed",
            Self::ResumeWritten => "ledger::resume::written",
            Self::ResumeCommitted => "ledger::resume::committed",
            Self::DiscardWritten => "ledger::discard::written",
            Self::DiscardCommitted => "ledger::discard::committed",
            Self::BatchSigned => "issue::signed",
            Self::AnswerWritten => "ledger::finish::written",
            Self::AnswerCommitted => "ledger::finish::committed",
            Self::ReleaseWritten => "ledger::release::written",
            Self::ReleaseCommitted => "ledger::release::committed",
            Self::CheckpointBegun => "audit::checkpoint::begun",
            Self::CheckpointSigned => "audit::checkpoint::signed",
            Self::CheckpointKept => "audit::checkpoint::kept",
            Self::CheckpointFiled => "audit::checkpoint::filed",
            Self::StopDrained => "stop::drained",
            Self::StopTold => "stop::told",
            Self::StopClosed => "stop::closed",
        }
    }
}

/// Passes a place; a test may have decided that nobody gets any further.
#[cfg(feature = "failpoints")]
pub fn pass(place: Place) {
    fail::fail_point!(place.name());
}

/// Passes a place; in the product nothing happens.
#[cfg(not(feature = "failpoints"))]
pub const fn pass(_: Place) {}
