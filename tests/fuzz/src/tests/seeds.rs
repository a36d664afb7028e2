//! The named seeds: one input for each thing that a format has, good and bad.

use ciborium::Value;
use signerd::tlog::bundle;
use signerd::tlog::cosign::WitnessKey;
use signerd::tlog::fact::{Entry, Fact};
use signerd::tlog::proof::StoredProof;

use crate::cbor::encode;
use crate::statement::seeds::seeds as statements;

type Seeds = Vec<(String, Vec<u8>)>;

/// The named seeds of every target.
pub(super) fn all() -> Vec<(&'static str, Seeds)> {
    vec![
        ("gate", cbor()),
        ("gate_differential", cbor()),
        ("names", names()),
        ("policy_toml", policies()),
        ("record", records()),
        ("request", requests()),
        ("statement", statements()),
        ("tlog", logs()),
    ]
}

/// One of each thing that an auditor reads, behind the letter that says what it is.
fn logs() -> Seeds {
    let root = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    let note =
        format!("log.example/vn\n4\n{root}\ntime 1800000000\n\n\u{2014} log.example/vn AAAAAAA=\n");
    let entry = Entry { at: 1_800_000_000, fact: Fact::BatchAnswered { batch: 4, attempt: 1 } };
    let reason = "b\u{e9}".to_owned();
    let opened = Fact::WindowOpened { by: "o:1".into(), issuer: "vn-moh".into(), until: 9, reason };
    let opened = Entry { at: -1, fact: opened };
    let checkpoint = note.clone();
    let proof =
        StoredProof { entry: entry.encode(), index: 3, nodes: vec![[7; 32]; 2], checkpoint };
    let witness = WitnessKey::new("witness.example/a", [7; 32]).expect("a name");
    let bundle = bundle::encode(&[entry.encode(), opened.encode()]).expect("short entries");
    named([
        ("entry", [b"e".as_slice(), &entry.encode()].concat()),
        ("entry-window", [b"e".as_slice(), &opened.encode()].concat()),
        ("entry-unsorted", b"e\xa2\x65event\x6edaemon.stopped\x62at\x01".to_vec()),
        ("bundle", [b"b\x02".as_slice(), &bundle].concat()),
        ("checkpoint", format!("c{note}").into()),
        ("proof", format!("p{}", proof.to_text()).into()),
        (
            "proof-padded-inside",
            format!("p{}", proof.to_text().replacen("AQ==", "AQ==AQ==", 1)).into(),
        ),
        ("witness", format!("w{witness}\n{note}").into()),
        ("tile", "ttile/1/x001/234.p/17".into()),
        ("tile-entries", "ttile/entries/x001/x234/067".into()),
    ])
}

/// Items of RFC 8949 appendix A and of our formats, in order and not.
fn cbor() -> Seeds {
    let items: [(&str, &[u8]); 30] = [
        ("unsigned", b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("unsigned-long-form", b"\x18\x17"),
        ("negative", b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("negative-2-bytes", b"\x39\x03\xe7"),
        ("bytes", b"\x44\x01\x02\x03\x04"),
        ("bytes-indefinite", b"\x5f\x42\x01\x02\x43\x03\x04\x05\xff"),
        ("bytes-huge", b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("text", b"\x65\xc3\xbc\xe1\xbb\x87"),
        ("text-not-utf8", b"\x62\xc3\x28"),
        ("array", b"\x83\x01\x82\x02\x03\x82\x04\x05"),
        ("array-of-25", b"\x98\x19\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x18\x18\x19"),
        ("array-indefinite", b"\x9f\x01\x82\x02\x03\xff"),
        ("array-huge", b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("map", b"\xa5\x61a\x61A\x61b\x61B\x61c\x61C\x61d\x61D\x61e\x61E"),
        ("map-mixed-keys", b"\xa6\x0a\x01\x18\x64\x02\x20\x03\x41\x00\x04\x61z\x05\x62aa\x06"),
        ("map-unsorted", b"\xa2\x61b\x01\x61a\x02"),
        ("map-duplicate", b"\xa2\x61a\x01\x61a\x02"),
        ("map-array-key", b"\xa1\x80\x01"),
        ("map-bool-key", b"\xa1\xf5\x01"),
        ("map-huge", b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("nested-4", b"\xa1\x61b\x81\xa1\x61c\x81\x00"),
        ("nested-9", b"\x81\x81\x81\x81\x81\x81\x81\x81\x81\x00"),
        ("tag-18", b"\xd2\x84\x40\xa0\xf6\x40"),
        ("tag-big-integer", b"\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00"),
        ("true", b"\xf5"),
        ("null", b"\x81\xf6"),
        ("undefined", b"\x81\xf7"),
        ("simple", b"\xf8\xff"),
        ("float", b"\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a"),
        ("half", b"\xa1\x01\xf9\x3c\x00"),
    ];
    named(items.into_iter().map(|(name, bytes)| (name, bytes.to_vec())))
}

/// Names as they stand in registers: surnames given and not, composed and not, foreign, spoilt.
fn names() -> Seeds {
    named([
        ("common", "Nguyễn Bảo Duy".into()),
        ("surname-given", "Tôn Nữ Thị Ninh\nTôn Nữ".into()),
        ("surname-elsewhere", "Nguyễn Văn A\nVăn".into()),
        ("all-vowels", "ĂẮẰẲẴẶ ÂẤẦẨẪẬ ÊẾỀỂỄỆ ÔỐỒỔỖỘ ƠỚỜỞỠỢ ƯỨỪỬỮỰ ỲÝỶỸỴ ĩỉịĐđ".into()),
        ("decomposed", "Nguye\u{302}\u{303}n Thi\u{323} A\u{301}nh".into()),
        ("half-decomposed", "Nguyê\u{303}n Thị Ánh".into()),
        ("look-alikes", "Ðặng Ɖức ðạt".into()),
        ("spaces", " Nguyễn\u{a0}\u{a0}Thị\u{200b} \u{2003}Ánh ".into()),
        ("zero-width", "Le\u{200b}\u{302} \u{feff}Anh\u{ad}".into()),
        ("apostrophe", "D'Artagnan O’Neil".into()),
        ("hyphen-comma", "Müller-Lüdenscheidt, Jörg".into()),
        ("table", "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞß ĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮİıĲĴĶĹĻĽĿŁ".into()),
        ("table-rest", "ŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŸŹŻŽẞ ƏǦĸȘȚ ŉǰΐﬁ".into()),
        ("cyrillic", "Иван Петров".into()),
        ("han", "王 小明".into()),
        ("digits", "Nguyễn 2".into()),
        ("symbols", "A < B ☺".into()),
        ("control", "Nguyễn\tA\u{7}".into()),
        ("single", "Suharto".into()),
        ("single-given", "Y Bhiu\nY Bhiu".into()),
        ("empty-part", "Nguyễn ...".into()),
        ("blank", "  \u{200b} ".into()),
        ("long", format!("{} {}", "Ơ".repeat(90), "Ab ".repeat(60)).into_bytes()),
        ("long-two-letters", "Æ".repeat(79).into_bytes()),
        ("cut-at-a-mark", format!("{}b\u{323}\u{301}", "a".repeat(79)).into_bytes()),
        ("marks-alone", "\u{301}\u{323} a\u{31b}\u{301}".into()),
    ])
}

/// The shipped example and its kin, and one text for each way to get it wrong.
fn policies() -> Seeds {
    let good = include_str!("../../policy.toml");
    let example = include_str!("../../../../systemd/examples/policy.toml");
    let certificate = "[[facility.certificate]]\nissuer = \"CN=CA,C=VN\"\nserial = \"000A1B\"\n\
        sha256 = \"ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB\"\nder = \"MAMCAQU=\"\n";
    let wrong = |from: &str, to: &str| good.replacen(from, to, 1).into_bytes();
    named([
        ("good", good.into()),
        ("example", example.into()),
        ("certificate", format!("{good}{certificate}").into_bytes()),
        ("certificate-twice", format!("{good}{certificate}{certificate}").into_bytes()),
        ("certificate-bad", format!("{good}{}", certificate.replace('B', "Z")).into_bytes()),
        ("crlf", good.replace('\n', "\r\n").into_bytes()),
        ("byte-order-mark", format!("\u{feff}{good}").into_bytes()),
        ("inline", "version=1\nissuer={a={clients=[],iss=\"VN\",issuing_body='''x'''}}\nverifier=[{certificate=\"v\"}]\nfacility_trust={ca=[\"c\"],crl=[\"d\"]}\n".into()),
        ("registry-toml", registry(good, "r.toml", &format!("version = 1\n[[facility]]\nid = \"a\"\nname = \"b\"\n{certificate}"))),
        ("registry-csv", registry(good, "r.csv", "id,name,areas,managed_by,delegates,status\na,\"b, c\",79;01,m,d;e,active\n")),
        ("registry-csv-crlf", registry(good, "r.csv", "\u{feff}id,name\r\na,\"b\r\nc\"\r\na,b\r\n")),
        ("registry-csv-certificate", registry(good, "r.csv", "id,name,certificate_issuer,certificate_serial,certificate_sha256,certificate_der\na,b,CN=CA,0A,abababababababababababababababababababababababababababababababab,MAMCAQU=\na,,CN=CA,0B,x,y\n")),
        ("registry-csv-columns", registry(good, "r.csv", "id,nom\n\"a")),
        ("registry-no-file", registry(good, "r\\u001b.csv", "").split(|byte| *byte == 0xc).next().unwrap_or_default().to_vec()),
        ("empty", "version = 1\n".into()),
        ("version", wrong("version = 1", "version = 2")),
        ("unknown-key", wrong("[issuer.strict]", "[issuer.strict]\nextra = true")),
        ("wrong-type", wrong("doses_per_record_max = 9", "doses_per_record_max = \"9\"")),
        ("out-of-range", wrong("doses_per_record_max = 9", "doses_per_record_max = 99999")),
        ("word", wrong("\"lenient\"", "\"perhaps\"")),
        ("issuer-id", wrong("[issuer.strict]", "[issuer.\"Str ict\\n\"]")),
        ("unit-id", wrong("\"79-TTYT-Q1\"", "\"Đ1\"")),
        ("unit-twice", format!("{good}[[facility]]\nid = \"79-TTYT-Q1\"\nname = \"x\"\n").into_bytes()),
        ("value-set", wrong("\"eu-2.12.0\"", "\"eu-9\"")),
        ("body-long", wrong("Bộ Y tế Việt Nam", &"ộ".repeat(81))),
        ("body-control", wrong("Bộ Y tế Việt Nam", "a\\u0007b")),
        ("client-twice", wrong("[\"a\"]", "[\"a\", \"a\\n\"]")),
        ("cut", good.as_bytes()[..good.len() / 2].to_vec()),
        ("syntax", wrong("iss = \"VN\"", "iss = \"VN")),
        ("deep", format!("x = {}", "[".repeat(200)).into_bytes()),
        ("dotted", "version = 1\nissuer.a.\"b\\u001b\".c = 1\n".into()),
    ])
}

/// A policy that names a registry file, and that file.
fn registry(policy: &str, name: &str, file: &str) -> Vec<u8> {
    let policy = policy.replacen("\n[issuer", &format!("\nregistry = [\"{name}\"]\n[issuer"), 1);
    format!("{policy}\u{c}{file}").into_bytes()
}

fn records() -> Seeds {
    let spoilt = |path: &str, value: Value| {
        let mut record = record();
        set(&mut record, path, Some(value));
        encode(&record)
    };
    let mut seeds = vec![
        ("good", encode(&record())),
        ("good-full", encode(&full_record())),
        ("child", spoilt("holder/date_of_birth", "2015-02-28".into())),
        ("birth-year", spoilt("holder/date_of_birth", "1983".into())),
        ("birth-month", spoilt("holder/date_of_birth", "1983-10".into())),
        ("birth-impossible", spoilt("holder/date_of_birth", "1983-13-10".into())),
        ("birth-future", spoilt("holder/date_of_birth", "2083-10-10".into())),
        ("foreigner", spoilt("holder/nationality", "LA".into())),
        ("nationality-unknown", spoilt("holder/nationality", "XX".into())),
        ("nationality-small", spoilt("holder/nationality", "vn".into())),
        ("id-9-digits", spoilt("holder/national_id", "012345678".into())),
        ("id-malformed", spoilt("holder/national_id", "12345".into())),
        ("id-other-century", spoilt("holder/national_id", "001123456789".into())),
        ("name-digits", spoilt("holder/full_name", "Nguyễn 2".into())),
        ("name-cyrillic", spoilt("holder/full_name", "Иван Петров".into())),
        ("name-decomposed", spoilt("holder/full_name", "Nguye\u{302}\u{303}n Duy".into())),
        ("surname-elsewhere", spoilt("holder/surname", "Duy".into())),
        ("date-impossible", spoilt("doses/0/date", "2021-02-29".into())),
        ("date-future", spoilt("doses/1/date", "2022-04-16".into())),
        ("date-early", spoilt("doses/0/date", "2019-12-31".into())),
        ("date-before-birth", spoilt("holder/date_of_birth", "2021-07-01".into())),
        ("dates-descend", spoilt("doses/1/date", "2021-06-19".into())),
        ("date-no-date", spoilt("doses/0/date", "20/06/2021".into())),
        ("numbers-descend", spoilt("doses/1/number", 1.into())),
        ("number-10", spoilt("doses/1/number", 10.into())),
        ("total-too-low", spoilt("total_doses", 1.into())),
        ("product-unknown", spoilt("doses/0/product", "EU/9/99/9999".into())),
        ("vaccine-unknown", spoilt("doses/0/vaccine", "0".into())),
        ("manufacturer-unknown", spoilt("doses/0/manufacturer", "ORG-0".into())),
        ("codes-of-the-decision", spoilt("doses/0/vaccine", "1119305005".into())),
        ("unit-elsewhere", spoilt("doses/1/facility", "01-CDC-HN".into())),
        ("unit-not-an-id", spoilt("doses/1/facility", "-x".into())),
        ("extra-member", spoilt("doses/1/batch", "x".into())),
        ("null-member", spoilt("holder/surname", Value::Null)),
        ("float", spoilt("total_doses", 2.0.into())),
        ("not-a-map", encode(&Value::Array(Vec::new()))),
    ];
    let mut missing = record();
    set(&mut missing, "holder/national_id", None);
    seeds.push(("id-missing", encode(&missing)));
    set(&mut missing, "holder/full_name", None);
    seeds.push(("name-missing", encode(&missing)));
    set(&mut missing, "holder", None);
    seeds.push(("holder-missing", encode(&missing)));
    let mut many = record();
    let doses = (1..=9_u8).map(|n| dose(n, &format!("2021-0{n}-20"))).collect();
    set(&mut many, "doses", Some(Value::Array(doses)));
    set(&mut many, "total_doses", Some(9.into()));
    seeds.push(("nine-doses", encode(&many)));
    named(seeds)
}

fn requests() -> Seeds {
    let small = || vec![("record".into(), Value::Bytes(vec![0xa0]))];
    let entry = |members: Vec<(Value, Value)>| Value::Map(members);
    let request = |records: Vec<Value>| {
        Value::Map(vec![
            ("issuer".into(), "vn-moh".into()),
            ("records".into(), Value::Array(records)),
            ("batch_id".into(), Value::Bytes(vec![7; 16])),
        ])
    };
    let spoilt = |path: &str, value: Option<Value>| {
        let mut request = request(vec![entry(small())]);
        set(&mut request, path, value);
        encode(&request)
    };
    let full = vec![
        ("doses".into(), Value::Array(vec![1.into(), 2.into()])),
        ("record".into(), Value::Bytes(encode(&record()))),
        ("facility_signature".into(), Value::Bytes(vec![1; 40])),
        ("identity_statement".into(), Value::Bytes(vec![2; 40])),
    ];
    let mut atomic = request(vec![entry(full.clone())]);
    set(&mut atomic, "atomic", Some(true.into()));
    named([
        ("minimal", spoilt("issuer", Some("a".into()))),
        ("full", encode(&request(vec![entry(full.clone()), entry(small())]))),
        ("atomic", encode(&atomic)),
        ("not-atomic", spoilt("atomic", Some(false.into()))),
        ("atomic-number", spoilt("atomic", Some(1.into()))),
        ("issuer-missing", spoilt("issuer", None)),
        ("issuer-capital", spoilt("issuer", Some("VN".into()))),
        ("issuer-long", spoilt("issuer", Some("a".repeat(64).into()))),
        ("batch-id-short", spoilt("batch_id", Some(Value::Bytes(vec![7; 15])))),
        ("batch-id-text", spoilt("batch_id", Some("7".repeat(16).into()))),
        ("no-records", spoilt("records", Some(Value::Array(Vec::new())))),
        ("records-missing", spoilt("records", None)),
        ("unknown-member", spoilt("extra", Some(1.into()))),
        ("record-empty", spoilt("records/0/record", Some(Value::Bytes(Vec::new())))),
        ("record-missing", spoilt("records/0/record", None)),
        ("doses-none", spoilt("records/0/doses", Some(Value::Array(Vec::new())))),
        ("dose-0", spoilt("records/0/doses", Some(Value::Array(vec![0.into()])))),
        ("doses-10", spoilt("records/0/doses", Some(Value::Array(vec![1.into(); 10])))),
        ("unknown-entry-member", spoilt("records/0/x", Some(1.into()))),
        ("entry-no-map", spoilt("records", Some(Value::Array(vec![1.into()])))),
        ("records-1001", spoilt("records", Some(Value::Array(vec![0.into(); 1_001])))),
        ("records-20", encode(&request(vec![entry(small()); 20]))),
        (
            "statement-too-long",
            spoilt("records/0/identity_statement", Some(Value::Bytes(vec![0; 2_049]))),
        ),
        ("not-a-map", encode(&Value::Array(Vec::new()))),
    ])
}

/// Two doses of Comirnaty.
fn record() -> Value {
    Value::Map(vec![
        ("doses".into(), Value::Array(vec![dose(1, "2021-06-20"), dose(2, "2021-07-20")])),
        (
            "holder".into(),
            Value::Map(vec![
                ("full_name".into(), "Nguyễn Bảo Duy".into()),
                ("national_id".into(), "079083001234".into()),
                ("nationality".into(), "VN".into()),
                ("date_of_birth".into(), "1983-10-10".into()),
            ]),
        ),
        ("total_doses".into(), 2.into()),
    ])
}

/// The same with every member that may be there.
fn full_record() -> Value {
    let mut record = record();
    for (path, value) in [
        ("holder/phone", "0901234567"),
        ("holder/surname", "Nguyễn"),
        ("holder/passport", "B1234567"),
        ("doses/0/facility_name", "Trung tâm Y tế Quận 1"),
        ("doses/0/managing_facility", "79-SYT"),
    ] {
        set(&mut record, path, Some(value.into()));
    }
    record
}

fn dose(number: u8, date: &str) -> Value {
    Value::Map(vec![
        ("date".into(), date.into()),
        ("number".into(), number.into()),
        ("product".into(), "EU/1/20/1528".into()),
        ("vaccine".into(), "1119349007".into()),
        ("facility".into(), "79-TTYT-Q1".into()),
        ("manufacturer".into(), "ORG-100030215".into()),
    ])
}

/// Puts a value at a path, or takes the member there away; members stay in order.
fn set(value: &mut Value, path: &str, new: Option<Value>) {
    let (step, rest) = path.split_once('/').map_or((path, None), |(step, rest)| (step, Some(rest)));
    if let Value::Array(items) = value {
        let item = &mut items[step.parse::<usize>().unwrap()];
        return set(item, rest.expect("items are changed, not replaced"), new);
    }
    let pairs = value.as_map_mut().unwrap();
    let found = pairs.iter().position(|(key, _)| key.as_text() == Some(step));
    match (rest, found, new) {
        (Some(rest), Some(at), new) => set(&mut pairs[at].1, rest, new),
        (None, Some(at), Some(new)) => pairs[at].1 = new,
        (None, Some(at), None) => drop(pairs.remove(at)),
        (None, None, Some(new)) => pairs.push((step.into(), new)),
        (_, None, _) => panic!("nothing at {path}"),
    }
    pairs.sort_by_key(|(key, _)| encode(key));
}

fn named<N: Into<String>>(seeds: impl IntoIterator<Item = (N, Vec<u8>)>) -> Seeds {
    seeds.into_iter().map(|(name, bytes)| (name.into(), bytes)).collect()
}
