//! `signerctl value-sets`: which codes there are, and what another choice of value sets would change.
//!
//! In go ids of built-in sets and paths of set files, joined by commas as `value_sets` of `policy.toml`
//! joins them; out come tables, or JSON. With a records file it is counted which doses would be judged
//! otherwise, by code: codes of the sets are shown, and nothing else of a record. No policy and no
//! server is asked.

mod difference;
mod effect;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use clap::Subcommand;
use jiff::civil::Date;
use policy::Catalogue;
use policy::value_set::{Kind, ListedCode, ValueSet, ValueSetFault};
use serde_json::{Value, json};

use super::Context;
use super::error::{CtlError, Outcome};
use super::output::harmless;
use difference::Difference;
use effect::Effect;

/// Most bytes of a set file: the EU's last release has 20 KiB.
const SET_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The command line of `value-sets`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: SetsVerb,
}

#[derive(Debug, Subcommand)]
enum SetsVerb {
    /// Name the sets that come with the program
    List,
    /// Show codes and combinations of sets
    Show(ShowArgs),
    /// Show what another choice of sets changes
    Diff(DiffArgs),
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// Sets, joined by commas: ids of `list`, or paths of files that end in .toml
    #[arg(value_name = "SETS")]
    sets: String,
    /// As they count for certificates issued on this day, YYYY-MM-DD [default: whenever]
    #[arg(long, value_name = "DATE")]
    on: Option<Date>,
}

#[derive(Debug, clap::Args)]
struct DiffArgs {
    /// The sets of today, joined by commas: ids of `list`, or paths of files that end in .toml
    old: String,
    /// The sets instead
    new: String,
    /// As they count for certificates issued on this day, YYYY-MM-DD [default: whenever]
    #[arg(long, value_name = "DATE")]
    on: Option<Date>,
    /// Also count which doses of this records file would be judged otherwise
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
}

/// Sets cannot be used: choose others, or mend the file.
#[derive(Debug, thiserror::Error)]
pub enum ValueSetsError {
    /// The choice names no set.
    #[error("no value set is named")]
    Nothing,
    /// See [`ValueSetFault`].
    #[error(transparent)]
    Fault(#[from] ValueSetFault),
}

impl ValueSetsError {
    /// Whether the command line is at fault, and not a file.
    pub(super) fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Nothing
                | Self::Fault(ValueSetFault::Unknown { .. } | ValueSetFault::Repeated { .. })
        )
    }

    /// What to do about it.
    pub(super) fn remedy(&self) -> String {
        match self {
            Self::Fault(ValueSetFault::File { .. }) => {
                "Correct the file; signerctl value-sets show checks it.".into()
            }
            Self::Fault(ValueSetFault::Repeated { .. }) => "Name each set once.".into(),
            Self::Fault(ValueSetFault::BuiltIn { .. }) => {
                "This is a fault of signerctl; report it.".into()
            }
            Self::Nothing | Self::Fault(ValueSetFault::Unknown { .. }) => {
                let ids: Vec<&str> = Catalogue::set_ids().collect();
                format!("There are {}, and files that end in .toml.", ids.join(", "))
            }
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// When a set or the records file cannot be used.
pub fn run(args: &Args, context: &Context, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    match &args.verb {
        SetsVerb::List => list(context, out)?,
        SetsVerb::Show(args) => show(args, context, out)?,
        SetsVerb::Diff(args) => diff(args, context, out)?,
    }
    Ok(Outcome::Done)
}

fn list(context: &Context, out: &mut dyn Write) -> Result<(), CtlError> {
    let mut rows = Vec::new();
    for id in Catalogue::set_ids() {
        let catalogue = Catalogue::select([id])?;
        let codes = Kind::ALL.map(|kind| catalogue.codes(kind, None).len());
        rows.extend(catalogue.sets().iter().map(|set| (set.clone(), codes)));
    }
    if context.json {
        let rows = rows.iter().map(|(set, codes)| {
            let counts = Kind::ALL.iter().zip(codes);
            let counts = counts.map(|(kind, count)| (kind.name().to_owned(), json!(count)));
            with(set_json(set), "codes", Value::Object(counts.collect()))
        });
        writeln!(out, "{}", Value::Array(rows.collect()))?;
        return Ok(());
    }
    for (set, [diseases, vaccines, products, manufacturers]) in rows {
        writeln!(
            out,
            "{:<12} {}  {} diseases, {} vaccine types, {} products, {} manufacturers  {}",
            set.id, set.published, diseases, vaccines, products, manufacturers, set.title
        )?;
    }
    Ok(())
}

fn show(args: &ShowArgs, context: &Context, out: &mut dyn Write) -> Result<(), CtlError> {
    let catalogue = choose(&args.sets)?;
    if context.json {
        let codes = Kind::ALL.iter().map(|kind| {
            let codes = catalogue.codes(*kind, args.on);
            (kind.name().to_owned(), codes.iter().map(code_json).collect())
        });
        let shown = json!({
            "sets": sets_json(&catalogue),
            "codes": codes.collect::<serde_json::Map<String, Value>>(),
            "combinations": catalogue.combinations(args.on).iter().map(triple).collect::<Value>(),
        });
        writeln!(out, "{shown}")?;
        return Ok(());
    }
    for set in catalogue.sets() {
        writeln!(out, "{}", set_text(set))?;
    }
    for kind in Kind::ALL {
        writeln!(out, "\n{}", kind.name())?;
        for code in catalogue.codes(kind, args.on) {
            writeln!(out, "  {}", code_text(&code))?;
        }
    }
    writeln!(out, "\nproduct, manufacturer, vaccine")?;
    for [product, manufacturer, vaccine] in catalogue.combinations(args.on) {
        writeln!(out, "  {}", harmless(&format!("{product}, {manufacturer}, {vaccine}")))?;
    }
    Ok(())
}

fn diff(args: &DiffArgs, context: &Context, out: &mut dyn Write) -> Result<(), CtlError> {
    let (old, new) = (choose(&args.old)?, choose(&args.new)?);
    let difference = Difference::of(&old, &new, args.on);
    let effect = args
        .records
        .as_ref()
        .map(|path| Effect::count(path, [&old, &new], args.on, context))
        .transpose()?;
    if context.json {
        let shown = with(difference.json(), "old", sets_json(&old));
        let mut shown = with(shown, "new", sets_json(&new));
        if let Some(effect) = effect {
            shown = with(shown, "records", effect.json());
        }
        writeln!(out, "{shown}")?;
        return Ok(());
    }
    for (word, catalogue) in [("old", &old), ("new", &new)] {
        for set in catalogue.sets() {
            writeln!(out, "{word}: {}", set_text(set))?;
        }
    }
    difference.write(out)?;
    if let Some(effect) = effect {
        effect.write(out)?;
    }
    Ok(())
}

/// Joins the sets that a word of the command line names.
fn choose(names: &str) -> Result<Catalogue, ValueSetsError> {
    let mut catalogue = Catalogue::empty()?;
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        catalogue.add_named(name, &|path| read(path).map_err(|error| error.to_string()))?;
    }
    if catalogue.sets().is_empty() { Err(ValueSetsError::Nothing) } else { Ok(catalogue) }
}

fn read(path: &str) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    if file.metadata()?.len() > SET_BYTES_MAX {
        return Err(io::Error::other(format!("more than {SET_BYTES_MAX} bytes")));
    }
    file.take(SET_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn set_text(set: &ValueSet) -> String {
    harmless(&format!("{}, edition {} of {}: {}", set.id, set.version, set.published, set.title))
}

fn code_text(code: &ListedCode<'_>) -> String {
    let state = code.inactive_since.map_or(String::new(), |day| format!(" (inactive since {day})"));
    harmless(&format!("{}  {}{state}", code.code, code.label))
}

/// Adds a member to an object.
fn with(mut object: Value, name: &str, value: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
    object
}

fn set_json(set: &ValueSet) -> Value {
    json!({
        "id": set.id, "title": set.title, "version": set.version,
        "published": set.published.to_string(),
    })
}

fn sets_json(catalogue: &Catalogue) -> Value {
    catalogue.sets().iter().map(set_json).collect()
}

fn code_json(code: &ListedCode<'_>) -> Value {
    json!({ "code": code.code, "label": code.label, "inactive_since": day_json(code.inactive_since) })
}

fn day_json(day: Option<Date>) -> Value {
    day.map_or(Value::Null, |day| day.to_string().into())
}

fn triple([product, manufacturer, vaccine]: &[&str; 3]) -> Value {
    json!({ "product": product, "manufacturer": manufacturer, "vaccine": vaccine })
}

#[cfg(test)]
mod tests;
