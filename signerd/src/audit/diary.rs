//! Facts on their way to the log: told without waiting, written in their order, and kept until written.
//!
//! In go facts from callbacks that may not wait (a worker that is lost, a start), out they go to the
//! ledger by one task. A ledger that cannot be written is tried again; what comes meanwhile waits in a
//! bounded queue. Where that is full the fact is in the journal only, and the journal says so.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::clock;
use crate::ledger::{Ledger, LedgerError};
use crate::tlog::fact::Fact;

/// Facts that may wait: a fleet of workers that is lost once a second for minutes.
const PAGES_MAX: usize = 1024;
/// How long after a failure is the ledger tried again?
const AGAIN: Duration = Duration::from_secs(1);

/// Where facts are told; clones share it.
#[derive(Clone, Debug)]
pub struct Diary(mpsc::Sender<(i64, Fact)>);

/// What was told and is not written yet.
#[derive(Debug)]
pub struct DiaryPages(mpsc::Receiver<(i64, Fact)>);

impl Diary {
    /// A diary, and its pages for the one task that writes them.
    #[must_use]
    pub fn new() -> (Self, DiaryPages) {
        let (diary, pages) = mpsc::channel(PAGES_MAX);
        (Self(diary), DiaryPages(pages))
    }

    /// Tells what happens now.
    pub fn tell(&self, fact: Fact) {
        let event = fact.event();
        if self.0.try_send((clock::seconds_since_1970(), fact)).is_err() {
            log::error!(event; "not in the log: too much waits to be written");
        }
    }
}

impl DiaryPages {
    /// Writes what is told until nobody can tell anything any more, or the ledger is closed.
    pub async fn write(mut self, ledger: Ledger) {
        while let Some((at, fact)) = self.0.recv().await {
            let mut told = false;
            loop {
                match ledger.record(at, vec![fact.clone()]).await {
                    Ok(()) => break,
                    Err(LedgerError::Closed) => return,
                    Err(error) if !told => {
                        log::warn!(event = fact.event(); "not in the log yet: {error}");
                        told = true;
                    }
                    Err(_) => {}
                }
                sleep(AGAIN).await;
            }
        }
    }
}
