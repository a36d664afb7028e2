//! What befalls signatures.

use std::time::Duration;

use pkcs11_faults::{Act, Function, Line, Mechanism, State};

use crate::actor::{Actor, Token};

/// What the next signature of a key is like under this act.
fn struck(token: &Token, user: &mut Actor, key: &str, act: Act) -> String {
    token.play([Line::on(Function::C_Sign, act).times(1)]);
    let signature = user.sign(key);
    let next = user.sign(key);
    assert!(user.verifies(key, &next), "the next signature is good again");
    signature
}

/// Digits of a signature: two for each byte.
const DIGITS: [(&str, usize); 2] = [("ec", 128), ("rsa", 512)];

// Garbage is as long as a signature and is none.
#[test]
fn garbage_is_no_signature() {
    let token = Token::new();
    let mut user = token.user();
    for (key, digits) in DIGITS {
        let signature = struck(&token, &mut user, key, Act::Garbage);
        assert_eq!(signature.len(), digits);
        assert!(!user.verifies(key, &signature));
    }
}

// A signature is shorter, longer or empty, as the script says.
#[test]
fn a_signature_has_a_wrong_length() {
    let token = Token::new();
    let mut user = token.user();
    for (key, digits) in DIGITS {
        assert_eq!(struck(&token, &mut user, key, Act::Short).len(), digits - 2);
        assert_eq!(struck(&token, &mut user, key, Act::Long).len(), digits + 2);
        assert_eq!(struck(&token, &mut user, key, Act::Empty), "");
    }
}

// One bit of a signature is wrong: the one that is named, or any.
#[test]
fn one_bit_is_flipped() {
    let token = Token::new();
    let mut user = token.user();
    // Each signature is another: whether it was this bit alone shows when it is flipped back.
    let signature = struck(&token, &mut user, "ec", Act::Flip(Some(13)));
    assert!(!user.verifies("ec", &signature));
    let byte = u8::from_str_radix(&signature[2..4], 16).unwrap() ^ (1 << 5);
    let mended = format!("{}{byte:02x}{}", &signature[..2], &signature[4..]);
    assert!(user.verifies("ec", &mended));
    for (key, digits) in DIGITS {
        let signature = struck(&token, &mut user, key, Act::Flip(None));
        assert_eq!(signature.len(), digits);
        assert!(!user.verifies(key, &signature));
    }
}

// Another key's signature is good, but not of the key that was asked.
#[test]
fn another_key_signs() {
    let token = Token::new();
    let mut user = token.user();
    for (key, other) in [("ec", "other-ec"), ("rsa", "other-rsa")] {
        let signature = struck(&token, &mut user, key, Act::SignedBy(other.to_owned()));
        assert!(!user.verifies(key, &signature));
        assert!(user.verifies(other, &signature));
    }
    token.play([Line::on(Function::C_Sign, Act::SignedBy("nobody".to_owned()))]);
    assert_eq!(user.tell("sign 0 ec"), "");
    assert!(user.end().1.contains("the script names \"nobody\""));
}

// Only signatures count, not the questions for their length.
#[test]
fn signatures_are_counted() {
    let token = Token::new();
    let mut user = token.user();
    token.play([
        Line::on(Function::C_Sign, Act::Delay(Duration::ZERO)),
        Line::on(Function::C_Sign, Act::Garbage).after(2).times(1),
    ]);
    let good: Vec<bool> = (0..4)
        .map(|_| {
            let signature = user.sign("ec");
            user.verifies("ec", &signature)
        })
        .collect();
    assert_eq!(good, [true, true, false, true]);
    let tally = token.tally();
    assert_eq!(tally.calls(Function::C_Sign), 4);
    assert_eq!(tally.injected(Function::C_Sign, "delay"), 4);
    assert_eq!(tally.injected(Function::C_Sign, "garbage"), 1);
}

// A mechanism that is hidden is neither listed nor taken.
#[test]
fn a_mechanism_is_hidden() {
    let token = Token::new();
    let mut user = token.user();
    let before = user.tell("mechanisms");
    assert!(before.ends_with("listed=true info=yes"), "{before}");
    token.play([Line::token(State::Without(Mechanism::CKM_ECDSA))]);
    let after = user.tell("mechanisms");
    assert!(after.ends_with("listed=false info=no"), "{after}");
    assert_eq!(user.tell("sign 0 ec"), "MechanismInvalid");
    assert!(user.tell("sign 0 rsa").starts_with("ok "));
}
