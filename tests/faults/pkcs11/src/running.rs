//! A script in force, with the counters of its lines that all processes share.
//!
//! The counters lie in a file that is named after the script's own identity, so a new script begins with
//! zeros, and a process that has not seen it yet counts where it does no harm.

use std::ffi::CStr;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::context::refuse;
use crate::script::{Act, Back, LINES_MAX, Line, Script, State, When};
use crate::shared::Shared;
use crate::tally::Counters;

/// What tells one version of the script's file from another: inode, and when it was changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Identity(u64, i64, i64);

impl Identity {
    /// That of the file which has this name now.
    pub(crate) fn of_path(path: &CStr) -> Result<Self, rustix::io::Errno> {
        let status = rustix::fs::stat(path)?;
        let nanoseconds = i64::try_from(status.st_mtime_nsec).unwrap_or_default();
        Ok(Self(status.st_ino, status.st_mtime, nanoseconds))
    }
}

/// The script in force.
pub(crate) struct Running {
    pub(crate) identity: Identity,
    script: Script,
    shared: Shared,
    /// Whether a call of the length of a signature has to be told one byte more.
    pub(crate) has_long: bool,
    can_be_away: bool,
}

/// The counters of a line.
struct Counts<'a> {
    seen: &'a AtomicU64,
    taken: &'a AtomicU64,
    since: &'a AtomicU64,
    tries: &'a AtomicU64,
}

const COUNTS: usize = 4;

impl Running {
    /// Reads the script, and ends the process if it is not one.
    pub(crate) fn load(path: &Path, tally: &Counters) -> Self {
        let wrong = |error: &dyn std::fmt::Display| -> ! {
            refuse(&format!("the script {}: {error}", path.display()))
        };
        let mut text = String::new();
        let read = std::fs::File::open(path).and_then(|mut file| {
            file.read_to_string(&mut text)?;
            file.metadata()
        });
        let status = read.unwrap_or_else(|error| wrong(&error));
        let identity = Identity(status.ino(), status.mtime(), status.mtime_nsec());
        let script = Script::parse(&text).unwrap_or_else(|error| wrong(&error));
        let shared = Shared::open(&counters_of(path, identity), LINES_MAX * COUNTS)
            .unwrap_or_else(|error| wrong(&error));
        let acts = || {
            script.0.iter().filter_map(|line| match line {
                Line::On { act, .. } => Some(act),
                Line::Token { .. } => None,
            })
        };
        let has_long = acts().any(|act| *act == Act::Long);
        let loses = acts().any(|act| matches!(act, Act::LoseToken(_)));
        let is_away =
            |line: &Line| matches!(line, Line::Token { state, .. } if state.away().is_some());
        let can_be_away = loses || script.0.iter().any(is_away);
        let running = Self { identity, script, shared, has_long, can_be_away };
        running.begin(tally);
        running
    }

    /// Starts the time of all states; the first process to do so counts what is lost by them.
    fn begin(&self, tally: &Counters) {
        for (number, line) in self.script.0.iter().enumerate() {
            let Line::Token { state, .. } = line else { continue };
            let since = self.counts(number).since;
            let first = since.compare_exchange(0, now(), SeqCst, SeqCst).is_ok();
            if let Some(back) = state.away()
                && first
            {
                tally.lost(back);
            }
        }
    }

    /// Removes the counters of a script that is not in force any more.
    pub(crate) fn leave(&self, path: &Path) {
        // Another process may have done it already.
        let _ = std::fs::remove_file(counters_of(path, self.identity));
    }

    /// The lines, with their numbers.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.script.0.iter().enumerate()
    }

    /// What the token is like now, as states with the numbers of their lines.
    pub(crate) fn states(&self) -> impl Iterator<Item = (usize, State)> + '_ {
        self.lines().filter_map(|(number, line)| match line {
            Line::Token { state, lasts } if self.is_current(number, *lasts) => {
                Some((number, *state))
            }
            _ => None,
        })
    }

    /// Counts a call for a line; says whether it takes effect, and the call's number from 1.
    pub(crate) fn takes_effect(&self, line: usize, when: &When) -> Option<u64> {
        let counts = self.counts(line);
        let number = counts.seen.fetch_add(1, SeqCst) + 1;
        let beyond = number.checked_sub(when.after).filter(|beyond| *beyond > 0)?;
        if beyond % when.every != 0 || !happens(when.chance, random(when.seed, number)) {
            return None;
        }
        if let Some(lasts) = when.lasts
            && !self.is_loss(line)
        {
            let _ = counts.since.compare_exchange(0, now(), SeqCst, SeqCst);
            if !self.is_current(line, Some(lasts)) {
                return None;
            }
        }
        let times = when.times.unwrap_or(u64::MAX);
        let more = |taken| (taken < times).then_some(taken + 1);
        counts.taken.fetch_update(SeqCst, SeqCst, more).ok().map(|_| number)
    }

    /// Begins the time for which a line takes the token away.
    pub(crate) fn start_absence(&self, line: usize) {
        self.counts(line).since.store(now(), SeqCst);
    }

    /// Whether a line keeps the token away now, to be back in this way.
    pub(crate) fn is_away(&self, back: Back) -> bool {
        self.can_be_away
            && self.lines().any(|(number, line)| match line {
                Line::Token { state, lasts } => {
                    state.away() == Some(back) && self.is_current(number, *lasts)
                }
                Line::On { act: Act::LoseToken(own), when, .. } => {
                    *own == back && self.is_current(number, when.lasts)
                }
                Line::On { .. } => false,
            })
    }

    /// The wrong PINs in a row that a line has counted.
    pub(crate) fn wrong_pins(&self, line: usize) -> &AtomicU64 {
        self.counts(line).tries
    }

    fn is_loss(&self, line: usize) -> bool {
        let line = self.script.0.get(line);
        matches!(line, Some(Line::On { act: Act::LoseToken(_), .. }))
    }

    /// Whether the time of a line has begun and is not over.
    fn is_current(&self, line: usize, lasts: Option<Duration>) -> bool {
        let since = self.counts(line).since.load(SeqCst);
        since != 0
            && lasts.is_none_or(|lasts| u128::from(now().saturating_sub(since)) < lasts.as_nanos())
    }

    fn counts(&self, line: usize) -> Counts<'_> {
        let number = |column| self.shared.number(line * COUNTS + column);
        Counts { seen: number(0), taken: number(1), since: number(2), tries: number(3) }
    }
}

/// The file of the counters of one version of the script.
fn counters_of(path: &Path, Identity(inode, seconds, nanoseconds): Identity) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{inode}-{seconds}-{nanoseconds}.counters"));
    name.into()
}

/// Nanoseconds since this machine started, the same for all processes and never 0.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    (seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()).max(1)
}

/// A random number that the seed and the number of the call decide (`SplitMix64`).
pub(crate) fn random(seed: u64, number: u64) -> u64 {
    let mixed = seed.wrapping_mul(0xD1B5_4A32_D192_ED03).wrapping_add(number);
    let mut z = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Whether something of this probability happens.
fn happens(chance: f64, random: u64) -> bool {
    // Thirty-two bits are exact in a float.
    let part = u32::try_from(random >> 32).map_or(0.0, f64::from) / (f64::from(u32::MAX) + 1.0);
    part < chance
}
