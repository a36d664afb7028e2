//! HTTP around the requests: routes, media types, headers, size and time of bodies, the order of checks.

use ciborium::Value;
use hyper::Method;
use signerd_tests::client::{member, request};
use signerd_tests::record::{self, encode, set};
use signerd_tests::session::{Session, exchange};
use signerd_tests::{Answer, Client, Daemon, Evidence, Person, Setup};

const CBOR: (&str, &str) = ("content-type", "application/cbor");
const PROBLEM_CBOR: &str = "application/concise-problem-details+cbor";
const PROBLEM_JSON: &str = "application/problem+json";

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map_or("", String::as_str)
}

async fn still_signs(setup: &Setup) {
    let body = Evidence::of(setup).request("vn-moh-ec", [&Person::with_doses(1)]);
    assert_eq!(Client::new(setup).sign(body).await.unwrap().statuses(), ["issued"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_methods_and_media_types() {
    // Unknown paths, methods, types and codings get their own code on a connection that stays; 405
    // names the method that there is; every answer is told not to be stored.
    let setup = Setup::new();
    let _daemon = Daemon::ready(&setup);
    let mut session = Session::open(&Client::new(&setup)).await.unwrap();
    let (get, post) = (Method::GET, Method::POST);
    let json = ("content-type", "application/json");
    let gzip = ("content-encoding", "gzip");
    let html = ("accept", "text/html");
    type Ask<'a> = (&'a Method, &'a str, &'a [(&'a str, &'a str)]);
    let cases: &[(Ask<'_>, u16, &str, &str)] = &[
        ((&get, "/", &[]), 404, "http.not_found", ""),
        ((&get, "/v1/batches/", &[]), 404, "http.not_found", ""),
        ((&post, "/v1/Batches", &[CBOR]), 404, "http.not_found", ""),
        ((&get, "/metrics", &[]), 404, "http.not_found", ""),
        ((&get, "/v1/batches", &[]), 405, "http.method_not_allowed", "POST"),
        ((&Method::PUT, "/v1/batches/preview", &[CBOR]), 405, "http.method_not_allowed", "POST"),
        ((&Method::DELETE, "/v1/trust-list", &[]), 405, "http.method_not_allowed", "GET"),
        ((&Method::OPTIONS, "/v1/batches", &[]), 405, "http.method_not_allowed", "POST"),
        ((&get, "/v1/trust-list", &[html]), 406, "http.not_acceptable", ""),
        ((&post, "/v1/batches", &[CBOR, html]), 406, "http.not_acceptable", ""),
        ((&post, "/v1/batches", &[]), 415, "http.unsupported_media_type", ""),
        ((&post, "/v1/batches", &[json]), 415, "http.unsupported_media_type", ""),
        ((&post, "/v1/batches/preview", &[CBOR, gzip]), 415, "http.unsupported_media_type", ""),
        (
            (&post, "/v1/batches", &[("content-type", "application/cbor-seq")]),
            415,
            "http.unsupported_media_type",
            "",
        ),
        (
            (&post, "/v1/batches", &[("content-type", "Application/CBOR; x=y")]),
            400,
            "cbor.malformed",
            "",
        ),
    ];
    for ((method, path, headers), status, code, allow) in cases {
        let answer = session.send(request((*method).clone(), path, headers, "")).await.unwrap();
        let what = format!("{method} {path} {headers:?}");
        assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{what}");
        assert_eq!(header(&answer, "allow"), *allow, "{what}");
        assert_eq!(header(&answer, "content-type"), PROBLEM_CBOR, "{what}");
        assert_eq!(header(&answer, "cache-control"), "no-store", "{what}");
        assert!(
            answer.cbor().as_map().unwrap().iter().any(|(k, _)| *k == Value::from(-2)),
            "{what}: no detail"
        );
    }
    still_signs(&setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_in_cbor_and_json_say_the_same() {
    // Problems, batches and the trust list come in CBOR by default and in JSON on request, with the
    // same members; the request id comes back when it is plain, and is made when it is not.
    let setup = Setup::new();
    let _daemon = Daemon::ready(&setup);
    let client = Client::new(&setup);
    let send = async |method, path: &str, headers: &[(&str, &str)], body: Vec<u8>| {
        client.send(request(method, path, headers, body)).await.unwrap()
    };
    for accept in ["application/json", PROBLEM_JSON, "application/problem+json, application/cbor"] {
        let answer =
            send(Method::POST, "/v1/batches", &[CBOR, ("accept", accept)], vec![0xa1]).await;
        // With problem+json alone there is no form for a good answer.
        let status = if accept == PROBLEM_JSON { 406 } else { 400 };
        assert_eq!((answer.status, header(&answer, "content-type")), (status, PROBLEM_JSON));
        let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(problem["status"], status);
        if status == 400 {
            assert_eq!(
                (&problem["code"], &problem["offset"]),
                (&"cbor.malformed".into(), &1.into())
            );
            assert_eq!(problem["type"], "tag:signerd,2026:problem:cbor.malformed");
            assert!(problem["title"].is_string() && problem["detail"].is_string());
        }
    }
    let plain =
        send(Method::GET, "/v1/trust-list", &[("x-request-id", "night_run-7.1")], vec![]).await;
    assert_eq!(header(&plain, "x-request-id"), "night_run-7.1");
    assert_eq!(header(&plain, "content-type"), "application/cbor");
    assert_eq!(header(&plain, "cache-control"), "no-store");
    for odd in ["", "two words", "<script>", "Nguyễn", &"x".repeat(65)] {
        let answer = send(Method::GET, "/v1/nowhere", &[("x-request-id", odd)], vec![]).await;
        let made = header(&answer, "x-request-id");
        assert!(uuid::Uuid::parse_str(made).is_ok(), "{odd:?}: {made:?}");
    }
    let json = send(Method::GET, "/v1/trust-list", &[("accept", "application/json")], vec![]).await;
    assert_eq!(header(&json, "content-type"), "application/json");
    agree(&plain.cbor(), &serde_json::from_slice(&json.body).unwrap());
    let signers: Vec<Value> = plain.cbor().into_array().unwrap();
    let rows = signers.iter().map(|signer| {
        let number = |name| i128::from(member(signer, name).as_integer().unwrap());
        let text = |name| member(signer, name).into_text().unwrap();
        let certificate = member(signer, "certificate").into_bytes().unwrap();
        let digest = <sha2::Sha256 as sha2::Digest>::digest(&certificate);
        assert_eq!(member(signer, "kid").into_bytes().unwrap(), digest[..8]);
        let file = setup.path(&format!("pki/dsc/{}.pem", text("issuer")));
        let own = <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_file(file);
        assert_eq!(certificate, own.unwrap().to_vec());
        assert!(number("not_before") < i128::from(record::now()));
        assert!(number("not_after") > i128::from(record::now()));
        (text("issuer"), number("alg"), text("state"))
    });
    let row = |issuer: &str, alg| (issuer.to_owned(), alg, "active".to_owned());
    assert_eq!(rows.collect::<Vec<_>>(), [row("vn-moh", -37), row("vn-moh-ec", -7)]);
    // A batch that is replayed in the other form.
    let evidence = Evidence::of(&setup);
    let unfit = Person::with_doses(1).holder("national_id", None);
    let body = evidence.request("vn-moh-ec", [&Person::with_doses(2), &unfit]);
    let headers = [CBOR, ("accept", "application/json")];
    let json = send(Method::POST, "/v1/batches", &headers, body.clone()).await;
    let cbor = client.sign(body).await.unwrap();
    assert_eq!(cbor.statuses(), ["issued", "rejected"]);
    assert_eq!(header(&cbor, "idempotency-replayed"), "true");
    assert_eq!(header(&json, "idempotency-replayed"), "");
    agree(&cbor.cbor(), &serde_json::from_slice(&json.body).unwrap());
}

/// The same value in both forms, bytes as base64url without padding.
fn agree(cbor: &Value, json: &serde_json::Value) {
    match (cbor, json) {
        (Value::Array(items), serde_json::Value::Array(others)) => {
            assert_eq!(items.len(), others.len());
            items.iter().zip(others).for_each(|(item, other)| agree(item, other));
        }
        (Value::Map(pairs), serde_json::Value::Object(object)) => {
            assert_eq!(pairs.len(), object.len());
            pairs.iter().for_each(|(key, value)| agree(value, &object[key.as_text().unwrap()]));
        }
        (Value::Text(text), json) => assert_eq!(json, text.as_str()),
        (Value::Integer(number), json) => {
            assert_eq!(json.as_i64().map(i128::from), Some(i128::from(*number)));
        }
        (Value::Bytes(bytes), json) => {
            assert_eq!(json, &data_encoding::BASE64URL_NOPAD.encode(bytes));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_check_that_fails_answers() {
    // Of several faults the one that the contract checks first is told: route, 415, 413, 400, issuer,
    // 409, 422.
    let setup = Setup::new();
    let _daemon = Daemon::ready(&setup);
    let evidence = Evidence::of(&setup);
    let (client, other) = (Client::new(&setup), Client::named(&setup, "client-other"));
    let head = |path: &str, media: &str, length: usize| {
        let line = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}\r\n");
        // Who asks first is answered at once, whatever it would send.
        let rest = format!("Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n");
        vec![(line + &rest).into_bytes()]
    };
    let (media, huge) = ("application/cbor", 100_000_000);
    for (path, media, length, code) in [
        ("/v1/nowhere", "text/plain", huge, "http.not_found"),
        ("/v1/batches", "text/plain", huge, "http.unsupported_media_type"),
        ("/v1/batches", media, huge, "http.too_large"),
        ("/v1/batches", media, 0, "cbor.malformed"),
    ] {
        assert_eq!(exchange(&other, head(path, media, length)).await.unwrap().code(), code);
    }
    let id = Value::Bytes(vec![1; 16]);
    let with_id = |issuer: &str, people: usize| {
        let person = evidence.entry(&Person::with_doses(1));
        let mut request = record::request(issuer, vec![person; people]);
        set(&mut request, "batch_id", Some(id.clone()));
        encode(&request)
    };
    let code = async |client: &Client, body: Vec<u8>| client.sign(body).await.unwrap().code();
    assert_eq!(client.sign(with_id("vn-moh-ec", 1)).await.unwrap().statuses(), ["issued"]);
    // A forbidden issuer before the conflict, a conflict before the limits.
    assert_eq!(code(&other, with_id("vn-moh-ec", 1)).await, "issuer.not_allowed");
    assert_eq!(code(&client, with_id("nobody", 1)).await, "issuer.not_allowed");
    assert_eq!(code(&client, with_id("vn-moh-ec", 1_001)).await, "batch.conflict");
    assert_eq!(code(&client, with_id("vn-moh-ec", 2)).await, "batch.conflict");
    still_signs(&setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_100_megabytes_is_refused_whatever_its_head_says() {
    // 100 MB get 413, announced, chunked or announced too small; the client can read the answer, and
    // the daemon's memory does not grow by the body.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let client = Client::new(&setup);
    still_signs(&setup).await;
    let memory = || {
        let status = format!("/proc/{}/status", daemon.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(status).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1_000
    };
    let before = memory();
    let head = |extra: &str| {
        let line = "POST /v1/batches HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/cbor";
        format!("{line}\r\n{extra}\r\n\r\n").into_bytes()
    };
    let body = || std::iter::repeat_n(vec![0x81; 1_000_000], 100);
    let chunk = || body().map(|piece| [b"F4240\r\n".to_vec(), piece, b"\r\n".to_vec()].concat());
    let announced = std::iter::once(head("Content-Length: 100000000")).chain(body());
    let answer = exchange(&client, announced).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (413, "http.too_large"));
    let end = std::iter::once(b"0\r\n\r\n".to_vec());
    let chunked = std::iter::once(head("Transfer-Encoding: chunked")).chain(chunk()).chain(end);
    let answer = exchange(&client, chunked).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (413, "http.too_large"));
    // Announced as 10 bytes: these are the request, and the rest is no request at all.
    let too_small = std::iter::once(head("Content-Length: 10")).chain(body());
    let answer = exchange(&client, too_small).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (400, "cbor.malformed"));
    // Not announced: without a length there is no body.
    let silent = std::iter::once(head("X-Nothing: at all")).chain(body());
    let answer = exchange(&client, silent).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (400, "cbor.malformed"));
    let beyond_any_number = head("Content-Length: 99999999999999999999999");
    assert_eq!(exchange(&client, [beyond_any_number]).await.unwrap().status, 400);
    let grown = memory() - before;
    assert!(grown < 60, "memory grew by {grown} MB");
    still_signs(&setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_and_fast_clients_are_held_back() {
    // A body that does not come gets 408 and a head that does not come no answer; doses beyond the
    // rate get 429 and the seconds to wait, a replay costs nothing, limits are told before the rate,
    // and what was held back is signed under its own id later.
    let setup = Setup::new();
    setup.change("signerd.toml", "doses_per_second = 100000", "doses_per_second = 1");
    setup.change("signerd.toml", "burst = 100000", "burst = 6");
    setup.change(
        "signerd.toml",
        "[clock]",
        "[limits]\nbody_seconds = 1\nheader_seconds = 1\n[clock]",
    );
    let daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let head = "POST /v1/batches HTTP/1.1\r\nHost: x\r\nContent-Type: application/cbor\r\n";
    let slow = format!("{head}Content-Length: 100\r\n\r\nabc").into_bytes();
    let answer = exchange(&client, [slow]).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (408, "http.timeout"));
    assert!(exchange(&client, [head.as_bytes().to_vec()]).await.is_err());

    let batch = |doses: &[usize]| {
        let people: Vec<Person> = doses.iter().map(|doses| Person::with_doses(*doses)).collect();
        evidence.request("vn-moh-ec", &people)
    };
    let first = batch(&[3, 3]);
    assert_eq!(client.sign(first.clone()).await.unwrap().statuses(), ["issued", "issued"]);
    let late = batch(&[2, 3]);
    let refused = client.sign(late.clone()).await.unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate.exceeded"));
    let seconds: u64 = header(&refused, "retry-after").parse().unwrap();
    assert!((1..=6).contains(&seconds), "{seconds}");
    assert_eq!(refused.problem("retry_after"), Some(seconds.into()));
    for _ in 0..3 {
        let replay = client.sign(first.clone()).await.unwrap();
        assert_eq!(header(&replay, "idempotency-replayed"), "true");
    }
    let twice = Person::with_doses(1);
    // More than ever fits, and one dose twice: to be told to wait would be of no use.
    for (body, code) in [
        (batch(&[3, 3, 1]), "batch.over_limit"),
        (encode(&record::request("vn-moh", vec![Value::Bytes(vec![]); 1_001])), "batch.over_limit"),
        (evidence.request("vn-moh", [&twice, &twice]), "batch.duplicate_record"),
    ] {
        let answer = client.sign(body).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (422, code));
    }
    // The time that was told is the rule under test.
    tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
    assert_eq!(client.sign(late).await.unwrap().statuses(), ["issued", "issued"]);
    assert_eq!(daemon.metric("signerd_rate_limited_total{client=\"moh-issuing\"}"), 1.0);
    assert!(daemon.stop().success());
}
