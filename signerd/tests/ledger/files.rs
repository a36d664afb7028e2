//! The file and its disk: lock, mode, damage, full, read-only, moved away.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use rusqlite::Connection;
use signerd::ledger::{Begin, Blame, Finished, LedgerError, Retry};

use super::place::{
    DIGEST, NOW, Place, answered, begin, finished, open, open_batch, reopen, replays, resumable,
};

#[tokio::test]
async fn two_processes_cannot_have_the_same_ledger() {
    // A second opening is refused by name until the first has closed.
    let place = Place::new();
    let ledger = place.open();
    let refusal = open(&place.path()).unwrap_err();
    assert!(matches!(refusal, LedgerError::InUse { .. }));
    assert!(refusal.to_string().ends_with("is in use by another process"));
    ledger.close().await;
    drop(place.open());
    assert!(matches!(ledger.probe().await, Err(LedgerError::Closed)));
}

#[tokio::test]
async fn only_the_owner_reads_the_files() {
    // Every file is 0600, also one that was wider before.
    let place = Place::new();
    fs::write(place.path(), b"").unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let ledger = place.open();
    answered(&ledger, 1, &[1]).await;
    let mut files = 0;
    for entry in fs::read_dir(place.folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{:?}", entry.path());
        files += 1;
    }
    assert_eq!(files, 4, "database, journal, its index and the lock");
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    // The folder must exist; the error says which file could not be opened.
    let place = Place::new();
    let path = place.folder.path().join("nowhere/ledger");
    let refusal = open(&path).unwrap_err();
    assert!(matches!(&refusal, LedgerError::CannotOpen { path: named, .. } if *named == path));
    assert_eq!((refusal.blame(), refusal.retry()), (Blame::Operator, Retry::Later));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    // A path that points to the wrong file costs that file nothing.
    let place = Place::new();
    let text = b"this is not a database, whatever its name says".repeat(100);
    fs::write(place.path(), &text).unwrap();
    assert!(matches!(open(&place.path()), Err(LedgerError::Corrupt { .. })));
    assert_eq!(fs::read(place.path()).unwrap(), text);
}

#[tokio::test]
async fn a_newer_ledger_is_refused() {
    // A file of a newer release names both versions.
    let place = Place::new();
    place.open().close().await;
    let newer = Connection::open(place.path()).unwrap();
    newer.execute_batch("PRAGMA user_version = 9").unwrap();
    let refusal = open(&place.path()).unwrap_err();
    assert!(matches!(refusal, LedgerError::SchemaTooNew { found: 9, known: 3 }));
}

#[tokio::test]
async fn a_journal_without_its_file_is_refused() {
    // The engine would delete such a journal, and answered batches with it.
    let place = Place::new();
    let ledger = place.open();
    answered(&ledger, 1, &[1]).await;
    let copy = place.crash_copy();
    fs::remove_file(copy.path()).unwrap();
    assert!(matches!(open(&copy.path()), Err(LedgerError::Corrupt { .. })));
    assert!(copy.journal().exists());
}

#[tokio::test]
async fn a_value_changed_from_outside_is_damage_not_a_fault() {
    // A number that does not fit its type is reported as damage.
    let place = Place::new();
    let ledger = place.open();
    drop(open_batch(&ledger, 1, &[1]).await);
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("UPDATE batch SET attempt = 99999999999").unwrap();
    let refusal = ledger.begin(super::place::batch(1), DIGEST, 0).await.unwrap_err();
    assert!(matches!(refusal, LedgerError::Corrupt { .. }), "{refusal}");
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_not_written_to() {
    // Writing on into a file that nobody will find again is refused; put back, all is well.
    let place = Place::new();
    let ledger = place.open();
    answered(&ledger, 1, &[1]).await;
    let aside = place.folder.path().join("aside");
    fs::rename(place.path(), &aside).unwrap();
    let refusal = ledger.probe().await.unwrap_err();
    assert!(matches!(refusal, LedgerError::Unavailable { what: "file was moved away", .. }));
    fs::write(place.path(), b"").unwrap();
    let refusal = ledger.probe().await.unwrap_err();
    assert!(matches!(refusal, LedgerError::Unavailable { what: "file was replaced", .. }));
    fs::rename(&aside, place.path()).unwrap();
    ledger.probe().await.unwrap();
    assert!(replays(&ledger, 1).await);
}

#[tokio::test]
async fn a_file_that_another_program_keeps_locked_is_unavailable_and_heals() {
    // A lock that outlasts the wait is an error; when it goes, the same handle works again.
    let place = Place::new();
    let ledger = place.open();
    answered(&ledger, 1, &[1]).await;
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(ledger.probe().await, Err(LedgerError::Unavailable { .. })));
    other.execute_batch("ROLLBACK").unwrap();
    ledger.probe().await.unwrap();
    assert!(replays(&ledger, 1).await);
}

#[tokio::test]
async fn more_callers_than_the_queue_holds_are_turned_away_at_once() {
    // While nothing can be written the queue fills to its limit, and not beyond it.
    let place = Place::new();
    let ledger = place.open();
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let callers = 600;
    let mut tasks: Vec<_> = (0..callers)
        .map(|_| {
            let ledger = ledger.clone();
            tokio::spawn(async move { ledger.probe().await })
        })
        .collect();
    // One thread runs the tasks in their order: when the last one is done, all have asked.
    let last = tasks.pop().unwrap().await.unwrap();
    other.execute_batch("ROLLBACK").unwrap();
    assert!(matches!(last, Err(LedgerError::Overloaded)));
    let mut turned_away = 1;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) | Err(LedgerError::Unavailable { .. }) => {}
            Err(LedgerError::Overloaded) => turned_away += 1,
            Err(other) => panic!("{other}"),
        }
    }
    // 256 wait in the queue, up to 64 are in the group at work.
    assert!((callers - 256 - 64..=callers - 256).contains(&turned_away), "{turned_away}");
    ledger.probe().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_heals() {
    // Disk full: no answer counts, none is half stored; with room again the same handle goes on.
    let Some(disk) = SmallDisk::mount("48m") else { return };
    let path = disk.0.path().join("ledger.sqlite");
    let ledger = open(&path).unwrap();
    answered(&ledger, 1, &[1]).await;
    let attempt = open_batch(&ledger, 2, &[2]).await;
    let filler = disk.0.path().join("filler");
    assert!(fs::write(&filler, vec![0; 48 << 20]).is_err(), "the disk is not full");
    let large = Finished { sealed_answer: vec![1; 4 << 20], ..finished(1) };
    let refusal = ledger.finish(attempt, large.clone()).await.unwrap_err();
    assert!(matches!(refusal, LedgerError::Unavailable { .. }), "{refusal}");
    assert!(matches!(ledger.probe().await, Err(LedgerError::Unavailable { .. })));
    fs::remove_file(&filler).unwrap();
    ledger.probe().await.unwrap();
    assert!(replays(&ledger, 1).await);
    let (ticket, _) = resumable(&ledger, 2).await;
    let attempt = ledger.resume(ticket, NOW).await.unwrap();
    ledger.finish(attempt, large.clone()).await.unwrap();
    let Begin::Replay { sealed } = begin(&ledger, 2, DIGEST).await else {
        panic!("no replay");
    };
    assert!(sealed == large.sealed_answer);
    ledger.close().await;
}

#[tokio::test]
async fn a_read_only_disk_refuses_by_name() {
    // On a read-only disk the ledger does not open; made writable, it does and has all it had.
    let Some(disk) = SmallDisk::mount("32m") else { return };
    let path = disk.0.path().join("ledger.sqlite");
    let ledger = open(&path).unwrap();
    answered(&ledger, 1, &[1]).await;
    ledger.close().await;
    disk.remount("ro");
    assert!(matches!(open(&path), Err(LedgerError::CannotOpen { .. })));
    disk.remount("rw");
    let ledger = reopen(&path);
    assert!(replays(&ledger, 1).await);
    ledger.close().await;
}

/// A small disk of its own, gone when dropped; none without root.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("SKIPPED: a small disk cannot be mounted, which needs root");
            return None;
        }
        Some(Self(folder))
    }

    fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        let status = Command::new("mount").args(["-o", &options]).arg(self.0.path()).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
