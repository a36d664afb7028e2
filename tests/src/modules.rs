//! The PKCS#11 modules that the signing tests run on, each with a development set-up of its own.
//!
//! `tests/token/modules.sh` knows how each of them is made; what it cannot make here it names with the
//! reason, and the test that asked for it has nothing to run on.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::process;
use crate::setup::{Setup, made_once};

/// How long may a module's server take until its socket is there?
const PATIENCE: Duration = Duration::from_secs(30);

/// A PKCS#11 module that can be had without hardware.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Module {
    /// A token in Rust; it locks its PIN at the tenth wrong try.
    Kryoptic,
    /// Softokn, handed its initialisation string by p11-kit's proxy.
    Nss,
    /// SoftHSM behind a server in another process, which can be killed and stopped.
    P11Kit,
    /// What all other tests use.
    SoftHsm,
}

impl Module {
    /// A set-up with its keys in this module, and the server that runs beside it if it has one; nothing,
    /// and a line that says so, where the module cannot be had here.
    pub fn setup(self) -> Option<(Setup, Option<Server>)> {
        let name = self.name();
        let Some(made) = made_once(name, "tests/token/modules.sh", &[name]) else {
            eprintln!("SKIPPED: {name}: this test did not run; the line before says why");
            return None;
        };
        let setup = Setup::of(&made);
        let server = setup.path("serve-module").exists().then(|| Server::start(&setup));
        Some((setup, server))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Kryoptic => "kryoptic",
            Self::Nss => "nss",
            Self::P11Kit => "p11kit",
            Self::SoftHsm => "softhsm",
        }
    }
}

/// The server of a module, with a process for each worker; all are killed when the test ends.
pub struct Server(Child);

impl Server {
    /// Starts the set-up's server, anew where it ran before.
    pub fn start(setup: &Setup) -> Self {
        let socket = setup.path("p11-kit.sock");
        let _ = std::fs::remove_file(&socket);
        let mut command = Command::new(setup.path("serve-module"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self(command.spawn().expect("the module's server"));
        let since = Instant::now();
        while !socket.exists() {
            assert!(since.elapsed() < PATIENCE, "the module's server has no socket");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    /// Sends a signal to the server and to its processes for the workers.
    pub fn signal(&self, signal: Signal) {
        let own = Pid::from_child(&self.0);
        // Stopped it starts no more of them, and ended it would not be their parent any longer.
        process::signal(&[own], Signal::STOP);
        let mut all = process::children_of(own);
        all.push(own);
        process::signal(&all, signal);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.0.wait();
    }
}
