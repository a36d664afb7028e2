//! The vaccination record of `api.cddl`: from the bytes that others signed to `policy::Record`.
//!
//! Checks shapes alone: types, sizes (in bytes, RFC 8610 §3.8.1), the patterns of dates and codes, and
//! that dose numbers ascend. Whether a date exists or a code is known is the judge's business. Besides
//! the record it answers the digest of the holder's bytes, which the identity statement is bound to.
//! The phone number is checked and dropped: nobody behind this line needs it.

use policy::record::{Dose, Holder, Record};
use policy::{Reason, ReasonCode};
use sha2::{Digest as _, Sha256};

use super::cbor::{Limits, Reader, Shape, gate};
use super::request::{DOSE_NUMBER_MAX, dose_number};

/// A record that could be read.
#[derive(Debug)]
pub struct DecodedRecord {
    /// What the record says.
    pub record: Record,
    /// SHA-256 of the bytes of the `holder` member, as they stand in the record.
    pub holder_digest: [u8; 32],
}

/// Decodes the encoded record of an entry.
///
/// # Errors
/// One of the three `record.*` reasons, with a path from the entry where one is known.
pub fn decode(bytes: &[u8]) -> Result<DecodedRecord, Reason> {
    let canonical = gate::check(bytes, &Limits::RECORD).map_err(|error| {
        let code = if error.fault.is_profile_fault() {
            ReasonCode::RecordNotDeterministic
        } else {
            ReasonCode::RecordMalformed
        };
        Reason::new(code, "/record")
    })?;
    record(&mut Reader::new(canonical))
        .map_err(|shape| Reason::new(ReasonCode::RecordInvalid, format!("/record{}", shape.path)))
}

fn record(reader: &mut Reader<'_>) -> Result<DecodedRecord, Shape> {
    let (mut holder, mut doses, mut total_doses) = (None, None, None);
    for _ in 0..reader.map()? {
        let key = reader.text()?;
        match key {
            "doses" => doses = Some(dose_list(reader).map_err(|e| e.under(key))?),
            "holder" => holder = Some(digested_holder(reader).map_err(|e| e.under(key))?),
            "total_doses" => total_doses = Some(dose_number(reader).map_err(|e| e.under(key))?),
            _ => return Err(Shape::unknown()),
        }
    }
    let (holder, holder_digest) = holder.ok_or_else(|| Shape::missing("holder"))?;
    let record = Record {
        holder,
        doses: doses.ok_or_else(|| Shape::missing("doses"))?,
        total_doses: total_doses.ok_or_else(|| Shape::missing("total_doses"))?,
    };
    Ok(DecodedRecord { record, holder_digest })
}

fn digested_holder(reader: &mut Reader<'_>) -> Result<(Holder, [u8; 32]), Shape> {
    let bytes = reader.clone().item()?;
    Ok((holder(reader)?, Sha256::digest(bytes).into()))
}

fn holder(reader: &mut Reader<'_>) -> Result<Holder, Shape> {
    let (mut full_name, mut surname, mut date_of_birth) = (None, None, None);
    let (mut nationality, mut national_id, mut passport) = (None, None, None);
    for _ in 0..reader.map()? {
        let key = reader.text()?;
        let mut text = |bytes_max| sized_text(reader, bytes_max).map_err(|e| e.under(key));
        match key {
            "phone" => drop(text(20)?),
            "surname" => surname = Some(text(80)?),
            "passport" => passport = Some(text(20)?),
            "full_name" => full_name = Some(text(200)?),
            "national_id" => national_id = Some(text(20)?),
            "nationality" => {
                nationality = Some(matching(text(2)?, is_country).map_err(|e| e.under(key))?);
            }
            "date_of_birth" => {
                date_of_birth =
                    Some(matching(text(10)?, is_partial_date).map_err(|e| e.under(key))?);
            }
            _ => return Err(Shape::unknown()),
        }
    }
    Ok(Holder {
        full_name: full_name.ok_or_else(|| Shape::missing("full_name"))?,
        surname,
        date_of_birth: date_of_birth.ok_or_else(|| Shape::missing("date_of_birth"))?,
        nationality: nationality.ok_or_else(|| Shape::missing("nationality"))?,
        national_id,
        passport,
    })
}

fn dose_list(reader: &mut Reader<'_>) -> Result<Vec<Dose>, Shape> {
    let count = reader.array()?;
    if !(1..=DOSE_NUMBER_MAX).contains(&count) {
        return Err(Shape::new("expected 1 to 9 doses"));
    }
    let mut doses: Vec<Dose> = Vec::new();
    for index in 0..count {
        let dose = dose(reader).map_err(|e| e.under(index))?;
        if doses.last().is_some_and(|before| before.number >= dose.number) {
            return Err(Shape::new("dose numbers must ascend").under("number").under(index));
        }
        doses.push(dose);
    }
    Ok(doses)
}

fn dose(reader: &mut Reader<'_>) -> Result<Dose, Shape> {
    let (mut number, mut date, mut vaccine, mut product) = (None, None, None, None);
    let (mut manufacturer, mut facility, mut managing_facility) = (None, None, None);
    for _ in 0..reader.map()? {
        let key = reader.text()?;
        if key == "number" {
            number = Some(dose_number(reader).map_err(|e| e.under(key))?);
            continue;
        }
        let mut text = |bytes_max| sized_text(reader, bytes_max).map_err(|e| e.under(key));
        match key {
            "date" => date = Some(matching(text(10)?, is_full_date).map_err(|e| e.under(key))?),
            "product" => product = Some(text(80)?),
            "vaccine" => vaccine = Some(text(80)?),
            "facility" => facility = Some(facility_id(text(64)?).map_err(|e| e.under(key))?),
            "manufacturer" => manufacturer = Some(text(80)?),
            "facility_name" => drop(text(200)?),
            "managing_facility" => {
                managing_facility = Some(facility_id(text(64)?).map_err(|e| e.under(key))?);
            }
            _ => return Err(Shape::unknown()),
        }
    }
    Ok(Dose {
        number: number.ok_or_else(|| Shape::missing("number"))?,
        date: date.ok_or_else(|| Shape::missing("date"))?,
        vaccine: vaccine.ok_or_else(|| Shape::missing("vaccine"))?,
        product: product.ok_or_else(|| Shape::missing("product"))?,
        manufacturer: manufacturer.ok_or_else(|| Shape::missing("manufacturer"))?,
        facility: facility.ok_or_else(|| Shape::missing("facility"))?,
        managing_facility,
    })
}

fn sized_text(reader: &mut Reader<'_>, bytes_max: usize) -> Result<String, Shape> {
    let text = reader.text()?;
    if (1..=bytes_max).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(Shape::new(format!("expected 1 to {bytes_max} bytes of text, got {}", text.len())))
    }
}

fn matching(text: String, pattern: fn(&str) -> bool) -> Result<String, Shape> {
    if pattern(&text) { Ok(text) } else { Err(Shape::new("not of the expected form")) }
}

fn facility_id(text: String) -> Result<String, Shape> {
    matching(text, |text| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    })
}

fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase())
}

/// `YYYY-MM-DD`
fn is_full_date(text: &str) -> bool {
    has_form(text, "dddd-dd-dd")
}

/// `YYYY`, `YYYY-MM` or `YYYY-MM-DD`
fn is_partial_date(text: &str) -> bool {
    ["dddd", "dddd-dd", "dddd-dd-dd"].iter().any(|form| has_form(text, form))
}

fn has_form(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            literal => byte == literal,
        })
}
