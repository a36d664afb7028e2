//! The real module, loaded once and never unloaded.

use std::ffi::OsStr;
use std::mem::zeroed;
use std::ptr;

use cryptoki_sys::{
    CK_C_GetFunctionList, CK_C_GetInterface, CK_FUNCTION_LIST, CK_FUNCTION_LIST_3_0, CK_INTERFACE,
    CKR_OK,
};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// Its functions; those that it does not have are absent.
pub(crate) struct Real {
    pub(crate) list: CK_FUNCTION_LIST_3_0,
}

impl Real {
    /// Loads it.
    pub(crate) fn load(path: &OsStr) -> Result<Self, String> {
        // SAFETY: a module's initialisers are its own affair, as for every user of it.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
        // Its clean-up at unloading crashes in some: it stays.
        let library = Box::leak(Box::new(library.map_err(|error| error.to_string())?));
        Ok(Self { list: newer(library).map_or_else(|| older(library), Ok)? })
    }

    /// Whether it has the functions of 3.0.
    pub(crate) const fn is_3(&self) -> bool {
        self.list.version.major >= 3
    }
}

/// The list of a module of version 3.0 or later, which begins with that of 3.0.
fn newer(library: &Library) -> Option<CK_FUNCTION_LIST_3_0> {
    // SAFETY: the standard gives this name this type.
    let symbol = unsafe { library.get::<CK_C_GetInterface>(b"C_GetInterface\0") }.ok()?;
    let ask = (*symbol)?;
    let mut interface: *mut CK_INTERFACE = ptr::null_mut();
    // SAFETY: null name and version ask for the default; the place for the answer is ours.
    let code = unsafe { ask(ptr::null_mut(), ptr::null_mut(), &raw mut interface, 0) };
    if code != CKR_OK {
        return None;
    }
    // SAFETY: a module that says CKR_OK has given null or an interface that lives as long as it does.
    let interface = unsafe { interface.as_ref() }?;
    // SAFETY: every function list begins with that of 2.40.
    let version = unsafe { interface.pFunctionList.cast::<CK_FUNCTION_LIST>().as_ref() }?.version;
    if version.major < 3 {
        return None;
    }
    // SAFETY: from version 3.0 on every list begins with that of 3.0.
    unsafe { interface.pFunctionList.cast::<CK_FUNCTION_LIST_3_0>().as_ref() }.copied()
}

/// The list of a module of version 2.40, with nothing where 3.0 has more.
fn older(library: &Library) -> Result<CK_FUNCTION_LIST_3_0, String> {
    // SAFETY: the standard gives this name this type.
    let symbol = unsafe { library.get::<CK_C_GetFunctionList>(b"C_GetFunctionList\0") };
    let ask = (*symbol.map_err(|error| error.to_string())?).ok_or("C_GetFunctionList is null")?;
    let mut list: *mut CK_FUNCTION_LIST = ptr::null_mut();
    // SAFETY: the place for the answer is ours.
    let code = unsafe { ask(&raw mut list) };
    if code != CKR_OK || list.is_null() {
        return Err(format!("C_GetFunctionList gave {code:#x}"));
    }
    // SAFETY: zero bytes are absent functions and the version 0.0.
    let mut whole: CK_FUNCTION_LIST_3_0 = unsafe { zeroed() };
    // SAFETY: the list of 3.0 begins with all of 2.40, in the same order.
    unsafe { ptr::copy_nonoverlapping(list, (&raw mut whole).cast(), 1) };
    Ok(whole)
}
