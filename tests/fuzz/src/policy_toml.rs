//! `policy.toml`: a text is a policy, or it has faults that an operator can find and repair.
//!
//! Reading twice says the same; empty lines before the text move the faults by as many lines and change
//! nothing else; a comment behind it changes nothing.

use policy::{Fault, Policy};
use unicode_normalization::is_nfc;

/// How many lines the text is moved down.
const LINES: usize = 3;

/// Takes any bytes; what is not UTF-8 does not get as far as the parser.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Policy::parse(text) {
        Ok(policy) => {
            accepted(&policy);
            let summary = summary(&policy);
            for same in [text.to_owned(), moved(text), format!("{text}\n# the end\n")] {
                let again = Policy::parse(&same).map(|policy| self::summary(&policy));
                assert_eq!(again.as_ref(), Ok(&summary));
            }
        }
        Err(faults) => {
            refused(text, &faults);
            assert_eq!(Policy::parse(text).err().as_ref(), Some(&faults));
            if !text.starts_with('\u{feff}') {
                let lower = |fault: &Fault| Fault {
                    line: fault.line.map(|line| line + LINES),
                    ..fault.clone()
                };
                let expected: Vec<Fault> = faults.iter().map(lower).collect();
                assert_eq!(Policy::parse(&moved(text)).err(), Some(expected));
            }
        }
    }
}

/// The text some lines further down; a byte order mark stays in front.
fn moved(text: &str) -> String {
    let (mark, rest) = text.strip_prefix('\u{feff}').map_or(("", text), |rest| ("\u{feff}", rest));
    format!("{mark}{}{rest}", "\n".repeat(LINES))
}

fn refused(text: &str, faults: &[Fault]) {
    assert!(!faults.is_empty(), "a refusal has a fault");
    let lines = text.matches('\n').count() + 1;
    let place = |fault: &Fault| fault.line.unwrap_or(usize::MAX);
    assert!(faults.is_sorted_by_key(place), "faults stand in the order of their lines: {faults:?}");
    for fault in faults {
        assert!(!fault.problem.trim().is_empty(), "{fault:?}");
        assert!(!fault.remedy.trim().is_empty(), "{fault:?}");
        assert!(fault.line.is_none_or(|line| (1..=lines).contains(&line)), "{fault:?} of {lines}");
        let printed = fault.to_string();
        assert!(
            !printed.contains(['\n', '\r', '\u{1b}']),
            "a fault prints on one line: {printed:?}"
        );
    }
}

fn accepted(policy: &Policy) {
    assert!(policy.issuers().len() > 0 && !policy.verifiers().is_empty());
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

/// Everything that a policy says, in an order of its own: its maps have none.
fn summary(policy: &Policy) -> String {
    let issuers: Vec<_> = policy.issuers().collect();
    let facilities = policy.registry().facilities();
    let trust = policy.facility_trust();
    format!("{issuers:?} {facilities:?} {:?} {trust:?}", policy.verifiers())
}
