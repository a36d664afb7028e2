//! Overrides of signing windows: which officer lets an issuer sign outside its hours, until when, why.
//!
//! In go the officer's decision and the time, out come the overrides that are open. They are kept for
//! ever, closed or run out, so that "who opened the window that night" has an answer. What the window
//! itself is stands in the policy and is not known here.

use super::LedgerError;
use crate::wire::officer::REASON_BYTES_MAX;

/// Longest override. One night and the day before it: whoever needs longer changes the policy, which
/// other people than the officer at night look at.
pub const WINDOW_OVERRIDE_SECONDS_MAX: i64 = 86_400;

/// Longest officer's id in bytes: a common name of 64 characters, a colon and 16 hex digits.
const OFFICER_BYTES_MAX: usize = 300;

/// Longest issuer's id in bytes, as in the contract.
const ISSUER_BYTES_MAX: usize = 63;

/// An officer's decision to let an issuer sign outside its window.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WindowOverride {
    /// Whose window.
    pub issuer: String,
    /// When it was opened, seconds since 1970.
    pub opened_at: i64,
    /// The first second in which it no longer counts.
    pub until: i64,
    /// Who opened it.
    pub officer: String,
    /// Why, in the officer's words.
    pub reason: String,
}

/// An officer's decision to end an override before its time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WindowClosing {
    /// Whose window.
    pub issuer: String,
    /// When, seconds since 1970.
    pub at: i64,
    /// Who closes it.
    pub officer: String,
    /// Why, in the officer's words.
    pub reason: String,
}

impl WindowOverride {
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        let length = self.until.saturating_sub(self.opened_at);
        if !(1..=WINDOW_OVERRIDE_SECONDS_MAX).contains(&length) {
            return Err(LedgerError::Malformed("override is not 1 second to 24 hours long"));
        }
        check_texts([&self.issuer, &self.officer, &self.reason])
    }

    /// Whether another one grants the same: who repeats a request whose answer was lost says the same.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.until == other.until && self.officer == other.officer && self.reason == other.reason
    }

    /// The end of the one before this one.
    pub(super) fn replaces(&self) -> WindowClosing {
        let Self { issuer, opened_at, officer, reason, .. } = self.clone();
        WindowClosing { issuer, at: opened_at, officer, reason }
    }
}

impl WindowClosing {
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        check_texts([&self.issuer, &self.officer, &self.reason])
    }
}

/// The texts go into the journal too: no line of it may be forged.
fn check_texts([issuer, officer, reason]: [&str; 3]) -> Result<(), LedgerError> {
    let plain = |text: &str, bytes_max| {
        (1..=bytes_max).contains(&text.len()) && !text.contains(char::is_control)
    };
    if !plain(issuer, ISSUER_BYTES_MAX) {
        return Err(LedgerError::Malformed("issuer is not 1 to 63 bytes"));
    }
    if !plain(officer, OFFICER_BYTES_MAX) {
        return Err(LedgerError::Malformed(
            "officer is not 1 to 300 bytes without control characters",
        ));
    }
    if !plain(reason, REASON_BYTES_MAX) {
        return Err(LedgerError::Malformed(
            "reason is not 1 to 200 bytes without control characters",
        ));
    }
    Ok(())
}
