//! How long a certificate is valid.
//!
//! In: when it is issued, how many months the issuer's rules give it, and when the signer certificate
//! ends. Out: its expiry, in whole seconds since 1970. It promises that no certificate outlives its
//! signer certificate (the shell model of the EU's certificate governance).

use jiff::{Span, Timestamp};

use crate::calendar::VIET_NAM;

/// A signer certificate with less time left than this signs no more: certificates that end within
/// weeks help nobody, and a new key is long overdue. 30 days.
const SIGNER_LEFT_MIN_SECONDS: i64 = 30 * 86_400;

/// When a certificate issued at `issued_at` expires: the same local time in Viet Nam `months` calendar
/// months later (29 February becomes the 28th), lowered to the signer certificate's end.
///
/// # Errors
/// [`KeyUnusable`] if the signer certificate is not valid yet, or has less than 30 days left.
pub fn expiry(issued_at: i64, months: u8, signer: SignerValidity) -> Result<i64, KeyUnusable> {
    let wait_seconds = signer.not_before.saturating_sub(issued_at);
    if wait_seconds > 0 {
        return Err(KeyUnusable::NotYetValid { wait_seconds });
    }
    let left_seconds = signer.not_after.saturating_sub(issued_at);
    let ends_soon = KeyUnusable::EndsSoon { left_seconds };
    if left_seconds < SIGNER_LEFT_MIN_SECONDS {
        return Err(ends_soon);
    }
    let full_term = months_later(issued_at, months).ok_or(ends_soon)?;
    Ok(full_term.min(signer.not_after))
}

/// From when to when a signer certificate is valid, in seconds since 1970, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignerValidity {
    /// The first second.
    pub not_before: i64,
    /// The last second.
    pub not_after: i64,
}

/// The signer certificate cannot be used now; retrying helps only where it is not valid yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyUnusable {
    /// It ends too soon, or the time of issue is beyond the calendar: the key must be replaced.
    #[error("signer certificate has {} days left, fewer than 30", left_seconds.div_euclid(86_400))]
    EndsSoon {
        /// How long it is still valid; negative if it has ended.
        left_seconds: i64,
    },
    /// Its validity begins later.
    #[error("signer certificate is valid in {wait_seconds} s only")]
    NotYetValid {
        /// How long until it is valid.
        wait_seconds: i64,
    },
}

/// The same local time in Viet Nam, calendar months later.
fn months_later(issued_at: i64, months: u8) -> Option<i64> {
    let issued = VIET_NAM.to_datetime(Timestamp::from_second(issued_at).ok()?);
    let later = issued.checked_add(Span::new().months(i64::from(months))).ok()?;
    VIET_NAM.to_timestamp(later).ok().map(Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a time of Viet Nam as seconds since 1970.
    fn local(text: &str) -> i64 {
        text.parse::<jiff::civil::DateTime>()
            .and_then(|time| VIET_NAM.to_timestamp(time))
            .unwrap()
            .as_second()
    }

    fn expire(issued_at: i64, months: u8, not_after: i64) -> Result<i64, KeyUnusable> {
        expiry(issued_at, months, SignerValidity { not_before: 0, not_after })
    }

    #[test]
    fn a_signer_certificate_of_tomorrow_signs_nothing_today() {
        // Before its first second, a signer certificate cannot be used.
        let signer = SignerValidity { not_before: 1_001, not_after: NEVER };
        let wait = KeyUnusable::NotYetValid { wait_seconds: 1 };
        assert_eq!(expiry(1_000, 12, signer), Err(wait));
        assert!(expiry(1_001, 12, signer).is_ok());
    }

    const NEVER: i64 = 253_402_300_799;

    #[test]
    fn twelve_months_are_the_same_local_time_a_year_later() {
        // A certificate expires at the same time of day in Viet Nam, 12 calendar months later.
        for (issued, expires) in [
            ("2022-04-15 08:30:01", "2023-04-15 08:30:01"),
            ("2023-03-01 00:00:00", "2024-03-01 00:00:00"), // 366 days
            ("2024-02-29 12:00:00", "2025-02-28 12:00:00"), // no 29 February
            ("2023-02-28 12:00:00", "2024-02-28 12:00:00"),
        ] {
            assert_eq!(expire(local(issued), 12, NEVER), Ok(local(expires)), "{issued}");
        }
    }

    #[test]
    fn the_night_hours_count_in_viet_nams_calendar() {
        // At 02:00 on 1 March in Viet Nam it is still February in UTC; Viet Nam's date decides.
        assert_eq!(
            expire(local("2024-03-01 02:00:00"), 12, NEVER),
            Ok(local("2025-03-01 02:00:00"))
        );
        assert_eq!(
            expire(local("2024-02-29 02:00:00"), 12, NEVER),
            Ok(local("2025-02-28 02:00:00"))
        );
    }

    #[test]
    fn fewer_months_keep_to_the_end_of_a_short_month() {
        // A month that has no such day gives its last day.
        assert_eq!(
            expire(local("2021-08-31 10:00:00"), 6, NEVER),
            Ok(local("2022-02-28 10:00:00"))
        );
    }

    #[test]
    fn one_month_in_february_is_no_fault_of_the_key() {
        // A rule of one month gives 28 days in February; only the signer certificate's end counts
        // for the 30 days.
        assert_eq!(
            expire(local("2022-02-10 10:00:00"), 1, NEVER),
            Ok(local("2022-03-10 10:00:00"))
        );
    }

    #[test]
    fn a_certificate_never_outlives_its_signer() {
        // The expiry is lowered to the signer certificate's end.
        let (issued, ends) = (local("2022-04-15 08:30:01"), local("2022-09-01 00:00:00"));
        assert_eq!(expire(issued, 12, ends), Ok(ends));
    }

    #[test]
    fn thirty_days_left_are_enough_and_a_second_less_is_not() {
        // A signer certificate with less than 30 days left does not sign.
        let (issued, days) = (local("2022-04-15 08:30:01"), 30 * 86_400);
        assert_eq!(expire(issued, 12, issued + days), Ok(issued + days));
        assert_eq!(
            expire(issued, 12, issued + days - 1),
            Err(KeyUnusable::EndsSoon { left_seconds: days - 1 })
        );
        assert_eq!(expire(issued, 12, issued - 5), Err(KeyUnusable::EndsSoon { left_seconds: -5 }));
    }

    proptest! {
        #[test]
        fn expiry_stays_between_issue_and_signer_end(issued: i64, months in 1u8..=12, ends: i64) {
            // Whatever the numbers: an expiry is after the issue and not after the signer's end.
            if let Ok(expires) = expire(issued, months, ends) {
                prop_assert!(issued < expires && expires <= ends);
            }
        }

        #[test]
        fn twelve_months_are_365_or_366_days(issued in 1_600_000_000i64..4_000_000_000) {
            // Twelve calendar months are never more than 366 days and never less than 365.
            let term = expire(issued, 12, NEVER).unwrap() - issued;
            prop_assert!(term == 365 * 86_400 || term == 366 * 86_400);
        }
    }
}
