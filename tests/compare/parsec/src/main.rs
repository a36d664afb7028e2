//! The load on a Parsec service: threads that ask for signatures over digests, one after the other.
//!
//! `parsec-load sign --key rsa|ec --threads N --seconds S` signs with a key that it has made where it is
//! not there: RSA-2048 by PKCS1v15 or P-256 by ECDSA, both over SHA-256. It prints a line of JSON with the
//! signatures in a second and the median of the time for one. `parsec-load pss` asks for one signature by
//! PSS, as PS256 needs it, and prints what the service says. The service is the one that
//! `PARSEC_SERVICE_ENDPOINT` names.
//!
//! Every thread has a client of its own, made before the clock starts, and all begin at the same moment.
//! The last signature of each is verified after the clock has stopped; one that is wrong fails the run.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use parsec_client::BasicClient;
use parsec_client::core::interface::operations::psa_algorithm::{
    AsymmetricSignature, Hash, SignHash,
};
use parsec_client::core::interface::operations::psa_key_attributes::{
    Attributes, EccFamily, Lifetime, Policy, Type, UsageFlags,
};
use parsec_client::core::interface::requests::ResponseStatus;
use parsec_client::error::Error as ParsecError;

/// Everything that can go wrong ends the run with one sentence.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str =
    "usage: parsec-load sign --key rsa|ec --threads N --seconds S, or: parsec-load pss";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is closed there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "parsec-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some("sign") => Options::read(words).and_then(|options| sign(&options)),
        Some("pss") => pss(),
        _ => Err(USAGE.into()),
    }
}

struct Options {
    key: Key,
    threads: usize,
    duration: Duration,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut values = HashMap::new();
        while let Some(name) = words.next() {
            values.insert(name, words.next().ok_or(USAGE)?);
        }
        let mut take = |name: &str| values.remove(name).ok_or(USAGE);
        let options = Self {
            key: Key::named(&take("--key")?)?,
            threads: take("--threads")?.parse()?,
            duration: Duration::try_from_secs_f64(take("--seconds")?.parse()?)?,
        };
        if values.is_empty() && options.threads > 0 { Ok(options) } else { Err(USAGE.into()) }
    }
}

const SHA256: SignHash = SignHash::Specific(Hash::Sha256);

/// A key in Parsec, by the way it signs.
#[derive(Clone, Copy)]
struct Key {
    name: &'static str,
    key_type: Type,
    bits: usize,
    algorithm: AsymmetricSignature,
}

impl Key {
    const RSA: Self = Self {
        name: "compare-rsa",
        key_type: Type::RsaKeyPair,
        bits: 2048,
        algorithm: AsymmetricSignature::RsaPkcs1v15Sign { hash_alg: SHA256 },
    };
    const RSA_PSS: Self = Self {
        name: "compare-rsa-pss",
        algorithm: AsymmetricSignature::RsaPss { hash_alg: SHA256 },
        ..Self::RSA
    };
    const EC: Self = Self {
        name: "compare-ec",
        key_type: Type::EccKeyPair { curve_family: EccFamily::SecpR1 },
        bits: 256,
        algorithm: AsymmetricSignature::Ecdsa { hash_alg: SHA256 },
    };

    fn named(name: &str) -> Outcome<Self> {
        match name {
            "rsa" => Ok(Self::RSA),
            "ec" => Ok(Self::EC),
            _ => Err(USAGE.into()),
        }
    }

    /// Makes it where it is not there.
    fn make(self, client: &BasicClient) -> Outcome<()> {
        let mut usage_flags = UsageFlags::default();
        usage_flags.set_sign_hash().set_verify_hash();
        let policy = Policy { usage_flags, permitted_algorithms: self.algorithm.into() };
        let attributes = Attributes {
            lifetime: Lifetime::Persistent,
            key_type: self.key_type,
            bits: self.bits,
            policy,
        };
        match client.psa_generate_key(self.name, attributes) {
            Ok(()) | Err(ParsecError::Service(ResponseStatus::PsaErrorAlreadyExists)) => Ok(()),
            Err(error) => Err(format!("{}: {error}", self.name).into()),
        }
    }
}

fn sign(options: &Options) -> Outcome<()> {
    let Options { key, threads, duration } = options;
    key.make(&BasicClient::new(None)?)?;
    let clients: Vec<_> =
        (0..*threads).map(|_| BasicClient::new(None)).collect::<Result<_, _>>()?;
    let barrier = Barrier::new(*threads);
    let lanes: Outcome<Vec<Lane>> = std::thread::scope(|scope| {
        let running: Vec<_> = clients
            .iter()
            .map(|client| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    Lane::run(client, *key, *duration)
                })
            })
            .collect();
        running.into_iter().map(|lane| lane.join().map_err(|_| "a thread was lost")?).collect()
    });
    report(&lanes?)
}

/// What one thread did.
struct Lane {
    /// From its first request to its last answer.
    took: Duration,
    /// How long each signature took.
    waits: Vec<Duration>,
}

impl Lane {
    fn run(client: &BasicClient, key: Key, duration: Duration) -> Outcome<Self> {
        let mut digest = [0_u8; 32];
        let mut signature = Vec::new();
        let mut waits = Vec::new();
        let since = Instant::now();
        while since.elapsed() < duration {
            if let Some(start) = digest.first_chunk_mut() {
                *start = waits.len().to_be_bytes();
            }
            let asked = Instant::now();
            signature = client.psa_sign_hash(key.name, &digest, key.algorithm)?;
            waits.push(asked.elapsed());
        }
        let took = since.elapsed();
        client
            .psa_verify_hash(key.name, &digest, key.algorithm, &signature)
            .map_err(|error| format!("the last signature does not verify: {error}"))?;
        Ok(Self { took, waits })
    }
}

fn report(lanes: &[Lane]) -> Outcome<()> {
    let mut waits: Vec<_> = lanes.iter().flat_map(|lane| lane.waits.iter().copied()).collect();
    waits.sort_unstable();
    let median = waits.get(waits.len() / 2).ok_or("no signature was made")?;
    let took = lanes.iter().map(|lane| lane.took).max().unwrap_or_default();
    let signatures = u32::try_from(waits.len())?;
    let rate = f64::from(signatures) / took.as_secs_f64();
    writeln!(
        std::io::stdout(),
        "{{\"signatures\":{signatures},\"per_second\":{rate:.1},\"p50_ms\":{:.3}}}",
        median.as_secs_f64() * 1e3
    )?;
    Ok(())
}

/// Says what the service answers to a request for PSS.
fn pss() -> Outcome<()> {
    let client = BasicClient::new(None)?;
    let Key { name, algorithm, .. } = Key::RSA_PSS;
    Key::RSA_PSS.make(&client)?;
    let answer = match client.psa_sign_hash(name, &[0; 32], algorithm) {
        Ok(_) => "signed".to_owned(),
        Err(ParsecError::Service(status)) => format!("{status:?}"),
        Err(error) => return Err(error.into()),
    };
    // It would be one more key to pass by for all that is measured after it.
    client.psa_destroy_key(name)?;
    writeln!(std::io::stdout(), "{answer}")?;
    Ok(())
}
