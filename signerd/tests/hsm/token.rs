//! A SoftHSM token in a folder of its own, with keys, certificates and an `hsm.toml`.
//!
//! Made with the tools that an operator would use, each in a process of its own, so that the test
//! process itself never maps the module.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use hsm_config::HsmConfig;
use rustix::fs::FlockOperation;
use tempfile::TempDir;
use x509_cert::der::Decode;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

pub(crate) const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "482915";

/// A kind of key as `pkcs11-tool` calls it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Rsa,
    P256,
}

pub(crate) struct TestToken {
    folder: TempDir,
    serial: String,
    keys: Vec<(String, Kind)>,
    /// Public keys as the certificate holds them: `RSAPublicKey` or the point.
    public: HashMap<String, Vec<u8>>,
}

impl TestToken {
    /// A token with these keys and the `pseudonym` secret.
    pub(crate) fn with(keys: &[(&str, Kind)]) -> Self {
        let folder = tempfile::Builder::new().prefix("signerd-hsm").tempdir().unwrap();
        for sub in ["tokens", "secrets", "pki", "state"] {
            std::fs::create_dir(folder.path().join(sub)).unwrap();
        }
        let mut token = Self {
            folder,
            serial: String::new(),
            keys: keys.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect(),
            public: HashMap::new(),
        };
        let conf = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            token.path("tokens").display()
        );
        std::fs::write(token.path("softhsm2.conf"), conf).unwrap();
        token.write_pin(PIN);
        token.run(
            "softhsm2-util",
            &[
                "--init-token",
                "--free",
                "--label",
                "signerd-test",
                "--pin",
                PIN,
                "--so-pin",
                "12345678",
            ],
        );
        let slots = token.run("pkcs11-tool", &["--module", MODULE, "--list-token-slots"]);
        let serial = slots.lines().find(|line| line.contains("serial num")).unwrap();
        token.serial = serial.split(':').nth(1).unwrap().trim().to_owned();
        token.tool(&[
            "--keygen",
            "--key-type",
            "GENERIC:32",
            "--label",
            "pseudonym",
            "--id",
            "f0",
            "--usage-sign",
            "--sensitive",
        ]);
        for (name, kind) in keys {
            token.generate(name, *kind);
            token.certify(name, name);
        }
        token.write_config(|text| text);
        token
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes an AES-256 key of that label, which encrypts.
    pub(crate) fn generate_aes(&self, label: &str) {
        self.tool(&[
            "--keygen",
            "--key-type",
            "AES:32",
            "--label",
            label,
            "--usage-decrypt",
            "--sensitive",
        ]);
    }

    /// Makes a key pair of that label.
    pub(crate) fn generate(&self, label: &str, kind: Kind) {
        let kind = match kind {
            Kind::Rsa => "rsa:2048",
            Kind::P256 => "EC:prime256v1",
        };
        self.tool(&[
            "--keypairgen",
            "--key-type",
            kind,
            "--label",
            label,
            "--usage-sign",
            "--sensitive",
        ]);
    }

    pub(crate) fn delete(&self, label: &str) {
        for kind in ["privkey", "pubkey"] {
            self.tool(&["--delete-object", "--type", kind, "--label", label]);
        }
    }

    /// Writes `pki/NAME.pem` for the public key with that label.
    pub(crate) fn certify(&mut self, name: &str, label: &str) {
        let file = self.path("public.der");
        let file = file.to_str().unwrap();
        self.tool(&["--read-object", "--type", "pubkey", "--label", label, "--output-file", file]);
        let info = SubjectPublicKeyInfoOwned::from_der(&std::fs::read(file).unwrap()).unwrap();
        let bytes = info.subject_public_key.raw_bytes().to_vec();
        let pem = certificate(&bytes);
        std::fs::write(self.path("pki").join(format!("{name}.pem")), pem).unwrap();
        self.public.insert(name.to_owned(), bytes);
    }

    pub(crate) fn public(&self, key: &str) -> &[u8] {
        &self.public[key]
    }

    pub(crate) fn write_pin(&self, pin: &str) {
        let file = self.path("secrets").join("user-pin");
        std::fs::write(&file, format!("{pin}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn write_right_pin(&self) {
        self.write_pin(PIN);
    }

    /// Writes `hsm.toml` after a change of its text, and reads it.
    pub(crate) fn write_config(&self, change: impl Fn(String) -> String) -> Arc<HsmConfig> {
        let keys: String = self
            .keys
            .iter()
            .map(|(name, kind)| {
                let algorithm = if *kind == Kind::Rsa { "PS256" } else { "ES256" };
                format!(
                    "[key.{name}]\nlabel = \"{name}\"\nalgorithm = \"{algorithm}\"\n\
                     certificate = \"pki/{name}.pem\"\n"
                )
            })
            .collect();
        let text = format!(
            "version = 1\n[module]\npath = \"{MODULE}\"\n\
             environment = {{ SOFTHSM2_CONF = \"{}\" }}\n\
             [token]\nlabel = \"signerd-test\"\nserial = \"{}\"\n\
             [pin]\nfile = \"secrets/user-pin\"\n\
             [pool]\nworkers = 2\nsessions = 1\ncall_deadline_ms = 5000\n\
             request_deadline_ms = 20000\n\
             {keys}[secret]\nlabel = \"pseudonym\"\n",
            self.path("softhsm2.conf").display(),
            self.serial,
        );
        let text = change(text);
        std::fs::write(self.path("hsm.toml"), &text).unwrap();
        Arc::new(HsmConfig::parse(&text, self.folder.path()).unwrap())
    }

    /// Makes every call that reads an object hang until the files are dropped: SoftHSM waits for
    /// the POSIX locks on them.
    pub(crate) fn lock_objects(&self) -> Vec<File> {
        let token = std::fs::read_dir(self.path("tokens")).unwrap().flatten().next().unwrap();
        let objects = std::fs::read_dir(token.path()).unwrap().flatten();
        objects
            .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "object"))
            .map(|entry| {
                let file = File::options().read(true).write(true).open(entry.path()).unwrap();
                rustix::fs::fcntl_lock(&file, FlockOperation::LockExclusive).unwrap();
                file
            })
            .collect()
    }

    /// Process ids of this token's live workers.
    pub(crate) fn workers(&self) -> Vec<u32> {
        workers_of(&self.path("hsm.toml"))
    }

    fn tool(&self, args: &[&str]) -> String {
        let mut all = vec!["--module", MODULE, "--login", "--pin", PIN];
        all.extend(["--token-label", "signerd-test"]);
        all.extend(args);
        self.run("pkcs11-tool", &all)
    }

    fn run(&self, program: &str, args: &[&str]) -> String {
        let output = Command::new(program)
            .args(args)
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .output()
            .unwrap_or_else(|e| panic!("{program}: {e}; install softhsm2 and opensc"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {text}{errors}");
        text
    }
}

/// Process ids of live workers that were started with that `hsm.toml`.
pub(crate) fn workers_of(config: &Path) -> Vec<u32> {
    let wanted = config.to_str().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process that ends meanwhile, and one that is a zombie, has no command line.
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        if words.contains(&b"hsm-worker".as_slice()) && words.contains(&wanted.as_bytes()) {
            found.push(pid);
        }
    }
    found
}

/// A certificate of that public key, by a CA made for it.
fn certificate(public: &[u8]) -> String {
    struct Subject<'p>(&'p [u8]);
    impl rcgen::PublicKeyData for Subject<'_> {
        fn der_bytes(&self) -> &[u8] {
            self.0
        }

        fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
            if self.0.len() == 65 {
                &rcgen::PKCS_ECDSA_P256_SHA256
            } else {
                &rcgen::PKCS_RSA_SHA256
            }
        }
    }
    let ca = rcgen::KeyPair::generate().unwrap();
    let ca_params = rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap();
    let issuer = rcgen::Issuer::new(ca_params, ca);
    let params = rcgen::CertificateParams::new(vec!["signer".to_owned()]).unwrap();
    params.signed_by(&Subject(public), &issuer).unwrap().pem()
}
