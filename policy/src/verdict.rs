//! The verdict over one record: may it be certified, and if not, why.
//!
//! In: an [`Entry`] (the record, which of its doses are wanted, and the evidence about it), the
//! issuer's rules, the policy and the time. Out: [`Approved`], from which alone a certificate can be
//! made, or every reason that applies, in the contract's order. The same input gives the same
//! verdict, so a preview says exactly what signing would.
//!
//! Each rule is one function in one of the modules below; `RULES` lists them all. What this does
//! not know: signatures (verified before) and doses certified before (the ledger's matter).

mod approved;
mod case;
mod codes;
mod dose;
mod facility;
mod holder;
mod identity;
#[cfg(test)]
pub(crate) mod sample;

pub use approved::{Approved, ApprovedDose};
use case::{Case, Report};

use crate::{
    evidence::{Evidence, FacilitySigner, IdentityStatement},
    issuer::IssuerRules,
    policy_file::Policy,
    reason::{Reason, ReasonCode},
    record::Record,
};

/// One record of a batch and what is known about it.
pub struct Entry<'a> {
    /// The record.
    pub record: &'a Record,
    /// Numbers of the doses to certify; absent: all.
    pub selected: Option<&'a [u8]>,
    /// SHA-256 of the bytes of the record's holder.
    pub holder_digest: [u8; 32],
    /// The population database's statement about the holder.
    pub identity: Evidence<IdentityStatement>,
    /// The facility's signature over the record.
    pub facility: Evidence<FacilitySigner>,
}

/// Judges one record at the time `now`, in seconds since 1970.
///
/// # Errors
/// Every reason that applies, sorted, never an empty list.
pub fn judge(
    entry: &Entry<'_>,
    rules: &IssuerRules,
    policy: &Policy,
    now: i64,
) -> Result<Approved, Vec<Reason>> {
    form(entry.record)?;
    let case = Case::new(entry, rules, policy, now);
    let mut report = Report::default();
    for rule in RULES {
        rule(&case, &mut report);
    }
    report.into_reasons().map_or_else(|| Approved::new(case), Err)
}

/// Every rule, in the order of the contract's table.
const RULES: &[fn(&Case<'_>, &mut Report)] = &[
    holder::has_an_identity_number,
    holder::identity_number_is_well_formed,
    holder::birth_date_is_a_date,
    holder::birth_date_is_past,
    holder::name_can_be_certified,
    holder::nationality_is_a_country,
    dose::selected_doses_are_in_the_record,
    dose::date_is_a_date,
    dose::date_is_past,
    dose::date_is_not_before_the_product,
    dose::date_is_not_before_birth,
    dose::dates_ascend,
    dose::not_too_many,
    dose::total_covers_all,
    codes::codes_are_known,
    codes::codes_belong_together,
    identity::person_is_the_databases,
    facility::signer_may_sign_each_dose,
    facility::issuer_covers_each_unit,
];

/// Checks again what the wire promises about a record, so that no verdict rests on a promise: there
/// are doses, and their numbers ascend from 1. A record without that form is not judged further.
fn form(record: &Record) -> Result<(), Vec<Reason>> {
    let invalid = |path: String| Err(vec![Reason::new(ReasonCode::RecordInvalid, path)]);
    if record.doses.is_empty() {
        return invalid("/record/doses".to_owned());
    }
    let mut last = 0;
    for (index, dose) in record.doses.iter().enumerate() {
        if dose.number <= last {
            return invalid(format!("/record/doses/{index}/number"));
        }
        last = dose.number;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
