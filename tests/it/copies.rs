//! Workers that sign with copies of the keys (`[pool] copy_keys`).

use signerd_tests::shim::{Act, Code, Function, Line, Shim};
use signerd_tests::{Client, Daemon, Evidence, Person, Setup};

const ON: &str = "copy_keys = true";
const OFF: &str = "copy_keys = false";

/// Lets the daemon sign a record with either issuer.
async fn signs(setup: &Setup) {
    let (client, evidence) = (Client::new(setup), Evidence::of(setup));
    for issuer in ["vn-moh", "vn-moh-ec"] {
        let body = evidence.request(issuer, [&Person::with_doses(2)]);
        assert_eq!(client.sign(body).await.unwrap().statuses(), ["issued"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_made_once_for_each_session_and_key() {
    // Where they are asked for, each session of each worker copies each of the three keys once and signs
    // with the copies; where they are not, nothing is copied.
    for (copies, member) in [(true, ON), (false, OFF)] {
        let setup = Setup::new();
        setup.change("hsm.toml", ON, member);
        let shim = Shim::under(&setup);
        let mut daemon = Daemon::ready(&setup);
        signs(&setup).await;
        let workers = daemon.workers().len();
        daemon.wait_until("live with all workers", |daemon| {
            daemon.metric("signerd_hsm_workers_up") == f64::from(u32::try_from(workers).unwrap())
        });
        let wanted = if copies { 3 * u64::try_from(workers).unwrap() } else { 0 };
        assert_eq!(shim.tally().calls(Function::C_CopyObject), wanted);
        assert!(daemon.stop().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_copied_is_a_fault_with_a_remedy() {
    // A token that does not copy its keys keeps the daemon unready, with the setting to change; without
    // the setting it signs.
    let setup = Setup::new();
    let shim = Shim::under(&setup);
    let forbidden = Act::Return(Code::CKR_ACTION_PROHIBITED);
    shim.play([Line::on(Function::C_CopyObject, forbidden)]);
    let mut daemon = Daemon::start(&setup);
    daemon.wait_until("telling of it", |daemon| {
        let (status, obstacles) = daemon.observe("/readyz");
        status == 503
            && obstacles.contains("it cannot be used as a copy: C_CopyObject gave ActionProhibited")
            && obstacles.contains("set pool.copy_keys to false")
    });
    assert!(daemon.stop().success());
    setup.change("hsm.toml", ON, OFF);
    let daemon = Daemon::ready(&setup);
    signs(&setup).await;
    assert!(daemon.stop().success());
}
