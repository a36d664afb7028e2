//! The log-in: the PIN is read, tried once, and never again after it was refused.
//!
//! In goes an open session and the configuration, out comes a logged-in process, or a latch that keeps every
//! process of this machine from another try. Log-ins of all processes are serialised by a lock file, because
//! SoftHSM rewrites its token then.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use cryptoki::error::Error;
use cryptoki::error::RvError;
use cryptoki::session::Session;
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use hsm_config::HsmConfig;
use hsm_config::PinSource;
use zeroize::Zeroizing;

use super::fault::Fault;
use super::fault::brief;
use crate::hsm::latch;

/// How often a log-in that failed without a verdict on the PIN is tried again.
const RETRIES: u32 = 2;
/// Wait before that; the disturbance is another process that logs in.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest PIN; PKCS#11 tokens take up to 255 bytes.
const PIN_BYTES_MAX: usize = 255;

/// The right to log in: nobody else on this machine does meanwhile, and the PIN was not refused.
pub(super) struct Turn(#[expect(dead_code, reason = "holds the lock until dropped")] File);

impl Turn {
    /// Waits for the turn.
    pub(super) fn take(config: &HsmConfig) -> Result<Self, Fault> {
        refuse_if_latched(config)?;
        let lock = latch::lock_log_in(config).map_err(|e| {
            let remedy = "let the worker's user write in that folder";
            Fault::config(config.pin_latch().display(), e, remedy)
        })?;
        // Another process may have latched while this one waited for the lock.
        refuse_if_latched(config)?;
        Ok(Self(lock))
    }
}

/// Logs the process in on a session, in its turn.
pub(super) fn log_in(_turn: &Turn, keeper: &Session, config: &HsmConfig) -> Result<(), Fault> {
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
            Error::Pkcs11(RvError::GeneralError, _) if retries < RETRIES => {
                retries = retries.saturating_add(1);
                std::thread::sleep(PAUSE);
            }
            _ => return Err(Fault::call("the log-in failed", &error)),
        }
    }
}

/// Leaves the latch, so that no restart spends another try.
pub(super) fn latched(config: &HsmConfig, reason: &str) -> Fault {
    let remedy = "correct the PIN, then run `signerd hsm clear-pin-latch`";
    match latch::set(config, &format!("{reason}; {remedy}")) {
        Ok(()) => Fault::pin(format!("{reason}; {remedy}")),
        Err(e) => Fault::pin(format!(
            "{reason}; {}: the latch cannot be written: {e}; stop the service now",
            config.pin_latch().display()
        )),
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
