//! The plan of a batch: which certificates will be made, under which identifiers and times.
//!
//! A plan is drawn from verdicts and stored as the ledger's intent before the HSM is touched, or
//! recalled from an intent that a crash left open. Here verdicts meet the ledger's memory: a dose that
//! another batch certified, or is certifying, turns its record into a rejected one.

use std::collections::{HashMap, HashSet};

use policy::{ApprovedDose, IssuerRules, Reason, ReasonCode, Uvci};

use super::judge::Judged;
use super::{Batch, IssueError};
use crate::ledger::{
    DoseConflict, IntendedCertificate, Intent, LedgerKeys, Reissue, Rejection, StoredIntent,
};

/// What will be signed.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) issued_at: i64,
    pub(super) certificates: Vec<Planned>,
}

/// One certificate to make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    pub(super) place: Place,
    pub(super) uvci: Uvci,
    pub(super) expires_at: i64,
    pub(super) dose: u8,
    pseudonym: [u8; 32],
}

/// Where a selected dose stands: the record in the batch, the dose among the approved ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) record: usize,
    pub(super) approved: usize,
    /// Index in the record's own list, for the path of a reason.
    listed: usize,
}

/// A dose that another batch has.
pub(super) type Conflicting = (Place, DoseConflict);

/// The keyed pseudonyms of all approved doses, for a look into the ledger without an intent.
pub(super) struct Pseudonyms(Vec<(Place, [u8; 32])>);

impl Pseudonyms {
    pub(super) fn values(&self) -> Vec<[u8; 32]> {
        self.0.iter().map(|(_, pseudonym)| *pseudonym).collect()
    }

    /// Pairs the ledger's answers, one per value, with the places they are about.
    pub(super) fn conflicting(&self, answers: Vec<Option<DoseConflict>>) -> Vec<Conflicting> {
        let places = self.0.iter().map(|(place, _)| *place);
        places.zip(answers).filter_map(|(place, conflict)| Some((place, conflict?))).collect()
    }
}

pub(super) fn pseudonyms(judged: &Judged, keys: &LedgerKeys) -> Pseudonyms {
    Pseudonyms(doses(judged, keys).map(|(place, _, pseudonym)| (place, pseudonym)).collect())
}

/// Turns the records whose doses another batch has into rejected ones.
pub(super) fn reject_conflicts(judged: &mut Judged, conflicting: &[Conflicting]) {
    let mut reasons: HashMap<usize, Vec<Reason>> = HashMap::new();
    for (place, conflict) in conflicting {
        let code = match conflict {
            DoseConflict::AlreadyCertified => ReasonCode::DoseAlreadyCertified,
            DoseConflict::InProgress => ReasonCode::DoseInProgress,
        };
        let reason = Reason::new(code, format!("/record/doses/{}", place.listed));
        reasons.entry(place.record).or_default().push(reason);
    }
    for (record, mut reasons) in reasons {
        reasons.sort();
        if let Some(verdict) = judged.records.get_mut(record) {
            *verdict = Err(reasons);
        }
    }
}

impl Plan {
    /// Draws a random UVCI for every approved dose.
    pub(super) fn draw(judged: &Judged, batch: &Batch, issued_at: i64) -> Result<Self, IssueError> {
        let expires_at = judged.expires_at;
        let certificates = doses(judged, &batch.keys).map(|(place, dose, pseudonym)| {
            let mut random = [0; 16];
            aws_lc_rs::rand::fill(&mut random).map_err(|_| IssueError::Random)?;
            let uvci = Uvci::from_random_bytes(random);
            Ok(Planned { place, uvci, expires_at, dose: dose.number, pseudonym })
        });
        Ok(Self { issued_at, certificates: certificates.collect::<Result<_, IssueError>>()? })
    }

    /// Recalls the plan of an open intent, if the verdicts still cover it. A record that is approved now
    /// but was not intended then lost its doses to another batch, as the intent says, and stays rejected.
    pub(super) fn recall(judged: &mut Judged, batch: &Batch, intent: StoredIntent) -> Option<Self> {
        let places: HashMap<(usize, u8), (Place, [u8; 32])> = doses(judged, &batch.keys)
            .map(|(place, dose, pseudonym)| ((place.record, dose.number), (place, pseudonym)))
            .collect();
        let issued_at = intent.issued_at;
        let recalled = intent.certificates.into_iter().map(|stored| {
            let record = usize::try_from(stored.record).ok()?;
            let (place, pseudonym) = *places.get(&(record, stored.dose))?;
            let uvci = Uvci::from_random_bytes(stored.uvci);
            let expires_at = stored.expires_at;
            Some(Planned { place, uvci, expires_at, dose: stored.dose, pseudonym })
        });
        let certificates = recalled.collect::<Option<Vec<_>>>()?;
        let intended: HashSet<Place> = certificates.iter().map(|planned| planned.place).collect();
        let lost: HashMap<usize, DoseConflict> =
            intent.rejections.iter().filter_map(lost_to_another).collect();
        let conflicting = places
            .into_values()
            .map(|(place, _)| place)
            .filter(|place| !intended.contains(place))
            .map(|place| Some((place, *lost.get(&place.record)?)));
        reject_conflicts(judged, &conflicting.collect::<Option<Vec<_>>>()?);
        Some(Self { issued_at, certificates })
    }

    /// What the ledger makes durable before the HSM is touched.
    pub(super) fn intent(&self, batch: &Batch, judged: &Judged, rules: &IssuerRules) -> Intent {
        let certificates = self.certificates.iter().map(|planned| IntendedCertificate {
            record: index(planned.place.record),
            dose: planned.dose,
            uvci: *planned.uvci.as_bytes(),
            expires_at: planned.expires_at,
            pseudonym: planned.pseudonym,
        });
        let rejected = judged.records.iter().enumerate().filter_map(|(record, verdict)| {
            let reasons = verdict.as_ref().err()?;
            let codes = reasons.iter().map(|reason| reason.code.as_str().to_owned()).collect();
            Some(Rejection { record: index(record), codes })
        });
        Intent {
            issuer: batch.issuer.clone(),
            kid: *batch.signer.kid().as_bytes(),
            issued_at: self.issued_at,
            certificates: certificates.collect(),
            rejections: rejected.collect(),
            assurance: rules.assurance().as_str(),
            reissue: reissue(rules),
            quota: rules.doses_per_day_max(),
        }
    }

    /// Pairs the ledger's refusals, by index of certificate, with the places they are about.
    pub(super) fn conflicting(&self, refusals: Vec<(usize, DoseConflict)>) -> Vec<Conflicting> {
        let place = |index: usize| self.certificates.get(index).map(|planned| planned.place);
        refusals.into_iter().filter_map(|(i, conflict)| Some((place(i)?, conflict))).collect()
    }
}

/// What the policy says about a second certificate of a dose, in the ledger's words.
pub(super) fn reissue(rules: &IssuerRules) -> Reissue {
    match rules.reissue() {
        policy::Reissue::Never => Reissue::Never,
        policy::Reissue::AfterDays(days) => Reissue::AfterDays(days),
    }
}

/// The record of a stored rejection whose doses another batch had, and which of the two it was.
fn lost_to_another(rejection: &Rejection) -> Option<(usize, DoseConflict)> {
    let has = |code: ReasonCode| rejection.codes.iter().any(|stored| stored == code.as_str());
    let conflict = if has(ReasonCode::DoseAlreadyCertified) {
        DoseConflict::AlreadyCertified
    } else if has(ReasonCode::DoseInProgress) {
        DoseConflict::InProgress
    } else {
        return None;
    };
    Some((usize::try_from(rejection.record).ok()?, conflict))
}

/// Every approved dose of the batch with its place and its keyed pseudonym.
fn doses<'a>(
    judged: &'a Judged,
    keys: &'a LedgerKeys,
) -> impl Iterator<Item = (Place, &'a ApprovedDose, [u8; 32])> {
    judged.records.iter().enumerate().filter_map(|(r, v)| Some((r, v.as_ref().ok()?))).flat_map(
        move |(record, approved)| {
            let keyed = approved.doses().iter().zip(approved.dose_keys()).enumerate();
            keyed.map(move |(index, (dose, key))| {
                let place = Place { record, approved: index, listed: dose.index };
                (place, dose, keys.pseudonym(key.as_bytes()))
            })
        },
    )
}

/// A batch has at most 1,000 records, so the index always fits.
fn index(record: usize) -> u32 {
    u32::try_from(record).unwrap_or(u32::MAX)
}
