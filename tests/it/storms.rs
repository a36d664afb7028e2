//! The token fails in every way that can be mended, under load, and nobody who asks notices more than a wait.
//!
//! Several daemons, each with a token of its own behind the module that fails, go through one schedule of
//! faults after the other, while clients send batches, repeat what was refused and verify what they get. What
//! must hold: an answer is right or a 503 of the HSM, every certificate verifies, no batch has two answers, no
//! try of the PIN is spent, no worker too many, nothing leaks, and the daemon signs again soon after each
//! fault, without a restart. `SIGNERD_STORMS` says how many random schedules there are, 2,000 if not set, and
//! `SIGNERD_STORMS_SEED` makes the choices of an earlier run again.

mod corruption;
mod load;
mod schedule;
mod soak;
mod stage;

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use signerd_tests::random::{self, Random};
use tokio::task::JoinSet;

use load::Fault;
use schedule::Schedule;
use stage::{Outcome, Stage};

/// Daemons at once.
const STAGES: usize = 6;
/// Random schedules without `SIGNERD_STORMS`.
const STORMS: usize = 2_000;
/// In which time nearly every fault is over and done with.
const SOON: Duration = Duration::from_secs(5);

/// Where the next schedule comes from.
type Schedules = Arc<Mutex<dyn Iterator<Item = Schedule> + Send>>;

#[tokio::test(flavor = "multi_thread")]
async fn every_written_schedule_is_survived() {
    // After each of the faults of the table, one by one, the daemon signs again as if nothing had been.
    let schedules = schedule::written();
    assert!(schedules.len() >= 60, "{} schedules", schedules.len());
    let count = schedules.len();
    weather("written schedules", schedules.into_iter(), count, Effect::Certain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_storms_are_survived() {
    // Nor do thousands of random faults, one upon the other, cost more than time.
    let seed = random::seed("SIGNERD_STORMS_SEED");
    let count = random::number("SIGNERD_STORMS").map_or(STORMS, |storms| storms as usize);
    let mut random = Random::of(seed);
    let schedules = std::iter::repeat_with(move || schedule::any(&mut random)).take(count);
    weather(&format!("random schedules of seed {seed}"), schedules, count, Effect::Possible).await;
}

/// Whether a schedule has an effect in any case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Effect {
    /// And all is whole again before the next one.
    Certain,
    Possible,
}

/// Lets the daemons go through all schedules, and reports.
async fn weather(
    what: &str,
    schedules: impl Iterator<Item = Schedule> + Send + 'static,
    count: usize,
    effect: Effect,
) {
    let since = Instant::now();
    let schedules: Schedules = Arc::new(Mutex::new(schedules));
    let mut stages = JoinSet::new();
    for _ in 0..STAGES.min(count) {
        stages.spawn(one(Arc::clone(&schedules), effect));
    }
    let mut all = Outcome::default();
    while let Some(stage) = stages.join_next().await {
        let outcome = stage.expect("a stage").unwrap_or_else(|fault| panic!("{what}: {fault}"));
        all.add(outcome);
    }
    report(what, &all, since);
    assert_eq!(all.schedules, count);
    assert!(all.quantile(990) <= SOON, "{:?}", all.quantile(990));
}

async fn one(schedules: Schedules, effect: Effect) -> Result<Outcome, Fault> {
    let mut stage = Stage::open().await?;
    loop {
        let next = schedules.lock().expect("the schedules").next();
        let Some(schedule) = next else { return stage.close().await };
        stage.suffer(&schedule, effect).await?;
        if effect == Effect::Certain {
            stage.whole().await?;
        }
    }
}

fn report(what: &str, all: &Outcome, since: Instant) {
    eprintln!(
        "{} {what}: {} faults injected, signing again after p50 {:?}, p99 {:?}, at most {:?} (\"{}\"); {} batches \
         answered, {} refused with 503, {} certificates verified, {} replays compared, {} signatures refused, \
         {} log-ins, {} workers restarted; SoftHSM torn {} times; 0 wrong \
         answers, 0 tries of the PIN spent; {:.0} s",
        all.schedules,
        all.injected,
        all.quantile(500),
        all.quantile(990),
        all.slowest.0,
        all.slowest.1,
        all.answered,
        all.refused,
        all.certificates,
        all.replays,
        all.signatures_refused,
        all.log_ins,
        all.restarts,
        all.torn,
        since.elapsed().as_secs_f64(),
    );
}
