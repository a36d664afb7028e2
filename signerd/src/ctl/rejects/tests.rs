//! The lists of made-up runs, read back by programs that did not write them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use calamine::{Data, Reader, Xlsx, open_workbook};
use clap::Parser;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::ctl::client::Patience;
use crate::ctl::output::Progress;
use crate::ctl::records::VaccinationRecord;
use crate::ctl::records::model::tests::full_record;

const POLICY: &str = r#"
version = 1
value_sets = ["qd-5772"]
[issuer.vn-moh]
clients = ["moh-issuing"]
iss = "VN"
issuing_body = "Bộ Y tế"
[[verifier]]
certificate = "verifier.pem"
[facility_trust]
ca = ["ca.pem"]
crl = ["crl.pem"]
[[facility]]
id = "79-TTYT-Q1"
name = "Trung tâm Y tế Quận 1"
areas = ["79"]
managed_by = "79-SYT"
[[facility]]
id = "79-SYT"
name = "Sở Y tế Thành phố Hồ Chí Minh"
areas = ["79"]
[[facility]]
id = "01-CDC-HN"
name = "CDC Hà Nội"
areas = ["01"]
"#;

/// `rejects` alone, as the command line reads it.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// A folder with a policy, records and answers.
struct Stage {
    folder: TempDir,
    records: Vec<String>,
    answers: Vec<String>,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("policy.toml"), POLICY).unwrap();
        Self { folder, records: Vec::new(), answers: Vec::new() }
    }

    /// Some of each list, at three units of which one is not registered, and good ones between.
    fn full() -> Self {
        let mut stage = Self::new();
        stage.add("Nguyễn Văn A", "79-TTYT-Q1", &["holder.id_missing", "dose.in_progress"]);
        stage.add("Trần Thị B", "99-X", &["holder.id_malformed"]);
        stage.add("Lê C", "01-CDC-HN", &[]);
        stage.add("Phạm D", "01-CDC-HN", &["holder.id_malformed", "identity.not_found"]);
        stage.add("Đỗ Ê", "79-SYT", &["identity.mismatched"]);
        stage.add("=HYPERLINK(\"http://x\")", "79-TTYT-Q1", &["holder.name_invalid"]);
        stage.add("Vũ\u{0}\tG", "79-TTYT-Q1", &["holder.id_missing"]);
        stage
    }

    fn add(&mut self, name: &str, unit: &str, codes: &[&str]) {
        let number = self.records.len();
        let mut record: VaccinationRecord = full_record();
        record.holder.full_name = name.into();
        record.holder.phone = Some("+84901234567".into());
        for dose in &mut record.doses {
            dose.facility = unit.into();
        }
        self.records.push(serde_json::json!({ "record": record }).to_string());
        let reasons: Vec<Value> = codes
            .iter()
            .map(|code| serde_json::json!({ "code": code, "path": "/x", "detail": "wrong; do it" }))
            .collect();
        self.answers.push(if codes.is_empty() {
            format!(r#"{{"record":{number},"dose":1,"uvci":"U","hcert":"HC1:"}}"#)
        } else {
            serde_json::json!({ "record": number, "status": "rejected", "reasons": reasons })
                .to_string()
        });
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the files, and reads a command line with further words; relative names are of the folder.
    fn args(&self, words: &[&str]) -> Args {
        std::fs::write(self.path("records"), self.records.join("\n")).unwrap();
        std::fs::write(self.path("answers"), self.answers.join("\n")).unwrap();
        let path = |name: &str| self.path(name).display().to_string();
        let mut line = vec!["rejects".to_owned(), path("answers")];
        for name in ["records", "policy"] {
            let file = if name == "policy" { "policy.toml" } else { name };
            line.extend([format!("--{name}"), path(file)]);
        }
        let mut is_path = false;
        for word in words {
            line.push(if is_path { path(word) } else { (*word).to_owned() });
            is_path = matches!(*word, "--output" | "--split");
        }
        Line::try_parse_from(&line).unwrap().args
    }

    /// Runs the verb with further words.
    fn run(&self, words: &[&str]) -> Result<Value, CtlError> {
        let args = self.args(words);
        let context = Context {
            config: PathBuf::new(),
            json: true,
            progress: Progress::Hidden,
            patience: Patience { retries: 0, answer_deadline: Duration::from_secs(1) },
            now: 1_650_000_000,
        };
        let mut out = Vec::new();
        run(&args, &context, &mut out)?;
        Ok(serde_json::from_slice(&out).unwrap())
    }
}

/// The cells of every sheet, by its name; nothing but texts, and whole numbers where they belong.
fn sheets(path: &Path) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut book: Xlsx<_> = open_workbook(path).unwrap();
    let names = book.sheet_names();
    let mut sheets = BTreeMap::new();
    for name in names {
        let formulas = book.worksheet_formula(&name).unwrap();
        assert!(formulas.used_cells().all(|(_, _, formula)| formula.is_empty()), "{name}");
        let range = book.worksheet_range(&name).unwrap();
        let text = |(column, cell): (usize, &Data)| match cell {
            Data::Empty => String::new(),
            Data::String(text) => text.clone(),
            Data::Float(n) if [0, 15].contains(&column) || name.starts_with('T') => n.to_string(),
            other => panic!("{name}: {other:?} in column {column}"),
        };
        let rows = range.rows().map(|row| row.iter().enumerate().map(text).collect()).collect();
        sheets.insert(name, rows);
    }
    sheets
}

/// One column of a sheet, without its headings.
fn column(sheet: &[Vec<String>], number: usize) -> Vec<&str> {
    sheet.iter().skip(2).map(|row| row[number].as_str()).collect()
}

const SHEETS: [&str; 4] = [
    "1 Thiếu số - No number",
    "2 Sai định dạng - Malformed",
    "3 Xác minh sai - No match",
    "Khác - Other",
];

#[test]
fn every_rejected_record_stands_once_in_each_of_its_lists() {
    // Each list has its records and no other, registered areas first; the summary counts them.
    let stage = Stage::full();
    let report = stage.run(&["--output", "list.xlsx"]).unwrap();
    let sheets = sheets(&stage.path("list.xlsx"));
    let names = |sheet: &str| column(&sheets[sheet], 1);
    assert_eq!(names(SHEETS[0]), ["Nguyễn Văn A", "Vũ\u{fffd}\u{fffd}G"]);
    assert_eq!(names(SHEETS[1]), ["Phạm D", "Trần Thị B"]);
    assert_eq!(names(SHEETS[2]), ["Phạm D", "Đỗ Ê"]);
    assert_eq!(names(SHEETS[3]), ["Nguyễn Văn A", "=HYPERLINK(\"http://x\")"]);
    assert_eq!(sheets.len(), 5);
    let summary = &sheets["Tổng hợp - Summary"];
    assert_eq!(summary[0][..2], ["Địa bàn", "Số bản ghi"]);
    assert_eq!(summary[2][..6], ["01", "1", "0", "1", "1", "0"]);
    assert_eq!(summary[3][..6], ["79", "4", "2", "0", "1", "2"]);
    assert_eq!(summary[4][..6], ["chưa đăng ký / not registered", "1", "0", "1", "0", "0"]);
    assert_eq!(summary[5][..6], ["Tổng cộng / Total", "6", "2", "2", "2", "2"]);
    assert_eq!(report["lists"].to_string(), r#"{"1":2,"2":2,"3":2,"other":2}"#);
    assert_eq!((&report["rejected"], &report["listed"]), (&Value::from(6), &Value::from(6)));
    assert_eq!((&report["answered"], &report["not_registered"]), (&7.into(), &1.into()));
    assert_eq!(report["reasons"]["holder.id_malformed"], 2);
}

#[test]
fn a_row_is_text_as_the_record_has_it() {
    // Zeros at the beginning stay, Vietnamese arrives unchanged, what looks like a formula is text;
    // both header rows, the serial number and the line are there.
    let stage = Stage::full();
    stage.run(&["--output", "list.xlsx"]).unwrap();
    let sheets = sheets(&stage.path("list.xlsx"));
    let sheet = &sheets[SHEETS[0]];
    assert_eq!(sheet[0][..5], ["STT", "Họ và tên", "Ngày sinh", "Quốc tịch", "Số CCCD/CMND"]);
    assert_eq!(sheet[1][1..3], ["Full name", "Date of birth"]);
    let expected = ["1", "Nguyễn Văn A", "20/10/1999", "VN", "001099456789", "B1234567"];
    assert_eq!(sheet[2][..6], expected);
    let expected = ["+84901234567", "79-TTYT-Q1", "Trung tâm Y tế Quận 1"];
    assert_eq!(sheet[2][6..9], expected);
    assert_eq!(sheet[2][9..11], ["79-SYT Sở Y tế Thành phố Hồ Chí Minh", "79"]);
    let doses = "1: 20/06/2021, Comirnaty/ Pfizer (EU/1/20/1528), 79-TTYT-Q1\n2: 20/07/2021";
    assert!(sheet[2][11].starts_with(doses), "{}", sheet[2][11]);
    assert_eq!(sheet[2][12], "holder.id_missing\ndose.in_progress");
    assert!(sheet[2][13].starts_with("Không có số định danh; bổ sung"));
    assert_eq!(sheet[2][14], "Wrong; do it\nWrong; do it");
    assert_eq!(sheet[2][15], "1");
    assert_eq!(column(sheet, 0), ["1", "2"]);
    assert_eq!(column(sheet, 15), ["1", "7"]);
}

#[test]
fn sheets_are_ready_for_work_and_print() {
    // Panes are frozen below the headings, the filter covers them and all rows, the paper is A4
    // landscape with repeated headings, identity numbers are in text format.
    let stage = Stage::full();
    stage.run(&["--output", "list.xlsx"]).unwrap();
    let xml = |name| part(&stage.path("list.xlsx"), name);
    let sheet = xml("xl/worksheets/sheet2.xml");
    for piece in [
        r#"<pane xSplit="2" ySplit="2" topLeftCell="C3""#,
        r#"<autoFilter ref="A2:Q4"/>"#,
        r#"paperSize="9""#,
        r#"orientation="landscape""#,
        r#"fitToHeight="0""#,
        "Contains personal data",
    ] {
        assert!(sheet.contains(piece), "{piece}");
    }
    assert!(!sheet.contains("<f>") && !sheet.contains("<hyperlink"));
    let workbook = xml("xl/workbook.xml");
    assert!(workbook.contains("'1 Thiếu số - No number'!$1:$2</definedName>"), "{workbook}");
    // Number format 49 is "@": text.
    assert!(xml("xl/styles.xml").contains(r#"numFmtId="49""#));
}

#[test]
fn the_csv_says_the_same() {
    // UTF-8 with its mark, CRLF, one line of headings, the same cells as the spreadsheet, and no
    // cell that a spreadsheet program would carry out.
    let stage = Stage::full();
    stage.run(&["--output", "list.xlsx", "--output", "list.csv"]).unwrap();
    let text = std::fs::read_to_string(stage.path("list.csv")).unwrap();
    let body = text.strip_prefix('\u{feff}').unwrap();
    assert!(body.starts_with(r#""Nhóm / Group","STT / No.","Họ và tên / Full name","#));
    assert_eq!(body.matches("\r\n").count(), body.matches('\n').count());
    let mut reader = csv::Reader::from_reader(body.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 8);
    let sheets = sheets(&stage.path("list.xlsx"));
    let of_sheets = SHEETS.iter().flat_map(|sheet| sheets[*sheet].iter().skip(2));
    for (row, of_sheet) in rows.iter().zip(of_sheets) {
        for (cell, of_sheet) in row.iter().skip(1).zip(of_sheet) {
            let expected = of_sheet.replace('\n', " | ");
            assert_eq!(cell.strip_prefix('\'').unwrap_or(cell), expected);
            assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell}");
        }
    }
    assert_eq!(&rows[7][2], "'=HYPERLINK(\"http://x\")");
    assert_eq!(&rows[6][7], "'+84901234567");
    assert_eq!(&rows[2][0], "2. CCCD/Mã định danh sai định dạng / 2. Identity number badly formed");
}

#[test]
fn each_place_can_have_its_file() {
    // --split: every row in the file of its place alone, in every form that is asked for, with a
    // summary of that place; every file private.
    use std::os::unix::fs::PermissionsExt as _;
    let stage = Stage::full();
    let words = ["--by", "approver", "--format", "xlsx,csv", "--split", "lists"];
    let report = stage.run(&words).unwrap();
    let files: Vec<&str> = report["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file.as_str().unwrap().rsplit('/').next().unwrap())
        .collect();
    let stems = ["approver-01-CDC-HN", "approver-79-SYT", "not-registered"];
    let expected: Vec<String> = stems
        .iter()
        .flat_map(|stem| ["xlsx", "csv"].map(|form| format!("{stem}.{form}")))
        .collect();
    assert_eq!(files, expected);
    let sheets = sheets(&stage.path("lists/approver-79-SYT.xlsx"));
    assert_eq!(column(&sheets[SHEETS[0]], 1).len(), 2);
    assert_eq!(column(&sheets[SHEETS[1]], 1).len(), 0);
    assert_eq!(column(&sheets[SHEETS[2]], 1), ["Đỗ Ê"]);
    let summary = &sheets["Tổng hợp - Summary"];
    assert_eq!(summary.len(), 4);
    // Units have names beside their ids.
    assert_eq!(summary[0][..3], ["Cơ sở duyệt", "Tên", "Số bản ghi"]);
    assert_eq!(summary[2][..3], ["79-SYT", "Sở Y tế Thành phố Hồ Chí Minh", "4"]);
    assert_eq!(summary[3][..3], ["Tổng cộng / Total", "", "4"]);
    for file in std::fs::read_dir(stage.path("lists")).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn each_file_is_as_large_as_its_own_rows() {
    // The size by which a spreadsheet takes its 64-bit form is that of the rows of its file, in each
    // of their lists; the files together have all rows, and one list has them all.
    let stage = Stage::full();
    for (words, files) in
        [(["--by", "area", "--split", "lists"], 3), (["--by", "area", "--output", "list.xlsx"], 1)]
    {
        let Found { sizes, rows, .. } = found(&stage.args(&words), Progress::Hidden).unwrap();
        let total = rows.bytes();
        let mut counted = BTreeMap::new();
        for row in rows.finish().unwrap() {
            let row = row.unwrap();
            // A row takes its JSON and the end of the line.
            let bytes = u64::try_from(serde_json::to_vec(&row).unwrap().len()).unwrap() + 1;
            *counted.entry(row.file).or_insert(0) += bytes;
        }
        assert!(sizes == counted, "{words:?}");
        assert_eq!((sizes.len(), sizes.values().sum::<u64>()), (files, total));
    }
}

#[test]
fn lists_can_be_chosen() {
    // --lists leaves out the other ones, and the records that are in those alone.
    let stage = Stage::full();
    let report = stage.run(&["--lists", "3,1", "--output", "list.xlsx"]).unwrap();
    let sheets = sheets(&stage.path("list.xlsx"));
    assert_eq!(sheets.keys().collect::<Vec<_>>(), [SHEETS[0], SHEETS[2], "Tổng hợp - Summary"]);
    assert_eq!((&report["rejected"], &report["listed"]), (&6.into(), &4.into()));
}

#[test]
fn nothing_is_overwritten_or_written_without_need() {
    // A file that is there stops the run before anything is read, unless --force is given; a dry run
    // counts the same and writes nothing.
    let stage = Stage::full();
    let dry = stage.run(&["--dry-run"]).unwrap();
    assert_eq!((&dry["listed"], &dry["files"].as_array().unwrap().len()), (&6.into(), &0));
    // Nor does it need the folder of the results: what it puts aside lies where folders are.
    for words in [["--split", "lists"], ["--output", "new/list.xlsx"]] {
        let dry = stage.run(&[&["--dry-run"], &words[..]].concat()).unwrap();
        assert_eq!(dry["listed"], 6);
        let line = [&["rejects", "a", "--records", "r", "--policy", "p", "--dry-run"], &words[..]];
        let folder = Line::try_parse_from(line.concat()).unwrap().args.folder();
        assert!(tempfile::tempfile_in(&folder).is_ok(), "{}", folder.display());
        assert_eq!(folder, std::env::temp_dir());
    }
    assert!(!stage.path("lists").exists() && !stage.path("new").exists());
    std::fs::write(stage.path("list.xlsx"), "mine").unwrap();
    let error = stage.run(&["--output", "list.xlsx"]).unwrap_err();
    assert!(error.to_string().ends_with("list.xlsx is there already"), "{error}");
    assert_eq!(std::fs::read_to_string(stage.path("list.xlsx")).unwrap(), "mine");
    stage.run(&["--force", "--output", "list.xlsx"]).unwrap();
    assert_eq!(sheets(&stage.path("list.xlsx")).len(), 5);
    let names: Vec<_> = std::fs::read_dir(stage.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|name| !name.ends_with(".part")), "{names:?}");
}

#[test]
fn answers_that_do_not_fit_the_records_are_refused() {
    // A record beyond the end, or one that is answered twice, means that the files do not belong
    // together: no list is made.
    let mut stage = Stage::full();
    let beyond = stage.answers[0].replace("\"record\":0", "\"record\":70");
    stage.answers.push(beyond);
    let error = stage.run(&["--output", "list.csv"]).unwrap_err();
    assert!(error.to_string().contains("has no record 70"), "{error}");
    stage.answers.pop();
    stage.answers.push(stage.answers[0].clone());
    let error = stage.run(&["--output", "list.csv"]).unwrap_err();
    assert!(error.to_string().contains("has no record 0 that was not listed"), "{error}");
    assert!(!stage.path("list.csv").exists());
}

#[test]
fn a_run_without_rejections_gives_an_empty_list() {
    // Nobody rejected: a list with headings only; with --split, no file.
    let mut stage = Stage::new();
    stage.add("Lê C", "01-CDC-HN", &[]);
    stage.run(&["--output", "list.xlsx"]).unwrap();
    assert!(sheets(&stage.path("list.xlsx"))[SHEETS[0]].len() == 2);
    assert_eq!(stage.run(&["--split", "lists"]).unwrap()["files"].to_string(), "[]");
}

/// The text of one part of a spreadsheet.
fn part(path: &Path, name: &str) -> String {
    use std::io::Read as _;
    let bytes = std::fs::read(path).unwrap();
    // The central directory tells where a part begins; its entry is found by its name.
    let number = |at: usize, width: usize| {
        bytes[at..at + width].iter().rev().fold(0, |sum, byte| sum * 256 + usize::from(*byte))
    };
    let entry = (0..bytes.len() - 46)
        .find(|at| {
            bytes[*at..].starts_with(b"PK\x01\x02") && bytes[at + 46..].starts_with(name.as_bytes())
        })
        .unwrap();
    let (size, start) = (number(entry + 20, 4), number(entry + 42, 4));
    let data = start + 30 + number(start + 26, 2) + number(start + 28, 2);
    let mut text = String::new();
    flate2::read::DeflateDecoder::new(&bytes[data..data + size]).read_to_string(&mut text).unwrap();
    text
}
