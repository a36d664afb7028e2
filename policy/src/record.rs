//! The vaccination record as it was decoded.
//!
//! In: what the wire read; sizes, patterns and the order of dose numbers were checked there. Out:
//! plain data for the judge. The types promise that `Debug` prints no personal data. They promise
//! nothing about the content: a date here may be the 31st of February.

use std::fmt;

/// What one facility says about one person.
pub struct Record {
    /// Whom it is about.
    pub holder: Holder,
    /// The doses, in ascending order of their numbers, no number twice.
    pub doses: Vec<Dose>,
    /// How many doses the person has had altogether.
    pub total_doses: u8,
}

/// The person, as the identity paper names them.
pub struct Holder {
    /// The name as one text, for example "Nguyễn Văn A".
    pub full_name: String,
    /// The leading part of `full_name` that is the surname; absent: its first word.
    pub surname: Option<String>,
    /// `YYYY-MM-DD`, `YYYY-MM` or `YYYY`.
    pub date_of_birth: String,
    /// ISO 3166-1 alpha-2.
    pub nationality: String,
    /// The number of a CCCD (12 digits) or CMND (9 digits).
    pub national_id: Option<String>,
    /// The number of a passport.
    pub passport: Option<String>,
}

/// One dose.
pub struct Dose {
    /// Which dose it was, from 1.
    pub number: u8,
    /// The calendar date in Viet Nam, `YYYY-MM-DD`.
    pub date: String,
    /// The kind of vaccine, field `vp` of a certificate.
    pub vaccine: String,
    /// The product, field `mp`.
    pub product: String,
    /// The manufacturer or holder of the authorisation, field `ma`.
    pub manufacturer: String,
    /// The unit where it was given.
    pub facility: String,
    /// The unit that manages that one, according to the record. It proves nothing: the registry does.
    pub managing_facility: Option<String>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("doses", &self.doses.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holder").finish_non_exhaustive()
    }
}

impl fmt::Debug for Dose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dose").field("number", &self.number).finish_non_exhaustive()
    }
}
