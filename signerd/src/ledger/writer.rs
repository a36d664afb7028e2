//! The one thread that writes: group commit over a [`Store`].
//!
//! In come commands from any task through a bounded queue; the thread takes what waits there, runs
//! it in one transaction, each command undoable by itself, commits once, and only then answers all
//! of them. Nobody hears of a result that is not durable, and many small batches share one fsync.
//! If the commit fails, every command of the group gets that error and nothing of it counts.
//!
//! The thread opens the store that it writes to, because not every store may be used on a thread of the
//! asynchronous runtime. It ends when it is closed or when the last handle is gone. It decides nothing.

use std::sync::Arc;
use std::sync::mpsc as one_way;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::LedgerError;
use super::store::Store;
use crate::failpoint::{self, Place};

/// Commands that may wait: several times the batches that an appliance works on at once, so that
/// only a disk that has stopped fills it, and little enough that callers hear of that soon.
pub(super) const QUEUE_MAX: usize = 256;

/// Commands that share a commit: bounds how long the first one waits for the last one, and how
/// large a transaction grows (a finished batch carries one or two megabytes).
pub(super) const GROUP_MAX: usize = 64;

/// How long may new work wait for the store? Longer than any write takes on one that works.
const ADMISSION_WAIT: Duration = Duration::from_secs(10);
/// How long may finished work wait? Its signatures were paid for, so longer; then the repeat finds out.
const CONCLUSION_WAIT: Duration = Duration::from_secs(30);

/// Whether a command may be turned away when the queue is full.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Urgency {
    /// New work: it is refused at once, the caller repeats it later.
    Admission,
    /// The end of work that was let in before: it waits for its place.
    Conclusion,
}

/// The way to the thread.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
}

impl Writer {
    /// Starts the thread, and waits until it has opened its store.
    pub(super) fn start(
        open: impl FnOnce() -> Result<Box<dyn Store>, LedgerError> + Send + 'static,
    ) -> Result<Self, LedgerError> {
        let (queue, messages) = mpsc::channel(QUEUE_MAX);
        let (opened, outcome) = one_way::channel();
        let started =
            std::thread::Builder::new().name("ledger".to_owned()).spawn(move || match open() {
                Ok(store) => {
                    let _ = opened.send(Ok(()));
                    serve(store, messages);
                }
                Err(error) => drop(opened.send(Err(error))),
            });
        started.map_err(|source| LedgerError::Unavailable {
            what: "no thread can be started",
            source: Some(Arc::new(source)),
        })?;
        outcome.recv().map_err(|_| LedgerError::Closed)??;
        Ok(Self { queue })
    }

    /// Runs a command in the next group and gives its result once that is durable.
    ///
    /// A disk or a server that hangs makes the caller wait for a bounded time only. A caller that stops waiting
    /// does not stop the command. The command is dropped, with all
    /// that it holds, before its caller hears of the result.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        urgency: Urgency,
        work: impl FnMut(&mut dyn Store) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (reply, result) = oneshot::channel();
        let command = Command { work, outcome: None, reply };
        let message = Message::Command(Box::new(command));
        match urgency {
            Urgency::Admission => {
                self.queue.try_send(message).map_err(|refusal| turned_away(&refusal))?;
            }
            Urgency::Conclusion => {
                self.queue.send(message).await.map_err(|_| LedgerError::Closed)?;
            }
        }
        let wait = match urgency {
            Urgency::Admission => ADMISSION_WAIT,
            Urgency::Conclusion => CONCLUSION_WAIT,
        };
        match timeout(wait, result).await {
            Ok(result) => result.unwrap_or(Err(LedgerError::Closed)),
            Err(_) => {
                Err(LedgerError::Unavailable { what: "the store does not answer", source: None })
            }
        }
    }

    /// Ends the thread after the commands that wait, and returns once the store is closed.
    pub(super) async fn close(&self) {
        let (closed, done) = oneshot::channel();
        if self.queue.send(Message::Close(closed)).await.is_ok() {
            // An error means that another call closed the store already.
            let _ = done.await;
        }
    }
}

const fn turned_away(refusal: &mpsc::error::TrySendError<Message>) -> LedgerError {
    match refusal {
        mpsc::error::TrySendError::Full(_) => LedgerError::Overloaded,
        mpsc::error::TrySendError::Closed(_) => LedgerError::Closed,
    }
}

enum Message {
    Command(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// A command whose type of result the thread does not know.
trait Job: Send {
    /// Runs the command, keeps its outcome, and gives its error if it has one.
    fn run(&mut self, store: &mut dyn Store) -> Result<(), LedgerError>;
    /// Answers the caller, with the group's error if the group has one.
    fn settle(self: Box<Self>, committed: Result<(), LedgerError>);
}

struct Command<T, Work> {
    work: Work,
    outcome: Option<Result<T, LedgerError>>,
    reply: oneshot::Sender<Result<T, LedgerError>>,
}

impl<T, Work> Job for Command<T, Work>
where
    T: Send,
    Work: FnMut(&mut dyn Store) -> Result<T, LedgerError> + Send,
{
    fn run(&mut self, store: &mut dyn Store) -> Result<(), LedgerError> {
        let outcome = (self.work)(store);
        let result = outcome.as_ref().map(|_| ()).map_err(Clone::clone);
        self.outcome = Some(outcome);
        result
    }

    fn settle(self: Box<Self>, committed: Result<(), LedgerError>) {
        let Self { work, outcome, reply } = *self;
        // What the command holds (the claim on its batch) goes before the caller can go on.
        drop(work);
        let outcome = committed.and_then(|()| outcome.unwrap_or(Err(LedgerError::Closed)));
        // A caller that is gone has no use for the result; the store has it.
        let _ = reply.send(outcome);
    }
}

fn serve(mut store: Box<dyn Store>, mut messages: mpsc::Receiver<Message>) {
    while let Some(first) = messages.blocking_recv() {
        let (group, close) = gather(first, &mut messages);
        if !group.is_empty() {
            commit(store.as_mut(), group);
        }
        if let Some(closed) = close {
            drop(store);
            let _ = closed.send(());
            return;
        }
    }
}

fn gather(
    first: Message,
    messages: &mut mpsc::Receiver<Message>,
) -> (Vec<Box<dyn Job>>, Option<oneshot::Sender<()>>) {
    let mut group = Vec::new();
    let mut next = Some(first);
    while let Some(message) = next {
        match message {
            Message::Command(job) => group.push(job),
            Message::Close(closed) => return (group, Some(closed)),
        }
        next = if group.len() < GROUP_MAX { messages.try_recv().ok() } else { None };
    }
    (group, None)
}

fn commit(store: &mut dyn Store, mut group: Vec<Box<dyn Job>>) {
    let committed = attempt(store, &mut group);
    if committed.is_err() {
        store.abandon_group();
    }
    for job in group {
        job.settle(committed.clone());
    }
}

fn attempt(store: &mut dyn Store, group: &mut [Box<dyn Job>]) -> Result<(), LedgerError> {
    store.open_group()?;
    failpoint::pass(Place::GroupOpened);
    for job in group {
        store.open_command()?;
        match job.run(store) {
            Ok(()) => store.keep_command()?,
            // Where the engine has ended the whole group, the cause says more than the failed undo.
            Err(cause) => store.undo_command().map_err(|_| cause)?,
        }
        failpoint::pass(Place::GroupBetween);
    }
    failpoint::pass(Place::GroupWritten);
    store.commit_group()?;
    failpoint::pass(Place::GroupCommitted);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::sqlite::SqliteStore;
    use super::{Command, GROUP_MAX, Job, LedgerError, Message, Store, commit, gather};
    use tokio::sync::{mpsc, oneshot};

    type Reply = oneshot::Receiver<Result<(), LedgerError>>;

    fn job(
        work: impl FnMut(&mut dyn Store) -> Result<(), LedgerError> + Send + 'static,
    ) -> (Box<dyn Job>, Reply) {
        let (reply, result) = oneshot::channel();
        (Box::new(Command { work, outcome: None, reply }), result)
    }

    fn beats(path: &Path) -> i64 {
        let reader = rusqlite::Connection::open(path).unwrap();
        reader.query_row("SELECT beats FROM heartbeat", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_group_takes_what_waits_up_to_its_limit() {
        // Commands that wait share a commit, but never more than the limit, and none after a close.
        let (queue, mut messages) = mpsc::channel(GROUP_MAX * 2);
        for _ in 0..=GROUP_MAX {
            assert!(queue.try_send(Message::Command(job(|_| Ok(())).0)).is_ok());
        }
        assert!(queue.try_send(Message::Close(oneshot::channel().0)).is_ok());
        assert!(queue.try_send(Message::Command(job(|_| Ok(())).0)).is_ok());
        let first = messages.try_recv().ok().unwrap();
        let (group, close) = gather(first, &mut messages);
        assert_eq!((group.len(), close.is_some()), (GROUP_MAX, false));
        let first = messages.try_recv().ok().unwrap();
        let (group, close) = gather(first, &mut messages);
        assert_eq!((group.len(), close.is_some()), (1, true));
    }

    #[test]
    fn a_command_that_fails_leaves_the_others_of_its_group() {
        // What the failed command wrote is undone, what its neighbours wrote is durable.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let mut store = SqliteStore::open(&path).unwrap();
        let (good, mut good_reply) = job(|store| store.beat());
        let (bad, mut bad_reply) = job(|store| {
            store.beat()?;
            Err(LedgerError::IntentDiffers)
        });
        let (last, mut last_reply) = job(|store| store.beat());
        commit(&mut store, vec![good, bad, last]);
        assert!(matches!(good_reply.try_recv(), Ok(Ok(()))));
        assert!(matches!(bad_reply.try_recv(), Ok(Err(LedgerError::IntentDiffers))));
        assert!(matches!(last_reply.try_recv(), Ok(Ok(()))));
        assert_eq!(beats(&path), 2);
    }

    #[test]
    fn a_group_that_fails_counts_for_nobody_and_the_next_one_works() {
        // If the commit fails, every command of the group hears of it; the store recovers alone.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let mut store = SqliteStore::open(&path).unwrap();
        let (good, mut good_reply) = job(|store| store.beat());
        let (ender, mut ender_reply) = job(|store| {
            // Ends the transaction under the writer, as a full disk does.
            store.abandon_group();
            Err(LedgerError::Unavailable { what: "disk is full", source: None })
        });
        commit(&mut store, vec![good, ender]);
        for reply in [good_reply.try_recv(), ender_reply.try_recv()] {
            let error = reply.unwrap().unwrap_err();
            assert!(matches!(error, LedgerError::Unavailable { what: "disk is full", .. }));
        }
        assert_eq!(beats(&path), 0);
        let (next, mut next_reply) = job(|store| store.beat());
        commit(&mut store, vec![next]);
        assert!(matches!(next_reply.try_recv(), Ok(Ok(()))));
        assert_eq!(beats(&path), 1);
    }

    #[test]
    fn a_group_shares_one_commit() {
        // Thirty commands that waited cost the journal, and the disk, no more than one does.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let mut store = SqliteStore::open(&path).unwrap();
        let mut journal_growth = |commands: usize| {
            let journal = || folder.path().join("ledger-wal").metadata().unwrap().len();
            let before = journal();
            commit(&mut store, (0..commands).map(|_| job(|store| store.beat()).0).collect());
            journal() - before
        };
        assert_eq!(journal_growth(30), journal_growth(1));
        assert_eq!(beats(&path), 31);
    }
}
