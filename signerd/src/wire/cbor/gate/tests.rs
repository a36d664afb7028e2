//! The gate against the examples of RFC 8949 and another strict decoder.

use cbor_core::DecodeOptions;
use proptest::prelude::*;

use super::*;

const ROOMY: Limits =
    Limits { depth: DEPTH_MAX, items: 10_000, outer_tag: None, null: Null::Refused };

fn fault(hex: &str) -> Option<(usize, Fault)> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).unwrap();
    check(&bytes, &ROOMY).err().map(|error| (error.offset, error.fault))
}

#[test]
fn deterministic_items_pass() {
    // The items of RFC 8949 appendix A that our profile has are accepted.
    for hex in ["00", "17", "1818", "1903e8", "1a000f4240", "1bffffffffffffffff", "20", "3903e7"] {
        assert_eq!(fault(hex), None, "{hex}");
    }
    for hex in ["40", "4401020304", "60", "6449455446", "62c3bc", "f4", "f5", "80", "83010203"] {
        assert_eq!(fault(hex), None, "{hex}");
    }
    for hex in ["a0", "a201020304", "a26161016162820203", "826161a161626163"] {
        assert_eq!(fault(hex), None, "{hex}");
    }
}

#[test]
fn every_fault_is_named_with_its_offset() {
    // A message that is not deterministic is refused with the first fault and its offset.
    let cases = [
        ("", 0, Fault::Truncated),
        ("82 01", 2, Fault::Truncated),
        ("62 61", 0, Fault::Truncated),
        ("5b ffffffffffffffff", 0, Fault::Truncated),
        ("bb ffffffffffffffff", 0, Fault::Truncated),
        ("18 17", 0, Fault::NotShortest),
        ("19 00ff", 0, Fault::NotShortest),
        ("1a 0000ffff", 0, Fault::NotShortest),
        ("1b 00000000ffffffff", 0, Fault::NotShortest),
        ("58 01 00", 0, Fault::NotShortest),
        ("81 5f 41 00 ff", 1, Fault::Indefinite),
        ("9f ff", 0, Fault::Indefinite),
        ("bf ff", 0, Fault::Indefinite),
        ("81 ff", 1, Fault::Break),
        ("ff", 0, Fault::Break),
        ("1f", 0, Fault::Reserved),
        ("81 3f", 1, Fault::Reserved),
        ("df 00", 0, Fault::Reserved),
        ("a2 6162 01 6161 02", 4, Fault::Unsorted),
        ("a2 626161 01 6162 02", 5, Fault::Unsorted),
        ("a2 6161 01 6161 02", 4, Fault::DuplicateKey),
        ("a1 80 01", 1, Fault::KeyType),
        ("a1 f5 01", 1, Fault::KeyType),
        ("81 f93c00", 1, Fault::Float),
        ("fa 47c35000", 0, Fault::Float),
        ("81 f6", 1, Fault::NullOrUndefined),
        ("f7", 0, Fault::NullOrUndefined),
        ("f0", 0, Fault::SimpleValue),
        ("f8 ff", 0, Fault::SimpleValue),
        ("1c", 0, Fault::Reserved),
        ("fc", 0, Fault::Reserved),
        ("c0 60", 0, Fault::Tag),
        ("d2 80", 0, Fault::Tag),
        ("62 c328", 0, Fault::Utf8),
        ("00 00", 1, Fault::Trailing),
    ];
    for (hex, offset, expected) in cases {
        assert_eq!(fault(&hex.replace(' ', "")), Some((offset, expected)), "{hex}");
    }
}

#[test]
fn deep_nesting_ends_at_the_limit() {
    // 10,000 nested arrays are refused at the depth limit, without recursion.
    let deep = [vec![0x81; 10_000], vec![0x00]].concat();
    assert_eq!(check(&deep, &ROOMY).unwrap_err().fault, Fault::TooDeep);
    let allowed = [vec![0x81; DEPTH_MAX], vec![0x00]].concat();
    assert!(check(&allowed, &ROOMY).is_ok());
}

#[test]
fn items_are_counted() {
    // More items than the limit are refused, however small they are.
    let many = [vec![0x19, 0x27, 0x10 + 1], vec![0x00; 10_001]].concat();
    let many = [vec![0x99], many[1..].to_vec()].concat();
    assert_eq!(check(&many, &ROOMY).unwrap_err().fault, Fault::TooManyItems);
}

#[test]
fn only_the_named_tag_may_stand_outermost() {
    // Tag 18 passes where COSE_Sign1 is expected, and only at the outermost place.
    let cose = Limits { outer_tag: Some(18), ..ROOMY };
    assert!(check(&[0xd2, 0x80], &cose).is_ok());
    assert_eq!(check(&[0xd1, 0x80], &cose).unwrap_err().fault, Fault::Tag);
    assert_eq!(check(&[0x81, 0xd2, 0x80], &cose).unwrap_err().fault, Fault::Tag);
}

/// Whether another implementation takes the same bytes for deterministic CBOR of our profile.
fn oracle(bytes: &[u8]) -> bool {
    let options = DecodeOptions::new().recursion_limit(64).length_limit(100_000);
    options.decode(bytes).is_ok_and(|value| in_profile(&value))
}

fn in_profile(value: &cbor_core::Value<'_>) -> bool {
    use cbor_core::Value;
    match value {
        Value::Unsigned(_) | Value::Negative(_) | Value::ByteString(_) | Value::TextString(_) => {
            true
        }
        Value::SimpleValue(simple) => simple.to_bool().is_ok(),
        Value::Array(items) => items.iter().all(in_profile),
        Value::Map(pairs) => pairs.iter().all(|(key, value)| {
            !matches!(key, Value::Array(_) | Value::Map(_) | Value::SimpleValue(_))
                && in_profile(key)
                && in_profile(value)
        }),
        _ => false,
    }
}

/// The head of a short item: its major type and its length.
fn head(major: u8, length: usize) -> Vec<u8> {
    vec![major + u8::try_from(length).unwrap()]
}

fn item() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        any::<u8>().prop_map(|n| vec![n % 24]),
        any::<u8>().prop_map(|n| vec![0x18, n]),
        any::<u16>().prop_map(|n| [vec![0x39], n.to_be_bytes().to_vec()].concat()),
        "[a-zà-ỹ]{0,6}".prop_map(|s| [head(0x60, s.len()), s.into_bytes()].concat()),
        prop::collection::vec(any::<u8>(), 0..5).prop_map(|b| [head(0x40, b.len()), b].concat()),
        any::<u8>().prop_map(|b| vec![0xe0 | (b % 32)]),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|i| [
                head(0x80, i.len()),
                i.concat()
            ]
            .concat()),
            prop::collection::vec((inner.clone(), inner), 0..4).prop_map(|mut pairs| {
                pairs.sort();
                let count = pairs.len();
                let body: Vec<u8> = pairs.into_iter().flat_map(|(k, v)| [k, v].concat()).collect();
                [head(0xa0, count), body].concat()
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn agrees_with_another_implementation(bytes in item()) {
        // The gate and an implementation that is not ours judge the same bytes alike.
        prop_assert_eq!(check(&bytes, &ROOMY).is_ok(), oracle(&bytes));
    }

    #[test]
    fn agrees_on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
        // Arbitrary bytes never panic, and are judged alike by an implementation that is not ours.
        prop_assert_eq!(check(&bytes, &ROOMY).is_ok(), oracle(&bytes));
    }
}
