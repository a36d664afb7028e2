//! The rules about doses: selection, dates, number.
//!
//! A rule looks at the selected doses only, but for the order of dates and the total, for which all
//! doses of the record count. A date that is none is reported once, and no other rule looks at it.

use jiff::civil::Date;

use super::case::{Case, DoseCase, Report};
use crate::reason::ReasonCode::{
    DoseBeforeBirth, DoseDateFuture, DoseDateInvalid, DoseDateTooEarly, DoseDatesNotAscending,
    DoseNotInRecord, DoseTooMany, DoseTotalInconsistent,
};

/// Every selected number is a dose of the record, and at least one is selected.
pub(super) fn selected_doses_are_in_the_record(case: &Case<'_>, report: &mut Report) {
    let Some(selected) = case.entry.selected else { return };
    if selected.is_empty() {
        report.add(DoseNotInRecord, "/doses");
    }
    for (index, number) in selected.iter().enumerate() {
        if !case.record().doses.iter().any(|dose| dose.number == *number) {
            report.add(DoseNotInRecord, format!("/doses/{index}"));
        }
    }
}

/// The date of a dose is a calendar date.
pub(super) fn date_is_a_date(case: &Case<'_>, report: &mut Report) {
    for dose in case.selected().filter(|dose| dose.date.is_none()) {
        report.add(DoseDateInvalid, dose.path("date"));
    }
}

/// No dose is given in the future, by the calendar of Viet Nam.
pub(super) fn date_is_past(case: &Case<'_>, report: &mut Report) {
    for dose in case.selected().filter(|dose| dose.date > Some(case.today)) {
        report.add(DoseDateFuture, dose.path("date"));
    }
}

/// No dose is given before its product was given to anybody outside trials.
pub(super) fn date_is_not_before_the_product(case: &Case<'_>, report: &mut Report) {
    for dose in case.selected() {
        let first_given = case.policy.catalogue().first_given(&dose.dose.product);
        if dose.date.is_some_and(|date| date < first_given) {
            report.add(DoseDateTooEarly, dose.path("date"));
        }
    }
}

/// No dose is given before the holder's birth; a partial birth date counts from its earliest day.
pub(super) fn date_is_not_before_birth(case: &Case<'_>, report: &mut Report) {
    let Some(birth) = case.birth else { return };
    for dose in case.selected() {
        if dose.date.is_some_and(|date| date < birth.earliest) {
            report.add(DoseBeforeBirth, dose.path("date"));
        }
    }
}

/// Each dose is given after the one before it, selected or not.
pub(super) fn dates_ascend(case: &Case<'_>, report: &mut Report) {
    let mut dated = case.doses.iter().filter(|dose| dose.date.is_some());
    let Some(mut before) = dated.next() else { return };
    for dose in dated {
        if dose.date <= before.date {
            report.add(DoseDatesNotAscending, dose.path("date"));
        }
        before = dose;
    }
}

/// No more doses are certified than the issuer's rules allow for one record.
pub(super) fn not_too_many(case: &Case<'_>, report: &mut Report) {
    if case.selected().count() > usize::from(case.rules.doses_per_record_max()) {
        let is_chosen = case.entry.selected.is_some();
        report.add(DoseTooMany, if is_chosen { "/doses" } else { "/record/doses" });
    }
}

/// The total of doses is not below the greatest dose number.
pub(super) fn total_covers_all(case: &Case<'_>, report: &mut Report) {
    if case.record().doses.iter().any(|dose| dose.number > case.record().total_doses) {
        report.add(DoseTotalInconsistent, "/record/total_doses");
    }
}

/// The selected doses of the primary series that follow the one before sooner than the schedule of
/// their product allows. Where the product changed, no schedule is known. It is a warning only: what was
/// given was given.
pub(super) fn hasty<'c, 'a>(case: &'c Case<'a>) -> impl Iterator<Item = &'c DoseCase<'a>> {
    let pairs = case.doses.iter().zip(case.doses.iter().skip(1));
    let hasty = pairs.filter(|(before, dose)| {
        let product = &dose.dose.product;
        let catalogue = case.policy.catalogue();
        let in_series = dose.dose.number <= catalogue.series_size(product)
            && before.dose.number.checked_add(1) == Some(dose.dose.number)
            && before.dose.product == *product;
        let days = before.date.zip(dose.date).map(|(before, date)| days_between(before, date));
        let fewest = catalogue.interval_days(product).map(i32::from);
        in_series && days.zip(fewest).is_some_and(|(days, fewest)| days < fewest)
    });
    hasty.map(|(_, dose)| dose).filter(|dose| dose.is_selected)
}

fn days_between(before: Date, date: Date) -> i32 {
    date.duration_since(before).as_hours().div_euclid(24).try_into().unwrap_or(i32::MAX)
}
