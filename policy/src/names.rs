//! The four name fields of a certificate.
//!
//! In: a full name and, if known, its leading part that is the surname. Out: `fn`/`gn` as the identity
//! paper writes them (NFC, single spaces) and `fnt`/`gnt` in Latin capitals, each at most 80
//! characters, none empty. It does not judge whether the name is the right one.

use std::fmt;

use crate::icao::{self, NotTransliterable};

/// The longest that a name field of a certificate may be (DCC schema 1.3.0), in characters.
const NAME_CHARS_MAX: usize = 80;

/// Signs that stand in no name: they are left over from the quoting of some file, and verifiers of other
/// countries stumbled over them. (ICAO 9303-3 would only leave them out of the Latin form.)
const STRAYS: [char; 2] = ['"', '\\'];

/// The names as a certificate shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct Names {
    /// Surname, or the only name.
    pub r#fn: String,
    /// Given names; a person with a single name has none.
    pub gn: Option<String>,
    /// Surname in Latin capitals, `<` between its parts.
    pub fnt: String,
    /// Given names in Latin capitals.
    pub gnt: Option<String>,
}

impl Names {
    /// Splits and transliterates a name; `surname` absent means the first word.
    ///
    /// # Errors
    /// Every [`NameFault`] that applies, never an empty list.
    pub fn new(full_name: &str, surname: Option<&str>) -> Result<Self, Vec<NameFault>> {
        let full = tidy(full_name);
        let mut faults = Vec::new();
        let split = match surname {
            Some(surname) => split_after(&full, &tidy(surname)),
            None => Some(full.split_once(' ').map_or((full.as_str(), None), |(s, g)| (s, Some(g)))),
        };
        if split.is_none() {
            faults.push(NameFault::SurnameNotInName);
        }
        if full.contains(STRAYS) {
            faults.push(NameFault::Invalid);
        }
        // Without a split the whole name is looked at, so that all its faults are reported at once.
        let (surname, given) = split.unwrap_or((&full, None));
        let fnt = latin(surname);
        let gnt = given.map(latin).transpose();
        match (fnt, gnt) {
            (Ok(fnt), Ok(gnt)) if faults.is_empty() => Ok(Self {
                r#fn: cut(surname).trim_end().to_owned(),
                gn: given.map(|given| cut(given).trim_end().to_owned()),
                fnt,
                gnt,
            }),
            (fnt, gnt) => {
                faults.extend(fnt.err().into_iter().chain(gnt.err()).flatten());
                faults.sort();
                faults.dedup();
                Err(faults)
            }
        }
    }
}

/// A name is personal data and does not get into logs by accident.
impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

/// What is wrong with a name; retrying does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NameFault {
    /// It is blank, or has digits, symbols or control characters.
    #[error("name is blank or has digits, symbols or control characters")]
    Invalid,
    /// It, or its surname or the rest alone, cannot be written in Latin capitals.
    #[error("name cannot be written in latin capitals")]
    NotTransliterable,
    /// The surname is not the leading words of the full name.
    #[error("surname is not the leading words of the full name")]
    SurnameNotInName,
}

/// Composes (NFC), drops what has no width, and leaves single spaces between words.
fn tidy(name: &str) -> String {
    let visible: String =
        icao::composed(name).chars().filter(|&c| !icao::is_invisible(c)).collect();
    // Only true spaces part words here; a line break stays and makes the name invalid.
    let is_space = |c: char| c.is_whitespace() && !c.is_control();
    let words: Vec<&str> = visible.split(is_space).filter(|word| !word.is_empty()).collect();
    // Dropping a character without width may have brought a letter and its mark together.
    icao::composed(&words.join(" ")).into_owned()
}

/// Parts the name after a surname that must be its leading words.
fn split_after<'a>(full: &'a str, surname: &str) -> Option<(&'a str, Option<&'a str>)> {
    let rest = full.strip_prefix(surname)?;
    let head = full.get(..surname.len())?;
    match rest.strip_prefix(' ') {
        Some(given) => Some((head, Some(given))),
        None => rest.is_empty().then_some((head, None)),
    }
}

/// Transliterates one field and cuts it to its length, never to nothing.
fn latin(name: &str) -> Result<String, Vec<NameFault>> {
    match icao::transliterate(name) {
        Ok(latin) => Ok(cut(&latin).trim_end_matches('<').to_owned()),
        Err(NotTransliterable::Empty) if name.is_empty() => Err(vec![NameFault::Invalid]),
        Err(NotTransliterable::Empty) => Err(vec![NameFault::NotTransliterable]),
        Err(_) => Err(icao::refusals(name).map(fault).collect()),
    }
}

fn fault(refusal: NotTransliterable) -> NameFault {
    match refusal {
        NotTransliterable::Alien | NotTransliterable::Digit => NameFault::Invalid,
        NotTransliterable::Empty | NotTransliterable::NoRow => NameFault::NotTransliterable,
    }
}

/// The first 80 characters.
fn cut(name: &str) -> &str {
    name.char_indices().nth(NAME_CHARS_MAX).and_then(|(end, _)| name.get(..end)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The four fields, with "-" for an absent one.
    fn fields(full_name: &str, surname: Option<&str>) -> [String; 4] {
        let names =
            Names::new(full_name, surname).unwrap_or_else(|f| panic!("{full_name:?}: {f:?}"));
        let or_dash = |field: Option<String>| field.unwrap_or_else(|| "-".to_owned());
        [names.r#fn, or_dash(names.gn), names.fnt, or_dash(names.gnt)]
    }

    #[test]
    fn the_first_word_is_the_surname() {
        // Without a surname the first word is it, and the rest are the given names.
        assert_eq!(
            fields("Nguyễn Bảo Duy", None),
            ["Nguyễn", "Bảo Duy", "NGUYEN", "BAO<DUY"] // as in the published sample
        );
    }

    #[test]
    fn a_given_surname_takes_its_words() {
        // A surname of several words is taken whole.
        assert_eq!(
            fields("Tôn Nữ Thị Ninh", Some("Tôn Nữ")),
            ["Tôn Nữ", "Thị Ninh", "TON<NU", "THI<NINH"]
        );
    }

    #[test]
    fn a_single_name_is_a_surname() {
        // A person with one name has fn and fnt only, with or without saying that it is the surname.
        assert_eq!(fields("Suharto", None), ["Suharto", "-", "SUHARTO", "-"]);
        assert_eq!(fields("Y Bhiu", Some("Y Bhiu")), ["Y Bhiu", "-", "Y<BHIU", "-"]);
    }

    #[test]
    fn a_surname_must_lead_the_name_by_whole_words() {
        // A surname elsewhere in the name, or half a word, or blank, is refused.
        for surname in ["Văn", "Ngu", "Nguyễn Vă", "nguyễn", "Nguyễn Văn A B", " ", "\u{200B}"]
        {
            assert_eq!(
                Names::new("Nguyễn Văn A", Some(surname)),
                Err(vec![NameFault::SurnameNotInName]),
                "{surname:?}"
            );
        }
    }

    #[test]
    fn certificates_carry_nfc_and_single_spaces() {
        // Names come decomposed and spaced by old systems; fields are NFC with single spaces.
        let decomposed: String = "Nguyễn Thị Ánh".nfd().collect();
        let messy = format!(" {}\u{A0} ", decomposed.replace(' ', " \u{A0}\u{200B}"));
        assert_eq!(fields(&messy, None), ["Nguyễn", "Thị Ánh", "NGUYEN", "THI<ANH"]);
        assert_eq!(fields(&messy, Some(" Nguyễn"))[1], "Thị Ánh");
        // A mark that was cut off its letter by a character without width finds it again.
        assert_eq!(fields("Le\u{200B}\u{302} A", None)[0], "Lê");
    }

    #[test]
    fn fields_end_at_80_characters() {
        // A field is cut at 80 characters, and neither a space nor a separator is left at its end.
        let [r#fn, gn, fnt, gnt] =
            fields(&format!("{} {}", "Ơ".repeat(90), "Ab ".repeat(60)), None);
        assert_eq!((r#fn.chars().count(), fnt), (80, "O".repeat(80)));
        assert_eq!((gn.chars().count(), gn.ends_with('b')), (80, true));
        assert_eq!((gnt.len(), gnt.ends_with('B')), (80, true));
        let [_, gn, _, gnt] = fields(&format!("A {} B", "C".repeat(79)), None);
        assert_eq!((gn, gnt), ("C".repeat(79), "C".repeat(79)));
        // Letters that become two are cut in Latin, too.
        assert_eq!(fields(&"Æ".repeat(79), None)[2].len(), 80);
    }

    #[test]
    fn blank_names_digits_and_symbols_are_invalid() {
        // A blank name, digits, symbols, straight quotation marks and control characters are not a name.
        let names = ["", "  ", "\u{200B}", "Nguyễn 2", "Nguyễn\nA", "A < B", "Lê ☺"];
        for name in names.into_iter().chain(["Lê \"Tí\" A", "Lê\\ A"]) {
            assert_eq!(Names::new(name, None), Err(vec![NameFault::Invalid]), "{name:?}");
        }
    }

    #[test]
    fn no_field_may_become_empty() {
        // A surname or given name of which nothing remains is refused, not left out.
        for name in ["Иван Петров", "Nguyễn 王", "Nguyễn ...", "- Văn", "'"] {
            assert_eq!(Names::new(name, None), Err(vec![NameFault::NotTransliterable]), "{name:?}");
        }
    }

    #[test]
    fn all_faults_are_found_at_once() {
        // A wrong surname does not hide what else is wrong with the name.
        assert_eq!(
            Names::new("Иван Петров", Some("Petrov")),
            Err(vec![NameFault::NotTransliterable, NameFault::SurnameNotInName])
        );
        assert_eq!(
            Names::new("Иван P3trov", None),
            Err(vec![NameFault::Invalid, NameFault::NotTransliterable])
        );
        assert_eq!(
            Names::new("Иван3", Some("X")),
            Err(vec![
                NameFault::Invalid,
                NameFault::NotTransliterable,
                NameFault::SurnameNotInName
            ])
        );
    }

    #[test]
    fn debug_prints_no_name() {
        // A name does not get into logs by accident.
        assert_eq!(format!("{:?}", Names::new("Nguyễn A", None)), "Ok(Names { .. })");
    }

    proptest! {
        #[test]
        fn fields_fit_the_schema(name in ".{0,120}", surname in prop::option::of(".{1,40}")) {
            // Whatever comes in, the fields have the form that the DCC schema asks for.
            if let Ok(names) = Names::new(&name, surname.as_deref()) {
                let native = [Some(names.r#fn), names.gn.clone()];
                let latin = [Some(names.fnt), names.gnt.clone()];
                prop_assert_eq!(names.gn.is_some(), names.gnt.is_some());
                for field in native.into_iter().flatten() {
                    prop_assert!(!field.is_empty() && field.chars().count() <= 80);
                    prop_assert!(unicode_normalization::is_nfc(&field));
                    prop_assert_eq!(field.trim(), field.as_str());
                }
                for field in latin.into_iter().flatten() {
                    prop_assert!((1..=80).contains(&field.len()));
                    prop_assert!(field.bytes().all(|b| b == b'<' || b.is_ascii_uppercase()));
                    prop_assert!(!field.starts_with('<') && !field.ends_with('<'));
                }
            }
        }
    }
}
