//! The gate: decides whether bytes are deterministic CBOR of our profile, and where they are not.
//!
//! In go untrusted bytes and limits; out comes [`Canonical`], a proof that the bytes are exactly one
//! data item, in the core deterministic encoding of RFC 8949 §4.2.1, without floats, undefined or other
//! simple values, without null but where it is allowed, and with no tag but those allowed; or the first fault with its offset.
//!
//! It walks with an explicit stack of bounded depth and allocates nothing per item, so that no input
//! can exhaust the stack or the memory. Map keys must be integers or strings: the formats that pass
//! here have no others. It does not know what the items mean; [`super::reader`] does.

use std::ops::Range;

use thiserror::Error;

use super::head::{self, Head};

/// How much of a structure the gate accepts.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The deepest nesting of arrays, maps and tags; at most [`DEPTH_MAX`].
    pub depth: usize,
    /// The greatest number of data items, keys included.
    pub items: usize,
    /// The one tag that may stand at the outermost place, and nowhere else.
    pub outer_tag: Option<u64>,
    /// Whether null may occur.
    pub null: Null,
}

/// Whether null may occur. Our own messages leave absent members out; COSE writes null for a detached
/// payload (RFC 9052 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Null {
    /// It may.
    Allowed,
    /// It is a fault.
    Refused,
}

/// How deep can any message nest? The batch request needs four levels; the rest is head-room.
pub const DEPTH_MAX: usize = 16;

impl Limits {
    /// A batch request. Its items are bounded by the size of the body: the gate keeps nothing per item,
    /// and a body with too many records must be told so, not called malformed.
    pub const REQUEST: Self =
        Self { depth: 8, items: 64 * 1024 * 1024, outer_tag: None, null: Null::Refused };
    /// One vaccination record: nine doses of eight members need about 170 items.
    pub const RECORD: Self = Self { depth: 8, items: 512, outer_tag: None, null: Null::Refused };
    /// A COSE_Sign1 with the tag 18 of RFC 9052 §4.2.
    pub const COSE: Self = Self { depth: 8, items: 64, outer_tag: Some(18), null: Null::Allowed };
    /// A COSE header map or the claims of a statement.
    pub const SMALL_MAP: Self = Self { depth: 4, items: 64, outer_tag: None, null: Null::Refused };
}

/// Bytes that passed the gate: one item, deterministic, within the limits.
#[derive(Clone, Copy, Debug)]
pub struct Canonical<'a>(&'a [u8]);

impl<'a> Canonical<'a> {
    /// The bytes that were checked.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }
}

/// The first fault of a message and the offset of the item that has it. To blame: who made the bytes.
/// Sending the same bytes again does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{fault} at byte {offset}")]
pub struct GateError {
    /// Offset of the faulty data item, from the first byte of the message.
    pub offset: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What can be wrong with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// A break where no indefinite-length item is open.
    #[error("break without an item of indefinite length")]
    Break,
    /// A key occurs twice in its map.
    #[error("duplicate map key")]
    DuplicateKey,
    /// A floating-point number; the format has none.
    #[error("floating-point number")]
    Float,
    /// An indefinite-length item.
    #[error("indefinite length")]
    Indefinite,
    /// A map key that is neither an integer nor a string.
    #[error("map key that is neither an integer nor a string")]
    KeyType,
    /// An argument in a longer form than its value needs.
    #[error("argument not in its shortest form")]
    NotShortest,
    /// Null or undefined; absent members are left out instead.
    #[error("null or undefined")]
    NullOrUndefined,
    /// An additional-information value that the major type does not have (28 to 30; 31 of integers and tags).
    #[error("reserved additional information")]
    Reserved,
    /// Another simple value than true and false.
    #[error("simple value")]
    SimpleValue,
    /// A tag that is not expected here.
    #[error("unexpected tag")]
    Tag,
    /// Nesting deeper than the limit.
    #[error("nesting too deep")]
    TooDeep,
    /// More items than the limit.
    #[error("too many items")]
    TooManyItems,
    /// Bytes behind the item.
    #[error("bytes after the end of the item")]
    Trailing,
    /// The bytes end inside an item.
    #[error("unexpected end of input")]
    Truncated,
    /// Keys that are not in the bytewise order of their encodings.
    #[error("map keys not in bytewise order")]
    Unsorted,
    /// A text string that is not UTF-8.
    #[error("text that is not UTF-8")]
    Utf8,
}

impl Fault {
    /// Whether the bytes are well-formed CBOR, but not of the deterministic profile.
    pub fn is_profile_fault(self) -> bool {
        matches!(
            self,
            Self::DuplicateKey
                | Self::Float
                | Self::Indefinite
                | Self::KeyType
                | Self::NotShortest
                | Self::NullOrUndefined
                | Self::SimpleValue
                | Self::Tag
                | Self::Unsorted
        )
    }
}

/// Checks that `bytes` is one deterministic data item within `limits`.
///
/// # Errors
/// The first fault, with the offset of the item that has it.
pub fn check<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Canonical<'a>, GateError> {
    let mut walk = Walk { bytes, limits, at: 0, items: 0, open: Vec::with_capacity(DEPTH_MAX) };
    walk.item()?;
    while let Some(level) = walk.next_level()? {
        walk.member(level)?;
    }
    if walk.at != bytes.len() {
        return Err(GateError { offset: walk.at, fault: Fault::Trailing });
    }
    Ok(Canonical(bytes))
}

struct Walk<'a, 'l> {
    bytes: &'a [u8],
    limits: &'l Limits,
    at: usize,
    items: usize,
    open: Vec<Level>,
}

/// An array, map or tag whose members are still to come.
#[derive(Clone)]
struct Level {
    remaining: u64,
    /// For a map: whether the next item is a key, and the key before it.
    keys: Option<Keys>,
}

#[derive(Clone)]
struct Keys {
    expected: bool,
    previous: Option<Range<usize>>,
}

impl Walk<'_, '_> {
    /// Takes the innermost level that still has members off the stack, closing those that have none.
    fn next_level(&mut self) -> Result<Option<Level>, GateError> {
        while let Some(level) = self.open.pop() {
            if level.remaining > 0 {
                return Ok(Some(level));
            }
        }
        Ok(None)
    }

    /// Reads the next member of `level`, which goes back on the stack below what the member opens.
    fn member(&mut self, mut level: Level) -> Result<(), GateError> {
        level.remaining = level.remaining.saturating_sub(1);
        match &mut level.keys {
            Some(keys) if keys.expected => {
                let key = self.key()?;
                self.in_order(keys.previous.take(), &key)?;
                keys.previous = Some(key);
                keys.expected = false;
                self.open.push(level);
                Ok(())
            }
            Some(keys) => {
                keys.expected = true;
                self.open.push(level);
                self.item()
            }
            None => {
                self.open.push(level);
                self.item()
            }
        }
    }

    fn key(&mut self) -> Result<Range<usize>, GateError> {
        let start = self.at;
        match head::read(self.bytes, start)?.0 {
            Head::Unsigned(_) | Head::Negative(_) | Head::Bytes(_) | Head::Text(_) => {
                self.item()?;
            }
            Head::Array(_) | Head::Map(_) | Head::Tag(_) | Head::Bool(_) | Head::Null => {
                return Err(GateError { offset: start, fault: Fault::KeyType });
            }
        }
        Ok(start..self.at)
    }

    fn in_order(&self, before: Option<Range<usize>>, key: &Range<usize>) -> Result<(), GateError> {
        let Some(before) = before else { return Ok(()) };
        let fault = match self.bytes.get(before).cmp(&self.bytes.get(key.clone())) {
            std::cmp::Ordering::Less => return Ok(()),
            std::cmp::Ordering::Equal => Fault::DuplicateKey,
            std::cmp::Ordering::Greater => Fault::Unsorted,
        };
        Err(GateError { offset: key.start, fault })
    }

    /// Reads one item: a leaf whole, of an array, map or tag the head.
    fn item(&mut self) -> Result<(), GateError> {
        let offset = self.at;
        let fault = |fault| GateError { offset, fault };
        self.items = self.items.saturating_add(1);
        if self.items > self.limits.items {
            return Err(fault(Fault::TooManyItems));
        }
        let (head, next) = head::read(self.bytes, offset)?;
        self.at = next;
        match head {
            Head::Unsigned(_) | Head::Negative(_) | Head::Bool(_) => Ok(()),
            Head::Null if self.limits.null == Null::Allowed => Ok(()),
            Head::Null => Err(fault(Fault::NullOrUndefined)),
            Head::Bytes(length) => self.string(length).map(|_| ()).map_err(fault),
            Head::Text(length) => {
                let text = self.string(length).map_err(fault)?;
                std::str::from_utf8(text).map(|_| ()).map_err(|_| fault(Fault::Utf8))
            }
            Head::Array(count) => self.enter(count, None).map_err(fault),
            Head::Map(pairs) => {
                let keys = Keys { expected: true, previous: None };
                let members = pairs.checked_mul(2).ok_or(fault(Fault::Truncated))?;
                self.enter(members, Some(keys)).map_err(fault)
            }
            Head::Tag(tag) if offset == 0 && self.limits.outer_tag == Some(tag) => {
                self.enter(1, None).map_err(fault)
            }
            Head::Tag(_) => Err(fault(Fault::Tag)),
        }
    }

    fn string(&mut self, length: u64) -> Result<&[u8], Fault> {
        let length = usize::try_from(length).map_err(|_| Fault::Truncated)?;
        let end = self.at.checked_add(length).ok_or(Fault::Truncated)?;
        let content = self.bytes.get(self.at..end).ok_or(Fault::Truncated)?;
        self.at = end;
        Ok(content)
    }

    fn enter(&mut self, remaining: u64, keys: Option<Keys>) -> Result<(), Fault> {
        if self.open.len() >= self.limits.depth.min(DEPTH_MAX) {
            return Err(Fault::TooDeep);
        }
        self.open.push(Level { remaining, keys });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
