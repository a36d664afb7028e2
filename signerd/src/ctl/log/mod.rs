//! `signerctl log`: the auditor's tools. Take the log away, hold it against what was signed, read it.
//!
//! `export` fetches, `verify` and `show` work on what was fetched and ask no network, `proof` is about one
//! certificate or two checkpoints, `witness` says to others what one has seen. In go the officers' listener
//! or files; out come files, tables and JSON. Nothing here believes the appliance: what it sends is held
//! against its signature, and against what was held before.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::Context;
use super::client::Client;
use super::config::{ConfigError, Endpoint, Settings};
use super::error::{CtlError, Outcome};
use super::output::FileError;
use super::pem;
use crate::tlog::cosign::NotAWitness;
use crate::tlog::note::{AuditKey, NotACheckpoint, NotAnAuditKey};
use crate::tlog::proof::NotAProof;

pub mod check;
pub mod export;
pub mod fetch;
pub mod folder;
mod marks;
pub mod proof;
pub mod scan;
pub mod show;
pub mod verify;
pub mod witness;

/// The command line of `log`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Fetch the log, or what is new of it, into a folder
    Export(export::Args),
    /// Hold an exported log, or a stored proof, against what was signed; needs no network
    Verify(verify::Args),
    /// Show entries of an exported log
    Show(show::Args),
    /// Fetch and verify the proof of a certificate, or of the growth between two checkpoints
    Proof(proof::Args),
    /// Cosign the latest checkpoint as a witness, once it was seen to have grown from the one before
    Witness(witness::Args),
}

/// Why a verb of `log` ends early.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// See [`FileError`].
    #[error(transparent)]
    File(#[from] FileError),
    /// Another export or witness writes there. Retry when it has ended.
    #[error("another run is at work on {0}")]
    InUse(PathBuf),
    /// There is no checkpoint in the folder. To blame: who named it.
    #[error("{0} holds no exported log: there is no file \"checkpoint\" in it")]
    NotAnExport(PathBuf),
    /// A note that must hold does not. To blame: who gave it, or the audit certificate.
    #[error("{place}: {cause}")]
    NotSigned {
        /// The file, or where it came from.
        place: String,
        /// Why.
        cause: NotACheckpoint,
    },
    /// A file of the auditor's own holds no checkpoint. To blame: who named it.
    #[error("{0} holds no checkpoint")]
    NoNote(PathBuf),
    /// The certificate has no audit key. To blame: who named it.
    #[error("{path}: {cause}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: NotAnAuditKey,
    },
    /// The proof does not prove. To blame: who gave it.
    #[error("{place}: {cause}")]
    Proof {
        /// The file, or the server.
        place: String,
        /// Why.
        cause: NotAProof,
    },
    /// A witness who was asked for has no line in the checkpoint, which says nothing against the witness. To
    /// blame: who gave it. Retry with one that the witness cosigned.
    #[error("{place}: the witness {witness} did not cosign")]
    NotCosigned {
        /// The file.
        place: String,
        /// The witness's name.
        witness: String,
    },
    /// What was fetched is not what the fetched checkpoint signs. To blame: the server; retry once.
    #[error("what the server sent is not what its checkpoint signs: {0}")]
    NotTheSigned(String),
    /// The log is not the continuation of the one that was held. To blame: whoever changed the ledger, or
    /// put an older one back. Do not retry: keep both, and tell the auditors.
    #[error("fork or rewrite: {0}")]
    Fork(String),
    /// The command line does not make sense. Correct it.
    #[error("{0}")]
    Usage(String),
    /// The name or the verifier key of a witness is none. Correct it.
    #[error("{0}")]
    Witness(#[from] NotAWitness),
    /// The witness's key cannot be used. Correct the file.
    #[error("{path}: {cause}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: &'static str,
    },
}

impl LogError {
    /// Whether the log is not the one that was signed, or held: exit code 6.
    #[must_use]
    pub fn is_about_the_log(&self) -> bool {
        match self {
            Self::NotSigned { .. }
            | Self::Proof { .. }
            | Self::NotCosigned { .. }
            | Self::NotTheSigned(_)
            | Self::Fork(_) => true,
            Self::File(_)
            | Self::InUse(_)
            | Self::NotAnExport(_)
            | Self::NoNote(_)
            | Self::Certificate { .. }
            | Self::Usage(_)
            | Self::Witness(_)
            | Self::Key { .. } => false,
        }
    }

    /// Whether the command line is wrong: exit code 2.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Usage(_) | Self::Witness(_))
    }

    /// What to do about it.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::File(_) => "Check that the folder exists, is yours and has room.",
            Self::InUse(_) => {
                "Wait for the other run to end, or choose another --output or --notes."
            }
            Self::NotAnExport(_) => "Name a folder that signerctl log export has filled.",
            Self::NotSigned { .. } => {
                "Check --certificate and --origin first: after a change of the audit key, give the earlier \
                 certificate as well. If they are right, keep everything and tell the auditors."
            }
            Self::NoNote(_) => {
                "Name a file with a signed note, such as \"checkpoint\" of an export."
            }
            Self::Certificate { .. } => "Name the certificate of the audit key.",
            Self::Proof { .. } => {
                "Check --certificate and --origin first. If they are right, the proof is of another log, or \
                 somebody changed it."
            }
            Self::NotCosigned { .. } => {
                "Check --witness first. If it is right, have the witness cosign and fetch the proof again."
            }
            Self::NotTheSigned(_) => {
                "Repeat it once; if it stays so, keep what is there and tell the auditors."
            }
            Self::Fork(_) => {
                "Keep what is held and what the server gives now, and tell the auditors: one of both was \
                 not to be. Do not export over it."
            }
            Self::Usage(_) => "See the manual page.",
            Self::Witness(_) => {
                "Name the witness as HOST/NAME, or give the key that --new-key printed."
            }
            Self::Key { .. } => "Make a key with signerctl log witness --new-key FILE.",
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// When the settings, the command line, the server, the files or the output stop it.
pub fn run(args: &Args, context: &Context, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    match &args.action {
        Action::Export(args) => export::run(args, context, out),
        Action::Verify(args) => verify::run(args, context, out),
        Action::Show(args) => show::run(args, context, out),
        Action::Proof(args) => proof::run(args, context, out),
        Action::Witness(args) => witness::run(args, context, out),
    }
}

/// The audit keys of certificates in PEM, of one file each.
fn audit_keys(paths: &[PathBuf]) -> Result<Vec<AuditKey>, CtlError> {
    let key = |path: &PathBuf| {
        let certificate = pem::certificate(path)?;
        let key = AuditKey::of(&certificate);
        Ok(key.map_err(|cause| LogError::Certificate { path: path.clone(), cause })?)
    };
    paths.iter().map(key).collect()
}

/// A note of the auditor's own.
fn held(path: &Path) -> Result<String, LogError> {
    folder::note(path)?.ok_or_else(|| LogError::NoNote(path.to_owned()))
}

/// Takes something for this run, by a file that stays: until what it gives is dropped, no second run gets it.
fn lock(taken: &Path, file: &Path) -> Result<File, LogError> {
    let folder = file.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder).map_err(FileError::of("make", folder))?;
    let lock = File::options().create(true).append(true).open(file);
    let lock = lock.map_err(FileError::of("open", file))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(LogError::InUse(taken.to_owned())),
        Err(TryLockError::Error(error)) => Err(FileError::of("lock", file)(error).into()),
    }
}

/// A client of a listener of the settings.
fn client(
    context: &Context,
    listener: impl FnOnce(&Settings) -> Result<&Endpoint, ConfigError>,
) -> Result<Client, CtlError> {
    let settings = Settings::load(&context.config)?;
    Ok(Client::new(listener(&settings)?, context.patience)?)
}

/// The officers' listener where the settings have it, else that of the issuing systems.
fn either(settings: &Settings) -> Result<&Endpoint, ConfigError> {
    settings.officer().or_else(|_| settings.signing())
}
