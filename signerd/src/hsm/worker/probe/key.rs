//! One configured key: what the token says of it, and what it does with it.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::object::AttributeType;
use cryptoki::object::ObjectClass;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use hsm_config::Algorithm;
use hsm_config::Key;
use sha2::Digest as _;
use sha2::Sha256;

use super::Place;
use super::attributes;
use crate::hsm::probe::findings;
use crate::hsm::probe::findings::Copying;
use crate::hsm::probe::findings::Form;
use crate::hsm::probe::findings::Latency;
use crate::hsm::worker::certificate::POINT_BYTES;
use crate::hsm::worker::certificate::PublicKey;
use crate::hsm::worker::copy;
use crate::hsm::worker::fault::Fault;
use crate::hsm::worker::fault::brief;
use crate::hsm::worker::key;
use crate::hsm::worker::key::PROOF;
use crate::hsm::worker::token;

/// Signatures whose times are taken: the 99th of 100 needs some hundreds.
const TIMED_MAX: usize = 500;
/// No more time than this goes into them.
const TIMING: Duration = Duration::from_secs(2);
/// An uncompressed point as a DER OCTET STRING: tag, length, point.
const DER_POINT_BYTES: usize = POINT_BYTES + 2;

/// Tries a key; what fails is a finding.
pub(super) fn look(place: &Place, name: &str, key: &Key) -> findings::Key {
    let mut found = findings::Key {
        selector: key.selector().to_string(),
        algorithm: key.algorithm().name().to_owned(),
        refused: None,
        attributes: attributes::none(),
        ec_point: None,
        certificate_belongs: false,
        forms: Vec::new(),
        copy: Copying { works: false, problem: None, differs: attributes::none() },
        latency: None,
    };
    if let Err(fault) = fill(place, name, key, &mut found) {
        found.refused = Some(fault.detail().to_owned());
    }
    found
}

fn fill(place: &Place, name: &str, key: &Key, found: &mut findings::Key) -> Result<(), Fault> {
    let public = Arc::new(PublicKey::of_certificate(key.certificate(), key.algorithm())?);
    let subject = format!("key \"{name}\" ({})", key.selector());
    let session = place.session()?;
    let class = ObjectClass::PRIVATE_KEY;
    let handle = token::find_one(&session, class, key.selector(), &subject)?;
    found.attributes = attributes::of_private(&session, handle);
    found.ec_point = ec_point(&session, key);
    found.refused = key::refusal(&session, name, key, &public);
    let subject = Subject { place, key, public: &public, name: &subject };
    found.forms = forms(&subject)?;
    found.certificate_belongs = found.forms.iter().any(|form| form.works);
    found.copy = subject.copied(&found.attributes);
    // The worker signs in the first of the forms.
    if found.forms.first().is_some_and(|form| form.works) {
        found.latency = subject.timed();
    }
    Ok(())
}

/// A key that was found, and its certificate.
struct Subject<'k> {
    place: &'k Place,
    key: &'k Key,
    public: &'k PublicKey,
    name: &'k str,
}

/// The form of the point that the public half shows.
fn ec_point(session: &Session, key: &Key) -> Option<String> {
    if key.algorithm() != Algorithm::Es256 {
        return None;
    }
    let template = token::template(ObjectClass::PUBLIC_KEY, key.selector());
    let handle = session.find_objects(&template).ok()?.into_iter().next()?;
    let shown = session.get_attributes(handle, &[AttributeType::EcPoint]).ok()?;
    let Some(Attribute::EcPoint(point)) = shown.first() else { return None };
    Some(match point.as_slice() {
        [0x04, 0x41, 0x04, ..] if point.len() == DER_POINT_BYTES => "der".to_owned(),
        [0x04, ..] if point.len() == POINT_BYTES => "raw".to_owned(),
        other => format!("{} bytes of another form", other.len()),
    })
}

/// The ways to sign with a key, the worker's own first.
fn forms(subject: &Subject<'_>) -> Result<Vec<Form>, Fault> {
    let digest = Sha256::digest(PROOF);
    let (own, hashing) = match subject.key.algorithm() {
        Algorithm::Ps256 => {
            ("CKM_RSA_PKCS_PSS", ("CKM_SHA256_RSA_PKCS_PSS", Mechanism::Sha256RsaPkcsPss(key::PSS)))
        }
        Algorithm::Es256 => ("CKM_ECDSA", ("CKM_ECDSA_SHA256", Mechanism::EcdsaSha256)),
    };
    let digested = (own, "digest", key::mechanism(subject.key.algorithm()), digest.as_slice());
    let whole = (hashing.0, "message", hashing.1, PROOF);
    let tried = [digested, whole].into_iter().map(|(mechanism, input, how, data)| {
        let (session, handle) = subject.found()?;
        let mut form = Form {
            mechanism: mechanism.to_owned(),
            input: input.to_owned(),
            works: false,
            bytes: None,
            problem: None,
        };
        match session.sign(&how, handle, data) {
            Ok(signature) => {
                form.bytes = Some(signature.len());
                form.works = subject.public.verifies(PROOF, &signature);
                form.problem = (!form.works).then(|| "the signature does not verify".to_owned());
            }
            Err(error) => form.problem = Some(brief(&error)),
        }
        Ok(form)
    });
    tried.collect()
}

impl Subject<'_> {
    /// A session of its own with the key found in it.
    fn found(&self) -> Result<(Session, ObjectHandle), Fault> {
        let session = self.place.session()?;
        let class = ObjectClass::PRIVATE_KEY;
        let handle = token::find_one(&session, class, self.key.selector(), self.name)?;
        Ok((session, handle))
    }

    /// Copies the key to a session object, signs with that and lets it go, and sees that the key is still
    /// there: one module is known to lose a key with its copy.
    fn copied(&self, of_key: &findings::Attributes) -> Copying {
        let mut copying = Copying { works: false, problem: None, differs: attributes::none() };
        let mut attempt = || {
            let (session, handle) = self.found()?;
            let copy = copy::to_session(&session, handle, self.name)?;
            copying.differs = attributes::of_private(&session, copy);
            copying.differs.retain(|name, shown| of_key.get(name) != Some(shown));
            self.sign(&session, copy)?;
            drop(session);
            let (session, handle) = self.found()?;
            self.sign(&session, handle)
        };
        match attempt() {
            Ok(()) => copying.works = true,
            Err(fault) => copying.problem = Some(fault.detail().to_owned()),
        }
        copying
    }

    fn sign(&self, session: &Session, handle: ObjectHandle) -> Result<(), Fault> {
        let mechanism = key::mechanism(self.key.algorithm());
        let signature = session
            .sign(&mechanism, handle, &Sha256::digest(PROOF))
            .map_err(|e| Fault::call("no signature", &e))?;
        if self.public.verifies(PROOF, &signature) {
            return Ok(());
        }
        Err(Fault::token("the signature does not verify"))
    }

    fn timed(&self) -> Option<Latency> {
        let (session, handle) = self.found().ok()?;
        let mechanism = key::mechanism(self.key.algorithm());
        let digest = Sha256::digest(PROOF);
        let begin = Instant::now();
        let mut times = Vec::with_capacity(TIMED_MAX);
        while times.len() < TIMED_MAX && (times.is_empty() || begin.elapsed() < TIMING) {
            let since = Instant::now();
            session.sign(&mechanism, handle, &digest).ok()?;
            times.push(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        times.sort_unstable();
        let of_hundred = |part: usize| {
            let at = times.len().saturating_mul(part).div_ceil(100).saturating_sub(1);
            times.get(at).copied()
        };
        Some(Latency {
            signatures: times.len(),
            median_us: of_hundred(50)?,
            p99_us: of_hundred(99)?,
            max_us: times.last().copied()?,
        })
    }
}
