//! The head of a CBOR data item: its major type and argument (RFC 8949 §3).
//!
//! Reads one head, in its shortest form only. Knows nothing of nesting.

use super::gate::{Fault, GateError};

/// The major types that the wire format uses, with their arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Major type 0: an unsigned integer.
    Unsigned(u64),
    /// Major type 1: the integer `-1 - n`.
    Negative(u64),
    /// Major type 2: a byte string of `n` bytes.
    Bytes(u64),
    /// Major type 3: a text string of `n` bytes.
    Text(u64),
    /// Major type 4: an array of `n` items.
    Array(u64),
    /// Major type 5: a map of `n` pairs.
    Map(u64),
    /// Major type 6: a tag.
    Tag(u64),
    /// Simple values 20 and 21.
    Bool(bool),
    /// Simple value 22: the payload that COSE leaves out.
    Null,
}

/// Reads the head at `at` and answers it with the position behind it.
pub(super) fn read(bytes: &[u8], at: usize) -> Result<(Head, usize), GateError> {
    let fault = |fault| GateError { offset: at, fault };
    let initial = *bytes.get(at).ok_or(fault(Fault::Truncated))?;
    let (major, info) = (initial >> 5, initial & 0x1f);
    if major == 7 {
        return Ok((simple(info).map_err(fault)?, at.saturating_add(1)));
    }
    let (argument, next) = argument(bytes, at, initial).map_err(fault)?;
    let head = match major {
        0 => Head::Unsigned(argument),
        1 => Head::Negative(argument),
        2 => Head::Bytes(argument),
        3 => Head::Text(argument),
        4 => Head::Array(argument),
        5 => Head::Map(argument),
        _ => Head::Tag(argument),
    };
    Ok((head, next))
}

fn simple(info: u8) -> Result<Head, Fault> {
    match info {
        20 => Ok(Head::Bool(false)),
        21 => Ok(Head::Bool(true)),
        22 => Ok(Head::Null),
        23 => Err(Fault::NullOrUndefined),
        25..=27 => Err(Fault::Float),
        31 => Err(Fault::Break),
        28..=30 => Err(Fault::Reserved),
        _ => Err(Fault::SimpleValue),
    }
}

/// Reads the argument behind the initial byte and refuses longer forms than needed.
fn argument(bytes: &[u8], at: usize, initial: u8) -> Result<(u64, usize), Fault> {
    let (major, info) = (initial >> 5, initial & 0x1f);
    let length: usize = match info {
        0..=23 => return Ok((u64::from(info), at.saturating_add(1))),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        // Integers and tags have no indefinite form.
        31 if (2..=5).contains(&major) => return Err(Fault::Indefinite),
        _ => return Err(Fault::Reserved),
    };
    let start = at.saturating_add(1);
    let end = start.saturating_add(length);
    let field = bytes.get(start..end).ok_or(Fault::Truncated)?;
    let value = field.iter().fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
    let shortest_floor: u64 = match length {
        1 => 24,
        2 => 1 << 8,
        4 => 1 << 16,
        _ => 1 << 32,
    };
    if value < shortest_floor {
        return Err(Fault::NotShortest);
    }
    Ok((value, end))
}
