//! What was found, as it goes from the process with the module to the command and into the report.
//!
//! Plain data: whoever fills it calls the module, whoever reads it does not. Where a module does not say
//! something, the member is `None`, and absent in words.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

/// All that a probe finds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Findings {
    /// The vendor's library.
    pub module: Module,
    /// The token that `hsm.toml` names.
    pub token: Token,
    /// What it says that it can do.
    pub mechanisms: Mechanisms,
    /// Each configured key, by its name.
    pub keys: BTreeMap<String, Key>,
    /// The key of the ledger's secret.
    pub secret: Secret,
    /// How many sessions open.
    pub sessions: Sessions,
    /// What becomes of handles, and of the module, at an end and a new beginning.
    pub life: Life,
}

/// The vendor's library.
#[derive(Debug, Serialize, Deserialize)]
pub struct Module {
    /// Its path.
    pub path: String,
    /// What it calls itself.
    pub description: Option<String>,
    /// Who made it.
    pub manufacturer: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The version of PKCS#11 that it follows.
    pub cryptoki: Option<String>,
}

/// The token, as `C_GetTokenInfo` and `C_GetSlotInfo` show it before the log-in.
#[derive(Debug, Serialize, Deserialize)]
pub struct Token {
    /// Label without padding.
    pub label: String,
    /// Serial number without padding.
    pub serial: String,
    /// Who made it.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// Version of the hardware.
    pub hardware: String,
    /// Version of the firmware.
    pub firmware: String,
    /// Whether the slot says that it is a device.
    pub device: Option<bool>,
    /// The flags that are set, without `CKF_`.
    pub flags: Vec<String>,
    /// `ulMaxSessionCount`, or why it is not a number.
    pub sessions_max: String,
    /// `ulMaxRwSessionCount`, or why it is not a number.
    pub rw_sessions_max: String,
    /// The user PIN.
    pub pin: Pin,
}

/// The user PIN as the token's flags tell.
#[derive(Debug, Serialize, Deserialize)]
pub struct Pin {
    /// Shortest length.
    pub length_min: usize,
    /// Longest length.
    pub length_max: usize,
    /// Whether a wrong one was tried since the last right one.
    pub count_low: bool,
    /// Whether it has to be changed.
    pub to_be_changed: bool,
}

/// What the token says that it can do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Mechanisms {
    /// How many the token lists that have a number of the standard.
    pub all: usize,
    /// Those that matter here.
    pub of_interest: Vec<Mechanism>,
}

/// A mechanism that matters here.
#[derive(Debug, Serialize, Deserialize)]
pub struct Mechanism {
    /// `CKM_…`
    pub name: String,
    /// Whether the token lists it.
    pub there: bool,
    /// Smallest key, in the unit of the mechanism.
    pub key_min: Option<usize>,
    /// Largest key.
    pub key_max: Option<usize>,
    /// Whether the token says that a device does it.
    pub device: Option<bool>,
    /// Whether it may be used for signing.
    pub sign: Option<bool>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Shown {
    /// A `CK_BBOOL`.
    Flag(bool),
    /// A number.
    Number(u64),
    /// A name, or bytes in hexadecimal digits.
    Text(String),
    /// Several names.
    List(Vec<String>),
}

/// Attributes by their names without `CKA_`; none where the token does not say.
pub type Attributes = BTreeMap<String, Option<Shown>>;

/// A configured signing key.
#[derive(Debug, Serialize, Deserialize)]
pub struct Key {
    /// How `hsm.toml` finds it.
    pub selector: String,
    /// PS256 or ES256.
    pub algorithm: String,
    /// Why a worker would refuse it; none where it would not.
    pub refused: Option<String>,
    /// Its private half, read back.
    pub attributes: Attributes,
    /// Form of `CKA_EC_POINT` of its public half: `der`, `raw`, or something else.
    pub ec_point: Option<String>,
    /// Whether it made a signature that verifies under the configured certificate.
    pub certificate_belongs: bool,
    /// The ways to make a signature that were tried.
    pub forms: Vec<Form>,
    /// Whether it can be copied to a session object, and signs there.
    pub copy: Copying,
    /// How long one signature takes, where one could be made.
    pub latency: Option<Latency>,
}

/// One way to make a signature.
#[derive(Debug, Serialize, Deserialize)]
pub struct Form {
    /// `CKM_…`
    pub mechanism: String,
    /// `digest`, or `message` where the token hashes.
    pub input: String,
    /// Whether a signature came that verifies.
    pub works: bool,
    /// How long it was.
    pub bytes: Option<usize>,
    /// What went wrong.
    pub problem: Option<String>,
}

/// A copy of a key as a session object.
#[derive(Debug, Serialize, Deserialize)]
pub struct Copying {
    /// Whether it was made, is as safe as the key, and signs.
    pub works: bool,
    /// What went wrong.
    pub problem: Option<String>,
    /// Attributes that the copy shows otherwise than the key does.
    pub differs: Attributes,
}

/// How long one signature takes, one after the other on one session.
#[derive(Debug, Serialize, Deserialize)]
pub struct Latency {
    /// How many were made.
    pub signatures: usize,
    /// Half of them took no longer, in microseconds.
    pub median_us: u64,
    /// 99 of 100 took no longer.
    pub p99_us: u64,
    /// None took longer.
    pub max_us: u64,
}

/// The key of the ledger's secret.
#[derive(Debug, Serialize, Deserialize)]
pub struct Secret {
    /// How `hsm.toml` finds it.
    pub selector: String,
    /// What `hsm.toml` says that the token does with it.
    pub mechanism: String,
    /// Why it does not work; none where it does.
    pub problem: Option<String>,
    /// Its attributes, read back.
    pub attributes: Attributes,
}

/// How many sessions open beside the one that keeps the log-in.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sessions {
    /// How many were tried.
    pub tried: usize,
    /// How many opened.
    pub opened: usize,
    /// What the next one was answered.
    pub problem: Option<String>,
}

/// What becomes of handles, and of the module, at an end and a new beginning.
#[derive(Debug, Serialize, Deserialize)]
pub struct Life {
    /// What an object's handle is answered after `C_CloseSession` of the session that it belonged to.
    pub object_of_closed_session: String,
    /// What a session's handle is answered after `C_Finalize`.
    pub session_after_finalize: String,
    /// The same after `C_Initialize`.
    pub session_after_initialize: String,
    /// The same after another session was opened; `Ok` means that a stale handle is a stranger's session.
    pub session_after_another_opens: String,
    /// Whether the module could be finalised and initialised again, with the token in it.
    pub begins_again: bool,
    /// What went wrong with it.
    pub problem: Option<String>,
}
