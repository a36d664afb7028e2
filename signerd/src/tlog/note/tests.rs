//! Checkpoints that are signed, read back, changed, and read by others.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

use super::{AuditKey, Head, NotACheckpoint, NotAnAuditKey, base64, is_origin};

/// A key as a token has it, and its certificate.
fn audit() -> (EcdsaKeyPair, AuditKey) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der()).unwrap();
    (pair, AuditKey::of(certificate.der()).unwrap())
}

fn head() -> Head {
    Head { origin: "log.example/vn".to_owned(), size: 123, root: [7; 32], at: 1_800_000_000 }
}

fn signed(pair: &EcdsaKeyPair, key: &AuditKey, head: &Head) -> String {
    let signature = pair.sign(&SystemRandom::new(), head.text().as_bytes()).unwrap();
    head.signed(key, signature.as_ref().try_into().unwrap()).unwrap()
}

#[test]
fn a_checkpoint_is_signed_and_read_back() {
    // The note has the lines of the standard, and opens to the head that was signed; the length of a
    // signature's numbers varies, and every length is read.
    let (pair, key) = audit();
    let note = signed(&pair, &key, &head());
    let root = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    let text = format!("log.example/vn\n123\n{root}\ntime 1800000000\n\n\u{2014} log.example/vn ");
    assert!(note.starts_with(&text), "{note}");
    for at in 0..300 {
        let head = Head { at, ..head() };
        let note = signed(&pair, &key, &head);
        assert_eq!(Head::open(&note, &key, Some("log.example/vn")), Ok(head));
    }
}

#[test]
fn another_reader_of_notes_reads_ours() {
    // A parser of checkpoints that is not ours finds the same origin, size and root.
    let (pair, key) = audit();
    let note = signed(&pair, &key, &head());
    let (text, _) = note.split_once("\n\n").unwrap();
    let theirs = tlog_tiles::Checkpoint::from_bytes(format!("{text}\n").as_bytes()).unwrap();
    assert_eq!((theirs.origin(), theirs.size()), ("log.example/vn", 123));
    assert_eq!((theirs.hash().0, theirs.extension()), ([7; 32], "time 1800000000\n"));
}

#[test]
fn a_changed_checkpoint_does_not_open() {
    // Whatever is changed in a note, it is refused: the text by the signature, the signature by its form.
    let (pair, key) = audit();
    let note = signed(&pair, &key, &head());
    for (at, c) in note.char_indices().filter(|(_, c)| c.is_ascii()) {
        let changed = if c == '1' { "2" } else { "1" };
        let mut other = note.clone();
        other.replace_range(at..=at, changed);
        assert!(Head::open(&other, &key, None).is_err(), "{at}: {other}");
    }
    for end in note.char_indices().map(|(at, _)| at) {
        assert!(Head::open(note.get(..end).unwrap(), &key, None).is_err(), "{end}");
    }
}

#[test]
fn witnesses_may_sign_beside() {
    // Signatures of keys that we do not know are passed over; ours must be there.
    let (pair, key) = audit();
    let (other_pair, other_key) = audit();
    let note = signed(&pair, &key, &head());
    let others = signed(&other_pair, &other_key, &head());
    let line = others.lines().last().unwrap();
    assert_eq!(Head::open(&format!("{note}{line}\n"), &key, None), Ok(head()));
    assert_eq!(Head::open(&others, &key, None), Err(NotACheckpoint::Unsigned));
    assert_eq!(Head::open(&note, &key, Some("other")), Err(NotACheckpoint::Origin));
}

#[test]
fn only_a_key_on_p256_signs_the_log() {
    // A certificate of another kind of key, or none, is refused.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    assert_eq!(AuditKey::of(certificate.der()).err(), Some(NotAnAuditKey::Curve));
    assert_eq!(AuditKey::of(b"0").err(), Some(NotAnAuditKey::Certificate));
}

#[test]
fn a_name_of_a_log_has_no_spaces() {
    // A name that a signature's line could not carry is refused.
    assert!(is_origin("signerd.example/log") && is_origin("Sổ"));
    for bad in ["", "a b", "a+b", "a\n", "a\u{a0}b", &"x".repeat(201)] {
        assert!(!is_origin(bad), "{bad:?}");
    }
}

#[test]
fn bytes_have_one_form_of_base64() {
    // Padding in the middle, missing or loose bits, and spaces are refused (found by the fuzz target).
    assert_eq!(base64("AQ==").as_deref(), Some([1].as_slice()));
    assert_eq!(base64("AQEB").as_deref(), Some([1, 1, 1].as_slice()));
    for other in ["AQ==AQ==", "AQ", "AR==", " AQ==", "AQ==\n"] {
        assert_eq!(base64(other), None, "{other:?}");
    }
}
