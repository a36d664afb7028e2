//! The benchmark: what the daemon delivers over mTLS, as a share of what the module can sign.
//!
//! `bench [--rounds N] [--seconds S] [--in-flight N] [--issuer ID]` makes a fresh set-up, starts the
//! release daemon, and alternates two measurements, because a shared machine is not the same machine a
//! minute later: the raw loop of `ceiling` with the workers and sessions of `hsm.toml`, and batches of
//! 1,000 records with 2 doses each over mTLS into the durable ledger. Each end-to-end round is divided
//! by the mean of the ceilings before and after it. A table and one line of JSON on standard output.
//!
//! `bench judging [--rounds N]` measures the judge alone, see [`judging`]; `bench ledger [--rounds N]` what
//! durability costs, see [`ledger`]; `bench hsm [--rounds N] [--only shares|slow|single|crowded]` all that the
//! HSM side must reach, or some rows of it, see [`table`].
//!
//! Requests are made before the clock starts and answers are verified after it stops, so that the
//! client costs little; what it costs is measured too. The time of a round is all of its time: from
//! the first byte sent to the last byte of the last answer.

mod bare;
mod cpu;
mod judging;
mod ledger;
mod load;
mod report;
mod series;
mod table;
mod waiting;

use std::collections::HashMap;
use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use signerd_tests::process;

use self::series::Series;

/// Everything that can go wrong ends the benchmark with one sentence.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "usage: bench [--rounds N] [--seconds S] [--in-flight N] \
                     [--issuer vn-moh|vn-moh-ec], or: bench judging|ledger|hsm [--rounds N], and with hsm \
                     [--only shares|slow|single|crowded]";

fn main() -> ExitCode {
    // A release build ends at a panic without cleaning up: the daemon must not outlive the benchmark.
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        process::end_children();
    }));
    // Figures of a debug build would be quoted one day.
    let ended = if cfg!(debug_assertions) {
        Err("this is a debug build; run: cargo build --release --workspace --bins && \
             target/release/bench"
            .into())
    } else {
        let mut words = std::env::args().skip(1).peekable();
        let part = words.next_if(|word| !word.starts_with('-'));
        Options::read(words).and_then(|options| match part.as_deref() {
            Some("judging") => judging::run(options.rounds),
            Some("ledger") => ledger::run(options.rounds),
            Some("hsm") => table::run(&options, &mut std::io::stdout().lock()),
            Some(_) => Err(USAGE.into()),
            None => run(&options),
        })
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere is left to tell that stderr is closed.
            let _ = writeln!(std::io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How much is measured.
struct Options {
    rounds: usize,
    /// Of each measurement, roughly: end-to-end rounds are whole batches.
    seconds: f64,
    in_flight: usize,
    issuers: Vec<String>,
    /// These rows of the table alone.
    only: Option<table::Rows>,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut values = HashMap::new();
        while let Some(name) = words.next() {
            values.insert(name, words.next().ok_or(USAGE)?);
        }
        let mut take = |name: &str| values.remove(name);
        let options = Self {
            rounds: take("--rounds").map_or(Ok(5), |n| n.parse())?,
            seconds: take("--seconds").map_or(Ok(4.0), |n| n.parse())?,
            in_flight: take("--in-flight").map_or(Ok(4), |n| n.parse())?,
            issuers: take("--issuer")
                .map_or_else(|| vec!["vn-moh".into(), "vn-moh-ec".into()], |id| vec![id]),
            only: take("--only").map(|name| table::Rows::of(&name).ok_or(USAGE)).transpose()?,
        };
        let sane = options.rounds > 0 && options.in_flight > 0 && options.seconds > 0.0;
        if values.is_empty() && sane { Ok(options) } else { Err(USAGE.into()) }
    }
}

fn run(options: &Options) -> Outcome<()> {
    let mut series = Vec::new();
    for issuer in &options.issuers {
        series.push(Series::measure(issuer, options)?);
    }
    report::write(&mut std::io::stdout().lock(), &series)
}
