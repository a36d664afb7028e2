//! Gated bytes as a tree, read by the product's own reader; and JSON Pointers into it.

use ciborium::Value;
use ciborium::value::Integer;
use signerd::wire::cbor::{Canonical, Reader, Shape, write};

/// Reads an item by trying every method of the reader, so that all of them are tried.
pub fn tree(canonical: Canonical<'_>) -> Value {
    let mut reader = Reader::new(canonical);
    let value = item(&mut reader);
    assert!(reader.item().is_err(), "the reader stands behind the only item");
    value
}

/// Encodes a tree by the writer of our answers.
pub fn encode(value: &Value) -> Vec<u8> {
    let encoded = write::to_vec(value);
    assert!(encoded.is_ok(), "a tree can be encoded");
    encoded.unwrap_or_default()
}

/// Decodes by an implementation that is not ours; lenient, therefore `None` only for what is no CBOR.
pub fn lenient(bytes: &[u8]) -> Option<Value> {
    ciborium::from_reader(bytes).ok()
}

/// The member of a map under a text key.
pub fn member<'v>(map: &'v Value, name: &str) -> Option<&'v Value> {
    map.as_map()?.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
}

/// Whether a JSON Pointer leads to a place of the tree; the last step may lead to a member that is
/// missing, since that may be the fault.
pub fn leads_somewhere(pointer: &str, mut value: &Value) -> bool {
    let mut steps = pointer.split('/');
    if steps.next() != Some("") {
        return false;
    }
    let mut steps = steps.peekable();
    while let Some(step) = steps.next() {
        let next = match value {
            Value::Array(items) => step.parse().ok().and_then(|index: usize| items.get(index)),
            Value::Map(_) => member(value, step),
            _ => return false,
        };
        match next {
            Some(next) => value = next,
            None => return value.is_map() && steps.peek().is_none(),
        }
    }
    true
}

fn item(reader: &mut Reader<'_>) -> Value {
    // Depth is bounded by the gate.
    if let Some(pairs) = attempt(reader, Reader::map) {
        return Value::Map((0..pairs).map(|_| (item(reader), item(reader))).collect());
    }
    if let Some(items) = attempt(reader, Reader::array) {
        return Value::Array((0..items).map(|_| item(reader)).collect());
    }
    if let Some(tag) = attempt(reader, Reader::tag) {
        return Value::Tag(tag, Box::new(item(reader)));
    }
    attempt(reader, Reader::text)
        .map(Value::from)
        .or_else(|| attempt(reader, Reader::bytes).map(Value::from))
        .or_else(|| attempt(reader, Reader::unsigned).map(Value::from))
        .or_else(|| attempt(reader, Reader::boolean).map(Value::from))
        .unwrap_or_else(|| without_method(reader))
}

/// Reads where the right type stands, and stays where another does.
fn attempt<'a, T>(
    reader: &mut Reader<'a>,
    read: impl Fn(&mut Reader<'a>) -> Result<T, Shape>,
) -> Option<T> {
    let mut ahead = reader.clone();
    let value = read(&mut ahead).ok()?;
    *reader = ahead;
    Some(value)
}

/// Null and the negative integers: our messages have none that the reader would have to read.
fn without_method(reader: &mut Reader<'_>) -> Value {
    let bytes = reader.item();
    assert!(bytes.is_ok(), "gated bytes can be passed over: {bytes:?}");
    match bytes.unwrap_or_default() {
        [0xf6] => Value::Null,
        [initial @ 0x20..=0x37] => negative(u64::from(initial - 0x20)),
        [0x38..=0x3b, argument @ ..] => {
            negative(argument.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
        }
        other => unreachable!("the reader has a method for {other:02x?}"),
    }
}

fn negative(argument: u64) -> Value {
    let number = Integer::try_from(-1 - i128::from(argument));
    assert!(number.is_ok(), "CBOR has this number");
    number.map_or(Value::Null, Value::Integer)
}
