//! The functions as the loader sees them: one for each, and the lists that hand them out.
//!
//! Most do nothing of their own: the script is asked, then the real module. The others are written where
//! they belong: [`module`], [`slot`], [`session`], [`object`], [`signature`]. The letters that arguments
//! are called by mean nothing; the standard has their names.

#![expect(non_snake_case, reason = "the names of the standard")]

use std::ffi::c_void;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BBOOL, CK_BYTE, CK_FLAGS, CK_FUNCTION_LIST, CK_FUNCTION_LIST_3_0, CK_INFO,
    CK_MECHANISM, CK_MECHANISM_INFO, CK_MECHANISM_TYPE, CK_NOTIFY, CK_OBJECT_HANDLE, CK_RV,
    CK_SESSION_HANDLE, CK_SESSION_INFO, CK_SLOT_ID, CK_SLOT_INFO, CK_TOKEN_INFO, CK_ULONG,
    CK_USER_TYPE, CK_UTF8CHAR, CK_VERSION,
};

use crate::call::{Call, Place, real};
use crate::function::{Function, with_functions};
use crate::{get_function_list, get_interface, get_interface_list};
use crate::{module, object, session, signature, slot};

/// Functions that are forwarded as they are.
macro_rules! plain {
    ($($name:ident($first:ident: $type:ty $(, $other:ident: $others:ty)*) at $place:expr;)*) => {$(
        unsafe extern "C" fn $name($first: $type $(, $other: $others)*) -> CK_RV {
            let place = $place;
            match Call::begin(Function::$name, place) {
                Ok(call) => call.end(real!(call, $name($first $(, $other)*))),
                Err(code) => code,
            }
        }
    )*};
}

/// Functions that are written elsewhere.
macro_rules! elsewhere {
    ($($name:ident($($argument:ident: $type:ty),*) by $function:path;)*) => {$(
        unsafe extern "C" fn $name($($argument: $type),*) -> CK_RV {
            // SAFETY: the caller's promise about the arguments is passed on.
            unsafe { $function($($argument),*) }
        }
    )*};
}

plain! {
    C_GetInfo(a: *mut CK_INFO) at Place::Module;
    C_InitToken(
        slot: CK_SLOT_ID, b: *mut CK_UTF8CHAR, c: CK_ULONG, d: *mut CK_UTF8CHAR
    ) at Place::Slot;
    C_InitPIN(
        session: CK_SESSION_HANDLE, b: *mut CK_UTF8CHAR, c: CK_ULONG) at Place::Session(session
    );
    C_SetPIN(
        session: CK_SESSION_HANDLE, b: *mut CK_UTF8CHAR, c: CK_ULONG, d: *mut CK_UTF8CHAR,
        e: CK_ULONG) at Place::Session(session
    );
    C_GetSessionInfo(
        session: CK_SESSION_HANDLE, b: *mut CK_SESSION_INFO) at Place::Session(session
    );
    C_GetOperationState(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG) at Place::Session(session
    );
    C_SetOperationState(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: CK_OBJECT_HANDLE,
        e: CK_OBJECT_HANDLE) at Place::Session(session
    );
    C_Logout(session: CK_SESSION_HANDLE) at Place::Session(session);
    C_CreateObject(
        session: CK_SESSION_HANDLE, b: *mut CK_ATTRIBUTE, c: CK_ULONG,
        d: *mut CK_OBJECT_HANDLE) at Place::Session(session
    );
    C_CopyObject(
        session: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG,
        e: *mut CK_OBJECT_HANDLE) at Place::Session(session
    );
    C_DestroyObject(session: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE) at Place::Session(session);
    C_GetObjectSize(
        session: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE,
        c: *mut CK_ULONG) at Place::Session(session
    );
    C_SetAttributeValue(
        session: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE,
        d: CK_ULONG) at Place::Session(session
    );
    C_FindObjectsFinal(session: CK_SESSION_HANDLE) at Place::Session(session);
    C_EncryptInit(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM,
        c: CK_OBJECT_HANDLE) at Place::Session(session
    );
    C_Encrypt(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE,
        e: *mut CK_ULONG) at Place::Session(session
    );
    C_EncryptUpdate(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE,
        e: *mut CK_ULONG) at Place::Session(session
    );
    C_EncryptFinal(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG) at Place::Session(session
    );
    C_DecryptInit(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM,
        c: CK_OBJECT_HANDLE) at Place::Session(session
    );
    C_Decrypt(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE,
        e: *mut CK_ULONG) at Place::Session(session
    );
    C_DecryptUpdate(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE,
        e: *mut CK_ULONG) at Place::Session(session
    );
    C_DecryptFinal(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG) at Place::Session(session
    );
    C_DigestInit(session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM) at Place::Session(session);
    C_Digest(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE,
        e: *mut CK_ULONG) at Place::Session(session
    );
    C_DigestUpdate(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG) at Place::Session(session
    );
    C_DigestKey(session: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE) at Place::Session(session);
    C_DigestFinal(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG) at Place::Session(session
    );
    C_SignUpdate(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG) at Place::Session(session
    );
    C_SignFinal(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG) at Place::Session(session
    );
    C_SignRecoverInit(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM,
        c: CK_OBJECT_HANDLE) at Place::Session(session
    );
    C_SignRecover(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE,
        e: *mut CK_ULONG) at Place::Session(session
    );
    C_VerifyInit(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM,
        c: CK_OBJECT_HANDLE) at Place::Session(session
    );
    C_Verify(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE,
        e: CK_ULONG) at Place::Session(session
    );
    C_VerifyUpdate(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG) at Place::Session(session
    );
    C_VerifyFinal(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG) at Place::Session(session
    );
    C_VerifyRecoverInit(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM,
        c: CK_OBJECT_HANDLE) at Place::Session(session
    );
    C_VerifyRecover(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE,
        e: *mut CK_ULONG) at Place::Session(session
    );
    C_DigestEncryptUpdate(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE,
        e: *mut CK_ULONG) at Place::Session(session
    );
    C_DecryptDigestUpdate(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE,
        e: *mut CK_ULONG) at Place::Session(session
    );
    C_SignEncryptUpdate(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE,
        e: *mut CK_ULONG) at Place::Session(session
    );
    C_DecryptVerifyUpdate(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE,
        e: *mut CK_ULONG) at Place::Session(session
    );
    C_GenerateKey(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: *mut CK_ATTRIBUTE, d: CK_ULONG,
        e: *mut CK_OBJECT_HANDLE) at Place::Session(session
    );
    C_GenerateKeyPair(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: *mut CK_ATTRIBUTE, d: CK_ULONG,
        e: *mut CK_ATTRIBUTE, f: CK_ULONG, g: *mut CK_OBJECT_HANDLE,
        h: *mut CK_OBJECT_HANDLE) at Place::Session(session
    );
    C_WrapKey(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE, d: CK_OBJECT_HANDLE,
        e: *mut CK_BYTE, f: *mut CK_ULONG) at Place::Session(session
    );
    C_UnwrapKey(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE, d: *mut CK_BYTE,
        e: CK_ULONG, f: *mut CK_ATTRIBUTE, g: CK_ULONG,
        h: *mut CK_OBJECT_HANDLE) at Place::Session(session
    );
    C_DeriveKey(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE,
        d: *mut CK_ATTRIBUTE, e: CK_ULONG, f: *mut CK_OBJECT_HANDLE) at Place::Session(session
    );
    C_SeedRandom(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG) at Place::Session(session
    );
    C_GenerateRandom(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG) at Place::Session(session
    );
    C_GetFunctionStatus(session: CK_SESSION_HANDLE) at Place::Session(session);
    C_CancelFunction(session: CK_SESSION_HANDLE) at Place::Session(session);
    C_LoginUser(
        session: CK_SESSION_HANDLE, b: CK_USER_TYPE, c: *mut CK_UTF8CHAR, d: CK_ULONG,
        e: *mut CK_UTF8CHAR, f: CK_ULONG) at Place::Session(session
    );
    C_SessionCancel(session: CK_SESSION_HANDLE, b: CK_FLAGS) at Place::Session(session);
    C_MessageEncryptInit(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM,
        c: CK_OBJECT_HANDLE) at Place::Session(session
    );
    C_EncryptMessage(
        session: CK_SESSION_HANDLE, b: *mut c_void, c: CK_ULONG, d: *mut CK_BYTE, e: CK_ULONG,
        f: *mut CK_BYTE, g: CK_ULONG, h: *mut CK_BYTE, i: *mut CK_ULONG) at Place::Session(session
    );
    C_EncryptMessageBegin(
        session: CK_SESSION_HANDLE, b: *mut c_void, c: CK_ULONG, d: *mut CK_BYTE,
        e: CK_ULONG) at Place::Session(session
    );
    C_EncryptMessageNext(
        session: CK_SESSION_HANDLE, b: *mut c_void, c: CK_ULONG, d: *mut CK_BYTE, e: CK_ULONG,
        f: *mut CK_BYTE, g: *mut CK_ULONG, h: CK_FLAGS) at Place::Session(session
    );
    C_MessageEncryptFinal(session: CK_SESSION_HANDLE) at Place::Session(session);
    C_MessageDecryptInit(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM,
        c: CK_OBJECT_HANDLE) at Place::Session(session
    );
    C_DecryptMessage(
        session: CK_SESSION_HANDLE, b: *mut c_void, c: CK_ULONG, d: *mut CK_BYTE, e: CK_ULONG,
        f: *mut CK_BYTE, g: CK_ULONG, h: *mut CK_BYTE, i: *mut CK_ULONG) at Place::Session(session
    );
    C_DecryptMessageBegin(
        session: CK_SESSION_HANDLE, b: *mut c_void, c: CK_ULONG, d: *mut CK_BYTE,
        e: CK_ULONG) at Place::Session(session
    );
    C_DecryptMessageNext(
        session: CK_SESSION_HANDLE, b: *mut c_void, c: CK_ULONG, d: *mut CK_BYTE, e: CK_ULONG,
        f: *mut CK_BYTE, g: *mut CK_ULONG, h: CK_FLAGS) at Place::Session(session
    );
    C_MessageDecryptFinal(session: CK_SESSION_HANDLE) at Place::Session(session);
    C_MessageSignInit(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM,
        c: CK_OBJECT_HANDLE) at Place::Session(session
    );
    C_SignMessage(
        session: CK_SESSION_HANDLE, b: *mut c_void, c: CK_ULONG, d: *mut CK_BYTE, e: CK_ULONG,
        f: *mut CK_BYTE, g: *mut CK_ULONG) at Place::Session(session
    );
    C_SignMessageBegin(
        session: CK_SESSION_HANDLE, b: *mut c_void, c: CK_ULONG) at Place::Session(session
    );
    C_SignMessageNext(
        session: CK_SESSION_HANDLE, b: *mut c_void, c: CK_ULONG, d: *mut CK_BYTE, e: CK_ULONG,
        f: *mut CK_BYTE, g: *mut CK_ULONG) at Place::Session(session
    );
    C_MessageSignFinal(session: CK_SESSION_HANDLE) at Place::Session(session);
    C_MessageVerifyInit(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM,
        c: CK_OBJECT_HANDLE) at Place::Session(session
    );
    C_VerifyMessage(
        session: CK_SESSION_HANDLE, b: *mut c_void, c: CK_ULONG, d: *mut CK_BYTE, e: CK_ULONG,
        f: *mut CK_BYTE, g: CK_ULONG) at Place::Session(session
    );
    C_VerifyMessageBegin(
        session: CK_SESSION_HANDLE, b: *mut c_void, c: CK_ULONG) at Place::Session(session
    );
    C_VerifyMessageNext(
        session: CK_SESSION_HANDLE, b: *mut c_void, c: CK_ULONG, d: *mut CK_BYTE, e: CK_ULONG,
        f: *mut CK_BYTE, g: CK_ULONG) at Place::Session(session
    );
    C_MessageVerifyFinal(session: CK_SESSION_HANDLE) at Place::Session(session);
}

elsewhere! {
    C_Initialize(a: *mut c_void) by module::initialize;
    C_Finalize(a: *mut c_void) by module::finalize;
    C_GetSlotList(a: CK_BBOOL, b: *mut CK_SLOT_ID, c: *mut CK_ULONG) by slot::slot_list;
    C_GetSlotInfo(slot: CK_SLOT_ID, b: *mut CK_SLOT_INFO) by slot::slot_info;
    C_GetTokenInfo(slot: CK_SLOT_ID, b: *mut CK_TOKEN_INFO) by slot::token_info;
    C_GetMechanismList(
        slot: CK_SLOT_ID, b: *mut CK_MECHANISM_TYPE, c: *mut CK_ULONG
    ) by slot::mechanism_list;
    C_GetMechanismInfo(
        slot: CK_SLOT_ID, b: CK_MECHANISM_TYPE, c: *mut CK_MECHANISM_INFO
    ) by slot::mechanism_info;
    C_OpenSession(
        slot: CK_SLOT_ID, b: CK_FLAGS, c: *mut c_void, d: CK_NOTIFY, e: *mut CK_SESSION_HANDLE
    ) by session::open;
    C_CloseSession(session: CK_SESSION_HANDLE) by session::close;
    C_CloseAllSessions(slot: CK_SLOT_ID) by session::close_all;
    C_Login(
        session: CK_SESSION_HANDLE, b: CK_USER_TYPE, c: *mut CK_UTF8CHAR, d: CK_ULONG
    ) by session::log_in;
    C_GetAttributeValue(
        session: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG
    ) by object::attributes;
    C_FindObjectsInit(
        session: CK_SESSION_HANDLE, b: *mut CK_ATTRIBUTE, c: CK_ULONG
    ) by object::search;
    C_FindObjects(
        session: CK_SESSION_HANDLE, b: *mut CK_OBJECT_HANDLE, c: CK_ULONG, d: *mut CK_ULONG
    ) by object::find;
    C_SignInit(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE
    ) by signature::begin;
    C_Sign(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE,
        e: *mut CK_ULONG
    ) by signature::sign;
    C_WaitForSlotEvent(
        a: CK_FLAGS, b: *mut CK_SLOT_ID, c: *mut c_void
    ) by module::wait_for_slot_event;
}

macro_rules! lists {
    ([$($old:ident)*] [$($new:ident)*]) => {
        /// The functions of version 2.40.
        pub(crate) static LIST: CK_FUNCTION_LIST = CK_FUNCTION_LIST {
            version: CK_VERSION { major: 2, minor: 40 },
            C_GetFunctionList: Some(get_function_list),
            $($old: Some($old),)*
        };

        /// The functions of version 3.0.
        pub(crate) static LIST_3: CK_FUNCTION_LIST_3_0 = CK_FUNCTION_LIST_3_0 {
            version: CK_VERSION { major: 3, minor: 0 },
            C_GetFunctionList: Some(get_function_list),
            C_GetInterfaceList: Some(get_interface_list),
            C_GetInterface: Some(get_interface),
            $($old: Some($old),)*
            $($new: Some($new),)*
        };
    };
}
with_functions!(lists);
