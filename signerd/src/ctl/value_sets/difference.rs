//! What two choices of value sets say differently.
//!
//! In go two catalogues, out come, list by list, the codes that only one of them has, those that have
//! another name and those that become inactive, or active again, on another day; and for each product
//! the combinations that only one of them calls right. Order is that of the codes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use jiff::civil::Date;
use policy::Catalogue;
use policy::value_set::{Kind, ListedCode};
use serde_json::{Value, json};

use super::{code_json, code_text, day_json, triple};
use crate::ctl::output::harmless;

/// What differs.
pub(super) struct Difference<'a> {
    lists: Vec<ListDifference<'a>>,
    combinations_added: Vec<[&'a str; 3]>,
    combinations_removed: Vec<[&'a str; 3]>,
}

/// What differs in one list.
struct ListDifference<'a> {
    kind: Kind,
    added: Vec<ListedCode<'a>>,
    removed: Vec<ListedCode<'a>>,
    /// As it was, as it will be.
    renamed: Vec<[ListedCode<'a>; 2]>,
    /// As it was, as it will be.
    other_day: Vec<[ListedCode<'a>; 2]>,
}

impl<'a> Difference<'a> {
    /// Compares two catalogues as they count on a day of issue.
    pub(super) fn of(old: &'a Catalogue, new: &'a Catalogue, on: Option<Date>) -> Self {
        let lists = Kind::ALL
            .map(|kind| ListDifference::of(kind, old.codes(kind, on), new.codes(kind, on)));
        let [before, after] =
            [old, new].map(|catalogue| BTreeSet::from_iter(catalogue.combinations(on)));
        Self {
            lists: lists.into_iter().collect(),
            combinations_added: after.difference(&before).copied().collect(),
            combinations_removed: before.difference(&after).copied().collect(),
        }
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        let lists = self.lists.iter().map(|list| (list.kind.name().to_owned(), list.json()));
        json!({
            "codes": lists.collect::<serde_json::Map<_, _>>(),
            "combinations": {
                "added": self.combinations_added.iter().map(triple).collect::<Value>(),
                "removed": self.combinations_removed.iter().map(triple).collect::<Value>(),
            },
        })
    }

    /// For people.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for list in self.lists.iter().filter(|list| !list.is_empty()) {
            writeln!(out, "\n{}", list.kind.name())?;
            list.write(out)?;
        }
        let signed = [("+", &self.combinations_added), ("-", &self.combinations_removed)];
        let mut by_product: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (sign, triples) in signed {
            for [product, manufacturer, vaccine] in triples {
                let line = format!("{sign} {manufacturer} with {vaccine}");
                by_product.entry(product).or_default().push(line);
            }
        }
        if !by_product.is_empty() {
            writeln!(out, "\ncombinations of manufacturer and vaccine, by product")?;
        }
        for (product, lines) in by_product {
            writeln!(out, "  {}", harmless(product))?;
            for line in lines {
                writeln!(out, "    {}", harmless(&line))?;
            }
        }
        if self.is_empty() {
            writeln!(out, "\nno difference")?;
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        let combinations = self.combinations_added.len().max(self.combinations_removed.len());
        combinations == 0 && self.lists.iter().all(ListDifference::is_empty)
    }
}

impl<'a> ListDifference<'a> {
    fn of(kind: Kind, old: Vec<ListedCode<'a>>, new: Vec<ListedCode<'a>>) -> Self {
        let mut before: BTreeMap<&str, ListedCode<'a>> =
            old.into_iter().map(|code| (code.code, code)).collect();
        let mut difference = Self {
            kind,
            added: Vec::new(),
            removed: Vec::new(),
            renamed: Vec::new(),
            other_day: Vec::new(),
        };
        for code in new {
            match before.remove(code.code) {
                None => difference.added.push(code),
                Some(was) => {
                    if was.label != code.label {
                        difference.renamed.push([was, code]);
                    }
                    if was.inactive_since != code.inactive_since {
                        difference.other_day.push([was, code]);
                    }
                }
            }
        }
        difference.removed = before.into_values().collect();
        difference
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.renamed.is_empty()
            && self.other_day.is_empty()
    }

    fn json(&self) -> Value {
        let renamed = |[was, is]: &[ListedCode<'_>; 2]| json!({ "code": is.code, "old": was.label, "new": is.label });
        let other_day = |[was, is]: &[ListedCode<'_>; 2]| {
            let days = [was.inactive_since, is.inactive_since].map(day_json);
            let [old, new] = days;
            json!({ "code": is.code, "old": old, "new": new })
        };
        json!({
            "added": self.added.iter().map(code_json).collect::<Value>(),
            "removed": self.removed.iter().map(code_json).collect::<Value>(),
            "renamed": self.renamed.iter().map(renamed).collect::<Value>(),
            "inactive_since": self.other_day.iter().map(other_day).collect::<Value>(),
        })
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for code in &self.added {
            writeln!(out, "  + {}", code_text(code))?;
        }
        for code in &self.removed {
            writeln!(out, "  - {}", code_text(code))?;
        }
        for [was, is] in &self.renamed {
            let names = format!("{}  \"{}\" is called \"{}\"", is.code, was.label, is.label);
            writeln!(out, "  ~ {}", harmless(&names))?;
        }
        for [was, is] in &self.other_day {
            let state = |day: Option<Date>| {
                day.map_or("active".to_owned(), |day| format!("inactive since {day}"))
            };
            let (before, after) = (state(was.inactive_since), state(is.inactive_since));
            writeln!(out, "  ~ {}", harmless(&format!("{}  {before}, now {after}", is.code)))?;
        }
        Ok(())
    }
}
