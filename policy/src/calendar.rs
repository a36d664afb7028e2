//! Calendar dates as records write them, and the day it is in Viet Nam.
//!
//! In: text, or seconds since 1970. Out: real dates of the Gregorian calendar, or nothing. Viet Nam
//! is at UTC+7 all year (since 1975, no daylight saving time), so no time zone database is needed.

use jiff::{
    Timestamp,
    civil::{Date, date},
    tz::Offset,
};

/// Local time in Viet Nam, the same all year.
pub const VIET_NAM: Offset = Offset::constant(7);

/// No dose is earlier: the first vaccinations against COVID-19 outside trials were in December 2020.
pub(crate) const FIRST_VACCINATIONS: Date = date(2020, 12, 1);

/// The birth years that field `dob` of a certificate can hold (DCC schema 1.3.0).
const BIRTH_YEARS: std::ops::RangeInclusive<i16> = 1900..=2099;

/// No summer time and no leap seconds: every day has as many.
pub(crate) const SECONDS_PER_DAY: i64 = 86_400;

/// The first second of the day it is in Viet Nam, and the first one of the day after, in seconds
/// since 1970.
pub fn day_bounds(now: i64) -> (i64, i64) {
    let begin = now.saturating_sub(second_of_day(now));
    (begin, begin.saturating_add(SECONDS_PER_DAY))
}

/// How many seconds of the day have passed in Viet Nam.
pub(crate) fn second_of_day(now: i64) -> i64 {
    now.saturating_add(i64::from(VIET_NAM.seconds())).rem_euclid(SECONDS_PER_DAY)
}

/// A span of days in Viet Nam, both ends included; an end that is absent is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// The first day.
    pub(crate) from: Option<Date>,
    /// The last day.
    pub(crate) to: Option<Date>,
}

impl Period {
    /// Tells whether a time, in seconds since 1970, is within it.
    pub fn contains(&self, time: i64) -> bool {
        self.has_day(today(time))
    }

    /// Tells whether a day is within it.
    pub(crate) fn has_day(&self, day: Date) -> bool {
        self.from.is_none_or(|from| from <= day) && self.to.is_none_or(|to| day <= to)
    }
}

/// The day it is in Viet Nam; for a time beyond the calendar the first of all days, so that every
/// date of a record is in the future and nothing passes.
pub(crate) fn today(now: i64) -> Date {
    Timestamp::from_second(now).map_or(Date::MIN, |now| VIET_NAM.to_datetime(now).date())
}

/// Reads `YYYY-MM-DD`, if that day exists.
pub(crate) fn full_date(text: &str) -> Option<Date> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    Date::new(
        digits(year, 4)?,
        digits(month, 2)?.try_into().ok()?,
        digits(day, 2)?.try_into().ok()?,
    )
    .ok()
}

/// A birth date of which the day, or month and day, may be unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BirthDate {
    /// The first day it may have been.
    pub(crate) earliest: Date,
}

impl BirthDate {
    /// Reads `YYYY-MM-DD`, `YYYY-MM` or `YYYY`, if that exists and a certificate can hold it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let earliest = match text.len() {
            4 => full_date(&format!("{text}-01-01")),
            7 => full_date(&format!("{text}-01")),
            _ => full_date(text),
        }?;
        BIRTH_YEARS.contains(&earliest.year()).then_some(Self { earliest })
    }
}

/// Reads exactly `width` decimal digits.
fn digits(text: &str, width: usize) -> Option<i16> {
    (text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_days_that_exist_are_dates() {
        // A date is YYYY-MM-DD and exists in the calendar.
        assert_eq!(full_date("2021-06-20"), Some(date(2021, 6, 20)));
        assert_eq!(full_date("2024-02-29"), Some(date(2024, 2, 29)));
        for bad in [
            "2023-02-29",
            "2021-13-01",
            "2021-00-10",
            "2021-04-31",
            "2021-06-00",
            "20210620",
            "2021-6-20",
            "20/06/2021",
            "2021-06-20T00:00:00",
            " 2021-06-20",
            "+021-06-20",
            "2021-06",
            "",
            "--",
            "٢٠٢١-٠٦-٢٠",
        ] {
            assert_eq!(full_date(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_partial_birth_date_counts_from_its_first_day() {
        // A birth date may lack the day, or month and day, and then counts from its earliest day.
        let earliest = |text| BirthDate::parse(text).map(|birth| birth.earliest);
        assert_eq!(earliest("1999"), Some(date(1999, 1, 1)));
        assert_eq!(earliest("1999-10"), Some(date(1999, 10, 1)));
        assert_eq!(earliest("1999-10-20"), Some(date(1999, 10, 20)));
        for bad in ["1999-13", "1999-1", "199", "", "1899-12-31", "2100", "1999-02-29", "1999-10-2"]
        {
            assert_eq!(earliest(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_day_changes_at_seventeen_hours_utc() {
        // The day in Viet Nam begins at 17:00 UTC of the day before.
        // 2022-04-14T16:59:59Z and the second after it.
        assert_eq!(today(1_649_955_599), date(2022, 4, 14));
        assert_eq!(today(1_649_955_600), date(2022, 4, 15));
    }

    #[test]
    fn a_day_has_its_first_second_and_the_next_days() {
        // The bounds of a day are its first second in Viet Nam and that of the day after.
        let bounds = (1_649_955_600, 1_650_042_000);
        assert_eq!(day_bounds(1_649_955_600), bounds);
        assert_eq!(day_bounds(1_650_041_999), bounds);
        assert_eq!(day_bounds(1_649_955_599).1, bounds.0);
    }

    #[test]
    fn a_period_has_its_first_and_its_last_day() {
        // A period lasts from the first second of its first day to the last second of its last.
        let day = Some(date(2022, 4, 15));
        let period = Period { from: day, to: day };
        assert!(period.contains(1_649_955_600) && period.contains(1_650_041_999));
        assert!(!period.contains(1_649_955_599) && !period.contains(1_650_042_000));
        assert!(Period { from: None, to: day }.contains(0));
        assert!(Period { from: day, to: None }.contains(4_000_000_000));
        assert!(Period::default().contains(i64::MIN));
    }

    #[test]
    fn a_time_beyond_the_calendar_lets_nothing_pass() {
        // For a time that is no time, every date is in the future.
        assert_eq!(today(i64::MAX), Date::MIN);
        assert_eq!(today(i64::MIN), Date::MIN);
    }

    proptest! {
        #[test]
        fn a_date_reads_back(year in 0i16..=9999, month in 1i8..=12, day in 1i8..=31) {
            // Every day that exists reads back as itself, and no other text of that shape is a date.
            let text = format!("{year:04}-{month:02}-{day:02}");
            prop_assert_eq!(full_date(&text), Date::new(year, month, day).ok());
        }

        #[test]
        fn no_text_breaks_the_reader(text in ".{0,12}") {
            // Any text is a date or none.
            let _ = (full_date(&text), BirthDate::parse(&text));
        }
    }
}
