//! A copy of a ledger that is in use: one consistent state, made while the daemon goes on writing.
//!
//! In go two paths, out comes a file that a daemon could start on. One read transaction holds the state
//! still while its pages are copied; the daemon's journal grows for that long and shrinks again. The copy
//! gets its name when it is whole, checked by the engine, and on the disk. What it holds is not judged:
//! the full check does that.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::super::LedgerError;
use super::failure::refused;
use super::file::absolute;
use super::{BUSY_WAIT, schema};

/// Pages of 4 KiB that are copied between two looks at the progress.
const PAGES_AT_ONCE: i32 = 4_096;

/// Copies a ledger to a file that does not exist yet, and gives its size in bytes; tells how many pages
/// of how many are copied, as it goes.
pub(in super::super) fn backup(
    ledger: &Path,
    copy: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<u64, LedgerError> {
    let failed = |source| LedgerError::CannotOpen { path: copy.to_owned(), source };
    if copy.exists() {
        return Err(failed(Arc::new(io::Error::from(io::ErrorKind::AlreadyExists))));
    }
    let folder = copy.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    // Readable for its owner alone, as the ledger is.
    let unnamed = tempfile::Builder::new()
        .prefix(".ledger-")
        .tempfile_in(folder)
        .map_err(|error| failed(Arc::new(error)))?;
    let source = read_only(ledger)?;
    schema::check_is_ours(&source)?;
    copy_pages(&source, unnamed.path(), progress)?;
    let on_disk = || {
        unnamed.as_file().sync_all()?;
        unnamed.as_file().metadata().map(|found| found.len())
    };
    let bytes = on_disk().map_err(|error| failed(Arc::new(error)))?;
    unnamed.persist_noclobber(copy).map_err(|error| failed(Arc::new(error.error)))?;
    let named = File::open(folder).and_then(|folder| folder.sync_all());
    named.map_err(|error| failed(Arc::new(error)))?;
    Ok(bytes)
}

fn read_only(ledger: &Path) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    // The engine refuses a path with a link anywhere in it; the folder may have one.
    let path = absolute(ledger).map_err(|error| LedgerError::CannotOpen {
        path: ledger.to_owned(),
        source: Arc::new(error),
    })?;
    let source = Connection::open_with_flags(path, flags).map_err(refused)?;
    source.busy_timeout(BUSY_WAIT).map_err(refused)?;
    Ok(source)
}

fn copy_pages(
    source: &Connection,
    copy: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), LedgerError> {
    // Without a transaction of its own the copy would begin anew with every commit of the daemon.
    source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").map_err(refused)?;
    let mut target = Connection::open(copy).map_err(refused)?;
    let backup = Backup::new(source, &mut target).map_err(refused)?;
    loop {
        match backup.step(PAGES_AT_ONCE).map_err(refused)? {
            StepResult::Done => break,
            StepResult::More => {
                let pages = backup.progress();
                let all = u64::try_from(pages.pagecount).unwrap_or(0);
                progress(all.saturating_sub(u64::try_from(pages.remaining).unwrap_or(0)), all);
            }
            // Nobody else has the copy, and the source is only read.
            _ => return Err(LedgerError::Unavailable { what: "file is locked", source: None }),
        }
    }
    drop(backup);
    check(&target)?;
    target.close().map_err(|(_, error)| refused(error))
}

/// Lets the engine look at every page.
pub(super) fn check(connection: &Connection) -> Result<(), LedgerError> {
    let found: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(refused)?;
    if found == "ok" {
        return Ok(());
    }
    let source: super::super::Cause = Arc::new(io::Error::other(found));
    Err(LedgerError::Corrupt { what: "the engine found damage", source: Some(source) })
}
