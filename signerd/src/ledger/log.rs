//! The log within the ledger: entries go in with the commit of what they are about, or not at all.
//!
//! In go facts and their time, in the transaction of the rows that they belong to; out come their numbers.
//! The first entry of every log says how many certificates are older than it. The tree is kept by
//! [`tiles`], the entries and tiles by the engine; what a fact means is known to who tells it.

use super::LedgerError;
use super::store::Store;
use crate::tlog::fact::{Entry, Fact};
use crate::tlog::tiles::{self, Node, TileId, TileStore, TreeError};

/// Appends facts of one time, and gives the number of the first one.
pub(super) fn append(
    store: &mut dyn Store,
    at: i64,
    facts: impl IntoIterator<Item = Fact>,
) -> Result<u64, LedgerError> {
    let mut size = store.log_size()?;
    if size == 0 {
        let certificates = store.count_certificates()?;
        write(store, 0, &[Entry { at, fact: Fact::LogBegun { certificates } }.encode()])?;
        size = 1;
    }
    let entries: Vec<Vec<u8>> = facts.into_iter().map(|fact| Entry { at, fact }.encode()).collect();
    write(store, size, &entries)?;
    Ok(size)
}

fn write(store: &mut dyn Store, size: u64, entries: &[Vec<u8>]) -> Result<(), LedgerError> {
    let leaves: Vec<Node> = entries.iter().map(|entry| tiles::leaf(entry)).collect();
    store.insert_entries(size, entries)?;
    tiles::append(&mut Tiles(store), size, &leaves).map_err(told)
}

/// The latest time that the end of the log bears, or a kept checkpoint.
pub(super) fn latest_time(store: &mut dyn Store) -> Result<Option<i64>, LedgerError> {
    let size = store.log_size()?;
    let first = size.saturating_sub(u64::try_from(LATEST_ENTRIES).unwrap_or(u64::MAX));
    let entries = store.entries(first, LATEST_ENTRIES)?;
    // An entry of a newer release has a time too, but no reader here.
    let times = entries.iter().filter_map(|entry| Some(Entry::decode(entry).ok()?.at));
    Ok(times.max().max(store.latest_checkpoint_time()?))
}

/// How far back is a later time looked for? A daemon under a wrong clock signs nothing: it logs its starts
/// and ends, and what happens to its workers. A hundred of those do not hide when the clock was right, and
/// more of them not the checkpoint of the last right hour.
const LATEST_ENTRIES: usize = 256;

/// The root of the tree of the first `size` entries.
pub(super) fn root(store: &mut dyn Store, size: u64) -> Result<Node, LedgerError> {
    tiles::root(&mut Tiles(store), size).map_err(told)
}

/// Proves that an entry is in the tree of the first `size` entries.
pub(super) fn prove_entry(
    store: &mut dyn Store,
    size: u64,
    number: u64,
) -> Result<Vec<Node>, LedgerError> {
    tiles::prove_entry(&mut Tiles(store), size, number).map_err(told)
}

/// Proves that the tree of the first `size` entries begins with that of the first `earlier` ones.
pub(super) fn prove_growth(
    store: &mut dyn Store,
    size: u64,
    earlier: u64,
) -> Result<Vec<Node>, LedgerError> {
    tiles::prove_growth(&mut Tiles(store), size, earlier).map_err(told)
}

fn told(error: TreeError<LedgerError>) -> LedgerError {
    match error {
        TreeError::Store(error) => error,
        TreeError::Incomplete => LedgerError::Corrupt {
            what: "the tree of the log does not hold its entries",
            source: None,
        },
    }
}

/// The tiles that the engine keeps.
struct Tiles<'a>(&'a mut dyn Store);

impl TileStore for Tiles<'_> {
    type Error = LedgerError;

    fn tile(&mut self, id: TileId) -> Result<Vec<u8>, LedgerError> {
        self.0.tile(id)
    }

    fn put_tile(&mut self, id: TileId, hashes: &[u8]) -> Result<(), LedgerError> {
        self.0.put_tile(id, hashes)
    }
}
