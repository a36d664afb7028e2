//! Where `verify`, `inspect` and `qr` find certificates: arguments, files, standard input.
//!
//! In go words of the command line, out come texts with the place they stood at. A file may hold one
//! text per line, or JSON (an array, one object, or one object per line) in which members `hcert` (as
//! `signerctl sign` writes them) or `PREFIX` (as the EU's test data writes them) are the texts. It
//! does not decide whether a text is a certificate; only bounds and readability are its part.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;
use thiserror::Error;

use crate::hcert;

/// How large may one input be? A million certificates have about a gigabyte and belong into several
/// files; 256 MiB keep a mistyped path from filling the memory.
pub const INPUT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How short may a word be that is taken for a damaged text and not for a missing file?
const TEXT_CHARS_MIN: usize = 40;

/// Why the inputs could not be read.
#[derive(Debug, Error)]
pub enum TextsError {
    /// No text was found in any input; give others.
    #[error("no certificate text in {0}")]
    Nothing(String),
    /// The input could not be read; correct the path or the rights, then repeat.
    #[error("{place}: {source}")]
    Read {
        /// The file, or "standard input".
        place: String,
        /// Why not.
        source: io::Error,
    },
    /// The input is larger than the limit; divide it.
    #[error("{place} has more than {INPUT_BYTES_MAX} bytes")]
    TooLarge {
        /// The file, or "standard input".
        place: String,
    },
}

/// A text and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// File and line, or the argument's number.
    pub place: String,
    /// The text as it stood, spaces included: a space is a character of Base45.
    pub text: String,
}

/// Collects the texts of all inputs; none given means standard input.
///
/// # Errors
/// A [`TextsError`] if an input cannot be read or nothing was found.
pub fn collect(inputs: &[String], stdin: &mut dyn Read) -> Result<Vec<Found>, TextsError> {
    let standard = ["-".to_owned()];
    let inputs = if inputs.is_empty() { &standard } else { inputs };
    let mut found = Vec::new();
    for (number, input) in inputs.iter().enumerate() {
        if input == "-" {
            found.extend(texts_in(&bounded(stdin, "standard input")?, "standard input"));
        } else if is_text(input) {
            let place = format!("argument {}", number + 1);
            found.push(Found { place, text: input.clone() });
        } else {
            let read = |source| TextsError::Read { place: input.clone(), source };
            let mut file = File::open(input).map_err(read)?;
            found.extend(texts_in(&bounded(&mut file, input)?, input));
        }
    }
    if found.is_empty() { Err(TextsError::Nothing(inputs.join(", "))) } else { Ok(found) }
}

/// Reads a whole input within the limit.
///
/// # Errors
/// A [`TextsError`] that names the place.
pub fn bounded(input: &mut dyn Read, place: &str) -> Result<Vec<u8>, TextsError> {
    let mut bytes = Vec::new();
    let read = input.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes);
    let read = read.map_err(|source| TextsError::Read { place: place.to_owned(), source })?;
    match u64::try_from(read) {
        Ok(read) if read <= INPUT_BYTES_MAX => Ok(bytes),
        _ => Err(TextsError::TooLarge { place: place.to_owned() }),
    }
}

/// Makes text from a certificate harmless for a terminal: what steers it or turns the reading
/// direction is written as an escape.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => {
                harmless.extend(character.escape_unicode());
            }
            control if control.is_control() => harmless.extend(control.escape_unicode()),
            other => harmless.push(other),
        }
    }
    harmless
}

/// Tells a text from a path: by its prefix, or because no such file is there and it looks like one.
fn is_text(input: &str) -> bool {
    let looks = input.len() >= TEXT_CHARS_MIN
        && input
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b" $%*+-./:".contains(&b));
    input.starts_with(hcert::PREFIX) || (looks && !Path::new(input).exists())
}

fn texts_in(bytes: &[u8], place: &str) -> Vec<Found> {
    // Bytes that are no UTF-8 become U+FFFD, which is no character of Base45: the text is refused
    // later, with its place.
    let content = String::from_utf8_lossy(bytes);
    let content = content.trim_start_matches('\u{feff}');
    if content.trim_start().starts_with(['{', '['])
        && let Ok(json) = serde_json::from_str::<Value>(content)
    {
        let mut texts = Vec::new();
        members(&json, &mut texts);
        return numbered(texts, place, "certificate");
    }
    let mut found = Vec::new();
    for (number, line) in content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = format!("{place}:{}", number + 1);
        match serde_json::from_str::<Value>(line) {
            Ok(json @ Value::Object(_)) => {
                let mut texts = Vec::new();
                members(&json, &mut texts);
                found.extend(numbered(texts, &place, "certificate"));
            }
            _ => found.push(Found { place, text: line.to_owned() }),
        }
    }
    found
}

fn numbered(texts: Vec<String>, place: &str, what: &str) -> Vec<Found> {
    let several = texts.len() > 1;
    texts
        .into_iter()
        .enumerate()
        .map(|(index, text)| {
            let number = index + 1;
            let place =
                if several { format!("{place}, {what} {number}") } else { place.to_owned() };
            Found { place, text }
        })
        .collect()
}

/// Finds the texts in JSON, in the order they stand; its depth is bounded by the parser.
fn members(json: &Value, texts: &mut Vec<String>) {
    match json {
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::String(text) if text.starts_with(hcert::PREFIX) => {
                        texts.push(text.clone());
                    }
                    other => members(other, texts),
                }
            }
        }
        Value::Object(entries) => {
            for (key, value) in entries {
                match value {
                    Value::String(text) if key == "hcert" || key == "PREFIX" => {
                        texts.push(text.clone());
                    }
                    other => members(other, texts),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(content: &str) -> Vec<(String, String)> {
        let found = texts_in(content.as_bytes(), "f");
        found.into_iter().map(|found| (found.place, found.text)).collect()
    }

    fn pair(place: &str, text: &str) -> (String, String) {
        (place.to_owned(), text.to_owned())
    }

    #[test]
    fn lines_keep_their_spaces() {
        // A space at the end of a line belongs to the text; carriage returns and empty lines do not.
        assert_eq!(
            texts("HC1:A B \r\n\n \nHC1:C"),
            [pair("f:1", "HC1:A B "), pair("f:4", "HC1:C")]
        );
    }

    #[test]
    fn json_of_every_shape_is_searched() {
        // An array, lines of objects and the answers of a batch give their certificates in order.
        let answer = r#"{"results":[{"certificates":[{"hcert":"HC1:A"},{"hcert":"HC1:B"}]}]}"#;
        let both = [pair("f, certificate 1", "HC1:A"), pair("f, certificate 2", "HC1:B")];
        assert_eq!(texts(answer), both);
        assert_eq!(texts(r#"["HC1:A", "HC1:B"]"#), both);
        let lines = "{\"hcert\":\"HC1:A\",\"dose\":1}\n{\"hcert\":\"HC1:B\"}\n";
        assert_eq!(texts(lines), [pair("f:1", "HC1:A"), pair("f:2", "HC1:B")]);
        assert_eq!(texts("{\"status\":\"rejected\"}"), []);
    }

    #[test]
    fn inputs_are_told_apart() {
        // A text is taken as it is, a path is opened, a dash reads standard input.
        let mut stdin = &b"HC1:S\n"[..];
        let inputs = ["HC1:A".to_owned(), "-".to_owned()];
        let found = collect(&inputs, &mut stdin).unwrap();
        assert_eq!(found[0], Found { place: "argument 1".to_owned(), text: "HC1:A".to_owned() });
        assert_eq!(found[1].place, "standard input:1");
        let missing = collect(&["no/such/file".to_owned()], &mut io::empty()).unwrap_err();
        assert!(matches!(missing, TextsError::Read { .. }), "{missing}");
        assert!(matches!(collect(&[], &mut io::empty()), Err(TextsError::Nothing(_))));
        let damaged = "HL0:".to_owned() + &"6BF".repeat(20);
        assert_eq!(collect(&[damaged], &mut io::empty()).unwrap().len(), 1);
    }

    #[test]
    fn terminals_are_not_steered() {
        // Escape sequences and direction marks become visible; names stay as they are.
        assert_eq!(shown("Nguyễn Văn A"), "Nguyễn Văn A");
        assert_eq!(shown("\u{1b}[2J\u{202e}x\n"), "\\u{1b}[2J\\u{202e}x\\u{a}");
    }
}
