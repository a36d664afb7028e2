//! Records and requests as an independent client makes them, and ways to make them wrong.
//!
//! Written on `ciborium::Value` with maps sorted here, so that the bytes do not come from the code that
//! is tested.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use ciborium::Value;
use coset::iana::Algorithm;
use coset::{CoseSign1Builder, HeaderBuilder, TaggedCborSerializable as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

use crate::setup::Setup;

/// Encodes a value deterministically: every map is sorted by its encoded keys.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(&sorted(value), &mut bytes).expect("encoding");
    bytes
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Map(pairs) => {
            let key = |key: &Value| {
                let mut bytes = Vec::new();
                ciborium::into_writer(key, &mut bytes).expect("encoding");
                bytes
            };
            let mut pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            pairs.sort_by_key(|(k, _)| key(k));
            Value::Map(pairs)
        }
        other => other.clone(),
    }
}

/// A map with text keys.
pub fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Map(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

/// Sets, replaces or (with `None`) removes a member of a map.
pub fn set(value: &mut Value, name: &str, member: Option<Value>) {
    let pairs = value.as_map_mut().expect("a map");
    pairs.retain(|(key, _)| key.as_text() != Some(name));
    pairs.extend(member.map(|member| (Value::from(name), member)));
}

/// A member of a map, to change it.
pub fn at<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    let pairs = value.as_map_mut().expect("a map");
    let found = pairs.iter_mut().find(|(key, _)| key.as_text() == Some(name));
    &mut found.unwrap_or_else(|| panic!("no member {name}")).1
}

/// Seconds since 1970.
pub fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A person with doses, as a record says it; every new one has an identity number of its own.
#[derive(Clone)]
pub struct Person {
    /// The record, to be changed at will before it is signed.
    pub record: Value,
}

impl Person {
    /// Somebody with good data and so many doses of Comirnaty, given at "79-TTYT-Q1".
    pub fn with_doses(doses: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let holder = map([
            ("full_name", "Nguyễn Thị Ánh Tuyết".into()),
            ("date_of_birth", "1990-03-25".into()),
            ("nationality", "VN".into()),
            ("national_id", format!("079190{serial:06}").into()),
            ("phone", "+84901234567".into()),
        ]);
        let dose = |number: usize| {
            map([
                ("number", (number as u64).into()),
                ("date", format!("2021-{:02}-15", 6 + number).into()),
                ("vaccine", "1119349007".into()),
                ("product", "EU/1/20/1528".into()),
                ("manufacturer", "ORG-100030215".into()),
                ("facility", "79-TTYT-Q1".into()),
            ])
        };
        let record = map([
            ("holder", holder),
            ("doses", Value::Array((1..=doses).map(dose).collect())),
            ("total_doses", (doses as u64).into()),
        ]);
        Self { record }
    }

    /// Changes a member of the holder.
    #[must_use]
    pub fn holder(mut self, name: &str, value: impl Into<Option<Value>>) -> Self {
        set(at(&mut self.record, "holder"), name, value.into());
        self
    }

    /// Changes a member of a dose, by index.
    #[must_use]
    pub fn dose(mut self, index: usize, name: &str, value: impl Into<Option<Value>>) -> Self {
        let doses = at(&mut self.record, "doses").as_array_mut().expect("doses");
        set(&mut doses[index], name, value.into());
        self
    }

    /// The encoded record.
    pub fn bytes(&self) -> Vec<u8> {
        encode(&self.record)
    }

    /// SHA-256 of the encoded holder.
    pub fn holder_digest(&self) -> [u8; 32] {
        let mut record = self.record.clone();
        Sha256::digest(encode(at(&mut record, "holder"))).into()
    }
}

/// A key that signs statements, with its certificate.
pub struct StatementKey {
    key: Key,
    /// The certificate in DER.
    pub certificate: Vec<u8>,
}

/// Parsed once: taking an RSA key apart costs as much as signing with it.
enum Key {
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl StatementKey {
    /// The key and certificate `pki/NAME.key` and `pki/NAME.pem`.
    pub fn of(setup: &Setup, name: &str) -> Self {
        let pkcs8 =
            PrivateKeyDer::from_pem_file(setup.path(&format!("pki/{name}.key"))).expect("key");
        let pkcs8 = pkcs8.secret_der();
        let pem = setup.path(&format!("pki/{name}.pem"));
        let certificate = CertificateDer::from_pem_file(pem).expect("certificate").to_vec();
        let scheme = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::from_pkcs8(scheme, pkcs8).map_or_else(
            |_| Key::Rsa(RsaKeyPair::from_pkcs8(pkcs8).expect("a P-256 or RSA key")),
            Key::P256,
        );
        Self { key, certificate }
    }

    fn sha256(&self) -> Vec<u8> {
        Sha256::digest(&self.certificate).to_vec()
    }

    /// Signs a message; `algorithm` must fit the key.
    pub fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match (&self.key, algorithm) {
            (Key::P256(key), Algorithm::ES256) => {
                key.sign(&random, message).expect("signature").as_ref().to_vec()
            }
            (Key::Rsa(key), Algorithm::PS256 | Algorithm::RS256) => {
                let mut signature = vec![0; key.public_modulus_len()];
                let pss = algorithm == Algorithm::PS256;
                let scheme = if pss { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                key.sign(scheme, &random, message, &mut signature).expect("signature");
                signature
            }
            (Key::P256(_) | Key::Rsa(_), _) => panic!("{algorithm:?} is not for this key"),
        }
    }

    /// An identity statement in ES256.
    pub fn identity_statement(
        &self,
        holder_digest: [u8; 32],
        outcome: &str,
        checked_at: u64,
    ) -> Vec<u8> {
        let claims = map([
            ("holder_digest", Value::Bytes(holder_digest.to_vec())),
            ("outcome", outcome.into()),
            ("checked_at", checked_at.into()),
        ]);
        let kid = self.sha256()[..8].to_vec();
        CoseSign1Builder::new()
            .protected(HeaderBuilder::new().algorithm(Algorithm::ES256).key_id(kid).build())
            .payload(encode(&claims))
            .create_signature(&[], |message| self.sign(Algorithm::ES256, message))
            .build()
            .to_tagged_vec()
            .expect("encoding")
    }

    /// A facility signature in PS256, with `x5t`.
    pub fn facility_signature(&self, record: &[u8]) -> Vec<u8> {
        let x5t = Value::Array(vec![Value::from(-16), Value::Bytes(self.sha256())]);
        CoseSign1Builder::new()
            .protected(HeaderBuilder::new().algorithm(Algorithm::PS256).value(34, x5t).build())
            .create_detached_signature(record, &[], |message| self.sign(Algorithm::PS256, message))
            .build()
            .to_tagged_vec()
            .expect("encoding")
    }
}

/// The two parties that vouch for a record.
pub struct Evidence {
    /// The population database's gateway.
    pub verifier: StatementKey,
    /// The unit "79-TTYT-Q1".
    pub facility: StatementKey,
}

impl Evidence {
    /// The parties of the development set-up.
    pub fn of(setup: &Setup) -> Self {
        let key = |name| StatementKey::of(setup, name);
        Self { verifier: key("verifier"), facility: key("facility") }
    }

    /// A record entry with both statements.
    pub fn entry(&self, person: &Person) -> Value {
        let record = person.bytes();
        let statement = self.verifier.identity_statement(person.holder_digest(), "matched", now());
        let signature = self.facility.facility_signature(&record);
        map([
            ("record", Value::Bytes(record)),
            ("identity_statement", Value::Bytes(statement)),
            ("facility_signature", Value::Bytes(signature)),
        ])
    }

    /// A request for these people, with a fresh batch id.
    pub fn request<'a>(
        &self,
        issuer: &str,
        people: impl IntoIterator<Item = &'a Person>,
    ) -> Vec<u8> {
        encode(&request(issuer, people.into_iter().map(|person| self.entry(person)).collect()))
    }
}

/// A batch request with a fresh batch id.
pub fn request(issuer: &str, entries: Vec<Value>) -> Value {
    map([
        ("batch_id", Value::Bytes(uuid::Uuid::new_v4().as_bytes().to_vec())),
        ("issuer", issuer.into()),
        ("records", Value::Array(entries)),
    ])
}
