//! The commands that look at an HSM and measure it: `signerd hsm probe` and `speed`.
//!
//! Reports go to standard output or a file, what is being done to standard error. Nothing here loads the
//! module; a process of its own does.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::{EXIT_CONFIG, complain, load, report, say};
use crate::cli::{Probe, Speed};
use crate::clock;
use crate::hsm;
use crate::hsm::probe;
use crate::hsm::speed::{self, Plan, Results};

/// `signerd hsm probe`.
pub(super) fn probe(args: &Probe) -> ExitCode {
    let (path, config) = match load::hsm_of_token(&args.file.config, args.token.index()) {
        Ok(found) => found,
        Err(faults) => return report(&faults),
    };
    warn_of_workers(&path);
    let made_at = clock::seconds_since_1970();
    let report = match probe::probe(&config, &path, made_at, complain) {
        Ok(report) => report,
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::from(error.exit_code());
        }
    };
    let text = if args.json {
        serde_json::to_string_pretty(&report).unwrap_or_default()
    } else {
        report.to_string().trim_end().to_owned()
    };
    match &args.out {
        None => say(&text),
        Some(out) => {
            if let Err(error) = std::fs::write(out, format!("{text}\n")) {
                complain(&format!("{}: {error}", out.display()));
                return ExitCode::FAILURE;
            }
        }
    }
    // A worker would end with the same code.
    if report.fits() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_CONFIG) }
}

/// `signerd hsm speed`.
pub(super) fn speed(args: &Speed) -> ExitCode {
    let (path, config) = match load::hsm_of_token(&args.file.config, args.token.index()) {
        Ok(found) => found,
        Err(faults) => return report(&faults),
    };
    let unknown = args.key.iter().find(|name| config.key(name).is_none());
    if let Some(name) = unknown {
        complain(&format!("--key {name}: {} has no section [key.{name}]", path.display()));
        return ExitCode::from(EXIT_CONFIG);
    }
    warn_of_workers(&path);
    let all = || config.keys().map(|(name, _)| name.to_owned()).collect();
    let plan = Plan {
        step: Duration::from_secs(args.seconds),
        keys: if args.key.is_empty() { all() } else { args.key.clone() },
        workers: args.workers.iter().copied().map(usize::from).collect(),
        sessions: args.sessions.iter().copied().map(usize::from).collect(),
        copy_keys: if args.copies { vec![false, true] } else { vec![config.copy_keys()] },
    };
    let (rows, seconds) = (plan.cases().len(), plan.duration().as_secs());
    complain(&format!("{rows} rows take {seconds} s, and the log-ins of their processes"));
    complain(Results::HEADS);
    let made_at = clock::seconds_since_1970();
    match speed::measure(&config, &path, &plan, made_at, |row| complain(&row.to_string())) {
        Ok(results) => {
            if args.json {
                say(&serde_json::to_string_pretty(&results).unwrap_or_default());
            } else {
                say(results.to_string().trim_end());
            }
            if results.best.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

fn warn_of_workers(hsm_toml: &Path) {
    let workers = hsm::workers_running(hsm_toml);
    if workers > 0 {
        complain(&format!(
            "warning: {workers} workers of a daemon are logged in to this token: each slows the other, \
             and sessions may run short"
        ));
    }
}
