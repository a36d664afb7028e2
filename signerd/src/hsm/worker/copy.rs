//! A key copied to a session object: some modules sign faster with one, because it needs no look at the disk.
//!
//! In goes the handle of a key of the token, out comes the handle of a copy that lives as long as its
//! session, or a fault of the configuration. A copy is made only where it is as safe as its key, and the
//! token has to say so: what it does not say counts as unsafe.

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
    let copy =
        session.copy_object(key, &[Attribute::Token(false)]).map_err(|e| fault(brief(&e)))?;
    let wanted = [
        (AttributeType::Token, Attribute::Token(false)),
        (AttributeType::Private, Attribute::Private(true)),
        (AttributeType::Sensitive, Attribute::Sensitive(true)),
        (AttributeType::Extractable, Attribute::Extractable(false)),
        (AttributeType::Sign, Attribute::Sign(true)),
    ];
    for (kind, wanted) in wanted {
        let shown = session.get_attributes(copy, &[kind]).map_err(|e| fault(brief(&e)))?;
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
