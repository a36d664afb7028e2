//! The other process: it alone loads the vendor's PKCS#11 module, reads the PIN and signs.
//!
//! ```text
//!   front ══ socket ══► reader ──► queue ──► session thread 1 ──► PKCS#11
//!                                       └──► session thread S ──► PKCS#11
//!         ◄══ socket ══ answers of the session threads, heartbeat
//!   watchdog: ends the process when one PKCS#11 call overruns its deadline
//! ```
//!
//! In go `hsm.toml` and a connection to the front, out come signatures over digests. The worker
//! logs in only when a front is connected, so the front decides who starts when. It promises to try
//! the PIN once, to sign only with keys that it has proved against their certificates, and to end
//! rather than to hang. Threads only, no async: the calls block for as long as the vendor likes.

mod certificate;
mod channel;
mod copy;
mod errand;
mod fault;
mod key;
mod ladder;
mod log_in;
mod probe;
mod secret;
mod serve;
mod speed;
mod token;
mod watchdog;

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;
use std::sync::Arc;

use hsm_config::HsmConfig;
use rustix::process::DumpableBehavior;
use rustix::process::Signal;

pub use errand::run as run_errand;

use channel::Fronts;
use fault::Fault;
use key::Handles;
use key::Lane;
use token::Token;
use watchdog::Watchdog;

/// What `signerd hsm-worker` is told on its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerArgs {
    /// Path of `hsm.toml`.
    pub config: PathBuf,
    /// Which of the tokens that hold the keys, counted from 0.
    pub token: usize,
    /// Where the front is.
    pub channel: Channel,
}

/// How a worker and its front come together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// `--tether`: standard input is the connection to the front that spawned this worker; when the
    /// front ends, however it ends, so does the worker.
    Tether,
    /// `--socket PATH`: listen there, and go on after the front has gone.
    Listen(PathBuf),
    /// Neither: standard input is a listening socket, as systemd's `StandardInput=socket` gives it.
    Activated,
}

/// Works until there is no front to work for; the exit code says what an operator has to do.
///
/// 0: the front ended. 75: the token failed, start again. 77: the PIN was refused or latched.
/// 78: the configuration does not fit the machine or the token. A worker whose threads run ends by
/// SIGKILL on itself, because leaving through the C library runs the module's own clean-up, which
/// crashes in some.
#[must_use]
pub fn run(args: &WorkerArgs) -> ExitCode {
    match work(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            say(&fault.to_string());
            ExitCode::from(fault.exit_code())
        }
    }
}

fn work(args: &WorkerArgs) -> Result<(), Fault> {
    let config = match read_config(&args.config, args.token) {
        Ok(config) => Arc::new(config),
        Err(fault) => {
            if args.channel == Channel::Tether {
                channel::tethered().and_then(|outlet| outlet.bid_farewell(&fault)).ok();
            }
            return Err(fault);
        }
    };
    enter_environment(&config)?;
    shield()?;
    let mut fronts = Fronts::open(&args.channel, &config)?;
    let mut front = fronts.next()?;
    let watchdog = Watchdog::start(config.sessions(), config.call_deadline(), front.outlet());
    let lanes = {
        let watched = watchdog.watch(0, config.start_deadline());
        Token::open(Arc::clone(&config)).and_then(|token| {
            let token = Arc::new(token);
            let with = Handles::of(&config);
            let lanes = (0..config.sessions()).map(|_| Lane::open(&token, &config, with, &watched));
            lanes.collect::<Result<Vec<_>, _>>()
        })
    };
    let lanes = match lanes {
        Ok(lanes) => lanes,
        Err(fault) => {
            // The front may be gone already; the log has the fault in every case.
            let _ = front.outlet().bid_farewell(&fault);
            return Err(fault);
        }
    };
    serve::serve(lanes, &config, &watchdog, |station| {
        loop {
            station.attend(&front)?;
            if args.channel == Channel::Tether {
                station.close();
            }
            front = fronts.next()?;
        }
    })
}

fn read_config(path: &Path, token: usize) -> Result<HsmConfig, Fault> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Fault::config(path.display(), format!("it cannot be read: {e}"), "check path and rights")
    })?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let config = HsmConfig::parse(&text, folder).map_err(|faults| {
        let list: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Fault::config(path.display(), list.join("; "), "mend the file")
    })?;
    config.of_token(token).ok_or_else(|| {
        let problem = format!(
            "it has {} tokens, and none of number {}",
            config.tokens(),
            token.saturating_add(1)
        );
        Fault::config(path.display(), problem, "give another --token, or add a [[replica]]")
    })
}

/// Starts this program again where the module's variables are not in its environment: setting them
/// in a running process is not safe, and the C library of the module reads its own copy.
fn enter_environment(config: &HsmConfig) -> Result<(), Fault> {
    let missing = |(name, value): (&String, &String)| {
        std::env::var_os(name).as_deref() != Some(OsStr::new(value))
    };
    if !config.environment().iter().any(missing) {
        return Ok(());
    }
    let mut args = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    let error = command.args(args).envs(config.environment()).exec();
    Err(Fault::token(format!("the worker cannot start itself again: {error}")))
}

/// No core file and no debugger may show the PIN.
fn shield() -> Result<(), Fault> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|e| Fault::token(format!("the process cannot be made undumpable: {e}")))
}

/// One line for the log; a worker's standard error is the front's or the journal.
pub(super) fn say(line: &str) {
    // Where nobody reads the log there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "signerd hsm-worker: {line}");
}

/// Ends this process at once, without any clean-up of the module or the C library.
pub(super) fn end_now() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    // The signal is on its way; nothing must happen in between.
    loop {
        std::thread::park();
    }
}
