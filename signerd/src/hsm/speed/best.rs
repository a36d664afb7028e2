//! Which setting to take: one `[pool]` serves all keys.

use std::collections::BTreeMap;

use hsm_config::HsmConfig;
use serde::Serialize;

use super::Case;
use super::Row;

/// How much slower a setting with fewer sessions may be and still be the better one.
const TOLERANCE: f64 = 0.03;

/// The fastest row of a key.
#[derive(Debug, Clone, Serialize)]
pub struct Ceiling {
    /// What was measured.
    #[serde(flatten)]
    pub case: Case,
    /// Signatures in a second.
    pub per_second: f64,
}

/// The setting that serves all keys best.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Best {
    /// `pool.workers`.
    pub workers: usize,
    /// `pool.sessions`.
    pub sessions: usize,
    /// `pool.copy_keys`.
    pub copy_keys: bool,
    /// The lines for `hsm.toml`.
    pub hsm_toml: String,
}

pub(super) fn ceilings(rows: &[Row]) -> Vec<Ceiling> {
    let mut ceilings: BTreeMap<&str, &Row> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.signatures > 0) {
        let fastest = ceilings.entry(&row.case.key).or_insert(row);
        if row.per_second > fastest.per_second {
            *fastest = row;
        }
    }
    let ceilings = ceilings.into_values();
    ceilings.map(|row| Ceiling { case: row.case.clone(), per_second: row.per_second }).collect()
}

/// The setting under which the key that suffers most keeps most of its own ceiling; of those that hardly
/// differ, the one with the fewest sessions, and then without copies.
pub(super) fn best(rows: &[Row], config: &HsmConfig) -> Option<Best> {
    let ceilings = ceilings(rows);
    let mut settings: BTreeMap<(usize, bool, usize, usize), f64> = BTreeMap::new();
    for row in rows {
        let ceiling = ceilings.iter().find(|ceiling| ceiling.case.key == row.case.key);
        let share = ceiling.map_or(0.0, |ceiling| row.per_second / ceiling.per_second);
        let Case { workers, sessions, copy_keys, .. } = row.case;
        let order = (workers.saturating_mul(sessions), copy_keys, workers, sessions);
        let worst = settings.entry(order).or_insert(f64::INFINITY);
        *worst = worst.min(share);
    }
    let most = settings.values().copied().fold(0.0, f64::max);
    let mut good = settings.iter().filter(|(_, share)| **share >= most * (1.0 - TOLERANCE));
    let (&(_, copy_keys, workers, sessions), _) = good.next().filter(|_| most > 0.0)?;
    let workers_line = if config.sockets().is_empty() {
        format!("workers = {workers}")
    } else {
        format!("# {workers} sockets: one for each worker")
    };
    let hsm_toml =
        format!("[pool]\n{workers_line}\nsessions = {sessions}\ncopy_keys = {copy_keys}\n");
    Some(Best { workers, sessions, copy_keys, hsm_toml })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hsm_config::PROFILES;

    use super::*;

    fn row(key: &str, workers: usize, sessions: usize, per_second: f64) -> Row {
        Row {
            case: Case { key: key.to_owned(), workers, sessions, copy_keys: false },
            algorithm: "ES256",
            signatures: u64::from(per_second > 0.0),
            per_second,
            p50_us: 1.0,
            p90_us: 1.0,
            p99_us: 1.0,
            max_us: 1.0,
            cpu_us: None,
            problem: None,
        }
    }

    #[test]
    fn the_best_setting_serves_the_key_that_suffers_most() {
        // One key is fastest with many sessions, the other loses half there: the setting between wins, and
        // of two that hardly differ the one with fewer sessions.
        let softhsm = PROFILES.iter().find(|(name, _)| *name == "softhsm.toml").unwrap().1;
        let config = HsmConfig::parse(softhsm, Path::new("/")).unwrap();
        let rows = [
            row("a", 1, 1, 50.0),
            row("a", 2, 1, 90.0),
            row("a", 2, 2, 91.0),
            row("a", 4, 8, 100.0),
            row("b", 1, 1, 500.0),
            row("b", 2, 1, 1000.0),
            row("b", 2, 2, 1000.0),
            row("b", 4, 8, 500.0),
        ];
        let found = best(&rows, &config).unwrap();
        assert_eq!((found.workers, found.sessions, found.copy_keys), (2, 1, false));
        assert_eq!(found.hsm_toml, "[pool]\nworkers = 2\nsessions = 1\ncopy_keys = false\n");
        assert_eq!(
            ceilings(&rows).iter().map(|c| c.per_second).collect::<Vec<_>>(),
            [100.0, 1000.0]
        );
        assert_eq!(best(&[row("a", 1, 1, 0.0)], &config), None);
    }
}
