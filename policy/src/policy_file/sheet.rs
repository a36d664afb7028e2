//! A registry file in CSV (RFC 4180), as a spreadsheet program writes it.
//!
//! In: the text; the first row names the columns, in any order. Out: the same units as the tables of a
//! TOML file give, not yet checked. One row is one unit with at most one certificate; a row that repeats
//! the id of the row before adds a certificate to that unit, and says nothing else about it. Lists are
//! parted by semicolons, an empty cell is an absent value.

use csv::{ErrorKind, ReaderBuilder, StringRecord};
use toml::Spanned;

use super::{
    Faults,
    spec::{CertificateSpec, FacilitySpec},
};

/// The columns of a unit; the first two are needed.
const UNIT: [&str; 7] = ["id", "name", "name_en", "areas", "managed_by", "delegates", "status"];
/// The columns of its certificate: none of the first four in a row, or all of them.
const CERTIFICATE: [&str; 7] = [
    "certificate_issuer",
    "certificate_serial",
    "certificate_sha256",
    "certificate_der",
    "certificate_valid_from",
    "certificate_valid_to",
    "certificate_status",
];

/// Reads all rows; nothing if the columns are not those of a registry.
pub(super) fn read(text: &str, faults: &mut Faults) -> Option<Vec<FacilitySpec>> {
    let body = text.strip_prefix(BOM).unwrap_or(text);
    let skipped = text.len().saturating_sub(body.len());
    let mut reader = ReaderBuilder::new().from_reader(body.as_bytes());
    let start = |byte: u64| {
        line_begin(text, usize::try_from(byte).unwrap_or(text.len()).saturating_add(skipped))
    };
    let header = reader.headers().map_err(|error| unreadable(&error, start, faults)).ok()?.clone();
    check_header(&header, faults)?;
    let mut units: Vec<FacilitySpec> = Vec::new();
    for record in reader.records() {
        let Ok(record) = record.map_err(|error| unreadable(&error, start, faults)) else {
            continue;
        };
        let begin = record.position().map_or(0, |at| start(at.byte()));
        let row = Row { header: &header, record: &record, start: begin };
        match units.last_mut().filter(|unit| row.cell("id").is_some_and(|id| id == unit.id)) {
            Some(unit) => row.add_certificate(unit, faults),
            None => units.extend(row.unit(faults)),
        }
    }
    Some(units)
}

/// The reader counts the second half of a line's CR LF to the row after it.
fn line_begin(text: &str, start: usize) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    let ends = rest.bytes().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    start.saturating_add(ends)
}

/// Spreadsheet programs begin a text in UTF-8 with it.
const BOM: char = '\u{FEFF}';

fn check_header(header: &StringRecord, faults: &mut Faults) -> Option<()> {
    let before = faults.found.len();
    for name in header {
        if !UNIT.contains(&name) && !CERTIFICATE.contains(&name) {
            let known = [UNIT, CERTIFICATE].concat().join(", ");
            let problem = "is not a column of a registry".to_owned();
            faults.add(0..0, name.to_owned(), [problem, format!("the columns are {known}")]);
        }
    }
    for column in UNIT.into_iter().chain(CERTIFICATE) {
        let times = header.iter().filter(|name| *name == column).count();
        // Of two columns only one would count, and nobody would know which.
        if times > 1 || (times == 0 && ["id", "name"].contains(&column)) {
            let problem = "the column is missing, or there twice".to_owned();
            faults.add(0..0, column.to_owned(), [problem, "have it once".to_owned()]);
        }
    }
    (faults.found.len() == before).then_some(())
}

/// One row, with the place where it begins.
struct Row<'a> {
    header: &'a StringRecord,
    record: &'a StringRecord,
    start: usize,
}

impl Row<'_> {
    /// The unit of this row.
    fn unit(&self, faults: &mut Faults) -> Option<FacilitySpec> {
        let mut unit = FacilitySpec {
            id: self.needed("id", faults)?,
            name: self.needed("name", faults)?,
            name_en: self.cell("name_en"),
            areas: self.list("areas"),
            managed_by: self.cell("managed_by"),
            delegates: self.list("delegates"),
            status: self.cell("status"),
            certificate: Vec::new(),
        };
        self.take_certificate(&mut unit, faults);
        Some(unit)
    }

    /// Adds what a further row says about a unit: a certificate.
    fn add_certificate(&self, unit: &mut FacilitySpec, faults: &mut Faults) {
        for column in UNIT.into_iter().skip(1).filter(|column| self.cell(column).is_some()) {
            let problem = format!("a further row of the unit has {column}");
            let remedy = "leave it empty: a further row adds a certificate and nothing else";
            self.fault(unit.id.get_ref(), [problem, remedy.to_owned()], faults);
        }
        let before = unit.certificate.len();
        self.take_certificate(unit, faults);
        if unit.certificate.len() == before {
            let problem = "a further row of the unit has no whole certificate".to_owned();
            self.fault(unit.id.get_ref(), [problem, "remove the row".to_owned()], faults);
        }
    }

    fn take_certificate(&self, unit: &mut FacilitySpec, faults: &mut Faults) {
        let [issuer, serial, sha256, der, valid_from, valid_to, status] =
            CERTIFICATE.map(|column| self.cell(column));
        match (issuer, serial, sha256, der) {
            (Some(issuer), Some(serial), Some(sha256), Some(der)) => {
                let certificate =
                    CertificateSpec { issuer, serial, sha256, der, valid_from, valid_to, status };
                unit.certificate.push(certificate);
            }
            (None, None, None, None) if [&valid_from, &valid_to, &status] == [&None; 3] => {}
            _ => {
                let problem = "has a part of a certificate".to_owned();
                let remedy = "give issuer, serial, sha256 and der, or none of the columns";
                self.fault(unit.id.get_ref(), [problem, remedy.to_owned()], faults);
            }
        }
    }

    fn needed(&self, column: &str, faults: &mut Faults) -> Option<Spanned<String>> {
        let cell = self.cell(column);
        if cell.is_none() {
            self.fault(column, ["is empty".to_owned(), "fill it in".to_owned()], faults);
        }
        cell
    }

    /// The cell of a column, if there is something in it.
    fn cell(&self, column: &str) -> Option<Spanned<String>> {
        let index = self.header.iter().position(|name| name == column)?;
        let cell = self.record.get(index).map(str::trim).filter(|cell| !cell.is_empty())?;
        Some(self.at(cell))
    }

    fn list(&self, column: &str) -> Vec<Spanned<String>> {
        let Some(cell) = self.cell(column) else { return Vec::new() };
        let items = cell.get_ref().split(';').map(str::trim).filter(|item| !item.is_empty());
        items.map(|item| self.at(item)).collect()
    }

    /// Which line is enough for a row.
    fn at(&self, text: &str) -> Spanned<String> {
        Spanned::new(self.start..self.start, text.to_owned())
    }

    fn fault(&self, key: &str, told: [String; 2], faults: &mut Faults) {
        faults.add(self.start..self.start, key.to_owned(), told);
    }
}

/// What the reader complains about, at the row that it is about.
fn unreadable(error: &csv::Error, start: impl Fn(u64) -> usize, faults: &mut Faults) {
    let start = error.position().map_or(0, |at| start(at.byte()));
    let problem = match error.kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} cells, and the first row has {expected_len}")
        }
        _ => error.to_string().replace('\n', " "),
    };
    let remedy = "write it as RFC 4180 says, in UTF-8".to_owned();
    faults.add(start..start, String::new(), [problem, remedy]);
}
