//! The rounds of one issuer: ceiling, load, ceiling, load, … ceiling.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use signerd_tests::setup::program;
use signerd_tests::{Client, Daemon, Setup};

use crate::load::{self, Answered, CERTIFICATES};
use crate::{Options, Outcome, cpu};

/// What was measured of one issuer.
pub(crate) struct Series {
    pub(crate) algorithm: String,
    pub(crate) workers: u64,
    pub(crate) sessions: u64,
    pub(crate) in_flight: usize,
    pub(crate) ceilings: Vec<Ceiling>,
    pub(crate) rounds: Vec<Round>,
}

/// One run of the raw loop.
pub(crate) struct Ceiling {
    /// Signatures in a second.
    pub(crate) rate: f64,
    /// Processor seconds per signature, the start of the processes included.
    pub(crate) cpu: f64,
}

/// One end-to-end round.
pub(crate) struct Round {
    /// Certificates in a second.
    pub(crate) rate: f64,
    /// The rate as a share of the mean of the ceilings around it.
    pub(crate) ratio: f64,
    /// The same by processor time, which strangers on the machine cannot change much: what the raw
    /// loop spends on a signature, as a share of what everybody here spends on a certificate.
    pub(crate) share: f64,
    /// Processor seconds per certificate: of the front, of the workers, of this client.
    pub(crate) front: f64,
    pub(crate) workers: f64,
    pub(crate) client: f64,
    /// Processors that all of them together had on average.
    pub(crate) cores: f64,
    /// Seconds until a batch was answered, each.
    pub(crate) waits: Vec<f64>,
}

impl Series {
    /// Measures one issuer on a set-up and a daemon of its own.
    pub(crate) fn measure(issuer: &str, options: &Options) -> Outcome<Self> {
        let setup = Setup::new();
        let daemon = Daemon::ready(&setup);
        let bench = Bench { issuer, setup: &setup, daemon: &daemon, options };
        // A first round, not counted, warms caches and tells how many batches fill the time.
        let warm = bench.load(options.in_flight)?;
        let batches = warm.rate * options.seconds / f64::from(CERTIFICATES);
        let batches = whole(batches).max(options.in_flight);
        let (first, about) = bench.ceiling()?;
        let mut ceilings = vec![first];
        let mut rounds = Vec::new();
        for round in 1..=options.rounds {
            let mut measured = bench.load(batches)?;
            let (after, _) = bench.ceiling()?;
            let before = ceilings.last().unwrap_or(&after);
            measured.ratio = measured.rate / f64::midpoint(before.rate, after.rate);
            let spent = measured.front + measured.workers + measured.client;
            measured.share = f64::midpoint(before.cpu, after.cpu) / spent;
            progress(issuer, round, options.rounds, &measured);
            ceilings.push(after);
            rounds.push(measured);
        }
        if !daemon.stop().success() {
            return Err("the daemon did not end well".into());
        }
        let number = |name: &str| about.get(name).and_then(Value::as_u64).unwrap_or_default();
        Ok(Self {
            algorithm: about
                .get("algorithm")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            workers: number("processes"),
            sessions: number("sessions"),
            in_flight: options.in_flight,
            ceilings,
            rounds,
        })
    }
}

/// What the rounds of one issuer share.
struct Bench<'a> {
    issuer: &'a str,
    setup: &'a Setup,
    daemon: &'a Daemon,
    options: &'a Options,
}

impl Bench<'_> {
    /// Prepares, starts the clock, sends, stops the clock, verifies.
    fn load(&self, batches: usize) -> Outcome<Round> {
        let requests = load::prepare(self.setup, self.issuer, batches)?;
        let client = Client::new(self.setup);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let workers = self.daemon.workers();
        let spent = || {
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>([
                cpu::of(self.daemon.pid())?,
                cpu::of_all(&workers)?,
                cpu::own()?,
            ])
        };
        let before = spent()?;
        let answered = runtime.block_on(load::send(&client, requests, self.options.in_flight))?;
        let after = spent()?;
        if let Some(why) = load::refused(&answered) {
            return Err(format!("{why}; {}", last_lines(&self.daemon.log())).into());
        }
        let certificates = load::check(self.setup, self.issuer, &answered.answers)?;
        if usize::try_from(certificates / CERTIFICATES)? != batches {
            return Err(format!("{certificates} certificates for {batches} batches").into());
        }
        let mut spent = before.into_iter().zip(after).map(|(b, a)| a.saturating_sub(b));
        let mut next = || spent.next().unwrap_or_default();
        Ok(round(&answered, f64::from(certificates), [next(), next(), next()]))
    }

    /// The raw loop with the workers and sessions of `hsm.toml`, and what it says of itself.
    fn ceiling(&self) -> Outcome<(Ceiling, Value)> {
        let before = cpu::ended_children()?;
        let output = Command::new(program("ceiling"))
            .arg("--config")
            .arg(self.setup.path("hsm.toml"))
            .args(["--key", self.issuer])
            .args(["--seconds", &self.options.seconds.min(3.0).to_string()])
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("ceiling: {}", output.status).into());
        }
        let about: Value = serde_json::from_slice(&output.stdout)?;
        let number = |name: &str| {
            about.get(name).and_then(Value::as_f64).ok_or(format!("ceiling gave no {name}"))
        };
        let spent = cpu::ended_children()?.saturating_sub(before).as_secs_f64();
        let ceiling = Ceiling { rate: number("per_second")?, cpu: spent / number("signatures")? };
        Ok((ceiling, about))
    }
}

fn round(answered: &Answered, certificates: f64, spent: [Duration; 3]) -> Round {
    let seconds = answered.took.as_secs_f64();
    let [front, workers, client] = spent.map(|spent| spent.as_secs_f64() / certificates);
    let rate = certificates / seconds;
    Round {
        rate,
        ratio: 0.0,
        share: 0.0,
        front,
        workers,
        client,
        cores: (front + workers + client) * rate,
        waits: answered.waits.iter().map(Duration::as_secs_f64).collect(),
    }
}

fn progress(issuer: &str, round: usize, of: usize, measured: &Round) {
    // Only for whoever waits.
    let _ = writeln!(
        std::io::stderr(),
        "{issuer} {round}/{of}: {:.0} certificates/s, {:.3} of the ceiling, front {:.0} µs",
        measured.rate,
        measured.ratio,
        measured.front * 1e6,
    );
}

/// The next whole number, within what a benchmark sends.
fn whole(number: f64) -> usize {
    (1..1_000).find(|n: &u16| f64::from(*n) >= number).map_or(1_000, usize::from)
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
