//! The results for a person: a table, the ceilings and the lines for `hsm.toml`.

use std::fmt;

use super::Results;
use super::Row;

impl Results {
    /// The heads of the columns of [`Row`].
    pub const HEADS: &str = concat!(
        "key                  alg    workers sessions copies  signatures/s",
        "    p50 us    p90 us    p99 us    max us  CPU us"
    );
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let case = &self.case;
        let copies = if case.copy_keys { "yes" } else { "no" };
        write!(
            f,
            "{:<20} {:<6} {:>7} {:>8} {:>6} ",
            case.key, self.algorithm, case.workers, case.sessions, copies
        )?;
        match &self.problem {
            Some(problem) => write!(f, "  {problem}"),
            None => write!(
                f,
                "{:>13.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>7}",
                self.per_second,
                self.p50_us,
                self.p90_us,
                self.p99_us,
                self.max_us,
                self.cpu_us.map_or("-".to_owned(), |cpu| format!("{cpu:.1}"))
            ),
        }
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", Self::HEADS)?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))?;
        writeln!(f)?;
        for ceiling in &self.ceilings {
            let (case, rate) = (&ceiling.case, ceiling.per_second);
            let copies = if case.copy_keys { ", with copies" } else { "" };
            writeln!(
                f,
                "ceiling of {}: {rate:.1} signatures/s with {} workers of {} sessions{copies}",
                case.key, case.workers, case.sessions
            )?;
        }
        match &self.best {
            Some(best) => write!(f, "\nbest for all keys, in hsm.toml:\n\n{}", best.hsm_toml),
            None => writeln!(f, "\nnothing was signed"),
        }
    }
}
