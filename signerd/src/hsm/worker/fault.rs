//! Why a worker cannot go on, said to three readers: the log, the front and the exit code.
//!
//! A fault of the configuration names the file or key, the problem and the remedy. None of them
//! carries a PIN or a byte of a key.

use std::fmt;

use cryptoki::error::Error;

use super::ladder::Rung;
use crate::hsm::FaultKind;

/// A fault that ends the worker, or the start of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) struct Fault {
    kind: FaultKind,
    detail: String,
    /// The lowest rung that can mend it.
    rung: Rung,
}

impl Fault {
    /// A call failed.
    pub(super) fn call(what: impl fmt::Display, error: &Error) -> Self {
        let rung = Rung::of(error);
        Self { kind: FaultKind::Token, detail: format!("{what}: {}", brief(error)), rung }
    }

    /// The machine or token does not fit `hsm.toml`; an operator must act.
    pub(super) fn config(
        subject: impl fmt::Display,
        problem: impl fmt::Display,
        remedy: impl fmt::Display,
    ) -> Self {
        let detail = format!("{subject}: {problem}; {remedy}");
        Self { kind: FaultKind::Config, detail, rung: Rung::Session }
    }

    /// The PIN was refused, or must not be tried.
    pub(super) fn pin(detail: impl Into<String>) -> Self {
        Self { kind: FaultKind::Pin, detail: detail.into(), rung: Rung::Process }
    }

    /// The token or something on the way to it failed; starting again may cure it.
    pub(super) fn token(detail: impl Into<String>) -> Self {
        Self { kind: FaultKind::Token, detail: detail.into(), rung: Rung::Session }
    }

    /// The same, with that rung.
    pub(super) fn at(self, rung: Rung) -> Self {
        Self { rung, ..self }
    }

    /// The same, which this rung did not mend.
    pub(super) fn despite(self, rung: Rung) -> Self {
        let detail = format!("{}; making the {} anew did not help", self.detail, rung.name());
        Self { detail, ..self }
    }

    /// The lowest rung that can mend it.
    pub(super) const fn rung(&self) -> Rung {
        self.rung
    }

    pub(super) const fn kind(&self) -> FaultKind {
        self.kind
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) const fn exit_code(&self) -> u8 {
        self.kind.exit_code()
    }
}

/// A failed call in few words; the library's own text quotes whole paragraphs of the standard.
pub(super) fn brief(error: &Error) -> String {
    match error {
        Error::Pkcs11(code, function) => format!("C_{function:?} gave {code:?}"),
        other => other.to_string(),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.detail)
    }
}
