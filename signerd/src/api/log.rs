//! The log over HTTP: the latest checkpoint, proofs of a certificate and of growth, and for auditors all of it.
//!
//! Paths and contents are those of `c2sp.org/tlog-tiles` below `/v1/log`, so that a reader of such logs
//! reads this one: `checkpoint`, `tile/LEVEL/NUMBER`, `tile/entries/NUMBER`, with `.p/WIDTH` behind a tile
//! that is not full. Beside them stand the proofs, and the checkpoints that were kept. It reads what the
//! ledger has and decides who may see it; nothing here signs.

use super::exchange::Reply;
use super::media;
use super::problem;
use crate::issue::{IssueError, Issuing};
use crate::ledger::LedgerError;
use crate::logging;
use crate::tlog::bundle;
use crate::tlog::path::TilePath;
use crate::tlog::tiles::{HASH_BYTES, TILE_WIDTH, TileId};
use crate::wire::cbor::{Bytes, write};
use crate::wire::problem::Problem;
use crate::wire::response::{KeptCheckpoint, LogGrowth, LogProof};

/// A route below `/v1/log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogRoute<'a> {
    Checkpoint,
    /// All checkpoints that are kept, page by page.
    Checkpoints,
    /// That the first entries of a number begin those of another.
    Consistency {
        from: u64,
        to: u64,
    },
    Proof(&'a str),
    Tile(TilePath),
}

/// The labels of these routes.
pub(super) const CHECKPOINT: &str = "/v1/log/checkpoint";
pub(super) const CHECKPOINTS: &str = "/v1/log/checkpoints";
pub(super) const CONSISTENCY: &str = "/v1/log/consistency/{from}/{to}";
pub(super) const PROOF: &str = "/v1/log/proof/{uvci}";
pub(super) const TILE: &str = "/v1/log/tile/{level}/{number}";

/// Checkpoints in one answer: at most 100 KiB, three weeks of those that are kept.
const CHECKPOINTS_MAX: usize = 500;

impl<'a> LogRoute<'a> {
    pub(super) fn find(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix("/v1/log/")?;
        match rest {
            "checkpoint" => return Some(Self::Checkpoint),
            "checkpoints" => return Some(Self::Checkpoints),
            _ => {}
        }
        if let Some(uvci) = rest.strip_prefix("proof/") {
            return Some(Self::Proof(uvci));
        }
        if let Some(sizes) = rest.strip_prefix("consistency/") {
            let (from, to) = sizes.split_once('/')?;
            return Some(Self::Consistency { from: size(from)?, to: size(to)? });
        }
        TilePath::find(rest).map(Self::Tile)
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Checkpoint => CHECKPOINT,
            Self::Checkpoints => CHECKPOINTS,
            Self::Consistency { .. } => CONSISTENCY,
            Self::Proof(_) => PROOF,
            Self::Tile(_) => TILE,
        }
    }
}

/// A number of entries: digits and nothing else, and not more than a ledger can count.
fn size(text: &str) -> Option<u64> {
    let size: u64 = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())??;
    i64::try_from(size).is_ok().then_some(size)
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

/// The proof that the log of one size begins with that of another; both are below the latest checkpoint.
pub(super) async fn consistency(app: &Issuing, from: u64, to: u64) -> Result<Reply, Problem> {
    if from == 0 || from > to {
        return Err(problem::log_invalid());
    }
    let stored = app.ledger.checkpoint().await.map_err(refused)?;
    let stored = stored.ok_or_else(problem::log_unsigned)?;
    if to > stored.size {
        return Err(problem::log_beyond(stored.size));
    }
    let nodes = app.ledger.prove_growth(to, from).await.map_err(refused)?;
    let growth = LogGrowth { to, from, proof: nodes.iter().map(|node| Bytes(node)).collect() };
    let body = write::to_vec(&growth).map_err(|error| problem::of(&error.into()))?;
    Ok(Reply::cbor(body))
}

/// The checkpoints that are kept, from those of more entries than `after` in the query on.
pub(super) async fn checkpoints(app: &Issuing, query: Option<&str>) -> Result<Reply, Problem> {
    let mut parameters = query.unwrap_or_default().split('&');
    let after = parameters.find_map(|one| one.strip_prefix("after="));
    let after = after.map_or(Some(0), size).ok_or_else(problem::log_invalid)?;
    let kept = app.ledger.checkpoints(after, CHECKPOINTS_MAX).await.map_err(refused)?;
    let kept = kept.iter().map(|kept| {
        let (at, note, size) = (kept.at, kept.note.as_str(), kept.size);
        KeptCheckpoint { at, note, size }
    });
    let kept: Vec<KeptCheckpoint<'_>> = kept.collect();
    let body = write::to_vec(&kept).map_err(|error| problem::of(&error.into()))?;
    Ok(Reply::cbor(body))
}

/// A tile, or a bundle of entries, as the tree is now.
pub(super) async fn tile(app: &Issuing, tile: TilePath) -> Result<Reply, Problem> {
    let TilePath { level, number, width } = tile;
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
            (entries.len() == width).then(|| bundle::encode(&entries)).flatten()
        }
    };
    Ok(Reply::plain(bytes.ok_or_else(problem::not_found)?, media::BYTES))
}

fn refused(error: LedgerError) -> Problem {
    ::log::warn!("log not read: {}", logging::chain(&error));
    problem::of(&IssueError::from(error))
}

#[cfg(test)]
mod tests {
    use super::LogRoute;
    use crate::tlog::path::TilePath;

    #[test]
    fn routes_are_found_by_their_paths() {
        // Checkpoints, proofs and tiles are found; numbers that are none, and whatever else, are not.
        let tile = |level, number, width| Some(LogRoute::Tile(TilePath { level, number, width }));
        for (path, route) in [
            ("/v1/log/checkpoint", Some(LogRoute::Checkpoint)),
            ("/v1/log/checkpoints", Some(LogRoute::Checkpoints)),
            ("/v1/log/proof/URN:UVCI:01:VN:AB", Some(LogRoute::Proof("URN:UVCI:01:VN:AB"))),
            ("/v1/log/consistency/1/23", Some(LogRoute::Consistency { from: 1, to: 23 })),
            ("/v1/log/consistency/0/0", Some(LogRoute::Consistency { from: 0, to: 0 })),
            ("/v1/log/consistency/1", None),
            ("/v1/log/consistency/+1/2", None),
            ("/v1/log/consistency/1/2/3", None),
            ("/v1/log/consistency//2", None),
            ("/v1/log/tile/1/x001/234.p/17", tile(Some(1), 1_234, 17)),
            ("/v1/log/tile/entries/000", tile(None, 0, 256)),
            ("/v1/log/tile/0/0", None),
            ("/v1/log", None),
        ] {
            assert_eq!(LogRoute::find(path), route, "{path}");
        }
    }
}
