//! What an administrator sees: metrics that move, and pages that name what is in the way.

use std::collections::{HashMap, HashSet};
use std::process::Command;

use ciborium::Value;
use signerd_tests::{Client, Daemon, Evidence, Person, Setup};

/// Reads the text format strictly: each sample belongs to a family that was described before, once.
fn samples(text: &str) -> HashMap<String, f64> {
    let mut samples = HashMap::new();
    let (mut kinds, mut helps) = (HashMap::new(), HashSet::new());
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            assert!(help.ends_with('.') && helps.insert(name.to_owned()), "{line}");
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            let counts = kind == "counter";
            assert_eq!(name.ends_with("_total"), counts, "{line}");
            assert!(name.starts_with("signerd_"), "{line}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect(line);
            let name = series.split('{').next().unwrap();
            let histogram = ["_bucket", "_sum", "_count"].iter().any(|end| {
                let family = name.strip_suffix(end).and_then(|name| kinds.get(name));
                family.is_some_and(|kind| kind == "histogram")
            });
            assert!(histogram || kinds.contains_key(name), "{line}");
            let value = value.parse().expect(line);
            assert!(samples.insert(series.to_owned(), value).is_none(), "{line}");
        }
    }
    assert_eq!(kinds.len(), helps.len());
    samples
}

/// How much every series grew.
fn growth(before: &HashMap<String, f64>, after: &HashMap<String, f64>) -> HashMap<String, f64> {
    let grown = after.iter().map(|(series, value)| {
        let old = before.get(series).unwrap_or_else(|| panic!("{series} was not there at zero"));
        (series.clone(), value - old)
    });
    grown.filter(|(_, growth)| *growth != 0.0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_well_formed_and_count_what_happens() {
    // The text is what Prometheus expects, every series is there before its first event, and each
    // event moves its own counter by one.
    let setup = Setup::new();
    let mut daemon = Daemon::ready(&setup);
    daemon.wait_until("whole", |daemon| daemon.metric("signerd_hsm_workers_up") == 2.0);
    let metrics = |daemon: &Daemon| {
        let (status, text) = daemon.observe("/metrics");
        assert_eq!(status, 200);
        samples(&text)
    };
    let before = metrics(&daemon);
    assert_eq!(before["signerd_hsm_workers_up"], 2.0);
    assert_eq!(before["signerd_ready"], 1.0);
    assert_eq!(before["signerd_hsm_pin_latched"], 0.0);
    let in_a_year = signerd_tests::record::now() as f64 + 365.0 * 86_400.0;
    for series in [
        "signerd_key_not_after_timestamp_seconds{key=\"vn-moh\"}",
        "signerd_key_not_after_timestamp_seconds{key=\"vn-moh-ec\"}",
        "signerd_tls_cert_not_after_timestamp_seconds",
    ] {
        assert!(before[series] > in_a_year, "{series}");
    }
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let unfit = Person::with_doses(1).dose(0, "product", Value::from("nope"));
    let body = evidence.request("vn-moh", [&Person::with_doses(2), &unfit]);
    client.sign(body.clone()).await.unwrap();
    client.sign(body).await.unwrap();
    client.sign(vec![0x5b]).await.unwrap();
    client.get("/v1/nowhere").await.unwrap();
    assert!(Client::anonymous(&setup).get("/v1/trust-list").await.is_err());
    // A client may know of its refusal before it is counted.
    let refused = "signerd_tls_handshakes_total{result=\"refused\"}";
    daemon.wait_until("counting", |daemon| daemon.metric(refused) == before[refused] + 1.0);
    let grown = growth(&before, &metrics(&daemon));
    let expected = [
        ("signerd_certificates_signed_total{alg=\"PS256\",issuer=\"vn-moh\"}", 2.0),
        ("signerd_records_total{issuer=\"vn-moh\",outcome=\"issued\"}", 1.0),
        ("signerd_records_total{issuer=\"vn-moh\",outcome=\"rejected\"}", 1.0),
        ("signerd_records_rejected_total{reason=\"dose.product_unknown\"}", 1.0),
        ("signerd_idempotent_replays_total", 1.0),
        ("signerd_http_requests_total{code=\"200\",route=\"/v1/batches\"}", 2.0),
        ("signerd_http_requests_total{code=\"400\",route=\"/v1/batches\"}", 1.0),
        ("signerd_http_requests_total{code=\"404\",route=\"other\"}", 1.0),
        ("signerd_http_request_duration_seconds_count{route=\"/v1/batches\"}", 3.0),
        ("signerd_problems_total{code=\"cbor.malformed\"}", 1.0),
        ("signerd_problems_total{code=\"http.not_found\"}", 1.0),
        ("signerd_tls_handshakes_total{result=\"ok\"}", 4.0),
        ("signerd_tls_handshakes_total{result=\"refused\"}", 1.0),
        ("signerd_batch_records_count", 1.0),
        ("signerd_batch_records_sum", 2.0),
    ];
    for (series, growth) in expected {
        assert_eq!(grown.get(series).copied(), Some(growth), "{series}");
    }
    // A head of the log may have been signed as well.
    for (series, least) in [
        ("signerd_ledger_commit_duration_seconds_count", 2.0),
        ("signerd_hsm_sign_duration_seconds_count", 1.0),
        ("signerd_hsm_queue_wait_seconds_count", 1.0),
    ] {
        assert!(grown[series] >= least, "{series}");
    }
    let counters = grown.keys().filter(|series| series.contains("_total"));
    let told = |series: &&String| expected.iter().any(|(name, _)| name == series);
    assert_eq!(counters.clone().filter(|series| !told(series)).collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_say_what_is_in_the_way() {
    // Alive is alive; ready is said in one word, and where a key cannot be used the page names it and
    // says why, batches for it get 503 key.unusable after all other checks, and other keys sign.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    assert_eq!(daemon.observe("/healthz"), (200, "ok\n".into()));
    assert_eq!(daemon.observe("/readyz"), (200, "ready\n".into()));
    assert_eq!(daemon.observe("/").0, 404);
    assert!(daemon.stop().success());
    shorten(&setup, "vn-moh", 20);
    let daemon = Daemon::start(&setup);
    let mut daemon = daemon;
    daemon.wait_until("up with workers", |daemon| daemon.metric("signerd_hsm_workers_up") == 2.0);
    assert_eq!(daemon.observe("/healthz"), (200, "ok\n".into()));
    let (status, text) = daemon.observe("/readyz");
    assert_eq!((status, text.lines().count()), (503, 1), "{text}");
    assert!(text.starts_with("key vn-moh: ") && text.contains("fewer than 30"), "{text}");
    assert_eq!(daemon.metric("signerd_ready"), 0.0);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let person = Person::with_doses(1);
    let sign = async |issuer: &str, people: &[&Person]| {
        client.sign(evidence.request(issuer, people.iter().copied())).await.unwrap()
    };
    let refused = sign("vn-moh", &[&person]).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "key.unusable"));
    assert!(refused.headers["retry-after"].parse::<u64>().unwrap() >= 1);
    let preview = evidence.request("vn-moh", [&person]);
    let preview = client.post("/v1/batches/preview", preview).await.unwrap();
    assert_eq!((preview.status, preview.code().as_str()), (503, "key.unusable"));
    // A batch that cannot be signed anyway is told so first.
    assert_eq!(sign("vn-moh", &[&person, &person]).await.code(), "batch.duplicate_record");
    // The refused batch took nothing: the other issuer certifies the same dose.
    assert_eq!(sign("vn-moh-ec", &[&person]).await.statuses(), ["issued"]);
}

/// Gives a signer key a certificate that ends in so many days.
fn shorten(setup: &Setup, key: &str, days: u16) {
    let path = |file: &str| setup.path(file).display().to_string();
    let certificate = path(&format!("pki/dsc/{key}.pem"));
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let public = openssl(&["x509", "-in", &certificate, "-noout", "-pubkey"]);
    let (public_key, request) = (path("public.pem"), path("request.pem"));
    std::fs::write(&public_key, public).unwrap();
    let (ca, ca_key) = (path("pki/csca.pem"), path("pki/csca.key"));
    openssl(&["req", "-new", "-key", &ca_key, "-subj", "/C=VN/CN=short", "-out", &request]);
    openssl(&[
        "x509",
        "-req",
        "-in",
        &request,
        "-force_pubkey",
        &public_key,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-set_serial",
        "7",
        "-days",
        &days.to_string(),
        "-out",
        &certificate,
    ]);
}
