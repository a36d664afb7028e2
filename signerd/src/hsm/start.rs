//! Getting hold of a worker: spawning one, or connecting to one that systemd runs.
//!
//! In goes the configuration, out comes a connection and, for a spawned worker, its process. A
//! spawned worker gets one end of a socket pair as its standard input: nothing is left behind in
//! the file system, nobody else can connect, and the worker notices the end of the front whichever
//! way it comes. It does not wait for the worker to become ready.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command as StdCommand;
use std::process::Stdio;
use std::time::Duration;

use hsm_config::HsmConfig;
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::process::Command;
use tokio::time::timeout;

/// How long an ended connection leaves a spawned worker to end by itself before it is killed.
///
/// A worker that is logging in finishes that first: SoftHSM rewrites its token's file then.
const FAREWELL: Duration = Duration::from_secs(2);

/// A worker that is reachable; closing the connection ends a spawned one.
pub(super) struct Worker {
    pub(super) connection: UnixStream,
    pub(super) process: Process,
}

/// The process behind a connection, where it is ours.
#[derive(Default)]
pub(super) struct Process(Option<Child>);

/// Spawns a worker of our own for the token that the configuration is seen from.
pub(super) fn spawn(config: &HsmConfig, config_path: &Path, program: &Path) -> io::Result<Worker> {
    let (mut command, ours) = tied(program, &["hsm-worker", "--tether"], config, config_path)?;
    ours.set_nonblocking(true)?;
    // Ctrl-C in a terminal is for the front, which still needs its workers to drain.
    command.process_group(0);
    let child = Command::from(command).spawn()?;
    Ok(Worker { connection: UnixStream::from_std(ours)?, process: Process(Some(child)) })
}

/// A command that will load the module for this token: its standard input is tied to the stream, and it knows
/// where the token is.
pub(super) fn tied(
    program: &Path,
    words: &[&str],
    config: &HsmConfig,
    config_path: &Path,
) -> io::Result<(StdCommand, StdUnixStream)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    // What the vendor's library prints on its standard output belongs to the log, too.
    let log = io::stderr().as_fd().try_clone_to_owned()?;
    let mut command = StdCommand::new(program);
    command
        .args(words)
        .arg("--config")
        .arg(config_path)
        .args(["--token", &config.token_number().saturating_add(1).to_string()])
        .envs(config.environment())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(log))
        .stderr(Stdio::inherit());
    Ok((command, ours))
}

/// Connects to a worker that runs, or that its socket activation starts.
pub(super) async fn connect(socket: &Path) -> io::Result<Worker> {
    Ok(Worker { connection: UnixStream::connect(socket).await?, process: Process(None) })
}

impl Process {
    /// The process id, for the log and for tests.
    pub(super) fn id(&self) -> Option<u32> {
        self.0.as_ref().and_then(Child::id)
    }

    /// Kills a spawned worker that does what it should not; it may be stopped or hang in a call.
    pub(super) async fn kill(&mut self) {
        if let Some(mut child) = self.0.take() {
            // A process that ended already is as good as killed.
            let _ = child.kill().await;
        }
    }

    /// Lets a spawned worker whose connection is closed end by itself, or kills it after a while.
    pub(super) async fn farewell(&mut self) {
        if let Some(mut child) = self.0.take()
            && timeout(FAREWELL, child.wait()).await.is_err()
        {
            let _ = child.kill().await;
        }
    }
}
