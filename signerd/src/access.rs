//! Who may do what: one table, from client certificates to client ids to issuers.
//!
//! A client is recognised by exactly one trait of its certificate, compared byte for byte: a URI or DNS
//! name of its subjectAltName, or the SHA-256 of its public key. No prefix, no pattern, no common name.
//! Which issuers a client may use stands in the policy. The rate limit is here too: its weight is doses,
//! its key is the configured client id, so its memory is bounded by the configuration.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// A trait by which a client certificate is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A `dNSName` of the subjectAltName.
    SanDns(String),
    /// A `uniformResourceIdentifier` of the subjectAltName.
    SanUri(String),
    /// SHA-256 of the DER of the `SubjectPublicKeyInfo`.
    SpkiSha256([u8; 32]),
}

/// A client that the table knows.
#[derive(Debug, PartialEq, Eq)]
pub struct Client {
    /// Its id in configuration, ledger and metrics.
    pub id: String,
    /// The issuers whose keys it may use.
    pub issuers: HashSet<String>,
}

/// The weighted rate limit of every client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Doses per second in the long run.
    pub doses_per_second: NonZeroU32,
    /// Doses at once after a rest.
    pub burst: NonZeroU32,
}

/// A batch that comes too early. To blame: the client. Worth repeating after the time named.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RateError {
    /// The batch alone is heavier than the burst, so it can never pass; make it smaller.
    #[error("batch of {doses} doses is heavier than the limit of {burst} at once")]
    NeverFits {
        /// Doses of the batch.
        doses: u32,
        /// Doses that pass at once.
        burst: u32,
    },
    /// Too much for now.
    #[error("rate limit reached")]
    TooFast {
        /// Whole seconds after which the batch fits.
        retry_after: u64,
    },
}

/// The access table.
#[derive(Debug)]
pub struct Access {
    clients: HashMap<Identity, Arc<Client>>,
    limiter: Arc<DefaultKeyedRateLimiter<String>>,
    rate: Rate,
}

impl Access {
    /// A table of clients with one rate limit for each.
    pub fn new(clients: impl IntoIterator<Item = (Identity, Client)>, rate: Rate) -> Self {
        let quota = Quota::per_second(rate.doses_per_second).allow_burst(rate.burst);
        Self {
            clients: clients.into_iter().map(|(id, client)| (id, Arc::new(client))).collect(),
            limiter: Arc::new(RateLimiter::keyed(quota)),
            rate,
        }
    }

    /// This table with what the clients of another have spent, if the rate is the same: a reload gives
    /// nobody a new allowance.
    #[must_use]
    pub fn continuing(mut self, other: &Self) -> Self {
        if self.rate == other.rate {
            self.limiter = Arc::clone(&other.limiter);
        }
        self
    }

    /// Finds the client whose certificate this is; `None` for a stranger, and for a certificate that
    /// two rows of the table claim.
    pub fn client(&self, certificate_der: &[u8]) -> Option<Arc<Client>> {
        let mut found: Option<Arc<Client>> = None;
        for identity in identities(certificate_der)? {
            match (self.clients.get(&identity), &found) {
                (Some(client), Some(other)) if client.id != other.id => return None,
                (Some(client), _) => found = Some(Arc::clone(client)),
                (None, _) => {}
            }
        }
        found
    }

    /// Takes the weight of a batch from the client's allowance.
    ///
    /// # Errors
    /// The allowance does not hold it, now or ever; then nothing is taken.
    pub fn spend(&self, client: &Client, doses: u32) -> Result<(), RateError> {
        let Some(weight) = NonZeroU32::new(doses) else { return Ok(()) };
        match self.limiter.check_key_n(&client.id, weight) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_yet)) => {
                let wait = not_yet.wait_time_from(DefaultClock::default().now());
                Err(RateError::TooFast { retry_after: wait.as_secs().saturating_add(1) })
            }
            Err(_) => Err(RateError::NeverFits { doses, burst: self.rate.burst.get() }),
        }
    }
}

/// Every trait of a certificate that a row of the table could name.
fn identities(der: &[u8]) -> Option<Vec<Identity>> {
    let certificate = Certificate::from_der(der).ok()?;
    let tbs = certificate.tbs_certificate();
    let spki = tbs.subject_public_key_info().to_der().ok()?;
    let mut identities = vec![Identity::SpkiSha256(Sha256::digest(spki).into())];
    if let Some((_, names)) = tbs.get_extension::<SubjectAltName>().ok()? {
        identities.extend(names.0.iter().filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(Identity::SanDns(name.as_str().to_owned())),
            GeneralName::UniformResourceIdentifier(uri) => {
                Some(Identity::SanUri(uri.as_str().to_owned()))
            }
            _ => None,
        }));
    }
    Some(identities)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn uri(uri: &str) -> SanType {
        SanType::URI(uri.try_into().unwrap())
    }

    fn table(per_second: u32, burst: u32) -> Access {
        let row = |name: &str| {
            let client = Client { id: name.into(), issuers: HashSet::new() };
            (Identity::SanUri(format!("urn:signerd:client:{name}")), client)
        };
        let rate = Rate {
            doses_per_second: per_second.try_into().unwrap(),
            burst: burst.try_into().unwrap(),
        };
        Access::new([row("a"), row("b")], rate)
    }

    #[test]
    fn a_client_is_matched_exactly() {
        // A certificate is mapped to a client by an exact name only: no prefix, no suffix, no case.
        let access = table(1, 1);
        let id = |name: &str| access.client(&certificate(vec![uri(name)])).map(|c| c.id.clone());
        assert_eq!(id("urn:signerd:client:a").as_deref(), Some("a"));
        for stranger in ["urn:signerd:client:aa", "urn:signerd:client:", "urn:signerd:client:A"] {
            assert_eq!(id(stranger), None, "{stranger}");
        }
        assert_eq!(access.client(b"no certificate"), None);
    }

    #[test]
    fn a_certificate_of_two_clients_is_nobody() {
        // A certificate that names two clients is refused rather than guessed.
        let both = vec![uri("urn:signerd:client:a"), uri("urn:signerd:client:b")];
        assert_eq!(table(1, 1).client(&certificate(both)), None);
    }

    #[test]
    fn a_reload_gives_no_new_allowance() {
        // What a client spent stays spent in the table that follows, unless its rate is another.
        let client = Client { id: "a".into(), issuers: HashSet::new() };
        let access = table(1, 10);
        assert_eq!(access.spend(&client, 10), Ok(()));
        assert!(table(1, 10).continuing(&access).spend(&client, 10).is_err());
        assert_eq!(table(1, 20).continuing(&access).spend(&client, 10), Ok(()));
    }

    #[test]
    fn the_rate_weighs_doses() {
        // A batch weighs its doses; what does not fit now is told when, what never fits is told so.
        let access = table(1, 10);
        let client = Client { id: "a".into(), issuers: HashSet::new() };
        assert_eq!(access.spend(&client, 8), Ok(()));
        assert!(matches!(access.spend(&client, 8), Err(RateError::TooFast { retry_after: 1.. })));
        let never = RateError::NeverFits { doses: 11, burst: 10 };
        assert_eq!(access.spend(&client, 11), Err(never));
    }
}
