//! Whether entries make sense together: what the hashes cannot say.
//!
//! In go entries in their order, out come oddities with the number of the entry: a certificate without an
//! intent, a batch that ends twice, an attempt that goes back. A log whose signature holds and whose
//! entries contradict each other was written so by its daemon, or by whoever has the audit key. The memory
//! is that of the batches that are open, and 8 bytes for each certificate.

use std::collections::BTreeMap;

use thiserror::Error;

use super::fact::{Certificate, Entry, Fact, NotAnEntry};

/// How far times may go back, or be ahead of what signs them, without a word: commits of one second come
/// in any order, and clocks are corrected by seconds.
const CLOCK_SECONDS: i64 = 300;

/// What does not fit. To blame: whoever wrote the log, unless it is a warning.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum Oddity {
    /// Not an entry.
    #[error(transparent)]
    Entry(NotAnEntry),
    /// An event of a newer release.
    #[error("event {0:?} is not known to this release")]
    Unknown(String),
    /// The log does not begin with its beginning, or has another one.
    #[error("a log begins with log.begun, once")]
    Beginning,
    /// The batch was never intended, or has ended.
    #[error(
        "{event} is about batch {batch}, which is not open: never intended, answered or released"
    )]
    NotOpen {
        /// The event.
        event: &'static str,
        /// The number of the batch's `batch.intended`.
        batch: u64,
    },
    /// The attempt is not a later one, or not the current one.
    #[error("attempt {found} at batch {batch} after attempt {last}")]
    Attempt {
        /// The batch.
        batch: u64,
        /// The attempt before.
        last: u32,
        /// The attempt of this entry.
        found: u32,
    },
    /// Signed under another key than intended.
    #[error("a certificate of batch {0} has another kid than was intended")]
    Kid(u64),
    /// More or fewer certificates than intended.
    #[error("batch {batch} was answered with {found} certificates instead of {intended}")]
    Count {
        /// The batch.
        batch: u64,
        /// How many were signed.
        found: u32,
        /// How many were intended.
        intended: u32,
    },
    /// The identifier of another certificate.
    #[error("the identifier of this certificate is also that of entry {0}")]
    Twice(u64),
    /// Time goes back.
    #[error("its time is {0} seconds before that of an earlier entry")]
    Back(i64),
    /// Not possible at the time it says.
    #[error("its times do not fit: {0}")]
    Times(&'static str),
}

impl Oddity {
    /// Whether it is for people to look at, and no fault of the log.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Back(_) | Self::Times(_))
    }
}

/// A batch between its intent and its end.
#[derive(Clone, Copy, Debug)]
struct Open {
    kid: [u8; 8],
    intended: u32,
    signed: u32,
    attempt: u32,
}

/// What is known after some entries.
#[derive(Debug, Default)]
pub struct Sense {
    open: BTreeMap<u64, Open>,
    latest: Option<i64>,
    /// The beginnings of all identifiers: random ones, so that two that are alike are one.
    uvcis: Vec<u64>,
}

impl Sense {
    /// Takes the next entry, and tells what is odd about it.
    pub fn take(&mut self, number: u64, entry: &Result<Entry, NotAnEntry>) -> Vec<Oddity> {
        let entry = match entry {
            Ok(entry) => entry,
            Err(NotAnEntry::Event(event)) => return vec![Oddity::Unknown(event.clone())],
            Err(fault) => return vec![Oddity::Entry(fault.clone())],
        };
        let mut odd = Vec::new();
        if matches!(entry.fact, Fact::LogBegun { .. }) != (number == 0) {
            odd.push(Oddity::Beginning);
        }
        odd.extend(self.time(entry));
        odd.extend(self.fact(number, entry));
        odd
    }

    /// How many certificates there were.
    #[must_use]
    pub fn certificates(&self) -> usize {
        self.uvcis.len()
    }

    /// How many batches are neither answered nor released.
    #[must_use]
    pub fn open_batches(&self) -> usize {
        self.open.len()
    }

    /// The beginnings of identifiers that are there more than once: [`beginning`] of each.
    #[must_use]
    pub fn doubled(mut self) -> Vec<u64> {
        self.uvcis.sort_unstable();
        let pairs = self.uvcis.windows(2);
        let same = pairs.filter_map(|pair| match pair {
            [one, other] if one == other => Some(*one),
            _ => None,
        });
        let mut doubled: Vec<u64> = same.collect();
        doubled.dedup();
        doubled
    }

    /// Time goes on, but where a person said that it was wrong before.
    fn time(&mut self, &Entry { at, ref fact }: &Entry) -> Option<Oddity> {
        if matches!(fact, Fact::ClockTrusted { .. }) {
            self.latest = Some(at);
            return None;
        }
        let latest = self.latest.unwrap_or(at);
        self.latest = Some(latest.max(at));
        let back = latest.saturating_sub(at);
        (back > CLOCK_SECONDS).then_some(Oddity::Back(back))
    }

    fn fact(&mut self, number: u64, entry: &Entry) -> Vec<Oddity> {
        let event = entry.fact.event();
        match &entry.fact {
            Fact::BatchIntended(intended) => {
                let (kid, intended) = (intended.kid, intended.certificates);
                self.open.insert(number, Open { kid, intended, signed: 0, attempt: 1 });
                Vec::new()
            }
            Fact::BatchResumed { batch, attempt } => match self.open.get_mut(batch) {
                None => vec![Oddity::NotOpen { event, batch: *batch }],
                Some(open) => {
                    let (last, found) = (open.attempt, *attempt);
                    open.attempt = found.max(last);
                    let odd = Oddity::Attempt { batch: *batch, last, found };
                    if found > last { Vec::new() } else { vec![odd] }
                }
            },
            Fact::BatchReleased { batch, .. } => match self.open.remove(batch) {
                None => vec![Oddity::NotOpen { event, batch: *batch }],
                Some(_) => Vec::new(),
            },
            Fact::CertificateSigned(certificate) => self.certificate(entry.at, certificate),
            Fact::BatchAnswered { batch, attempt } => match self.open.remove(batch) {
                None => vec![Oddity::NotOpen { event, batch: *batch }],
                Some(open) => answered(*batch, *attempt, open),
            },
            Fact::LogBegun { .. }
            | Fact::DaemonStarted { .. }
            | Fact::DaemonStopped { .. }
            | Fact::RulesLoaded { .. }
            | Fact::BatchRefused { .. }
            | Fact::RequestsRefused { .. }
            | Fact::ClockTrusted { .. }
            | Fact::WorkerLost { .. }
            | Fact::WindowOpened { .. }
            | Fact::WindowClosed { .. } => Vec::new(),
        }
    }

    fn certificate(&mut self, at: i64, certificate: &Certificate) -> Vec<Oddity> {
        self.uvcis.push(beginning(&certificate.uvci));
        let mut odd = Vec::new();
        match self.open.get_mut(&certificate.batch) {
            None => {
                odd.push(Oddity::NotOpen { event: "certificate.signed", batch: certificate.batch });
            }
            Some(open) => {
                open.signed = open.signed.saturating_add(1);
                if open.kid != certificate.kid {
                    odd.push(Oddity::Kid(certificate.batch));
                }
            }
        }
        if certificate.exp <= certificate.iat {
            odd.push(Oddity::Times("it ends before it begins"));
        }
        if certificate.iat > at.saturating_add(CLOCK_SECONDS) {
            odd.push(Oddity::Times("it was issued after it was logged"));
        }
        odd
    }
}

/// The part of an identifier by which two are compared first.
#[must_use]
pub fn beginning(uvci: &[u8; 16]) -> u64 {
    uvci.first_chunk().map_or(0, |half| u64::from_be_bytes(*half))
}

fn answered(batch: u64, attempt: u32, open: Open) -> Vec<Oddity> {
    let mut odd = Vec::new();
    if open.attempt != attempt {
        odd.push(Oddity::Attempt { batch, last: open.attempt, found: attempt });
    }
    if open.signed != open.intended {
        odd.push(Oddity::Count { batch, found: open.signed, intended: open.intended });
    }
    odd
}

#[cfg(test)]
mod tests;
