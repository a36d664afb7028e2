//! A proof in one file: an entry, its place, the way to the root, and the checkpoint that signs the root
//! (`c2sp.org/tlog-proof`).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra omJhdBpr…                 the entry, base64
//! index 73894                     its number
//! gSKyXoYZ…=                      the inclusion proof of RFC 6962, from the leaf up
//!
//! signerd.moh.gov.vn/log          the checkpoint, with all its signatures
//! …
//! ```
//! In go the parts, out comes the text, and back. Whoever holds the file needs the audit certificate to
//! believe it, and nothing else: no log, no network.

use data_encoding::BASE64;
use thiserror::Error;

use super::note::{AuditKey, Head, NotACheckpoint, base64, decimal};
use super::tiles::{self, Node};

/// The first line.
const BEGINNING: &str = "c2sp.org/tlog-proof@v1";
/// Longest text that is read: an entry has at most 64 KiB, and so has a note.
pub const PROOF_BYTES_MAX: usize = 256 * 1024;
/// Most hashes: a tree of 2⁴⁸ entries has as many levels.
const HASHES_MAX: usize = 64;

/// An entry and the proof that it is in the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredProof {
    /// The bytes of the entry.
    pub entry: Vec<u8>,
    /// Its number.
    pub index: u64,
    /// The inclusion proof.
    pub nodes: Vec<Node>,
    /// The checkpoint.
    pub checkpoint: String,
}

/// Why a proof proves nothing. To blame: who gave it. Do not retry.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
pub enum NotAProof {
    /// Not a text of this form.
    #[error("not a proof: {0}")]
    Form(&'static str),
    /// The checkpoint in it is none.
    #[error("its checkpoint: {0}")]
    Checkpoint(#[from] NotACheckpoint),
    /// The entry is not where it says in the tree that was signed.
    #[error("the entry is not in the log that the checkpoint signs")]
    NotIn,
}

impl StoredProof {
    /// Writes the text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{BEGINNING}\nextra {}\n", BASE64.encode(&self.entry));
        text.push_str(&format!("index {}\n", self.index));
        for node in &self.nodes {
            text.push_str(&BASE64.encode(node));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`NotAProof::Form`].
    pub fn parse(text: &str) -> Result<Self, NotAProof> {
        if text.len() > PROOF_BYTES_MAX {
            return Err(NotAProof::Form("too long"));
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(NotAProof::Form("no checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(BEGINNING) {
            return Err(NotAProof::Form("another first line"));
        }
        let entry = lines.next().and_then(|line| line.strip_prefix("extra "));
        let entry = entry.and_then(base64);
        let entry = entry.ok_or(NotAProof::Form("no entry"))?;
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(decimal);
        let index = index.ok_or(NotAProof::Form("no index"))?;
        let node = |line: &str| base64(line)?.try_into().ok();
        let nodes = lines.map(node).collect::<Option<Vec<Node>>>();
        let nodes = nodes.filter(|nodes| nodes.len() <= HASHES_MAX);
        let nodes = nodes.ok_or(NotAProof::Form("a line that is no hash"))?;
        Ok(Self { entry, index, nodes, checkpoint: checkpoint.to_owned() })
    }

    /// Verifies the checkpoint's signature and that its tree has the entry; gives the head.
    ///
    /// # Errors
    /// [`NotAProof`].
    pub fn verify(&self, key: &AuditKey, origin: Option<&str>) -> Result<Head, NotAProof> {
        let head = Head::open(&self.checkpoint, key, origin)?;
        let leaf = tiles::leaf(&self.entry);
        if tiles::is_entry(&self.nodes, head.size, head.root, self.index, leaf) {
            Ok(head)
        } else {
            Err(NotAProof::NotIn)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NotAProof, StoredProof};

    fn stored() -> StoredProof {
        StoredProof {
            entry: b"entry".to_vec(),
            index: 3,
            nodes: vec![[1; 32], [2; 32]],
            checkpoint: "log\n4\n\u{2026}\n\nsignature\n".to_owned(),
        }
    }

    #[test]
    fn a_proof_has_the_lines_of_the_standard() {
        // What is written has the standard's lines, and is read as it was.
        let text = stored().to_text();
        let hash = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        let start = format!("c2sp.org/tlog-proof@v1\nextra ZW50cnk=\nindex 3\n{hash}\n");
        assert!(text.starts_with(&start), "{text}");
        assert!(text.ends_with("=\n\nlog\n4\n\u{2026}\n\nsignature\n"));
        assert_eq!(StoredProof::parse(&text), Ok(stored()));
        let alone = StoredProof { nodes: Vec::new(), ..stored() };
        assert_eq!(StoredProof::parse(&alone.to_text()), Ok(alone));
    }

    #[test]
    fn a_spoilt_proof_is_told() {
        // Each line that is not what it must be is named.
        let text = stored().to_text();
        for (from, to, expected) in [
            ("@v1", "@v2", "another first line"),
            ("extra ZW50cnk=", "extra ZW5", "no entry"),
            ("index 3", "index 03", "no index"),
            ("AQEB", "AQE", "a line that is no hash"),
            ("\n\n", "\n", "no checkpoint"),
        ] {
            let spoilt = text.replace(from, to);
            assert_eq!(StoredProof::parse(&spoilt), Err(NotAProof::Form(expected)), "{to}");
        }
    }
}
