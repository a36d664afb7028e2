//! A development set-up of a test's own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The files of a set-up that name its folder; which are there depends on the module.
const WITH_PATHS: [&str; 7] = [
    "hsm.toml",
    "kryoptic.conf",
    "p11-kit/pkcs11/modules/nss.module",
    "serve-module",
    "signerctl.toml",
    "signerd.toml",
    "softhsm2.conf",
];
/// How a script says that what it was asked for cannot be had on this machine.
const SKIPPED: i32 = 77;

/// A copy of the development set-up in a folder that vanishes with it.
pub struct Setup {
    folder: TempDir,
    /// Port of the signing listener.
    pub signing: u16,
    /// Port of the officers' listener.
    pub officer: u16,
    /// Port of the observability listener.
    pub observability: u16,
}

impl Setup {
    /// Copies the set-up that was made once for all tests, and gives it ports and paths of its own.
    pub fn new() -> Self {
        let made = made_once("tests", "softhsm-setup.sh", &["--dir"]);
        Self::of(&made.expect("softhsm-setup.sh cannot be skipped"))
    }

    /// A copy of a set-up that was made with the ports of the scripts.
    pub(crate) fn of(made: &Path) -> Self {
        Self::copied(made, [8443, 8444, 8445])
    }

    /// One more appliance beside this one: the same keys, secrets, clients and rules, with ports and paths
    /// of its own. Neither may have been started.
    pub fn twin(&self) -> Self {
        Self::copied(self.dir(), [self.signing, self.officer, self.observability])
    }

    fn copied(base: &Path, old: [u16; 3]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy(base, folder.path());
        let [signing, officer, observability] = free_ports();
        let setup = Self { folder, signing, officer, observability };
        let ports = old.into_iter().zip([signing, officer, observability]);
        let ports: Vec<_> = ports.collect();
        let (old, new) = (base.display().to_string(), setup.dir().display().to_string());
        for file in WITH_PATHS.into_iter().filter(|file| setup.path(file).exists()) {
            setup.edit(file, |text| text.replace(&old, &new));
        }
        for file in ["signerd.toml", "signerctl.toml"] {
            setup.edit(file, |text| {
                ports.iter().fold(text, |text, (old, new)| {
                    text.replace(&format!("127.0.0.1:{old}"), &format!("127.0.0.1:{new}"))
                })
            });
        }
        setup
    }

    /// The folder of the set-up.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// A file of the set-up.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir().join(file)
    }

    /// The text of a file.
    pub fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// Changes the text of a file; a change that changes nothing is a fault of the test.
    pub fn change(&self, file: &str, from: &str, to: &str) {
        let text = self.text(file);
        assert!(text.contains(from), "{file} does not contain {from:?}");
        self.edit(file, |text| text.replace(from, to));
    }

    fn edit(&self, file: &str, edit: impl FnOnce(String) -> String) {
        let text = edit(self.text(file));
        fs::write(self.path(file), text).unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    /// `signerctl` with this set-up's settings.
    pub fn signerctl(&self) -> Command {
        let mut command = Command::new(program("signerctl"));
        command.arg("--config").arg(self.path("signerctl.toml"));
        command
    }

    /// `signerd` with a subcommand and this set-up's configuration, run as its module wants it.
    pub fn signerd(&self, command: &[&str]) -> Command {
        let wrapper = self.path("with-module");
        let mut signerd = if wrapper.exists() {
            let mut wrapped = Command::new(wrapper);
            wrapped.arg(program("signerd"));
            wrapped
        } else {
            Command::new(program("signerd"))
        };
        signerd.args(command).arg("--config").arg(self.path("signerd.toml"));
        signerd
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

/// A binary of the workspace, built in the same profile as the running one.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    // Tests lie in a folder below the binaries.
    let profile = own.ancestors().skip(1).find(|folder| !folder.ends_with("deps"));
    let profile = profile.expect("target folder");
    let program = profile.join(name);
    assert!(program.exists(), "{} is not built; run: cargo build --workspace", program.display());
    program
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("root").to_owned()
}

/// The folder of the published test vectors, if it is there; says loudly what is skipped if not.
pub fn vectors(what: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SIGNERD_HCERT_DATA")
        .map_or_else(|| root().join("../shared/hcert/data"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: {what}: {} is absent; set SIGNERD_HCERT_DATA", folder.display());
    None
}

/// A set-up that tests copy, made by a script in the folder that follows its words, when it is not there or
/// a script changed; nothing where the script skips it, which it says by itself.
pub(crate) fn made_once(name: &str, script: &str, words: &[&str]) -> Option<PathBuf> {
    let read = |script| fs::read(root().join(script)).expect("the set-up script");
    let text = [read("softhsm-setup.sh"), read(script)].concat();
    let version = data_encoding::HEXLOWER.encode(&sha2_of(&text)[..8]);
    let shared = std::env::temp_dir().join(format!("signerd-{name}-{version}"));
    fs::create_dir_all(&shared).expect("folder of the base set-up");
    let lock = fs::File::create(shared.join("lock")).expect("lock of the base set-up");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("lock");
    let base = shared.join("dev");
    if !shared.join("made").exists() {
        let _ = fs::remove_dir_all(&base);
        let mut command = Command::new(root().join(script));
        let status = command.args(words).arg(&base).status().expect("set-up script");
        if status.code() == Some(SKIPPED) {
            return None;
        }
        assert!(status.success(), "{script} failed");
        fs::write(shared.join("made"), "").expect("mark of the base set-up");
    }
    Some(base)
}

/// SHA-256, to name what is made from a source after its content.
pub(crate) fn sha2_of(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("folder") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("type").is_dir() {
            fs::create_dir_all(&target).expect("folder");
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copy");
        }
    }
}

/// Three ports that are free now; taken by the daemon a moment later.
fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("address").port())
}
