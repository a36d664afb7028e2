//! The real daemon, started and ended by a test.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::process;
use crate::setup::Setup;

/// How long may the daemon take to be ready or to end? A loaded machine starts SoftHSM in seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often is looked?
const LOOK: Duration = Duration::from_millis(20);

/// A running `signerd serve`; killed, if it still runs, when the test ends.
pub struct Daemon {
    child: Child,
    observability: u16,
    log: std::path::PathBuf,
}

impl Daemon {
    /// Starts the daemon and waits until it is ready to sign.
    pub fn ready(setup: &Setup) -> Self {
        let mut daemon = Self::start(setup);
        daemon.wait_until("ready", |daemon| daemon.observe("/readyz").0 == 200);
        daemon
    }

    /// Starts the daemon and waits until it answers `/healthz`, ready or not.
    pub fn start(setup: &Setup) -> Self {
        let mut daemon = Self::spawn(setup, setup.signerd(&["serve"]));
        daemon.wait_until("up", |daemon| daemon.observe("/healthz").0 == 200);
        daemon
    }

    /// Starts any program as the set-up's daemon and waits until it is ready to sign.
    ///
    /// # Errors
    /// It ended before, with this status.
    pub fn try_ready(setup: &Setup, command: Command) -> Result<Self, ExitStatus> {
        let mut daemon = Self::spawn(setup, command);
        let begin = Instant::now();
        while daemon.observe("/readyz").0 != 200 {
            if let Some(status) = daemon.child.try_wait().expect("wait") {
                return Err(status);
            }
            let tail = |log: String| log.lines().rev().take(20).collect::<Vec<_>>().join("\n");
            assert!(
                begin.elapsed() < PATIENCE,
                "never ready, latest first:\n{}",
                tail(daemon.log())
            );
            std::thread::sleep(LOOK);
        }
        Ok(daemon)
    }

    /// Starts any program as the set-up's daemon, and waits for nothing.
    pub fn spawn(setup: &Setup, mut command: Command) -> Self {
        let log = setup.path("daemon.log");
        let file = fs::OpenOptions::new().append(true).create(true).open(&log).expect("log");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("signerd");
        Self { child, observability: setup.observability, log }
    }

    /// What it wrote to stderr so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Status and body of a route of the observability listener; status 0 where nobody answers.
    pub fn observe(&self, route: &str) -> (u16, String) {
        get(self.observability, route).unwrap_or_default()
    }

    /// The value of a metric, labels included, e.g. `signerd_hsm_workers_up`.
    pub fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.observe("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no series {series}"))
    }

    /// The process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The worker processes: children of the daemon with `hsm-worker` in their command line.
    pub fn workers(&self) -> Vec<Pid> {
        process::workers_of(self.pid())
    }

    /// Sends a signal to the daemon itself.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("signal");
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "daemon did not end:\n{}", self.log());
            std::thread::sleep(LOOK);
        }
    }

    /// Ends it by SIGTERM and waits.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits until `condition` holds; fails with the log when it never does.
    pub fn wait_until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !condition(self) {
            if let Some(status) = self.child.try_wait().expect("wait") {
                panic!("daemon ended ({status}) before it was {what}:\n{}", self.log());
            }
            assert!(begin.elapsed() < PATIENCE, "daemon was never {what}:\n{}", self.log());
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(port: u16, route: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {route} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
