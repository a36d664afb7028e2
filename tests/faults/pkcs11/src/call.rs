//! One call of a function: what the script says about it, before and after the real module is called.
//!
//! Locks are held neither while a call is delayed or hangs, nor by it while another one is: so many
//! sessions are delayed at the same time.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use cryptoki_sys::{
    CK_RV, CK_SESSION_HANDLE, CKR_DEVICE_REMOVED, CKR_OK, CKR_SESSION_HANDLE_INVALID,
    CKR_TOKEN_NOT_PRESENT, CKR_USER_NOT_LOGGED_IN,
};
use rustix::process::{Signal, getpid, kill_process};

use crate::context::{Context, refuse};
use crate::function::Function;
use crate::running::{Running, random};
use crate::script::{Act, Line, State};
use crate::tally;

/// What a call is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// The module.
    Module,
    /// A slot and its token.
    Slot,
    /// A session.
    Session(CK_SESSION_HANDLE),
}

/// A call that is to be made.
pub(crate) struct Call {
    pub(crate) context: &'static Context,
    pub(crate) running: Arc<Running>,
    pub(crate) function: Function,
    /// The line that decides what the caller is told, and the number of the call for it.
    decided: Option<(usize, u64)>,
}

impl Call {
    /// Begins a call; an error is what the caller is told instead of calling the real module.
    pub(crate) fn begin(function: Function, place: Place) -> Result<Self, CK_RV> {
        Self::about(function, place, &[])
    }

    /// Begins a call that does something with these bytes.
    pub(crate) fn about(function: Function, place: Place, data: &[u8]) -> Result<Self, CK_RV> {
        let mut call = Self::new(function);
        call.context.tally.called(function);
        call.admit(place)?;
        call.decide(place, data)?;
        Ok(call)
    }

    /// Begins a call that only asks for a length: no line is tried on it.
    pub(crate) fn question(function: Function, place: Place) -> Result<Self, CK_RV> {
        let call = Self::new(function);
        call.admit(place)?;
        Ok(call)
    }

    fn new(function: Function) -> Self {
        let context = Context::get();
        let running = context.running();
        context.notice_losses();
        Self { context, running, function, decided: None }
    }

    /// Whether the token is away for this process.
    pub(crate) fn is_away(&self) -> bool {
        self.context.is_away(&self.running)
    }

    /// What a token answers that is lost, or was, or whose user is not logged in any more.
    fn admit(&self, place: Place) -> Result<(), CK_RV> {
        let refused = |word, code| {
            self.context.tally.injected(self.function, word);
            Err(code)
        };
        match place {
            Place::Module => return Ok(()),
            Place::Slot if self.is_away() => return refused(tally::AWAY, CKR_TOKEN_NOT_PRESENT),
            Place::Session(_) if self.is_away() => return refused(tally::AWAY, CKR_DEVICE_REMOVED),
            Place::Slot => return Ok(()),
            Place::Session(_) => {}
        }
        let application = self.context.application();
        if let Place::Session(handle) = place
            && application.is_dead(handle)
        {
            return refused(tally::SESSION_DEAD, CKR_SESSION_HANDLE_INVALID);
        }
        if application.logged_out && self.function.needs_user() {
            return refused(tally::LOGGED_OUT, CKR_USER_NOT_LOGGED_IN);
        }
        Ok(())
    }

    /// Tries the lines, in their order, until one decides what the caller is told.
    fn decide(&mut self, place: Place, data: &[u8]) -> Result<(), CK_RV> {
        let running = Arc::clone(&self.running);
        for (line, text) in running.lines() {
            let Line::On { function, act, when } = text else { continue };
            let is_other = function.is_some_and(|function| function != self.function);
            if is_other || when.except.is_some_and(|except| except == data) {
                continue;
            }
            let Some(number) = running.takes_effect(line, when) else { continue };
            self.context.injected(self.function, act);
            match act {
                Act::Return(code) => return Err(code.0),
                Act::Delay(duration) => thread::sleep(*duration),
                Act::Hang => hang(),
                Act::Abort => {
                    let _alone = self.context.clear();
                    refuse("the script says abort")
                }
                Act::Kill => {
                    let _alone = self.context.clear();
                    kill()
                }
                Act::LogOut => {
                    self.context.log_out();
                    self.admit(place)?;
                }
                Act::LoseToken(back) => {
                    self.context.lose_token(&running, line, *back);
                    self.context.notice_losses();
                    self.admit(place)?;
                }
                _ => {
                    self.decided = Some((line, number));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What the line that decided says.
    pub(crate) fn act(&self) -> Option<&Act> {
        let (decided, _) = self.decided?;
        self.running.lines().find_map(|(line, text)| match text {
            Line::On { act, .. } if line == decided => Some(act),
            _ => None,
        })
    }

    /// Random numbers for this act on this call.
    pub(crate) fn random(&self) -> impl Iterator<Item = u64> + use<> {
        let (line, number) = self.decided.unwrap_or_default();
        let seed = u64::try_from(line).unwrap_or_default();
        (0..).map(move |step| random(random(seed, number), step))
    }

    /// What the token is like, with the numbers of the lines that say so.
    pub(crate) fn states(&self) -> impl Iterator<Item = (usize, State)> + '_ {
        self.running.states()
    }

    /// Counts that a state changed the answer.
    pub(crate) fn injected(&self, state: State) {
        self.context.tally.injected(self.function, state.word());
    }

    /// Ends a call whose answer from the real module is this.
    pub(crate) fn end(&self, answer: CK_RV) -> CK_RV {
        match self.act() {
            Some(Act::ThenReturn(code)) => code.0,
            _ => answer,
        }
    }
}

fn hang() -> ! {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn kill() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    // The signal is on its way.
    hang()
}

/// Calls the real module with the arguments of the caller.
macro_rules! real {
    ($call:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match $call.context.real.list.$function {
            Some(function) => {
                let _inside = $call.context.enter();
                // SAFETY: the arguments are those of the caller, who promised that they are good,
                // or stand for them.
                unsafe { function($($argument),*) }
            }
            None => cryptoki_sys::CKR_FUNCTION_NOT_SUPPORTED,
        }
    };
}
pub(crate) use real;

/// Whether a return code says that all is well.
pub(crate) const fn is_ok(code: CK_RV) -> bool {
    code == CKR_OK
}
