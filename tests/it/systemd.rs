//! The daemon under systemd's protocols: sockets that are passed, and what it says of itself.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use signerd_tests::setup::program;
use signerd_tests::{Client, Evidence, Person, Setup};

/// A loaded machine starts SoftHSM in seconds.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_serves_on_the_sockets_it_is_passed() {
    // Passed sockets are used by their names, in whatever order, and the configured addresses are
    // not; the daemon says READY=1 when it serves and STOPPING=1 when it drains.
    let setup = Setup::new();
    // Addresses that nobody can bind: only the passed sockets can serve.
    setup.change("signerd.toml", &format!("127.0.0.1:{}", setup.signing), "192.0.2.1:8443");
    setup.change("signerd.toml", &format!("127.0.0.1:{}", setup.observability), "192.0.2.1:8445");
    let notices = UnixDatagram::bind(setup.path("notify")).unwrap();
    notices.set_read_timeout(Some(PATIENCE)).unwrap();
    let ports = [setup.observability, setup.signing];
    let mut daemon = Activated::start(&setup, "observability:signing", ports);

    daemon.wait_until_ready(setup.observability);
    assert!(notice(&notices, "READY=1").contains("STATUS=listening on 127.0.0.1:"));
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let answer = client.sign(evidence.request("vn-moh", [&Person::with_doses(1)])).await.unwrap();
    assert_eq!(answer.statuses(), ["issued"]);
    daemon.terminate();
    notice(&notices, "STOPPING=1");
    assert!(daemon.wait().success());
}

#[test]
fn sockets_that_nobody_would_serve_are_refused() {
    // A passed socket with an unknown name, or with the name of another one, ends the start with 78.
    let setup = Setup::new();
    for (names, complaint) in [
        ("signing:officers", "a socket is named \"officers\""),
        ("signing:signing", "two sockets are named \"signing\""),
    ] {
        let mut daemon = Activated::start(&setup, names, [setup.signing, setup.observability]);
        assert_eq!(daemon.wait().code(), Some(78), "{}", daemon.log());
        assert!(daemon.log().contains(complaint), "{}", daemon.log());
    }
}

#[test]
fn an_officers_socket_needs_an_officers_table() {
    // A socket named officer, passed to a daemon without [officer], ends the start with 78 and a remedy.
    let setup = Setup::new();
    let text = setup.text("signerd.toml");
    let (before, rest) = text.split_once("[officer]").unwrap();
    let (_, after) = rest.split_once("[observability]").unwrap();
    fs::write(setup.path("signerd.toml"), format!("{before}[observability]{after}")).unwrap();
    let mut daemon = Activated::start(&setup, "signing:officer", [setup.signing, setup.officer]);
    assert_eq!(daemon.wait().code(), Some(78), "{}", daemon.log());
    assert!(daemon.log().contains("disable --now signerd-officer.socket"), "{}", daemon.log());
}

/// `signerd serve`, started by `systemd-socket-activate` at the first connection.
struct Activated {
    child: Child,
    log: std::path::PathBuf,
}

impl Activated {
    /// Listens on two ports with these names, and connects to the first until it is taken.
    fn start(setup: &Setup, names: &str, ports: [u16; 2]) -> Self {
        let log = setup.path("activated.log");
        let mut command = Command::new("systemd-socket-activate");
        command.arg(format!("--fdname={names}"));
        command.args(ports.map(|port| format!("--listen=127.0.0.1:{port}")));
        command.arg(format!("--setenv=NOTIFY_SOCKET={}", setup.path("notify").display()));
        command.arg(program("signerd")).args(["serve", "--config"]).arg(setup.path("signerd.toml"));
        let file = fs::File::create(&log).expect("log");
        let child = command.stdin(Stdio::null()).stderr(file).spawn().expect("systemd");
        let mut activated = Self { child, log };
        // The connection waits in the backlog until the daemon takes it, or goes with the daemon.
        activated.wait_until("listening", || TcpStream::connect(("127.0.0.1", ports[0])).is_ok());
        activated
    }

    fn wait_until_ready(&mut self, observability: u16) {
        self.wait_until("ready", || readiness(observability).contains(" 200 "));
    }

    fn wait_until(&mut self, what: &str, condition: impl Fn() -> bool) {
        let begin = Instant::now();
        while !condition() {
            let ended = self.child.try_wait().expect("wait");
            assert!(ended.is_none(), "it ended before it was {what}:\n{}", self.log());
            assert!(begin.elapsed() < PATIENCE, "it was never {what}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("signal");
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("wait")
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the notice that has this line.
fn notice(notices: &UnixDatagram, line: &str) -> String {
    let mut buffer = [0; 4096];
    loop {
        let length = notices.recv(&mut buffer).unwrap_or_else(|error| panic!("{line}: {error}"));
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.lines().any(|found| found == line) {
            return text;
        }
    }
}

fn readiness(port: u16) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        let request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}
