//! The judgement of records: every reason with its code and its path, and what is told with it.

use ciborium::Value;
use signerd_tests::client::member;
use signerd_tests::record::{self, encode, set};
use signerd_tests::{Answer, Client, Daemon, Evidence, Person, Setup};

/// What a record gets: nothing, or codes with their paths from `/record` on.
type Expected = &'static [(&'static str, &'static str)];

struct Case {
    what: &'static str,
    entry: Value,
    expected: Expected,
}

const HOLDER_ID: &str = "/record/holder/national_id";
const PASSPORT: &str = "/record/holder/passport";
const BIRTH: &str = "/record/holder/date_of_birth";
const NAME: &str = "/record/holder/full_name";
const SURNAME: &str = "/record/holder/surname";

fn person(doses: usize) -> Person {
    Person::with_doses(doses)
}

fn holders() -> Vec<(&'static str, Person, Expected)> {
    let holder = |name: &str, value: &str| person(1).holder(name, Value::from(value));
    let foreigner = || holder("nationality", "KR").holder("national_id", None);
    let passport = |number: &str| foreigner().holder("passport", Value::from(number));
    vec![
        ("no number", person(1).holder("national_id", None), &[("holder.id_missing", HOLDER_ID)]),
        ("foreigner without passport", foreigner(), &[("holder.id_missing", PASSPORT)]),
        ("foreigner with passport", passport("M12345678"), &[]),
        (
            "Vietnamese with a passport alone",
            passport("C1234567").holder("nationality", Value::from("VN")),
            &[("holder.id_missing", HOLDER_ID)],
        ),
        ("5 digits", holder("national_id", "12345"), &[("holder.id_malformed", HOLDER_ID)]),
        ("letters", holder("national_id", "07919000001A"), &[("holder.id_malformed", HOLDER_ID)]),
        ("full-width", holder("national_id", "０７９１"), &[("holder.id_malformed", HOLDER_ID)]),
        ("CMND of 9 digits", holder("national_id", "024123456"), &[]),
        ("passport in small letters", passport("m12345678"), &[("holder.id_malformed", PASSPORT)]),
        ("short passport", passport("M123"), &[("holder.id_malformed", PASSPORT)]),
        (
            "30 February",
            holder("date_of_birth", "1990-02-30"),
            &[("holder.birth_date_invalid", BIRTH)],
        ),
        ("month 13", holder("date_of_birth", "1990-13"), &[("holder.birth_date_invalid", BIRTH)]),
        ("born 1899", holder("date_of_birth", "1899"), &[("holder.birth_date_invalid", BIRTH)]),
        (
            "born in the future",
            holder("date_of_birth", "2098-01-01"),
            &[("holder.birth_date_future", BIRTH), ("dose.before_birth", "/record/doses/0/date")],
        ),
        ("digits", holder("full_name", "Nguyễn Văn 2"), &[("holder.name_invalid", NAME)]),
        ("blank", holder("full_name", "  "), &[("holder.name_invalid", NAME)]),
        ("Han", holder("full_name", "王 小明"), &[("holder.name_not_transliterable", NAME)]),
        (
            "Cyrillic",
            holder("full_name", "Иван Петров"),
            &[("holder.name_not_transliterable", NAME)],
        ),
        ("other surname", holder("surname", "Trần"), &[("holder.surname_not_in_name", SURNAME)]),
        ("half a surname", holder("surname", "Nguy"), &[("holder.surname_not_in_name", SURNAME)]),
        ("surname of two words", holder("surname", "Nguyễn Thị"), &[]),
        (
            "no such country",
            holder("nationality", "XX"),
            &[("holder.nationality_unknown", "/record/holder/nationality")],
        ),
    ]
}

/// Somebody whose first dose has this value.
fn first(name: &str, value: &str) -> Person {
    person(1).dose(0, name, Value::from(value))
}

fn dates() -> Vec<(&'static str, Person, Expected)> {
    let second = |value: &str| person(2).dose(1, "date", Value::from(value));
    let total = |doses, total: u64| {
        let mut person = person(doses);
        set(&mut person.record, "total_doses", Some(total.into()));
        person
    };
    const DATE: &str = "/record/doses/0/date";
    const SECOND: &str = "/record/doses/1/date";
    vec![
        ("no such day", first("date", "2021-02-30"), &[("dose.date_invalid", DATE)]),
        ("month 0", first("date", "2021-00-10"), &[("dose.date_invalid", DATE)]),
        ("in the future", first("date", "2999-01-01"), &[("dose.date_future", DATE)]),
        ("before vaccines", first("date", "2019-12-01"), &[("dose.date_too_early", DATE)]),
        (
            "before birth",
            person(1).holder("date_of_birth", Value::from("2021-08")),
            &[("dose.before_birth", DATE)],
        ),
        (
            "birth in the month of the dose",
            person(1).holder("date_of_birth", Value::from("2021-07")),
            &[],
        ),
        ("same day", second("2021-07-15"), &[("dose.dates_not_ascending", SECOND)]),
        ("backwards", second("2021-07-14"), &[("dose.dates_not_ascending", SECOND)]),
        ("four doses", person(4), &[("dose.too_many", "/record/doses")]),
        ("total below", total(2, 1), &[("dose.total_inconsistent", "/record/total_doses")]),
        ("total above", total(1, 3), &[]),
    ]
}

fn codes_and_units() -> Vec<(&'static str, Person, Expected)> {
    vec![
        (
            "vaccine",
            first("vaccine", "999"),
            &[("dose.vaccine_unknown", "/record/doses/0/vaccine")],
        ),
        (
            "product",
            first("product", "Comirnaty"),
            &[("dose.product_unknown", "/record/doses/0/product")],
        ),
        (
            "manufacturer",
            first("manufacturer", "Pfizer"),
            &[("dose.manufacturer_unknown", "/record/doses/0/manufacturer")],
        ),
        (
            "another's manufacturer",
            first("manufacturer", "ORG-100031184"),
            &[("dose.codes_inconsistent", "/record/doses/0")],
        ),
        (
            "the decision's own slip",
            first("vaccine", "1119305005"),
            &[("dose.codes_inconsistent", "/record/doses/0")],
        ),
        (
            "other unit",
            first("facility", "01-CDC-HN"),
            &[("facility.not_its_dose", "/record/doses/0/facility")],
        ),
        (
            "unit that nobody knows",
            first("facility", "99-NOBODY"),
            &[("facility.not_its_dose", "/record/doses/0/facility")],
        ),
        (
            "the record's word for the manager",
            first("facility", "01-CDC-HN").dose(0, "managing_facility", Value::from("79-TTYT-Q1")),
            &[("facility.not_its_dose", "/record/doses/0/facility")],
        ),
        ("unit that the signer manages", first("facility", "79-TYT-P-BN"), &[]),
        (
            "unit delegated to another",
            first("facility", "01-TYT-P-TB"),
            &[("facility.not_its_dose", "/record/doses/0/facility")],
        ),
    ]
}

/// An entry whose record is these bytes, signed by the unit.
fn signed(evidence: &Evidence, bytes: Vec<u8>) -> Value {
    let mut entry = evidence.entry(&person(1));
    let signature = evidence.facility.facility_signature(&bytes);
    set(&mut entry, "facility_signature", Some(Value::Bytes(signature)));
    set(&mut entry, "record", Some(Value::Bytes(bytes)));
    entry
}

/// Records whose bytes are no deterministic CBOR.
fn encodings(evidence: &Evidence) -> Vec<Case> {
    let good = person(1).bytes();
    let float = person(1).dose(0, "number", Value::Float(1.0)).bytes();
    let malformed: Expected = &[("record.malformed", "/record")];
    let profile: Expected = &[("record.not_deterministic", "/record")];
    let records = [
        ("cut record", good[..good.len() - 1].to_vec(), malformed),
        ("bytes behind", [&good[..], b"\0"].concat(), malformed),
        ("nested record", vec![0x81; 8192], malformed),
        ("long form", [b"\xb8\x03", &good[1..]].concat(), profile),
        ("tagged record", [b"\xc1", &good[..]].concat(), profile),
        ("float", float, profile),
    ];
    let case = |(what, bytes, expected)| Case { what, entry: signed(evidence, bytes), expected };
    records.into_iter().map(case).collect()
}

/// Records of another form than the contract's, each with the path of the fault.
fn forms(evidence: &Evidence) -> Vec<Case> {
    let record = |name: &str, value: Option<Value>| {
        let mut record = person(1).record;
        set(&mut record, name, value);
        encode(&record)
    };
    let dose = |name, value: Option<Value>| person(1).dose(0, name, value).bytes();
    let holder = |name, value: Option<Value>| person(1).holder(name, value).bytes();
    let text = |text: &str| Some(Value::from(text));
    macro_rules! at {
        ($path:literal) => {
            &[("record.invalid", concat!("/record", $path))]
        };
    }
    let none = Some(Value::Array(vec![]));
    let twice = person(2).dose(1, "number", Value::from(1)).bytes();
    let records: Vec<(&str, Vec<u8>, Expected)> = vec![
        ("no map", b"\x80".to_vec(), at!("")),
        ("unknown in record", record("note", text("x")), at!("")),
        ("unknown in holder", holder("sex", text("F")), at!("/holder")),
        ("unknown in dose", dose("lot", text("X1")), at!("/doses/0")),
        ("no name", holder("full_name", None), at!("/holder/full_name")),
        ("long name", holder("full_name", text(&"A".repeat(201))), at!("/holder/full_name")),
        ("integer", holder("national_id", Some(79.into())), at!("/holder/national_id")),
        ("long phone", holder("phone", text(&"0".repeat(21))), at!("/holder/phone")),
        ("country of 3", holder("nationality", text("VNM")), at!("/holder/nationality")),
        ("day before month", dose("date", text("15/07/2021")), at!("/doses/0/date")),
        ("dose 0", dose("number", Some(0.into())), at!("/doses/0/number")),
        ("unit with a space", dose("facility", text("79 Q1")), at!("/doses/0/facility")),
        ("no doses", record("doses", none), at!("/doses")),
        ("ten doses", person(10).bytes(), at!("/doses")),
        ("no total", record("total_doses", None), at!("/total_doses")),
        ("one number twice", twice, at!("/doses/1/number")),
    ];
    let case = |(what, bytes, expected)| Case { what, entry: signed(evidence, bytes), expected };
    records.into_iter().map(case).collect()
}

/// What is selected of two doses.
fn selections(evidence: &Evidence) -> Vec<Case> {
    let select = |of: usize, numbers: &[u64]| {
        let mut entry = evidence.entry(&person(of));
        let numbers = numbers.iter().map(|number| Value::from(*number)).collect();
        set(&mut entry, "doses", Some(Value::Array(numbers)));
        entry
    };
    let case = |what, entry, expected| Case { what, entry, expected };
    let bad_first = || person(2).dose(0, "product", Value::from("nope"));
    let mut unselected = evidence.entry(&bad_first());
    set(&mut unselected, "doses", Some(Value::Array(vec![2.into()])));
    vec![
        case("the second alone", select(2, &[2]), &[]),
        case("both, backwards", select(2, &[2, 1]), &[]),
        case("three of five", select(5, &[1, 3, 5]), &[]),
        case("a bad one not selected", unselected, &[]),
        case("one that is not there", select(2, &[1, 3]), &[("dose.not_in_record", "/doses/1")]),
        case("four selected", select(5, &[1, 2, 3, 5]), &[("dose.too_many", "/doses")]),
    ]
}

/// A record in which nearly everything is wrong: all reasons at once, in the order of the contract.
fn everything(evidence: &Evidence) -> Case {
    let person = person(3)
        .holder("national_id", Value::from("12"))
        .holder("date_of_birth", Value::from("2021-12"))
        .holder("full_name", Value::from("王 2"))
        .holder("surname", Value::from("Lê"))
        .holder("nationality", Value::from("XX"))
        .dose(0, "date", Value::from("2021-02-30"))
        .dose(1, "facility", Value::from("01-CDC-HN"))
        .dose(1, "vaccine", Value::from("x"))
        .dose(1, "product", Value::from("x"))
        .dose(1, "manufacturer", Value::from("x"))
        .dose(2, "date", Value::from("2019-01-01"))
        .dose(2, "product", Value::from("EU/1/20/1507"));
    let mut person = person;
    set(&mut person.record, "total_doses", Some(2.into()));
    let mut entry = evidence.entry(&person);
    set(&mut entry, "identity_statement", None);
    set(&mut entry, "doses", Some(Value::Array([1, 2, 3, 7].map(Value::from).to_vec())));
    let expected = &[
        ("holder.id_malformed", HOLDER_ID),
        ("holder.name_invalid", NAME),
        ("holder.name_not_transliterable", NAME),
        ("holder.surname_not_in_name", SURNAME),
        ("holder.nationality_unknown", "/record/holder/nationality"),
        ("dose.not_in_record", "/doses/3"),
        ("dose.date_invalid", "/record/doses/0/date"),
        ("dose.date_too_early", "/record/doses/2/date"),
        ("dose.before_birth", "/record/doses/1/date"),
        ("dose.before_birth", "/record/doses/2/date"),
        ("dose.dates_not_ascending", "/record/doses/2/date"),
        ("dose.total_inconsistent", "/record/total_doses"),
        ("dose.vaccine_unknown", "/record/doses/1/vaccine"),
        ("dose.product_unknown", "/record/doses/1/product"),
        ("dose.manufacturer_unknown", "/record/doses/1/manufacturer"),
        ("dose.codes_inconsistent", "/record/doses/2"),
        ("identity.statement_missing", "/identity_statement"),
        ("facility.not_its_dose", "/record/doses/1/facility"),
    ];
    Case { what: "everything", entry, expected }
}

/// The reasons of one result, none where it is good.
fn reasons(answer: &Answer, index: usize, good: &str) -> Vec<(String, String)> {
    if answer.statuses()[index] == good { Vec::new() } else { answer.reasons(index) }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_record_has_its_code_and_its_path() {
    // A batch of good and bad records: each bad one gets all its reasons in the contract's order, each
    // with the place and what to do; each good one is signed; a preview says the same before.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let people = holders().into_iter().chain(dates()).chain(codes_and_units());
    let mut cases: Vec<Case> = people
        .map(|(what, person, expected)| Case { what, entry: evidence.entry(&person), expected })
        .collect();
    cases.extend(encodings(&evidence));
    cases.extend(forms(&evidence));
    cases.extend(selections(&evidence));
    cases.push(everything(&evidence));
    let entries = cases.iter().map(|case| case.entry.clone()).collect();
    let body = encode(&record::request("vn-moh-ec", entries));
    let preview = client.post("/v1/batches/preview", body.clone()).await.unwrap();
    let signed = client.sign(body).await.unwrap();
    for (index, case) in cases.iter().enumerate() {
        let expected: Vec<(String, String)> =
            case.expected.iter().map(|(code, path)| ((*code).into(), (*path).into())).collect();
        assert_eq!(reasons(&signed, index, "issued"), expected, "{}", case.what);
        assert_eq!(reasons(&preview, index, "acceptable"), expected, "{} in preview", case.what);
    }
    for result in
        signed.results().iter().filter(|r| member(r, "status").as_text() == Some("rejected"))
    {
        for reason in member(result, "reasons").into_array().unwrap() {
            let detail = member(&reason, "detail").into_text().unwrap();
            assert!(detail.contains("; "), "does not say what to do: {detail}");
        }
    }
    let good = cases.iter().filter(|case| case.expected.is_empty()).count();
    let series =
        |outcome| format!("signerd_records_total{{issuer=\"vn-moh-ec\",outcome=\"{outcome}\"}}");
    assert_eq!(daemon.metric(&series("issued")), good as f64);
    assert_eq!(daemon.metric(&series("rejected")), (cases.len() - good) as f64);
}
