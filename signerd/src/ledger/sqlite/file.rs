//! The ledger's file: its folder, its lock, its mode, its identity, and the room around it.
//!
//! In goes a path, out comes the right to open the database there as the only process. It promises
//! that a file is made only where none was, that nobody but its user reads it, and that a file
//! which was moved, replaced or lost its journal is noticed instead of being written beside.
//! It does not open the database.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::LedgerError;

/// Only the daemon's user may read digests, pseudonyms and sealed answers.
const MODE: u32 = 0o600;

/// Free space under which the ledger reports itself not ready: some of the largest batches (about
/// 9,000 certificates of 700 bytes sealed, and their rows), so that the warning comes before the end.
const HEADROOM_BYTES: u64 = 16 << 20;

/// A ledger's file under this process's lock.
#[derive(Debug)]
pub(super) struct LedgerFile {
    path: PathBuf,
    /// Device and inode, which a path that points elsewhere now does not have.
    identity: (u64, u64),
    /// A file beside the database: closing the database's own file a second time would drop the
    /// locks that SQLite holds on it (POSIX locks belong to the process).
    _lock: File,
}

impl LedgerFile {
    /// Takes the lock, and makes an empty file if there is none.
    pub(super) fn take(path: &Path) -> Result<Self, LedgerError> {
        let cannot_open =
            |source| LedgerError::CannotOpen { path: path.to_owned(), source: Arc::new(source) };
        let path = absolute(path).map_err(cannot_open)?;
        let lock = lock(&beside(&path, ".lock"))?;
        check_journal(&path)?;
        let file = private_file().create(true).open(&path).map_err(cannot_open)?;
        let metadata = file.metadata().map_err(cannot_open)?;
        if metadata.permissions().mode() & 0o777 != MODE {
            file.set_permissions(fs::Permissions::from_mode(MODE)).map_err(cannot_open)?;
        }
        let identity = (metadata.dev(), metadata.ino());
        // The name of a new file must survive a loss of power as surely as what is written to it.
        path.parent()
            .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
            .map_err(cannot_open)?;
        Ok(Self { path, identity, _lock: lock })
    }

    /// Gives the absolute path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Fails if the path leads to another file now: what is written would be lost with the old one.
    pub(super) fn check_in_place(&self) -> Result<(), LedgerError> {
        match fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == self.identity => Ok(()),
            Ok(_) => Err(LedgerError::Unavailable { what: "file was replaced", source: None }),
            Err(source) => Err(LedgerError::Unavailable {
                what: "file was moved away",
                source: Some(Arc::new(source)),
            }),
        }
    }

    /// Fails if the disk has no room for some large batches.
    pub(super) fn check_headroom(&self) -> Result<(), LedgerError> {
        let space = rustix::fs::statvfs(&self.path).map_err(|errno| LedgerError::Unavailable {
            what: "free space is unknown",
            source: Some(Arc::new(io::Error::from(errno))),
        })?;
        if space.f_bavail.saturating_mul(space.f_frsize) < HEADROOM_BYTES {
            return Err(LedgerError::Unavailable { what: "disk is nearly full", source: None });
        }
        Ok(())
    }
}

/// Resolves the folder, which must exist; an absolute path is also never taken for a URI.
pub(super) fn absolute(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok(fs::canonicalize(folder.unwrap_or(Path::new(".")))?.join(name))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).truncate(false).mode(MODE);
    options
}

fn lock(path: &Path) -> Result<File, LedgerError> {
    let cannot_open =
        |source| LedgerError::CannotOpen { path: path.to_owned(), source: Arc::new(source) };
    let file = private_file().create(true).open(path).map_err(cannot_open)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(cannot_open(source)),
    }
}

/// Refuses a journal without its database: SQLite would delete the journal, and with it answers.
fn check_journal(path: &Path) -> Result<(), LedgerError> {
    let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    if length(path) == 0 && length(&beside(path, "-wal")) > 0 {
        return Err(LedgerError::Corrupt {
            what: "the journal is there, but the file is missing or empty",
            source: None,
        });
    }
    Ok(())
}
