//! The daemon is killed hundreds of times, at every durable step and at random, on good disks and bad, and
//! over a server.
//!
//! Several clients send small batches; the daemon is killed, the ledger examined as it lies there, the
//! daemon started again, every unanswered batch repeated and answers replayed, and so on. In the end all
//! is answered, every dose has one certificate and the log is whole. `SIGNERD_KILLS` says how many kills
//! the first test makes, 200 if not set, and `SIGNERD_KILLS_SEED` makes the choices of an earlier run again.

mod auditor;
mod books;
mod clients;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use signerd::failpoint::Place;
use signerd_tests::faults::{Disk, Faulty};
use signerd_tests::random::{self, Random};
use signerd_tests::token::Token;
use signerd_tests::{Daemon, pool, process};
use tokio::task::JoinHandle;

use auditor::{Auditor, Fault, hold};
use books::Ground;
use clients::{Clients, Peer};

/// Kills on one set-up; then a new one begins, so that what is read after each stays small.
const KILLS_PER_ROUND: usize = 200;
/// Kills of the first test without `SIGNERD_KILLS`.
const KILLS: usize = 200;
/// Makes the choices of an earlier run again.
const SEED: &str = "SIGNERD_KILLS_SEED";
/// How long does a daemon work that is to be killed at a place which it does not come to?
const ROUND_WAIT: Duration = Duration::from_secs(3);

/// How a daemon ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// After so many milliseconds.
    Instant(u64),
    /// The same, and before that its workers are killed.
    Workers(u64),
    /// At a place that it has passed so many times.
    Place(Place, u64),
    /// While a disk synchronises for this time.
    Sync(u64),
    /// While the journal goes into the ledger's file, at the end of a daemon that is told to stop.
    Checkpoint,
    /// Told to stop, and killed so many milliseconds later.
    Stop(u64),
}

/// What came of it.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    at_places: BTreeMap<&'static str, usize>,
    in_sync: usize,
    in_checkpoint: usize,
    missed: usize,
    answered: usize,
    replays: usize,
    certificates: usize,
    checkpoints: usize,
    /// Intents that a kill left open, summed over all kills.
    cut_off: usize,
}

/// One set-up and all that is known about it.
struct Round {
    ground: Ground,
    token: Token,
    disk: Disk,
    clients: Clients,
    auditor: Auditor,
    random: Random,
    tally: Tally,
    /// Answers whose certificates were looked for in the log.
    audited: usize,
}

impl Round {
    fn on(ground: Ground, disk: Disk, seed: u64) -> Self {
        let setup = ground.setup();
        // Batches fail soon after their workers hang, and are released.
        pool::set(setup, &[("request_deadline_ms", 1_500), ("call_deadline_ms", 1_000)]);
        Self {
            clients: Clients::of(setup),
            token: Token::of(setup),
            ground,
            disk,
            auditor: Auditor::default(),
            random: Random::of(seed),
            tally: Tally::default(),
            audited: 0,
        }
    }

    /// Lets a daemon work until it ends in this way, and looks at what it left.
    async fn kill(&mut self, end: End) -> Result<(), Fault> {
        let discards =
            matches!(end, End::Place(Place::DiscardWritten | Place::DiscardCommitted, _));
        self.allow(if discards { 1 } else { 1_000 });
        self.token.mend(self.ground.setup())?;
        let seed = self.random.next();
        let setup = self.ground.setup();
        let mut faulty = Faulty::daemon(setup).on(self.disk, setup, seed);
        faulty = match end {
            End::Place(place, passed) => faulty.killed_at(place, passed),
            End::Sync(number) => faulty.killed_in_sync(number),
            End::Checkpoint => faulty.killed_in_checkpoint(),
            _ => faulty,
        };
        match Daemon::try_ready(setup, faulty.into_command()) {
            Ok(mut daemon) => self.use_up(&mut daemon, end).await?,
            Err(status) => self.ended(end, status)?,
        }
        if self.random.below(8) == 0 {
            self.ground.strike();
        }
        self.ground.bury();
        self.examine()
    }

    /// Sends to a daemon what is to be repeated, then what is new, until it is gone.
    async fn use_up(&mut self, daemon: &mut Daemon, end: End) -> Result<(), Fault> {
        let killer = killer(daemon, end);
        let begin = Instant::now();
        let mut peer = self.clients.settle().await?;
        if peer == Peer::Alive {
            let latest = self.clients.answered.len().min(6);
            peer = self.clients.replay(latest, 2, &mut self.random).await?;
        }
        while peer == Peer::Alive && begin.elapsed() < ROUND_WAIT {
            peer = self.clients.work(&mut self.random).await?;
        }
        if peer == Peer::Alive {
            daemon.signal(Signal::KILL);
        }
        let status = daemon.wait();
        killer.abort();
        if matches!(end, End::Place(Place::ReleaseWritten | Place::ReleaseCommitted, _)) {
            // What stands still does not notice that its daemon is gone.
            process::signal(&process::of(self.ground.setup(), "hsm-worker"), Signal::KILL);
        }
        if peer == Peer::Alive {
            self.tally.missed += 1;
        }
        self.ended(if peer == Peer::Alive { End::Instant(0) } else { end }, status)
    }

    /// Counts an end; one that was not asked for is a fault.
    fn ended(&mut self, end: End, status: ExitStatus) -> Result<(), Fault> {
        let killed = status.signal() == Some(Signal::KILL.as_raw());
        let stops = matches!(end, End::Stop(_) | End::Checkpoint);
        hold(killed || (stops && status.success()), || {
            let log =
                std::fs::read_to_string(self.ground.setup().path("daemon.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(5).collect();
            format!("the daemon ended ({status}), asked for was {end:?}: {tail:#?}")
        })?;
        self.tally.kills += usize::from(killed);
        match end {
            End::Place(place, _) => *self.tally.at_places.entry(place.name()).or_default() += 1,
            End::Checkpoint if killed => self.tally.in_checkpoint += 1,
            End::Sync(_) => self.tally.in_sync += 1,
            _ => {}
        }
        Ok(())
    }

    /// Everything that must hold of a ledger that nobody runs.
    fn examine(&mut self) -> Result<(), Fault> {
        self.auditor.look(&self.ground)?;
        for certified in self.clients.certified(self.audited) {
            self.auditor.knows(&certified)?;
        }
        self.audited = self.clients.answered.len();
        self.tally.cut_off += self.auditor.counts().0;
        Ok(())
    }

    /// Lets a daemon answer everything, replays every answer, and closes the account.
    async fn close(mut self) -> Result<Tally, Fault> {
        self.allow(1_000);
        self.token.mend(self.ground.setup())?;
        let daemon =
            Daemon::try_ready(self.ground.setup(), self.ground.setup().signerd(&["serve"]));
        let daemon = daemon.map_err(|status| format!("the daemon does not start: {status}"))?;
        let all_there = [self.clients.settle().await?, self.clients.finish().await?];
        hold(all_there == [Peer::Alive; 2] && self.clients.open.is_empty(), || {
            format!("stuck: {} batches are not answered", self.clients.open.len())
        })?;
        let all = self.clients.answered.len();
        let peer = self.clients.replay(all, 0, &mut self.random).await?;
        hold(peer == Peer::Alive && daemon.stop().success(), || "it ended early".to_owned())?;
        self.examine()?;
        let (open, certificates, checkpoints) = self.auditor.counts();
        hold(open == 0, || format!("stuck: {open} intents are open"))?;
        let doses = self.clients.doses;
        hold(certificates == doses, || format!("{doses} doses have {certificates} certificates"))?;
        hold(process::of(self.ground.setup(), "").is_empty(), || {
            "a process was left over".to_owned()
        })?;
        let (answered, replays) = (all, self.clients.replays);
        Ok(Tally { answered, replays, certificates, checkpoints, ..self.tally })
    }

    /// Sets the most records of a batch: a lower one makes the daemon give up what it intended.
    fn allow(&self, records: usize) {
        let file = self.ground.setup().path("policy.toml");
        let text = std::fs::read_to_string(&file).expect("the policy");
        let (head, tail) = text.split_once("[issuer.vn-moh-ec]").expect("the issuer");
        let line = tail.lines().find(|line| line.starts_with("records_max")).expect("the limit");
        let tail = tail.replacen(line, &format!("records_max = {records}"), 1);
        std::fs::write(file, format!("{head}[issuer.vn-moh-ec]{tail}")).expect("the policy");
    }

    /// A random way to end, of those that are not tied to a place.
    fn any_end(&mut self) -> End {
        let after = self.random.below(350) as u64;
        match self.random.below(8) {
            0 => End::Stop(after / 8),
            1 => End::Workers(after),
            2 | 3 if self.disk != Disk::Kept => End::Sync(1 + self.random.below(60) as u64),
            4 | 5 if self.disk != Disk::Kept => End::Checkpoint,
            _ => End::Instant(after),
        }
    }

    /// Kills at every place in turn, each after a random number of passages, and at random in between.
    async fn kill_everywhere(&mut self, kills: usize) -> Result<(), Fault> {
        for place in [Place::MigrationWritten, Place::MigrationCommitted].repeat(3) {
            self.kill(End::Place(place, 0)).await?;
        }
        let mut places = Place::ALL[2..].iter().copied().cycle();
        while self.tally.kills < kills {
            let place = places.next().expect("a place");
            if needs_an_open_intent(place) {
                let passed = 4 + self.random.below(4) as u64;
                self.kill(End::Place(Place::IntentCommitted, passed)).await?;
            }
            let passed = self.random.below(passages(place)) as u64;
            self.kill(End::Place(place, passed)).await?;
            let end = self.any_end();
            self.kill(end).await?;
        }
        Ok(())
    }
}

/// What a daemon resumes or gives up an earlier one has left open.
fn needs_an_open_intent(place: Place) -> bool {
    let of_repeats = [Place::ResumeWritten, Place::ResumeCommitted];
    of_repeats.contains(&place) || [Place::DiscardWritten, Place::DiscardCommitted].contains(&place)
}

/// How often a daemon under this load passes a place, at the least.
fn passages(place: Place) -> usize {
    match place {
        Place::GroupOpened | Place::GroupBetween | Place::GroupWritten | Place::GroupCommitted => {
            40
        }
        Place::IntentWritten | Place::IntentCommitted | Place::BatchSigned => 10,
        Place::AnswerWritten | Place::AnswerCommitted => 10,
        _ => 1,
    }
}

/// Ends a daemon in its time, if its end is a matter of time.
fn killer(daemon: &Daemon, end: End) -> JoinHandle<()> {
    let (pid, workers) = (daemon.pid(), daemon.workers());
    let wait = |milliseconds| tokio::time::sleep(Duration::from_millis(milliseconds));
    // One that has ended already is none to kill.
    let send = |pid: Pid, signal| {
        let _ = kill_process(pid, signal);
    };
    tokio::spawn(async move {
        match end {
            End::Instant(after) => {
                wait(after).await;
                send(pid, Signal::KILL);
            }
            End::Workers(after) => {
                wait(after / 2).await;
                process::signal(&workers, Signal::KILL);
                wait(after).await;
                send(pid, Signal::KILL);
            }
            End::Stop(after) => {
                wait(120).await;
                send(pid, Signal::TERM);
                wait(after).await;
                send(pid, Signal::KILL);
            }
            End::Checkpoint
            | End::Place(Place::StopDrained | Place::StopTold | Place::StopClosed, _) => {
                wait(150).await;
                send(pid, Signal::TERM);
            }
            End::Place(Place::ReleaseWritten | Place::ReleaseCommitted, _) => loop {
                // A worker that hangs is replaced by one that hangs, until a batch is out of time.
                wait(60).await;
                process::signal(&process::workers_of(pid), Signal::STOP);
            },
            End::Place(..) | End::Sync(_) => {}
        }
    })
}

fn report(what: &str, seed: u64, tally: &Tally, since: Instant) {
    let places: usize = tally.at_places.values().sum();
    eprintln!(
        "{what}: {} kills ({places} at {} places, {} inside a sync, {} inside a checkpoint, {} not reached), {} intents cut off; \
         {} batches answered, {} certificates, {} replays compared, {} checkpoints held; \
         0 lost, 0 doubled, 0 stuck; seed {seed}, {:.0} s",
        tally.kills,
        tally.at_places.len(),
        tally.in_sync,
        tally.in_checkpoint,
        tally.missed,
        tally.cut_off,
        tally.answered,
        tally.certificates,
        tally.replays,
        tally.checkpoints,
        since.elapsed().as_secs_f64(),
    );
}

async fn round(ground: Ground, disk: Disk, kills: usize, seed: u64) -> Result<Tally, Fault> {
    let mut round = Round::on(ground, disk, seed);
    round.kill_everywhere(kills).await?;
    round.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_nothing_is_lost_doubled_or_stuck() {
    // Killed at any instant and at every named place, the daemon answers every batch after a restart, the
    // same way for ever, with one certificate for each dose, and its log goes on where it was.
    survive("killed", Ground::file, Disk::Kept, kills()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_power_nothing_is_lost_doubled_or_stuck() {
    // The same on a disk that has lost, at every kill, whatever was not synchronised before.
    survive("unsynced pages lost", Ground::file, Disk::Lost, kills().div_ceil(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_torn_writes_nothing_is_lost_doubled_or_stuck() {
    // The same where a random choice of the sectors that were not synchronised is on the disk after it.
    survive("writes torn", Ground::file, Disk::Torn, kills().div_ceil(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_over_a_server_nothing_is_lost_doubled_or_stuck() {
    // The same where the ledger is on a PostgreSQL, which now and then is killed and started again too.
    survive("killed over a server", Ground::server, Disk::Kept, kills().div_ceil(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_lies_is_found_out() {
    // Where the disk keeps nothing of what was synchronised, these very kills find that batches are lost:
    // the harness sees what it looks for.
    let mut round = Round::on(Ground::file(), Disk::Lying, random::seed(SEED));
    let mut fault = None;
    for _ in 0..10 {
        fault = round.kill(End::Instant(300)).await.err();
        if fault.is_some() {
            break;
        }
    }
    let fault = fault.expect("a disk that kept nothing was not noticed");
    assert!(fault.starts_with("lost: "), "{fault}");
    eprintln!("a lying disk is found out: {fault}");
}

/// How many kills the first test makes; the other disks and the server take a third of it each.
fn kills() -> usize {
    random::number("SIGNERD_KILLS").map_or(KILLS, |kills| kills as usize)
}

/// Kills so often, on as many set-ups as it takes, and reports each.
async fn survive(what: &str, ground: fn() -> Ground, disk: Disk, kills: usize) {
    let mut left = kills;
    while left > 0 {
        let (seed, since) = (random::seed(SEED), Instant::now());
        let tally = round(ground(), disk, left.min(KILLS_PER_ROUND), seed).await;
        let tally = tally.unwrap_or_else(|fault| panic!("{fault}; seed {seed}"));
        report(what, seed, &tally, since);
        if left >= KILLS {
            let reached = |name: &&str| tally.at_places.contains_key(name);
            let missed: Vec<&str> =
                Place::ALL.map(Place::name).into_iter().filter(|name| !reached(name)).collect();
            assert!(missed.is_empty(), "never killed at {missed:?}");
        }
        left = left.saturating_sub(tally.kills);
    }
}
