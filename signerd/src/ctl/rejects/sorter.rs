//! Sorting more rows than fit into memory.
//!
//! Rows go in in any order and come out by their keys. Whenever a certain number of bytes is waiting,
//! it is sorted and written to a file without a name in the folder of the result: it vanishes however
//! the program ends, nobody else can open it, and it lies where personal data is allowed to lie. At
//! the end the files are read side by side. Memory holds one such portion and one row per file.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ctl::output::FileError;

/// Bytes that wait in memory until they are sorted and written: a million rows of a list, about a
/// gigabyte, are 16 portions.
const PORTION_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most portions, one open file each: 32 GiB of rows, thirty million rejected records.
const PORTIONS_MAX: usize = 512;

/// Something that has its place among others.
pub(super) trait Keyed: Serialize + DeserializeOwned {
    /// What the place depends on.
    type Key: Ord;

    /// The place.
    fn key(&self) -> Self::Key;
}

/// Why rows could not be sorted.
#[derive(Debug, thiserror::Error)]
pub enum SortError {
    /// A temporary file could not be made, written or read; give the folder room, then repeat.
    #[error(transparent)]
    File(#[from] FileError),
    /// More rows than any list; divide the records file.
    #[error("more than {PORTIONS_MAX} portions of rejected records")]
    TooMany,
}

/// Takes rows.
pub(super) struct Sorter<T: Keyed> {
    folder: PathBuf,
    portion_bytes_max: usize,
    waiting: Vec<(T::Key, Vec<u8>)>,
    waiting_bytes: usize,
    portions: Vec<File>,
    rows: u64,
    bytes: u64,
}

impl<T: Keyed> Sorter<T> {
    /// Begins with no rows; what does not fit into memory goes to this folder.
    pub(super) fn new(folder: &Path) -> Self {
        Self::with_portions(folder, PORTION_BYTES_MAX)
    }

    fn with_portions(folder: &Path, portion_bytes_max: usize) -> Self {
        Self {
            folder: folder.to_owned(),
            portion_bytes_max,
            waiting: Vec::new(),
            waiting_bytes: 0,
            portions: Vec::new(),
            rows: 0,
            bytes: 0,
        }
    }

    /// Takes one row; returns its bytes, about.
    ///
    /// # Errors
    /// When a portion cannot be written.
    pub(super) fn push(&mut self, row: &T) -> Result<u64, SortError> {
        let mut text = serde_json::to_vec(row).map_err(|error| self.unwritable(error.into()))?;
        text.push(b'\n');
        self.waiting_bytes = self.waiting_bytes.saturating_add(text.len());
        let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
        self.rows = self.rows.saturating_add(1);
        self.waiting.push((row.key(), text));
        if self.waiting_bytes > self.portion_bytes_max {
            self.put_aside()?;
        }
        Ok(bytes)
    }

    /// How many rows were taken.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// How many bytes the rows have, about.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives the rows in order; rows with the same key in the order in which they came.
    ///
    /// # Errors
    /// When a portion cannot be read back.
    pub(super) fn finish(mut self) -> Result<Merge<T>, SortError> {
        self.waiting.sort_by(|a, b| a.0.cmp(&b.0));
        let mut merge =
            Merge { folder: self.folder, sources: Vec::new(), heads: BinaryHeap::new() };
        for mut portion in self.portions {
            portion.rewind().map_err(FileError::of("read back a file in", &merge.folder))?;
            merge.sources.push(Source::File(BufReader::with_capacity(1 << 16, portion)));
        }
        merge.sources.push(Source::Memory(self.waiting.into_iter()));
        for source in 0..merge.sources.len() {
            merge.advance(source)?;
        }
        Ok(merge)
    }

    fn put_aside(&mut self) -> Result<(), SortError> {
        if self.portions.len() >= PORTIONS_MAX {
            return Err(SortError::TooMany);
        }
        self.waiting.sort_by(|a, b| a.0.cmp(&b.0));
        let portion = write_portion(&self.folder, &self.waiting)
            .map_err(FileError::of("write a temporary file in", &self.folder))?;
        self.portions.push(portion);
        self.waiting.clear();
        self.waiting_bytes = 0;
        Ok(())
    }

    fn unwritable(&self, error: io::Error) -> SortError {
        FileError::of("write a temporary file in", &self.folder)(error).into()
    }
}

fn write_portion<K>(folder: &Path, rows: &[(K, Vec<u8>)]) -> io::Result<File> {
    let mut file = BufWriter::with_capacity(1 << 16, tempfile::tempfile_in(folder)?);
    for (_, text) in rows {
        file.write_all(text)?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)
}

/// Gives rows in order.
pub(super) struct Merge<T: Keyed> {
    folder: PathBuf,
    sources: Vec<Source<T::Key>>,
    heads: BinaryHeap<Head<T>>,
}

enum Source<K> {
    File(BufReader<File>),
    Memory(vec::IntoIter<(K, Vec<u8>)>),
}

/// The first row of a source that was not given yet.
struct Head<T: Keyed> {
    key: T::Key,
    source: usize,
    row: T,
}

impl<T: Keyed> Merge<T> {
    /// Puts the next row of a source among the heads.
    fn advance(&mut self, source: usize) -> Result<(), SortError> {
        let next = match self.sources.get_mut(source) {
            None => None,
            Some(Source::Memory(rows)) => rows.next().map(|(_, text)| text),
            Some(Source::File(file)) => {
                let mut text = Vec::new();
                file.read_until(b'\n', &mut text)
                    .map_err(FileError::of("read back a file in", &self.folder))?;
                (!text.is_empty()).then_some(text)
            }
        };
        if let Some(text) = next {
            let row: T = serde_json::from_slice(&text)
                .map_err(io::Error::from)
                .map_err(FileError::of("read back a file in", &self.folder))?;
            self.heads.push(Head { key: row.key(), source, row });
        }
        Ok(())
    }
}

impl<T: Keyed> Iterator for Merge<T> {
    type Item = Result<T, SortError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Head { source, row, .. } = self.heads.pop()?;
        Some(self.advance(source).map(|()| row))
    }
}

impl<T: Keyed> Ord for Head<T> {
    // The heap gives the greatest first: the smallest key, and of those the oldest portion.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key).then(other.source.cmp(&self.source))
    }
}

impl<T: Keyed> PartialOrd for Head<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Keyed> PartialEq for Head<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T: Keyed> Eq for Head<T> {}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Thing(u64, String);

    impl Keyed for Thing {
        type Key = u64;

        fn key(&self) -> u64 {
            self.0
        }
    }

    fn sorted(things: &[Thing], portion_bytes_max: usize) -> (usize, Vec<Thing>) {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::with_portions(folder.path(), portion_bytes_max);
        for thing in things {
            sorter.push(thing).unwrap();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no name on disk");
        let portions = sorter.portions.len();
        (portions, sorter.finish().unwrap().map(Result::unwrap).collect())
    }

    #[test]
    fn portions_on_disk_change_nothing() {
        // In memory or in many portions on disk: the same stable order, every row once.
        let things: Vec<Thing> = (0..500_u64)
            .map(|n| Thing(n.wrapping_mul(7919) % 97, format!("dòng {n}\nhai")))
            .collect();
        let mut expected = things.clone();
        expected.sort_by_key(|thing| thing.0);
        let (none, in_memory) = sorted(&things, usize::MAX);
        let (many, on_disk) = sorted(&things, 100);
        assert_eq!((none, many > 50), (0, true), "{many} portions");
        assert_eq!(in_memory, expected);
        assert_eq!(on_disk, expected);
    }

    #[test]
    fn no_rows_are_no_fault() {
        // Nothing in, nothing out.
        assert_eq!(sorted(&[], 10).1, []);
    }

    #[test]
    fn the_number_of_files_is_bounded() {
        // More portions than the limit are refused instead of running out of files.
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::with_portions(folder.path(), 0);
        let thing = Thing(1, String::new());
        for _ in 0..PORTIONS_MAX {
            sorter.push(&thing).unwrap();
        }
        assert!(matches!(sorter.push(&thing), Err(SortError::TooMany)));
    }
}
