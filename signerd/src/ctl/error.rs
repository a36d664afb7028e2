//! Why a verb failed, which exit code that is, and what the person at the terminal can do about it.
//!
//! Every module's error comes in, one line of cause and one of remedy go out. Exit codes are part of
//! the tool's contract and stand in `--help` and the manual page.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::answer::AnswerError;
use super::cbor::EncodeError;
use super::client::ClientError;
use super::config::ConfigError;
use super::inspect::{self, InspectError};
use super::journal::JournalError;
use super::ledger::LedgerVerbError;
use super::log::LogError;
use super::output::FileError;
use super::pem::PemError;
use super::qr::QrVerbError;
use super::records::RecordsError;
use super::rejects::RejectsError;
use super::sample::SampleError;
use super::sign::SignError;
use super::texts::TextsError;
use super::value_sets::ValueSetsError;
use super::verify::{self, VerifyError};
use super::window::WindowError;

/// The exit codes, for `--help` and the manual page.
pub const EXIT_CODES: &str = "Exit codes:
  0  everything was done
  1  done, but some records were rejected or withheld, or a certificate is not valid
  2  wrong usage: the command line or the settings
  3  the server refused the request, or a batch of it
  4  the server could not be reached, or stayed unavailable through all repetitions
  5  a local file could not be read, written or understood
  6  the log is not the one that was signed, or not the continuation of the one that was held";

/// How a verb ended that did what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Done,
    /// Exit code 1: some records were rejected or withheld, or a certificate is not valid.
    SomeRejected,
    /// Exit code 3: some batches were refused whole; the others are done.
    SomeRefused,
    /// Exit code 6: the log is not the one that was signed.
    LogWrong,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::SomeRejected => Self::from(1),
            Outcome::SomeRefused => Self::from(3),
            Outcome::LogWrong => Self::from(6),
        }
    }
}

impl From<verify::Outcome> for Outcome {
    fn from(outcome: verify::Outcome) -> Self {
        match outcome {
            verify::Outcome::AllValid => Self::Done,
            verify::Outcome::SomeInvalid => Self::SomeRejected,
        }
    }
}

impl From<inspect::Outcome> for Outcome {
    fn from(outcome: inspect::Outcome) -> Self {
        match outcome {
            inspect::Outcome::AllRead => Self::Done,
            inspect::Outcome::SomeUnreadable => Self::SomeRejected,
        }
    }
}

/// Why a verb failed; the sources say whether to repeat.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// See [`AnswerError`].
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// See [`ClientError`].
    #[error(transparent)]
    Client(#[from] ClientError),
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// See [`EncodeError`].
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// See [`FileError`].
    #[error(transparent)]
    File(#[from] FileError),
    /// See [`InspectError`].
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// See [`JournalError`].
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// See [`LedgerVerbError`].
    #[error(transparent)]
    Ledger(#[from] LedgerVerbError),
    /// See [`LogError`].
    #[error(transparent)]
    Log(#[from] LogError),
    /// See [`PemError`].
    #[error(transparent)]
    Pem(#[from] PemError),
    /// See [`QrVerbError`].
    #[error(transparent)]
    Qr(#[from] QrVerbError),
    /// The records file cannot be read; correct it.
    #[error("{path}: {source}")]
    Records {
        /// The file.
        path: PathBuf,
        /// The fault and its line.
        source: RecordsError,
    },
    /// See [`RejectsError`].
    #[error(transparent)]
    Rejects(#[from] RejectsError),
    /// The asynchronous runtime could not be started: the system is out of threads or memory.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    /// See [`SampleError`].
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// See [`SignError`].
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Stdout cannot be written.
    #[error("cannot write the result: {0}")]
    Stdout(#[from] io::Error),
    /// See [`ValueSetsError`]; a bug where only sets that come with the tool are chosen.
    #[error(transparent)]
    ValueSets(#[from] ValueSetsError),
    /// See [`VerifyError`].
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// See [`WindowError`].
    #[error(transparent)]
    Window(#[from] WindowError),
}

impl From<policy::value_set::ValueSetFault> for CtlError {
    fn from(fault: policy::value_set::ValueSetFault) -> Self {
        Self::ValueSets(fault.into())
    }
}

impl CtlError {
    /// The exit code by [`EXIT_CODES`].
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Config(_) | Self::Window(_) => 2,
            Self::Client(error) => client_exit(error),
            Self::Answer(_) => 4,
            Self::Log(error) if error.is_about_the_log() => 6,
            Self::Log(error) if error.is_usage() => 2,
            Self::Sample(error) if error.is_usage() => 2,
            Self::Rejects(error) if error.is_usage() => 2,
            Self::ValueSets(error) if error.is_usage() => 2,
            Self::Inspect(InspectError::Texts(TextsError::Nothing(_)))
            | Self::Verify(VerifyError::Texts(TextsError::Nothing(_)))
            | Self::Qr(
                QrVerbError::Ending(_)
                | QrVerbError::Several(_)
                | QrVerbError::Texts(TextsError::Nothing(_)),
            ) => 2,
            Self::Encode(_)
            | Self::File(_)
            | Self::Inspect(_)
            | Self::Journal(_)
            | Self::Ledger(_)
            | Self::Log(_)
            | Self::Pem(_)
            | Self::Records { .. }
            | Self::Rejects(_)
            | Self::Runtime(_)
            | Self::Sample(_)
            | Self::Qr(_)
            | Self::Sign(_)
            | Self::Stdout(_)
            | Self::ValueSets(_)
            | Self::Verify(_) => 5,
        })
    }

    /// What to do about it, as a sentence.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Answer(_) => "Is a signerd of the same version behind this address? \
                                Repeat the command; it continues. If it stays so, report it."
                .into(),
            Self::Client(error) => client_remedy(error),
            Self::Config(ConfigError::Missing("issuer")) => {
                "Give --issuer, or put issuer into the settings.".into()
            }
            Self::Config(ConfigError::Missing("[officer]")) => {
                "Put [officer] with server, certificate and key into the settings; see \
                 signerctl.toml(5)."
                    .into()
            }
            Self::Config(_) => "Correct the settings, or name another file with --config.".into(),
            Self::Inspect(_) | Self::Verify(_) | Self::Qr(_) => {
                "Check the paths and what the files hold; the manual page says which forms are read."
                    .into()
            }
            Self::Encode(_) => "This is a fault of signerctl; report it.".into(),
            Self::File(_) => "Check that the folder exists, is yours and has room.".into(),
            Self::Journal(error) => journal_remedy(error).into(),
            Self::Ledger(error) => error.remedy().into(),
            Self::Log(error) => error.remedy().into(),
            Self::Pem(_) => "Check the file that the settings name, and who may read it.".into(),
            Self::Records { .. } => {
                "Correct that line; nothing was sent. The form is an array, or one object per line, \
                 of {\"record\": …}."
                    .into()
            }
            Self::Rejects(error) => error.remedy().into(),
            Self::Runtime(_) => "Free memory or raise the limit of threads, then repeat.".into(),
            Self::Sample(error) => error.remedy().into(),
            Self::Sign(error) => error.remedy().into(),
            Self::Stdout(_) => "Check where the output goes.".into(),
            Self::ValueSets(error) => error.remedy(),
            Self::Window(error) => error.remedy().into(),
        }
    }
}

fn client_exit(error: &ClientError) -> u8 {
    match error {
        ClientError::Pem(_) => 5,
        ClientError::TlsSettings(_) => 2,
        ClientError::TlsRefused(_) | ClientError::Refused { .. } => 3,
        ClientError::ServerUntrusted(_)
        | ClientError::Unreachable { .. }
        | ClientError::Late(_)
        | ClientError::GaveUp { .. } => 4,
    }
}

fn client_remedy(error: &ClientError) -> String {
    match error {
        ClientError::Pem(_) => "Check the file that the settings name, and who may read it.".into(),
        ClientError::TlsSettings(_) => {
            "Check that certificate, key, ca and server_name of the settings belong together."
                .into()
        }
        ClientError::TlsRefused(_) => {
            "Check that the client certificate is valid, not revoked, and from the CA that the \
             daemon trusts."
                .into()
        }
        ClientError::ServerUntrusted(_) => {
            "Check ca and server_name of the settings, and the clock of this machine.".into()
        }
        ClientError::Unreachable { .. } | ClientError::Late(_) => {
            "Check that the daemon runs and the address is right, then repeat. If it does run, it \
             may have refused this client certificate: its journal says so."
                .into()
        }
        ClientError::Refused { problem, .. } => refusal_remedy(&problem.code).into(),
        ClientError::GaveUp { last, .. } => match last.refused() {
            Some((_, problem)) => refusal_remedy(&problem.code).into(),
            None => client_remedy(last),
        },
    }
}

/// What to do about each code of the daemon (`contract/api.md`).
pub(super) fn refusal_remedy(code: &str) -> &'static str {
    match code {
        "client.unknown" => "Have this client certificate entered in the daemon's configuration.",
        "issuer.not_allowed" => "Check --issuer; this client may use other issuers, or none.",
        "batch.conflict" => "The batch id was used for other bytes. Begin a new output.",
        "batch.in_progress" => "The daemon is still signing it. Repeat the same command later.",
        "batch.expired" => {
            "It was signed, but the answer is no longer kept. Look for the earlier output before \
             anything is issued anew."
        }
        "batch.over_limit" => "Repeat with a smaller --batch-size and a new output.",
        "batch.duplicate_record" => "Remove the dose that is there twice, then repeat the command.",
        "rate.exceeded" => {
            "Repeat the same command later, or with a smaller --parallel. Where it was the issuer's \
             quota of the day: after midnight in Viet Nam."
        }
        "window.closed" => {
            "Repeat the same command when the window opens, or have an officer open it: signerctl \
             window open."
        }
        "window.invalid" => "Give another --for or --until: in the future, within 24 hours.",
        "window.always_open" => "Nothing has to be opened; the issuer signs at any time.",
        "issuer.unknown" => "Check --issuer; signerctl window show lists the issuers.",
        "officer.unknown" => "Have a certificate with one common name issued for this officer.",
        "http.too_large" => "Repeat with a smaller --batch-size and a new output.",
        code if code.starts_with("cbor.") || code == "request.invalid" => {
            "Look at the named path. If the records file is right, report it as a fault of signerctl."
        }
        _ => {
            "Repeat the same command later; what is signed is not signed twice. If it stays so, \
              look up the request id in the daemon's journal."
        }
    }
}

pub(super) fn journal_remedy(error: &JournalError) -> &'static str {
    match error {
        JournalError::File(_) => "Check that the folder exists, is yours and has room.",
        JournalError::InUse(_) => "Wait for the other run to end, or choose another --output.",
        JournalError::Damaged { .. } => {
            "Keep output and journal for inspection, and begin with another --output; doses that \
             are signed already come back as dose.already_certified."
        }
        JournalError::OtherPlan { .. } => {
            "Repeat with the same --issuer, --batch-size and --atomic, or choose another --output."
        }
    }
}
