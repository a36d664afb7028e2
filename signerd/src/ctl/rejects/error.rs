//! Why no list was written, and what to do about it.

use std::path::PathBuf;

use policy::Fault;
use rust_xlsxwriter::XlsxError;

use super::answers::AnswersError;
use super::sorter::SortError;
use crate::ctl::error::journal_remedy;
use crate::ctl::output::FileError;

/// Why the rejected records could not be listed; the user corrects the command line or a file, and
/// repeats.
#[derive(Debug, thiserror::Error)]
pub enum RejectsError {
    /// See [`AnswersError`].
    #[error(transparent)]
    Answers(#[from] AnswersError),
    /// The name of an output tells no form.
    #[error("{0} ends neither in .xlsx nor in .csv")]
    Ending(PathBuf),
    /// Two outputs have the same name.
    #[error("{0} is named twice")]
    Twice(PathBuf),
    /// A file of that name is there.
    #[error("{0} is there already")]
    Exists(PathBuf),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The policy has faults, one per line.
    #[error("policy {path}: {}", .faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "))]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        faults: Vec<Fault>,
    },
    /// A record was answered that the records file does not have, or twice.
    #[error("{path} has no record {record} that was not listed before, but the answers name it")]
    Record {
        /// The records file.
        path: PathBuf,
        /// The record, from 0.
        record: u64,
    },
    /// The lists would not fit on the file system.
    #[error("{folder} has {free} bytes free; the lists need about {needed}")]
    Room {
        /// Where they were to go.
        folder: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are needed on the way, about.
        needed: u64,
    },
    /// The spreadsheet could not be written.
    #[error("cannot write the spreadsheet {path}: {source}")]
    Sheet {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<XlsxError>,
    },
    /// See [`SortError`].
    #[error(transparent)]
    Sort(#[from] SortError),
}

impl RejectsError {
    /// Whether the command line is at fault.
    pub(in crate::ctl) fn is_usage(&self) -> bool {
        matches!(self, Self::Ending(_) | Self::Twice(_))
    }

    /// What to do about it.
    pub(in crate::ctl) fn remedy(&self) -> &'static str {
        match self {
            Self::Answers(AnswersError::Journal(error)) => journal_remedy(error),
            Self::Answers(AnswersError::Encode(_)) => "This is a fault of signerctl; report it.",
            Self::Answers(AnswersError::Line { .. }) => {
                "Name the --output of signerctl sign, or the lines of signerctl preview --json."
            }
            Self::Answers(AnswersError::Changed(_)) => {
                "Repeat with the output as the run left it, or sign again into another --output."
            }
            Self::Answers(AnswersError::OtherRecords { .. }) | Self::Record { .. } => {
                "Name the records file that this output was made from, unchanged."
            }
            Self::Ending(_) => "Let --output end in .xlsx or .csv.",
            Self::Twice(_) => "Give each --output once.",
            Self::Exists(_) => "Choose another name, or replace it with --force.",
            Self::Policy { .. } => "Correct the policy; signerd check explains it.",
            Self::Room { .. } => "Free that much, or write to another file system.",
            Self::Sort(SortError::TooMany) => "Divide the records file, and sign it in parts.",
            Self::Answers(AnswersError::File(_) | AnswersError::Sort(_))
            | Self::File(_)
            | Self::Sheet { .. }
            | Self::Sort(_) => "Check that the folder exists, is yours and has room.",
        }
    }
}
