//! The vaccination record as its JSON and its CBOR say it, member for member as `api.cddl`.
//!
//! In goes a JSON object of the records file, out come the deterministic CBOR bytes that statements
//! are made about. Dates in the form DD/MM/YYYY, as QD 5772 §3 writes them, are turned into
//! YYYY-MM-DD; every other value passes unchanged. This module checks types and member names only:
//! whether a record may be certified is the daemon's judgement.

use serde::{Deserialize, Serialize};

use crate::ctl::cbor::{self, EncodeError};

// In the three types below the members stand in the order of their encoded keys: it is the order in
// which they are written.

/// One person's vaccinations (`vaccination-record`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaccinationRecord {
    /// The doses, ascending by number.
    pub doses: Vec<Dose>,
    /// Whose they are.
    pub holder: Holder,
    /// How many doses the person has received in all.
    pub total_doses: u64,
}

/// The person (`holder`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// Telephone number: carried because the facility signed it, used for nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub phone: Option<String>,
    /// The leading part of `full_name` that is the surname; absent: its first word.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub surname: Option<String>,
    /// Passport number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub passport: Option<String>,
    /// Name as on the identity paper.
    pub full_name: String,
    /// CCCD (12 digits) or CMND (9 digits).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub national_id: Option<String>,
    /// ISO 3166-1 alpha-2 code.
    pub nationality: String,
    /// YYYY, YYYY-MM or YYYY-MM-DD.
    pub date_of_birth: String,
}

/// One vaccination (`dose`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dose {
    /// The day, YYYY-MM-DD.
    pub date: String,
    /// Its number in the person's series.
    pub number: u64,
    /// Product code, DCC "mp".
    pub product: String,
    /// Vaccine type code, DCC "vp".
    pub vaccine: String,
    /// The unit where the dose was given.
    pub facility: String,
    /// Manufacturer code, DCC "ma".
    pub manufacturer: String,
    /// That unit's name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub facility_name: Option<String>,
    /// The unit that manages it, as the record claims.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub managing_facility: Option<String>,
}

impl VaccinationRecord {
    /// Turns every DD/MM/YYYY of the record into YYYY-MM-DD.
    #[must_use]
    pub fn with_iso_dates(mut self) -> Self {
        convert(&mut self.holder.date_of_birth);
        for dose in &mut self.doses {
            convert(&mut dose.date);
        }
        self
    }

    /// Encodes the record: the bytes that go into `record` and that both statements are about.
    ///
    /// # Errors
    /// As [`cbor::encode`].
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        cbor::encode(self)
    }
}

impl Holder {
    /// Encodes the holder alone, exactly as the bytes stand inside the encoded record.
    ///
    /// # Errors
    /// As [`cbor::encode`].
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        cbor::encode(self)
    }
}

/// Reads DD/MM/YYYY (one or two digits for day and month, as QD 5772 §3's own example has them).
#[must_use]
pub fn iso_date(text: &str) -> Option<String> {
    let mut parts = text.trim().split('/');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |part: &str, sizes: &[usize]| {
        sizes.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let fits = digits(day, &[1, 2]) && digits(month, &[1, 2]) && digits(year, &[4]);
    (fits && parts.next().is_none()).then(|| format!("{year}-{month:0>2}-{day:0>2}"))
}

fn convert(date: &mut String) {
    if let Some(iso) = iso_date(date) {
        *date = iso;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn full_record() -> VaccinationRecord {
        let dose = |number: u64, date: &str| Dose {
            date: date.into(),
            number,
            product: "EU/1/20/1528".into(),
            vaccine: "1119349007".into(),
            facility: "79-TTYT-Q1".into(),
            manufacturer: "ORG-100030215".into(),
            facility_name: Some("Trung tâm Y tế Quận 1".into()),
            managing_facility: Some("79-SYT".into()),
        };
        VaccinationRecord {
            doses: vec![dose(1, "2021-06-20"), dose(2, "2021-07-20")],
            holder: Holder {
                phone: Some("0912345678".into()),
                surname: Some("Nguyễn".into()),
                passport: Some("B1234567".into()),
                full_name: "Nguyễn Văn A".into(),
                national_id: Some("001099456789".into()),
                nationality: "VN".into(),
                date_of_birth: "1999-10-20".into(),
            },
            total_doses: 2,
        }
    }

    #[test]
    fn encoding_is_deterministic() {
        // A record with every member there is is accepted by a strict RFC 8949 §4.2.1 decoder.
        let bytes = full_record().encode().unwrap();
        let value = cbor_core::Value::decode(&bytes[..]).unwrap();
        assert_eq!(value.encode(), bytes);
    }

    #[test]
    fn json_and_cbor_carry_the_same_record() {
        // JSON to record to CBOR to record loses nothing and adds nothing.
        let record = full_record();
        let json = serde_json::to_string(&record).unwrap();
        let from_json: VaccinationRecord = serde_json::from_str(&json).unwrap();
        let bytes = from_json.encode().unwrap();
        let from_cbor: VaccinationRecord = ciborium::from_reader(bytes.as_slice()).unwrap();
        assert!(from_cbor == record);
    }

    #[test]
    fn holder_stands_in_the_record_byte_for_byte() {
        // The holder's own encoding is a part of the record's, right behind its key.
        let record = full_record();
        let (whole, part) = (record.encode().unwrap(), record.holder.encode().unwrap());
        let keyed = [b"\x66holder".as_slice(), &part].concat();
        assert!(whole.windows(keyed.len()).any(|window| window == keyed));
    }

    #[test]
    fn day_first_dates_are_converted() {
        // DD/MM/YYYY becomes YYYY-MM-DD, also with single digits; anything else is left alone.
        assert_eq!(iso_date("20/10/1999").as_deref(), Some("1999-10-20"));
        assert_eq!(iso_date("20/6/2021").as_deref(), Some("2021-06-20"));
        for other in ["1999-10-20", "20/10/99", "20/10/1999/1", "2021", "a/b/cdef", "20-10-1999"] {
            assert_eq!(iso_date(other), None, "{other}");
        }
    }
}
