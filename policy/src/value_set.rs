//! The codes a certificate may carry, and which of them belong together.
//!
//! In: the value sets that `policy.toml` selects: by id, those that are compiled in from `value-sets/`,
//! or by name, files of the same format that came later. Out: a [`Catalogue`] that answers whether a
//! code is known, which combinations are right, what a code is called, and what is known of a product's
//! use. It does not decide what happens to a wrong one.

mod check;

use std::collections::{HashMap, HashSet};

use jiff::civil::Date;
use serde::Deserialize;

use crate::{
    calendar::{self, FIRST_VACCINATIONS, Period},
    policy_file::{Files, Lines},
};

/// The sets that can be selected: id, and the file.
const SETS: [(&str, &str); 2] = [
    ("qd-5772", include_str!("../value-sets/qd-5772.toml")),
    ("eu-2.12.0", include_str!("../value-sets/eu-2.12.0.toml")),
];
const COUNTRIES: &str = include_str!("../value-sets/countries.toml");
const PRODUCTS: &str = include_str!("../value-sets/products.toml");

/// The disease of every certificate, in SNOMED CT (Quyết định 5772 §4.1).
pub const COVID_19: &str = "840539006";

/// The four code lists of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Field `tg`: the disease.
    Disease,
    /// Field `vp`: the type of vaccine.
    Vaccine,
    /// Field `mp`: the product.
    Product,
    /// Field `ma`: the manufacturer or holder of the authorisation.
    Manufacturer,
}

impl Kind {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Disease, Self::Vaccine, Self::Product, Self::Manufacturer];

    /// The name of the list, as set files write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disease => "disease",
            Self::Vaccine => "vaccine",
            Self::Product => "product",
            Self::Manufacturer => "manufacturer",
        }
    }
}

/// One code of a catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedCode<'a> {
    /// The code.
    pub code: &'a str,
    /// What it is called.
    pub label: &'a str,
    /// From when on no set has it active.
    pub inactive_since: Option<Date>,
}

/// What a value set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueSet {
    /// Its id, as `policy.toml` selects it.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// Which edition it is, as its publisher counts.
    pub version: String,
    /// The day it was published.
    pub published: Date,
    /// The days on which certificates may be issued by it; an edition that replaces earlier ones keeps
    /// their codes and has no first day.
    pub valid: Period,
}

/// The selected value sets as one.
#[derive(Clone, Debug)]
pub struct Catalogue {
    sets: Vec<ValueSet>,
    codes: HashMap<Kind, HashMap<String, Code>>,
    /// Product to what is right for it.
    combinations: HashMap<String, Vec<Combination>>,
    countries: HashSet<String>,
    products: Products,
}

impl Catalogue {
    /// The selected sets, in the order of the selection.
    pub fn sets(&self) -> &[ValueSet] {
        &self.sets
    }

    /// The ids of all sets that can be selected.
    pub fn set_ids() -> impl Iterator<Item = &'static str> {
        SETS.iter().map(|(id, _)| *id)
    }

    /// Joins the named built-in sets; the first one named gives a code its label.
    ///
    /// # Errors
    /// [`ValueSetFault`] if a set does not exist or a built-in file is damaged.
    pub fn select<'a>(ids: impl IntoIterator<Item = &'a str>) -> Result<Self, ValueSetFault> {
        let mut catalogue = Self::empty()?;
        for id in ids {
            catalogue.add_built_in(id)?;
        }
        Ok(catalogue)
    }

    /// A catalogue without value sets.
    ///
    /// # Errors
    /// [`ValueSetFault`] if a built-in file is damaged.
    pub fn empty() -> Result<Self, ValueSetFault> {
        Ok(Self {
            sets: Vec::new(),
            codes: HashMap::new(),
            combinations: HashMap::new(),
            countries: built_in::<Countries>("countries", COUNTRIES)?.codes,
            products: built_in("products", PRODUCTS)?,
        })
    }

    /// Adds a set: a file if the name ends in `.toml`, else the built-in one of that id.
    ///
    /// # Errors
    /// [`ValueSetFault`]; then nothing is added.
    pub fn add_named(&mut self, name: &str, files: Files<'_>) -> Result<(), ValueSetFault> {
        if !name.ends_with(".toml") {
            return self.add_built_in(name);
        }
        let unusable = |problem| ValueSetFault::File { file: name.to_owned(), problem };
        let text = files(name).map_err(unusable)?;
        let file = toml::from_str(&text).map_err(|error| unusable(told(&text, &error)))?;
        match check::fault(&file) {
            Some(problem) => Err(unusable(problem)),
            None => self.add(file),
        }
    }

    /// Tells whether a code may stand for a dose: a selected set that counts on the day of issue has
    /// it, and it was not inactive in that set by the day of the dose. A day that is not known excludes
    /// nothing.
    pub fn knows(&self, kind: Kind, code: &str, given: Option<Date>, issued: Option<Date>) -> bool {
        let Some(code) = self.code(kind, code) else { return false };
        code.listings.iter().any(|listing| {
            let is_active = match (listing.inactive_since, given) {
                (Some(since), Some(given)) => given < since,
                _ => true,
            };
            is_active && self.counts(listing.set, issued)
        })
    }

    /// Tells whether product, manufacturer and vaccine type belong together in some selected set that
    /// counts on the day of issue.
    pub fn belong_together(
        &self,
        product: &str,
        manufacturer: &str,
        vaccine: &str,
        issued: Option<Date>,
    ) -> bool {
        self.combinations.get(product).into_iter().flatten().any(|right| {
            right.manufacturer == manufacturer
                && right.vaccine == vaccine
                && self.counts(right.set, issued)
        })
    }

    /// What a code is called.
    pub fn label(&self, kind: Kind, code: &str) -> Option<&str> {
        self.code(kind, code).map(|code| code.label.as_str())
    }

    /// The codes of a list that some set has that counts on the day of issue, in their order.
    pub fn codes(&self, kind: Kind, issued: Option<Date>) -> Vec<ListedCode<'_>> {
        let codes = self.codes.get(&kind).into_iter().flatten();
        let mut codes: Vec<_> = codes
            .filter_map(|(code, known)| {
                let counting = known.listings.iter().filter(|one| self.counts(one.set, issued));
                // Where several sets have it, it is active as long as it is so in one.
                let ends = counting.map(|one| one.inactive_since.unwrap_or(Date::MAX));
                let end = ends.max()?;
                let inactive_since = (end != Date::MAX).then_some(end);
                Some(ListedCode { code, label: &known.label, inactive_since })
            })
            .collect();
        codes.sort_unstable_by_key(|code| code.code);
        codes
    }

    /// Product, manufacturer and vaccine type of each combination that some set calls right that counts
    /// on the day of issue, in their order.
    pub fn combinations(&self, issued: Option<Date>) -> Vec<[&str; 3]> {
        let mut triples: Vec<_> = self
            .combinations
            .iter()
            .flat_map(|(product, right)| right.iter().map(move |one| (product, one)))
            .filter(|(_, one)| self.counts(one.set, issued))
            .map(|(product, one)| [product.as_str(), &one.manufacturer, &one.vaccine])
            .collect();
        triples.sort_unstable();
        triples.dedup();
        triples
    }

    /// How many doses complete the primary series of a product; the default for an unknown one.
    pub fn series_size(&self, product: &str) -> u8 {
        self.products.of(product).and_then(|row| row.series).unwrap_or(self.products.series)
    }

    /// The first day on which a product was given to people outside trials, anywhere; for an unknown
    /// one, the first day of any.
    pub(crate) fn first_given(&self, product: &str) -> Date {
        let own = self.products.of(product).and_then(|row| row.first_given.as_ref());
        own.map_or(FIRST_VACCINATIONS, |day| day.0)
    }

    /// The fewest days between two doses of a product's primary series, if that is known.
    pub(crate) fn interval_days(&self, product: &str) -> Option<u16> {
        self.products.of(product)?.interval_days
    }

    /// Tells whether a code is a country of ISO 3166-1 alpha-2.
    pub fn is_country(&self, code: &str) -> bool {
        self.countries.contains(code)
    }

    fn code(&self, kind: Kind, code: &str) -> Option<&Code> {
        self.codes.get(&kind)?.get(code)
    }

    /// Tells whether a set counts on the day of issue.
    fn counts(&self, set: usize, issued: Option<Date>) -> bool {
        let valid = self.sets.get(set).map(|set| set.valid);
        valid.is_some_and(|valid| issued.is_none_or(|day| valid.has_day(day)))
    }

    fn add_built_in(&mut self, id: &str) -> Result<(), ValueSetFault> {
        let (id, text) = SETS
            .into_iter()
            .find(|(known, _)| *known == id)
            .ok_or_else(|| ValueSetFault::Unknown { id: id.to_owned() })?;
        self.add(built_in(id, text)?)
    }

    fn add(&mut self, file: SetFile) -> Result<(), ValueSetFault> {
        if self.sets.iter().any(|known| known.id == file.id) {
            return Err(ValueSetFault::Repeated { id: file.id });
        }
        let set = self.sets.len();
        self.sets.push(ValueSet {
            id: file.id,
            title: file.title,
            version: file.version,
            published: file.published.0,
            valid: Period {
                from: file.valid_from.map(|day| day.0),
                to: file.valid_to.map(|day| day.0),
            },
        });
        for product in file.product {
            let right = self.combinations.entry(product.code.clone()).or_default();
            right.extend(product.vaccines.into_iter().map(|vaccine| Combination {
                set,
                manufacturer: product.manufacturer.clone(),
                vaccine,
            }));
            let inactive = product.inactive_since;
            self.add_code(Kind::Product, (product.code, product.label), (set, inactive));
        }
        let lists = [
            (Kind::Disease, file.disease),
            (Kind::Vaccine, file.vaccine),
            (Kind::Manufacturer, file.manufacturer),
        ];
        for (kind, list) in lists {
            for row in list {
                self.add_code(kind, (row.code, row.label), (set, row.inactive_since));
            }
        }
        Ok(())
    }

    fn add_code(
        &mut self,
        kind: Kind,
        (code, label): (String, String),
        (set, inactive): (usize, Option<Day>),
    ) {
        let listing = Listing { set, inactive_since: inactive.map(|day| day.0) };
        let codes = self.codes.entry(kind).or_default();
        codes.entry(code).or_insert(Code { label, listings: Vec::new() }).listings.push(listing);
    }
}

/// Why value sets could not be selected; retrying does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueSetFault {
    /// A file that is compiled in cannot be read; the program is broken and must be replaced.
    #[error("built-in value set {id:?} cannot be read: {problem}")]
    BuiltIn {
        /// Which one.
        id: &'static str,
        /// What the reader says.
        problem: String,
    },
    /// A file that the policy names cannot be read; mend it.
    #[error("value set {file:?} cannot be used: {problem}")]
    File {
        /// Its name.
        file: String,
        /// What the reader says.
        problem: String,
    },
    /// Two sets have one id, or one is named twice; remove one.
    #[error("value set {id:?} is selected twice")]
    Repeated {
        /// The id.
        id: String,
    },
    /// There is no set of that name; select one that exists.
    #[error("there is no value set {id:?}")]
    Unknown {
        /// The name that was asked for.
        id: String,
    },
}

/// One code as the catalogue keeps it.
#[derive(Clone, Debug)]
struct Code {
    label: String,
    listings: Vec<Listing>,
}

/// What one set, by its place in the catalogue, says about a code.
#[derive(Clone, Debug)]
struct Listing {
    set: usize,
    inactive_since: Option<Date>,
}

/// What one set, by its place in the catalogue, allows for a product.
#[derive(Clone, Debug)]
struct Combination {
    set: usize,
    manufacturer: String,
    vaccine: String,
}

/// A file of `value-sets/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetFile {
    id: String,
    title: String,
    version: String,
    published: Day,
    valid_from: Option<Day>,
    valid_to: Option<Day>,
    disease: Vec<CodeRow>,
    vaccine: Vec<CodeRow>,
    product: Vec<ProductRow>,
    manufacturer: Vec<CodeRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CodeRow {
    code: String,
    label: String,
    inactive_since: Option<Day>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProductRow {
    code: String,
    label: String,
    inactive_since: Option<Day>,
    manufacturer: String,
    vaccines: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Countries {
    codes: HashSet<String>,
}

/// What is known of products beyond their codes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Products {
    /// Doses of a primary series where a product has no row.
    series: u8,
    product: HashMap<String, ProductFacts>,
}

impl Products {
    fn of(&self, product: &str) -> Option<&ProductFacts> {
        self.product.get(product)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProductFacts {
    series: Option<u8>,
    first_given: Option<Day>,
    interval_days: Option<u16>,
}

/// A date written as `YYYY-MM-DD`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Day(Date);

impl TryFrom<String> for Day {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        calendar::full_date(&text).map(Self).ok_or("not a date of the form YYYY-MM-DD")
    }
}

fn built_in<T: for<'de> Deserialize<'de>>(
    id: &'static str,
    text: &str,
) -> Result<T, ValueSetFault> {
    toml::from_str(text)
        .map_err(|error| ValueSetFault::BuiltIn { id, problem: error.message().to_owned() })
}

/// What the reader says about a file, with the line.
fn told(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map_or(1, |span| Lines::of(text).line(span.start));
    format!("line {line}: {}", error.message().trim().replace('\n', ", "))
}

#[cfg(test)]
mod tests;
