//! The life of the front process: load, start, serve, drain.
//!
//! Everything is read and checked before a socket is opened; `signerd check` does just that part. The
//! daemon is ready for systemd once its listeners accept: whether the HSM is there is a matter of
//! readiness, not of being up, so that an outage at start heals itself.

mod files;
mod load;
mod measure;
mod reload;
mod rules;
mod run;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use self::files::Files;
use crate::cli::{self, Command, ConfigFile, HsmCommand, LedgerCheck, LedgerCommand, Serve};
use crate::config::Fault;
use crate::hsm;
use crate::ledger::{self, Checked, Engine};
use crate::logging;
use crate::systemd::Sockets;
use crate::tlog::note::AuditKey;

/// `EX_CONFIG` of sysexits: the configuration is at fault, a restart does not help.
const EXIT_CONFIG: u8 = 78;

/// Runs `signerd`.
pub fn main() -> ExitCode {
    match cli::parse().command {
        Command::Serve(args) => serve(&args),
        Command::Check(file) => check(&file.config),
        Command::Ledger { command: LedgerCommand::Check(args) } => check_ledger(&args),
        Command::HsmWorker(args) => hsm::worker::run(&args.into()),
        Command::HsmErrand(args) => {
            hsm::worker::run_errand(args.errand.into(), &args.config, args.token.index())
        }
        Command::Hsm { command: HsmCommand::ClearPinLatch(file) } => clear_pin_latch(&file),
        Command::Hsm { command: HsmCommand::Probe(args) } => measure::probe(&args),
        Command::Hsm { command: HsmCommand::Speed(args) } => measure::speed(&args),
    }
}

fn serve(args: &Serve) -> ExitCode {
    let file = args.file.config.as_path();
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
    if let Some(fault) = loaded.unserved(&sockets, file) {
        return report(&[fault]);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(run::RunError::Runtime).and_then(|runtime| {
        let outcome = runtime.block_on(run::run(loaded, sockets, args));
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

fn check_ledger(args: &LedgerCheck) -> ExitCode {
    let loaded = match load::load(&args.file.config) {
        Ok(loaded) => loaded,
        Err(faults) => return report(&faults),
    };
    let engine = args.backup.clone().map_or(loaded.config.ledger, Engine::Sqlite);
    let name = match &engine {
        Engine::Sqlite(path) => path.display().to_string(),
        Engine::Postgres(server) => format!("{} at {}", server.database, server.host),
    };
    let mut told = 0;
    let mut progress = |done: u64, all: u64| {
        let tenths = done.saturating_mul(10).checked_div(all).unwrap_or(10);
        if tenths > told {
            told = tenths;
            complain(&format!("{done} of {all} entries"));
        }
    };
    let keys = match audit_keys(loaded.audit, &args.certificate) {
        Ok(keys) => keys,
        Err(faults) => return report(&faults),
    };
    match ledger::check(&engine, (&keys, &loaded.config.log.origin), &mut progress) {
        Ok(Checked { entries, certificates, unlogged, signed }) => {
            let signed = match signed {
                Some(size) => format!("{size} of them signed"),
                None => "none of them signed".to_owned(),
            };
            say(&format!(
                "{}: everything fits: {entries} entries of the log, {signed}; {certificates} \
                 certificates in it, {unlogged} older than it",
                name
            ));
            ExitCode::SUCCESS
        }
        Err(damage) => {
            complain(&format!("{name}: {}", logging::chain(&damage)));
            complain("keep it as it is, and go back to the latest backup that passes this check");
            ExitCode::FAILURE
        }
    }
}

/// The audit key, and earlier ones.
fn audit_keys(now: AuditKey, earlier: &[PathBuf]) -> Result<Vec<AuditKey>, Vec<Fault>> {
    let mut keys = vec![now];
    for file in earlier {
        let key = rules::audit_certificate(file, &Files::default());
        keys.push(key.map_err(|problem| {
            let remedy = "name the PEM certificate of an earlier audit key";
            vec![load::fault(file, "", problem, remedy)]
        })?);
    }
    Ok(keys)
}

fn clear_pin_latch(file: &ConfigFile) -> ExitCode {
    let (_, config) = match load::hsm_alone(&file.config) {
        Ok(found) => found,
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
