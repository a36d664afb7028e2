//! How many signatures a token makes in a second: the measurement of `signerd hsm speed`.
//!
//! In goes a [`Plan`], out come [`Results`]: a row for each key, number of processes, sessions in each, and
//! kind of handle. What is measured is the loop of a worker without its front: processes on an errand, each
//! logged in like a worker, with the worker's own lanes on threads of their own, which sign the digest of
//! the proof text one time after the other. Nothing goes over a socket meanwhile and nothing is verified,
//! so that no daemon can be faster. All processes of a row begin at once; the log-ins are not counted.

mod best;
mod histogram;
pub(crate) mod order;
mod text;

use std::path::Path;
use std::time::Duration;

use hsm_config::HsmConfig;
use serde::Serialize;

pub use best::Best;
pub use best::Ceiling;
pub(crate) use histogram::Histogram;

use super::FaultKind;
use super::errand::Errand;
use super::errand::ErrandError;
use super::errand::Runner;
use order::Counted;
use order::Order;
use order::Reply;

/// Version of the results' members.
const VERSION: u32 = 1;
/// Rows in a row that may fail; more, and the token is not there to be measured.
const FAILURES_MAX: usize = 3;

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How long each row takes.
    pub step: Duration,
    /// The keys, by name.
    pub keys: Vec<String>,
    /// Numbers of processes.
    pub workers: Vec<usize>,
    /// Numbers of sessions in each.
    pub sessions: Vec<usize>,
    /// Whether the keys are copied to session objects; both, to compare.
    pub copy_keys: Vec<bool>,
}

/// One row before it is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Case {
    /// The key.
    pub key: String,
    /// Processes.
    pub workers: usize,
    /// Sessions of each.
    pub sessions: usize,
    /// Whether they sign with a copy.
    pub copy_keys: bool,
}

/// One row.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was measured.
    #[serde(flatten)]
    pub case: Case,
    /// PS256 or ES256.
    pub algorithm: &'static str,
    /// Signatures made.
    pub signatures: u64,
    /// Signatures in a second, all processes together.
    pub per_second: f64,
    /// How long one took, in microseconds: half of them no longer than this.
    pub p50_us: f64,
    /// 90 of 100.
    pub p90_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// The longest.
    pub max_us: f64,
    /// How long a processor of this machine was busy with one, in microseconds; little where a device signs.
    pub cpu_us: Option<f64>,
    /// Why there are no numbers; none where there are.
    pub problem: Option<String>,
}

/// What `signerd hsm speed` tells.
#[derive(Debug, Serialize)]
pub struct Results {
    /// The version of this form, 1.
    pub version: u32,
    /// The program's own version.
    pub signerd: &'static str,
    /// When it was made, in seconds since 1970.
    pub made_at: i64,
    /// The cores of this machine.
    pub cores: usize,
    /// How long each row was measured.
    pub seconds: u64,
    /// The rows, in the order in which they were measured.
    pub rows: Vec<Row>,
    /// The fastest row of each key.
    pub ceilings: Vec<Ceiling>,
    /// The setting that serves all keys best; none where nothing was signed.
    pub best: Option<Best>,
}

impl Plan {
    /// The rows in their order: what is to be compared stands side by side.
    #[must_use]
    pub fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for key in &self.keys {
            for &workers in &self.workers {
                for &sessions in &self.sessions {
                    for &copy_keys in &self.copy_keys {
                        cases.push(Case { key: key.clone(), workers, sessions, copy_keys });
                    }
                }
            }
        }
        cases
    }

    /// How long all rows take, without the log-ins.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.step.saturating_mul(u32::try_from(self.cases().len()).unwrap_or(u32::MAX))
    }
}

/// Measures each row and tells of it; `on_row` hears of it as soon as it is there.
///
/// # Errors
/// Those of an errand, where no process comes up or `FAILURES_MAX` rows in a row fail; a single row that
/// fails is a row with a problem.
pub fn measure(
    config: &HsmConfig,
    config_path: &Path,
    plan: &Plan,
    made_at: i64,
    mut on_row: impl FnMut(&Row),
) -> Result<Results, ErrandError> {
    let mut bench = Bench { config, config_path, step: plan.step, runners: Vec::new() };
    let mut rows = Vec::new();
    let mut failures = 0;
    for case in plan.cases() {
        let measured = bench.measure(&case);
        if let Err(error) = &measured {
            // What it was in the middle of is unknown.
            bench.runners.clear();
            failures += 1;
            let hopeless =
                matches!(error, ErrandError::Fault { kind, .. } if *kind != FaultKind::Token);
            if hopeless || failures == FAILURES_MAX {
                return Err(error.clone());
            }
        } else {
            failures = 0;
        }
        let algorithm = config.key(&case.key).map_or("", |key| key.algorithm().name());
        let measured = measured.unwrap_or_else(|error| Err(error.to_string()));
        let row = Row::of(case, algorithm, measured);
        on_row(&row);
        rows.push(row);
    }
    Ok(Results {
        version: VERSION,
        signerd: env!("CARGO_PKG_VERSION"),
        made_at,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        seconds: plan.step.as_secs(),
        ceilings: best::ceilings(&rows),
        best: best::best(&rows, config),
        rows,
    })
}

impl Row {
    fn of(case: Case, algorithm: &'static str, measured: Result<Counted, String>) -> Self {
        let (counted, problem) = match measured {
            Ok(counted) => (counted, None),
            Err(problem) => (Counted::default(), Some(problem)),
        };
        let times = &counted.times;
        let us = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64() * 1e6;
        let made = u32::try_from(times.count()).unwrap_or(u32::MAX).max(1);
        Self {
            case,
            algorithm,
            cpu_us: counted.on_cpu.map(|nanos| us(nanos) / f64::from(made)),
            signatures: times.count(),
            per_second: counted.per_second,
            p50_us: us(times.at(50)),
            p90_us: us(times.at(90)),
            p99_us: us(times.at(99)),
            max_us: us(times.longest()),
            problem,
        }
    }
}

/// The processes, as many as a row wanted so far.
struct Bench<'c> {
    config: &'c HsmConfig,
    config_path: &'c Path,
    step: Duration,
    runners: Vec<Runner>,
}

impl Bench<'_> {
    /// What a row came to, or what a process said that it cannot do.
    fn measure(&mut self, case: &Case) -> Result<Result<Counted, String>, ErrandError> {
        let patience = self.config.start_deadline();
        // One after the other: SoftHSM does not bear two log-ins at the same moment.
        while self.runners.len() < case.workers {
            let mut runner = Runner::start(Errand::Speed, self.config, self.config_path)?;
            let _: Reply = runner.hear(patience, |_| {})?;
            self.runners.push(runner);
        }
        let runners = self.runners.get_mut(..case.workers).unwrap_or_default();
        for runner in runners.iter_mut() {
            let Case { key, sessions, copy_keys, .. } = case.clone();
            runner.tell(&Order::Prepare { key, sessions, copy_keys })?;
            if let Reply::Cannot(problem) = runner.hear(patience, |_| {})? {
                return Ok(Err(problem));
            }
        }
        for runner in runners.iter_mut() {
            runner.tell(&Order::Sign { step: self.step })?;
        }
        let mut all = Counted::default();
        let mut problem = None;
        for runner in runners.iter_mut() {
            match runner.hear(self.step.saturating_add(self.config.call_deadline()), |_| {})? {
                Reply::Counted(counted) => all.add(&counted),
                Reply::Cannot(told) => problem = Some(told),
                Reply::Ready => {}
            }
        }
        Ok(problem.map_or(Ok(all), Err))
    }
}
