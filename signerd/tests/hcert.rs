//! Health certificates against public vectors: the real sample of Viet Nam and the EU's test data.
//!
//! The vectors are not part of this repository. `SIGNERD_HCERT_DATA` names their directory, by
//! default `../shared/hcert/data` beside the workspace; where they are absent the tests say so.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests fail like tests"
)]

use std::fs;
use std::path::{Path, PathBuf};

use ciborium::Value as Cbor;
use clap::Parser;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::Value;
use sha2::{Digest, Sha256};

use signerd::ctl::verify::{Form, Streams};
use signerd::ctl::{inspect, qr, verify};
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
    let catalogue = policy::Catalogue::select(policy::Catalogue::set_ids()).unwrap();
    let unsigned = hcert::prepare(Alg::Ps256, kid, &claims_of(&decoded), &catalogue).unwrap();
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
    signer: SignerCertificate,
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
    let signer = SignerCertificate::from_der(&der).unwrap();
    let expected = json["EXPECTEDRESULTS"].as_object().unwrap();
    Vector {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        text: json["PREFIX"].as_str().unwrap().to_owned(),
        signers: [signer.clone()].into_iter().collect(),
        signer,
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

/// The command line with one verb, as the tool will have it.
#[derive(clap::Parser)]
enum Verb {
    Verify(verify::Args),
    Inspect(inspect::Args),
    Qr(qr::Args),
}

/// Runs a verb with this standard input; gives the outcome, standard output and standard error.
fn run(words: &[&str], form: Form, mut input: &[u8]) -> (Result<bool, String>, String, String) {
    let (mut output, mut diagnostics) = (Vec::new(), Vec::new());
    let mut streams =
        Streams { input: &mut input, output: &mut output, diagnostics: &mut diagnostics };
    let words = std::iter::once("signerctl").chain(words.iter().copied());
    let catalogue = policy::Catalogue::select(policy::Catalogue::set_ids()).unwrap();
    let fail = |error: &dyn std::error::Error| error.to_string();
    let outcome = match Verb::try_parse_from(words).unwrap() {
        Verb::Verify(args) => verify::run(&args, 0, form, &mut streams)
            .map(|outcome| outcome == verify::Outcome::AllValid)
            .map_err(|e| fail(&e)),
        Verb::Inspect(args) => inspect::run(&args, &catalogue, form, &mut streams)
            .map(|outcome| outcome == inspect::Outcome::AllRead)
            .map_err(|e| fail(&e)),
        Verb::Qr(args) => qr::run(&args, &mut streams).map(|()| true).map_err(|e| fail(&e)),
    };
    (outcome, String::from_utf8(output).unwrap(), String::from_utf8(diagnostics).unwrap())
}

#[test]
fn inspect_shows_the_eleven_fields_of_the_sample() {
    // The real sample is shown with envelope facts and all fields; nationality is said to be absent.
    let Some(data) = data() else { return };
    let path = data.join("vn-qa-sample.hc1");
    let (outcome, output, _) = run(&["inspect", path.to_str().unwrap()], Form::Text, b"");
    assert_eq!(outcome, Ok(true));
    for part in [
        "PS256 (-37), protected",
        "f30da46716f7882d",
        "825 characters",
        "2022-04-14T15:38:07Z",
        " 1  Full name               Nguyễn Bảo Duy (NGUYEN<<BAO<DUY)",
        " 3  Nationality             not in an HCERT",
        " 4  Disease                 COVID-19 (840539006)",
        " 5  Doses received          2 of 2",
        "11  Certificate identifier  URN:UVCI:01:VN:FFFE3D31FABD035899134A9D3BAE9BCF",
    ] {
        assert!(output.contains(part), "{part}\n{output}");
    }
    let (_, output, _) = run(&["inspect", path.to_str().unwrap()], Form::Json, b"");
    let json: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(json["fields"].as_array().unwrap().len(), 11);
    assert_eq!(json["claims"]["-260"]["1"]["nam"]["fn"], "Nguyễn");
    assert_eq!(json["tags"], serde_json::json!([18]));
}

#[test]
fn inspect_reads_every_kind_of_certificate() {
    // Tests, recoveries and double-tagged objects are shown; a damaged text is named, the rest goes on.
    let Some(data) = data() else { return };
    let common = data.join("dgc-testdata/common");
    let path = |name: &str| common.join(name).to_str().unwrap().to_owned();
    let (outcome, output, _) = run(
        &["inspect", &path("DGC3.json"), &path("Z1.json"), &path("DGC5.json"), &path("CO28.json")],
        Form::Text,
        b"",
    );
    assert_eq!(outcome, Ok(false));
    for part in ["EU DCC 1.2.1, test", "unreadable", "EU DCC 1.2.1, recovery", "in CWT (tag 61)"] {
        assert!(output.contains(part), "{part}\n{output}");
    }
}

#[test]
fn verify_takes_every_form_of_trust_list() {
    // JSON and CBOR of the daemon, PEM, and the German list with its line of signature give the same.
    let Some(data) = data() else { return };
    let vector = vector(&data.join("dgc-testdata/common/CO1.json"));
    let signer = vector.signer.clone();
    let (kid, der) = (signer.kid(), signer.der());
    let ours = serde_json::json!([{
        "kid": BASE64URL_NOPAD.encode(kid.as_bytes()),
        "certificate": BASE64URL_NOPAD.encode(der),
        "issuer": "at-test", "alg": -37, "state": "retiring",
        "not_before": signer.not_before(), "not_after": signer.not_after(),
    }, { "kid": "AAAAAAAAAAA", "certificate": BASE64URL_NOPAD.encode(der) }]);
    let cbor = Cbor::Array(vec![Cbor::Map(vec![
        (Cbor::from("kid"), Cbor::Bytes(kid.as_bytes().to_vec())),
        (Cbor::from("state"), Cbor::from("retiring")),
        (Cbor::from("certificate"), Cbor::Bytes(der.to_vec())),
    ])]);
    let mut cbor_bytes = Vec::new();
    ciborium::into_writer(&cbor, &mut cbor_bytes).unwrap();
    let pem = format!(
        "# at-test\n-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        BASE64.encode(der)
    );
    let german = serde_json::json!({ "certificates": [{
        "certificateType": "DSC", "country": "AT",
        "kid": BASE64.encode(kid.as_bytes()), "rawData": BASE64.encode(der),
    }]});
    let folder = tempfile::tempdir().unwrap();
    let (list, at) = (folder.path().join("list"), vector.now.to_string());
    let words = ["verify", "--trust-list", list.to_str().unwrap(), "--at", &at];
    for bytes in [
        ours.to_string().into_bytes(),
        cbor_bytes,
        pem.into_bytes(),
        format!("c2lnbmF0dXJl\n{german}").into_bytes(),
        german["certificates"].to_string().into_bytes(),
    ] {
        fs::write(&list, bytes).unwrap();
        let (outcome, output, _) = run(&words, Form::Text, vector.text.as_bytes());
        assert_eq!(outcome, Ok(true), "{output}");
        assert!(output.starts_with("VALID    standard input:1: vaccination certificate of AT"));
    }
    fs::write(&list, ours.to_string()).unwrap();
    let (_, output, diagnostics) = run(&words, Form::Json, vector.text.as_bytes());
    let json: Value = serde_json::from_str(&output).unwrap();
    assert_eq!((&json["valid"], &json["signer"]["state"]), (&true.into(), &"retiring".into()));
    assert!(diagnostics.contains("entry 2 is left out: kid"), "{diagnostics}");
    fs::write(&list, "[]").unwrap();
    assert!(run(&words, Form::Text, vector.text.as_bytes()).0.is_err());
}

#[test]
fn verify_says_why_and_goes_on() {
    // One line per text, a clear reason for the bad ones, no personal data of the good ones.
    let Some(data) = data() else { return };
    let good = vector(&data.join("dgc-testdata/common/CO1.json"));
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.pem");
    fs::write(
        &list,
        format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            BASE64.encode(good.signer.der())
        ),
    )
    .unwrap();
    let input = format!("{}\nHC2:6BF\n{}\n", good.text, good.text.replace("HC1:N", "HC1:M"));
    let words = ["verify", "-t", list.to_str().unwrap(), "--at", "2021-05-04T00:00:00Z"];
    let (outcome, output, _) = run(&words, Form::Text, input.as_bytes());
    assert_eq!(outcome, Ok(false));
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("VALID    standard input:1"), "{}", lines[0]);
    assert!(lines[1].contains("text does not begin with \"HC1:\""), "{}", lines[1]);
    assert!(lines[2].starts_with("INVALID  standard input:3"), "{}", lines[2]);
    assert!(!output.contains("Musterfrau") && !output.contains("URN:UVCI"));
    let later = ["verify", "-t", list.to_str().unwrap(), "--at", "2022-01-01T00:00:00Z"];
    let (_, output, _) = run(&later, Form::Text, good.text.as_bytes());
    assert!(output.contains("expired at 2021-05-05T18:00:00Z"), "{output}");
}

#[test]
fn qr_writes_pictures_for_the_owner_alone() {
    // The ending chooses the form, the file is private, other endings and texts are refused.
    let Some(data) = data() else { return };
    use std::os::unix::fs::PermissionsExt;
    let sample = data.join("vn-qa-sample.hc1");
    let sample = sample.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (name, begins) in [("a.png", &b"\x89PNG"[..]), ("a.svg", b"<svg ")] {
        let words = ["qr", sample, "--output", &output(name), "--level", "L"];
        assert_eq!(run(&words, Form::Text, b"").0, Ok(true));
        assert!(fs::read(output(name)).unwrap().starts_with(begins));
        assert_eq!(fs::metadata(output(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // Two certificates fit into a folder and into no file.
    let two = ["qr", sample, sample, "-o", &output("b.png")];
    assert!(run(&two, Form::Text, b"").0.unwrap_err().contains("name a folder"));
    let words = ["qr", sample, sample, "-o", folder.path().to_str().unwrap()];
    assert_eq!(run(&words, Form::Text, b"").0, Ok(true));
    assert!(folder.path().join("0002.png").exists());
    let words = ["qr", sample, "-o", &output("a.gif")];
    assert!(run(&words, Form::Text, b"").0.unwrap_err().contains("neither .png nor .svg"));
    assert!(run(&["qr", "HC1:abc"], Form::Text, b"").0.unwrap_err().contains("character 5"));
    // 81 modules and twice four of the quiet zone are 45 lines of half blocks.
    let (_, terminal, _) = run(&["qr", sample, "--level", "L"], Form::Text, b"");
    assert_eq!(terminal.lines().count(), 45);
}
