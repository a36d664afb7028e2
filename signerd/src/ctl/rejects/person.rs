//! Whom a rejected record is about, as far as it can be read.
//!
//! In goes the encoded record, out come its texts. A record may be rejected for its form: what has
//! another type, an unknown name or no place in the contract is passed over, and the rest is shown, so
//! that somebody can be found who knows the person. Nothing is judged here. The types hold personal
//! data and can therefore not be printed.

use ciborium::Value;

/// The holder, and the doses in the order of the record.
#[derive(Default)]
pub(super) struct Person {
    pub(super) full_name: String,
    pub(super) date_of_birth: String,
    pub(super) nationality: String,
    pub(super) national_id: String,
    pub(super) passport: String,
    pub(super) phone: String,
    pub(super) doses: Vec<DoseGiven>,
}

/// One dose.
#[derive(Default)]
pub(super) struct DoseGiven {
    pub(super) number: String,
    pub(super) date: String,
    pub(super) product: String,
    pub(super) facility: String,
    pub(super) facility_name: String,
    pub(super) managing_facility: String,
}

impl Person {
    /// Reads what there is; nothing of a record that is no CBOR.
    pub(super) fn read(record: &[u8]) -> Self {
        let record: Value = ciborium::from_reader(record).unwrap_or(Value::Null);
        let holder = member(&record, "holder").unwrap_or(&Value::Null);
        let doses = member(&record, "doses").and_then(Value::as_array);
        Self {
            full_name: text(holder, "full_name"),
            date_of_birth: day_first(&text(holder, "date_of_birth")),
            nationality: text(holder, "nationality"),
            national_id: text(holder, "national_id"),
            passport: text(holder, "passport"),
            phone: text(holder, "phone"),
            doses: doses.into_iter().flatten().map(DoseGiven::read).collect(),
        }
    }
}

impl DoseGiven {
    fn read(dose: &Value) -> Self {
        Self {
            number: text(dose, "number"),
            date: day_first(&text(dose, "date")),
            product: text(dose, "product"),
            facility: text(dose, "facility"),
            facility_name: text(dose, "facility_name"),
            managing_facility: text(dose, "managing_facility"),
        }
    }
}

/// Writes YYYY-MM-DD, YYYY-MM and YYYY as Viet Nam does; anything else stays as it is.
fn day_first(date: &str) -> String {
    let parts: Vec<&str> = date.split('-').collect();
    let digits =
        |part: &str, width| part.len() == width && part.bytes().all(|b| b.is_ascii_digit());
    match parts.as_slice() {
        [year, month, day] if digits(year, 4) && digits(month, 2) && digits(day, 2) => {
            format!("{day}/{month}/{year}")
        }
        [year, month] if digits(year, 4) && digits(month, 2) => format!("{month}/{year}"),
        _ => date.to_owned(),
    }
}

fn member<'a>(map: &'a Value, name: &str) -> Option<&'a Value> {
    let pairs = map.as_map()?;
    pairs.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
}

fn text(map: &Value, name: &str) -> String {
    match member(map, name) {
        Some(Value::Text(text)) => text.clone(),
        // A number where a text belongs: shown, since it is what has to be repaired.
        Some(Value::Integer(number)) => i128::from(*number).to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use ciborium::cbor;

    use super::*;
    use crate::ctl::records::model::tests::full_record;

    #[test]
    fn a_whole_record_is_read() {
        // Every member of the contract that the lists show arrives, dates with the day first.
        let person = Person::read(&full_record().encode().unwrap());
        assert_eq!(person.full_name, "Nguyễn Văn A");
        assert_eq!(person.date_of_birth, "20/10/1999");
        assert_eq!((&*person.nationality, &*person.national_id), ("VN", "001099456789"));
        assert_eq!((&*person.passport, &*person.phone), ("B1234567", "0912345678"));
        let [first, second] = person.doses.as_slice() else { panic!("two doses") };
        assert_eq!((&*first.number, &*first.date), ("1", "20/06/2021"));
        assert_eq!((&*first.product, &*first.facility), ("EU/1/20/1528", "79-TTYT-Q1"));
        assert_eq!((&*second.number, &*second.managing_facility), ("2", "79-SYT"));
    }

    #[test]
    fn a_damaged_record_shows_what_it_has() {
        // Unknown members, wrong types and a missing list of doses hide nothing of the rest.
        let record = cbor!({ "holder" => { "full_name" => "Lê B", "shoe_size" => 42,
            "national_id" => 123, "date_of_birth" => [1], "passport" => null }, "doses" => 7 });
        let mut bytes = Vec::new();
        ciborium::into_writer(&record.unwrap(), &mut bytes).unwrap();
        let person = Person::read(&bytes);
        assert_eq!((&*person.full_name, &*person.national_id), ("Lê B", "123"));
        assert_eq!((&*person.date_of_birth, &*person.passport), ("", ""));
        assert_eq!(person.doses.len(), 0);
        assert_eq!(Person::read(b"\xff\x00").full_name, "");
    }

    #[test]
    fn partial_dates_stay_partial() {
        // Month and year, a year alone, and what is no date.
        for (date, shown) in
            [("1999-10", "10/1999"), ("1999", "1999"), ("", ""), ("5-5-99", "5-5-99")]
        {
            assert_eq!(day_first(date), shown);
        }
    }
}
