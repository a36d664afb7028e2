//! Signing windows and the officers who open them: a real daemon, real TLS, and `signerctl window`.

use std::process::Output;

use ciborium::Value;
use rustix::process::Signal;
use serde_json::json;
use signerd_tests::client::{Answer, member};
use signerd_tests::pki::{Authority, Validity};
use signerd_tests::record::{encode, now};
use signerd_tests::{Batch, Client, Daemon, Evidence, Setup, batch, ledger};

const ISSUER: &str = "vn-moh-ec";
const OPEN: &str = "signerd_window_open{issuer=\"vn-moh-ec\"}";
const UNTIL: &str = "signerd_window_override_until_timestamp_seconds{issuer=\"vn-moh-ec\"}";

/// A set-up whose issuer `vn-moh-ec` signs in one hour of the day, half a day from now.
fn closed() -> Setup {
    closed_until().0
}

/// The same, and the second in which the window opens.
fn closed_until() -> (Setup, u64) {
    let setup = Setup::new();
    let opens_at = (now() / 60 + 720) * 60;
    let from = (opens_at / 60 + 7 * 60) % 1_440;
    // Over midnight the end is the smaller one; midnight itself is written as 24:00.
    let to = if from == 1_380 { 1_440 } else { (from + 60) % 1_440 };
    let clock = |minute: u64| format!("{:02}:{:02}", minute / 60, minute % 60);
    let (table, from, to) = (format!("[issuer.{ISSUER}]\n"), clock(from), clock(to));
    setup.change("policy.toml", &table, &format!("{table}signing_window = \"{from}-{to}\"\n"));
    (setup, opens_at)
}

fn opening(until: u64, reason: &str) -> Vec<u8> {
    encode(&Value::Map(vec![
        (Value::Text("until".into()), Value::Integer(until.into())),
        (Value::Text("reason".into()), Value::Text(reason.into())),
    ]))
}

fn closing(reason: &str) -> Vec<u8> {
    encode(&Value::Map(vec![(Value::Text("reason".into()), Value::Text(reason.into()))]))
}

async fn act(officer: &Client, issuer: &str, action: &str, body: Vec<u8>) -> Answer {
    officer.post(&format!("/v1/windows/{issuer}/{action}"), body).await.unwrap()
}

/// Status, code, and whether the seconds after which to repeat stand in header and body alike.
fn refusal(answer: &Answer) -> (u16, String, Option<u64>) {
    let inside = answer.problem("retry_after").and_then(|v| v.into_integer().ok()?.try_into().ok());
    let header = answer.headers.get("retry-after").map(|text| text.parse::<u64>().unwrap());
    assert_eq!(inside, header);
    (answer.status, answer.code(), header)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_officer_opens_the_window_and_closes_it() {
    // Outside its hours an issuer's batches get 503 with the seconds until it opens, while previews and
    // other issuers go on. An officer opens it: the batch passes, also after a restart; an officer closes
    // it: new batches are refused, and what was answered is still answered. Journal and metrics tell.
    let (setup, opens_at) = closed_until();
    let mut daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let officer = Client::officer(&setup, "officer-1");
    let first = Batch::about(&evidence, ISSUER, 2);

    let asked_at = now();
    let (status, code, wait) = refusal(&client.sign(first.body.clone()).await.unwrap());
    assert_eq!((status, code.as_str()), (503, "window.closed"));
    // The daemon read its clock at some second between our two looks.
    let possible = opens_at - now()..=opens_at - asked_at;
    assert!(possible.contains(&wait.unwrap()), "{wait:?} is not in {possible:?}");
    let preview = client.post("/v1/batches/preview", first.body.clone()).await.unwrap();
    assert_eq!(preview.statuses(), ["acceptable", "acceptable"]);
    let other = client.sign(Batch::about(&evidence, "vn-moh", 1).body).await.unwrap();
    assert_eq!(other.statuses(), ["issued"]);
    daemon.wait_until("observing", |daemon| daemon.observe("/metrics").1.contains(OPEN));
    assert_eq!((daemon.metric(OPEN), daemon.metric(UNTIL)), (0.0, 0.0));

    let until = now() + 3_600;
    let opened = act(&officer, ISSUER, "open", opening(until, "đợt bổ sung")).await;
    assert_eq!(opened.status, 200);
    assert_eq!(member(&opened.cbor(), "open"), Value::Bool(true));
    assert_eq!((daemon.metric(OPEN), daemon.metric(UNTIL)), (1.0, until as f64));
    assert_eq!(client.sign(first.body.clone()).await.unwrap().statuses(), ["issued", "issued"]);
    assert!(daemon.stop().success());

    daemon = Daemon::ready(&setup);
    let second = Batch::about(&evidence, ISSUER, 1);
    assert_eq!(client.sign(second.body).await.unwrap().statuses(), ["issued"], "after a restart");
    let second_officer = Client::officer(&setup, "officer-2");
    let closed = act(&second_officer, ISSUER, "close", closing("xong")).await;
    assert_eq!(member(&closed.cbor(), "open"), Value::Bool(false));
    assert_eq!((daemon.metric(OPEN), daemon.metric(UNTIL)), (0.0, 0.0));
    let third = Batch::about(&evidence, ISSUER, 1);
    assert_eq!(refusal(&client.sign(third.body).await.unwrap()).1, "window.closed");
    let replay = client.sign(first.body).await.unwrap();
    assert_eq!(replay.headers["idempotency-replayed"], "true");
    // Closing what is closed changes nothing.
    assert_eq!(act(&officer, ISSUER, "close", closing("nochmal")).await.status, 200);

    let log = daemon.log();
    let line = |what: &str| log.lines().find(|line| line.contains(what)).unwrap_or_default();
    let opened = line("signing window opened by an officer");
    assert!(opened.contains("officer-1:") && opened.contains("đợt bổ sung"), "{log}");
    let closed = line("override of the signing window closed");
    assert!(closed.contains("officer-2:") && closed.contains("xong"), "{log}");
    assert!(!log.contains("nochmal"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_intended_in_time_is_finished_at_any_hour() {
    // An intent that a crash left open is carried out outside the window, with the identifiers that were
    // written down within it.
    let setup = closed();
    let daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let officer = Client::officer(&setup, "officer-1");
    assert_eq!(act(&officer, ISSUER, "open", opening(now() + 600, "r")).await.status, 200);
    let signed = Batch::about(&evidence, ISSUER, 2);
    let answer = client.sign(signed.body.clone()).await.unwrap();
    assert_eq!(act(&officer, ISSUER, "close", closing("r")).await.status, 200);
    assert!(daemon.stop().success());
    ledger::forget_answer(&setup, &signed.id);

    let _daemon = Daemon::ready(&setup);
    let new = client.sign(Batch::about(&evidence, ISSUER, 1).body).await.unwrap();
    assert_eq!(refusal(&new).1, "window.closed");
    let resumed = client.sign(signed.body).await.unwrap();
    assert_eq!(batch::certificates(&resumed), batch::certificates(&answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_no_officers_and_officers_no_clients() {
    // Each listener takes the certificates of its own authority alone; a revoked officer is refused, an
    // officer without a usable name is told so, and who comes without a certificate gets no answer.
    let setup = Setup::new();
    let authority = Authority::of(&setup, "officer-ca");
    authority.issue("revoked", Validity::Now, "extendedKeyUsage=clientAuth");
    authority.revoke("revoked");
    authority.list("officer-crl", Validity::Now);
    let _daemon = Daemon::ready(&setup);
    for stranger in ["client", "client-other", "revoked", "ca"] {
        let answer = Client::officer(&setup, stranger).get("/v1/windows").await;
        assert!(answer.is_err(), "{stranger}: {answer:?}");
    }
    for officer in ["officer-1", "revoked"] {
        let answer = Client::named(&setup, officer).get("/v1/trust-list").await;
        assert!(answer.is_err(), "{officer}: {answer:?}");
    }
    for officer in ["officer-1", "officer-2", "officer-3"] {
        let officer = Client::officer(&setup, officer);
        assert_eq!(officer.get("/v1/windows").await.unwrap().status, 200);
        // The routes of the other listener are not here.
        assert_eq!(officer.get("/v1/trust-list").await.unwrap().code(), "http.not_found");
    }
    let client = Client::new(&setup).get("/v1/windows").await.unwrap();
    assert_eq!(client.code(), "http.not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_is_refused_and_opens_nothing() {
    // Times in the past or beyond a day, issuers that do not exist or sign always, bodies that are none:
    // each has its code, and the windows stay as they were.
    let setup = closed();
    let _daemon = Daemon::ready(&setup);
    let officer = Client::officer(&setup, "officer-1");
    let before = officer.get("/v1/windows").await.unwrap();
    let good = || opening(now() + 600, "r");
    for (issuer, body, status, code) in [
        (ISSUER, opening(now() + 90_000, "r"), 422, "window.invalid"),
        (ISSUER, opening(now() - 1, "r"), 422, "window.invalid"),
        (ISSUER, opening(u64::MAX >> 1, "r"), 422, "window.invalid"),
        (ISSUER, opening(u64::MAX, "r"), 400, "request.invalid"),
        (ISSUER, opening(now() + 600, ""), 400, "request.invalid"),
        (ISSUER, opening(now() + 600, &"x".repeat(201)), 400, "request.invalid"),
        (ISSUER, opening(now() + 600, "two\nlines"), 400, "request.invalid"),
        (ISSUER, closing("r"), 400, "request.invalid"),
        (ISSUER, b"\xff".to_vec(), 400, "cbor.malformed"),
        (ISSUER, vec![0; 4_097], 413, "http.too_large"),
        ("vn-moh", good(), 409, "window.always_open"),
        ("no-such-issuer", good(), 404, "issuer.unknown"),
    ] {
        let answer = act(&officer, issuer, "open", body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
    }
    let fetched = officer.get(&format!("/v1/windows/{ISSUER}/open")).await.unwrap();
    assert_eq!(
        (fetched.code().as_str(), fetched.headers["allow"].as_str()),
        ("http.method_not_allowed", "POST")
    );
    assert_eq!(act(&officer, ISSUER, "shut", good()).await.code(), "http.not_found");
    let after = officer.get("/v1/windows").await.unwrap();
    let open = |answer: &Answer| -> Vec<Value> {
        answer.cbor().into_array().unwrap().iter().map(|entry| member(entry, "open")).collect()
    };
    assert_eq!(open(&before), open(&after));
    assert_eq!(open(&after), [Value::Bool(true), Value::Bool(false)], "vn-moh, vn-moh-ec");
}

#[test]
fn the_tool_shows_opens_and_closes() {
    // signerctl window does what the routes do, as a table and as JSON, and says what to do about what
    // it is refused.
    let setup = closed();
    let mut daemon = Daemon::ready(&setup);
    let window = |arguments: &[&str]| -> Output {
        setup.signerctl().arg("window").args(arguments).output().unwrap()
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let shown = text(&window(&["show"]).stdout);
    assert!(shown.contains("vn-moh                always       open"), "{shown}");
    assert!(shown.contains("closed  none; opens in "), "{shown}");

    let asked_at = now();
    let opened =
        window(&["open", "--issuer", ISSUER, "--for", "2h", "--reason", "đợt 2", "--json"]);
    assert!(opened.status.success(), "{}", text(&opened.stderr));
    let entry: serde_json::Value = serde_json::from_slice(&opened.stdout).unwrap();
    assert_eq!(
        (&entry[0]["open"], &entry[0]["override"]["reason"]),
        (&json!(true), &json!("đợt 2"))
    );
    let until = entry[0]["override"]["until"].as_u64().unwrap();
    assert!((asked_at + 7_200..=now() + 7_200).contains(&until));
    let shown = text(&window(&["show", "--issuer", ISSUER]).stdout);
    assert!(shown.contains("open    until ") && shown.contains(" by officer-1:"), "{shown}");
    let closed = window(&["close", "--issuer", ISSUER, "--reason", "xong"]);
    assert!(text(&closed.stdout).contains("closed  none; opens in "), "{}", text(&closed.stderr));

    for (arguments, code, complaint) in [
        (&["open", "--issuer", ISSUER, "--for", "25h", "--reason", "r"][..], 3, "within 24 hours"),
        (&["open", "--issuer", "nobody", "--for", "1h", "--reason", "r"], 3, "window show lists"),
        (&["open", "--issuer", "vn-moh", "--for", "1h", "--reason", "r"], 3, "signs at any time"),
        (&["open", "--issuer", ISSUER, "--for", "soon", "--reason", "r"], 2, "1h30m"),
        (&["open", "--issuer", ISSUER, "--reason", "r"], 2, "--for"),
        (&["open", "--issuer", ISSUER, "--for", "1h"], 2, "--reason"),
        (&["show", "--issuer", "nobody"], 2, "window show lists"),
    ] {
        let refused = window(arguments);
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}");
        assert!(text(&refused.stderr).contains(complaint), "{}", text(&refused.stderr));
    }
    // Who signs outside the window is told at once: repetitions for minutes would not help.
    let (records, output) = (setup.path("records.jsonl"), setup.path("out.jsonl"));
    let mut sample = setup.signerctl();
    assert!(
        sample
            .args(["sample", "--count", "1", "--output"])
            .arg(&records)
            .status()
            .unwrap()
            .success()
    );
    let mut sign = setup.signerctl();
    let signed = sign
        .arg("sign")
        .arg(&records)
        .args(["--quiet", "--issuer", ISSUER, "--output"])
        .arg(&output);
    let signed = signed.output().unwrap();
    assert_eq!(signed.status.code(), Some(4));
    let told = text(&signed.stderr);
    assert!(
        told.contains("after one attempt:") && told.contains("signerctl window open"),
        "{told}"
    );

    setup.change("signerctl.toml", "[officer]", "[sample2]");
    assert_eq!(window(&["show"]).status.code(), Some(2));
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
}

#[test]
fn an_issuer_that_a_reload_drops_has_no_window() {
    // The series of an issuer that the policy no longer names go, those of the others stay.
    let setup = closed();
    let mut daemon = Daemon::ready(&setup);
    let shows = |daemon: &Daemon, series: &str| daemon.observe("/metrics").1.contains(series);
    daemon.wait_until("observing", |daemon| shows(daemon, OPEN) && shows(daemon, UNTIL));
    let text = setup.text("policy.toml");
    let table = format!("[issuer.{ISSUER}]");
    let (before, rest) = text.split_once(&table).unwrap();
    let after = rest.find("\n[").map_or("", |at| rest.split_at(at).1);
    std::fs::write(setup.path("policy.toml"), format!("{before}{after}")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_until("gone", |daemon| !shows(daemon, OPEN) && !shows(daemon, UNTIL));
    let other = OPEN.replace(ISSUER, "vn-moh");
    assert!((daemon.metric(&other) - 1.0).abs() < f64::EPSILON);
}

#[test]
fn an_authority_of_clients_makes_no_officers() {
    // The start refuses an officers' authority that the signing listener trusts too; without the table
    // there is no officers' listener and the rest is good.
    let setup = Setup::new();
    let check = || setup.signerd(&["check"]).output().unwrap();
    assert!(String::from_utf8(check().stdout).unwrap().contains("officers on 127.0.0.1:"));
    setup.change("signerd.toml", "pki/officer-ca.pem", "pki/ca.pem");
    setup.change("signerd.toml", "pki/officer-crl.pem", "pki/crl.pem");
    let refused = check();
    assert_eq!(refused.status.code(), Some(78));
    let complaint = String::from_utf8(refused.stderr).unwrap();
    assert!(complaint.contains("its clients would be officers"), "{complaint}");
    assert!(complaint.contains("an authority of their own"), "{complaint}");
    let text = setup.text("signerd.toml");
    let (before, rest) = text.split_once("[officer]").unwrap();
    let (_, after) = rest.split_once("[observability]").unwrap();
    std::fs::write(setup.path("signerd.toml"), format!("{before}[observability]{after}")).unwrap();
    let good = check();
    assert!(good.status.success());
    assert!(!String::from_utf8(good.stdout).unwrap().contains("officers"));
}
