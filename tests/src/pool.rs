//! A pool of exactly two workers, whatever this machine has, and waiting for both.

use crate::daemon::Daemon;
use crate::setup::Setup;

/// The gauge of workers that sign.
pub const LIVE: &str = "signerd_hsm_workers_up";

/// A set-up with two workers and these members of `[pool]` in `hsm.toml`.
pub fn two_workers(pool: &[(&str, u64)]) -> Setup {
    let setup = Setup::new();
    limit_to_two(&setup, pool);
    setup
}

/// Gives a set-up two workers and these members of `[pool]`.
pub fn limit_to_two(setup: &Setup, pool: &[(&str, u64)]) {
    set(setup, &[("workers", 2)]);
    set(setup, pool);
}

/// Sets these members of `[pool]`, which `hsm.toml` has.
pub fn set(setup: &Setup, pool: &[(&str, u64)]) {
    for (member, value) in pool {
        let text = setup.text("hsm.toml");
        let begin = format!("{member} = ");
        let line = text.lines().find(|line| line.starts_with(&begin)).expect("the member");
        let new = format!("{begin}{value}");
        if line != new {
            setup.change("hsm.toml", line, &new);
        }
    }
}

/// A set-up with two workers of two sessions, whose calls, starts and requests have little time.
pub fn hasty() -> Setup {
    let setup = two_workers(&[("call_deadline_ms", 500), ("request_deadline_ms", 4_000)]);
    setup.change("hsm.toml", "sessions = 1", "sessions = 2\nstart_deadline_ms = 2000");
    setup
}

/// Waits until both workers sign.
pub fn both_live(daemon: &mut Daemon) {
    daemon.wait_until("live with both workers", |daemon| daemon.metric(LIVE) == 2.0);
}
