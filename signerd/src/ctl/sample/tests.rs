//! Tests of `sample`: repeatable content, statements that verify, ranges.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    UnparsedPublicKey, VerificationAlgorithm,
};
use coset::{CoseSign1, TaggedCborSerializable};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};

use super::*;

struct Made {
    signer: Signer,
    certificate: Vec<u8>,
    public: Vec<u8>,
}

fn made(algorithm: &'static rcgen::SignatureAlgorithm, scheme: RsaScheme) -> Made {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let certificate = CertificateParams::new(vec!["x".into()]).unwrap().self_signed(&key).unwrap();
    let der = CertificateDer::from(certificate.der().to_vec());
    let pkcs8 = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signer = Signer::new(&der, &pkcs8, scheme).unwrap();
    Made { signer, certificate: der.to_vec(), public: key.public_key_raw().to_vec() }
}

fn verifies(
    sign1: &CoseSign1,
    detached: Option<&[u8]>,
    algorithm: &'static dyn VerificationAlgorithm,
    public: &[u8],
) -> bool {
    let key = UnparsedPublicKey::new(algorithm, public);
    let check = |signature: &[u8], message: &[u8]| key.verify(message, signature);
    match detached {
        Some(payload) => sign1.verify_detached_signature(payload, &[], check).is_ok(),
        None => sign1.verify_signature(&[], check).is_ok(),
    }
}

fn unit() -> Unit {
    Unit { id: "79-TTYT-Q1".into(), name: None }
}

#[test]
fn a_seed_makes_the_same_records() {
    // The content of a record depends on seed and index alone; another seed gives other people.
    let range = DoseRange { from: 1, to: 3 };
    let bytes = |seed| -> Vec<Vec<u8>> {
        (0..100).map(|index| record(seed, index, range, &unit()).encode().unwrap()).collect()
    };
    assert_eq!(bytes(7), bytes(7));
    assert_ne!(bytes(7), bytes(8));
}

#[test]
fn content_does_not_drift() {
    // The first thousand records of seed 1 are those of every other build of this version.
    let range = DoseRange { from: 1, to: 3 };
    let mut digest = Sha256::new();
    for index in 0..1000 {
        digest.update(record(1, index, range, &unit()).encode().unwrap());
    }
    let digest = data_encoding::HEXLOWER.encode(&digest.finalize());
    assert_eq!(digest, "7ec26bb6f85e2c069049edb3e046f45d8a0ced425c7b0b4534594e4b3d35207c");
}

#[test]
fn identity_statements_verify_and_name_the_holder() {
    // The statement is ES256 over an attached payload whose digest is that of the holder's bytes as
    // they stand in the record, with the verifier's kid and an empty unprotected header.
    let Made { signer, certificate, public } = made(&PKCS_ECDSA_P256_SHA256, RsaScheme::Ps256);
    let record = record(1, 4, DoseRange { from: 2, to: 2 }, &unit());
    let (bytes, holder) = (record.encode().unwrap(), record.holder.encode().unwrap());
    let encoded = signer.identity_statement(&holder, 1_700_000_000).unwrap();
    let sign1 = CoseSign1::from_tagged_slice(&encoded).unwrap();
    assert!(verifies(&sign1, None, &ECDSA_P256_SHA256_FIXED, &public));
    assert_eq!(sign1.protected.header.key_id, Sha256::digest(&certificate)[..8]);
    assert!(sign1.unprotected.is_empty());
    // Independently of our encoder: take the record apart with another decoder and hash what it finds.
    let cbor_core::Value::Map(members) = cbor_core::Value::decode(&bytes[..]).unwrap() else {
        panic!("a record is a map")
    };
    let found = &members[&cbor_core::Value::from("holder")];
    let digest = Sha256::digest(found.encode());
    let claims: ciborium::Value = ciborium::from_reader(sign1.payload.as_deref().unwrap()).unwrap();
    let claim = |name: &str| {
        let members = claims.as_map().unwrap();
        members.iter().find(|(key, _)| key.as_text() == Some(name)).unwrap().1.clone()
    };
    assert_eq!(claim("holder_digest").as_bytes().unwrap().as_slice(), digest.as_slice());
    assert_eq!(claim("outcome").as_text(), Some("matched"));
    assert_eq!(claim("checked_at").as_integer(), Some(1_700_000_000.into()));
}

#[test]
fn facility_signatures_verify_over_the_record() {
    // The signature is detached, over the record's bytes, by PS256 or RS256 (or ES256 for a P-256
    // key), and names the certificate by x5t; one changed byte of the record and it does not verify.
    let kinds: [(_, _, &'static dyn VerificationAlgorithm, i64); 3] = [
        (&PKCS_RSA_SHA256, RsaScheme::Ps256, &RSA_PSS_2048_8192_SHA256, -37),
        (&PKCS_RSA_SHA256, RsaScheme::Rs256, &RSA_PKCS1_2048_8192_SHA256, -257),
        (&PKCS_ECDSA_P256_SHA256, RsaScheme::Ps256, &ECDSA_P256_SHA256_FIXED, -7),
    ];
    for (kind, scheme, algorithm, number) in kinds {
        let Made { signer, certificate, public } = made(kind, scheme);
        let mut record = record(1, 5, DoseRange { from: 1, to: 3 }, &unit()).encode().unwrap();
        let encoded = signer.facility_signature(&record).unwrap();
        let sign1 = CoseSign1::from_tagged_slice(&encoded).unwrap();
        assert!(sign1.payload.is_none() && sign1.unprotected.is_empty());
        assert!(verifies(&sign1, Some(&record), algorithm, &public));
        record[20] ^= 1;
        assert!(!verifies(&sign1, Some(&record), algorithm, &public));
        let protected = cbor_core::Value::decode(sign1.protected.original_data.as_deref().unwrap());
        let digest = Sha256::digest(&certificate);
        let expected =
            cbor_core::map! { 1 => number, 34 => cbor_core::array![-16, digest.as_slice()] };
        assert_eq!(protected.unwrap(), expected);
    }
}

#[test]
fn certificate_and_key_must_fit() {
    // A key is not used under another key's certificate.
    let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = made(&PKCS_ECDSA_P256_SHA256, RsaScheme::Ps256).certificate;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(other.serialize_der()));
    let made = Signer::new(&CertificateDer::from(certificate), &key, RsaScheme::Ps256);
    assert!(matches!(made, Err(StatementError::NotItsKey)));
}

#[test]
fn dose_ranges_are_read() {
    // A number or an ascending range within 1 to 9.
    assert_eq!("2".parse(), Ok(DoseRange { from: 2, to: 2 }));
    assert_eq!("1-3".parse(), Ok(DoseRange { from: 1, to: 3 }));
    for text in ["0", "3-1", "1-10", "x", "1-2-3", ""] {
        assert!(text.parse::<DoseRange>().is_err(), "{text}");
    }
}

#[test]
fn times_are_read() {
    // RFC 3339 and seconds since 1970 name the same instant.
    assert_eq!(instant("2026-01-31T12:00:00Z"), Ok(1_769_860_800));
    assert_eq!(instant("1769860800"), Ok(1_769_860_800));
    assert!(instant("yesterday").is_err());
}
