//! Checkpoints: the audit key signs the head of the log, soon after every growth of it.
//!
//! In go the head of the ledger's log and the signature of the token; out comes a signed note, which the
//! ledger keeps, the clients fetch, and a file outside of the state folder may hold, so that another
//! machine takes it away. Where one of the two cannot be written, the log counts as not signed. At start the log is held against the last note of both: a ledger that was put
//! back, or changed, is refused before anything is signed.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::{Missing, Seals};
use crate::clock;
use crate::failpoint::{self, Place};
use crate::hsm::{HsmError, Pool};
use crate::ledger::{Ledger, LedgerError, StoredCheckpoint};
use crate::logging;
use crate::metrics::Metrics;
use crate::tlog::note::{AuditKey, Head, NotACheckpoint};
use crate::tlog::tiles::Node;

/// How often is the head looked at? Twice a second, so that a checkpoint is at most a second old.
const PULSE: Duration = Duration::from_millis(500);
/// Longest file that is read as a checkpoint.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Signs the heads of one log.
pub struct Sealer {
    /// Where the log is.
    pub ledger: Ledger,
    /// Where the audit key is.
    pub pool: Pool,
    /// What Prometheus sees.
    pub metrics: Arc<Metrics>,
    /// The name of the audit key in `hsm.toml`.
    pub key: String,
    /// Its public part.
    pub audit: AuditKey,
    /// The log's name.
    pub origin: String,
    /// The file that always holds the latest checkpoint; absent: none does.
    pub file: Option<PathBuf>,
    /// The head that was signed last, or met at start.
    pub sealed: Mutex<Option<(u64, Node)>>,
    /// Who has to know whether it is signed.
    pub seals: Arc<Seals>,
}

/// Why a head is not signed, or the log is not the one that was signed before.
#[derive(Debug, Error)]
pub enum SealerError {
    /// The ledger cannot be read or written. Retry later.
    #[error("ledger")]
    Ledger(#[from] LedgerError),
    /// The token does not sign. Retry later.
    #[error("audit key")]
    Hsm(#[from] HsmError),
    /// The token's signature is none of the audit certificate's key. To blame: the operator.
    #[error("the token's signature does not fit the audit certificate: {0}")]
    Signature(NotACheckpoint),
    /// The file cannot be written or read. To blame: the operator; retry later.
    #[error("checkpoint file {file}")]
    File {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// What was signed before is not a checkpoint any more. To blame: whoever changed it.
    #[error("checkpoint in {place} is not one: {cause}; look who changed it, or move it away")]
    Damaged {
        /// The file, or the ledger.
        place: String,
        /// Why.
        cause: NotACheckpoint,
    },
    /// The log has fewer entries than were signed before. To blame: whoever put an older ledger back.
    #[error(
        "the log has {found} entries, and the checkpoint in {place} says {signed}: an older ledger was put \
         back; put the newest one back, or move that checkpoint away and tell the auditors why"
    )]
    RolledBack {
        /// The file, or the ledger.
        place: String,
        /// Entries that were signed.
        signed: u64,
        /// Entries that there are.
        found: u64,
    },
    /// The entries are not those that were signed. To blame: whoever changed the ledger.
    #[error(
        "the first {signed} entries of the log are not those that the checkpoint in {place} is about: the \
         ledger was changed from outside; tell the auditors"
    )]
    Rewritten {
        /// The file, or the ledger.
        place: String,
        /// Entries that were signed.
        signed: u64,
    },
}

impl SealerError {
    fn missing(&self) -> Missing {
        match self {
            Self::Hsm(_) | Self::Signature(_) => Missing::Token,
            Self::Ledger(_) | Self::File { .. } | Self::Damaged { .. } => Missing::Place,
            Self::RolledBack { .. } | Self::Rewritten { .. } => Missing::History,
        }
    }
}

impl Sealer {
    /// Holds the log against what was signed before.
    ///
    /// # Errors
    /// [`SealerError`]: the daemon must not sign on this ledger, or cannot read it.
    pub async fn check(&self) -> Result<(), SealerError> {
        if let Some(stored) = self.ledger.checkpoint().await? {
            self.check_against("the ledger", &stored.note).await?;
        }
        let Some(file) = &self.file else { return Ok(()) };
        if let Some(note) = read(file)? {
            self.check_against(&file.display().to_string(), &note).await?;
        }
        Ok(())
    }

    async fn check_against(&self, place: &str, note: &str) -> Result<(), SealerError> {
        let head = match Head::open(note, &self.audit, Some(&self.origin)) {
            Ok(head) => head,
            // A new audit key or a new name goes on where the old one ended; who verifies needs both. What
            // was signed must be there all the same, whoever signed it.
            Err(cause @ (NotACheckpoint::Unsigned | NotACheckpoint::Origin)) => {
                log::warn!("checkpoint in {place} is of another audit key or log: {cause}");
                let damaged = |cause| SealerError::Damaged { place: place.to_owned(), cause };
                Head::unverified(note, None).map_err(damaged)?
            }
            Err(cause) => return Err(SealerError::Damaged { place: place.to_owned(), cause }),
        };
        let (found, _) = self.ledger.log_head().await?;
        self.check_growth(place, (head.size, head.root), found).await?;
        let mut sealed = self.sealed();
        *sealed = (*sealed).max(Some((head.size, head.root)));
        Ok(())
    }

    /// Holds a log of `found` entries against a head that was signed.
    async fn check_growth(
        &self,
        place: &str,
        (signed, root): (u64, Node),
        found: u64,
    ) -> Result<(), SealerError> {
        let place = place.to_owned();
        if found < signed {
            return Err(SealerError::RolledBack { place, signed, found });
        }
        if self.ledger.log_root(signed).await? != root {
            return Err(SealerError::Rewritten { place, signed });
        }
        Ok(())
    }

    fn sealed(&self) -> MutexGuard<'_, Option<(u64, Node)>> {
        // It is whole after every statement, also one that panicked.
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signs the head whenever the log has grown, until the ledger is closed.
    pub async fn run(&self) {
        let mut pulse = tokio::time::interval(PULSE);
        let mut failing = false;
        loop {
            pulse.tick().await;
            let sealed = self.seal().await;
            match &sealed {
                Ok(()) => self.seals.succeeded(Instant::now()),
                Err(error) => self.seals.failed(error.missing(), logging::chain(error)),
            }
            match sealed {
                Ok(()) if failing => {
                    log::info!("the log is signed again");
                    failing = false;
                }
                Ok(()) => {}
                Err(SealerError::Ledger(LedgerError::Closed)) => return,
                Err(error) if !failing => {
                    log::error!("the log is not signed: {}", logging::chain(&error));
                    failing = true;
                }
                Err(_) => {}
            }
        }
    }

    /// Signs the head if the log has grown since it was signed last.
    ///
    /// # Errors
    /// [`SealerError`]: the latest checkpoint is still the one before.
    pub async fn seal(&self) -> Result<(), SealerError> {
        let (size, root) = self.ledger.log_head().await?;
        self.metrics.log_size.set(i64::try_from(size).unwrap_or(i64::MAX));
        let sealed = *self.sealed();
        if size == 0 || sealed == Some((size, root)) {
            return Ok(());
        }
        // A server that took over may have other entries than those that were signed: no second history.
        if let Some(head) = sealed {
            self.check_growth("memory", head, size).await?;
        }
        failpoint::pass(Place::CheckpointBegun);
        let at = clock::seconds_since_1970();
        let head = Head { origin: self.origin.clone(), size, root, at };
        let signatures = self.pool.sign(&self.key, vec![head.digest()]).await?;
        let note = signatures.first().and_then(|one| one.as_slice().try_into().ok());
        let note = note.and_then(|signature| head.signed(&self.audit, signature));
        let note = note.ok_or(SealerError::Signature(NotACheckpoint::Forged))?;
        Head::open(&note, &self.audit, Some(&self.origin)).map_err(SealerError::Signature)?;
        failpoint::pass(Place::CheckpointSigned);
        self.ledger.keep_checkpoint(StoredCheckpoint { size, at, note: note.clone() }).await?;
        failpoint::pass(Place::CheckpointKept);
        if let Some(file) = &self.file {
            write(file, &note)?;
            failpoint::pass(Place::CheckpointFiled);
        }
        *self.sealed() = Some((size, root));
        self.metrics.checkpoint_at.set(at);
        Ok(())
    }
}

/// The checkpoint of an earlier run; none: there is no such file.
fn read(file: &Path) -> Result<Option<String>, SealerError> {
    let failed = |source| SealerError::File { file: file.to_owned(), source };
    match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            Err(failed(io::ErrorKind::FileTooLarge.into()))
        }
        Ok(_) => fs::read_to_string(file).map(Some).map_err(failed),
    }
}

/// Replaces the file as a whole: whoever reads it finds the old one or the new one.
fn write(file: &Path, note: &str) -> Result<(), SealerError> {
    let failed = |source| SealerError::File { file: file.to_owned(), source };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut new = tempfile::Builder::new()
        .prefix(".checkpoint-")
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(failed)?;
    new.write_all(note.as_bytes()).map_err(failed)?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(FILE_MODE);
    new.as_file().set_permissions(readable).map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    new.persist(file).map(drop).map_err(|error| failed(error.error))
}

/// Everybody may read a checkpoint: it is there to be taken away.
const FILE_MODE: u32 = 0o644;
