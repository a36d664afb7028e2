//! A wrong PIN is spent once: an HSM that counts tries must not be locked by restarts.
//!
//! SoftHSM does not count, so the tries are counted between worker and module, by the
//! `pkcs11-spy` of the package `opensc-pkcs11`, which writes down every call.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use signerd_tests::pool::{both_live, two_workers};
use signerd_tests::{Batch, Client, Daemon, Evidence, Setup, process};

pub(super) const WRONG: &str = "00000000";
const LATCHED: &str = "signerd_hsm_pin_latched";

/// The log-ins that reached the module, and those of them that it refused.
struct Tries(Option<PathBuf>);

impl Tries {
    /// Puts the spy between workers and module, if it is installed.
    fn watch(setup: &Setup) -> Self {
        let folders = fs::read_dir("/usr/lib").into_iter().flatten().filter_map(Result::ok);
        let spies = folders.map(|folder| folder.path().join("pkcs11-spy.so"));
        let Some(spy) = spies.into_iter().find(|spy| spy.exists()) else {
            eprintln!("SKIPPED: counting log-ins: pkcs11-spy.so of opensc-pkcs11 is not there");
            return Self(None);
        };
        let text = setup.text("hsm.toml");
        let path = text.lines().find(|line| line.starts_with("path = ")).expect("a module");
        let module = path.trim_start_matches("path = ");
        let calls = setup.path("calls");
        setup.change("hsm.toml", path, &format!("path = \"{}\"", spy.display()));
        let spied = format!(
            "environment = {{ PKCS11SPY = {module}, PKCS11SPY_OUTPUT = \"{}\",",
            calls.display()
        );
        setup.change("hsm.toml", "environment = {", &spied);
        Self(Some(calls))
    }

    /// Asserts how many there were, since the daemon was first started.
    fn are(&self, all: usize, refused: usize) {
        let Some(calls) = &self.0 else { return };
        let calls = fs::read_to_string(calls).unwrap_or_default();
        let logins = calls.lines().filter(|line| line.ends_with(": C_Login")).count();
        let incorrect = calls.matches("CKR_PIN_INCORRECT").count();
        assert_eq!((logins, incorrect), (all, refused));
    }
}

pub(super) fn write_pin(setup: &Setup, pin: &str) {
    // Writing keeps the mode of the file.
    fs::write(setup.path("secrets/user-pin"), pin).unwrap();
}

pub(super) fn clear_latch(setup: &Setup) -> String {
    let output = setup.signerd(&["hsm", "clear-pin-latch"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(super) fn is_latched(daemon: &mut Daemon) {
    daemon.wait_until("latched", |daemon| {
        let (status, obstacles) = daemon.observe("/readyz");
        status == 503 && obstacles.contains("wrong PIN latched; mend it, then: signerd hsm clear-")
    });
    assert_eq!(daemon.metric(LATCHED), 1.0);
    assert_eq!(daemon.observe("/healthz").0, 200);
}

/// Asserts that a batch is refused, and that nobody waits for what only a person can mend.
pub(super) async fn is_refused(client: &Client, batch: &Batch) {
    let since = Instant::now();
    let refused = client.sign(batch.body.clone()).await.unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (503, "hsm.unavailable"));
    assert!(refused.headers.contains_key("retry-after"));
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pin_is_tried_once_and_mended_without_a_restart() {
    // With a wrong PIN: one try, a latch, 503 at once, and no further try by workers or by a restart
    // of the daemon. Clearing the latch allows one more; with the right PIN it heals the running
    // daemon, whose log has the remedy and no PIN.
    let setup = two_workers(&[]);
    let tries = Tries::watch(&setup);
    let right = setup.text("secrets/user-pin");
    write_pin(&setup, WRONG);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let batch = Batch::about(&evidence, "vn-moh-ec", 1);
    let latch = setup.path("state/pin-latch");

    let mut daemon = Daemon::start(&setup);
    is_latched(&mut daemon);
    is_refused(&client, &batch).await;
    tries.are(1, 1);
    let told = daemon.log().matches("the token refused the PIN: C_Login gave PinIncorrect").count();
    // Once by the worker, once by the front that it told.
    assert_eq!(told, 2, "{}", daemon.log());
    let first_latch = fs::read_to_string(&latch).unwrap();
    assert!(first_latch.contains("signerd hsm clear-pin-latch"), "{first_latch}");
    assert!(daemon.stop().success());

    let mut daemon = Daemon::start(&setup);
    is_latched(&mut daemon);
    is_refused(&client, &batch).await;
    tries.are(1, 1);
    // Cleared too early, one more try is spent, and no other.
    assert!(clear_latch(&setup).contains("latch is cleared"));
    daemon.wait_until("latched again", |_| latch.exists());
    is_latched(&mut daemon);
    tries.are(2, 2);

    write_pin(&setup, &right);
    assert!(clear_latch(&setup).contains("latch is cleared"));
    daemon.wait_until("ready", |daemon| daemon.observe("/readyz").0 == 200);
    both_live(&mut daemon);
    assert_eq!(daemon.metric(LATCHED), 0.0);
    assert_eq!(client.sign(batch.body).await.unwrap().statuses(), ["issued"]);
    tries.are(4, 2);
    assert!(clear_latch(&setup).contains("there was no latch"));
    let log = daemon.log();
    assert!(log.contains("clear-pin-latch") && !log.contains(&right) && !log.contains(WRONG));
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_logged_in_go_on_when_the_pin_goes_wrong() {
    // A worker that is lost after the PIN file was spoilt costs one try; the other one signs on, while
    // a metric tells of the latch. When that one is lost, too, nobody tries.
    let setup = two_workers(&[]);
    let tries = Tries::watch(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    write_pin(&setup, WRONG);
    process::signal(&daemon.workers()[..1], Signal::KILL);
    daemon.wait_until("telling of the latch", |daemon| {
        daemon.observe("/readyz").0 == 200 && daemon.metric(LATCHED) == 1.0
    });
    let batch = Batch::about(&evidence, "vn-moh-ec", 1);
    assert_eq!(client.sign(batch.body).await.unwrap().statuses(), ["issued"]);
    process::signal(&daemon.workers(), Signal::KILL);
    is_latched(&mut daemon);
    is_refused(&client, &Batch::about(&evidence, "vn-moh-ec", 1)).await;
    tries.are(3, 1);
    assert!(daemon.stop().success());
}
