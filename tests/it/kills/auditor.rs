//! Everything that must hold of a ledger whatever ended the daemon.
//!
//! The tree is hashed here once more by RFC 6962, the signature of a checkpoint is verified by a library,
//! and what was seen once is remembered: nothing of it may ever be missing again. A fault is a sentence.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use ciborium::Value;
use data_encoding::BASE64;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use signerd_tests::Setup;

use super::books::{Ground, Issued};

pub(super) type Fault = String;
type Node = [u8; 32];

/// What an answer certifies: the random part of each identifier, and the hash of its COSE bytes.
pub(super) type Certified = Vec<(Vec<u8>, Vec<u8>)>;

/// What was seen of one ledger so far.
#[derive(Default)]
pub(super) struct Auditor {
    leaves: Vec<Node>,
    /// Size and root of every checkpoint that was seen.
    held: BTreeMap<usize, Node>,
    /// Hash and batch of each logged certificate.
    certificates: HashMap<Vec<u8>, (Vec<u8>, u64)>,
    /// Entries of intents, and the number of their certificates.
    intended: BTreeMap<u64, u64>,
    answered: BTreeSet<u64>,
    released: BTreeSet<u64>,
}

impl Auditor {
    /// Looks at the ledger of a daemon that does not run.
    pub(super) fn look(&mut self, ground: &Ground) -> Result<(), Fault> {
        let Some(books) = ground.read()? else {
            // Killed while its tables were made: there is no log yet, or there never may have been one.
            return hold(self.leaves.is_empty(), || "the log is gone".to_owned());
        };
        self.read_log(&books.entries)?;
        self.check_rows(&books.issued)?;
        books.notes.iter().try_for_each(|note| self.hold_checkpoint(ground.setup(), note))
    }

    /// The log begins with what was seen of it, and goes on by the rules.
    fn read_log(&mut self, entries: &[(u64, Vec<u8>)]) -> Result<(), Fault> {
        let (found, seen) = (entries.len(), self.leaves.len());
        hold(found >= seen, || format!("lost: the log has {found} entries and had {seen}"))?;
        for (at, (number, entry)) in entries.iter().enumerate() {
            let leaf = leaf(entry);
            hold(at as u64 == *number, || format!("entry {at} is missing"))?;
            match self.leaves.get(at) {
                Some(seen) => hold(*seen == leaf, || format!("entry {at} is another one"))?,
                None => {
                    self.leaves.push(leaf);
                    self.read(*number, entry)?;
                }
            }
        }
        Ok(())
    }

    /// One new entry: no identifier, no answer and no release is there a second time.
    fn read(&mut self, number: u64, entry: &[u8]) -> Result<(), Fault> {
        let entry: Value = ciborium::from_reader(entry).map_err(|error| error.to_string())?;
        let member = |name: &str| {
            let pairs = entry.as_map().expect("a map");
            pairs
                .iter()
                .find(|(key, _)| key.as_text() == Some(name))
                .map(|(_, value)| value.clone())
        };
        let count = |name| -> u64 {
            let value: Option<Value> = member(name);
            value.and_then(|value| value.into_integer().ok()?.try_into().ok()).expect("a number")
        };
        let bytes = |name| member(name).and_then(|value| value.into_bytes().ok()).expect("bytes");
        let event = member("event").and_then(|value| value.into_text().ok()).expect("an event");
        match event.as_str() {
            "batch.intended" => drop(self.intended.insert(number, count("certificates"))),
            "batch.released" => {
                let batch = count("batch");
                hold(self.released.insert(batch), || format!("batch {batch} is released twice"))?;
                hold(!self.answered.contains(&batch), || {
                    format!("batch {batch}: answer released")
                })?;
            }
            "certificate.signed" => {
                let signed = (bytes("sha256"), count("batch"));
                let before = self.certificates.insert(bytes("uvci"), signed);
                hold(before.is_none(), || format!("doubled: entry {number} signs a second time"))?;
            }
            "batch.answered" => {
                let batch = count("batch");
                hold(self.answered.insert(batch), || {
                    format!("doubled: batch {batch} is answered")
                })?;
                hold(!self.released.contains(&batch), || format!("batch {batch} was released"))?;
                let signed = self.certificates.values().filter(|(_, of)| *of == batch).count();
                hold(self.intended.get(&batch) == Some(&(signed as u64)), || {
                    format!("batch {batch} is answered with {signed} certificates")
                })?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The rows say what the log says, and no dose has two certificates.
    fn check_rows(&self, rows: &[Issued]) -> Result<(), Fault> {
        let mut doses = BTreeSet::new();
        for row in rows {
            hold(doses.insert(&row.dose), || "doubled: a dose has two certificates".to_owned())?;
            let logged = self.certificates.get(&row.uvci).map(|(logged, _)| logged);
            hold(logged == Some(&row.sha256), || {
                "a certificate is not in the log as it is in its row".to_owned()
            })?;
        }
        let (logged, issued) = (self.certificates.len(), rows.len());
        hold(logged == issued, || format!("{logged} certificates are logged, {issued} issued"))
    }

    /// A checkpoint is signed, and is about this log.
    fn hold_checkpoint(&mut self, setup: &Setup, note: &str) -> Result<(), Fault> {
        let (text, signatures) = note.split_once("\n\n").ok_or("a checkpoint is torn")?;
        let text = format!("{text}\n");
        let lines: Vec<&str> = text.lines().collect();
        let size: usize = lines[1].parse().map_err(|_| "a checkpoint has no size")?;
        if self.held.contains_key(&size) {
            return Ok(());
        }
        let blob = signatures.trim_end().rsplit(' ').next().unwrap_or_default();
        let blob = BASE64.decode(blob.as_bytes()).map_err(|error| error.to_string())?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, audit_key(setup));
        hold(key.verify(text.as_bytes(), &blob[4..]).is_ok(), || {
            "a checkpoint is forged".to_owned()
        })?;
        let root = BASE64.decode(lines[2].as_bytes()).map_err(|error| error.to_string())?;
        let found = self.leaves.len();
        hold(size <= found, || format!("lost: {size} entries are signed and {found} are there"))?;
        let own = tree(&self.leaves[..size]);
        hold(root == own, || format!("the first {size} entries are not those that were signed"))?;
        self.held.insert(size, own);
        Ok(())
    }

    /// What a client was answered is in the log, certificate for certificate.
    pub(super) fn knows(&self, certified: &Certified) -> Result<(), Fault> {
        for (uvci, sha256) in certified {
            let logged = self.certificates.get(uvci).map(|(logged, _)| logged);
            hold(logged == Some(sha256), || {
                format!("lost: a client holds a certificate, and the log has {logged:02x?} for it")
            })?;
        }
        Ok(())
    }

    /// Intents that are neither answered nor released, certificates, and checkpoints that were seen.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let settled =
            |number: &&u64| self.answered.contains(number) || self.released.contains(number);
        let open = self.intended.keys().filter(|number| !settled(number)).count();
        (open, self.certificates.len(), self.held.len())
    }
}

/// A rule, and the sentence that says how it was broken.
pub(super) fn hold(rule: bool, fault: impl FnOnce() -> Fault) -> Result<(), Fault> {
    if rule { Ok(()) } else { Err(fault()) }
}

/// RFC 6962 §2.1: the hash of an entry.
fn leaf(entry: &[u8]) -> Node {
    Sha256::new_with_prefix([0]).chain_update(entry).finalize().into()
}

/// RFC 6962 §2.1: the root of a tree.
fn tree(leaves: &[Node]) -> Node {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Sha256::new_with_prefix([1])
                .chain_update(tree(left))
                .chain_update(tree(right))
                .finalize()
                .into()
        }
    }
}

/// The uncompressed point in the audit certificate.
fn audit_key(setup: &Setup) -> Vec<u8> {
    let certificate =
        CertificateDer::from_pem_file(setup.path("pki/audit.pem")).expect("audit.pem");
    // BIT STRING of 66 bytes, none of its bits unused, an uncompressed point (RFC 5480 §2.2).
    let begin = certificate.windows(4).position(|bytes| bytes == [0x03, 0x42, 0x00, 0x04]);
    let begin = begin.expect("a P-256 key") + 3;
    certificate[begin..begin + 65].to_vec()
}
