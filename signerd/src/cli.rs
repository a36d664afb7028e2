//! The command line of `signerd`.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum, value_parser};

use crate::hsm::Errand;
use crate::hsm::worker::{Channel, WorkerArgs};

/// What stands below the help and in the manual page.
const MORE: &str = "Exit codes:
  0   drained and ended, or nothing is wrong
  1   failed while running; the last line of the log says why
  2   wrong usage
  75  hsm-worker, hsm probe, hsm speed: the token failed, a new start may
      cure it
  77  hsm-worker, hsm probe, hsm speed: the PIN was refused, or is latched
      since it was
  78  the configuration, or the sockets that systemd passed, are at fault
  A worker whose PKCS#11 library hangs ends itself by SIGKILL.

Signals:
  SIGTERM, SIGINT  finish the requests in work, take no more, end with 0
  SIGHUP           read the rules again: policy.toml and what it names, the
                   clients and their rate; a fault keeps those in force

Files:
  /etc/signerd/signerd.toml         listeners, clients, limits
  /etc/signerd/policy.toml          what may be signed
  /etc/signerd/hsm.toml             the token and its keys
  /var/lib/signerd/                 the ledger
  /var/lib/signerd-latch/pin-latch  there since the token refused the PIN
  /run/signerd-hsm/*.sock           between the front and its workers

Environment:
  SIGNERD_LOG            error, warn, info (default), debug or trace
  LISTEN_FDS             sockets that systemd passes, with LISTEN_FDNAMES
                         signing, officer and observability; without
                         them the configured addresses are bound
  NOTIFY_SOCKET          where systemd hears of readiness and status
  WATCHDOG_USEC          how often it wants to hear that the daemon lives
  CREDENTIALS_DIRECTORY  where it puts the TLS key and, for workers, the PIN

See also:
  signerctl(1), signerd.toml(5), policy.toml(5), hsm.toml(5)";

/// Signs vaccination records as HCERT certificates with keys in a PKCS#11 token
///
/// A front process speaks mutual TLS, judges records, keeps the ledger and verifies every signature.
/// Worker processes alone load the vendor's PKCS#11 library and have the PIN. `serve` runs the front;
/// it spawns its workers, unless hsm.toml names the sockets of workers that systemd runs. On
/// listeners of their own the front serves officers, and /metrics, /healthz and /readyz.
#[derive(Debug, Parser)]
#[command(name = "signerd", version, after_long_help = MORE)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `signerd` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run in the foreground until SIGTERM, drain, and end.
    Serve(Serve),
    /// Validate the configuration as the start would, naming every fault.
    Check(ConfigFile),
    /// Run one worker process: the only one that loads the PKCS#11 module.
    HsmWorker(Worker),
    /// Run one process that loads the PKCS#11 module for a command.
    #[command(hide = true)]
    HsmErrand(HsmErrand),
    /// Look after the ledger.
    Ledger {
        /// What to do there.
        #[command(subcommand)]
        command: LedgerCommand,
    },
    /// Look after the HSM side.
    Hsm {
        /// What to do there.
        #[command(subcommand)]
        command: HsmCommand,
    },
}

/// What can be done about the HSM side.
#[derive(Debug, Subcommand)]
pub enum HsmCommand {
    /// Allow log-in again after a wrong PIN was mended.
    ClearPinLatch(ConfigFile),
    /// Look at module, token and keys, and report what they are like
    ///
    /// The token that hsm.toml names is logged in to as a worker does it: once, and not while the PIN is
    /// latched. Each key is read back, held against its certificate and tried in every form of its algorithm;
    /// sessions are opened until none opens; the module is finalised and initialised again. What is odd is
    /// named, and an hsm.toml to begin with is suggested. Only the proof text of this program is signed, and
    /// no object stays in the token. Run it where a worker would run: as its user, with its credentials.
    Probe(Probe),
    /// Measure how many signatures a second the token makes, and how many workers and sessions are best
    ///
    /// Processes of their own log in as workers do and sign the proof text of this program, again and again,
    /// for each key, number of processes, and sessions of each; without a front, so that no daemon is
    /// faster. It says beforehand how long it takes. Run it where a worker would run, and while no daemon
    /// uses the token.
    Speed(Speed),
}

/// What a measurement is told.
#[derive(Debug, Args)]
pub struct Speed {
    /// Where the configuration is.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Which token.
    #[command(flatten)]
    pub token: WhichToken,
    /// How long each row is measured.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// A key of hsm.toml, instead of all of them; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub key: Vec<String>,
    /// Numbers of worker processes, at most 16.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 2, 4],
        value_parser = value_parser!(u16).range(1..=16))]
    pub workers: Vec<u16>,
    /// Numbers of sessions of each, at most 32.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 2, 4, 8],
        value_parser = value_parser!(u16).range(1..=32))]
    pub sessions: Vec<u16>,
    /// Measure each row with the keys of the token and with copies of them in the session, whatever
    /// hsm.toml says.
    #[arg(long)]
    pub copies: bool,
    /// The results as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What a probe is told.
#[derive(Debug, Args)]
pub struct Probe {
    /// Where the configuration is.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Which token.
    #[command(flatten)]
    pub token: WhichToken,
    /// The report as JSON.
    #[arg(long)]
    pub json: bool,
    /// Write the report to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// What a process on an errand is told.
#[derive(Debug, Args)]
pub struct HsmErrand {
    /// What it does.
    pub errand: ErrandName,
    /// The configuration of the HSM side, `hsm.toml`.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Which token.
    #[command(flatten)]
    pub token: WhichToken,
}

/// The errands by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ErrandName {
    /// For `hsm probe`.
    Probe,
    /// For `hsm speed`.
    Speed,
}

impl From<ErrandName> for Errand {
    fn from(name: ErrandName) -> Self {
        match name {
            ErrandName::Probe => Self::Probe,
            ErrandName::Speed => Self::Speed,
        }
    }
}

/// What can be done about the ledger.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Read all of a ledger that no daemon has open, and say whether everything in it fits together
    ///
    /// The engine looks for damage; every entry of the log is read, hashed and held against the tree and
    /// the latest checkpoint, and every certificate against its batch. The first thing that does not fit is
    /// named, and the exit code is 1. Nothing is changed. To check a ledger in use, check a backup of it.
    Check(LedgerCheck),
}

/// Which ledger to check.
#[derive(Debug, Args)]
pub struct LedgerCheck {
    /// Where the configuration is.
    #[command(flatten)]
    pub file: ConfigFile,
    /// A backup, instead of the ledger that the configuration names.
    #[arg(long, value_name = "FILE")]
    pub backup: Option<PathBuf>,
    /// The certificate of an earlier audit key, where that one signed the latest checkpoint; may be
    /// repeated.
    #[arg(long, value_name = "FILE")]
    pub certificate: Vec<PathBuf>,
}

/// What the daemon is started with.
#[derive(Debug, Args)]
pub struct Serve {
    /// Where the configuration is.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Sign although entries of the log are later than the clock: for a start after a clock that was
    /// ahead has been put right, never for one that may be behind.
    #[arg(long)]
    pub trust_clock: bool,
}

/// One of the tokens that hold the keys.
#[derive(Debug, Args)]
pub struct WhichToken {
    /// Which of the tokens that hold the keys: 1 is the one under `token`, 2 the first `replica`, and so on.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u8).range(1..))]
    pub token: u8,
}

impl WhichToken {
    /// Counted from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        usize::from(self.token).saturating_sub(1)
    }
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct ConfigFile {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/signerd/signerd.toml")]
    pub config: PathBuf,
}

/// Where a worker finds its configuration and its front.
#[derive(Debug, Args)]
pub struct Worker {
    /// The configuration of the HSM side, `hsm.toml`.
    #[arg(long, value_name = "FILE", default_value = "/etc/signerd/hsm.toml")]
    pub config: PathBuf,
    /// Which token.
    #[command(flatten)]
    pub token: WhichToken,
    /// Listen for the front on this Unix socket, and go on after the front has gone. Without this and
    /// without --tether, standard input is a listening socket, as systemd passes it.
    #[arg(long, value_name = "PATH", conflicts_with = "tether")]
    pub socket: Option<PathBuf>,
    /// Standard input is the connection to the front; when it ends, so does the worker.
    #[arg(long)]
    pub tether: bool,
}

impl From<Worker> for WorkerArgs {
    fn from(worker: Worker) -> Self {
        let channel = match (worker.socket, worker.tether) {
            (Some(path), _) => Channel::Listen(path),
            (None, true) => Channel::Tether,
            (None, false) => Channel::Activated,
        };
        let token = worker.token.index();
        Self { config: worker.config, token, channel }
    }
}

/// Reads the command line of this process; a wrong one, and `--help`, end it here.
pub fn parse() -> Cli {
    Cli::parse()
}

/// The command as clap sees it, for man pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}
