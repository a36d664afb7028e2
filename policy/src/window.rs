//! The hours of the day in which an issuer signs (Công văn 1908, Annex 01-2: at the end of the day).
//!
//! In: the time, in seconds since 1970. Out: whether the window is open by the clock of Viet Nam, and
//! if not, how long until it opens. It knows nothing of an officer's override: who asks does.

use std::fmt;

use crate::calendar::{SECONDS_PER_DAY, second_of_day};

const SECONDS_PER_MINUTE: u32 = 60;
const MINUTES_PER_DAY: u32 = 24 * 60;

/// From one minute of the local day up to, and without, another; over midnight where the second is
/// the earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningWindow {
    /// First minute, 0 to 1439.
    from: u32,
    /// The minute it closes, 1 to 1440; never equal to `from`.
    to: u32,
}

impl SigningWindow {
    /// Reads `HH:MM-HH:MM`, for example `17:00-24:00` or, over midnight, `20:00-06:00`; nothing if it
    /// is not of that form, or if both are the same minute.
    pub fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        let (from, to) = (minute(from)?, minute(to)?);
        (from < MINUTES_PER_DAY && to > 0 && from != to).then_some(Self { from, to })
    }

    /// In how many seconds the window opens; none: it is open.
    pub fn opens_in(self, now: i64) -> Option<u64> {
        let second = second_of_day(now);
        let from = i64::from(self.from * SECONDS_PER_MINUTE);
        let to = i64::from(self.to * SECONDS_PER_MINUTE);
        let is_open =
            if from < to { (from..to).contains(&second) } else { second >= from || second < to };
        (!is_open).then(|| (from - second).rem_euclid(SECONDS_PER_DAY).unsigned_abs())
    }
}

/// As `policy.toml` writes it.
impl fmt::Display for SigningWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

/// Reads `HH:MM`, up to `24:00`.
fn minute(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let two_digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !two_digits(hour) || !two_digits(minute) {
        return None;
    }
    let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= MINUTES_PER_DAY).then_some(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Seconds since 1970 of a time on 15 April 2022 in Viet Nam.
    fn at(hour: i64, minute: i64, second: i64) -> i64 {
        1_649_955_600 + hour * 3_600 + minute * 60 + second
    }

    fn window(text: &str) -> SigningWindow {
        SigningWindow::parse(text).unwrap()
    }

    #[test]
    fn a_window_is_open_from_its_first_second_until_before_its_last_minute() {
        // 17:00-22:30 is open at 17:00:00 and at 22:29:59, and closed a second before and after.
        let window = window("17:00-22:30");
        assert_eq!(window.opens_in(at(16, 59, 59)), Some(1));
        assert_eq!(window.opens_in(at(17, 0, 0)), None);
        assert_eq!(window.opens_in(at(22, 29, 59)), None);
        assert_eq!(window.opens_in(at(22, 30, 0)), Some(18 * 3_600 + 30 * 60));
    }

    #[test]
    fn a_window_may_last_until_midnight_or_over_it() {
        // 24:00 is the end of the day; a window that ends before it begins goes over midnight.
        assert_eq!(window("17:00-24:00").opens_in(at(23, 59, 59)), None);
        assert_eq!(window("17:00-24:00").opens_in(at(24, 0, 0)), Some(17 * 3_600));
        let night = window("20:00-06:00");
        for (hour, open) in [(19, false), (20, true), (23, true), (0, true), (5, true), (6, false)]
        {
            assert_eq!(night.opens_in(at(hour, 0, 0)).is_none(), open, "{hour}");
        }
        assert_eq!(night.opens_in(at(6, 0, 0)), Some(14 * 3_600));
    }

    #[test]
    fn only_two_different_times_of_a_day_are_a_window() {
        // Anything but two times of day, and a window that never or always opens, is none.
        for bad in [
            "",
            "17:00",
            "17-24",
            "17:00-17:00",
            "24:00-06:00",
            "17:60-19:00",
            "25:00-26:00",
            "00:00-24:01",
            "7:00-8:00",
            "17:00 - 22:00",
            "+7:00-08:00",
            "17:00-22:00-23:00",
        ] {
            assert_eq!(SigningWindow::parse(bad), None, "{bad:?}");
        }
        assert!(SigningWindow::parse("06:00-00:00").is_none(), "write 24:00");
    }

    proptest! {
        #[test]
        fn a_window_prints_as_it_is_written(from in 0u32..1440, to in 1u32..=1440) {
            // Every window reads back from its own text.
            prop_assume!(from != to);
            let window = SigningWindow { from, to };
            prop_assert_eq!(SigningWindow::parse(&window.to_string()), Some(window));
        }

        #[test]
        fn after_the_wait_it_is_open(from in 0u32..1440, to in 1u32..=1440, now: i32) {
            // Whoever waits as long as told finds the window open, and a second earlier closed.
            prop_assume!(from != to);
            let (window, now) = (SigningWindow { from, to }, i64::from(now));
            if let Some(wait) = window.opens_in(now) {
                let then = now + i64::try_from(wait).unwrap();
                prop_assert_eq!(window.opens_in(then), None);
                prop_assert_eq!(window.opens_in(then - 1), Some(1));
            }
        }
    }
}
