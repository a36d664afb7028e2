//! Which `[issuer.ID]` tables are acceptable.
//!
//! In: the tables as they were read. Out: checked rules; where there is a fault, none. Whether clients,
//! keys and units exist is checked where those are known.

use std::collections::BTreeSet;

use toml::Spanned;
use unicode_normalization::UnicodeNormalization;

use super::{
    Faults,
    spec::IssuerSpec,
    units::unit_id,
    values::{choice, number, optional_number, text, texts},
};
use crate::{
    batch::RECORDS_MAX,
    issuer::{
        Algorithm, Assurance, CertifiedDoses, CodeCombinations, IdCheck, IssuerRules, Reissue,
        Requirement, Territory,
    },
    plain::is_plain,
    window::SigningWindow,
};

/// The most doses of one record that the wire's format can hold.
const DOSES_MAX: u8 = 9;
/// Doses certified for one record where the file does not say (Công văn 1908: 1 to 3).
const DOSES_DEFAULT: u8 = 3;
/// Several times what the whole country had vaccinated on its busiest day.
const DOSES_PER_DAY_MAX: u32 = 100_000_000;
/// Months of validity, at most and by default (Quyết định 5772 §1.5).
const MONTHS_MAX: u8 = 12;
/// A look-up older than a year says little about a person's data.
pub(super) const STATEMENT_AGE_DAYS_MAX: u16 = 366;
/// The age of a look-up where the file does not say.
const STATEMENT_AGE_DAYS_DEFAULT: u16 = 90;
/// Ten years: whoever wants longer wants no re-issue.
const REISSUE_DAYS_MAX: u16 = 3_660;
/// The longest field `is` of a certificate (DCC schema 1.3.0), in characters.
const ISSUING_BODY_CHARS_MAX: usize = 80;
/// The longest id of an issuer, as in the wire's format.
const ISSUER_ID_MAX: usize = 63;

/// Checks one `[issuer.ID]`.
pub(super) fn issuer_rules(
    id: &Spanned<String>,
    spec: IssuerSpec,
    faults: &mut Faults,
) -> Option<IssuerRules> {
    let key = |name: &str| format!("issuer.{}.{name}", id.get_ref());
    issuer_id(id, faults);
    let own_id = || Spanned::new(id.span(), id.get_ref().clone());
    let key_name = text(key("key"), spec.key.unwrap_or_else(own_id), faults);
    let clients = clients(&key("clients"), spec.clients, faults);
    let algorithm =
        spec.algorithm.map(|word| choice(key("algorithm"), Some(word), ALGORITHMS, faults));
    let iss = country(key("iss"), spec.iss, faults);
    let issuing_body = issuing_body(key("issuing_body"), &spec.issuing_body, faults);

    let records = (1..=RECORDS_MAX, RECORDS_MAX);
    let records = number(key("records_max"), spec.records_max, records, faults);
    let doses = (1..=DOSES_MAX, DOSES_DEFAULT);
    let doses = number(key("doses_per_record_max"), spec.doses_per_record_max, doses, faults);
    let (per_day, most) = (spec.doses_per_day_max.as_ref(), 1..=DOSES_PER_DAY_MAX);
    let doses_per_day_max = optional_number(key("doses_per_day_max"), per_day, &most, faults);
    let certificates = choice(key("certificates"), spec.certificates, CERTIFIED_DOSES, faults);
    let (after, days) = (spec.reissue_after_days.as_ref(), 1..=REISSUE_DAYS_MAX);
    let reissue = optional_number(key("reissue_after_days"), after, &days, faults);

    let signing_window = window(key("signing_window"), spec.signing_window.as_ref(), faults);
    let months = (1..=MONTHS_MAX, MONTHS_MAX);
    let months = number(key("validity_months"), spec.validity_months, months, faults);

    let assurance = choice(key("assurance"), spec.assurance, ASSURANCES, faults);
    let age = (1..=STATEMENT_AGE_DAYS_MAX, STATEMENT_AGE_DAYS_DEFAULT);
    let age = number(key("statement_age_days_max"), spec.statement_age_days_max, age, faults);
    let signature = spec.facility_signature;
    let signature = choice(key("facility_signature"), signature, REQUIREMENTS, faults);
    let facilities = covered(key("facilities"), spec.facilities, faults);
    let areas = covered(key("areas"), spec.areas, faults);
    let territory = territory(&key, facilities, areas, faults);
    let combinations = spec.code_combinations;
    let combinations = choice(key("code_combinations"), combinations, COMBINATIONS, faults);
    let id_check = choice(key("id_check"), spec.id_check, ID_CHECKS, faults);
    Some(IssuerRules {
        id: id.get_ref().clone(),
        clients,
        key: key_name,
        algorithm: match algorithm {
            Some(known) => Some(known?),
            None => None,
        },
        iss,
        issuing_body,
        records_max: records?,
        doses_per_record_max: doses?,
        doses_per_day_max,
        certified_doses: certificates?,
        reissue: reissue.map_or(Reissue::Never, Reissue::AfterDays),
        signing_window,
        validity_months: months?,
        assurance: assurance?,
        statement_age_days_max: age?,
        facility_signature: signature?,
        territory,
        code_combinations: combinations?,
        id_check: id_check?,
    })
}

// The words of the format; where a key is absent, the first one counts, and it is the strictest.
const ALGORITHMS: &[(&str, Algorithm)] =
    &[("ES256", Algorithm::Es256), ("PS256", Algorithm::Ps256)];
const ASSURANCES: &[(&str, Assurance)] =
    &[("statement", Assurance::Statement), ("asserted", Assurance::Asserted)];
const CERTIFIED_DOSES: &[(&str, CertifiedDoses)] =
    &[("each_dose", CertifiedDoses::Each), ("latest_dose", CertifiedDoses::Latest)];
const COMBINATIONS: &[(&str, CodeCombinations)] =
    &[("strict", CodeCombinations::Strict), ("lenient", CodeCombinations::Lenient)];
const ID_CHECKS: &[(&str, IdCheck)] = &[("format", IdCheck::Format), ("strict", IdCheck::Strict)];
const REQUIREMENTS: &[(&str, Requirement)] =
    &[("required", Requirement::Required), ("optional", Requirement::Optional)];

fn issuer_id(id: &Spanned<String>, faults: &mut Faults) {
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
fn clients(key: &str, clients: Vec<Spanned<String>>, faults: &mut Faults) -> Vec<String> {
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
fn country(key: String, iss: Spanned<String>, faults: &mut Faults) -> String {
    let text = iss.get_ref();
    if !(2..=3).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        let problem = "is not a country code".to_owned();
        let remedy = "use two capital letters (ISO 3166-1); Viet Nam is VN".to_owned();
        faults.add(iss.span(), key, [problem, remedy]);
    }
    iss.into_inner()
}

fn issuing_body(key: String, body: &Spanned<String>, faults: &mut Faults) -> String {
    let composed: String = body.get_ref().trim().nfc().collect();
    let length = composed.chars().count();
    if !(1..=ISSUING_BODY_CHARS_MAX).contains(&length) || !is_plain(&composed) {
        let problem = format!("has {length} characters, or one that a certificate must not show");
        let remedy = format!(
            "use 1 to {ISSUING_BODY_CHARS_MAX} printable characters with single spaces between the \
             words, and neither \" nor \\"
        );
        faults.add(body.span(), key, [problem, remedy]);
    }
    composed
}

fn window(
    key: String,
    value: Option<&Spanned<String>>,
    faults: &mut Faults,
) -> Option<SigningWindow> {
    let value = value?;
    let window = SigningWindow::parse(value.get_ref());
    if window.is_none() {
        let problem = format!("is {:?}, which is not a time of day", value.get_ref());
        let remedy = "write \"17:00-24:00\", two different times in Viet Nam; the second may be \
                      the earlier one, over midnight; without the key, it is always open";
        faults.add(value.span(), key, [problem, remedy.to_owned()]);
    }
    window
}

/// An empty list would cover nothing, and a missing one covers everything: the former is a fault.
fn covered(
    key: String,
    list: Option<Spanned<Vec<Spanned<String>>>>,
    faults: &mut Faults,
) -> Option<Vec<Spanned<String>>> {
    let list = list?;
    if list.get_ref().is_empty() {
        let problem = "is empty, which would cover no unit".to_owned();
        let remedy = "name some, or remove the key to cover all units".to_owned();
        faults.add(list.span(), key, [problem, remedy]);
    }
    Some(list.into_inner())
}

fn territory(
    key: &impl Fn(&str) -> String,
    facilities: Option<Vec<Spanned<String>>>,
    areas: Option<Vec<Spanned<String>>>,
    faults: &mut Faults,
) -> Option<Territory> {
    if facilities.is_none() && areas.is_none() {
        return None;
    }
    let facilities = facilities.into_iter().flatten();
    let facilities = facilities.map(|id| unit_id(key("facilities"), id, faults)).collect();
    let areas = texts(&key("areas"), areas.into_iter().flatten(), faults).into_iter().collect();
    Some(Territory { facilities, areas })
}
