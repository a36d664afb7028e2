//! Where log lines go: to the journal with fields where the journal listens, else to stderr.
//!
//! The level is `info` unless `SIGNERD_LOG` says otherwise (`error`, `warn`, `info`, `debug`, `trace`).
//! Lines carry counts, codes and ids; never names, numbers, bodies or secrets.

use std::str::FromStr as _;

use log::LevelFilter;
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// Starts logging for this process; `identifier` is the name in the journal.
pub fn start(identifier: &str) {
    let level = std::env::var("SIGNERD_LOG")
        .ok()
        .and_then(|level| LevelFilter::from_str(&level).ok())
        .unwrap_or(LevelFilter::Info);
    // A logger may be there already when tests share a process; the first one stays.
    if !(connected_to_journal() && journal(identifier).is_some()) {
        let _ = env_logger::Builder::new().filter_level(level).format_target(false).try_init();
    }
    log::set_max_level(level);
}

/// An error and its causes in one line, each level once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn journal(identifier: &str) -> Option<()> {
    let journal = JournalLog::new().ok()?.with_syslog_identifier(identifier.to_owned());
    journal.install().ok()
}
