//! Reading of gated bytes: a cursor that knows where it stands and what it expected.
//!
//! A [`Reader`] can only be made from [`Canonical`] bytes, so structure is beyond doubt and only types
//! and values can be wrong. Text and byte strings are borrowed. A [`Shape`] error carries the path of
//! the value as a JSON Pointer (RFC 6901), built from the inside out while the error travels up.

use thiserror::Error;

use super::gate::Canonical;
use super::head::{self, Head};

/// A value that has not the shape of `api.cddl`. To blame: who made the message; do not retry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{problem} at {path:?}")]
pub struct Shape {
    /// JSON Pointer to the value.
    pub path: String,
    /// What was expected there, and what stands there instead.
    pub problem: String,
}

impl Shape {
    /// A fault of the value itself; callers above prepend their part of the path.
    pub fn new(problem: impl Into<String>) -> Self {
        Self { path: String::new(), problem: problem.into() }
    }

    /// The same fault, seen from the container that holds the value under `key`.
    #[must_use]
    pub fn under(mut self, key: impl std::fmt::Display) -> Self {
        self.path = format!("/{key}{}", self.path);
        self
    }

    /// A member that must be there and is not.
    pub fn missing(key: &str) -> Self {
        Self::new("member is missing").under(key)
    }

    /// A member that nobody knows. The name is not repeated: it is the client's, and may be anything.
    pub fn unknown() -> Self {
        Self::new("has a member that the contract does not know")
    }
}

/// A cursor over gated bytes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of the item.
    pub fn new(canonical: Canonical<'a>) -> Self {
        Self { bytes: canonical.bytes(), at: 0 }
    }

    /// Reads the head of a map and answers its number of pairs.
    ///
    /// # Errors
    /// Another type stands here.
    pub fn map(&mut self) -> Result<u64, Shape> {
        match self.head()? {
            Head::Map(pairs) => Ok(pairs),
            other => Err(expected("a map", other)),
        }
    }

    /// Reads the head of an array and answers its number of items.
    ///
    /// # Errors
    /// Another type stands here.
    pub fn array(&mut self) -> Result<u64, Shape> {
        match self.head()? {
            Head::Array(items) => Ok(items),
            other => Err(expected("an array", other)),
        }
    }

    /// Reads a tag; its item follows.
    ///
    /// # Errors
    /// Another type stands here.
    pub fn tag(&mut self) -> Result<u64, Shape> {
        match self.head()? {
            Head::Tag(tag) => Ok(tag),
            other => Err(expected("a tag", other)),
        }
    }

    /// Reads a text string.
    ///
    /// # Errors
    /// Another type stands here.
    pub fn text(&mut self) -> Result<&'a str, Shape> {
        match self.head()? {
            Head::Text(length) => {
                std::str::from_utf8(self.take(length)?).map_err(|_| Shape::new("not UTF-8"))
            }
            other => Err(expected("text", other)),
        }
    }

    /// Reads a byte string.
    ///
    /// # Errors
    /// Another type stands here.
    pub fn bytes(&mut self) -> Result<&'a [u8], Shape> {
        match self.head()? {
            Head::Bytes(length) => self.take(length),
            other => Err(expected("a byte string", other)),
        }
    }

    /// Reads an unsigned integer.
    ///
    /// # Errors
    /// Another type stands here.
    pub fn unsigned(&mut self) -> Result<u64, Shape> {
        match self.head()? {
            Head::Unsigned(value) => Ok(value),
            other => Err(expected("an unsigned integer", other)),
        }
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// Another type stands here.
    pub fn boolean(&mut self) -> Result<bool, Shape> {
        match self.head()? {
            Head::Bool(value) => Ok(value),
            other => Err(expected("true or false", other)),
        }
    }

    /// Passes over one whole item and answers its bytes as they stand.
    ///
    /// # Errors
    /// None on gated bytes: the item is known to be complete.
    pub fn item(&mut self) -> Result<&'a [u8], Shape> {
        let start = self.at;
        let mut pending = 1u64;
        while pending > 0 {
            pending = pending.saturating_sub(1).saturating_add(match self.head()? {
                Head::Bytes(length) | Head::Text(length) => {
                    self.take(length)?;
                    0
                }
                Head::Array(items) => items,
                Head::Map(pairs) => pairs.saturating_mul(2),
                Head::Tag(_) => 1,
                Head::Unsigned(_) | Head::Negative(_) | Head::Bool(_) | Head::Null => 0,
            });
        }
        self.bytes.get(start..self.at).ok_or_else(truncated)
    }

    fn head(&mut self) -> Result<Head, Shape> {
        let (head, next) = head::read(self.bytes, self.at).map_err(|_| truncated())?;
        self.at = next;
        Ok(head)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Shape> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let content = end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(truncated)?;
        self.at = end.ok_or_else(truncated)?;
        Ok(content)
    }
}

/// Cannot happen behind the gate; an error all the same, because nothing on this path may panic.
fn truncated() -> Shape {
    Shape::new("unexpected end")
}

fn expected(wanted: &str, got: Head) -> Shape {
    let got = match got {
        Head::Unsigned(_) | Head::Negative(_) => "an integer",
        Head::Bytes(_) => "a byte string",
        Head::Text(_) => "text",
        Head::Array(_) => "an array",
        Head::Map(_) => "a map",
        Head::Tag(_) => "a tag",
        Head::Bool(_) => "a boolean",
        Head::Null => "null",
    };
    Shape::new(format!("expected {wanted}, got {got}"))
}
