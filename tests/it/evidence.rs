//! Statements and signatures of others: forged, stale, of somebody else, under certificates that do not count.

use ciborium::Value;
use coset::iana::Algorithm;
use coset::{CoseSign1, CoseSign1Builder, Header, HeaderBuilder, TaggedCborSerializable as _};
use sha2::{Digest as _, Sha256};
use signerd_tests::pki::{Authority, Validity, register_unit};
use signerd_tests::record::{self, StatementKey, encode, map, now, set};
use signerd_tests::{Client, Daemon, Evidence, Person, Setup};

const DAY: u64 = 86_400;

/// A record entry with one part changed, and the one code that it gets at that part; empty for none.
struct Case {
    what: String,
    entry: Value,
    code: &'static str,
    path: &'static str,
}

/// How a message is signed.
struct Manner {
    algorithm: Algorithm,
    protected: Header,
    unprotected: Header,
}

fn header(algorithm: Algorithm) -> HeaderBuilder {
    HeaderBuilder::new().algorithm(algorithm)
}

fn kid(key: &StatementKey) -> Vec<u8> {
    Sha256::digest(&key.certificate)[..8].to_vec()
}

fn x5t(key: &StatementKey) -> Value {
    let digest = Sha256::digest(&key.certificate).to_vec();
    Value::Array(vec![Value::from(-16), Value::Bytes(digest)])
}

fn attached(key: &StatementKey, manner: Manner, payload: Vec<u8>) -> CoseSign1 {
    CoseSign1Builder::new()
        .protected(manner.protected)
        .unprotected(manner.unprotected)
        .payload(payload)
        .create_signature(&[], |message| key.sign(manner.algorithm, message))
        .build()
}

fn detached(key: &StatementKey, manner: Manner, payload: &[u8]) -> CoseSign1 {
    CoseSign1Builder::new()
        .protected(manner.protected)
        .unprotected(manner.unprotected)
        .create_detached_signature(payload, &[], |message| key.sign(manner.algorithm, message))
        .build()
}

fn flipped(mut bytes: Vec<u8>) -> Vec<u8> {
    *bytes.last_mut().unwrap() ^= 1;
    bytes
}

/// Identity statements: what is wrong with each, and its code.
fn identities(evidence: &Evidence, stranger: &StatementKey) -> Vec<Case> {
    let person = || Person::with_doses(1);
    let invalid = "identity.statement_invalid";
    let verifier = &evidence.verifier;
    let case = |what: &str, person: &Person, statement: Option<Vec<u8>>, code| {
        let mut entry = evidence.entry(person);
        set(&mut entry, "identity_statement", statement.map(Value::Bytes));
        Case { what: what.into(), entry, code, path: "/identity_statement" }
    };
    let says = |what, outcome: &str, at: u64, code| {
        let person = person();
        let statement = verifier.identity_statement(person.holder_digest(), outcome, at);
        case(what, &person, Some(statement), code)
    };
    let mut cases = vec![
        case("no statement", &person(), None, "identity.statement_missing"),
        says("mismatched", "mismatched", now(), "identity.mismatched"),
        says("not found", "not_found", now(), "identity.not_found"),
        says("unheard of", "maybe", now(), invalid),
        says("90 days less an hour", "matched", now() - 90 * DAY + 3_600, ""),
        says(
            "90 days and an hour",
            "matched",
            now() - 90 * DAY - 3_600,
            "identity.statement_stale",
        ),
        says("a little ahead", "matched", now() + 200, ""),
        says("far ahead", "matched", now() + 3_600, invalid),
        says("beyond any time", "matched", u64::MAX, invalid),
    ];
    let two = [person(), person()];
    let of_two = verifier.identity_statement(two[1].holder_digest(), "matched", now());
    cases.push(case("another holder", &two[0], Some(of_two), "identity.holder_differs"));
    let changed = person();
    let before = verifier.identity_statement(changed.holder_digest(), "matched", now());
    let changed = changed.holder("phone", Value::from("0"));
    cases.push(case("another phone", &changed, Some(before), "identity.holder_differs"));
    let good = |person: &Person, key: &StatementKey| {
        key.identity_statement(person.holder_digest(), "matched", now())
    };
    let broken = |what, make: &dyn Fn(&Person) -> Vec<u8>, code| {
        let person = person();
        case(what, &person, Some(make(&person)), code)
    };
    let unknown = "identity.verifier_unknown";
    cases.extend([
        broken("forged", &|person| flipped(good(person, verifier)), invalid),
        broken("stranger", &|person| good(person, stranger), unknown),
        broken("no COSE", &|_| vec![0xff; 100], invalid),
        broken("untagged", &|person| good(person, verifier)[1..].to_vec(), invalid),
    ]);
    cases.extend(odd_headers(evidence, stranger));
    cases.extend(odd_claims(evidence));
    cases
}

/// A statement that is refused as it is.
fn refused(evidence: &Evidence, what: &str, person: &Person, statement: &CoseSign1) -> Case {
    let bytes = statement.clone().to_tagged_vec().unwrap();
    let mut entry = evidence.entry(person);
    set(&mut entry, "identity_statement", Some(Value::Bytes(bytes)));
    let (code, path) = ("identity.statement_invalid", "/identity_statement");
    Case { what: what.into(), entry, code, path }
}

fn matched(person: &Person) -> Value {
    map([
        ("holder_digest", Value::Bytes(person.holder_digest().to_vec())),
        ("outcome", "matched".into()),
        ("checked_at", now().into()),
    ])
}

/// Statements whose headers are not as the contract wants them, though signed.
fn odd_headers(evidence: &Evidence, stranger: &StatementKey) -> Vec<Case> {
    let verifier = &evidence.verifier;
    let algorithm = Algorithm::ES256;
    let with_kid = |algorithm| header(algorithm).key_id(kid(verifier));
    let plain = || with_kid(algorithm).build();
    let outside = || HeaderBuilder::new().key_id(kid(verifier)).build();
    let short = header(algorithm).key_id(kid(verifier)[..4].to_vec()).build();
    let crit = with_kid(algorithm).add_critical(coset::iana::HeaderParameter::Alg).build();
    let inside = with_kid(algorithm).value(34, x5t(verifier)).build();
    let empty = Header::default;
    let manners: Vec<(&str, &StatementKey, Header, Header)> = vec![
        // The verifier's name over a stranger's signature.
        ("forged by a stranger", stranger, plain(), empty()),
        ("no kid", verifier, header(algorithm).build(), empty()),
        ("short kid", verifier, short, empty()),
        ("kid outside", verifier, header(algorithm).build(), outside()),
        ("kid twice", verifier, plain(), outside()),
        ("other algorithm", verifier, with_kid(Algorithm::PS256).build(), empty()),
        ("RS256", verifier, with_kid(Algorithm::RS256).build(), empty()),
        ("crit", verifier, crit, empty()),
        ("odd label", verifier, with_kid(algorithm).value(99, 1.into()).build(), empty()),
        ("certificate inside", verifier, inside, empty()),
    ];
    let case = |(what, key, protected, unprotected)| {
        let person = Person::with_doses(1);
        let manner = Manner { algorithm, protected, unprotected };
        refused(evidence, what, &person, &attached(key, manner, encode(&matched(&person))))
    };
    manners.into_iter().map(case).collect()
}

/// Statements that claim something in another form than the contract's.
fn odd_claims(evidence: &Evidence) -> Vec<Case> {
    let verifier = &evidence.verifier;
    let claims = [
        ("claim too many", "verified", Some(Value::Bool(true))),
        ("no outcome", "outcome", None),
        ("time as text", "checked_at", Some("2026-01-01".into())),
        ("short digest", "holder_digest", Some(Value::Bytes(vec![0; 31]))),
    ];
    let case = |(what, name, value)| {
        let person = Person::with_doses(1);
        let mut claims = matched(&person);
        set(&mut claims, name, value);
        let algorithm = Algorithm::ES256;
        let protected = header(algorithm).key_id(kid(verifier)).build();
        let manner = Manner { algorithm, protected, unprotected: Header::default() };
        refused(evidence, what, &person, &attached(verifier, manner, encode(&claims)))
    };
    claims.into_iter().map(case).collect()
}

/// Facility signatures of the registered unit: what is wrong with each, and its code.
fn signatures(evidence: &Evidence, other: &StatementKey) -> Vec<Case> {
    let unit = &evidence.facility;
    let ps256 = Algorithm::PS256;
    let by_digest = |algorithm| header(algorithm).value(34, x5t(unit)).build();
    let leaf = Value::Bytes(unit.certificate.clone());
    let chain = |certificates: Vec<Value>| Value::Array(certificates);
    let with = |label, value: Value| header(ps256).value(label, value).build();
    let invalid = "facility.signature_invalid";
    let manners: Vec<(&str, &StatementKey, Algorithm, Header, &'static str)> = vec![
        ("RS256", unit, Algorithm::RS256, by_digest(Algorithm::RS256), ""),
        ("leaf", unit, ps256, with(33, leaf.clone()), ""),
        ("chain", unit, ps256, with(33, chain(vec![leaf.clone(), Value::Bytes(vec![0])])), ""),
        ("chain of one", unit, ps256, with(33, chain(vec![leaf.clone()])), invalid),
        ("no certificate", unit, ps256, header(ps256).build(), invalid),
        (
            "both",
            unit,
            ps256,
            header(ps256).value(33, leaf.clone()).value(34, x5t(unit)).build(),
            invalid,
        ),
        (
            "with kid",
            unit,
            ps256,
            header(ps256).key_id(kid(unit)).value(34, x5t(unit)).build(),
            invalid,
        ),
        ("another's key", other, ps256, by_digest(ps256), invalid),
        ("one said, another used", unit, Algorithm::RS256, by_digest(ps256), invalid),
    ];
    let entry = |person: &Person, signature: Option<Vec<u8>>| {
        let mut entry = evidence.entry(person);
        set(&mut entry, "facility_signature", signature.map(Value::Bytes));
        entry
    };
    let path = "/facility_signature";
    let mut cases: Vec<Case> = manners
        .into_iter()
        .map(|(what, key, algorithm, protected, code)| {
            let person = Person::with_doses(1);
            let manner = Manner { algorithm, protected, unprotected: Header::default() };
            let message = detached(key, manner, &person.bytes()).to_tagged_vec().unwrap();
            Case { what: what.into(), entry: entry(&person, Some(message)), code, path }
        })
        .collect();
    let manner =
        || Manner { algorithm: ps256, protected: by_digest(ps256), unprotected: Header::default() };
    let another = Person::with_doses(1).bytes();
    type Make<'a> = &'a dyn Fn(Vec<u8>) -> Option<Vec<u8>>;
    let broken: [(&str, Make<'_>, &'static str); 6] = [
        ("no signature", &|_| None, "facility.signature_missing"),
        ("another record's", &|_| Some(unit.facility_signature(&another)), invalid),
        ("forged", &|record| Some(flipped(unit.facility_signature(&record))), invalid),
        (
            "record attached",
            &|record| attached(unit, manner(), record).to_tagged_vec().ok(),
            invalid,
        ),
        ("no COSE", &|_| Some(vec![0; 64]), invalid),
        ("nested", &|_| Some(vec![0x81; 8_000]), invalid),
    ];
    cases.extend(broken.into_iter().map(|(what, make, code)| {
        let person = Person::with_doses(1);
        Case { what: what.into(), entry: entry(&person, make(person.bytes())), code, path }
    }));
    cases
}

/// Records signed by units whose certificates do not count, and by one that may sign for another.
fn units(setup: &Setup, evidence: &Evidence) -> Vec<Case> {
    let of = |name: &str, unit: &str, code, path| {
        let key = StatementKey::of(setup, name);
        let person = Person::with_doses(1).dose(0, "facility", Value::from(unit));
        let bytes = person.bytes();
        // The keys made here are P-256, those of the set-up RSA.
        let rsa = name.starts_with("facility-");
        let algorithm = if rsa { Algorithm::PS256 } else { Algorithm::ES256 };
        let protected = header(algorithm).value(34, x5t(&key)).build();
        let manner = Manner { algorithm, protected, unprotected: Header::default() };
        let signature = detached(&key, manner, &bytes).to_tagged_vec().unwrap();
        let mut entry = evidence.entry(&person);
        set(&mut entry, "facility_signature", Some(Value::Bytes(signature)));
        Case { what: format!("{name} for {unit}"), entry, code, path }
    };
    let signature = "/facility_signature";
    let dose = "/record/doses/0/facility";
    vec![
        of("facility-other", "01-CDC-HN", "", dose),
        of("facility-other", "01-TYT-P-TB", "", dose),
        of("facility-other", "79-TTYT-Q1", "facility.not_its_dose", dose),
        of("facility-other", "79-TYT-P-BN", "facility.not_its_dose", dose),
        of("fresh", "U-FRESH", "", dose),
        of("fresh", "U-EXPIRED", "facility.not_its_dose", dose),
        of("unregistered", "U-FRESH", "facility.certificate_unregistered", signature),
        of("stranger", "U-STRANGER", "facility.certificate_untrusted", signature),
        of("stranger-expired", "U-STRANGER-EXPIRED", "facility.certificate_untrusted", signature),
        of("no-signing", "U-NO-SIGNING", "facility.certificate_untrusted", signature),
        of("expired", "U-EXPIRED", "facility.certificate_expired", signature),
        of("revoked", "U-REVOKED", "facility.certificate_revoked", signature),
    ]
}

/// Certificates of units beyond those of the set-up, all registered but one.
fn prepare(setup: &Setup) {
    let ours = Authority::of(setup, "facility-ca");
    let signing = "keyUsage=critical,digitalSignature";
    for (name, validity, usage) in [
        ("fresh", Validity::Now, signing),
        ("unregistered", Validity::Now, signing),
        ("revoked", Validity::Now, signing),
        ("expired", Validity::Past, signing),
        ("no-signing", Validity::Now, "keyUsage=critical,keyEncipherment"),
    ] {
        ours.issue(name, validity, usage);
    }
    ours.revoke("revoked");
    ours.list("facility-crl", Validity::Now);
    let foreign = Authority::foreign(setup, "stranger-ca", "facility-ca");
    foreign.issue("stranger", Validity::Now, signing);
    foreign.issue("stranger-expired", Validity::Past, signing);
    for name in ["fresh", "revoked", "expired", "no-signing", "stranger", "stranger-expired"] {
        register_unit(setup, &format!("U-{}", name.to_uppercase()), name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_evidence_that_holds_gets_a_certificate() {
    // Every forged, foreign, stale or misplaced statement gets its one code, and every good form of
    // evidence is signed, all in one batch.
    let setup = Setup::new();
    prepare(&setup);
    let daemon = Daemon::ready(&setup);
    let evidence = Evidence::of(&setup);
    let cases: Vec<Case> = [
        identities(&evidence, &StatementKey::of(&setup, "fresh")),
        signatures(&evidence, &StatementKey::of(&setup, "facility-other")),
        units(&setup, &evidence),
    ]
    .into_iter()
    .flatten()
    .collect();
    let entries = cases.iter().map(|case| case.entry.clone()).collect();
    let body = encode(&record::request("vn-moh-ec", entries));
    let answer = Client::new(&setup).sign(body).await.unwrap();
    for (index, (case, status)) in cases.iter().zip(answer.statuses()).enumerate() {
        if case.code.is_empty() {
            assert_eq!(status, "issued", "{}: {:?}", case.what, answer.results()[index]);
        } else {
            let expected = [(case.code.to_owned(), case.path.to_owned())];
            assert_eq!(answer.reasons(index), expected, "{}", case.what);
        }
    }
    assert!(daemon.stop().success());
}
