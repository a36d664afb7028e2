//! The judging of a whole batch: every record decoded, its evidence verified, its verdict given.
//!
//! Runs on the threads for such work and spreads the records over the cores, unless they are few. The limits
//! of the batch and the rate of the client come first, because they need no signature to be verified.

use policy::{Approved, DoseKey, IssuerRules, Reason, Selection};
use rayon::prelude::*;

use super::{IssueError, Rules};
use crate::access::Client;
use crate::cpu;
use crate::hcert::SignerCertificate;
use crate::wire::record::{self, DecodedRecord};
use crate::wire::request::{self, RecordEntry};

/// The verdicts of a batch, one per record, in order.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) records: Vec<Result<Approved, Vec<Reason>>>,
    /// When its certificates expire, if they are issued at the time of judging.
    pub(super) expires_at: i64,
}

/// Whether the batch still has to pay for its doses.
#[derive(Clone, Copy)]
pub(super) enum Rate {
    /// It paid at its first attempt.
    Paid,
    /// It pays now.
    Spend,
}

impl Judged {
    pub(super) fn any_rejected(&self) -> bool {
        self.records.iter().any(Result::is_err)
    }

    /// The codes of all reasons, for the metrics.
    pub(super) fn codes(&self) -> impl Iterator<Item = &'static str> {
        let rejected = self.records.iter().filter_map(|verdict| verdict.as_ref().err());
        rejected.flatten().map(|reason| reason.code.as_str())
    }

    /// The codes of all warnings, for the metrics.
    pub(super) fn warnings(&self) -> impl Iterator<Item = &'static str> {
        let approved = self.records.iter().filter_map(|verdict| verdict.as_ref().ok());
        approved.flat_map(Approved::warnings).map(|warning| warning.code.as_str())
    }
}

/// Whether the issuer signs at this hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hours {
    /// It does, or the hour does not matter.
    Open,
    /// It does not.
    Closed {
        /// Seconds until it does.
        opens_in: u64,
    },
}

/// What a batch is judged by.
pub(super) struct Bench<'a> {
    pub(super) rules: &'a Rules,
    pub(super) client: &'a Client,
    pub(super) issuer: &'a str,
    pub(super) signer: &'a SignerCertificate,
    pub(super) now: i64,
    pub(super) terms: Terms,
}

/// The terms on which a batch is judged, apart from what it says.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) rate: Rate,
    pub(super) hours: Hours,
}

impl Bench<'_> {
    /// Judges the batch in `body`: its limits, its hour, its rate, the signer certificate, then its
    /// records.
    pub(super) fn judge(&self, body: &[u8]) -> Result<Judged, IssueError> {
        let Bench { rules, now, terms, .. } = *self;
        let issuer = rules.policy.issuer(self.issuer).ok_or(IssueError::IssuerNotAllowed)?;
        let request = request::decode(body)?;
        let count = usize::try_from(request.record_count).unwrap_or(usize::MAX);
        // More records than the format allows were counted, not decoded: their number decides first.
        policy::check_batch(issuer, &[], count)?;
        let records = request.records.par_iter().with_min_len(cpu::MOMENT_ITEMS);
        let decoded: Vec<_> = records.map(|entry| record::decode(entry.record)).collect();
        policy::check_batch(issuer, &dose_keys(issuer, &request.records, &decoded), count)?;
        if let Hours::Closed { opens_in } = terms.hours {
            return Err(IssueError::WindowClosed { retry_after: opens_in });
        }
        if let Rate::Spend = terms.rate {
            rules.access.spend(self.client, weight(&request.records, &decoded))?;
        }
        let expires_at = policy::expiry(now, issuer.validity_months(), self.signer.validity())?;
        let records = rules.verdicts(issuer, &request.records, decoded, now);
        Ok(Judged { records, expires_at })
    }
}

/// The selected doses of every readable record, with the index of the record.
fn dose_keys(
    issuer: &IssuerRules,
    entries: &[RecordEntry<'_>],
    decoded: &[Result<DecodedRecord, Reason>],
) -> Vec<(usize, Vec<DoseKey>)> {
    let readable = entries.iter().zip(decoded).enumerate();
    readable
        .filter_map(|(index, (entry, decoded))| {
            let record = &decoded.as_ref().ok()?.record;
            let selection = Selection::new(issuer, record, entry.doses.as_deref());
            Some((index, policy::dose_keys(record, selection)))
        })
        .collect()
}

/// The doses of a batch, as the rate limit weighs them; an unreadable record weighs one.
fn weight(entries: &[RecordEntry<'_>], decoded: &[Result<DecodedRecord, Reason>]) -> u32 {
    let doses = entries.iter().zip(decoded).map(|(entry, decoded)| {
        entry.doses.as_ref().map(Vec::len).or(decoded.as_ref().ok().map(|d| d.record.doses.len()))
    });
    let total = doses.map(|doses| doses.unwrap_or(1)).fold(0usize, usize::saturating_add);
    u32::try_from(total).unwrap_or(u32::MAX)
}
