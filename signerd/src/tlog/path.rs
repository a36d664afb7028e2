//! Where a tile lies: `tile/LEVEL/NUMBER` and `tile/entries/NUMBER`, as `c2sp.org/tlog-tiles` has it.
//!
//! In go the paths of requests and files, out come level, number and width, and back. A number is written
//! in groups of three digits, all but the last one with an x before it; `.p/WIDTH` stands behind a tile
//! that is not full. It reads no file and asks nobody.

use std::fmt;

use super::tiles::TILE_WIDTH;

/// A tile of hashes or a bundle of entries, and how much of it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TilePath {
    /// The level of tiles; absent: entries.
    pub level: Option<u8>,
    /// The number within the level.
    pub number: u64,
    /// How many hashes or entries, from 1 to [`TILE_WIDTH`].
    pub width: usize,
}

/// Highest level of tiles: 256⁶ entries are more than there will be.
pub const LEVEL_MAX: u8 = 5;
/// What a bundle has in the place of a level.
const ENTRIES: &str = "entries";
/// Digits of a group.
const GROUP: usize = 3;
/// Numbers that a group tells apart.
const GROUP_NUMBERS: u64 = 1_000;
/// Most groups: 10¹² tiles are more than there will be.
const GROUPS_MAX: usize = 4;

impl TilePath {
    /// Reads a path; none: it is no tile's.
    #[must_use]
    pub fn find(path: &str) -> Option<Self> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let level = match level {
            ENTRIES => None,
            level => Some(digit(level).filter(|level| *level <= LEVEL_MAX)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            None => (rest, TILE_WIDTH),
            Some((number, width)) => (number, partial(width)?),
        };
        Some(Self { level, number: self::number(number)?, width })
    }

    /// The bundles of a log of this many entries, in order; the last one may not be full.
    pub fn bundles(size: u64) -> impl Iterator<Item = Self> {
        Self::level(None, size)
    }

    /// All tiles of hashes of a tree of this many entries.
    pub fn hashes(size: u64) -> impl Iterator<Item = Self> {
        let levels = (0..=LEVEL_MAX).map(move |level| (level, size >> (u32::from(level) * 8)));
        levels.flat_map(|(level, width)| Self::level(Some(level), width))
    }

    fn level(level: Option<u8>, things: u64) -> impl Iterator<Item = Self> {
        let full = u64::try_from(TILE_WIDTH).unwrap_or(u64::MAX);
        (0..things.div_ceil(full)).map(move |number| {
            let left = things.saturating_sub(number.saturating_mul(full)).min(full);
            Self { level, number, width: usize::try_from(left).unwrap_or(TILE_WIDTH) }
        })
    }

    /// Whether nothing can be added to it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            None => write!(f, "tile/{ENTRIES}/")?,
            Some(level) => write!(f, "tile/{level}/")?,
        }
        let mut scale = 1_u64;
        while self.number / scale >= GROUP_NUMBERS {
            scale = scale.saturating_mul(GROUP_NUMBERS);
        }
        while scale > 1 {
            write!(f, "x{:03}/", self.number / scale % GROUP_NUMBERS)?;
            scale /= GROUP_NUMBERS;
        }
        write!(f, "{:03}", self.number % GROUP_NUMBERS)?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

fn digit(text: &str) -> Option<u8> {
    (text.len() == 1).then(|| text.parse().ok())?
}

fn partial(text: &str) -> Option<usize> {
    let width: usize = text.parse().ok()?;
    ((1..TILE_WIDTH).contains(&width) && width.to_string() == text).then_some(width)
}

fn number(path: &str) -> Option<u64> {
    let groups: Vec<&str> = path.split('/').collect();
    let (last, before) = groups.split_last()?;
    if before.len() >= GROUPS_MAX || before.first() == Some(&"x000") {
        return None;
    }
    let before = before.iter().map(|group| group.strip_prefix('x')).collect::<Option<Vec<_>>>()?;
    let digits = |group: &&str| group.len() == GROUP && group.bytes().all(|b| b.is_ascii_digit());
    let groups: Vec<&str> = before.into_iter().chain([*last]).collect();
    groups.iter().all(digits).then(|| groups.concat().parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::{LEVEL_MAX, TilePath};

    #[test]
    fn paths_are_those_of_tiled_logs() {
        // Levels, numbers in groups of three digits and widths are read and written; whatever else is no
        // tile.
        let tile = |level, number, width| Some(TilePath { level, number, width });
        for (path, expected) in [
            ("tile/0/000", tile(Some(0), 0, 256)),
            ("tile/1/x001/234.p/17", tile(Some(1), 1_234, 17)),
            ("tile/entries/x001/x234/067", tile(None, 1_234_067, 256)),
            ("tile/entries/x999/x999/x999/999", tile(None, 999_999_999_999, 256)),
            ("tile/6/000", None),
            ("tile/00/000", None),
            ("tile/0/0", None),
            ("tile/0/1234", None),
            ("tile/0/001/234", None),
            ("tile/0/x000/001", None),
            ("tile/0/x1a1/001", None),
            ("tile/0/x001/x001/x001/x001/001", None),
            ("tile/0/000.p/0", None),
            ("tile/0/000.p/017", None),
            ("tile/0/000.p/256", None),
            ("tile/0", None),
            ("0/000", None),
        ] {
            let found = TilePath::find(path);
            assert_eq!(found, expected, "{path}");
            if let Some(found) = found {
                assert_eq!(found.to_string(), path);
            }
        }
    }

    #[test]
    fn a_tree_has_the_tiles_of_its_size() {
        // One entry more than three full bundles makes a partial one; a level above begins when a tile
        // is full, and no level is listed that has nothing.
        let shown = |tiles: &mut dyn Iterator<Item = TilePath>| -> Vec<String> {
            tiles.map(|tile| tile.to_string()).collect()
        };
        assert_eq!(
            shown(&mut TilePath::bundles(513)),
            ["tile/entries/000", "tile/entries/001", "tile/entries/002.p/1"]
        );
        assert_eq!(
            shown(&mut TilePath::hashes(513)),
            ["tile/0/000", "tile/0/001", "tile/0/002.p/1", "tile/1/000.p/2"]
        );
        assert_eq!(shown(&mut TilePath::hashes(65_536)).last().unwrap(), "tile/2/000.p/1");
        assert!(shown(&mut TilePath::hashes(0)).is_empty());
        assert!(TilePath::hashes(1 << 30).all(|tile| tile.level.unwrap() <= LEVEL_MAX));
    }
}
