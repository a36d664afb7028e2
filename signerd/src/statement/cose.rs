//! COSE_Sign1 (RFC 9052 §4.2) as statements use it: stricter than the standard.
//!
//! Both the message and its protected header are deterministic CBOR; the unprotected header is empty;
//! `crit` and every label but the expected ones are refused; external data is empty. The message is read
//! where it stands, without a tree: a library would build one twice for each record, and follow
//! counter-signatures inside headers inside counter-signatures.

use super::key::Algorithm;
use crate::wire::cbor::{Limits, Reader, gate};

/// A message whose form is right and whose signature is not yet verified.
pub(super) struct Signed<'a> {
    pub(super) algorithm: Algorithm,
    /// Header parameter 4, empty where absent.
    pub(super) kid: &'a [u8],
    pub(super) certificate: CertificateHint<'a>,
    /// The protected header as it stands: the encoding of a byte string.
    protected: &'a [u8],
    /// Absent where it is detached.
    payload: Option<&'a [u8]>,
    signature: &'a [u8],
}

/// What a header says about the certificate of the signer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CertificateHint<'a> {
    Absent,
    /// `x5chain` (label 33): the leaf, in DER.
    Leaf(&'a [u8]),
    /// `x5t` (label 34): SHA-256 of the leaf's DER.
    Sha256([u8; 32]),
}

/// The tag of COSE_Sign1 (RFC 9052 §2).
const TAG_SIGN1: u64 = 18;
/// The header parameters that are known (RFC 9052 §3.1, RFC 9360 §2).
const ALG: u64 = 1;
const KID: u64 = 4;
const X5CHAIN: u64 = 33;
const X5T: u64 = 34;
/// ES256 (-7), PS256 (-37) and RS256 (-257), and SHA-256 (-16, RFC 9054), as they are encoded.
const ES256: &[u8] = &[0x26];
const PS256: &[u8] = &[0x38, 0x24];
const RS256: &[u8] = &[0x39, 0x01, 0x00];
const SHA_256: &[u8] = &[0x2f];
/// A payload that stands elsewhere (RFC 9052 §4.1).
const NIL: &[u8] = &[0xf6];

impl<'a> Signed<'a> {
    /// Reads a tagged COSE_Sign1; `None` for every other form.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut message = Reader::new(gate::check(bytes, &Limits::COSE).ok()?);
        let is_sign1 = message.tag().ok()? == TAG_SIGN1 && message.array().ok()? == 4;
        let mut again = message.clone();
        let protected = message.item().ok()?;
        let header = Header::read(again.bytes().ok()?)?;
        let is_unprotected_empty = message.map().ok()? == 0;
        let payload = match message.clone().item().ok()? {
            NIL => message.item().map(|_| None).ok()?,
            _ => Some(message.bytes().ok()?),
        };
        let signature = message.bytes().ok()?;
        let Header { algorithm, kid, certificate } = header;
        (is_sign1 && is_unprotected_empty).then_some(Self {
            algorithm: algorithm?,
            kid,
            certificate,
            protected,
            payload,
            signature,
        })
    }

    /// The attached payload.
    pub(super) fn payload(&self) -> Option<&'a [u8]> {
        self.payload
    }

    /// The `Sig_structure` of an attached payload; `None` where it is detached.
    pub(super) fn to_be_signed(&self) -> Option<Vec<u8>> {
        self.payload.map(|payload| self.sig_structure(payload))
    }

    /// The `Sig_structure` of a detached payload; `None` where one is attached.
    pub(super) fn to_be_signed_detached(&self, payload: &[u8]) -> Option<Vec<u8>> {
        self.payload.is_none().then(|| self.sig_structure(payload))
    }

    pub(super) fn signature(&self) -> &'a [u8] {
        self.signature
    }

    /// `["Signature1", protected, external (empty), payload]`, RFC 9052 §4.4.
    fn sig_structure(&self, payload: &[u8]) -> Vec<u8> {
        const BEGIN: &[u8] = b"\x84\x6aSignature1";
        const NO_EXTERNAL: &[u8] = &[0x40];
        [BEGIN, self.protected, NO_EXTERNAL, &bytes_head(payload.len()), payload].concat()
    }
}

/// The protected header.
struct Header<'a> {
    algorithm: Option<Algorithm>,
    kid: &'a [u8],
    certificate: CertificateHint<'a>,
}

impl<'a> Header<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut map = Reader::new(gate::check(bytes, &Limits::SMALL_MAP).ok()?);
        let mut header = Self { algorithm: None, kid: &[], certificate: CertificateHint::Absent };
        for _ in 0..map.map().ok()? {
            // The gate has seen to it that no label stands twice.
            match map.unsigned().ok()? {
                ALG => header.algorithm = Some(algorithm(map.item().ok()?)?),
                KID => header.kid = map.bytes().ok()?,
                label @ (X5CHAIN | X5T) if header.certificate == CertificateHint::Absent => {
                    let read = if label == X5CHAIN { leaf } else { thumbprint };
                    header.certificate = read(&mut map)?;
                }
                _ => return None,
            }
        }
        Some(header)
    }
}

fn algorithm(encoded: &[u8]) -> Option<Algorithm> {
    match encoded {
        ES256 => Some(Algorithm::Es256),
        PS256 => Some(Algorithm::Ps256),
        RS256 => Some(Algorithm::Rs256),
        _ => None,
    }
}

/// One certificate stands bare; two or more stand in an array, leaf first (RFC 9360 §2).
fn leaf<'a>(map: &mut Reader<'a>) -> Option<CertificateHint<'a>> {
    if let Ok(leaf) = map.clone().bytes() {
        map.item().ok()?;
        return Some(CertificateHint::Leaf(leaf));
    }
    let count = map.array().ok().filter(|count| *count >= 2)?;
    let leaf = map.bytes().ok()?;
    for _ in 1..count {
        map.bytes().ok()?;
    }
    Some(CertificateHint::Leaf(leaf))
}

fn thumbprint<'a>(map: &mut Reader<'a>) -> Option<CertificateHint<'a>> {
    let is_sha_256 = map.array().ok()? == 2 && map.item().ok()? == SHA_256;
    let digest = map.bytes().ok()?.try_into().ok()?;
    is_sha_256.then_some(CertificateHint::Sha256(digest))
}

/// The head of a byte string (RFC 8949 §3), as short as it can be.
fn bytes_head(length: usize) -> Vec<u8> {
    const BYTES: u8 = 0x40;
    if let Ok(length @ 0..24) = u8::try_from(length) {
        vec![BYTES | length]
    } else if let Ok(length) = u8::try_from(length) {
        vec![BYTES | 24, length]
    } else if let Ok(length) = u16::try_from(length) {
        [&[BYTES | 25][..], &length.to_be_bytes()].concat()
    } else {
        // A record of 4 GiB does not come over the wire.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        [&[BYTES | 26][..], &length.to_be_bytes()].concat()
    }
}
