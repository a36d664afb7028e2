//! Statements made by certificates of this test, in every good form and in bad ones.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use coset::iana::Algorithm as Iana;
use coset::{CborSerializable as _, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable as _};
use data_encoding::{BASE64, HEXUPPER};
use policy::{Evidence, Outcome, Policy, ReasonCode, Registry};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
    KeyIdMethod, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RevokedCertParams, SerialNumber,
};
use sha2::{Digest as _, Sha256};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::*;
use crate::wire::cbor::write;

/// An instant within the validity of every certificate here.
const NOW: i64 = 1_800_000_000;
const RECORD: &[u8] = b"the bytes of a record";

/// A certificate with RSA of 1024 bits, made with OpenSSL.
const SHORT_RSA: &str = concat!(
    "308201fc30820165a0030201020214534edb2c1b0ad63f2c9880667e23d475d8a2e7f1300d06092a864886f70d01010b",
    "05003010310e300c06035504030c0573686f7274301e170d3236313132333131303631345a170d333631313230313130",
    "3631345a3010310e300c06035504030c0573686f727430819f300d06092a864886f70d010101050003818d0030818902",
    "818100a7e8838d8ef5fd48bc569fe977e700408cf2b21e4846356cbfc88ff1e362bcb05e9bca27e991cd83ae78c804a0",
    "a65e357fefb5db4944892bc55e78f509b67d351ef84539ecf11e96b7f256d3e2b238b69d10825fce08aa7d54cdd4a0cf",
    "197202dad24cb1119c591b2f9783e3230c38bc4ebb3ad9dd564c79e620c383c4250c1f0203010001a3533051301d0603",
    "551d0e0416041432be3ff13969e8d9ea77825d55b8f94af9a208d0301f0603551d2304183016801432be3ff13969e8d9",
    "ea77825d55b8f94af9a208d0300f0603551d130101ff040530030101ff300d06092a864886f70d01010b050003818100",
    "454436e29554a2366624f607871d23a7d30ecf7c05a11d8e457b96deb47ee6328a70fc7c9060c21ef3c2c36748d5ce80",
    "b844524ca1bef61f0ec3c3e7bb0489e16f6f45a18b0909a774e561dcb6320d3fce905fd11218b2347a6ef8e300d72b65",
    "873299aaa35193f79fe749ac9f85d35d267e3727e48703b0357135a792fe4a72",
);

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

impl Ca {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name, 1);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), der }
    }

    fn leaf(&self, key: KeyPair, serial: u64) -> Leaf {
        self.leaf_until(key, serial, 2030)
    }

    fn leaf_until(&self, key: KeyPair, serial: u64, year: i32) -> Leaf {
        let mut params = params("unit", serial);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let der = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Leaf { key, der }
    }

    fn crl(&self, revoked: &[u64]) -> Vec<u8> {
        let date = rcgen::date_time_ymd;
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date(2026, 1, 1),
            next_update: date(2035, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }
}

fn params(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    params
}

struct Leaf {
    key: KeyPair,
    der: Vec<u8>,
}

impl Leaf {
    fn sign(&self, alg: Iana, message: &[u8]) -> Vec<u8> {
        let pkcs8 = self.key.serialize_der();
        if alg == Iana::ES256 {
            let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).unwrap();
            return key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
        }
        let key = RsaKeyPair::from_pkcs8(&pkcs8).unwrap();
        let mut signature = vec![0; key.public_modulus_len()];
        let padding = if alg == Iana::PS256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
        key.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }

    fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.der).into()
    }

    fn kid(&self) -> Vec<u8> {
        self.sha256()[..8].to_vec()
    }

    fn registered(&self) -> Registered {
        let certificate = Certificate::from_der(&self.der).unwrap();
        let tbs = certificate.tbs_certificate();
        Registered {
            serial: HEXUPPER.encode(tbs.serial_number().as_bytes()),
            issuer: tbs.issuer().to_string(),
            sha256: HEXUPPER.encode(&self.sha256()),
            der: BASE64.encode(&self.der),
            more: String::new(),
        }
    }

    /// A facility signature with `x5t`.
    fn facility_signature(&self, alg: Iana, record: &[u8]) -> Vec<u8> {
        self.facility_signature_with(alg, record, |header| header.value(34, self.thumbprint()))
    }

    fn facility_signature_with(
        &self,
        alg: Iana,
        record: &[u8],
        fill: impl FnOnce(HeaderBuilder) -> HeaderBuilder,
    ) -> Vec<u8> {
        CoseSign1Builder::new()
            .protected(fill(HeaderBuilder::new().algorithm(alg)).build())
            .create_detached_signature(record, &[], |message| self.sign(alg, message))
            .build()
            .to_tagged_vec()
            .unwrap()
    }

    fn thumbprint(&self) -> coset::cbor::Value {
        use coset::cbor::Value;
        Value::Array(vec![Value::from(-16), Value::Bytes(self.sha256().to_vec())])
    }

    fn statement(&self, alg: Iana, claims: Vec<u8>) -> Vec<u8> {
        CoseSign1Builder::new()
            .protected(HeaderBuilder::new().algorithm(alg).key_id(self.kid()).build())
            .payload(claims)
            .create_signature(&[], |message| self.sign(alg, message))
            .build()
            .to_tagged_vec()
            .unwrap()
    }
}

/// A row of the registry.
#[derive(Clone)]
struct Registered {
    serial: String,
    issuer: String,
    sha256: String,
    der: String,
    /// Further keys of the registration.
    more: String,
}

impl Registered {
    /// The registry that has this row alone.
    fn registry(&self) -> Arc<Registry> {
        let Self { serial, issuer, sha256, der, more } = self;
        let text = policy_text(&format!(
            "[[facility]]\nid = \"79-TTYT-Q1\"\nname = \"A\"\n[[facility.certificate]]\n\
             issuer = {issuer:?}\nserial = {serial:?}\nsha256 = {sha256:?}\nder = {der:?}\n{more}"
        ));
        Arc::clone(Policy::parse(&text).unwrap().registry())
    }
}

/// A policy with one issuer, and more tables.
fn policy_text(more: &str) -> String {
    format!(
        "version = 1\n[issuer.a]\nclients = []\niss = \"VN\"\nissuing_body = \"A\"\n\
         assurance = \"asserted\"\nfacility_signature = \"optional\"\n{more}"
    )
}

/// Verifiers with one gateway, whose table has more keys.
fn verifiers_with(gateway: &Leaf, more: &str) -> Verifiers {
    let text = policy_text(&format!("[[verifier]]\ncertificate = \"v.pem\"\n{more}"));
    let policy = Policy::parse(&text).unwrap();
    Verifiers::new(policy.verifiers().iter().map(|v| (v, gateway.der.as_slice()))).unwrap()
}

fn verifiers(gateway: &Leaf) -> Verifiers {
    verifiers_with(gateway, "")
}

fn p256() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap()
}

fn claims(outcome: &str) -> Vec<u8> {
    claims_at(outcome, NOW)
}

fn claims_at(outcome: &str, checked_at: i64) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Claims<'a> {
        outcome: &'a str,
        checked_at: i64,
        holder_digest: crate::wire::cbor::Bytes<'a>,
    }
    let holder_digest = crate::wire::cbor::Bytes(&[7; 32]);
    write::to_vec(&Claims { outcome, checked_at, holder_digest }).unwrap()
}

fn identity_code(verifiers: &Verifiers, statement: &[u8]) -> Option<ReasonCode> {
    match verifiers.check(Some(statement), NOW) {
        Evidence::Refused(code) => Some(code),
        Evidence::Verified(_) | Evidence::Missing => None,
    }
}

fn facility_code(units: &Units, signature: &[u8], now: i64) -> Option<ReasonCode> {
    match units.check(Some(signature), RECORD, now) {
        Evidence::Refused(code) => Some(code),
        Evidence::Verified(_) | Evidence::Missing => None,
    }
}

fn units(leaf: &Leaf, ca: &Ca, revoked: &[u64]) -> Units {
    let trust = TrustAnchors::new([ca.der.as_slice()], [ca.crl(revoked).as_slice()]).unwrap();
    Units::new(leaf.registered().registry(), trust).unwrap()
}

#[test]
fn a_statement_of_a_registered_gateway_is_read() {
    // A statement under the key of a registered gateway is verified, in ES256 and in PS256.
    let ca = Ca::new("ca");
    for (alg, key) in [(Iana::ES256, p256()), (Iana::PS256, rsa())] {
        let gateway = ca.leaf(key, 2);
        let verifiers = verifiers(&gateway);
        let Evidence::Verified(statement) =
            verifiers.check(Some(&gateway.statement(alg, claims("not_found"))), NOW)
        else {
            panic!("{alg:?}")
        };
        assert_eq!(statement.outcome, Outcome::NotFound);
        assert_eq!((statement.holder_digest, statement.checked_at), ([7; 32], NOW));
    }
}

#[test]
fn a_statement_that_is_forged_or_malformed_is_refused() {
    // A statement with any bit changed, of a stranger, of another form or with another outcome is refused.
    let ca = Ca::new("ca");
    let (gateway, stranger) = (ca.leaf(p256(), 2), ca.leaf(p256(), 3));
    let verifiers = verifiers(&gateway);
    assert!(matches!(verifiers.check(None, NOW), Evidence::Missing));
    let unknown = stranger.statement(Iana::ES256, claims("matched"));
    assert_eq!(identity_code(&verifiers, &unknown), Some(ReasonCode::IdentityVerifierUnknown));
    let good = gateway.statement(Iana::ES256, claims("matched"));
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(identity_code(&verifiers, &bad).is_some(), "bit {bit}");
    }
    let odd = gateway.statement(Iana::ES256, claims("perhaps"));
    assert_eq!(identity_code(&verifiers, &odd), Some(ReasonCode::IdentityStatementInvalid));
}

#[test]
fn headers_are_exactly_as_expected() {
    // Anything in the unprotected header, `crit`, an unknown label or a missing tag is refused.
    let ca = Ca::new("ca");
    let gateway = ca.leaf(p256(), 2);
    let verifiers = verifiers(&gateway);
    let header = || HeaderBuilder::new().algorithm(Iana::ES256).key_id(gateway.kid());
    let message = |protected: HeaderBuilder, unprotected: HeaderBuilder| {
        CoseSign1Builder::new()
            .protected(protected.build())
            .unprotected(unprotected.build())
            .payload(claims("matched"))
            .create_signature(&[], |message| gateway.sign(Iana::ES256, message))
            .build()
    };
    let invalid = Some(ReasonCode::IdentityStatementInvalid);
    let code = |bytes: Vec<u8>| identity_code(&verifiers, &bytes);
    let good = message(header(), HeaderBuilder::new());
    assert_eq!(code(good.clone().to_tagged_vec().unwrap()), None);
    assert_eq!(code(good.to_vec().unwrap()), invalid, "untagged");
    let double = message(header(), HeaderBuilder::new().algorithm(Iana::ES256));
    assert_eq!(code(double.to_tagged_vec().unwrap()), invalid, "alg twice");
    let critical = header().add_critical(coset::iana::HeaderParameter::Alg);
    assert_eq!(code(message(critical, HeaderBuilder::new()).to_tagged_vec().unwrap()), invalid);
    let unknown = header().value(99, 1.into());
    assert_eq!(code(message(unknown, HeaderBuilder::new()).to_tagged_vec().unwrap()), invalid);
}

#[test]
fn nested_counter_signatures_end_at_the_first() {
    // A header that nests counter-signatures a thousand deep is refused without following them.
    let nested = (0..1_000).fold(vec![0xa0], |inner, _| {
        // {7: [bstr(inner), {}, h'']}, with the length of the string in two bytes.
        let [high, low] = u16::try_from(inner.len()).unwrap().to_be_bytes();
        let bytes = match inner.len() {
            0..24 => [vec![0x40 | low], inner].concat(),
            24..256 => [vec![0x58, low], inner].concat(),
            _ => [vec![0x59, high, low], inner].concat(),
        };
        [vec![0xa1, 0x07, 0x83], bytes, vec![0xa0, 0x40]].concat()
    });
    let [high, low] = u16::try_from(nested.len()).unwrap().to_be_bytes();
    let message = [vec![0xd2, 0x84, 0x59, high, low], nested, vec![0xa0, 0xf6, 0x40]].concat();
    assert!(message.len() > 7_000, "as deep as the size allows");
    let ca = Ca::new("ca");
    let units = units(&ca.leaf(p256(), 2), &ca, &[]);
    let small_stack = std::thread::Builder::new().stack_size(256 * 1024);
    let check = move || facility_code(&units, &message, NOW);
    let code = small_stack.spawn(check).unwrap().join().unwrap();
    assert_eq!(code, Some(ReasonCode::FacilitySignatureInvalid));
}

#[test]
fn a_facility_signs_with_every_allowed_algorithm() {
    // A facility signature is verified under RS256, PS256 and ES256, by thumbprint and by chain.
    let ca = Ca::new("ca");
    for (alg, key) in [(Iana::RS256, rsa()), (Iana::PS256, rsa()), (Iana::ES256, p256())] {
        let leaf = ca.leaf(key, 2);
        let units = units(&leaf, &ca, &[]);
        assert_eq!(
            facility_code(&units, &leaf.facility_signature(alg, RECORD), NOW),
            None,
            "{alg:?}"
        );
        let bare = leaf.facility_signature_with(alg, RECORD, |header| {
            header.value(33, coset::cbor::Value::Bytes(leaf.der.clone()))
        });
        assert_eq!(facility_code(&units, &bare, NOW), None, "{alg:?}");
        let chain = leaf.facility_signature_with(alg, RECORD, |header| {
            let der = [&leaf.der, &ca.der].map(|der| coset::cbor::Value::Bytes(der.clone()));
            header.value(33, coset::cbor::Value::Array(der.to_vec()))
        });
        assert_eq!(facility_code(&units, &chain, NOW), None, "{alg:?}");
    }
}

#[test]
fn a_facility_signature_over_other_bytes_is_refused() {
    // A signature over another record, under another algorithm's name or without a hint is refused.
    let ca = Ca::new("ca");
    let leaf = ca.leaf(p256(), 2);
    let units = units(&leaf, &ca, &[]);
    let invalid = Some(ReasonCode::FacilitySignatureInvalid);
    let other = leaf.facility_signature(Iana::ES256, b"another record");
    assert_eq!(facility_code(&units, &other, NOW), invalid);
    let hintless = leaf.facility_signature_with(Iana::ES256, RECORD, |header| header);
    assert_eq!(facility_code(&units, &hintless, NOW), invalid);
    let rsa_leaf = ca.leaf(rsa(), 3);
    let confused = rsa_leaf
        .facility_signature_with(Iana::PS256, RECORD, |header| header.value(34, leaf.thumbprint()));
    assert_eq!(facility_code(&units, &confused, NOW), invalid);
}

#[test]
fn the_first_fault_of_a_certificate_is_told() {
    // A certificate is told unregistered, untrusted, expired or revoked, in this order.
    let (ca, other_ca) = (Ca::new("ca"), Ca::new("other"));
    let leaf = ca.leaf(p256(), 2);
    let signature = leaf.facility_signature(Iana::ES256, RECORD);
    let after = NOW + 6 * 365 * 86_400;
    let code = |units: Units, now| facility_code(&units, &signature, now);
    let unregistered = units(&ca.leaf(p256(), 5), &ca, &[]);
    assert_eq!(code(unregistered, NOW), Some(ReasonCode::FacilityCertificateUnregistered));
    let untrusted = units(&leaf, &other_ca, &[]);
    assert_eq!(code(untrusted, after), Some(ReasonCode::FacilityCertificateUntrusted));
    assert_eq!(code(units(&leaf, &ca, &[2]), after), Some(ReasonCode::FacilityCertificateExpired));
    assert_eq!(code(units(&leaf, &ca, &[2]), NOW), Some(ReasonCode::FacilityCertificateRevoked));
    assert_eq!(code(units(&leaf, &ca, &[3]), NOW), None);
}

#[test]
fn a_certificate_must_agree_with_its_registration() {
    // A registration whose issuer, serial or digest is not the certificate's is refused at start.
    let ca = Ca::new("ca");
    let good = ca.leaf(p256(), 2).registered();
    let cases = [
        ("issuer", Registered { issuer: "CN=another".into(), ..good.clone() }),
        ("serial", Registered { serial: "09".into(), ..good.clone() }),
        ("sha256", Registered { sha256: "00".repeat(32), ..good }),
    ];
    for (expected, registered) in cases {
        match &Units::new(registered.registry(), TrustAnchors::default()).unwrap_err()[..] {
            [(place, UnitError::Registration { field, .. })] => {
                assert_eq!((*field, &place.file), (expected, &None));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_registration_counts_on_its_days_alone() {
    // Outside the days of its registration, or suspended, a certificate is as good as unregistered.
    let ca = Ca::new("ca");
    let leaf = ca.leaf(p256(), 2);
    let signature = leaf.facility_signature(Iana::ES256, RECORD);
    let code = |more: &str| {
        let trust = TrustAnchors::new([ca.der.as_slice()], [ca.crl(&[]).as_slice()]).unwrap();
        let registered = Registered { more: more.to_owned(), ..leaf.registered() };
        facility_code(&Units::new(registered.registry(), trust).unwrap(), &signature, NOW)
    };
    let unregistered = Some(ReasonCode::FacilityCertificateUnregistered);
    assert_eq!(code("valid_from = \"2026-01-01\"\nvalid_to = \"2029-12-31\""), None);
    assert_eq!(code("valid_from = \"2029-12-31\""), unregistered);
    assert_eq!(code("valid_to = \"2026-01-01\""), unregistered);
    assert_eq!(code("status = \"suspended\""), unregistered);
}

#[test]
fn a_gateway_counts_while_it_is_one() {
    // A look-up counts if the gateway was registered, and its certificate not over, when it looked.
    let ca = Ca::new("ca");
    let gateway = ca.leaf(p256(), 2);
    let statement = gateway.statement(Iana::ES256, claims("matched"));
    let code = |more: &str| identity_code(&verifiers_with(&gateway, more), &statement);
    let unknown = Some(ReasonCode::IdentityVerifierUnknown);
    assert_eq!(code("valid_from = \"2026-01-01\"\nvalid_to = \"2029-12-31\""), None);
    assert_eq!(code("valid_from = \"2029-12-31\""), unknown);
    assert_eq!(code("valid_to = \"2026-01-01\""), unknown);
    let at = |checked_at| {
        let statement = gateway.statement(Iana::ES256, claims_at("matched", checked_at));
        match verifiers(&gateway).check(Some(&statement), checked_at) {
            Evidence::Refused(code) => Some(code),
            Evidence::Verified(_) | Evidence::Missing => None,
        }
    };
    // 2030-01-01T00:00:00Z, the certificate's last second.
    assert_eq!((at(1_893_456_000), at(1_893_456_001)), (None, unknown));
    assert_eq!(at(0), None, "an old look-up is stale, which the judge tells");
}

#[test]
fn a_gateways_own_words_have_the_meaning_they_were_given() {
    // A word of the policy's table means what it says there; any other word is no outcome.
    let ca = Ca::new("ca");
    let gateway = ca.leaf(p256(), 2);
    let verifiers = verifiers_with(&gateway, "outcomes = { khop = \"matched\" }");
    for (word, outcome) in
        [("khop", Some(Outcome::Matched)), ("not_found", Some(Outcome::NotFound)), ("khac", None)]
    {
        let statement = gateway.statement(Iana::ES256, claims(word));
        let found = match verifiers.check(Some(&statement), NOW) {
            Evidence::Verified(statement) => Some(statement.outcome),
            Evidence::Refused(_) | Evidence::Missing => None,
        };
        assert_eq!(found, outcome, "{word}");
    }
}

#[test]
fn two_gateways_do_not_share_a_kid() {
    // A certificate that stands twice is refused at start: a statement would not name its verifier.
    let ca = Ca::new("ca");
    let gateway = ca.leaf(p256(), 2);
    let text = policy_text("[[verifier]]\ncertificate = \"v.pem\"\n");
    let policy = Policy::parse(&text).unwrap();
    let twice = [(&policy.verifiers()[0], gateway.der.as_slice()); 2];
    assert!(matches!(Verifiers::new(twice), Err(VerifierError::Kid { .. })));
}

#[test]
fn a_signature_covers_records_of_every_length() {
    // What is signed holds the record's length in as few bytes as it takes; at each border of that
    // encoding the signature of another implementation verifies, and over a byte less it does not.
    let ca = Ca::new("ca");
    let leaf = ca.leaf(p256(), 2);
    let units = units(&leaf, &ca, &[]);
    for length in [1, 23, 24, 255, 256, 8_192, 65_535, 65_536] {
        let record = vec![0xA5; length];
        let signature = leaf.facility_signature(Iana::ES256, &record);
        let check = |record: &[u8]| {
            matches!(units.check(Some(&signature), record, NOW), Evidence::Verified(_))
        };
        assert!(check(&record), "{length}");
        assert!(!check(&record[1..]), "{length}");
    }
}

#[test]
fn an_authority_that_has_ended_is_not_trusted() {
    // Past the end of its authority's certificate a facility's is untrusted, whatever its own says.
    let ca = Ca::new("ca");
    let leaf = ca.leaf_until(p256(), 2, 2045);
    let units = units(&leaf, &ca, &[]);
    let signature = leaf.facility_signature(Iana::ES256, RECORD);
    // 2040-01-01T00:00:00Z is the authority's last second; the lists of this test end in 2035.
    let untrusted = Some(ReasonCode::FacilityCertificateUntrusted);
    assert_eq!(facility_code(&units, &signature, NOW), None);
    assert_eq!(facility_code(&units, &signature, 2_208_988_801), untrusted);
}

#[test]
fn a_certificate_that_ends_before_it_begins_is_refused_at_start() {
    // A registered certificate with its validity the wrong way round is refused before it is used.
    let ca = Ca::new("ca");
    let leaf = ca.leaf_until(p256(), 2, 2020);
    match &Units::new(leaf.registered().registry(), TrustAnchors::default()).unwrap_err()[..] {
        [(_, UnitError::Validity { unit })] => assert_eq!(unit, "79-TTYT-Q1"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn short_rsa_keys_are_refused_at_start() {
    // RSA below 2048 bits is no key for statements, and is told before the first one comes.
    let der = data_encoding::HEXLOWER.decode(SHORT_RSA.as_bytes()).unwrap();
    let certificate = Certificate::from_der(&der).unwrap();
    assert!(matches!(key::VerificationKey::of(&certificate), Err(KeyError::Unsupported)));
}
