//! The machine's clock is set back, between two runs of the daemon and under a running one.

use std::fs;
use std::path::PathBuf;

use signerd::tlog::fact::Fact;
use signerd_tests::faults::Faulty;
use signerd_tests::{Answer, Batch, Client, Daemon, Evidence, Setup, ledger};

/// Seconds by which the daemon's clock is off while it is right: a day, so that the certificates of a set-up
/// that was made this minute are valid also before.
const RIGHT: &str = "86400";
/// Ten minutes before and after it: far enough that nobody takes it for a correction.
const BACK: &str = "85800";
const AHEAD: &str = "87000";

/// The clock of the machine, as the daemon sees it.
struct Hands(PathBuf);

impl Hands {
    fn of(setup: &Setup) -> Self {
        Self(setup.path("clock"))
    }

    /// Puts them off by so many seconds, as a whole: the daemon looks at any time.
    fn set(&self, seconds: &str) {
        let new = self.0.with_extension("new");
        fs::write(&new, seconds).unwrap();
        fs::rename(new, &self.0).unwrap();
    }

    fn daemon(&self, setup: &Setup, more: &[&str]) -> Daemon {
        let mut command = Faulty::daemon(setup).with_clock(self.0.clone()).into_command();
        command.args(more);
        let mut daemon = Daemon::spawn(setup, command);
        daemon.wait_until("up", |daemon| daemon.observe("/healthz").0 == 200);
        daemon.wait_until("live", |daemon| daemon.metric("signerd_hsm_workers_up") >= 1.0);
        daemon
    }
}

fn is_unsafe(answer: &Answer) {
    assert_eq!((answer.status, answer.code().as_str()), (503, "clock.unsafe"));
    assert!(answer.headers["retry-after"].parse::<u64>().unwrap() >= 1);
}

fn says(daemon: &Daemon, what: &str) {
    let (status, obstacles) = daemon.observe("/readyz");
    assert!(status == 503 && obstacles.contains(what), "{status} {obstacles}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_between_two_runs_stops_the_signing_until_it_is_right() {
    // A daemon that starts with a clock behind its own log signs nothing and says by how much, also after
    // further starts, which the log has with their wrong times; answers are still replayed. It goes on by
    // itself once the clock is right; a clock that was ahead is trusted by whoever says so at the start, which
    // the log has.
    let setup = Setup::new();
    let hands = Hands::of(&setup);
    hands.set(RIGHT);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let first = Batch::about(&evidence, "vn-moh-ec", 1);
    let daemon = hands.daemon(&setup, &[]);
    let answer = client.sign(first.body.clone()).await.unwrap();
    assert_eq!(answer.statuses(), ["issued"]);
    assert!(daemon.stop().success());

    let second = Batch::about(&evidence, "vn-moh-ec", 1);
    hands.set(BACK);
    for _ in 0..2 {
        let daemon = hands.daemon(&setup, &[]);
        is_unsafe(&client.sign(second.body.clone()).await.unwrap());
        says(&daemon, "s behind the log");
        assert_eq!(client.sign(first.body.clone()).await.unwrap().body, answer.body);
        assert_eq!((ledger::issued(&setup), ledger::open_intents(&setup)), ((2, 2), 0));
        assert!(daemon.stop().success());
    }
    let mut daemon = hands.daemon(&setup, &[]);
    hands.set(RIGHT);
    daemon.wait_until("ready again", |daemon| daemon.observe("/readyz").0 == 200);
    assert_eq!(client.sign(second.body).await.unwrap().statuses(), ["issued"]);
    assert!(daemon.stop().success());

    // A clock that was ahead, and is right now.
    hands.set(AHEAD);
    let daemon = hands.daemon(&setup, &[]);
    let sign = async || client.sign(Batch::about(&evidence, "vn-moh-ec", 1).body).await.unwrap();
    assert_eq!(sign().await.statuses(), ["issued"]);
    assert!(daemon.stop().success());
    hands.set(RIGHT);
    let daemon = hands.daemon(&setup, &[]);
    is_unsafe(&sign().await);
    assert!(daemon.stop().success());
    let daemon = hands.daemon(&setup, &["--trust-clock"]);
    assert_eq!(sign().await.statuses(), ["issued"]);
    assert!(daemon.stop().success());
    let trusted: Vec<Fact> = ledger::facts(&setup)
        .into_iter()
        .filter(|fact| matches!(fact, Fact::ClockTrusted { .. }))
        .collect();
    assert!(matches!(trusted[..], [Fact::ClockTrusted { seconds: 500..=600 }]), "{trusted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_under_the_daemon_stops_the_signing_until_it_is_right() {
    // The running daemon notices that its clock went back, and that it is right again, without a restart;
    // a correction of a second or two is none of its business.
    let setup = Setup::new();
    let hands = Hands::of(&setup);
    hands.set(RIGHT);
    let mut daemon = hands.daemon(&setup, &[]);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let sign = async || client.sign(Batch::about(&evidence, "vn-moh-ec", 1).body).await.unwrap();
    assert_eq!(sign().await.statuses(), ["issued"]);
    hands.set("86398");
    assert_eq!(sign().await.statuses(), ["issued"]);
    hands.set(BACK);
    is_unsafe(&sign().await);
    says(&daemon, "clock went back by");
    assert_eq!(ledger::open_intents(&setup), 0);
    hands.set(RIGHT);
    daemon.wait_until("ready again", |daemon| daemon.observe("/readyz").0 == 200);
    assert_eq!(sign().await.statuses(), ["issued"]);
    assert!(daemon.stop().success());
}
