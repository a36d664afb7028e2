//! One row of a list: a rejected record, in one of the lists, at one place.
//!
//! In go a person, the reasons and the registry; out comes what a facility needs to repair the record:
//! who, where, which doses, what is wrong and what to do about it. Where several doses were given at
//! several units, the unit is that of the first dose that a reason names, else of the last dose: who
//! saw the person last. Texts are made here; how a file writes them is the file's.

use std::collections::BTreeMap;

use policy::value_set::Kind;
use policy::{Facility, Group, Policy, ReasonCode};
use serde::{Deserialize, Serialize};

use super::person::{DoseGiven, Person};
use super::sorter::Keyed;
use crate::ctl::answer::Reason;

/// By what rows are grouped (Công văn 1908, Annex 03).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// By area, from the registry: the smallest that it knows of a unit ("Theo địa bàn")
    Area,
    /// By province: the largest area that the registry knows of a unit
    Province,
    /// By the unit that gave the dose
    Facility,
    /// By the unit that manages that one, else by that one ("Theo cơ sở duyệt")
    Approver,
}

impl By {
    /// Whether places have names beside their ids: the registry names units, and areas by code alone.
    pub(super) fn has_names(self) -> bool {
        matches!(self, Self::Facility | Self::Approver)
    }
}

/// The lists: the three groups of Annex 03, and the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum List {
    NoNumber,
    Malformed,
    NotMatched,
    Other,
}

impl List {
    pub(super) const ALL: [Self; 4] =
        [Self::NoNumber, Self::Malformed, Self::NotMatched, Self::Other];

    /// The list of a reason; one that this program does not know is "other".
    pub(super) fn of(code: &str) -> Self {
        match ReasonCode::parse(code).and_then(ReasonCode::group) {
            Some(Group::NoIdentityNumber) => Self::NoNumber,
            Some(Group::MalformedIdentityNumber) => Self::Malformed,
            Some(Group::IdentityNotMatched) => Self::NotMatched,
            None => Self::Other,
        }
    }

    /// Its name on the command line and in JSON.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::NoNumber => "1",
            Self::Malformed => "2",
            Self::NotMatched => "3",
            Self::Other => "other",
        }
    }

    /// The title, in the words of Annex 03, and in English.
    pub(super) fn titles(self) -> [&'static str; 2] {
        match self {
            Self::NoNumber => ["1. Không có CCCD/Mã định danh", "1. No identity number"],
            Self::Malformed => {
                ["2. CCCD/Mã định danh sai định dạng", "2. Identity number badly formed"]
            }
            Self::NotMatched => ["3. Xác minh sai thông tin", "3. Identity did not match"],
            Self::Other => ["Khác", "Other"],
        }
    }
}

/// Where a row belongs: an area or a unit. Sorts registered places first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Place {
    /// An area's code, or a unit's id and name.
    Known { id: String, name: String },
    /// A registered unit of which the registry does not say where it is.
    NoArea,
    /// The registry does not know the unit.
    Unregistered,
}

impl Place {
    /// Id and name as a summary shows them, or what it is called where there are no names.
    pub(super) fn texts(&self, by: By) -> Vec<&str> {
        let (id, name) = match self {
            Self::Known { id, name } => (id.as_str(), name.as_str()),
            Self::NoArea => ("", "chưa có địa bàn / no area"),
            Self::Unregistered => ("", "chưa đăng ký / not registered"),
        };
        match (by.has_names(), id) {
            (true, _) => vec![id, name],
            (false, "") => vec![name],
            (false, _) => vec![id],
        }
    }
}

/// One row.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Row {
    /// The file it goes to, where there is one for each place.
    pub(super) file: Option<Place>,
    pub(super) list: List,
    pub(super) place: Place,
    pub(super) record: u64,
    /// The line of the records file.
    pub(super) line: u64,
    pub(super) full_name: String,
    pub(super) date_of_birth: String,
    pub(super) nationality: String,
    pub(super) national_id: String,
    pub(super) passport: String,
    pub(super) phone: String,
    pub(super) unit: String,
    pub(super) unit_name: String,
    pub(super) manager: String,
    pub(super) area: String,
    pub(super) doses: Vec<String>,
    pub(super) codes: Vec<String>,
    pub(super) faults_vi: Vec<String>,
    pub(super) faults_en: Vec<String>,
}

impl Keyed for Row {
    type Key = (Option<Place>, List, Place, String, u64);

    fn key(&self) -> Self::Key {
        (self.file.clone(), self.list, self.place.clone(), self.unit.clone(), self.record)
    }
}

/// Makes rows by the rules of one run.
pub(super) struct RowMaker<'a> {
    pub(super) policy: &'a Policy,
    pub(super) by: By,
}

/// A rejected record, as the records file and the answers say it.
pub(super) struct Rejected<'a> {
    pub(super) record: u64,
    pub(super) line: u64,
    pub(super) person: Person,
    /// The doses that were to be certified; all if absent.
    pub(super) selected: Option<&'a [u64]>,
    pub(super) reasons: &'a [Reason],
}

impl RowMaker<'_> {
    /// The row of a record, to be put into each list of [`lists`].
    pub(super) fn row(&self, rejected: Rejected<'_>) -> Row {
        let Rejected { record, line, person, selected, reasons } = rejected;
        let nowhere = DoseGiven::default();
        let dose = dose_in_question(&person, selected, reasons).unwrap_or(&nowhere);
        let facility = self.policy.registry().facility(&dose.facility);
        let manager = facility.map_or(Some(&*dose.managing_facility), Facility::managed_by);
        let name = facility.map_or(&*dose.facility_name, Facility::name);
        let (codes, [faults_vi, faults_en]) = faults(&person, reasons);
        Row {
            file: None,
            list: List::Other,
            place: self.place(facility),
            record,
            line,
            unit: dose.facility.clone(),
            unit_name: name.to_owned(),
            manager: self.unit_text(manager.unwrap_or_default()),
            area: facility.map_or(String::new(), |facility| area_text(facility.areas())),
            doses: person.doses.iter().map(|dose| self.dose_text(dose)).collect(),
            codes,
            faults_vi,
            faults_en,
            full_name: person.full_name,
            date_of_birth: person.date_of_birth,
            nationality: person.nationality,
            national_id: person.national_id,
            passport: person.passport,
            phone: person.phone,
        }
    }

    fn place(&self, facility: Option<&Facility>) -> Place {
        let Some(facility) = facility else { return Place::Unregistered };
        let unit = |unit: &Facility| Place::Known {
            id: unit.id().to_owned(),
            name: unit.name().to_owned(),
        };
        match self.by {
            By::Area => area(facility.areas()),
            By::Province => area(facility.areas().get(..1).unwrap_or_default()),
            By::Facility => unit(facility),
            By::Approver => {
                let manager = facility.managed_by();
                unit(manager.and_then(|id| self.policy.registry().facility(id)).unwrap_or(facility))
            }
        }
    }

    /// Id and, where the registry has it, name.
    fn unit_text(&self, id: &str) -> String {
        match self.policy.registry().facility(id) {
            Some(facility) => format!("{id} {}", facility.name()),
            None => id.to_owned(),
        }
    }

    fn dose_text(&self, dose: &DoseGiven) -> String {
        let label = self.policy.catalogue().label(Kind::Product, &dose.product);
        let product = label
            .map_or_else(|| dose.product.clone(), |label| format!("{label} ({})", dose.product));
        format!("{}: {}, {product}, {}", dose.number, dose.date, dose.facility)
    }
}

/// The lists that a record with these reasons belongs to, each once.
pub(super) fn lists(reasons: &[Reason]) -> Vec<List> {
    let mut lists: Vec<List> = reasons.iter().map(|reason| List::of(&reason.code)).collect();
    lists.sort_unstable();
    lists.dedup();
    lists
}

/// The codes of areas, the largest first, as one.
fn area_text(areas: &[String]) -> String {
    areas.join("/")
}

fn area(areas: &[String]) -> Place {
    match areas {
        [] => Place::NoArea,
        _ => Place::Known { id: area_text(areas), name: String::new() },
    }
}

fn dose_in_question<'a>(
    person: &'a Person,
    selected: Option<&[u64]>,
    reasons: &[Reason],
) -> Option<&'a DoseGiven> {
    let named = reasons.iter().find_map(|reason| person.doses.get(dose_index(&reason.path)?));
    let is_selected = |dose: &&DoseGiven| {
        selected.is_none_or(|numbers| numbers.iter().any(|n| n.to_string() == dose.number))
    };
    named.or_else(|| person.doses.iter().rfind(is_selected)).or_else(|| person.doses.last())
}

/// The index in a path like `/record/doses/0/date`.
fn dose_index(path: &str) -> Option<usize> {
    path.strip_prefix("/record/doses/")?.split('/').next()?.parse().ok()
}

/// The codes, each once, and what they say in Vietnamese and in English.
fn faults(person: &Person, reasons: &[Reason]) -> (Vec<String>, [Vec<String>; 2]) {
    // One code at several doses is one sentence; the answer's order is the contract's.
    let mut order = Vec::new();
    let mut of_code: BTreeMap<&str, Vec<&Reason>> = BTreeMap::new();
    for reason in reasons {
        let of_code = of_code.entry(&reason.code).or_default();
        if of_code.is_empty() {
            order.push(reason.code.clone());
        }
        of_code.push(reason);
    }
    let mut texts = [Vec::new(), Vec::new()];
    for (code, reasons) in order.iter().filter_map(|code| of_code.get_key_value(code.as_str())) {
        let known = ReasonCode::parse(code);
        let detail_vi = known.map_or("lý do mới, xem mã và cột tiếng Anh", ReasonCode::detail_vi);
        let detail_en = reasons.first().map_or("", |reason| reason.detail.as_str());
        let [vi, en] = &mut texts;
        vi.push(sentence("Mũi", person, reasons, detail_vi));
        en.push(sentence("Dose", person, reasons, detail_en));
    }
    (order, texts)
}

/// `Dose 1, 3: the date …`, or the detail with a capital; where the form is wrong, with the place.
fn sentence(dose: &str, person: &Person, reasons: &[&Reason], detail: &str) -> String {
    let numbers: Vec<String> =
        reasons.iter().filter_map(|r| dose_number(person, &r.path)).collect();
    let mut text = if numbers.is_empty() {
        let mut letters = detail.chars();
        letters.next().map(char::to_uppercase).into_iter().flatten().chain(letters).collect()
    } else {
        format!("{dose} {}: {detail}", numbers.join(", "))
    };
    let form = reasons.iter().filter(|r| r.code == ReasonCode::RecordInvalid.as_str());
    for reason in form {
        text.push_str(&format!(" ({})", reason.path));
    }
    text
}

fn dose_number(person: &Person, path: &str) -> Option<String> {
    let index = dose_index(path)?;
    let number = person.doses.get(index).map(|dose| dose.number.clone());
    Some(number.unwrap_or_else(|| index.saturating_add(1).to_string()))
}

#[cfg(test)]
impl Row {
    /// A row of which only the place in the lists matters.
    pub(super) fn empty() -> Self {
        let text = String::new;
        Self {
            file: None,
            list: List::Other,
            place: Place::Unregistered,
            record: 0,
            line: 0,
            full_name: text(),
            date_of_birth: text(),
            nationality: text(),
            national_id: text(),
            passport: text(),
            phone: text(),
            unit: text(),
            unit_name: text(),
            manager: text(),
            area: text(),
            doses: Vec::new(),
            codes: Vec::new(),
            faults_vi: Vec::new(),
            faults_en: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::records::model::tests::full_record;

    const POLICY: &str = r#"
version = 1
value_sets = ["qd-5772"]
[issuer.vn-moh]
clients = ["moh-issuing"]
iss = "VN"
issuing_body = "Bộ Y tế"
[[verifier]]
certificate = "verifier.pem"
[facility_trust]
ca = ["ca.pem"]
crl = ["crl.pem"]
[[facility]]
id = "79-TTYT-Q1"
name = "Trung tâm Y tế Quận 1"
areas = ["79", "760"]
managed_by = "79-SYT"
[[facility]]
id = "79-SYT"
name = "Sở Y tế"
"#;

    fn reason(code: &str, path: &str) -> Reason {
        let detail = ReasonCode::parse(code).map_or("new; do it", ReasonCode::detail);
        Reason { code: code.into(), path: path.into(), detail: detail.into() }
    }

    fn row(by: By, units: [&str; 2], selected: Option<&[u64]>, reasons: &[Reason]) -> Row {
        let policy = Policy::parse(POLICY).unwrap();
        let mut record = full_record();
        for (dose, unit) in record.doses.iter_mut().zip(units) {
            dose.facility = unit.into();
        }
        let person = Person::read(&record.encode().unwrap());
        let rejected = Rejected { record: 4, line: 5, person, selected, reasons };
        RowMaker { policy: &policy, by }.row(rejected)
    }

    const Q1: [&str; 2] = ["79-TTYT-Q1"; 2];

    #[test]
    fn a_row_says_who_where_what_and_what_to_do() {
        // The registry gives name, manager and area; both languages name the doses; codes stand once.
        let reasons = [
            reason("holder.id_missing", "/record/holder"),
            reason("dose.date_future", "/record/doses/0/date"),
            reason("dose.date_future", "/record/doses/1/date"),
        ];
        let row = row(By::Area, Q1, None, &reasons);
        assert_eq!(row.unit_name, "Trung tâm Y tế Quận 1");
        assert_eq!((&*row.manager, &*row.area), ("79-SYT Sở Y tế", "79/760"));
        assert_eq!(row.codes, ["holder.id_missing", "dose.date_future"]);
        assert!(row.faults_vi[0].starts_with("Không có số định danh; bổ sung"));
        assert!(row.faults_vi[1].starts_with("Mũi 1, 2: ngày tiêm sau ngày"));
        assert!(row.faults_en[0].starts_with("There is no identity number; give"));
        assert!(row.faults_en[1].starts_with("Dose 1, 2: the date of the dose is in the future"));
        assert_eq!(row.doses[0], "1: 20/06/2021, Comirnaty/ Pfizer (EU/1/20/1528), 79-TTYT-Q1");
    }

    #[test]
    fn places_come_from_the_registry() {
        // Area, unit, approving unit; a unit without area or without manager; one that is not there.
        let none = [reason("holder.id_missing", "/record/holder")];
        let place = |by, unit| row(by, [unit; 2], None, &none).place;
        let known =
            |id: &str, name: &str| Place::Known { id: id.to_owned(), name: name.to_owned() };
        assert!(place(By::Area, "79-TTYT-Q1") == known("79/760", ""));
        assert!(place(By::Province, "79-TTYT-Q1") == known("79", ""));
        assert!(place(By::Facility, "79-TTYT-Q1") == known("79-TTYT-Q1", "Trung tâm Y tế Quận 1"));
        assert!(place(By::Approver, "79-TTYT-Q1") == known("79-SYT", "Sở Y tế"));
        assert!(place(By::Approver, "79-SYT") == known("79-SYT", "Sở Y tế"));
        assert!(place(By::Area, "79-SYT") == Place::NoArea);
        assert!(place(By::Province, "79-SYT") == Place::NoArea);
        for by in [By::Area, By::Province, By::Facility, By::Approver] {
            assert!(place(by, "99-X") == Place::Unregistered);
        }
    }

    #[test]
    fn the_unit_is_that_of_the_dose_in_question() {
        // The dose that a reason names decides; else the last selected one; else the last.
        let units = ["79-TTYT-Q1", "79-SYT"];
        let at_first = [reason("dose.date_future", "/record/doses/0/date")];
        let nowhere = [reason("holder.id_missing", "/record/holder")];
        assert_eq!(row(By::Area, units, None, &at_first).unit, "79-TTYT-Q1");
        assert_eq!(row(By::Area, units, Some(&[1]), &nowhere).unit, "79-TTYT-Q1");
        assert_eq!(row(By::Area, units, None, &nowhere).unit, "79-SYT");
        assert_eq!(row(By::Area, units, Some(&[7]), &nowhere).unit, "79-SYT");
    }

    #[test]
    fn every_reason_has_its_list() {
        // The groups of Annex 03, each list once; what is newer than this program is "other".
        let reasons = [
            reason("identity.not_found", "/identity_statement"),
            reason("identity.mismatched", "/identity_statement"),
            reason("holder.id_malformed", "/record/holder/national_id"),
            reason("weather.bad", "/"),
        ];
        assert_eq!(lists(&reasons), [List::Malformed, List::NotMatched, List::Other]);
        assert_eq!(lists(&[reason("holder.id_missing", "")]), [List::NoNumber]);
    }

    #[test]
    fn a_fault_of_form_says_where() {
        // A wrong member is named by its path, also where the code is not known here.
        let row = row(By::Area, Q1, None, &[reason("record.invalid", "/record/holder/phone")]);
        assert!(row.faults_vi[0].ends_with(" (/record/holder/phone)"), "{}", row.faults_vi[0]);
        let new = [reason("weather.bad", "/record/doses/6")];
        let row = self::row(By::Area, Q1, None, &new);
        assert_eq!(row.faults_en, ["Dose 7: new; do it"]);
        assert!(row.faults_vi[0].starts_with("Mũi 7: lý do mới"));
    }
}
