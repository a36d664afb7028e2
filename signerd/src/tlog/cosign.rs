//! Cosignatures: a witness says that a checkpoint is the largest it saw, and that it grew from those
//! before it (`c2sp.org/tlog-cosignature`, Ed25519).
//!
//! In go notes and the witness's public key, which is written as a verifier key of `c2sp.org/signed-note`;
//! out comes when it cosigned. For the witness itself: the bytes to sign, and the line that is added to
//! the note. Nothing is signed here.

use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::note::{self, KEY_ID_BYTES, NotACheckpoint, SIGNATURE, is_origin};

/// The kind of signature, before the key in a verifier key and in what the key's id is a hash of.
const KIND: u8 = 4;
/// Bytes of a public key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a time.
const TIME_BYTES: usize = 8;

/// The public key of a witness, with its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WitnessKey {
    name: String,
    key: [u8; KEY_BYTES],
}

/// Why a text is no verifier key of a witness. To blame: who gave it. Do not retry.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
pub enum NotAWitness {
    /// Not three parts with a plus between them.
    #[error("not NAME+ID+KEY")]
    Form,
    /// The name has a space or a plus, or is empty.
    #[error("the name of a witness has neither spaces nor plus, and at most 200 bytes")]
    Name,
    /// Another kind of key.
    #[error("not the key of a cosignature by Ed25519")]
    Kind,
    /// The id is not that of the name and the key.
    #[error("its id is not that of its name and key")]
    Id,
}

impl WitnessKey {
    /// A key under a name.
    ///
    /// # Errors
    /// [`NotAWitness::Name`].
    pub fn new(name: &str, key: [u8; KEY_BYTES]) -> Result<Self, NotAWitness> {
        if !is_origin(name) {
            return Err(NotAWitness::Name);
        }
        Ok(Self { name: name.to_owned(), key })
    }

    /// Reads a verifier key.
    ///
    /// # Errors
    /// [`NotAWitness`].
    pub fn parse(text: &str) -> Result<Self, NotAWitness> {
        // The name has no plus, but base64 may.
        let (name, rest) = text.split_once('+').ok_or(NotAWitness::Form)?;
        let (id, key) = rest.split_once('+').ok_or(NotAWitness::Form)?;
        let key = note::base64(key).ok_or(NotAWitness::Form)?;
        let key = key.split_first().filter(|(kind, _)| **kind == KIND);
        let key = key.and_then(|(_, key)| key.try_into().ok()).ok_or(NotAWitness::Kind)?;
        let witness = Self::new(name, key)?;
        if id == HEXLOWER.encode(&witness.id()) { Ok(witness) } else { Err(NotAWitness::Id) }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is signed for a note at a time.
    ///
    /// # Errors
    /// [`NotACheckpoint`].
    pub fn message(note: &str, at: u64) -> Result<String, NotACheckpoint> {
        let (text, _) = note::split(note)?;
        Ok(format!("cosignature/v1\ntime {at}\n{text}"))
    }

    /// The line that is added to a note.
    #[must_use]
    pub fn line(&self, at: u64, signature: &[u8]) -> String {
        let blob = [self.id().as_slice(), &at.to_be_bytes(), signature].concat();
        format!("{SIGNATURE}{} {}\n", self.name, BASE64.encode(&blob))
    }

    /// When this witness cosigned a note, seconds since 1970; none: it did not.
    ///
    /// # Errors
    /// [`NotACheckpoint`], also where a line bears its name and is not its signature.
    pub fn cosigned(&self, note: &str) -> Result<Option<u64>, NotACheckpoint> {
        let (_, signatures) = note::split(note)?;
        let mut latest = None;
        for line in signatures.lines() {
            let (name, blob) = note::signature_of(line)?;
            let Some((id, rest)) = blob.split_first_chunk::<KEY_ID_BYTES>() else {
                return Err(NotACheckpoint::Form("a signature without a key's id"));
            };
            if name != self.name || *id != self.id() {
                continue;
            }
            let (at, signature) =
                rest.split_first_chunk::<TIME_BYTES>().ok_or(NotACheckpoint::Cosignature)?;
            let at = u64::from_be_bytes(*at);
            UnparsedPublicKey::new(&ED25519, &self.key)
                .verify(Self::message(note, at)?.as_bytes(), signature)
                .map_err(|_| NotACheckpoint::Cosignature)?;
            latest = latest.max(Some(at));
        }
        Ok(latest)
    }

    /// The id of a key: the beginning of a hash of name, kind and key.
    fn id(&self) -> [u8; KEY_ID_BYTES] {
        let digest = Sha256::digest([self.name.as_bytes(), b"\n", &[KIND], &self.key].concat());
        digest.first_chunk().copied().unwrap_or_default()
    }
}

impl fmt::Display for WitnessKey {
    /// The verifier key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = BASE64.encode(&[[KIND].as_slice(), &self.key].concat());
        write!(f, "{}+{}+{key}", self.name, HEXLOWER.encode(&self.id()))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::{NotAWitness, WitnessKey};
    use crate::tlog::note::NotACheckpoint;

    const NOTE: &str = "log.example/vn\n1\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\ntime 1800000000\n\n\u{2014} log.example/vn AAAAAAA=\n";

    fn witness() -> (Ed25519KeyPair, WitnessKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let key = pair.public_key().as_ref().try_into().unwrap();
        (pair, WitnessKey::new("witness.example/a", key).unwrap())
    }

    #[test]
    fn a_cosignature_is_found_and_verified() {
        // The line of a witness is found by its key and its name; a changed text, time or signature is
        // refused, and whoever did not sign is not found.
        let (pair, key) = witness();
        assert_eq!(key.cosigned(NOTE), Ok(None));
        let message = WitnessKey::message(NOTE, 1_800_000_001).unwrap();
        assert!(message.starts_with("cosignature/v1\ntime 1800000001\nlog.example/vn\n1\n"));
        assert!(message.ends_with("time 1800000000\n"));
        let signature = pair.sign(message.as_bytes());
        let note = format!("{NOTE}{}", key.line(1_800_000_001, signature.as_ref()));
        assert_eq!(key.cosigned(&note), Ok(Some(1_800_000_001)));
        let other = note.replace("vn\n1\n", "vn\n2\n");
        assert_eq!(key.cosigned(&other), Err(NotACheckpoint::Cosignature));
        let late = format!("{NOTE}{}", key.line(1_800_000_002, signature.as_ref()));
        assert_eq!(key.cosigned(&late), Err(NotACheckpoint::Cosignature));
        let short = format!("{NOTE}{}", key.line(1_800_000_001, &[0; 3]));
        assert_eq!(key.cosigned(&short), Err(NotACheckpoint::Cosignature));
        let another = WitnessKey::new("witness.example/b", key.key).unwrap();
        assert_eq!(another.cosigned(&note), Ok(None));
    }

    #[test]
    fn a_verifier_key_is_written_and_read() {
        // What is written is read; a changed part is told by its kind.
        let (_, key) = witness();
        let text = key.to_string();
        assert_eq!(WitnessKey::parse(&text), Ok(key.clone()));
        assert_eq!(WitnessKey::parse(&text.replace("/a+", "/b+")), Err(NotAWitness::Id));
        assert_eq!(WitnessKey::parse(&text.replace("+B", "+A")), Err(NotAWitness::Kind));
        assert_eq!(WitnessKey::parse("witness.example"), Err(NotAWitness::Form));
        assert_eq!(WitnessKey::new("a b", key.key), Err(NotAWitness::Name));
    }

    #[test]
    fn a_cosignature_has_the_parts_of_the_standard() {
        // Behind the id of the key stand the time in eight bytes and the signature.
        let (pair, key) = witness();
        let message = WitnessKey::message(NOTE, 1).unwrap();
        let line = key.line(1, pair.sign(message.as_bytes()).as_ref());
        let blob = line.trim_end().rsplit(' ').next().unwrap();
        let blob = data_encoding::BASE64.decode(blob.as_bytes()).unwrap();
        assert_eq!((blob.len(), &blob[4..12]), (4 + 8 + 64, [0, 0, 0, 0, 0, 0, 0, 1].as_slice()));
        assert_eq!(blob[..4], key.id());
    }
}
