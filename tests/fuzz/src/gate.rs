//! The gate alone, under every set of limits that the product uses.
//!
//! What passes can be read to its end and encodes to the same bytes; what does not has its fault inside
//! the input, and nothing that comes later takes it away.

use signerd::wire::cbor::gate::{self, DEPTH_MAX, Fault};
use signerd::wire::cbor::{Canonical, Limits, Reader};

use crate::cbor;

/// Every set of limits that the product uses.
pub(crate) const ALL_LIMITS: [Limits; 4] =
    [Limits::REQUEST, Limits::RECORD, Limits::COSE, Limits::SMALL_MAP];
/// Inputs are cut at each of their first bytes, and at each of their last.
const CUTS: usize = 48;

/// Takes any bytes.
pub fn check(data: &[u8]) {
    for limits in ALL_LIMITS {
        match gate::check(data, &limits) {
            Ok(canonical) => accepted(canonical, data, &limits),
            Err(error) => {
                assert!(error.offset <= data.len(), "{error} in {} bytes", data.len());
                refused(data, &limits, error.fault);
            }
        }
    }
}

fn accepted(canonical: Canonical<'_>, data: &[u8], limits: &Limits) {
    assert_eq!(canonical.bytes(), data);
    assert_eq!(Reader::new(canonical).item().ok(), Some(data), "the whole input is one item");
    let tree = cbor::tree(canonical);
    assert_eq!(cbor::encode(&tree), data, "what was read encodes to what came in");
    assert_eq!(cbor::lenient(data), Some(tree.clone()), "another decoder reads the same");

    let (depth, items) = (depth(&tree), items(&tree));
    assert!(depth <= limits.depth.min(DEPTH_MAX) && items <= limits.items);
    let exact = Limits { depth, items, ..*limits };
    assert_eq!(fault(data, &exact), None, "limits that are just met");
    if let Some(depth) = depth.checked_sub(1) {
        assert_eq!(fault(data, &Limits { depth, ..exact }), Some(Fault::TooDeep));
    }
    let short = Limits { items: items.saturating_sub(1), ..exact };
    assert_eq!(fault(data, &short), Some(Fault::TooManyItems));

    for cut in (0..data.len()).take(CUTS).chain((0..data.len()).rev().take(CUTS)) {
        let start = data.get(..cut).unwrap_or_default();
        assert_eq!(fault(start, limits), Some(Fault::Truncated), "cut off at {cut}");
    }
    for byte in [0x00, 0xff] {
        let longer = gate::check(&[data, &[byte]].concat(), limits).map(Canonical::bytes).err();
        assert_eq!(longer.map(|e| (e.offset, e.fault)), Some((data.len(), Fault::Trailing)));
    }
}

fn refused(data: &[u8], limits: &Limits, first: Fault) {
    if matches!(first, Fault::Truncated | Fault::Trailing) {
        return;
    }
    for byte in [0x00, 0x61, 0xff] {
        assert_eq!(fault(&[data, &[byte]].concat(), limits), Some(first), "a fault is final");
    }
}

fn fault(data: &[u8], limits: &Limits) -> Option<Fault> {
    gate::check(data, limits).err().map(|error| error.fault)
}

fn depth(value: &ciborium::Value) -> usize {
    use ciborium::Value;
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(pairs) => 1 + pairs.iter().map(|(_, value)| depth(value)).max().unwrap_or(0),
        Value::Tag(_, inner) => 1 + depth(inner),
        _ => 0,
    }
}

fn items(value: &ciborium::Value) -> usize {
    use ciborium::Value;
    match value {
        Value::Array(members) => 1 + members.iter().map(items).sum::<usize>(),
        Value::Map(pairs) => 1 + pairs.iter().map(|(k, v)| items(k) + items(v)).sum::<usize>(),
        Value::Tag(_, inner) => 1 + items(inner),
        _ => 1,
    }
}
