//! The token's secret: what a key that never leaves the token makes of a constant.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectClass;
use cryptoki::session::Session;
use hsm_config::Secret;
use hsm_config::SecretMechanism;
use sha2::Digest as _;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::fault::Fault;
use super::fault::brief;
use super::token::find_one;
use crate::hsm::TOKEN_SECRET_BYTES;

/// What the token's secret key authenticates to make the ledger's secret; changing it would make
/// every pseudonym of a ledger unknown.
const SECRET_DOMAIN: &[u8] = b"signerd token secret, version 1";

/// What a key that never leaves the token makes of a constant, so that only who can log in has the result.
///
/// Where a module has no HMAC, AES stands in: two blocks of CBC over the digest of the constant, which
/// nobody tells from chance without the key, as long as the key encrypts nothing else.
pub(super) fn derive(
    session: &Session,
    secret: &Secret,
) -> Result<Zeroizing<[u8; TOKEN_SECRET_BYTES]>, Fault> {
    let subject = format!("secret key with {}", secret.selector());
    let handle = find_one(session, ObjectClass::SECRET_KEY, secret.selector(), &subject)?;
    let (made, remedy) = match secret.mechanism() {
        SecretMechanism::Sha256Hmac => (
            session.sign(&Mechanism::Sha256Hmac, handle, SECRET_DOMAIN),
            "it must be a generic secret for CKM_SHA256_HMAC, or secret.mechanism be \"AES_CBC\"",
        ),
        SecretMechanism::AesCbc => (
            session.encrypt(&Mechanism::AesCbc([0; 16]), handle, &Sha256::digest(SECRET_DOMAIN)),
            "it must be an AES-256 key that may encrypt by CKM_AES_CBC",
        ),
    };
    let made = Zeroizing::new(made.map_err(|e| Fault::config(&subject, brief(&e), remedy))?);
    <[u8; TOKEN_SECRET_BYTES]>::try_from(&made[..]).map(Zeroizing::new).map_err(|_| {
        let problem = format!("{} bytes are made by it, not {TOKEN_SECRET_BYTES}", made.len());
        Fault::config(&subject, problem, "check the module")
    })
}
