//! What this process has of the module: the real one, the script in force, the tally, the sessions.
//!
//! Made when the module is first asked for its functions. Whatever is missing or wrong then or later ends
//! the process with a line on standard error: a test must never go on without its faults.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

use crate::application::Application;
use crate::function::Function;
use crate::real::Real;
use crate::running::{Identity, Running};
use crate::script::{Act, Back};
use crate::tally::Counters;

/// Names the real module.
pub(crate) const MODULE: &str = "PKCS11_FAULTS_MODULE";
/// Names the script.
pub(crate) const SCRIPT: &str = "PKCS11_FAULTS_SCRIPT";

/// All of it.
pub(crate) struct Context {
    pub(crate) real: Real,
    pub(crate) tally: Counters,
    path: PathBuf,
    c_path: CString,
    running: RwLock<Arc<Running>>,
    application: Mutex<Application>,
    /// Losses that this process has drawn the consequences of.
    noticed: AtomicU64,
    /// Held by every call of the real module; alone by whoever takes sessions away under the callers.
    gate: RwLock<()>,
}

/// Says why, and ends the process.
pub(crate) fn refuse(reason: &str) -> ! {
    eprintln!("pkcs11-faults: {reason}");
    std::process::abort()
}

impl Context {
    /// That of this process.
    pub(crate) fn get() -> &'static Self {
        static CONTEXT: OnceLock<Context> = OnceLock::new();
        CONTEXT.get_or_init(Self::new)
    }

    fn new() -> Self {
        let variable =
            |name| std::env::var_os(name).unwrap_or_else(|| refuse(&format!("{name} is not set")));
        let module = variable(MODULE);
        let path = PathBuf::from(variable(SCRIPT));
        let real = Real::load(&module)
            .unwrap_or_else(|error| refuse(&format!("{}: {error}", Path::new(&module).display())));
        let tally = Counters::open(&path)
            .unwrap_or_else(|error| refuse(&format!("the tally of {}: {error}", path.display())));
        let c_path = CString::new(path.as_os_str().as_bytes())
            .unwrap_or_else(|_| refuse("the script's path has a zero byte"));
        let losses = tally.losses();
        let running = Running::load(&path, &tally);
        let mut application = Application::new(losses);
        application.started_without = running.is_away(Back::Process);
        Self {
            real,
            tally,
            path,
            c_path,
            running: RwLock::new(Arc::new(running)),
            application: Mutex::new(application),
            noticed: AtomicU64::new(losses.iter().sum()),
            gate: RwLock::new(()),
        }
    }

    /// The script in force: the file's, as it is now.
    pub(crate) fn running(&self) -> Arc<Running> {
        let identity = Identity::of_path(&self.c_path).unwrap_or_else(|error| {
            refuse(&format!("the script {}: {error}", self.path.display()))
        });
        {
            let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
            if running.identity == identity {
                return Arc::clone(&running);
            }
        }
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        if running.identity != identity {
            let new = Running::load(&self.path, &self.tally);
            if new.identity != running.identity {
                running.leave(&self.path);
            }
            *running = Arc::new(new);
        }
        Arc::clone(&running)
    }

    pub(crate) fn application(&self) -> MutexGuard<'_, Application> {
        self.application.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps sessions where they are while the real module is called.
    pub(crate) fn enter(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody is inside the real module, and lets nobody in: SoftHSM writes its token at a log-in,
    /// and would be left with half of it, as no device is.
    pub(crate) fn clear(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the token is away for this process.
    pub(crate) fn is_away(&self, running: &Running) -> bool {
        if Back::ALL.iter().any(|back| running.is_away(*back)) {
            return true;
        }
        self.noticed.load(SeqCst) != 0 && self.application().is_blind(self.tally.losses())
    }

    /// Ends all sessions that were open when the token was lost, if it was.
    pub(crate) fn notice_losses(&self) {
        let losses: u64 = self.tally.losses().iter().sum();
        if self.noticed.load(SeqCst) == losses {
            return;
        }
        let _alone = self.clear();
        let mut application = self.application();
        if self.noticed.swap(losses, SeqCst) == losses {
            return;
        }
        for session in application.lose_sessions() {
            if let Some(close) = self.real.list.C_CloseSession {
                // SAFETY: any handle may be closed; nobody else is inside the real module.
                unsafe { close(session) };
            }
        }
    }

    /// Logs the user of this process out.
    pub(crate) fn log_out(&self) {
        let _alone = self.clear();
        let mut application = self.application();
        for session in application.one_session_of_each_slot() {
            if let Some(log_out) = self.real.list.C_Logout {
                // SAFETY: any handle may be logged out; nobody else is inside the real module.
                unsafe { log_out(session) };
            }
        }
        application.logged_out = true;
    }

    /// Loses the token by the line of this number.
    pub(crate) fn lose_token(&self, running: &Running, line: usize, back: Back) {
        running.start_absence(line);
        self.tally.lost(back);
    }

    /// Counts an act that takes effect.
    pub(crate) fn injected(&self, function: Function, act: &Act) {
        self.tally.injected(function, act.word());
    }
}
