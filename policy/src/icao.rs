//! Names in Latin capitals, by ICAO Doc 9303 Part 3, section 6.A, and a rule for Vietnamese.
//!
//! In: a name as people write it, composed or decomposed. Out: `A`–`Z` and single `<` between the
//! parts, never empty and never cut (a certificate's 80 characters are its matter). Where the document
//! recommends several forms, the first is used.
//!
//! The document's table has 20 of the 67 accented capitals of Vietnamese. For the others (those with
//! horn, hook or dot below, or two marks) the mark is left out, as its Appendix B says for national
//! characters in general, and as Viet Nam's published certificates do.
//!
//! It does not guess: a letter without a row (Cyrillic, Han, ...) is an error, not a gap in a name.

use std::borrow::Cow;

use unicode_normalization::{
    UnicodeNormalization,
    char::{decompose_canonical, is_combining_mark},
    is_nfc,
};

/// Between the parts of a name.
const SEPARATOR: char = '<';

/// The combining marks of Vietnamese that are left out of a letter: grave, acute, circumflex, tilde,
/// breve, hook above, horn, dot below.
const MARKS: [char; 8] =
    ['\u{300}', '\u{301}', '\u{302}', '\u{303}', '\u{306}', '\u{309}', '\u{31B}', '\u{323}'];

/// Writes a name in Latin capitals.
///
/// # Errors
/// [`NotTransliterable`] if a character has no place in a name or no row in the table, or if nothing
/// remains.
pub fn transliterate(text: &str) -> Result<String, NotTransliterable> {
    let mut latin = String::with_capacity(text.len());
    for c in composed(text).chars().flat_map(char::to_uppercase) {
        match part(c)? {
            Part::Letters(letters) => latin.push_str(letters),
            Part::Letter(letter) => latin.push(letter),
            Part::Separator if latin.is_empty() || latin.ends_with(SEPARATOR) => {}
            Part::Separator => latin.push(SEPARATOR),
            Part::Nothing => {}
        }
    }
    latin.truncate(latin.trim_end_matches(SEPARATOR).len());
    if latin.is_empty() { Err(NotTransliterable::Empty) } else { Ok(latin) }
}

/// The text in NFC. Nearly every name is sent in it, and looking costs a fraction of composing.
pub(crate) fn composed(text: &str) -> Cow<'_, str> {
    if is_nfc(text) { Cow::Borrowed(text) } else { text.nfc().collect() }
}

/// Every reason why a character of the text has no place in Latin capitals, in the text's order.
pub(crate) fn refusals(text: &str) -> impl Iterator<Item = NotTransliterable> {
    text.nfc().flat_map(char::to_uppercase).filter_map(|c| part(c).err())
}

/// Why a name cannot be written in Latin capitals; none names the character, which is personal data.
/// Retrying does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTransliterable {
    /// A control character or a symbol; it is no part of a name.
    #[error("name contains a control character or a symbol")]
    Alien,
    /// A digit; ICAO 9303-3 §4.6 allows none.
    #[error("name contains a digit")]
    Digit,
    /// Nothing remains: the text has no letter.
    #[error("name contains no letter")]
    Empty,
    /// A letter that neither the table nor the rule for Vietnamese covers.
    #[error("name contains a letter that has no row in the table")]
    NoRow,
}

/// What one capital letter or sign becomes.
enum Part {
    Letters(&'static str),
    Letter(char),
    Separator,
    Nothing,
}

/// Finds what one character becomes; letters are capitals by now.
fn part(c: char) -> Result<Part, NotTransliterable> {
    if c.is_ascii_uppercase() {
        return Ok(Part::Letter(c));
    }
    if let Some(letters) = row(c) {
        return Ok(Part::Letters(letters));
    }
    if is_separator(c) {
        return Ok(Part::Separator);
    }
    if is_omitted(c) {
        return Ok(Part::Nothing);
    }
    without_marks(c).ok_or_else(|| refusal(c))
}

/// ICAO Doc 9303-3 §6.A, and below the line letters that it lacks and that names in Viet Nam's
/// records have. Capitals only, as in the document; a small letter is capitalised first.
fn row(c: char) -> Option<&'static str> {
    Some(match c {
        'À' | 'Á' | 'Â' | 'Ã' | 'Ā' | 'Ă' | 'Ą' => "A",
        'Ä' | 'Æ' => "AE",
        'Å' => "AA",
        'Ç' | 'Ć' | 'Ĉ' | 'Ċ' | 'Č' => "C",
        'Ð' | 'Ď' | 'Đ' => "D",
        'È' | 'É' | 'Ê' | 'Ë' | 'Ē' | 'Ĕ' | 'Ė' | 'Ę' | 'Ě' => "E",
        'Ĝ' | 'Ğ' | 'Ġ' | 'Ģ' => "G",
        'Ĥ' | 'Ħ' => "H",
        'Ì' | 'Í' | 'Î' | 'Ï' | 'Ĩ' | 'Ī' | 'Ĭ' | 'Į' | 'İ' | 'ı' => "I",
        'Ĳ' => "IJ",
        'Ĵ' => "J",
        'Ķ' => "K",
        'Ĺ' | 'Ļ' | 'Ľ' | 'Ŀ' | 'Ł' => "L",
        'Ñ' | 'Ń' | 'Ņ' | 'Ň' | 'Ŋ' => "N",
        'Ò' | 'Ó' | 'Ô' | 'Õ' | 'Ō' | 'Ŏ' | 'Ő' => "O",
        'Ö' | 'Ø' | 'Œ' => "OE",
        'Ŕ' | 'Ŗ' | 'Ř' => "R",
        'Ś' | 'Ŝ' | 'Ş' | 'Š' => "S",
        'ẞ' => "SS",
        'Ţ' | 'Ť' | 'Ŧ' => "T",
        'Þ' => "TH",
        'Ù' | 'Ú' | 'Û' | 'Ũ' | 'Ū' | 'Ŭ' | 'Ů' | 'Ű' | 'Ų' => "U",
        'Ü' => "UE",
        'Ŵ' => "W",
        'Ý' | 'Ŷ' | 'Ÿ' => "Y",
        'Ź' | 'Ż' | 'Ž' => "Z",
        // Not in the document: look-alikes of Đ, and letters of neighbouring alphabets.
        'Ɖ' => "D",
        'Ə' => "A",
        'Ǧ' => "G",
        'ĸ' => "K",
        'Ș' => "S",
        'Ț' => "T",
        _ => return None,
    })
}

/// ICAO 9303-3 §4.6: spaces, hyphens and commas stand between parts. Dashes are hyphens by mistake.
fn is_separator(c: char) -> bool {
    matches!(c, '-' | ',' | '\u{2010}'..='\u{2015}' | '\u{2212}')
        || (c.is_whitespace() && !c.is_control())
}

/// ICAO 9303-3 §4.6: apostrophes and all other punctuation are omitted without a gap; so are
/// characters without width, which only show how a text was typed.
fn is_omitted(c: char) -> bool {
    const SYMBOLS: &str = "$+<=>^|~";
    let punctuation = c.is_ascii_punctuation() && !SYMBOLS.contains(c);
    let apostrophe = matches!(c, '´' | 'ʹ' | 'ʻ' | 'ʼ' | 'ʽ' | '\u{2018}'..='\u{201F}');
    let general = matches!(c, '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' | '\u{2016}'..='\u{2017}'
        | '\u{2020}'..='\u{2027}' | '\u{2030}'..='\u{205E}');
    punctuation || apostrophe || general || is_invisible(c) || MARKS.contains(&c)
}

/// Characters that have no width and no meaning in a name: soft hyphen, zero-width spaces and
/// joiners, marks of writing direction, byte order mark.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2064}'
        | '\u{FEFF}')
}

/// The rule for Vietnamese: a Latin capital that is only a base letter and marks loses the marks.
fn without_marks(c: char) -> Option<Part> {
    let (mut base, mut only_marks) = (None, true);
    decompose_canonical(c, |piece| match base {
        None => base = Some(piece),
        Some(_) => only_marks &= MARKS.contains(&piece),
    });
    base.filter(|base| only_marks && base.is_ascii_uppercase()).map(Part::Letter)
}

/// Why a character that becomes nothing is refused.
fn refusal(c: char) -> NotTransliterable {
    if c.is_numeric() {
        NotTransliterable::Digit
    } else if c.is_alphabetic() || is_combining_mark(c) {
        NotTransliterable::NoRow
    } else {
        NotTransliterable::Alien
    }
}

#[cfg(test)]
mod tests;
