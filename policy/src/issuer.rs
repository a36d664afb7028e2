//! The rules of one issuer, as `policy.toml` sets them and after they were checked.
//!
//! In: only from [`crate::policy_file`]. Out: what the judge, the limits and the certificate need to
//! know about whose key signs. Its fields are private: rules that exist were checked.

use std::collections::HashSet;

use crate::{registry::Registry, window::SigningWindow};

/// What one issuer may sign, for whom, and how.
#[derive(Clone, Debug)]
pub struct IssuerRules {
    pub(crate) id: String,
    pub(crate) clients: Vec<String>,
    pub(crate) key: String,
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) iss: String,
    pub(crate) issuing_body: String,
    pub(crate) records_max: u16,
    pub(crate) doses_per_record_max: u8,
    pub(crate) doses_per_day_max: Option<u32>,
    pub(crate) certified_doses: CertifiedDoses,
    pub(crate) reissue: Reissue,
    pub(crate) signing_window: Option<SigningWindow>,
    pub(crate) validity_months: u8,
    pub(crate) assurance: Assurance,
    pub(crate) statement_age_days_max: u16,
    pub(crate) facility_signature: Requirement,
    pub(crate) territory: Option<Territory>,
    pub(crate) code_combinations: CodeCombinations,
    pub(crate) id_check: IdCheck,
}

impl IssuerRules {
    /// The issuer's id, as requests name it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The ids of the clients that may use it.
    pub fn clients(&self) -> &[String] {
        &self.clients
    }

    /// Tells whether a client may use it.
    pub fn allows_client(&self, client: &str) -> bool {
        self.clients.iter().any(|allowed| allowed == client)
    }

    /// The name of its key in `hsm.toml`.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The algorithm its key must have; none: that of the key.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// Claim `iss` of its certificates: a country code.
    pub fn iss(&self) -> &str {
        &self.iss
    }

    /// Field `is` of its certificates: who issues them, at most 80 characters, NFC.
    pub fn issuing_body(&self) -> &str {
        &self.issuing_body
    }

    /// The most records of a batch.
    pub fn records_max(&self) -> u16 {
        self.records_max
    }

    /// The most doses certified for one record.
    pub fn doses_per_record_max(&self) -> u8 {
        self.doses_per_record_max
    }

    /// The most certificates of one calendar day of Viet Nam; none: no limit.
    pub fn doses_per_day_max(&self) -> Option<u32> {
        self.doses_per_day_max
    }

    /// Which of the selected doses get a certificate.
    pub fn certified_doses(&self) -> CertifiedDoses {
        self.certified_doses
    }

    /// Whether a dose that has a certificate may get another.
    pub fn reissue(&self) -> Reissue {
        self.reissue
    }

    /// The hours in which it signs; none: always.
    pub fn signing_window(&self) -> Option<SigningWindow> {
        self.signing_window
    }

    /// How many calendar months a certificate is valid, 1 to 12.
    pub fn validity_months(&self) -> u8 {
        self.validity_months
    }

    /// On whose word a holder counts as verified.
    pub fn assurance(&self) -> Assurance {
        self.assurance
    }

    /// How old an identity statement may be, in days.
    pub fn statement_age_days_max(&self) -> u16 {
        self.statement_age_days_max
    }

    /// Whether a record may come without a facility's signature.
    pub fn facility_signature(&self) -> Requirement {
        self.facility_signature
    }

    /// Tells whether it may certify doses given at a unit.
    pub fn covers(&self, facility: &str, registry: &Registry) -> bool {
        self.territory.as_ref().is_none_or(|territory| territory.has(facility, registry))
    }

    /// The units whose doses it may certify, apart from its areas; none named: all units.
    pub fn facilities(&self) -> impl Iterator<Item = &str> {
        self.territory.iter().flat_map(|territory| &territory.facilities).map(String::as_str)
    }

    /// The areas whose units' doses it may certify.
    pub fn areas(&self) -> impl Iterator<Item = &str> {
        self.territory.iter().flat_map(|territory| &territory.areas).map(String::as_str)
    }

    /// What happens to codes that do not belong together.
    pub fn code_combinations(&self) -> CodeCombinations {
        self.code_combinations
    }

    /// How closely identity numbers are looked at.
    pub fn id_check(&self) -> IdCheck {
        self.id_check
    }
}

/// What happens when product, vaccine type and manufacturer do not belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeCombinations {
    /// The record is rejected.
    Strict,
    /// The record is accepted as its facility signed it, and counted.
    Lenient,
}

/// How closely identity numbers are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdCheck {
    /// Their form: 12 or 9 digits.
    Format,
    /// Also the province, century and year that a CCCD number states.
    Strict,
}

/// The algorithm of a key (RFC 9053, RFC 8230).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
}

/// On whose word a holder counts as verified against the national population database (R11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assurance {
    /// The database's gateway signed a statement about exactly this holder.
    Statement,
    /// The client says so by sending the record. A statement that is there is judged all the same.
    Asserted,
}

impl Assurance {
    /// As `policy.toml` writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Statement => "statement",
            Self::Asserted => "asserted",
        }
    }
}

/// Whether something must be there. What is there is judged in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// A record without it is rejected.
    Required,
    /// A record may come without it.
    Optional,
}

/// Which of the selected doses get a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertifiedDoses {
    /// Each one its own.
    Each,
    /// The one with the greatest number alone; its certificate says how many there were.
    Latest,
}

/// Whether a dose that has a certificate may get another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reissue {
    /// It may not.
    Never,
    /// It may, once its youngest certificate is so many days old.
    AfterDays(u16),
}

/// The units an issuer may certify doses of: these, and all of these areas.
#[derive(Clone, Debug)]
pub(crate) struct Territory {
    pub(crate) facilities: HashSet<String>,
    pub(crate) areas: HashSet<String>,
}

impl Territory {
    /// A unit that the registry does not know is in no area.
    fn has(&self, facility: &str, registry: &Registry) -> bool {
        let areas = || registry.facility(facility).map_or(&[][..], |unit| unit.areas());
        self.facilities.contains(facility) || areas().iter().any(|area| self.areas.contains(area))
    }
}
