//! SIGHUP: rules are replaced as one, or kept, and no request is dropped meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use rustix::process::Signal;
use signerd_tests::pki::{Authority, Validity, registration};
use signerd_tests::session::Session;
use signerd_tests::{Client, Daemon, Evidence, Person, Setup};

const ONE_RECORD: (&str, &str) = ("records_max = 1000", "records_max = 1");

/// Asks for a reload and waits until it was counted.
fn reload(daemon: &mut Daemon, result: &str) {
    let series = format!("signerd_config_reloads_total{{result=\"{result}\"}}");
    let before = daemon.metric(&series);
    daemon.signal(Signal::HUP);
    daemon.wait_until("reloaded", |daemon| daemon.metric(&series) > before);
}

async fn two_records(client: &Client, evidence: &Evidence) -> u16 {
    let people = [Person::with_doses(1), Person::with_doses(1)];
    client.sign(evidence.request("vn-moh-ec", &people)).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_brings_new_rules_and_a_bad_file_keeps_them() {
    // After SIGHUP the rules of the file count; a file with a fault is told in the journal, with line and
    // remedy, and the rules in force stay.
    let setup = Setup::new();
    let mut daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    assert_eq!(two_records(&client, &evidence).await, 200);
    setup.change("policy.toml", ONE_RECORD.0, ONE_RECORD.1);
    assert_eq!(two_records(&client, &evidence).await, 200, "nothing was reloaded yet");
    reload(&mut daemon, "ok");
    assert_eq!(two_records(&client, &evidence).await, 422);
    setup.change("policy.toml", ONE_RECORD.1, "records_mx = 1000");
    reload(&mut daemon, "refused");
    assert_eq!(two_records(&client, &evidence).await, 422, "the rules in force stay");
    daemon.wait_until("the fault", |daemon| daemon.log().contains("unknown field `records_mx`"));
    assert!(daemon.log().contains("the rules in force stay"), "{}", daemon.log());
    setup.change("policy.toml", "records_mx = 1000", "records_max = 2");
    reload(&mut daemon, "ok");
    assert_eq!(two_records(&client, &evidence).await, 200);
    assert_eq!(daemon.observe("/readyz").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_dropped_by_reloads() {
    // While rules are reloaded again and again, every request is answered, and by whole rules.
    let setup = Setup::new();
    let mut daemon = Daemon::ready(&setup);
    let evidence = Arc::new(Evidence::of(&setup));
    let done = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let (client, evidence, done) =
                (Client::new(&setup), Arc::clone(&evidence), Arc::clone(&done));
            tokio::spawn(async move {
                let mut answers = 0;
                while !done.load(Ordering::Relaxed) || answers == 0 {
                    assert_eq!(two_records(&client, &evidence).await, 200);
                    answers += 1;
                }
                answers
            })
        })
        .collect();
    for _ in 0..20 {
        reload(&mut daemon, "ok");
    }
    done.store(true, Ordering::Relaxed);
    for sender in senders {
        assert!(sender.await.unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_is_registered_without_a_restart() {
    // A certificate that is registered in a sheet beside the policy signs after a reload, and no more
    // once its registration is suspended.
    let setup = Setup::new();
    let authority = Authority::of(&setup, "facility-ca");
    // The harness signs with RSA; a certificate of its own is enough for another unit.
    std::fs::copy(setup.path("pki/facility.key"), setup.path("pki/facility-new.key")).unwrap();
    authority.issue("facility-new", Validity::Now, "keyUsage=critical,digitalSignature");
    let header = "id,name,areas,certificate_issuer,certificate_serial,certificate_sha256,\
                  certificate_der,certificate_status\n";
    std::fs::write(setup.path("units.csv"), header).unwrap();
    setup.change("policy.toml", "version = 1\n", "version = 1\nregistry = [\"units.csv\"]\n");
    let mut daemon = Daemon::ready(&setup);
    let client = Client::new(&setup);
    let mut evidence = Evidence::of(&setup);
    evidence.facility = signerd_tests::record::StatementKey::of(&setup, "facility-new");
    let reasons = async |evidence: &Evidence| {
        let person = Person::with_doses(1).dose(0, "facility", ciborium::Value::from("U-1"));
        let answer = client.sign(evidence.request("vn-moh-ec", [&person])).await.unwrap();
        answer.codes(0)
    };
    assert_eq!(reasons(&evidence).await, ["facility.certificate_unregistered"]);
    let row = |status: &str| {
        let [issuer, serial, sha256, der] = registration(&setup, "facility-new");
        let text =
            format!("{header}U-1,Trạm y tế,79,\"{issuer}\",{serial},{sha256},{der},{status}\n");
        std::fs::write(setup.path("units.csv"), text).unwrap();
    };
    row("active");
    reload(&mut daemon, "ok");
    assert_eq!(reasons(&evidence).await, [""; 0]);
    row("suspended");
    reload(&mut daemon, "ok");
    assert_eq!(reasons(&evidence).await, ["facility.certificate_unregistered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_facility_is_refused_after_a_reload() {
    // A facility whose certificate is revoked signs until the new list is loaded, and no longer.
    let setup = Setup::new();
    let mut daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let sign = async || {
        let body = evidence.request("vn-moh-ec", [&Person::with_doses(1)]);
        client.sign(body).await.unwrap().codes(0)
    };
    assert_eq!(sign().await, [""; 0]);
    let authority = Authority::of(&setup, "facility-ca");
    authority.revoke("facility");
    authority.list("facility-crl", Validity::Days(30));
    reload(&mut daemon, "ok");
    assert_eq!(sign().await, ["facility.certificate_revoked"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reload_cannot_change_is_told() {
    // A changed hsm.toml is refused as a whole; a changed listener is told to count from the next start.
    let setup = Setup::new();
    let mut daemon = Daemon::ready(&setup);
    setup.change("signerd.toml", "[clock]", "[limits]\nbatches_max = 5\n\n[clock]");
    reload(&mut daemon, "ok");
    daemon.wait_until("told", |daemon| daemon.log().contains("limits of"));
    assert!(daemon.log().contains("counts from the next start"), "{}", daemon.log());
    setup.change("hsm.toml", "sessions = 1", "sessions = 2");
    reload(&mut daemon, "refused");
    daemon
        .wait_until("told", |daemon| daemon.log().contains("not what the daemon was started with"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_revoked_ends_with_its_next_request() {
    // After a reload of the clients' revocation list, an open connection of a revoked client is told
    // `client.unknown`, and no new one is accepted; other clients go on over theirs.
    let setup = Setup::new();
    let authority = Authority::of(&setup, "ca");
    let uri = "subjectAltName=URI:urn:signerd:client:moh-issuing";
    authority.issue("second", Validity::Now, &format!("extendedKeyUsage=clientAuth\n{uri}"));
    let mut daemon = Daemon::ready(&setup);
    let second = Client::named(&setup, "second");
    let mut theirs = Session::open(&second).await.unwrap();
    let mut ours = Session::open(&Client::new(&setup)).await.unwrap();
    assert_eq!(theirs.send(trust_list()).await.unwrap().status, 200);
    assert_eq!(ours.send(trust_list()).await.unwrap().status, 200);
    authority.revoke("second");
    authority.list("crl", Validity::Days(30));
    reload(&mut daemon, "ok");
    assert_eq!(theirs.send(trust_list()).await.unwrap().status, 403);
    assert!(second.get("/v1/trust-list").await.is_err());
    assert_eq!(ours.send(trust_list()).await.unwrap().status, 200);
}

fn trust_list() -> Request<Full<Bytes>> {
    Request::get("/v1/trust-list").header("host", "localhost").body(Full::default()).unwrap()
}
