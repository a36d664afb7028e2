//! Certificates made with keys of the test's own, and what becomes of them when they are changed.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PSS_SHA256,
};
use coset::cbor::Value;
use coset::iana::{Algorithm, HeaderParameter};
use coset::{CoseSign1Builder, Header, HeaderBuilder, TaggedCborSerializable};
use policy::Catalogue;
use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, PKCS_ECDSA_P256_SHA256};
use std::sync::LazyLock;

use super::*;

const NOW: i64 = 1_800_000_000;
const DAY_S: i64 = 86_400;

enum Key {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    fn sign(&self, tbs: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ec(key) => key.sign(&random, tbs).unwrap().as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PSS_SHA256, &random, tbs, &mut signature).unwrap();
                signature
            }
        }
    }
}

struct Signer {
    key: Key,
    certificate: SignerCertificate,
}

/// Makes a certificate that is valid from a year before [`NOW`] until three years after it.
fn certificate(pkcs8: &[u8], rsa: bool, purposes: &[&[u64]]) -> SignerCertificate {
    let algorithm = if rsa { &rcgen::PKCS_RSA_SHA256 } else { &PKCS_ECDSA_P256_SHA256 };
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.into(), algorithm).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "BỘ Y TẾ thử nghiệm");
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    params.extended_key_usages =
        purposes.iter().map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec())).collect();
    SignerCertificate::from_der(params.self_signed(&key).unwrap().der()).unwrap()
}

fn ec_signer(purposes: &[&[u64]]) -> Signer {
    let pkcs8 =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    assert_eq!(key.public_key().as_ref().len(), 65);
    Signer { key: Key::Ec(key), certificate: certificate(pkcs8.as_ref(), false, purposes) }
}

fn rsa_signer() -> Signer {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let pkcs8: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let certificate = certificate(pkcs8.as_ref(), true, &[]);
    Signer { certificate, key: Key::Rsa(key) }
}

static EC: LazyLock<Signer> = LazyLock::new(|| ec_signer(&[]));
static RSA: LazyLock<Signer> = LazyLock::new(rsa_signer);

/// All value sets that come with the program.
pub(super) static CODES: LazyLock<Catalogue> =
    LazyLock::new(|| Catalogue::select(Catalogue::set_ids()).unwrap());

pub(super) fn claims() -> Claims {
    Claims {
        iss: "VN".to_owned(),
        issued_at: NOW,
        expires_at: NOW + 365 * DAY_S,
        dcc: Dcc {
            name: Name {
                family: "Nguyễn".to_owned(),
                given: Some("Thị Ánh Tuyết".to_owned()),
                family_standard: "NGUYEN".to_owned(),
                given_standard: Some("THI<ANH<TUYET".to_owned()),
            },
            date_of_birth: "1999-10-20".to_owned(),
            vaccination: Vaccination {
                ci: "URN:UVCI:01:VN:FFFE3D31FABD035899134A9D3BAE9BCF".to_owned(),
                co: "VN".to_owned(),
                dn: 2,
                dt: "2021-09-18".to_owned(),
                is: "Bộ Y tế Việt Nam".to_owned(),
                ma: "ORG-100030215".to_owned(),
                mp: "EU/1/20/1528".to_owned(),
                sd: 2,
                tg: "840539006".to_owned(),
                vp: "1119349007".to_owned(),
            },
        },
    }
}

impl Unsigned {
    /// Verified and packed, as the spine does one after the other.
    pub(super) fn seal(
        self,
        signature: &[u8],
        signer: &SignerCertificate,
    ) -> Result<Hcert, HcertError> {
        self.verify(signature, signer).map_err(|refused| refused.error)?.pack()
    }
}

fn prepared(signer: &Signer, claims: &Claims) -> Unsigned {
    prepare(signer.certificate.alg(), signer.certificate.kid(), claims, &CODES).unwrap()
}

fn signed(signer: &Signer, claims: &Claims) -> (Unsigned, Vec<u8>) {
    let unsigned = prepared(signer, claims);
    let signature = signer.key.sign(&unsigned.tbs());
    (unsigned, signature)
}

fn certified(signer: &Signer, claims: &Claims) -> Hcert {
    let (unsigned, signature) = signed(signer, claims);
    unsigned.seal(&signature, &signer.certificate).unwrap()
}

fn trusting(signer: &Signer) -> Signers {
    [signer.certificate.clone()].into_iter().collect()
}

/// Signs any envelope, as another issuer or a forger would, and packs it.
fn foreign(signer: &Signer, protected: Header, unprotected: Header, payload: Vec<u8>) -> String {
    let sign1 = CoseSign1Builder::new()
        .protected(protected)
        .unprotected(unprotected)
        .payload(payload)
        .create_signature(&[], |tbs| signer.key.sign(tbs))
        .build();
    text::encode(&sign1.to_tagged_vec().unwrap()).unwrap()
}

fn header(alg: Algorithm, kid: Kid) -> Header {
    HeaderBuilder::new().algorithm(alg).key_id(kid.as_bytes().to_vec()).build()
}

#[test]
fn a_payload_that_says_anything_else_is_refused() {
    // Whatever bit of the payload is turned, whatever follows it, and with whatever member missing,
    // added or elsewhere: it is not the encoding of the claims any more.
    let claims = claims();
    let payload = claims.encode().unwrap();
    judge::payload(&payload, &claims).unwrap();
    for bit in 0..payload.len() * 8 {
        let mut turned = payload.clone();
        turned[bit / 8] ^= 1 << (bit % 8);
        assert!(judge::payload(&turned, &claims).is_err(), "bit {bit}");
    }
    assert!(judge::payload(&[&payload[..], &[0]].concat(), &claims).is_err());
    assert!(judge::payload(&payload[..payload.len() - 1], &claims).is_err());

    let tree: Value = coset::cbor::de::from_reader(payload.as_slice()).unwrap();
    let encoded = |value: &Value| {
        let mut bytes = Vec::new();
        coset::cbor::ser::into_writer(value, &mut bytes).unwrap();
        bytes
    };
    assert_eq!(encoded(&tree), payload);
    for change in 0..3 {
        let mut changed = tree.clone();
        let entries = changed.as_map_mut().unwrap();
        match change {
            0 => drop(entries.remove(2)),
            1 => entries.push((Value::from(-261), Value::from(0))),
            _ => entries.swap(1, 2),
        }
        assert!(judge::payload(&encoded(&changed), &claims).is_err(), "change {change}");
    }
    let mut mononym = claims.clone();
    (mononym.dcc.name.given, mononym.dcc.name.given_standard) = (None, None);
    judge::payload(&mononym.encode().unwrap(), &mononym).unwrap();
    assert!(judge::payload(&payload, &mononym).is_err());
}

#[test]
fn both_algorithms_seal_and_verify() {
    // What is prepared, signed and sealed verifies against its signer and says what was claimed.
    for signer in [&*EC, &*RSA] {
        let hcert = certified(signer, &claims());
        let verified = verify(hcert.text(), &trusting(signer), NOW).unwrap();
        assert_eq!(verified.kind, EventKind::Vaccination);
        judge::payload(verified.decoded.envelope().payload(), &claims()).unwrap();
        assert!(verified.decoded.envelope().protected().len() < 24);
        assert_eq!(hcert.clone().into_text(), hcert.text());
    }
}

#[test]
fn sealing_is_repeatable() {
    // The same claims and the same signature give the same text, so a replay is byte-identical.
    let (first, signature) = signed(&RSA, &claims());
    let first = first.seal(&signature, &RSA.certificate).unwrap();
    let again = prepared(&RSA, &claims()).seal(&signature, &RSA.certificate).unwrap();
    assert_eq!(first, again);
    assert_eq!(first.cose_sha256(), again.cose_sha256());
}

#[test]
fn every_flipped_bit_of_a_signature_is_refused() {
    // No signature with one wrong bit, and none that is cut or prolonged, leaves the appliance.
    for signer in [&*EC, &*RSA] {
        let (_, signature) = signed(signer, &claims());
        for bit in 0..signature.len() * 8 {
            let mut wrong = signature.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let refused = prepared(signer, &claims()).seal(&wrong, &signer.certificate);
            assert_eq!(refused, Err(HcertError::Signature(SignatureInvalid)), "bit {bit}");
        }
        for wrong in [&signature[1..], &[&signature[..], &[0]].concat(), &[]] {
            let refused = prepared(signer, &claims()).seal(wrong, &signer.certificate);
            assert_eq!(refused, Err(HcertError::Signature(SignatureInvalid)));
        }
    }
}

#[test]
fn signature_in_der_is_refused() {
    // An ECDSA signature in DER, as some tokens give it, is not the form of COSE.
    let der = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(der, &SystemRandom::new()).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(der, pkcs8.as_ref()).unwrap();
    let certificate = certificate(pkcs8.as_ref(), false, &[]);
    let unsigned = prepare(Alg::Es256, certificate.kid(), &claims(), &CODES).unwrap();
    let signature = key.sign(&SystemRandom::new(), &unsigned.tbs()).unwrap();
    assert!(unsigned.seal(signature.as_ref(), &certificate).is_err());
}

#[test]
fn other_certificate_than_prepared_is_refused() {
    // Bytes prepared for one signer are not sealed with another one's certificate.
    let (unsigned, signature) = signed(&EC, &claims());
    let refused = unsigned.seal(&signature, &RSA.certificate);
    assert!(matches!(refused, Err(HcertError::SignerDiffers { .. })), "{refused:?}");
}

#[test]
fn certificate_never_outlives_its_signer() {
    // An expiry after the signer's, or an issue before it, is refused before the signature counts.
    for (issued_at, expires_at) in
        [(NOW, EC.certificate.not_after() + 1), (EC.certificate.not_before() - 1, NOW)]
    {
        let (unsigned, signature) = signed(&EC, &Claims { issued_at, expires_at, ..claims() });
        let refused = unsigned.seal(&signature, &EC.certificate);
        assert_eq!(refused, Err(HcertError::SignerValidity));
    }
}

#[test]
fn certificate_is_valid_for_its_months() {
    // A certificate of more than twelve months or less than one, as others issued, does not come into
    // being, though its signer would last.
    for (days, what) in [
        (1_021, "is more than 12 months after the time of issue"),
        (367, "is more than 12 months after the time of issue"),
        (27, "is less than 28 days after the time of issue"),
        (4, "is less than 28 days after the time of issue"),
    ] {
        let (unsigned, signature) =
            signed(&EC, &Claims { expires_at: NOW + days * DAY_S, ..claims() });
        let refused = unsigned.seal(&signature, &EC.certificate);
        assert_eq!(refused, Err(HcertError::Claim(ClaimFault { path: "4", what })));
    }
    for days in [28, 366] {
        certified(&EC, &Claims { expires_at: NOW + days * DAY_S, ..claims() });
    }
}

#[test]
fn mononym_has_no_given_name() {
    // A name of one word has fn and fnt alone; one without the other is refused.
    let mut mononym = claims();
    mononym.dcc.name.given = None;
    let fault = prepare(Alg::Es256, EC.certificate.kid(), &mononym, &CODES).unwrap_err();
    assert!(matches!(fault, HcertError::Claim(ClaimFault { path: "/nam/gnt", .. })), "{fault}");
    mononym.dcc.name.given_standard = None;
    let hcert = certified(&EC, &mononym);
    let decoded = read(hcert.text()).unwrap();
    assert_eq!(decoded.dcc().unwrap().get("nam").unwrap().entries().len(), 2);
}

#[test]
fn header_for_another_kind_of_key_is_refused() {
    // An RSA signature under a header that says ES256 is refused, though it is the right key's.
    let payload = claims().encode().unwrap();
    let kid = RSA.certificate.kid();
    let text = foreign(&RSA, header(Algorithm::ES256, kid), Header::default(), payload.clone());
    let refused = verify(&text, &trusting(&RSA), NOW).unwrap_err();
    assert_eq!(refused, Invalid::AlgKeyDisagree { header: Alg::Es256, key: Alg::Ps256 });
    let text = foreign(&RSA, header(Algorithm::RS256, kid), Header::default(), payload);
    let refused = verify(&text, &trusting(&RSA), NOW).unwrap_err();
    assert_eq!(refused, Invalid::AlgUnsupported("-257".to_owned()));
}

#[test]
fn critical_header_is_refused() {
    // A header that demands to be understood makes the certificate invalid (RFC 9052 §3.1).
    let mut protected = header(Algorithm::ES256, EC.certificate.kid());
    protected.crit = vec![coset::RegisteredLabelWithPrivate::Assigned(HeaderParameter::Alg)];
    let text = foreign(&EC, protected, Header::default(), claims().encode().unwrap());
    assert_eq!(verify(&text, &trusting(&EC), NOW).unwrap_err(), Invalid::CriticalHeader);
}

#[test]
fn times_and_their_absence_are_judged() {
    // A certificate holds from its issue to the second before its expiry, within its signer's.
    let text = certified(&EC, &claims()).into_text();
    let signers = trusting(&EC);
    let end = NOW + 365 * DAY_S;
    assert_eq!(verify(&text, &signers, NOW - 1).unwrap_err(), Invalid::IssuedInFuture { at: NOW });
    verify(&text, &signers, end - 1).unwrap();
    assert_eq!(verify(&text, &signers, end).unwrap_err(), Invalid::Expired { at: end });

    let protected = || header(Algorithm::ES256, EC.certificate.kid());
    let long = Claims { expires_at: EC.certificate.not_after() + 1, ..claims() };
    let text = foreign(&EC, protected(), Header::default(), long.encode().unwrap());
    assert!(matches!(verify(&text, &signers, NOW), Err(Invalid::OutlivesSigner { .. })));

    let mut claims = tree::decode_value(&claims().encode().unwrap()).unwrap();
    claims.as_map_mut().unwrap().retain(|(key, _)| *key != Value::from(4));
    let mut payload = Vec::new();
    coset::cbor::ser::into_writer(&claims, &mut payload).unwrap();
    let text = foreign(&EC, protected(), Header::default(), payload);
    assert_eq!(verify(&text, &signers, NOW).unwrap_err(), Invalid::ExpiryMissing);
}

#[test]
fn purposes_of_both_arcs_count() {
    // A signer for tests alone does not sign vaccinations, neither ours nor another's, by the right arc
    // and by the early wrong one; foreign purposes say nothing.
    let test: [&[u64]; 2] =
        [&[1, 3, 6, 1, 4, 1, 1847, 2021, 1, 1], &[1, 3, 6, 1, 4, 1, 0, 1847, 2021, 1, 1]];
    for purpose in test {
        let signer = ec_signer(&[purpose]);
        let (unsigned, signature) = signed(&signer, &claims());
        let refused = unsigned.seal(&signature, &signer.certificate);
        assert_eq!(refused, Err(HcertError::SignerPurpose));
        let protected = header(Algorithm::ES256, signer.certificate.kid());
        let text = foreign(&signer, protected, Header::default(), claims().encode().unwrap());
        let refused = verify(&text, &trusting(&signer), NOW).unwrap_err();
        assert_eq!(refused, Invalid::Purpose(EventKind::Vaccination));
    }
    let client_auth: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];
    let both = [test[0], &[1, 3, 6, 1, 4, 1, 1847, 2021, 1, 2]];
    for signer in [ec_signer(&[client_auth]), ec_signer(&both)] {
        verify(certified(&signer, &claims()).text(), &trusting(&signer), NOW).unwrap();
    }
}

#[test]
fn untagged_object_reads_and_does_not_verify() {
    // Without tag 18 a certificate can be inspected, but not trusted.
    let hcert = certified(&EC, &claims());
    let cose = text::decode(hcert.text()).unwrap();
    let text = text::encode(&cose[1..]).unwrap();
    assert_eq!(read(&text).unwrap().envelope().tagging(), Tagging::Untagged);
    assert_eq!(verify(&text, &trusting(&EC), NOW).unwrap_err(), Invalid::Untagged);
}

#[test]
fn debug_output_has_no_personal_data() {
    // Neither stage shows the holder when it is printed by accident.
    let unsigned = prepared(&EC, &claims());
    let hcert = certified(&EC, &claims());
    let printed = format!("{unsigned:?} {hcert:?}");
    assert!(!printed.contains("Nguy") && !printed.contains("HC1:"), "{printed}");
}

proptest! {
    #[test]
    fn reading_never_panics_on_changed_text(
        changes in prop::collection::vec((0_usize..700, any::<char>()), 1..8),
    ) {
        // A text with any characters exchanged is read or refused; if read, it is not verified
        // unless nothing changed.
        static TEXT: LazyLock<String> = LazyLock::new(|| certified(&EC, &claims()).into_text());
        let mut characters: Vec<char> = TEXT.chars().collect();
        let length = characters.len();
        for (at, character) in changes {
            characters[at % length] = character;
        }
        let text: String = characters.into_iter().collect();
        let _ = read(&text);
        prop_assert_eq!(verify(&text, &trusting(&EC), NOW).is_ok(), text == *TEXT);
    }

    #[test]
    fn changed_bytes_never_verify(
        changes in prop::collection::vec((0_usize..600, 1_u8..), 1..4),
        cut in 0_usize..600,
    ) {
        // Whatever byte of the signed object is changed or cut off, it is refused and nothing panics.
        static COSE: LazyLock<Vec<u8>> = LazyLock::new(|| {
            text::decode(certified(&EC, &claims()).text()).unwrap()
        });
        let mut cose = COSE.clone();
        let length = cose.len();
        for (at, mask) in changes {
            cose[at % length] ^= mask;
        }
        if cut < length {
            cose.truncate(cut.max(1));
        }
        let text = text::encode(&cose).unwrap();
        prop_assert_eq!(verify(&text, &trusting(&EC), NOW).is_ok(), cose == *COSE);
    }

    #[test]
    fn any_bytes_inside_the_text_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        // Bytes of any kind behind the right outer layers never panic.
        let _ = read(&text::encode(&bytes).unwrap());
        let payload = foreign(
            &EC,
            header(Algorithm::ES256, EC.certificate.kid()),
            Header::default(),
            bytes,
        );
        prop_assert!(verify(&payload, &trusting(&EC), NOW).is_err());
    }
}
