//! A session with its keys: found once, bound to their certificates, proved, and then used.
//!
//! A handle belongs to one session of one log-in and may later point at another object, so handles
//! live and die with their [`Lane`]. A lane is complete or it does not exist: every configured key
//! was found without ambiguity, is private and stays in the token, has the certificate's public key
//! and made a signature that an independent implementation verified. Where `hsm.toml` asks for it, a lane signs
//! with copies of the keys that live in its session, and each copy is proved in the same way. After an error the session
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
use cryptoki::types::Ulong;
use hsm_config::Algorithm;
use hsm_config::HsmConfig;
use hsm_config::Key;

use super::certificate::POINT_BYTES;
use super::certificate::PublicKey;
use super::copy;
use super::fault::Fault;
use super::ladder::Rung;
use super::token;
use super::token::Calling;
use super::token::Era;
use super::token::Token;
use super::watchdog::Watched;
use crate::hsm::ipc::DIGEST_BYTES;

/// What a key signs to prove itself; it is no CBOR of a certificate and so can never be one.
pub(super) const PROOF: &[u8] = b"signerd proof of key, version 1";

/// The one form of PSS that an HCERT may have (RFC 8230 §2).
pub(super) const PSS: PkcsPssParams = PkcsPssParams {
    hash_alg: MechanismType::SHA256,
    mgf: PkcsMgfType::MGF1_SHA256,
    s_len: Ulong::new(32),
};

/// One session and the handles that belong to it.
pub(super) struct Lane {
    token: Arc<Token>,
    session: Session,
    era: Era,
    with: Handles,
    keys: HashMap<String, BoundKey>,
}

/// Which objects a lane signs with.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Handles {
    /// The keys of the token.
    Keys,
    /// Copies of them that live as long as the lane's session.
    Copies,
}

impl Handles {
    /// What `hsm.toml` says.
    pub(super) fn of(config: &HsmConfig) -> Self {
        if config.copy_keys() { Self::Copies } else { Self::Keys }
    }
}

/// A lane that was given up: what a new one needs.
pub(super) struct Lost {
    token: Arc<Token>,
    era: Era,
    with: Handles,
    wanted: Vec<Wanted>,
}

struct BoundKey {
    handle: ObjectHandle,
    algorithm: Algorithm,
    public: Arc<PublicKey>,
    key: Key,
}

/// A key that has to be found.
struct Wanted {
    name: String,
    key: Key,
    public: Arc<PublicKey>,
}

/// Why there is no signature.
pub(super) enum SignError {
    /// This lane has no such key.
    UnknownKey,
    /// The token failed; the lane must be renewed.
    Token(Fault),
}

impl Lane {
    pub(super) fn open(
        token: &Arc<Token>,
        config: &HsmConfig,
        with: Handles,
        watched: &Watched<'_>,
    ) -> Result<Self, Fault> {
        let mut wanted = Vec::new();
        for (name, key) in config.keys() {
            let public = Arc::new(PublicKey::of_certificate(key.certificate(), key.algorithm())?);
            wanted.push(Wanted { name: name.to_owned(), key: key.clone(), public });
        }
        Self::bind(Arc::clone(token), &wanted, with, watched)
    }

    fn bind(
        token: Arc<Token>,
        wanted: &[Wanted],
        with: Handles,
        watched: &Watched<'_>,
    ) -> Result<Self, Fault> {
        let calling = token.calling();
        let era = calling.era();
        let session = calling.session().map_err(|e| Fault::call("no session opens", &e))?;
        let mut keys = HashMap::with_capacity(wanted.len());
        for Wanted { name, key, public } in wanted {
            watched.again();
            let bound = BoundKey::bind(&session, name, key.clone(), Arc::clone(public), with)?;
            keys.insert(name.clone(), bound);
        }
        drop(calling);
        Ok(Self { token, session, era, with, keys })
    }

    /// Gives the session up.
    pub(super) fn lose(self) -> Lost {
        let Self { token, session, era, with, keys } = self;
        token.close(session, era);
        let wanted = keys.into_iter();
        let wanted =
            wanted.map(|(name, BoundKey { key, public, .. })| Wanted { name, key, public });
        Lost { token, era, with, wanted: wanted.collect() }
    }

    pub(super) fn token(&self) -> &Arc<Token> {
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
        let _calling = self.calling()?;
        key.sign(&self.session, digest).map_err(SignError::Token)
    }

    /// Proves one key by a verified signature: the only thing that shows that a token is well.
    pub(super) fn prove(&self, key: &str) -> Result<(), SignError> {
        let key = self.keys.get(key).ok_or(SignError::UnknownKey)?;
        let _calling = self.calling()?;
        key.prove(&self.session).map_err(SignError::Token)
    }

    /// Handles of an earlier era may be other objects' now.
    fn calling(&self) -> Result<Calling<'_>, SignError> {
        let calling = self.token.calling();
        if calling.era() == self.era {
            return Ok(calling);
        }
        Err(SignError::Token(Fault::token("another session has logged in again meanwhile")))
    }
}

impl Lost {
    /// Makes anew what the rung says, and then a session with every key found and proved.
    pub(super) fn climb(&self, rung: Rung, watched: &Watched<'_>) -> Result<Lane, Fault> {
        match rung {
            Rung::Session => {}
            Rung::LogIn => self.token.log_in_again(self.era)?,
            Rung::Module => self.token.initialise_again(self.era)?,
            Rung::Process => return Err(Fault::token("the module is beyond help")),
        }
        Lane::bind(Arc::clone(&self.token), &self.wanted, self.with, watched)
    }
}

impl BoundKey {
    fn bind(
        session: &Session,
        name: &str,
        key: Key,
        public: Arc<PublicKey>,
        with: Handles,
    ) -> Result<Self, Fault> {
        let subject = format!("key \"{name}\" ({})", key.selector());
        let handle = token::find_one(session, ObjectClass::PRIVATE_KEY, key.selector(), &subject)?;
        let mut bound = Self { handle, algorithm: key.algorithm(), public, key };
        bound.check_attributes(session, &subject)?;
        bound.compare_public(session, &subject)?;
        if with == Handles::Copies {
            bound.handle = copy::to_session(session, handle, &subject)?;
        }
        match bound.prove(session) {
            Ok(()) => Ok(bound),
            Err(fault) => Err(Fault::config(
                subject,
                format!("it fails its proof: {}", fault.detail()),
                format!("the token must sign {} with it", bound.algorithm.name()),
            )
            .at(fault.rung())),
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
        let attributes = session
            .get_attributes(self.handle, &types)
            .map_err(|e| Fault::call(format!("{subject}: its attributes cannot be read"), &e))?;
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

    fn prove(&self, session: &Session) -> Result<(), Fault> {
        let hashed = digest::digest(&digest::SHA256, PROOF);
        let hashed = <[u8; DIGEST_BYTES]>::try_from(hashed.as_ref())
            .map_err(|_| Fault::token("no digest"))?;
        let signature = self.sign(session, &hashed)?;
        if self.public.verifies(PROOF, &signature) {
            return Ok(());
        }
        let path = self.key.certificate().display();
        Err(Fault::token(format!("its signature does not verify with {path}")))
    }

    fn sign(&self, session: &Session, digest: &[u8; DIGEST_BYTES]) -> Result<Vec<u8>, Fault> {
        let signature = session
            .sign(&mechanism(self.algorithm), self.handle, digest)
            .map_err(|e| Fault::call("no signature", &e))?;
        let wanted = self.public.signature_bytes();
        if signature.len() != wanted {
            let got = signature.len();
            return Err(Fault::token(format!("a signature of {got} bytes, not {wanted}")));
        }
        Ok(signature)
    }
}

/// Why a worker would not take a key; `None` where it would.
pub(super) fn refusal(
    session: &Session,
    name: &str,
    key: &Key,
    public: &Arc<PublicKey>,
) -> Option<String> {
    let public = Arc::clone(public);
    let bound = BoundKey::bind(session, name, key.clone(), public, Handles::Keys);
    bound.err().map(|fault| fault.detail().to_owned())
}

/// Both mechanisms take the finished digest: the hashing ones are missing in some tokens.
pub(super) fn mechanism(algorithm: Algorithm) -> Mechanism<'static> {
    match algorithm {
        Algorithm::Ps256 => Mechanism::RsaPkcsPss(PSS),
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
