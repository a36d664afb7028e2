//! COSE_Sign1 (RFC 9052 §4.2) as statements use it: stricter than the standard.
//!
//! Both the message and its protected header are deterministic CBOR; the unprotected header is empty;
//! `crit` and every label but the expected ones are refused; external data is empty. `coset` alone
//! would accept `alg` in both headers and unknown labels.

use coset::cbor::Value;
use coset::iana::{Algorithm as Iana, HeaderParameter};
use coset::{CoseSign1, Header, Label, RegisteredLabelWithPrivate, TaggedCborSerializable as _};

use super::key::Algorithm;
use crate::wire::cbor::{Limits, Reader, gate};

/// A message whose form is right and whose signature is not yet verified.
pub(super) struct Signed {
    pub(super) algorithm: Algorithm,
    /// Header parameter 4, empty where absent.
    pub(super) kid: Vec<u8>,
    pub(super) certificate: CertificateHint,
    message: CoseSign1,
}

/// What a header says about the certificate of the signer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CertificateHint {
    Absent,
    /// `x5chain` (label 33): the leaf, in DER.
    Leaf(Vec<u8>),
    /// `x5t` (label 34): SHA-256 of the leaf's DER.
    Sha256([u8; 32]),
}

/// The algorithm identifier of SHA-256 in `x5t` (RFC 9054).
const SHA_256: i128 = -16;

impl Signed {
    /// Reads a tagged COSE_Sign1; `None` for every other form.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        expected_shape(bytes)?;
        let message = CoseSign1::from_tagged_slice(bytes).ok()?;
        let header = &message.protected.header;
        let algorithm = algorithm(header)?;
        let certificate = plain(header).then(|| hint(&header.rest))??;
        let kid = header.key_id.clone();
        Some(Self { algorithm, kid, certificate, message })
    }

    /// The attached payload.
    pub(super) fn payload(&self) -> Option<&[u8]> {
        self.message.payload.as_deref()
    }

    /// The `Sig_structure` of an attached payload.
    pub(super) fn to_be_signed(&self) -> Vec<u8> {
        self.message.tbs_data(&[])
    }

    /// The `Sig_structure` of a detached payload; `None` where one is attached.
    pub(super) fn to_be_signed_detached(&self, payload: &[u8]) -> Option<Vec<u8>> {
        self.message.payload.is_none().then(|| self.message.tbs_detached_data(payload, &[]))
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.message.signature
    }
}

fn algorithm(header: &Header) -> Option<Algorithm> {
    match header.alg.as_ref()? {
        RegisteredLabelWithPrivate::Assigned(Iana::ES256) => Some(Algorithm::Es256),
        RegisteredLabelWithPrivate::Assigned(Iana::PS256) => Some(Algorithm::Ps256),
        RegisteredLabelWithPrivate::Assigned(Iana::RS256) => Some(Algorithm::Rs256),
        _ => None,
    }
}

/// Looks at the message before `coset` does, which follows counter-signatures inside headers inside
/// counter-signatures until the stack ends: both headers must be plain maps with the labels we know.
fn expected_shape(bytes: &[u8]) -> Option<()> {
    let mut message = Reader::new(gate::check(bytes, &Limits::COSE).ok()?);
    let is_sign1 = message.tag().ok()? == TAG_SIGN1 && message.array().ok()? == 4;
    let protected = gate::check(message.bytes().ok()?, &Limits::SMALL_MAP).ok()?;
    let mut header = Reader::new(protected);
    for _ in 0..header.map().ok()? {
        LABELS.contains(&header.unsigned().ok()?).then_some(())?;
        header.item().ok()?;
    }
    let is_unprotected_empty = message.map().ok()? == 0;
    (is_sign1 && is_unprotected_empty).then_some(())
}

/// The tag of COSE_Sign1 (RFC 9052 §2).
const TAG_SIGN1: u64 = 18;
/// `alg`, `kid`, `x5chain` and `x5t`.
const LABELS: [u64; 4] = [1, 4, 33, 34];

/// Whether the header has none of the parameters that coset knows beside `alg` and `kid`.
fn plain(header: &Header) -> bool {
    header.crit.is_empty()
        && header.content_type.is_none()
        && header.iv.is_empty()
        && header.partial_iv.is_empty()
        && header.counter_signatures.is_empty()
}

/// Reads the parameters that coset does not know: at most one of `x5chain` and `x5t`.
fn hint(rest: &[(Label, Value)]) -> Option<CertificateHint> {
    match rest {
        [] => Some(CertificateHint::Absent),
        [(label, value)] if *label == label_of(HeaderParameter::X5Chain) => leaf(value),
        [(label, value)] if *label == label_of(HeaderParameter::X5T) => thumbprint(value),
        _ => None,
    }
}

fn label_of(parameter: HeaderParameter) -> Label {
    use coset::iana::EnumI64 as _;
    Label::Int(parameter.to_i64())
}

/// One certificate stands bare; two or more stand in an array, leaf first (RFC 9360 §2).
fn leaf(value: &Value) -> Option<CertificateHint> {
    let leaf = match value {
        Value::Bytes(leaf) => leaf,
        Value::Array(chain) if chain.len() >= 2 && chain.iter().all(Value::is_bytes) => {
            chain.first()?.as_bytes()?
        }
        _ => return None,
    };
    Some(CertificateHint::Leaf(leaf.clone()))
}

fn thumbprint(value: &Value) -> Option<CertificateHint> {
    let [algorithm, digest] = value.as_array()?.as_slice() else { return None };
    if i128::from(algorithm.as_integer()?) != SHA_256 {
        return None;
    }
    Some(CertificateHint::Sha256(digest.as_bytes()?.as_slice().try_into().ok()?))
}
