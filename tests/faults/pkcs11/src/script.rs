//! What a script says: its lines as values, and how they are written.
//!
//! [`Script::parse`] reads what `Display` writes, and nothing that it does not understand whole. The
//! grammar stands at the head of the crate.

mod parse;

use std::fmt;
use std::time::Duration;

use crate::function::Function;
use crate::names::{AttributeName, Code, Mechanism, TokenFlag};

pub use parse::ScriptError;

/// Most lines of a script: each has counters that all processes share.
pub const LINES_MAX: usize = 64;

/// All lines, in the order in which they are tried.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script(pub Vec<Line>);

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// `on FUNCTION ACT …`: what happens to some calls.
    On {
        /// The function; none is every function.
        function: Option<Function>,
        /// What happens.
        act: Act,
        /// To which of the calls.
        when: When,
    },
    /// `token STATE …`: what the token is like as long as the script says so.
    Token {
        /// What it is like.
        state: State,
        /// For how long, counted from when the first process has seen the script; for ever if none.
        lasts: Option<Duration>,
    },
}

/// What happens to a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Act {
    /// The code is returned; the real module is not called.
    Return(Code),
    /// The real module is called, and the code returned whatever it said.
    ThenReturn(Code),
    /// The call takes longer; it holds no lock meanwhile, and further lines are tried after it.
    Delay(Duration),
    /// The call never ends.
    Hang,
    /// The process ends by SIGABRT.
    Abort,
    /// The process ends by SIGKILL.
    Kill,
    /// The user of this process is logged out without having asked; further lines are tried.
    LogOut,
    /// The token is lost from this call on, for the time of `for=`, or until the script is replaced.
    LoseToken(Back),
    /// `C_Initialize` refuses whoever wants to use threads.
    CannotLock,
    /// `C_Sign`: random bytes of the right length. `C_GetAttributeValue`: see [`Act::GarbageOf`].
    Garbage,
    /// `C_GetAttributeValue`: the values of this attribute alone are random bytes.
    GarbageOf(AttributeName),
    /// `C_Sign`: the signature without its last byte.
    Short,
    /// `C_Sign`: the signature with one byte more.
    Long,
    /// `C_Sign`: a signature without a byte.
    Empty,
    /// `C_Sign`: the signature with one bit wrong, counted from the first byte's lowest; none is any.
    Flip(Option<u32>),
    /// `C_Sign`: what the private key with this label signs.
    SignedBy(String),
    /// `C_FindObjects`: nothing is found.
    Nothing,
    /// `C_FindObjects`: the object with this label, of the class that was looked for, is found instead.
    Object(String),
    /// `C_GetTokenInfo`: the token has this flag.
    Flag(TokenFlag),
}

/// What a token is like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// It is not there.
    Away(Back),
    /// It locks the user PIN after so many wrong ones in a row, and shows the flags on the way there.
    PinTries(u32),
    /// It has so many sessions for a process, and so many of them may be read-write.
    Sessions {
        /// Sessions altogether.
        all: u32,
        /// Read-write sessions.
        writing: u32,
    },
    /// It does not know this mechanism.
    Without(Mechanism),
    /// It answers `CKR_FUNCTION_FAILED` to who wants a read-only session.
    ReadWriteOnly,
    /// It shows `CKA_EC_POINT` without the OCTET STRING around it.
    RawPoint,
    /// Its private keys say that they want a log-in for each use.
    AlwaysAuthenticate,
}

/// What it takes, after a token was lost and is back, until a process can use it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Back {
    /// A new session and a new log-in.
    Session,
    /// `C_Finalize` and `C_Initialize`, while the token is there.
    Initialize,
    /// A new process, started while the token is there.
    Process,
}

/// Which calls a line takes effect on: all conditions hold.
///
/// Calls are counted from 1 for each line, over all processes, when nothing before it in the script
/// has decided about them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct When {
    /// Not on the first so many.
    pub after: u64,
    /// Only on each so many-th of the others.
    pub every: u64,
    /// At most so often.
    pub times: Option<u64>,
    /// With this probability, from 0 to 1.
    pub chance: f64,
    /// Decides what is left to chance: the same seed decides the same about the same calls.
    pub seed: u64,
    /// Only for so long, counted from the first effect.
    pub lasts: Option<Duration>,
    /// `C_Sign`: not on calls that sign just this, a digest; they are not counted either.
    pub except: Option<[u8; 32]>,
}

impl Default for When {
    fn default() -> Self {
        Self { after: 0, every: 1, times: None, chance: 1.0, seed: 0, lasts: None, except: None }
    }
}

impl Line {
    /// A line that takes effect on every call of a function.
    pub fn on(function: Function, act: Act) -> Self {
        Self::On { function: Some(function), act, when: When::default() }
    }

    /// A line that takes effect on every call of every function.
    pub fn on_any(act: Act) -> Self {
        Self::On { function: None, act, when: When::default() }
    }

    /// A line about the token.
    pub fn token(state: State) -> Self {
        Self::Token { state, lasts: None }
    }

    /// Not on the first so many calls.
    #[must_use]
    pub fn after(self, calls: u64) -> Self {
        self.with(|when| when.after = calls)
    }

    /// Only on each so many-th call.
    #[must_use]
    pub fn every(self, calls: u64) -> Self {
        self.with(|when| when.every = calls)
    }

    /// At most so often.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        self.with(|when| when.times = Some(times))
    }

    /// With a probability from 0 to 1.
    #[must_use]
    pub fn chance(self, chance: f64, seed: u64) -> Self {
        self.with(|when| (when.chance, when.seed) = (chance, seed))
    }

    /// Only for so long: a state from when the script is first seen, an act from its first effect; a
    /// token that is lost comes back after it.
    #[must_use]
    pub fn lasting(self, duration: Duration) -> Self {
        match self {
            Self::Token { state, .. } => Self::Token { state, lasts: Some(duration) },
            on @ Self::On { .. } => on.with(|when| when.lasts = Some(duration)),
        }
    }

    /// Not on calls that sign just this.
    #[must_use]
    pub fn except(self, digest: [u8; 32]) -> Self {
        self.with(|when| when.except = Some(digest))
    }

    fn with(mut self, change: impl FnOnce(&mut When)) -> Self {
        if let Self::On { when, .. } = &mut self {
            change(when);
        }
        self
    }
}

impl Act {
    /// The word that it is written by, which is also its name in the tally.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Return(_) => "return",
            Self::ThenReturn(_) => "then-return",
            Self::Delay(_) => "delay",
            Self::Hang => "hang",
            Self::Abort => "abort",
            Self::Kill => "kill",
            Self::LogOut => "log-out",
            Self::LoseToken(_) => "lose-token",
            Self::CannotLock => "cannot-lock",
            Self::Garbage | Self::GarbageOf(_) => "garbage",
            Self::Short => "short",
            Self::Long => "long",
            Self::Empty => "empty",
            Self::Flip(_) => "flip",
            Self::SignedBy(_) => "signed-by",
            Self::Nothing => "nothing",
            Self::Object(_) => "object",
            Self::Flag(_) => "flag",
        }
    }

    /// The one function that it is for; none if it is for any.
    pub(crate) const fn fits(&self, function: Option<Function>) -> bool {
        match self {
            Self::Return(_)
            | Self::ThenReturn(_)
            | Self::Delay(_)
            | Self::Hang
            | Self::Abort
            | Self::Kill
            | Self::LogOut
            | Self::LoseToken(_) => true,
            Self::CannotLock => matches!(function, Some(Function::C_Initialize)),
            Self::Garbage => {
                matches!(function, Some(Function::C_Sign | Function::C_GetAttributeValue))
            }
            Self::GarbageOf(_) => matches!(function, Some(Function::C_GetAttributeValue)),
            Self::Short | Self::Long | Self::Empty | Self::Flip(_) | Self::SignedBy(_) => {
                matches!(function, Some(Function::C_Sign))
            }
            Self::Nothing | Self::Object(_) => matches!(function, Some(Function::C_FindObjects)),
            Self::Flag(_) => matches!(function, Some(Function::C_GetTokenInfo)),
        }
    }
}

impl State {
    /// How the token comes back, if this is that it is away.
    pub(crate) const fn away(self) -> Option<Back> {
        match self {
            Self::Away(back) => Some(back),
            _ => None,
        }
    }

    /// The word that it is written by, which is also its name in the tally.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Away(_) => "away",
            Self::PinTries(_) => "pin-tries",
            Self::Sessions { .. } => "sessions",
            Self::Without(_) => "without",
            Self::ReadWriteOnly => "read-write-only",
            Self::RawPoint => "raw-point",
            Self::AlwaysAuthenticate => "always-authenticate",
        }
    }
}

impl Back {
    /// Every way back, in the order of the tally.
    pub(crate) const ALL: [Self; 3] = [Self::Session, Self::Initialize, Self::Process];

    /// Its place in [`Back::ALL`].
    pub(crate) const fn number(self) -> usize {
        match self {
            Self::Session => 0,
            Self::Initialize => 1,
            Self::Process => 2,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Initialize => "initialize",
            Self::Process => "process",
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On { function, act, when } => {
                write!(f, "on {} {act}{when}", function.map_or("*", Function::name))
            }
            Self::Token { state, lasts } => {
                write!(f, "token {state}")?;
                lasts.map_or(Ok(()), |lasts| write!(f, " for={}", Time(lasts)))
            }
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Return(code) | Self::ThenReturn(code) => write!(f, " {code}"),
            Self::Delay(duration) => write!(f, " {}", Time(*duration)),
            Self::LoseToken(back) => write!(f, " back={}", back.word()),
            Self::GarbageOf(attribute) => write!(f, " {attribute}"),
            Self::Flip(Some(bit)) => write!(f, " {bit}"),
            Self::SignedBy(label) | Self::Object(label) => write!(f, " \"{label}\""),
            Self::Flag(flag) => write!(f, " {flag}"),
            Self::Hang
            | Self::Abort
            | Self::Kill
            | Self::LogOut
            | Self::CannotLock
            | Self::Garbage
            | Self::Short
            | Self::Long
            | Self::Empty
            | Self::Flip(None)
            | Self::Nothing => Ok(()),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(back) => write!(f, "away back={}", back.word()),
            Self::PinTries(tries) => write!(f, "pin-tries {tries}"),
            Self::Sessions { all, writing } => write!(f, "sessions {all} {writing}"),
            Self::Without(mechanism) => write!(f, "without {mechanism}"),
            Self::ReadWriteOnly => f.write_str("read-write-only"),
            Self::RawPoint => f.write_str("raw-point"),
            Self::AlwaysAuthenticate => f.write_str("always-authenticate"),
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.after != 0 {
            write!(f, " after={}", self.after)?;
        }
        if self.every != 1 {
            write!(f, " every={}", self.every)?;
        }
        if let Some(times) = self.times {
            write!(f, " times={times}")?;
        }
        if self.chance < 1.0 {
            write!(f, " chance={}", self.chance)?;
        }
        if self.seed != 0 {
            write!(f, " seed={}", self.seed)?;
        }
        if let Some(lasts) = self.lasts {
            write!(f, " for={}", Time(lasts))?;
        }
        let Some(digest) = self.except else { return Ok(()) };
        f.write_str(" except=")?;
        digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A duration as scripts write it: the whole number of microseconds, or of the largest unit that fits.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_micros() {
            us if us % 1_000_000 == 0 => write!(f, "{}s", us / 1_000_000),
            us if us % 1_000 == 0 => write!(f, "{}ms", us / 1_000),
            us => write!(f, "{us}us"),
        }
    }
}
