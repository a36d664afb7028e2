//! What the daemon tells systemd (ready, what it is doing, that it is alive, that it stops) and what it
//! takes from it: its listening sockets.
//!
//! Without systemd (`NOTIFY_SOCKET` unset) every call does nothing, and there are no sockets to take. The
//! watchdog is fed by the runtime that serves the network, so a daemon whose tasks no longer run is
//! restarted; it is not tied to the HSM, whose absence is a matter of readiness.

mod sockets;

use std::time::Duration;

use sd_notify::NotifyState;

pub use sockets::{SocketError, Sockets};

/// The listeners accept connections.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// One line for `systemctl status`.
pub fn status(status: &str) {
    notify(&[NotifyState::Status(status)]);
}

/// The rules were read again, whatever came of it.
pub fn reloaded() {
    notify(&[NotifyState::Ready]);
}

/// The daemon reads its rules again; [`reloaded`] ends that.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => log::warn!("systemd could not be notified: {error}"),
    }
}

/// The daemon drains and ends.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Feeds the watchdog for as long as the runtime runs tasks; ends at once where there is none.
pub async fn feed_watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    // Three feeds per limit, so that one late wake-up is not a death.
    let mut pulse = tokio::time::interval((limit / 3).max(Duration::from_millis(100)));
    loop {
        pulse.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("systemd could not be notified: {error}");
    }
}
