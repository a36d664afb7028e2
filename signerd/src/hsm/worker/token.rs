//! The module loaded, the token found, logged in once.
//!
//! In goes the configuration, out comes a [`Token`] that opens sessions. The order is the promise:
//! the latch is looked at before the module is loaded, the token's own flags before the PIN is
//! read, and the PIN is tried once, on a session that stays open so that the log-in does. Log-ins of
//! all processes of the machine are serialised by a lock file, because SoftHSM rewrites its token
//! then. The module is never finalised and never unloaded: several crash at it.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use cryptoki::context::CInitializeArgs;
use cryptoki::context::CInitializeFlags;
use cryptoki::context::Pkcs11;
use cryptoki::error::Error;
use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::object::ObjectClass;
use cryptoki::session::Session;
use cryptoki::session::UserType;
use cryptoki::slot::Limit;
use cryptoki::slot::Slot;
use cryptoki::slot::TokenInfo;
use cryptoki::types::AuthPin;
use hsm_config::HsmConfig;
use hsm_config::PinSource;
use hsm_config::Secret;
use hsm_config::SecretMechanism;
use hsm_config::Selector;
use sha2::Digest as _;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::fault::Fault;
use super::fault::brief;
use super::key::Lane;
use crate::hsm::TOKEN_SECRET_BYTES;
use crate::hsm::latch;

/// What the token's secret key authenticates to make the ledger's secret; changing it would make
/// every pseudonym of a ledger unknown.
const SECRET_DOMAIN: &[u8] = b"signerd token secret, version 1";
/// How often a log-in that failed without a verdict on the PIN is tried again.
const LOG_IN_RETRIES: u32 = 2;
/// Wait before that; the disturbance is another process that logs in.
const LOG_IN_PAUSE: Duration = Duration::from_millis(200);
/// Longest PIN; PKCS#11 tokens take up to 255 bytes.
const PIN_BYTES_MAX: usize = 255;

/// A token with an open log-in.
pub(super) struct Token {
    pkcs11: Pkcs11,
    slot: Slot,
    module: String,
    name: String,
    secret: Zeroizing<[u8; TOKEN_SECRET_BYTES]>,
    /// Keeps the log-in: closing the last session of an application logs it out.
    _keeper: Mutex<Session>,
}

impl Token {
    /// Loads the module, finds the token and logs in.
    pub(super) fn open(config: &HsmConfig) -> Result<Self, Fault> {
        refuse_if_latched(config)?;
        let lock = latch::lock_log_in(config).map_err(|e| {
            let remedy = "let the worker's user write in that folder";
            Fault::config(config.pin_latch().display(), e, remedy)
        })?;
        // Another process may have latched while this one waited for the lock.
        refuse_if_latched(config)?;
        let pkcs11 = load(config)?;
        let (slot, info) = find(&pkcs11, config)?;
        check(&info, config)?;
        let keeper = pkcs11.open_ro_session(slot).map_err(|e| failed("no session opens", &e))?;
        log_in(&keeper, config)?;
        drop::<File>(lock);
        let module = pkcs11.get_library_info().map_or_else(
            |_| "unknown".to_owned(),
            |info| format!("{} {}", trimmed(info.library_description()), info.library_version()),
        );
        let secret = derive_secret(&keeper, config.secret())?;
        Ok(Self {
            name: format!("{} {}", trimmed(info.label()), trimmed(info.serial_number())),
            pkcs11,
            slot,
            module,
            secret,
            _keeper: Mutex::new(keeper),
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

    /// A further session; read-only, since signing changes nothing.
    pub(super) fn session(&self) -> Result<Session, Error> {
        self.pkcs11.open_ro_session(self.slot)
    }

    /// A session with every key found, bound and proved.
    pub(super) fn lane(self: &Arc<Self>, config: &HsmConfig) -> Result<Lane, Fault> {
        Lane::open(Arc::clone(self), config)
    }
}

fn refuse_if_latched(config: &HsmConfig) -> Result<(), Fault> {
    if !latch::is_set(config) {
        return Ok(());
    }
    Err(Fault::pin(format!(
        "{}: the token refused the PIN before; correct it, then run `signerd hsm clear-pin-latch`",
        config.pin_latch().display()
    )))
}

fn load(config: &HsmConfig) -> Result<Pkcs11, Fault> {
    let path = config.module();
    let remedy = "set module.path to the vendor's PKCS#11 library";
    let pkcs11 = Pkcs11::new(path).map_err(|e| Fault::config(path.display(), brief(&e), remedy))?;
    // The last handle would unload the library, and its clean-up crashes in some.
    std::mem::forget(pkcs11.clone());
    match pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) => Ok(pkcs11),
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

/// Label and serial number both, because slots are renumbered and labels are not unique.
fn find(pkcs11: &Pkcs11, config: &HsmConfig) -> Result<(Slot, TokenInfo), Fault> {
    let slots = pkcs11.get_slots_with_token().map_err(|e| failed("no slots are listed", &e))?;
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

fn log_in(keeper: &Session, config: &HsmConfig) -> Result<(), Fault> {
    let pin = read_pin(config)?;
    let mut retries = 0;
    loop {
        let error = match keeper.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => return Ok(()),
            Err(error) => error,
        };
        match error {
            Error::Pkcs11(
                RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinExpired
                | RvError::PinLocked,
                _,
            ) => {
                return Err(latched(
                    config,
                    &format!("the token refused the PIN: {}", brief(&error)),
                ));
            }
            // Says nothing about the PIN; SoftHSM gives it when another process logs in.
            Error::Pkcs11(RvError::GeneralError, _) if retries < LOG_IN_RETRIES => {
                retries = retries.saturating_add(1);
                std::thread::sleep(LOG_IN_PAUSE);
            }
            _ => return Err(failed("the log-in failed", &error)),
        }
    }
}

/// Leaves the latch, so that no restart spends another try.
fn latched(config: &HsmConfig, reason: &str) -> Fault {
    let remedy = "correct the PIN, then run `signerd hsm clear-pin-latch`";
    match latch::set(config, &format!("{reason}; {remedy}")) {
        Ok(()) => Fault::pin(format!("{reason}; {remedy}")),
        Err(e) => Fault::pin(format!(
            "{reason}; {}: the latch cannot be written: {e}; stop the service now",
            config.pin_latch().display()
        )),
    }
}

fn read_pin(config: &HsmConfig) -> Result<AuthPin, Fault> {
    let path = match config.pin() {
        PinSource::File(path) => path.clone(),
        PinSource::Credential(name) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                let remedy = "add LoadCredential= to the worker's unit, or use pin.file";
                Fault::config("pin.credential", "systemd passed no credentials", remedy)
            })?;
            PathBuf::from(folder).join(name)
        }
    };
    let fault = |problem: String, remedy: &str| Fault::config(path.display(), problem, remedy);
    let unreadable = |e: std::io::Error| {
        fault(format!("it cannot be read: {e}"), "put the user PIN there, mode 0600")
    };
    let mode = std::fs::metadata(&path).map_err(unreadable)?.mode();
    if mode & 0o077 != 0 {
        let problem = format!("others can use it, its mode is {:04o}", mode & 0o7777);
        return Err(fault(problem, "chmod 600"));
    }
    let text = Zeroizing::new(std::fs::read_to_string(&path).map_err(unreadable)?);
    let pin = text.trim_end_matches(['\r', '\n']);
    if pin.is_empty() || pin.len() > PIN_BYTES_MAX {
        return Err(fault("it does not hold a PIN".to_owned(), "put the user PIN there"));
    }
    Ok(AuthPin::from(pin))
}

/// What a key that never leaves the token makes of a constant, so that only who can log in has the result.
///
/// Where a module has no HMAC, AES stands in: two blocks of CBC over the digest of the constant, which
/// nobody tells from chance without the key, as long as the key encrypts nothing else.
fn derive_secret(
    session: &Session,
    secret: &Secret,
) -> Result<Zeroizing<[u8; TOKEN_SECRET_BYTES]>, Fault> {
    let subject = format!("secret key with {}", secret.selector());
    let handle = find_one(session, ObjectClass::SECRET_KEY, secret.selector(), &subject)?;
    let (made, remedy) = match secret.mechanism() {
        SecretMechanism::Sha256Hmac => (
            session.sign(&Mechanism::Sha256Hmac, handle, SECRET_DOMAIN),
            "it must be a generic secret for CKM_SHA256_HMAC, or secret.mechanism be \"AES_CBC\"",
        ),
        SecretMechanism::AesCbc => (
            session.encrypt(&Mechanism::AesCbc([0; 16]), handle, &Sha256::digest(SECRET_DOMAIN)),
            "it must be an AES-256 key that may encrypt by CKM_AES_CBC",
        ),
    };
    let made = Zeroizing::new(made.map_err(|e| Fault::config(&subject, brief(&e), remedy))?);
    <[u8; TOKEN_SECRET_BYTES]>::try_from(&made[..]).map(Zeroizing::new).map_err(|_| {
        let problem = format!("{} bytes are made by it, not {TOKEN_SECRET_BYTES}", made.len());
        Fault::config(&subject, problem, "check the module")
    })
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
        .map_err(|e| failed(&format!("{subject}: the search failed"), &e))?;
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

fn failed(what: &str, error: &Error) -> Fault {
    Fault::token(format!("{what}: {}", brief(error)))
}

/// PKCS#11 pads with blanks; some modules pad with NUL.
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\0'])
}
