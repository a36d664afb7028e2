//! Which `[[facility]]` tables, or rows of a registry file, are acceptable.
//!
//! In: the tables as they were read, file by file. Out: the registry. A unit or a certificate that stands twice is
//! a fault: a certificate must lead to one unit. Managers and delegates need not be registered
//! themselves: a unit that signs nothing has no row.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use data_encoding::{BASE64, HEXUPPER_PERMISSIVE};
use toml::Spanned;

use super::{
    Faults,
    spec::{CertificateSpec, FacilitySpec},
    values::{choice, period, text, texts},
};
use crate::registry::{Facility, RegisteredCertificate, Registry, Status};

/// The longest id of a unit, as in the wire's format.
const FACILITY_ID_MAX: usize = 64;
/// The longest serial number of a certificate (RFC 5280 §4.1.2.2), in bytes.
const SERIAL_BYTES_MAX: usize = 20;

/// The words for a unit or a registration; where the key is absent, the first one counts.
const STATUSES: &[(&str, Status)] = &[("active", Status::Active), ("suspended", Status::Suspended)];

/// The registry while it is being put together.
#[derive(Default)]
pub(super) struct Units(Registry);

impl Units {
    /// Checks the units of one file and adds them.
    pub(super) fn enter(&mut self, specs: Vec<FacilitySpec>, faults: &mut Faults) {
        for spec in specs {
            self.enter_unit(spec, faults);
        }
    }

    pub(super) fn into_registry(self) -> Registry {
        self.0
    }

    fn enter_unit(&mut self, spec: FacilitySpec, faults: &mut Faults) {
        let position = self.0.facilities.len();
        enter(&mut self.0.by_id, &spec.id, position, faults);
        let key = format!("facility {}", spec.id.get_ref());
        let certificates = self.certificates(&key, spec.certificate, faults);
        let status = choice(format!("{key}: status"), spec.status, STATUSES, faults);
        self.0.facilities.push(Facility {
            id: unit_id(format!("{key}: id"), spec.id, faults),
            name: text(format!("{key}: name"), spec.name, faults),
            name_en: spec.name_en.map(|name| text(format!("{key}: name_en"), name, faults)),
            areas: texts(&format!("{key}: areas"), spec.areas, faults),
            managed_by: spec.managed_by.map(|id| unit_id(format!("{key}: managed_by"), id, faults)),
            delegates: spec
                .delegates
                .into_iter()
                .map(|id| unit_id(format!("{key}: delegates"), id, faults))
                .collect(),
            status: status.unwrap_or_default(),
            certificates,
        });
    }

    /// The certificates of the unit that is entered next.
    fn certificates(
        &mut self,
        key: &str,
        specs: Vec<CertificateSpec>,
        faults: &mut Faults,
    ) -> Vec<RegisteredCertificate> {
        let position = self.0.facilities.len();
        let mut certificates = Vec::with_capacity(specs.len());
        for spec in specs {
            let span = spec.sha256.span();
            let Some(certificate) = registered(key, spec, faults) else { continue };
            let place = (position, certificates.len());
            if self.0.by_digest.insert(certificate.sha256, place).is_some() {
                let problem = "the certificate is registered twice".to_owned();
                let remedy =
                    "register it for one unit; others may name that unit as manager or delegate";
                faults.add(span, format!("{key}: certificate"), [problem, remedy.to_owned()]);
            }
            certificates.push(certificate);
        }
        certificates
    }
}

/// Notes where a unit stands.
fn enter(
    by_id: &mut HashMap<String, usize>,
    id: &Spanned<String>,
    position: usize,
    faults: &mut Faults,
) {
    match by_id.entry(id.get_ref().clone()) {
        Entry::Vacant(free) => {
            free.insert(position);
        }
        Entry::Occupied(_) => {
            let problem = "the unit is registered twice".to_owned();
            let remedy = "join the two tables".to_owned();
            faults.add(id.span(), format!("facility {}", id.get_ref()), [problem, remedy]);
        }
    }
}

/// Checks the form of a unit's id.
pub(super) fn unit_id(key: String, id: Spanned<String>, faults: &mut Faults) -> String {
    let text = id.get_ref();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric())
        || text.len() > FACILITY_ID_MAX
        || !text.chars().all(allowed)
    {
        let problem = "is not the id of a unit".to_owned();
        let remedy = "use 1 to 64 of A-Z, a-z, 0-9, ., _ and -, beginning with a letter or digit";
        faults.add(id.span(), key, [problem, remedy.to_owned()]);
    }
    id.into_inner()
}

/// Decodes one certificate; whether its bytes fit its digest and names is checked where it is used.
fn registered(
    key: &str,
    spec: CertificateSpec,
    faults: &mut Faults,
) -> Option<RegisteredCertificate> {
    let key = |name: &str| format!("{key}: certificate.{name}");
    let days = period(&key(""), spec.valid_from.as_ref(), spec.valid_to.as_ref(), faults);
    let status = choice(key("status"), spec.status, STATUSES, faults);
    let issuer = text(key("issuer"), spec.issuer, faults);
    let serial = hex(key("serial"), &spec.serial, faults).and_then(|bytes| {
        let leading_zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        let serial = bytes.get(leading_zeros..).unwrap_or_default().to_vec();
        let fits = (1..=SERIAL_BYTES_MAX).contains(&serial.len());
        if !fits {
            let problem = "is not the serial number of a certificate".to_owned();
            let remedy = "use 1 to 20 bytes in hex, not zero".to_owned();
            faults.add(spec.serial.span(), key("serial"), [problem, remedy]);
        }
        fits.then_some(serial)
    });
    let sha256 = hex(key("sha256"), &spec.sha256, faults).and_then(|bytes| {
        let digest = <[u8; 32]>::try_from(bytes).ok();
        if digest.is_none() {
            let problem = "is not a SHA-256 digest".to_owned();
            faults.add(
                spec.sha256.span(),
                key("sha256"),
                [problem, "use 64 hex digits".to_owned()],
            );
        }
        digest
    });
    let der = BASE64.decode(spec.der.get_ref().as_bytes()).ok().filter(|der| !der.is_empty());
    if der.is_none() {
        let problem = "is not base64".to_owned();
        let remedy = "use standard base64 with padding, in one line".to_owned();
        faults.add(spec.der.span(), key("der"), [problem, remedy]);
    }
    Some(RegisteredCertificate {
        issuer,
        serial: serial?,
        sha256: sha256?,
        der: Arc::from(der?),
        registered: days,
        status: status?,
        place: faults.place(spec.sha256.span()),
    })
}

/// Reads hex digits of either case.
fn hex(key: String, value: &Spanned<String>, faults: &mut Faults) -> Option<Vec<u8>> {
    let bytes = HEXUPPER_PERMISSIVE.decode(value.get_ref().as_bytes()).ok();
    if bytes.is_none() {
        let problem = "is not an even number of hex digits".to_owned();
        faults.add(value.span(), key, [problem, "use only 0-9 and A-F".to_owned()]);
    }
    bytes
}
