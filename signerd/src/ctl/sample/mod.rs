//! `signerctl sample`: realistic signed records for tests, demonstrations and benchmarks.
//!
//! A count and a seed in, a records file out. People, papers, products and dates of a seed are the
//! same every time; the signatures are not, because PSS and ECDSA are randomised, and `checked_at` is
//! the time of making unless `--at` is given. Signed with the software keys of the development set-up:
//! a production appliance trusts none of them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use self::random::Random;
use self::statements::{RsaScheme, Signer, StatementError};
use self::vaccines::Unit;
use super::cbor::EncodeError;
use super::config::{ConfigError, SampleSettings, Settings};
use super::error::{CtlError, Outcome};
use super::output::write_result;
use super::records::{JsonEntry, JsonRecord, VaccinationRecord, to_base64url};
use super::{Context, pem};

mod names;
mod people;
mod random;
pub mod statements;
mod vaccines;

/// More records than this would repeat the numbers of papers.
const COUNT_MAX: u64 = people::SERIALS;
/// Records made at a time: enough to keep every core busy, small in memory.
const CHUNK: u64 = 4096;
/// The greatest dose number (`api.cddl`).
const DOSES_MAX: u64 = 9;

/// The command line of `sample`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many records, 1 to 1000000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    count: u64,
    /// Makes the content repeatable (signatures are random all the same)
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Doses per record: a number or a range
    #[arg(long, value_name = "FROM-TO", default_value = "1-3")]
    doses: DoseRange,
    /// Time of the identity check: RFC 3339, or seconds since 1970 [default: now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    at: Option<i64>,
    /// How an RSA facility key signs
    #[arg(long, value_enum, default_value_t = RsaScheme::Ps256)]
    facility_algorithm: RsaScheme,
    /// Write each record as base64url of its CBOR instead of as an object
    #[arg(long)]
    encoded: bool,
    /// Where to write, one record per line [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// From how many to how many doses a record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DoseRange {
    from: u64,
    to: u64,
}

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The sample's last doses would lie behind the time of the identity check; choose a later one.
    #[error("--at is before {0}, when the last of these doses was given")]
    TooEarly(jiff::civil::Date),
    /// Key and certificate of a signer cannot be used; correct the files.
    #[error("{certificate}: {source}")]
    Signer {
        /// The signer's certificate.
        certificate: PathBuf,
        /// Why not.
        source: StatementError,
    },
    /// A statement could not be signed: a fault of this program.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// A record could not be encoded: a fault of this program.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A record could not be written as JSON: a fault of this program.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl SampleError {
    /// Whether the command line is to blame.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::TooEarly(_))
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::TooEarly(_) => "Give a later --at, or fewer --doses.",
            Self::Signer { .. } => {
                "Check the files under [sample] of the settings; softhsm-setup.sh makes them."
            }
            Self::Statement(_) | Self::Encode(_) | Self::Json(_) => {
                "This is a fault of signerctl; report it."
            }
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// When the settings, a key file or the output stop it.
pub fn run(args: &Args, context: &Context, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    let settings = Settings::load(&context.config)?;
    let settings = settings.sample.as_ref().ok_or(ConfigError::Missing("[sample]"))?;
    let maker = Maker::new(args, settings, args.at.unwrap_or(context.now))?;
    let bar = context.progress.bar(args.count, "records");
    write_result(args.output.as_deref(), out, |out| {
        let mut first = 0;
        while first < args.count {
            let end = first.saturating_add(CHUNK).min(args.count);
            let lines: Result<Vec<String>, SampleError> =
                (first..end).into_par_iter().map(|index| maker.line(index)).collect();
            for line in lines? {
                writeln!(out, "{line}")?;
            }
            bar.inc(end.saturating_sub(first));
            first = end;
        }
        Ok::<_, CtlError>(())
    })?;
    bar.finish_and_clear();
    Ok(Outcome::Done)
}

/// Everything that goes into every record.
struct Maker {
    seed: u64,
    doses: DoseRange,
    checked_at: u64,
    encoded: bool,
    unit: Unit,
    verifier: Signer,
    facility: Signer,
}

impl Maker {
    fn new(args: &Args, settings: &SampleSettings, at: i64) -> Result<Self, CtlError> {
        let earliest = vaccines::all_given_by(args.doses.to);
        let day = Timestamp::from_second(at).map(|time| time.to_zoned(TimeZone::UTC).date());
        let checked_at = u64::try_from(at).ok().filter(|_| day.is_ok_and(|day| day >= earliest));
        let checked_at = checked_at.ok_or(SampleError::TooEarly(earliest))?;
        let signer = |certificate, key| signer(certificate, key, args.facility_algorithm);
        Ok(Self {
            seed: args.seed,
            doses: args.doses,
            checked_at,
            encoded: args.encoded,
            unit: Unit { id: settings.facility.clone(), name: settings.facility_name.clone() },
            verifier: signer(&settings.verifier_certificate, &settings.verifier_key)?,
            facility: signer(&settings.facility_certificate, &settings.facility_key)?,
        })
    }

    fn line(&self, index: u64) -> Result<String, SampleError> {
        let record = record(self.seed, index, self.doses, &self.unit);
        let bytes = record.encode()?;
        let identity =
            self.verifier.identity_statement(&record.holder.encode()?, self.checked_at)?;
        let facility = self.facility.facility_signature(&bytes)?;
        let record = if self.encoded {
            JsonRecord::Encoded(to_base64url(&bytes))
        } else {
            JsonRecord::Object(Box::new(record))
        };
        Ok(serde_json::to_string(&JsonEntry {
            record,
            doses: None,
            identity_statement: Some(to_base64url(&identity)),
            facility_signature: Some(to_base64url(&facility)),
        })?)
    }
}

/// The content of one record: depends on nothing but these arguments.
fn record(seed: u64, index: u64, range: DoseRange, unit: &Unit) -> VaccinationRecord {
    let mut random = Random::new(seed, index);
    let person = people::person(seed, index, &mut random);
    let (from, to) = (i64::try_from(range.from), i64::try_from(range.to));
    let count = random.between(from.unwrap_or(1), to.unwrap_or(1)).unsigned_abs();
    let doses = vaccines::doses(person.birth_year, count, unit, &mut random);
    VaccinationRecord { doses, holder: person.holder, total_doses: count }
}

fn signer(certificate: &Path, key: &Path, scheme: RsaScheme) -> Result<Signer, CtlError> {
    let (der, key) = (pem::certificate(certificate)?, pem::private_key(key)?);
    Ok(Signer::new(&der, &key, scheme)
        .map_err(|source| SampleError::Signer { certificate: certificate.to_owned(), source })?)
}

impl FromStr for DoseRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        match (from.parse(), to.parse()) {
            (Ok(from), Ok(to)) if (1..=to).contains(&from) && to <= DOSES_MAX => {
                Ok(Self { from, to })
            }
            _ => Err(format!("a number from 1 to {DOSES_MAX}, or a range such as 1-3")),
        }
    }
}

fn instant(text: &str) -> Result<i64, String> {
    text.parse::<i64>()
        .ok()
        .or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_second))
        .ok_or_else(|| "a time such as 2026-01-31T12:00:00Z, or seconds since 1970".into())
}

#[cfg(test)]
mod tests;
