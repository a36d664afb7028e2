//! Health certificates against public vectors: the real sample of Viet Nam and the EU's test data.
//!
//! The vectors are not part of this repository. `SIGNERD_HCERT_DATA` names their directory, by
//! default `../shared/hcert/data` beside the workspace; where they are absent the tests say so.

use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use serde_json::Value;
use sha2::{Digest, Sha256};

use signerd::hcert::{
    self, Alg, Claims, Dcc, Invalid, Kid, Name, Place, SignerCertificate, Signers, Tagging, Tree,
    Vaccination,
};

/// Gives the vectors' directory, or says loudly that a test proves nothing.
fn data() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/hcert/data");
    let path = std::env::var_os("SIGNERD_HCERT_DATA").map_or(default, PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: no health certificate vectors at {} (SIGNERD_HCERT_DATA)", path.display());
    None
}

fn json(path: &Path) -> Value {
    let json = fs::read_to_string(path).unwrap();
    serde_json::from_str(json.trim_start_matches('\u{feff}')).unwrap()
}

fn text(tree: &Tree, key: &str) -> String {
    tree.get(key).and_then(Tree::as_text).unwrap().to_owned()
}

/// Rebuilds the issuer's claims from what was read.
fn claims_of(decoded: &hcert::Decoded) -> Claims {
    let dcc = decoded.dcc().unwrap();
    let (nam, v) = (dcc.get("nam").unwrap(), dcc.get("v").unwrap().item(0).unwrap());
    let count = |key| u8::try_from(v.get(key).and_then(Tree::as_int).unwrap()).unwrap();
    Claims {
        iss: decoded.issuer().unwrap().to_owned(),
        issued_at: decoded.issued_at().unwrap(),
        expires_at: decoded.expires_at().unwrap(),
        dcc: Dcc {
            name: Name {
                family: text(nam, "fn"),
                given: Some(text(nam, "gn")),
                family_standard: text(nam, "fnt"),
                given_standard: Some(text(nam, "gnt")),
            },
            date_of_birth: text(dcc, "dob"),
            vaccination: Vaccination {
                ci: text(v, "ci"),
                co: text(v, "co"),
                dn: count("dn"),
                dt: text(v, "dt"),
                is: text(v, "is"),
                ma: text(v, "ma"),
                mp: text(v, "mp"),
                sd: count("sd"),
                tg: text(v, "tg"),
                vp: text(v, "vp"),
            },
        },
    }
}

#[test]
fn sample_of_viet_nam_is_rebuilt_byte_for_byte() {
    // What was read out of the real sample, prepared anew, gives the very bytes that were signed.
    let Some(data) = data() else { return };
    let sample = fs::read_to_string(data.join("vn-qa-sample.hc1")).unwrap();
    let decoded = hcert::read(sample.trim_end_matches(['\r', '\n'])).unwrap();
    let envelope = decoded.envelope();
    assert_eq!(envelope.tagging(), Tagging::CoseSign1);
    assert_eq!(decoded.sizes().cose_bytes, 536);
    let (kid, place) = envelope.kid().unwrap();
    assert_eq!(kid, [0xf3, 0x0d, 0xa4, 0x67, 0x16, 0xf7, 0x88, 0x2d]);
    assert_eq!(place, Place::Protected);

    let kid = Kid::from_bytes(kid.try_into().unwrap());
    let unsigned = hcert::prepare(Alg::Ps256, kid, &claims_of(&decoded)).unwrap();
    assert_eq!(unsigned.protected(), envelope.protected());
    assert_eq!(unsigned.payload(), envelope.payload());
    let signed: [u8; 32] = Sha256::digest(envelope.tbs()).into();
    assert_eq!(unsigned.digest(), signed);
}

#[test]
fn sample_of_viet_nam_has_an_unknown_signer() {
    // The sample's certificate is in no public list: it reads, and does not verify.
    let Some(data) = data() else { return };
    let sample = fs::read_to_string(data.join("vn-qa-sample.hc1")).unwrap();
    let list = json(&data.join("vn-production-dsc.json"));
    let der = BASE64.decode(list[0]["rawData"].as_str().unwrap().as_bytes()).unwrap();
    let signer = SignerCertificate::from_der(&der).unwrap();
    assert_eq!(signer.alg(), Alg::Ps256);
    assert!(signer.subject().contains("CHỨNG NHẬN TIÊM CHỦNG"), "{}", signer.subject());
    let signers: Signers = [signer].into_iter().collect();
    let outcome = hcert::verify(sample.trim_end(), &signers, 1_650_000_000).unwrap_err();
    assert!(matches!(outcome, Invalid::KidUnknown(_)), "{outcome}");
}

/// One file of the EU's test data.
struct Vector {
    name: String,
    text: String,
    signers: Signers,
    now: i64,
    /// Whether every expectation about the text (not about a picture of it) is positive.
    valid: bool,
}

fn vectors(directory: &Path) -> Vec<Vector> {
    let mut vectors: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| vector(&path))
        .collect();
    vectors.sort_by(|a, b| a.name.cmp(&b.name));
    vectors
}

fn vector(path: &Path) -> Vector {
    let json = json(path);
    let context = &json["TESTCTX"];
    let der = BASE64.decode(context["CERTIFICATE"].as_str().unwrap().as_bytes()).unwrap();
    let expected = json["EXPECTEDRESULTS"].as_object().unwrap();
    Vector {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        text: json["PREFIX"].as_str().unwrap().to_owned(),
        signers: [SignerCertificate::from_der(&der).unwrap()].into_iter().collect(),
        now: clock_seconds(context["VALIDATIONCLOCK"].as_str().unwrap()),
        valid: expected
            .iter()
            .filter(|(name, _)| *name != "EXPECTEDPICTUREDECODE")
            .all(|(_, expected)| expected.as_bool().unwrap()),
    }
}

/// Reads the clock of a vector; some files write it without a zone, or with one of four digits.
fn clock_seconds(clock: &str) -> i64 {
    if let Ok(time) = clock.parse::<jiff::Timestamp>() {
        return time.as_second();
    }
    let local: jiff::civil::DateTime = clock.trim_end_matches("+0000").parse().unwrap();
    jiff::tz::Offset::UTC.to_timestamp(local).unwrap().as_second()
}

#[test]
fn test_data_of_the_eu_gives_the_expected_results() {
    // Each file of dgc-testdata is accepted or refused as its own expectations say.
    let Some(data) = data() else { return };
    let mut wrong = Vec::new();
    for (directory, count) in [("common", 38), ("ps256", 13)] {
        let vectors = vectors(&data.join("dgc-testdata").join(directory));
        assert_eq!(vectors.len(), count);
        for vector in vectors {
            let outcome = hcert::verify(&vector.text, &vector.signers, vector.now);
            match (&outcome, vector.valid) {
                (Ok(_), true) | (Err(_), false) => {}
                (Ok(_), false) => wrong.push(format!("{} was accepted", vector.name)),
                (Err(reason), true) => wrong.push(format!("{}: {reason}", vector.name)),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn test_data_of_the_eu_is_refused_for_the_right_reason() {
    // The reason of each refusal is the one the list of tests names.
    let Some(data) = data() else { return };
    let expected = [
        ("B1", "unreadable"),
        ("CBO1", "structure"),
        ("CBO2", "unreadable"),
        ("CO5", "signature"),
        ("CO6", "purpose"),
        ("CO7", "purpose"),
        ("CO8", "purpose"),
        ("CO9", "purpose"),
        ("CO10", "purpose"),
        ("CO11", "purpose"),
        ("CO16", "issued_in_future"),
        ("CO17", "expired"),
        ("CO22", "kid_malformed"),
        ("CO23", "kid_malformed"),
        ("DGC1", "structure"),
        ("DGC2", "several_events"),
        ("H1", "unreadable"),
        ("H2", "unreadable"),
        ("H3", "unreadable"),
        ("Z1", "unreadable"),
        ("Z2", "unreadable"),
    ];
    let vectors = vectors(&data.join("dgc-testdata/common"));
    for (name, code) in expected {
        let vector = vectors.iter().find(|vector| vector.name == name).unwrap();
        let reason = hcert::verify(&vector.text, &vector.signers, vector.now).unwrap_err();
        assert_eq!(reason.code(), code, "{name}: {reason}");
    }
}

#[test]
fn every_production_certificate_is_read() {
    // All signer certificates of a real trust list are readable, and their kids follow the rule.
    let Some(data) = data() else { return };
    let list = json(&data.join("dsc-sample-from-trustlist-de.json"));
    for entry in list.as_array().unwrap() {
        let der = BASE64.decode(entry["rawData"].as_str().unwrap().as_bytes()).unwrap();
        let signer = SignerCertificate::from_der(&der).unwrap();
        assert_eq!(BASE64.encode(signer.kid().as_bytes()), entry["kid"].as_str().unwrap());
    }
}
