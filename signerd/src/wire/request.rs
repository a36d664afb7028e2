//! The batch request of `api.cddl`, typed: who signs, what, and under which idempotency key.
//!
//! In goes a body that nobody trusts; out comes [`BatchRequest`], whose byte strings are borrowed from
//! the body, or the first fault. The encoded record and both statements inside an entry stay opaque:
//! they are judged one by one, and a fault there rejects that record alone.

use thiserror::Error;

use super::cbor::{GateError, Limits, Reader, Shape, gate};

/// The most records of a batch (R14), whatever an issuer's own limit is.
pub const RECORDS_MAX: u64 = 1_000;
/// The longest encoded record.
const RECORD_BYTES_MAX: usize = 8_192;
/// The longest identity statement.
const IDENTITY_STATEMENT_BYTES_MAX: usize = 2_048;
/// The longest facility signature; it may carry a certificate chain.
const FACILITY_SIGNATURE_BYTES_MAX: usize = 8_192;
/// The greatest dose number, and so the most doses that can be selected.
pub const DOSE_NUMBER_MAX: u64 = 9;

/// A batch to judge and sign.
#[derive(Debug)]
pub struct BatchRequest<'a> {
    /// Idempotency key of the client.
    pub batch_id: [u8; 16],
    /// Whose key signs.
    pub issuer: &'a str,
    /// The entries; empty where there are more than [`RECORDS_MAX`].
    pub records: Vec<RecordEntry<'a>>,
    /// How many entries the request has.
    pub record_count: u64,
    /// Whether one rejected record keeps the whole batch from being signed.
    pub atomic: bool,
}

/// One record with the evidence for it.
#[derive(Debug)]
pub struct RecordEntry<'a> {
    /// Encoding of one vaccination record: the bytes that both statements are about.
    pub record: &'a [u8],
    /// The doses to certify; absent: all of them.
    pub doses: Option<Vec<u8>>,
    /// Encoding of the population database's statement.
    pub identity_statement: Option<&'a [u8]>,
    /// Encoding of the facility's signature.
    pub facility_signature: Option<&'a [u8]>,
}

/// A body that is no batch request. To blame: the client. Sending it again does not help.
#[derive(Debug, Error)]
pub enum RequestError {
    /// The body is not deterministic CBOR.
    #[error(transparent)]
    Cbor(#[from] GateError),
    /// The body is CBOR, but not a batch request.
    #[error(transparent)]
    Shape(#[from] Shape),
}

/// Decodes a request body.
///
/// # Errors
/// The first fault, with its offset or its path.
pub fn decode(body: &[u8]) -> Result<BatchRequest<'_>, RequestError> {
    let mut reader = Reader::new(gate::check(body, &Limits::REQUEST)?);
    Ok(batch(&mut reader)?)
}

fn batch<'a>(reader: &mut Reader<'a>) -> Result<BatchRequest<'a>, Shape> {
    let (mut batch_id, mut issuer, mut records, mut atomic) = (None, None, None, false);
    for _ in 0..reader.map()? {
        match reader.text()? {
            "issuer" => issuer = Some(issuer_id(reader).map_err(|e| e.under("issuer"))?),
            "atomic" => atomic = reader.boolean().map_err(|e| e.under("atomic"))?,
            "records" => records = Some(entries(reader).map_err(|e| e.under("records"))?),
            "batch_id" => batch_id = Some(uuid(reader).map_err(|e| e.under("batch_id"))?),
            _ => return Err(Shape::unknown()),
        }
    }
    let (record_count, records) = records.ok_or_else(|| Shape::missing("records"))?;
    Ok(BatchRequest {
        batch_id: batch_id.ok_or_else(|| Shape::missing("batch_id"))?,
        issuer: issuer.ok_or_else(|| Shape::missing("issuer"))?,
        records,
        record_count,
        atomic,
    })
}

fn uuid(reader: &mut Reader<'_>) -> Result<[u8; 16], Shape> {
    reader.bytes()?.try_into().map_err(|_| Shape::new("expected 16 bytes"))
}

/// `[a-z0-9][a-z0-9-]{0,62}`
fn issuer_id<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Shape> {
    let id = reader.text()?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if id.len() <= 63 && id.starts_with(plain) && id.chars().all(|c| plain(c) || c == '-') {
        Ok(id)
    } else {
        Err(Shape::new("expected an issuer id: 1 to 63 of a-z, 0-9 and -, not starting with -"))
    }
}

/// Decodes the entries, or passes over them where there are too many: the limit is the answer then.
fn entries<'a>(reader: &mut Reader<'a>) -> Result<(u64, Vec<RecordEntry<'a>>), Shape> {
    let count = reader.array()?;
    if count == 0 {
        return Err(Shape::new("expected at least one record"));
    }
    let mut entries = Vec::new();
    for index in 0..count {
        if count > RECORDS_MAX {
            reader.item()?;
        } else {
            entries.push(entry(reader).map_err(|e| e.under(index))?);
        }
    }
    Ok((count, entries))
}

fn entry<'a>(reader: &mut Reader<'a>) -> Result<RecordEntry<'a>, Shape> {
    let (mut record, mut doses) = (None, None);
    let (mut identity_statement, mut facility_signature) = (None, None);
    for _ in 0..reader.map()? {
        let key = reader.text()?;
        let mut sized = |max| sized(reader, max).map_err(|e| e.under(key));
        match key {
            "record" => record = Some(sized(RECORD_BYTES_MAX)?),
            "identity_statement" => identity_statement = Some(sized(IDENTITY_STATEMENT_BYTES_MAX)?),
            "facility_signature" => facility_signature = Some(sized(FACILITY_SIGNATURE_BYTES_MAX)?),
            "doses" => doses = Some(selection(reader).map_err(|e| e.under(key))?),
            _ => return Err(Shape::unknown()),
        }
    }
    Ok(RecordEntry {
        record: record.ok_or_else(|| Shape::missing("record"))?,
        doses,
        identity_statement,
        facility_signature,
    })
}

fn sized<'a>(reader: &mut Reader<'a>, bytes_max: usize) -> Result<&'a [u8], Shape> {
    let bytes = reader.bytes()?;
    if (1..=bytes_max).contains(&bytes.len()) {
        Ok(bytes)
    } else {
        Err(Shape::new(format!("expected 1 to {bytes_max} bytes, got {}", bytes.len())))
    }
}

fn selection(reader: &mut Reader<'_>) -> Result<Vec<u8>, Shape> {
    let count = reader.array()?;
    if !(1..=DOSE_NUMBER_MAX).contains(&count) {
        return Err(Shape::new("expected 1 to 9 dose numbers"));
    }
    (0..count).map(|index| dose_number(reader).map_err(|e| e.under(index))).collect()
}

/// Reads a dose number, 1 to 9.
pub(super) fn dose_number(reader: &mut Reader<'_>) -> Result<u8, Shape> {
    let number = reader.unsigned()?;
    u8::try_from(number)
        .ok()
        .filter(|number| (1..=DOSE_NUMBER_MAX).contains(&u64::from(*number)))
        .ok_or_else(|| Shape::new("expected a dose number, 1 to 9"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request as annotated bytes; `records` is the encoding of that member.
    fn request(records: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xa3]; // map of 3
        bytes.extend(b"\x66issuer\x66vn-moh");
        bytes.extend(b"\x67records");
        bytes.extend(records);
        bytes.extend(b"\x68batch_id\x50");
        bytes.extend([7; 16]);
        bytes
    }

    fn path_of(error: RequestError) -> String {
        match error {
            RequestError::Shape(shape) => shape.path,
            RequestError::Cbor(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_request_is_read_without_copying() {
        // A well-formed request is read, its byte strings borrowed from the body.
        let body = request(b"\x81\xa2\x65doses\x81\x02\x66record\x43\x01\x02\x03");
        let batch = decode(&body).unwrap();
        assert_eq!((batch.issuer, batch.batch_id, batch.atomic), ("vn-moh", [7; 16], false));
        assert_eq!(batch.records[0].record, [1, 2, 3]);
        assert_eq!(batch.records[0].doses, Some(vec![2]));
    }

    #[test]
    fn faults_carry_their_path() {
        // A request of another shape is refused with the JSON Pointer to the fault.
        let cases: [(&[u8], &str); 6] = [
            (b"\x80", "/records"),
            (b"\x81\xa0", "/records/0/record"),
            (b"\x81\xa1\x66record\x40", "/records/0/record"),
            (b"\x82\xa1\x66record\x41\x00\xa1\x66record\x61a", "/records/1/record"),
            (b"\x81\xa2\x65doses\x81\x0a\x66record\x41\x00", "/records/0/doses/0"),
            (b"\x81\xa2\x66record\x41\x00\x67unknown\x00", "/records/0"),
        ];
        for (records, path) in cases {
            assert_eq!(path_of(decode(&request(records)).unwrap_err()), path);
        }
    }

    #[test]
    fn too_many_records_are_counted_not_decoded() {
        // 1,001 records are counted, so that the answer can name the limit, and not decoded.
        let records = [b"\x99\x03\xe9".to_vec(), vec![0x00; 1_001]].concat();
        let body = request(&records);
        let batch = decode(&body).unwrap();
        assert_eq!((batch.record_count, batch.records.len()), (1_001, 0));
    }
}
