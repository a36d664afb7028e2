//! The codes a certificate may carry, and which of them belong together.
//!
//! In: the ids of the value sets that `policy.toml` selects; the sets themselves are compiled in from
//! `value-sets/`. Out: a [`Catalogue`] that answers whether a code is known, which combinations are
//! right, what a code is called, and how long a product's series is. It does not decide what happens
//! to a wrong one.

use std::collections::{HashMap, HashSet};

use jiff::civil::Date;
use serde::Deserialize;

use crate::calendar;

/// The sets that can be selected: id, and the file.
const SETS: [(&str, &str); 2] = [
    ("qd-5772", include_str!("../value-sets/qd-5772.toml")),
    ("eu-2.12.0", include_str!("../value-sets/eu-2.12.0.toml")),
];
const COUNTRIES: &str = include_str!("../value-sets/countries.toml");
const SERIES: &str = include_str!("../value-sets/series.toml");

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

/// What a value set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueSet {
    /// Its id, as `policy.toml` selects it.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// The day it was published.
    pub date: Date,
}

/// The selected value sets as one.
#[derive(Clone, Debug)]
pub struct Catalogue {
    sets: Vec<ValueSet>,
    codes: HashMap<Kind, HashMap<String, Code>>,
    /// Product to the (manufacturer, vaccine type) pairs that are right for it.
    combinations: HashMap<String, HashSet<(String, String)>>,
    countries: HashSet<String>,
    series: Series,
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

    /// Joins the named sets; the first one named gives a code its label.
    ///
    /// # Errors
    /// [`ValueSetFault`] if a set does not exist or a built-in file is damaged.
    pub fn select<'a>(ids: impl IntoIterator<Item = &'a str>) -> Result<Self, ValueSetFault> {
        let mut catalogue = Self {
            sets: Vec::new(),
            codes: HashMap::new(),
            combinations: HashMap::new(),
            countries: read::<Countries>("countries", COUNTRIES)?.codes,
            series: read("series", SERIES)?,
        };
        for id in ids {
            let (id, text) = SETS
                .into_iter()
                .find(|(known, _)| *known == id)
                .ok_or_else(|| ValueSetFault::Unknown { id: id.to_owned() })?;
            catalogue.add(read(id, text)?);
        }
        Ok(catalogue)
    }

    /// Tells whether a code may stand for a dose given on that day: some selected set has it, and it
    /// was not inactive in that set by then. Without a date, whether any set has it at all.
    pub fn knows(&self, kind: Kind, code: &str, given: Option<Date>) -> bool {
        self.code(kind, code).is_some_and(|code| match (code.inactive_since, given) {
            (Some(since), Some(given)) => given < since,
            _ => true,
        })
    }

    /// Tells whether product, manufacturer and vaccine type belong together in some selected set.
    pub fn belong_together(&self, product: &str, manufacturer: &str, vaccine: &str) -> bool {
        let pairs = self.combinations.get(product);
        pairs.is_some_and(|pairs| pairs.iter().any(|(ma, vp)| ma == manufacturer && vp == vaccine))
    }

    /// What a code is called.
    pub fn label(&self, kind: Kind, code: &str) -> Option<&str> {
        self.code(kind, code).map(|code| code.label.as_str())
    }

    /// How many doses complete the primary series of a product; the default for an unknown one.
    pub fn series_size(&self, product: &str) -> u8 {
        self.series.doses.get(product).copied().unwrap_or(self.series.default)
    }

    /// Tells whether a code is a country of ISO 3166-1 alpha-2.
    pub fn is_country(&self, code: &str) -> bool {
        self.countries.contains(code)
    }

    fn code(&self, kind: Kind, code: &str) -> Option<&Code> {
        self.codes.get(&kind)?.get(code)
    }

    fn add(&mut self, set: SetFile) {
        self.sets.push(ValueSet { id: set.id, title: set.title, date: set.date.0 });
        for product in set.product {
            let pairs = self.combinations.entry(product.code.clone()).or_default();
            let manufacturer = product.manufacturer;
            pairs.extend(
                product.vaccines.into_iter().map(|vaccine| (manufacturer.clone(), vaccine)),
            );
            let code = (product.code, product.label, product.inactive_since);
            self.add_code(Kind::Product, code);
        }
        let lists = [
            (Kind::Disease, set.disease),
            (Kind::Vaccine, set.vaccine),
            (Kind::Manufacturer, set.manufacturer),
        ];
        for (kind, list) in lists {
            for row in list {
                self.add_code(kind, (row.code, row.label, row.inactive_since));
            }
        }
    }

    /// Adds a code; where two sets have it, it is inactive only when it is so in both.
    fn add_code(&mut self, kind: Kind, (code, label, inactive): (String, String, Option<Day>)) {
        let inactive_since = inactive.map(|day| day.0);
        self.codes
            .entry(kind)
            .or_default()
            .entry(code)
            .and_modify(|known| {
                let both = known.inactive_since.zip(inactive_since);
                known.inactive_since = both.map(|(a, b)| a.max(b));
            })
            .or_insert(Code { label, inactive_since });
    }
}

/// Why value sets could not be selected; retrying does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueSetFault {
    /// A file that is compiled in cannot be read; the program is broken and must be replaced.
    #[error("built-in value set {id:?} cannot be read: {problem}")]
    Damaged {
        /// Which one.
        id: &'static str,
        /// What the reader says.
        problem: String,
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
    inactive_since: Option<Date>,
}

/// A file of `value-sets/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetFile {
    id: String,
    title: String,
    date: Day,
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

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Series {
    default: u8,
    doses: HashMap<String, u8>,
}

/// A date written as `YYYY-MM-DD`.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Day(Date);

impl TryFrom<String> for Day {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        calendar::full_date(&text).map(Self).ok_or("not a date of the form YYYY-MM-DD")
    }
}

fn read<T: for<'de> Deserialize<'de>>(id: &'static str, text: &str) -> Result<T, ValueSetFault> {
    toml::from_str(text)
        .map_err(|error| ValueSetFault::Damaged { id, problem: error.message().to_owned() })
}

#[cfg(test)]
mod tests;
