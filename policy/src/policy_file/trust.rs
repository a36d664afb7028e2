//! Whose signatures count: `[[verifier]]` and `[facility_trust]`.
//!
//! In: the tables as they were read. Out: which files hold the certificates, and for how long and under
//! which words each counts. The files themselves are read by the daemon.

use std::collections::{BTreeMap, HashMap};

use toml::Spanned;

use super::{
    FacilityTrust, Faults, Verifier,
    issuers::STATEMENT_AGE_DAYS_MAX,
    spec::{FacilityTrustSpec, VerifierSpec},
    values::{optional_number, period, text, texts},
};
use crate::evidence::Outcome;

/// The words of the published contract; a verifier's own words are given one of these meanings.
const OUTCOMES: [(&str, Outcome); 3] = [
    ("matched", Outcome::Matched),
    ("mismatched", Outcome::Mismatched),
    ("not_found", Outcome::NotFound),
];

/// Checks all verifiers; an issuer that requires statements (`needed`) needs one.
pub(super) fn verifiers(
    specs: Vec<VerifierSpec>,
    needed: bool,
    faults: &mut Faults,
) -> Vec<Verifier> {
    if specs.is_empty() && needed {
        faults.add_absence(
            "verifier",
            "identity statements are required and no verifier is defined",
            "add a table [[verifier]] with the certificate of the population database's gateway",
        );
    }
    specs.into_iter().map(|spec| verifier(spec, faults)).collect()
}

fn verifier(spec: VerifierSpec, faults: &mut Faults) -> Verifier {
    let age = spec.statement_age_days_max.as_ref();
    let age_key = "verifier.statement_age_days_max".to_owned();
    Verifier {
        valid: period("verifier.", spec.valid_from.as_ref(), spec.valid_to.as_ref(), faults),
        age_days_max: optional_number(age_key, age, &(1..=STATEMENT_AGE_DAYS_MAX), faults),
        outcomes: outcomes(spec.outcomes, faults),
        certificate: text("verifier.certificate".to_owned(), spec.certificate, faults),
    }
}

/// The contract's words mean what they say; others mean what the file says.
fn outcomes(
    own: BTreeMap<Spanned<String>, Spanned<String>>,
    faults: &mut Faults,
) -> HashMap<String, Outcome> {
    let known = |text: &str| OUTCOMES.into_iter().find(|(word, _)| *word == text);
    let mut outcomes: HashMap<_, _> =
        OUTCOMES.into_iter().map(|(word, outcome)| (word.to_owned(), outcome)).collect();
    for (word, meaning) in own {
        let key = format!("verifier.outcomes.{}", word.get_ref());
        match known(meaning.get_ref()) {
            Some((same, _)) if known(word.get_ref()).is_some_and(|(own, _)| own != same) => {
                let problem = "gives a word of the contract another meaning".to_owned();
                let remedy = "remove it; only a verifier's own words need a meaning".to_owned();
                faults.add(word.span(), key, [problem, remedy]);
            }
            Some((_, outcome)) => {
                outcomes.insert(text(key, word, faults), outcome);
            }
            None => {
                let problem = format!("is {:?}, which is not an outcome", meaning.get_ref());
                let remedy = "use \"matched\", \"mismatched\" or \"not_found\"".to_owned();
                faults.add(meaning.span(), key, [problem, remedy]);
            }
        }
    }
    outcomes
}

/// Checks the authorities of facilities; an issuer that requires signatures (`needed`) needs some.
pub(super) fn facility_trust(
    spec: Option<FacilityTrustSpec>,
    needed: bool,
    faults: &mut Faults,
) -> FacilityTrust {
    let remedy = "name the certificates of the authorities that certify facilities";
    let Some(spec) = spec else {
        if needed {
            let problem = "facility signatures are required and no authority is trusted";
            faults.add_absence("facility_trust.ca", problem, remedy);
        }
        return FacilityTrust::default();
    };
    for (name, list, remedy) in [
        ("ca", &spec.ca, remedy),
        (
            "crl",
            &spec.crl,
            "name the revocation list of each authority: without it, nobody knows \
                            which certificates still count",
        ),
    ] {
        if list.get_ref().is_empty() {
            let problem = "is empty, so no facility could sign".to_owned();
            let key = format!("facility_trust.{name}");
            faults.add(list.span(), key, [problem, remedy.to_owned()]);
        }
    }
    FacilityTrust {
        ca: texts("facility_trust.ca", spec.ca.into_inner(), faults),
        crl: texts("facility_trust.crl", spec.crl.into_inner(), faults),
    }
}
