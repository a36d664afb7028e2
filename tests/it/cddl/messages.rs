//! The messages of a working day, recorded: what the harness sends, what the daemon answers.

use ciborium::Value;
use data_encoding::BASE64URL_NOPAD;
use flate2::read::ZlibDecoder;
use hyper::Method;
use rustix::process::{Signal, kill_process};
use signerd_tests::client::{self, member};
use signerd_tests::record::{self, encode, set};
use signerd_tests::{Answer, Client, Daemon, Evidence, Person, Setup};
use std::io::Read as _;

/// One message, and the rule that describes it.
pub(super) struct Message {
    pub(super) rule: &'static str,
    pub(super) what: String,
    pub(super) value: Value,
}

/// The rules of these messages, each once.
pub(super) fn rules(messages: &[Message]) -> Vec<&'static str> {
    let mut rules: Vec<_> = messages.iter().map(|message| message.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

/// Sends batches of every kind and refused requests of many kinds, and gives all that went over the wire.
pub(super) async fn recorded() -> Vec<Message> {
    let setup = Setup::new();
    // One client of the set-up is unknown, and the rate can be exceeded by hand.
    setup.change("signerd.toml", "urn:signerd:client:moh-other", "urn:signerd:client:elsewhere");
    setup.change("signerd.toml", "doses_per_second = 100000", "doses_per_second = 1");
    setup.change("signerd.toml", "burst = 100000", "burst = 60");
    let daemon = Daemon::ready(&setup);
    let mut wire =
        Wire { client: Client::new(&setup), evidence: Evidence::of(&setup), messages: Vec::new() };
    wire.batches().await;
    let trust_list = wire.client.get("/v1/trust-list").await.unwrap();
    wire.keep("trust-list", "the set-up's", trust_list.cbor());
    wire.refused_bodies().await;
    wire.refused_batches().await;
    wire.refused_by_http(&setup).await;
    wire.in_progress(&daemon).await;
    wire.too_fast().await;
    assert!(daemon.stop().success());
    wire.messages
}

struct Wire {
    client: Client,
    evidence: Evidence,
    messages: Vec<Message>,
}

const SIGN: &str = "/v1/batches";
const PREVIEW: &str = "/v1/batches/preview";

/// Somebody with every optional member.
fn full() -> Person {
    Person::with_doses(2)
        .holder("surname", Value::from("Nguyễn Thị"))
        .holder("passport", Value::from("C1234567"))
        .dose(1, "facility_name", Value::from("Trung tâm Y tế Quận 1"))
        .dose(1, "managing_facility", Value::from("79-TTYT-Q1"))
}

/// Somebody who gets several reasons from every part of the judgement.
fn unfit() -> Person {
    Person::with_doses(1)
        .holder("nationality", Value::from("XX"))
        .dose(0, "product", Value::from("nope"))
        .dose(0, "facility", Value::from("01-CDC-HN"))
}

impl Wire {
    fn keep(&mut self, rule: &'static str, what: impl Into<String>, value: Value) {
        self.messages.push(Message { rule, what: what.into(), value });
    }

    /// Good, partly bad and atomic batches under both issuers, their previews, and all that is in them.
    async fn batches(&mut self) {
        let foreigner = Person::with_doses(1)
            .holder("full_name", Value::from("Suharto"))
            .holder("nationality", Value::from("ID"))
            .holder("national_id", None)
            .holder("passport", Value::from("X1234567"))
            .holder("date_of_birth", Value::from("1957"))
            .holder("phone", None);
        for (issuer, what, people, atomic) in [
            ("vn-moh", "good", vec![full(), foreigner], None),
            ("vn-moh-ec", "partly bad", vec![full(), unfit()], Some(false)),
            ("vn-moh-ec", "atomic", vec![full(), unfit()], Some(true)),
        ] {
            for person in &people {
                self.keep("vaccination-record", what, person.record.clone());
                self.statements(what, &self.evidence.entry(person));
            }
            let mut entries: Vec<Value> =
                people.iter().map(|person| self.evidence.entry(person)).collect();
            set(&mut entries[0], "doses", Some(Value::Array(vec![1.into()])));
            let mut request = record::request(issuer, entries);
            set(&mut request, "atomic", atomic.map(Value::Bool));
            let body = encode(&request);
            self.keep("batch-request", what, request);
            let preview = self.client.post(PREVIEW, body.clone()).await.unwrap();
            assert_eq!(preview.status, 200);
            self.keep("preview-response", what, preview.cbor());
            let signed = self.client.sign(body).await.unwrap();
            assert_eq!(signed.status, 200);
            self.keep("batch-response", what, signed.cbor());
            self.certificates(what, &signed);
        }
    }

    /// The two statements of an entry, and the claims inside one of them.
    fn statements(&mut self, what: &str, entry: &Value) {
        let statement = decoded(&member(entry, "identity_statement").into_bytes().unwrap());
        let (_, parts) = statement.clone().into_tag().unwrap();
        let part = |index: usize| decoded(parts.as_array().unwrap()[index].as_bytes().unwrap());
        self.keep("identity-claims", what, part(2));
        self.keep("identity-header", what, part(0));
        self.keep("identity-statement", what, statement);
        let signature = decoded(&member(entry, "facility_signature").into_bytes().unwrap());
        let (_, parts) = signature.clone().into_tag().unwrap();
        self.keep(
            "facility-header",
            what,
            decoded(parts.as_array().unwrap()[0].as_bytes().unwrap()),
        );
        self.keep("facility-signature", what, signature);
    }

    /// What is behind each `HC1:`.
    fn certificates(&mut self, what: &str, answer: &Answer) {
        for text in answer.hcerts() {
            let packed = base45::decode(text.strip_prefix("HC1:").unwrap()).unwrap();
            let mut cose = Vec::new();
            ZlibDecoder::new(packed.as_slice()).read_to_end(&mut cose).unwrap();
            let hcert = decoded(&cose);
            let (_, parts) = hcert.clone().into_tag().unwrap();
            let part = |index: usize| decoded(parts.as_array().unwrap()[index].as_bytes().unwrap());
            self.keep("hcert-header", what, part(0));
            self.keep("hcert-claims", what, part(2));
            self.keep("hcert", what, hcert);
        }
    }

    fn problem(&mut self, code: &'static str, answer: &Answer) {
        assert_eq!(answer.code(), code);
        self.keep("problem", code, answer.cbor());
    }

    /// Bodies that are no batch request.
    async fn refused_bodies(&mut self) {
        let good = self.evidence.request("vn-moh", [&Person::with_doses(1)]);
        let mut of_another_type = record::request("vn-moh", vec![]);
        set(&mut of_another_type, "batch_id", Some(Value::from("text")));
        let cases = [
            ("cbor.malformed", good[..good.len() - 1].to_vec()),
            ("cbor.not_deterministic", [b"\xb8\x03", &good[1..]].concat()),
            ("request.invalid", encode(&of_another_type)),
            ("issuer.not_allowed", self.evidence.request("nobody", [&Person::with_doses(1)])),
        ];
        for (code, body) in cases {
            let answer = self.client.sign(body).await.unwrap();
            self.problem(code, &answer);
        }
    }

    /// Batches that are refused as a whole.
    async fn refused_batches(&mut self) {
        let person = Person::with_doses(1);
        let twice = self.evidence.request("vn-moh", [&person, &person]);
        let answer = self.client.sign(twice).await.unwrap();
        self.problem("batch.duplicate_record", &answer);
        let entry = self.evidence.entry(&person);
        let many = encode(&record::request("vn-moh", vec![entry.clone(); 1_001]));
        let answer = self.client.sign(many).await.unwrap();
        self.problem("batch.over_limit", &answer);
        let mut request = record::request("vn-moh", vec![entry]);
        assert_eq!(self.client.sign(encode(&request)).await.unwrap().status, 200);
        set(&mut request, "atomic", Some(Value::Bool(true)));
        let answer = self.client.sign(encode(&request)).await.unwrap();
        self.problem("batch.conflict", &answer);
    }

    /// Requests that are refused before a body counts.
    async fn refused_by_http(&mut self, setup: &Setup) {
        let stranger = Client::named(setup, "client-other");
        let answer = stranger.get("/v1/trust-list").await.unwrap();
        self.problem("client.unknown", &answer);
        let cbor = ("content-type", "application/cbor");
        let large = (21 * 1024 * 1024).to_string();
        for (code, method, path, headers) in [
            ("http.not_found", Method::GET, "/v1/nothing", vec![]),
            ("http.method_not_allowed", Method::GET, SIGN, vec![]),
            ("http.not_acceptable", Method::POST, SIGN, vec![cbor, ("accept", "text/html")]),
            ("http.unsupported_media_type", Method::POST, SIGN, vec![]),
        ] {
            let request = client::request(method, path, &headers, Vec::new());
            let answer = self.client.send(request).await.unwrap();
            self.problem(code, &answer);
        }
        let head = format!(
            "POST {SIGN} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cbor\r\n\
             expect: 100-continue\r\ncontent-length: {large}\r\n\r\n"
        );
        let pieces = [head.into_bytes()];
        let answer = signerd_tests::session::exchange(&self.client, pieces).await.unwrap();
        self.problem("http.too_large", &answer);
        let json = [cbor, ("accept", "application/json")];
        let answer = self.client.send(client::request(Method::POST, SIGN, &json, Vec::new()));
        self.same_in_json(&answer.await.unwrap());
    }

    /// The JSON form has the members of the CBOR form, so it is turned back and held against the same rule.
    fn same_in_json(&mut self, answer: &Answer) {
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(json["status"], answer.status);
        let named = |name: &str| json.get(name).map(|value| Value::serialized(value).unwrap());
        let members = ["code", "path", "offset", "retry_after"];
        let members = members.iter().filter_map(|name| Some((Value::from(*name), named(name)?)));
        let problem = Value::Map(vec![
            (Value::from(-1), named("title").unwrap()),
            (Value::from(-2), named("detail").unwrap()),
            (Value::from("tag:signerd,2026:problem"), Value::Map(members.collect())),
        ]);
        self.keep("problem", "out of JSON", problem);
    }

    /// The same batch again while it is being signed; then its JSON form from the ledger.
    async fn in_progress(&mut self, daemon: &Daemon) {
        let person = Person::with_doses(1);
        let body = self.evidence.request("vn-moh-ec", [&person]);
        let other = self.evidence.request("vn-moh", [&person]);
        let workers = daemon.workers();
        let all = |signal| workers.iter().for_each(|worker| kill_process(*worker, signal).unwrap());
        all(Signal::STOP);
        let first = tokio::spawn({
            let (client, body) = (self.client.clone(), body.clone());
            async move { client.sign(body).await.unwrap() }
        });
        // The intent is durable once a preview sees it.
        let told = loop {
            let told = self.client.post(PREVIEW, other.clone()).await.unwrap();
            if told.status != 200 || told.statuses() == ["rejected"] {
                break told;
            }
        };
        self.keep("preview-response", "dose in progress", told.cbor());
        let same = self.client.sign(body.clone()).await.unwrap();
        self.problem("batch.in_progress", &same);
        all(Signal::CONT);
        assert_eq!(first.await.unwrap().statuses(), ["issued"]);
        let headers = [("content-type", "application/cbor"), ("accept", "application/json")];
        let request = client::request(Method::POST, SIGN, &headers, body);
        let json = self.client.send(request).await.unwrap();
        let mut answer =
            Value::serialized(&serde_json::from_slice::<serde_json::Value>(&json.body).unwrap())
                .unwrap();
        for name in ["batch_id", "kid"] {
            let text = member(&answer, name).into_text().unwrap();
            let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
            set(&mut answer, name, Some(Value::Bytes(bytes)));
        }
        self.keep("batch-response", "out of JSON", answer);
    }

    /// More doses than the client's rate allows.
    async fn too_fast(&mut self) {
        loop {
            let people: Vec<Person> = (0..20).map(|_| Person::with_doses(1)).collect();
            let body = self.evidence.request("vn-moh", &people);
            let answer = self.client.post(PREVIEW, body).await.unwrap();
            if answer.status != 200 {
                return self.problem("rate.exceeded", &answer);
            }
        }
    }
}

fn decoded(bytes: &[u8]) -> Value {
    ciborium::from_reader(bytes).unwrap()
}
