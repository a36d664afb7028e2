//! Certificates and revocation lists beyond those of the set-up, made with OpenSSL.

use std::fs;
use std::process::Command;

use crate::setup::Setup;

/// A CA of the set-up's `pki` folder, or one more beside it.
pub struct Authority<'a> {
    setup: &'a Setup,
    name: &'a str,
}

/// When a certificate or a list is valid.
#[derive(Clone, Copy, Debug)]
pub enum Validity {
    /// From a year ago to a year from now.
    Now,
    /// Ended yesterday.
    Past,
    /// Ends this many days from now.
    Days(u16),
}

impl Validity {
    fn bounds(self) -> [String; 2] {
        let date = |text: String| output("date", &["-u", "-d", &text, "+%Y%m%d%H%M%SZ"]);
        match self {
            Self::Now => [date("now -1 year".into()), date("now +1 year".into())],
            Self::Past => [date("now -1 year".into()), date("now -1 day".into())],
            Self::Days(days) => [date("now -1 day".into()), date(format!("now +{days} days"))],
        }
    }
}

impl<'a> Authority<'a> {
    /// A CA of the set-up: `ca`, `officer-ca` or `facility-ca`.
    pub fn of(setup: &'a Setup, name: &'a str) -> Self {
        let authority = Self { setup, name };
        // The copy must not write into the folder that it was copied from.
        let file = authority.path("openssl.cnf");
        let text = fs::read_to_string(&file).expect("openssl.cnf");
        let old = text.split("database = ").nth(1).and_then(|rest| rest.split("/pki/db").next());
        let new = setup.dir().display().to_string();
        let text = text.replace(old.expect("database"), &new);
        let serial = format!("[default]\nserial = {}\n", authority.path("serial").display());
        fs::write(&file, text.replace("[default]\n", &serial)).expect("openssl.cnf");
        authority
    }

    /// A CA that nobody knows, named like `like`, with files of its own.
    pub fn foreign(setup: &'a Setup, name: &'a str, like: &str) -> Self {
        let authority = Self { setup, name };
        let folder = authority.path("");
        fs::create_dir_all(&folder).expect("folder");
        fs::write(authority.path("index.txt"), "").expect("index");
        fs::write(authority.path("crlnumber"), "01\n").expect("crlnumber");
        let template = setup.text(&format!("pki/db/{like}/openssl.cnf"));
        let text = template.replace(&format!("/{like}"), &format!("/{name}"));
        fs::write(authority.path("openssl.cnf"), text).expect("openssl.cnf");
        let [key, pem] = authority.files(name);
        openssl(&[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
            &key,
        ]);
        let subject = ["-subj", &format!("/CN={name}"), "-addext", "keyUsage=keyCertSign,cRLSign"];
        openssl(
            &[&["req", "-x509", "-new", "-key", &key, "-days", "30", "-out", &pem], &subject[..]]
                .concat(),
        );
        Self::of(setup, name)
    }

    /// Makes `pki/NAME.key` (P-256, unless the file is there) and `pki/NAME.pem` with these extensions.
    pub fn issue(&self, name: &str, validity: Validity, extensions: &str) {
        let [key, pem] = self.files(name);
        if !std::path::Path::new(&key).exists() {
            openssl(&[
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-out",
                &key,
            ]);
        }
        let request = self.temporary(name, "csr");
        openssl(&["req", "-new", "-key", &key, "-subj", &format!("/CN={name}"), "-out", &request]);
        let file = self.temporary(name, "ext");
        let always = "basicConstraints=critical,CA:FALSE\nauthorityKeyIdentifier=keyid:always\n";
        fs::write(&file, format!("{always}{extensions}\n")).expect("extensions");
        let [from, to] = validity.bounds();
        let config = self.config();
        openssl(&[
            "ca",
            "-batch",
            "-config",
            &config,
            "-rand_serial",
            "-notext",
            "-startdate",
            &from,
            "-enddate",
            &to,
            "-extfile",
            &file,
            "-in",
            &request,
            "-out",
            &pem,
        ]);
    }

    /// Revokes `pki/NAME.pem`; the next list says so.
    pub fn revoke(&self, name: &str) {
        openssl(&["ca", "-config", &self.config(), "-revoke", &self.files(name)[1]]);
    }

    /// Writes `pki/FILE.pem`, the revocation list of this CA.
    pub fn list(&self, file: &str, validity: Validity) {
        let [from, to] = validity.bounds();
        let (config, pem) = (self.config(), &self.files(file)[1]);
        openssl(&[
            "ca",
            "-config",
            &config,
            "-gencrl",
            "-crl_lastupdate",
            &from,
            "-crl_nextupdate",
            &to,
            "-out",
            pem,
        ]);
    }

    fn config(&self) -> String {
        self.path("openssl.cnf").display().to_string()
    }

    fn files(&self, name: &str) -> [String; 2] {
        let file = |ending| self.setup.path(&format!("pki/{name}.{ending}")).display().to_string();
        [file("key"), file("pem")]
    }

    fn temporary(&self, name: &str, ending: &str) -> String {
        self.path(&format!("{name}.{ending}")).display().to_string()
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.setup.path(&format!("pki/db/{}/{file}", self.name))
    }
}

/// What the registry holds of the certificate `pki/NAME.pem`: issuer, serial number, SHA-256, and DER in
/// base64.
pub fn registration(setup: &Setup, name: &str) -> [String; 4] {
    let pem = setup.path(&format!("pki/{name}.pem")).display().to_string();
    let der = setup.path(&format!("pki/{name}.der")).display().to_string();
    let names = "RFC2253,-esc_msb,utf8";
    let issuer = output("openssl", &["x509", "-in", &pem, "-noout", "-issuer", "-nameopt", names]);
    let serial = output("openssl", &["x509", "-in", &pem, "-noout", "-serial"]);
    openssl(&["x509", "-in", &pem, "-outform", "DER", "-out", &der]);
    let bytes = fs::read(&der).expect("certificate");
    let sha256 = <sha2::Sha256 as sha2::Digest>::digest(&bytes);
    [
        issuer.trim_start_matches("issuer=").to_owned(),
        serial.trim_start_matches("serial=").to_owned(),
        data_encoding::HEXLOWER.encode(&sha256),
        data_encoding::BASE64.encode(&bytes),
    ]
}

/// Registers the certificate `pki/NAME.pem` for a new unit in `policy.toml`.
pub fn register_unit(setup: &Setup, unit: &str, name: &str) {
    let [issuer, serial, sha256, der] = registration(setup, name);
    let table = format!(
        "\n[[facility]]\nid = \"{unit}\"\nname = \"{unit}\"\n[[facility.certificate]]\n\
         issuer = \"{issuer}\"\nserial = \"{serial}\"\nsha256 = \"{sha256}\"\nder = \"{der}\"\n"
    );
    fs::write(setup.path("policy.toml"), setup.text("policy.toml") + &table).expect("policy.toml");
}

fn openssl(arguments: &[&str]) {
    output("openssl", arguments);
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect(program);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}
