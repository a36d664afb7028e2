//! What follows from what was found: oddities in sentences, and an `hsm.toml` to begin with.
//!
//! In go findings and the configuration that led to them, out come texts. The suggestion is where to begin:
//! `signerd hsm speed` measures which numbers are best.

use std::fmt::Write as _;

use hsm_config::CALL_DEADLINE_MS;
use hsm_config::FrontUser;
use hsm_config::HsmConfig;
use hsm_config::PROFILES;
use hsm_config::PinSource;
use hsm_config::REQUEST_DEADLINE_MS;
use hsm_config::SecretMechanism;
use hsm_config::Selector;
use serde::Serialize;

use super::findings::Findings;
use super::findings::Key;
use super::findings::Shown;

/// The profile where no other is near.
const ANY: &str = "network-hsm.toml";
/// Workers for a token in software: more than this were never faster.
const SOFTWARE_WORKERS_MAX: usize = 8;
/// Workers for a device: the second one signs while the first is replaced.
const DEVICE_WORKERS: usize = 2;
/// Sessions of a worker for a device: they wait for it most of the time.
const DEVICE_SESSIONS_MAX: usize = 8;

/// What to write to `hsm.toml`.
#[derive(Debug, Serialize)]
pub struct Suggestion {
    /// `pool.workers`.
    pub workers: usize,
    /// `pool.sessions`.
    pub sessions: usize,
    /// `pool.copy_keys`.
    pub copy_keys: bool,
    /// `pool.call_deadline_ms`.
    pub call_deadline_ms: u64,
    /// `pool.request_deadline_ms`.
    pub request_deadline_ms: u64,
    /// The profile of `hsm-config/profiles` whose comments fit best.
    pub profile: String,
    /// A whole file with these members, as TOML.
    pub hsm_toml: String,
}

impl Suggestion {
    pub(super) fn of(found: &Findings, config: &HsmConfig) -> Self {
        let device = found.token.device == Some(true)
            || found.mechanisms.of_interest.iter().any(|mechanism| mechanism.device == Some(true));
        let (workers, sessions) = if device {
            (DEVICE_WORKERS, DEVICE_SESSIONS_MAX)
        } else {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            (cores.min(SOFTWARE_WORKERS_MAX), 1)
        };
        let (workers, sessions) = within(workers, sessions, session_limit(found));
        let slowest = found.keys.values().filter_map(|key| key.latency.as_ref());
        let slowest = slowest.map(|latency| latency.p99_us).max().unwrap_or(0);
        // A hundred times what hardly any exceeds, in whole seconds: a busy token is slow, one that hangs is
        // slower still.
        let call_deadline = slowest.div_ceil(10_000).saturating_mul(1_000);
        let call_deadline_ms = call_deadline.clamp(5_000, CALL_DEADLINE_MS.1);
        let mut suggestion = Self {
            workers,
            sessions,
            copy_keys: !device && !found.keys.is_empty() && found.keys.values().all(copyable),
            call_deadline_ms,
            request_deadline_ms: call_deadline_ms.saturating_mul(2).min(REQUEST_DEADLINE_MS.1),
            profile: nearest(found).to_owned(),
            hsm_toml: String::new(),
        };
        suggestion.hsm_toml = suggestion.file(config);
        suggestion
    }

    fn file(&self, config: &HsmConfig) -> String {
        let mut text = format!(
            "# Suggested by signerd hsm probe; hsm-config/profiles/{} has more about such tokens.\nversion = 1\n",
            self.profile
        );
        let mut section = |head: &str, members: &[(&str, String)]| {
            // Writing to a string does not fail.
            let _ = write!(text, "\n[{head}]\n");
            for (name, value) in members {
                let _ = writeln!(text, "{name} = {value}");
            }
        };
        let variables = config.environment().iter();
        let variables: Vec<String> = variables
            .map(|(name, value)| format!("{} = {}", quoted(name), quoted(value)))
            .collect();
        let mut module = vec![("path", path(config.module()))];
        if !variables.is_empty() {
            module.push(("environment", format!("{{ {} }}", variables.join(", "))));
        }
        section("module", &module);
        let (label, serial) = (quoted(config.token_label()), quoted(config.token_serial()));
        section("token", &[("label", label), ("serial", serial)]);
        section(
            "pin",
            &[match config.pin() {
                PinSource::File(file) => ("file", path(file)),
                PinSource::Credential(name) => ("credential", quoted(name)),
            }],
        );
        section("pool", &self.pool(config));
        for (name, key) in config.keys() {
            let mut members = selector(key.selector());
            members.push(("algorithm", quoted(key.algorithm().name())));
            members.push(("certificate", path(key.certificate())));
            section(&format!("key.{name}"), &members);
        }
        let mut members = selector(config.secret().selector());
        if config.secret().mechanism() == SecretMechanism::AesCbc {
            members.push(("mechanism", quoted("AES_CBC")));
        }
        section("secret", &members);
        text
    }

    fn pool(&self, config: &HsmConfig) -> Vec<(&'static str, String)> {
        let mut members = Vec::new();
        if config.sockets().is_empty() {
            members.push(("workers", self.workers.to_string()));
        } else {
            let sockets: Vec<String> = config.sockets().iter().map(|socket| path(socket)).collect();
            members.push(("sockets", format!("[{}]", sockets.join(", "))));
        }
        members.push(("sessions", self.sessions.to_string()));
        members.push(("copy_keys", self.copy_keys.to_string()));
        members.push(("call_deadline_ms", self.call_deadline_ms.to_string()));
        members.push(("request_deadline_ms", self.request_deadline_ms.to_string()));
        members.push(("pin_latch", path(config.pin_latch())));
        match config.front_user() {
            None => {}
            Some(FrontUser::Id(id)) => members.push(("front_user", id.to_string())),
            Some(FrontUser::Name(name)) => members.push(("front_user", quoted(name))),
        }
        members
    }
}

fn copyable(key: &Key) -> bool {
    key.copy.works
}

/// Most sessions at once, the one that keeps the log-in included, where the token has a limit.
fn session_limit(found: &Findings) -> Option<usize> {
    let said = found.token.sessions_max.parse().ok();
    let met = (found.sessions.opened < found.sessions.tried)
        .then(|| found.sessions.opened.saturating_add(1));
    [said, met].into_iter().flatten().min()
}

/// Fewer workers and sessions where the token does not have as many; each worker keeps one more open.
fn within(workers: usize, sessions: usize, limit: Option<usize>) -> (usize, usize) {
    let Some(limit) = limit else { return (workers, sessions) };
    let workers = workers.min(limit / 2).max(1);
    let each = limit.checked_div(workers).unwrap_or(limit);
    (workers, sessions.min(each.saturating_sub(1)).max(1))
}

/// The profile with the same library, or one that is named like the product.
fn nearest(found: &Findings) -> &'static str {
    let file = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let library = file(&found.module.path);
    let same = PROFILES.iter().find(|(_, text)| {
        let path = text.lines().find_map(|line| line.strip_prefix("path = \"")?.split('"').next());
        path.is_some_and(|path| file(path) == library)
    });
    let names = [
        found.module.description.as_deref().unwrap_or_default(),
        found.module.manufacturer.as_deref().unwrap_or_default(),
        &found.token.model,
        &found.token.manufacturer,
    ];
    let names = names.join(" ").to_lowercase();
    let named = || {
        PROFILES.iter().find(|(profile, _)| {
            let words = profile.trim_end_matches(".toml").split('-');
            let words = words.map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()));
            let mut telling =
                words.filter(|word| !["aws", "hsm", "network", "pcie"].contains(word));
            telling.any(|word| word.len() > 2 && names.contains(word))
        })
    };
    same.or_else(named).map_or(ANY, |(profile, _)| *profile)
}

fn selector(selector: &Selector) -> Vec<(&'static str, String)> {
    let label = selector.label().map(|label| ("label", quoted(label)));
    let id = selector.id().map(|id| ("id", quoted(&data_encoding::HEXLOWER.encode(id))));
    label.into_iter().chain(id).collect()
}

fn path(path: &std::path::Path) -> String {
    quoted(&path.display().to_string())
}

/// A basic string of TOML 1.0; what must be escaped in it must be in JSON, too, but for DEL.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// What is odd about a token, for whoever has to live with it.
pub(super) fn quirks(found: &Findings) -> Vec<String> {
    let mut quirks = Vec::new();
    let mut odd = |is: bool, sentence: String| {
        if is {
            quirks.push(sentence);
        }
    };
    let token = &found.token;
    odd(token.pin.count_low, "a wrong user PIN was tried before this log-in".to_owned());
    odd(token.pin.to_be_changed, "the token wants the user PIN changed".to_owned());
    for (name, key) in &found.keys {
        let flag = |attribute: &str| match key.attributes.get(attribute) {
            Some(Some(Shown::Flag(flag))) => Some(*flag),
            _ => None,
        };
        let key_is = |what: &str| format!("key \"{name}\": {what}");
        if let Some(refused) = &key.refused {
            odd(true, format!("a worker refuses it: {refused}"));
        }
        odd(flag("LOCAL") == Some(false), key_is("it was not generated in the token"));
        odd(flag("NEVER_EXTRACTABLE") == Some(false), key_is("it was extractable once"));
        odd(flag("ALWAYS_SENSITIVE") == Some(false), key_is("it was not always sensitive"));
        let others = ["DECRYPT", "UNWRAP", "DERIVE", "SIGN_RECOVER"];
        let others: Vec<&str> =
            others.into_iter().filter(|other| flag(other) == Some(true)).collect();
        let more = key_is(&format!("it may do more than sign: {}", others.join(", ")));
        odd(!others.is_empty(), more);
        let absent = ["SENSITIVE", "EXTRACTABLE", "NEVER_EXTRACTABLE", "ALWAYS_SENSITIVE", "LOCAL"];
        let absent = absent.into_iter().filter(|name| flag(name).is_none()).collect::<Vec<_>>();
        let silent = key_is(&format!("the token does not show {}", absent.join(", ")));
        odd(!key.attributes.is_empty() && !absent.is_empty(), silent);
        odd(
            key.ec_point.as_deref() == Some("raw"),
            key_is("CKA_EC_POINT is the bare point, without the OCTET STRING of the standard"),
        );
        // The other form would only matter where this one does not work.
        for form in key.forms.iter().filter(|form| form.input == "digest" && !form.works) {
            let problem = form.problem.as_deref().unwrap_or_default();
            odd(true, key_is(&format!("{} does not sign: {problem}", form.mechanism)));
        }
    }
    if let Some(problem) = &found.secret.problem {
        odd(true, format!("the ledger's secret cannot be made: {problem}"));
    }
    let sessions = &found.sessions;
    odd(
        sessions.opened < sessions.tried,
        format!("no more than {} sessions open beside the first", sessions.opened),
    );
    let life = &found.life;
    odd(
        life.session_after_another_opens == "Ok",
        "after C_Initialize a stale session handle is another session".to_owned(),
    );
    odd(
        life.object_of_closed_session == "Ok",
        "an object outlives the session that it was made in".to_owned(),
    );
    if let Some(problem) = &life.problem {
        odd(true, format!("the module does not begin again: {problem}"));
    }
    quirks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_shared_out_with_a_session_for_each_log_in() {
        // Without a limit nothing changes; with one, all workers' sessions and log-ins stay within it.
        assert_eq!(within(2, 8, None), (2, 8));
        assert_eq!(within(2, 8, Some(16)), (2, 7));
        assert_eq!(within(2, 8, Some(5)), (2, 1));
        assert_eq!(within(4, 1, Some(3)), (1, 1));
        assert_eq!(within(2, 8, Some(2)), (1, 1));
    }

    #[test]
    fn a_text_is_quoted_for_toml() {
        // Quotes, backslashes, control characters and DEL are escaped.
        assert_eq!(quoted("a\"b\\c\n\u{7f}ế"), "\"a\\\"b\\\\c\\n\\u007fế\"");
    }
}
