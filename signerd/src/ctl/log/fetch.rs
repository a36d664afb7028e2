//! What the appliance says of its log, fetched and decoded; not yet believed.
//!
//! In go a client and what is wanted, out come notes, proofs and bundles. Whether they hold is for those
//! who asked to find out.

use serde::Deserialize;

use super::super::answer;
use super::super::cbor::Bytes;
use super::super::client::Client;
use super::super::error::CtlError;
use super::LogError;
use crate::tlog::path::TilePath;
use crate::tlog::proof::StoredProof;
use crate::tlog::tiles::Node;

/// A checkpoint that the appliance keeps.
#[derive(Clone, Debug, Deserialize)]
pub struct Kept {
    /// Entries of its tree.
    pub size: u64,
    /// The signed note.
    pub note: String,
}

#[derive(Deserialize)]
struct Proof {
    entry: Bytes,
    index: u64,
    proof: Vec<Bytes>,
    checkpoint: String,
}

#[derive(Deserialize)]
struct Growth {
    from: u64,
    to: u64,
    proof: Vec<Bytes>,
}

/// The latest checkpoint.
///
/// # Errors
/// When the server cannot be reached, refuses, or sends no text.
pub async fn checkpoint(client: &Client) -> Result<String, CtlError> {
    let body = client.fetch("/v1/log/checkpoint").await?.body;
    let text = String::from_utf8(body.to_vec());
    Ok(text.map_err(|_| LogError::NotTheSigned("the checkpoint is no text".to_owned()))?)
}

/// A page of the kept checkpoints of more than `after` entries; an empty one ends them.
///
/// # Errors
/// As [`checkpoint`].
pub async fn checkpoints(client: &Client, after: u64) -> Result<Vec<Kept>, CtlError> {
    let reply = client.fetch(&format!("/v1/log/checkpoints?after={after}")).await?;
    let page: Vec<Kept> = answer::decode(&reply.body)?;
    // A page that does not go forward would be fetched for ever.
    let ascends = page.iter().try_fold(after, |last, kept| (kept.size > last).then_some(kept.size));
    match ascends {
        Some(_) => Ok(page),
        None => Err(LogError::NotTheSigned("kept checkpoints in no order".to_owned()).into()),
    }
}

/// A bundle or a tile.
///
/// # Errors
/// As [`checkpoint`].
pub async fn tile(client: &Client, tile: TilePath) -> Result<Vec<u8>, CtlError> {
    Ok(client.fetch(&format!("/v1/log/{tile}")).await?.body.to_vec())
}

/// The proof of a certificate.
///
/// # Errors
/// As [`checkpoint`].
pub async fn proof(client: &Client, uvci: &str) -> Result<StoredProof, CtlError> {
    let reply = client.fetch(&format!("/v1/log/proof/{uvci}")).await?;
    let Proof { entry, index, proof, checkpoint } = answer::decode(&reply.body)?;
    Ok(StoredProof { entry: entry.0, index, nodes: nodes(&proof)?, checkpoint })
}

/// The proof that the log of `to` entries begins with that of `from`.
///
/// # Errors
/// As [`checkpoint`].
pub async fn growth(client: &Client, from: u64, to: u64) -> Result<Vec<Node>, CtlError> {
    let reply = client.fetch(&format!("/v1/log/consistency/{from}/{to}")).await?;
    let growth: Growth = answer::decode(&reply.body)?;
    if (growth.from, growth.to) != (from, to) {
        return Err(LogError::NotTheSigned("a proof about other sizes".to_owned()).into());
    }
    nodes(&growth.proof)
}

fn nodes(proof: &[Bytes]) -> Result<Vec<Node>, CtlError> {
    let nodes = proof.iter().map(|node| node.0.as_slice().try_into().ok()).collect();
    let not = || LogError::NotTheSigned("a proof with something that is no hash".to_owned());
    Ok(Option::ok_or_else(nodes, not)?)
}
