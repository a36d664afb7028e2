//! Processor time of processes, as the kernel counts it.

use std::time::Duration;

use rustix::process::Pid;

use crate::Outcome;

/// Linux counts in hundredths of a second here, whatever its own clock (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// Processor time of a process, user and system, with all of its threads.
pub(crate) fn of(pid: Pid) -> Outcome<Duration> {
    ticks(&pid.as_raw_nonzero().to_string(), [11, 12])
}

/// Processor time of several processes together.
pub(crate) fn of_all(pids: &[Pid]) -> Outcome<Duration> {
    pids.iter().map(|pid| of(*pid)).sum()
}

/// Processor time of this process.
pub(crate) fn own() -> Outcome<Duration> {
    ticks("self", [11, 12])
}

/// Processor time of children of this process that have ended, and of theirs.
pub(crate) fn ended_children() -> Outcome<Duration> {
    ticks("self", [13, 14])
}

/// Adds two fields of `/proc/PROCESS/stat`, counted from behind the name in parentheses.
fn ticks(process: &str, fields: [usize; 2]) -> Outcome<Duration> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    // The name may hold anything, a parenthesis too.
    let behind = stat.rsplit(')').next().ok_or("no fields")?;
    let mut total: u32 = 0;
    for field in fields {
        let value = behind.split_whitespace().nth(field).ok_or("too few fields")?;
        total = total.saturating_add(value.parse()?);
    }
    Ok(TICK * total)
}
