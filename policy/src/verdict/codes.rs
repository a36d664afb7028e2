//! The rules about codes: known ones, and such as belong together.

use super::case::{Case, DoseCase, Report};
use crate::{
    issuer::CodeCombinations,
    reason::ReasonCode::{
        DoseCodesInconsistent, DoseManufacturerUnknown, DoseProductUnknown, DoseVaccineUnknown,
    },
    value_set::Kind,
};

/// Vaccine type, product and manufacturer are codes of a selected value set.
pub(super) fn codes_are_known(case: &Case<'_>, report: &mut Report) {
    for dose in case.selected() {
        for (kind, value, unknown, member) in [
            (Kind::Vaccine, &dose.dose.vaccine, DoseVaccineUnknown, "vaccine"),
            (Kind::Product, &dose.dose.product, DoseProductUnknown, "product"),
            (Kind::Manufacturer, &dose.dose.manufacturer, DoseManufacturerUnknown, "manufacturer"),
        ] {
            if !case.policy.catalogue().knows(kind, value, dose.date, Some(case.today)) {
                report.add(unknown, dose.path(member));
            }
        }
    }
}

/// Product, manufacturer and vaccine type belong together, unless the issuer's rules are lenient.
pub(super) fn codes_belong_together(case: &Case<'_>, report: &mut Report) {
    if case.rules.code_combinations() == CodeCombinations::Lenient {
        return;
    }
    for dose in case.selected().filter(|dose| is_slip(case, dose)) {
        report.add(DoseCodesInconsistent, format!("/record/doses/{}", dose.index));
    }
}

/// Tells whether the codes of a dose are each known and yet do not belong together.
pub(super) fn is_slip(case: &Case<'_>, dose: &DoseCase<'_>) -> bool {
    let (catalogue, today) = (case.policy.catalogue(), Some(case.today));
    let (product, manufacturer) = (&dose.dose.product, &dose.dose.manufacturer);
    let vaccine = &dose.dose.vaccine;
    let is_known = |kind, code| catalogue.knows(kind, code, dose.date, today);
    is_known(Kind::Product, product)
        && is_known(Kind::Manufacturer, manufacturer)
        && is_known(Kind::Vaccine, vaccine)
        && !catalogue.belong_together(product, manufacturer, vaccine, today)
}
