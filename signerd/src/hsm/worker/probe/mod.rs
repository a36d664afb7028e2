//! The look at module, token and keys, in a process of its own: what `signerd hsm probe` reports.
//!
//! In goes the configuration, out come [`Findings`]. The log-in is a worker's: it respects the latch and
//! tries the PIN once. After that nothing but a lost connection to the token ends the probe; what fails is
//! a finding. Sessions are read-only, so that no object stays behind, and each thing is tried on a session
//! of its own, because a failed operation may linger in one.

mod attributes;
mod key;
mod life;

use std::collections::BTreeMap;

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::MechanismType;
use cryptoki::object::ObjectClass;
use cryptoki::session::Session;
use cryptoki::slot::Limit;
use cryptoki::slot::Slot;
use cryptoki::slot::TokenInfo;
use hsm_config::HsmConfig;
use hsm_config::SecretMechanism;

use super::errand::Sender;
use super::fault::Fault;
use super::secret;
use super::token;
use super::token::Entered;
use super::token::trimmed;
use crate::hsm::probe::findings;
use crate::hsm::probe::findings::Findings;

/// Mechanisms that matter here, and some that show what else a token might be asked for.
const OF_INTEREST: [MechanismType; 11] = [
    MechanismType::RSA_PKCS_KEY_PAIR_GEN,
    MechanismType::RSA_PKCS_PSS,
    MechanismType::SHA256_RSA_PKCS_PSS,
    MechanismType::ECC_KEY_PAIR_GEN,
    MechanismType::ECDSA,
    MechanismType::ECDSA_SHA256,
    MechanismType::GENERIC_SECRET_KEY_GEN,
    MechanismType::SHA256_HMAC,
    MechanismType::AES_KEY_GEN,
    MechanismType::AES_CBC,
    MechanismType::SHA256,
];

/// Looks, and hands over what it found.
pub(super) fn run(config: &HsmConfig, sender: &Sender) -> Result<(), Fault> {
    sender.leave_with_it()?;
    sender.step("load the module, log in");
    let Entered { pkcs11, slot, info, keeper } = Entered::of(config)?;
    let place = Place { pkcs11, slot };
    sender.step("ask for module, token and mechanisms");
    let module = module(&place.pkcs11, config);
    let token = shown(&info, &place);
    let mechanisms = mechanisms(&place)?;
    let mut keys = BTreeMap::new();
    for (name, key) in config.keys() {
        sender.step(format!("try key \"{name}\""));
        keys.insert(name.to_owned(), key::look(&place, name, key));
    }
    sender.step("try the secret key");
    let secret = secret_key(&place, config)?;
    sender.step("open sessions");
    let sessions = life::sessions(&place);
    sender.step("close, finalise, initialise");
    let life = life::life(&place, config, keeper);
    sender.done(Findings { module, token, mechanisms, keys, secret, sessions, life });
    Ok(())
}

/// Where sessions open.
struct Place {
    pkcs11: Pkcs11,
    slot: Slot,
}

impl Place {
    fn session(&self) -> Result<Session, Fault> {
        token::open_session(&self.pkcs11, self.slot)
            .map_err(|e| Fault::call("no session opens", &e))
    }
}

fn module(pkcs11: &Pkcs11, config: &HsmConfig) -> findings::Module {
    let info = pkcs11.get_library_info().ok();
    let info = info.as_ref();
    findings::Module {
        path: config.module().display().to_string(),
        description: info.map(|info| trimmed(info.library_description()).to_owned()),
        manufacturer: info.map(|info| trimmed(info.manufacturer_id()).to_owned()),
        version: info.map(|info| info.library_version().to_string()),
        cryptoki: info.map(|info| info.cryptoki_version().to_string()),
    }
}

fn shown(info: &TokenInfo, place: &Place) -> findings::Token {
    let flags = [
        ("RNG", info.rng()),
        ("WRITE_PROTECTED", info.write_protected()),
        ("LOGIN_REQUIRED", info.login_required()),
        ("USER_PIN_INITIALIZED", info.user_pin_initialized()),
        ("RESTORE_KEY_NOT_NEEDED", info.restore_key_not_needed()),
        ("CLOCK_ON_TOKEN", info.clock_on_token()),
        ("PROTECTED_AUTHENTICATION_PATH", info.protected_authentication_path()),
        ("DUAL_CRYPTO_OPERATIONS", info.dual_crypto_operations()),
        ("TOKEN_INITIALIZED", info.token_initialized()),
        ("SECONDARY_AUTHENTICATION", info.secondary_authentication()),
        ("USER_PIN_COUNT_LOW", info.user_pin_count_low()),
        ("USER_PIN_TO_BE_CHANGED", info.user_pin_to_be_changed()),
        ("SO_PIN_COUNT_LOW", info.so_pin_count_low()),
        ("SO_PIN_FINAL_TRY", info.so_pin_final_try()),
        ("SO_PIN_LOCKED", info.so_pin_locked()),
        ("SO_PIN_TO_BE_CHANGED", info.so_pin_to_be_changed()),
        ("ERROR_STATE", info.error_state()),
    ];
    let device = place.pkcs11.get_slot_info(place.slot).ok().map(|slot| slot.hardware_slot());
    findings::Token {
        label: trimmed(info.label()).to_owned(),
        serial: trimmed(info.serial_number()).to_owned(),
        manufacturer: trimmed(info.manufacturer_id()).to_owned(),
        model: trimmed(info.model()).to_owned(),
        hardware: info.hardware_version().to_string(),
        firmware: info.firmware_version().to_string(),
        device,
        flags: flags.iter().filter(|(_, set)| *set).map(|(name, _)| (*name).to_owned()).collect(),
        sessions_max: limit(info.max_session_count()),
        rw_sessions_max: limit(info.max_rw_session_count()),
        pin: findings::Pin {
            length_min: info.min_pin_length(),
            length_max: info.max_pin_length(),
            count_low: info.user_pin_count_low(),
            to_be_changed: info.user_pin_to_be_changed(),
        },
    }
}

fn limit(limit: Limit) -> String {
    match limit {
        Limit::Max(most) => most.to_string(),
        Limit::Infinite => "no limit".to_owned(),
        Limit::Unavailable => "not said".to_owned(),
    }
}

fn mechanisms(place: &Place) -> Result<findings::Mechanisms, Fault> {
    let all = place
        .pkcs11
        .get_mechanism_list(place.slot)
        .map_err(|e| Fault::call("the token does not list its mechanisms", &e))?;
    let of_interest = OF_INTEREST.map(|kind| {
        let there = all.contains(&kind);
        let info = place.pkcs11.get_mechanism_info(place.slot, kind).ok().filter(|_| there);
        findings::Mechanism {
            name: kind.to_string(),
            there,
            key_min: info.map(|info| info.min_key_size()),
            key_max: info.map(|info| info.max_key_size()),
            device: info.map(|info| info.hardware()),
            sign: info.map(|info| info.sign()),
        }
    });
    Ok(findings::Mechanisms { all: all.len(), of_interest: of_interest.into() })
}

fn secret_key(place: &Place, config: &HsmConfig) -> Result<findings::Secret, Fault> {
    let secret = config.secret();
    let session = place.session()?;
    let subject = format!("secret key with {}", secret.selector());
    let class = ObjectClass::SECRET_KEY;
    let found = token::find_one(&session, class, secret.selector(), &subject);
    let attributes =
        found.map_or_else(|_| attributes::none(), |key| attributes::of_secret(&session, key));
    let mechanism = match secret.mechanism() {
        SecretMechanism::Sha256Hmac => MechanismType::SHA256_HMAC,
        SecretMechanism::AesCbc => MechanismType::AES_CBC,
    };
    Ok(findings::Secret {
        selector: secret.selector().to_string(),
        mechanism: mechanism.to_string(),
        // What it makes is the ledger's secret: it is wiped here and told to nobody.
        problem: secret::derive(&session, secret).err().map(|fault| fault.detail().to_owned()),
        attributes,
    })
}
