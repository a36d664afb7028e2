//! `softhsm-setup.sh` makes what its contract lists, and a rerun keeps every key.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use signerd_tests::setup::{program, root};

/// What the contract lists, apart from the token's own files.
const FILES: &[&str] = &[
    "signerd.toml",
    "policy.toml",
    "hsm.toml",
    "signerctl.toml",
    "softhsm2.conf",
    "secrets/user-pin",
    "secrets/so-pin",
    "pki/ca.pem",
    "pki/crl.pem",
    "pki/server.pem",
    "pki/server.key",
    "pki/client.pem",
    "pki/client.key",
    "pki/client-other.pem",
    "pki/client-other.key",
    "pki/client-revoked.pem",
    "pki/client-revoked.key",
    "pki/officer-ca.pem",
    "pki/officer-crl.pem",
    "pki/officer-1.pem",
    "pki/officer-1.key",
    "pki/officer-2.pem",
    "pki/officer-2.key",
    "pki/officer-3.pem",
    "pki/officer-3.key",
    "pki/csca.pem",
    "pki/csca.key",
    "pki/dsc/vn-moh.pem",
    "pki/dsc/vn-moh-ec.pem",
    "pki/verifier.pem",
    "pki/verifier.key",
    "pki/facility-ca.pem",
    "pki/facility-ca.key",
    "pki/facility-crl.pem",
    "pki/facility.pem",
    "pki/facility.key",
    "pki/facility-other.pem",
    "pki/facility-other.key",
];
const REVOCATION_LISTS: [&str; 3] = ["pki/crl.pem", "pki/officer-crl.pem", "pki/facility-crl.pem"];

fn set_up(dir: &Path, more: &[&str]) -> String {
    let mut script = Command::new(root().join("softhsm-setup.sh"));
    let output = script.arg("--dir").arg(dir).args(more).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    told
}

/// Every file below a folder, by its path from there.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_owned();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_set_up_is_complete_and_a_rerun_keeps_it() {
    // An empty folder given by its absolute path gets every file of the contract, secrets and keys for
    // their owner alone, on the ports that were asked for; a rerun renews the revocation lists and
    // changes nothing else: same keys, same certificates, same token.
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    assert!(dir.is_absolute());
    set_up(dir, &["--port-base", "18443"]);
    let first = files(dir);
    let missing: Vec<_> =
        FILES.iter().filter(|file| !first.contains_key(Path::new(file))).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(dir.join("state").is_dir());
    let is_key = |path: &Path| path.extension().is_some_and(|kind| kind == "key");
    for path in first.keys() {
        let is_private = is_key(path) || path.starts_with("secrets") || path.starts_with("tokens");
        assert!(!is_private || mode(&dir.join(path)) == 0o600, "{}", path.display());
    }
    for (file, port) in
        [("signerd.toml", 18_443), ("signerd.toml", 18_445), ("signerctl.toml", 18_443)]
    {
        let text = fs::read_to_string(dir.join(file)).unwrap();
        assert!(text.contains(&format!("127.0.0.1:{port}\"")), "{file}: {text}");
    }
    let mut check = Command::new(program("signerd"));
    assert!(
        check.args(["check", "--config"]).arg(dir.join("signerd.toml")).status().unwrap().success()
    );

    let told = set_up(dir, &["--port-base", "19443"]);
    assert!(told.contains("signerd.toml is kept with the ports it has"), "{told}");
    for key in ["vn-moh", "vn-moh-ec", "audit", "pseudonym"] {
        let kept = |line: &str| line.contains(&format!("key \"{key}\"")) && line.contains(" kept ");
        assert!(told.lines().any(kept), "{key}: {told}");
    }
    let second = files(dir);
    let changed = |path: &Path| first.get(path) != second.get(path);
    for list in REVOCATION_LISTS {
        assert!(changed(Path::new(list)), "{list} was not renewed");
    }
    // SoftHSM writes its token at a log-in; keys are objects of their own.
    let may_change = |path: &Path| {
        path.starts_with("pki/db")
            || path.file_name().is_some_and(|name| name == "token.object" || name == "generation")
            || REVOCATION_LISTS.iter().any(|list| path == Path::new(list))
    };
    for path in first.keys().chain(second.keys()) {
        assert!(may_change(path) || !changed(path), "{} changed", path.display());
    }
}
