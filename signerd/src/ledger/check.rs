//! The full check: everything of a ledger that has to fit together is read and compared.
//!
//! In goes a store that nobody writes meanwhile, the audit keys and the log's name; out comes what there is,
//! or the first thing that does not fit, with its place. It reads every entry once and looks every
//! certificate up, so that it takes minutes for millions; a start looks at the signed head alone. It
//! changes nothing.

use std::collections::HashMap;

use thiserror::Error;

use super::store::{SignedCertificate, Store};
use super::{LedgerError, log};
use crate::tlog::fact::{Entry, Fact, NotAnEntry};
use crate::tlog::note::{AuditKey, Head, NotACheckpoint};
use crate::tlog::tiles::{self, Node, TILE_WIDTH, TileId, TileStore, TreeError};

/// Entries that are read at once: whole tiles, a few megabytes.
const ENTRIES_AT_ONCE: usize = TILE_WIDTH * 32;

/// What a ledger holds in which everything fits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Checked {
    /// Entries of the log.
    pub entries: u64,
    /// Certificates of answered batches, each with its entry.
    pub certificates: u64,
    /// Certificates from before there was a log, which no entry is about.
    pub unlogged: u64,
    /// Entries under the latest checkpoint; none: there is no checkpoint.
    pub signed: Option<u64>,
}

/// What does not fit. To blame: whoever changed the ledger, or a disk; restore a backup.
#[derive(Debug, Error)]
pub enum Damage {
    /// The store cannot be read, or the engine found damage itself.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The log has a hole.
    #[error("entry {number} of the log is missing")]
    Missing {
        /// The first entry that is not there.
        number: u64,
    },
    /// An entry is not one.
    #[error("entry {number} of the log: {cause}")]
    Entry {
        /// Its number.
        number: u64,
        /// Why.
        cause: NotAnEntry,
    },
    /// Entries or tiles were changed.
    #[error("tile {} of level {} is not the one of the entries", .0.number, .0.level)]
    Tile(TileId),
    /// The log has a certificate at another place than the batches say.
    #[error("the certificate of entry {number} of the log is not in a batch that says so")]
    Certificate {
        /// The number of the entry.
        number: u64,
    },
    /// A batch has certificates that the log does not know.
    #[error("batches have {stored} certificates, and the log has {logged}")]
    Count {
        /// Certificates of answered batches.
        stored: u64,
        /// Those that the log knows, the ones from before it included.
        logged: u64,
    },
    /// The latest checkpoint is none.
    #[error("the checkpoint of {size} entries: {cause}")]
    Checkpoint {
        /// What it is about.
        size: u64,
        /// Why.
        cause: NotACheckpoint,
    },
    /// The entries are not those that were signed.
    #[error("the first {size} entries of the log are not those that were signed")]
    Root {
        /// What the checkpoint is about.
        size: u64,
    },
}

/// Checks a store; tells how many entries of how many were looked at, as it goes.
pub(super) fn check(
    store: &mut dyn Store,
    (keys, origin): (&[AuditKey], &str),
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Checked, Damage> {
    store.open_group()?;
    store.check_engine()?;
    let entries = store.log_size()?;
    let mut walk = Walk::default();
    while walk.entries < entries {
        walk.step(store)?;
        progress(walk.entries, entries);
    }
    walk.settle(store)?;
    let signed = check_signed(store, keys, origin)?;
    store.abandon_group();
    let Walk { certificates, unlogged, .. } = walk;
    Ok(Checked { entries, certificates, unlogged, signed })
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Walk {
    entries: u64,
    certificates: u64,
    unlogged: u64,
    /// The last tile of each level, made anew of the entries.
    growing: HashMap<TileId, Vec<u8>>,
}

impl Walk {
    /// Looks at the next entries: whether they can be read, and whether batches and tiles agree.
    fn step(&mut self, store: &mut dyn Store) -> Result<(), Damage> {
        let entries = store.entries(self.entries, ENTRIES_AT_ONCE)?;
        if entries.is_empty() {
            return Err(Damage::Missing { number: self.entries });
        }
        for (number, bytes) in (self.entries..).zip(&entries) {
            self.look_at(store, number, bytes)?;
        }
        let leaves: Vec<Node> = entries.iter().map(|entry| tiles::leaf(entry)).collect();
        let size = self.entries;
        let mut compared = Compared { store, growing: &mut self.growing };
        tiles::append(&mut compared, size, &leaves).map_err(|error| match error {
            TreeError::Store(damage) => damage,
            TreeError::Incomplete => Damage::Missing { number: size },
        })?;
        let read = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
        self.entries = self.entries.saturating_add(read);
        Ok(())
    }

    fn look_at(&mut self, store: &mut dyn Store, number: u64, bytes: &[u8]) -> Result<(), Damage> {
        let entry = match Entry::decode(bytes) {
            Ok(entry) => entry,
            Err(cause) => return Err(Damage::Entry { number, cause }),
        };
        match entry.fact {
            Fact::LogBegun { certificates } => self.unlogged = certificates,
            Fact::CertificateSigned(signed) => {
                let logged = SignedCertificate {
                    entry: number,
                    kid: signed.kid,
                    issued_at: signed.iat,
                    expires_at: signed.exp,
                    cose_sha256: signed.sha256,
                };
                if store.signed_certificate(&signed.uvci)? != Some(logged) {
                    return Err(Damage::Certificate { number });
                }
                self.certificates = self.certificates.saturating_add(1);
            }
            _ => {}
        }
        Ok(())
    }

    /// Compares what is only known at the end.
    fn settle(&self, store: &mut dyn Store) -> Result<(), Damage> {
        for (id, hashes) in &self.growing {
            if store.tile(*id)? != *hashes {
                return Err(Damage::Tile(*id));
            }
        }
        let logged = self.certificates.saturating_add(self.unlogged);
        let stored = store.count_certificates()?;
        if stored == logged { Ok(()) } else { Err(Damage::Count { stored, logged }) }
    }
}

/// Holds the log against its latest checkpoint, and gives how many entries that is about.
fn check_signed(
    store: &mut dyn Store,
    keys: &[AuditKey],
    origin: &str,
) -> Result<Option<u64>, Damage> {
    let Some(stored) = store.checkpoint()? else { return Ok(None) };
    let size = stored.size;
    let mut opened = Err(NotACheckpoint::Unsigned);
    for key in keys {
        opened = Head::open(&stored.note, key, Some(origin));
        // Right after a change of the key the latest one is still of the key before.
        if opened != Err(NotACheckpoint::Unsigned) {
            break;
        }
    }
    let head = opened.map_err(|cause| Damage::Checkpoint { size, cause })?;
    if head.size != size || log::root(store, size)? != head.root {
        return Err(Damage::Root { size });
    }
    Ok(Some(size))
}

/// Tiles that are made anew, and held against the stored ones when they are full.
struct Compared<'a> {
    store: &'a mut dyn Store,
    growing: &'a mut HashMap<TileId, Vec<u8>>,
}

impl TileStore for Compared<'_> {
    type Error = Damage;

    fn tile(&mut self, id: TileId) -> Result<Vec<u8>, Damage> {
        Ok(self.growing.get(&id).cloned().unwrap_or_default())
    }

    fn put_tile(&mut self, id: TileId, hashes: &[u8]) -> Result<(), Damage> {
        if hashes.len() < TILE_WIDTH * tiles::HASH_BYTES {
            self.growing.insert(id, hashes.to_vec());
            return Ok(());
        }
        self.growing.remove(&id);
        if self.store.tile(id)? == hashes { Ok(()) } else { Err(Damage::Tile(id)) }
    }
}
