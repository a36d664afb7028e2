//! `policy.toml`: a text is a policy, or it has faults that an operator can find and repair.
//!
//! What stands behind a form feed is every other file that the policy names, in TOML or CSV. Reading
//! twice says the same; empty lines before the text move its faults by as many lines and change nothing
//! else; a comment behind it changes nothing.

use std::collections::BTreeSet;

use policy::{
    Facility, FacilityTrust, Fault, IssuerRules, Place, Policy, RegisteredCertificate, Verifier,
};
use unicode_normalization::is_nfc;

/// How many lines the text is moved down.
const LINES: usize = 3;
/// Between the policy and the files that it names; TOML allows it nowhere.
const FILE_SEPARATOR: char = '\u{c}';

/// Takes any bytes; what is not UTF-8 does not get as far as the parser.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, file) = text.split_once(FILE_SEPARATOR).map_or((text, None), |(a, b)| (a, Some(b)));
    let parse = |text: &str| {
        let files = |_: &str| file.map(str::to_owned).ok_or_else(|| "there is none".to_owned());
        Policy::parse_with(text, &files)
    };
    match parse(text) {
        Ok(policy) => {
            accepted(&policy);
            let summary = Summary::of(&policy);
            let same =
                [(text.to_owned(), 0), (moved(text), LINES), (format!("{text}\n# the end\n"), 0)];
            for (same, lines) in same {
                let expected = summary.clone().lower(lines);
                assert_eq!(parse(&same).as_ref().map(Summary::of), Ok(expected));
            }
        }
        Err(faults) => {
            refused(text, file.unwrap_or_default(), &faults);
            assert_eq!(parse(text).err().as_ref(), Some(&faults));
            let expected: Vec<Fault> = faults.iter().map(lower).collect();
            assert_eq!(parse(&moved(text)).err(), Some(expected));
        }
    }
}

/// The text some lines further down; a byte order mark stays in front.
fn moved(text: &str) -> String {
    let (mark, rest) = text.strip_prefix('\u{feff}').map_or(("", text), |rest| ("\u{feff}", rest));
    format!("{mark}{}{rest}", "\n".repeat(LINES))
}

/// The fault of the moved text; those of other files stay where they are.
fn lower(fault: &Fault) -> Fault {
    let by = if fault.file.is_some() { 0 } else { LINES };
    Fault { line: fault.line.map(|line| line + by), ..fault.clone() }
}

fn refused(text: &str, file: &str, faults: &[Fault]) {
    assert!(!faults.is_empty(), "a refusal has a fault");
    let own = faults.iter().filter(|fault| fault.file.is_none());
    let lines: Vec<usize> = own.map(|fault| fault.line.unwrap_or(usize::MAX)).collect();
    assert!(lines.is_sorted(), "faults stand in the order of their lines: {faults:?}");
    for fault in faults {
        assert!(!fault.problem.trim().is_empty(), "{fault:?}");
        assert!(!fault.remedy.trim().is_empty(), "{fault:?}");
        let place = if fault.file.is_some() { file } else { text };
        let lines = place.matches('\n').count() + 1;
        assert!(fault.line.is_none_or(|line| (1..=lines).contains(&line)), "{fault:?} of {lines}");
        let printed = fault.to_string();
        assert!(!printed.contains(char::is_control), "a fault prints on one line: {printed:?}");
    }
}

fn accepted(policy: &Policy) {
    assert!(policy.issuers().len() > 0);
    for rules in policy.issuers() {
        assert_eq!(policy.issuer(rules.id()).map(|rules| rules.id()), Some(rules.id()));
        assert!((1..=63).contains(&rules.id().len()) && !rules.key().trim().is_empty());
        assert!((1..=1_000).contains(&rules.records_max()));
        assert!((1..=9).contains(&rules.doses_per_record_max()));
        assert!((1..=12).contains(&rules.validity_months()));
        assert!((1..=366).contains(&rules.statement_age_days_max()));
        assert!((2..=3).contains(&rules.iss().len()));
        let body = rules.issuing_body();
        assert!((1..=80).contains(&body.chars().count()) && is_nfc(body), "{body:?}");
        assert!(rules.clients().iter().all(|client| rules.allows_client(client)));
    }
    for unit in policy.registry().facilities() {
        let found = policy.registry().facility(unit.id()).map(|unit| unit.name());
        assert_eq!(found, Some(unit.name()), "a unit is found by its id");
        let lawful = unit.delegates().iter().map(String::as_str).chain(unit.managed_by());
        for signer in lawful.chain([unit.id()]) {
            assert!(policy.registry().may_sign_for(signer, unit.id()));
        }
        for certificate in unit.certificates() {
            let found = policy.registry().certificate(certificate.sha256());
            let owner = found.map(|(unit, found)| (unit.id(), found.der()));
            assert_eq!(owner, Some((unit.id(), certificate.der())), "a certificate has one unit");
            assert!((1..=20).contains(&certificate.serial().len()));
            assert!(certificate.serial().first().is_some_and(|byte| *byte != 0));
        }
    }
}

/// What a policy says, as far as it can be compared: sets print in an order of their own.
#[derive(Clone, Debug, PartialEq)]
struct Summary {
    issuers: Vec<String>,
    territories: Vec<[BTreeSet<String>; 2]>,
    facilities: Vec<String>,
    places: Vec<Place>,
    verifiers: Vec<Verifier>,
    trust: FacilityTrust,
}

impl Summary {
    fn of(policy: &Policy) -> Self {
        let rules = |rules: &IssuerRules| {
            format!(
                "{} {} {:?} {} {} {} {} {:?} {:?} {:?} {:?} {} {:?} {} {:?} {:?} {:?} {:?}",
                rules.id(),
                rules.key(),
                rules.algorithm(),
                rules.iss(),
                rules.issuing_body(),
                rules.records_max(),
                rules.doses_per_record_max(),
                rules.doses_per_day_max(),
                rules.certified_doses(),
                rules.reissue(),
                rules.signing_window(),
                rules.validity_months(),
                rules.assurance(),
                rules.statement_age_days_max(),
                rules.facility_signature(),
                rules.code_combinations(),
                rules.id_check(),
                rules.clients(),
            )
        };
        let territory = |rules: &IssuerRules| {
            [
                rules.facilities().map(str::to_owned).collect(),
                rules.areas().map(str::to_owned).collect(),
            ]
        };
        let places = |unit: &Facility| -> Vec<Place> {
            unit.certificates().iter().map(|certificate| certificate.place().clone()).collect()
        };
        let facilities = policy.registry().facilities();
        Self {
            issuers: policy.issuers().map(rules).collect(),
            territories: policy.issuers().map(territory).collect(),
            facilities: facilities.iter().map(unit).collect(),
            places: facilities.iter().flat_map(places).collect(),
            verifiers: policy.verifiers().to_vec(),
            trust: policy.facility_trust().clone(),
        }
    }

    /// What the same policy says where its text stands some lines further down.
    fn lower(mut self, lines: usize) -> Self {
        for place in self.places.iter_mut().filter(|place| place.file.is_none()) {
            place.line += lines;
        }
        self
    }
}

/// A unit without the places where its certificates stand.
fn unit(unit: &Facility) -> String {
    let certificate = |certificate: &RegisteredCertificate| {
        let printed = format!("{certificate:?}");
        printed.rsplit_once(", place: ").map(|(before, _)| before.to_owned())
    };
    let certificates: Vec<Option<String>> = unit.certificates().iter().map(certificate).collect();
    format!(
        "{} {} {:?} {:?} {:?} {:?} {:?} {certificates:?}",
        unit.id(),
        unit.name(),
        unit.name_en(),
        unit.areas(),
        unit.managed_by(),
        unit.delegates(),
        unit.status(),
    )
}
