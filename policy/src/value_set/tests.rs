//! The code tables against their published sources.

use jiff::civil::date;
use serde_json::Value;

use super::*;

fn catalogue(ids: &[&str]) -> Catalogue {
    Catalogue::select(ids.iter().copied()).unwrap()
}

fn both() -> Catalogue {
    catalogue(&["qd-5772", "eu-2.12.0"])
}

/// Reads the values of a file of the EU's value sets, if the shared data are there.
fn published(file: &str) -> Option<serde_json::Map<String, Value>> {
    let root = std::env::var("SIGNERD_HCERT_DATA").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/hcert/data").to_owned()
    });
    let path = format!("{root}/valuesets/2.12.0/{file}");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: no {path} (set SIGNERD_HCERT_DATA)");
        return None;
    };
    let file: Value = serde_json::from_str(&text).unwrap();
    Some(file["valueSetValues"].as_object().unwrap().clone())
}

/// A set with one vaccine, one product and their combination.
fn set_file(id: &str, valid: &str, inactive_since: &str) -> String {
    format!(
        r#"
        id = "{id}"
        title = "A later edition"
        version = "3"
        published = "2026-01-01"
        {valid}
        disease = []
        vaccine = [{{ code = "X", label = "x", inactive_since = "{inactive_since}" }}]
        product = [{{ code = "P", label = "p", manufacturer = "M", vaccines = ["X"] }}]
        manufacturer = [{{ code = "M", label = "m" }}]
        "#
    )
}

#[test]
fn a_later_set_comes_from_a_file() {
    // A set that is not built in is read from the file that is named.
    let file = set_file("eu-3", "", "2030-01-01");
    let mut later = both();
    let files = |name: &str| {
        if name == "sets/eu-3.toml" { Ok(file.clone()) } else { Err("no such file".to_owned()) }
    };
    later.add_named("sets/eu-3.toml", &files).unwrap();
    assert!(later.knows(Kind::Product, "P", None, None));
    assert!(later.belong_together("P", "M", "X", None));
    let repeated = ValueSetFault::Repeated { id: "eu-3".to_owned() };
    assert_eq!(later.add_named("sets/eu-3.toml", &files), Err(repeated));
    let missing = later.add_named("other.toml", &files).unwrap_err().to_string();
    assert!(missing.contains("other.toml") && missing.contains("no such file"), "{missing}");
    let bad = later.add_named("x.toml", &|_| Ok("id = \"x\"\ntitel = 1".to_owned())).unwrap_err();
    assert!(bad.to_string().contains("line 2: unknown field `titel`"), "{bad}");
}

#[test]
fn a_damaged_set_is_told_what_is_wrong() {
    // A file with an odd id, days in the wrong order, a code that no certificate could show, or a code
    // twice, is refused; the built-in sets pass the same check.
    let file = set_file("eu-3", "", "2030-01-01");
    let days = "valid_from = \"2026-02-01\"\nvalid_to = \"2026-01-31\"";
    let row = "{ code = \"X\", label = \"x\" }";
    for (text, problem) in [
        (file.replace("id = \"eu-3\"", "id = \"EU 3\""), "is not 1 to 40 of a-z"),
        (file.replace("id = \"eu-3\"", "id = \"\""), "is not 1 to 40 of a-z"),
        (set_file("eu-3", days, "2030-01-01"), "valid_to is before valid_from"),
        (file.replace("code = \"X\"", "code = \"X \""), "vaccine \"X \" is not 1 to 80"),
        (file.replace("code = \"P\"", "code = \"\""), "product \"\" is not 1 to 80"),
        (file.replace("code = \"M\"", &format!("code = \"{}\"", "M".repeat(81))), "manufacturer"),
        (
            file.replace("disease = []", &format!("disease = [{row}, {row}]")),
            "disease \"X\" stands there twice",
        ),
    ] {
        assert_ne!(text, file, "{problem}");
        let fault = both().add_named("x.toml", &|_| Ok(text.clone())).unwrap_err();
        assert!(fault.to_string().contains(problem), "{problem:?} is not in {fault}");
    }
    for (id, text) in SETS {
        assert_eq!(check::fault(&toml::from_str(text).unwrap()), None, "{id}");
    }
    let day = "valid_from = \"2026-02-01\"\nvalid_to = \"2026-02-01\"";
    for fitting in [
        file.replace("code = \"M\"", &format!("code = \"{}\"", "M".repeat(80))),
        set_file("eu-3", day, "2030-01-01"),
    ] {
        assert_eq!(both().add_named("x.toml", &|_| Ok(fitting.clone())), Ok(()));
    }
}

#[test]
fn a_set_counts_on_its_days_alone() {
    // Codes and combinations of a set stand only in certificates issued within its days.
    let valid = "valid_from = \"2026-02-01\"\nvalid_to = \"2026-02-28\"";
    let mut sets = catalogue(&[]);
    sets.add(toml::from_str(&set_file("eu-3", valid, "2030-01-01")).unwrap()).unwrap();
    for (day, counts) in [
        (date(2026, 1, 31), false),
        (date(2026, 2, 1), true),
        (date(2026, 2, 28), true),
        (date(2026, 3, 1), false),
    ] {
        assert_eq!(sets.knows(Kind::Vaccine, "X", None, Some(day)), counts, "{day}");
        assert_eq!(sets.belong_together("P", "M", "X", Some(day)), counts, "{day}");
    }
}

#[test]
fn what_is_known_of_products_is_of_products() {
    // Every product with known facts is one of the value sets', and its first day is no slip itself.
    let all = both();
    for (product, facts) in &all.products.product {
        assert!(all.knows(Kind::Product, product, None, None), "{product}");
        let first = facts.first_given.as_ref().unwrap().0;
        assert!(first >= FIRST_VACCINATIONS && first < date(2021, 12, 20), "{product}");
        assert!(facts.interval_days.is_none_or(|days| (14..=84).contains(&days)), "{product}");
    }
    assert_eq!(all.first_given("unheard of"), FIRST_VACCINATIONS);
    assert_eq!(all.interval_days("unheard of"), None);
}

#[test]
fn lists_have_names() {
    // Each list is called as its table in a file is.
    let names = Kind::ALL.map(Kind::name);
    assert_eq!(names.into_iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    let file = set_file("eu-3", "", "2030-01-01");
    assert!(names.into_iter().all(|name| file.contains(&format!("{name} = ["))), "{names:?}");
}

#[test]
fn every_set_reads_and_stands_for_itself() {
    // Every built-in set can be selected, and its file states the id that selects it.
    for id in Catalogue::set_ids() {
        let selected = catalogue(&[id]);
        let [set] = selected.sets() else { panic!("one set") };
        assert_eq!(set.id, id);
        assert!(!set.title.is_empty() && set.published > date(2021, 1, 1));
    }
}

#[test]
fn an_unknown_set_is_refused() {
    // A set that does not exist is refused by name.
    let fault = Catalogue::select(["eu-9"]).unwrap_err();
    assert_eq!(fault, ValueSetFault::Unknown { id: "eu-9".to_owned() });
}

#[test]
fn the_decisions_tables_are_complete() {
    // The decision lists one disease, three vaccine types, eight products and seven manufacturers.
    let decision = catalogue(&["qd-5772"]);
    let count = |kind| decision.codes[&kind].len();
    assert_eq!(
        [Kind::Disease, Kind::Vaccine, Kind::Product, Kind::Manufacturer].map(count),
        [1, 3, 8, 7]
    );
}

#[test]
fn the_eus_sets_are_those_published() {
    // Every code of release 2.12.0 is in the file, with its state, and no other is.
    let eu = catalogue(&["eu-2.12.0"]);
    for (kind, file) in [
        (Kind::Disease, "disease-agent-targeted.json"),
        (Kind::Vaccine, "vaccine-prophylaxis.json"),
        (Kind::Product, "vaccine-medicinal-product.json"),
        (Kind::Manufacturer, "vaccine-mah-manf.json"),
    ] {
        let Some(values) = published(file) else { return };
        assert_eq!(eu.codes[&kind].len(), values.len(), "{file}");
        for (code, value) in values {
            let known = &eu.codes[&kind][&code];
            assert_eq!(value["active"], known.listings[0].inactive_since.is_none(), "{code}");
            assert!(value["display"].as_str().unwrap().starts_with(&known.label), "{code}");
        }
    }
}

#[test]
fn combinations_are_the_published_encoding_instructions() {
    // Product, manufacturer and type belong together exactly where the EU's instructions say so.
    let eu = catalogue(&["eu-2.12.0"]);
    let Some(rows) = published("vaccine-encoding-instructions.json") else { return };
    for row in rows.values() {
        let product = row["vaccine-code"].as_str().unwrap().trim_end_matches(" (deprecated)");
        let manufacturer = row["vaccine-manufacturer"].as_str().unwrap();
        let types: Vec<_> =
            row["sct-codes"].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
        for vaccine in eu.codes[&Kind::Vaccine].keys() {
            assert_eq!(
                eu.belong_together(product, manufacturer, vaccine, None),
                types.contains(&vaccine.as_str()),
                "{product} {vaccine}"
            );
        }
    }
}

#[test]
fn countries_are_those_published() {
    // A nationality is a country code of ISO 3166-1, as the EU's value set lists them.
    let Some(values) = published("country-2-codes.json") else { return };
    let all = both();
    assert_eq!(all.countries.len(), values.len());
    assert!(values.keys().all(|code| all.is_country(code)));
    assert!(!all.is_country("vn") && !all.is_country("XX") && !all.is_country(""));
}

#[test]
fn every_combination_is_of_known_codes() {
    // No product names a manufacturer or a type that the two sets together do not have.
    let all = both();
    for (product, rights) in &all.combinations {
        assert!(all.knows(Kind::Product, product, None, None));
        for Combination { manufacturer, vaccine, .. } in rights {
            assert!(all.knows(Kind::Manufacturer, manufacturer, None, None), "{product}");
            assert!(all.knows(Kind::Vaccine, vaccine, None, None), "{product}");
        }
    }
}

#[test]
fn the_right_combinations_of_the_decisions_products() {
    // For each of the decision's eight products, these types are right and no other is.
    let mrna: &[&str] = &["1119349007", "28531000087107"];
    let vector: &[&str] = &["29061000087103", "28531000087107", "J07BX03"];
    let inactivated: &[&str] = &["1157024006", "28531000087107", "J07BX03"];
    let other: &[&str] = &["28531000087107", "J07BX03"];
    let all = both();
    for (product, manufacturer, right) in [
        ("EU/1/20/1528", "ORG-100030215", mrna),
        ("EU/1/20/1507", "ORG-100031184", mrna),
        ("EU/1/21/1529", "ORG-100001699", vector),
        ("EU/1/20/1525", "ORG-100001417", vector),
        ("Hayat-Vax", "ORG-100023050", inactivated),
        ("BBIBP-CorV", "ORG-100020693", inactivated),
        ("Sputnik-V", "Gamaleya-Research-Institute", vector),
        ("Abdala", "CIGB", other),
    ] {
        for vaccine in all.codes[&Kind::Vaccine].keys() {
            assert_eq!(
                all.belong_together(product, manufacturer, vaccine, None),
                right.contains(&vaccine.as_str()),
                "{product} {vaccine}"
            );
        }
        assert!(!all.belong_together(product, "Fiocruz", right[0], None), "{product}");
    }
}

#[test]
fn the_published_slips_are_not_right() {
    // The decision's own example (an mRNA vaccine as antigen), and the real sample's wrong holder.
    let all = both();
    assert!(!all.belong_together("EU/1/20/1528", "ORG-100030215", "1119305005", None));
    assert!(!all.belong_together("EU/1/21/1529", "ORG-100030215", "J07BX03", None));
}

#[test]
fn an_inactive_code_stays_for_earlier_doses() {
    // A code that became inactive is known for doses before that day and for none from it on.
    let eu = catalogue(&["eu-2.12.0"]);
    let knows = |given| eu.knows(Kind::Vaccine, "J07BX03", Some(given), None);
    assert!(knows(date(2021, 6, 20)) && knows(date(2023, 1, 24)));
    assert!(!knows(date(2023, 1, 25)));
}

#[test]
fn a_code_is_known_if_any_selected_set_knows_it() {
    // The decision still lists J07BX03, so with it selected the code is known on every day.
    let given = Some(date(2024, 1, 1));
    assert!(both().knows(Kind::Vaccine, "J07BX03", given, None));
    assert!(catalogue(&["eu-2.12.0", "qd-5772"]).knows(Kind::Vaccine, "J07BX03", given, None));
    assert!(!catalogue(&["qd-5772"]).knows(Kind::Product, "CoronaVac", given, None));
    assert!(both().knows(Kind::Product, "CoronaVac", given, None));
    // A code of another list, and a code with a slip of the pen, are unknown.
    assert!(!both().knows(Kind::Product, "CIGB", given, None));
    assert!(!both().knows(Kind::Product, "EU/1/20/1528 ", given, None));
}

#[test]
fn two_sets_that_retire_a_code_keep_the_later_day() {
    // Where both sets have a code inactive, the later day counts.
    let mut both = catalogue(&[]);
    for (id, day) in [("a", "2022-01-01"), ("b", "2023-01-01"), ("c", "2021-01-01")] {
        both.add(toml::from_str(&set_file(id, "", day)).unwrap()).unwrap();
    }
    assert!(both.knows(Kind::Vaccine, "X", Some(date(2022, 12, 31)), None));
    assert!(!both.knows(Kind::Vaccine, "X", Some(date(2023, 1, 1)), None));
}

#[test]
fn the_first_set_gives_the_label() {
    // A code is called what the first selected set calls it.
    let label = |ids| catalogue(ids).label(Kind::Product, "EU/1/20/1528").map(str::to_owned);
    assert_eq!(label(&["qd-5772", "eu-2.12.0"]).as_deref(), Some("Comirnaty/ Pfizer"));
    assert_eq!(label(&["eu-2.12.0", "qd-5772"]).as_deref(), Some("Comirnaty"));
    assert_eq!(both().label(Kind::Disease, "840539006"), Some("COVID-19"));
    assert_eq!(both().label(Kind::Product, "Nothing"), None);
}

#[test]
fn a_series_is_two_doses_but_for_two_products() {
    // Janssen's series is one dose, Abdala's three, all others' two.
    let all = both();
    for product in all.codes[&Kind::Product].keys() {
        let size = match product.as_str() {
            "EU/1/20/1525" => 1,
            "Abdala" => 3,
            _ => 2,
        };
        assert_eq!(all.series_size(product), size, "{product}");
    }
    assert_eq!(all.series_size("unheard of"), 2);
}

#[test]
fn a_catalogue_tells_what_it_lists() {
    // Codes come in order with their labels; one that any set has active is active; combinations of
    // two sets stand once.
    let (eu, all) = (catalogue(&["eu-2.12.0"]), both());
    let retired = |catalogue: &Catalogue| {
        let codes = catalogue.codes(Kind::Vaccine, None);
        assert!(codes.is_sorted_by_key(|code| code.code.to_owned()));
        codes.iter().find(|code| code.code == "J07BX03").unwrap().inactive_since
    };
    assert_eq!((retired(&eu), retired(&all)), (Some(date(2023, 1, 25)), None));
    for kind in Kind::ALL {
        assert_eq!(all.codes(kind, None).len(), all.codes[&kind].len());
    }
    let combinations = all.combinations(None);
    assert!(combinations.is_sorted_by(|a, b| a < b));
    for [product, manufacturer, vaccine] in &combinations {
        assert!(all.belong_together(product, manufacturer, vaccine, None));
    }
    assert!(combinations.contains(&["EU/1/20/1528", "ORG-100030215", "1119349007"]));
    assert!(combinations.len() >= eu.combinations(None).len());
}
