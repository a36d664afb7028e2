//! Sample people: names, papers and birthdays that fit each other.
//!
//! Seed and record number in, a [`Holder`] out. One in twenty is a foreigner with a passport, others
//! have compound surnames, one name only, a nine-digit CMND or, among the old, a birthday that is a
//! year; some names are all upper or lower case or decomposed, as old systems send them. Numbers on
//! papers do not repeat within a sample. None of these people exists.

use super::names::{
    COMPOUND_SURNAMES, FEMALE_MIDDLES, FOREIGNERS, GIVEN, MALE_MIDDLES, MONONYMS, PROVINCES,
    SURNAMES, Sex,
};
use super::random::Random;
use crate::ctl::records::Holder;

/// Numbers of papers are a permutation of the record numbers modulo this: six free digits of a CCCD.
pub(super) const SERIALS: u64 = 1_000_000;
/// Coprime to [`SERIALS`], so that multiplying by it permutes.
const SERIAL_STEP: u64 = 611_953;

/// What the rest of a record needs to know of a person.
pub(super) struct Person {
    /// The person as the record says.
    pub(super) holder: Holder,
    /// Year of birth.
    pub(super) birth_year: i64,
}

struct Name {
    full: String,
    surname: Option<String>,
    sex: Sex,
}

/// The person of this record.
#[must_use]
pub(super) fn person(seed: u64, index: u64, random: &mut Random) -> Person {
    // Kinds go by position, so that a sample of twenty has them all.
    match index % 20 {
        3 => foreigner(seed, index, random),
        7 => citizen(compound_name(index, random), Paper::Cccd, seed, index, random),
        11 => citizen(mononym(index), Paper::Cccd, seed, index, random),
        13 => citizen(name(seed, index, random), Paper::Cmnd, seed, index, random),
        _ => citizen(name(seed, index, random), Paper::Cccd, seed, index, random),
    }
}

#[derive(Clone, Copy)]
enum Paper {
    Cccd,
    Cmnd,
}

fn citizen(name: Name, paper: Paper, seed: u64, index: u64, random: &mut Random) -> Person {
    let (birth_year, date_of_birth) = birthday(random);
    let serial = serial(seed, index);
    let province = random.pick(PROVINCES).copied().unwrap_or("001");
    let national_id = match paper {
        Paper::Cccd => {
            // Century and sex in one digit: 0 and 1 for those born in the 1900s, then 2 and 3.
            let century = if birth_year < 2000 { 0 } else { 2 };
            let female = i64::from(name.sex == Sex::Female);
            format!("{province}{}{:02}{serial:06}", century + female, birth_year % 100)
        }
        Paper::Cmnd => format!("{province}{serial:06}"),
    };
    Person {
        birth_year,
        holder: Holder {
            phone: random.chance(60).then(|| format!("09{:08}", random.between(0, 99_999_999))),
            surname: name.surname,
            passport: random.chance(10).then(|| format!("C{:07}", random.between(0, 9_999_999))),
            full_name: name.full,
            national_id: Some(national_id),
            nationality: "VN".into(),
            date_of_birth,
        },
    }
}

fn foreigner(seed: u64, index: u64, random: &mut Random) -> Person {
    let (birth_year, date_of_birth) = birthday(random);
    let &(surname, given, nationality) =
        cycle(FOREIGNERS, index / 20).unwrap_or(&("Smith", "John", "US"));
    let letters: String = (0..2).filter_map(|_| random.pick(&['A', 'K', 'P', 'X'])).collect();
    Person {
        birth_year,
        holder: Holder {
            phone: None,
            surname: Some(surname.into()),
            passport: Some(format!("{letters}{:06}", serial(seed, index))),
            full_name: format!("{surname} {given}").trim_end().into(),
            national_id: None,
            nationality: nationality.into(),
            date_of_birth,
        },
    }
}

fn name(seed: u64, index: u64, random: &mut Random) -> Name {
    // Given names go round the table, so that a few hundred records hold every letter.
    let &(given, sex) = cycle(GIVEN, seed.wrapping_add(index)).unwrap_or(&("An", Sex::Male));
    let surname = random.pick(SURNAMES).copied().unwrap_or("Nguyễn");
    let full = format!("{surname} {} {given}", middle(sex, random));
    let full = match random.between(1, 100) {
        1..=3 => full.to_uppercase(),
        4 => full.to_lowercase(),
        _ => full,
    };
    Name { full, surname: None, sex }
}

fn compound_name(index: u64, random: &mut Random) -> Name {
    let &(surname, sex) = cycle(COMPOUND_SURNAMES, index / 20).unwrap_or(&("Tôn Thất", Sex::Male));
    let fitting: Vec<_> = GIVEN.iter().filter(|(_, of)| *of == sex).collect();
    let given = random.pick(&fitting).map_or("An", |(given, _)| given);
    let full = format!("{surname} {} {given}", middle(sex, random));
    Name { full, surname: Some(surname.into()), sex }
}

fn mononym(index: u64) -> Name {
    let &(full, sex) = cycle(MONONYMS, index / 20).unwrap_or(&("Điểu", Sex::Male));
    Name { full: full.into(), surname: None, sex }
}

fn middle(sex: Sex, random: &mut Random) -> &'static str {
    let (from, otherwise) = match sex {
        Sex::Male => (MALE_MIDDLES, "Văn"),
        Sex::Female => (FEMALE_MIDDLES, "Thị"),
    };
    random.pick(from).copied().unwrap_or(otherwise)
}

/// Year and text: twelve years and older when vaccination began; the year alone for some of the old.
fn birthday(random: &mut Random) -> (i64, String) {
    let year = random.between(1930, 2009);
    if year < 1950 && random.chance(20) {
        return (year, year.to_string());
    }
    // Days up to 28 exist in every month.
    (year, format!("{year}-{:02}-{:02}", random.between(1, 12), random.between(1, 28)))
}

fn serial(seed: u64, index: u64) -> u64 {
    (seed % SERIALS).wrapping_add(index.wrapping_mul(SERIAL_STEP)) % SERIALS
}

fn cycle<T>(table: &[T], position: u64) -> Option<&T> {
    let length = u64::try_from(table.len()).ok()?;
    table.get(usize::try_from(position.checked_rem(length)?).ok()?)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const LETTERS: &str = "àáảãạăằắẳẵặâầấẩẫậèéẻẽẹêềếểễệìíỉĩịòóỏõọôồốổỗộơờớởỡợùúủũụưừứửữựỳýỷỹỵđ";

    fn people(seed: u64, count: u64) -> Vec<Person> {
        (0..count).map(|index| person(seed, index, &mut Random::new(seed, index))).collect()
    }

    #[test]
    fn every_vietnamese_letter_occurs() {
        // A thousand people of any seed hold all 67 letters with diacritics.
        for seed in [0, 7, u64::MAX] {
            let text: String =
                people(seed, 1000).iter().map(|p| p.holder.full_name.clone()).collect();
            let text = text.to_lowercase();
            let missing: String =
                LETTERS.chars().filter(|letter| !text.contains(*letter)).collect();
            assert_eq!((missing.as_str(), LETTERS.chars().count()), ("", 67));
        }
    }

    #[test]
    fn papers_do_not_repeat() {
        // Within a sample no two people have the same nationality and number.
        let mut seen = HashSet::new();
        for Person { holder, .. } in people(3, 20_000) {
            let number = holder.national_id.or(holder.passport).unwrap();
            assert!(seen.insert((holder.nationality, number)));
        }
    }

    #[test]
    fn cccd_fits_its_owner() {
        // A CCCD has twelve digits: a province, century and sex, the year of birth.
        for Person { holder, birth_year } in people(5, 2000) {
            let Some(number) = holder.national_id.filter(|number| number.len() == 12) else {
                continue;
            };
            assert!(
                PROVINCES.contains(&&number[..3]) && number.bytes().all(|b| b.is_ascii_digit())
            );
            let century: i64 = number[3..4].parse().unwrap();
            assert_eq!(1900 + century / 2 * 100 + number[4..6].parse::<i64>().unwrap(), birth_year);
            assert!(holder.date_of_birth.starts_with(&birth_year.to_string()));
        }
    }

    #[test]
    fn all_kinds_are_there() {
        // Two hundred people have CCCD, CMND, passports, compound surnames, mononyms and bare years.
        let people = people(1, 200);
        let any = |test: &dyn Fn(&Holder) -> bool| people.iter().any(|p| test(&p.holder));
        assert!(any(&|h| h.national_id.as_ref().is_some_and(|id| id.len() == 9)));
        assert!(any(&|h| h.nationality != "VN" && h.passport.is_some() && h.national_id.is_none()));
        assert!(any(&|h| h.surname.as_ref().is_some_and(|s| s.contains(' '))));
        assert!(any(&|h| h.nationality == "VN" && !h.full_name.contains(' ')));
        assert!(any(&|h| h.nationality != "VN" && !h.full_name.contains(' ')));
        assert!(any(&|h| h.date_of_birth.len() == 4));
    }

    #[test]
    fn surnames_lead_the_name() {
        // A surname that is given is a leading part of the full name, ending on a space or the end.
        for Person { holder, .. } in people(9, 2000) {
            let Some(surname) = holder.surname else { continue };
            let rest = holder.full_name.strip_prefix(&surname).unwrap();
            assert!(rest.is_empty() || rest.starts_with(' '), "{}", holder.full_name);
        }
    }
}
