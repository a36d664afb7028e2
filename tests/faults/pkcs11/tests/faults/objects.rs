//! What befalls objects and their attributes.

use pkcs11_faults::{Act, AttributeName, Function, Line, State};

use crate::actor::Token;

// A search finds nothing.
#[test]
fn nothing_is_found() {
    let token = Token::new();
    let mut user = token.user();
    token.play([Line::on(Function::C_FindObjects, Act::Nothing).times(1)]);
    assert_eq!(user.tell("find 0 ec"), "ok 0");
    assert_eq!(user.tell("find 0 ec"), "ok 1");
}

// A search finds another object of the same class.
#[test]
fn another_object_is_found() {
    let token = Token::new();
    let mut user = token.user();
    assert_eq!(user.tell("id 0 ec"), "ok 03");
    token.play([Line::on(Function::C_FindObjects, Act::Object("other-ec".to_owned()))]);
    assert_eq!(user.tell("id 0 ec"), "ok 04");
    let signature = user.sign("ec");
    token.play([]);
    assert!(!user.verifies("ec", &signature));
    assert!(user.verifies("other-ec", &signature));
}

// The value of an attribute is garbage: of each, or of one alone.
#[test]
fn an_attribute_is_garbage() {
    let token = Token::new();
    let mut user = token.user();
    token.play([Line::on(Function::C_GetAttributeValue, Act::GarbageOf(AttributeName::CKA_LABEL))]);
    assert_ne!(user.tell("label 0 ec"), "ok 6563");
    assert_eq!(user.tell("id 0 ec"), "ok 03");
    token.play([Line::on(Function::C_GetAttributeValue, Act::Garbage)]);
    assert_ne!(user.tell("label 0 ec"), "ok 6563");
    assert_ne!(user.tell("id 0 ec"), "ok 03");
    // The crate asks for the length first, which is no call that counts.
    token.play([Line::on(Function::C_GetAttributeValue, Act::Garbage).times(1)]);
    assert_ne!(user.tell("label 0 ec"), "ok 6563");
    assert_eq!(user.tell("label 0 ec"), "ok 6563");
}

// A point is shown without the OCTET STRING around it.
#[test]
fn a_point_is_raw() {
    let token = Token::new();
    let mut user = token.user();
    let wrapped = user.tell("point 0 ec");
    token.play([Line::token(State::RawPoint)]);
    let raw = user.tell("point 0 ec");
    assert_eq!(wrapped, raw.replace("ok 04", "ok 044104"));
    assert_eq!(user.tell("id 0 ec"), "ok 03");
}

// A private key says that it wants a log-in for each use.
#[test]
fn a_key_always_authenticates() {
    let token = Token::new();
    let mut user = token.user();
    assert_eq!(user.tell("always 0 ec"), "ok false");
    token.play([Line::token(State::AlwaysAuthenticate)]);
    assert_eq!(user.tell("always 0 ec"), "ok true");
}
