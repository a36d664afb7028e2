//! Certificates verified by an implementation that is not ours: the crate `dgc`.

use dgc::TrustList;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::client::Answer;
use crate::setup::Setup;

/// Knows the signer certificates of a set-up.
pub struct Verifier(TrustList);

impl Verifier {
    /// Trusts the signer certificates in the set-up's folder.
    pub fn of(setup: &Setup) -> Self {
        let mut trusted = TrustList::default();
        for file in std::fs::read_dir(setup.path("pki/dsc")).expect("signer certificates") {
            let path = file.expect("a file").path();
            if path.extension().is_some_and(|extension| extension == "pem") {
                let der = CertificateDer::from_pem_file(path).expect("a certificate");
                // It computes the kid from the certificate by itself.
                trusted
                    .add_key_from_certificate(&data_encoding::BASE64.encode(&der))
                    .expect("a certificate");
            }
        }
        Self(trusted)
    }

    /// Verifies every certificate of an answer, and gives their number.
    ///
    /// # Panics
    /// If one does not verify.
    pub fn verify(&self, answer: &Answer) -> usize {
        self.hold(answer).unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// The same.
    ///
    /// # Errors
    /// What is wrong with the first one that does not verify.
    pub fn hold(&self, answer: &Answer) -> Result<usize, String> {
        let hcerts = answer.hcerts();
        for hcert in &hcerts {
            let (_, validity) = dgc::validate(hcert, &self.0).map_err(|error| error.to_string())?;
            if !validity.is_valid() {
                return Err(format!(
                    "a certificate left that does not verify: {validity}: {hcert}"
                ));
            }
        }
        Ok(hcerts.len())
    }
}
