//! Batches: entries gathered up to a size, and the exact bytes of a `batch-request`.
//!
//! In goes the stream of entries, out come [`Batch`] values whose cutting depends on nothing but the
//! entries and the limits, so that a rerun cuts the same file the same way. The bytes of a batch with
//! a given id are always the same bytes: that is what lets the daemon recognise a repetition.

use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::cbor::{self, Bytes, EncodeError};
use super::records::{Entry, Located, RecordsError};

/// Most records of one batch (R14; `api.cddl`).
pub const RECORDS_MAX: usize = 1000;

/// A batch is cut before its request grows beyond this: the daemon takes bodies of 20 MiB by default.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What CBOR heads, member names and the selection of doses add to one entry at most.
const ENTRY_OVERHEAD_BYTES: usize = 96;

/// Sets the journal's digests apart from plain SHA-256: the plain digest of a request is part of the
/// key that seals the daemon's stored answer, and must not lie around in files.
const DIGEST_DOMAIN: &[u8] = b"signerctl journal, batch request\0";

/// What becomes of a batch of which some records are rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Atomicity {
    /// Each record is judged alone.
    Each,
    /// One rejected record, and nothing of the batch is signed.
    AllOrNone,
}

/// Consecutive entries of the records file.
#[derive(Debug)]
pub struct Batch {
    /// The `index` of the first entry.
    pub first: u64,
    /// The line on which each entry begins.
    pub lines: Vec<u64>,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// Members in the order of their encoded keys.
#[derive(Serialize)]
struct BatchRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    atomic: Option<bool>,
    issuer: &'a str,
    records: &'a [Entry],
    batch_id: Bytes,
}

impl Batch {
    /// Encodes the request with this batch id.
    ///
    /// # Errors
    /// As [`cbor::encode`].
    pub fn request(
        &self,
        issuer: &str,
        atomicity: Atomicity,
        batch_id: Uuid,
    ) -> Result<Vec<u8>, EncodeError> {
        let atomic = (atomicity == Atomicity::AllOrNone).then_some(true);
        let batch_id = Bytes(batch_id.as_bytes().to_vec());
        cbor::encode(&BatchRequest { atomic, issuer, records: &self.entries, batch_id })
    }

    /// Number of records, as the journal and the progress bar count them.
    #[must_use]
    pub fn records(&self) -> u64 {
        u64::try_from(self.entries.len()).unwrap_or(u64::MAX)
    }
}

/// The journal's digest of a request.
#[must_use]
pub fn request_digest(request: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(DIGEST_DOMAIN).chain_update(request).finalize().into()
}

/// Cuts a stream of entries into batches.
pub struct Batches<I> {
    entries: I,
    records_max: usize,
    waiting: Option<Located>,
}

impl<I: Iterator<Item = Result<Located, RecordsError>>> Batches<I> {
    /// Cuts after `records_max` records, or earlier where the request would grow too large.
    pub fn new(entries: I, records_max: usize) -> Self {
        Self { entries, records_max, waiting: None }
    }

    fn next_batch(&mut self) -> Result<Option<Batch>, RecordsError> {
        let Some(first) =
            self.waiting.take().map(Ok).or_else(|| self.entries.next()).transpose()?
        else {
            return Ok(None);
        };
        let mut bytes = size(&first.entry);
        let mut batch =
            Batch { first: first.index, lines: vec![first.line], entries: vec![first.entry] };
        while batch.entries.len() < self.records_max {
            let Some(next) = self.entries.next().transpose()? else { break };
            bytes = bytes.saturating_add(size(&next.entry));
            if bytes > REQUEST_BYTES_MAX {
                self.waiting = Some(next);
                break;
            }
            batch.lines.push(next.line);
            batch.entries.push(next.entry);
        }
        Ok(Some(batch))
    }
}

impl<I: Iterator<Item = Result<Located, RecordsError>>> Iterator for Batches<I> {
    type Item = Result<Batch, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

fn size(entry: &Entry) -> usize {
    let optional = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.0.len());
    entry
        .record
        .0
        .len()
        .saturating_add(optional(&entry.facility_signature))
        .saturating_add(optional(&entry.identity_statement))
        .saturating_add(ENTRY_OVERHEAD_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(index: u64, bytes: usize) -> Result<Located, RecordsError> {
        let entry = Entry {
            doses: Some(vec![1, 2]),
            record: Bytes(vec![7; bytes]),
            facility_signature: Some(Bytes(vec![8; 30])),
            identity_statement: Some(Bytes(vec![9; 30])),
        };
        Ok(Located { index, line: index + 1, entry })
    }

    #[test]
    fn request_is_deterministic_cbor() {
        // A request with every member there is is accepted by a strict RFC 8949 §4.2.1 decoder.
        let batch = Batches::new((0..3).map(|i| located(i, 300)), 10).next().unwrap().unwrap();
        let request = batch.request("vn-moh", Atomicity::AllOrNone, Uuid::nil()).unwrap();
        let value = cbor_core::Value::decode(&request[..]).unwrap();
        assert_eq!(value.encode(), request);
    }

    #[test]
    fn same_batch_and_id_are_the_same_bytes() {
        // Two cuts of the same entries give byte-identical requests for one id, others for another.
        let cut = || Batches::new((0..5).map(|i| located(i, 10)), 5).next().unwrap().unwrap();
        let request = |id| cut().request("vn-moh", Atomicity::Each, id).unwrap();
        assert_eq!(request(Uuid::nil()), request(Uuid::nil()));
        assert_ne!(request(Uuid::nil()), request(Uuid::max()));
    }

    #[test]
    fn cuts_after_the_given_number() {
        // Seven records in batches of three: 3, 3, 1, each beginning where the last one ended.
        let cut: Vec<_> = Batches::new((0..7).map(|i| located(i, 10)), 3)
            .map(|batch| batch.map(|b| (b.first, b.records())).unwrap())
            .collect();
        assert_eq!(cut, [(0, 3), (3, 3), (6, 1)]);
    }

    #[test]
    fn cuts_before_the_body_limit() {
        // Entries of the largest size are cut so that no request is over the limit, and none is lost.
        let batches: Vec<_> = Batches::new((0..30).map(|i| located(i, 1024 * 1024)), 1000)
            .map(Result::unwrap)
            .collect();
        assert_eq!(batches.iter().map(Batch::records).sum::<u64>(), 30);
        for batch in batches {
            let request = batch.request("i", Atomicity::Each, Uuid::nil()).unwrap();
            assert!(request.len() <= REQUEST_BYTES_MAX);
        }
    }

    #[test]
    fn journal_digest_is_not_the_plain_digest() {
        // The journal never holds the plain SHA-256 of a request.
        assert_ne!(request_digest(b"request"), <[u8; 32]>::from(Sha256::digest(b"request")));
    }
}
