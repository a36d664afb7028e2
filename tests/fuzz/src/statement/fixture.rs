//! A gateway, three facilities and two authorities, the same in every run.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "without its fixture the target cannot run at all"
)]

use std::sync::{Arc, LazyLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use data_encoding::{BASE64, HEXUPPER};
use policy::{Policy, ReasonCode};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use sha2::{Digest as _, Sha256};
use signerd::statement::{TrustAnchors, Units, Verifiers};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// The record that facilities sign here; a signature is detached, so any bytes do.
pub(super) const RECORD: &[u8] = b"the bytes of a record";

/// Within the validity of every certificate.
const DURING: i64 = 1_800_000_000;
/// After the last of them ended.
const AFTERWARDS: i64 = 2_200_000_000;
/// The last second of every certificate: 2035-01-01, midnight.
pub(super) const NOT_AFTER: i64 = 2_051_222_400;
/// 2022-01-01 in Viet Nam: from when the gateway is a verifier, by the policy.
pub(super) const VERIFIER_FROM: i64 = 1_640_970_000;
/// The serial number that is on the revocation list.
const REVOKED: u8 = 3;

/// PKCS#8 around an Ed25519 seed (RFC 8410 §7).
const ED25519_PREFIX: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
/// PKCS#8 around a P-256 scalar (RFC 5915 §3), the public key left out.
const P256_PREFIX: &[u8] =
    b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\
    \x2a\x86\x48\xce\x3d\x03\x01\x07\x04\x27\x30\x25\x02\x01\x01\x04\x20";

/// Made once, at the first input.
pub(super) static FIXTURE: LazyLock<Fixture> = LazyLock::new(Fixture::new);

/// Everybody who could have signed.
pub(super) struct Fixture {
    /// The population database's gateway.
    pub(super) gateway: Signer,
    /// What the product knows of it.
    pub(super) verifiers: Verifiers,
    /// One in order, one revoked, one of a stranger's authority.
    pub(super) facilities: [Signer; 3],
    /// What the product knows of them, at two times: each keeps its verdicts for a minute.
    pub(super) times: [(Units, i64); 2],
}

/// One key and its certificate.
pub(super) struct Signer {
    /// The certificate.
    pub(super) der: Vec<u8>,
    /// Its digest.
    pub(super) sha256: [u8; 32],
    /// The unit it is registered for.
    pub(super) unit: &'static str,
    /// What is wrong with the certificate while it is valid.
    pub(super) fault: Option<ReasonCode>,
    key: EcdsaKeyPair,
}

impl Signer {
    fn new(ca: &Issuer<'_, KeyPair>, number: u8, unit: &'static str) -> Self {
        let pkcs8 = [P256_PREFIX, &[number; 32]].concat();
        let key = KeyPair::try_from(pkcs8.as_slice()).expect("a key");
        let der = params(unit, number).signed_by(&key, ca).expect("a certificate").der().to_vec();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8);
        let sha256 = Sha256::digest(&der).into();
        Self { der, sha256, unit, fault: None, key: key.expect("the same key") }
    }

    /// The first bytes of the digest, as COSE names the certificate.
    pub(super) fn kid(&self) -> &[u8] {
        &self.sha256[..8]
    }

    /// An ES256 signature.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
    }

    /// Whether an ES256 signature is this signer's.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref());
        key.verify(message, signature).is_ok()
    }

    /// What is wrong with the certificate at a time; trust comes before validity, and both before
    /// revocation.
    pub(super) fn fault_at(&self, now: i64) -> Option<ReasonCode> {
        let untrusted = Some(ReasonCode::FacilityCertificateUntrusted);
        if now == AFTERWARDS && self.fault != untrusted {
            return Some(ReasonCode::FacilityCertificateExpired);
        }
        self.fault
    }

    /// Its rows of the registry.
    fn registration(&self) -> String {
        let certificate = Certificate::from_der(&self.der).expect("our certificate");
        let tbs = certificate.tbs_certificate();
        format!(
            "[[facility]]\nid = {unit:?}\nname = {unit:?}\n[[facility.certificate]]\n\
             issuer = \"{issuer}\"\nserial = \"{serial}\"\nsha256 = \"{sha256}\"\nder = \"{der}\"\n",
            unit = self.unit,
            issuer = tbs.issuer(),
            serial = HEXUPPER.encode(tbs.serial_number().as_bytes()),
            sha256 = HEXUPPER.encode(&self.sha256),
            der = BASE64.encode(&self.der),
        )
    }
}

impl Fixture {
    fn new() -> Self {
        let (ca, ca_der) = authority("authority", 101);
        let (stranger, _) = authority("stranger", 102);
        let gateway = Signer::new(&ca, 1, "gateway");
        let good = Signer::new(&ca, 2, "good");
        let mut revoked = Signer::new(&ca, REVOKED, "revoked");
        revoked.fault = Some(ReasonCode::FacilityCertificateRevoked);
        let mut foreign = Signer::new(&stranger, 4, "foreign");
        foreign.fault = Some(ReasonCode::FacilityCertificateUntrusted);
        let facilities = [good, revoked, foreign];
        let crl = revocation_list(&ca);
        let policy = policy(&facilities);
        let times = [DURING, AFTERWARDS].map(|now| {
            let trust = TrustAnchors::new([ca_der.as_slice()], [crl.as_slice()]);
            let units = Units::new(Arc::clone(policy.registry()), trust.expect("an authority"));
            (units.expect("units"), now)
        });
        let gateways = policy.verifiers().iter().map(|verifier| (verifier, gateway.der.as_slice()));
        let verifiers = Verifiers::new(gateways).expect("a verifier");
        Self { gateway, verifiers, facilities, times }
    }
}

/// A policy that registers them; what it says of issuers does not count here.
fn policy(facilities: &[Signer]) -> Policy {
    let rows: String = facilities.iter().map(Signer::registration).collect();
    let text = format!("{}\n{rows}", include_str!("../../policy.toml"));
    Policy::parse(&text).expect("a good policy")
}

fn authority(name: &str, number: u8) -> (Issuer<'static, KeyPair>, Vec<u8>) {
    let key = KeyPair::try_from([ED25519_PREFIX, &[number; 32]].concat()).expect("a key");
    let mut params = params(name, number);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // It outlives what it certified, so that an expired certificate is not untrusted as well.
    params.not_after = date_time_ymd(2099, 1, 1);
    let der = params.self_signed(&key).expect("a certificate").der().to_vec();
    (Issuer::new(params, key), der)
}

fn params(name: &str, serial: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(u64::from(serial)));
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2035, 1, 1);
    params
}

fn revocation_list(ca: &Issuer<'_, KeyPair>) -> Vec<u8> {
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(u64::from(REVOKED)),
        revocation_time: date_time_ymd(2026, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2099, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(ca).expect("a list").der().to_vec()
}
