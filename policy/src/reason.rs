//! Why a record is not certified: the stable codes, their order, and what to do about each.
//!
//! The one table below is the whole of it. Its order is the order of the published contract, and so
//! the order in which reasons are reported. A `detail` speaks to the person who has to repair the
//! record; it holds no personal data, since it is a constant.

use std::fmt;

/// Writes the enum, its texts and its list from one table, so that they cannot disagree.
macro_rules! reason_codes {
    ($($variant:ident $text:literal $detail:literal;)+) => {
        /// One reason why a record is not certified; declared, and so ordered, as in the contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReasonCode {
            $(#[doc = concat!("`", $text, "`: ", $detail, ".")] $variant,)+
        }

        impl ReasonCode {
            /// Every code, in the order of the contract.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable text of the code.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// What to do about it, in English, without personal data.
            pub fn detail(self) -> &'static str {
                match self { $(Self::$variant => $detail,)+ }
            }
        }
    };
}

reason_codes! {
    RecordMalformed "record.malformed"
        "the bytes of the record are not well-formed CBOR; encode the record again and have it signed again";
    RecordNotDeterministic "record.not_deterministic"
        "the record is not deterministically encoded (RFC 8949 section 4.2.1); encode it again and have it signed again";
    RecordInvalid "record.invalid"
        "the record does not have the form of the contract; correct the named member and have the record signed again";

    HolderIdMissing "holder.id_missing"
        "there is no identity number; give the CCCD or CMND number, or for a foreigner the passport number";
    HolderIdMalformed "holder.id_malformed"
        "the identity number is not well formed; a CCCD has 12 digits and agrees with the birth date, a CMND has 9 digits, a passport number has 5 to 20 capital letters and digits";
    HolderBirthDateInvalid "holder.birth_date_invalid"
        "the birth date is not a calendar date from 1900 to 2099; give YYYY-MM-DD, YYYY-MM or YYYY as on the identity paper";
    HolderBirthDateFuture "holder.birth_date_future"
        "the birth date is in the future; correct it from the identity paper";
    HolderNameInvalid "holder.name_invalid"
        "the name is empty or contains digits, symbols or control characters; give it as on the identity paper";
    HolderNameNotTransliterable "holder.name_not_transliterable"
        "the name, or its surname or given name alone, cannot be written in Latin capitals by ICAO Doc 9303-3; give it in Latin letters as in the passport";
    HolderSurnameNotInName "holder.surname_not_in_name"
        "the surname is not the leading words of the full name; correct one of them, or leave the surname out to use the first word";
    HolderNationalityUnknown "holder.nationality_unknown"
        "the nationality is not a country code of ISO 3166-1 alpha-2; Viet Nam is VN";

    DoseNotInRecord "dose.not_in_record"
        "a selected dose is not in the record; select numbers of doses that the record has";
    DoseDateInvalid "dose.date_invalid"
        "the date of the dose is not a calendar date; give YYYY-MM-DD";
    DoseDateFuture "dose.date_future"
        "the date of the dose is in the future in Viet Nam; correct it";
    DoseDateTooEarly "dose.date_too_early"
        "the dose is dated before its product was given to anybody outside trials; correct date or product";
    DoseBeforeBirth "dose.before_birth"
        "the dose is dated before the holder's birth; correct one of the dates";
    DoseDatesNotAscending "dose.dates_not_ascending"
        "the dose is not dated after the one before it; correct the dates or the numbers of the doses";
    DoseTooMany "dose.too_many"
        "more doses are to be certified than the issuer allows for one record; select fewer";
    DoseTotalInconsistent "dose.total_inconsistent"
        "the total number of doses is below the greatest dose number; correct it";
    DoseVaccineUnknown "dose.vaccine_unknown"
        "the vaccine type was in none of the issuer's value sets on the day of the dose; use a code of the decision's section 4.2 or of the EU's value sets";
    DoseProductUnknown "dose.product_unknown"
        "the product was in none of the issuer's value sets on the day of the dose; use a code of the decision's section 4.3 or of the EU's value sets";
    DoseManufacturerUnknown "dose.manufacturer_unknown"
        "the manufacturer was in none of the issuer's value sets on the day of the dose; use a code of the decision's section 4.4 or of the EU's value sets";
    DoseCodesInconsistent "dose.codes_inconsistent"
        "product, vaccine type and manufacturer do not belong together; correct the wrong one";

    IdentityStatementMissing "identity.statement_missing"
        "the statement of the national population database is missing; have the holder checked and attach it";
    IdentityStatementInvalid "identity.statement_invalid"
        "the statement of the national population database is malformed, wrongly signed or dated in the future; have the holder checked again";
    IdentityVerifierUnknown "identity.verifier_unknown"
        "the identity statement is signed by a verifier that is not registered; have the holder checked by the national population database";
    IdentityStatementStale "identity.statement_stale"
        "the identity statement is too old; have the holder checked again";
    IdentityHolderDiffers "identity.holder_differs"
        "the identity statement is about other holder data than the record's; have exactly this holder checked";
    IdentityMismatched "identity.mismatched"
        "the national population database has other data for this person; review the record with the holder";
    IdentityNotFound "identity.not_found"
        "the national population database does not know this person; review the record with the holder";

    FacilitySignatureMissing "facility.signature_missing"
        "the facility's signature is missing; have the facility sign the record";
    FacilitySignatureInvalid "facility.signature_invalid"
        "the facility's signature is malformed or does not fit the bytes of the record; have the record signed again";
    FacilityCertificateUnregistered "facility.certificate_unregistered"
        "the certificate that signed the record is not registered for any unit; register its issuer and serial number first";
    FacilityCertificateUntrusted "facility.certificate_untrusted"
        "the certificate that signed the record is not an organisation certificate of a trusted authority; sign with one that is";
    FacilityCertificateExpired "facility.certificate_expired"
        "the certificate that signed the record is not valid at this time; sign with a valid one";
    FacilityCertificateRevoked "facility.certificate_revoked"
        "the certificate that signed the record is revoked; register a new one and sign again";
    FacilityNotItsDose "facility.not_its_dose"
        "the signing unit neither gave the dose nor manages the unit that gave it nor is its delegate by the registry; have the right unit sign";
    FacilityNotOfIssuer "facility.not_of_issuer"
        "the issuer does not certify doses of the unit that gave this one; send it to the issuer that covers the unit, or correct the unit";

    DoseAlreadyCertified "dose.already_certified"
        "the dose is certified already in another batch; use that certificate";
    DoseInProgress "dose.in_progress"
        "another batch is certifying the dose right now; repeat later";
}

impl ReasonCode {
    /// Reads the stable text of a code.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }

    /// The group of the review lists (Công văn 1908, Annex 03) that the code belongs to, if any.
    pub fn group(self) -> Option<Group> {
        match self {
            Self::HolderIdMissing => Some(Group::NoIdentityNumber),
            Self::HolderIdMalformed => Some(Group::MalformedIdentityNumber),
            Self::IdentityMismatched | Self::IdentityNotFound => Some(Group::IdentityNotMatched),
            _ => None,
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The three groups in which rejected people go back for review (Công văn 1908, Annex 03).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Group 1: no identity number.
    NoIdentityNumber,
    /// Group 2: the identity number is badly formed.
    MalformedIdentityNumber,
    /// Group 3: the identity did not match.
    IdentityNotMatched,
}

impl Group {
    /// The number of the group in the annex.
    pub fn number(self) -> u8 {
        match self {
            Self::NoIdentityNumber => 1,
            Self::MalformedIdentityNumber => 2,
            Self::IdentityNotMatched => 3,
        }
    }
}

/// One reason at one place of an entry; sorts by the contract's order, then by place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason {
    /// What is wrong.
    pub code: ReasonCode,
    /// Where: a JSON Pointer from the record-entry, for example `/record/doses/0/date`.
    pub path: String,
}

impl Reason {
    /// States that `code` applies at `path`.
    pub fn new(code: ReasonCode, path: impl Into<String>) -> Self {
        Self { code, path: path.into() }
    }

    /// What to do about it, in English, without personal data.
    pub fn detail(&self) -> &'static str {
        self.code.detail()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.code, self.path, self.detail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_unique_and_read_back() {
        // Every code has a text of its own, and the text reads back as that code.
        let texts: std::collections::BTreeSet<_> =
            ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), ReasonCode::ALL.len());
        for &code in ReasonCode::ALL {
            assert_eq!(ReasonCode::parse(code.as_str()), Some(code));
        }
        assert_eq!(ReasonCode::parse("holder.unheard_of"), None);
    }

    #[test]
    fn details_say_what_to_do_in_one_line() {
        // A detail is a lower-case line without a full stop that says what is wrong; what to do.
        for code in ReasonCode::ALL {
            let detail = code.detail();
            assert!(detail.contains("; "), "{code} does not say what to do");
            assert!(!detail.ends_with('.') && !detail.contains('\n'), "{code}");
            assert!(detail.starts_with(|c: char| c.is_ascii_lowercase()), "{code}");
        }
    }

    #[test]
    fn order_is_the_contracts_order() {
        // Reasons sort by the order of the contract's table, then by path.
        assert!(ReasonCode::ALL.is_sorted());
        let mut reasons = [
            Reason::new(ReasonCode::FacilityNotItsDose, "/record/doses/0/facility"),
            Reason::new(ReasonCode::DoseDateInvalid, "/record/doses/1/date"),
            Reason::new(ReasonCode::DoseDateInvalid, "/record/doses/0/date"),
            Reason::new(ReasonCode::HolderIdMissing, "/record/holder/national_id"),
        ];
        reasons.sort();
        let order: Vec<_> = reasons.iter().map(|r| (r.code.as_str(), r.path.as_str())).collect();
        assert_eq!(
            order,
            [
                ("holder.id_missing", "/record/holder/national_id"),
                ("dose.date_invalid", "/record/doses/0/date"),
                ("dose.date_invalid", "/record/doses/1/date"),
                ("facility.not_its_dose", "/record/doses/0/facility"),
            ]
        );
    }

    #[test]
    fn groups_are_those_of_the_annex() {
        // Group 1 is no number, group 2 a badly formed one, group 3 an identity that did not match.
        let group = |n| -> Vec<_> {
            let of = |code: &&ReasonCode| code.group().map(Group::number) == Some(n);
            ReasonCode::ALL.iter().filter(of).map(|code| code.as_str()).collect()
        };
        assert_eq!(group(1), ["holder.id_missing"]);
        assert_eq!(group(2), ["holder.id_malformed"]);
        assert_eq!(group(3), ["identity.mismatched", "identity.not_found"]);
    }
}
