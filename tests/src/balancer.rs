//! A real `haproxy` on loopback, as `docs/fleet.md` configures it: TCP to whichever appliance is ready.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::setup::Setup;

/// How long may it take to listen?
const PATIENCE: Duration = Duration::from_secs(20);
/// How often is looked?
const LOOK: Duration = Duration::from_millis(20);

/// A running balancer; killed when dropped.
pub struct Balancer {
    child: Child,
    _folder: tempfile::TempDir,
    /// Where it listens.
    pub port: u16,
}

impl Balancer {
    /// Starts it before these appliances.
    pub fn before<'a>(appliances: impl IntoIterator<Item = &'a Setup>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("address").port();
        drop(listener);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("haproxy.cfg");
        let mut text = format!(
            "global\n    maxconn 100\n\
             defaults\n    mode tcp\n    timeout connect 2s\n    timeout client 60s\n    timeout server 60s\n    \
             timeout check 10s\n    \
             retries 2\n    option redispatch\n\
             listen signerd\n    bind 127.0.0.1:{port}\n    balance roundrobin\n    \
             option httpchk GET /readyz\n    default-server inter 200ms fall 2 rise 1 \
             on-marked-down shutdown-sessions\n"
        );
        for (at, setup) in appliances.into_iter().enumerate() {
            let (signing, observed) = (setup.signing, setup.observability);
            text +=
                &format!("    server appliance-{at} 127.0.0.1:{signing} check port {observed}\n");
        }
        fs::write(&file, text).expect("haproxy.cfg");
        let child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).expect("log"))
            .spawn()
            .expect("haproxy; run: tests/run.sh --only packages");
        let balancer = Self { child, _folder: folder, port };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begin.elapsed() < PATIENCE, "HAProxy does not listen");
            std::thread::sleep(LOOK);
        }
        balancer
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
