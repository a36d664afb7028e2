//! Functions about slots and tokens: what is there, and what it is like.

use std::ptr;
use std::sync::atomic::Ordering::SeqCst;

use cryptoki_sys::{
    CK_BBOOL, CK_FLAGS, CK_MECHANISM_INFO, CK_MECHANISM_TYPE, CK_RV, CK_SLOT_ID, CK_SLOT_INFO,
    CK_TOKEN_INFO, CK_ULONG, CKF_TOKEN_PRESENT, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY,
    CKF_USER_PIN_LOCKED, CKR_ARGUMENTS_BAD, CKR_BUFFER_TOO_SMALL, CKR_MECHANISM_INVALID, CKR_OK,
};

use crate::call::{Call, Place, is_ok, real};
use crate::function::Function;
use crate::names::Mechanism;
use crate::script::{Act, State};
use crate::tally;

/// `C_GetSlotList`: no slot has a token that is away.
pub(crate) unsafe fn slot_list(
    present: CK_BBOOL,
    list: *mut CK_SLOT_ID,
    count: *mut CK_ULONG,
) -> CK_RV {
    let call = match Call::begin(Function::C_GetSlotList, Place::Module) {
        Ok(call) => call,
        Err(code) => return code,
    };
    if present != 0 && call.is_away() {
        call.context.tally.injected(call.function, tally::AWAY);
        // SAFETY: the caller's places for the answer.
        return call.end(unsafe { deliver(&[], list, count) });
    }
    call.end(real!(call, C_GetSlotList(present, list, count)))
}

/// `C_GetSlotInfo`: the slot stays where it is.
pub(crate) unsafe fn slot_info(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) -> CK_RV {
    let call = match Call::begin(Function::C_GetSlotInfo, Place::Module) {
        Ok(call) => call,
        Err(code) => return code,
    };
    let answer = real!(call, C_GetSlotInfo(slot, info));
    // SAFETY: the real module has filled the caller's place, or it is null.
    if let (true, Some(info)) = (is_ok(answer) && call.is_away(), unsafe { info.as_mut() }) {
        call.context.tally.injected(call.function, tally::AWAY);
        info.flags &= !CKF_TOKEN_PRESENT;
    }
    call.end(answer)
}

/// `C_GetTokenInfo`: with the flags and limits that the script says.
pub(crate) unsafe fn token_info(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    let call = match Call::begin(Function::C_GetTokenInfo, Place::Slot) {
        Ok(call) => call,
        Err(code) => return code,
    };
    let answer = real!(call, C_GetTokenInfo(slot, info));
    // SAFETY: the real module has filled the caller's place, or it is null.
    if let (true, Some(info)) = (is_ok(answer), unsafe { info.as_mut() }) {
        if let Some(Act::Flag(flag)) = call.act() {
            info.flags |= flag.0;
        }
        for (line, state) in call.states() {
            match state {
                State::PinTries(tries) => {
                    let wrong = call.running.wrong_pins(line).load(SeqCst);
                    // What the real token counts is not what this one does.
                    info.flags &= !PIN_FLAGS;
                    info.flags |= pin_flags(wrong, u64::from(tries));
                }
                State::Sessions { all, writing } => {
                    info.ulMaxSessionCount = all.into();
                    info.ulMaxRwSessionCount = writing.into();
                }
                _ => continue,
            }
            call.injected(state);
        }
    }
    call.end(answer)
}

const PIN_FLAGS: CK_FLAGS = CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED;

/// The flags of a token that has counted so many wrong PINs and takes so many.
fn pin_flags(wrong: u64, tries: u64) -> CK_FLAGS {
    let low = if wrong > 0 { CKF_USER_PIN_COUNT_LOW } else { 0 };
    match tries.saturating_sub(wrong) {
        0 => CKF_USER_PIN_LOCKED,
        1 => low | CKF_USER_PIN_FINAL_TRY,
        _ => low,
    }
}

/// `C_GetMechanismList`: without those that the token has not.
pub(crate) unsafe fn mechanism_list(
    slot: CK_SLOT_ID,
    list: *mut CK_MECHANISM_TYPE,
    count: *mut CK_ULONG,
) -> CK_RV {
    let call = match Call::begin(Function::C_GetMechanismList, Place::Slot) {
        Ok(call) => call,
        Err(code) => return code,
    };
    let hides = call.states().any(|(_, state)| matches!(state, State::Without(_)));
    if !hides {
        return call.end(real!(call, C_GetMechanismList(slot, list, count)));
    }
    let mut length: CK_ULONG = 0;
    let answer = real!(call, C_GetMechanismList(slot, ptr::null_mut(), &raw mut length));
    if !is_ok(answer) {
        return call.end(answer);
    }
    let mut whole = vec![0; usize::try_from(length).unwrap_or_default()];
    let answer = real!(call, C_GetMechanismList(slot, whole.as_mut_ptr(), &raw mut length));
    if !is_ok(answer) {
        return call.end(answer);
    }
    whole.truncate(usize::try_from(length).unwrap_or_default());
    whole.retain(|mechanism| !lacks(&call, *mechanism));
    // SAFETY: the caller's places for the answer.
    call.end(unsafe { deliver(&whole, list, count) })
}

/// `C_GetMechanismInfo`: nothing about one that the token has not.
pub(crate) unsafe fn mechanism_info(
    slot: CK_SLOT_ID,
    mechanism: CK_MECHANISM_TYPE,
    info: *mut CK_MECHANISM_INFO,
) -> CK_RV {
    let call = match Call::begin(Function::C_GetMechanismInfo, Place::Slot) {
        Ok(call) => call,
        Err(code) => return code,
    };
    if lacks(&call, mechanism) {
        return call.end(CKR_MECHANISM_INVALID);
    }
    call.end(real!(call, C_GetMechanismInfo(slot, mechanism, info)))
}

/// Whether the script says that the token does not know a mechanism; counts where it does.
pub(crate) fn lacks(call: &Call, mechanism: CK_MECHANISM_TYPE) -> bool {
    let state = State::Without(Mechanism(mechanism));
    let lacks = call.states().any(|(_, other)| other == state);
    if lacks {
        call.injected(state);
    }
    lacks
}

/// Gives a list out in the manner of PKCS#11: its length alone where there is no place for it.
///
/// # Safety
/// The count must be good or null, and say how many fit the list, or the list must be null.
pub(crate) unsafe fn deliver<T: Copy>(items: &[T], list: *mut T, count: *mut CK_ULONG) -> CK_RV {
    // SAFETY: the caller's place, or null.
    let Some(count) = (unsafe { count.as_mut() }) else { return CKR_ARGUMENTS_BAD };
    let room = usize::try_from(*count).unwrap_or(usize::MAX);
    *count = CK_ULONG::try_from(items.len()).unwrap_or(CK_ULONG::MAX);
    if list.is_null() {
        return CKR_OK;
    }
    if room < items.len() {
        return CKR_BUFFER_TOO_SMALL;
    }
    // SAFETY: there is room for so many, and the items are ours.
    unsafe { ptr::copy_nonoverlapping(items.as_ptr(), list, items.len()) };
    CKR_OK
}
