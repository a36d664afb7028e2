//! Attributes of keys, read back one by one: a module that balks at one still shows the others.

use cryptoki::object::Attribute;
use cryptoki::object::AttributeType;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use data_encoding::HEXLOWER;

use crate::hsm::probe::findings::Attributes;
use crate::hsm::probe::findings::Shown;

/// What any key has.
const COMMON: [AttributeType; 17] = [
    AttributeType::Class,
    AttributeType::KeyType,
    AttributeType::Label,
    AttributeType::Id,
    AttributeType::Token,
    AttributeType::Private,
    AttributeType::Modifiable,
    AttributeType::Copyable,
    AttributeType::Destroyable,
    AttributeType::Sensitive,
    AttributeType::Extractable,
    AttributeType::AlwaysSensitive,
    AttributeType::NeverExtractable,
    AttributeType::Local,
    AttributeType::Sign,
    AttributeType::Derive,
    AttributeType::AllowedMechanisms,
];
/// What private keys have besides.
const PRIVATE: [AttributeType; 7] = [
    AttributeType::SignRecover,
    AttributeType::Decrypt,
    AttributeType::Unwrap,
    AttributeType::WrapWithTrusted,
    AttributeType::AlwaysAuthenticate,
    AttributeType::Modulus,
    AttributeType::EcParams,
];
/// What secret keys have besides.
const SECRET: [AttributeType; 6] = [
    AttributeType::Verify,
    AttributeType::Encrypt,
    AttributeType::Decrypt,
    AttributeType::Wrap,
    AttributeType::Unwrap,
    AttributeType::ValueLen,
];
/// The object identifier of P-256 as `CKA_EC_PARAMS` (RFC 5480 §2.1.1.1).
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// No attribute of a key that was not found.
pub(super) fn none() -> Attributes {
    Attributes::new()
}

/// The attributes of a private key.
pub(super) fn of_private(session: &Session, key: ObjectHandle) -> Attributes {
    let mut attributes = read(session, key, COMMON.iter().chain(&PRIVATE));
    // A key has one size: that of its kind.
    let (rsa, ec) = ("MODULUS_BITS", "EC_PARAMS");
    for (one, other) in [(rsa, ec), (ec, rsa)] {
        if matches!(attributes.get(one), Some(Some(_))) {
            attributes.remove(other);
        }
    }
    attributes
}

/// The attributes of a secret key.
pub(super) fn of_secret(session: &Session, key: ObjectHandle) -> Attributes {
    read(session, key, COMMON.iter().chain(&SECRET))
}

fn read<'t>(
    session: &Session,
    key: ObjectHandle,
    kinds: impl Iterator<Item = &'t AttributeType>,
) -> Attributes {
    let mut attributes = Attributes::new();
    for kind in kinds {
        let shown = session.get_attributes(key, &[*kind]).ok().and_then(|mut found| found.pop());
        let name = match kind {
            AttributeType::Modulus => "MODULUS_BITS".to_owned(),
            AttributeType::EcParams => "EC_PARAMS".to_owned(),
            kind => kind.to_string().trim_start_matches("CKA_").to_owned(),
        };
        attributes.insert(name, shown.and_then(|attribute| value(&attribute)));
    }
    attributes
}

fn value(attribute: &Attribute) -> Option<Shown> {
    let shown = match attribute {
        Attribute::Class(class) => Shown::Text(class.to_string()),
        Attribute::KeyType(kind) => Shown::Text(kind.to_string()),
        Attribute::Label(label) => Shown::Text(String::from_utf8_lossy(label).into_owned()),
        Attribute::Id(id) => Shown::Text(HEXLOWER.encode(id)),
        Attribute::AllowedMechanisms(allowed) => {
            Shown::List(allowed.iter().map(ToString::to_string).collect())
        }
        Attribute::Modulus(modulus) => {
            let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
            let bytes = modulus.len().saturating_sub(zeros);
            Shown::Number(u64::try_from(bytes.saturating_mul(8)).unwrap_or(u64::MAX))
        }
        Attribute::EcParams(curve) if *curve == P256 => Shown::Text("P-256".to_owned()),
        Attribute::EcParams(curve) => Shown::Text(HEXLOWER.encode(curve)),
        Attribute::ValueLen(bytes) => Shown::Number(**bytes),
        Attribute::Token(flag)
        | Attribute::Private(flag)
        | Attribute::Modifiable(flag)
        | Attribute::Copyable(flag)
        | Attribute::Destroyable(flag)
        | Attribute::Sensitive(flag)
        | Attribute::Extractable(flag)
        | Attribute::AlwaysSensitive(flag)
        | Attribute::NeverExtractable(flag)
        | Attribute::Local(flag)
        | Attribute::Sign(flag)
        | Attribute::SignRecover(flag)
        | Attribute::Verify(flag)
        | Attribute::Encrypt(flag)
        | Attribute::Decrypt(flag)
        | Attribute::Wrap(flag)
        | Attribute::Unwrap(flag)
        | Attribute::WrapWithTrusted(flag)
        | Attribute::Derive(flag)
        | Attribute::AlwaysAuthenticate(flag) => Shown::Flag(*flag),
        _ => return None,
    };
    Some(shown)
}
