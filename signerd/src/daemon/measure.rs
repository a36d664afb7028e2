//! The commands that look at an HSM and measure it: `signerd hsm probe`.
//!
//! Reports go to standard output or a file, what is being done to standard error. Nothing here loads the
//! module; a process of its own does.

use std::path::Path;
use std::process::ExitCode;

use super::{complain, load, report, say};
use crate::cli::Probe;
use crate::clock;
use crate::hsm;
use crate::hsm::probe;

/// `signerd hsm probe`.
pub(super) fn probe(args: &Probe) -> ExitCode {
    let (path, config) = match load::hsm_alone(&args.file.config) {
        Ok(found) => found,
        Err(faults) => return report(&faults),
    };
    warn_of_workers(&path);
    let made_at = clock::seconds_since_1970();
    let report = match probe::probe(&config, &path, made_at, |step| complain(step)) {
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
    let Some(out) = &args.out else {
        say(&text);
        return ExitCode::SUCCESS;
    };
    match std::fs::write(out, format!("{text}\n")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{}: {error}", out.display()));
            ExitCode::FAILURE
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
