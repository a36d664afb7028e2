//! What judging costs: a batch of 1,000 records without HSM, ledger and network.
//!
//! `bench judging [--rounds N]` decodes and judges the same batch with both signatures of each record
//! verified (P-256 statements, RSA-2048 facility signatures), and again by rules that need neither. In
//! the same run stand the bare verifications, so that what is ours can be told from what is theirs; and
//! a registry of 12,000 units, each with a certificate of its own: loading it, and finding one in it.

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::{BASE64, HEXLOWER, HEXUPPER};
use policy::{Place, Policy, Registry, Selection};
use rcgen::{CertificateParams, Issuer, KeyPair, RsaKeySize, SerialNumber};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use signerd::access::{Access, Rate};
use signerd::issue::Rules;
use signerd::statement::{TrustAnchors, UnitError, Units, Verifiers};
use signerd::wire::{record, request};
use signerd_tests::record::now;
use signerd_tests::{Evidence, Person, Setup};

use crate::{Outcome, bare, cpu};

const RECORDS: usize = 1_000;
const UNITS: usize = 12_000;
/// What the project aims at, in µs of processor time per record.
const AIM_MICROS: f64 = 100.0;

/// Measures and writes a table and a line of JSON.
pub(crate) fn run(rounds: usize) -> Outcome<()> {
    let setup = Setup::new();
    let people: Vec<Person> = (0..RECORDS).map(|_| Person::with_doses(2)).collect();
    let batch = Evidence::of(&setup).request("vn-moh", &people);
    let verified = rules(&setup, |policy| policy)?;
    let bare = rules(&setup, |policy| {
        policy
            .replace("assurance = \"statement\"", "assurance = \"asserted\"")
            .replace("facility_signature = \"required\"", "facility_signature = \"optional\"")
    })?;
    let entries = people.iter().map(|person| {
        signerd_tests::record::map([("record", ciborium::Value::Bytes(person.bytes()))])
    });
    let unsigned =
        signerd_tests::record::encode(&signerd_tests::record::request("vn-moh", entries.collect()));
    let mut figures = Figures::default();
    for _ in 0..rounds {
        figures.verified.push(per_record(|| judge(&verified, &batch))?);
        figures.bare.push(per_record(|| judge(&bare, &unsigned))?);
        figures.p256.push(bare::p256(1)?);
        figures.rsa.push(bare::rsa(1)?);
    }
    figures.registry = registry()?;
    figures.write(&mut std::io::stdout().lock())
}

#[derive(Default)]
struct Figures {
    verified: Vec<Cost>,
    bare: Vec<Cost>,
    p256: Vec<f64>,
    rsa: Vec<f64>,
    registry: RegistryCost,
}

/// What one record costs, in µs.
#[derive(Clone, Copy)]
struct Cost {
    cpu: f64,
    wall: f64,
}

#[derive(Default)]
struct RegistryCost {
    sheet: Duration,
    tables: Duration,
    units: Duration,
    lookup_nanos: f64,
    resident_kib: u64,
}

impl Figures {
    fn write(&self, out: &mut dyn Write) -> Outcome<()> {
        let of = |costs: &[Cost], pick: fn(&Cost) -> f64| median(costs.iter().map(pick).collect());
        let (verified, bare) = (of(&self.verified, |c| c.cpu), of(&self.bare, |c| c.cpu));
        let (p256, rsa) = (median(self.p256.clone()), median(self.rsa.clone()));
        let met = if verified <= AIM_MICROS { "met" } else { "not met" };
        let rows = [
            ("judging with both signatures, µs of CPU per record", verified),
            ("  the same, µs of time per record, all cores", of(&self.verified, |c| c.wall)),
            ("judging without signatures, µs of CPU per record", bare),
            ("one P-256 verification alone, µs of CPU", p256),
            ("one RSA-2048 verification alone, µs of CPU", rsa),
            ("all but the two verifications, µs of CPU per record", verified - p256 - rsa),
            ("12,000 units from CSV, ms", self.registry.sheet.as_secs_f64() * 1e3),
            ("12,000 units from TOML, ms", self.registry.tables.as_secs_f64() * 1e3),
            (
                "  their certificates parsed and compared, ms",
                self.registry.units.as_secs_f64() * 1e3,
            ),
            ("  finding a unit by its certificate, ns", self.registry.lookup_nanos),
        ];
        for (name, value) in rows {
            writeln!(out, "{name:<54} {value:>9.1}")?;
        }
        let memory = self.registry.resident_kib;
        writeln!(out, "  growth of this process by them, KiB{memory:>29}")?;
        writeln!(out, "aim: at most {AIM_MICROS} µs of CPU per record: {met}")?;
        let load = self.registry.sheet + self.registry.units;
        let is_fast = load < Duration::from_secs(1) && self.registry.lookup_nanos < 1e3;
        let met = if is_fast { "met" } else { "not met" };
        writeln!(out, "aim: 12,000 units in less than 1 s, one found in less than 1 µs: {met}")?;
        writeln!(
            out,
            "{}",
            json!({
                "judging_cpu_micros": verified, "bare_cpu_micros": bare, "p256_micros": p256,
                "rsa_micros": rsa, "csv_millis": self.registry.sheet.as_secs_f64() * 1e3,
                "lookup_nanos": self.registry.lookup_nanos,
            })
        )?;
        Ok(())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The rules of the development set-up, its policy changed.
fn rules(setup: &Setup, change: impl Fn(String) -> String) -> Outcome<Rules> {
    let policy =
        Policy::parse(&change(setup.text("policy.toml"))).map_err(|faults| told(&faults))?;
    let der = |file: &str| CertificateDer::from_pem_file(setup.path(file));
    let verifier = der("pki/verifier.pem")?;
    let crl = CertificateRevocationListDer::from_pem_file(setup.path("pki/facility-crl.pem"))?;
    let authority = der("pki/facility-ca.pem")?;
    let trust = TrustAnchors::new([authority.as_ref()], [crl.as_ref()])?;
    let verifiers = policy.verifiers().iter().map(|own| (own, verifier.as_ref()));
    let one = std::num::NonZeroU32::MIN;
    Ok(Rules {
        verifiers: Verifiers::new(verifiers)?,
        units: Units::new(Arc::clone(policy.registry()), trust)
            .map_err(|faults| told(&without_places(faults)))?,
        signers: std::collections::HashMap::new(),
        access: Access::new([], Rate { doses_per_second: one, burst: one }),
        ends: Vec::new(),
        policy,
    })
}

fn told<T: std::fmt::Display>(faults: &[T]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn without_places(faults: Vec<(Place, UnitError)>) -> Vec<UnitError> {
    faults.into_iter().map(|(_, error)| error).collect()
}

/// Decodes, limits and judges a batch as the spine does; every record must be approved.
fn judge(rules: &Rules, batch: &[u8]) -> Outcome<()> {
    use rayon::prelude::*;
    let request = request::decode(batch)?;
    let issuer = rules.policy.issuer(request.issuer).ok_or("no such issuer")?;
    let decoded: Vec<_> =
        request.records.par_iter().map(|entry| record::decode(entry.record)).collect();
    let keys = request.records.iter().zip(&decoded).enumerate();
    let keys: Vec<_> = keys
        .filter_map(|(index, (entry, decoded))| {
            let record = &decoded.as_ref().ok()?.record;
            let selection = Selection::new(issuer, record, entry.doses.as_deref());
            Some((index, policy::dose_keys(record, selection)))
        })
        .collect();
    policy::check_batch(issuer, &keys, RECORDS)?;
    let now = i64::try_from(now())?;
    let verdicts = rules.verdicts(issuer, &request.records, decoded, now);
    if verdicts.len() == RECORDS && verdicts.iter().all(Result::is_ok) {
        Ok(())
    } else {
        Err("not every record was approved".into())
    }
}

/// Runs a batch for about a second, and says what a record of it costs.
fn per_record(mut judge: impl FnMut() -> Outcome<()>) -> Outcome<Cost> {
    judge()?;
    let (begin, cpu_begin) = (Instant::now(), cpu::own()?);
    let mut records = 0_u32;
    while begin.elapsed() < Duration::from_secs(1) {
        judge()?;
        records += u32::try_from(RECORDS)?;
    }
    let (wall, cpu) = (begin.elapsed(), cpu::own()? - cpu_begin);
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(records);
    Ok(Cost { cpu: micros(cpu), wall: micros(wall) })
}

/// A country of units, each with a certificate of its own.
fn registry() -> Outcome<RegistryCost> {
    let rows = units()?;
    let sheet = sheet(&rows);
    let tables = tables(&rows);
    let policy = |name: &str| {
        format!(
            "version = 1\nregistry = [\"{name}\"]\n[issuer.a]\nclients = []\niss = \"VN\"\n\
             issuing_body = \"A\"\nassurance = \"asserted\"\nfacility_signature = \"optional\"\n"
        )
    };
    let load = |name: &str, text: &str| -> Outcome<(Duration, Arc<Registry>)> {
        let begin = Instant::now();
        let parsed = Policy::parse_with(&policy(name), &|_| Ok(text.to_owned()))
            .map_err(|faults| told(&faults))?;
        Ok((begin.elapsed(), Arc::clone(parsed.registry())))
    };
    let (from_tables, _) = load("units.toml", &tables)?;
    let before = resident_kib()?;
    let (from_sheet, registry) = load("units.csv", &sheet)?;
    let begin = Instant::now();
    let parsed = Units::new(Arc::clone(&registry), TrustAnchors::default())
        .map_err(|faults| told(&without_places(faults)))?;
    let units = begin.elapsed();
    let resident_kib = resident_kib()?.saturating_sub(before);
    drop(parsed);
    let lookup_nanos = lookup(&registry, &rows)?;
    Ok(RegistryCost { sheet: from_sheet, tables: from_tables, units, lookup_nanos, resident_kib })
}

struct Row {
    issuer: String,
    serial: String,
    digest: [u8; 32],
    der: Vec<u8>,
}

fn units() -> Outcome<Vec<Row>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "CA");
    let issuer = Issuer::new(params, KeyPair::generate()?);
    let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048)?;
    let row = |number: usize| -> Outcome<Row> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("Trạm y tế {number}"));
        let serial = u64::try_from(number)? + 1;
        params.serial_number = Some(SerialNumber::from(serial));
        let der = params.signed_by(&key, &issuer)?.der().to_vec();
        let digest = Sha256::digest(&der).into();
        Ok(Row { issuer: "CN=CA".to_owned(), serial: format!("{serial:08x}"), digest, der })
    };
    (0..UNITS).map(row).collect()
}

fn sheet(rows: &[Row]) -> String {
    let mut text = "id,name,areas,managed_by,certificate_issuer,certificate_serial,\
                    certificate_sha256,certificate_der\n"
        .to_owned();
    for (number, row) in rows.iter().enumerate() {
        let (digest, der) = (HEXLOWER.encode(&row.digest), BASE64.encode(&row.der));
        let Row { issuer, serial, .. } = row;
        text.push_str(&format!(
            "U-{number},Trạm y tế {number},79;79760,79-SYT,{issuer},{serial},{digest},{der}\n"
        ));
    }
    text
}

fn tables(rows: &[Row]) -> String {
    let mut text = "version = 1\n".to_owned();
    for (number, row) in rows.iter().enumerate() {
        let (digest, der) = (HEXUPPER.encode(&row.digest), BASE64.encode(&row.der));
        let Row { issuer, serial, .. } = row;
        text.push_str(&format!(
            "[[facility]]\nid = \"U-{number}\"\nname = \"Trạm y tế {number}\"\n\
             areas = [\"79\", \"79760\"]\nmanaged_by = \"79-SYT\"\n[[facility.certificate]]\n\
             issuer = \"{issuer}\"\nserial = \"{serial}\"\nsha256 = \"{digest}\"\nder = \"{der}\"\n"
        ));
    }
    text
}

fn lookup(registry: &Registry, rows: &[Row]) -> Outcome<f64> {
    let rounds = 20_usize;
    let begin = Instant::now();
    for _ in 0..rounds {
        for row in rows {
            black_box(registry.certificate(black_box(&row.digest))).ok_or("a unit is missing")?;
        }
    }
    let looks = u32::try_from(rounds * rows.len())?;
    Ok(begin.elapsed().as_secs_f64() * 1e9 / f64::from(looks))
}

fn resident_kib() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().next().ok_or("no number")?.parse()?)
}
