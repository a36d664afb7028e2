//! Signing windows: the hours of the policy, and what an officer opened beyond them.
//!
//! In go the rules of an issuer, the overrides in the ledger and the time; out comes whether a new
//! batch may be signed now, or in how many seconds. The ledger is asked each time, so that an override
//! counts from the moment it is stored, in every process that shares the ledger. Replays, previews and
//! the carrying out of intents that were made in time do not ask.

use policy::{IssuerRules, SigningWindow};

use super::judge::Hours;
use super::{IssueError, Issuing};
use crate::ledger::{LedgerError, WindowOverride};

/// The window of one issuer as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowState {
    /// Whose.
    pub issuer: String,
    /// The hours of the policy; none: all.
    pub window: Option<SigningWindow>,
    /// Seconds until it opens by the policy; none: it is open by the policy.
    pub opens_in: Option<u64>,
    /// What an officer opened.
    pub opened: Option<WindowOverride>,
}

impl WindowState {
    /// Whether new batches are signed now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.opens_in.is_none() || self.opened.is_some()
    }
}

/// The windows of all issuers, by issuer.
///
/// # Errors
/// The ledger cannot be asked.
pub async fn states(app: &Issuing, now: i64) -> Result<Vec<WindowState>, LedgerError> {
    let mut overrides = app.ledger.windows(now).await?;
    let rules = app.rules.load_full();
    let issuers = rules.policy.issuers();
    let mut states: Vec<WindowState> = issuers
        .map(|rules| {
            let place = overrides.iter().position(|opened| opened.issuer == rules.id());
            state(rules, place.map(|place| overrides.swap_remove(place)), now)
        })
        .collect();
    states.sort_by(|one, other| one.issuer.cmp(&other.issuer));
    Ok(states)
}

/// Tells Prometheus how the windows stand.
///
/// # Errors
/// The ledger cannot be asked; the metrics stay as they were.
pub async fn observe(app: &Issuing, now: i64) -> Result<(), LedgerError> {
    let states = states(app, now).await?;
    // A reload may have dropped an issuer, which then neither signs nor is closed.
    let issuers: Vec<&str> = states.iter().map(|state| state.issuer.as_str()).collect();
    app.metrics.keep_windows_of(&issuers);
    for state in &states {
        let issuer = [state.issuer.as_str()];
        let until = state.opened.as_ref().map_or(0, |opened| opened.until);
        app.metrics.window_open.with_label_values(&issuer).set(i64::from(state.is_open()));
        app.metrics.window_override_until.with_label_values(&issuer).set(until);
    }
    Ok(())
}

/// Whether an issuer signs at this hour.
pub(super) async fn hours(
    app: &Issuing,
    rules: &IssuerRules,
    now: i64,
) -> Result<Hours, IssueError> {
    let Some(opens_in) = closed_for(rules, now) else {
        return Ok(Hours::Open);
    };
    let overrides = app.ledger.windows(now).await?;
    let is_opened = overrides.iter().any(|opened| opened.issuer == rules.id());
    Ok(if is_opened { Hours::Open } else { Hours::Closed { opens_in } })
}

/// Seconds until a batch that today's quota does not hold can be signed: after midnight, and at an hour
/// in which the policy signs. What an officer may have opened by then is not foreseen.
pub(super) fn next_day_opens_in(window: Option<SigningWindow>, now: i64) -> u64 {
    let (_, midnight) = policy::day_bounds(now);
    let until_midnight = midnight.saturating_sub(now).unsigned_abs();
    let closed = window.and_then(|window| window.opens_in(midnight)).unwrap_or(0);
    until_midnight.saturating_add(closed)
}

fn state(rules: &IssuerRules, opened: Option<WindowOverride>, now: i64) -> WindowState {
    WindowState {
        issuer: rules.id().to_owned(),
        window: rules.signing_window(),
        opens_in: closed_for(rules, now),
        opened,
    }
}

/// Seconds until the window opens by the policy; none: it is open.
fn closed_for(rules: &IssuerRules, now: i64) -> Option<u64> {
    rules.signing_window().and_then(|window| window.opens_in(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_day_begins_when_the_window_opens() {
        // A full day ends at midnight; where the window is closed then, the wait lasts until it opens.
        // 22:00 on 15 April 2022 in Viet Nam.
        let now = 1_650_034_800;
        for (window, hours) in [
            (None, 2),
            (Some("17:00-24:00"), 2 + 17),
            (Some("20:00-23:00"), 2 + 20),
            (Some("20:00-06:00"), 2),
            (Some("00:00-23:00"), 2),
        ] {
            let parsed = window.map(|text| SigningWindow::parse(text).unwrap());
            assert_eq!(next_day_opens_in(parsed, now), hours * 3_600, "{window:?}");
        }
    }
}
