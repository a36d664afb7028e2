//! Functions about sessions and log-in.

use std::ffi::c_void;
use std::sync::atomic::Ordering::SeqCst;

use cryptoki_sys::{
    CK_FLAGS, CK_NOTIFY, CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID, CK_ULONG, CK_USER_TYPE, CK_UTF8CHAR,
    CKF_RW_SESSION, CKR_FUNCTION_FAILED, CKR_PIN_LOCKED, CKR_SESSION_COUNT, CKU_USER,
};

use crate::call::{Call, Place, is_ok, real};
use crate::context::Context;
use crate::function::Function;
use crate::script::State;
use crate::tally::LogIn;

/// `C_OpenSession`: as many as the token has.
pub(crate) unsafe fn open(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut c_void,
    notify: CK_NOTIFY,
    place: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    let call = match Call::begin(Function::C_OpenSession, Place::Slot) {
        Ok(call) => call,
        Err(code) => return code,
    };
    let writes = flags & CKF_RW_SESSION != 0;
    if !writes && call.states().any(|(_, state)| state == State::ReadWriteOnly) {
        call.injected(State::ReadWriteOnly);
        return call.end(CKR_FUNCTION_FAILED);
    }
    if is_full(&call, slot, writes) {
        return call.end(CKR_SESSION_COUNT);
    }
    let answer = real!(call, C_OpenSession(slot, flags, application, notify, place));
    // SAFETY: the real module has filled the caller's place, or it is null.
    if let (true, Some(handle)) = (is_ok(answer), unsafe { place.as_ref() }) {
        call.context.application().opened(*handle, slot, writes);
    }
    call.end(answer)
}

/// Whether there is no session left; counts where it is so.
fn is_full(call: &Call, slot: CK_SLOT_ID, writes: bool) -> bool {
    let (open, writing) = call.context.application().count(slot);
    let reached = |count: usize, limit: u32| u32::try_from(count).is_ok_and(|c| c >= limit);
    let full = call.states().map(|(_, state)| state).find(|state| match state {
        State::Sessions { all, writing: limit } => {
            reached(open, *all) || (writes && reached(writing, *limit))
        }
        _ => false,
    });
    if let Some(state) = full {
        call.injected(state);
    }
    full.is_some()
}

/// `C_CloseSession`: also of one that is dead.
pub(crate) unsafe fn close(session: CK_SESSION_HANDLE) -> CK_RV {
    let call = match Call::begin(Function::C_CloseSession, Place::Session(session)) {
        Ok(call) => call,
        Err(code) => return code,
    };
    let answer = real!(call, C_CloseSession(session));
    if is_ok(answer) {
        call.context.application().closed(session);
    }
    call.end(answer)
}

/// `C_CloseAllSessions`.
pub(crate) unsafe fn close_all(slot: CK_SLOT_ID) -> CK_RV {
    let call = match Call::begin(Function::C_CloseAllSessions, Place::Slot) {
        Ok(call) => call,
        Err(code) => return code,
    };
    let answer = real!(call, C_CloseAllSessions(slot));
    if is_ok(answer) {
        call.context.application().closed_all(slot);
    }
    call.end(answer)
}

/// `C_Login`: counted by its outcome; a locked PIN is not even tried.
pub(crate) unsafe fn log_in(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    length: CK_ULONG,
) -> CK_RV {
    // SAFETY: the arguments are those of the caller.
    let answer = unsafe { judged(session, user, pin, length) };
    if user != CKU_USER {
        return answer;
    }
    let context = Context::get();
    let outcome = LogIn::of(answer);
    context.tally.logged_in(outcome);
    let running = context.running();
    for (line, _) in running.states().filter(|(_, state)| matches!(state, State::PinTries(_))) {
        let wrong = running.wrong_pins(line);
        match outcome {
            LogIn::Right => wrong.store(0, SeqCst),
            LogIn::Wrong => drop(wrong.fetch_add(1, SeqCst)),
            LogIn::Locked | LogIn::Already | LogIn::Failed => {}
        }
    }
    answer
}

unsafe fn judged(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    length: CK_ULONG,
) -> CK_RV {
    let call = match Call::begin(Function::C_Login, Place::Session(session)) {
        Ok(call) => call,
        Err(code) => return code,
    };
    let locked = call.states().find(|(line, state)| match state {
        State::PinTries(tries) => call.running.wrong_pins(*line).load(SeqCst) >= (*tries).into(),
        _ => false,
    });
    if let (Some((_, state)), CKU_USER) = (locked, user) {
        call.injected(state);
        return call.end(CKR_PIN_LOCKED);
    }
    let answer = real!(call, C_Login(session, user, pin, length));
    if is_ok(answer) {
        call.context.application().logged_out = false;
    }
    call.end(answer)
}
