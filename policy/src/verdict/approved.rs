//! The permission to certify: what a certificate may say about one record.
//!
//! In: a case against which no rule has a reason. Out: the fields of its certificates, as the
//! contract fills them. A value of [`Approved`] is the proof that the judge ran: nothing else makes
//! one, it cannot be copied, and who has one is obliged to use it or to say why not.

use std::fmt;

use super::{
    case::{Case, DoseCase},
    codes, dose,
};
use crate::{
    dose_key::{DoseKey, dose_keys},
    names::{NameFault, Names},
    reason::{Reason, ReasonCode},
    warning::{Warning, WarningCode},
};

/// One record that may be certified.
#[must_use = "an approved record is to be certified"]
pub struct Approved {
    issuer: String,
    names: Names,
    date_of_birth: String,
    doses: Vec<ApprovedDose>,
    dose_keys: Vec<DoseKey>,
    warnings: Vec<Warning>,
}

/// One dose that may be certified, as its certificate shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApprovedDose {
    /// Its place in the record's list, for the path of a reason.
    pub index: usize,
    /// Which dose it was.
    pub number: u8,
    /// Field `dn`: the number in the series.
    pub dn: u8,
    /// Field `sd`: how many doses the series has.
    pub sd: u8,
    /// Field `dt`: the calendar date, `YYYY-MM-DD`.
    pub date: String,
    /// Field `vp`: the type of vaccine.
    pub vaccine: String,
    /// Field `mp`: the product.
    pub product: String,
    /// Field `ma`: the manufacturer.
    pub manufacturer: String,
}

impl Approved {
    /// Makes the permission, if the name has the form of a certificate; the rules have seen to that.
    pub(super) fn new(case: Case<'_>) -> Result<Self, Vec<Reason>> {
        let record = case.record();
        Ok(Self {
            issuer: case.rules.id().to_owned(),
            date_of_birth: record.holder.date_of_birth.clone(),
            doses: case.selected().map(|dose| approved_dose(&case, dose)).collect(),
            dose_keys: dose_keys(record, case.selection),
            warnings: warnings(&case),
            names: case
                .names
                .map_err(|faults| faults.into_iter().map(name_reason).collect::<Vec<_>>())?,
        })
    }

    /// The id of the issuer by whose rules the record was judged; no other may certify it.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The holder's names.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Field `dob`: `YYYY-MM-DD`, `YYYY-MM` or `YYYY`.
    pub fn date_of_birth(&self) -> &str {
        &self.date_of_birth
    }

    /// The doses to certify, ascending.
    pub fn doses(&self) -> &[ApprovedDose] {
        &self.doses
    }

    /// The keys of the doses, in the same order.
    pub fn dose_keys(&self) -> impl ExactSizeIterator<Item = &DoseKey> {
        self.dose_keys.iter()
    }

    /// What is odd about it, in the order of the doses.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

/// It holds personal data and prints none.
impl fmt::Debug for Approved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approved").field("doses", &self.doses.len()).finish_non_exhaustive()
    }
}

/// It is personal data and prints none.
impl fmt::Debug for ApprovedDose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApprovedDose").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Where a fault of the name is reported.
pub(super) fn name_reason(fault: NameFault) -> Reason {
    let (code, member) = match fault {
        NameFault::Invalid => (ReasonCode::HolderNameInvalid, "full_name"),
        NameFault::NotTransliterable => (ReasonCode::HolderNameNotTransliterable, "full_name"),
        NameFault::SurnameNotInName => (ReasonCode::HolderSurnameNotInName, "surname"),
    };
    Reason::new(code, format!("/record/holder/{member}"))
}

fn approved_dose(case: &Case<'_>, DoseCase { index, dose, .. }: &DoseCase<'_>) -> ApprovedDose {
    ApprovedDose {
        index: *index,
        number: dose.number,
        dn: dose.number,
        sd: doses_in_series(case, dose.number, &dose.product),
        date: dose.date.clone(),
        vaccine: dose.vaccine.clone(),
        product: dose.product.clone(),
        manufacturer: dose.manufacturer.clone(),
    }
}

/// What the issuer's rules let pass and a person may want to look at.
fn warnings(case: &Case<'_>) -> Vec<Warning> {
    let slips = case.selected().filter(|dose| codes::is_slip(case, dose)).map(|dose| Warning {
        code: WarningCode::CodesInconsistent,
        path: format!("/record/doses/{}", dose.index),
    });
    let short = dose::hasty(case)
        .map(|dose| Warning { code: WarningCode::IntervalShort, path: dose.path("date") });
    slips.chain(short).collect()
}

/// Field `sd`. The series is that of the first dose's product, or if the record lacks the first dose,
/// of this one's. A dose beyond it is a booster: 3/3 after a series of two, 2/1 after one of one.
fn doses_in_series(case: &Case<'_>, number: u8, product: &str) -> u8 {
    let first = case.record().doses.iter().find(|dose| dose.number == 1);
    let series = case.policy.catalogue().series_size(first.map_or(product, |dose| &dose.product));
    if series == 1 { series } else { series.max(number) }
}
