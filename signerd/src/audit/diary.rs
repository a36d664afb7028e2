//! Facts on their way to the log: told without waiting, written in their order, and kept until written.
//!
//! In go facts from callbacks that may not wait (a worker that is lost, a start), out they go to the
//! ledger by one task. A ledger that cannot be written is tried again; what comes meanwhile waits in a
//! bounded queue. Where that is full the fact is in the journal only, and the journal says so.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
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
pub struct Diary(mpsc::Sender<Page>);

/// What was told and is not written yet.
#[derive(Debug)]
pub struct DiaryPages(mpsc::Receiver<Page>);

/// What goes from who tells to who writes.
#[derive(Debug)]
enum Page {
    /// A fact and its time.
    Fact(i64, Fact),
    /// Somebody waits until everything before this is written.
    Mark(oneshot::Sender<()>),
}

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
        if self.0.try_send(Page::Fact(clock::seconds_since_1970(), fact)).is_err() {
            log::error!(event; "not in the log: too much waits to be written");
        }
    }

    /// Waits until everything that was told before is in the log, or can no longer come there.
    pub async fn written(&self) {
        let (mark, reached) = oneshot::channel();
        if self.0.send(Page::Mark(mark)).await.is_ok() {
            // An error means that nobody writes any more.
            let _ = reached.await;
        }
    }
}

impl DiaryPages {
    /// Writes what is told until nobody can tell anything any more, or the ledger is closed.
    pub async fn write(mut self, ledger: Ledger) {
        while let Some(page) = self.0.recv().await {
            match page {
                Page::Fact(at, fact) => write(&ledger, at, fact).await,
                // Who waited may be gone.
                Page::Mark(mark) => drop(mark.send(())),
            }
        }
    }
}

/// Writes one fact, however long the ledger cannot be written.
async fn write(ledger: &Ledger, at: i64, fact: Fact) {
    let event = fact.event();
    let mut told = false;
    loop {
        match ledger.record(at, vec![fact.clone()]).await {
            Ok(()) => return,
            Err(LedgerError::Closed) => {
                log::error!(event; "not in the log: the ledger was closed before it could be written");
                return;
            }
            Err(error) if !told => {
                log::warn!(event; "not in the log yet: {error}");
                told = true;
            }
            Err(_) => {}
        }
        sleep(AGAIN).await;
    }
}
