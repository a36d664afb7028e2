//! The gate against `cbor-core`, a strict decoder that shares no code with it.
//!
//! Three inputs come of one: the bytes as they are, an item that is built along them and is close to
//! deterministic CBOR (random bytes hardly ever are), and that item with one byte changed. On each, both
//! must say yes or both no, but for the differences that `refusal` names: there the gate must refuse,
//! and for exactly that reason.

use cbor_core::{DecodeOptions, Value};
use signerd::wire::cbor::Limits;
use signerd::wire::cbor::gate::{self, DEPTH_MAX, Fault, Null};

use crate::gate::ALL_LIMITS;

/// Beside the product's limits, some that small inputs reach.
const NARROW: Limits = Limits { depth: 3, items: 12, outer_tag: None, null: Null::Allowed };
/// The oracle reserves memory by the lengths it is told; this bounds it.
const RESERVED_BYTES_MAX: usize = 64 * 1024;

/// Takes any bytes.
pub fn check(data: &[u8]) {
    compare(data);
    let (mut built, rest) = build(data);
    compare(&built);
    if let [place, replacement, ..] = *rest {
        let place = usize::from(place) % built.len().max(1);
        if let Some(byte) = built.get_mut(place) {
            *byte = replacement;
        }
        compare(&built);
    }
}

fn compare(bytes: &[u8]) {
    let options = DecodeOptions::new().oom_mitigation(RESERVED_BYTES_MAX);
    let oracle = options.decode(bytes);
    for limits in ALL_LIMITS.iter().chain([&NARROW]) {
        let ours = gate::check(bytes, limits).map(|_| ()).map_err(|error| error.fault);
        match &oracle {
            Ok(value) => {
                let expected = Walk { limits, items: 0, depth: 0 }.item(value, Place::Outermost);
                assert_eq!(ours, expected, "{bytes:02x?} with {limits:?}");
            }
            Err(error) => {
                assert!(ours.is_err(), "the oracle refuses {bytes:02x?}: {error}");
            }
        }
    }
}

/// The legitimate differences: what the oracle accepts and our profile does not, in the order of the
/// bytes, so that the first one is the gate's fault.
struct Walk<'l> {
    limits: &'l Limits,
    items: usize,
    depth: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Outermost,
    Inside,
}

impl Walk<'_> {
    fn item(&mut self, value: &Value<'_>, place: Place) -> Result<(), Fault> {
        // Limits of the product, which the oracle does not know.
        self.items += 1;
        if self.items > self.limits.items {
            return Err(Fault::TooManyItems);
        }
        if let Some(fault) = refusal(value, place, self.limits) {
            return Err(fault);
        }
        match value {
            Value::Array(members) => self.inside(|walk| {
                members.iter().try_for_each(|member| walk.item(member, Place::Inside))
            }),
            Value::Map(pairs) => self.inside(|walk| {
                pairs.iter().try_for_each(|(key, value)| {
                    key_refusal(key, walk.limits).map_or(Ok(()), Err)?;
                    walk.item(key, Place::Inside)?;
                    walk.item(value, Place::Inside)
                })
            }),
            Value::Tag(_, content) => self.inside(|walk| walk.item(content, Place::Inside)),
            _ => Ok(()),
        }
    }

    fn inside(&mut self, walk: impl FnOnce(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        if self.depth >= self.limits.depth.min(DEPTH_MAX) {
            return Err(Fault::TooDeep);
        }
        self.depth += 1;
        let result = walk(self);
        self.depth -= 1;
        result
    }
}

/// What no item of our profile may be, although it is deterministic.
fn refusal(value: &Value<'_>, place: Place, limits: &Limits) -> Option<Fault> {
    match value {
        // Certificates and requests have no fractions.
        Value::Float(_) => Some(Fault::Float),
        // One tag, outermost; big integers, dates and all others are refused.
        Value::Tag(tag, _) => {
            let allowed = place == Place::Outermost && limits.outer_tag == Some(*tag);
            (!allowed).then_some(Fault::Tag)
        }
        Value::SimpleValue(simple) => match simple.to_u8() {
            20 | 21 => None,
            22 if limits.null == Null::Allowed => None,
            22 | 23 => Some(Fault::NullOrUndefined),
            _ => Some(Fault::SimpleValue),
        },
        _ => None,
    }
}

/// Keys are integers and strings alone.
fn key_refusal(key: &Value<'_>, limits: &Limits) -> Option<Fault> {
    match key {
        Value::SimpleValue(simple) if (20..=22).contains(&simple.to_u8()) => Some(Fault::KeyType),
        Value::Array(_) | Value::Map(_) | Value::Tag(..) => Some(Fault::KeyType),
        other => refusal(other, Place::Inside, limits),
    }
}

/// How deep a built item may nest: beyond every limit.
const BUILT_DEPTH_MAX: usize = 20;

/// Builds an item along `data` and answers it with the bytes that were not used.
fn build(data: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut plan = Plan(data);
    let item = plan.item(0);
    (item, plan.0)
}

struct Plan<'a>(&'a [u8]);

impl Plan<'_> {
    /// The next byte; zeros, which build the shortest items, when they are used up.
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn take(&mut self, count: u8) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    fn item(&mut self, depth: usize) -> Vec<u8> {
        let choice = self.byte();
        let (kind, size) = (choice % 16, choice / 16);
        match kind {
            0 | 1 => head(0x00, self.number(size)),
            2 | 3 => head(0x20, self.number(size)),
            4 => [head(0x40, u64::from(size)), self.take(size)].concat(),
            5 | 6 => {
                let text: String = (0..size).map(|_| letter(self.byte())).collect();
                [head(0x60, u64::try_from(text.len()).unwrap_or(0)), text.into_bytes()].concat()
            }
            7 | 8 if depth < BUILT_DEPTH_MAX => {
                let members = (0..size % 8).map(|_| self.item(depth + 1));
                [head(0x80, u64::from(size % 8)), members.collect::<Vec<_>>().concat()].concat()
            }
            9..=11 if depth < BUILT_DEPTH_MAX => self.map(size, depth),
            12 => vec![0xe0 | (self.byte() % 32)],
            13 => [vec![0xf9], self.take(2)].concat(),
            14 if depth < BUILT_DEPTH_MAX => {
                let tag = if size < 8 { 18 } else { self.number(size) };
                [head(0xc0, tag), self.item(depth + 1)].concat()
            }
            // Anything: heads that are too long, indefinite lengths, breaks, reserved values.
            15 => self.take(size % 4 + 1),
            _ => vec![0x00],
        }
    }

    /// A map whose keys are in order and differ, as a rule.
    fn map(&mut self, size: u8, depth: usize) -> Vec<u8> {
        let pairs = (0..size % 8).map(|_| (self.item(depth + 1), self.item(depth + 1)));
        let mut pairs: Vec<_> = pairs.collect();
        if size < 14 {
            pairs.sort();
            pairs.dedup_by(|one, other| one.0 == other.0);
        }
        let count = u64::try_from(pairs.len()).unwrap_or(0);
        let body: Vec<u8> =
            pairs.into_iter().flat_map(|(key, value)| [key, value].concat()).collect();
        [head(0xa0, count), body].concat()
    }

    /// A number of one of the five sizes of an argument.
    fn number(&mut self, size: u8) -> u64 {
        let bytes = self.take([1, 1, 2, 4, 8].get(usize::from(size % 5)).copied().unwrap_or(1));
        bytes.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))
    }
}

/// A head in its shortest form.
fn head(major: u8, argument: u64) -> Vec<u8> {
    let bytes = argument.to_be_bytes();
    let (info, from) = match argument {
        0..=23 => (bytes.last().copied().unwrap_or(0), 8),
        24..=0xff => (24, 7),
        0x100..=0xffff => (25, 6),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 0),
    };
    [&[major | info], bytes.get(from..).unwrap_or_default()].concat()
}

/// Letters of one to four bytes.
fn letter(byte: u8) -> char {
    match byte % 16 {
        0 => 'ễ',
        1 => 'Đ',
        2 => '\u{301}',
        3 => '💉',
        4 => '\0',
        _ => char::from(b'a' + byte % 26),
    }
}
