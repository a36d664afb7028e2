//! Ends and beginnings: how many sessions open, and what is left of handles when what they belong to is gone.

use cryptoki::error::Error;
use cryptoki::object::Attribute;
use cryptoki::object::AttributeType;
use cryptoki::object::ObjectClass;
use cryptoki::session::Session;
use hsm_config::HsmConfig;

use super::Place;
use crate::hsm::probe::findings::Life;
use crate::hsm::probe::findings::Sessions;
use crate::hsm::worker::fault::Fault;
use crate::hsm::worker::fault::brief;
use crate::hsm::worker::token;

/// Most sessions that are opened to see whether they do: twice what one worker may have.
const SESSIONS_MAX: usize = 64;
/// What a call that succeeds is called in the report.
const OK: &str = "Ok";

/// Opens sessions until one does not open, and closes them.
pub(super) fn sessions(place: &Place) -> Sessions {
    let mut open: Vec<Session> = Vec::new();
    let mut problem = None;
    while open.len() < SESSIONS_MAX {
        match place.pkcs11.open_ro_session(place.slot) {
            Ok(session) => open.push(session),
            Err(error) => {
                problem = Some(brief(&error));
                break;
            }
        }
    }
    Sessions { tried: SESSIONS_MAX, opened: open.len(), problem }
}

/// Closes a session, then finalises and initialises the module, and asks for what is gone. No session but
/// the keeper may be open; it is not logged in again.
pub(super) fn life(place: &Place, config: &HsmConfig, keeper: Session) -> Life {
    let object_of_closed_session =
        object_of_closed_session(place).unwrap_or_else(|fault| fault.detail().to_owned());
    let mut life = Life {
        object_of_closed_session,
        session_after_finalize: String::new(),
        session_after_initialize: String::new(),
        session_after_another_opens: String::new(),
        begins_again: false,
        problem: None,
    };
    match again(place, config, &keeper, &mut life) {
        Ok(()) => life.begins_again = true,
        Err(fault) => life.problem = Some(fault.detail().to_owned()),
    }
    // Its handle may be another session's by now.
    std::mem::forget(keeper);
    life
}

/// A data object, because any session may have one.
fn object_of_closed_session(place: &Place) -> Result<String, Fault> {
    let session = place.session()?;
    let template = [
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(false),
        Attribute::Private(false),
        Attribute::Value(b"signerd probe".to_vec()),
    ];
    let object = session
        .create_object(&template)
        .map_err(|e| Fault::call("not tried: no session object can be made", &e))?;
    session.close().map_err(|e| Fault::call("a session does not close", &e))?;
    let other = place.session()?;
    Ok(answer(other.get_attributes(object, &[AttributeType::Class])))
}

fn again(
    place: &Place,
    config: &HsmConfig,
    keeper: &Session,
    life: &mut Life,
) -> Result<(), Fault> {
    let finalised = place.pkcs11.clone().finalize();
    finalised.map_err(|e| Fault::call("the module cannot be finalised", &e))?;
    life.session_after_finalize = answer(keeper.get_session_info());
    token::initialise(&place.pkcs11, config)?;
    life.session_after_initialize = answer(keeper.get_session_info());
    let (slot, _) = token::find(&place.pkcs11, config)?;
    let another = place.pkcs11.open_ro_session(slot);
    let _another = another.map_err(|e| Fault::call("no session opens", &e))?;
    life.session_after_another_opens = answer(keeper.get_session_info());
    Ok(())
}

fn answer<T>(outcome: Result<T, Error>) -> String {
    match outcome {
        Ok(_) => OK.to_owned(),
        Err(error) => brief(&error),
    }
}
