//! A PKCS#11 module for tests: forwards to a real one, and fails as a script says.
//!
//! ```text
//!   PKCS11_FAULTS_MODULE=REAL.so PKCS11_FAULTS_SCRIPT=SCRIPT  a program that loads libpkcs11_faults.so
//! ```
//!
//! Every function of version 2.40, and of 3.0 where the real module has them, is forwarded. The script may
//! be replaced at any time by renaming another over it, which the next call notices; a script that is
//! missing or wrong, or changed in place, ends the process with a line on standard error. Beside it lie
//! `SCRIPT.tally`, what happened so far over all scripts and processes ([`Tally`]), and one file of
//! counters, which begin at zero with each new script. Every line is tried for every process that has
//! the same script.
//!
//! ```text
//!   line      = "on" FUNCTION act condition*    lines are tried in order, until one decides the answer
//!             | "token" state [for=TIME]        what the token is like from now on
//!             | nothing, or a comment behind #
//!   FUNCTION  = the name in the standard, e.g. C_Sign | *
//!   act       = return CODE                     CODE is a name or number; the real module is not called,
//!                                               so that an operation that was begun stays active
//!             | then-return CODE                the real module is called; its result is dropped
//!             | delay TIME                      then goes on with the lines that follow
//!             | hang | abort | kill             for ever | SIGABRT | SIGKILL
//!             | log-out                         this process's user; then goes on
//!             | lose-token [back=BACK]          for=TIME says how long
//!             | cannot-lock                     C_Initialize: CKR_CANT_LOCK to who wants threads
//!             | garbage | short | long | empty | flip [BIT] | signed-by "LABEL"         C_Sign
//!             | nothing | object "LABEL"        C_FindObjects, of the class that is looked for
//!             | garbage [ATTRIBUTE]             C_GetAttributeValue
//!             | flag FLAG                       C_GetTokenInfo, e.g. CKF_USER_PIN_FINAL_TRY
//!   condition = after=N | every=N | times=N | chance=P | seed=N | for=TIME              all must hold
//!             | except=DIGEST                                                           C_Sign: of other data
//!   state     = away [back=BACK] | pin-tries N | sessions N [READ-WRITE] | without MECHANISM
//!             | read-write-only | raw-point | always-authenticate
//!   BACK      = session | initialize | process  what a process needs once the token is there again
//!   TIME      = a whole number and us, ms or s
//! ```
//!
//! A call that only asks for lengths (`C_Sign`, `C_GetAttributeValue`) is neither counted nor touched by `on`;
//! where the script has a `long`, one byte more is said, and a buffer that is too small nevertheless gets
//! `CKR_BUFFER_TOO_SMALL`. Signatures are altered where they are whole (`C_Sign`), not where they come
//! in parts. A token that is away answers `CKR_TOKEN_NOT_PRESENT` to slots and `CKR_DEVICE_REMOVED` to
//! sessions; afterwards old sessions are `CKR_SESSION_HANDLE_INVALID`. All tokens of the real module are
//! one token here, and sessions are limited for each process. For tests; it is never installed.

#![expect(
    clippy::print_stderr,
    reason = "whoever runs a test has to see why the module gave up, and has nothing else to see it by"
)]

mod application;
mod call;
mod context;
mod forward;
mod function;
mod module;
mod names;
mod object;
mod real;
mod running;
mod script;
mod session;
mod shared;
mod signature;
mod slot;
mod tally;

use std::ptr;
use std::sync::OnceLock;

use cryptoki_sys::{
    CK_FLAGS, CK_FUNCTION_LIST, CK_INTERFACE, CK_RV, CK_ULONG, CK_UTF8CHAR, CK_VERSION,
    CKR_ARGUMENTS_BAD, CKR_FUNCTION_FAILED, CKR_OK,
};

pub use function::Function;
pub use names::{AttributeName, Code, Mechanism, TokenFlag};
pub use script::{Act, Back, LINES_MAX, Line, Script, ScriptError, State, When};
pub use tally::{LogIn, Tally};

use context::Context;

/// What the only interface is called.
const INTERFACE_NAME: &[u8; 8] = b"PKCS 11\0";

/// An interface may be handed out to any thread: it never changes.
struct Interface(CK_INTERFACE);

// SAFETY: what it points at is constant.
unsafe impl Send for Interface {}
// SAFETY: as above.
unsafe impl Sync for Interface {}

/// The newest interface that the real module has, too.
fn interface() -> *mut CK_INTERFACE {
    static INTERFACE: OnceLock<Interface> = OnceLock::new();
    let interface = INTERFACE.get_or_init(|| {
        let list = if Context::get().real.is_3() {
            ptr::from_ref(&forward::LIST_3).cast_mut().cast()
        } else {
            ptr::from_ref(&forward::LIST).cast_mut().cast()
        };
        let name = INTERFACE_NAME.as_ptr().cast_mut();
        Interface(CK_INTERFACE { pInterfaceName: name, pFunctionList: list, flags: 0 })
    });
    // The standard gives out what nobody may change as if anybody might.
    ptr::from_ref(&interface.0).cast_mut()
}

/// `C_GetFunctionList`: the functions of version 2.40.
///
/// # Safety
/// As the standard demands.
#[unsafe(export_name = "C_GetFunctionList")]
pub unsafe extern "C" fn get_function_list(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    // What is missing is said here rather than at the first call.
    Context::get();
    // SAFETY: the caller's place for the answer.
    unsafe { *list = ptr::from_ref(&forward::LIST).cast_mut() };
    CKR_OK
}

/// `C_GetInterfaceList`: there is one interface.
///
/// # Safety
/// As the standard demands.
#[unsafe(export_name = "C_GetInterfaceList")]
pub unsafe extern "C" fn get_interface_list(
    list: *mut CK_INTERFACE,
    count: *mut CK_ULONG,
) -> CK_RV {
    // SAFETY: it never changes and is there for ever.
    let only = unsafe { *interface() };
    // SAFETY: the caller's places for the answer.
    unsafe { slot::deliver(&[only], list, count) }
}

/// `C_GetInterface`: the interface, if it is the one that is asked for.
///
/// # Safety
/// As the standard demands.
#[unsafe(export_name = "C_GetInterface")]
pub unsafe extern "C" fn get_interface(
    name: *mut CK_UTF8CHAR,
    version: *mut CK_VERSION,
    place: *mut *mut CK_INTERFACE,
    flags: CK_FLAGS,
) -> CK_RV {
    if place.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    let offered = interface();
    // SAFETY: a name ends with a zero byte.
    let named = name.is_null() || unsafe { std::ffi::CStr::from_ptr(name.cast()) } == c"PKCS 11";
    // SAFETY: the caller's version, or null for any.
    let wanted = unsafe { version.as_ref() };
    // SAFETY: it never changes and is there for ever.
    let list = unsafe { *offered }.pFunctionList.cast::<CK_VERSION>();
    // SAFETY: every function list begins with its version.
    let own = unsafe { *list };
    let fits = wanted.is_none_or(|it| it.major == own.major && it.minor == own.minor);
    if !named || !fits || flags != 0 {
        return CKR_FUNCTION_FAILED;
    }
    // SAFETY: the caller's place for the answer.
    unsafe { *place = offered };
    CKR_OK
}
