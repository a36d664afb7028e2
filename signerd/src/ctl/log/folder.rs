//! An exported log on disk: `checkpoint`, `checkpoints/SIZE`, `tile/…`, `tile/entries/…`.
//!
//! The layout is that of `c2sp.org/tlog-tiles`, so that other tools read it, and beside it the checkpoints
//! from before. In go and out come the bytes of files; a file appears as a whole or not at all. What they
//! say is for `check` and `show`.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::super::output::FileError;
use crate::tlog::path::TilePath;
use crate::tlog::tiles::{HASH_BYTES, TILE_WIDTH, TileId, TileStore};

/// The latest checkpoint.
pub const CHECKPOINT: &str = "checkpoint";
/// The folder of all checkpoints, each under its number of entries.
pub const HISTORY: &str = "checkpoints";
/// What the names of unfinished files begin with.
const UNFINISHED: &str = ".part-";
/// Longest file that is read: 256 entries of 64 KiB.
const FILE_BYTES_MAX: u64 = 256 * (64 * 1024 + 2);
/// Longest note that is read.
const NOTE_BYTES_MAX: u64 = 64 * 1024;
/// Everybody who may enter the folder may read the log: it holds nothing personal.
const FILE_MODE: u32 = 0o644;

/// The folder of an exported log.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// A checkpoint of the history.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kept {
    /// Its path within the folder.
    pub name: String,
    /// The number of entries that its name says.
    pub size: u64,
    /// The note.
    pub note: String,
}

impl Folder {
    /// The folder at a path, which need not exist.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the latest checkpoint; none: there is no such file.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn checkpoint(&self) -> Result<Option<String>, FileError> {
        note(&self.0.join(CHECKPOINT))
    }

    /// Reads the checkpoints from before, in the order of their sizes.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn history(&self) -> Result<Vec<Kept>, FileError> {
        let folder = self.0.join(HISTORY);
        let files = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(FileError::of("read", &folder))?,
        };
        let mut kept = Vec::new();
        for file in files {
            let file = file.map_err(FileError::of("read", &folder))?;
            let name = file.file_name().to_string_lossy().into_owned();
            let Ok(size) = name.parse::<u64>() else { continue };
            if let Some(note) = note(&file.path())? {
                kept.push(Kept { name: format!("{HISTORY}/{name}"), size, note });
            }
        }
        kept.sort_by_key(|kept| kept.size);
        Ok(kept)
    }

    /// Reads a tile, or the full one of its number where this part of it is not there; none: neither is.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn tile(&self, tile: TilePath) -> Result<Option<(TilePath, Vec<u8>)>, FileError> {
        for tile in [tile, TilePath { width: TILE_WIDTH, ..tile }] {
            if let Some(bytes) = read(&self.0.join(tile.to_string()), FILE_BYTES_MAX)? {
                return Ok(Some((tile, bytes)));
            }
        }
        Ok(None)
    }

    /// Whether there is a file.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.join(name).is_file()
    }

    /// Writes a file as a whole, with the folders that it needs.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        put(&self.0.join(name), bytes, FILE_MODE, Durable::Later)
    }

    /// Writes a file as a whole, after everything that was written before it.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn put_last(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        let folder = fs::File::open(&self.0).map_err(FileError::of("open", &self.0))?;
        let synced = rustix::fs::syncfs(&folder).map_err(io::Error::from);
        synced.map_err(FileError::of("write", &self.0))?;
        put(&self.0.join(name), bytes, FILE_MODE, Durable::Now)
    }

    /// Removes a file that may be there.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn remove(&self, name: &str) -> Result<(), FileError> {
        let path = self.0.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FileError::of("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// The tiles of hashes of a tree of this many entries, as a store.
    #[must_use]
    pub fn hashes(&self, size: u64) -> Hashes<'_> {
        Hashes { folder: self, size }
    }
}

/// Whether a file must survive a loss of power at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Durable {
    /// It must.
    Now,
    /// Something that is written later takes care of it.
    Later,
}

/// Writes a file as a whole: whoever reads it finds the old one or the new one.
///
/// # Errors
/// [`FileError`].
pub fn put(path: &Path, bytes: &[u8], mode: u32, durable: Durable) -> Result<(), FileError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(FileError::of("make", folder))?;
    let failed = || FileError::of("write", path);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .permissions(mode)
        .tempfile_in(folder)
        .map_err(failed())?;
    file.write_all(bytes).map_err(failed())?;
    if durable == Durable::Now {
        file.as_file().sync_all().map_err(failed())?;
    }
    file.persist(path).map_err(|error| failed()(error.error))?;
    if durable == Durable::Now {
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed())?;
    }
    Ok(())
}

/// Reads a note; none: there is no such file.
///
/// # Errors
/// [`FileError`], also where it is not text.
pub fn note(path: &Path) -> Result<Option<String>, FileError> {
    let Some(bytes) = read(path, NOTE_BYTES_MAX)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into());
    text.map(Some).map_err(FileError::of("read", path))
}

fn read(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, FileError> {
    let mut bytes = Vec::new();
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(FileError::of("read", path))?,
    };
    let limited = file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes);
    let length = limited.map_err(FileError::of("read", path))?;
    if u64::try_from(length).is_ok_and(|length| length <= bytes_max) {
        Ok(Some(bytes))
    } else {
        Err(FileError::of("read", path)(io::ErrorKind::FileTooLarge.into()))
    }
}

/// The tiles of hashes as the tree's arithmetic wants them.
pub struct Hashes<'a> {
    folder: &'a Folder,
    /// Entries of the tree that is there.
    pub size: u64,
}

impl TileStore for Hashes<'_> {
    type Error = FileError;

    fn tile(&mut self, id: TileId) -> Result<Vec<u8>, FileError> {
        let tiles = self.size >> (u32::from(id.level) * 8);
        let full = u64::try_from(TILE_WIDTH).unwrap_or(u64::MAX);
        let width = tiles.saturating_sub(id.number.saturating_mul(full)).min(full);
        let width = usize::try_from(width).unwrap_or(TILE_WIDTH);
        let path = TilePath { level: Some(id.level), number: id.number, width };
        Ok(self.folder.tile(path)?.map(|(_, hashes)| hashes).unwrap_or_default())
    }

    fn put_tile(&mut self, id: TileId, hashes: &[u8]) -> Result<(), FileError> {
        let width = hashes.len() / HASH_BYTES;
        let path = TilePath { level: Some(id.level), number: id.number, width };
        self.folder.put(&path.to_string(), hashes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_whole_and_found_by_their_paths() {
        // A tile is read under its path, a part of it also from the full one; nothing unfinished is left.
        let folder = tempfile::tempdir().unwrap();
        let log = Folder::at(folder.path());
        let full = TilePath { level: Some(0), number: 1_234, width: 256 };
        let part = TilePath { width: 7, ..full };
        assert_eq!(log.tile(part).unwrap(), None);
        log.put(&full.to_string(), b"full").unwrap();
        assert_eq!(log.tile(part).unwrap(), Some((full, b"full".to_vec())));
        log.put(&part.to_string(), b"part").unwrap();
        assert_eq!(log.tile(part).unwrap(), Some((part, b"part".to_vec())));
        let left: Vec<_> = fs::read_dir(folder.path().join("tile/0/x001")).unwrap().collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn history_is_in_order() {
        // Checkpoints are listed by their size; other files there are not looked at.
        let folder = tempfile::tempdir().unwrap();
        let log = Folder::at(folder.path());
        assert_eq!(log.history().unwrap(), []);
        for size in ["10", "9", "notes.txt"] {
            log.put(&format!("{HISTORY}/{size}"), size.as_bytes()).unwrap();
        }
        let sizes: Vec<u64> = log.history().unwrap().iter().map(|kept| kept.size).collect();
        assert_eq!(sizes, [9, 10]);
        assert_eq!(log.checkpoint().unwrap(), None);
        log.put_last(CHECKPOINT, b"note").unwrap();
        assert_eq!(log.checkpoint().unwrap().as_deref(), Some("note"));
    }
}
