//! Bodies that are no batch request: each with its code, and its offset or path.

use ciborium::Value;
use hyper::Method;
use signerd_tests::client::request;
use signerd_tests::record::{self, at, encode, map, set};
use signerd_tests::session::Session;
use signerd_tests::{Answer, Client, Daemon, Evidence, Person, Setup};

const MALFORMED: &str = "cbor.malformed";
const NOT_DETERMINISTIC: &str = "cbor.not_deterministic";

/// A request in pieces, as its bytes stand: map of 3, issuer, records, batch id.
struct Pieces {
    entry: Vec<u8>,
    id: Vec<u8>,
}

impl Pieces {
    fn of(evidence: &Evidence) -> Self {
        let entry = encode(&evidence.entry(&Person::with_doses(1)));
        Self { entry, id: uuid::Uuid::new_v4().as_bytes().to_vec() }
    }

    /// The whole request with other bytes for the head, the issuer and the head of the records.
    fn with(&self, head: &[u8], issuer: &[u8], records: &[u8]) -> Vec<u8> {
        let key = |key: &[u8]| key.to_vec();
        let parts = [
            key(head),
            key(b"\x66issuer"),
            key(issuer),
            key(b"\x67records"),
            key(records),
            self.entry.clone(),
            key(b"\x68batch_id\x50"),
            self.id.clone(),
        ];
        parts.concat()
    }

    fn good(&self) -> Vec<u8> {
        self.with(HEAD, ISSUER, RECORDS)
    }

    /// The request with one more member in front: `atomic`, with this value.
    fn atomic(&self, value: &[u8]) -> Vec<u8> {
        let head = [b"\xa4\x66atomic".as_slice(), value].concat();
        self.with(&head, ISSUER, RECORDS)
    }
}

const HEAD: &[u8] = b"\xa3";
const ISSUER: &[u8] = b"\x66vn-moh";
const RECORDS: &[u8] = b"\x81";

/// Faults of the encoding: bytes, code, offset of the item.
fn encodings(p: &Pieces) -> Vec<(&'static str, Vec<u8>, &'static str, usize)> {
    let good = p.good();
    let end = good.len();
    let nested = |head: &[u8]| [head.repeat(10_000), vec![0]].concat();
    let huge = |head: u8| [vec![head], vec![0xff; 8]].concat();
    let m = MALFORMED;
    let d = NOT_DETERMINISTIC;
    let unsorted = [b"\xa3\x67records\x80\x66issuer".as_slice(), ISSUER].concat();
    let twice = [b"\xa2\x66issuer".as_slice(), ISSUER, b"\x66issuer", ISSUER].concat();
    vec![
        ("nothing", vec![], m, 0),
        ("cut in the id", good[..end - 1].to_vec(), m, end - 17),
        ("cut in a key", good[..5].to_vec(), m, 1),
        ("cut before a value", good[..8].to_vec(), m, 8),
        ("cut after the head", good[..1].to_vec(), m, 1),
        ("byte behind", [&good[..], b"\x00"].concat(), m, end),
        ("twice the request", [&good[..], &good[..]].concat(), m, end),
        ("indefinite map", [&p.with(b"\xbf", ISSUER, RECORDS)[..], b"\xff"].concat(), d, 0),
        ("indefinite text", p.with(HEAD, b"\x7f\x66vn-moh\xff", RECORDS), d, 8),
        ("indefinite array", p.with(HEAD, ISSUER, b"\x9f"), d, 23),
        ("indefinite bytes", p.with(HEAD, b"\x5f\x41a\xff", RECORDS), d, 8),
        ("keys unsorted", unsorted, d, 10),
        ("key twice", twice, d, 15),
        ("long map head", p.with(b"\xb8\x03", ISSUER, RECORDS), d, 0),
        ("long text head", p.with(HEAD, b"\x78\x06vn-moh", RECORDS), d, 8),
        ("long array head", p.with(HEAD, ISSUER, b"\x9b\0\0\0\0\0\0\0\x01"), d, 23),
        ("long integer", p.atomic(b"\x18\x01"), d, 8),
        ("half float", p.atomic(b"\xf9\x3c\x00"), d, 8),
        ("float", p.atomic(b"\xfa\x3f\x80\x00\x00"), d, 8),
        ("double", p.atomic(b"\xfb\x3f\xf0\0\0\0\0\0\0"), d, 8),
        ("null", p.atomic(b"\xf6"), d, 8),
        ("undefined", p.atomic(b"\xf7"), d, 8),
        ("simple value", p.atomic(b"\xf8\xff"), d, 8),
        ("self-described", [b"\xd9\xd9\xf7".as_slice(), &good].concat(), d, 0),
        ("tagged value", p.atomic(b"\xc1\x00"), d, 8),
        ("array as key", b"\xa1\x80\x00".to_vec(), d, 1),
        ("stray break", vec![0xff], m, 0),
        ("endless integer", p.atomic(b"\x1f"), m, 8),
        ("endless tag", p.atomic(b"\xdf"), m, 8),
        ("reserved head", p.atomic(b"\x1c"), m, 8),
        ("not UTF-8", p.with(HEAD, b"\x66vn-mo\xff", RECORDS), m, 8),
        ("10,000 arrays", nested(b"\x81"), m, 8),
        ("10,000 maps", nested(b"\xa1\x00"), m, 16),
        ("endless bytes", huge(0x5b), m, 0),
        ("endless text", huge(0x7b), m, 0),
        ("endless array", huge(0x9b), m, 9),
        ("endless map", huge(0xbb), m, 0),
    ]
}

/// Faults of the shape: what is changed, and the path of the fault.
fn shapes(evidence: &Evidence) -> Vec<(&'static str, Value, &'static str)> {
    let good = record::request("vn-moh", vec![evidence.entry(&Person::with_doses(1))]);
    let member = |name: &str, value: Option<Value>| {
        let mut request = good.clone();
        set(&mut request, name, value);
        request
    };
    let entry = |name: &str, value: Option<Value>| {
        let mut request = good.clone();
        set(&mut at(&mut request, "records").as_array_mut().unwrap()[0], name, value);
        request
    };
    let bytes = |length| Some(Value::Bytes(vec![7; length]));
    let numbers = |numbers: &[u64]| {
        Some(Value::Array(numbers.iter().map(|number| Value::from(*number)).collect()))
    };
    vec![
        ("no map", Value::Array(vec![]), ""),
        ("integer as key", Value::Map(vec![(1.into(), 2.into())]), ""),
        ("unknown member", member("isuer", Some("vn-moh".into())), ""),
        ("no issuer", member("issuer", None), "/issuer"),
        ("no records", member("records", None), "/records"),
        ("no id", member("batch_id", None), "/batch_id"),
        ("id as text", member("batch_id", Some("0".repeat(16).into())), "/batch_id"),
        ("id of 15 bytes", member("batch_id", bytes(15)), "/batch_id"),
        ("id of 17 bytes", member("batch_id", bytes(17)), "/batch_id"),
        ("issuer as bytes", member("issuer", bytes(6)), "/issuer"),
        ("capitals", member("issuer", Some("VN-MOH".into())), "/issuer"),
        ("long issuer", member("issuer", Some("a".repeat(64).into())), "/issuer"),
        ("empty issuer", member("issuer", Some("".into())), "/issuer"),
        ("atomic as number", member("atomic", Some(1.into())), "/atomic"),
        ("no record", member("records", Some(Value::Array(vec![]))), "/records"),
        ("records as map", member("records", Some(map([]))), "/records"),
        ("entry as text", member("records", Some(Value::Array(vec!["x".into()]))), "/records/0"),
        ("unknown in entry", entry("comment", Some("x".into())), "/records/0"),
        ("entry without record", entry("record", None), "/records/0/record"),
        ("record as map", entry("record", Some(map([]))), "/records/0/record"),
        ("empty record", entry("record", bytes(0)), "/records/0/record"),
        ("long record", entry("record", bytes(8193)), "/records/0/record"),
        ("empty statement", entry("identity_statement", bytes(0)), "/records/0/identity_statement"),
        (
            "long statement",
            entry("identity_statement", bytes(2049)),
            "/records/0/identity_statement",
        ),
        (
            "long signature",
            entry("facility_signature", bytes(8193)),
            "/records/0/facility_signature",
        ),
        ("no dose selected", entry("doses", numbers(&[])), "/records/0/doses"),
        ("ten doses selected", entry("doses", numbers(&[1; 10])), "/records/0/doses"),
        ("dose zero", entry("doses", numbers(&[1, 0])), "/records/0/doses/1"),
        ("dose ten", entry("doses", numbers(&[10])), "/records/0/doses/0"),
        (
            "dose as text",
            entry("doses", Some(Value::Array(vec!["1".into()]))),
            "/records/0/doses/0",
        ),
        (
            "negative dose",
            entry("doses", Some(Value::Array(vec![(-1).into()]))),
            "/records/0/doses/0",
        ),
    ]
}

async fn post(session: &mut Session, path: &str, body: Vec<u8>) -> Answer {
    let headers = [("content-type", "application/cbor")];
    session.send(request(Method::POST, path, &headers, body)).await.unwrap()
}

/// A problem that a person can work with: a title, and a sentence that says what to do.
fn helps(answer: &Answer, what: &str) {
    let problem = answer.cbor();
    let pairs = problem.as_map().unwrap();
    let text = |label: i64| {
        let found = pairs.iter().find(|(key, _)| *key == Value::from(label));
        found.and_then(|(_, text)| text.as_text()).unwrap_or_default().to_owned()
    };
    assert!(!text(-1).is_empty(), "{what}: no title");
    assert!(text(-2).contains("; "), "{what}: does not say what to do: {:?}", text(-2));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_request_get_their_code_and_place() {
    // Every fault of the encoding gets its code and the offset of the item, every fault of the shape
    // its path; the connection stays, the client's strings are not repeated, nothing is stored, and the
    // same connection signs at the end.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let evidence = Evidence::of(&setup);
    let pieces = Pieces::of(&evidence);
    let mut session = Session::open(&Client::new(&setup)).await.unwrap();
    for path in ["/v1/batches", "/v1/batches/preview"] {
        for (what, body, code, offset) in encodings(&pieces) {
            let answer = post(&mut session, path, body).await;
            let got = (answer.status, answer.code(), answer.problem("offset"));
            assert_eq!(got, (400, code.to_owned(), Some((offset as u64).into())), "{what}");
            assert_eq!(answer.problem("path"), None, "{what}");
            helps(&answer, what);
        }
        for (what, body, path_of_fault) in shapes(&evidence) {
            let answer = post(&mut session, path, encode(&body)).await;
            let got = (answer.status, answer.code(), answer.problem("path"));
            let expected = (400, "request.invalid".to_owned(), Some(path_of_fault.into()));
            assert_eq!(got, expected, "{what}");
            assert!(!answer.body.windows(5).any(|w| w == b"isuer"), "{what}: repeats the input");
            helps(&answer, what);
        }
    }
    // The batch id of the refused requests is still free.
    let answer = post(&mut session, "/v1/batches", pieces.good()).await;
    assert_eq!(answer.statuses(), ["issued"]);
    assert_eq!(daemon.metric("signerd_tls_handshakes_total{result=\"ok\"}"), 1.0);
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cut_of_a_request_is_malformed() {
    // A request that ends too early is malformed wherever it ends, and the offset lies within it.
    let setup = Setup::new();
    let _daemon = Daemon::ready(&setup);
    let good = Pieces::of(&Evidence::of(&setup)).good();
    let mut session = Session::open(&Client::new(&setup)).await.unwrap();
    for end in (0..good.len()).step_by(3) {
        let answer = post(&mut session, "/v1/batches", good[..end].to_vec()).await;
        assert_eq!(answer.code(), MALFORMED, "{end}");
        let offset = answer.problem("offset").unwrap().as_integer().unwrap();
        assert!(usize::try_from(offset).unwrap() <= end);
    }
    assert_eq!(post(&mut session, "/v1/batches", good).await.statuses(), ["issued"]);
}
