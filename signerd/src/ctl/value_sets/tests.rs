//! Choices of value sets against each other, and against the doses of a records file.

use std::path::Path;
use std::time::Duration;

use clap::Parser;

use super::*;
use crate::ctl::client::Patience;
use crate::ctl::output::Progress;
use crate::ctl::records::model::tests::full_record;

/// `value-sets` alone, as the command line reads it.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn run_as(json: bool, words: &[&str]) -> Result<String, CtlError> {
    let args = Line::try_parse_from([&["value-sets"], words].concat()).unwrap().args;
    let context = Context {
        config: PathBuf::new(),
        json,
        progress: Progress::Hidden,
        patience: Patience { retries: 0, answer_deadline: Duration::from_secs(1) },
        now: 1_650_000_000,
    };
    let mut out = Vec::new();
    run(&args, &context, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn json_of(words: &[&str]) -> Value {
    serde_json::from_str(&run_as(true, words).unwrap()).unwrap()
}

fn codes_of(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|row| row["code"].as_str().unwrap()).collect()
}

/// A later edition: it drops J07BX03, renames the mRNA type, retires Abdala, and lets Comirnaty be an
/// antigen vaccine and no longer an mRNA one.
fn later_edition(folder: &Path) -> String {
    let text = r#"
id = "qd-next"
title = "A later decision"
version = "2"
published = "2024-01-01"
disease = [{ code = "840539006", label = "COVID-19" }]
vaccine = [
    { code = "1119305005", label = "Vắc xin antigen SARS-CoV-2" },
    { code = "1119349007", label = "Vắc xin mRNA" },
]
manufacturer = [
    { code = "ORG-100030215", label = "BioNTech Manufacturing GmbH" },
    { code = "CIGB", label = "CIGB" },
]
product = [
    { code = "EU/1/20/1528", label = "Comirnaty/ Pfizer", manufacturer = "ORG-100030215", vaccines = ["1119305005"] },
    { code = "Abdala", label = "Abdala/ Abdala", manufacturer = "CIGB", vaccines = ["1119305005"], inactive_since = "2022-01-01" },
]
"#;
    let path = folder.join("next.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn the_built_in_sets_are_listed() {
    // Each set is named with its edition, its day and the number of its codes.
    let sets = json_of(&["list"]);
    assert_eq!(sets[0]["id"], "qd-5772");
    let counts = r#"{"disease":1,"manufacturer":7,"product":8,"vaccine":3}"#;
    assert_eq!(sets[0]["codes"].to_string(), counts);
    assert_eq!(sets[1]["published"], "2023-05-23");
    let text = run_as(false, &["list"]).unwrap();
    assert!(text.contains("qd-5772      2021-12-20  1 diseases, 3 vaccine types"), "{text}");
}

#[test]
fn a_set_is_shown_with_codes_and_combinations() {
    // Codes with names and the day they became inactive, and the right combinations.
    let shown = json_of(&["show", "eu-2.12.0"]);
    let vaccines = shown["codes"]["vaccine"].as_array().unwrap();
    let retired = vaccines.iter().find(|row| row["code"] == "J07BX03").unwrap();
    assert_eq!(retired["inactive_since"], "2023-01-25");
    let right = serde_json::json!({ "product": "EU/1/20/1528", "manufacturer": "ORG-100030215",
        "vaccine": "1119349007" });
    assert!(shown["combinations"].as_array().unwrap().contains(&right));
    let text = run_as(false, &["show", "eu-2.12.0"]).unwrap();
    assert!(text.contains("J07BX03  covid-19 vaccines (inactive since 2023-01-25)"), "{text}");
    // With the decision, which still lists it, the code is active.
    let both = json_of(&["show", "qd-5772,eu-2.12.0"]);
    let vaccines = both["codes"]["vaccine"].as_array().unwrap();
    let kept = vaccines.iter().find(|row| row["code"] == "J07BX03").unwrap();
    assert_eq!(kept["inactive_since"], Value::Null);
}

#[test]
fn a_set_file_is_compared_with_a_built_in_set() {
    // Added, removed, renamed and retired codes, and combinations by product.
    let folder = tempfile::tempdir().unwrap();
    let next = later_edition(folder.path());
    let shown = json_of(&["diff", "qd-5772", &next]);
    assert_eq!(codes_of(&shown["codes"]["vaccine"]["removed"]), ["J07BX03"]);
    assert_eq!(shown["codes"]["vaccine"]["added"].to_string(), "[]");
    let renamed = &shown["codes"]["vaccine"]["renamed"][0];
    assert_eq!((&renamed["code"], &renamed["new"]), (&"1119349007".into(), &"Vắc xin mRNA".into()));
    let retired = serde_json::json!({ "code": "Abdala", "old": null, "new": "2022-01-01" });
    assert_eq!(shown["codes"]["product"]["inactive_since"][0], retired);
    assert_eq!(codes_of(&shown["codes"]["product"]["removed"]).len(), 6);
    let added = serde_json::json!({ "product": "EU/1/20/1528", "manufacturer": "ORG-100030215",
        "vaccine": "1119305005" });
    assert!(shown["combinations"]["added"].as_array().unwrap().contains(&added));
    let text = run_as(false, &["diff", "qd-5772", &next]).unwrap();
    for line in [
        "  - J07BX03  ",
        "  ~ 1119349007  \"Vắc xin mRNA SARS-CoV-2\" is called \"Vắc xin mRNA\"",
        "  ~ Abdala  active, now inactive since 2022-01-01",
        "    + ORG-100030215 with 1119305005",
        "    - ORG-100030215 with 1119349007",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn the_same_choice_differs_in_nothing() {
    // A choice compared with itself: no difference, and no dose judged otherwise.
    let text = run_as(false, &["diff", "qd-5772,eu-2.12.0", "qd-5772,eu-2.12.0"]).unwrap();
    assert!(text.ends_with("\nno difference\n"), "{text}");
}

#[test]
fn the_effect_on_records_is_counted_by_code() {
    // Doses whose codes become unknown or known and whose combination becomes wrong or right are
    // counted, in both directions; nothing else of a record is shown.
    let folder = tempfile::tempdir().unwrap();
    let next = later_edition(folder.path());
    let with = |product: &str, manufacturer: &str, vaccine: &str| {
        let mut record = full_record();
        for dose in &mut record.doses {
            dose.product = product.into();
            dose.manufacturer = manufacturer.into();
            dose.vaccine = vaccine.into();
        }
        record.doses[0].date = "2021-10-20".into();
        record.doses[1].date = "2022-02-20".into();
        serde_json::json!({ "record": record }).to_string()
    };
    let records = [
        with("EU/1/20/1528", "ORG-100030215", "1119349007"),
        with("EU/1/20/1528", "ORG-100030215", "1119305005"),
        with("Abdala", "CIGB", "1119305005"),
        with("Nguyễn Văn A", "001099456789", "x"),
        r#"{"record":"AAAA"}"#.to_owned(),
    ];
    let path = folder.path().join("records");
    std::fs::write(&path, records.join("\n")).unwrap();
    let path = path.display().to_string();
    let shown = json_of(&["diff", "qd-5772", &next, "--records", &path]);
    let effect = &shown["records"];
    assert_eq!((&effect["records"], &effect["doses"]), (&5.into(), &8.into()));
    assert_eq!((&effect["records_changed"], &effect["records_unreadable"]), (&3.into(), &1.into()));
    // Abdala is inactive on the day of the second dose only.
    let expected = serde_json::json!([{ "list": "product", "code": "Abdala", "becomes_known": 0,
        "becomes_unknown": 1 }]);
    assert_eq!(effect["codes"], expected);
    let count = |vaccine: &str| {
        let rows = effect["combinations"].as_array().unwrap();
        let row = rows
            .iter()
            .find(|row| row["product"] == "EU/1/20/1528" && row["vaccine"] == vaccine)
            .unwrap();
        [&row["becomes_consistent"], &row["becomes_inconsistent"]].map(|n| n.as_u64().unwrap())
    };
    assert_eq!((count("1119305005"), count("1119349007")), ([2, 0], [0, 2]));
    let text = run_as(false, &["diff", "qd-5772", &next, "--records", &path]).unwrap();
    assert!(text.contains("3 of 5 records (8 doses) would be judged otherwise; 1 cannot be read"));
    assert!(text.contains("        1 doses: product Abdala becomes unknown"), "{text}");
    assert!(!text.contains("Nguyễn") && !text.contains("001099456789"), "{text}");
    // The other way round, the same doses change back.
    let back = json_of(&["diff", &next, "qd-5772", "--records", &path]);
    assert_eq!(back["records"]["codes"][0]["becomes_known"], 1);
}

#[test]
fn what_is_no_set_is_refused_with_a_remedy() {
    // An unknown id, a set that is named twice, a file that is missing, nothing at all.
    for (words, usage) in
        [("eu-9", true), ("qd-5772,qd-5772", true), (" , ", true), ("missing/set.toml", false)]
    {
        let Err(CtlError::ValueSets(error)) = run_as(false, &["show", words]) else {
            panic!("{words}")
        };
        assert_eq!(error.is_usage(), usage, "{words}");
        assert!(error.remedy().ends_with('.'), "{words}");
    }
}
