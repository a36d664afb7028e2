//! The statements that carry a whole batch: as arrays, so that 2,000 certificates are one round trip.

use postgres::types::ToSql;
use uuid::Uuid;

use super::super::batch::{DoseConflict, Intent};
use super::super::{BatchRef, LedgerError};
use super::rows::{column, stored};
use super::{PostgresStore, failure};

impl PostgresStore {
    /// Stores the row of a batch and gives its number.
    pub(super) fn insert_batch(
        &mut self,
        batch: &BatchRef,
        digest: &[u8; 32],
        intent: &Intent,
        entry: u64,
    ) -> Result<i64, LedgerError> {
        let certificates = i32::try_from(intent.certificates.len()).unwrap_or(i32::MAX);
        let (id, holder) = (Uuid::from_bytes(batch.id), self.incarnation);
        let row = self.find(
            "INSERT INTO batch (client, batch_id, digest, attempt, issuer, kid, issued_at,
                 certificates, intended_entry, holder)
             VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9) RETURNING id",
            &[
                &batch.client,
                &id,
                &digest.as_slice(),
                &intent.issuer,
                &intent.kid.as_slice(),
                &intent.issued_at,
                &certificates,
                &stored(entry),
                &holder,
            ],
        )?;
        column(&row.ok_or_else(|| failure::damaged("a batch has no number"))?, 0)
    }

    /// Stores the certificates of a batch in their order.
    pub(super) fn insert_certificates(
        &mut self,
        row: i64,
        intent: &Intent,
    ) -> Result<(), LedgerError> {
        let certificates = &intent.certificates;
        let records: Vec<i32> =
            certificates.iter().map(|one| i32::try_from(one.record).unwrap_or(i32::MAX)).collect();
        let doses: Vec<i16> = certificates.iter().map(|one| i16::from(one.dose)).collect();
        let uvcis: Vec<Uuid> = certificates.iter().map(|one| Uuid::from_bytes(one.uvci)).collect();
        let ends: Vec<i64> = certificates.iter().map(|one| one.expires_at).collect();
        let pseudonyms: Vec<Uuid> =
            certificates.iter().map(|one| kept_half(&one.pseudonym)).collect();
        let values: [&(dyn ToSql + Sync); 6] = [&row, &records, &doses, &uvcis, &ends, &pseudonyms];
        self.execute(
            "INSERT INTO certificate (batch, position, record, dose, uvci, expires_at, pseudonym)
             SELECT $1, place - 1, record, dose, uvci, expires_at, pseudonym
             FROM unnest($2::integer[], $3::smallint[], $4::uuid[], $5::bigint[], $6::uuid[])
             WITH ORDINALITY AS new (record, dose, uvci, expires_at, pseudonym, place)",
            &values,
        )
        .map(drop)
    }

    /// Stores the rejections of a batch.
    pub(super) fn insert_rejections(
        &mut self,
        row: i64,
        intent: &Intent,
    ) -> Result<(), LedgerError> {
        let rejections = &intent.rejections;
        if rejections.is_empty() {
            return Ok(());
        }
        let records: Vec<i32> =
            rejections.iter().map(|one| i32::try_from(one.record).unwrap_or(i32::MAX)).collect();
        let codes: Vec<String> = rejections.iter().map(|one| one.codes.join(" ")).collect();
        self.execute(
            "INSERT INTO rejection (batch, record, codes)
             SELECT $1, record, codes FROM unnest($2::integer[], $3::text[]) AS new (record, codes)",
            &[&row, &records, &codes],
        )
        .map(drop)
    }

    /// Stores entries of the log, and that it has them.
    pub(super) fn append(&mut self, first: u64, entries: &[Vec<u8>]) -> Result<(), LedgerError> {
        let bytes: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let grown = u64::try_from(entries.len()).ok().and_then(|count| first.checked_add(count));
        let grown = grown.ok_or_else(|| failure::damaged("the log is too long"))?;
        let moved = self.execute(
            "WITH new AS (
                 INSERT INTO log_entry (number, entry)
                 SELECT $1::bigint + place - 1, entry
                 FROM unnest($2::bytea[]) WITH ORDINALITY AS new (entry, place))
             UPDATE log_head SET size = $3 WHERE size = $1",
            &[&stored(first), &bytes, &stored(grown)],
        )?;
        if moved != 1 {
            return Err(failure::damaged("the head of the log was changed from outside"));
        }
        self.size = grown;
        Ok(())
    }

    /// Finds out for each dose who else has it.
    pub(super) fn who_has(
        &mut self,
        pseudonyms: &[&[u8; 32]],
        except: Option<i64>,
        forgotten_until: i64,
    ) -> Result<Vec<Option<DoseConflict>>, LedgerError> {
        let pseudonyms: Vec<Uuid> =
            pseudonyms.iter().map(|pseudonym| kept_half(pseudonym)).collect();
        let rows = self.list(
            "SELECT found.answered
             FROM unnest($1::uuid[]) WITH ORDINALITY AS asked (pseudonym, place)
             LEFT JOIN LATERAL (
                 SELECT bool_or(batch.answered_at IS NOT NULL) AS answered
                 FROM certificate JOIN batch ON batch.id = certificate.batch
                 WHERE certificate.pseudonym = asked.pseudonym
                 AND certificate.batch IS DISTINCT FROM $2::bigint
                 AND (batch.answered_at IS NULL OR batch.issued_at > $3)) AS found ON true
             ORDER BY asked.place",
            &[&pseudonyms, &except, &forgotten_until],
        )?;
        rows.iter().map(|row| Ok(column::<Option<bool>>(row, 0)?.map(conflict))).collect()
    }
}

fn conflict(answered: bool) -> DoseConflict {
    if answered { DoseConflict::AlreadyCertified } else { DoseConflict::InProgress }
}

/// The half of a pseudonym that is stored: 128 bits, so that two of 10^8 doses meet by chance with a
/// probability of 10^-23.
fn kept_half(pseudonym: &[u8; 32]) -> Uuid {
    pseudonym.first_chunk::<16>().map_or(Uuid::nil(), |half| Uuid::from_bytes(*half))
}
