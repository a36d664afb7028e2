//! What happened so far, over all processes and all scripts: a file beside the script that only grows.
//!
//! The module counts into it, tests read it. Whoever wants to know what happened since some moment
//! subtracts what was read then.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;

use cryptoki_sys::CK_RV;

use crate::function::Function;
use crate::names::Code;
use crate::script::Back;
use crate::shared::Shared;

/// How a log-in ended, as its caller was told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogIn {
    /// It was the PIN.
    Right,
    /// It was not: a try is spent.
    Wrong,
    /// No PIN is taken any more.
    Locked,
    /// Somebody of this process is logged in already.
    Already,
    /// Anything else, without a verdict on the PIN.
    Failed,
}

impl LogIn {
    const ALL: [(&'static str, Self); LOG_INS] = [
        ("log-ins right", Self::Right),
        ("wrong", Self::Wrong),
        ("locked", Self::Locked),
        ("already", Self::Already),
        ("failed", Self::Failed),
    ];

    /// What a return code says about a log-in.
    pub(crate) fn of(code: CK_RV) -> Self {
        match Code(code) {
            Code::CKR_OK => Self::Right,
            Code::CKR_PIN_INCORRECT => Self::Wrong,
            Code::CKR_PIN_LOCKED => Self::Locked,
            Code::CKR_USER_ALREADY_LOGGED_IN => Self::Already,
            _ => Self::Failed,
        }
    }

    const fn number(self) -> usize {
        match self {
            Self::Right => 0,
            Self::Wrong => 1,
            Self::Locked => 2,
            Self::Already => 3,
            Self::Failed => 4,
        }
    }
}

/// Everything that is counted for a function, besides its calls: the words of the acts, and the answers
/// of a token that is not as its user believes.
const WORDS: [&str; 28] = [
    "return",
    "then-return",
    "delay",
    "hang",
    "abort",
    "kill",
    "log-out",
    "lose-token",
    "cannot-lock",
    "garbage",
    "short",
    "long",
    "empty",
    "flip",
    "signed-by",
    "nothing",
    "object",
    "flag",
    AWAY,
    SESSION_DEAD,
    LOGGED_OUT,
    "pin-tries",
    "sessions",
    "without",
    "raw-point",
    "always-authenticate",
    "read-write-only",
    // Room for words to come: the file keeps its form.
    "",
];
/// The call was answered by a token that is away.
pub(crate) const AWAY: &str = "away";
/// The call named a session from before the token was lost.
pub(crate) const SESSION_DEAD: &str = "session-dead";
/// The call needs a user, who was logged out.
pub(crate) const LOGGED_OUT: &str = "logged-out";

const LOSSES: usize = 3;
const LOG_INS: usize = 5;
const ROW: usize = 1 + WORDS.len();
const NUMBERS: usize = LOSSES + LOG_INS + ROW * Function::ALL.len();

/// The file of the tally that belongs to a script.
pub(crate) fn path(script: &Path) -> PathBuf {
    let mut name = script.as_os_str().to_owned();
    name.push(".tally");
    name.into()
}

fn row(function: Function) -> usize {
    LOSSES + LOG_INS + ROW * function.number()
}

fn column(word: &str) -> Option<usize> {
    WORDS.iter().position(|known| *known == word).map(|column| 1 + column)
}

/// The tally that is counted into.
#[derive(Debug)]
pub(crate) struct Counters(Shared);

impl Counters {
    pub(crate) fn open(script: &Path) -> io::Result<Self> {
        Shared::open(&path(script), NUMBERS).map(Self)
    }

    pub(crate) fn called(&self, function: Function) {
        self.0.number(row(function)).fetch_add(1, SeqCst);
    }

    pub(crate) fn injected(&self, function: Function, word: &str) {
        if let Some(column) = column(word) {
            self.0.number(row(function) + column).fetch_add(1, SeqCst);
        }
    }

    pub(crate) fn logged_in(&self, outcome: LogIn) {
        self.0.number(LOSSES + outcome.number()).fetch_add(1, SeqCst);
    }

    pub(crate) fn lost(&self, back: Back) {
        self.0.number(back.number()).fetch_add(1, SeqCst);
    }

    /// How often the token was lost so far, by the ways back.
    pub(crate) fn losses(&self) -> [u64; LOSSES] {
        Back::ALL.map(|back| self.0.number(back.number()).load(SeqCst))
    }
}

/// A tally as it was when it was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tally(Vec<u64>);

impl Tally {
    /// Reads the tally of a script; all is zero before the first process has loaded the module.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn of_script(script: &Path) -> io::Result<Self> {
        let bytes = match std::fs::read(path(script)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let (numbers, _) = bytes.as_chunks();
        let mut numbers: Vec<u64> =
            numbers.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect();
        numbers.resize(NUMBERS, 0);
        Ok(Self(numbers))
    }

    /// What was added since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let pairs = self.0.iter().zip(&earlier.0);
        Self(pairs.map(|(now, then)| now.saturating_sub(*then)).collect())
    }

    /// How often a function was called; a question for lengths alone is no call.
    pub fn calls(&self, function: Function) -> u64 {
        self.number(row(function))
    }

    /// How often something befell a call of a function, by the word that scripts have for it, or
    /// `away`, `session-dead` and `logged-out` for what a lost token or log-in answered.
    pub fn injected(&self, function: Function, word: &str) -> u64 {
        column(word).map_or(0, |column| self.number(row(function) + column))
    }

    /// How often anything befell a call of a function.
    pub fn injected_into(&self, function: Function) -> u64 {
        WORDS.iter().map(|word| self.injected(function, word)).sum()
    }

    /// How often anything befell any call.
    pub fn injected_at_all(&self) -> u64 {
        Function::ALL.iter().map(|function| self.injected_into(*function)).sum()
    }

    /// How many log-ins of the user ended so.
    pub fn log_ins(&self, outcome: LogIn) -> u64 {
        self.number(LOSSES + outcome.number())
    }

    /// How often the token was lost.
    pub fn losses(&self) -> u64 {
        self.0.iter().take(LOSSES).sum()
    }

    fn number(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or_default()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let called =
            |function: &&Function| self.calls(**function) + self.injected_into(**function) > 0;
        for function in Function::ALL.iter().filter(called) {
            write!(f, "{function} {}", self.calls(*function))?;
            for word in WORDS {
                match self.injected(*function, word) {
                    0 => {}
                    count => write!(f, ", {word} {count}")?,
                }
            }
            writeln!(f)?;
        }
        for (word, outcome) in LogIn::ALL {
            write!(f, "{word} {}, ", self.log_ins(outcome))?;
        }
        writeln!(f, "losses {}", self.losses())
    }
}
