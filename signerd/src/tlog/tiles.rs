//! The Merkle tree of RFC 6962, kept in tiles (`c2sp.org/tlog-tiles`): its memory does not grow.
//!
//! A tile holds up to 256 neighbouring hashes of one level; eight levels of the tree lie between two
//! levels of tiles, so that 10^8 entries have four levels. Full tiles never change. In go the hashes of
//! new entries, out come tiles to keep; from kept tiles come roots and proofs. It does not store: a
//! [`TileStore`] does.

use std::cell::RefCell;

use thiserror::Error;
use tlog_tiles::{Hash, HashReader, Tile};

/// Hashes in a full tile.
pub const TILE_WIDTH: usize = 256;
/// Levels of the tree in a tile.
const TILE_HEIGHT: u8 = 8;
/// Bytes of a hash (SHA-256).
pub const HASH_BYTES: usize = 32;

/// The hash of an entry or of a subtree.
pub type Node = [u8; HASH_BYTES];

/// Where a tile stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TileId {
    /// Level of tiles, from the entries up.
    pub level: u8,
    /// Number within the level.
    pub number: u64,
}

/// What keeps tiles.
pub trait TileStore {
    /// Why it cannot.
    type Error;
    /// Reads the hashes of a tile: as many as there are so far, one after the other.
    ///
    /// # Errors
    /// Where the store cannot be read.
    fn tile(&mut self, id: TileId) -> Result<Vec<u8>, Self::Error>;
    /// Writes a tile that is new or has grown.
    ///
    /// # Errors
    /// Where the store cannot be written.
    fn put_tile(&mut self, id: TileId, hashes: &[u8]) -> Result<(), Self::Error>;
}

/// Why the tree does not say what it was asked. To blame: the store, or who asks for more than there is.
#[derive(Debug, Error)]
pub enum TreeError<E> {
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(E),
    /// Tiles are missing or too short for the size.
    #[error("the tiles do not hold a tree of this size")]
    Incomplete,
}

/// The hash of an entry as a leaf.
#[must_use]
pub fn leaf(entry: &[u8]) -> Node {
    tlog_tiles::record_hash(entry).0
}

/// Appends entries by their hashes to a tree of a size.
///
/// # Errors
/// [`TreeError`]; what was written must be undone then.
pub fn append<S: TileStore>(
    store: &mut S,
    size: u64,
    leaves: &[Node],
) -> Result<(), TreeError<S::Error>> {
    let (mut rising, mut width, mut level) = (leaves.to_vec(), size, 0);
    while !rising.is_empty() {
        rising = append_level(store, level, width, &rising)?;
        width >>= TILE_HEIGHT;
        level = level.saturating_add(1);
    }
    Ok(())
}

/// Appends to one level of tiles, and gives the roots of the tiles that became full.
fn append_level<S: TileStore>(
    store: &mut S,
    level: u8,
    width: u64,
    hashes: &[Node],
) -> Result<Vec<Node>, TreeError<S::Error>> {
    let mut number = width >> TILE_HEIGHT;
    let held = held_bytes(width);
    let mut tile = Vec::new();
    if held > 0 {
        tile = store.tile(TileId { level, number }).map_err(TreeError::Store)?;
        if tile.len() < held {
            return Err(TreeError::Incomplete);
        }
        // A group that failed may have left nothing behind; a longer tile would be another's.
        tile.truncate(held);
    }
    let mut full = Vec::new();
    for hash in hashes {
        tile.extend_from_slice(hash);
        if tile.len() == TILE_WIDTH.saturating_mul(HASH_BYTES) {
            store.put_tile(TileId { level, number }, &tile).map_err(TreeError::Store)?;
            full.push(Tile::subtree_hash(&tile).0);
            tile.clear();
            number = number.saturating_add(1);
        }
    }
    if !tile.is_empty() {
        store.put_tile(TileId { level, number }, &tile).map_err(TreeError::Store)?;
    }
    Ok(full)
}

/// Bytes in the last tile of a level with so many hashes; 0: it is full.
fn held_bytes(width: u64) -> usize {
    let mask = u64::try_from(TILE_WIDTH).unwrap_or(u64::MAX).saturating_sub(1);
    usize::try_from(width & mask).unwrap_or(0).saturating_mul(HASH_BYTES)
}

/// The root of the tree of the first `size` entries.
///
/// # Errors
/// [`TreeError`].
pub fn root<S: TileStore>(store: &mut S, size: u64) -> Result<Node, TreeError<S::Error>> {
    read(store, size, |reader| tlog_tiles::tree_hash(size, reader)).map(|hash| hash.0)
}

/// Proves that entry `number` is in the tree of the first `size` entries (RFC 6962 §2.1.1).
///
/// # Errors
/// [`TreeError`]; [`TreeError::Incomplete`] also where there is no such entry.
pub fn prove_entry<S: TileStore>(
    store: &mut S,
    size: u64,
    number: u64,
) -> Result<Vec<Node>, TreeError<S::Error>> {
    read(store, size, |reader| tlog_tiles::prove_record(size, number, reader)).map(nodes)
}

/// Proves that the tree of the first `size` entries begins with that of the first `earlier` ones
/// (RFC 6962 §2.1.2).
///
/// # Errors
/// [`TreeError`]; [`TreeError::Incomplete`] also unless 1 ≤ `earlier` ≤ `size`.
pub fn prove_growth<S: TileStore>(
    store: &mut S,
    size: u64,
    earlier: u64,
) -> Result<Vec<Node>, TreeError<S::Error>> {
    read(store, size, |reader| tlog_tiles::prove_tree(size, earlier, reader)).map(nodes)
}

/// Tells whether a proof shows a leaf at its place in a tree of this size and root.
#[must_use]
pub fn is_entry(proof: &[Node], size: u64, root: Node, number: u64, leaf: Node) -> bool {
    let proof = proof.iter().copied().map(Hash).collect();
    tlog_tiles::check_record(&proof, size, Hash(root), number, Hash(leaf)).is_ok()
}

/// Tells whether a proof shows that one tree is the beginning of another; each is its size and root.
#[must_use]
pub fn is_growth(proof: &[Node], tree: (u64, Node), earlier: (u64, Node)) -> bool {
    let proof = proof.iter().copied().map(Hash).collect();
    tlog_tiles::check_tree(&proof, tree.0, Hash(tree.1), earlier.0, Hash(earlier.1)).is_ok()
}

fn nodes(hashes: Vec<Hash>) -> Vec<Node> {
    hashes.into_iter().map(|hash| hash.0).collect()
}

/// Largest tree that is read: beyond it the numbers of hashes would no longer fit.
const SIZE_MAX: u64 = 1 << 48;

fn read<S: TileStore, T>(
    store: &mut S,
    size: u64,
    work: impl FnOnce(&Reader<'_, S>) -> Result<T, tlog_tiles::Error>,
) -> Result<T, TreeError<S::Error>> {
    if size > SIZE_MAX {
        return Err(TreeError::Incomplete);
    }
    let reader = Reader { store: RefCell::new(store), failure: RefCell::new(None) };
    let found = work(&reader);
    match (found, reader.failure.into_inner()) {
        (_, Some(error)) => Err(TreeError::Store(error)),
        (Ok(found), None) => Ok(found),
        (Err(_), None) => Err(TreeError::Incomplete),
    }
}

/// Gives the library the hashes of a store.
struct Reader<'a, S: TileStore> {
    store: RefCell<&'a mut S>,
    failure: RefCell<Option<S::Error>>,
}

impl<S: TileStore> HashReader for Reader<'_, S> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        let mut last: Option<(TileId, Vec<u8>)> = None;
        let mut hashes = Vec::with_capacity(indexes.len());
        for &index in indexes {
            let tile = Tile::from_index(TILE_HEIGHT, index);
            let id = TileId { level: tile.level(), number: tile.level_index() };
            let data = match last.take() {
                Some((held, data)) if held == id => data,
                _ => self.tile(id)?,
            };
            hashes.push(tile.hash_at_index(&data, index)?);
            last = Some((id, data));
        }
        Ok(hashes)
    }
}

impl<S: TileStore> Reader<'_, S> {
    fn tile(&self, id: TileId) -> Result<Vec<u8>, tlog_tiles::Error> {
        self.store.borrow_mut().tile(id).map_err(|error| {
            *self.failure.borrow_mut() = Some(error);
            tlog_tiles::Error::InvalidTile
        })
    }
}

#[cfg(test)]
mod tests;
