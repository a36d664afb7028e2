//! What may befall a daemon from below: an end at a named place, a disk without power, a clock set back.
//!
//! The ends come from `signerd-failing`, a binary of the tests; disk and clock from `tests/faults/faults.c`,
//! a library that is loaded before the daemon's own and compiled here when it is first asked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use signerd::failpoint::Place;

use crate::setup::{Setup, program, root};

/// How the disk under the state folder keeps what was not synchronised when the process is killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Disk {
    /// As this machine does: the kernel has it, whatever becomes of the process.
    Kept,
    /// It is gone.
    Lost,
    /// A random choice of its sectors is there.
    Torn,
    /// It is gone, and so is what was synchronised.
    Lying,
}

/// A daemon with faults below it, not started yet.
pub struct Faulty(Command);

impl Faulty {
    /// The daemon of this set-up, with no fault so far.
    pub fn daemon(setup: &Setup) -> Self {
        let mut command = Command::new(program("signerd-failing"));
        command.arg("serve").arg("--config").arg(setup.path("signerd.toml"));
        Self(command)
    }

    /// Ends it by SIGKILL once it has passed the place so many times.
    #[must_use]
    pub fn killed_at(mut self, place: Place, passed: u64) -> Self {
        let first = if passed == 0 { String::new() } else { format!("{passed}*off->") };
        self.0.env("FAILPOINTS", format!("{}={first}panic", place.name()));
        self
    }

    /// Puts a disk under its state folder.
    #[must_use]
    pub fn on(mut self, disk: Disk, setup: &Setup, seed: u64) -> Self {
        let name = match disk {
            Disk::Kept => return self,
            Disk::Lost => "lost",
            Disk::Torn => "torn",
            Disk::Lying => "lying",
        };
        self.0.env("LD_PRELOAD", library()).env("FAULTS_DISK", name);
        self.0.env("FAULTS_FOLDER", setup.path("state")).env("FAULTS_SEED", seed.to_string());
        self
    }

    /// Ends it by SIGKILL inside this synchronisation, counted from 1; needs a disk.
    #[must_use]
    pub fn killed_in_sync(mut self, number: u64) -> Self {
        self.0.env("FAULTS_KILL_AT", number.to_string());
        self
    }

    /// Ends it by SIGKILL inside the first synchronisation of the ledger's own file, which is written only
    /// when its journal goes into it; needs a disk.
    #[must_use]
    pub fn killed_in_checkpoint(mut self) -> Self {
        self.0.env("FAULTS_KILL_AT", "1").env("FAULTS_KILL_FILE", "ledger.sqlite");
        self
    }

    /// Lets nothing in its state folder be written while the file exists.
    #[must_use]
    pub fn read_only_while(mut self, file: &Path, setup: &Setup) -> Self {
        self.0.env("LD_PRELOAD", library()).env("FAULTS_READ_ONLY", file);
        self.0.env("FAULTS_FOLDER", setup.path("state"));
        self
    }

    /// Gives it a clock that is off by as many seconds as the file says, at any time.
    #[must_use]
    pub fn with_clock(mut self, file: PathBuf) -> Self {
        self.0.env("LD_PRELOAD", library()).env("FAULTS_CLOCK", file);
        self
    }

    /// The command that starts it.
    pub fn into_command(self) -> Command {
        self.0
    }
}

/// The library, compiled if this source never was.
fn library() -> PathBuf {
    let source = root().join("tests/faults/faults.c");
    let text = fs::read(&source).expect("the library's source");
    let version = data_encoding::HEXLOWER.encode(&crate::setup::sha2_of(&text)[..8]);
    let made = std::env::temp_dir().join(format!("signerd-faults-{version}.so"));
    if !made.exists() {
        // Under a name of its own first: another test may be looking for it.
        let own = made.with_extension(uuid::Uuid::new_v4().to_string());
        let mut gcc = Command::new("gcc");
        gcc.args(["-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o"]).arg(&own).arg(&source);
        assert!(gcc.status().is_ok_and(|status| status.success()), "gcc cannot compile faults.c");
        fs::rename(own, &made).expect("the library's place");
    }
    made
}
