//! What is asked of the log in the ledger: facts in, heads, proofs, entries and checkpoints out.
//!
//! Each call is a command of the writer thread, as all calls of the ledger are; how the log is kept is
//! known to `log`.

use super::store::{LoggedCertificate, StoredCheckpoint};
use super::{Ledger, LedgerError, log};
use crate::tlog::fact::Fact;
use crate::tlog::tiles::{Node, TileId};

impl Ledger {
    /// Makes facts of one time durable that no other row belongs to.
    ///
    /// # Errors
    /// [`LedgerError::Overloaded`] or [`LedgerError::Unavailable`]: they are not in the log.
    pub async fn record(&self, at: i64, facts: Vec<Fact>) -> Result<(), LedgerError> {
        self.conclude(move |store| log::append(store, at, facts.clone()).map(drop)).await
    }

    /// The size and root of the log as it is.
    ///
    /// # Errors
    /// [`LedgerError::Overloaded`], [`LedgerError::Unavailable`] and the errors of a damaged store.
    pub async fn log_head(&self) -> Result<(u64, Node), LedgerError> {
        self.look(|store| {
            let size = store.log_size()?;
            Ok((size, log::root(store, size)?))
        })
        .await
    }

    /// The latest time that the end of the log bears; none: there is no log yet.
    ///
    /// # Errors
    /// As [`Ledger::log_head`].
    pub async fn latest_time(&self) -> Result<Option<i64>, LedgerError> {
        self.look(log::latest_time).await
    }

    /// The root of the first `size` entries of the log.
    ///
    /// # Errors
    /// As [`Ledger::log_head`]; [`LedgerError::Corrupt`] where there are not so many.
    pub async fn log_root(&self, size: u64) -> Result<Node, LedgerError> {
        self.look(move |store| log::root(store, size)).await
    }

    /// Proves that an entry is in the log of the first `size` entries (RFC 6962 §2.1.1).
    ///
    /// # Errors
    /// As [`Ledger::log_root`].
    pub async fn prove_entry(&self, size: u64, number: u64) -> Result<Vec<Node>, LedgerError> {
        self.look(move |store| log::prove_entry(store, size, number)).await
    }

    /// Proves that the first `size` entries of the log begin with the first `earlier` ones.
    ///
    /// # Errors
    /// As [`Ledger::log_root`].
    pub async fn prove_growth(&self, size: u64, earlier: u64) -> Result<Vec<Node>, LedgerError> {
        self.look(move |store| log::prove_growth(store, size, earlier)).await
    }

    /// Entries of the log, from number `first` on, `count` of them or as many as there are.
    ///
    /// # Errors
    /// As [`Ledger::log_head`].
    pub async fn log_entries(&self, first: u64, count: usize) -> Result<Vec<Vec<u8>>, LedgerError> {
        self.look(move |store| store.entries(first, count)).await
    }

    /// The hashes of a tile of the log's tree, as many as there are so far.
    ///
    /// # Errors
    /// As [`Ledger::log_head`].
    pub async fn log_tile(&self, id: TileId) -> Result<Vec<u8>, LedgerError> {
        self.look(move |store| store.tile(id)).await
    }

    /// Where the log has a certificate; none: it has none of this identifier.
    ///
    /// # Errors
    /// As [`Ledger::log_head`].
    pub async fn logged_certificate(
        &self,
        uvci: [u8; 16],
    ) -> Result<Option<LoggedCertificate>, LedgerError> {
        self.look(move |store| store.certificate_entry(&uvci)).await
    }

    /// The latest checkpoint; none: none was signed yet.
    ///
    /// # Errors
    /// As [`Ledger::log_head`].
    pub async fn checkpoint(&self) -> Result<Option<StoredCheckpoint>, LedgerError> {
        self.look(|store| store.checkpoint()).await
    }

    /// The checkpoints that are kept of more than `after` entries, in their order, at most `count`.
    ///
    /// # Errors
    /// As [`Ledger::log_head`].
    pub async fn checkpoints(
        &self,
        after: u64,
        count: usize,
    ) -> Result<Vec<StoredCheckpoint>, LedgerError> {
        self.look(move |store| store.checkpoints(after, count)).await
    }

    /// Keeps a checkpoint as the latest one.
    ///
    /// # Errors
    /// [`LedgerError::Overloaded`] or [`LedgerError::Unavailable`]; it is not kept then.
    pub async fn keep_checkpoint(&self, checkpoint: StoredCheckpoint) -> Result<(), LedgerError> {
        self.conclude(move |store| store.put_checkpoint(&checkpoint)).await
    }
}
