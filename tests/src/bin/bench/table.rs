//! `bench hsm`: the whole table of what the HSM side must reach, each row with its figure and verdict.

use std::io::Write;

use serde_json::json;

use crate::bare;
use crate::report::{Aim, Spread, judged, percentile};
use crate::series::Series;
use crate::waiting;
use crate::{Options, Outcome};

/// What the aims leave for all that is no verification, µs: 150 - 52 and 185 - 87, on any machine.
const BEYOND: f64 = 98.0;
/// Share of a raw loop through a token that takes 2 ms.
const SLOW_RATIO: f64 = 0.95;
/// What one certificate may take beside its signature and its commits, seconds.
const OVERHEAD: f64 = 0.0015;
/// How much longer than the median may one in a hundred take?
const TAIL: f64 = 4.0;
/// One in a hundred single certificates among large batches, seconds.
const CROWDED: f64 = 0.150;
/// Memory of the front in MiB: idle, and with four large batches.
const MEMORY: [f64; 2] = [48.0, 160.0];

/// What belongs together in the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rows {
    Shares,
    Slow,
    Single,
    Crowded,
}

impl Rows {
    const ALL: [Self; 4] = [Self::Shares, Self::Slow, Self::Single, Self::Crowded];

    /// By its name on the command line.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rows| rows.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Shares => "shares",
            Self::Slow => "slow",
            Self::Single => "single",
            Self::Crowded => "crowded",
        }
    }

    fn measure(self, options: &Options) -> Outcome<Vec<Row>> {
        match self {
            Self::Shares => shares(options),
            Self::Slow => slow(),
            Self::Single => singles(),
            Self::Crowded => crowded(),
        }
    }
}

struct Row {
    measure: String,
    must: String,
    found: String,
    met: bool,
    value: f64,
}

/// Measures all of it, or what is asked for.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Outcome<()> {
    let mut rows = Vec::new();
    for some in Rows::ALL.into_iter().filter(|some| options.only.is_none_or(|only| only == *some)) {
        rows.extend(some.measure(options)?);
    }
    write(out, &rows)
}

fn shares(options: &Options) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for issuer in ["vn-moh", "vn-moh-ec"] {
        rows.extend(shares_of(&Series::measure(issuer, options)?)?);
    }
    Ok(rows)
}

fn slow() -> Outcome<Vec<Row>> {
    let rows = waiting::slow()?.into_iter().map(|(sessions, rate, raw)| {
        let ratio = rate / raw;
        Row {
            measure: format!("2 ms per ES256 signature, {sessions} sessions: share of a raw loop"),
            must: format!(">= {SLOW_RATIO}"),
            found: format!("{ratio:.3} ({rate:.0} of {raw:.0}/s)"),
            met: ratio >= SLOW_RATIO,
            value: ratio,
        }
    });
    Ok(rows.collect())
}

fn shares_of(series: &Series) -> Outcome<[Row; 3]> {
    let cores = std::thread::available_parallelism()?.get();
    let (p256, rsa) = (bare::p256(cores)?, bare::rsa(cores)?);
    // The certificate's own, and of half a record the gateway's on P-256 and the unit's of RSA-2048.
    let own = if series.algorithm == "ES256" { p256 } else { rsa };
    let verifications = own + f64::midpoint(p256, rsa);
    let (name, aim) = (&series.algorithm, Aim::of(&series.algorithm)?);
    let ratio = Spread::of(series.rounds.iter().map(|round| round.ratio)).median;
    let front = Spread::of(series.rounds.iter().map(|round| round.front * 1e6)).median;
    let ceiling = Spread::of(series.ceilings.iter().map(|ceiling| ceiling.rate)).median;
    Ok([
        Row {
            measure: format!("{name}, 1,000 records x 2 doses: share of the module's ceiling"),
            must: format!(">= {:.2}", aim.ratio),
            found: format!("{ratio:.3} (ceiling {ceiling:.0}/s)"),
            met: ratio >= aim.ratio,
            value: ratio,
        },
        Row {
            measure: format!("{name}: processor time of the front per certificate, µs"),
            must: format!("<= {:.0}", aim.front),
            found: format!("{front:.0}"),
            met: front <= aim.front,
            value: front,
        },
        Row {
            measure: "of that, beyond the bare verifications, all cores busy, µs".to_owned(),
            must: format!("<= {BEYOND:.0}"),
            found: format!("{:.0} (P-256 {p256:.0}, RSA-2048 {rsa:.0})", front - verifications),
            met: front - verifications <= BEYOND,
            value: front - verifications,
        },
    ])
}

fn singles() -> Outcome<Vec<Row>> {
    let found = waiting::singles()?;
    let (p50, p99) = (percentile(&found.waits, 50), percentile(&found.waits, 99));
    let bound = found.signature + found.commits + OVERHEAD;
    let ms = 1e3;
    Ok(vec![
        Row {
            measure: "one PS256 certificate, idle, kept connection: p50, ms".to_owned(),
            must: format!("<= {:.2}", bound * ms),
            found: format!(
                "{:.2} (signature {:.2}, commits {:.2})",
                p50 * ms,
                found.signature * ms,
                found.commits * ms
            ),
            met: p50 <= bound,
            value: p50 * ms,
        },
        Row {
            measure: "the same: p99, ms".to_owned(),
            must: format!("<= {:.2}", p50 * TAIL * ms),
            found: format!("{:.2}", p99 * ms),
            met: p99 <= p50 * TAIL,
            value: p99 * ms,
        },
    ])
}

fn crowded() -> Outcome<Vec<Row>> {
    let found = waiting::crowded()?;
    let p99 = percentile(&found.waits, 99);
    let [idle, most] = [found.idle, found.most].map(|kib| f64::from(kib) / 1_024.0);
    let [idle_max, most_max] = MEMORY;
    let memory = |measure: &str, found: f64, must: f64| Row {
        measure: measure.to_owned(),
        must: format!("<= {must:.0}"),
        found: format!("{found:.1}"),
        met: found <= must,
        value: found,
    };
    Ok(vec![
        Row {
            measure: "single certificates among batches of 3,000: p99, ms".to_owned(),
            must: format!("<= {:.0}", CROWDED * 1e3),
            found: format!(
                "{:.1} ({} single, {} others)",
                p99 * 1e3,
                found.waits.len(),
                found.certificates
            ),
            met: p99 <= CROWDED,
            value: p99 * 1e3,
        },
        memory("memory of the front, idle, MiB", idle, idle_max),
        memory("memory of the front, four batches of 3,000 doses, MiB", most, most_max),
    ])
}

fn write(out: &mut dyn Write, rows: &[Row]) -> Outcome<()> {
    let mut lines = Vec::new();
    for Row { measure, must, found, met, value } in rows {
        let verdict = judged(*met);
        writeln!(out, "{measure:<66} {must:<10} {found:<34} {verdict}")?;
        lines.push(json!({ "measure": measure, "must": must, "value": value, "met": met }));
    }
    writeln!(out, "{}", serde_json::Value::from(lines))?;
    Ok(())
}
