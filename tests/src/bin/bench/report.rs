//! The figures as people and machines read them: a table and one line of JSON.

use std::io::Write;

use serde_json::{Value, json};

use crate::Outcome;
use crate::series::Series;

/// What must be reached on two shared cores, by algorithm.
const AIMS: [(&str, Aim); 2] =
    [("PS256", Aim { ratio: 0.80, front: 150.0 }), ("ES256", Aim { ratio: 0.20, front: 185.0 })];

/// What must be reached with one algorithm.
#[derive(Clone, Copy)]
pub(crate) struct Aim {
    /// At least this share of the ceiling.
    pub(crate) ratio: f64,
    /// At most this much processor time of the front per certificate, in µs.
    pub(crate) front: f64,
}

impl Aim {
    /// That of an algorithm.
    pub(crate) fn of(algorithm: &str) -> Outcome<Self> {
        let aim = AIMS.iter().find(|(name, _)| *name == algorithm);
        aim.map(|(_, aim)| *aim).ok_or_else(|| format!("no aim for {algorithm}").into())
    }
}

/// Lines of the table.
const ROWS: usize = 10;

/// Writes both.
pub(crate) fn write(out: &mut dyn Write, series: &[Series]) -> Outcome<()> {
    let figures: Vec<Figures> = series.iter().map(Figures::of).collect();
    table(out, series, &figures)?;
    let line: Vec<Value> = series.iter().zip(&figures).map(|(s, f)| f.json(s)).collect();
    writeln!(out, "{}", Value::from(line))?;
    Ok(())
}

/// Median and extremes.
pub(crate) struct Spread {
    pub(crate) median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
        Self {
            median: f64::midpoint(at(low), at(high)),
            least: at(0),
            most: at(values.len().saturating_sub(1)),
        }
    }

    fn scaled(self, factor: f64) -> Self {
        let Self { median, least, most } = self;
        Self { median: median * factor, least: least * factor, most: most * factor }
    }

    fn text(&self, digits: usize) -> String {
        let Self { median, least, most } = self;
        format!("{median:.digits$} ({least:.digits$}..{most:.digits$})")
    }

    fn json(&self) -> Value {
        json!({ "median": self.median, "min": self.least, "max": self.most })
    }
}

/// The figures of one algorithm, each over its rounds.
struct Figures {
    ceiling: Spread,
    rate: Spread,
    ratio: Spread,
    share: Spread,
    front: Spread,
    workers: Spread,
    client: Spread,
    raw: Spread,
    cores: Spread,
    wait: Spread,
}

impl Figures {
    fn of(series: &Series) -> Self {
        let micros = 1e6;
        let rounds = || series.rounds.iter();
        Self {
            ceiling: Spread::of(series.ceilings.iter().map(|c| c.rate)),
            rate: Spread::of(rounds().map(|r| r.rate)),
            ratio: Spread::of(rounds().map(|r| r.ratio)),
            share: Spread::of(rounds().map(|r| r.share)),
            front: Spread::of(rounds().map(|r| r.front)).scaled(micros),
            workers: Spread::of(rounds().map(|r| r.workers)).scaled(micros),
            client: Spread::of(rounds().map(|r| r.client)).scaled(micros),
            raw: Spread::of(series.ceilings.iter().map(|c| c.cpu)).scaled(micros),
            cores: Spread::of(rounds().map(|r| r.cores)),
            wait: Spread::of(rounds().flat_map(|r| r.waits.iter().copied())),
        }
    }

    fn rows(&self) -> [(&'static str, String); ROWS] {
        [
            ("ceiling, signatures/s", self.ceiling.text(0)),
            ("end to end, certificates/s", self.rate.text(0)),
            ("ratio, round by round", self.ratio.text(3)),
            ("ratio, by processor time", self.share.text(3)),
            ("front, µs of CPU per certificate", self.front.text(0)),
            ("workers, µs of CPU per certificate", self.workers.text(0)),
            ("this client, µs of CPU per certificate", self.client.text(0)),
            ("ceiling, µs of CPU per signature", self.raw.text(0)),
            ("cores that all had together", self.cores.text(2)),
            ("answer to a batch after, s", self.wait.text(2)),
        ]
    }

    fn json(&self, series: &Series) -> Value {
        json!({
            "algorithm": series.algorithm,
            "workers": series.workers,
            "sessions": series.sessions,
            "in_flight": series.in_flight,
            "rounds": series.rounds.len(),
            "ceiling_per_second": self.ceiling.json(),
            "end_to_end_per_second": self.rate.json(),
            "ratio": self.ratio.json(),
            "ratio_by_cpu": self.share.json(),
            "front_cpu_micros": self.front.json(),
            "workers_cpu_micros": self.workers.json(),
            "client_cpu_micros": self.client.json(),
            "ceiling_cpu_micros": self.raw.json(),
            "cores": self.cores.json(),
            "batch_seconds": self.wait.json(),
        })
    }
}

fn table(out: &mut dyn Write, series: &[Series], figures: &[Figures]) -> Outcome<()> {
    write!(out, "{:<40}", "median (least..most)")?;
    for one in series {
        write!(out, "{:<28}", one.algorithm)?;
    }
    writeln!(out)?;
    let rows: Vec<_> = figures.iter().map(Figures::rows).collect();
    for (index, (name, _)) in rows.iter().flatten().take(ROWS).enumerate() {
        write!(out, "{name:<40}")?;
        for column in &rows {
            write!(out, "{:<28}", column.get(index).map_or("", |(_, text)| text))?;
        }
        writeln!(out)?;
    }
    for (one, figures) in series.iter().zip(figures) {
        let name = &one.algorithm;
        writeln!(
            out,
            "{name}: {} workers with {} sessions each, {} batches in flight, {} rounds",
            one.workers,
            one.sessions,
            one.in_flight,
            one.rounds.len()
        )?;
        let aim = Aim::of(name)?;
        let met = judged(figures.ratio.median >= aim.ratio);
        writeln!(out, "{name}: aim, ratio at least {:.2}: {met}", aim.ratio)?;
        let met = judged(figures.front.median <= aim.front);
        writeln!(out, "{name}: aim, front at most {} µs: {met}", aim.front)?;
    }
    Ok(())
}

/// A percentile of sorted values.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

pub(crate) const fn judged(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
