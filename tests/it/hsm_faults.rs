//! The daemon with an HSM that fails as a script says.

use std::time::{Duration, Instant};

use signerd_tests::pool::{LIVE, both_live, hasty, two_workers};
use signerd_tests::shim::{Act, Back, Code, Function, Line, LogIn, Shim, State, TokenFlag};
use signerd_tests::{Batch, Client, Daemon, Evidence, Setup};

use super::pin::{WRONG, clear_latch, is_latched, write_pin};

// Through the module without a fault, the daemon is ready after one log-in for each worker.
#[test]
fn a_daemon_is_ready_through_the_module() {
    let setup = two_workers(&[]);
    let shim = Shim::under(&setup);
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    let workers = u64::try_from(daemon.workers().len()).unwrap();
    let tally = shim.tally();
    assert_eq!(tally.calls(Function::C_Initialize), workers);
    assert_eq!((tally.log_ins(LogIn::Right), tally.log_ins(LogIn::Wrong)), (workers, 0));
    assert!(tally.calls(Function::C_Sign) >= 3 * workers, "each proves its three keys");
    assert_eq!(tally.injected_at_all(), 0);
}

// A module that does not initialise is tried again until it does.
#[test]
fn a_module_that_fails_at_first_is_tried_again() {
    let setup = Setup::new();
    let shim = Shim::under(&setup);
    shim.play([Line::on(Function::C_Initialize, Act::Return(Code::CKR_DEVICE_ERROR)).times(3)]);
    let _daemon = Daemon::ready(&setup);
    let tally = shim.tally();
    assert_eq!(tally.injected(Function::C_Initialize, "return"), 3);
    assert_eq!(tally.log_ins(LogIn::Wrong), 0);
}

// Without a token at the start the daemon is up, says what is missing, answers 503, and is ready by itself
// soon after the token is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_the_hsm_is_ready_when_it_appears() {
    let setup = hasty();
    let shim = Shim::under(&setup);
    shim.play([Line::token(State::Away(Back::Process))]);
    let mut daemon = Daemon::start(&setup);
    daemon.wait_until("telling what is missing", |daemon| {
        let (status, obstacles) = daemon.observe("/readyz");
        status == 503
            && obstacles.contains("token \"signerd-dev\"")
            && obstacles.contains("it is not there")
    });
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let batch = Batch::about(&evidence, "vn-moh-ec", 1);
    let refused = client.sign(batch.body.clone()).await.unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (503, "hsm.unavailable"));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(shim.tally().calls(Function::C_Login), 0);
    // Nobody has to change a file for it.
    let faults =
        |kind| daemon.metric(&format!("signerd_hsm_worker_faults_total{{kind=\"{kind}\"}}"));
    assert!(faults("token") > 0.0 && faults("config") == 0.0);
    shim.mend();
    let since = Instant::now();
    daemon.wait_until("ready", |daemon| daemon.observe("/readyz").0 == 200);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert_eq!(client.sign(batch.body).await.unwrap().statuses(), ["issued"]);
    assert!(daemon.stop().success());
}

// A token that has read/write sessions only, as AWS CloudHSM, signs like any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_read_only_sessions_signs() {
    let setup = two_workers(&[]);
    let shim = Shim::under(&setup);
    shim.play([Line::token(State::ReadWriteOnly)]);
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    let batch = Batch::about(&Evidence::of(&setup), "vn-moh", 20);
    assert_eq!(Client::new(&setup).sign(batch.body).await.unwrap().statuses(), vec!["issued"; 20]);
    let tally = shim.tally();
    let workers = u64::try_from(daemon.workers().len()).unwrap();
    // One keeps the log-in and one signs, and each was asked for read-only first.
    assert_eq!(tally.injected(Function::C_OpenSession, "read-write-only"), 2 * workers);
    assert_eq!(tally.log_ins(LogIn::Wrong), 0);
    assert!(daemon.stop().success());
}

// A token that shows that its PIN has one try left, or none, is not logged in to at a start, nor at the next
// one, although it shows nothing any more: until a person clears the latch.
#[test]
fn a_last_try_is_left_to_a_person() {
    for flag in [TokenFlag::CKF_USER_PIN_FINAL_TRY, TokenFlag::CKF_USER_PIN_LOCKED] {
        let setup = hasty();
        let shim = Shim::under(&setup);
        shim.play([Line::on(Function::C_GetTokenInfo, Act::Flag(flag))]);
        let mut daemon = Daemon::start(&setup);
        is_latched(&mut daemon);
        assert!(daemon.stop().success());
        shim.mend();
        let mut daemon = Daemon::start(&setup);
        is_latched(&mut daemon);
        assert_eq!(shim.tally().calls(Function::C_Login), 0);
        clear_latch(&setup);
        daemon.wait_until("ready", |daemon| daemon.observe("/readyz").0 == 200);
        assert_eq!(shim.tally().log_ins(LogIn::Wrong), 0);
        assert!(daemon.stop().success());
    }
}

// A wrong PIN file costs a token that counts tries one of them, however many workers there are and however
// often the daemon starts.
#[test]
fn a_wrong_pin_costs_one_try() {
    let setup = hasty();
    let shim = Shim::under(&setup);
    shim.play([Line::token(State::PinTries(3))]);
    let right = setup.text("secrets/user-pin");
    write_pin(&setup, WRONG);
    for _ in 0..2 {
        let mut daemon = Daemon::start(&setup);
        is_latched(&mut daemon);
        assert!(daemon.stop().success());
    }
    let tally = shim.tally();
    assert_eq!((tally.calls(Function::C_Login), tally.log_ins(LogIn::Wrong)), (1, 1));
    write_pin(&setup, &right);
    clear_latch(&setup);
    assert!(Daemon::ready(&setup).stop().success());
    assert_eq!(shim.tally().log_ins(LogIn::Wrong), 1);
}

// A worker that has to log in again after the PIN file was spoilt spends one try; from then on nobody logs in,
// in this process or another one, and the worker that is logged in signs on.
#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_was_refused_is_not_used_on_the_ladder() {
    let setup = hasty();
    let shim = Shim::under(&setup);
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let issued = async || {
        let batch = Batch::about(&evidence, "vn-moh-ec", 1);
        client.sign(batch.body).await.unwrap()
    };
    let right = setup.text("secrets/user-pin");
    write_pin(&setup, WRONG);
    let begin = shim.tally();
    let log_out = || Line::on(Function::C_SignInit, Act::LogOut).times(1);
    shim.play([Line::token(State::PinTries(3)), log_out()]);
    assert_eq!(issued().await.statuses(), ["issued"], "by the other worker");
    daemon.wait_until("telling of the latch", |daemon| {
        daemon.metric("signerd_hsm_pin_latched") == 1.0 && daemon.metric(LIVE) == 1.0
    });
    shim.play([Line::token(State::PinTries(3)), log_out()]);
    let refused = issued().await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "hsm.unavailable"));
    is_latched(&mut daemon);
    let tally = shim.tally().since(&begin);
    assert_eq!((tally.calls(Function::C_Login), tally.log_ins(LogIn::Wrong)), (1, 1));

    write_pin(&setup, &right);
    clear_latch(&setup);
    both_live(&mut daemon);
    assert_eq!(issued().await.statuses(), ["issued"]);
    // The same where the token says beforehand that the next wrong one would be the last.
    let begin = shim.tally();
    let last = Line::on(Function::C_GetTokenInfo, Act::Flag(TokenFlag::CKF_USER_PIN_FINAL_TRY));
    shim.play([last, Line::on(Function::C_SignInit, Act::LogOut)]);
    assert_eq!(issued().await.status, 503);
    is_latched(&mut daemon);
    assert_eq!(shim.tally().since(&begin).calls(Function::C_Login), 0);
    assert!(daemon.stop().success());
}

// Where nothing that a worker can make anew helps, the log says how far it came; and where no start helps
// either, starts come fewer and fewer, so that no token is worn out by log-ins.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_always_signs_wrongly_is_tried_less_and_less() {
    let setup = hasty();
    let shim = Shim::under(&setup);
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let (since, begin) = (Instant::now(), shim.tally());
    shim.play([Line::on(Function::C_Sign, Act::Flip(None))]);
    let batch = Batch::about(&evidence, "vn-moh-ec", 1);
    let refused = client.sign(batch.body.clone()).await.unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (503, "hsm.unavailable"));
    let restarts = "signerd_hsm_worker_restarts_total";
    daemon.wait_until("restarting workers", |daemon| daemon.metric(restarts) >= 16.0);
    // Eight restarts of each, the latter six after 0.1, 0.2, 0.4, 0.8, 1.6 and 3 s, or half of it.
    assert!(since.elapsed() > Duration::from_secs(3), "{:?}", since.elapsed());
    let log_ins = shim.tally().since(&begin).log_ins(LogIn::Right);
    // One at each start, and two of each lost worker on its ladder.
    assert!(log_ins <= 16 + 4 + 2, "{log_ins} log-ins");
    let log = daemon.log();
    assert!(log.contains("making the module anew did not help"), "{log}");
    shim.mend();
    both_live(&mut daemon);
    assert_eq!(client.sign(batch.body).await.unwrap().statuses(), ["issued"]);
    assert!(daemon.stop().success());
}
