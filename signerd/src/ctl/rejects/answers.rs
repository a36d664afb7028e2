//! The answers of a run: which records were rejected, and what the journal vouches for.
//!
//! In goes the output of `signerctl sign`, or of `signerctl preview --json`; out come the rejections in
//! the order of the records, and counts. Where the journal of the run lies beside the file, only what
//! it vouches for is read, and [`Answers::check`] holds each batch of the records file against it, so
//! that nobody is told of another person's fault. Certificates are passed over unread.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::sorter::{Keyed, Merge, SortError, Sorter};
use crate::ctl::answer::Reason;
use crate::ctl::batch::{self, Atomicity, Batch};
use crate::ctl::cbor::EncodeError;
use crate::ctl::journal::{Journal, JournalError, Plan, State};
use crate::ctl::output::{FileError, beside};

/// Most bytes of one line: a certificate has about 1 KiB, all reasons of nine doses about 20 KiB.
const LINE_BYTES_MAX: u64 = 256 * 1024;

/// Why the answers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AnswersError {
    /// The file is shorter than its journal says.
    #[error("{0} was changed since the run that its journal tells of")]
    Changed(PathBuf),
    /// See [`EncodeError`].
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The file cannot be opened or read.
    #[error(transparent)]
    File(#[from] FileError),
    /// See [`JournalError`].
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The line is nothing that `sign` or `preview` writes.
    #[error("{path}, line {line}: not a line of signerctl sign or preview --json")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// The records file is not the one that was signed.
    #[error(
        "{path} is not the records file of this run: batch {batch} (records from {first}) has \
             other bytes"
    )]
    OtherRecords {
        /// The records file.
        path: PathBuf,
        /// The batch, from 0.
        batch: u64,
        /// Its first record, from 0.
        first: u64,
    },
    /// See [`SortError`].
    #[error(transparent)]
    Sort(#[from] SortError),
}

/// One record that was rejected.
#[derive(Serialize, Deserialize)]
pub(super) struct Rejection {
    /// Its place among the records, from 0.
    pub(super) record: u64,
    /// Every reason.
    pub(super) reasons: Vec<Reason>,
}

impl Keyed for Rejection {
    type Key = u64;

    fn key(&self) -> u64 {
        self.record
    }
}

/// How many records there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Records with any answer.
    pub(super) answered: u64,
    /// Rejected records.
    pub(super) rejected: u64,
    /// Records withheld because of others in their batch.
    pub(super) withheld: u64,
}

/// What was answered.
pub(super) struct Answers {
    /// By record.
    pub(super) rejections: Merge<Rejection>,
    /// The sums.
    pub(super) counts: Counts,
    run: Option<(Plan, Journal)>,
}

impl Answers {
    /// Reads the answers; `folder` takes what does not fit into memory.
    ///
    /// # Errors
    /// When a file cannot be read or is something else.
    pub(super) fn read(path: &Path, folder: &Path) -> Result<Self, AnswersError> {
        let journal = beside(path, ".journal");
        let run = if journal.exists() { Journal::read(&journal)? } else { None };
        let file = File::open(path).map_err(FileError::of("open", path))?;
        let length = file.metadata().map_err(FileError::of("read", path))?.len();
        let good = run.as_ref().map_or(length, |(_, journal)| journal.output_bytes());
        if length < good {
            return Err(AnswersError::Changed(path.to_owned()));
        }
        let (rejections, counts) = Reading::new(path, folder).all(file.take(good))?;
        Ok(Self { rejections, counts, run })
    }

    /// Records per batch, as the run cut them.
    pub(super) fn batch_size(&self) -> usize {
        self.run.as_ref().map_or(batch::RECORDS_MAX, |(plan, _)| plan.batch_size)
    }

    /// Whether a journal says what was sent.
    pub(super) fn vouched_for(&self) -> bool {
        self.run.is_some()
    }

    /// Checks that a batch of the records file has the bytes that were answered.
    ///
    /// # Errors
    /// When it has others.
    pub(super) fn check(
        &self,
        records: &Path,
        number: u64,
        batch: &Batch,
    ) -> Result<(), AnswersError> {
        let Some((plan, journal)) = &self.run else { return Ok(()) };
        let Some(State::Done(ticket)) = journal.state(number) else { return Ok(()) };
        let atomicity = if plan.atomic { Atomicity::AllOrNone } else { Atomicity::Each };
        let request = batch.request(&plan.issuer, atomicity, ticket.batch_id)?;
        if batch::request_digest(&request) == ticket.digest {
            return Ok(());
        }
        let (path, first) = (records.to_owned(), batch.first);
        Err(AnswersError::OtherRecords { path, batch: number, first })
    }
}

/// A line, as far as it matters here.
#[derive(Deserialize)]
struct Line {
    record: u64,
    status: Option<String>,
    reasons: Option<Vec<Reason>>,
    uvci: Option<serde::de::IgnoredAny>,
}

/// A file that is being read.
struct Reading<'a> {
    path: &'a Path,
    rejections: Sorter<Rejection>,
    counts: Counts,
    /// The record of the line before: the certificates of one record stand together.
    last: Option<u64>,
}

impl<'a> Reading<'a> {
    fn new(path: &'a Path, folder: &Path) -> Self {
        Self { path, rejections: Sorter::new(folder), counts: Counts::default(), last: None }
    }

    fn all(mut self, source: impl Read) -> Result<(Merge<Rejection>, Counts), AnswersError> {
        let mut source = BufReader::with_capacity(1 << 16, source);
        let mut text = Vec::new();
        let mut number: u64 = 0;
        loop {
            number = number.saturating_add(1);
            text.clear();
            let read = (&mut source).take(LINE_BYTES_MAX).read_until(b'\n', &mut text);
            if read.map_err(FileError::of("read", self.path))? == 0 {
                break;
            }
            if !text.trim_ascii().is_empty() {
                self.line(&text).map_err(|fault| match fault {
                    LineFault::Foreign => {
                        AnswersError::Line { path: self.path.to_owned(), line: number }
                    }
                    LineFault::Sort(error) => error.into(),
                })?;
            }
        }
        Ok((self.rejections.finish()?, self.counts))
    }

    fn line(&mut self, text: &[u8]) -> Result<(), LineFault> {
        let line: Line = serde_json::from_slice(text).map_err(|_| LineFault::Foreign)?;
        match (line.status.as_deref(), line.reasons) {
            (Some("rejected"), Some(reasons)) if !reasons.is_empty() => {
                self.counts.rejected = self.counts.rejected.saturating_add(1);
                let rejection = Rejection { record: line.record, reasons };
                self.rejections.push(&rejection).map_err(LineFault::Sort)?;
            }
            (Some("withheld"), None) => {
                self.counts.withheld = self.counts.withheld.saturating_add(1);
            }
            (Some("acceptable"), None) => {}
            (None, None) if line.uvci.is_some() => {}
            _ => return Err(LineFault::Foreign),
        }
        if self.last.replace(line.record) != Some(line.record) {
            self.counts.answered = self.counts.answered.saturating_add(1);
        }
        Ok(())
    }
}

enum LineFault {
    Foreign,
    Sort(SortError),
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUED: &str = r#"{"record":0,"dose":1,"uvci":"U","expires_at":1,"hcert":"HC1:"}"#;
    const WITHHELD: &str = r#"{"record":2,"status":"withheld"}"#;
    const ACCEPTABLE: &str = r#"{"record":3,"status":"acceptable","doses":[1]}"#;

    fn rejected(record: u64) -> String {
        format!(
            r#"{{"record":{record},"status":"rejected","reasons":[
            {{"code":"holder.id_missing","path":"/record/holder","detail":"d"}}]}}"#
        )
        .replace('\n', "")
    }

    fn read(text: &str) -> Result<(Vec<u64>, Counts), AnswersError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers");
        std::fs::write(&path, text).unwrap();
        let answers = Answers::read(&path, folder.path())?;
        let counts = answers.counts;
        Ok((answers.rejections.map(|one| one.unwrap().record).collect(), counts))
    }

    #[test]
    fn answers_of_sign_and_preview_are_read() {
        // Certificates of one record count once, rejections come in the order of the records.
        let (nine, one) = (rejected(9), rejected(1));
        let text = [ISSUED, ISSUED, &nine, WITHHELD, "", ACCEPTABLE, &one].join("\n");
        let (records, counts) = read(&text).unwrap();
        assert_eq!(records, [1, 9]);
        assert_eq!(counts, Counts { answered: 5, rejected: 2, withheld: 1 });
    }

    #[test]
    fn other_files_are_named_with_their_line() {
        // A records file, a rejection without reasons, half a line: refused with the line's number
        // and without its content.
        let no_reasons = r#"{"record":1,"status":"rejected","reasons":[]}"#;
        for bad in [r#"{"record":{"holder":"Nguyễn"}}"#, no_reasons, "{\"record\":1", "[]"] {
            let Err(error) = read(&format!("{ISSUED}\n{bad}\n")) else { panic!("{bad}") };
            let error = error.to_string();
            assert!(error.contains("line 2: not a line of signerctl"), "{error}");
            assert!(!error.contains("Nguyễn"), "{error}");
        }
    }
}
