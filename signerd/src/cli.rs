//! The command line of `signerd`.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::hsm::worker::{Channel, WorkerArgs};

/// Signs vaccination records as HCERT certificates with keys in a PKCS#11 token.
///
/// Exit codes: 0 drained and ended, or nothing wrong; 1 failed while running; 77 wrong PIN or PIN
/// latched; 78 configuration at fault.
#[derive(Debug, Parser)]
#[command(name = "signerd", version, about, long_about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `signerd` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run in the foreground until SIGTERM, drain, and end.
    Serve(ConfigFile),
    /// Validate the configuration as the start would, naming every fault.
    Check(ConfigFile),
    /// Run one worker process: the only one that loads the PKCS#11 module.
    HsmWorker(Worker),
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
        Self { config: worker.config, channel }
    }
}

/// The command as clap sees it, for man pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}
