//! Functions of the module itself: begin, end, wait.

use std::ffi::c_void;

use cryptoki_sys::{
    CK_C_INITIALIZE_ARGS, CK_FLAGS, CK_RV, CK_SLOT_ID, CKF_OS_LOCKING_OK, CKR_CANT_LOCK,
    CKR_FUNCTION_NOT_SUPPORTED,
};

use crate::call::{Call, Place, is_ok, real};
use crate::function::Function;
use crate::script::{Act, Back};

/// `C_Initialize`: what was lost by a way back that needs it can be had again, if it is there.
pub(crate) unsafe fn initialize(arguments: *mut c_void) -> CK_RV {
    let call = match Call::begin(Function::C_Initialize, Place::Module) {
        Ok(call) => call,
        Err(code) => return code,
    };
    // SAFETY: the caller's arguments, or null.
    let wanted = unsafe { arguments.cast::<CK_C_INITIALIZE_ARGS>().as_ref() };
    let threads = wanted.is_some_and(|wanted| {
        wanted.flags & CKF_OS_LOCKING_OK != 0 || wanted.CreateMutex.is_some()
    });
    if threads && call.act() == Some(&Act::CannotLock) {
        return CKR_CANT_LOCK;
    }
    let answer = real!(call, C_Initialize(arguments));
    if is_ok(answer) {
        let away = call.running.is_away(Back::Initialize);
        let losses = call.context.tally.losses();
        call.context.application().initialized(losses, away);
    }
    call.end(answer)
}

/// `C_Finalize`: sessions and log-in end.
pub(crate) unsafe fn finalize(reserved: *mut c_void) -> CK_RV {
    let call = match Call::begin(Function::C_Finalize, Place::Module) {
        Ok(call) => call,
        Err(code) => return code,
    };
    let answer = real!(call, C_Finalize(reserved));
    if is_ok(answer) {
        call.context.application().finalized();
    }
    call.end(answer)
}

/// `C_WaitForSlotEvent`: may take for ever, so nobody else may have to wait for it.
pub(crate) unsafe fn wait_for_slot_event(
    flags: CK_FLAGS,
    slot: *mut CK_SLOT_ID,
    reserved: *mut c_void,
) -> CK_RV {
    let call = match Call::begin(Function::C_WaitForSlotEvent, Place::Module) {
        Ok(call) => call,
        Err(code) => return code,
    };
    let Some(wait) = call.context.real.list.C_WaitForSlotEvent else {
        return CKR_FUNCTION_NOT_SUPPORTED;
    };
    // SAFETY: the arguments are those of the caller.
    let answer = unsafe { wait(flags, slot, reserved) };
    call.end(answer)
}
