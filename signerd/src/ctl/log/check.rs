//! Holds an exported log against what was signed: hashes, history, held checkpoints, meaning.
//!
//! In go a folder, the audit keys and what the auditor holds; out comes a [`Report`] of everything that is
//! wrong and where. Roots are computed from the entries themselves; the stored tiles only help to say
//! which entry differs. The log is read once, bundle by bundle on all cores; the memory is one hash for
//! 256 entries and 8 bytes for each certificate. It asks no network and writes nothing.

use std::collections::HashMap;

use rayon::prelude::*;

use super::LogError;
use super::folder::Folder;
use super::marks::{Mark, Marks};
use crate::tlog::bundle;
use crate::tlog::cosign::WitnessKey;
use crate::tlog::fact::{Entry, Fact, NotAnEntry};
use crate::tlog::note::{AuditKey, Head};
use crate::tlog::path::TilePath;
use crate::tlog::peaks::Peaks;
use crate::tlog::sense::{self, Sense};
use crate::tlog::tiles::{HASH_BYTES, Node, TILE_WIDTH, leaf};

/// Bundles that are in memory at once: 16,384 entries.
const BUNDLES_AT_ONCE: usize = 64;
/// Findings that are told one by one; the rest is counted.
const FINDINGS_MAX: usize = 100;

/// What the auditor holds.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The audit keys: the present one, and those before it.
    pub keys: Vec<AuditKey>,
    /// The log's name; absent: that of its checkpoint.
    pub origin: Option<String>,
    /// Checkpoints from elsewhere, each with where it came from.
    pub held: Vec<(String, String)>,
    /// Witnesses who must have cosigned.
    pub witnesses: Vec<WitnessKey>,
}

/// Something that is wrong, or worth a look.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The file, or what was held.
    pub place: String,
    /// The entry, where it is known.
    pub entry: Option<u64>,
    /// What it is.
    pub text: String,
}

/// Findings, of which only so many are kept.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The first ones.
    pub kept: Vec<Finding>,
    /// All that were found; a search of its own ends where no more are kept.
    pub count: u64,
}

impl Findings {
    pub(super) fn add(&mut self, place: &str, entry: Option<u64>, text: impl Into<String>) {
        self.count = self.count.saturating_add(1);
        if !self.is_full() {
            self.kept.push(Finding { place: place.to_owned(), entry, text: text.into() });
        }
    }

    /// Whether no more are kept.
    fn is_full(&self) -> bool {
        self.kept.len() >= FINDINGS_MAX
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// The head that was signed.
    pub head: Head,
    /// What is wrong; nothing: the log is the one that was signed.
    pub wrong: Findings,
    /// What is odd.
    pub warnings: Findings,
    /// How many entries from the beginning are those that were signed, as far as that is known.
    pub good: u64,
    /// Certificates in the log.
    pub certificates: u64,
    /// Batches that are neither answered nor released.
    pub open_batches: u64,
    /// Who cosigned, how many entries, and when.
    pub cosigned: Vec<(String, u64, u64)>,
}

/// Holds a log against what was signed; `progress` is told how many entries were read.
///
/// # Errors
/// [`LogError`] where the folder is no export, or cannot be read.
pub fn check(
    folder: &Folder,
    given: &Given,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Report, LogError> {
    let mut marks = Marks::of(folder, given)?;
    let wrong = std::mem::take(&mut marks.wrong);
    // A mark of no entries ends in no bundle: its root is that of the empty tree (RFC 6962 §2.1).
    let nothing = Peaks::root_of(&[]);
    let of_nothing = |mark: &Mark| (mark.size == 0).then_some(mark.root == nothing);
    let held = marks.marks.iter().map(of_nothing).collect();
    let mut reading = Reading {
        folder,
        peaks: Peaks::default(),
        rows: Vec::new(),
        rest: None,
        is_whole: true,
        held,
        marks,
        sense: Sense::default(),
        wrong,
        meaning: Findings::default(),
        warnings: Findings::default(),
        suspects: Vec::new(),
    };
    let bundles: Vec<TilePath> = TilePath::bundles(reading.marks.head.size).collect();
    for some in bundles.chunks(BUNDLES_AT_ONCE) {
        let read = some.par_iter().map(|path| read(folder, *path, &reading.marks.marks));
        for bundle in read.collect::<Result<Vec<_>, LogError>>()? {
            progress(u64::try_from(bundle.path.width).unwrap_or(0));
            reading.take(bundle);
        }
    }
    reading.end()
}

/// One bundle, hashed and decoded.
struct Bundle {
    path: TilePath,
    /// The root of its leaves; none: it cannot be read.
    root: Option<Node>,
    /// The roots of its first leaves at the marks that end in it, each with the mark's place.
    partial: Vec<(usize, Node)>,
    entries: Vec<Result<Entry, NotAnEntry>>,
    /// What is wrong with the file.
    fault: Option<String>,
    /// What the stored tile says instead; none: the same.
    other: Option<Stored>,
}

/// A stored tile that is not that of the entries.
#[derive(Default)]
struct Stored {
    /// Which leaves it has otherwise; none: it cannot be read, or is too short.
    differs: Vec<usize>,
    root: Option<Node>,
}

/// The stored roots of full bundles, and that of the last one where it is not full.
struct Row {
    full: Vec<Node>,
    rest: Option<Node>,
}

/// The number of the first entry of a bundle.
fn first_of(path: TilePath) -> u64 {
    path.number.saturating_mul(u64::try_from(TILE_WIDTH).unwrap_or(u64::MAX))
}

fn read(folder: &Folder, path: TilePath, marks: &[Mark]) -> Result<Bundle, LogError> {
    let unreadable = |fault: String| Bundle {
        path,
        root: None,
        partial: Vec::new(),
        entries: Vec::new(),
        fault: Some(fault),
        other: None,
    };
    let Some((found, bytes)) = folder.tile(path)? else {
        return Ok(unreadable("the file is missing".to_owned()));
    };
    let mut entries = match bundle::decode(&bytes, found.width) {
        Ok(entries) => entries,
        Err(fault) => return Ok(unreadable(fault.to_string())),
    };
    entries.truncate(path.width);
    let leaves: Vec<Node> = entries.iter().map(|entry| leaf(entry)).collect();
    let root = Peaks::root_of(&leaves);
    let first = first_of(path);
    let ends_here = |mark: &Mark| {
        let inside = mark.size.checked_sub(first).and_then(|inside| usize::try_from(inside).ok());
        inside.filter(|inside| (1..=path.width).contains(inside))
    };
    let partial = marks.iter().enumerate().filter_map(|(at, mark)| {
        let known = leaves.get(..ends_here(mark)?)?;
        Some((at, if known.len() == leaves.len() { root } else { Peaks::root_of(known) }))
    });
    Ok(Bundle {
        path,
        root: Some(root),
        partial: partial.collect(),
        entries: entries.iter().map(|entry| Entry::decode(entry)).collect(),
        fault: None,
        other: differing(folder, path, &leaves)?,
    })
}

/// Which leaves are not those of the stored tile, and that tile's root; none: they all are.
fn differing(folder: &Folder, path: TilePath, leaves: &[Node]) -> Result<Option<Stored>, LogError> {
    let hashes = TilePath { level: Some(0), ..path };
    let Some((_, mut stored)) = folder.tile(hashes)? else {
        return Ok(Some(Stored::default()));
    };
    stored.truncate(path.width.saturating_mul(HASH_BYTES));
    if stored == leaves.as_flattened() {
        return Ok(None);
    }
    let (stored, rest) = stored.as_chunks::<HASH_BYTES>();
    if stored.len() != path.width || !rest.is_empty() {
        return Ok(Some(Stored::default()));
    }
    let pairs = leaves.iter().zip(stored).enumerate();
    let differs = pairs.filter(|(_, (leaf, stored))| leaf != stored).map(|(at, _)| at).collect();
    Ok(Some(Stored { differs, root: Some(Peaks::root_of(stored)) }))
}

/// A bundle that is not the stored tile's.
struct Suspect {
    path: TilePath,
    root: Option<Node>,
    stored: Stored,
}

/// What is known after some bundles.
struct Reading<'a> {
    folder: &'a Folder,
    marks: Marks,
    peaks: Peaks,
    /// The roots of full bundles; none: it cannot be read.
    rows: Vec<Option<Node>>,
    /// The root of the last bundle, where it is not full.
    rest: Option<Node>,
    /// Whether all bundles so far could be read.
    is_whole: bool,
    /// Whether each mark's root is that of the entries; none: not reached.
    held: Vec<Option<bool>>,
    sense: Sense,
    wrong: Findings,
    /// What contradicts itself.
    meaning: Findings,
    warnings: Findings,
    suspects: Vec<Suspect>,
}

impl Reading<'_> {
    fn take(&mut self, bundle: Bundle) {
        let place = bundle.path.to_string();
        let first = first_of(bundle.path);
        if let Some(fault) = bundle.fault {
            self.wrong.add(&place, Some(first), fault);
            self.is_whole = false;
        }
        for (at, rest) in bundle.partial {
            let root = self.peaks.root(Some(rest));
            let mark = self.marks.marks.get(at);
            if let (true, Some(held), Some(mark)) = (self.is_whole, self.held.get_mut(at), mark) {
                *held = Some(root == mark.root);
            }
        }
        if bundle.path.is_full() {
            self.rows.push(bundle.root);
            bundle.root.into_iter().for_each(|root| self.peaks.push(root));
        } else {
            self.rest = bundle.root;
        }
        for (number, entry) in (first..).zip(&bundle.entries) {
            for odd in self.sense.take(number, entry) {
                let findings =
                    if odd.is_warning() { &mut self.warnings } else { &mut self.meaning };
                findings.add(&place, Some(number), odd.to_string());
            }
        }
        let other = bundle.other.or_else(|| bundle.root.is_none().then(Stored::default));
        if let Some(stored) = other {
            self.suspects.push(Suspect { path: bundle.path, root: bundle.root, stored });
        }
    }

    fn end(mut self) -> Result<Report, LogError> {
        let mut good = self.good();
        for (mark, held) in self.marks.marks.iter().zip(&self.held) {
            if *held == Some(false) {
                self.wrong.add(&mark.place, None, mark.refuted());
            }
        }
        let is_signed = self.is_whole && self.held.get(self.marks.latest) == Some(&Some(true));
        let first_bad = if is_signed { self.tiles()? } else { self.locate()? };
        if let Some(first_bad) = first_bad.filter(|_| !self.marks.is_longer) {
            good = good.max(first_bad);
        }
        let certificates = u64::try_from(self.sense.certificates()).unwrap_or(u64::MAX);
        let open_batches = u64::try_from(self.sense.open_batches()).unwrap_or(u64::MAX);
        let doubled = std::mem::take(&mut self.sense).doubled();
        if !doubled.is_empty() {
            self.tell_doubled(&doubled, self.marks.head.size)?;
        }
        // What follows a changed entry contradicts it, and says nothing of its own.
        let known = |finding: &&Finding| is_signed || finding.entry.is_some_and(|e| e < good);
        let told = self.meaning.kept.iter().filter(known);
        told.for_each(|f| self.wrong.add(&f.place, f.entry, f.text.as_str()));
        if is_signed {
            let kept = u64::try_from(self.meaning.kept.len()).unwrap_or(u64::MAX);
            self.wrong.count =
                self.wrong.count.saturating_add(self.meaning.count.saturating_sub(kept));
        }
        Ok(Report {
            head: self.marks.head,
            wrong: self.wrong,
            warnings: self.warnings,
            good,
            certificates,
            open_batches,
            cosigned: self.marks.cosigned,
        })
    }

    /// How many entries from the beginning are certainly good: those below the last mark that holds before
    /// the first one that does not. Where the log holds for itself and against nothing that is held, only
    /// what is held can say.
    fn good(&self) -> u64 {
        let marks = || self.marks.marks.iter().zip(&self.held);
        let refuted = || marks().filter(|(_, held)| **held == Some(false)).map(|(mark, _)| mark);
        let for_itself = self.held.get(self.marks.latest) == Some(&Some(true));
        let is_fork = self.marks.is_longer || (for_itself && refuted().any(|mark| mark.is_held));
        let end = refuted().map(|mark| mark.size).min().unwrap_or(u64::MAX);
        let holding = marks().filter(|(mark, held)| {
            **held == Some(true) && mark.size < end && (mark.is_held || !is_fork)
        });
        holding.map(|(mark, _)| mark.size).max().unwrap_or(0)
    }

    /// The entries are those that were signed: the stored tiles must be theirs.
    fn tiles(&mut self) -> Result<Option<u64>, LogError> {
        for suspect in std::mem::take(&mut self.suspects) {
            let place = TilePath { level: Some(0), ..suspect.path }.to_string();
            let text = "not the hashes of the entries, which are as signed; export it again";
            self.wrong.add(&place, None, text);
        }
        let mut row: Vec<Node> = self.rows.iter().copied().flatten().collect();
        let mut level = 1;
        while !row.is_empty() {
            let mut above = Vec::new();
            for (number, hashes) in (0..).zip(row.chunks(TILE_WIDTH)) {
                let path = TilePath { level: Some(level), number, width: hashes.len() };
                let stored = self.folder.tile(path)?.map(|(_, stored)| stored);
                let expected = hashes.as_flattened();
                if stored
                    .and_then(|stored| stored.get(..expected.len()).map(<[u8]>::to_vec))
                    .as_deref()
                    != Some(expected)
                {
                    let text =
                        "not the hashes of the entries, which are as signed; export it again";
                    self.wrong.add(&path.to_string(), None, text);
                }
                if path.is_full() {
                    above.push(Peaks::root_of(hashes));
                }
            }
            row = above;
            level = level.saturating_add(1);
        }
        Ok(None)
    }

    /// The entries are not those that were signed: finds out which, if the tiles still say, and gives the
    /// first one.
    fn locate(&mut self) -> Result<Option<u64>, LogError> {
        let head = self.marks.head.clone();
        let Some(Row { full, rest }) = self.signed_row(&head)? else { return Ok(None) };
        let has_part = TilePath::bundles(head.size).last().is_some_and(|path| !path.is_full());
        let last = has_part.then_some(self.rest);
        let computed = self.rows.iter().copied().chain(last);
        let paths = TilePath::bundles(head.size);
        let signed = full.into_iter().chain(rest);
        let mut first_bad = None;
        for ((path, computed), signed) in paths.zip(computed).zip(signed) {
            if computed == Some(signed) {
                continue;
            }
            let first = first_of(path);
            let suspect = self.suspects.iter().find(|suspect| suspect.path == path);
            let exact = suspect
                .filter(|suspect| suspect.stored.root == Some(signed) && suspect.root.is_some());
            let numbers: Vec<u64> = exact.map_or_else(Vec::new, |suspect| {
                let number = |at: &usize| first.saturating_add(u64::try_from(*at).unwrap_or(0));
                suspect.stored.differs.iter().map(number).collect()
            });
            first_bad = first_bad.or(Some(numbers.first().copied().unwrap_or(first)));
            let place = path.to_string();
            for number in &numbers {
                self.wrong.add(&place, Some(*number), "not the entry that was signed");
            }
            if numbers.is_empty() {
                self.wrong.add(&place, Some(first), "not the entries that were signed");
            }
        }
        Ok(first_bad)
    }

    /// The stored roots of all bundles, if they give the root that was signed.
    fn signed_row(&self, head: &Head) -> Result<Option<Row>, LogError> {
        let (mut full, mut peaks) = (Vec::new(), Peaks::default());
        for path in TilePath::hashes(head.size).filter(|path| path.level == Some(1)) {
            let Some((_, stored)) = self.folder.tile(path)? else { return Ok(None) };
            let (hashes, _) = stored.as_chunks::<HASH_BYTES>();
            let Some(hashes) = hashes.get(..path.width) else { return Ok(None) };
            full.extend_from_slice(hashes);
            hashes.iter().for_each(|hash| peaks.push(*hash));
        }
        let partial = TilePath::hashes(head.size)
            .take_while(|path| path.level == Some(0))
            .find(|path| !path.is_full());
        let mut rest = None;
        if let Some(path) = partial {
            let Some((_, stored)) = self.folder.tile(path)? else { return Ok(None) };
            let (hashes, _) = stored.as_chunks::<HASH_BYTES>();
            let Some(hashes) = hashes.get(..path.width) else { return Ok(None) };
            rest = Some(Peaks::root_of(hashes));
        }
        Ok((peaks.root(rest) == head.root).then_some(Row { full, rest }))
    }

    /// Reads the log once more for identifiers that are there twice, until no more findings are kept.
    fn tell_doubled(&mut self, doubled: &[u64], size: u64) -> Result<(), LogError> {
        // By identifier: whoever wrote the log may have doubled all of them.
        let mut seen: HashMap<[u8; 16], u64> = HashMap::new();
        for path in TilePath::bundles(size) {
            if self.meaning.is_full() {
                break;
            }
            let Some((found, bytes)) = self.folder.tile(path)? else { continue };
            let Ok(entries) = bundle::decode(&bytes, found.width) else { continue };
            for (number, entry) in (first_of(path)..size).zip(entries) {
                let Ok(Entry { fact: Fact::CertificateSigned(certificate), .. }) =
                    Entry::decode(entry)
                else {
                    continue;
                };
                if doubled.binary_search(&sense::beginning(&certificate.uvci)).is_err() {
                    continue;
                }
                let Some(earlier) = seen.get(&certificate.uvci).copied() else {
                    seen.insert(certificate.uvci, number);
                    continue;
                };
                let text = sense::Oddity::Twice(earlier).to_string();
                self.meaning.add(&path.to_string(), Some(number), text);
            }
        }
        Ok(())
    }
}
