//! A daemon under load with a token that fails: what must hold during each schedule, and after all of them.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use signerd_tests::pool::{LIVE, hasty};
use signerd_tests::shim::{Line, LogIn, State, Tally};
use signerd_tests::token::Token;
use signerd_tests::{Daemon, Setup, Shim};

use super::Effect;
use super::load::{Fault, Load};
use super::schedule::Schedule;

/// Worker processes of a set-up.
const WORKERS: usize = 2;
/// Tries of the PIN that the token has.
const PIN_TRIES: u32 = 3;
/// A daemon that does not sign for so long after a fault does not come back.
const PATIENCE: Duration = Duration::from_secs(30);
/// After so long without an answer the token's files are looked at.
const TORN: Duration = Duration::from_secs(1);
/// How often is looked?
const LOOK: Duration = Duration::from_millis(50);

/// A daemon, its clients, and what they have been through.
pub(super) struct Stage {
    setup: Setup,
    shim: Shim,
    daemon: Daemon,
    load: Load,
    token: Token,
    /// As it was before the first fault.
    before: Resources,
    begin: Tally,
    came_to: Outcome,
}

/// What it came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) schedules: usize,
    /// From the end of each fault to the next good answer.
    pub(super) recoveries: Vec<Duration>,
    pub(super) slowest: (Duration, String),
    pub(super) answered: u64,
    pub(super) refused: u64,
    pub(super) certificates: u64,
    pub(super) replays: u64,
    pub(super) injected: u64,
    pub(super) log_ins: u64,
    pub(super) restarts: u64,
    pub(super) signatures_refused: u64,
    /// How often SoftHSM was killed while it wrote its token.
    pub(super) torn: usize,
}

/// What a process has taken from the operating system.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Resources {
    files: usize,
    threads: usize,
}

impl Stage {
    /// Starts a daemon whose token does not fail yet.
    pub(super) async fn open() -> Result<Self, Fault> {
        let setup = hasty();
        let (shim, token) = (Shim::under(&setup), Token::of(&setup));
        let mut daemon = Daemon::ready(&setup);
        daemon.wait_until("whole", |daemon| daemon.metric(LIVE) == WORKERS as f64);
        // A first load takes what the daemon keeps.
        let mut load = Load::on(&setup);
        let warm = load.next_good(Instant::now(), PATIENCE).await;
        load.end().await?;
        if !warm {
            return Err("it never answered".to_owned());
        }
        let before = Resources::of(daemon.pid());
        let load = Load::on(&setup);
        let begin = shim.tally();
        let came_to = Outcome::default();
        Ok(Self { setup, shim, daemon, load, token, before, begin, came_to })
    }

    /// Goes through a schedule; one that is certain lasts until it has befallen a call.
    pub(super) async fn suffer(
        &mut self,
        schedule: &Schedule,
        effect: Effect,
    ) -> Result<(), Fault> {
        let before = self.shim.tally();
        let counting = Line::token(State::PinTries(PIN_TRIES));
        self.shim.play(std::iter::once(counting).chain(schedule.lines.iter().cloned()));
        let since = Instant::now();
        loop {
            tokio::time::sleep(LOOK.min(schedule.lasts)).await;
            self.hold_now()?;
            // A loaded machine makes fewer calls.
            let missing = || self.shim.tally().since(&before).injected_at_all() == 0;
            if since.elapsed() >= schedule.lasts && (effect == Effect::Possible || !missing()) {
                break;
            }
            if since.elapsed() > PATIENCE {
                return Err(format!("\"{}\" has had no effect", schedule.name));
            }
        }
        self.shim.mend();
        let recovery = self.recover(&schedule.name).await?;
        self.hold_now()?;
        self.came_to.schedules += 1;
        self.came_to.recoveries.push(recovery);
        if recovery > self.came_to.slowest.0 {
            self.came_to.slowest = (recovery, schedule.name.clone());
        }
        Ok(())
    }

    /// Waits until a request is answered well; says how long it took.
    async fn recover(&mut self, name: &str) -> Result<Duration, Fault> {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            if self.load.next_good(since, TORN).await {
                return Ok(since.elapsed());
            }
            self.load.end_if_broken().await?;
            self.hold_now()?;
            self.untear()?;
        }
        Err(format!("stuck after \"{name}\":\n{}", self.latest()))
    }

    /// Puts the token's files right where SoftHSM shows no token any more: it was killed while it wrote them.
    fn untear(&mut self) -> Result<(), Fault> {
        let (_, obstacles) = self.daemon.observe("/readyz");
        if obstacles.contains("it is not there, the module shows no token") {
            let torn = self.token.restore_torn().map_err(|error| error.to_string())?;
            self.came_to.torn += usize::from(torn);
        }
        Ok(())
    }

    /// Waits until all workers sign.
    pub(super) async fn whole(&mut self) -> Result<(), Fault> {
        let begin = Instant::now();
        while self.daemon.metric(LIVE) != WORKERS as f64 {
            if begin.elapsed() > PATIENCE {
                return Err(format!("not whole again:\n{}", self.latest()));
            }
            self.hold_now()?;
            if begin.elapsed() > TORN {
                self.untear()?;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// What must hold at any time.
    fn hold_now(&self) -> Result<(), Fault> {
        let workers = self.daemon.workers().len();
        if workers > WORKERS {
            return Err(format!("{workers} workers at once"));
        }
        Ok(())
    }

    /// Ends the load, and holds what must be as it was.
    pub(super) async fn close(mut self) -> Result<Outcome, Fault> {
        self.whole().await?;
        self.load.end().await?;
        let tally = self.shim.tally().since(&self.begin);
        let spent = tally.log_ins(LogIn::Wrong) + tally.log_ins(LogIn::Locked);
        if spent > 0 || self.setup.path("state/pin-latch").exists() {
            return Err(format!("{spent} tries of the PIN were spent"));
        }
        let since = Instant::now();
        // Connections and threads end a moment after their work.
        while !Resources::of(self.daemon.pid()).is_within(self.before) {
            if since.elapsed() > PATIENCE {
                let now = Resources::of(self.daemon.pid());
                return Err(format!("{now:?}, and before {:?}", self.before));
            }
            tokio::time::sleep(LOOK).await;
        }
        let counts = self.load.counts();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let metric = |name| self.daemon.metric(name) as u64;
        let outcome = Outcome {
            answered: count(&counts.answered),
            refused: count(&counts.refused),
            certificates: count(&counts.certificates),
            replays: count(&counts.replays),
            injected: tally.injected_at_all(),
            log_ins: tally.log_ins(LogIn::Right),
            restarts: metric("signerd_hsm_worker_restarts_total"),
            signatures_refused: metric("signerd_hsm_signatures_refused_total"),
            ..self.came_to
        };
        if self.daemon.stop().success() { Ok(outcome) } else { Err("no good end".to_owned()) }
    }

    /// The end of the daemon's log.
    fn latest(&self) -> String {
        let log = self.daemon.log();
        let lines: Vec<&str> = log.lines().rev().take(40).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Resources {
    pub(super) fn of(process: Pid) -> Self {
        let process = format!("/proc/{}", process.as_raw_nonzero());
        let entries = |folder: &str| {
            std::fs::read_dir(format!("{process}/{folder}")).map_or(0, Iterator::count)
        };
        Self { files: entries("fd"), threads: entries("task") }
    }

    pub(super) fn is_within(self, before: Self) -> bool {
        self.files <= before.files && self.threads <= before.threads
    }
}

impl Outcome {
    /// Adds another one.
    pub(super) fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.recoveries.extend(other.recoveries);
        if other.slowest.0 > self.slowest.0 {
            self.slowest = other.slowest;
        }
        self.answered += other.answered;
        self.refused += other.refused;
        self.certificates += other.certificates;
        self.replays += other.replays;
        self.injected += other.injected;
        self.log_ins += other.log_ins;
        self.restarts += other.restarts;
        self.signatures_refused += other.signatures_refused;
        self.torn += other.torn;
    }

    /// The recovery that this part of all, in thousandths, are not longer than.
    pub(super) fn quantile(&self, thousandths: usize) -> Duration {
        let mut sorted = self.recoveries.clone();
        sorted.sort();
        let index = (sorted.len() * thousandths).div_ceil(1_000).saturating_sub(1);
        sorted.get(index).copied().unwrap_or_default()
    }
}
