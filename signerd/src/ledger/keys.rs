//! Everything keyed in the ledger: the digest of a request, the pseudonym of a dose, the seal of an
//! answer.
//!
//! In goes a secret of 32 bytes that the token keeps and that a fleet of appliances shares; HKDF
//! (RFC 5869) with SHA-256 makes three independent keys of it. Out go an HMAC per request, an HMAC
//! per dose, and answers under AES-256-GCM. The key of a sealed answer comes from the request's own
//! bytes as well, so that only who repeats the request can open its answer: neither the disk nor
//! the token's secret alone suffices (and neither is stored here).
//!
//! A sealed answer is `version (1) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`; the version is
//! authenticated. Nothing here reads a clock, stores anything or knows what the bytes mean.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{digest, hmac};
use zeroize::Zeroizing;

/// The only version of a sealed answer so far.
const SEAL_VERSION: u8 = 1;

/// Bytes of the nonce of AES-GCM (NIST SP 800-38D §5.2.1.1 recommends 96 bits).
const NONCE_BYTES: usize = 12;

/// Bytes of the tag of AES-GCM.
const TAG_BYTES: usize = 16;

/// Salt of the first HKDF step, so that the same token secret serves no other program's keys.
const DERIVATION_SALT: &[u8] = b"signerd ledger keys v1";

/// Domain of the key of request digests.
const REQUEST_DOMAIN: &[u8] = b"signerd ledger request digest v1";

/// Domain of the key of dose pseudonyms.
const DOSE_DOMAIN: &[u8] = b"signerd ledger dose pseudonym v1";

/// Domain of the secret that goes into the key of each sealed answer.
const SEAL_DOMAIN: &[u8] = b"signerd ledger answer seal v1";

/// Domain of the key of one sealed answer; the version of the format is part of it.
const ANSWER_DOMAIN: &[u8] = b"signerd sealed answer v1";

/// Domain of the mark by which a ledger knows its secret again.
const MARK_DOMAIN: &[u8] = b"signerd ledger mark v1";

/// The keys of the ledger, wiped when dropped and never printed.
pub struct LedgerKeys {
    request: hmac::Key,
    dose: hmac::Key,
    seal: Zeroizing<[u8; 32]>,
    mark: [u8; 16],
}

impl LedgerKeys {
    /// Derives the keys from the token's secret.
    #[must_use]
    pub fn derive(token_secret: &[u8; 32]) -> Self {
        let key = |domain| hkdf_sha256(DERIVATION_SALT, token_secret, domain);
        Self {
            request: hmac::Key::new(hmac::HMAC_SHA256, key(REQUEST_DOMAIN).as_slice()),
            dose: hmac::Key::new(hmac::HMAC_SHA256, key(DOSE_DOMAIN).as_slice()),
            seal: key(SEAL_DOMAIN),
            mark: key(MARK_DOMAIN).first_chunk().copied().unwrap_or_default(),
        }
    }

    /// What the ledger may keep of the secret, to know it again; nothing else can be told from it.
    #[must_use]
    pub const fn mark(&self) -> &[u8; 16] {
        &self.mark
    }

    /// Tells two requests apart without keeping the plain digest, which is part of the seal's key.
    #[must_use]
    pub fn request_digest(&self, body: &[u8]) -> [u8; 32] {
        mac(&self.request, body)
    }

    /// Names a dose of a holder to those who hold the token's secret, and to nobody else.
    #[must_use]
    pub fn pseudonym(&self, dose_key: &[u8]) -> [u8; 32] {
        mac(&self.dose, dose_key)
    }

    /// Seals an answer so that only the same request opens it.
    ///
    /// # Errors
    /// [`SealError::Crypto`] if the system gives no random nonce.
    pub fn seal(&self, body: &[u8], answer: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut ciphertext = Vec::with_capacity(answer.len().saturating_add(TAG_BYTES));
        ciphertext.extend_from_slice(answer);
        let nonce = self
            .answer_key(body)?
            .seal_in_place_append_tag(Aad::from([SEAL_VERSION]), &mut ciphertext)
            .map_err(|Unspecified| SealError::Crypto)?;
        let nonce: &[u8; NONCE_BYTES] = nonce.as_ref();
        Ok([&[SEAL_VERSION], nonce.as_slice(), &ciphertext].concat())
    }

    /// Opens the sealed answer of a request, byte for byte as it was sealed.
    ///
    /// # Errors
    /// [`SealError::UnknownVersion`] for a format of a newer release, [`SealError::DoesNotOpen`]
    /// for another request's answer, another token's secret or bytes that were changed.
    pub fn unseal(&self, body: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (&version, rest) = sealed.split_first().ok_or(SealError::DoesNotOpen)?;
        if version != SEAL_VERSION {
            return Err(SealError::UnknownVersion(version));
        }
        let (nonce, ciphertext) =
            rest.split_at_checked(NONCE_BYTES).ok_or(SealError::DoesNotOpen)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce)
            .map_err(|Unspecified| SealError::DoesNotOpen)?;
        let mut plain = ciphertext.to_vec();
        let length = self
            .answer_key(body)?
            .open_in_place(nonce, Aad::from([version]), &mut plain)
            .map_err(|Unspecified| SealError::DoesNotOpen)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }

    fn answer_key(&self, body: &[u8]) -> Result<RandomizedNonceKey, SealError> {
        let body = digest::digest(&digest::SHA256, body);
        let key = hkdf_sha256(self.seal.as_slice(), body.as_ref(), ANSWER_DOMAIN);
        RandomizedNonceKey::new(&AES_256_GCM, key.as_slice())
            .map_err(|Unspecified| SealError::Crypto)
    }
}

impl fmt::Debug for LedgerKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LedgerKeys(..)")
    }
}

/// Why an answer could not be sealed or opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SealError {
    /// The random source or the cipher failed. Repeating may help.
    #[error("cipher or random source failed")]
    Crypto,
    /// The stored bytes were changed, or the token's secret is another one than when they were
    /// sealed (the request is the same: its digest was compared before). Repeating does not help.
    #[error("sealed answer does not open")]
    DoesNotOpen,
    /// A newer release sealed the answer. Repeating does not help: install that release.
    #[error("sealed answer has the unknown version {0}")]
    UnknownVersion(u8),
}

/// HKDF for one block of output, RFC 5869 §2.2 and §2.3.
///
/// Written with HMAC because the library's own form can fail, on lengths that do not occur here,
/// and a derivation that can fail would need a caller that can answer that.
fn hkdf_sha256(salt: &[u8], secret: &[u8], domain: &[u8]) -> Zeroizing<[u8; 32]> {
    let extracted = Zeroizing::new(mac(&hmac::Key::new(hmac::HMAC_SHA256, salt), secret));
    let root = hmac::Key::new(hmac::HMAC_SHA256, extracted.as_slice());
    let mut expansion = hmac::Context::with_key(&root);
    expansion.update(domain);
    expansion.update(&[1]);
    Zeroizing::new(bytes_of(&expansion.sign()))
}

fn mac(key: &hmac::Key, message: &[u8]) -> [u8; 32] {
    bytes_of(&hmac::sign(key, message))
}

fn bytes_of(tag: &hmac::Tag) -> [u8; 32] {
    let mut bytes = [0; 32];
    // A tag of HMAC-SHA-256 has 32 bytes, so that neither side is cut short.
    bytes.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hkdf;
    use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

    use super::{LedgerKeys, SealError, hkdf_sha256};

    const BODY: &[u8] = b"the request";
    const ANSWER: &[u8] = b"the answer";

    fn keys() -> LedgerKeys {
        LedgerKeys::derive(&[7; 32])
    }

    #[test]
    fn derivation_is_the_librarys_hkdf() {
        // One block of our HKDF equals HKDF-SHA-256 of an implementation that is not ours.
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"salt").extract(b"secret");
        let mut expected = [0; 32];
        root.expand(&[b"domain"], hkdf::HKDF_SHA256).unwrap().fill(&mut expected).unwrap();
        assert_eq!(*hkdf_sha256(b"salt", b"secret", b"domain"), expected);
    }

    #[test]
    fn an_answer_opens_byte_for_byte_with_its_request() {
        // Who repeats the request gets the first answer, also from another process with the secret.
        let sealed = keys().seal(BODY, ANSWER).unwrap();
        assert_eq!(keys().unseal(BODY, &sealed).unwrap(), ANSWER);
        assert!(!sealed.windows(ANSWER.len()).any(|window| window == ANSWER));
    }

    #[test]
    fn another_request_does_not_open_the_answer() {
        // The key of the seal comes from the request's own bytes.
        let sealed = keys().seal(BODY, ANSWER).unwrap();
        assert_eq!(keys().unseal(b"another request", &sealed), Err(SealError::DoesNotOpen));
    }

    #[test]
    fn another_secret_does_not_open_the_answer() {
        // The request alone, without the token's secret, does not open the answer.
        let sealed = keys().seal(BODY, ANSWER).unwrap();
        let others = LedgerKeys::derive(&[8; 32]);
        assert_eq!(others.unseal(BODY, &sealed), Err(SealError::DoesNotOpen));
    }

    #[test]
    fn the_same_answer_is_never_sealed_alike() {
        // Each seal has a nonce of its own.
        assert_ne!(keys().seal(BODY, ANSWER).unwrap(), keys().seal(BODY, ANSWER).unwrap());
    }

    #[test]
    fn digests_and_pseudonyms_are_keyed_and_apart() {
        // The same bytes give another value per purpose and per secret, and the same one each time.
        let others = LedgerKeys::derive(&[8; 32]);
        assert_eq!(keys().pseudonym(BODY), keys().pseudonym(BODY));
        assert_eq!(keys().request_digest(BODY), keys().request_digest(BODY));
        assert_ne!(keys().pseudonym(BODY), keys().request_digest(BODY));
        assert_ne!(keys().pseudonym(BODY), others.pseudonym(BODY));
        assert_ne!(keys().request_digest(BODY), others.request_digest(BODY));
    }

    #[test]
    fn keys_do_not_print() {
        // A debug print of the keys says nothing about them.
        assert_eq!(format!("{:?}", keys()), "LedgerKeys(..)");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_flipped_bit_is_noticed(
            answer in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<proptest::sample::Index>(),
            bit in 0..8_u8,
        ) {
            // A sealed answer with any one bit changed does not open.
            let mut sealed = keys().seal(BODY, &answer).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            let refused = keys().unseal(BODY, &sealed).unwrap_err();
            let expected =
                if at == 0 { SealError::UnknownVersion(sealed[0]) } else { SealError::DoesNotOpen };
            prop_assert_eq!(refused, expected);
        }

        #[test]
        fn a_shortened_answer_is_noticed(length in 0..60_usize) {
            // A sealed answer that lost its end does not open, down to nothing at all.
            let sealed = keys().seal(BODY, &[1; 32]).unwrap();
            let cut = &sealed[..length.min(sealed.len() - 1)];
            prop_assert_eq!(keys().unseal(BODY, cut), Err(SealError::DoesNotOpen));
        }
    }
}
