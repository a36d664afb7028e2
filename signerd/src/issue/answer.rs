//! The answers of the spine, encoded.

use super::judge::Judged;
use super::plan::Plan;
use super::{Batch, IssueError, Warnings};
use crate::hcert::Hcert;
use crate::wire::cbor::{Bytes, write};
use crate::wire::response::{
    BatchResponse, IssuedCertificate, PreviewResponse, PreviewResult, RecordResult,
};

/// The answer to a signed batch: one result per record, in order.
pub(super) fn issued(
    batch: &Batch,
    judged: &Judged,
    plan: &Plan,
    signed: Vec<Hcert>,
) -> Result<Vec<u8>, IssueError> {
    let mut certificates = plan.certificates.iter().zip(signed).peekable();
    let results = judged.records.iter().enumerate().map(|(index, verdict)| match verdict {
        Ok(_) => {
            let mut of_record = Vec::new();
            while let Some((planned, hcert)) =
                certificates.next_if(|(planned, _)| planned.place.record == index)
            {
                of_record.push(IssuedCertificate {
                    dose: planned.dose,
                    uvci: planned.uvci.to_string(),
                    hcert: hcert.into_text(),
                    expires_at: planned.expires_at,
                });
            }
            if of_record.is_empty() {
                return Err(IssueError::Incomplete);
            }
            Ok(RecordResult::issued(of_record))
        }
        Err(reasons) => Ok(RecordResult::rejected(reasons)),
    });
    encode(batch, results.collect::<Result<_, _>>()?, plan.issued_at)
}

/// The answer to an atomic batch with a rejected record: nothing was signed.
pub(super) fn withheld(batch: &Batch, judged: &Judged, now: i64) -> Result<Vec<u8>, IssueError> {
    let results = judged.records.iter().map(|verdict| match verdict {
        Ok(_) => RecordResult::withheld(),
        Err(reasons) => RecordResult::rejected(reasons),
    });
    encode(batch, results.collect(), now)
}

/// The answer to a preview.
pub(super) fn preview(
    batch: &Batch,
    judged: &Judged,
    warnings: Warnings,
) -> Result<Vec<u8>, IssueError> {
    let results = judged.records.iter().map(|verdict| match verdict {
        Ok(approved) => {
            let doses = approved.doses().iter().map(|dose| dose.number).collect();
            let shown = warnings == Warnings::Shown;
            PreviewResult::acceptable(doses, approved.warnings().iter().filter(|_| shown))
        }
        Err(reasons) => PreviewResult::rejected(reasons),
    });
    let results = results.collect();
    let response = PreviewResponse { issuer: &batch.issuer, results, batch_id: Bytes(&batch.id) };
    Ok(write::to_vec(&response)?)
}

fn encode(
    batch: &Batch,
    results: Vec<RecordResult>,
    issued_at: i64,
) -> Result<Vec<u8>, IssueError> {
    let kid = batch.signer.kid();
    let response = BatchResponse {
        kid: Bytes(kid.as_bytes()),
        issuer: &batch.issuer,
        results,
        batch_id: Bytes(&batch.id),
        issued_at,
    };
    Ok(write::to_vec(&response)?)
}
