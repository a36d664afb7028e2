//! The statements of the fleet's ledger: each call of [`Store`] as rows read and written.
//!
//! All statements are prepared once per connection. Numbers that a column cannot give back in their type
//! mean that the database was changed from outside: [`LedgerError::Corrupt`].

use postgres::Row;
use postgres::types::FromSql;
use uuid::Uuid;

use super::super::batch::{DoseConflict, Intent, Rejection, StoredCertificate};
use super::super::claim::AttemptKey;
use super::super::store::{
    Answered, BatchRow, Holder, LoggedCertificate, OpenAttempt, OpenBatch, Removed,
    SignedCertificate, Store, StoredCheckpoint, without_gap,
};
use super::super::window::{WindowClosing, WindowOverride};
use super::super::{BatchRef, LedgerError};
use super::{PostgresStore, failure};
use crate::tlog::tiles::TileId;

/// Answers that one call removes: together with the byte limit it bounds how long others wait.
const PURGE_ROWS_MAX: i64 = 512;

/// Bytes of answers that one call removes, some more for the last one.
const PURGE_BYTES_MAX: i64 = 8 << 20;

/// The holder of an open batch as a number; `$1` is our own incarnation.
macro_rules! holder {
    () => {
        "CASE WHEN holder = $1 THEN 0::smallint
              WHEN EXISTS (SELECT 1 FROM appliance
                           WHERE incarnation = holder AND alive_until > clock_timestamp())
              THEN 1::smallint ELSE 2::smallint END"
    };
}

impl Store for PostgresStore {
    fn open_group(&mut self) -> Result<(), LedgerError> {
        self.begin()
    }

    fn commit_group(&mut self) -> Result<(), LedgerError> {
        self.commit()
    }

    fn abandon_group(&mut self) {
        // The server takes back what a lost connection began; the next group finds out by itself whether
        // it is there again.
        self.session = None;
    }

    fn open_command(&mut self) -> Result<(), LedgerError> {
        self.size_before = self.size;
        self.run("SAVEPOINT command")
    }

    fn keep_command(&mut self) -> Result<(), LedgerError> {
        self.run("RELEASE SAVEPOINT command")
    }

    fn undo_command(&mut self) -> Result<(), LedgerError> {
        self.size = self.size_before;
        self.run("ROLLBACK TO SAVEPOINT command; RELEASE SAVEPOINT command")
    }

    fn batch(&mut self, batch: &BatchRef) -> Result<Option<BatchRow>, LedgerError> {
        let own = self.incarnation;
        let row = self.find(
            concat!(
                "SELECT id, digest, attempt, issuer, kid, issued_at, answered_at, intended_entry, ",
                holder!(),
                " FROM batch WHERE client = $2 AND batch_id = $3"
            ),
            &[&own, &batch.client, &Uuid::from_bytes(batch.id)],
        )?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(BatchRow {
            row: column(&row, 0)?,
            digest: bytes(&row, 1)?,
            attempt: number(&row, 2)?,
            issuer: column(&row, 3)?,
            kid: bytes(&row, 4)?,
            issued_at: column(&row, 5)?,
            answered_at: column(&row, 6)?,
            entry: Some(number(&row, 7)?),
            holder: holder(&row, 8)?,
        }))
    }

    fn open_attempt(&mut self, row: i64) -> Result<Option<OpenAttempt>, LedgerError> {
        let row = self.find(
            "SELECT attempt, certificates::bigint, kid, issued_at, intended_entry
             FROM batch WHERE id = $1 AND answered_at IS NULL",
            &[&row],
        )?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(OpenAttempt {
            number: number(&row, 0)?,
            certificates: number(&row, 1)?,
            kid: bytes(&row, 2)?,
            issued_at: column(&row, 3)?,
            entry: Some(number(&row, 4)?),
        }))
    }

    fn certificates(&mut self, row: i64) -> Result<Vec<StoredCertificate>, LedgerError> {
        let rows = self.list(
            "SELECT record::bigint, dose::bigint, uvci, expires_at FROM certificate
             WHERE batch = $1 ORDER BY position",
            &[&row],
        )?;
        let read = |row: &Row| {
            Ok(StoredCertificate {
                record: number(row, 0)?,
                dose: number(row, 1)?,
                uvci: column::<Uuid>(row, 2)?.into_bytes(),
                expires_at: column(row, 3)?,
            })
        };
        rows.iter().map(read).collect()
    }

    fn rejections(&mut self, row: i64) -> Result<Vec<Rejection>, LedgerError> {
        let rows = self.list(
            "SELECT record::bigint, codes FROM rejection WHERE batch = $1 ORDER BY record",
            &[&row],
        )?;
        let read = |row: &Row| {
            let codes: &str = column(row, 1)?;
            let codes = codes.split(' ').map(str::to_owned).collect();
            Ok(Rejection { record: number(row, 0)?, codes })
        };
        rows.iter().map(read).collect()
    }

    fn answer(&mut self, row: i64) -> Result<Option<Vec<u8>>, LedgerError> {
        let row = self.find("SELECT sealed FROM answer WHERE batch = $1", &[&row])?;
        row.map(|row| column(&row, 0)).transpose()
    }

    fn conflicts(
        &mut self,
        pseudonyms: &[&[u8; 32]],
        except: Option<i64>,
        forgotten_until: i64,
    ) -> Result<Vec<Option<DoseConflict>>, LedgerError> {
        self.who_has(pseudonyms, except, forgotten_until)
    }

    fn open_batches(&mut self, issued_before: i64) -> Result<Vec<OpenBatch>, LedgerError> {
        let own = self.incarnation;
        let rows = self.list(
            concat!(
                "SELECT id, client, batch_id, ",
                holder!(),
                " FROM batch WHERE answered_at IS NULL AND issued_at < $2 ORDER BY issued_at, id"
            ),
            &[&own, &issued_before],
        )?;
        let read = |row: &Row| {
            let id = column::<Uuid>(row, 2)?.into_bytes();
            let batch = BatchRef { client: column(row, 1)?, id };
            Ok(OpenBatch { row: column(row, 0)?, batch, holder: holder(row, 3)? })
        };
        rows.iter().map(read).collect()
    }

    fn insert_intent(
        &mut self,
        batch: &BatchRef,
        digest: &[u8; 32],
        intent: &Intent,
        entry: u64,
    ) -> Result<i64, LedgerError> {
        let row = self.insert_batch(batch, digest, intent, entry)?;
        self.insert_certificates(row, intent)?;
        self.insert_rejections(row, intent)?;
        Ok(row)
    }

    fn set_entry(&mut self, row: i64, entry: u64) -> Result<(), LedgerError> {
        let statement = "UPDATE batch SET intended_entry = $2 WHERE id = $1";
        self.execute(statement, &[&row, &stored(entry)]).map(drop)
    }

    fn set_attempt(&mut self, attempt: AttemptKey) -> Result<(), LedgerError> {
        let own = self.incarnation;
        let statement = "UPDATE batch SET attempt = $2, holder = $3 WHERE id = $1";
        self.execute(statement, &[&attempt.row, &i64::from(attempt.number), &own]).map(drop)
    }

    fn let_go(&mut self, row: i64) -> Result<(), LedgerError> {
        let statement = "UPDATE batch SET holder = $2 WHERE id = $1 AND answered_at IS NULL";
        self.execute(statement, &[&row, &Uuid::nil()]).map(drop)
    }

    fn insert_answer(&mut self, row: i64, answered: &Answered<'_>) -> Result<(), LedgerError> {
        self.execute(
            "UPDATE batch SET answered_at = $2, signed_entry = $3 WHERE id = $1",
            &[&row, &answered.at, &stored(answered.entry)],
        )?;
        self.execute(
            "INSERT INTO answer (batch, answered_at, sealed) VALUES ($1, $2, $3)",
            &[&row, &answered.at, &answered.sealed],
        )?;
        self.execute(
            "INSERT INTO signature (batch, cose_sha256) VALUES ($1, $2)",
            &[&row, &answered.cose_sha256.as_flattened()],
        )
        .map(drop)
    }

    fn remove_batch(&mut self, row: i64) -> Result<Option<Removed>, LedgerError> {
        // What belongs to a batch goes with it, and of an answered one nothing may go.
        let row = self.find(
            "WITH gone AS (
                 DELETE FROM batch WHERE id = $1 AND answered_at IS NULL
                 RETURNING id, issuer, issued_at, certificates, intended_entry),
             certificates_gone AS (
                 DELETE FROM certificate USING gone WHERE certificate.batch = gone.id),
             rejections_gone AS (
                 DELETE FROM rejection USING gone WHERE rejection.batch = gone.id)
             SELECT issuer, issued_at, certificates::bigint, intended_entry FROM gone",
            &[&row],
        )?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Removed {
            issuer: column(&row, 0)?,
            issued_at: column(&row, 1)?,
            certificates: number(&row, 2)?,
            entry: Some(number(&row, 3)?),
        }))
    }

    fn issued_on(&mut self, issuer: &str, day: i64) -> Result<u32, LedgerError> {
        let query = "SELECT doses FROM issued_per_day WHERE issuer = $1 AND day = $2";
        self.find(query, &[&issuer, &day])?.map_or(Ok(0), |row| number(&row, 0))
    }

    fn count_issued(&mut self, issuer: &str, day: i64, change: i64) -> Result<(), LedgerError> {
        // Not an upsert: the checks of the table would look at the change as if it were the number.
        let counted = self.execute(
            "UPDATE issued_per_day SET doses = doses + $3 WHERE issuer = $1 AND day = $2",
            &[&issuer, &day, &change],
        )?;
        if counted > 0 {
            return Ok(());
        }
        let first = "INSERT INTO issued_per_day (issuer, day, doses) VALUES ($1, $2, $3)";
        self.execute(first, &[&issuer, &day, &change]).map(drop)
    }

    fn remove_answers(&mut self, answered_until: i64) -> Result<u64, LedgerError> {
        self.execute(
            "WITH old AS (
                 SELECT batch, answered_at, octet_length(sealed) AS length FROM answer
                 WHERE answered_at <= $1 ORDER BY answered_at, batch LIMIT $2),
             summed AS (
                 SELECT batch, sum(length) OVER (ORDER BY answered_at, batch) - length AS before
                 FROM old)
             DELETE FROM answer USING summed
             WHERE answer.batch = summed.batch AND summed.before < $3::bigint",
            &[&answered_until, &PURGE_ROWS_MAX, &PURGE_BYTES_MAX],
        )
    }

    fn overrides(&mut self, now: i64) -> Result<Vec<WindowOverride>, LedgerError> {
        let rows = self.list(
            "SELECT issuer, opened_at, until, officer, reason FROM window_override
             WHERE closed_at IS NULL AND until > $1 ORDER BY issuer COLLATE \"C\"",
            &[&now],
        )?;
        let read = |row: &Row| {
            Ok(WindowOverride {
                issuer: column(row, 0)?,
                opened_at: column(row, 1)?,
                until: column(row, 2)?,
                officer: column(row, 3)?,
                reason: column(row, 4)?,
            })
        };
        rows.iter().map(read).collect()
    }

    fn insert_override(&mut self, opened: &WindowOverride) -> Result<(), LedgerError> {
        let WindowOverride { issuer, opened_at, until, officer, reason } = opened;
        self.execute(
            "INSERT INTO window_override (issuer, opened_at, until, officer, reason)
             VALUES ($1, $2, $3, $4, $5)",
            &[issuer, opened_at, until, officer, reason],
        )
        .map(drop)
    }

    fn close_override(&mut self, closing: &WindowClosing) -> Result<(), LedgerError> {
        self.execute(
            "UPDATE window_override SET closed_at = $2, closed_by = $3, closing_reason = $4
             WHERE issuer = $1 AND closed_at IS NULL AND until > $2",
            &[&closing.issuer, &closing.at, &closing.officer, &closing.reason],
        )
        .map(drop)
    }

    fn log_size(&mut self) -> Result<u64, LedgerError> {
        // Read under the lock that the group began with.
        Ok(self.size)
    }

    fn insert_entries(&mut self, first: u64, entries: &[Vec<u8>]) -> Result<(), LedgerError> {
        self.append(first, entries)
    }

    fn entries(&mut self, first: u64, count: usize) -> Result<Vec<Vec<u8>>, LedgerError> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let rows = self.list(
            "SELECT number, entry FROM log_entry WHERE number >= $1 ORDER BY number LIMIT $2",
            &[&stored(first), &count],
        )?;
        let read = |row: &Row| Ok((number(row, 0)?, column(row, 1)?));
        Ok(without_gap(first, rows.iter().map(read).collect::<Result<_, LedgerError>>()?))
    }

    fn tile(&mut self, id: TileId) -> Result<Vec<u8>, LedgerError> {
        let query = "SELECT hashes FROM log_tile WHERE level = $1 AND number = $2";
        let row = self.find(query, &[&i16::from(id.level), &stored(id.number)])?;
        row.map_or(Ok(Vec::new()), |row| column(&row, 0))
    }

    fn put_tile(&mut self, id: TileId, hashes: &[u8]) -> Result<(), LedgerError> {
        self.execute(
            "INSERT INTO log_tile (level, number, hashes) VALUES ($1, $2, $3)
             ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes",
            &[&i16::from(id.level), &stored(id.number), &hashes],
        )
        .map(drop)
    }

    fn count_certificates(&mut self) -> Result<u64, LedgerError> {
        let query = "SELECT coalesce(sum(certificates), 0)::bigint FROM batch
                     WHERE answered_at IS NOT NULL";
        self.find(query, &[])?.map_or(Ok(0), |row| number(&row, 0))
    }

    fn certificate_entry(
        &mut self,
        uvci: &[u8; 16],
    ) -> Result<Option<LoggedCertificate>, LedgerError> {
        let row = self.find(
            "SELECT batch.issuer, batch.signed_entry + certificate.position FROM certificate
             JOIN batch ON batch.id = certificate.batch
             WHERE certificate.uvci = $1 AND batch.signed_entry IS NOT NULL",
            &[&Uuid::from_bytes(*uvci)],
        )?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(LoggedCertificate { issuer: column(&row, 0)?, entry: number(&row, 1)? }))
    }

    fn checkpoint(&mut self) -> Result<Option<StoredCheckpoint>, LedgerError> {
        let row =
            self.find("SELECT size, at, note FROM log_checkpoint ORDER BY size DESC LIMIT 1", &[])?;
        let Some(row) = row else { return Ok(None) };
        let (size, at, note) = (number(&row, 0)?, column(&row, 1)?, column(&row, 2)?);
        Ok(Some(StoredCheckpoint { size, at, note }))
    }

    fn checkpoints(
        &mut self,
        after: u64,
        count: usize,
    ) -> Result<Vec<StoredCheckpoint>, LedgerError> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let rows = self.list(
            "SELECT size, at, note FROM log_checkpoint WHERE size > $1 ORDER BY size LIMIT $2",
            &[&stored(after), &count],
        )?;
        let read = |row: &Row| {
            let (size, at, note) = (number(row, 0)?, column(row, 1)?, column(row, 2)?);
            Ok(StoredCheckpoint { size, at, note })
        };
        rows.iter().map(read).collect()
    }

    fn latest_checkpoint_time(&mut self) -> Result<Option<i64>, LedgerError> {
        match self.find("SELECT max(at) FROM log_checkpoint", &[])? {
            Some(row) => column(&row, 0),
            None => Ok(None),
        }
    }

    fn secret_mark(&mut self) -> Result<Option<[u8; 16]>, LedgerError> {
        let Some(row) = self.find("SELECT mark FROM secret", &[])? else { return Ok(None) };
        Ok(Some(column::<Uuid>(&row, 0)?.into_bytes()))
    }

    fn put_secret_mark(&mut self, mark: &[u8; 16]) -> Result<(), LedgerError> {
        let mark = Uuid::from_bytes(*mark);
        self.execute("INSERT INTO secret (id, mark) VALUES (1, $1)", &[&mark]).map(drop)
    }

    fn signed_certificate(
        &mut self,
        uvci: &[u8; 16],
    ) -> Result<Option<SignedCertificate>, LedgerError> {
        let row = self.find(
            "SELECT batch.signed_entry + position, kid, issued_at, expires_at,
                    substr(signature.cose_sha256, (32 * position + 1)::integer, 32)
             FROM certificate
             JOIN batch ON batch.id = certificate.batch
             JOIN signature ON signature.batch = certificate.batch
             WHERE certificate.uvci = $1 AND batch.signed_entry IS NOT NULL",
            &[&Uuid::from_bytes(*uvci)],
        )?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(SignedCertificate {
            entry: number(&row, 0)?,
            kid: bytes(&row, 1)?,
            issued_at: column(&row, 2)?,
            expires_at: column(&row, 3)?,
            cose_sha256: bytes(&row, 4)?,
        }))
    }

    fn put_checkpoint(&mut self, checkpoint: &StoredCheckpoint) -> Result<(), LedgerError> {
        let (size, at) = (stored(checkpoint.size), checkpoint.at);
        self.execute(
            "DELETE FROM log_checkpoint WHERE size <= $2 AND at BETWEEN
             $1::bigint - $1::bigint % 3600 AND $1::bigint - $1::bigint % 3600 + 3599",
            &[&at, &size],
        )?;
        self.execute(
            "INSERT INTO log_checkpoint (size, at, note) VALUES ($1, $2, $3)
             ON CONFLICT (size) DO UPDATE SET at = excluded.at, note = excluded.note",
            &[&size, &at, &checkpoint.note],
        )
        .map(drop)
    }

    fn check_engine(&mut self) -> Result<(), LedgerError> {
        // Its files are the server's to check (pg_amcheck, pg_checksums).
        let orphans = "SELECT batch FROM certificate
             WHERE NOT EXISTS (SELECT FROM batch WHERE batch.id = certificate.batch) LIMIT 1";
        match self.find(orphans, &[])? {
            None => Ok(()),
            Some(_) => Err(failure::damaged("a certificate belongs to a batch that is not there")),
        }
    }

    fn beat(&mut self) -> Result<(), LedgerError> {
        // Every group writes that this appliance is alive. How full the server's disk is, is known to
        // the server alone.
        Ok(())
    }
}

/// A column's value in the type that it must have.
pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, LedgerError> {
    row.try_get(index).map_err(failure::odd_value)
}

/// A number as columns have it; the largest one of a column is never reached.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number<T: TryFrom<i64>>(row: &Row, index: usize) -> Result<T, LedgerError> {
    T::try_from(column::<i64>(row, index)?)
        .map_err(|_| failure::damaged("a number was changed from outside"))
}

fn bytes<const N: usize>(row: &Row, index: usize) -> Result<[u8; N], LedgerError> {
    let bytes: &[u8] = column(row, index)?;
    bytes.try_into().map_err(|_| failure::damaged("a value was changed from outside"))
}

fn holder(row: &Row, index: usize) -> Result<Holder, LedgerError> {
    match column::<i16>(row, index)? {
        0 => Ok(Holder::Us),
        1 => Ok(Holder::Elsewhere),
        _ => Ok(Holder::Nobody),
    }
}
