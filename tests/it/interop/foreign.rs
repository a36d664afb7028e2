//! Certificates that others made: the real sample of Viet Nam and the EU's test data, by the program.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use data_encoding::BASE64;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde_json::Value;
use signerd_tests::setup::{program, vectors};
use std::io::{Read as _, Write as _};

use super::{Ended, ended};

/// Takes an HC1 text apart, changes the signed object, and puts it together again.
pub(super) fn repacked(text: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let packed = base45::decode(text.strip_prefix("HC1:").unwrap()).unwrap();
    let mut cose = Vec::new();
    ZlibDecoder::new(packed.as_slice()).read_to_end(&mut cose).unwrap();
    change(&mut cose);
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::best());
    packer.write_all(&cose).unwrap();
    format!("HC1:{}", base45::encode(packer.finish().unwrap()))
}

/// These verbs ask no server and read no settings.
fn offline(words: &[&str]) -> Ended {
    ended(Command::new(program("signerctl")).args(words))
}

#[test]
fn the_sample_of_viet_nam_is_shown_as_it_is() {
    // `inspect` gives every value of the real sample, and says that nothing of it is proven.
    let Some(data) = vectors("the sample of Viet Nam") else { return };
    let sample = data.join("vn-qa-sample.hc1");
    let shown = offline(&["inspect", "--json", sample.to_str().unwrap()]);
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    let expected = serde_json::json!({
        "1": "VN",
        "4": 1_738_195_200,
        "6": 1_649_950_687,
        "-260": { "1": {
            "ver": "1.3.0",
            "nam": { "fn": "Nguyễn", "gn": "Bảo Duy", "fnt": "NGUYEN", "gnt": "BAO<DUY" },
            "dob": "1983-10-10",
            "v": [{
                "tg": "840539006", "vp": "J07BX03", "mp": "EU/1/21/1529", "ma": "ORG-100030215",
                "dn": 2, "sd": 2, "dt": "2021-03-18", "co": "VN", "is": "Ban Co Yeu",
                "ci": "URN:UVCI:01:VN:FFFE3D31FABD035899134A9D3BAE9BCF",
            }],
        }},
    });
    assert_eq!(shown["claims"], expected);
    assert_eq!(shown["kid"], "8w2kZxb3iC0", "f30da46716f7882d");
    assert_eq!(shown["alg"], -37);
    assert_eq!(shown["tags"], serde_json::json!([18]));
    let sizes = serde_json::json!({ "text": 825, "cose": 536, "payload": 256, "signature": 256 });
    assert_eq!(shown["sizes"], sizes);
    let words = offline(&["inspect", sample.to_str().unwrap()]);
    assert!(words.out.contains("Nothing of this is proven"), "{}", words.out);
}

#[test]
fn the_sample_of_viet_nam_has_a_signer_that_nobody_published() {
    // `verify` names the missing signer instead of calling the sample good or broken.
    let Some(data) = vectors("the sample of Viet Nam") else { return };
    let (sample, list) = (data.join("vn-qa-sample.hc1"), data.join("vn-production-dsc.json"));
    let (sample, list) = (sample.to_str().unwrap(), list.to_str().unwrap());
    let verified =
        offline(&["verify", "--trust-list", list, "--at", "2022-05-01T00:00:00Z", sample]);
    assert_eq!(verified.code, Some(1), "{}", verified.err);
    assert!(verified.out.contains("kid f30da46716f7882d is not in the trust list"));
}

#[test]
fn the_test_data_of_the_eu_gives_what_its_list_of_tests_says() {
    // Every file of dgc-testdata, verified by the program with its own certificate at its own time,
    // is VALID or INVALID as BasicDgcTestsList.md says.
    let Some(data) = vectors("the EU's test data") else { return };
    let data = data.join("dgc-testdata");
    let expected = expectations(&fs::read_to_string(data.join("BasicDgcTestsList.md")).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (mut seen, mut wrong) = (0, Vec::new());
    for directory in ["common", "ps256"] {
        for entry in fs::read_dir(data.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            // The picture of Q1 is broken, not its text; the pictures have a test of their own.
            if name == "Q1" {
                continue;
            }
            let json = fs::read_to_string(&path).unwrap();
            let json: Value = serde_json::from_str(json.trim_start_matches('\u{feff}')).unwrap();
            // The numbered tests stand in the list; the files of countries say it themselves.
            let valid = expected.get(&name).copied().unwrap_or_else(|| is_all_well(&json));
            let verified = verified(&path, &json, &folder.path().join("list.pem"));
            let (code, word) = if valid { (0, "VALID ") } else { (1, "INVALID ") };
            if verified.code != Some(code) || !verified.out.starts_with(word) {
                wrong.push(format!("{name}: {} {}", verified.out, verified.err));
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(seen, 37 + 13);
}

/// Verifies one file as a person would: its certificate in a file, its text where it stands.
fn verified(path: &Path, json: &Value, list: &Path) -> Ended {
    let context = &json["TESTCTX"];
    let certificate = context["CERTIFICATE"].as_str().unwrap();
    let pem = format!("-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n");
    BASE64.decode(certificate.as_bytes()).expect("base64");
    fs::write(list, pem).unwrap();
    let at = with_zone(context["VALIDATIONCLOCK"].as_str().unwrap());
    let words = ["verify", "--trust-list", list.to_str().unwrap(), "--at", &at];
    offline(&[&words[..], &[path.to_str().unwrap()]].concat())
}

/// Whether a file expects every step to succeed.
fn is_all_well(json: &Value) -> bool {
    let expected = json["EXPECTEDRESULTS"].as_object().unwrap();
    expected.values().all(|expected| expected == true)
}

/// Some files write their clock without a zone, or with one that has no colon; all mean UTC.
fn with_zone(clock: &str) -> String {
    let clock = clock.trim_end_matches("+0000");
    if clock.ends_with('Z') || clock.contains("+0") {
        return clock.to_owned();
    }
    format!("{clock}Z")
}

/// The rows `| ID | … | VALID | …` of the list of tests.
fn expectations(list: &str) -> HashMap<String, bool> {
    let rows = list.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let valid = match *cells.get(4)? {
            "VALID" => true,
            "INVALID" => false,
            _ => return None,
        };
        Some((cells.get(1)?.to_string(), valid))
    });
    rows.collect()
}
