//! Transliteration, and the name fields that are made with it.
//!
//! The first line of the input is the full name, the rest of it, if there is any, the surname. Names
//! that are the same to the eye, composed or decomposed, give the same result; what comes out has the
//! form that the DCC schema asks for, and comes out again when it is put in.

use policy::Names;
use policy::icao::transliterate;
use unicode_normalization::{UnicodeNormalization as _, is_nfc};

/// The longest name field of a certificate, in characters (DCC schema 1.3.0).
const CHARS_MAX: usize = 80;

/// Takes any bytes; what is not UTF-8 is no name.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (full_name, surname) = text.split_once('\n').map_or((text, None), |(a, b)| (a, Some(b)));
    latin(text);
    latin(full_name);
    fields(full_name, None);
    fields(full_name, surname);
}

fn latin(text: &str) {
    let result = transliterate(text);
    for form in [text.nfc().collect::<String>(), text.nfd().collect()] {
        assert_eq!(transliterate(&form), result, "one name, composed or decomposed: {text:?}");
    }
    let Ok(latin) = result else { return };
    has_latin_form(&latin);
    let spaced = latin.replace('<', " ");
    assert_eq!(transliterate(&spaced).as_ref(), Ok(&latin), "Latin capitals stay as they are");
    let padded = format!(" \u{a0}{text}, ");
    assert_eq!(transliterate(&padded).as_ref(), Ok(&latin), "nothing stands around a name");
    let lower = latin.to_lowercase().replace('<', "-");
    assert_eq!(transliterate(&lower).as_ref(), Ok(&latin), "small letters are capitals");
}

fn has_latin_form(latin: &str) {
    assert!(!latin.is_empty() && latin.bytes().all(|b| b == b'<' || b.is_ascii_uppercase()));
    assert!(!latin.starts_with('<') && !latin.ends_with('<') && !latin.contains("<<"), "{latin}");
}

fn fields(full_name: &str, surname: Option<&str>) {
    let result = Names::new(full_name, surname);
    let decomposed: String = full_name.nfd().collect();
    let other = Names::new(&decomposed, surname);
    assert!(same(&result, &other), "one name, composed or decomposed: {full_name:?}");
    let names = match result {
        Ok(names) => names,
        Err(faults) => {
            assert!(!faults.is_empty(), "a refusal has a reason");
            assert!(faults.is_sorted_by(|one, next| one < next), "{faults:?}");
            return;
        }
    };
    assert_eq!(names.gn.is_some(), names.gnt.is_some());
    for native in [Some(&names.r#fn), names.gn.as_ref()].into_iter().flatten() {
        assert!((1..=CHARS_MAX).contains(&native.chars().count()));
        assert!(is_nfc(native) && native.trim() == native, "{native:?}");
        assert!(!native.contains("  ") && !native.contains(char::is_control), "{native:?}");
    }
    for latin in [Some(&names.fnt), names.gnt.as_ref()].into_iter().flatten() {
        assert!(latin.len() <= CHARS_MAX);
        has_latin_form(latin);
    }
    again(&names);
}

/// A certificate's own fields make the same certificate.
fn again(names: &Names) {
    // A cut before a space or separator leaves one character less.
    let is_whole = |field: &str| field.chars().count() < CHARS_MAX - 1;
    let whole = is_whole(&names.r#fn)
        && names.gn.as_deref().is_none_or(is_whole)
        && is_whole(&names.fnt)
        && names.gnt.as_deref().is_none_or(is_whole);
    // What was cut has lost letters that the other field may still have.
    if whole {
        let full = [Some(names.r#fn.as_str()), names.gn.as_deref()];
        let full = full.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let second = Names::new(&full, Some(&names.r#fn));
        assert!(second.as_ref() == Ok(names), "{full:?} gives other fields the second time");
    }
}

fn same<E: PartialEq>(one: &Result<Names, E>, other: &Result<Names, E>) -> bool {
    one == other
}
