//! What a database engine has to be able to do for the ledger.
//!
//! The writer thread opens a group, runs commands in it, each of them able to be undone by itself,
//! and commits the group once. The rules (which states there are, who may do what) stand in `rules`
//! and are the same for every engine; an engine only reads and writes rows.
//!
//! An engine promises: what `commit_group` answered `Ok` for survives a loss of power; after an
//! error nothing of the group counts, or all of it (where the error hit the very commit); a group
//! that failed is forgotten by `abandon_group`, and the next `open_group` starts from scratch, also
//! after the disk or the server was away. Engines read no clock.

use super::batch::{DoseConflict, Intent, Rejection, StoredCertificate};
use super::claim::AttemptKey;
use super::window::{WindowClosing, WindowOverride};
use super::{BatchRef, LedgerError};
use crate::tlog::tiles::TileId;

/// One engine: `SqliteStore` for a single appliance, `PostgresStore` for a fleet.
pub(super) trait Store: Send {
    /// Begins the one transaction of a group of commands, with the right to write.
    fn open_group(&mut self) -> Result<(), LedgerError>;
    /// Makes the group durable.
    fn commit_group(&mut self) -> Result<(), LedgerError>;
    /// Forgets the group, whatever state it is in.
    fn abandon_group(&mut self);
    /// Begins a command within the group.
    fn open_command(&mut self) -> Result<(), LedgerError>;
    /// Keeps what the command wrote.
    fn keep_command(&mut self) -> Result<(), LedgerError>;
    /// Takes back what the command wrote; fails where the engine has ended the whole group.
    fn undo_command(&mut self) -> Result<(), LedgerError>;

    /// Finds a batch.
    fn batch(&mut self, batch: &BatchRef) -> Result<Option<BatchRow>, LedgerError>;
    /// Finds the number of the current attempt of an open batch.
    fn open_attempt(&mut self, row: i64) -> Result<Option<OpenAttempt>, LedgerError>;
    /// Lists the certificates of a batch in their order.
    fn certificates(&mut self, row: i64) -> Result<Vec<StoredCertificate>, LedgerError>;
    /// Lists the rejections of a batch.
    fn rejections(&mut self, row: i64) -> Result<Vec<Rejection>, LedgerError>;
    /// Finds the sealed answer of a batch.
    fn answer(&mut self, row: i64) -> Result<Option<Vec<u8>>, LedgerError>;
    /// Finds out for each dose who else has it, apart from one batch and from certificates that were
    /// issued at a time or before it.
    fn conflicts(
        &mut self,
        pseudonyms: &[&[u8; 32]],
        except: Option<i64>,
        forgotten_until: i64,
    ) -> Result<Vec<Option<DoseConflict>>, LedgerError>;
    /// Lists batches with an open intent older than a time.
    fn open_batches(&mut self, issued_before: i64) -> Result<Vec<OpenBatch>, LedgerError>;

    /// Stores a batch with its intent, which is entry `entry` of the log, and gives its row; its first
    /// attempt has number 1.
    fn insert_intent(
        &mut self,
        batch: &BatchRef,
        digest: &[u8; 32],
        intent: &Intent,
        entry: u64,
    ) -> Result<i64, LedgerError>;
    /// Stores which entry of the log the intent of a batch is, where it was made without one.
    fn set_entry(&mut self, row: i64, entry: u64) -> Result<(), LedgerError>;
    /// Makes an attempt the current one, held by this appliance.
    fn set_attempt(&mut self, attempt: AttemptKey) -> Result<(), LedgerError>;
    /// Leaves an open batch of this appliance to whoever repeats it, wherever.
    fn let_go(&mut self, row: i64) -> Result<(), LedgerError>;
    /// Stores the answer of a batch, the digests of what was signed and where the log has them.
    fn insert_answer(&mut self, row: i64, finished: &Answered<'_>) -> Result<(), LedgerError>;
    /// Removes a batch that was not answered, with all that belongs to it, and tells what it was;
    /// none: it was answered or is gone.
    fn remove_batch(&mut self, row: i64) -> Result<Option<Removed>, LedgerError>;
    /// Tells how many certificates an issuer has on a day (by its first second). Until the group
    /// ends nobody else changes that number, also where several appliances share the store.
    fn issued_on(&mut self, issuer: &str, day: i64) -> Result<u32, LedgerError>;
    /// Adds to that number, or takes from it.
    fn count_issued(&mut self, issuer: &str, day: i64, change: i64) -> Result<(), LedgerError>;
    /// Removes some sealed answers as old as a time or older and gives their number; 0: none is left.
    fn remove_answers(&mut self, answered_until: i64) -> Result<u64, LedgerError>;
    /// Lists the overrides of signing windows that are open at a time, by issuer.
    fn overrides(&mut self, now: i64) -> Result<Vec<WindowOverride>, LedgerError>;
    /// Stores an override.
    fn insert_override(&mut self, opened: &WindowOverride) -> Result<(), LedgerError>;
    /// Ends the override of an issuer that is open at the time of the closing.
    fn close_override(&mut self, closing: &WindowClosing) -> Result<(), LedgerError>;
    /// Tells how many entries the log has. Until the group ends nobody else appends, also where several
    /// appliances share the store.
    fn log_size(&mut self) -> Result<u64, LedgerError>;
    /// Stores entries of the log; the first one has number `first`.
    fn insert_entries(&mut self, first: u64, entries: &[Vec<u8>]) -> Result<(), LedgerError>;
    /// Reads so many entries of the log, or as many as there are before the end or a gap.
    fn entries(&mut self, first: u64, count: usize) -> Result<Vec<Vec<u8>>, LedgerError>;
    /// Reads a tile of the log's tree; empty: there is none.
    fn tile(&mut self, id: TileId) -> Result<Vec<u8>, LedgerError>;
    /// Stores a tile that is new or has grown.
    fn put_tile(&mut self, id: TileId, hashes: &[u8]) -> Result<(), LedgerError>;
    /// Counts the certificates of answered batches.
    fn count_certificates(&mut self) -> Result<u64, LedgerError>;
    /// Finds the issuer of a certificate and its number in the log.
    fn certificate_entry(
        &mut self,
        uvci: &[u8; 16],
    ) -> Result<Option<LoggedCertificate>, LedgerError>;
    /// Finds the latest checkpoint.
    fn checkpoint(&mut self) -> Result<Option<StoredCheckpoint>, LedgerError>;
    /// Lists the checkpoints that are kept of more than `after` entries, in their order, at most `count`.
    fn checkpoints(
        &mut self,
        after: u64,
        count: usize,
    ) -> Result<Vec<StoredCheckpoint>, LedgerError>;
    /// Finds the latest time that a kept checkpoint bears.
    fn latest_checkpoint_time(&mut self) -> Result<Option<i64>, LedgerError>;
    /// Finds the mark of the secret that the ledger belongs to; none: nobody has worked on it yet.
    fn secret_mark(&mut self) -> Result<Option<[u8; 16]>, LedgerError>;
    /// Stores it, once.
    fn put_secret_mark(&mut self, mark: &[u8; 16]) -> Result<(), LedgerError>;
    /// Finds what a batch says of a certificate of which the log has an entry.
    fn signed_certificate(
        &mut self,
        uvci: &[u8; 16],
    ) -> Result<Option<SignedCertificate>, LedgerError>;
    /// Stores a checkpoint as the latest; of those before it the last one of each hour stays.
    fn put_checkpoint(&mut self, checkpoint: &StoredCheckpoint) -> Result<(), LedgerError>;
    /// Lets the engine look for damage of its own files, where it can.
    fn check_engine(&mut self) -> Result<(), LedgerError>;
    /// Writes something small, and looks whether there is room for something large.
    fn beat(&mut self) -> Result<(), LedgerError>;
}

/// The entries that follow each other from `first` on: behind one that is missing nothing has its number.
pub(super) fn without_gap(first: u64, found: Vec<(u64, Vec<u8>)>) -> Vec<Vec<u8>> {
    (first..)
        .zip(found)
        .map_while(|(expected, (number, entry))| (number == expected).then_some(entry))
        .collect()
}

/// Who works on an open batch, as far as the store knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Holder {
    /// This appliance began the current attempt; its claims know whether a task still works on it.
    /// Where the store has one user only, it is always this one.
    Us,
    /// Another appliance began it, and is alive.
    Elsewhere,
    /// Whoever began it is no more.
    Nobody,
}

/// A batch with an open intent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct OpenBatch {
    pub(super) row: i64,
    pub(super) batch: BatchRef,
    pub(super) holder: Holder,
}

/// A batch as the store has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct BatchRow {
    pub(super) row: i64,
    pub(super) digest: [u8; 32],
    pub(super) attempt: u32,
    pub(super) issuer: String,
    pub(super) kid: [u8; 8],
    pub(super) issued_at: i64,
    /// When it was answered; none: the intent is open.
    pub(super) answered_at: Option<i64>,
    /// Who works on it, while its intent is open.
    pub(super) holder: Holder,
    /// Which entry of the log the intent is; none: it was made before there was a log.
    pub(super) entry: Option<u64>,
}

/// The current attempt of an open batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct OpenAttempt {
    pub(super) number: u32,
    pub(super) certificates: u32,
    pub(super) kid: [u8; 8],
    pub(super) issued_at: i64,
    /// Which entry of the log the intent is; none: it was made before there was a log.
    pub(super) entry: Option<u64>,
}

/// What there was to a batch that was removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Removed {
    pub(super) issuer: String,
    pub(super) issued_at: i64,
    pub(super) certificates: u32,
    /// Which entry of the log the intent was, if any.
    pub(super) entry: Option<u64>,
}

/// A certificate in the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoggedCertificate {
    /// Whose key signed it.
    pub issuer: String,
    /// The number of its entry.
    pub entry: u64,
}

/// What the rows of an answered batch say of a certificate, to hold its entry against.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct SignedCertificate {
    pub(super) entry: u64,
    pub(super) kid: [u8; 8],
    pub(super) issued_at: i64,
    pub(super) expires_at: i64,
    pub(super) cose_sha256: [u8; 32],
}

/// A signed head of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredCheckpoint {
    /// Entries of the tree.
    pub size: u64,
    /// When it was signed, seconds since 1970.
    pub at: i64,
    /// The signed note.
    pub note: String,
}

/// What `insert_answer` stores.
#[derive(Debug)]
pub(super) struct Answered<'a> {
    pub(super) sealed: &'a [u8],
    pub(super) cose_sha256: &'a [[u8; 32]],
    pub(super) at: i64,
    /// The number of the first certificate's entry in the log.
    pub(super) entry: u64,
}
