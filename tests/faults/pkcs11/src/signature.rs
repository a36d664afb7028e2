//! Functions about signatures: made by the real module, then altered as the script says.

use std::ffi::c_void;
use std::ptr;

use cryptoki_sys::{
    CK_BYTE, CK_MECHANISM, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_ULONG, CKO_PRIVATE_KEY,
    CKR_BUFFER_TOO_SMALL, CKR_MECHANISM_INVALID,
};

use crate::call::{Call, Place, is_ok, real};
use crate::context::refuse;
use crate::function::Function;
use crate::object::{Beside, expect};
use crate::script::Act;
use crate::slot;

/// Longest signature of another key: more than RSA with 16,384 bits.
const SIGNATURE_BYTES_MAX: usize = 4096;

/// `C_SignInit`: the mechanism is remembered, for another key to sign with.
pub(crate) unsafe fn begin(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    let call = match Call::begin(Function::C_SignInit, Place::Session(session)) {
        Ok(call) => call,
        Err(code) => return code,
    };
    // SAFETY: the caller's mechanism, or null to cancel.
    let wanted = unsafe { mechanism.as_ref() };
    if wanted.is_some_and(|wanted| slot::lacks(&call, wanted.mechanism)) {
        return call.end(CKR_MECHANISM_INVALID);
    }
    let answer = real!(call, C_SignInit(session, mechanism, key));
    if let (true, Some(wanted)) = (is_ok(answer), wanted) {
        // SAFETY: the real module has accepted the mechanism.
        let remembered = (wanted.mechanism, unsafe { parameter(wanted) });
        let mut application = call.context.application();
        application.note(session, |session| session.mechanism = Some(remembered));
    }
    call.end(answer)
}

/// `C_Sign`: the signature of the key, or what the script makes of it.
pub(crate) unsafe fn sign(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_bytes: CK_ULONG,
    signature: *mut CK_BYTE,
    signature_bytes: *mut CK_ULONG,
) -> CK_RV {
    let place = Place::Session(session);
    // SAFETY: the caller's place, or null.
    let length = unsafe { signature_bytes.as_mut() };
    let Some(length) = length.filter(|_| !signature.is_null()) else {
        let call = match Call::question(Function::C_Sign, place) {
            Ok(call) => call,
            Err(code) => return code,
        };
        let answer = real!(call, C_Sign(session, data, data_bytes, signature, signature_bytes));
        // SAFETY: the caller's place, or null.
        if let (true, Some(length)) = (is_ok(answer), unsafe { signature_bytes.as_mut() }) {
            *length += CK_ULONG::from(call.running.has_long);
        }
        return answer;
    };
    // SAFETY: the caller's data.
    let bytes = unsafe { slice(data, data_bytes) };
    let call = match Call::about(Function::C_Sign, place, bytes) {
        Ok(call) => call,
        Err(code) => return code,
    };
    let room = *length;
    if call.act() == Some(&Act::Long) {
        let mut needed: CK_ULONG = 0;
        let nowhere = ptr::null_mut();
        let answer = real!(call, C_Sign(session, data, data_bytes, nowhere, &raw mut needed));
        if is_ok(answer) && room <= needed {
            *length = needed + 1;
            return CKR_BUFFER_TOO_SMALL;
        }
    }
    let answer = real!(call, C_Sign(session, data, data_bytes, signature, ptr::from_mut(length)));
    if is_ok(answer) {
        // SAFETY: the caller has so much room.
        let bytes = unsafe { slice(signature, room) };
        let data = Data { session, bytes: data, count: data_bytes };
        *length = alter(&call, bytes, *length, &data);
    }
    call.end(answer)
}

/// What was signed, and in which session.
struct Data {
    session: CK_SESSION_HANDLE,
    bytes: *mut CK_BYTE,
    count: CK_ULONG,
}

/// Alters a signature of this length in a buffer that may be longer; gives its new length.
fn alter(call: &Call, buffer: &mut [u8], length: CK_ULONG, data: &Data) -> CK_ULONG {
    let whole = usize::try_from(length).unwrap_or_default();
    let mut random = call.random();
    let mut fill = |bytes: &mut [u8]| {
        for (byte, random) in bytes.iter_mut().zip(&mut random) {
            [*byte, ..] = random.to_ne_bytes();
        }
    };
    match call.act() {
        Some(Act::Garbage) => fill(buffer.get_mut(..whole).unwrap_or_default()),
        Some(Act::Short) => return length.saturating_sub(1),
        Some(Act::Empty) => return 0,
        Some(Act::Long) => {
            fill(buffer.get_mut(whole..=whole).unwrap_or_default());
            return length + 1;
        }
        Some(Act::Flip(bit)) => {
            let bits = length.saturating_mul(8).max(1);
            let any = || call.random().next().unwrap_or_default();
            let bit = bit.map_or_else(any, u64::from) % bits;
            let byte = usize::try_from(bit / 8).ok().and_then(|byte| buffer.get_mut(byte));
            if let Some(byte) = byte {
                *byte ^= 1 << (bit % 8);
            }
        }
        Some(Act::SignedBy(label)) => {
            let other = other_signature(call, data, label);
            let Some(place) = buffer.get_mut(..other.len()) else {
                refuse(&format!("a signature of \"{label}\" does not fit the caller's buffer"));
            };
            place.copy_from_slice(&other);
            return CK_ULONG::try_from(other.len()).unwrap_or(length);
        }
        _ => {}
    }
    length
}

/// What another key signs, with the same mechanism and over the same data.
fn other_signature(call: &Call, data: &Data, label: &str) -> Vec<u8> {
    let known = call.context.application().session(data.session).cloned();
    let Some((mechanism, mut parameter)) = known.and_then(|session| session.mechanism) else {
        refuse("a signature was made that was not begun");
    };
    let beside = Beside::open(call, data.session);
    let key = beside.object(CKO_PRIVATE_KEY, label);
    let pointer: *mut c_void =
        if parameter.is_empty() { ptr::null_mut() } else { parameter.as_mut_ptr().cast() };
    let mut mechanism = CK_MECHANISM {
        mechanism,
        pParameter: pointer,
        ulParameterLen: CK_ULONG::try_from(parameter.len()).unwrap_or_default(),
    };
    let session = beside.session;
    expect(real!(call, C_SignInit(session, &raw mut mechanism, key)), "another key");
    let mut signature = vec![0; SIGNATURE_BYTES_MAX];
    let mut length = CK_ULONG::try_from(SIGNATURE_BYTES_MAX).unwrap_or_default();
    let place = signature.as_mut_ptr();
    let answer = real!(call, C_Sign(session, data.bytes, data.count, place, &raw mut length));
    expect(answer, "another key");
    signature.truncate(usize::try_from(length).unwrap_or_default());
    signature
}

/// A copy of the bytes that a mechanism's parameter has; those of signatures point nowhere else.
///
/// # Safety
/// The parameter must have as many bytes as it says.
unsafe fn parameter(mechanism: &CK_MECHANISM) -> Vec<u8> {
    // SAFETY: as promised.
    unsafe { slice(mechanism.pParameter.cast(), mechanism.ulParameterLen) }.to_vec()
}

/// # Safety
/// There must be so many bytes, or none at null.
unsafe fn slice<'a>(first: *mut CK_BYTE, count: CK_ULONG) -> &'a mut [u8] {
    let count = usize::try_from(count).unwrap_or_default();
    if first.is_null() || count == 0 {
        return &mut [];
    }
    // SAFETY: as promised.
    unsafe { std::slice::from_raw_parts_mut(first, count) }
}
