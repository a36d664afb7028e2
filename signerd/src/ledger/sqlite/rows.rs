//! The statements of the SQLite ledger: each call of [`Store`] as rows read and written.
//!
//! All statements are compiled once per connection. Numbers that a column cannot give back in their
//! type mean that the file was changed from outside: [`LedgerError::Corrupt`].

use rusqlite::types::FromSql;
use rusqlite::{OptionalExtension, Params, Row, params};

use super::super::batch::{DoseConflict, Intent, Rejection, StoredCertificate};
use super::super::claim::AttemptKey;
use super::super::store::{
    Answered, BatchRow, Holder, LoggedCertificate, OpenAttempt, OpenBatch, Removed,
    SignedCertificate, Store, StoredCheckpoint, without_gap,
};
use super::super::window::{WindowClosing, WindowOverride};
use super::super::{BatchRef, LedgerError};
use super::failure::refused;
use super::{SqliteStore, backup, connect};
use crate::tlog::tiles::TileId;

/// Answers that one call removes: together with the byte limit it bounds how long others wait.
const PURGE_ROWS_MAX: i64 = 512;

/// Bytes of answers that one call removes, some more for the last one; each freed page is
/// overwritten, so that this much goes through the journal.
const PURGE_BYTES_MAX: i64 = 8 << 20;

impl Store for SqliteStore {
    fn open_group(&mut self) -> Result<(), LedgerError> {
        self.file.check_in_place()?;
        if self.connection.is_none() {
            self.connection = Some(connect(self.file.path())?);
        }
        self.execute("BEGIN IMMEDIATE", []).map(drop)
    }

    fn commit_group(&mut self) -> Result<(), LedgerError> {
        self.execute("COMMIT", []).map(drop)
    }

    fn abandon_group(&mut self) {
        // Closing rolls back, and the next group finds out by itself whether the disk is back.
        self.connection = None;
    }

    fn open_command(&mut self) -> Result<(), LedgerError> {
        self.execute("SAVEPOINT command", []).map(drop)
    }

    fn keep_command(&mut self) -> Result<(), LedgerError> {
        self.execute("RELEASE command", []).map(drop)
    }

    fn undo_command(&mut self) -> Result<(), LedgerError> {
        self.execute("ROLLBACK TO command", [])?;
        self.keep_command()
    }

    fn batch(&mut self, batch: &BatchRef) -> Result<Option<BatchRow>, LedgerError> {
        self.find(
            "SELECT id, digest, attempt, issuer, kid, issued_at, answered_at, intended_entry
             FROM batch WHERE client = ?1 AND batch_id = ?2",
            params![batch.client, batch.id],
            |row| {
                Ok(BatchRow {
                    row: row.get(0)?,
                    digest: row.get(1)?,
                    attempt: row.get(2)?,
                    issuer: row.get(3)?,
                    kid: row.get(4)?,
                    issued_at: row.get(5)?,
                    answered_at: row.get(6)?,
                    // The file's lock lets one process in.
                    holder: Holder::Us,
                    entry: row.get(7)?,
                })
            },
        )
    }

    fn open_attempt(&mut self, row: i64) -> Result<Option<OpenAttempt>, LedgerError> {
        self.find(
            "SELECT attempt, certificates, kid, issued_at, intended_entry
             FROM batch WHERE id = ?1 AND answered_at IS NULL",
            [row],
            |row| {
                Ok(OpenAttempt {
                    number: row.get(0)?,
                    certificates: row.get(1)?,
                    kid: row.get(2)?,
                    issued_at: row.get(3)?,
                    entry: row.get(4)?,
                })
            },
        )
    }

    fn certificates(&mut self, row: i64) -> Result<Vec<StoredCertificate>, LedgerError> {
        self.list(
            "SELECT record, dose, uvci, expires_at FROM certificate
             WHERE batch = ?1 ORDER BY position",
            [row],
            |row| {
                Ok(StoredCertificate {
                    record: row.get(0)?,
                    dose: row.get(1)?,
                    uvci: row.get(2)?,
                    expires_at: row.get(3)?,
                })
            },
        )
    }

    fn rejections(&mut self, row: i64) -> Result<Vec<Rejection>, LedgerError> {
        self.list(
            "SELECT record, codes FROM rejection WHERE batch = ?1 ORDER BY record",
            [row],
            |row| {
                let codes: String = row.get(1)?;
                let codes = codes.split(' ').map(str::to_owned).collect();
                Ok(Rejection { record: row.get(0)?, codes })
            },
        )
    }

    fn answer(&mut self, row: i64) -> Result<Option<Vec<u8>>, LedgerError> {
        self.find("SELECT sealed FROM answer WHERE batch = ?1", [row], first)
    }

    fn conflicts(
        &mut self,
        pseudonyms: &[&[u8; 32]],
        except: Option<i64>,
        forgotten_until: i64,
    ) -> Result<Vec<Option<DoseConflict>>, LedgerError> {
        let conflict = |pseudonym: &&[u8; 32]| self.conflict(pseudonym, except, forgotten_until);
        pseudonyms.iter().map(conflict).collect()
    }

    fn open_batches(&mut self, issued_before: i64) -> Result<Vec<OpenBatch>, LedgerError> {
        self.list(
            "SELECT id, client, batch_id FROM batch
             WHERE answered_at IS NULL AND issued_at < ?1 ORDER BY issued_at",
            [issued_before],
            |row| {
                let batch = BatchRef { client: row.get(1)?, id: row.get(2)? };
                Ok(OpenBatch { row: row.get(0)?, batch, holder: Holder::Us })
            },
        )
    }

    fn insert_intent(
        &mut self,
        batch: &BatchRef,
        digest: &[u8; 32],
        intent: &Intent,
        entry: u64,
    ) -> Result<i64, LedgerError> {
        self.execute(
            "INSERT INTO batch
             (client, batch_id, digest, attempt, issuer, kid, issued_at, certificates, intended_entry)
             VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8)",
            params![
                batch.client,
                batch.id,
                digest,
                intent.issuer,
                intent.kid,
                intent.issued_at,
                i64::try_from(intent.certificates.len()).unwrap_or(i64::MAX),
                entry,
            ],
        )?;
        let row = self.connection()?.last_insert_rowid();
        self.insert_certificates(row, intent)?;
        for rejection in &intent.rejections {
            self.execute(
                "INSERT INTO rejection (batch, record, codes) VALUES (?1, ?2, ?3)",
                params![row, rejection.record, rejection.codes.join(" ")],
            )?;
        }
        Ok(row)
    }

    fn set_attempt(&mut self, attempt: AttemptKey) -> Result<(), LedgerError> {
        self.execute(
            "UPDATE batch SET attempt = ?2 WHERE id = ?1",
            params![attempt.row, attempt.number],
        )
        .map(drop)
    }

    fn let_go(&mut self, _row: i64) -> Result<(), LedgerError> {
        // There is nobody else.
        Ok(())
    }

    fn set_entry(&mut self, row: i64, entry: u64) -> Result<(), LedgerError> {
        let statement = "UPDATE batch SET intended_entry = ?2 WHERE id = ?1";
        self.execute(statement, params![row, entry]).map(drop)
    }

    fn insert_answer(&mut self, row: i64, answered: &Answered<'_>) -> Result<(), LedgerError> {
        self.execute(
            "UPDATE batch SET answered_at = ?2, signed_entry = ?3 WHERE id = ?1",
            params![row, answered.at, answered.entry],
        )?;
        self.execute(
            "INSERT INTO answer (batch, answered_at, sealed) VALUES (?1, ?2, ?3)",
            params![row, answered.at, answered.sealed],
        )?;
        self.execute(
            "INSERT INTO signature (batch, cose_sha256) VALUES (?1, ?2)",
            params![row, answered.cose_sha256.as_flattened()],
        )
        .map(drop)
    }

    fn remove_batch(&mut self, row: i64) -> Result<Option<Removed>, LedgerError> {
        // What belongs to a batch goes before it, and of an answered one nothing may go.
        for statement in [
            "DELETE FROM certificate WHERE batch = ?1
             AND EXISTS (SELECT 1 FROM batch WHERE id = ?1 AND answered_at IS NULL)",
            "DELETE FROM rejection WHERE batch = ?1
             AND EXISTS (SELECT 1 FROM batch WHERE id = ?1 AND answered_at IS NULL)",
        ] {
            self.execute(statement, [row])?;
        }
        self.find(
            "DELETE FROM batch WHERE id = ?1 AND answered_at IS NULL
             RETURNING issuer, issued_at, certificates, intended_entry",
            [row],
            |row| {
                Ok(Removed {
                    issuer: row.get(0)?,
                    issued_at: row.get(1)?,
                    certificates: row.get(2)?,
                    entry: row.get(3)?,
                })
            },
        )
    }

    fn issued_on(&mut self, issuer: &str, day: i64) -> Result<u32, LedgerError> {
        let query = "SELECT doses FROM issued_per_day WHERE issuer = ?1 AND day = ?2";
        Ok(self.find(query, params![issuer, day], first)?.unwrap_or(0))
    }

    fn count_issued(&mut self, issuer: &str, day: i64, change: i64) -> Result<(), LedgerError> {
        // Not an upsert: the checks of the table would look at the change as if it were the number.
        let counted = self.execute(
            "UPDATE issued_per_day SET doses = doses + ?3 WHERE issuer = ?1 AND day = ?2",
            params![issuer, day, change],
        )?;
        if counted > 0 {
            return Ok(());
        }
        self.execute(
            "INSERT INTO issued_per_day (issuer, day, doses) VALUES (?1, ?2, ?3)",
            params![issuer, day, change],
        )
        .map(drop)
    }

    fn remove_answers(&mut self, answered_until: i64) -> Result<u64, LedgerError> {
        let old: Vec<(i64, i64)> = self.list(
            "SELECT batch, length(sealed) FROM answer
             WHERE answered_at <= ?1 ORDER BY answered_at LIMIT ?2",
            [answered_until, PURGE_ROWS_MAX],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let (mut removed, mut bytes) = (0_u64, 0_i64);
        for (row, length) in old {
            if bytes >= PURGE_BYTES_MAX {
                break;
            }
            self.execute("DELETE FROM answer WHERE batch = ?1", [row])?;
            (removed, bytes) = (removed.saturating_add(1), bytes.saturating_add(length));
        }
        Ok(removed)
    }

    fn overrides(&mut self, now: i64) -> Result<Vec<WindowOverride>, LedgerError> {
        self.list(
            "SELECT issuer, opened_at, until, officer, reason FROM window_override
             WHERE closed_at IS NULL AND until > ?1 ORDER BY issuer",
            [now],
            |row| {
                Ok(WindowOverride {
                    issuer: row.get(0)?,
                    opened_at: row.get(1)?,
                    until: row.get(2)?,
                    officer: row.get(3)?,
                    reason: row.get(4)?,
                })
            },
        )
    }

    fn insert_override(&mut self, opened: &WindowOverride) -> Result<(), LedgerError> {
        self.execute(
            "INSERT INTO window_override (issuer, opened_at, until, officer, reason)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![opened.issuer, opened.opened_at, opened.until, opened.officer, opened.reason],
        )
        .map(drop)
    }

    fn close_override(&mut self, closing: &WindowClosing) -> Result<(), LedgerError> {
        self.execute(
            "UPDATE window_override SET closed_at = ?2, closed_by = ?3, closing_reason = ?4
             WHERE issuer = ?1 AND closed_at IS NULL AND until > ?2",
            params![closing.issuer, closing.at, closing.officer, closing.reason],
        )
        .map(drop)
    }

    fn log_size(&mut self) -> Result<u64, LedgerError> {
        let query = "SELECT coalesce(max(number) + 1, 0) FROM log_entry";
        Ok(self.find(query, [], first)?.unwrap_or(0))
    }

    fn insert_entries(&mut self, first: u64, entries: &[Vec<u8>]) -> Result<(), LedgerError> {
        let connection = self.connection()?;
        let mut insert = connection
            .prepare_cached("INSERT INTO log_entry (number, entry) VALUES (?1, ?2)")
            .map_err(refused)?;
        for (number, entry) in (first..).zip(entries) {
            insert.execute(params![number, entry]).map_err(refused)?;
        }
        Ok(())
    }

    fn entries(&mut self, first: u64, count: usize) -> Result<Vec<Vec<u8>>, LedgerError> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let found: Vec<(u64, Vec<u8>)> = self.list(
            "SELECT number, entry FROM log_entry WHERE number >= ?1 ORDER BY number LIMIT ?2",
            params![first, count],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(without_gap(first, found))
    }

    fn tile(&mut self, id: TileId) -> Result<Vec<u8>, LedgerError> {
        let query = "SELECT hashes FROM log_tile WHERE level = ?1 AND number = ?2";
        Ok(self.find(query, params![id.level, id.number], first)?.unwrap_or_default())
    }

    fn put_tile(&mut self, id: TileId, hashes: &[u8]) -> Result<(), LedgerError> {
        self.execute(
            "INSERT INTO log_tile (level, number, hashes) VALUES (?1, ?2, ?3)
             ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes",
            params![id.level, id.number, hashes],
        )
        .map(drop)
    }

    fn count_certificates(&mut self) -> Result<u64, LedgerError> {
        let query =
            "SELECT coalesce(sum(certificates), 0) FROM batch WHERE answered_at IS NOT NULL";
        Ok(self.find(query, [], first)?.unwrap_or(0))
    }

    fn certificate_entry(
        &mut self,
        uvci: &[u8; 16],
    ) -> Result<Option<LoggedCertificate>, LedgerError> {
        self.find(
            "SELECT batch.issuer, batch.signed_entry + certificate.position FROM certificate
             JOIN batch ON batch.id = certificate.batch
             WHERE certificate.uvci = ?1 AND batch.signed_entry IS NOT NULL",
            [uvci],
            |row| Ok(LoggedCertificate { issuer: row.get(0)?, entry: row.get(1)? }),
        )
    }

    fn checkpoint(&mut self) -> Result<Option<StoredCheckpoint>, LedgerError> {
        self.find(
            "SELECT size, at, note FROM log_checkpoint ORDER BY size DESC LIMIT 1",
            [],
            |row| Ok(StoredCheckpoint { size: row.get(0)?, at: row.get(1)?, note: row.get(2)? }),
        )
    }

    fn checkpoints(
        &mut self,
        after: u64,
        count: usize,
    ) -> Result<Vec<StoredCheckpoint>, LedgerError> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.list(
            "SELECT size, at, note FROM log_checkpoint WHERE size > ?1 ORDER BY size LIMIT ?2",
            params![after, count],
            |row| Ok(StoredCheckpoint { size: row.get(0)?, at: row.get(1)?, note: row.get(2)? }),
        )
    }

    fn latest_checkpoint_time(&mut self) -> Result<Option<i64>, LedgerError> {
        let at: Option<Option<i64>> = self.find("SELECT max(at) FROM log_checkpoint", [], first)?;
        Ok(at.flatten())
    }

    fn secret_mark(&mut self) -> Result<Option<[u8; 16]>, LedgerError> {
        self.find("SELECT mark FROM secret", [], first)
    }

    fn put_secret_mark(&mut self, mark: &[u8; 16]) -> Result<(), LedgerError> {
        self.execute("INSERT INTO secret (id, mark) VALUES (1, ?1)", [mark]).map(drop)
    }

    fn signed_certificate(
        &mut self,
        uvci: &[u8; 16],
    ) -> Result<Option<SignedCertificate>, LedgerError> {
        self.find(
            "SELECT batch.signed_entry + position, kid, issued_at, expires_at,
                    substr(signature.cose_sha256, 32 * position + 1, 32)
             FROM certificate
             JOIN batch ON batch.id = certificate.batch
             JOIN signature ON signature.batch = certificate.batch
             WHERE certificate.uvci = ?1 AND batch.signed_entry IS NOT NULL",
            [uvci],
            |row| {
                Ok(SignedCertificate {
                    entry: row.get(0)?,
                    kid: row.get(1)?,
                    issued_at: row.get(2)?,
                    expires_at: row.get(3)?,
                    cose_sha256: row.get(4)?,
                })
            },
        )
    }

    fn put_checkpoint(&mut self, checkpoint: &StoredCheckpoint) -> Result<(), LedgerError> {
        self.execute(
            "DELETE FROM log_checkpoint WHERE at BETWEEN ?1 - ?1 % 3600 AND ?1 - ?1 % 3600 + 3599 AND size <= ?2",
            params![checkpoint.at, checkpoint.size],
        )?;
        self.execute(
            "INSERT INTO log_checkpoint (size, at, note) VALUES (?1, ?2, ?3)
             ON CONFLICT (size) DO UPDATE SET at = excluded.at, note = excluded.note",
            params![checkpoint.size, checkpoint.at, checkpoint.note],
        )
        .map(drop)
    }

    fn check_engine(&mut self) -> Result<(), LedgerError> {
        backup::check(self.connection()?)?;
        let orphan: Option<String> = self.find("PRAGMA foreign_key_check", [], first)?;
        match orphan {
            None => Ok(()),
            Some(_) => {
                let what = "a row belongs to a batch that is not there";
                Err(LedgerError::Corrupt { what, source: None })
            }
        }
    }

    fn beat(&mut self) -> Result<(), LedgerError> {
        self.file.check_headroom()?;
        self.execute("UPDATE heartbeat SET beats = beats + 1", []).map(drop)
    }
}

impl SqliteStore {
    pub(super) fn find<T>(
        &self,
        query: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, LedgerError> {
        let mut statement = self.connection()?.prepare_cached(query).map_err(refused)?;
        statement.query_row(values, read).optional().map_err(refused)
    }

    fn list<T>(
        &self,
        query: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, LedgerError> {
        let mut statement = self.connection()?.prepare_cached(query).map_err(refused)?;
        let rows = statement.query_map(values, read).map_err(refused)?;
        rows.collect::<Result<_, _>>().map_err(refused)
    }
}

pub(super) fn first<T: FromSql>(row: &Row<'_>) -> rusqlite::Result<T> {
    row.get(0)
}
