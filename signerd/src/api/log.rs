//! The log over HTTP: the latest checkpoint, the proof of a certificate, and for auditors all of it.
//!
//! Paths and contents are those of `c2sp.org/tlog-tiles` below `/v1/log`, so that a reader of such logs
//! reads this one: `checkpoint`, `tile/LEVEL/NUMBER`, `tile/entries/NUMBER`, with `.p/WIDTH` behind a tile
//! that is not full. It reads what the ledger has and decides who may see it; nothing here signs.

use tlog_paths::number;

use super::exchange::Reply;
use super::media;
use super::problem;
use crate::issue::{IssueError, Issuing};
use crate::ledger::LedgerError;
use crate::logging;
use crate::tlog::tiles::{HASH_BYTES, TILE_WIDTH, TileId};
use crate::wire::cbor::{Bytes, write};
use crate::wire::problem::Problem;
use crate::wire::response::LogProof;

/// A route below `/v1/log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogRoute<'a> {
    Checkpoint,
    Proof(&'a str),
    Tile(Tile),
}

/// A tile of hashes or of entries, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// Absent: entries.
    level: Option<u8>,
    number: u64,
    width: usize,
}

/// The labels of these routes.
pub(super) const CHECKPOINT: &str = "/v1/log/checkpoint";
pub(super) const PROOF: &str = "/v1/log/proof/{uvci}";
pub(super) const TILE: &str = "/v1/log/tile/{level}/{number}";

impl<'a> LogRoute<'a> {
    pub(super) fn find(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix("/v1/log/")?;
        if rest == "checkpoint" {
            return Some(Self::Checkpoint);
        }
        if let Some(uvci) = rest.strip_prefix("proof/") {
            return Some(Self::Proof(uvci));
        }
        Tile::find(rest.strip_prefix("tile/")?).map(Self::Tile)
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Checkpoint => CHECKPOINT,
            Self::Proof(_) => PROOF,
            Self::Tile(_) => TILE,
        }
    }
}

impl Tile {
    fn find(path: &str) -> Option<Self> {
        let (level, rest) = path.split_once('/')?;
        let level = match level {
            "entries" => None,
            level => Some(level.parse().ok().filter(|level| *level <= LEVEL_MAX)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            None => (rest, TILE_WIDTH),
            Some((number, width)) => {
                (number, width.parse().ok().filter(|width| (1..TILE_WIDTH).contains(width))?)
            }
        };
        Some(Self { level, number: self::number(number)?, width })
    }
}

/// Highest level of tiles: 256⁶ entries are more than there will be.
const LEVEL_MAX: u8 = 5;

mod tlog_paths {
    //! Numbers in paths: groups of three digits, all but the last one with an x before it.

    /// Digits of a group.
    const GROUP: usize = 3;
    /// Most groups: 10¹² tiles are more than there will be.
    const GROUPS_MAX: usize = 4;

    pub(super) fn number(path: &str) -> Option<u64> {
        let groups: Vec<&str> = path.split('/').collect();
        let (last, before) = groups.split_last()?;
        if before.len() >= GROUPS_MAX || before.first() == Some(&"x000") {
            return None;
        }
        let before =
            before.iter().map(|group| group.strip_prefix('x')).collect::<Option<Vec<_>>>()?;
        let digits =
            |group: &&str| group.len() == GROUP && group.bytes().all(|b| b.is_ascii_digit());
        let groups: Vec<&str> = before.into_iter().chain([*last]).collect();
        groups.iter().all(digits).then(|| groups.concat().parse().ok())?
    }
}

/// The latest checkpoint; there is one soon after the first start.
pub(super) async fn checkpoint(app: &Issuing) -> Result<Reply, Problem> {
    let stored = app.ledger.checkpoint().await.map_err(refused)?;
    let stored = stored.ok_or_else(problem::log_unsigned)?;
    Ok(Reply::plain(stored.note.into_bytes(), media::TEXT))
}

/// The proof that a certificate is in the log of the latest checkpoint, for who may see its issuer.
pub(super) async fn proof(
    app: &Issuing,
    uvci: &str,
    may_see: impl FnOnce(&str) -> bool,
) -> Result<Reply, Problem> {
    let uvci = policy::Uvci::parse(uvci).map_err(|_| problem::not_found())?;
    let found = app.ledger.logged_certificate(*uvci.as_bytes()).await.map_err(refused)?;
    let found = found.filter(|found| may_see(&found.issuer)).ok_or_else(problem::not_found)?;
    let stored = app.ledger.checkpoint().await.map_err(refused)?;
    // The certificate is younger than the checkpoint: the next one has it.
    let stored = stored.filter(|stored| stored.size > found.entry);
    let stored = stored.ok_or_else(problem::log_unsigned)?;
    let entries = app.ledger.log_entries(found.entry, 1).await.map_err(refused)?;
    let entry = entries.first().ok_or_else(problem::not_found)?;
    let nodes = app.ledger.prove_entry(stored.size, found.entry).await.map_err(refused)?;
    let proof = LogProof {
        entry: Bytes(entry),
        index: found.entry,
        proof: nodes.iter().map(|node| Bytes(node)).collect(),
        checkpoint: &stored.note,
    };
    let body = write::to_vec(&proof).map_err(|error| problem::of(&error.into()))?;
    Ok(Reply::cbor(body))
}

/// A tile, or a bundle of entries, as the tree is now.
pub(super) async fn tile(app: &Issuing, tile: Tile) -> Result<Reply, Problem> {
    let Tile { level, number, width } = tile;
    let bytes = match level {
        Some(level) => {
            let mut hashes =
                app.ledger.log_tile(TileId { level, number }).await.map_err(refused)?;
            let length = width.saturating_mul(HASH_BYTES);
            let is_there = hashes.len() >= length;
            hashes.truncate(length);
            is_there.then_some(hashes)
        }
        None => {
            let first = number.saturating_mul(u64::try_from(TILE_WIDTH).unwrap_or(u64::MAX));
            let entries = app.ledger.log_entries(first, width).await.map_err(refused)?;
            (entries.len() == width).then(|| bundle(&entries)).flatten()
        }
    };
    Ok(Reply::plain(bytes.ok_or_else(problem::not_found)?, media::BYTES))
}

/// Each entry behind its length in two bytes, big endian.
fn bundle(entries: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend_from_slice(&u16::try_from(entry.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Some(bytes)
}

fn refused(error: LedgerError) -> Problem {
    ::log::warn!("log not read: {}", logging::chain(&error));
    problem::of(&IssueError::from(error))
}

#[cfg(test)]
mod tests {
    use super::{LogRoute, Tile, bundle};

    #[test]
    fn paths_are_those_of_tiled_logs() {
        // Levels, numbers in groups of three digits and widths are read; whatever else is no tile.
        let tile = |level, number, width| Some(LogRoute::Tile(Tile { level, number, width }));
        for (path, route) in [
            ("/v1/log/checkpoint", Some(LogRoute::Checkpoint)),
            ("/v1/log/proof/URN:UVCI:01:VN:AB", Some(LogRoute::Proof("URN:UVCI:01:VN:AB"))),
            ("/v1/log/tile/0/000", tile(Some(0), 0, 256)),
            ("/v1/log/tile/1/x001/234.p/17", tile(Some(1), 1_234, 17)),
            ("/v1/log/tile/entries/x001/x234/067", tile(None, 1_234_067, 256)),
            ("/v1/log/tile/6/000", None),
            ("/v1/log/tile/0/0", None),
            ("/v1/log/tile/0/1234", None),
            ("/v1/log/tile/0/001/234", None),
            ("/v1/log/tile/0/x000/001", None),
            ("/v1/log/tile/0/x1a1/001", None),
            ("/v1/log/tile/0/x001/x001/x001/x001/001", None),
            ("/v1/log/tile/0/000.p/0", None),
            ("/v1/log/tile/0/000.p/256", None),
            ("/v1/log/tile/0", None),
            ("/v1/log", None),
        ] {
            assert_eq!(LogRoute::find(path), route, "{path}");
        }
    }

    #[test]
    fn a_bundle_has_lengths() {
        // Every entry stands behind its length in two bytes.
        assert_eq!(bundle(&[vec![7; 2], vec![]]), Some(vec![0, 2, 7, 7, 0, 0]));
        assert_eq!(bundle(&[vec![0; 65_536]]), None);
    }
}
