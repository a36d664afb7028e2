//! The daemon, ended by SIGKILL at a place of `signerd::failpoint` that `FAILPOINTS` names.
//!
//! The variable is that of the crate `fail`: `ledger::intend::committed=3*off->panic` ends the process
//! the fourth time that it gets there, `=delay(50)` holds it up. Nothing is unwound and nothing written
//! on the way out. All else is the daemon itself.

use std::panic;
use std::process::ExitCode;

use rustix::process::{Signal, getpid, kill_process};

fn main() -> ExitCode {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        let message = panicked.payload_as_str().unwrap_or_default();
        if message.starts_with("failpoint ") {
            let _ = kill_process(getpid(), Signal::KILL);
        }
        usual(panicked);
    }));
    let _scenario = fail::FailScenario::setup();
    signerd::daemon::main()
}
