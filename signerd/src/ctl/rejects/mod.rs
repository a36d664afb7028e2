//! `signerctl rejects`: the records that go back for review, as spreadsheets (Công văn 1908, Annex 03).
//!
//! In go the answers of a run, the records file that they belong to, and the policy whose registry
//! knows units and areas; out come lists that facilities work through: an .xlsx, a CSV, or one of them
//! for each area or unit. The files hold personal data, and are their owner's alone. Nothing is sent
//! anywhere. Memory does not grow with the number of records: rows are sorted on disk.

mod answers;
mod book;
mod columns;
mod error;
mod person;
mod row;
mod sorter;
mod table;
mod tally;
mod target;
mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use policy::Policy;
use serde_json::json;

use super::Context;
use super::batch::{Batch, Batches};
use super::error::{CtlError, Outcome};
use super::output::{FileError, Progress, harmless_lines};
use super::records::RecordReader;
use answers::{Answers, Counts, Rejection};
use person::Person;
use row::{List, Rejected, Row, RowMaker, lists};
use sorter::Sorter;
use tally::Tally;

pub use answers::AnswersError;
pub use error::RejectsError;
pub use row::By;
pub use sorter::SortError;
pub use target::Form;

/// What is said where it cannot be known that answers and records belong together.
const NO_JOURNAL: &str = "no journal lies beside the answers: that the records file is the one that \
                          they are about cannot be checked";

/// The command line of `rejects`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Answers: the output of sign, or of preview --json
    answers: PathBuf,
    /// The records file that they answer
    #[arg(long, value_name = "FILE")]
    records: PathBuf,
    /// The policy.toml whose registry knows the units
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// How the lists are grouped and sorted
    #[arg(long, value_enum, default_value = "area")]
    by: By,
    /// Which lists: 1 no identity number, 2 badly formed, 3 did not match, other [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = list)]
    lists: Vec<ListArg>,
    /// Where one list of everything goes, .xlsx or .csv by its ending; may be repeated
    #[arg(long, short, value_name = "FILE",
          required_unless_present_any = ["dry_run", "split"])]
    output: Vec<PathBuf>,
    /// A folder for one file per area or unit; made if it is not there
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    split: Option<PathBuf>,
    /// The form of the files of --split
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        value_delimiter = ',',
        default_value = "xlsx",
        requires = "split"
    )]
    format: Vec<Form>,
    /// Replace files that are there already
    #[arg(long)]
    force: bool,
    /// Count only, and write nothing
    #[arg(long)]
    dry_run: bool,
}

const AFTER_HELP: &str = "Files:
  They hold names, identity numbers and telephone numbers, are readable for
  their owner alone, and are never written over another file without --force.
  Until a file is whole it has no name, so that nothing is left of a run that was
  interrupted; on file systems without O_TMPFILE (some network ones) a killed run
  leaves .signerctl-*.part in the folder: delete it.
  A record with reasons of several groups stands in the list of each. In the
  spreadsheet every such value is text: zeros at the beginning stay, and nothing
  is a formula. In the CSV, text that a spreadsheet program would carry out has
  an apostrophe before it; give the .xlsx to people and the CSV to programs.

Exit code:
  0 also when there are rejected records: listing them is what was asked.";

/// One word of `--lists`.
#[derive(Clone, Copy, Debug)]
struct ListArg(List);

fn list(text: &str) -> Result<ListArg, String> {
    let found = List::ALL.into_iter().find(|list| list.key() == text);
    found.map(ListArg).ok_or_else(|| "1, 2, 3 or other".to_owned())
}

impl Args {
    /// The lists that are wanted, each once, in their order.
    fn lists(&self) -> Vec<List> {
        let wanted = |list: &List| {
            self.lists.is_empty() || self.lists.iter().any(|ListArg(wanted)| wanted == list)
        };
        List::ALL.into_iter().filter(wanted).collect()
    }

    /// Where temporary files may lie: where the results will. A dry run makes no folder for them, and
    /// puts nothing aside but numbers of records and reasons.
    fn folder(&self) -> PathBuf {
        if self.dry_run {
            return std::env::temp_dir();
        }
        let of_output = self.output.first().map(|path| target::folder(path).to_owned());
        self.split.clone().or(of_output).unwrap_or_else(std::env::temp_dir)
    }
}

/// Runs the verb.
///
/// # Errors
/// When a file cannot be read, fits no other, or a list cannot be written.
pub fn run(args: &Args, context: &Context, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    if !args.dry_run {
        write::check(args)?;
    }
    let found = found(args, context.progress)?;
    let report = Report::of(&found);
    let files = if args.dry_run { Vec::new() } else { write::all(args, found, context)? };
    if !files.is_empty() {
        tell(
            "signerctl: the files hold personal data and are readable for their owner alone; pass \
              them on over protected channels only, and delete them when the work is done\n",
        );
    }
    report.write(&files, context, out)?;
    Ok(Outcome::Done)
}

/// Reads everything that the lists are made of.
fn found(args: &Args, progress: Progress) -> Result<Found, CtlError> {
    let policy = read_policy(&args.policy)?;
    let answers = Answers::read(&args.answers, &args.folder()).map_err(RejectsError::from)?;
    if !answers.vouched_for() {
        tell(&format!("signerctl: {NO_JOURNAL}\n"));
    }
    let mut found = Found {
        lists: args.lists(),
        counts: answers.counts,
        records: 0,
        tally: Tally::default(),
        sizes: BTreeMap::new(),
        rows: Sorter::new(&args.folder()),
    };
    found.gather(args, answers, &policy, progress)?;
    Ok(found)
}

/// What was found out about a run.
struct Found {
    lists: Vec<List>,
    counts: Counts,
    /// Records of the file.
    records: u64,
    tally: Tally,
    /// Bytes of the rows of each file, about.
    sizes: BTreeMap<Option<row::Place>, u64>,
    rows: Sorter<Row>,
}

impl Found {
    /// Reads the records file beside the answers, and keeps a row of every rejected record.
    fn gather(
        &mut self,
        args: &Args,
        mut answers: Answers,
        policy: &Policy,
        progress: Progress,
    ) -> Result<(), CtlError> {
        let maker = RowMaker { policy, by: args.by };
        let bar = progress.bar(answers.counts.answered, "records");
        let file = File::open(&args.records).map_err(FileError::of("open", &args.records))?;
        let reader = RecordReader::new(BufReader::with_capacity(1 << 16, file));
        let mut next = next_rejection(&mut answers)?;
        for (number, batch) in (0..).zip(Batches::new(reader, answers.batch_size())) {
            let batch =
                batch.map_err(|source| CtlError::Records { path: args.records.clone(), source })?;
            answers.check(&args.records, number, &batch).map_err(RejectsError::from)?;
            self.records = self.records.saturating_add(batch.records());
            for position in 0..batch.entries.len() {
                let record = batch.first.saturating_add(u64::try_from(position).unwrap_or(0));
                if let Some(rejection) = next.take_if(|next| next.record == record) {
                    self.take(&maker, &batch, position, &rejection, args)?;
                    next = next_rejection(&mut answers)?;
                }
            }
            bar.inc(batch.records());
        }
        bar.finish_and_clear();
        match next {
            // What is left was not met on the way: beyond the end, or named before.
            Some(Rejection { record, .. }) => {
                Err(RejectsError::Record { path: args.records.clone(), record }.into())
            }
            None => Ok(()),
        }
    }

    /// Puts one record into its lists.
    fn take(
        &mut self,
        maker: &RowMaker<'_>,
        batch: &Batch,
        position: usize,
        rejection: &Rejection,
        args: &Args,
    ) -> Result<(), RejectsError> {
        let (Some(entry), Some(line)) = (batch.entries.get(position), batch.lines.get(position))
        else {
            return Ok(());
        };
        let mut lists = lists(&rejection.reasons);
        lists.retain(|list| self.lists.contains(list));
        if lists.is_empty() {
            return Ok(());
        }
        let mut row = maker.row(Rejected {
            record: rejection.record,
            line: *line,
            person: Person::read(&entry.record.0),
            selected: entry.doses.as_deref(),
            reasons: &rejection.reasons,
        });
        self.tally.add(&row, &lists);
        if args.dry_run {
            return Ok(());
        }
        row.file = args.split.is_some().then(|| row.place.clone());
        let size = self.sizes.entry(row.file.clone()).or_default();
        for list in lists {
            row.list = list;
            *size = size.saturating_add(self.rows.push(&row)?);
        }
        Ok(())
    }
}

fn next_rejection(answers: &mut Answers) -> Result<Option<Rejection>, RejectsError> {
    Ok(answers.rejections.next().transpose()?)
}

fn read_policy(path: &Path) -> Result<Policy, CtlError> {
    let text = std::fs::read_to_string(path).map_err(FileError::of("read", path))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let files =
        |name: &str| std::fs::read_to_string(folder.join(name)).map_err(|error| error.to_string());
    Policy::parse_with(&text, &files)
        .map_err(|faults| RejectsError::Policy { path: path.to_owned(), faults }.into())
}

fn tell(text: &str) {
    io::stderr().write_all(harmless_lines(text).as_bytes()).ok();
}

/// What is said at the end.
struct Report {
    counts: Counts,
    unanswered: u64,
    listed: u64,
    lists: Vec<(List, u64)>,
    reasons: Vec<(&'static str, u64)>,
    places: usize,
    not_registered: u64,
}

impl Report {
    fn of(found: &Found) -> Self {
        let total = found.tally.total();
        let not_registered =
            found.tally.places().filter(|(place, _)| **place == row::Place::Unregistered);
        Self {
            counts: found.counts,
            unanswered: found.records.saturating_sub(found.counts.answered),
            listed: total.records,
            lists: found.lists.iter().map(|list| (*list, total.list(*list))).collect(),
            reasons: found.tally.codes().map(|code| (code, total.code(code))).collect(),
            places: found.tally.places().count(),
            not_registered: not_registered.map(|(_, counts)| counts.records).sum(),
        }
    }

    fn write(&self, files: &[PathBuf], context: &Context, out: &mut dyn Write) -> io::Result<()> {
        let Self { counts, unanswered, listed, places, not_registered, .. } = self;
        let Counts { answered, rejected, withheld } = counts;
        if context.json {
            let lists =
                self.lists.iter().map(|(list, count)| (list.key().to_owned(), json!(count)));
            let reasons = self.reasons.iter().map(|(code, count)| ((*code).into(), json!(count)));
            let report = json!({
                "answered": answered, "unanswered": unanswered, "rejected": rejected,
                "withheld": withheld, "listed": listed, "places": places,
                "not_registered": not_registered,
                "lists": lists.collect::<serde_json::Map<_, _>>(),
                "reasons": reasons.collect::<serde_json::Map<_, _>>(),
                "files": files.iter().map(|file| file.to_string_lossy()).collect::<Vec<_>>(),
            });
            return writeln!(out, "{report}");
        }
        writeln!(out, "{rejected} of {answered} records rejected, {withheld} withheld")?;
        if *unanswered > 0 {
            writeln!(out, "{unanswered} records have no answer yet; sign them, then list again")?;
        }
        for (list, count) in &self.lists {
            let [vi, en] = list.titles();
            writeln!(out, "{count:>9}  {en} ({vi})")?;
        }
        writeln!(out, "{listed} records of {places} places, {not_registered} not registered:")?;
        for (code, count) in &self.reasons {
            writeln!(out, "{count:>9}  {code}")?;
        }
        match files {
            [] => writeln!(out, "nothing was written"),
            [one] => writeln!(out, "written: {}", one.display()),
            many => writeln!(out, "written: {} files", many.len()),
        }
    }
}

#[cfg(test)]
mod tests;
