//! A key copied to a session object: some modules sign faster with one, because it needs no look at the disk.
//!
//! In goes the handle of a key of the token, out comes the handle of a copy that lives as long as its
//! session, or a fault of the configuration. A copy is made only where it is as safe as its key, and the
//! token has to say so: what it does not say counts as unsafe.

use cryptoki::error::Error;
use cryptoki::error::RvError;
use cryptoki::object::Attribute;
use cryptoki::object::AttributeType;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use super::fault::Fault;
use super::fault::brief;

/// Copies a key, and asserts that the copy is as it must be.
pub(super) fn to_session(
    session: &Session,
    key: ObjectHandle,
    subject: &str,
) -> Result<ObjectHandle, Fault> {
    let fault = |problem: String| {
        Fault::config(
            subject,
            format!("it cannot be used as a copy: {problem}"),
            "set pool.copy_keys to false, or make a key that is CKA_COPYABLE",
        )
    };
    let copy = match session.copy_object(key, &[Attribute::Token(false)]) {
        Ok(copy) => copy,
        Err(error) if is_refusal(&error) => return Err(fault(brief(&error))),
        Err(error) => return Err(Fault::call(format!("{subject}: it is not copied"), &error)),
    };
    let wanted = [
        (AttributeType::Token, Attribute::Token(false)),
        (AttributeType::Private, Attribute::Private(true)),
        (AttributeType::Sensitive, Attribute::Sensitive(true)),
        (AttributeType::Extractable, Attribute::Extractable(false)),
        (AttributeType::Sign, Attribute::Sign(true)),
    ];
    for (kind, wanted) in wanted {
        let shown = session
            .get_attributes(copy, &[kind])
            .map_err(|e| Fault::call(format!("{subject}: its copy cannot be read"), &e))?;
        if shown.first() != Some(&wanted) {
            let problem = match shown.first() {
                Some(shown) => format!("the copy has {shown:?}"),
                None => format!("the copy does not show {kind}"),
            };
            return Err(fault(problem));
        }
    }
    Ok(copy)
}

/// Whether the token says that it does not copy such a key; all else may pass.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::NullFunctionPointer
            | Error::Pkcs11(
                RvError::ActionProhibited
                    | RvError::AttributeReadOnly
                    | RvError::AttributeTypeInvalid
                    | RvError::AttributeValueInvalid
                    | RvError::FunctionNotSupported
                    | RvError::FunctionRejected
                    | RvError::KeyFunctionNotPermitted
                    | RvError::SessionReadOnly
                    | RvError::TemplateIncomplete
                    | RvError::TemplateInconsistent,
                _,
            )
    )
}
