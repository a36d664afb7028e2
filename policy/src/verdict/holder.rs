//! The rules about the person: identity number, birth date, name, nationality.

use super::{
    approved::name_reason,
    case::{Case, Report},
};
use crate::{
    calendar::BirthDate,
    issuer::IdCheck,
    reason::ReasonCode::{
        HolderBirthDateFuture, HolderBirthDateInvalid, HolderIdMalformed, HolderIdMissing,
        HolderNationalityUnknown,
    },
};

const VIET_NAM: &str = "VN";
const NATIONAL_ID: &str = "/record/holder/national_id";
const PASSPORT: &str = "/record/holder/passport";
const DATE_OF_BIRTH: &str = "/record/holder/date_of_birth";

/// A holder has a national identity number; a foreigner may have a passport instead.
pub(super) fn has_an_identity_number(case: &Case<'_>, report: &mut Report) {
    let holder = case.holder();
    let is_foreign = holder.nationality != VIET_NAM;
    match (&holder.national_id, &holder.passport) {
        (None, None) if is_foreign => report.add(HolderIdMissing, PASSPORT),
        (None, _) if !is_foreign => report.add(HolderIdMissing, NATIONAL_ID),
        _ => {}
    }
}

/// A national number has 12 digits (CCCD) or 9 (CMND), a passport number 5 to 20 capital letters and
/// digits. Where the issuer's rules are strict, a Vietnamese CCCD agrees with the record.
pub(super) fn identity_number_is_well_formed(case: &Case<'_>, report: &mut Report) {
    let holder = case.holder();
    if let Some(id) = &holder.national_id {
        let is_digits = id.bytes().all(|byte| byte.is_ascii_digit());
        let is_well_formed = is_digits && matches!(id.len(), 9 | 12);
        let is_strict = case.rules.id_check() == IdCheck::Strict && holder.nationality == VIET_NAM;
        if !is_well_formed || (is_strict && cccd_contradicts(id, case.birth)) {
            report.add(HolderIdMalformed, NATIONAL_ID);
        }
    }
    if let Some(passport) = &holder.passport {
        let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        if !(5..=20).contains(&passport.len()) || !passport.bytes().all(allowed) {
            report.add(HolderIdMalformed, PASSPORT);
        }
    }
}

/// A birth date is a calendar date that a certificate can hold.
pub(super) fn birth_date_is_a_date(case: &Case<'_>, report: &mut Report) {
    if case.birth.is_none() {
        report.add(HolderBirthDateInvalid, DATE_OF_BIRTH);
    }
}

/// Nobody is born in the future.
pub(super) fn birth_date_is_past(case: &Case<'_>, report: &mut Report) {
    if case.birth.is_some_and(|birth| birth.earliest > case.today) {
        report.add(HolderBirthDateFuture, DATE_OF_BIRTH);
    }
}

/// A name can be written as a certificate needs it.
pub(super) fn name_can_be_certified(case: &Case<'_>, report: &mut Report) {
    for &fault in case.names.as_ref().err().into_iter().flatten() {
        let reason = name_reason(fault);
        report.add(reason.code, reason.path);
    }
}

/// A nationality is a country.
pub(super) fn nationality_is_a_country(case: &Case<'_>, report: &mut Report) {
    if !case.policy.catalogue().is_country(&case.holder().nationality) {
        report.add(HolderNationalityUnknown, "/record/holder/nationality");
    }
}

/// Tells whether a number of 12 digits cannot be this person's CCCD. By Thông tư 59/2021/TT-BCA they
/// are: where the birth was registered (3 digits), century and sex (1), year of birth (2), and 6 that
/// say nothing.
fn cccd_contradicts(id: &str, birth: Option<BirthDate>) -> bool {
    let number =
        |from: usize, to: usize| id.get(from..to).and_then(|part| part.parse::<i16>().ok());
    let (12, Some(place), Some(century), Some(year)) =
        (id.len(), number(0, 3), number(3, 4), number(4, 6))
    else {
        return false;
    };
    // 0 and 1 are born in 1900 to 1999, 2 and 3 in the century after, and so on.
    let born = 1900 + century / 2 * 100 + year;
    !is_place(place) || birth.is_some_and(|birth| birth.earliest.year() != born)
}

/// Tells whether a number stands for a province of Viet Nam, or for a foreign country, whose numbers
/// begin at 101.
fn is_place(place: i16) -> bool {
    /// From Hà Nội (001) to Cà Mau (096), as the 63 provinces were when the numbers were given.
    const PROVINCES: [i16; 63] = [
        1, 2, 4, 6, 8, 10, 11, 12, 14, 15, 17, 19, 20, 22, 24, 25, 26, 27, 30, 31, 33, 34, 35, 36,
        37, 38, 40, 42, 44, 45, 46, 48, 49, 51, 52, 54, 56, 58, 60, 62, 64, 66, 67, 68, 70, 72, 74,
        75, 77, 79, 80, 82, 83, 84, 86, 87, 89, 91, 92, 93, 94, 95, 96,
    ];
    PROVINCES.contains(&place) || place > 100
}
