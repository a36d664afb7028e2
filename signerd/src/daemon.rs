//! The life of the front process: load, start, serve, drain.
//!
//! Everything is read and checked before a socket is opened; `signerd check` does just that part. The
//! daemon is ready for systemd once its listeners accept: whether the HSM is there is a matter of
//! readiness, not of being up, so that an outage at start heals itself.

mod load;
mod reload;
mod rules;
mod run;

use std::path::Path;
use std::process::ExitCode;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::cli::{self, Command, ConfigFile, HsmCommand};
use crate::config::Fault;
use crate::hsm;
use crate::logging;
use crate::systemd::Sockets;

/// `EX_CONFIG` of sysexits: the configuration is at fault, a restart does not help.
const EXIT_CONFIG: u8 = 78;

/// Runs `signerd`.
pub fn main() -> ExitCode {
    match cli::parse().command {
        Command::Serve(file) => serve(&file.config),
        Command::Check(file) => check(&file.config),
        Command::HsmWorker(args) => hsm::worker::run(&args.into()),
        Command::Hsm { command: HsmCommand::ClearPinLatch(file) } => clear_pin_latch(&file),
    }
}

fn serve(file: &Path) -> ExitCode {
    // Before anything else: taking the sockets changes the environment, which threads would share.
    let sockets = Sockets::take();
    logging::start("signerd");
    let sockets = match sockets {
        Ok(sockets) => sockets,
        Err(error) => {
            log::error!("sockets from systemd: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    // The TLS key and the ledger's keys are in this memory: no core dump, no debugger of the same user.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        log::warn!("memory can be dumped: {error}");
    }
    let loaded = match load::load(file) {
        Ok(loaded) => loaded,
        Err(faults) => return report(&faults),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(run::RunError::Runtime).and_then(|runtime| {
        let outcome = runtime.block_on(run::run(loaded, sockets, file));
        // Anything still running was given its time to drain.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{}", logging::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn check(file: &Path) -> ExitCode {
    match load::load(file) {
        Ok(loaded) => {
            say(&loaded.summary());
            ExitCode::SUCCESS
        }
        Err(faults) => report(&faults),
    }
}

fn clear_pin_latch(file: &ConfigFile) -> ExitCode {
    let config = match load::hsm_alone(&file.config) {
        Ok(config) => config,
        Err(faults) => return report(&faults),
    };
    match hsm::clear_pin_latch(&config) {
        Ok(true) => say("the latch is cleared; the workers log in again by themselves"),
        Ok(false) => say("there was no latch"),
        Err(error) => {
            complain(&format!("{}: {error}", config.pin_latch().display()));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn report(faults: &[Fault]) -> ExitCode {
    for fault in faults {
        complain(&fault.to_string());
    }
    ExitCode::from(EXIT_CONFIG)
}

#[expect(clippy::print_stdout, reason = "the result of a command for a person")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "diagnostics of a command for a person")]
fn complain(line: &str) {
    eprintln!("signerd: {line}");
}
