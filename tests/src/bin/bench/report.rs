//! The figures as people and machines read them: a table and one line of JSON.

use std::io::Write;

use serde_json::{Value, json};

use crate::Outcome;
use crate::series::Series;

/// What the project aims at: at least this share of the ceiling with PS256 on two shared cores.
const RATIO_AIM: f64 = 0.75;
/// What the project aims at: at most this much processor time of the front per certificate, in µs.
const FRONT_AIM: f64 = 200.0;

/// Writes both.
pub(crate) fn write(out: &mut dyn Write, series: &[Series]) -> Outcome<()> {
    let figures: Vec<Figures> = series.iter().map(Figures::of).collect();
    table(out, series, &figures)?;
    let line: Vec<Value> = series.iter().zip(&figures).map(|(s, f)| f.json(s)).collect();
    writeln!(out, "{}", Value::from(line))?;
    Ok(())
}

/// Median and extremes.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
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
            front: Spread::of(rounds().map(|r| r.front)).scaled(micros),
            workers: Spread::of(rounds().map(|r| r.workers)).scaled(micros),
            client: Spread::of(rounds().map(|r| r.client)).scaled(micros),
            raw: Spread::of(series.ceilings.iter().map(|c| c.cpu)).scaled(micros),
            cores: Spread::of(rounds().map(|r| r.cores)),
            wait: Spread::of(rounds().flat_map(|r| r.waits.iter().copied())),
        }
    }

    fn rows(&self) -> [(&'static str, String); 9] {
        [
            ("ceiling, signatures/s", self.ceiling.text(0)),
            ("end to end, certificates/s", self.rate.text(0)),
            ("ratio, by round", self.ratio.text(3)),
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
    for (index, (name, _)) in rows.iter().flatten().take(9).enumerate() {
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
        if name == "PS256" {
            let met = judged(figures.ratio.median >= RATIO_AIM);
            writeln!(out, "{name}: aim, ratio at least {RATIO_AIM}: {met}")?;
        }
        let met = judged(figures.front.median <= FRONT_AIM);
        writeln!(out, "{name}: aim, front at most {FRONT_AIM} µs: {met}")?;
    }
    Ok(())
}

const fn judged(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
