//! Bundles of entries: up to 256 of them, each behind its length in two bytes, big endian
//! (`c2sp.org/tlog-tiles`).
//!
//! In go entries, out come the bytes of a file, and back. What an entry says is for [`super::fact`].

use thiserror::Error;

/// Bytes of a length.
const LENGTH_BYTES: usize = 2;

/// Why bytes are no bundle. To blame: whoever wrote or changed them. Do not retry.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
pub enum NotABundle {
    /// The last entry, or its length, is cut off.
    #[error("it ends in the middle of its entry {0}")]
    Cut(usize),
    /// More or fewer entries than the bundle's place in the log has.
    #[error("it holds {found} entries instead of {expected}")]
    Count {
        /// How many there are.
        found: usize,
        /// How many there must be.
        expected: usize,
    },
}

/// Writes a bundle; none: an entry is longer than its length can say.
#[must_use]
pub fn encode<E: AsRef<[u8]>>(entries: &[E]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for entry in entries.iter().map(AsRef::as_ref) {
        bytes.extend_from_slice(&u16::try_from(entry.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Some(bytes)
}

/// Reads a bundle of so many entries.
///
/// # Errors
/// [`NotABundle`].
pub fn decode(bytes: &[u8], expected: usize) -> Result<Vec<&[u8]>, NotABundle> {
    let mut entries = Vec::with_capacity(expected);
    let mut rest = bytes;
    while !rest.is_empty() {
        let cut = NotABundle::Cut(entries.len());
        let (length, after) = rest.split_first_chunk::<LENGTH_BYTES>().ok_or(cut)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, after) = after.split_at_checked(length).ok_or(cut)?;
        entries.push(entry);
        rest = after;
    }
    let found = entries.len();
    if found == expected { Ok(entries) } else { Err(NotABundle::Count { found, expected }) }
}

#[cfg(test)]
mod tests {
    use super::{NotABundle, decode, encode};

    #[test]
    fn a_bundle_has_lengths() {
        // Every entry stands behind its length in two bytes.
        assert_eq!(encode(&[vec![7; 2], vec![]]), Some(vec![0, 2, 7, 7, 0, 0]));
        assert_eq!(encode(&[vec![0; 65_536]]), None);
        assert_eq!(decode(&[0, 2, 7, 7, 0, 0], 2), Ok(vec![[7, 7].as_slice(), &[]]));
    }

    #[test]
    fn a_spoilt_bundle_is_told() {
        // Bytes that end in an entry, and entries too many or too few, are no bundle.
        assert_eq!(decode(&[0, 2, 7], 1), Err(NotABundle::Cut(0)));
        assert_eq!(decode(&[0, 0, 0], 2), Err(NotABundle::Cut(1)));
        assert_eq!(decode(&[0, 0], 2), Err(NotABundle::Count { found: 1, expected: 2 }));
        assert_eq!(decode(&[], 0), Ok(Vec::new()));
    }
}
