//! A PostgreSQL of one's own: started in a folder that vanishes with it, stopped, killed and started again.
//!
//! It is found in `PATH` or where Debian puts it. What `initdb` makes is made once for all tests and copied,
//! as the set-up is. The server listens on a Unix socket of its folder and, with TLS and a password, on
//! loopback. Root may not run it, so that as root another user does. It dies with the process that
//! started it, also where that one is killed.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use postgres::{Client, Config, NoTls, SimpleQueryMessage};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustix::process::{Pid, Signal, kill_process};

/// How long may the server take to start or to end?
const PATIENCE: Duration = Duration::from_secs(60);
/// How often is looked?
const LOOK: Duration = Duration::from_millis(10);
/// What the role that the tests use says over TLS.
pub const PASSWORD: &str = "mark-of-a-password";
/// Who connects.
pub const USER: &str = "signerd";

/// A running server; ended when dropped.
pub struct Postgres {
    // Before its folder: it ends before that goes.
    server: Option<Running>,
    folder: tempfile::TempDir,
    /// The port on loopback; also part of the socket's name.
    pub port: u16,
    databases: AtomicU32,
}

/// How a server ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// It ends its connections and writes what it has.
    Fast,
    /// As by a loss of power, but for what the operating system has.
    Killed,
}

impl Postgres {
    /// Starts a server with an empty folder.
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// Starts a server with settings of its own, each `name=value`.
    pub fn with(settings: &[&str]) -> Self {
        let folder = folder();
        run(Command::new("cp").arg("-a").arg(template()).arg(folder.path().join("data")));
        certificates(folder.path());
        own(folder.path());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("address").port();
        drop(listener);
        let mut postgres = Self { folder, port, server: None, databases: AtomicU32::new(0) };
        postgres.start(settings);
        postgres
    }

    /// Everything that the server writes: data, write-ahead log, journal.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it, where it does not run, and waits until it answers.
    pub fn start(&mut self, settings: &[&str]) {
        let mut command = as_user(&program("postgres"));
        command.arg("-D").arg(self.data());
        let socket = format!("unix_socket_directories={}", self.socket().display());
        let port = format!("port={}", self.port);
        let [certificate, key] = ["server.pem", "server.key"]
            .map(|file| self.folder.path().join(file).display().to_string());
        let certificate = format!("ssl_cert_file={certificate}");
        let (key, log) = (format!("ssl_key_file={key}"), self.folder.path().join("log"));
        let authority = format!("ssl_ca_file={}", self.ca().display());
        let own = [
            &authority,
            &socket,
            &port,
            "listen_addresses=127.0.0.1",
            "ssl=on",
            &certificate,
            &key,
            "max_connections=50",
            "shared_buffers=32MB",
        ];
        for setting in own.iter().chain(settings) {
            command.args(["-c", setting]);
        }
        let log = fs::OpenOptions::new().append(true).create(true).open(log).expect("log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.server = Some(Running::start(command));
        let begin = Instant::now();
        // The client blocks, which a test's runtime does not allow on its own thread.
        let answers = || self.client("postgres").is_some();
        while !std::thread::scope(|scope| scope.spawn(answers).join().expect("a look")) {
            assert!(begin.elapsed() < PATIENCE, "PostgreSQL does not answer:\n{}", self.log());
            std::thread::sleep(LOOK);
        }
    }

    /// Ends it and waits until it has ended.
    pub fn stop(&mut self, end: End) {
        if let Some(mut server) = self.server.take() {
            server.end(end);
        }
    }

    /// The process of the server.
    pub fn pid(&self) -> Pid {
        self.server.as_ref().expect("a running server").pid()
    }

    /// Makes an empty database that the role owns, and gives its name.
    pub fn database(&self) -> String {
        let name = format!("ledger_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER {USER}"));
        name
    }

    /// Runs statements as the administrator, and gives the columns of the rows that they give.
    pub fn sql(&self, database: &str, statements: &str) -> Vec<Vec<String>> {
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let mut client = self.client(database).expect("PostgreSQL");
                client.simple_query(statements).expect("statements")
            });
            let rows = asked.join().expect("statements").into_iter();
            rows.filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    let columns = 0..row.columns().len();
                    Some(columns.map(|at| row.get(at).unwrap_or_default().to_owned()).collect())
                }
                _ => None,
            })
            .collect()
        })
    }

    /// The one number that a query gives.
    pub fn number(&self, database: &str, query: &str) -> i64 {
        self.sql(database, query)[0][0].parse().expect("a number")
    }

    /// A connection as the administrator; none: the server does not answer.
    pub fn client(&self, database: &str) -> Option<Client> {
        let mut config = Config::new();
        config.host_path(self.socket()).port(self.port).user("postgres").dbname(database);
        config.connect(NoTls).ok()
    }

    /// The folder of the socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The folder of the data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The authority of the server's certificate, which names `localhost`.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The role's certificate and its key.
    pub fn identity(&self) -> (PathBuf, PathBuf) {
        (self.folder.path().join("client.pem"), self.folder.path().join("client.key"))
    }

    /// Says anew who may come over TLS, by a method of `pg_hba.conf`.
    pub fn admit(&self, method: &str) {
        fs::write(self.data().join("pg_hba.conf"), access(method)).expect("pg_hba.conf");
        self.sql("postgres", "SELECT pg_reload_conf()");
    }

    /// The file with the role's password.
    pub fn password(&self) -> PathBuf {
        self.folder.path().join("password")
    }

    /// What it wrote to stderr.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Default for Postgres {
    fn default() -> Self {
        Self::new()
    }
}

/// The process, and the thread that it was born on: with that one it would die.
struct Running {
    child: Child,
    _born_on: mpsc::Sender<()>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let (born_on, until) = mpsc::channel::<()>();
        let (sender, child) = mpsc::channel();
        std::thread::spawn(move || {
            let _ = sender.send(command.spawn().expect("postgres"));
            // Ends when the sender is dropped.
            let _ = until.recv();
        });
        Self { child: child.recv().expect("postgres"), _born_on: born_on }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn end(&mut self, end: End) {
        // SIGQUIT ends all processes of the server at once, without a word to the disk.
        let signal = match end {
            End::Fast => Signal::INT,
            End::Killed => Signal::QUIT,
        };
        let _ = kill_process(self.pid(), signal);
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill_process(self.pid(), Signal::CONT);
            self.end(End::Killed);
        }
    }
}

/// A folder in memory, where there is room: what the tests kill are processes, and every commit waits for
/// its disk.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).map_or(0, |space| space.f_bavail * space.f_frsize);
    let folder = if room > 4 << 30 { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a temporary folder")
}

/// A program of PostgreSQL. Where there is none, tests of it fail: they are not skipped in silence.
fn program(name: &str) -> PathBuf {
    let mut folders: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect())
        .unwrap_or_default();
    debian.sort();
    folders.extend(debian.into_iter().rev());
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|file| file.exists());
    found.unwrap_or_else(|| panic!("{name} is missing; run: tests/run.sh --only packages"))
}

/// A command that does not run as root, and that dies with the thread that starts it.
fn as_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if let Some((user, group)) = other_user() {
        command
            .arg(format!("--reuid={user}"))
            .arg(format!("--regid={group}"))
            .arg("--clear-groups");
    }
    command.arg(program);
    command
}

/// The user in root's place: PostgreSQL's own, or nobody. None: we are not root.
fn other_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(ids("postgres").or_else(|| ids("nobody")).expect("a user besides root"))
}

/// Gives a folder and what is in it to the user that the server runs as.
fn own(path: &Path) {
    let Some((user, group)) = other_user() else { return };
    chown(path, Some(user), Some(group)).expect("chown");
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("folder") {
            own(&entry.expect("entry").path());
        }
    }
}

/// What `initdb` makes, with a role that has a password.
fn template() -> PathBuf {
    let version = output(Command::new(program("postgres")).arg("--version"));
    let name: String = version.chars().filter(char::is_ascii_alphanumeric).collect();
    let shared = std::env::temp_dir().join(format!("signerd-tests-{name}-1"));
    fs::create_dir_all(&shared).expect("folder of the template");
    let lock = fs::File::create(shared.join("lock")).expect("lock of the template");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("lock");
    let data = shared.join("data");
    if !shared.join("made").exists() {
        let _ = fs::remove_dir_all(&data);
        fs::create_dir(&data).expect("folder of the template");
        own(&data);
        let mut initdb = as_user(&program("initdb"));
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]);
        run(initdb.arg("--no-sync").arg("-D").arg(&data).stdout(Stdio::null()));
        fs::write(data.join("pg_hba.conf"), access("scram-sha-256")).expect("pg_hba.conf");
        let mut single = as_user(&program("postgres"));
        single.args(["--single", "-D"]).arg(&data).arg("postgres").stdout(Stdio::null());
        let mut single = single.stdin(Stdio::piped()).spawn().expect("postgres --single");
        let role = format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'\n");
        let mut stdin = single.stdin.take().expect("stdin");
        std::io::Write::write_all(&mut stdin, role.as_bytes()).expect("a role");
        drop(stdin);
        assert!(single.wait().expect("postgres --single").success());
        fs::write(shared.join("made"), "").expect("mark of the template");
    }
    data
}

fn access(method: &str) -> String {
    format!("local all all trust\nhostssl all all 127.0.0.1/32 {method}\n")
}

/// An authority, the server's and the role's certificate by it, and the role's password.
fn certificates(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
    let ca = ca.expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let server = server.signed_by(&key, &ca).expect("a certificate");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file");
    let role = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.distinguished_name.push(DnType::CommonName, USER);
    let client = params.signed_by(&role, &ca).expect("a certificate");
    write("client.pem", &client.pem());
    write("client.key", &role.serialize_pem());
    write("ca.pem", &ca.pem());
    write("server.pem", &server.pem());
    write("server.key", &key.serialize_pem());
    write("password", &format!("{PASSWORD}\n"));
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(folder.join("server.key"), private).expect("permissions");
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?} failed");
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
