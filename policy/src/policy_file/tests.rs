//! What `policy.toml` may say, and which fault each mistake is.

use proptest::prelude::*;

use super::*;
use crate::{
    issuer::{CodeCombinations, IdCheck},
    value_set::Kind,
    verdict::sample::{policy_text, rules},
};

/// The faults of a text, as they are printed.
fn faults(text: &str) -> Vec<String> {
    match Policy::parse(text) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

/// The faults of the sample with one piece of it replaced.
fn faults_with(piece: &str, replacement: &str) -> Vec<String> {
    let text = policy_text(&[]);
    assert!(text.contains(piece), "{piece:?} is not in the sample");
    faults(&text.replacen(piece, replacement, 1))
}

/// Asserts that there is one fault, and that it says these things.
fn assert_one(faults: &[String], parts: &[&str]) {
    assert_eq!(faults.len(), 1, "{faults:#?}");
    for part in parts {
        assert!(faults[0].contains(part), "{part:?} is not in {:?}", faults[0]);
    }
}

#[test]
fn the_sample_reads_as_written() {
    // Every key of the format arrives where it is asked for.
    let policy = Policy::parse(&policy_text(&[])).unwrap();
    let rules = rules(&policy);
    assert_eq!(rules.id(), "vn-moh");
    assert!(rules.allows_client("moh-issuing") && !rules.allows_client("other"));
    assert_eq!((rules.key(), rules.iss()), ("vn-moh", "VN"));
    assert_eq!(rules.issuing_body(), "Bộ Y tế Việt Nam");
    assert_eq!((rules.records_max(), rules.doses_per_record_max()), (1000, 3));
    assert_eq!((rules.validity_months(), rules.statement_age_days_max()), (12, 90));
    assert_eq!(rules.code_combinations(), CodeCombinations::Strict);
    assert_eq!(rules.id_check(), IdCheck::Format);
    assert_eq!(policy.verifiers(), ["pki/verifier.pem"]);
    assert_eq!(policy.facility_trust().ca, ["pki/facility-ca.pem"]);
    assert_eq!(policy.facility_trust().crl, ["pki/facility-crl.pem"]);
    let [first, second] = policy.registry().facilities() else { panic!("two units") };
    assert_eq!((first.id(), first.name()), ("79-TTYT-Q1", "Trung tâm Y tế Quận 1"));
    assert_eq!(
        (first.managed_by(), first.delegates()),
        (Some("79-SYT"), &["79-CDC".to_owned()][..])
    );
    assert!(first.certificates()[0].issuer().starts_with("CN=CA Co quan"));
    assert_eq!(first.certificates()[0].sha256(), &[0xAB; 32]);
    assert_eq!((second.area(), second.managed_by()), (None, None));
    assert!(second.delegates().is_empty() && second.certificates().is_empty());
}

#[test]
fn what_is_left_out_has_a_safe_default() {
    // Without further words an issuer is as strict as the decisions ask, with all value sets.
    let text = r#"
        version = 1
        [issuer.vn-moh-ec]
        clients = []
        iss = "VN"
        issuing_body = "Bộ Y tế"
        [[verifier]]
        certificate = "v.pem"
        [facility_trust]
        ca = ["ca.pem"]
    "#;
    let policy = Policy::parse(text).unwrap();
    let rules = policy.issuer("vn-moh-ec").unwrap();
    assert_eq!(rules.key(), "vn-moh-ec");
    assert_eq!((rules.records_max(), rules.doses_per_record_max()), (1000, 3));
    assert_eq!((rules.validity_months(), rules.statement_age_days_max()), (12, 90));
    assert_eq!(rules.code_combinations(), CodeCombinations::Strict);
    assert_eq!(rules.id_check(), IdCheck::Format);
    assert!(policy.catalogue().knows(Kind::Product, "CoronaVac", None));
    assert!(policy.catalogue().label(Kind::Vaccine, "J07BX03").is_some());
    assert_eq!(policy.issuers().len(), 1);
    assert!(policy.facility_trust().crl.is_empty());
    assert!(policy.issuer("vn-moh").is_none());
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    // A key that the format does not have is refused; a typing error must not relax a rule.
    assert_one(
        &faults_with("id_check =", "id_chek ="),
        &["line 14: issuer.vn-moh.id_chek: ", "unknown field `id_chek`", "correct its spelling"],
    );
    assert_one(&faults_with("version = 1", "version = 1\nversoin = 1"), &["line 2: versoin: "]);
    assert_one(&faults_with("name = \"Trung", "nam = \"x\"\nname = \"Trung"), &["facility.nam"]);
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    // A text that is not TOML, or has a value of a wrong type, names its line and what to do.
    assert_one(&faults_with("iss = \"VN\"", "iss = VN"), &["line 7", "correct the syntax"]);
    assert_one(
        &faults_with("records_max = 1000", "records_max = \"many\""),
        &["line 9: issuer.vn-moh.records_max", "expected i64", "value of the type"],
    );
    assert_one(
        &faults_with("iss = \"VN\"\n", ""),
        &["issuer.vn-moh", "missing field `iss`", "add it"],
    );
    assert_one(&faults("version = 1\nversion = 1"), &["line 2", "duplicate key"]);
    assert_one(&faults("\u{0}"), &["line 1"]);
    assert_one(&faults(""), &["version: is missing"]);
}

#[test]
fn another_version_is_refused_for_that_alone() {
    // A file of a later version is refused for its version, not for what it says.
    assert_one(
        &faults("version = 2\nnovelty = true"),
        &["line 1: version: is 2", "reads version 1"],
    );
    assert_one(&faults_with("version = 1", "version = 0"), &["version: is 0"]);
}

#[test]
fn a_missing_version_is_told_without_another_key() {
    // A file without a version is told so; the key that happens to stand in line 1 is not to blame.
    let text = policy_text(&[]);
    let (_, rest) = text.split_once('\n').unwrap();
    assert_eq!(faults(rest), ["version: is missing; add version = 1 as the first line"]);
    assert_eq!(faults(""), faults(rest));
}

#[test]
fn numbers_have_ranges() {
    // A number out of its range names the range; its ends are allowed.
    for (key, least, most) in [
        ("records_max", 1, 1000),
        ("doses_per_record_max", 1, 9),
        ("validity_months", 1, 12),
        ("statement_age_days_max", 1, 366),
    ] {
        for good in [least, most] {
            assert_eq!(faults(&policy_text(&[(key, &good.to_string())])), [""; 0], "{key} {good}");
        }
        for bad in [least - 1, most + 1, -1, 65_536 + least, i64::MAX] {
            assert_one(
                &faults(&policy_text(&[(key, &bad.to_string())])),
                &[&format!("issuer.vn-moh.{key}: is {bad}"), &format!("use {least} to {most}")],
            );
        }
    }
}

#[test]
fn words_are_those_of_the_format() {
    // A word that the program does not know names those that it knows.
    for (key, words) in [
        ("code_combinations", "use \"strict\" or \"lenient\""),
        ("id_check", "use \"format\" or \"strict\""),
        ("identity_statement", "use \"required\""),
        ("facility_signature", "use \"required\""),
        ("reissue", "use \"never\""),
    ] {
        assert_one(
            &faults(&policy_text(&[(key, "\"perhaps\"")])),
            &[&format!("issuer.vn-moh.{key}: is \"perhaps\""), words],
        );
    }
}

#[test]
fn all_faults_are_reported_in_the_order_of_lines() {
    // One run names every fault, so that the file is corrected once.
    let text = policy_text(&[
        ("reissue", "\"always\""),
        ("validity_months", "13"),
        ("value_sets", "[\"qd-5772\", \"eu-9\"]"),
        ("iss", "\"Viet Nam\""),
        ("issuing_body", "\" \""),
        ("clients", "[\"a\", \"a\", \"\"]"),
    ]);
    let lines: Vec<_> = Policy::parse(&text).unwrap_err().iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [2, 5, 5, 7, 8, 11, 17].map(Some));
}

#[test]
fn ids_have_the_form_of_the_wire() {
    // An issuer or a unit that no request could name is refused.
    for id in ["VN", "-vn", "\"\"", "\"a b\"", &"a".repeat(64)] {
        let faults = faults_with("[issuer.vn-moh]", &format!("[issuer.{id}]"));
        assert_one(&faults, &["line 4: issuer.", "not the id of an issuer"]);
    }
    for id in ["", "-x", "a b", "Đ1", &"a".repeat(65)] {
        assert_one(
            &faults_with("id = \"01-CDC-HN\"", &format!("id = \"{id}\"")),
            &["not the id of a unit"],
        );
        assert_one(
            &faults_with("\"79-SYT\"", &format!("\"{id}\"")),
            &["managed_by: is not the id"],
        );
        assert_one(&faults_with("\"79-CDC\"", &format!("\"{id}\"")), &["delegates: is not the id"]);
    }
}

#[test]
fn the_issuing_body_fits_a_certificate() {
    // Field "is" has at most 80 characters, and is composed (NFC).
    let named = |name: &str| policy_text(&[("issuing_body", &format!("\"{name}\""))]);
    assert_eq!(faults(&named(&"ộ".repeat(80))), [""; 0]);
    assert_one(&faults(&named(&"ộ".repeat(81))), &["issuing_body: has 81 characters"]);
    assert_one(&faults(&named("a\\nb")), &["not printable"]);
    let policy = Policy::parse(&named("Bo\u{302}\u{323}")).unwrap();
    assert_eq!(rules(&policy).issuing_body(), "Bộ");
}

#[test]
fn a_country_has_two_or_three_capitals() {
    // Claim "iss" is a country code.
    for good in ["VN", "XCL"] {
        assert_eq!(faults(&policy_text(&[("iss", &format!("\"{good}\""))])), [""; 0]);
    }
    for bad in ["", "V", "vn", "VIET", "V1"] {
        assert_one(
            &faults(&policy_text(&[("iss", &format!("\"{bad}\""))])),
            &["not a country code"],
        );
    }
}

#[test]
fn nothing_could_be_signed_without_these() {
    // A policy without issuer, verifier or trusted authority would reject everything: a fault.
    let found = Policy::parse("version = 1\nvalue_sets = []").unwrap_err();
    let keys: Vec<_> = found.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["value_sets", "issuer", "verifier", "facility_trust.ca"]);
    assert!(found.iter().all(|fault| fault.line.is_none()));
    assert_one(&faults_with("[\"pki/facility-ca.pem\"]", "[]"), &["facility_trust.ca: is empty"]);
    assert_one(&faults_with("\"pki/verifier.pem\"", "\"\""), &["verifier.certificate: is blank"]);
}

#[test]
fn a_value_set_that_does_not_exist_is_named() {
    // An unknown value set is refused, with those that exist.
    assert_one(
        &faults_with("\"eu-2.12.0\"", "\"eu-9\""),
        &["line 2: value_sets: there is no value set \"eu-9\"", "qd-5772, eu-2.12.0"],
    );
}

#[test]
fn a_unit_and_a_certificate_are_registered_once() {
    // A unit or a certificate that stands twice could lead to the wrong unit: a fault.
    assert_one(&faults_with("\"01-CDC-HN\"", "\"79-TTYT-Q1\""), &["unit is registered twice"]);
    let text = policy_text(&[]);
    let certificate = text.find("[[facility.certificate]]").unwrap();
    let end = certificate + text[certificate..].find("\n\n").unwrap();
    let repeated = format!("{text}{}", &text[certificate..end]);
    assert_one(&faults(&repeated), &["facility 01-CDC-HN: certificate", "registered twice"]);
}

#[test]
fn a_certificate_is_complete_and_decodes() {
    // Serial number, digest and bytes of a registered certificate are what they say they are.
    for (piece, bad, parts) in [
        ("\"000A1B\"", "\"A1B\"", ["certificate.serial", "even number of hex digits"]),
        ("\"000A1B\"", "\"0x0A\"", ["certificate.serial", "even number of hex digits"]),
        ("\"000A1B\"", "\"0000\"", ["certificate.serial", "not the serial number"]),
        (
            "\"000A1B\"",
            &format!("\"{}\"", "11".repeat(21)),
            ["certificate.serial", "not the serial"],
        ),
        ("sha256 = \"ABAB", "sha256 = \"AB", ["certificate.sha256", "not a SHA-256 digest"]),
        ("sha256 = \"ABAB", "sha256 = \"ZZAB", ["certificate.sha256", "hex digits"]),
        ("\"MAMCAQU=\"", "\"MAMCAQU\"", ["certificate.der", "not base64"]),
        ("\"MAMCAQU=\"", "\"\"", ["certificate.der", "not base64"]),
        ("\"CN=CA Co quan Nha nuoc,O=Ban Co yeu Chinh phu,C=VN\"", "\"\"", ["issuer", "blank"]),
    ] {
        let mut all = vec!["facility 79-TTYT-Q1: "];
        all.extend(parts);
        assert_one(&faults_with(piece, bad), &all);
    }
}

#[test]
fn a_fault_prints_on_one_line() {
    // A fault says where, what, and what to do, in one line.
    let fault = Fault {
        line: None,
        key: "issuer".to_owned(),
        problem: "no issuer is defined".to_owned(),
        remedy: "add one".to_owned(),
    };
    assert_eq!(fault.to_string(), "issuer: no issuer is defined; add one");
    assert!(faults("x = [").iter().all(|fault| !fault.contains('\n')));
    // A key can hold any character, and a fault that repeats it must not write to the terminal.
    for text in ["version = 1\nissuer.a.\"b\\u001b[2J\\n\" = 1", "version = 1\n\"\\u0007\" = 1"] {
        assert!(faults(text).iter().all(|fault| !fault.contains(char::is_control)), "{text}");
    }
    let id = faults_with("[issuer.vn-moh]", "[issuer.\"a\\r\\nb\"]");
    assert!(id.iter().all(|fault| !fault.contains(char::is_control)), "{id:?}");
}

#[test]
fn a_country_of_units_loads() {
    // The country has about 12,000 units; the registry holds them and finds each.
    let mut text = policy_text(&[]);
    for unit in 0..12_000 {
        text.push_str(&format!(
            "[[facility]]\nid = \"U-{unit}\"\nname = \"Trạm y tế {unit}\"\nmanaged_by = \"79-SYT\"\n\
             [[facility.certificate]]\nissuer = \"CN=CA,C=VN\"\nserial = \"01\"\n\
             sha256 = \"{unit:064x}\"\nder = \"MAMCAQU=\"\n"
        ));
    }
    let policy = Policy::parse(&text).unwrap();
    assert_eq!(policy.registry().facilities().len(), 12_002);
    assert!(policy.registry().may_sign_for("79-SYT", "U-11999"));
    let mut digest = [0; 32];
    digest[30..].copy_from_slice(&11_999_u16.to_be_bytes());
    let (unit, _) = policy.registry().certificate(&digest).unwrap();
    assert_eq!(unit.id(), "U-11999");
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(text in "[a-z\\[\\]\"=.0-9 \n]{0,80}") {
        // Any text is a policy or has faults.
        let _ = Policy::parse(&text);
    }

    #[test]
    fn no_cut_or_changed_sample_breaks_the_reader(position in 0usize..1200, replacement in ".{0,3}") {
        // The sample with any piece changed is a policy or has faults that print on one line each.
        let text = policy_text(&[]);
        let mut characters: Vec<char> = text.chars().collect();
        let position = position % characters.len();
        characters.splice(position..=position, replacement.chars());
        let changed: String = characters.into_iter().collect();
        for fault in faults(&changed) {
            prop_assert!(!fault.contains('\n'), "{fault}");
        }
    }
}
