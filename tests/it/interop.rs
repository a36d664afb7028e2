//! What others make of our certificates, what we make of theirs, and the tool against the real daemon.
//!
//! Certificates come the whole way: `signerctl sample`, `signerctl sign`, the daemon, the token. They
//! are read by the crate `dgc`, which shares no code with us but the CBOR and Base45 decoders, and by
//! a QR reader that is not the writer.

mod foreign;
mod pictures;
mod schema;
mod tool;

use std::collections::HashSet;
use std::fs;
use std::process::{Command, Output};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use dgc::{DgcContainer, IntegerOrFloat, TrustList};
use serde_json::Value;
use signerd_tests::{Daemon, Setup};
use unicode_normalization::UnicodeNormalization as _;

/// How a program ended.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs `signerctl` with the set-up's settings, in its folder.
fn ctl(setup: &Setup, words: &[&str]) -> Ended {
    ended(setup.signerctl().current_dir(setup.dir()).args(words))
}

fn ended(command: &mut Command) -> Ended {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// Runs `signerctl` and expects this exit code.
fn ends(setup: &Setup, words: &[&str], code: i32) -> Ended {
    let ended = ctl(setup, words);
    assert_eq!(ended.code, Some(code), "{words:?}\n{}\n{}", ended.out, ended.err);
    ended
}

/// Every line of JSON in a file of the set-up.
fn lines(setup: &Setup, file: &str) -> Vec<Value> {
    setup.text(file).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_else(|| panic!("no {member} in {value}"))
}

/// The daemon's trust list as the other implementation keeps it.
fn trust_list(setup: &Setup) -> TrustList {
    let list = ends(setup, &["trust-list", "--json"], 0).out;
    let list: Value = serde_json::from_str(&list).unwrap();
    let mut trusted = TrustList::default();
    for entry in list.as_array().unwrap() {
        let der = BASE64URL_NOPAD.decode(text(entry, "certificate").as_bytes()).unwrap();
        // It computes the kid from the certificate by itself.
        trusted.add_key_from_certificate(&BASE64.encode(&der)).unwrap();
    }
    trusted
}

#[test]
fn a_thousand_records_verify_with_an_implementation_that_is_not_ours() {
    // 1,000 sample records with 1 to 3 doses, signed with PS256 and as many with ES256: every
    // certificate verifies elsewhere and here, and says what the record says.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let trusted = trust_list(&setup);
    let mut uvcis = HashSet::new();
    for (issuer, seed) in [("vn-moh", "1"), ("vn-moh-ec", "2")] {
        let sample = ["sample", "--count", "1000", "--seed", seed, "--doses", "1-3"];
        ends(&setup, &[&sample[..], &["--output", "records"]].concat(), 0);
        let signed = format!("signed-{issuer}");
        ends(&setup, &["sign", "records", "--issuer", issuer, "--output", &signed], 0);
        let (records, certificates) = (lines(&setup, "records"), lines(&setup, &signed));
        assert_eq!(records.len(), 1_000);
        let mut signed_doses: Vec<HashSet<u64>> = vec![HashSet::new(); records.len()];
        for certificate in &certificates {
            let (container, validity) =
                dgc::validate(text(certificate, "hcert"), &trusted).expect("readable");
            assert!(validity.is_valid(), "{validity}");
            let record = usize::try_from(certificate["record"].as_u64().unwrap()).unwrap();
            let dose = says_what_the_record_says(&container, certificate, &records[record]);
            assert!(signed_doses[record].insert(dose), "dose twice");
            assert!(uvcis.insert(text(certificate, "uvci").to_owned()), "identifier twice");
        }
        for (record, signed) in records.iter().zip(&signed_doses) {
            assert_eq!(record["record"]["doses"].as_array().unwrap().len(), signed.len());
        }
        let counts: HashSet<usize> = signed_doses.iter().map(HashSet::len).collect();
        assert_eq!(counts, HashSet::from([1, 2, 3]), "the sample has every number of doses");

        fs::write(setup.path("list.json"), ends(&setup, &["trust-list", "--json"], 0).out).unwrap();
        let verified = ends(&setup, &["verify", "--trust-list", "list.json", &signed], 0);
        let valid = verified.out.lines().filter(|line| line.starts_with("VALID  ")).count();
        assert_eq!(valid, certificates.len());
    }
    assert!(daemon.stop().success());
}

/// Holds a certificate, read by the other implementation, against its record; gives the dose.
fn says_what_the_record_says(container: &DgcContainer, line: &Value, entry: &Value) -> u64 {
    let record = &entry["record"];
    let number = line["dose"].as_u64().unwrap();
    let doses = record["doses"].as_array().unwrap();
    let dose = doses.iter().find(|dose| dose["number"] == number).expect("a dose of the record");

    assert_eq!(container.issuer, "VN");
    // It reads every number of seconds as a float; these are far below the end of exact ones.
    let Some(IntegerOrFloat::Float(expires)) = container.expires_at else { panic!("no expiry") };
    assert_eq!(format!("{expires:.0}"), line["expires_at"].to_string());
    assert_eq!(container.certs.keys().collect::<Vec<_>>(), [&1]);
    let content = &container.certs[&1];
    assert_eq!(content.version, "1.3.0");
    assert_eq!(content.date_of_birth, text(&record["holder"], "date_of_birth"));
    let name = &content.name;
    let parts = [name.surname.as_deref(), name.forename.as_deref()];
    let words = |name: &str| name.split_whitespace().collect::<Vec<_>>().join(" ");
    let full: String = text(&record["holder"], "full_name").nfc().collect();
    assert_eq!(parts.into_iter().flatten().collect::<Vec<_>>().join(" "), words(&full));
    let standard = |name: &str| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'<');
    assert!(standard(&name.surname_standard) && !name.surname_standard.is_empty());
    assert!(name.forename_standard.as_deref().is_none_or(standard));
    assert_eq!(name.forename.is_some(), name.forename_standard.is_some());

    let [event] = content.vaccines.as_slice() else { panic!("not one vaccination") };
    assert!(content.tests.is_empty() && content.recoveries.is_empty());
    assert_eq!(event.targeted_disease, "840539006");
    assert_eq!(event.vaccine_prophylaxis, text(dose, "vaccine"));
    assert_eq!(event.medicinal_product, text(dose, "product"));
    assert_eq!(event.manufacturer, text(dose, "manufacturer"));
    assert_eq!(event.date, text(dose, "date"));
    assert_eq!(event.country, "VN");
    assert_eq!(event.issuer, "Bộ Y tế Việt Nam");
    assert_eq!(event.id, text(line, "uvci"));
    assert_eq!(u64::try_from(event.dose_number).unwrap(), number);
    // Above the series there is only the booster form n/n of the contract.
    assert!(event.total_doses >= event.dose_number || event.total_doses == 1);
    number
}

#[test]
fn a_changed_certificate_is_refused_everywhere() {
    // One changed byte of the payload, and neither implementation takes the certificate: the test
    // above can fail.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let trusted = trust_list(&setup);
    ends(&setup, &["sample", "--count", "1", "--doses", "1", "--output", "records"], 0);
    fs::write(setup.path("list"), ends(&setup, &["trust-list", "--pem"], 0).out).unwrap();
    for issuer in ["vn-moh", "vn-moh-ec"] {
        if issuer == "vn-moh-ec" {
            let sample = ["sample", "--count", "1", "--seed", "2", "--doses", "1"];
            ends(&setup, &[&sample[..], &["--output", "records"]].concat(), 0);
        }
        let signed = format!("signed-{issuer}");
        ends(&setup, &["sign", "records", "--issuer", issuer, "--output", &signed], 0);
        let good = text(&lines(&setup, &signed)[0], "hcert").to_owned();
        assert!(dgc::validate(&good, &trusted).unwrap().1.is_valid());
        ends(&setup, &["verify", "--trust-list", "list", &good], 0);
        let forged = foreign::repacked(&good, |cose| {
            let at = cose.windows(5).position(|bytes| bytes == b"1.3.0").expect("the version");
            cose[at + 4] = b'1';
        });
        assert!(!dgc::validate(&forged, &trusted).unwrap().1.is_valid());
        let refused = ends(&setup, &["verify", "--trust-list", "list", &forged], 1);
        assert!(refused.out.contains("signature is wrong"), "{}", refused.out);
    }
    assert!(daemon.stop().success());
}
