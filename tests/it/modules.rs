//! The whole way of a batch on each PKCS#11 module that can be had without hardware.
//!
//! One suite for all of them, and what only one of them can show: kryoptic counts wrong PINs and locks, the
//! server behind p11-kit can vanish and can hang.

use std::time::Duration;

use rustix::process::Signal;
use signerd_tests::modules::{Module, Server};
use signerd_tests::pool::{both_live, limit_to_two};
use signerd_tests::{Answer, Batch, Client, Daemon, Evidence, Setup, Verifier};

use crate::log::{Checkpoint, checkpoint_beyond};
use crate::pin::{WRONG, clear_latch, is_latched, is_refused, write_pin};

const ISSUERS: [&str; 2] = ["vn-moh", "vn-moh-ec"];
const PEOPLE: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_signing_suite_runs_on_softhsm() {
    signing_suite(Module::SoftHsm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_signing_suite_runs_on_kryoptic() {
    signing_suite(Module::Kryoptic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_signing_suite_runs_on_nss() {
    signing_suite(Module::Nss).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_signing_suite_runs_on_p11_kit() {
    signing_suite(Module::P11Kit).await;
}

/// Batches of both issuers verify elsewhere, are answered again with the same bytes, also after a restart,
/// and are in a log that the module's audit key signed; a wrong PIN is tried once.
async fn signing_suite(module: Module) {
    let Some((setup, _server)) = module.setup() else { return };
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let daemon = Daemon::ready(&setup);
    let sent = ISSUERS.map(|issuer| Batch::about(&evidence, issuer, PEOPLE));
    let mut answers = Vec::new();
    for batch in &sent {
        answers.push(issued(client.sign(batch.body.clone()).await, PEOPLE));
    }
    let verifier = Verifier::of(&setup);
    assert!(answers.iter().all(|answer| verifier.verify(answer) == 2 * PEOPLE));
    replays(&client, &sent, &answers).await;
    assert!(daemon.stop().success());

    let daemon = Daemon::ready(&setup);
    replays(&client, &sent, &answers).await;
    issued(client.sign(Batch::about(&evidence, "vn-moh", 1).body).await, 1);
    // Of the three batches each certificate has an entry at least.
    let certificates = u64::try_from(4 * PEOPLE + 2).unwrap();
    let note = checkpoint_beyond(&client, certificates).await;
    assert!(Checkpoint::of(&note).is_signed(&setup));
    assert!(daemon.stop().success());

    a_wrong_pin_is_latched_and_mended(&setup, &client, &evidence).await;
}

fn issued(answer: std::io::Result<Answer>, people: usize) -> Answer {
    let answer = answer.unwrap();
    assert_eq!(answer.statuses(), vec!["issued"; people]);
    answer
}

async fn replays(client: &Client, sent: &[Batch], answers: &[Answer]) {
    for (batch, answer) in sent.iter().zip(answers) {
        let again = client.sign(batch.body.clone()).await.unwrap();
        assert_eq!(again.headers.get("idempotency-replayed").map(String::as_str), Some("true"));
        assert_eq!(again.body, answer.body);
    }
}

async fn a_wrong_pin_is_latched_and_mended(setup: &Setup, client: &Client, evidence: &Evidence) {
    let right = setup.text("secrets/user-pin");
    write_pin(setup, WRONG);
    let mut daemon = Daemon::start(setup);
    is_latched(&mut daemon);
    is_refused(client, &Batch::about(evidence, "vn-moh", 1)).await;
    let told = daemon.log().matches("the token refused the PIN: C_Login gave PinIncorrect").count();
    // Once by the worker, once by the front that it told: there was one try.
    assert_eq!(told, 2, "{}", daemon.log());
    write_pin(setup, &right);
    clear_latch(setup);
    daemon.wait_until("ready", |daemon| daemon.observe("/readyz").0 == 200);
    issued(client.sign(Batch::about(evidence, "vn-moh", 1).body).await, 1);
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_counts_tries_is_not_locked_by_restarts() {
    // A token that locks at the tenth wrong PIN is started upon twelve times with a wrong one: the right
    // one is taken after that.
    let Some((setup, _server)) = Module::Kryoptic.setup() else { return };
    let right = setup.text("secrets/user-pin");
    write_pin(&setup, WRONG);
    for _ in 0..12 {
        let mut daemon = Daemon::start(&setup);
        is_latched(&mut daemon);
        assert!(daemon.stop().success());
    }
    write_pin(&setup, &right);
    clear_latch(&setup);
    assert!(Daemon::ready(&setup).stop().success());
}

/// A set-up behind a server, with short deadlines and both workers live; nothing where it is skipped.
fn behind_a_server() -> Option<(Setup, Server, Daemon)> {
    let (setup, server) = Module::P11Kit.setup()?;
    limit_to_two(&setup, &[("call_deadline_ms", 1_000), ("request_deadline_ms", 5_000)]);
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    Some((setup, server.expect("p11-kit has a server"), daemon))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_and_comes_back_is_used_again() {
    // While the device is gone, as its module says by device errors, batches are refused with 503; once it
    // is back the same daemon signs, and nobody has restarted anything.
    let Some((setup, server, mut daemon)) = behind_a_server() else { return };
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    drop(server);
    let batch = Batch::about(&evidence, "vn-moh-ec", 1);
    let refused = client.sign(batch.body.clone()).await.unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (503, "hsm.unavailable"));
    assert!(daemon.log().contains("DeviceError"), "{}", daemon.log());
    daemon.wait_until("telling", |daemon| daemon.observe("/readyz").0 == 503);

    let _server = Server::start(&setup);
    daemon.wait_until("ready", |daemon| daemon.observe("/readyz").0 == 200);
    issued(client.sign(batch.body).await, 1);
    assert_eq!(daemon.metric("signerd_hsm_pin_latched"), 0.0);
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_does_not_hang_the_daemon() {
    // Calls that never return end their workers at the deadline; the batch is answered in time, and when
    // the server goes on, so does the daemon.
    let Some((setup, server, mut daemon)) = behind_a_server() else { return };
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    server.signal(Signal::STOP);
    let batch = Batch::about(&evidence, "vn-moh", 1);
    let since = std::time::Instant::now();
    let refused = client.sign(batch.body.clone()).await.unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (503, "hsm.unavailable"));
    assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
    assert!(daemon.log().contains("overran its deadline"), "{}", daemon.log());

    server.signal(Signal::CONT);
    daemon.wait_until("ready", |daemon| daemon.observe("/readyz").0 == 200);
    issued(client.sign(batch.body).await, 1);
    assert!(daemon.stop().success());
}
