//! The rules of one issuer, as `policy.toml` sets them and after they were checked.
//!
//! In: only from [`crate::policy_file`]. Out: what the judge, the limits and the certificate need to
//! know about whose key signs. Its fields are private: rules that exist were checked.

/// What one issuer may sign, for whom, and how.
#[derive(Clone, Debug)]
pub struct IssuerRules {
    pub(crate) id: String,
    pub(crate) clients: Vec<String>,
    pub(crate) key: String,
    pub(crate) iss: String,
    pub(crate) issuing_body: String,
    pub(crate) records_max: u16,
    pub(crate) doses_per_record_max: u8,
    pub(crate) validity_months: u8,
    pub(crate) statement_age_days_max: u16,
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

    /// How many calendar months a certificate is valid, 1 to 12.
    pub fn validity_months(&self) -> u8 {
        self.validity_months
    }

    /// How old an identity statement may be, in days.
    pub fn statement_age_days_max(&self) -> u16 {
        self.statement_age_days_max
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
