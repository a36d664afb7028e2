//! Messages with one thing wrong, in every place.
//!
//! Each change makes a message that the description must not allow: a member gone that is not optional, a
//! member too many, another type, a number below its range, a string of another length, a word that is
//! none of those listed.

use ciborium::Value;

/// A message with one thing wrong.
pub(super) struct Spoiled {
    /// Where and what, for people.
    pub(super) how: String,
    pub(super) value: Value,
    /// Whether only a description that lists codes and patterns can tell.
    pub(super) is_subtle: bool,
}

/// Members that may be absent.
const OPTIONAL: [&str; 16] = [
    "atomic",
    "doses",
    "identity_statement",
    "facility_signature",
    "surname",
    "national_id",
    "passport",
    "phone",
    "facility_name",
    "managing_facility",
    "path",
    "offset",
    "retry_after",
    "gn",
    "gnt",
    "-2",
];

/// Members whose text is one of a list, or has a pattern, in every description.
const CLOSED: [&str; 9] = [
    "status",
    "state",
    "outcome",
    "issuer",
    "date",
    "date_of_birth",
    "nationality",
    "facility",
    "managing_facility",
];

/// The same where the description is as exact as ours.
const CLOSED_FINELY: [&str; 10] =
    ["code", "path", "uvci", "hcert", "ver", "tg", "dob", "dt", "co", "fnt"];

/// Members whose text is a literal of the description.
const LITERAL: [&str; 6] = ["status", "state", "outcome", "code", "ver", "tg"];

/// Byte strings of one length.
const FIXED: [&str; 3] = ["batch_id", "kid", "holder_digest"];

/// Header and payload of a COSE_Sign1.
const EMBEDDED: [&str; 2] = ["/content/0", "/content/2"];

/// Numbers of doses.
const DOSES: [&str; 5] = ["number", "dose", "dn", "sd", "total_doses"];

/// Every spoiled form of a message.
pub(super) fn everywhere(message: &Value) -> Vec<Spoiled> {
    let mut spoiled = Vec::new();
    visit(message, "", &mut |path, key, node| {
        for (what, is_subtle, changed) in changes(path, key, node) {
            let value = replaced(message, path, &changed);
            spoiled.push(Spoiled { how: format!("{path}: {what}"), value, is_subtle });
        }
    });
    spoiled
}

type Change = (String, bool, Value);

fn changes(path: &str, key: &str, node: &Value) -> Vec<Change> {
    let mut changes = vec![
        ("a float".to_owned(), false, Value::Float(1.5)),
        ("another type".to_owned(), false, of_another_type(key, node)),
    ];
    // A detached payload is the one null of the wire.
    if *node != Value::Null {
        changes.push(("null".to_owned(), false, Value::Null));
    }
    let mut change =
        |what: &str, is_subtle, value| changes.push((what.to_owned(), is_subtle, value));
    match node {
        Value::Map(pairs) => changes.extend(of_map(pairs)),
        Value::Text(text) => {
            let word = || Value::from(format!("{text}!~"));
            if CLOSED.contains(&key) {
                change("another word", false, word());
            } else if CLOSED_FINELY.contains(&key) {
                change("another word", true, word());
            }
        }
        Value::Bytes(bytes) if FIXED.contains(&key) => {
            change("a byte less", false, Value::Bytes(bytes[1..].to_vec()));
            change("a byte more", false, Value::Bytes([&bytes[..], b"\0"].concat()));
        }
        // CBOR inside CBOR, which has a rule of its own.
        Value::Bytes(_) if EMBEDDED.contains(&path) => {
            change("an empty map inside", false, Value::Bytes(vec![0xa0]));
            change("no CBOR inside", false, Value::Bytes(vec![0xff]));
        }
        Value::Integer(_) => {
            change("-2", false, Value::from(-2));
            if DOSES.contains(&key) {
                change("dose 0", false, Value::from(0));
                change("dose 10", false, Value::from(10));
            }
        }
        Value::Array(items) if !items.is_empty() && !key.is_empty() => {
            change("empty", false, Value::Array(vec![]));
        }
        Value::Tag(tag, content) => {
            change("another tag", false, Value::Tag(tag + 1, content.clone()));
            change("no tag", false, (**content).clone());
        }
        _ => {}
    }
    changes
}

/// Each member that must be there taken away, and one too many.
fn of_map(pairs: &[(Value, Value)]) -> Vec<Change> {
    let mut changes = Vec::new();
    for (index, (key, _)) in pairs.iter().enumerate() {
        let name = name(key);
        if !OPTIONAL.contains(&name.as_str()) {
            let mut left = pairs.to_vec();
            left.remove(index);
            changes.push((format!("without {name}"), false, Value::Map(left)));
        }
    }
    for key in [Value::from("unheard_of"), Value::from(99)] {
        let mut more = pairs.to_vec();
        more.push((key, Value::from(1)));
        changes.push(("one member more".to_owned(), false, Value::Map(more)));
    }
    changes
}

fn of_another_type(key: &str, node: &Value) -> Value {
    match node {
        // The validator panics on bytes where it expects a literal text.
        Value::Text(_) if LITERAL.contains(&key) => Value::from(1),
        Value::Text(text) => Value::Bytes(text.as_bytes().to_vec()),
        Value::Bytes(_) => Value::from("bytes"),
        Value::Map(_) => Value::Array(vec![]),
        Value::Array(_) => Value::Map(vec![]),
        _ => Value::from("text"),
    }
}

/// Calls back for every node below the root that is no key, with its path and the name of its member.
fn visit(node: &Value, path: &str, found: &mut impl FnMut(&str, &str, &Value)) {
    let key = path.rsplit('/').find(|part| part.parse::<usize>().is_err());
    // An item of an array goes by the name of the array.
    found(path, key.unwrap_or_default(), node);
    match node {
        Value::Map(pairs) => {
            for (key, value) in pairs {
                visit(value, &format!("{path}/{}", name(key)), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                visit(item, &format!("{path}/{index}"), found);
            }
        }
        Value::Tag(_, content) => visit(content, &format!("{path}/content"), found),
        _ => {}
    }
}

fn name(key: &Value) -> String {
    match key {
        Value::Text(text) => text.clone(),
        Value::Integer(number) => i128::from(*number).to_string(),
        other => panic!("a key of another kind: {other:?}"),
    }
}

/// The message with another value at this path.
fn replaced(message: &Value, path: &str, value: &Value) -> Value {
    let Some((first, rest)) = path.strip_prefix('/').map(|p| p.split_once('/').unwrap_or((p, "")))
    else {
        return value.clone();
    };
    let rest = if rest.is_empty() { String::new() } else { format!("/{rest}") };
    let deeper = |inner: &Value, here: bool| {
        if here { replaced(inner, &rest, value) } else { inner.clone() }
    };
    match message {
        Value::Map(pairs) => Value::Map(
            pairs.iter().map(|(k, v)| (k.clone(), deeper(v, name(k) == first))).collect(),
        ),
        Value::Array(items) => Value::Array(
            items.iter().enumerate().map(|(i, v)| deeper(v, i.to_string() == first)).collect(),
        ),
        Value::Tag(tag, content) => Value::Tag(*tag, Box::new(deeper(content, true))),
        other => panic!("no place {path} in {other:?}"),
    }
}
