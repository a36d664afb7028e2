//! The registry of facilities: which units exist, who manages them, and with which certificates they
//! sign (Công văn 1908, Annex 01-1 and 02-1).
//!
//! In: only from [`crate::policy_file`]. Out: look-ups by unit and by certificate, each in constant
//! time. It promises that a certificate belongs to one unit. It does not parse or verify
//! certificates: that the bytes fit their digest, issuer and serial number is checked by who uses
//! them.

use std::{collections::HashMap, sync::Arc};

use crate::calendar::Period;

/// All registered units.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// In the order of the file.
    pub(crate) facilities: Vec<Facility>,
    /// Unit id to position in `facilities`.
    pub(crate) by_id: HashMap<String, usize>,
    /// SHA-256 of a certificate to positions in `facilities` and in its `certificates`.
    pub(crate) by_digest: HashMap<[u8; 32], (usize, usize)>,
}

impl Registry {
    /// All units, in the order of the file.
    pub fn facilities(&self) -> &[Facility] {
        &self.facilities
    }

    /// The unit of that id.
    pub fn facility(&self, id: &str) -> Option<&Facility> {
        self.by_id.get(id).and_then(|&position| self.facilities.get(position))
    }

    /// The registered certificate of that SHA-256, and the unit it is registered for.
    pub fn certificate(&self, sha256: &[u8; 32]) -> Option<(&Facility, &RegisteredCertificate)> {
        let &(facility, certificate) = self.by_digest.get(sha256)?;
        let facility = self.facilities.get(facility)?;
        Some((facility, facility.certificates.get(certificate)?))
    }

    /// Tells whether `signer` may sign doses given at `facility`: it is that unit, or the registry's
    /// row of that unit names it as manager or delegate (R13).
    pub fn may_sign_for(&self, signer: &str, facility: &str) -> bool {
        signer == facility
            || self.facility(facility).is_some_and(|row| {
                row.managed_by.as_deref() == Some(signer)
                    || row.delegates.iter().any(|delegate| delegate == signer)
            })
    }
}

/// One unit.
#[derive(Clone, Debug)]
pub struct Facility {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) name_en: Option<String>,
    pub(crate) areas: Vec<String>,
    pub(crate) managed_by: Option<String>,
    pub(crate) delegates: Vec<String>,
    pub(crate) status: Status,
    pub(crate) certificates: Vec<RegisteredCertificate>,
}

impl Facility {
    /// Its id, as records name it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name in English, if it has one.
    pub fn name_en(&self) -> Option<&str> {
        self.name_en.as_deref()
    }

    /// The codes of the areas it is in, the largest first: province, then district or commune.
    pub fn areas(&self) -> &[String] {
        &self.areas
    }

    /// The unit that manages it.
    pub fn managed_by(&self) -> Option<&str> {
        self.managed_by.as_deref()
    }

    /// The units that it delegated signing to.
    pub fn delegates(&self) -> &[String] {
        &self.delegates
    }

    /// Whether it signs at present.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Tells whether one of its certificates may sign at a time, in seconds since 1970: the unit and
    /// the registration are active, and the time is within the registration's days. Whether the
    /// certificate itself is valid then is another question.
    pub fn may_sign_with(&self, certificate: &RegisteredCertificate, time: i64) -> bool {
        self.status == Status::Active && certificate.is_in_force(time)
    }

    /// The certificates it signs with.
    pub fn certificates(&self) -> &[RegisteredCertificate] {
        &self.certificates
    }
}

/// Whether a unit or a registration counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// It does.
    #[default]
    Active,
    /// It does not, and stays in the registry for its name and its past.
    Suspended,
}

/// Where something stands in the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as `policy.toml` names it; absent for `policy.toml` itself.
    pub file: Option<Arc<str>>,
    /// The line, from 1.
    pub line: usize,
}

/// An organisation certificate as it was registered.
#[derive(Clone, Debug)]
pub struct RegisteredCertificate {
    pub(crate) issuer: String,
    pub(crate) serial: Vec<u8>,
    pub(crate) sha256: [u8; 32],
    pub(crate) der: Arc<[u8]>,
    pub(crate) registered: Period,
    pub(crate) status: Status,
    pub(crate) place: Place,
}

impl RegisteredCertificate {
    /// The issuer's distinguished name, as the registry writes it (RFC 4514).
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The serial number, big endian, without leading zeros.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// SHA-256 of `der`, as registered.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// The certificate; shared, because a country of them is large.
    pub fn der(&self) -> &Arc<[u8]> {
        &self.der
    }

    /// Where it is registered.
    pub fn place(&self) -> &Place {
        &self.place
    }

    fn is_in_force(&self, time: i64) -> bool {
        self.status == Status::Active && self.registered.contains(time)
    }
}

#[cfg(test)]
mod tests {
    use crate::verdict::sample;

    #[test]
    fn a_unit_its_manager_and_its_delegates_may_sign() {
        // A dose is signed by the unit that gave it, its manager, or a delegate, and nobody else.
        let policy = sample::policy(&[]);
        let registry = policy.registry();
        for signer in ["79-TTYT-Q1", "79-SYT", "79-CDC"] {
            assert!(registry.may_sign_for(signer, "79-TTYT-Q1"), "{signer}");
        }
        for signer in ["01-CDC-HN", "", "79-TTYT-Q"] {
            assert!(!registry.may_sign_for(signer, "79-TTYT-Q1"), "{signer}");
        }
    }

    #[test]
    fn managing_is_not_mutual() {
        // The managed unit may not sign what its manager gave.
        let policy = sample::policy(&[]);
        assert!(!policy.registry().may_sign_for("79-TTYT-Q1", "79-CDC"));
    }

    #[test]
    fn a_certificate_leads_to_its_unit() {
        // The registered digest finds the certificate and the unit it is registered for.
        let policy = sample::policy(&[]);
        let (facility, certificate) = policy.registry().certificate(&[0xAB; 32]).unwrap();
        assert_eq!(
            (facility.id(), facility.areas()),
            ("79-TTYT-Q1", &["79".to_owned(), "79760".to_owned()][..])
        );
        assert_eq!(certificate.serial(), [0x0A, 0x1B]);
        assert_eq!(certificate.der()[..], [0x30, 0x03, 0x02, 0x01, 0x05]);
        assert!(policy.registry().certificate(&[0xAC; 32]).is_none());
    }
}
