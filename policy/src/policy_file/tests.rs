//! What `policy.toml` may say, and which fault each mistake is.

use proptest::prelude::*;

use super::*;
use crate::{
    issuer::{
        Algorithm, Assurance, CertifiedDoses, CodeCombinations, IdCheck, Reissue, Requirement,
    },
    registry::{Facility, Status},
    value_set::Kind,
    verdict::sample::{NOW, policy_text, rules},
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
fn a_line_ends_with_its_break() {
    // The break belongs to the line that it ends; the byte behind it is the next line's first.
    let lines = Lines::of("a\n\nb");
    assert_eq!([0, 1, 2, 3, 4].map(|position| lines.line(position)), [1, 1, 2, 3, 3]);
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
    assert_eq!(rules.algorithm(), Some(Algorithm::Ps256));
    assert_eq!(rules.doses_per_day_max(), Some(1_000_000));
    assert_eq!(rules.certified_doses(), CertifiedDoses::Each);
    assert_eq!(rules.reissue(), Reissue::AfterDays(330));
    assert_eq!(rules.signing_window().unwrap().to_string(), "17:00-24:00");
    assert_eq!(rules.assurance(), Assurance::Statement);
    assert_eq!(rules.facility_signature(), Requirement::Required);
    assert_eq!(rules.clients(), ["moh-issuing"]);
    assert_eq!(rules.facilities().collect::<Vec<_>>(), ["01-CDC-HN"]);
    assert_eq!(rules.areas().collect::<Vec<_>>(), ["79"]);
    assert_eq!(
        [Assurance::Statement, Assurance::Asserted].map(Assurance::as_str),
        ["statement", "asserted"]
    );
    assert!(rules.covers("01-CDC-HN", policy.registry()), "by its id");
    assert!(rules.covers("79-TTYT-Q1", policy.registry()), "by its area");
    assert!(!rules.covers("02-CDC-HG", policy.registry()));
    let [verifier] = policy.verifiers() else { panic!("one verifier") };
    assert_eq!((verifier.certificate(), verifier.age_days_max()), ("pki/verifier.pem", Some(60)));
    assert!(verifier.valid().contains(NOW) && !verifier.valid().contains(1_640_000_000));
    assert_eq!(verifier.outcomes()["khop"], Outcome::Matched);
    assert_eq!(verifier.outcomes()["khong khop"], Outcome::Mismatched);
    assert_eq!(verifier.outcomes()["not_found"], Outcome::NotFound);
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
    assert_eq!(first.name_en(), Some("District 1 Medical Centre"));
    assert_eq!(first.areas(), ["79", "79760"]);
    assert_eq!((second.areas(), second.managed_by()), (&[][..], None));
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
        crl = ["crl.pem"]
    "#;
    let policy = Policy::parse(text).unwrap();
    let rules = policy.issuer("vn-moh-ec").unwrap();
    assert_eq!(rules.key(), "vn-moh-ec");
    assert_eq!((rules.records_max(), rules.doses_per_record_max()), (1000, 3));
    assert_eq!((rules.validity_months(), rules.statement_age_days_max()), (12, 90));
    assert_eq!(rules.code_combinations(), CodeCombinations::Strict);
    assert_eq!(rules.id_check(), IdCheck::Format);
    assert_eq!((rules.algorithm(), rules.doses_per_day_max()), (None, None));
    assert_eq!(rules.certified_doses(), CertifiedDoses::Each);
    assert_eq!((rules.reissue(), rules.signing_window()), (Reissue::Never, None));
    assert_eq!(rules.assurance(), Assurance::Statement);
    assert_eq!(rules.facility_signature(), Requirement::Required);
    assert!(rules.covers("any", policy.registry()));
    assert!(policy.catalogue().knows(Kind::Product, "CoronaVac", None, None));
    assert!(policy.catalogue().label(Kind::Vaccine, "J07BX03").is_some());
    assert_eq!(policy.issuers().len(), 1);
    assert!(policy.issuer("vn-moh").is_none());
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    // A key that the format does not have is refused; a typing error must not relax a rule.
    assert_one(
        &faults_with("id_check =", "id_chek ="),
        &["line 23: issuer.vn-moh.id_chek: ", "unknown field `id_chek`", "correct its spelling"],
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
        &["line 10: issuer.vn-moh.records_max", "expected i64", "value of the type"],
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
fn a_byte_order_mark_is_no_part_of_a_key() {
    // A file that an editor saved with a byte order mark has the faults that it has without.
    let text = "veison = 1\n";
    assert_eq!(faults(&format!("\u{feff}{text}")), faults(text));
    assert!(faults(text)[0].starts_with("line 1: veison: unknown field"));
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
        ("doses_per_day_max", 1, 100_000_000),
        ("reissue_after_days", 1, 3_660),
        ("validity_months", 1, 12),
        ("statement_age_days_max", 1, 366),
    ] {
        for good in [least, most] {
            assert_eq!(faults(&policy_text(&[(key, &good.to_string())])), [""; 0], "{key} {good}");
        }
        for bad in [least - 1, most + 1, -1, 4_294_967_296 + least, i64::MAX] {
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
        ("algorithm", "use \"ES256\" or \"PS256\""),
        ("assurance", "use \"statement\" or \"asserted\""),
        ("facility_signature", "use \"required\" or \"optional\""),
        ("certificates", "use \"each_dose\" or \"latest_dose\""),
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
        ("id_check", "\"none\""),
        ("validity_months", "13"),
        ("value_sets", "[\"qd-5772\", \"eu-9\"]"),
        ("iss", "\"Viet Nam\""),
        ("issuing_body", "\" \""),
        ("clients", "[\"a\", \"a\", \"\"]"),
    ]);
    let lines: Vec<_> = Policy::parse(&text).unwrap_err().iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [2, 5, 5, 7, 8, 16, 23].map(Some));
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
    for odd in ["a\\nb", "a  b", "a\\\"b", "a\\\\b", "a\u{a0}b", "a\u{200b}b", "a\u{fffd}b"] {
        assert_one(&faults(&named(odd)), &["must not show", "single spaces"]);
    }
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
    assert_eq!(keys, ["value_sets", "value_sets", "issuer", "verifier", "facility_trust.ca"]);
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
    assert_one(
        &faults_with("id = \"01-CDC-HN\"", "id = \"79-TTYT-Q1\""),
        &["unit is registered twice"],
    );
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
        file: None,
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
fn an_issuer_is_asked_for_what_its_rules_require() {
    // A policy whose issuers do without statements and signatures needs no verifier and no authority.
    let without = |text: &str| {
        let cut = text.find("[[verifier]]").unwrap()..text.find("[[facility]]").unwrap();
        let mut text = text.to_owned();
        text.replace_range(cut, "");
        text
    };
    let lax = [("assurance", "\"asserted\""), ("facility_signature", "\"optional\"")];
    assert_eq!(faults(&without(&policy_text(&lax))), [""; 0]);
    assert_one(&faults(&without(&policy_text(&lax[1..]))), &["verifier: identity statements"]);
    assert_one(&faults(&without(&policy_text(&lax[..1]))), &["facility_trust.ca: facility sig"]);
}

#[test]
fn an_empty_territory_is_a_fault() {
    // An issuer that would cover no unit is a slip of the pen.
    for key in ["facilities", "areas"] {
        assert_one(
            &faults(&policy_text(&[(key, "[]")])),
            &[&format!("issuer.vn-moh.{key}: is empty"), "remove the key"],
        );
    }
    assert_one(&faults(&policy_text(&[("facilities", "[\"a b\"]")])), &["not the id of a unit"]);
}

#[test]
fn a_territory_is_units_or_areas_or_both() {
    // An issuer that names units alone, or areas alone, covers those and no others.
    for (gone, count) in [("areas", (1, 0)), ("facilities", (0, 1))] {
        let text = policy_text(&[]);
        let (issuer, rest) = text.split_once("[[verifier]]").unwrap();
        let is_kept = |line: &&str| !line.starts_with(&format!("{gone} = "));
        let issuer: Vec<_> = issuer.lines().filter(is_kept).collect();
        let policy = format!("{}\n[[verifier]]{rest}", issuer.join("\n"));
        let policy = Policy::parse(&policy).unwrap();
        let rules = rules(&policy);
        assert_eq!((rules.facilities().count(), rules.areas().count()), count, "without {gone}");
    }
}

#[test]
fn an_issuers_id_has_at_most_63_characters() {
    // The longest id is accepted, one more is refused.
    let named = |id: &str| policy_text(&[]).replace("[issuer.vn-moh]", &format!("[issuer.{id}]"));
    assert_eq!(faults(&named(&"i".repeat(63))), [""; 0]);
    assert_one(&faults(&named(&"i".repeat(64))), &["not the id of an issuer"]);
}

#[test]
fn a_signing_window_is_two_times() {
    // What is not a window says how one is written.
    assert_one(
        &faults(&policy_text(&[("signing_window", "\"5pm\"")])),
        &["issuer.vn-moh.signing_window: is \"5pm\"", "write \"17:00-24:00\""],
    );
}

#[test]
fn days_are_days_and_in_order() {
    // Days are written YYYY-MM-DD, exist, and the last is not before the first.
    assert_one(
        &faults_with("valid_to = \"2023-12-31\"", "valid_to = \"2023-02-29\""),
        &["line 28: verifier.valid_to: is \"2023-02-29\"", "YYYY-MM-DD"],
    );
    assert_one(
        &faults_with("valid_from = \"2022-01-01\"", "valid_from = \"2024-01-01\""),
        &["line 28: verifier.valid_to: is before valid_from"],
    );
    assert_one(
        &faults_with("valid_to = \"2026-07-14\"", "valid_to = \"2021-07-31\""),
        &["facility 79-TTYT-Q1: certificate.valid_to: is before valid_from"],
    );
    assert_eq!(faults_with("valid_to = \"2026-07-14\"", "valid_to = \"2021-08-01\""), [""; 0]);
}

#[test]
fn the_contracts_outcomes_keep_their_meaning() {
    // A verifier's own words get a meaning; the three of the contract cannot get another.
    assert_eq!(faults_with("khop = \"matched\"", "matched = \"matched\""), [""; 0]);
    assert_one(
        &faults_with("khop = \"matched\"", "mismatched = \"matched\""),
        &["verifier.outcomes.mismatched: gives a word of the contract another meaning"],
    );
    assert_one(
        &faults_with("khop = \"matched\"", "khop = \"yes\""),
        &["verifier.outcomes.khop: is \"yes\"", "\"not_found\""],
    );
}

#[test]
fn revocation_lists_are_not_forgotten() {
    // Authorities without revocation lists would leave every facility refused: a fault.
    assert_one(
        &faults_with("crl = [\"pki/facility-crl.pem\"]", "crl = []"),
        &["facility_trust.crl: is empty", "revocation list of each"],
    );
    assert_one(&faults_with("crl = [\"pki/facility-crl.pem\"]", ""), &["missing field `crl`"]);
}

#[test]
fn a_unit_or_registration_may_be_suspended() {
    // A suspended unit, or registration, and one outside its days, may not sign; others may.
    let may_sign = |piece: &str, replacement: &str, time| {
        let text = policy_text(&[]).replacen(piece, replacement, 1);
        let policy = Policy::parse(&text).unwrap();
        let unit = policy.registry().facility("79-TTYT-Q1").unwrap();
        unit.may_sign_with(&unit.certificates()[0], time)
    };
    assert!(may_sign("", "", NOW));
    assert!(!may_sign("", "", 1_627_750_799), "the day before 1 August 2021");
    assert!(may_sign("", "", 1_627_750_800));
    assert!(!may_sign("name_en = ", "status = \"suspended\"\nname_en = ", NOW));
    assert!(!may_sign("serial = ", "status = \"suspended\"\nserial = ", NOW));
    assert!(may_sign("serial = ", "status = \"active\"\nserial = ", NOW));
    let text = policy_text(&[]).replacen("name_en = ", "status = \"suspended\"\nname_en = ", 1);
    let policy = Policy::parse(&text).unwrap();
    let statuses = policy.registry().facilities().iter().map(Facility::status);
    assert_eq!(statuses.collect::<Vec<_>>(), [Status::Suspended, Status::Active]);
}

mod registry_files {
    use super::*;

    /// Parses the sample with one registry file beside it.
    fn with_file(name: &str, text: &str) -> Result<Policy, Vec<String>> {
        let policy =
            policy_text(&[]).replacen("[issuer", &format!("registry = [\"{name}\"]\n[issuer"), 1);
        let files = |asked: &str| {
            if asked == name { Ok(text.to_owned()) } else { Err("no such file".to_owned()) }
        };
        Policy::parse_with(&policy, &files)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    const SHEET: &str = "\
\u{feff}id,name,areas,managed_by,delegates,certificate_issuer,certificate_serial,certificate_sha256,certificate_der,certificate_valid_from\r
U-1,\"Trạm y tế \"\"A\"\", xã B\",79;79760, 79-SYT ,79-CDC; 79-X,\"CN=CA,C=VN\",01,1111111111111111111111111111111111111111111111111111111111111111,MAMCAQU=,2022-01-01\r
U-1,,,,,\"CN=CA,C=VN\",02,2222222222222222222222222222222222222222222222222222222222222222,MAMCAQU=,\r
U-2,Trạm y tế C,,,,,,,,\r
";

    #[test]
    fn a_sheet_is_a_registry() {
        // A CSV file of a spreadsheet program gives the same units as tables do.
        let policy = with_file("units.csv", SHEET).unwrap();
        assert_eq!(policy.registry().facilities().len(), 4);
        let unit = policy.registry().facility("U-1").unwrap();
        assert_eq!(unit.name(), "Trạm y tế \"A\", xã B");
        assert_eq!(unit.areas(), ["79", "79760"]);
        assert_eq!((unit.managed_by(), unit.delegates().len()), (Some("79-SYT"), 2));
        assert!(policy.registry().may_sign_for("79-X", "U-1"));
        let [first, second] = unit.certificates() else { panic!("two certificates") };
        assert_eq!((first.serial(), second.serial()), (&[1][..], &[2][..]));
        assert!(
            !unit.may_sign_with(first, 1_640_000_000) && unit.may_sign_with(second, 1_640_000_000)
        );
        assert_eq!(policy.registry().certificate(&[0x22; 32]).unwrap().0.id(), "U-1");
        assert!(policy.registry().facility("U-2").unwrap().certificates().is_empty());
    }

    #[test]
    fn a_file_of_tables_is_a_registry() {
        // A TOML file holds the tables that policy.toml may also hold itself.
        let file = "version = 1\n[[facility]]\nid = \"U-1\"\nname = \"A\"\nareas = [\"79\"]";
        let policy = with_file("units.toml", file).unwrap();
        assert_eq!(policy.registry().facility("U-1").unwrap().areas(), ["79"]);
        assert_one(
            &with_file("units.toml", "version = 2").unwrap_err(),
            &["units.toml: line 1: version: is 2"],
        );
        assert_one(
            &with_file("units.toml", &file.replace("areas", "area")).unwrap_err(),
            &["units.toml: line 5: facility.area: unknown field"],
        );
    }

    #[test]
    fn a_fault_in_a_file_names_the_file_and_the_line() {
        // Every fault in a registry file says in which file and line, and what to do.
        for (piece, replacement, parts) in [
            ("areas", "area", ["line 1: area: is not a column", "the columns are id, name"]),
            (
                "id,name,areas",
                "id,areas,areas",
                ["line 1: name: the column is missing", "have it once"],
            ),
            ("id,name,areas,managed_by", "id,name,areas,areas", ["line 1: areas: ", "there twice"]),
            ("U-2,Trạm y tế C", "U-2,", ["line 4: name: is empty", "fill it in"]),
            ("U-2", "U 2", ["line 4: facility U 2: id: is not the id", "use 1 to 64"]),
            ("U-2", "79-TTYT-Q1", ["line 4: facility 79-TTYT-Q1: the unit is registered", "twice"]),
            (
                "U-1,,,",
                "U-1,B,,",
                ["line 3: U-1: a further row of the unit has name", "leave it empty"],
            ),
            ("02,2222", ",2222", ["line 3: U-1: has a part of a certificate", "or none"]),
            (
                "C,,,,,,,,",
                "C,,,,,,,,2022-01-01",
                ["line 4: U-2: has a part of a certificate", "or none"],
            ),
            (
                ",MAMCAQU=,2022-01-01",
                ",MAMCAQU=,01/01/2022",
                ["line 2: facility U-1", "YYYY-MM-DD"],
            ),
            (
                "2222222222222222222222222222222222222222222222222222222222222222",
                "1111111111111111111111111111111111111111111111111111111111111111",
                ["line 3: facility U-1: certificate", "registered twice"],
            ),
        ] {
            assert!(SHEET.contains(piece), "{piece}");
            let found = with_file("units.csv", &SHEET.replacen(piece, replacement, 1)).unwrap_err();
            assert!(found[0].starts_with("units.csv: "), "{found:?}");
            assert!(parts.iter().all(|part| found[0].contains(part)), "{parts:?} {found:?}");
        }
        let short = with_file("units.csv", "id,name\r\nU-1\r\n").unwrap_err();
        let told = ["units.csv: line 2: has 1 cells, and the first row has 2", "RFC 4180"];
        assert_one(&short, &told);
        let twice = SHEET.replace("U-2,Trạm y tế C,,,,,,,,", "U-1,,,,,,,,,");
        let empty = with_file("units.csv", &twice).unwrap_err();
        assert_one(&empty, &["line 4: U-1: a further row of the unit has no whole certificate"]);
    }

    #[test]
    fn an_id_has_64_characters_and_a_name_500() {
        // The longest id and the longest name are good, one character more is a fault, and so is one
        // that cannot be printed.
        let read = |id: &str, name: &str| with_file("u.csv", &format!("id,name\n{id},{name}\n"));
        let (id, name) = ("U".repeat(64), "Ắ".repeat(500));
        assert!(read(&id, &name).is_ok());
        assert_one(&read(&format!("{id}U"), "A").unwrap_err(), &["line 2", "is not the id"]);
        for bad in [format!("{name}A"), "A\u{7}".to_owned()] {
            assert_one(&read("U", &bad).unwrap_err(), &["line 2", "too long or not printable"]);
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_a_fault() {
        // A registry that cannot be read is refused with the reason, at the line that names it.
        let policy = policy_text(&[]).replacen("[issuer", "registry = [\"x.csv\"]\n[issuer", 1);
        assert_one(&faults(&policy), &["line 4: registry: x.csv cannot be read: no other files"]);
    }

    #[test]
    fn a_file_full_of_faults_tells_the_first_hundred() {
        // A sheet in which every row is wrong does not flood the screen.
        let mut sheet = "id,name\n".to_owned();
        for row in 0..12_000 {
            sheet.push_str(&format!("U {row},name\n"));
        }
        let found = with_file("units.csv", &sheet).unwrap_err();
        assert_eq!(found.len(), 101);
        assert!(found[100].contains("has 11900 more faults; mend these first"), "{}", found[100]);
    }

    #[test]
    fn a_country_of_units_loads() {
        // The country has about 12,000 units; the registry holds them and finds each.
        let mut sheet = "id,name,managed_by,certificate_issuer,certificate_serial,\
                         certificate_sha256,certificate_der\n"
            .to_owned();
        for unit in 0..12_000 {
            sheet.push_str(&format!(
                "U-{unit},Trạm y tế {unit},79-SYT,CN=CA,01,{unit:064x},MAMCAQU=\n"
            ));
        }
        let policy = with_file("units.csv", &sheet).unwrap();
        assert_eq!(policy.registry().facilities().len(), 12_002);
        assert!(policy.registry().may_sign_for("79-SYT", "U-11999"));
        let mut digest = [0; 32];
        digest[30..].copy_from_slice(&11_999_u16.to_be_bytes());
        let (unit, _) = policy.registry().certificate(&digest).unwrap();
        assert_eq!(unit.id(), "U-11999");
    }
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
