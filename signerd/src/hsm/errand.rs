//! A short-lived process that loads the module for a command of a person, as a worker does for the front.
//!
//! In goes the configuration, out come what the process says, a step or a result at a time, or why there
//! is none. The command itself never loads the module: one that hangs is ended, and one that crashes is
//! told, with the step that it came to. The process ends with the command, whichever way that ends.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use hsm_config::HsmConfig;
use serde::Deserialize;
use serde::Serialize;

use super::FaultKind;
use super::ipc;
use super::start;

/// What the process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// Looks at module, token and keys, once.
    Probe,
    /// Signs as fast as it can, as often as it is told.
    Speed,
}

impl Errand {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Speed => "speed",
        }
    }
}

/// The hidden verb that runs an errand.
pub const VERB: &str = "hsm-errand";

/// What the process says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Word<T> {
    /// What it does next.
    Step(String),
    /// What was asked for.
    Done(T),
    /// Why there is nothing.
    Failed {
        /// Whom it concerns.
        kind: FaultKind,
        /// For the operator.
        detail: String,
    },
}

/// Why an errand came to nothing; the exit code is that of a worker with such a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErrandError {
    /// The process could not be started or spoken to; mend the machine.
    #[error("{0}")]
    Broken(String),
    /// The process ended without a word: its module crashed, as a rule.
    #[error("the module ended its process ({how}) at this step: {step}")]
    Crashed {
        /// The signal or exit code.
        how: String,
        /// What it was about to do.
        step: String,
    },
    /// The process says what is at fault.
    #[error("{}: {detail}", kind.name())]
    Fault {
        /// Whom it concerns.
        kind: FaultKind,
        /// For the operator.
        detail: String,
    },
    /// A call into the module did not come back.
    #[error("the module did not answer within {} s at this step: {step}", patience.as_secs())]
    Hung {
        /// What it was about to do.
        step: String,
        /// How long it was waited for.
        patience: Duration,
    },
}

impl ErrandError {
    /// 75, 77 or 78, as a worker's exit code.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Fault { kind, .. } => kind.exit_code(),
            Self::Broken(_) | Self::Crashed { .. } | Self::Hung { .. } => {
                FaultKind::Token.exit_code()
            }
        }
    }
}

/// A process on an errand; it is killed when this is dropped.
pub(crate) struct Runner {
    child: Child,
    stream: UnixStream,
    step: String,
}

impl Runner {
    /// Starts this program again on an errand.
    pub(crate) fn start(
        errand: Errand,
        config: &HsmConfig,
        config_path: &Path,
    ) -> Result<Self, ErrandError> {
        let failed = |e: io::Error| broken("a process for the module cannot be started", e);
        let program = std::env::current_exe().map_err(failed)?;
        let (mut command, stream) =
            start::tied(&program, &[VERB, errand.name()], config, config_path).map_err(failed)?;
        let child = command.spawn().map_err(failed)?;
        Ok(Self { child, stream, step: "start".to_owned() })
    }

    /// Says something to the process.
    pub(crate) fn tell<M: Serialize>(&mut self, message: &M) -> Result<(), ErrandError> {
        let frame = ipc::frame(message).map_err(|e| broken("a message cannot be made", e))?;
        match io::Write::write_all(&mut self.stream, &frame) {
            Ok(()) => Ok(()),
            // It ended before it listened.
            Err(_) => Err(self.crashed()),
        }
    }

    /// Waits for a result; `on_step` hears of what comes before it.
    pub(crate) fn hear<T: for<'de> Deserialize<'de>>(
        &mut self,
        patience: Duration,
        mut on_step: impl FnMut(&str),
    ) -> Result<T, ErrandError> {
        let failed = |e: io::Error| broken("the module's process cannot be heard", e);
        self.stream.set_read_timeout(Some(patience)).map_err(failed)?;
        loop {
            match ipc::read::<Word<T>>(&mut self.stream) {
                Ok(Some(Word::Done(result))) => return Ok(result),
                Ok(Some(Word::Failed { kind, detail })) => {
                    return Err(ErrandError::Fault { kind, detail });
                }
                Ok(Some(Word::Step(step))) => {
                    on_step(&step);
                    self.step = step;
                }
                Ok(None) => return Err(self.crashed()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return Err(ErrandError::Hung { step: self.step.clone(), patience });
                }
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Err(self.crashed()),
                Err(e) => return Err(failed(e)),
            }
        }
    }

    fn crashed(&mut self) -> ErrandError {
        let how = self.child.wait().map_or_else(
            |e| e.to_string(),
            |status| match status.signal() {
                Some(signal) => format!("signal {signal}"),
                None => status.to_string(),
            },
        );
        ErrandError::Crashed { how, step: self.step.clone() }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // One that has ended already is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn broken(what: &str, error: impl fmt::Display) -> ErrandError {
    ErrandError::Broken(format!("{what}: {error}"))
}

/// How many worker processes of a daemon use this `hsm.toml` now, as far as `/proc` tells.
#[must_use]
pub fn workers_running(config_path: &Path) -> usize {
    let Ok(ours) = config_path.canonicalize() else { return 0 };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_worker = |process: &Path| {
        let words = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let words: Vec<_> = words.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        let path = words.iter().skip_while(|word| *word != "--config").nth(1);
        words.iter().any(|word| word == "hsm-worker")
            && path.is_some_and(|path| {
                // Relative to where that process stands; its folder is only shown to its own user.
                let place = process.join("cwd").join(Path::new(&**path));
                place.canonicalize().is_ok_and(|theirs| theirs == ours)
            })
    };
    processes.filter(|process| is_worker(&process.path())).count()
}
