//! Logs without a daemon: entries that make sense, signed by a key of the test's own, exported to a folder.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use signerd::ctl::log::check::Given;
use signerd::ctl::log::folder::{CHECKPOINT, Folder, HISTORY};
use signerd::tlog::bundle;
use signerd::tlog::fact::{BatchIntended, Certificate, Entry, Fact};
use signerd::tlog::note::{AuditKey, Head};
use signerd::tlog::path::TilePath;
use signerd::tlog::tiles;

/// When the first entry was written.
pub const BEGINNING: i64 = 1_800_000_000;
/// The name of these logs.
pub const ORIGIN: &str = "log.example/vn";

/// An audit key as a token has it, and its certificate.
pub struct Auditor {
    pair: EcdsaKeyPair,
    /// The public part.
    pub key: AuditKey,
    /// The certificate in PEM.
    pub certificate: String,
}

impl Auditor {
    /// A new key.
    pub fn new() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("key");
        let certificate = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        let certificate = certificate.self_signed(&key).expect("certificate");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der());
        let audit = AuditKey::of(certificate.der()).expect("audit key");
        Self { pair: pair.expect("pair"), key: audit, certificate: certificate.pem() }
    }

    /// Signs a head.
    pub fn sign(&self, head: &Head) -> String {
        let signature =
            self.pair.sign(&SystemRandom::new(), head.text().as_bytes()).expect("signature");
        let signature = signature.as_ref().try_into().expect("64 bytes");
        head.signed(&self.key, signature).expect("note")
    }

    /// What `log verify` is given with this key and nothing else.
    pub fn given(&self) -> Given {
        Given { keys: vec![self.key.clone()], ..Given::default() }
    }
}

impl Default for Auditor {
    fn default() -> Self {
        Self::new()
    }
}

/// The entries of a log with batches of so many certificates; `story` tells one such log from another.
pub fn entries(count: usize, certificates: u32, story: u8) -> Vec<Vec<u8>> {
    let mut all = vec![fact(0, Fact::LogBegun { certificates: 0 })];
    while all.len() < count {
        let batch = all.len() as u64;
        all.push(fact(batch, intended(batch, certificates)));
        for position in 0..certificates {
            all.push(fact(batch, certificate(batch, position, story)));
        }
        all.push(fact(batch, Fact::BatchAnswered { batch, attempt: 1 }));
    }
    all.truncate(count);
    all
}

/// An entry at the time of its batch.
pub fn fact(batch: u64, fact: Fact) -> Vec<u8> {
    Entry { at: BEGINNING + (batch / 100) as i64, fact }.encode()
}

/// The intent of a batch.
pub fn intended(batch: u64, certificates: u32) -> Fact {
    Fact::BatchIntended(Box::new(BatchIntended {
        client: "moh-issuing".to_owned(),
        batch_id: id(batch, 0, 9),
        request: [4; 32],
        issuer: if batch % 5_000 < 1_000 { "vn-moh" } else { "vn-moh-ec" }.to_owned(),
        kid: [5; 8],
        assurance: "statement".to_owned(),
        certificates,
        rejected: vec![("dose.repeated".to_owned(), 1)],
    }))
}

/// One certificate of a batch.
pub fn certificate(batch: u64, position: u32, story: u8) -> Fact {
    let (iat, exp) = (BEGINNING, BEGINNING + 86_400 * 365);
    let uvci = id(batch, position, story);
    let sha256 = tiles::leaf(&uvci);
    Fact::CertificateSigned(Certificate { batch, uvci, kid: [5; 8], iat, exp, sha256 })
}

/// An identifier that looks random.
pub fn id(batch: u64, position: u32, story: u8) -> [u8; 16] {
    let text = format!("{batch} {position} {story}");
    tiles::leaf(text.as_bytes())[..16].try_into().expect("16 bytes")
}

/// Writes entries as an export, with checkpoints at some sizes in its history.
pub fn write(folder: &Path, entries: &[Vec<u8>], auditor: &Auditor, history: &[u64]) {
    let log = Folder::at(folder);
    let size = entries.len() as u64;
    for (path, entries) in TilePath::bundles(size).zip(entries.chunks(256)) {
        log.put(&path.to_string(), &bundle::encode(entries).expect("bundle")).expect("written");
    }
    let leaves: Vec<_> = entries.iter().map(|entry| tiles::leaf(entry)).collect();
    tiles::append(&mut log.hashes(0), 0, &leaves).expect("tiles");
    for size in history {
        let name = format!("{HISTORY}/{size}");
        log.put(&name, note(&log, *size, entries.len(), auditor).as_bytes()).expect("written");
    }
    let note = note(&log, size, entries.len(), auditor);
    log.put_last(CHECKPOINT, note.as_bytes()).expect("written");
}

fn note(log: &Folder, size: u64, all: usize, auditor: &Auditor) -> String {
    let root = tiles::root(&mut log.hashes(all as u64), size).expect("root");
    let at = BEGINNING + size as i64;
    auditor.sign(&Head { origin: ORIGIN.to_owned(), size, root, at })
}
