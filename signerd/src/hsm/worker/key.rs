//! A session with its keys: found once, bound to their certificates, proved, and then used.
//!
//! A handle belongs to one session of one log-in and may later point at another object, so handles
//! live and die with their [`Lane`]. A lane is complete or it does not exist: every configured key
//! was found without ambiguity, is private and stays in the token, has the certificate's public key
//! and made a signature that an independent implementation verified. After an error the session
//! is thrown away, since a failed operation may linger in it, and a new one is made in the same way.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::MechanismType;
use cryptoki::mechanism::rsa::PkcsMgfType;
use cryptoki::mechanism::rsa::PkcsPssParams;
use cryptoki::object::Attribute;
use cryptoki::object::AttributeType;
use cryptoki::object::KeyType;
use cryptoki::object::ObjectClass;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use hsm_config::Algorithm;
use hsm_config::HsmConfig;
use hsm_config::Key;

use super::certificate::POINT_BYTES;
use super::certificate::PublicKey;
use super::fault::Fault;
use super::fault::brief;
use super::token;
use super::token::Token;
use crate::hsm::ipc::DIGEST_BYTES;

/// What a key signs to prove itself; it is no CBOR of a certificate and so can never be one.
const PROOF: &[u8] = b"signerd proof of key, version 1";

/// One session and the handles that belong to it.
pub(super) struct Lane {
    token: Arc<Token>,
    session: Session,
    keys: HashMap<String, BoundKey>,
}

struct BoundKey {
    handle: ObjectHandle,
    algorithm: Algorithm,
    public: Arc<PublicKey>,
    key: Key,
}

/// Why there is no signature.
pub(super) enum SignError {
    /// This lane has no such key.
    UnknownKey,
    /// The token failed; the lane must be renewed.
    Token(String),
}

impl Lane {
    pub(super) fn open(token: Arc<Token>, config: &HsmConfig) -> Result<Self, Fault> {
        let mut wanted = Vec::new();
        for (name, key) in config.keys() {
            let public = PublicKey::of_certificate(key.certificate(), key.algorithm())?;
            wanted.push((name.to_owned(), key.clone(), Arc::new(public)));
        }
        Self::bind(token, wanted)
    }

    fn bind(token: Arc<Token>, wanted: Vec<(String, Key, Arc<PublicKey>)>) -> Result<Self, Fault> {
        let session = token
            .session()
            .map_err(|e| Fault::token(format!("no session opens: {}", brief(&e))))?;
        let mut keys = HashMap::with_capacity(wanted.len());
        for (name, key, public) in wanted {
            let bound = BoundKey::bind(&session, &name, key, public)?;
            keys.insert(name, bound);
        }
        Ok(Self { token, session, keys })
    }

    /// A new session of the same log-in, with the same keys found and proved again.
    pub(super) fn renew(self) -> Result<Self, Fault> {
        let wanted = self.keys.into_iter().map(|(name, k)| (name, k.key, k.public)).collect();
        drop(self.session);
        Self::bind(self.token, wanted)
    }

    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    pub(super) fn key_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.keys.keys().cloned().collect();
        names.sort();
        names
    }

    /// Signs one digest; the length of the signature is checked, its truth is the front's to check.
    pub(super) fn sign(
        &self,
        key: &str,
        digest: &[u8; DIGEST_BYTES],
    ) -> Result<Vec<u8>, SignError> {
        let key = self.keys.get(key).ok_or(SignError::UnknownKey)?;
        key.sign(&self.session, digest)
    }

    /// Proves one key by a verified signature: the only thing that shows that a token is well.
    pub(super) fn prove(&self, key: &str) -> Result<(), SignError> {
        let key = self.keys.get(key).ok_or(SignError::UnknownKey)?;
        key.prove(&self.session)
    }
}

impl BoundKey {
    fn bind(
        session: &Session,
        name: &str,
        key: Key,
        public: Arc<PublicKey>,
    ) -> Result<Self, Fault> {
        let subject = format!("key \"{name}\" ({})", key.selector());
        let handle = token::find_one(session, ObjectClass::PRIVATE_KEY, key.selector(), &subject)?;
        let bound = Self { handle, algorithm: key.algorithm(), public, key };
        bound.check_attributes(session, &subject)?;
        bound.compare_public(session, &subject)?;
        match bound.prove(session) {
            Ok(()) => Ok(bound),
            Err(SignError::Token(detail)) => Err(Fault::config(
                subject,
                format!("it fails its proof: {detail}"),
                format!("the token must sign {} with it", bound.algorithm.name()),
            )),
            Err(SignError::UnknownKey) => Err(Fault::token("a key was lost while it was bound")),
        }
    }

    fn check_attributes(&self, session: &Session, subject: &str) -> Result<(), Fault> {
        let wanted_type = match self.algorithm {
            Algorithm::Ps256 => KeyType::RSA,
            Algorithm::Es256 => KeyType::EC,
        };
        let types = [
            AttributeType::KeyType,
            AttributeType::Sensitive,
            AttributeType::Extractable,
            AttributeType::Sign,
            AttributeType::AlwaysAuthenticate,
        ];
        let attributes = session.get_attributes(self.handle, &types).map_err(|e| {
            Fault::token(format!("{subject}: its attributes cannot be read: {}", brief(&e)))
        })?;
        for attribute in attributes {
            let (problem, remedy) = match attribute {
                Attribute::KeyType(found) if found != wanted_type => {
                    (format!("it is not a key for {}", self.algorithm.name()), "name another key")
                }
                Attribute::Sensitive(false) => {
                    ("CKA_SENSITIVE is false".to_owned(), "make a new key that is sensitive")
                }
                Attribute::Extractable(true) => {
                    ("CKA_EXTRACTABLE is true".to_owned(), "make a new key that cannot leave")
                }
                Attribute::Sign(false) => {
                    ("CKA_SIGN is false".to_owned(), "make a key that may sign")
                }
                Attribute::AlwaysAuthenticate(true) => (
                    "CKA_ALWAYS_AUTHENTICATE is true: it wants the PIN for each signature"
                        .to_owned(),
                    "make a key without it",
                ),
                _ => continue,
            };
            return Err(Fault::config(subject, problem, remedy));
        }
        Ok(())
    }

    /// Compares what the token shows of the public key; the proof is the stronger test, this one
    /// gives the clearer message.
    fn compare_public(&self, session: &Session, subject: &str) -> Result<(), Fault> {
        let same = match self.public.as_ref() {
            PublicKey::Rsa { modulus, exponent, .. } => {
                let types = [AttributeType::Modulus, AttributeType::PublicExponent];
                let shown = session.get_attributes(self.handle, &types).unwrap_or_default();
                shown.iter().all(|attribute| match attribute {
                    Attribute::Modulus(found) => unpadded(found) == modulus.as_slice(),
                    Attribute::PublicExponent(found) => unpadded(found) == exponent.as_slice(),
                    _ => true,
                })
            }
            PublicKey::P256 { point } => {
                let template = token::template(ObjectClass::PUBLIC_KEY, self.key.selector());
                let found = session.find_objects(&template).unwrap_or_default();
                found.iter().all(|handle| {
                    let types = [AttributeType::EcPoint];
                    let shown = session.get_attributes(*handle, &types).unwrap_or_default();
                    shown.iter().all(|attribute| match attribute {
                        Attribute::EcPoint(found) => raw_point(found) == point.as_slice(),
                        _ => true,
                    })
                })
            }
        };
        if same {
            return Ok(());
        }
        Err(Fault::config(
            self.key.certificate().display(),
            format!("the certificate is not of {subject}: the public keys differ"),
            "put the certificate of this very key there, or name the other key",
        ))
    }

    fn prove(&self, session: &Session) -> Result<(), SignError> {
        let hashed = digest::digest(&digest::SHA256, PROOF);
        let hashed = <[u8; DIGEST_BYTES]>::try_from(hashed.as_ref())
            .map_err(|_| SignError::Token("no digest".to_owned()))?;
        let signature = self.sign(session, &hashed)?;
        if self.public.verifies(PROOF, &signature) {
            return Ok(());
        }
        let path = self.key.certificate().display();
        Err(SignError::Token(format!("its signature does not verify with {path}")))
    }

    fn sign(&self, session: &Session, digest: &[u8; DIGEST_BYTES]) -> Result<Vec<u8>, SignError> {
        let signature = session
            .sign(&mechanism(self.algorithm), self.handle, digest)
            .map_err(|e| SignError::Token(brief(&e)))?;
        let wanted = self.public.signature_bytes();
        if signature.len() != wanted {
            let got = signature.len();
            return Err(SignError::Token(format!("a signature of {got} bytes, not {wanted}")));
        }
        Ok(signature)
    }
}

/// Both mechanisms take the finished digest: the hashing ones are missing in some tokens.
fn mechanism(algorithm: Algorithm) -> Mechanism<'static> {
    match algorithm {
        Algorithm::Ps256 => Mechanism::RsaPkcsPss(PkcsPssParams {
            hash_alg: MechanismType::SHA256,
            mgf: PkcsMgfType::MGF1_SHA256,
            s_len: 32.into(),
        }),
        Algorithm::Es256 => Mechanism::Ecdsa,
    }
}

/// Big integers of PKCS#11 have no leading zeros, except in modules that think otherwise.
fn unpadded(integer: &[u8]) -> &[u8] {
    let zeros = integer.iter().take_while(|byte| **byte == 0).count();
    integer.get(zeros..).unwrap_or_default()
}

/// `CKA_EC_POINT` is a DER OCTET STRING by the standard and the bare point in some modules.
fn raw_point(point: &[u8]) -> &[u8] {
    match point {
        [0x04, 0x41, bare @ ..] if bare.len() == POINT_BYTES => bare,
        bare => bare,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_read_bare_or_wrapped() {
        // 04 41 04 x y and 04 x y are the same point.
        let bare: Vec<u8> = std::iter::once(4).chain(1..=64).collect();
        let wrapped = [&[0x04, 0x41][..], &bare].concat();
        assert_eq!(raw_point(&bare), bare);
        assert_eq!(raw_point(&wrapped), bare);
    }

    #[test]
    fn leading_zeros_do_not_change_a_modulus() {
        // 00 c5 and c5 are the same integer.
        assert_eq!(unpadded(&[0, 0xc5]), unpadded(&[0xc5]));
    }
}
