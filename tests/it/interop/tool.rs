//! `signerctl` against the real daemon: previews, trust lists, repetitions, exit codes.

use std::fs;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use signerd_tests::setup::program;
use signerd_tests::{Daemon, Setup};

use super::{ctl, ended, ends, lines, text};

#[test]
fn a_preview_signs_nothing_and_says_what_signing_then_does() {
    // What the preview calls acceptable is signed afterwards, dose by dose; what it rejects is
    // rejected for the same reason; in between the ledger knows nothing.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    ends(&setup, &["sample", "--count", "20", "--output", "records"], 0);
    // The third record says another thing than was signed.
    let mut records: Vec<String> = setup.text("records").lines().map(str::to_owned).collect();
    let born = text(&lines(&setup, "records")[2]["record"]["holder"], "date_of_birth").to_owned();
    records[2] = records[2].replace(&born, "1971-01-01");
    fs::write(setup.path("records"), records.join("\n")).unwrap();

    let previewed = ends(&setup, &["preview", "records", "--json"], 1).out;
    let previewed: Vec<Value> =
        previewed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(previewed.len(), 20);
    // A second look finds the same: nothing was stored.
    assert_eq!(ends(&setup, &["preview", "records", "--json"], 1).out.lines().count(), 20);
    let refused_only = ends(&setup, &["preview", "records", "--rejected", "--json"], 1).out;
    assert_eq!(refused_only.lines().count(), 1);

    ends(&setup, &["sign", "records", "--output", "signed"], 1);
    let signed = lines(&setup, "signed");
    for preview in &previewed {
        let record = &preview["record"];
        let of_record: Vec<&Value> = signed.iter().filter(|l| &l["record"] == record).collect();
        match text(preview, "status") {
            "acceptable" => {
                let doses: Vec<&Value> = of_record.iter().map(|line| &line["dose"]).collect();
                assert_eq!(doses, preview["doses"].as_array().unwrap().iter().collect::<Vec<_>>());
            }
            status => {
                assert_eq!((status, record), ("rejected", &Value::from(2)));
                assert_eq!(of_record[0]["reasons"], preview["reasons"]);
                let codes: Vec<&str> = preview["reasons"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|r| text(r, "code"))
                    .collect();
                assert_eq!(codes, ["identity.holder_differs", "facility.signature_invalid"]);
            }
        }
    }
    // Afterwards the preview tells that the doses are taken.
    let after = ends(&setup, &["preview", "records"], 1).out;
    assert!(after.contains("dose.already_certified") && !after.contains("\tacceptable\t"));
    assert!(daemon.stop().success());
}

#[test]
fn the_trust_list_has_three_forms_with_the_same_certificates() {
    // JSON, PEM and table name the certificates of the set-up; each kid is its certificate's.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let json: Value =
        serde_json::from_str(&ends(&setup, &["trust-list", "--json"], 0).out).unwrap();
    let pem = ends(&setup, &["trust-list", "--pem"], 0).out;
    let table = ends(&setup, &["trust-list"], 0).out;
    assert!(daemon.stop().success());
    let entries = json.as_array().unwrap();
    let issuers: Vec<&str> = entries.iter().map(|entry| text(entry, "issuer")).collect();
    assert_eq!(issuers, ["vn-moh", "vn-moh-ec"]);
    for (entry, alg) in entries.iter().zip([-37, -7]) {
        let of_file = setup.text(&format!("pki/dsc/{}.pem", text(entry, "issuer")));
        assert!(same_pem(&pem, &of_file), "the bundle has the certificate");
        let base64url = data_encoding::BASE64URL_NOPAD;
        let der = base64url.decode(text(entry, "certificate").as_bytes()).unwrap();
        let kid = &Sha256::digest(&der)[..8];
        assert_eq!(text(entry, "kid"), base64url.encode(kid));
        assert!(table.contains(&data_encoding::HEXLOWER.encode(kid)), "{table}");
        assert_eq!((&entry["alg"], text(entry, "state")), (&Value::from(alg), "active"));
        assert!(entry["not_before"].as_u64() < entry["not_after"].as_u64());
    }
}

/// Whether a bundle holds the body of a PEM file, however its lines are broken.
fn same_pem(bundle: &str, file: &str) -> bool {
    let body = |text: &str| {
        let inside = text.lines().skip_while(|line| !line.starts_with("-----BEGIN CERTIFICATE"));
        let lines = inside.skip(1).take_while(|line| !line.starts_with("-----END"));
        lines.collect::<String>()
    };
    bundle.split('#').any(|one| body(one) == body(file))
}

#[test]
fn the_same_command_signs_nothing_twice() {
    // Repeating a finished `sign` changes neither output nor ledger; after the output is lost with
    // its journal, the doses are found certified and nothing is signed anew.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    ends(&setup, &["sample", "--count", "10", "--doses", "2", "--output", "records"], 0);
    let sign = ["sign", "records", "--batch-size", "4", "--output", "signed"];
    ends(&setup, &sign, 0);
    let first = setup.text("signed");
    assert_eq!(first.lines().count(), 20);
    let signatures = r#"signerd_certificates_signed_total{alg="PS256",issuer="vn-moh"}"#;
    let before = daemon.metric(signatures);
    assert!((before - 20.0).abs() < f64::EPSILON, "{before}");
    ends(&setup, &sign, 0);
    assert_eq!(setup.text("signed"), first);
    for file in ["signed", "signed.journal"] {
        fs::remove_file(setup.path(file)).unwrap();
    }
    ends(&setup, &sign, 1);
    let lines = lines(&setup, "signed");
    assert_eq!(lines.len(), 10);
    for line in lines {
        assert_eq!(text(&line["reasons"][0], "code"), "dose.already_certified");
    }
    assert!((daemon.metric(signatures) - before).abs() < f64::EPSILON);
    assert!(daemon.stop().success());
}

#[test]
fn exit_codes_are_as_documented() {
    // Each documented exit code, against the real daemon, with a line that says what to do.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    ends(&setup, &["sample", "--count", "2", "--output", "records"], 0);
    ends(&setup, &["sign", "records", "--output", "signed"], 0);
    ends(&setup, &["sign", "records", "--output", "again"], 1);

    ends(&setup, &["sign", "records"], 2);
    ends(&setup, &["sign", "records", "--output", "x", "--batch-size", "1001"], 2);
    let nowhere = ended(std::process::Command::new(program("signerctl")).args([
        "--config",
        "/nonexistent/signerctl.toml",
        "trust-list",
    ]));
    assert_eq!(nowhere.code, Some(2), "{}", nowhere.err);

    let refused = ends(&setup, &["sign", "records", "--issuer", "xx", "--output", "x"], 3);
    assert!(refused.err.contains("issuer.not_allowed"), "{}", refused.err);
    let settings = setup.text("signerctl.toml");
    for client in ["client-other", "client-revoked"] {
        fs::write(
            setup.path("other.toml"),
            settings.replace("pki/client.", &format!("pki/{client}.")),
        )
        .unwrap();
        let words = ["sign", "records", "--config", "other.toml", "--retries", "0", "--output"];
        let refused = ctl(&setup, &[&words[..], &[client]].concat());
        assert_eq!(refused.code, Some(3), "{client}: {}", refused.err);
        assert!(refused.err.contains("what to do"), "{}", refused.err);
    }

    ends(&setup, &["sign", "missing", "--output", "y"], 5);
    fs::write(setup.path("damaged"), "{\"record\": 7}\n").unwrap();
    let damaged = ends(&setup, &["sign", "damaged", "--output", "z"], 5);
    assert!(damaged.err.contains("damaged") && damaged.err.contains("what to do"));

    assert!(daemon.stop().success());
    let away = ends(&setup, &["trust-list", "--retries", "0"], 4);
    assert!(away.err.contains("what to do"), "{}", away.err);
}
