//! Who an officer is: whoever holds a valid certificate of the officers' authority.
//!
//! In goes a certificate that the listener has verified, out comes the id under which ledger and journal
//! name its holder: the common name, for people, and a mark of the public key, so that two certificates
//! with one name are not one officer. It does not verify the certificate and keeps no list of officers.

use sha2::{Digest as _, Sha256};
use x509_cert::Certificate;
use x509_cert::der::asn1::{PrintableStringRef, Utf8StringRef};
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::der::{Decode as _, Encode as _};

/// Longest common name in characters (`ub-common-name`, RFC 5280 appendix A.1).
const COMMON_NAME_CHARS_MAX: usize = 64;

/// Bytes of the public key's SHA-256 that an id carries.
const MARK_BYTES: usize = 8;

/// A security officer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Officer {
    /// The common name, a colon, and 16 hex digits of the public key's SHA-256.
    pub id: String,
}

impl Officer {
    /// The officer whose certificate this is; none where it has no common name, several, or one that
    /// could not stand in a line of the journal.
    pub fn of(certificate_der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(certificate_der).ok()?;
        let tbs = certificate.tbs_certificate();
        let mut names = tbs.subject().iter().filter(|part| part.oid == COMMON_NAME);
        let (Some(part), None) = (names.next(), names.next()) else {
            return None;
        };
        let utf8 = part.value.decode_as::<Utf8StringRef<'_>>().map(|name| name.as_str().to_owned());
        let name = utf8.or_else(|_| {
            part.value.decode_as::<PrintableStringRef<'_>>().map(|name| name.as_str().to_owned())
        });
        let name = name.ok()?;
        let fits = (1..=COMMON_NAME_CHARS_MAX).contains(&name.chars().count());
        if !fits || name.trim().is_empty() || name.contains(char::is_control) {
            return None;
        }
        let digest = Sha256::digest(tbs.subject_public_key_info().to_der().ok()?);
        let mark = data_encoding::HEXLOWER.encode(digest.get(..MARK_BYTES)?);
        Some(Self { id: format!("{name}:{mark}") })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

    use super::*;

    fn certificate(key: &KeyPair, names: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for name in names {
            let value = DnValue::Utf8String((*name).to_owned());
            params.distinguished_name.push(DnType::CommonName, value);
        }
        params.self_signed(key).unwrap().der().to_vec()
    }

    #[test]
    fn an_officer_is_a_name_and_a_key() {
        // The id has the common name and the first 8 bytes of the key's digest: another key under the
        // same name is another officer, another certificate of the same key is the same one.
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let id = |key| Officer::of(&certificate(key, &["Nguyễn Văn A"])).unwrap().id;
        assert_eq!(id(&key), id(&key));
        assert_ne!(id(&key), id(&other));
        use rcgen::PublicKeyData as _;
        let digest = Sha256::digest(key.subject_public_key_info());
        let mark = data_encoding::HEXLOWER.encode(&digest[..8]);
        assert_eq!(id(&key), format!("Nguyễn Văn A:{mark}"));
    }

    #[test]
    fn a_certificate_without_a_usable_name_is_nobody() {
        // No name, an empty one, one too long, or one that would break a line of the journal.
        let key = KeyPair::generate().unwrap();
        let long = "x".repeat(65);
        for names in [&[][..], &[""], &[" "], &[long.as_str()], &["a\nb"]] {
            assert_eq!(Officer::of(&certificate(&key, names)), None, "{names:?}");
        }
        assert_eq!(Officer::of(b"no certificate"), None);
    }
}
