//! Random histories of the ledger against a model that fits on one page.
//!
//! The model is a map of batches and nothing else: no file, no thread, no cache. A history begins,
//! intends, resumes, discards, finishes, releases, drops, restarts and lets time pass; after each
//! step both must agree, no dose has two certificates closer than its batch's re-issue allows, and no
//! day more than the quota.

use std::collections::BTreeMap;

use proptest::option;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};
use proptest::sample::{select, subsequence};
use signerd::ledger::{
    Attempt, Begin, DoseConflict, Finished, Intended, Intent, Ledger, LedgerError, OverQuota,
    Reissue, Ticket,
};

use super::place::{NOW, Place, RELEASED, RETENTION, batch, intent};

const BATCHES: u8 = 4;

#[derive(Clone, Debug)]
enum Step {
    Begin { id: u8, other_bytes: bool },
    Intend { id: u8, doses: Vec<u8>, reissue: Reissue, quota: Option<u32> },
    Resume { id: u8 },
    Discard { id: u8 },
    Finish { id: u8 },
    Release { id: u8 },
    Drop { id: u8 },
    Restart,
    Crash,
    Purge,
    Pass { seconds: i64 },
}

/// What the ledger must know about a batch.
#[derive(Clone, Debug)]
struct Stored {
    other_bytes: bool,
    tag: u8,
    doses: Vec<u8>,
    issued_at: i64,
    reissue: Reissue,
    attempt: u32,
    answer: Option<(Vec<u8>, i64)>,
}

enum Held {
    Ticket { ticket: Ticket, other_bytes: bool },
    Attempt(Attempt),
}

struct World {
    place: Place,
    ledger: Ledger,
    now: i64,
    steps: u8,
    held: BTreeMap<u8, Held>,
    stored: BTreeMap<u8, Stored>,
}

impl World {
    fn new() -> Self {
        let place = Place::new();
        let ledger = place.open();
        let (held, stored) = (BTreeMap::new(), BTreeMap::new());
        Self { place, ledger, now: NOW, steps: 0, held, stored }
    }

    async fn take(&mut self, step: Step) {
        self.steps += 1;
        match step {
            Step::Begin { id, other_bytes } => self.begin(id, other_bytes).await,
            Step::Intend { id, doses, reissue, quota } => {
                self.intend(id, &doses, reissue, quota).await;
            }
            Step::Resume { id } => self.resume(id).await,
            Step::Discard { id } => self.discard(id).await,
            Step::Finish { id } => self.finish(id).await,
            Step::Release { id } => self.release(id).await,
            Step::Drop { id } => drop(self.held.remove(&id)),
            Step::Restart => self.restart().await,
            Step::Crash => self.crash(),
            Step::Purge => drop(self.ledger.purge(self.now).await.unwrap()),
            Step::Pass { seconds } => self.now += seconds,
        }
    }

    async fn begin(&mut self, id: u8, other_bytes: bool) {
        let digest = [u8::from(other_bytes); 32];
        let begun = self.ledger.begin(batch(id), digest, self.now).await.unwrap();
        let stored = self.stored.get(&id);
        let same = stored.is_none_or(|stored| stored.other_bytes == other_bytes);
        match (begun, self.held.contains_key(&id), stored) {
            (Begin::Conflict, _, Some(_)) => assert!(!same),
            (Begin::InProgress, true, _) => assert!(same),
            (Begin::Fresh(ticket), false, None) => {
                self.held.insert(id, Held::Ticket { ticket, other_bytes });
            }
            (Begin::Resume(ticket, found), false, Some(stored)) => {
                assert!(same && stored.answer.is_none());
                assert_eq!(found.issued_at, stored.issued_at);
                let uvcis: Vec<_> = found.certificates.iter().map(|found| found.uvci).collect();
                let first = intent(stored.tag, &stored.doses);
                let intended: Vec<_> = first.certificates.iter().map(|first| first.uvci).collect();
                assert_eq!(uvcis, intended);
                self.held.insert(id, Held::Ticket { ticket, other_bytes });
            }
            (Begin::Replay { sealed }, false, Some(Stored { answer: Some((kept, at)), .. })) => {
                assert!(same && sealed == *kept && self.now < at + RETENTION);
            }
            (Begin::Expired, false, Some(Stored { answer: Some((_, at)), .. })) => {
                assert!(same && self.now >= at + RETENTION);
            }
            (begun, held, stored) => panic!("{begun:?}, held {held}, stored {stored:?}"),
        }
    }

    async fn intend(&mut self, id: u8, doses: &[u8], reissue: Reissue, quota: Option<u32>) {
        let Some((ticket, other_bytes)) = self.ticket(id) else { return };
        let (tag, issued_at) = (self.steps, self.now);
        let expected = self.conflicts(id, doses, reissue);
        let over = quota.and_then(|quota| self.over(doses, quota));
        let intent = Intent { issued_at, reissue, quota, ..intent(tag, doses) };
        let outcome = self.ledger.intend(ticket, intent).await;
        if let Some(stored) = self.stored.get(&id) {
            // Another tag, other identifiers: not the intent that is open.
            if !doses.is_empty() || !stored.doses.is_empty() || stored.issued_at != issued_at {
                // After a restart it was begun by a process that is no more, or, in a file, by whoever has it.
                assert!(matches!(outcome, Err(LedgerError::IntentDiffers) | Ok(Intended::Taken)));
                return;
            }
        }
        match outcome.unwrap() {
            Intended::Open(attempt) => {
                assert!(expected.is_empty() && over.is_none());
                let (doses, answer) = (doses.to_vec(), None);
                let fresh =
                    Stored { other_bytes, tag, doses, issued_at, reissue, attempt: 0, answer };
                let stored = self.stored.entry(id).or_insert(fresh);
                stored.attempt += 1;
                assert_eq!(attempt.number(), stored.attempt);
                self.held.insert(id, Held::Attempt(attempt));
            }
            Intended::Conflicts(ticket, conflicts) => {
                assert_eq!(conflicts, expected);
                self.held.insert(id, Held::Ticket { ticket, other_bytes });
            }
            Intended::OverQuota(found) => {
                assert!(expected.is_empty());
                assert_eq!(Some(found), over);
            }
            Intended::Taken => panic!("there is no other appliance"),
        }
    }

    async fn resume(&mut self, id: u8) {
        let Some((ticket, _)) = self.ticket(id) else { return };
        let resumed = self.ledger.resume(ticket, NOW).await;
        match self.stored.get_mut(&id) {
            None => assert!(matches!(resumed, Err(LedgerError::AttemptSuperseded))),
            Some(stored) => {
                stored.attempt += 1;
                let attempt = resumed.unwrap();
                assert_eq!(attempt.number(), stored.attempt);
                self.held.insert(id, Held::Attempt(attempt));
            }
        }
    }

    async fn discard(&mut self, id: u8) {
        let Some((ticket, other_bytes)) = self.ticket(id) else { return };
        let ticket = self.ledger.discard(ticket, RELEASED, NOW).await.unwrap();
        self.stored.remove(&id);
        self.held.insert(id, Held::Ticket { ticket, other_bytes });
    }

    async fn finish(&mut self, id: u8) {
        let Some(attempt) = self.attempt(id) else { return };
        let stored = self.stored.get_mut(&id).unwrap();
        let sealed_answer = vec![id, self.steps];
        let cose_sha256 = vec![[self.steps; 32]; stored.doses.len()];
        stored.answer = Some((sealed_answer.clone(), self.now));
        let finished = Finished { sealed_answer, cose_sha256, now: self.now };
        self.ledger.finish(attempt, finished).await.unwrap();
    }

    async fn release(&mut self, id: u8) {
        let Some(attempt) = self.attempt(id) else { return };
        self.ledger.release(attempt, RELEASED, NOW).await.unwrap();
        self.stored.remove(&id);
    }

    async fn restart(&mut self) {
        self.held.clear();
        self.ledger.close().await;
        self.ledger = self.place.open();
    }

    /// Goes on with a copy of the files, as after a kill; what was held goes to the old process.
    fn crash(&mut self) {
        self.held.clear();
        self.place = self.place.crash_copy();
        self.ledger = self.place.open();
    }

    fn ticket(&mut self, id: u8) -> Option<(Ticket, bool)> {
        match self.held.remove(&id)? {
            Held::Ticket { ticket, other_bytes } => Some((ticket, other_bytes)),
            attempt @ Held::Attempt(_) => {
                self.held.insert(id, attempt);
                None
            }
        }
    }

    fn attempt(&mut self, id: u8) -> Option<Attempt> {
        match self.held.remove(&id)? {
            Held::Attempt(attempt) => Some(attempt),
            ticket @ Held::Ticket { .. } => {
                self.held.insert(id, ticket);
                None
            }
        }
    }

    fn conflicts(&self, id: u8, doses: &[u8], reissue: Reissue) -> Vec<(usize, DoseConflict)> {
        let conflict = |dose: &u8| {
            let others = self.stored.iter().filter(|(other, _)| **other != id);
            let having =
                others.map(|(_, stored)| stored).filter(|other| other.doses.contains(dose));
            let (answered, open): (Vec<_>, Vec<_>) =
                having.partition(|other| other.answer.is_some());
            let youngest = answered.iter().map(|other| self.now - other.issued_at).min();
            if youngest.is_some_and(|age| age < waits(reissue)) {
                return Some(DoseConflict::AlreadyCertified);
            }
            (!open.is_empty()).then_some(DoseConflict::InProgress)
        };
        doses.iter().enumerate().filter_map(|(at, dose)| Some((at, conflict(dose)?))).collect()
    }

    /// What stands in the way of so many more certificates today.
    fn over(&self, doses: &[u8], quota: u32) -> Option<OverQuota> {
        let today = day(self.now);
        let of_today = self.stored.values().filter(|stored| day(stored.issued_at) == today);
        let issued = of_today.map(|stored| stored.doses.len()).sum::<usize>() as u32;
        let wanted = doses.len() as u32;
        (wanted > 0 && issued + wanted > quota).then_some(OverQuota { quota, issued, wanted })
    }

    /// Both agree about every dose, and no dose is in two batches that its re-issue keeps apart.
    async fn check(&self) {
        let doses: Vec<u8> = (0..6).collect();
        for dose in &doses {
            let having = self.stored.values().filter(|stored| stored.doses.contains(dose));
            let mut having: Vec<_> = having.collect();
            having.sort_by_key(|stored| stored.tag);
            for pair in having.windows(2) {
                assert!(pair[0].answer.is_some(), "two open intents");
                assert!(pair[1].issued_at - pair[0].issued_at >= waits(pair[1].reissue));
            }
        }
        for reissue in [Reissue::Never, Reissue::AfterDays(2)] {
            let pseudonyms = doses.iter().map(|dose| [*dose; 32]).collect();
            let seen = self.ledger.conflicts(pseudonyms, None, reissue, self.now).await.unwrap();
            let seen: Vec<_> =
                seen.into_iter().enumerate().filter_map(|(at, seen)| Some((at, seen?))).collect();
            assert_eq!(seen, self.conflicts(u8::MAX, &doses, reissue));
        }
    }
}

/// How many seconds a dose waits for its next certificate.
fn waits(reissue: Reissue) -> i64 {
    match reissue {
        Reissue::Never => i64::MAX,
        Reissue::AfterDays(days) => i64::from(days) * 86_400,
    }
}

/// The number of the day by the clock of Viet Nam.
fn day(time: i64) -> i64 {
    (time + 7 * 3_600).div_euclid(86_400)
}

fn reissue() -> impl Strategy<Value = Reissue> {
    prop_oneof![Just(Reissue::Never), (0_u16..4).prop_map(Reissue::AfterDays)]
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 0..BATCHES;
    prop_oneof![
        6 => (id(), proptest::bool::weighted(0.15))
            .prop_map(|(id, other_bytes)| Step::Begin { id, other_bytes }),
        5 => (id(), subsequence(vec![0, 1, 2, 3, 4, 5], 0..4), reissue(), option::of(2_u32..7))
            .prop_map(|(id, doses, reissue, quota)| Step::Intend { id, doses, reissue, quota }),
        3 => id().prop_map(|id| Step::Resume { id }),
        1 => id().prop_map(|id| Step::Discard { id }),
        4 => id().prop_map(|id| Step::Finish { id }),
        2 => id().prop_map(|id| Step::Release { id }),
        2 => id().prop_map(|id| Step::Drop { id }),
        1 => select(vec![Step::Restart, Step::Crash, Step::Purge]),
        1 => (0..RETENTION).prop_map(|seconds| Step::Pass { seconds }),
        2 => (0_i64..8).prop_map(|quarters| Step::Pass { seconds: quarters * 21_600 }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(64)
    })]

    #[test]
    fn the_ledger_behaves_as_its_model(history in proptest::collection::vec(step(), 1..80)) {
        // Whatever the order of calls, restarts and cancellations, the ledger does as the rules say.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for step in history {
                world.take(step).await;
                world.check().await;
            }
            world.ledger.close().await;
        });
    }
}
