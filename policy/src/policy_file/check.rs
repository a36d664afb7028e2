//! Which of the things that `policy.toml` can say are acceptable: issuers, and what they share.
//!
//! In: the file as it was read. Out: checked rules; what is wrong goes to the list of faults, and the
//! rules are then absent. Every check runs, so that all faults are reported at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    ops::{Range, RangeInclusive},
};

use toml::Spanned;
use unicode_normalization::UnicodeNormalization;

use super::{
    FacilityTrust, Faults, Policy,
    spec::{FacilityTrustSpec, IssuerSpec, Spec},
    units,
};
use crate::{
    batch::RECORDS_MAX,
    issuer::{CodeCombinations, IdCheck, IssuerRules},
    value_set::{Catalogue, ValueSetFault},
};

/// The most doses of one record that the wire's format can hold.
const DOSES_MAX: u8 = 9;
/// Doses certified for one record where the file does not say (Công văn 1908: 1 to 3).
const DOSES_DEFAULT: u8 = 3;
/// Months of validity, at most and by default (Quyết định 5772 §1.5).
const MONTHS_MAX: u8 = 12;
/// A look-up older than a year says little about a person's data.
const STATEMENT_AGE_DAYS_MAX: u16 = 366;
/// The age of a look-up where the file does not say.
const STATEMENT_AGE_DAYS_DEFAULT: u16 = 90;
/// The longest field `is` of a certificate (DCC schema 1.3.0), in characters.
const ISSUING_BODY_CHARS_MAX: usize = 80;
/// The longest id of an issuer, as in the wire's format.
const ISSUER_ID_MAX: usize = 63;
/// The longest path, key name or name that the file may hold: room for all real ones.
const TEXT_CHARS_MAX: usize = 500;

/// Checks the whole file.
pub(super) fn policy(spec: Spec, faults: &mut Faults<'_>) -> Option<Policy> {
    let catalogue = catalogue(spec.value_sets, faults);
    if spec.issuer.is_empty() {
        faults.add_absence("issuer", "no issuer is defined", "add a table [issuer.ID]");
    }
    let mut issuers = BTreeMap::new();
    for (id, issuer) in spec.issuer {
        if let Some(rules) = issuer_rules(&id, issuer, faults) {
            issuers.insert(id.into_inner(), rules);
        }
    }
    if spec.verifier.is_empty() {
        faults.add_absence(
            "verifier",
            "identity statements are required and no verifier is defined",
            "add a table [[verifier]] with the certificate of the population database's gateway",
        );
    }
    let verifiers =
        texts("verifier.certificate", spec.verifier.into_iter().map(|v| v.certificate), faults);
    let facility_trust = facility_trust(spec.facility_trust, faults);
    let registry = units::registry(spec.facility, faults);
    Some(Policy {
        issuers,
        registry,
        verifiers,
        facility_trust: facility_trust?,
        catalogue: catalogue?,
    })
}

/// Joins the selected value sets; without the key, all of them.
fn catalogue(
    value_sets: Option<Vec<Spanned<String>>>,
    faults: &mut Faults<'_>,
) -> Option<Catalogue> {
    let key = || "value_sets".to_owned();
    let Some(value_sets) = value_sets else { return Catalogue::select(Catalogue::set_ids()).ok() };
    if value_sets.is_empty() {
        faults.add_absence("value_sets", "no value set is selected", &available_sets());
    }
    for id in &value_sets {
        if let Err(fault) = Catalogue::select([id.get_ref().as_str()]) {
            let remedy = match fault {
                ValueSetFault::Unknown { .. } => available_sets(),
                ValueSetFault::Damaged { .. } => "install the program again".to_owned(),
            };
            faults.add(id.span(), key(), [fault.to_string(), remedy]);
        }
    }
    Catalogue::select(value_sets.iter().map(|id| id.get_ref().as_str())).ok()
}

fn available_sets() -> String {
    format!("select from {}", Catalogue::set_ids().collect::<Vec<_>>().join(", "))
}

/// Checks one `[issuer.ID]`.
fn issuer_rules(
    id: &Spanned<String>,
    spec: IssuerSpec,
    faults: &mut Faults<'_>,
) -> Option<IssuerRules> {
    let key = |name: &str| format!("issuer.{}.{name}", id.get_ref());
    issuer_id(id, faults);
    let own_id = || Spanned::new(id.span(), id.get_ref().clone());
    let key_name = text(key("key"), spec.key.unwrap_or_else(own_id), faults);
    let clients = clients(&key("clients"), spec.clients, faults);
    let iss = country(key("iss"), spec.iss, faults);
    let issuing_body = issuing_body(key("issuing_body"), &spec.issuing_body, faults);
    let (records, doses) = (spec.records_max, spec.doses_per_record_max);
    let records = number(key("records_max"), records, 1..=RECORDS_MAX, RECORDS_MAX, faults);
    let doses = number(key("doses_per_record_max"), doses, 1..=DOSES_MAX, DOSES_DEFAULT, faults);
    let (months, age) = (spec.validity_months, spec.statement_age_days_max);
    let months = number(key("validity_months"), months, 1..=MONTHS_MAX, MONTHS_MAX, faults);
    let ages = 1..=STATEMENT_AGE_DAYS_MAX;
    let age = number(key("statement_age_days_max"), age, ages, STATEMENT_AGE_DAYS_DEFAULT, faults);
    let combinations =
        [("strict", CodeCombinations::Strict), ("lenient", CodeCombinations::Lenient)];
    let combinations =
        choice(key("code_combinations"), spec.code_combinations, &combinations, faults);
    let id_checks = [("format", IdCheck::Format), ("strict", IdCheck::Strict)];
    let id_check = choice(key("id_check"), spec.id_check, &id_checks, faults);
    // Each of these has one value so far; that it is written down makes a laxer one visible.
    choice(key("identity_statement"), spec.identity_statement, &[("required", ())], faults);
    choice(key("facility_signature"), spec.facility_signature, &[("required", ())], faults);
    choice(key("reissue"), spec.reissue, &[("never", ())], faults);
    Some(IssuerRules {
        id: id.get_ref().clone(),
        clients,
        key: key_name,
        iss,
        issuing_body,
        records_max: records?,
        doses_per_record_max: doses?,
        validity_months: months?,
        statement_age_days_max: age?,
        code_combinations: combinations?,
        id_check: id_check?,
    })
}

fn issuer_id(id: &Spanned<String>, faults: &mut Faults<'_>) {
    let text = id.get_ref();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty()
        || text.len() > ISSUER_ID_MAX
        || text.starts_with('-')
        || !text.chars().all(allowed)
    {
        let problem = "is not the id of an issuer".to_owned();
        let remedy = "use 1 to 63 of a-z, 0-9 and -, not beginning with -".to_owned();
        faults.add(id.span(), format!("issuer.{text}"), [problem, remedy]);
    }
}

/// Client ids are defined in `signerd.toml`; here they are only not blank and not repeated.
fn clients(key: &str, clients: Vec<Spanned<String>>, faults: &mut Faults<'_>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    for client in &clients {
        if !seen.insert(client.get_ref().clone()) {
            let problem = format!("client {:?} is named twice", client.get_ref());
            faults.add(client.span(), key.to_owned(), [problem, "remove one".to_owned()]);
        }
    }
    texts(key, clients, faults)
}

/// Two letters as in ISO 3166-1, or three as the WHO's network also has them.
fn country(key: String, iss: Spanned<String>, faults: &mut Faults<'_>) -> String {
    let text = iss.get_ref();
    if !(2..=3).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        let problem = "is not a country code".to_owned();
        let remedy = "use two capital letters (ISO 3166-1); Viet Nam is VN".to_owned();
        faults.add(iss.span(), key, [problem, remedy]);
    }
    iss.into_inner()
}

fn issuing_body(key: String, body: &Spanned<String>, faults: &mut Faults<'_>) -> String {
    let composed: String = body.get_ref().trim().nfc().collect();
    let length = composed.chars().count();
    if !(1..=ISSUING_BODY_CHARS_MAX).contains(&length) || composed.chars().any(char::is_control) {
        let problem = format!("has {length} characters, or one that is not printable");
        let remedy = format!("use 1 to {ISSUING_BODY_CHARS_MAX} printable characters");
        faults.add(body.span(), key, [problem, remedy]);
    }
    composed
}

fn facility_trust(
    spec: Option<FacilityTrustSpec>,
    faults: &mut Faults<'_>,
) -> Option<FacilityTrust> {
    let remedy = "name the certificates of the authorities that certify facilities";
    let Some(spec) = spec else {
        let problem = "facility signatures are required and no authority is trusted";
        faults.add_absence("facility_trust.ca", problem, remedy);
        return None;
    };
    if spec.ca.get_ref().is_empty() {
        let problem = "is empty, so no facility could sign".to_owned();
        faults.add(spec.ca.span(), "facility_trust.ca".to_owned(), [problem, remedy.to_owned()]);
    }
    Some(FacilityTrust {
        ca: texts("facility_trust.ca", spec.ca.into_inner(), faults),
        crl: texts("facility_trust.crl", spec.crl, faults),
    })
}

/// Checks each of several texts.
pub(super) fn texts(
    key: &str,
    values: impl IntoIterator<Item = Spanned<String>>,
    faults: &mut Faults<'_>,
) -> Vec<String> {
    values.into_iter().map(|value| text(key.to_owned(), value, faults)).collect()
}

/// Checks that a text is there, printable and of a sane length.
pub(super) fn text(key: String, value: Spanned<String>, faults: &mut Faults<'_>) -> String {
    let (text, span): (_, Range<usize>) = (value.get_ref(), value.span());
    if text.trim().is_empty()
        || text.chars().count() > TEXT_CHARS_MAX
        || text.chars().any(char::is_control)
    {
        let problem = "is blank, too long or not printable".to_owned();
        faults.add(span, key, [problem, format!("use 1 to {TEXT_CHARS_MAX} printable characters")]);
    }
    value.into_inner()
}

/// Reads one of several words; the first is the default.
fn choice<T: Copy>(
    key: String,
    value: Option<Spanned<String>>,
    allowed: &[(&str, T)],
    faults: &mut Faults<'_>,
) -> Option<T> {
    let Some(value) = value else { return allowed.first().map(|(_, meaning)| *meaning) };
    let chosen = allowed.iter().find(|(word, _)| word == value.get_ref());
    if chosen.is_none() {
        let words: Vec<String> = allowed.iter().map(|(word, _)| format!("{word:?}")).collect();
        let problem = format!("is {:?}, which this program does not know", value.get_ref());
        faults.add(value.span(), key, [problem, format!("use {}", words.join(" or "))]);
    }
    chosen.map(|(_, meaning)| *meaning)
}

/// Reads a number of a range.
fn number<T: TryFrom<i64> + PartialOrd + Display + Copy>(
    key: String,
    value: Option<Spanned<i64>>,
    range: RangeInclusive<T>,
    default: T,
    faults: &mut Faults<'_>,
) -> Option<T> {
    let Some(value) = value else { return Some(default) };
    let number = T::try_from(*value.get_ref()).ok().filter(|number| range.contains(number));
    if number.is_none() {
        let problem = format!("is {}, which is out of range", value.get_ref());
        let remedy = format!("use {} to {}", range.start(), range.end());
        faults.add(value.span(), key, [problem, remedy]);
    }
    number
}
