//! The statements about the certificates of an intent, and about the doses that others have.

use rusqlite::params;

use super::super::LedgerError;
use super::super::batch::{DoseConflict, Intent};
use super::SqliteStore;
use super::failure::refused;
use super::rows::first;

impl SqliteStore {
    /// Finds out who else has a dose.
    pub(super) fn conflict(
        &self,
        pseudonym: &[u8; 32],
        except: Option<i64>,
        forgotten_until: i64,
    ) -> Result<Option<DoseConflict>, LedgerError> {
        let answered: Option<Option<bool>> = self.find(
            "SELECT max(batch.answered_at IS NOT NULL) FROM certificate
             JOIN batch ON batch.id = certificate.batch
             WHERE certificate.pseudonym = ?1 AND certificate.batch IS NOT ?2
             AND (batch.answered_at IS NULL OR batch.issued_at > ?3)",
            params![kept_half(pseudonym), except, forgotten_until],
            first,
        )?;
        Ok(answered.flatten().map(|answered| {
            if answered { DoseConflict::AlreadyCertified } else { DoseConflict::InProgress }
        }))
    }

    /// Stores the certificates of a batch in their order.
    pub(super) fn insert_certificates(&self, row: i64, intent: &Intent) -> Result<(), LedgerError> {
        let connection = self.connection()?;
        let mut insert = connection
            .prepare_cached(
                "INSERT INTO certificate
                 (batch, position, record, dose, uvci, expires_at, pseudonym)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )
            .map_err(refused)?;
        for (position, certificate) in (0_i64..).zip(&intent.certificates) {
            insert
                .execute(params![
                    row,
                    position,
                    certificate.record,
                    certificate.dose,
                    certificate.uvci,
                    certificate.expires_at,
                    kept_half(&certificate.pseudonym),
                ])
                .map_err(refused)?;
        }
        Ok(())
    }
}

/// The half of a pseudonym that is stored: 128 bits, so that two of 10^8 doses meet by chance with
/// a probability of 10^-23, at 40 bytes less per certificate in row and index.
fn kept_half(pseudonym: &[u8; 32]) -> &[u8] {
    pseudonym.first_chunk::<16>().map_or(&[], <[u8; 16]>::as_slice)
}
