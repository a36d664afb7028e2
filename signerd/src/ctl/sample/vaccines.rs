//! Sample doses: products that were given in Viet Nam, on days when they were.
//!
//! A person's year of birth and a number of doses in, dated doses out. Product, manufacturer and
//! vaccine type are combinations that QD 5772 §4 and the EU value sets 2.12.0 know; dates ascend with
//! the intervals of practice.

use jiff::civil::{Date, date};
use jiff::{Span, ToSpan};

use super::random::Random;
use crate::ctl::records::Dose;

/// The last day a first dose is given on.
const FIRST_DOSE_UNTIL: Date = date(2021, 12, 31);
/// A day after the last possible third dose: two boosters behind the last dose of a series of one.
const THREE_DOSES_UNTIL: Date = date(2023, 1, 1);
/// Between a primary series and a booster, and between boosters: three to six months.
const BOOSTER_DAYS: (i64, i64) = (90, 180);
/// Those born later were under 18 in 2021: in Viet Nam they got Comirnaty only.
const ADULTS_BORN_UNTIL: i64 = 2003;

/// A product and how it is given.
struct Product {
    code: &'static str,
    manufacturer: &'static str,
    vaccines: &'static [&'static str],
    /// The first day it was given in Viet Nam, roughly.
    from: Date,
    /// Doses of the primary series.
    series: u64,
    /// Days between its doses.
    days: (i64, i64),
    /// How often it is drawn.
    weight: i64,
}

const COMIRNATY: Product = Product {
    code: "EU/1/20/1528",
    manufacturer: "ORG-100030215",
    vaccines: &["1119349007"],
    from: date(2021, 7, 8),
    series: 2,
    days: (21, 42),
    weight: 30,
};

const PRODUCTS: &[Product] = &[
    COMIRNATY,
    Product {
        code: "EU/1/21/1529",
        manufacturer: "ORG-100001699",
        vaccines: &["29061000087103", "J07BX03"],
        from: date(2021, 3, 8),
        series: 2,
        days: (28, 84),
        weight: 30,
    },
    Product {
        code: "BBIBP-CorV",
        manufacturer: "ORG-100020693",
        vaccines: &["1157024006", "J07BX03"],
        from: date(2021, 6, 20),
        series: 2,
        days: (21, 35),
        weight: 18,
    },
    Product {
        code: "EU/1/20/1507",
        manufacturer: "ORG-100031184",
        vaccines: &["1119349007"],
        from: date(2021, 7, 20),
        series: 2,
        days: (28, 42),
        weight: 8,
    },
    Product {
        code: "Abdala",
        manufacturer: "CIGB",
        vaccines: &["28531000087107", "J07BX03"],
        from: date(2021, 10, 10),
        series: 3,
        days: (14, 28),
        weight: 5,
    },
    Product {
        code: "Hayat-Vax",
        manufacturer: "ORG-100023050",
        vaccines: &["1157024006", "J07BX03"],
        from: date(2021, 9, 20),
        series: 2,
        days: (21, 35),
        weight: 4,
    },
    Product {
        code: "Sputnik-V",
        manufacturer: "Gamaleya-Research-Institute",
        vaccines: &["29061000087103", "J07BX03"],
        from: date(2021, 7, 1),
        series: 2,
        days: (21, 35),
        weight: 3,
    },
    Product {
        code: "EU/1/20/1525",
        manufacturer: "ORG-100001417",
        vaccines: &["29061000087103", "J07BX03"],
        from: date(2021, 10, 1),
        series: 1,
        days: (60, 90),
        weight: 2,
    },
];

/// The unit that gives the doses.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    /// Its id.
    pub(super) id: String,
    /// Its name.
    pub(super) name: Option<String>,
}

/// The doses of one person.
#[must_use]
pub(super) fn doses(birth_year: i64, count: u64, unit: &Unit, random: &mut Random) -> Vec<Dose> {
    let primary = if birth_year > ADULTS_BORN_UNTIL { &COMIRNATY } else { draw(random) };
    let mut day =
        later(primary.from, random.between(0, days_between(primary.from, FIRST_DOSE_UNTIL)));
    let mut doses = Vec::new();
    for number in 1..=count {
        let in_series = number <= primary.series;
        let (low, high) = if in_series { primary.days } else { BOOSTER_DAYS };
        if number > 1 {
            day = later(day, random.between(low, high));
        }
        let product = if in_series { primary } else { &COMIRNATY };
        doses.push(Dose {
            date: day.to_string(),
            number,
            product: product.code.into(),
            vaccine: random.pick(product.vaccines).copied().unwrap_or_default().into(),
            facility: unit.id.clone(),
            manufacturer: product.manufacturer.into(),
            facility_name: unit.name.clone(),
            managing_facility: None,
        });
    }
    doses
}

/// The first day on which every dose of such a sample lies in the past.
#[must_use]
pub(super) fn all_given_by(doses_max: u64) -> Date {
    let boosters = i64::try_from(doses_max.saturating_sub(3)).unwrap_or(0);
    later(THREE_DOSES_UNTIL, boosters.saturating_mul(BOOSTER_DAYS.1))
}

fn draw(random: &mut Random) -> &'static Product {
    let total: i64 = PRODUCTS.iter().map(|product| product.weight).sum();
    let mut left = random.between(1, total);
    for product in PRODUCTS {
        left = left.saturating_sub(product.weight);
        if left <= 0 {
            return product;
        }
    }
    &COMIRNATY
}

fn later(day: Date, days: i64) -> Date {
    let span: Span = days.days();
    day.saturating_add(span)
}

fn days_between(from: Date, until: Date) -> i64 {
    from.until(until).map_or(0, |span| i64::from(span.get_days()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn unit() -> Unit {
        Unit { id: "79-TTYT-Q1".into(), name: None }
    }

    #[test]
    fn dates_ascend_and_lie_in_the_past() {
        // Doses are numbered from 1, strictly later each, and all given by the day the sample says.
        for index in 0..3000 {
            let mut random = Random::new(1, index);
            let count = 1 + index % 5;
            let doses = doses(1980, count, &unit(), &mut random);
            assert_eq!(doses.len(), usize::try_from(count).unwrap());
            assert!(doses.windows(2).all(|pair| pair[0].date < pair[1].date));
            assert!(doses.windows(2).all(|pair| pair[0].number + 1 == pair[1].number));
            assert!(doses.last().unwrap().date < all_given_by(count).to_string());
        }
    }

    #[test]
    fn every_product_is_drawn_and_children_get_one() {
        // All eight products of QD 5772 §4 occur, and those under 18 have Comirnaty only.
        let drawn: HashSet<_> = (0..500)
            .map(|index| doses(1980, 1, &unit(), &mut Random::new(2, index))[0].product.clone())
            .collect();
        assert_eq!(drawn.len(), 8);
        for index in 0..200 {
            let doses = doses(2008, 3, &unit(), &mut Random::new(2, index));
            assert!(doses.iter().all(|dose| dose.product == "EU/1/20/1528"));
        }
    }

    #[test]
    fn series_are_not_mixed() {
        // Within the primary series a person gets one product; three doses of Abdala, one of Janssen.
        for index in 0..500 {
            let doses = doses(1980, 3, &unit(), &mut Random::new(4, index));
            let same = doses.iter().filter(|dose| dose.product == doses[0].product).count();
            match doses[0].product.as_str() {
                "Abdala" | "EU/1/20/1528" => assert_eq!(same, 3),
                "EU/1/20/1525" => assert_eq!(same, 1),
                _ => assert_eq!(same, 2),
            }
        }
    }
}
