//! This process on an errand for a command: it says what it does and what came of it, and ends.
//!
//! It ends as workers do, without any clean-up of the module, and at once where the command has gone.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::channel;
use super::end_now;
use super::fault::Fault;
use super::probe;
use super::read_config;
use super::say;
use super::shield;
use super::speed;
use crate::hsm::Errand;
use crate::hsm::errand::Word;
use crate::hsm::ipc;

/// The command that sent this process.
pub(super) struct Sender(UnixStream);

/// Does what the command wants; returns only where nobody sent it.
#[must_use]
pub fn run(errand: Errand, config: &Path, token: usize) -> ExitCode {
    let sender = match channel::stdin_stream() {
        Ok(stream) => Sender(stream),
        Err(fault) => {
            say(&fault.to_string());
            return ExitCode::from(fault.exit_code());
        }
    };
    let outcome = read_config(config, token).and_then(|config| {
        shield()?;
        match errand {
            Errand::Probe => probe::run(&config, &sender),
            Errand::Speed => speed::run(config, &sender),
        }
    });
    if let Err(fault) = outcome {
        let detail = fault.detail().to_owned();
        sender.say(&Word::<()>::Failed { kind: fault.kind(), detail });
    }
    end_now()
}

impl Sender {
    /// Says what is done next, so that whoever waits knows where it stopped.
    pub(super) fn step(&self, step: impl Into<String>) {
        self.say(&Word::<()>::Step(step.into()));
    }

    /// Hands over what was asked for.
    pub(super) fn done<T: Serialize>(&self, result: T) {
        self.say(&Word::Done(result));
    }

    /// The connection, to read what the command wants next.
    pub(super) fn stream(&self) -> Result<UnixStream, Fault> {
        let stream = self.0.try_clone();
        stream.map_err(|e| Fault::token(format!("the connection cannot be shared: {e}")))
    }

    /// Ends this process as soon as the command goes; for an errand that is told nothing more.
    pub(super) fn leave_with_it(&self) -> Result<(), Fault> {
        let mut stream = self.stream()?;
        std::thread::spawn(move || {
            // It says nothing, so whatever comes is its end.
            let _ = io::Read::read(&mut stream, &mut [0]);
            end_now();
        });
        Ok(())
    }

    fn say<T: Serialize>(&self, word: &Word<T>) {
        let said = ipc::frame(word).and_then(|frame| io::Write::write_all(&mut &self.0, &frame));
        if said.is_err() {
            end_now();
        }
    }
}
