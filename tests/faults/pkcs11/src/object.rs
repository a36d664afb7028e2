//! Functions about objects: what is found, and what is read of it.

use std::ffi::c_void;
use std::ptr;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_OBJECT_CLASS, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_ULONG,
    CK_UNAVAILABLE_INFORMATION, CKA_ALWAYS_AUTHENTICATE, CKA_CLASS, CKA_EC_POINT, CKA_LABEL,
    CKF_SERIAL_SESSION, CKO_PRIVATE_KEY, CKR_BUFFER_TOO_SMALL, CKR_OK,
};

use crate::call::{Call, Place, is_ok, real};
use crate::context::refuse;
use crate::function::Function;
use crate::names::AttributeName;
use crate::script::{Act, State};

/// `C_FindObjectsInit`: the class that is looked for is remembered.
pub(crate) unsafe fn search(
    session: CK_SESSION_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    let call = match Call::begin(Function::C_FindObjectsInit, Place::Session(session)) {
        Ok(call) => call,
        Err(code) => return code,
    };
    let answer = real!(call, C_FindObjectsInit(session, template, count));
    if is_ok(answer) {
        // SAFETY: the real module has accepted the template.
        let class = unsafe { items(template, count) }.iter().find(|it| it.type_ == CKA_CLASS);
        // SAFETY: the value of this attribute is a class, wherever it lies.
        let class = class.map(|it| unsafe { it.pValue.cast::<CK_OBJECT_CLASS>().read_unaligned() });
        call.context.application().note(session, |session| session.class = class);
    }
    call.end(answer)
}

/// `C_FindObjects`: what the token has, nothing, or another object.
pub(crate) unsafe fn find(
    session: CK_SESSION_HANDLE,
    objects: *mut CK_OBJECT_HANDLE,
    room: CK_ULONG,
    count: *mut CK_ULONG,
) -> CK_RV {
    let call = match Call::begin(Function::C_FindObjects, Place::Session(session)) {
        Ok(call) => call,
        Err(code) => return code,
    };
    let answer = real!(call, C_FindObjects(session, objects, room, count));
    // SAFETY: the real module has filled the caller's place, or it is null.
    if let (true, Some(count)) = (is_ok(answer), unsafe { count.as_mut() }) {
        match call.act() {
            Some(Act::Nothing) => *count = 0,
            Some(Act::Object(label)) if *count > 0 => {
                let class = call.context.application().session(session).and_then(|it| it.class);
                let class = class.unwrap_or(CKO_PRIVATE_KEY);
                let beside = Beside::open(&call, session);
                // SAFETY: at least one object fits, or none would have been found.
                unsafe { *objects = beside.object(class, label) };
                *count = 1;
            }
            _ => {}
        }
    }
    call.end(answer)
}

/// `C_GetAttributeValue`: what the object has, or garbage; points and log-ins as the script says.
pub(crate) unsafe fn attributes(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    let place = Place::Session(session);
    // SAFETY: the template is the caller's.
    let asks_lengths = unsafe { items(template, count) }.iter().all(|item| item.pValue.is_null());
    let begun = if asks_lengths {
        Call::question(Function::C_GetAttributeValue, place)
    } else {
        Call::begin(Function::C_GetAttributeValue, place)
    };
    let call = match begun {
        Ok(call) => call,
        Err(code) => return code,
    };
    let is = |wanted: State| call.states().any(|(_, state)| state == wanted);
    let mut answer = CKR_OK;
    if is(State::RawPoint) {
        // SAFETY: the template is the caller's.
        for item in unsafe { items(template, count) } {
            // Each for itself: the real module would refuse a point that has room for itself alone.
            let code = if item.type_ == CKA_EC_POINT {
                if !asks_lengths {
                    call.injected(State::RawPoint);
                }
                raw_point(&call, session, object, item)
            } else {
                real!(call, C_GetAttributeValue(session, object, ptr::from_mut(item), 1))
            };
            answer = if is_ok(code) { answer } else { code };
        }
    } else {
        answer = real!(call, C_GetAttributeValue(session, object, template, count));
    }
    // SAFETY: the template is the caller's.
    for item in unsafe { items(template, count) } {
        let type_ = item.type_;
        // SAFETY: the item has been answered.
        let value = unsafe { value(item) };
        let garbage = match call.act() {
            Some(Act::Garbage) => true,
            Some(Act::GarbageOf(name)) => *name == AttributeName(type_),
            _ => false,
        };
        if garbage {
            let random = call.random();
            value
                .iter_mut()
                .zip(random)
                .for_each(|(byte, random)| [*byte, ..] = random.to_ne_bytes());
        } else if let (CKA_ALWAYS_AUTHENTICATE, [says]) = (type_, value)
            && is(State::AlwaysAuthenticate)
        {
            call.injected(State::AlwaysAuthenticate);
            *says = 1;
        }
    }
    call.end(answer)
}

/// Answers an item with the point alone, as some modules do.
fn raw_point(
    call: &Call,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    item: &mut CK_ATTRIBUTE,
) -> CK_RV {
    let mut point = [0_u8; 512];
    let mut whole =
        CK_ATTRIBUTE { type_: CKA_EC_POINT, pValue: point.as_mut_ptr().cast(), ulValueLen: 512 };
    let answer = real!(call, C_GetAttributeValue(session, object, &raw mut whole, 1));
    let room = item.ulValueLen;
    item.ulValueLen = CK_UNAVAILABLE_INFORMATION;
    if !is_ok(answer) {
        return answer;
    }
    let length = usize::try_from(whole.ulValueLen).unwrap_or_default();
    let bare = match point.get(..length).unwrap_or_default() {
        // OCTET STRING with a length of one byte, and of two.
        [0x04, length, bare @ ..] if bare.len() == usize::from(*length) => bare,
        [0x04, 0x81, length, bare @ ..] if bare.len() == usize::from(*length) => bare,
        bare => bare,
    };
    let length = CK_ULONG::try_from(bare.len()).unwrap_or(CK_ULONG::MAX);
    if !item.pValue.is_null() {
        if room < length {
            return CKR_BUFFER_TOO_SMALL;
        }
        // SAFETY: the caller has room for so many bytes.
        unsafe { ptr::copy_nonoverlapping(bare.as_ptr(), item.pValue.cast(), bare.len()) };
    }
    item.ulValueLen = length;
    CKR_OK
}

/// The items of a template.
///
/// # Safety
/// It must have so many, or be null.
unsafe fn items<'a>(template: *mut CK_ATTRIBUTE, count: CK_ULONG) -> &'a mut [CK_ATTRIBUTE] {
    let count = usize::try_from(count).unwrap_or_default();
    if template.is_null() || count == 0 {
        return &mut [];
    }
    // SAFETY: as promised.
    unsafe { std::slice::from_raw_parts_mut(template, count) }
}

/// The bytes of an item that was answered; none where only the length was, or nothing.
///
/// # Safety
/// A length that is not "unavailable" must be that of the value, unless there is no value.
unsafe fn value(item: &mut CK_ATTRIBUTE) -> &mut [u8] {
    if item.pValue.is_null() || item.ulValueLen == CK_UNAVAILABLE_INFORMATION {
        return &mut [];
    }
    let length = usize::try_from(item.ulValueLen).unwrap_or_default();
    // SAFETY: as promised.
    unsafe { std::slice::from_raw_parts_mut(item.pValue.cast(), length) }
}

/// A session of the module's own beside the caller's, to do what the caller's session cannot just now.
pub(crate) struct Beside<'a> {
    call: &'a Call,
    pub(crate) session: CK_SESSION_HANDLE,
}

impl<'a> Beside<'a> {
    /// Opens one with the slot of the caller's; where the token has none left, the test cannot go on.
    pub(crate) fn open(call: &'a Call, of: CK_SESSION_HANDLE) -> Self {
        let slot = call.context.application().session(of).map(|session| session.slot);
        let slot = slot.unwrap_or_else(|| refuse("a session that nobody has opened is used"));
        let (flags, mut session) = (CKF_SERIAL_SESSION, 0);
        let nobody: *mut c_void = ptr::null_mut();
        let answer = real!(call, C_OpenSession(slot, flags, nobody, None, &raw mut session));
        expect(answer, "a session for another object");
        Self { call, session }
    }

    /// The object with this label; a script that names none that is there is wrong.
    pub(crate) fn object(&self, class: CK_OBJECT_CLASS, label: &str) -> CK_OBJECT_HANDLE {
        let mut class = class;
        let attribute = |type_, value: *mut c_void, length: usize| CK_ATTRIBUTE {
            type_,
            pValue: value,
            ulValueLen: CK_ULONG::try_from(length).unwrap_or(CK_ULONG::MAX),
        };
        let mut template = [
            attribute(CKA_CLASS, (&raw mut class).cast(), size_of::<CK_OBJECT_CLASS>()),
            attribute(CKA_LABEL, label.as_ptr().cast_mut().cast(), label.len()),
        ];
        let (session, first) = (self.session, template.as_mut_ptr());
        expect(real!(self.call, C_FindObjectsInit(session, first, 2)), "a search");
        let (mut object, mut count) = (0, 0);
        let found = real!(self.call, C_FindObjects(session, &raw mut object, 1, &raw mut count));
        expect(found, "a search");
        expect(real!(self.call, C_FindObjectsFinal(session)), "a search");
        if count == 0 {
            refuse(&format!("the script names \"{label}\", and the token has no such object"));
        }
        object
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        let session = self.session;
        let _ = real!(self.call, C_CloseSession(session));
    }
}

/// Ends the process where the token does not do what a fault needs.
pub(crate) fn expect(answer: CK_RV, what: &str) {
    if !is_ok(answer) {
        refuse(&format!("{what}: the real module says {answer:#x}"));
    }
}
