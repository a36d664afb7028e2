//! The review lists of a run with the real daemon: every rejected record, in its list, for its unit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use calamine::{Data, Reader as _, Xlsx, open_workbook};
use ciborium::Value;
use data_encoding::BASE64URL_NOPAD;
use signerd_tests::record::{Evidence, Person, at, now, set};
use signerd_tests::{Daemon, Setup};

/// One record: a name, what the population database said, and the lists where it has to stand.
struct Case {
    person: Person,
    outcome: &'static str,
    lists: &'static [&'static str],
}

const NO_NUMBER: &str = "1 Thiếu số - No number";
const MALFORMED: &str = "2 Sai định dạng - Malformed";
const NO_MATCH: &str = "3 Xác minh sai - No match";
const OTHER: &str = "Khác - Other";

fn cases() -> Vec<Case> {
    let named = |name: &str| Person::with_doses(2).holder("full_name", Some(name.into()));
    let case = |person, outcome, lists| Case { person, outcome, lists };
    let id = |number: &str| Some(Value::from(number));
    vec![
        case(named("Nguyễn Thị Một"), "matched", &[]),
        case(named("Trần Văn Hai").holder("national_id", None), "matched", &[NO_NUMBER]),
        case(named("Lê Đức Ba").holder("national_id", id("00112233")), "matched", &[MALFORMED]),
        case(named("Phạm Thị Bốn"), "mismatched", &[NO_MATCH]),
        case(named("Đỗ Hữu Năm"), "not_found", &[NO_MATCH]),
        case(named("Vũ Sáu").dose(1, "date", Some("2921-01-01".into())), "matched", &[OTHER]),
        case(
            named("Hồ Bảy").holder("national_id", id("7")).dose(
                0,
                "facility",
                Some("99-NOBODY".into()),
            ),
            "mismatched",
            &[MALFORMED, NO_MATCH, OTHER],
        ),
    ]
}

/// Writes the records file as an issuing system does that was handed signed records.
fn write_records(setup: &Setup, cases: &[Case]) {
    let evidence = Evidence::of(setup);
    let mut text = String::new();
    for case in cases {
        let mut entry = evidence.entry(&case.person);
        let digest = case.person.holder_digest();
        let statement = evidence.verifier.identity_statement(digest, case.outcome, now());
        set(&mut entry, "identity_statement", Some(Value::Bytes(statement)));
        let mut line = serde_json::Map::new();
        for member in ["record", "identity_statement", "facility_signature"] {
            let bytes = at(&mut entry, member).as_bytes().unwrap();
            line.insert(member.to_owned(), BASE64URL_NOPAD.encode(bytes).into());
        }
        text.push_str(&format!("{}\n", serde_json::Value::from(line)));
    }
    fs::write(setup.path("records"), text).unwrap();
}

fn ctl(setup: &Setup, words: &[&str], code: i32) -> Output {
    let output = setup.signerctl().current_dir(setup.dir()).args(words).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{words:?}\n{told}");
    output
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

const LIST: [&str; 6] = ["rejects", "signed", "--records", "records", "--policy", "policy.toml"];

#[test]
fn every_rejected_record_of_a_run_is_listed_for_its_unit() {
    // Records with each kind of fault are signed by the daemon; each rejected one then stands once in
    // each of its lists, with its number as it was, its reasons in Vietnamese and its unit by the
    // registry, and no other does; the CSV has as many rows; the preview's answers give the same.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let cases = cases();
    write_records(&setup, &cases);
    let preview = ctl(&setup, &["preview", "records", "--json"], 1).stdout;
    fs::write(setup.path("previewed"), preview).unwrap();
    ctl(&setup, &["sign", "records", "--output", "signed", "--batch-size", "3"], 1);
    assert!(daemon.stop().success());

    let outputs = ["--json", "--output", "list.xlsx", "--output", "list.csv"];
    let listed = ctl(&setup, &[&LIST[..], &outputs].concat(), 0);
    assert!(String::from_utf8_lossy(&listed.stderr).contains("personal data"));
    let mut book: Xlsx<_> = open_workbook(setup.path("list.xlsx")).unwrap();
    let (mut found, mut rows) = (BTreeMap::<&str, BTreeSet<String>>::new(), 0);
    for sheet in [NO_NUMBER, MALFORMED, NO_MATCH, OTHER] {
        let range = book.worksheet_range(sheet).unwrap();
        for row in range.rows().skip(2) {
            let name = row[1].to_string();
            if name == "Lê Đức Ba" {
                assert_eq!(row[4], Data::String("00112233".into()));
                assert_eq!(row[7], Data::String("79-TTYT-Q1".into()));
                assert!(row[13].to_string().starts_with("Số định danh sai định dạng; đối chiếu"));
                assert_eq!(row[15], Data::Float(3.0));
            }
            if name == "Vũ Sáu" {
                assert!(row[13].to_string().starts_with("Mũi 2: ngày tiêm sau ngày hiện tại"));
            }
            assert!(found.entry(sheet).or_default().insert(name), "twice in {sheet}");
            rows += 1;
        }
    }
    let mut expected = BTreeMap::<&str, BTreeSet<String>>::new();
    for case in &cases {
        let mut record = case.person.record.clone();
        let name = at(at(&mut record, "holder"), "full_name").as_text().unwrap().to_owned();
        for list in case.lists {
            expected.entry(list).or_default().insert(name.clone());
        }
    }
    assert_eq!(found, expected);
    let mut csv = csv::Reader::from_path(setup.path("list.csv")).unwrap();
    assert_eq!(csv.records().map(Result::unwrap).count(), rows);
    for file in ["list.xlsx", "list.csv"] {
        let mode = fs::metadata(setup.path(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }

    let of_signing = json(&listed);
    assert_eq!((&of_signing["rejected"], &of_signing["unanswered"]), (&6.into(), &0.into()));
    assert_eq!(of_signing["not_registered"], 1);
    let words = [&["rejects", "previewed"], &LIST[2..], &["--json", "--dry-run"]].concat();
    let of_preview = ctl(&setup, &words, 0);
    assert!(String::from_utf8_lossy(&of_preview.stderr).contains("cannot be checked"));
    assert_eq!(json(&of_preview)["reasons"], of_signing["reasons"]);
    assert_eq!(json(&of_preview)["lists"], of_signing["lists"]);
}

#[test]
fn lists_are_made_of_the_right_records_file_only() {
    // With a records file that is not the one that was signed, nobody is told of another's fault:
    // nothing is written. The same where the answers were changed behind the journal's back.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    write_records(&setup, &cases());
    ctl(&setup, &["sign", "records", "--output", "signed", "--batch-size", "3"], 1);
    assert!(daemon.stop().success());
    let text = setup.text("records");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.swap(3, 4);
    fs::write(setup.path("records"), lines.join("\n")).unwrap();
    let words = [&LIST[..], &["--output", "list.xlsx"]].concat();
    let refused = ctl(&setup, &words, 5);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        told.contains("is not the records file of this run: batch 1 (records from 3)"),
        "{told}"
    );
    assert!(told.contains("what to do") && !setup.path("list.xlsx").exists(), "{told}");

    fs::write(setup.path("records"), text).unwrap();
    let signed = setup.text("signed");
    fs::write(setup.path("signed"), &signed[..signed.len() / 2]).unwrap();
    let refused = ctl(&setup, &words, 5);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("was changed since the run"));
}
