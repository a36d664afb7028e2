//! An HSM that fails as a test says: the module `pkcs11-faults` between the workers and SoftHSM.
//!
//! A script of [`Line`]s is in force from when it is played until the next one is, for every process that
//! has loaded the module by then or does later. What happened is in the [`Tally`]; it only grows, so a test
//! that wants to know what happened since some moment subtracts what it read then. What the lines mean is
//! written at the head of the module's crate.

use std::fs;
use std::path::{Path, PathBuf};

pub use pkcs11_faults::{
    Act, AttributeName, Back, Code, Function, Line, LogIn, Mechanism, Script, State, Tally,
    TokenFlag,
};

use crate::setup::{Setup, program};

/// The module between the workers of a set-up and its token.
pub struct Shim {
    real: PathBuf,
    script: PathBuf,
}

impl Shim {
    /// Puts the module under the workers of a set-up, which must not have been started, with no faults yet.
    pub fn under(setup: &Setup) -> Self {
        Self::under_file(setup, "hsm.toml", "faults")
    }

    /// Puts the module under the workers of one configuration file of several, with a script of this name:
    /// each token can fail for itself.
    pub fn under_file(setup: &Setup, hsm_toml: &str, script: &str) -> Self {
        let text = setup.text(hsm_toml);
        let line = |start: &str| text.lines().find(|line| line.starts_with(start));
        let path = line("path = \"").unwrap_or_else(|| panic!("{hsm_toml} names no module"));
        let real = path.split('"').nth(1).expect("a path in quotes");
        let shim = Self::before(Path::new(real), setup, script);
        let environment = "environment = { ";
        let mut variables = String::from(environment);
        for (name, value) in shim.environment() {
            variables.push_str(&format!("{name} = \"{}\", ", value.display()));
        }
        let module = format!("path = \"{}\"", Self::module().display());
        match line(environment) {
            Some(_) => {
                setup.change(hsm_toml, path, &module);
                setup.change(hsm_toml, environment, &variables);
            }
            None => {
                let variables = variables.trim_end_matches([',', ' ']);
                setup.change(hsm_toml, path, &format!("{module}\n{variables} }}"));
            }
        }
        shim
    }

    /// The module with a script of this name in front of another one, with no faults yet; the configuration
    /// is as it was.
    pub fn before(real: &Path, setup: &Setup, script: &str) -> Self {
        let shim = Self { real: real.to_owned(), script: setup.path(script) };
        shim.play([]);
        shim
    }

    /// The module itself, which cargo builds with the tests that depend on it.
    pub fn module() -> PathBuf {
        program("deps/libpkcs11_faults.so")
    }

    /// The variables with which any program that loads the module gets the same token and faults.
    pub fn environment(&self) -> [(&'static str, &Path); 2] {
        [("PKCS11_FAULTS_MODULE", &self.real), ("PKCS11_FAULTS_SCRIPT", &self.script)]
    }

    /// Puts these lines in force in place of those that were; all counters begin again.
    pub fn play(&self, lines: impl IntoIterator<Item = Line>) {
        let script = Script(lines.into_iter().collect());
        let new = self.script.with_extension("new");
        fs::write(&new, script.to_string()).expect("a script");
        fs::rename(new, &self.script).expect("the script's place");
    }

    /// Ends all faults.
    pub fn mend(&self) {
        self.play([]);
    }

    /// What has happened so far.
    pub fn tally(&self) -> Tally {
        Tally::of_script(&self.script).expect("a tally")
    }
}
