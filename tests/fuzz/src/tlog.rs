//! What an auditor reads that others wrote: entries, bundles, checkpoints, proofs, keys and paths.
//!
//! The first byte says as what the rest is read. Whatever is read is written again and read as the same;
//! what is only glanced at agrees with what is decoded. No note opens under a key that never signed.

#![expect(
    clippy::expect_used,
    reason = "a key that cannot be made is a fault of the target, and what must hold ends the process"
)]

use std::sync::LazyLock;

use signerd::tlog::bundle;
use signerd::tlog::cosign::WitnessKey;
use signerd::tlog::fact::Entry;
use signerd::tlog::glance::Glance;
use signerd::tlog::note::{AuditKey, Head};
use signerd::tlog::path::TilePath;
use signerd::tlog::proof::StoredProof;

/// A key that signs nothing.
static KEY: LazyLock<AuditKey> = LazyLock::new(|| {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    let certificate = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    AuditKey::of(certificate.self_signed(&key).expect("a certificate").der()).expect("on P-256")
});

/// Takes any bytes; the first one chooses the reader.
pub fn check(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let text = std::str::from_utf8(rest).unwrap_or_default();
    match kind {
        b'e' => entry(rest),
        b'b' => entries(rest),
        b'c' => checkpoint(text),
        b'p' => proof(text),
        b'w' => witness(text),
        b't' => path(text),
        _ => {}
    }
}

fn entry(bytes: &[u8]) {
    let glance = Glance::at(bytes);
    let Ok(entry) = Entry::decode(bytes) else { return };
    let encoded = entry.encode();
    assert_eq!(Entry::decode(&encoded).as_ref(), Ok(&entry), "what is written is read");
    let seen = Glance::at(&encoded).expect("what we write is seen");
    assert_eq!((seen.at, seen.event), (entry.at, entry.fact.event()));
    // A form that we do not write may be passed over by a glance, but is not seen as another.
    if let Some(glance) = glance.filter(|_| encoded == bytes) {
        assert_eq!(glance, seen);
    }
}

fn entries(bytes: &[u8]) {
    let Some((count, bytes)) = bytes.split_first() else { return };
    if let Ok(entries) = bundle::decode(bytes, usize::from(*count)) {
        assert_eq!(entries.len(), usize::from(*count));
        assert_eq!(bundle::encode(&entries).as_deref(), Some(bytes), "a bundle has one form");
    }
}

fn checkpoint(note: &str) {
    assert!(Head::open(note, &KEY, None).is_err(), "nothing was signed");
    if let Ok(head) = Head::unverified(note, None) {
        assert!(note.starts_with(&head.text()), "a head has one form");
        assert_eq!(Head::unverified(note, Some(&head.origin)), Ok(head));
    }
}

fn proof(text: &str) {
    if let Ok(proof) = StoredProof::parse(text) {
        assert_eq!(proof.to_text(), text, "a proof has one form");
        assert!(proof.verify(&KEY, None).is_err(), "nothing was signed");
    }
}

fn witness(text: &str) {
    let (key, note) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(witness) = WitnessKey::parse(key) {
        assert_eq!(witness.to_string(), key, "a verifier key has one form");
        let _ = witness.cosigned(note);
    }
}

fn path(text: &str) {
    if let Some(path) = TilePath::find(text) {
        assert_eq!(path.to_string(), text, "a tile has one path");
    }
}
