//! The daemon with an HSM that fails as a script says.

use signerd_tests::shim::{Act, Code, Function, Line, LogIn, Shim};
use signerd_tests::{Daemon, Setup};

// Through the module without a fault, the daemon is ready after one log-in for each worker.
#[test]
fn a_daemon_is_ready_through_the_module() {
    let setup = Setup::new();
    let shim = Shim::under(&setup);
    let daemon = Daemon::ready(&setup);
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
