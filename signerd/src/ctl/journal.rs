//! The journal of a `sign` run: what makes a rerun repeat open batches instead of signing twice.
//!
//! One JSON object per line, appended and forced to disk: which batch has which id (written *before*
//! the batch is sent), and up to which length the output file is good (written *after* that part of
//! the output is on disk). A torn last line is cut off. It holds ids, digests, counts and lengths, and
//! no personal data; the digests are not plain SHA-256 (see `batch::request_digest`). It talks to no
//! network.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::output::{FileError, PRIVATE_MODE};

/// The version of the journal's lines.
const VERSION: u32 = 1;
/// Most bytes of a journal that are read: 500,000 batches, five times the country's whole backlog.
const JOURNAL_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How a journal begins; what begins otherwise is somebody else's file.
const BEGINNING: &[u8] = b"{\"event\":\"begin\",";

/// What a run was begun with; a rerun has to be the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The issuer.
    pub issuer: String,
    /// Records per batch.
    pub batch_size: usize,
    /// Whether batches are atomic.
    pub atomic: bool,
}

/// What became of a batch so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// An id was given out; it may have been sent and carried out.
    Open(Ticket),
    /// Its results are in the output.
    Done(Ticket),
    /// The daemon refused it whole and kept nothing; the id is free.
    Refused,
}

/// Which bytes a batch has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its idempotency key.
    pub batch_id: Uuid,
    /// `batch::request_digest` of its request.
    pub digest: [u8; 32],
}

/// What a finished batch gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records.
    pub records: u64,
    /// Certificates.
    pub certificates: u64,
    /// Records that were rejected.
    pub rejected: u64,
    /// Records withheld because of others.
    pub withheld: u64,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be opened, read or written; see the folder and the free space.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another run is using it; wait for that one.
    #[error("journal {0} is in use by another run")]
    InUse(PathBuf),
    /// The line makes no sense: the file was changed by something else.
    #[error("journal {path}, line {line}: not a line of this tool")]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The run was begun with other options; repeat with those, or begin a new output.
    #[error("journal {path} was begun with issuer {}, batch size {}{}",
        begun.issuer, begun.batch_size, if begun.atomic { ", atomic" } else { "" })]
    OtherPlan {
        /// The journal.
        path: PathBuf,
        /// With what.
        begun: Plan,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Begin { version: u32, plan: Plan },
    Open { batch: u64, batch_id: String, digest: String },
    Done { batch: u64, output_bytes: u64, counts: Counts },
    Refused { batch: u64, code: String },
}

/// An open journal; dropping it lets go of its lock.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    batches: BTreeMap<u64, State>,
    output_bytes: u64,
    totals: Counts,
}

impl Journal {
    /// Opens the journal of a run, or begins it.
    ///
    /// # Errors
    /// When the file cannot be used, belongs to a run with another plan, or is in use.
    pub fn open(path: &Path, plan: &Plan) -> Result<Self, JournalError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE_MODE)
            .open(path)
            .map_err(FileError::of("open", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => {
                return Err(FileError::of("lock", path)(error).into());
            }
        }
        let text = read_whole(&mut file).map_err(FileError::of("read", path))?;
        if !text.starts_with(BEGINNING) && !BEGINNING.starts_with(&text) {
            return Err(JournalError::Damaged { path: path.to_owned(), line: 1 });
        }
        let mut journal = Self::over(path, file);
        let (whole, begun) = journal.replay(&text)?;
        journal.cut(whole).map_err(FileError::of("write", path))?;
        match begun {
            Some(begun) if begun != *plan => {
                return Err(JournalError::OtherPlan { path: path.to_owned(), begun });
            }
            Some(_) => {}
            None => {
                journal.append(&Line::Begin { version: VERSION, plan: plan.clone() })?;
                sync_folder(path).map_err(FileError::of("write", path))?;
            }
        }
        Ok(journal)
    }

    /// Reads the journal of a run without continuing it, and changes nothing; `None`: the run was not
    /// begun.
    ///
    /// # Errors
    /// When the file cannot be read, is no journal, or its run is going on.
    pub fn read(path: &Path) -> Result<Option<(Plan, Self)>, JournalError> {
        let mut file = File::open(path).map_err(FileError::of("open", path))?;
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => {
                return Err(FileError::of("lock", path)(error).into());
            }
        }
        let text = read_whole(&mut file).map_err(FileError::of("read", path))?;
        let mut journal = Self::over(path, file);
        let (_, begun) = journal.replay(&text)?;
        Ok(begun.map(|plan| (plan, journal)))
    }

    /// What became of a batch so far; `None`: not begun.
    #[must_use]
    pub fn state(&self, batch: u64) -> Option<&State> {
        self.batches.get(&batch)
    }

    /// One more than the highest batch that was begun.
    #[must_use]
    pub fn batches_begun(&self) -> u64 {
        self.batches.last_key_value().map_or(0, |(batch, _)| batch.saturating_add(1))
    }

    /// Up to which length the output is good.
    #[must_use]
    pub fn output_bytes(&self) -> u64 {
        self.output_bytes
    }

    /// What all finished batches gave.
    #[must_use]
    pub fn totals(&self) -> Counts {
        self.totals
    }

    /// Gives out an id: on disk when this returns.
    ///
    /// # Errors
    /// When the line cannot be written; the batch must then not be sent.
    pub fn begin_batch(&mut self, batch: u64, ticket: &Ticket) -> Result<(), JournalError> {
        let digest = data_encoding::HEXLOWER.encode(&ticket.digest);
        self.record(Line::Open { batch, batch_id: ticket.batch_id.to_string(), digest })
    }

    /// Marks a batch whose results are on disk in the output, which is now this long.
    ///
    /// # Errors
    /// When the line cannot be written; a rerun repeats the batch.
    pub fn finish_batch(
        &mut self,
        batch: u64,
        output_bytes: u64,
        counts: Counts,
    ) -> Result<(), JournalError> {
        self.record(Line::Done { batch, output_bytes, counts })
    }

    /// Marks a batch that the daemon refused whole, so that it may be corrected.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn refuse_batch(&mut self, batch: u64, code: &str) -> Result<(), JournalError> {
        self.record(Line::Refused { batch, code: code.to_owned() })
    }

    fn over(path: &Path, file: File) -> Self {
        Self {
            path: path.to_owned(),
            file,
            batches: BTreeMap::new(),
            output_bytes: 0,
            totals: Counts::default(),
        }
    }

    fn record(&mut self, line: Line) -> Result<(), JournalError> {
        self.append(&line)?;
        self.apply(line);
        Ok(())
    }

    fn append(&mut self, line: &Line) -> Result<(), JournalError> {
        let written = serde_json::to_string(line).map_err(io::Error::other).and_then(|text| {
            self.file.write_all(format!("{text}\n").as_bytes())?;
            self.file.sync_data()
        });
        Ok(written.map_err(FileError::of("write", &self.path))?)
    }

    /// Applies every whole line; returns their length and the plan of the first.
    fn replay(&mut self, text: &[u8]) -> Result<(u64, Option<Plan>), JournalError> {
        // Behind the last line feed there is only what a crash tore.
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
        let whole = text.get(..end).unwrap_or_default();
        let mut begun = None;
        for (number, line) in whole.split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let sensible = match (serde_json::from_slice(line), &begun) {
                (Ok(Line::Begin { version: VERSION, plan }), None) => {
                    begun = Some(plan);
                    true
                }
                (Ok(Line::Begin { .. }) | Err(_), _) | (_, None) => false,
                (Ok(line), Some(_)) => self.apply(line),
            };
            if !sensible {
                let line = number.saturating_add(1);
                return Err(JournalError::Damaged { path: self.path.clone(), line });
            }
        }
        Ok((u64::try_from(end).unwrap_or(u64::MAX), begun))
    }

    /// The state machine: not begun or refused → open → done or refused. False: no such step.
    fn apply(&mut self, line: Line) -> bool {
        match line {
            Line::Begin { .. } => false,
            Line::Open { batch, batch_id, digest } => {
                let free = matches!(self.batches.get(&batch), None | Some(State::Refused));
                let digest = data_encoding::HEXLOWER.decode(digest.as_bytes()).ok();
                let digest = digest.and_then(|digest| <[u8; 32]>::try_from(digest).ok());
                let batch_id = Uuid::try_parse(&batch_id).ok().filter(|_| free);
                let (Some(batch_id), Some(digest)) = (batch_id, digest) else { return false };
                self.batches.insert(batch, State::Open(Ticket { batch_id, digest }));
                true
            }
            Line::Done { batch, output_bytes, counts } => {
                let Some(State::Open(ticket)) = self.batches.get(&batch).cloned() else {
                    return false;
                };
                if output_bytes < self.output_bytes {
                    return false;
                }
                self.output_bytes = output_bytes;
                self.totals = self.totals.plus(counts);
                self.batches.insert(batch, State::Done(ticket));
                true
            }
            Line::Refused { batch, .. } => {
                let Some(State::Open(_)) = self.batches.get(&batch) else { return false };
                self.batches.insert(batch, State::Refused);
                true
            }
        }
    }

    fn cut(&mut self, whole: u64) -> io::Result<()> {
        self.file.set_len(whole)?;
        self.file.seek(SeekFrom::Start(whole))?;
        Ok(())
    }
}

fn read_whole(file: &mut File) -> io::Result<Vec<u8>> {
    if file.metadata()?.len() > JOURNAL_BYTES_MAX {
        return Err(io::Error::other("larger than any journal"));
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(text)
}

impl Counts {
    /// The sums.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            records: self.records.saturating_add(other.records),
            certificates: self.certificates.saturating_add(other.certificates),
            rejected: self.rejected.saturating_add(other.rejected),
            withheld: self.withheld.saturating_add(other.withheld),
        }
    }
}

/// Makes a new file's name durable: without it a crash can lose the file with all that is in it.
///
/// # Errors
/// When the folder cannot be opened or synchronised.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan { issuer: "vn-moh".into(), batch_size: 1000, atomic: false }
    }

    fn ticket(number: u8) -> Ticket {
        Ticket { batch_id: Uuid::from_bytes([number; 16]), digest: [number; 32] }
    }

    fn counts(records: u64) -> Counts {
        Counts { records, certificates: records * 2, rejected: 0, withheld: 0 }
    }

    #[test]
    fn a_rerun_finds_what_was_done() {
        // After a crash a rerun knows finished batches, open ones with their ids, and the good length.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path, &plan()).unwrap();
        journal.begin_batch(0, &ticket(1)).unwrap();
        journal.begin_batch(1, &ticket(2)).unwrap();
        journal.finish_batch(0, 500, counts(10)).unwrap();
        drop(journal);
        let journal = Journal::open(&path, &plan()).unwrap();
        assert_eq!(journal.state(0), Some(&State::Done(ticket(1))));
        assert_eq!(journal.state(1), Some(&State::Open(ticket(2))));
        assert_eq!(journal.state(2), None);
        assert_eq!((journal.batches_begun(), journal.output_bytes()), (2, 500));
        assert_eq!(journal.totals(), counts(10));
    }

    #[test]
    fn a_torn_line_is_cut_off_wherever_it_tore() {
        // Cut at any byte, the journal opens with a prefix of its events and can be continued.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path, &plan()).unwrap();
        journal.begin_batch(0, &ticket(1)).unwrap();
        journal.finish_batch(0, 500, counts(10)).unwrap();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let mut journal = Journal::open(&path, &plan()).unwrap();
            match journal.state(0).cloned() {
                None => journal.begin_batch(0, &ticket(3)).unwrap(),
                Some(state) => assert_eq!(state, State::Open(ticket(1)), "cut at {length}"),
            }
            journal.finish_batch(0, 700, counts(1)).unwrap();
            drop(journal);
            assert_eq!(Journal::open(&path, &plan()).unwrap().output_bytes(), 700);
        }
    }

    #[test]
    fn a_reader_changes_nothing() {
        // Read without being continued, a journal tells the same and keeps even its torn line; while
        // its run goes on it is not read.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path, &plan()).unwrap();
        journal.begin_batch(0, &ticket(1)).unwrap();
        journal.finish_batch(0, 500, counts(10)).unwrap();
        assert!(matches!(Journal::read(&path), Err(JournalError::InUse(_))));
        drop(journal);
        let torn = [std::fs::read(&path).unwrap(), b"{\"event\":".to_vec()].concat();
        std::fs::write(&path, &torn).unwrap();
        let (begun, journal) = Journal::read(&path).unwrap().unwrap();
        assert_eq!((begun, journal.output_bytes(), journal.totals()), (plan(), 500, counts(10)));
        assert_eq!(journal.state(0), Some(&State::Done(ticket(1))));
        assert_eq!(std::fs::read(&path).unwrap(), torn);
    }

    #[test]
    fn a_refused_batch_gets_a_new_id() {
        // A batch that was refused whole may be opened again with other bytes; a finished one not.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path, &plan()).unwrap();
        journal.begin_batch(0, &ticket(1)).unwrap();
        journal.refuse_batch(0, "batch.duplicate_record").unwrap();
        journal.begin_batch(0, &ticket(2)).unwrap();
        drop(journal);
        let mut journal = Journal::open(&path, &plan()).unwrap();
        assert_eq!(journal.state(0), Some(&State::Open(ticket(2))));
        journal.finish_batch(0, 1, counts(1)).unwrap();
        assert!(!journal.apply(Line::Open {
            batch: 0,
            batch_id: Uuid::nil().to_string(),
            digest: "00".repeat(32)
        }));
    }

    #[test]
    fn another_plan_is_refused() {
        // A rerun with another issuer, batch size or atomicity is refused and says what was begun.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        drop(Journal::open(&path, &plan()).unwrap());
        let other = Plan { batch_size: 500, ..plan() };
        let error = Journal::open(&path, &other).unwrap_err().to_string();
        assert!(error.ends_with("begun with issuer vn-moh, batch size 1000"), "{error}");
    }

    #[test]
    fn two_runs_do_not_share_a_journal() {
        // While one run holds the journal a second one is turned away.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let first = Journal::open(&path, &plan()).unwrap();
        assert!(matches!(Journal::open(&path, &plan()), Err(JournalError::InUse(_))));
        drop(first);
        assert!(Journal::open(&path, &plan()).is_ok());
    }

    #[test]
    fn other_files_are_not_overwritten() {
        // A file that is no journal is refused with the line, and left as it was.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let with_end = "{\"event\":\"begin\",\"x\":1}\n";
        for text in ["my notes\n", "my notes", with_end, "\n"] {
            std::fs::write(&path, text).unwrap();
            let error = Journal::open(&path, &plan()).unwrap_err();
            assert!(matches!(error, JournalError::Damaged { line: 1, .. }));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
