//! `signerctl ledger`: the ledger's file, for those who look after the machine.
//!
//! Works on the file itself, as whoever may read it, while the daemon goes on; asks no server. It knows
//! nothing of what the file holds.

use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

use super::Context;
use super::error::{CtlError, Outcome};
use crate::ledger::{self, LedgerError};
use crate::logging;

/// The command line of `ledger`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Copy the ledger while the daemon goes on
    ///
    /// The copy is one consistent state of the SQLite file, checked by the engine, readable for its owner
    /// alone, and there under its name only when it is whole. `signerd ledger check` holds it against the
    /// signed log. A ledger in PostgreSQL is backed up with PostgreSQL's own tools.
    Backup(BackupArgs),
}

#[derive(Debug, clap::Args)]
struct BackupArgs {
    /// The ledger's file
    #[arg(long, value_name = "FILE", default_value = "/var/lib/signerd/ledger.sqlite")]
    ledger: PathBuf,
    /// The copy; must not exist
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// Why a ledger was not copied.
#[derive(Debug, thiserror::Error)]
#[error("no backup: {}", logging::chain(.0))]
pub struct LedgerVerbError(#[from] LedgerError);

impl LedgerVerbError {
    /// What to do about it, as a sentence.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self.0 {
            LedgerError::CannotOpen { .. } => {
                "Name a ledger that this user may read, and a copy that does not exist in a folder that \
                 does."
            }
            LedgerError::Corrupt { .. } => {
                "Keep the file as it is, and look at the latest good backup; docs/operations.md, Crash."
            }
            _ => "Make room for the copy, and repeat.",
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// When a file cannot be read or written.
pub fn run(args: &Args, context: &Context, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    let Verb::Backup(BackupArgs { ledger, output }) = &args.verb;
    let bar = context.progress.bar(0, "pages");
    let bytes = ledger::backup(ledger, output, &mut |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    })
    .map_err(LedgerVerbError)?;
    bar.finish_and_clear();
    if context.json {
        writeln!(out, "{}", json!({ "copy": output, "bytes": bytes }))?;
    } else {
        writeln!(out, "{}: {bytes} bytes, consistent and on the disk", output.display())?;
    }
    Ok(Outcome::Done)
}
