//! The module's own rate: what the token signs in a second when nothing else is done.
//!
//! `ceiling --config hsm.toml --key NAME [--processes N] [--sessions S] [--seconds D]` starts that
//! many processes of itself, each with that many sessions, lets all begin at the same moment and
//! counts signatures for that long. Each makes the very calls that a worker makes, with its handle
//! found once: nothing in front of them can be faster. One JSON object on standard output. It needs
//! the module's variables in nobody's environment; it passes them on from `hsm.toml`.

use std::collections::HashMap;
use std::error::Error;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;
use std::sync::Barrier;
use std::time::Duration;
use std::time::Instant;

use cryptoki::context::CInitializeArgs;
use cryptoki::context::CInitializeFlags;
use cryptoki::context::Pkcs11;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::MechanismType;
use cryptoki::mechanism::rsa::PkcsMgfType;
use cryptoki::mechanism::rsa::PkcsPssParams;
use cryptoki::object::Attribute;
use cryptoki::object::ObjectClass;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use hsm_config::Algorithm;
use hsm_config::HsmConfig;
use hsm_config::Key;
use hsm_config::PinSource;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "usage: ceiling --config hsm.toml --key NAME [--processes N] [--sessions S] \
                     [--seconds D]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is closed there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "ceiling: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    let options = Options::read()?;
    let text = std::fs::read_to_string(&options.config)?;
    let folder = options.config.parent().unwrap_or_else(|| Path::new("."));
    let config = HsmConfig::parse(&text, folder)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    if options.is_child { count(&options, &config) } else { measure(&options, &config) }
}

struct Options {
    config: PathBuf,
    key: String,
    processes: Option<usize>,
    sessions: Option<usize>,
    seconds: f64,
    is_child: bool,
}

impl Options {
    fn read() -> Outcome<Self> {
        let mut values = HashMap::new();
        let mut args = std::env::args().skip(1);
        while let Some(name) = args.next() {
            values.insert(name, args.next().ok_or(USAGE)?);
        }
        let mut take = |name: &str| values.remove(name);
        let options = Self {
            config: take("--config").ok_or(USAGE)?.into(),
            key: take("--key").ok_or(USAGE)?,
            processes: take("--processes").map(|n| n.parse()).transpose()?,
            sessions: take("--sessions").map(|n| n.parse()).transpose()?,
            seconds: take("--seconds").map_or(Ok(5.0), |n| n.parse())?,
            is_child: take("--as").is_some_and(|role| role == "child"),
        };
        if values.is_empty() { Ok(options) } else { Err(USAGE.into()) }
    }
}

/// The parent: starts the processes one after the other, then all at once, and adds up.
fn measure(options: &Options, config: &HsmConfig) -> Outcome<()> {
    let key = config.key(&options.key).ok_or("hsm.toml has no such key")?;
    let processes = options.processes.unwrap_or(config.workers()).max(1);
    let sessions = options.sessions.unwrap_or(config.sessions()).max(1);
    let mut children = Vec::new();
    for _ in 0..processes {
        let mut child = spawn(options, config, sessions)?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut ready = String::new();
        output.read_line(&mut ready)?;
        if ready.trim() != "ready" {
            return Err("a process did not become ready".into());
        }
        children.push((child, output));
    }
    for (child, _) in &mut children {
        child.stdin.as_mut().ok_or("no input")?.write_all(b"go\n")?;
    }
    let mut rate = 0.0;
    let mut signatures = 0_u64;
    for (mut child, mut output) in children {
        let mut text = String::new();
        output.read_to_string(&mut text)?;
        child.wait()?;
        let (count, seconds) = text.trim().split_once(' ').ok_or("a process gave no count")?;
        let count: u32 = count.parse()?;
        rate += f64::from(count) / seconds.parse::<f64>()?;
        signatures = signatures.saturating_add(count.into());
    }
    let result = serde_json::json!({
        "key": options.key,
        "algorithm": key.algorithm().name(),
        "processes": processes,
        "sessions": sessions,
        "seconds": options.seconds,
        "signatures": signatures,
        "per_second": (rate * 10.0).round() / 10.0,
    });
    writeln!(std::io::stdout(), "{result}")?;
    Ok(())
}

fn spawn(options: &Options, config: &HsmConfig, sessions: usize) -> Outcome<Child> {
    Ok(Command::new(std::env::current_exe()?)
        .args(["--as", "child", "--key", &options.key])
        .args(["--sessions", &sessions.to_string(), "--seconds", &options.seconds.to_string()])
        .arg("--config")
        .arg(&options.config)
        .envs(config.environment())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?)
}

/// A child: logs in, finds the key for each session, waits for the word, signs and counts.
fn count(options: &Options, config: &HsmConfig) -> Outcome<()> {
    let key = config.key(&options.key).ok_or("hsm.toml has no such key")?;
    let sessions = options.sessions.unwrap_or(1);
    let (keeper, lanes) = open(config, key, sessions)?;
    writeln!(std::io::stdout(), "ready")?;
    std::io::stdin().read_line(&mut String::new())?;
    let duration = Duration::from_secs_f64(options.seconds);
    let barrier = Barrier::new(lanes.len());
    let since = Instant::now();
    let counts: Outcome<Vec<u32>> = std::thread::scope(|scope| {
        let threads: Vec<_> = lanes
            .into_iter()
            .map(|(session, handle)| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    sign_for(&session, handle, key.algorithm(), duration)
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().map_err(|_| "a thread was lost")?).collect()
    });
    let total: u32 = counts?.iter().sum();
    writeln!(std::io::stdout(), "{total} {}", since.elapsed().as_secs_f64())?;
    drop(keeper);
    Ok(())
}

type Lane = (Session, ObjectHandle);

fn open(config: &HsmConfig, key: &Key, sessions: usize) -> Outcome<(Session, Vec<Lane>)> {
    let pkcs11 = Pkcs11::new(config.module())?;
    // Some modules crash when they are unloaded.
    std::mem::forget(pkcs11.clone());
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let slot = pkcs11.get_slots_with_token()?.into_iter().find(|slot| {
        pkcs11.get_token_info(*slot).is_ok_and(|info| {
            info.label().trim() == config.token_label()
                && info.serial_number().trim() == config.token_serial()
        })
    });
    let slot = slot.ok_or("the token is not there")?;
    let keeper = pkcs11.open_ro_session(slot)?;
    let PinSource::File(pin) = config.pin() else { return Err("pin.file is needed".into()) };
    let pin = std::fs::read_to_string(pin)?;
    keeper.login(UserType::User, Some(&AuthPin::from(pin.trim_end())))?;
    let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
    template.extend(key.selector().label().map(|label| Attribute::Label(label.into())));
    template.extend(key.selector().id().map(|id| Attribute::Id(id.into())));
    let mut lanes = Vec::new();
    for _ in 0..sessions {
        let session = pkcs11.open_ro_session(slot)?;
        let handle = *session.find_objects(&template)?.first().ok_or("the key is not there")?;
        lanes.push((session, handle));
    }
    Ok((keeper, lanes))
}

fn sign_for(
    session: &Session,
    handle: ObjectHandle,
    algorithm: Algorithm,
    duration: Duration,
) -> Outcome<u32> {
    let mechanism = match algorithm {
        Algorithm::Ps256 => Mechanism::RsaPkcsPss(PkcsPssParams {
            hash_alg: MechanismType::SHA256,
            mgf: PkcsMgfType::MGF1_SHA256,
            s_len: 32.into(),
        }),
        Algorithm::Es256 => Mechanism::Ecdsa,
    };
    let mut digest = [0_u8; 32];
    let mut count = 0_u32;
    let since = Instant::now();
    while since.elapsed() < duration {
        if let Some(start) = digest.first_chunk_mut() {
            *start = count.to_be_bytes();
        }
        session.sign(&mechanism, handle, &digest)?;
        count = count.saturating_add(1);
    }
    Ok(count)
}
