//! What the judge lets through, byte for byte, and what it refuses, each for its own reason.

use coset::cbor::Value;
use data_encoding::HEXLOWER;
use policy::{Catalogue, Names};
use proptest::prelude::*;

use super::super::seal::{HcertError, prepare};
use super::super::signer::{Alg, Kid, SignerCertificate};
use super::super::tests::{CODES, claims as good};
use super::super::text;
use super::bytes::Expected;
use super::*;

/// A signer whose key nobody has any more: P-256, valid from 2026 to 2029, made with OpenSSL.
const SIGNER: &str = concat!(
    "308201563081fca003020102020101300a06082a8648ce3d040302301b310b30090603550406",
    "1302564e310c300a06035504030c03445343301e170d3236303130313030303030305a170d33",
    "30303130313030303030305a301b310b300906035504061302564e310c300a06035504030c03",
    "4453433059301306072a8648ce3d020106082a8648ce3d030107034200043c861d88593d1b78",
    "766a7e78d4506fe8f0ccbdf01daf9405c16985b402663ec689fd311021a60296f7dfe2afaff4",
    "b29255c2fe4c52d4b07b6185d906aa04b66ca331302f300e0603551d0f0101ff040403020780",
    "301d0603551d0e04160414f40162522223baaa19702330f6d2d6b65366eca9300a06082a8648",
    "ce3d0403020349003046022100f1cea4724e9ce6781e0fa9f844c543c75f7894749c26afae46",
    "92c4405296b42d022100cc78838691464b2d8e418596ce47b80082d98f0f8875a5b05dede18f",
    "15e473d3",
);

/// Its signature of the payload below, made with OpenSSL; r, then s.
const SIGNATURE: &str = concat!(
    "ba09d6877a4a2da167db629e9ad560cdd5582b7bbdbef9d97b5fab5a62aa59508d517036d3dc",
    "7b527e1c598ada23761d1b0ea22cb5851ff7e2b82ae8211fe85c",
);

/// The certificate of one dose as RFC 9052 and the HCERT specification lay it out.
const ANNOTATED: &str = concat!(
    // COSE_Sign1: tag 18, array of 4
    "d2",
    "84",
    // 1. protected header, 13 bytes: {1 (alg): -7 (ES256), 4 (kid): 8 bytes}
    "4d",
    "a2",
    "01",
    "26",
    "04",
    "48",
    "4cd769110945d532",
    // 2. unprotected header: empty
    "a0",
    // 3. payload, 286 bytes: the CWT claims, map of 4
    "59011e",
    "a4",
    // 1 (iss): "VN"
    "01",
    "62",
    "564e",
    // 4 (exp): 1831536000, 2028-01-15T08:00:00Z
    "04",
    "1a",
    "6d2b0580",
    // 6 (iat): 1800000000, 2027-01-15T08:00:00Z
    "06",
    "1a",
    "6b49d200",
    // -260 (hcert): {1: EU DCC, map of 4}
    "390103",
    "a1",
    "01",
    "a4",
    // "v": array of 1, map of 10
    "61",
    "76",
    "81",
    "aa",
    // "ci": "URN:UVCI:01:VN:FFFE3D31FABD035899134A9D3BAE9BCF"
    "62",
    "6369",
    "782f",
    "55524e3a555643493a30313a564e3a4646464533443331464142443033353839393133344139",
    "443342414539424346",
    // "co": "VN"
    "62",
    "636f",
    "62",
    "564e",
    // "dn": 2
    "62",
    "646e",
    "02",
    // "dt": "2021-09-18"
    "62",
    "6474",
    "6a",
    "323032312d30392d3138",
    // "is": "Bộ Y tế Việt Nam"
    "62",
    "6973",
    "76",
    "42e1bb9920592074e1babf205669e1bb8774204e616d",
    // "ma": "ORG-100030215"
    "62",
    "6d61",
    "6d",
    "4f52472d313030303330323135",
    // "mp": "EU/1/20/1528"
    "62",
    "6d70",
    "6c",
    "45552f312f32302f31353238",
    // "sd": 2
    "62",
    "7364",
    "02",
    // "tg": "840539006"
    "62",
    "7467",
    "69",
    "383430353339303036",
    // "vp": "1119349007"
    "62",
    "7670",
    "6a",
    "31313139333439303037",
    // "dob": "1999-10-20"
    "63",
    "646f62",
    "6a",
    "313939392d31302d3230",
    // "nam": map of 4
    "63",
    "6e616d",
    "a4",
    // "fn": "Nguyễn"
    "62",
    "666e",
    "68",
    "4e677579e1bb856e",
    // "gn": "Thị Ánh Tuyết"
    "62",
    "676e",
    "72",
    "5468e1bb8b20c3816e6820547579e1babf74",
    // "fnt": "NGUYEN"
    "63",
    "666e74",
    "66",
    "4e475559454e",
    // "gnt": "THI<ANH<TUYET"
    "63",
    "676e74",
    "6d",
    "5448493c414e483c5455594554",
    // "ver": "1.3.0"
    "63",
    "766572",
    "65",
    "312e332e30",
    // 4. signature, 64 bytes
    "5840",
    "ba09d6877a4a2da167db629e9ad560cdd5582b7bbdbef9d97b5fab5a62aa59508d517036d3dc",
    "7b527e1c598ada23761d1b0ea22cb5851ff7e2b82ae8211fe85c",
);

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

fn signer() -> SignerCertificate {
    SignerCertificate::from_der(&bytes(SIGNER)).unwrap()
}

#[test]
fn a_certificate_is_these_bytes() {
    // Claims, key identifier and signature become exactly the annotated bytes, by the one way that
    // certificates are made; the text of them unpacks to the same.
    let signer = signer();
    let unsigned = prepare(signer.alg(), signer.kid(), &good(), &CODES).unwrap();
    let hcert = unsigned.seal(&bytes(SIGNATURE), &signer).unwrap();
    assert_eq!(HEXLOWER.encode(&text::decode(hcert.text()).unwrap()), ANNOTATED);
    assert_eq!(hcert.cose_sha256(), *sha2_of(&bytes(ANNOTATED)));
}

fn sha2_of(bytes: &[u8]) -> Box<[u8; 32]> {
    use sha2::{Digest as _, Sha256};
    Box::new(Sha256::digest(bytes).into())
}

#[test]
fn the_kid_is_of_the_certificate() {
    // The key identifier is the beginning of the SHA-256 of the certificate's DER encoding, not of its
    // key's: 8 bytes.
    let der = bytes(SIGNER);
    assert_eq!(signer().kid().as_bytes()[..], sha2_of(&der)[..8]);
    assert_eq!(signer().kid().to_string(), "4cd769110945d532");
}

/// Spoils one value.
type Change = fn(&mut Claims);

/// What other issuers shipped, and what else no certificate may say: change, path, reason.
const SPOILED: &[(Change, &str, &str)] = &[
    (|c| c.iss = "VNMX".into(), "1", "is not a country of two or three letters"),
    (|c| c.iss = "vn".into(), "1", "is not a country of two or three letters"),
    (|c| c.iss = String::new(), "1", "is not a country of two or three letters"),
    (|c| c.issued_at = 0, "6", "is not a time after 1970"),
    (|c| c.issued_at = -1, "6", "is not a time after 1970"),
    (|c| c.expires_at = c.issued_at, "4", "is not after the time of issue"),
    (|c| (c.issued_at, c.expires_at) = (i64::MAX - 1, i64::MAX), "6", "is beyond the calendar"),
    (|c| c.dcc.date_of_birth = "1999-13-99".into(), "/dob", "is not a date of birth"),
    (|c| c.dcc.date_of_birth = "20/10/1999".into(), "/dob", "is not a date of birth"),
    (|c| c.dcc.date_of_birth = "1899-01-01".into(), "/dob", "is not a date of birth"),
    (|c| c.dcc.date_of_birth = "2100".into(), "/dob", "is not a date of birth"),
    (|c| c.dcc.date_of_birth = String::new(), "/dob", "is not a date of birth"),
    (|c| c.dcc.date_of_birth = "1999-10-20T00:00:00".into(), "/dob", "is not a date of birth"),
    (|c| c.dcc.date_of_birth = "1999-1".into(), "/dob", "is not a date of birth"),
    (|c| c.dcc.date_of_birth = "2027-01-16".into(), "/dob", "is after the day of issue"),
    (|c| c.dcc.name.family = " Nguyễn".into(), "/nam/fn", "begins or ends with a space"),
    (|c| c.dcc.name.family = "Nguyễn\u{a0}".into(), "/nam/fn", "begins or ends with a space"),
    (|c| c.dcc.name.family = "  ".into(), "/nam/fn", "is empty"),
    (|c| c.dcc.name.family = "Nguye\u{302}\u{303}n".into(), "/nam/fn", "is not in nfc"),
    (|c| c.dcc.name.family = "Tôn\u{a0}Nữ".into(), "/nam/fn", "has a character that nobody sees"),
    (|c| c.dcc.name.family = "Lê\u{200b}Văn".into(), "/nam/fn", "has a character that nobody sees"),
    (|c| c.dcc.name.family = "Nguy\u{fffd}n".into(), "/nam/fn", "has a character that nobody sees"),
    (|c| c.dcc.name.family = "Lê\u{7}".into(), "/nam/fn", "has a control character"),
    (|c| c.dcc.name.family = "Le\nA".into(), "/nam/fn", "has a control character"),
    (|c| c.dcc.name.family = "Tôn  Nữ".into(), "/nam/fn", "has two spaces in a row"),
    (|c| c.dcc.name.family_standard = String::new(), "/nam/fnt", "has no letter"),
    (|c| c.dcc.name.family_standard = "<".into(), "/nam/fnt", "has no letter"),
    (
        |c| c.dcc.name.family_standard = "NGUYỄN".into(),
        "/nam/fnt",
        "has a character outside A-Z and <",
    ),
    (
        |c| c.dcc.name.family_standard = "NGUYEN2".into(),
        "/nam/fnt",
        "has a character outside A-Z and <",
    ),
    (
        |c| c.dcc.name.family_standard = "TON NU".into(),
        "/nam/fnt",
        "has a character outside A-Z and <",
    ),
    (|c| c.dcc.name.family_standard = "A".repeat(81), "/nam/fnt", "has more than 80 characters"),
    (
        |c| c.dcc.name.family_standard = "TON<<NU".into(),
        "/nam/fnt",
        "has a < that is not between two parts",
    ),
    (
        |c| c.dcc.name.family_standard = "NGUYEN<".into(),
        "/nam/fnt",
        "has a < that is not between two parts",
    ),
    (
        |c| c.dcc.name.family_standard = "<NGUYEN".into(),
        "/nam/fnt",
        "has a < that is not between two parts",
    ),
    (|c| c.dcc.name.given = Some("ạ".repeat(81)), "/nam/gn", "has more than 80 characters"),
    (|c| c.dcc.name.given = Some("a".repeat(81)), "/nam/gn", "has more than 80 characters"),
    (
        |c| c.dcc.name.given = Some("\"Tí\"".into()),
        "/nam/gn",
        "has a quotation mark or a backslash",
    ),
    (
        |c| c.dcc.name.given = Some(r"Th\u1ecb".into()),
        "/nam/gn",
        "has a quotation mark or a backslash",
    ),
    (|c| c.dcc.name.given = None, "/nam/gnt", "does not go with /nam/gn"),
    (|c| c.dcc.name.given_standard = None, "/nam/gnt", "does not go with /nam/gn"),
    (|c| c.dcc.name.given_standard = Some("2".into()), "/nam/gnt", "has no letter"),
    (|c| v(c).co = "vn".into(), "/v/0/co", "is not a country of two letters"),
    (|c| v(c).co = "XX".into(), "/v/0/co", "is not a country of iso 3166-1"),
    (|c| v(c).ci = "urn:uvci:01:VN:A".into(), "/v/0/ci", "does not begin with URN:UVCI:01:"),
    (|c| v(c).ci.replace_range(9..11, "02"), "/v/0/ci", "does not begin with URN:UVCI:01:"),
    (|c| v(c).ci.insert(15, ':'), "/v/0/ci", "has not 32 hex digits"),
    (|c| v(c).ci.push_str("#C"), "/v/0/ci", "has not 32 hex digits"),
    (|c| v(c).ci = v(c).ci.replace('F', "f"), "/v/0/ci", "has not 32 hex digits"),
    (|c| v(c).ci = v(c).ci.replace(":VN:", ":NL:"), "/v/0/ci", "is not of the country"),
    (|c| v(c).ci = v(c).ci.replace(":VN:", ":VN/"), "/v/0/ci", "is not of the country"),
    (|c| v(c).ci = "URN:UVCI:01:VN:".into(), "/v/0/ci", "has not 32 hex digits"),
    (|c| v(c).dn = 0, "/v/0/dn", "is below 1"),
    (|c| v(c).sd = 0, "/v/0/sd", "is below 1"),
    (|c| v(c).dn = 3, "/v/0/dn", "is above the series"),
    (|c| v(c).dt = "2021-09-18T00:00:00".into(), "/v/0/dt", "is not a calendar date"),
    (|c| v(c).dt = "2021-02-29".into(), "/v/0/dt", "is not a calendar date"),
    (|c| v(c).dt = "18/09/2021".into(), "/v/0/dt", "is not a calendar date"),
    (|c| v(c).dt = "2021-09".into(), "/v/0/dt", "is not a calendar date"),
    (|c| v(c).dt = "2021-09-18 ".into(), "/v/0/dt", "is not a calendar date"),
    (|c| v(c).dt = "2027-01-16".into(), "/v/0/dt", "is after the day of issue"),
    (|c| v(c).dt = "1999-10-19".into(), "/v/0/dt", "is before the birth"),
    (|c| v(c).is = String::new(), "/v/0/is", "is empty"),
    (|c| v(c).is = "x".repeat(81), "/v/0/is", "has more than 80 characters"),
    (|c| v(c).is = "Bộ \"Y tế\"".into(), "/v/0/is", "has a quotation mark or a backslash"),
    (|c| v(c).ma = "1232".into(), "/v/0/ma", "is not in the value sets"),
    (|c| v(c).ma = "ORG-100030215\n".into(), "/v/0/ma", "begins or ends with a space"),
    (|c| v(c).mp = "EU/1/20/1528 ".into(), "/v/0/mp", "begins or ends with a space"),
    (|c| v(c).mp = "EU/1/20/9999".into(), "/v/0/mp", "is not in the value sets"),
    (|c| v(c).tg = "840539007".into(), "/v/0/tg", "is not in the value sets"),
    (|c| v(c).vp = "J07BX04".into(), "/v/0/vp", "is not in the value sets"),
    (|c| v(c).vp = "EU/1/20/1528".into(), "/v/0/vp", "is not in the value sets"),
];

fn v(claims: &mut Claims) -> &mut Vaccination {
    &mut claims.dcc.vaccination
}

#[test]
fn values_that_no_certificate_may_carry_are_refused() {
    // Each fault that other issuers shipped is refused before anything is signed, for its own reason; the
    // forms that look odd and are right are not.
    for (index, (spoil, path, what)) in SPOILED.iter().enumerate() {
        let mut claims = good();
        spoil(&mut claims);
        let refused = prepare(Alg::Es256, Kid::from_bytes([7; 8]), &claims, &CODES).unwrap_err();
        assert_eq!(refused, HcertError::Claim(ClaimFault { path, what }), "case {index}");
    }
    let odd: [Change; 9] = [
        |c| (v(c).dn, v(c).sd) = (2, 1),
        |c| (v(c).dn, v(c).sd) = (3, 3),
        |c| c.dcc.date_of_birth = "1957".into(),
        |c| c.dcc.date_of_birth = "2021-09".into(),
        |c| v(c).dt = c.dcc.date_of_birth.clone(),
        |c| (c.dcc.name.given, c.dcc.name.given_standard) = (None, None),
        |c| c.dcc.name.family = "O'Connor-Đặng, Jr.".into(),
        |c| c.dcc.name.family = "ạ".repeat(80),
        |c| v(c).dt = "2027-01-15".into(),
    ];
    for (index, change) in odd.iter().enumerate() {
        let mut claims = good();
        change(&mut claims);
        assert_eq!(super::claims(&claims, &CODES), Ok(()), "case {index}");
    }
}

#[test]
fn a_dose_of_tonight_is_of_tomorrows_date() {
    // From 17:00 UTC on it is the next day in Viet Nam: a dose of that day may be certified, one of the
    // day after may not.
    let evening = |dt: &str, seconds: i64| {
        let mut claims = good();
        // 2027-01-15T16:59:59Z and the second after it.
        claims.issued_at = 1_800_032_399 + seconds;
        v(&mut claims).dt = dt.into();
        super::claims(&claims, &CODES).map_err(|fault| fault.what)
    };
    assert_eq!(evening("2027-01-16", 0), Err("is after the day of issue"));
    assert_eq!(evening("2027-01-16", 1), Ok(()));
    assert_eq!(evening("2027-01-17", 1), Err("is after the day of issue"));
}

#[test]
fn a_code_counts_in_the_selected_sets_alone() {
    // A code of a set that the issuer does not use, and one that was inactive by the day of the dose, are
    // refused.
    let old = Catalogue::select(["qd-5772"]).unwrap();
    let new = Catalogue::select(["eu-2.12.0"]).unwrap();
    let mut claims = good();
    v(&mut claims).vp = "1162643001".into();
    assert!(super::claims(&claims, &new).is_ok());
    assert_eq!(super::claims(&claims, &old).unwrap_err().path, "/v/0/vp");
    v(&mut claims).vp = "J07BX03".into();
    assert!(super::claims(&claims, &new).is_ok());
    v(&mut claims).dt = "2026-12-01".into();
    assert!(super::claims(&claims, &old).is_ok());
    assert_eq!(super::claims(&claims, &new).unwrap_err().path, "/v/0/vp");
}

/// The payload of the good claims with one item written in another way, and what is said about it.
fn encodings() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = good().encode().unwrap();
    let swapped = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|window| window == from).unwrap();
        [&good[..at], to, &good[at + from.len()..]].concat()
    };
    let iat = b"\x06\x1a\x6b\x49\xd2\x00";
    let with_break = |from: &[u8], to: &[u8]| [&swapped(from, to)[..], b"\xff"].concat();
    vec![
        ("iat as a double", swapped(iat, b"\x06\xfb\x41\xda\xd2\x74\x80\x00\x00\x00"), "float"),
        ("iat as a single", swapped(iat, b"\x06\xfa\x4e\xd6\x93\xa4"), "float"),
        ("dn as a half", swapped(b"\x62dn\x02", b"\x62dn\xf9\x40\x00"), "float"),
        ("iat with tag 1", swapped(iat, b"\x06\xc1\x1a\x6b\x49\xd2\x00"), "tag"),
        ("dt with tag 0", swapped(b"\x62dt\x6a", b"\x62dt\xc0\x6a"), "tag"),
        ("payload with tag 61", [b"\xd8\x3d", &good[..]].concat(), "tag"),
        ("no given name, said so", swapped(b"\x62gn\x72Th", b"\x62gn\xf6\x72Th"), "null"),
        ("undefined", swapped(b"\x62co\x62VN", b"\x62co\xf7"), "undefined"),
        ("indefinite map", with_break(b"\xa4\x01\x62VN", b"\xbf\x01\x62VN"), "indefinite"),
        ("indefinite array", swapped(b"\x61v\x81\xaa", b"\x61v\x9f\xaa"), "indefinite"),
        ("indefinite text", swapped(b"\x62co\x62VN", b"\x62co\x7f\x62VN\xff"), "indefinite"),
        ("dn in two bytes", swapped(b"\x62dn\x02", b"\x62dn\x18\x02"), "shortest"),
        ("text in a long form", swapped(b"\x62co\x62VN", b"\x62co\x78\x02VN"), "shortest"),
        ("a byte behind", [&good[..], b"\0"].concat(), "after the end"),
        ("nothing", vec![], "end"),
        ("cut", good[..good.len() - 1].to_vec(), "end"),
    ]
}

#[test]
fn a_payload_in_another_encoding_is_refused_for_that() {
    // Floats, tags, null, undefined, indefinite lengths, long forms and leftovers, each named.
    for (what, encoding, named) in encodings() {
        let refused = payload(&encoding, &good()).unwrap_err().0;
        assert!(refused.contains(named), "{what}: {refused}");
    }
}

#[test]
fn a_payload_of_another_shape_is_refused_where_it_differs() {
    // A claim or a member too many, too few or of another value is found where it stands.
    let tree: Value = coset::cbor::de::from_reader(&good().encode().unwrap()[..]).unwrap();
    let mut places = Vec::new();
    maps(&tree, &mut Vec::new(), &mut places);
    assert_eq!(places.len(), 5, "claims, hcert, dcc, vaccination, name");
    let mut refused = 0;
    for place in &places {
        let members = map_at(&mut tree.clone(), place).len();
        for member in 0..members {
            for change in 0..4 {
                let mut changed = tree.clone();
                let map = map_at(&mut changed, place);
                match change {
                    0 => drop(map.remove(member)),
                    1 => map.insert(member, (Value::from("zz"), Value::from(1))),
                    2 => map[member].1 = Value::from("another"),
                    _ => map[member].0 = Value::from("zz"),
                }
                let mut bytes = Vec::new();
                coset::cbor::ser::into_writer(&changed, &mut bytes).unwrap();
                assert!(payload(&bytes, &good()).is_err(), "{place:?} {member} {change}");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 4 * (4 + 1 + 4 + 10 + 4));
}

/// Every map of a tree, by the indices that lead to it.
fn maps(tree: &Value, place: &mut Vec<usize>, found: &mut Vec<Vec<usize>>) {
    let children: Vec<&Value> = match tree {
        Value::Map(pairs) => {
            found.push(place.clone());
            pairs.iter().map(|(_, value)| value).collect()
        }
        Value::Array(items) => items.iter().collect(),
        _ => return,
    };
    for (index, child) in children.into_iter().enumerate() {
        place.push(index);
        maps(child, place, found);
        place.pop();
    }
}

fn map_at<'a>(tree: &'a mut Value, place: &[usize]) -> &'a mut Vec<(Value, Value)> {
    let node = place.iter().fold(tree, |node, index| match node {
        Value::Map(pairs) => &mut pairs[*index].1,
        Value::Array(items) => &mut items[*index],
        other => panic!("{other:?} has no children"),
    });
    node.as_map_mut().unwrap()
}

#[test]
fn an_envelope_of_another_layout_is_refused_for_that() {
    // The tag, the headers, the payload and the signature are those expected, and nothing is beside them.
    let claims = good().encode().unwrap();
    let good = bytes(ANNOTATED);
    let (kid, signature) = (signer().kid(), bytes(SIGNATURE));
    let expected = Expected { alg: Alg::Es256, kid, payload: &claims, signature: &signature };
    let judged = |cose: &[u8]| envelope(cose, &expected);
    assert_eq!(judged(&good), Ok(()));
    let swapped = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|window| window == from).unwrap();
        [&good[..at], to, &good[at + from.len()..]].concat()
    };
    let kid = kid.as_bytes();
    let protected = [b"\x4d\xa2\x01\x26\x04\x48", &kid[..]].concat();
    let turned = [b"\x4d\xa2\x04\x48", &kid[..], b"\x01\x26"].concat();
    let long_kid = [b"\x55\xa2\x01\x26\x04\x50", &kid[..], &kid[..]].concat();
    let kid_outside = [b"\x43\xa1\x01\x26\xa1\x04\x48", &kid[..]].concat();
    let tag = "not tag 18 and an array of four";
    let header = "protected header differs";
    for (cose, what) in [
        (good[1..].to_vec(), tag),
        ([b"\xd8\x3d", &good[..]].concat(), tag),
        ([b"\xd8\x12", &good[1..]].concat(), tag),
        ([b"\xd2\x9f", &good[2..], b"\xff"].concat(), tag),
        ([b"\xd2\x85", &good[2..], b"\0"].concat(), tag),
        (swapped(&protected, &turned), header),
        (swapped(&protected, &long_kid), header),
        (swapped(&[&protected[..], b"\xa0"].concat(), &kid_outside), header),
        (swapped(b"\xa2\x01\x26", b"\xa2\x01\x38\x24"), header),
        (
            swapped(b"\xa0\x59\x01\x1e", b"\xa1\x04\x40\x59\x01\x1e"),
            "unprotected header is not empty",
        ),
        (swapped(b"\xa0\x59\x01\x1e", b"\xa0\x5a\0\0\x01\x1e"), "payload differs"),
        (swapped(b"\x651.3.0", b"\x651.3.1"), "payload differs"),
        (swapped(b"\x58\x40", b"\x58\x41\0"), "signature differs"),
        ([&good[..], b"\0"].concat(), "bytes follow the signature"),
    ] {
        assert_eq!(judged(&cose), Err(what));
    }
}

/// A text that a registry of people may hold as a name, or nearly.
fn names() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[A-Za-zÀ-ỹĐđ]{1,12}",
        2 => Just(" ".to_owned()),
        1 => "[\\PC]{1,3}",
        1 => any::<char>().prop_map(String::from),
        1 => "[ \"'\\\\,.<-]{1,2}",
        1 => "[\u{300}\u{301}\u{302}\u{303}\u{309}\u{31b}\u{323}]",
        1 => "[\u{a0}\u{ad}\u{200b}\u{200d}\u{2060}\u{feff}\u{fffd}]",
    ];
    prop::collection::vec(piece, 1..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn no_name_that_may_be_certified_is_refused_here(name in names()) {
        // Whatever name the rules about names let pass, this judge lets pass, too: it stands behind them
        // and must never be the one that fails a batch.
        if let Ok(names) = Names::new(&name, None) {
            let mut claims = good();
            claims.dcc.name.family = names.r#fn;
            claims.dcc.name.given = names.gn;
            claims.dcc.name.family_standard = names.fnt;
            claims.dcc.name.given_standard = names.gnt;
            prop_assert_eq!(super::claims(&claims, &CODES), Ok(()));
        }
    }
}

#[test]
fn what_the_policy_lets_through_is_not_refused_here() {
    // No character in a name passes the rules and fails here: one record would fail its whole batch.
    for c in char::MIN..=char::MAX {
        for text in [format!("Le An{c}h Vu"), format!("{c}Le {c} A{c}"), format!("Le{c}{c}An")] {
            let Ok(names) = Names::new(&text, None) else { continue };
            let judged = name(&Name {
                family: names.r#fn,
                given: names.gn,
                family_standard: names.fnt,
                given_standard: names.gnt,
            });
            assert_eq!(judged, Ok(()), "U+{:04X}", u32::from(c));
        }
    }
}
