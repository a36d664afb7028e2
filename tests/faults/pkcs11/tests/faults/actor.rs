//! A token of a test's own with a script beside it, and processes that use it through the module.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use pkcs11_faults::{Line, Script, Tally};
use tempfile::TempDir;

/// The user PIN of every token.
pub(crate) const PIN: &str = "471108";
/// Longest answer; a loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// A token with the keys `rsa`, `ec` and `other-ec`, and `other-rsa`.
pub(crate) struct Token {
    folder: TempDir,
}

impl Token {
    /// A copy of the token that is made once for all tests.
    pub(crate) fn new() -> Self {
        let base = base();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(base.join("tokens")).arg(folder.path());
        assert!(copy.status().is_ok_and(|status| status.success()), "cp failed");
        configure(folder.path());
        let token = Self { folder };
        token.play([]);
        token
    }

    /// Puts a script of these lines in force.
    pub(crate) fn play(&self, lines: impl IntoIterator<Item = Line>) {
        self.play_text(&Script(lines.into_iter().collect()).to_string());
    }

    /// Puts any text in force as the script.
    pub(crate) fn play_text(&self, text: &str) {
        let new = self.folder.path().join("script.new");
        fs::write(&new, text).expect("a script");
        fs::rename(new, self.script()).expect("the script's place");
    }

    pub(crate) fn script(&self) -> PathBuf {
        self.folder.path().join("script")
    }

    pub(crate) fn tally(&self) -> Tally {
        Tally::of_script(&self.script()).expect("a tally")
    }

    /// A process with the module that has done nothing yet.
    pub(crate) fn process(&self) -> Actor {
        self.process_with(&module())
    }

    /// A process with the real module, and no faults.
    pub(crate) fn honest_process(&self) -> Actor {
        self.process_with(&softhsm())
    }

    /// A process that has a session and is logged in.
    pub(crate) fn user(&self) -> Actor {
        let mut actor = self.process();
        for told in ["initialize", "slot"] {
            assert_eq!(actor.tell(told), "ok");
        }
        assert_eq!(actor.tell("open"), "ok 0");
        assert_eq!(actor.tell(&format!("log-in 0 {PIN}")), "ok");
        actor
    }

    fn process_with(&self, module: &Path) -> Actor {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pkcs11-actor"));
        command.arg(module).env("SOFTHSM2_CONF", self.folder.path().join("softhsm2.conf"));
        command.env("PKCS11_FAULTS_MODULE", softhsm()).env("PKCS11_FAULTS_SCRIPT", self.script());
        Actor::start(command)
    }
}

/// A process that does what it is told; killed when the test ends.
pub(crate) struct Actor {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

impl Actor {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("an actor");
        let orders = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (send, answers) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        Self { child, orders, answers }
    }

    /// Tells it something and waits for what came of it; nothing if it ended.
    pub(crate) fn tell(&mut self, order: &str) -> String {
        self.order(order);
        self.answer()
    }

    /// Tells it something.
    pub(crate) fn order(&mut self, order: &str) {
        // One that has ended says nothing, which is what the test will see.
        let _ = writeln!(self.orders, "{order}");
    }

    /// What came of what it was told; nothing if it ended.
    pub(crate) fn answer(&mut self) -> String {
        match self.answers.recv_timeout(PATIENCE) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => String::new(),
            Err(RecvTimeoutError::Timeout) => panic!("an actor says nothing"),
        }
    }

    /// Whether nothing is said for so long.
    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        matches!(self.answers.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }

    /// Signs with a key; gives the signature in hexadecimal digits.
    pub(crate) fn sign(&mut self, label: &str) -> String {
        let answer = self.tell(&format!("sign 0 {label}"));
        let signature =
            answer.strip_prefix("ok").unwrap_or_else(|| panic!("no signature: {answer}"));
        signature.trim_start().to_owned()
    }

    /// Whether a signature is this key's, as the real module sees it.
    pub(crate) fn verifies(&mut self, label: &str, signature: &str) -> bool {
        self.tell(&format!("verify 0 {label} {signature}")) == "ok"
    }

    /// How it ended, and what it said on standard error.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        let status = self.child.wait().expect("its end");
        let mut errors = self.child.stderr.take().expect("its errors");
        std::io::Read::read_to_string(&mut errors, &mut said).expect("text");
        (status, said)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The module under test, which cargo builds with whatever depends on it.
fn module() -> PathBuf {
    let beside = PathBuf::from(env!("CARGO_BIN_EXE_pkcs11-actor"));
    beside.with_file_name("deps").join("libpkcs11_faults.so")
}

/// SoftHSM, where distributions have it.
fn softhsm() -> PathBuf {
    let fixed = PathBuf::from("/usr/lib/softhsm/libsofthsm2.so");
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().filter_map(Result::ok);
    let of_machine = folders.map(|folder| folder.path().join("softhsm/libsofthsm2.so"));
    let found = std::iter::once(fixed).chain(of_machine).find(|path| path.exists());
    found.expect("libsofthsm2.so is nowhere; install softhsm2")
}

/// The folder of the token that all tests copy, made when it is not there or this source changed.
fn base() -> PathBuf {
    let mut hasher = DefaultHasher::new();
    include_str!("actor.rs").hash(&mut hasher);
    let shared = std::env::temp_dir().join(format!("pkcs11-faults-{:016x}", hasher.finish()));
    fs::create_dir_all(&shared).expect("a folder");
    let lock = fs::File::create(shared.join("lock")).expect("a lock");
    lock.lock().expect("the lock");
    let base = shared.join("base");
    if !base.exists() {
        let unfinished = shared.join("unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        make(&unfinished);
        fs::rename(unfinished, &base).expect("its place");
    }
    base
}

/// Makes a token with all keys in a folder that is not there yet.
fn make(folder: &Path) {
    fs::create_dir_all(folder.join("tokens")).expect("a folder");
    configure(folder);
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).env("SOFTHSM2_CONF", folder.join("softhsm2.conf"));
        let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(output.status.success(), "{program}: {output:?}");
    };
    let pins = ["--so-pin", "12345678", "--pin", PIN];
    run("softhsm2-util", &[&["--init-token", "--free", "--label", "faults"][..], &pins].concat());
    let module = softhsm().display().to_string();
    let keys = [
        ("rsa", "rsa:2048", "01"),
        ("other-rsa", "rsa:2048", "02"),
        ("ec", "EC:prime256v1", "03"),
        ("other-ec", "EC:prime256v1", "04"),
    ];
    for (label, kind, id) in keys {
        let key = ["--keypairgen", "--key-type", kind, "--label", label, "--id", id];
        let token = ["--module", &module, "--login", "--pin", PIN];
        run("pkcs11-tool", &[&token[..], &key].concat());
    }
}

/// Tells SoftHSM where the token of a folder is.
fn configure(folder: &Path) {
    let tokens = folder.join("tokens");
    let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
    fs::write(folder.join("softhsm2.conf"), text).expect("a configuration");
}
