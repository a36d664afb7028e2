//! Turns the text of `hsm.toml` into an [`HsmConfig`], section by section.
//!
//! One function per section, in the order of the file. Each takes what it knows out of its table
//! and leaves the rest to be named as unknown. A section with faults yields a value all the same
//! where it can, so that the later sections are checked too; the whole is given out only if no
//! fault was found.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeTable;

use crate::Algorithm;
use crate::CALL_DEADLINE_MS;
use crate::ENVIRONMENT_MAX;
use crate::Fault;
use crate::FrontUser;
use crate::HsmConfig;
use crate::KEY_ID_BYTES_MAX;
use crate::KEYS_MAX;
use crate::Key;
use crate::PinSource;
use crate::PoolLimits;
use crate::QUEUE_MAX;
use crate::REQUEST_DEADLINE_MS;
use crate::SESSIONS_MAX;
use crate::SOCKET_PATH_BYTES_MAX;
use crate::START_DEADLINE_MS;
use crate::Secret;
use crate::SecretMechanism;
use crate::Selector;
use crate::TOKENS_MAX;
use crate::Token;
use crate::VERSION;
use crate::WORKERS_MAX;
use crate::table::Faults;
use crate::table::Table;

const WORKERS_DEFAULT: u64 = 2;
const SESSIONS_DEFAULT: u64 = 1;
const CALL_DEADLINE_MS_DEFAULT: u64 = 5_000;
const START_DEADLINE_MS_DEFAULT: u64 = 60_000;
const REQUEST_DEADLINE_MS_DEFAULT: u64 = 10_000;
const QUEUE_DEFAULT: u64 = 256;
const PIN_LATCH_DEFAULT: &str = "state/pin-latch";
/// Length of a token label in PKCS#11 (`CK_TOKEN_INFO.label`).
const TOKEN_LABEL_BYTES_MAX: usize = 32;
/// Length of a token's serial number in PKCS#11 (`CK_TOKEN_INFO.serialNumber`).
const TOKEN_SERIAL_BYTES_MAX: usize = 16;
/// Longest name of a key: it is a metric label and part of log lines.
const KEY_NAME_BYTES_MAX: usize = 64;

pub(crate) fn config(text: &str, base_dir: &Path) -> Result<HsmConfig, Vec<Fault>> {
    let faults = Faults::new(text);
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let problem = format!("the text is not TOML: {}", error.message());
            faults.add("", error.span().as_ref(), &problem, "mend the syntax");
            return Err(faults.into_vec());
        }
    };
    let place = document.span();
    let root = Table::new("", place, document.into_inner(), &faults);
    let config = sections(root, base_dir);
    let found = faults.into_vec();
    match config {
        Some(config) if found.is_empty() => Ok(config),
        _ => Err(found),
    }
}

fn sections(mut root: Table<'_, '_>, base_dir: &Path) -> Option<HsmConfig> {
    match root.integer("version") {
        Some((VERSION, _)) => {}
        Some((_, at)) => root.fault("version", Some(&at), "the version is unknown", "write 1"),
        None => root.fault("version", None, "the version is missing", "write version = 1"),
    }
    let module = root.table("module", "add [module] with path").and_then(|t| module(t, base_dir));
    let token = root.table("token", "add [token] with label and serial").and_then(token);
    let pin = root.table("pin", "add [pin] with file or credential").and_then(|t| pin(t, base_dir));
    let replicas = root.tables("replica");
    let pool = if root.has("pool") { root.table("pool", "") } else { None };
    let pool = pool.map_or_else(|| Some(Pool::defaults(base_dir)), |t| pool_section(t, base_dir));
    let keys = root.table("key", "add a section [key.NAME]").map(|t| keys(t, base_dir));
    let secret = root.table("secret", "add [secret] with label").and_then(secret);

    let (module, environment) = module?;
    let (label, serial) = token?;
    let Pool { mut limits, pin_latch, sockets, front_user } = pool?;
    let token = Token { module, environment, label, serial, pin: pin?, pin_latch };
    let mut tokens = vec![token.clone()];
    for (table, number) in replicas.into_iter().zip(2..) {
        let replica = replica(table, &tokens, number, base_dir)?;
        tokens.push(replica);
    }
    // Each token has so many workers; sockets are as many as there are.
    if sockets.is_empty() {
        limits.workers = limits.workers.saturating_mul(tokens.len());
    }
    if limits.workers < tokens.len() {
        let problem = format!("{} sockets are too few for {} tokens", limits.workers, tokens.len());
        root.fault("pool.sockets", None, &problem, "each token needs a worker of its own at least");
    }
    root.finish("version, module, token, pin, replica, pool, key, secret");
    Some(HsmConfig {
        token,
        number: 0,
        tokens,
        pool: limits,
        sockets,
        front_user,
        keys: keys?,
        secret: secret?,
    })
}

fn module(
    mut table: Table<'_, '_>,
    base_dir: &Path,
) -> Option<(PathBuf, BTreeMap<String, String>)> {
    let path = table.required("path", "write the path of the PKCS#11 library");
    let mut environment = BTreeMap::new();
    if table.has("environment")
        && let Some(mut variables) = table.table("environment", "")
    {
        let names = variables.names();
        if names.len() > ENVIRONMENT_MAX {
            let problem = format!("{} variables are too many", names.len());
            variables.fault("", None, &problem, &format!("at most {ENVIRONMENT_MAX}"));
        }
        for name in names {
            let Some((value, at)) = variables.string(&name) else { continue };
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                let problem = "the name or value cannot stand in an environment";
                variables.fault(&name, Some(&at), problem, "use letters, digits and _ in the name");
            }
            environment.insert(name, value);
        }
    }
    table.finish("path, environment");
    path.map(|(path, _)| (base_dir.join(path), environment))
}

/// A further token with the same keys; what it does not say is as for the first one.
fn replica(
    mut table: Table<'_, '_>,
    before: &[Token],
    number: usize,
    base_dir: &Path,
) -> Option<Token> {
    let first = before.first()?;
    if number > TOKENS_MAX {
        let problem = format!("{number} tokens are too many");
        table.fault("", None, &problem, &format!("at most {TOKENS_MAX}"));
    }
    let own_module = table.has("module").then(|| table.table("module", "")).flatten();
    let (module, environment) = match own_module {
        Some(section) => module(section, base_dir)?,
        None => (first.module.clone(), first.environment.clone()),
    };
    let own_pin = table.has("pin").then(|| table.table("pin", "")).flatten();
    let pin = own_pin.map_or_else(|| Some(first.pin.clone()), |section| pin(section, base_dir))?;
    let remedy = "a replica is named by label and serial, as the first token is";
    let label = token_text(&mut table, "label", TOKEN_LABEL_BYTES_MAX, remedy)?;
    let serial = token_text(&mut table, "serial", TOKEN_SERIAL_BYTES_MAX, remedy)?;
    let mut pin_latch = first.pin_latch.as_os_str().to_owned();
    pin_latch.push(format!("-{number}"));
    let token = Token { module, environment, label, serial, pin, pin_latch: pin_latch.into() };
    let is_same = |other: &&Token| {
        (&other.module, &other.environment) == (&token.module, &token.environment)
            && (&other.label, &other.serial) == (&token.label, &token.serial)
    };
    if before.iter().any(|other| is_same(&other)) {
        let remedy = "name another token, or remove the replica and raise pool.workers";
        table.fault("serial", None, "the token is there already, by the same module", remedy);
    }
    table.finish("label, serial, module, pin");
    Some(token)
}

fn token(mut table: Table<'_, '_>) -> Option<(String, String)> {
    let remedy = "both label and serial must match; `pkcs11-tool --list-token-slots` shows them";
    let label = token_text(&mut table, "label", TOKEN_LABEL_BYTES_MAX, remedy);
    let serial = token_text(&mut table, "serial", TOKEN_SERIAL_BYTES_MAX, remedy);
    table.finish("label, serial");
    Some((label?, serial?))
}

fn token_text(table: &mut Table<'_, '_>, key: &str, max: usize, remedy: &str) -> Option<String> {
    let (text, at) = table.required(key, remedy)?;
    let text = text.trim().to_owned();
    if text.is_empty() || text.len() > max {
        let problem = format!("it must have 1 to {max} bytes");
        table.fault(key, Some(&at), &problem, remedy);
        return None;
    }
    Some(text)
}

fn pin(mut table: Table<'_, '_>, base_dir: &Path) -> Option<PinSource> {
    let remedy = "write file = \"PATH\" or credential = \"NAME\", never the PIN itself";
    let file = table.string("file");
    let credential = table.string("credential");
    let source = match (file, credential) {
        (Some((path, _)), None) if !path.is_empty() => Some(PinSource::File(base_dir.join(path))),
        (None, Some((name, _))) if is_credential_name(&name) => Some(PinSource::Credential(name)),
        (Some((_, at)), None) => {
            table.fault("file", Some(&at), "the path is empty", remedy);
            None
        }
        (None, Some((_, at))) => {
            table.fault("credential", Some(&at), "this is not the name of a credential", remedy);
            None
        }
        (Some((_, at)), Some(_)) => {
            table.fault("credential", Some(&at), "file and credential are both set", remedy);
            None
        }
        (None, None) => {
            table.fault("file", None, "neither file nor credential is set", remedy);
            None
        }
    };
    table.finish("file, credential");
    source
}

/// A credential is one file of a directory, so its name must not lead out of it.
fn is_credential_name(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && name.len() <= 255
        && !name.contains(['/', '\0'])
}

struct Pool {
    limits: PoolLimits,
    pin_latch: PathBuf,
    sockets: Vec<PathBuf>,
    front_user: Option<FrontUser>,
}

impl Pool {
    fn defaults(base_dir: &Path) -> Self {
        Self {
            limits: PoolLimits {
                workers: count(WORKERS_DEFAULT),
                sessions: count(SESSIONS_DEFAULT),
                copy_keys: false,
                call_deadline: Duration::from_millis(CALL_DEADLINE_MS_DEFAULT),
                start_deadline: Duration::from_millis(START_DEADLINE_MS_DEFAULT),
                request_deadline: Duration::from_millis(REQUEST_DEADLINE_MS_DEFAULT),
                queue_max: count(QUEUE_DEFAULT),
            },
            pin_latch: base_dir.join(PIN_LATCH_DEFAULT),
            sockets: Vec::new(),
            front_user: None,
        }
    }
}

fn pool_section(mut table: Table<'_, '_>, base_dir: &Path) -> Option<Pool> {
    let workers_given = table.has("workers");
    let workers = table.bounded("workers", WORKERS_DEFAULT, (1, WORKERS_MAX));
    let sessions = table.bounded("sessions", SESSIONS_DEFAULT, (1, SESSIONS_MAX));
    let copy_keys = table.flag("copy_keys", false);
    let call_ms = table.bounded("call_deadline_ms", CALL_DEADLINE_MS_DEFAULT, CALL_DEADLINE_MS);
    let start_ms = table.bounded("start_deadline_ms", START_DEADLINE_MS_DEFAULT, START_DEADLINE_MS);
    let request_ms =
        table.bounded("request_deadline_ms", REQUEST_DEADLINE_MS_DEFAULT, REQUEST_DEADLINE_MS);
    let queue = table.bounded("queue_max", QUEUE_DEFAULT, (1, QUEUE_MAX));
    if request_ms <= call_ms {
        let problem = format!("{request_ms} ms is not more than call_deadline_ms ({call_ms} ms)");
        let remedy = "a request must outlive one hung call, else no other worker can take it over";
        table.fault("request_deadline_ms", None, &problem, remedy);
    }
    let latch = table.string("pin_latch");
    let latch = latch.map_or_else(|| PIN_LATCH_DEFAULT.to_owned(), |(path, _)| path);
    if latch.is_empty() {
        table.fault("pin_latch", None, "the path is empty", "write a path in the state folder");
    }
    let sockets = sockets(&mut table, base_dir);
    let workers = if sockets.is_empty() { count(workers) } else { sockets.len() };
    if workers_given && !sockets.is_empty() {
        let problem = "workers and sockets are both set";
        table.fault("workers", None, problem, "remove workers: there is one for each socket");
    }
    let front_user = front_user(&mut table);
    table.finish(
        "workers, sessions, copy_keys, call_deadline_ms, start_deadline_ms, request_deadline_ms, queue_max, \
         pin_latch, sockets, front_user",
    );
    Some(Pool {
        limits: PoolLimits {
            workers,
            sessions: count(sessions),
            copy_keys,
            call_deadline: Duration::from_millis(call_ms),
            start_deadline: Duration::from_millis(start_ms),
            request_deadline: Duration::from_millis(request_ms),
            queue_max: count(queue),
        },
        pin_latch: base_dir.join(latch),
        sockets,
        front_user,
    })
}

fn sockets(table: &mut Table<'_, '_>, base_dir: &Path) -> Vec<PathBuf> {
    let mut sockets = Vec::new();
    for (text, at) in table.strings("sockets") {
        let path = base_dir.join(&text);
        let bytes = path.as_os_str().len();
        if text.is_empty() || bytes > SOCKET_PATH_BYTES_MAX {
            let problem = format!("a socket path of {bytes} bytes cannot be used");
            let remedy = format!("1 to {SOCKET_PATH_BYTES_MAX} bytes with its folder");
            table.fault("sockets", Some(&at), &problem, &remedy);
        } else if sockets.contains(&path) {
            table.fault("sockets", Some(&at), "the socket is listed twice", "list it once");
        }
        sockets.push(path);
    }
    if sockets.len() > count(WORKERS_MAX) {
        let problem = format!("{} sockets are too many", sockets.len());
        table.fault("sockets", None, &problem, &format!("at most {WORKERS_MAX}"));
    }
    sockets
}

fn front_user(table: &mut Table<'_, '_>) -> Option<FrontUser> {
    let remedy = "write a user name or a numeric user id";
    if table.is_integer("front_user") {
        let (number, at) = table.integer("front_user")?;
        return match u32::try_from(number) {
            Ok(id) => Some(FrontUser::Id(id)),
            Err(_) => {
                table.fault("front_user", Some(&at), "the user id is too large", remedy);
                None
            }
        };
    }
    let (name, at) = table.string("front_user")?;
    if name.is_empty() || name.contains([':', '\n']) {
        table.fault("front_user", Some(&at), "this is not a user name", remedy);
        return None;
    }
    Some(FrontUser::Name(name))
}

fn keys(mut table: Table<'_, '_>, base_dir: &Path) -> BTreeMap<String, Key> {
    let mut keys = BTreeMap::new();
    let names = table.names();
    if names.is_empty() || names.len() > KEYS_MAX {
        let problem = format!("{} keys are configured", names.len());
        table.fault("", None, &problem, &format!("configure 1 to {KEYS_MAX}"));
    }
    for name in names {
        let Some(section) = table.table(&name, "") else { continue };
        if !is_key_name(&name) {
            let remedy = format!("1 to {KEY_NAME_BYTES_MAX} of a-z, 0-9 and -");
            section.fault("", None, "this is not the name of a key", &remedy);
        }
        if let Some(key) = key(section, base_dir) {
            keys.insert(name, key);
        }
    }
    keys
}

fn key(mut table: Table<'_, '_>, base_dir: &Path) -> Option<Key> {
    let selector = selector(&mut table);
    let algorithm = table.required("algorithm", "write \"PS256\" or \"ES256\"");
    let algorithm = algorithm.and_then(|(name, at)| match name.as_str() {
        "PS256" => Some(Algorithm::Ps256),
        "ES256" => Some(Algorithm::Es256),
        _ => {
            let problem = format!("the algorithm \"{name}\" is unknown");
            table.fault("algorithm", Some(&at), &problem, "write \"PS256\" or \"ES256\"");
            None
        }
    });
    let certificate = table.required("certificate", "write the path of the signer certificate");
    table.finish("label, id, algorithm, certificate");
    let certificate = base_dir.join(certificate?.0);
    Some(Key { selector: selector?, algorithm: algorithm?, certificate })
}

fn secret(mut table: Table<'_, '_>) -> Option<Secret> {
    let selector = selector(&mut table);
    let mechanism = if table.has("mechanism") {
        table.string("mechanism").and_then(|(name, at)| match name.as_str() {
            "SHA256_HMAC" => Some(SecretMechanism::Sha256Hmac),
            "AES_CBC" => Some(SecretMechanism::AesCbc),
            _ => {
                let problem = format!("the mechanism \"{name}\" is unknown");
                let remedy = "write \"SHA256_HMAC\", or \"AES_CBC\" where the module has no HMAC";
                table.fault("mechanism", Some(&at), &problem, remedy);
                None
            }
        })
    } else {
        Some(SecretMechanism::Sha256Hmac)
    };
    table.finish("label, id, mechanism");
    Some(Secret { selector: selector?, mechanism: mechanism? })
}

fn selector(table: &mut Table<'_, '_>) -> Option<Selector> {
    let remedy = "write label = \"…\" and/or id = \"hex\"";
    if !table.has("label") && !table.has("id") {
        table.fault("label", None, "neither label nor id is set", remedy);
        return None;
    }
    let label = table.string("label").and_then(|(label, at)| {
        if label.is_empty() {
            table.fault("label", Some(&at), "the label is empty", remedy);
            return None;
        }
        Some(label)
    });
    let id = table.string("id").and_then(|(id, at)| {
        let bytes = hex(&id).filter(|bytes| (1..=KEY_ID_BYTES_MAX).contains(&bytes.len()));
        if bytes.is_none() {
            let problem = format!("this is not hex of 1 to {KEY_ID_BYTES_MAX} bytes");
            table.fault("id", Some(&at), &problem, remedy);
        }
        bytes
    });
    (label.is_some() || id.is_some()).then_some(Selector { label, id })
}

fn is_key_name(name: &str) -> bool {
    (1..=KEY_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    digits
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from((high << 4) | low).ok(),
            _ => None,
        })
        .collect()
}

/// The bounds of every count fit any `usize`; a machine where they do not gets the lowest value.
fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(1)
}
