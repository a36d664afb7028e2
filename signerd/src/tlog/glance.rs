//! What an entry is about, found without decoding all of it: for searches over millions of them.
//!
//! In go the bytes of an entry, out come the members that are searched by, as they stand there. A glance
//! believes nothing that it does not need; what it finds is decoded by [`super::fact`] before it is shown.

/// The members that entries are searched by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Glance<'a> {
    /// Seconds since 1970.
    pub at: i64,
    /// What happened.
    pub event: &'a str,
    /// The number of the `batch.intended` that it belongs to.
    pub batch: Option<u64>,
    /// The client's id of a batch.
    pub batch_id: Option<&'a [u8]>,
    /// The random part of a certificate's identifier.
    pub uvci: Option<&'a [u8]>,
    /// Who asked.
    pub client: Option<&'a str>,
    /// For whom.
    pub issuer: Option<&'a str>,
}

/// One item of CBOR, as far as a glance goes.
enum Item<'a> {
    Number(i64),
    Bytes(&'a [u8]),
    Text(&'a str),
    Other,
}

impl<'a> Glance<'a> {
    /// Looks at an entry; none: it is not a map of members with a time and an event.
    #[must_use]
    pub fn at(entry: &'a [u8]) -> Option<Self> {
        let mut rest = entry;
        let (major, members) = head(&mut rest)?;
        if major != MAP {
            return None;
        }
        let mut found = Self::default();
        let mut has_time = false;
        for _ in 0..members {
            let Item::Text(name) = item(&mut rest)? else { return None };
            match (name, item(&mut rest)?) {
                ("at", Item::Number(at)) => (found.at, has_time) = (at, true),
                ("event", Item::Text(event)) => found.event = event,
                ("batch", Item::Number(batch)) => found.batch = u64::try_from(batch).ok(),
                ("batch_id", Item::Bytes(id)) => found.batch_id = Some(id),
                ("uvci", Item::Bytes(uvci)) => found.uvci = Some(uvci),
                ("client", Item::Text(client)) => found.client = Some(client),
                ("issuer", Item::Text(issuer)) => found.issuer = Some(issuer),
                _ => {}
            }
        }
        (has_time && !found.event.is_empty() && rest.is_empty()).then_some(found)
    }
}

/// Major types of RFC 8949 §3.1.
const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

/// Takes the head of an item: major type and argument.
fn head(rest: &mut &[u8]) -> Option<(u8, u64)> {
    let (first, after) = rest.split_first()?;
    let (major, short) = (first >> 5, first & 0x1f);
    *rest = after;
    let length = match short {
        0..24 => return Some((major, short.into())),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return None,
    };
    let (argument, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some((major, argument.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))))
}

/// Takes an item; what is inside arrays and maps is passed over.
fn item<'a>(rest: &mut &'a [u8]) -> Option<Item<'a>> {
    let (mut open, mut outer) = (1_u64, None);
    while open > 0 {
        open = open.saturating_sub(1);
        let (major, argument) = head(rest)?;
        let found = match major {
            UNSIGNED => Item::Number(i64::try_from(argument).ok()?),
            NEGATIVE => Item::Number(-1_i64 - i64::try_from(argument).ok()?),
            BYTES => Item::Bytes(taken(rest, argument)?),
            TEXT => Item::Text(std::str::from_utf8(taken(rest, argument)?).ok()?),
            ARRAY => {
                open = open.checked_add(argument)?;
                Item::Other
            }
            MAP => {
                open = open.checked_add(argument.checked_mul(2)?)?;
                Item::Other
            }
            _ => Item::Other,
        };
        outer.get_or_insert(found);
    }
    outer
}

fn taken<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (bytes, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::Glance;
    use crate::tlog::fact::{BatchIntended, Certificate, Entry, Fact};

    #[test]
    fn a_glance_sees_what_is_searched_by() {
        // Time, event, batch, identifiers, client and issuer are found wherever they stand.
        let certificate = Certificate {
            batch: 70_000,
            uvci: [7; 16],
            kid: [8; 8],
            iat: 9,
            exp: 10,
            sha256: [1; 32],
        };
        let entry =
            Entry { at: 1_800_000_000, fact: Fact::CertificateSigned(certificate) }.encode();
        let seen = Glance::at(&entry).unwrap();
        assert_eq!((seen.at, seen.event), (1_800_000_000, "certificate.signed"));
        assert_eq!((seen.batch, seen.uvci), (Some(70_000), Some([7; 16].as_slice())));

        let intended = BatchIntended {
            client: "moh-issuing".to_owned(),
            batch_id: [3; 16],
            request: [4; 32],
            issuer: "vn-moh".to_owned(),
            kid: [5; 8],
            assurance: "statement".to_owned(),
            certificates: 300,
            rejected: vec![("dose.repeated".to_owned(), 2), ("record.invalid".to_owned(), 1)],
        };
        let entry = Entry { at: -5, fact: Fact::BatchIntended(Box::new(intended)) }.encode();
        let seen = Glance::at(&entry).unwrap();
        assert_eq!((seen.at, seen.batch), (-5, None));
        assert_eq!(seen.batch_id, Some([3; 16].as_slice()));
        assert_eq!((seen.client, seen.issuer), (Some("moh-issuing"), Some("vn-moh")));
    }

    #[test]
    fn what_is_no_entry_is_not_seen() {
        // Cut bytes, other items and lengths beyond the end give nothing.
        let entry = Entry { at: 1, fact: Fact::RulesLoaded { config: [0; 32] } }.encode();
        assert!(Glance::at(&entry).is_some());
        for end in 0..entry.len() {
            assert_eq!(Glance::at(&entry[..end]), None, "{end}");
        }
        assert_eq!(Glance::at(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(Glance::at(b"\xa1\x62at\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(Glance::at(&[&entry[..], &[0]].concat()), None);
    }
}
