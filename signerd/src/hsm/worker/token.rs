//! The module initialised, the token found, the process logged in; and each of these again.
//!
//! In goes the configuration, out comes a [`Token`] that opens sessions. The order is the promise:
//! the latch is looked at before the module is loaded, the token's own flags before the PIN is
//! read, and the PIN is tried once, on a session that stays open so that the log-in does. What a lane has
//! found belongs to an [`Era`]: whoever makes the log-in or the module anew begins another one, and handles
//! of an earlier one are not used, nor closed where they may be somebody else's by then. The module is never
//! unloaded, and finalised only where nothing less has helped: several crash at it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::RwLockReadGuard;
use std::sync::RwLockWriteGuard;

use cryptoki::context::CInitializeArgs;
use cryptoki::context::CInitializeFlags;
use cryptoki::context::Pkcs11;
use cryptoki::error::Error;
use cryptoki::error::RvError;
use cryptoki::object::Attribute;
use cryptoki::object::ObjectClass;
use cryptoki::session::Session;
use cryptoki::slot::Limit;
use cryptoki::slot::Slot;
use cryptoki::slot::TokenInfo;
use hsm_config::HsmConfig;
use hsm_config::Selector;
use zeroize::Zeroizing;

use super::end_now;
use super::fault::Fault;
use super::fault::brief;
use super::log_in::Turn;
use super::log_in::latched;
use super::log_in::log_in;
use super::secret;
use crate::hsm::TOKEN_SECRET_BYTES;

/// A token with an open log-in.
pub(super) struct Token {
    pkcs11: Pkcs11,
    config: Arc<HsmConfig>,
    module: String,
    name: String,
    secret: Zeroizing<[u8; TOKEN_SECRET_BYTES]>,
    /// Read by who makes calls, written by who makes it anew: no call is under way then.
    access: RwLock<Access>,
}

/// The way to the token as it is now.
struct Access {
    era: Era,
    slot: Slot,
    /// Keeps the log-in: closing the last session of an application logs it out.
    keeper: Mutex<Option<Session>>,
}

/// How often module and log-in were made anew.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Era {
    module: u32,
    log_in: u32,
}

/// Calls may be made: nobody makes log-in or module anew meanwhile.
pub(super) struct Calling<'t> {
    token: &'t Token,
    access: RwLockReadGuard<'t, Access>,
}

/// A token that this process has just logged in to; nothing of it is proved.
pub(super) struct Entered {
    pub(super) pkcs11: Pkcs11,
    pub(super) slot: Slot,
    /// How the token was before the log-in.
    pub(super) info: TokenInfo,
    /// Keeps the log-in.
    pub(super) keeper: Session,
}

impl Entered {
    /// Loads the module, finds the token and logs in.
    pub(super) fn of(config: &HsmConfig) -> Result<Self, Fault> {
        let turn = Turn::take(config)?;
        let pkcs11 = load(config)?;
        initialise(&pkcs11, config)?;
        let (slot, info, keeper) = enter(&pkcs11, config, &turn)?;
        Ok(Self { pkcs11, slot, info, keeper })
    }
}

impl Token {
    /// Loads the module, finds the token and logs in.
    pub(super) fn open(config: Arc<HsmConfig>) -> Result<Self, Fault> {
        let Entered { pkcs11, slot, info, keeper } = Entered::of(&config)?;
        let module = pkcs11.get_library_info().map_or_else(
            |_| "unknown".to_owned(),
            |info| format!("{} {}", trimmed(info.library_description()), info.library_version()),
        );
        let secret = secret::derive(&keeper, config.secret())?;
        let access = Access { era: Era::default(), slot, keeper: Mutex::new(Some(keeper)) };
        Ok(Self {
            name: format!("{} {}", trimmed(info.label()), trimmed(info.serial_number())),
            pkcs11,
            config,
            module,
            secret,
            access: RwLock::new(access),
        })
    }

    /// The module's own name and version.
    pub(super) fn module(&self) -> &str {
        &self.module
    }

    /// Label and serial number.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The ledger's secret.
    pub(super) fn secret(&self) -> &[u8; TOKEN_SECRET_BYTES] {
        &self.secret
    }

    /// Begins a call, or several; not to be nested.
    pub(super) fn calling(&self) -> Calling<'_> {
        Calling { token: self, access: self.access.read().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Closes a session, unless its handle may be another one's by now.
    pub(super) fn close(&self, session: Session, era: Era) {
        let calling = self.calling();
        if calling.era().module == era.module {
            drop(session);
        } else {
            std::mem::forget(session);
        }
    }

    /// Logs in again, unless somebody has since this era.
    pub(super) fn log_in_again(&self, era: Era) -> Result<(), Fault> {
        let turn = Turn::take(&self.config)?;
        let mut access = self.anew();
        if access.era != era {
            return Ok(());
        }
        let info = self.pkcs11.get_token_info(access.slot);
        let info = info.map_err(|e| Fault::call("the token does not say how it is", &e))?;
        check(&info, &self.config)?;
        let keeper = open_session(&self.pkcs11, access.slot);
        let keeper = keeper.map_err(|e| Fault::call("no session opens", &e))?;
        log_in(&turn, &keeper, &self.config)?;
        access.era.log_in = access.era.log_in.wrapping_add(1);
        // The one before goes only now: between two sessions the log-in would be lost again.
        access.keeper = Mutex::new(Some(keeper));
        Ok(())
    }

    /// Finalises and initialises the module and logs in, unless somebody has since this era.
    pub(super) fn initialise_again(&self, era: Era) -> Result<(), Fault> {
        let turn = Turn::take(&self.config)?;
        let mut access = self.anew();
        if access.era.module != era.module {
            return Ok(());
        }
        let next = Era { module: era.module.wrapping_add(1), log_in: 0 };
        // From here on handles of before are nobody's, whatever else comes.
        access.era = next;
        std::mem::forget(access.keeper.lock().unwrap_or_else(PoisonError::into_inner).take());
        match self.pkcs11.clone().finalize() {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => {}
            Err(error) => return Err(Fault::call("the module cannot be finalised", &error)),
        }
        initialise(&self.pkcs11, &self.config)?;
        let (slot, _, keeper) = enter(&self.pkcs11, &self.config, &turn)?;
        *access = Access { era: next, slot, keeper: Mutex::new(Some(keeper)) };
        Ok(())
    }

    /// Ends the process once no call is under way: a module may write at a log-in, and is not to be torn then.
    pub(super) fn end_process(&self) -> ! {
        let _rest = self.anew();
        end_now()
    }

    /// Waits until no call is under way; one that hangs is the watchdog's matter.
    fn anew(&self) -> RwLockWriteGuard<'_, Access> {
        self.access.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calling<'_> {
    /// The era of what is found now.
    pub(super) fn era(&self) -> Era {
        self.access.era
    }

    /// A further session.
    pub(super) fn session(&self) -> Result<Session, Error> {
        open_session(&self.token.pkcs11, self.access.slot)
    }
}

fn load(config: &HsmConfig) -> Result<Pkcs11, Fault> {
    let path = config.module();
    let remedy = "set module.path to the vendor's PKCS#11 library";
    let pkcs11 = Pkcs11::new(path).map_err(|e| Fault::config(path.display(), brief(&e), remedy))?;
    // The last handle would unload the library, and its clean-up crashes in some.
    std::mem::forget(pkcs11.clone());
    Ok(pkcs11)
}

/// `C_Initialize`, for threads.
pub(super) fn initialise(pkcs11: &Pkcs11, config: &HsmConfig) -> Result<(), Fault> {
    let path = config.module();
    match pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) => Ok(()),
        Err(e @ Error::Pkcs11(RvError::CantLock | RvError::NeedToCreateThreads, _)) => {
            let remedy = "use a module that supports OS locking";
            Err(Fault::config(path.display(), brief(&e), remedy))
        }
        Err(e) => Err(Fault::token(format!(
            "{}: it does not initialise: {}; check module.environment and the device",
            path.display(),
            brief(&e)
        ))),
    }
}

/// Finds the token and logs in to it, on a session to be kept.
fn enter(
    pkcs11: &Pkcs11,
    config: &HsmConfig,
    turn: &Turn,
) -> Result<(Slot, TokenInfo, Session), Fault> {
    let (slot, info) = find(pkcs11, config)?;
    check(&info, config)?;
    let keeper = open_session(pkcs11, slot).map_err(|e| Fault::call("no session opens", &e))?;
    log_in(turn, &keeper, config)?;
    Ok((slot, info, keeper))
}

/// Read-only, since signing changes nothing; a module that has no such sessions says it in this way.
pub(super) fn open_session(pkcs11: &Pkcs11, slot: Slot) -> Result<Session, Error> {
    match pkcs11.open_ro_session(slot) {
        Err(Error::Pkcs11(RvError::FunctionFailed, _)) => pkcs11.open_rw_session(slot),
        outcome => outcome,
    }
}

/// Label and serial number both, because slots are renumbered and labels are not unique.
pub(super) fn find(pkcs11: &Pkcs11, config: &HsmConfig) -> Result<(Slot, TokenInfo), Fault> {
    let slots =
        pkcs11.get_slots_with_token().map_err(|e| Fault::call("no slots are listed", &e))?;
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for slot in slots {
        // A token that cannot say what it is is not the one.
        let Ok(info) = pkcs11.get_token_info(slot) else { continue };
        let (label, serial) = (trimmed(info.label()), trimmed(info.serial_number()));
        if info.token_initialized() {
            seen.push(format!("{label}/{serial}"));
        }
        if label == config.token_label() && serial == config.token_serial() {
            found.push((slot, info));
        }
    }
    let subject = format!("token \"{}\"/{}", config.token_label(), config.token_serial());
    let count = found.len();
    match found.pop() {
        Some(one) if count == 1 => Ok(one),
        Some(_) => Err(Fault::config(
            subject,
            format!("{count} slots hold it"),
            "make the module show each token in one slot",
        )),
        // A token that is away, or a module whose device cannot be reached: nobody has to change a file.
        None if seen.is_empty() => Err(Fault::token(format!(
            "{subject}: it is not there, the module shows no token; connect it, or check module.environment"
        ))),
        None => Err(Fault::config(
            subject,
            format!("it is not there, the module shows: {}", seen.join(", ")),
            "set token.label and token.serial, or connect the token",
        )),
    }
}

fn check(info: &TokenInfo, config: &HsmConfig) -> Result<(), Fault> {
    let subject = format!("token \"{}\"", config.token_label());
    if info.user_pin_locked() || info.user_pin_final_try() {
        let state = if info.user_pin_locked() { "is locked" } else { "has one try left" };
        return Err(latched(config, &format!("{subject}: the user PIN {state}")));
    }
    if !info.user_pin_initialized() {
        return Err(Fault::config(subject, "it has no user PIN", "initialise the user PIN"));
    }
    // One session more than there are lanes: the one that keeps the log-in.
    let wanted = u64::try_from(config.sessions()).unwrap_or(u64::MAX).saturating_add(1);
    if let Limit::Max(most) = info.max_session_count()
        && most < wanted
    {
        let remedy = format!("set pool.sessions to at most {}", most.saturating_sub(1));
        return Err(Fault::config(subject, format!("it allows {most} sessions"), remedy));
    }
    Ok(())
}

/// The one object of that class that carries what the selector says.
pub(super) fn find_one(
    session: &Session,
    class: ObjectClass,
    selector: &Selector,
    subject: &str,
) -> Result<cryptoki::object::ObjectHandle, Fault> {
    let found = session
        .find_objects(&template(class, selector))
        .map_err(|e| Fault::call(format!("{subject}: the search failed"), &e))?;
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(Fault::config(
            subject,
            "it is not in the token",
            "create it, or correct label and id in hsm.toml",
        )),
        several => Err(Fault::config(
            subject,
            format!("{} objects of the token are called so", several.len()),
            "add the id to hsm.toml, or remove the others",
        )),
    }
}

pub(super) fn template(class: ObjectClass, selector: &Selector) -> Vec<Attribute> {
    let mut template = vec![Attribute::Class(class), Attribute::Token(true)];
    template.extend(selector.label().map(|label| Attribute::Label(label.as_bytes().to_vec())));
    template.extend(selector.id().map(|id| Attribute::Id(id.to_vec())));
    template
}

/// PKCS#11 pads with blanks; some modules pad with NUL.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\0'])
}
