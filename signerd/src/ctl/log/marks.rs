//! What was signed about a log: its checkpoint, its history, and what an auditor holds.
//!
//! In go notes and keys, out come [`Marks`]: sizes with the roots that must be found there. Notes that do
//! not open, belong to another log, or say more entries than the log has are findings at once.

use super::LogError;
use super::check::{Findings, Given};
use super::folder::{CHECKPOINT, Folder};
use crate::tlog::note::{AuditKey, Head, NotACheckpoint};
use crate::tlog::tiles::Node;

/// A size at which the root is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mark {
    pub(super) size: u64,
    pub(super) root: Node,
    /// The file, or what was held.
    pub(super) place: String,
    pub(super) is_held: bool,
}

impl Mark {
    /// What it means that the entries give another root.
    pub(super) fn refuted(&self) -> String {
        let size = self.size;
        if self.is_held {
            format!(
                "its first {size} entries are not those of this log: a fork, or a rewritten log"
            )
        } else {
            format!("the first {size} entries are not those that it signs")
        }
    }
}

/// What was signed, by size.
pub(super) struct Marks {
    pub(super) head: Head,
    pub(super) marks: Vec<Mark>,
    /// Which of them is the checkpoint of the log.
    pub(super) latest: usize,
    pub(super) wrong: Findings,
    /// Whether something that is held signs more entries than the log has.
    pub(super) is_longer: bool,
    /// Who cosigned, how many entries, and when.
    pub(super) cosigned: Vec<(String, u64, u64)>,
}

/// Opens a note with whichever of the keys signed it.
pub(super) fn open(
    note: &str,
    keys: &[AuditKey],
    origin: Option<&str>,
) -> Result<Head, NotACheckpoint> {
    let mut refused = NotACheckpoint::Unsigned;
    for key in keys {
        match Head::open(note, key, origin) {
            Err(NotACheckpoint::Unsigned) => {}
            Err(cause) => refused = cause,
            opened => return opened,
        }
    }
    Err(refused)
}

impl Marks {
    pub(super) fn of(folder: &Folder, given: &Given) -> Result<Self, LogError> {
        let absent = || LogError::NotAnExport(folder.path().to_owned());
        let note = folder.checkpoint()?.ok_or_else(absent)?;
        let head = open(&note, &given.keys, given.origin.as_deref());
        let head =
            head.map_err(|cause| LogError::NotSigned { place: CHECKPOINT.to_owned(), cause })?;
        let mut found = Self {
            marks: vec![mark(&head, CHECKPOINT, false)],
            head,
            latest: 0,
            wrong: Findings::default(),
            is_longer: false,
            cosigned: Vec::new(),
        };
        for kept in folder.history()? {
            match open(&kept.note, &given.keys, Some(&found.head.origin)) {
                Ok(head) if head.size != kept.size => {
                    found.wrong.add(&kept.name, None, "it is that of another size");
                }
                opened => found.add(&kept.name, &opened, false),
            }
        }
        for (place, note) in &given.held {
            let opened = open(note, &given.keys, Some(&found.head.origin));
            found.add(place, &opened, true);
        }
        found.witnesses(given, &note);
        found.marks.sort_by_key(|mark| mark.size);
        let is_latest = |mark: &Mark| mark.place == CHECKPOINT && !mark.is_held;
        found.latest = found.marks.iter().position(is_latest).unwrap_or(0);
        Ok(found)
    }

    fn add(&mut self, place: &str, opened: &Result<Head, NotACheckpoint>, is_held: bool) {
        let (size, latest) = match opened {
            Err(cause) => {
                self.wrong.add(place, None, cause.to_string());
                return;
            }
            Ok(head) => (head.size, self.head.size),
        };
        if size > latest {
            let text = format!(
                "it has {size} entries and this log {latest}: the log was truncated, or an older one \
                 put back"
            );
            self.wrong.add(place, Some(latest), text);
            self.is_longer = true;
            return;
        }
        self.marks.extend(opened.iter().map(|head| mark(head, place, is_held)));
    }

    /// Each witness must have cosigned one of the notes that are there.
    fn witnesses(&mut self, given: &Given, note: &str) {
        let notes = || {
            let held = given.held.iter().map(|(place, note)| (place.as_str(), note.as_str()));
            [(CHECKPOINT, note)].into_iter().chain(held)
        };
        for witness in &given.witnesses {
            let mut latest: Option<(u64, u64)> = None;
            for (place, note) in notes() {
                let opened = open(note, &given.keys, Some(&self.head.origin));
                match (opened, witness.cosigned(note)) {
                    (_, Err(cause)) => self.wrong.add(place, None, cause.to_string()),
                    (Ok(head), Ok(Some(at))) => latest = latest.max(Some((head.size, at))),
                    _ => {}
                }
            }
            match latest {
                Some((size, at)) => self.cosigned.push((witness.name().to_owned(), size, at)),
                None => {
                    let text = format!("{} cosigned none of the checkpoints", witness.name());
                    self.wrong.add(CHECKPOINT, None, text);
                }
            }
        }
    }
}

fn mark(head: &Head, place: &str, is_held: bool) -> Mark {
    Mark { size: head.size, root: head.root, place: place.to_owned(), is_held }
}
