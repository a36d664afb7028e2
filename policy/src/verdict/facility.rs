//! The rules about the facility (Công văn 1908, Annex 01-1, 02-1 and 02-3): a unit signs only doses
//! that were given at, or entered by, that unit.

use super::case::{Case, Report};
use crate::{
    evidence::Evidence,
    issuer::Requirement,
    reason::ReasonCode::{FacilityNotItsDose, FacilityNotOfIssuer, FacilitySignatureMissing},
};

const PATH: &str = "/facility_signature";

/// There is a signature, and by the registry its unit may sign each selected dose. Which unit manages
/// which is never taken from the record. An issuer may do without a signature; one that is there
/// counts all the same.
pub(super) fn signer_may_sign_each_dose(case: &Case<'_>, report: &mut Report) {
    let signer = match &case.entry.facility {
        Evidence::Missing if case.rules.facility_signature() == Requirement::Optional => return,
        Evidence::Missing => return report.add(FacilitySignatureMissing, PATH),
        Evidence::Refused(code) => return report.add(*code, PATH),
        Evidence::Verified(signer) => signer,
    };
    for dose in case.selected() {
        if !case.policy.registry().may_sign_for(&signer.unit, &dose.dose.facility) {
            report.add(FacilityNotItsDose, dose.path("facility"));
        }
    }
}

/// The issuer certifies doses of the units and areas that its rules name, wherever they were signed.
pub(super) fn issuer_covers_each_unit(case: &Case<'_>, report: &mut Report) {
    for dose in case.selected() {
        if !case.rules.covers(&dose.dose.facility, case.policy.registry()) {
            report.add(FacilityNotOfIssuer, dose.path("facility"));
        }
    }
}
