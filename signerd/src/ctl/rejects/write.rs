//! Writing the lists: which files there are, and every row into its own.
//!
//! Rows come sorted, so that one file is open at a time, or one of each form. All names are known and
//! looked at before the first file is begun; an error leaves whole files behind or none, and so does a
//! signal where files can be without a name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File};
use std::io::BufWriter;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rust_xlsxwriter::XlsxError;

use super::book::{Book, Subject};
use super::error::RejectsError;
use super::row::{List, Place, Row};
use super::table::Table;
use super::tally::Tally;
use super::target::{Existing, Form, Names, NewFile, folder};
use super::{Args, Found};
use crate::ctl::Context;
use crate::ctl::output::FileError;

/// What a spreadsheet needs on its way, compared with its rows: the sheet as XML, and the file.
const ROOM_PER_BYTE: u64 = 3;
/// A folder for its owner alone.
const PRIVATE_FOLDER: u32 = 0o700;

/// Looks at the command line before anything is read: endings, names, and what is there already.
///
/// # Errors
/// Names what does not fit.
pub(super) fn check(args: &Args) -> Result<(), RejectsError> {
    let mut seen = BTreeSet::new();
    for path in &args.output {
        if Form::of(path).is_none() {
            return Err(RejectsError::Ending(path.clone()));
        }
        if !seen.insert(path) {
            return Err(RejectsError::Twice(path.clone()));
        }
        free(path, args)?;
    }
    if let Some(folder) = &args.split {
        let made = DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(folder);
        made.map_err(FileError::of("make", folder))?;
    }
    Ok(())
}

/// Writes every list; returns the files.
///
/// # Errors
/// When one cannot be written.
pub(super) fn all(
    args: &Args,
    found: Found,
    context: &Context,
) -> Result<Vec<PathBuf>, RejectsError> {
    let Found { lists, tally, sizes, rows, .. } = found;
    let folders = args.output.iter().map(|path| folder(path)).chain(args.split.as_deref());
    for folder in folders.collect::<BTreeSet<_>>() {
        room(folder, rows.bytes())?;
    }
    let plan = Plan { args, paths: paths(args, &tally)?, lists, now: context.now, sizes };
    let bar = context.progress.bar(rows.rows(), "rows");
    let mut files = Vec::new();
    let mut open: Option<Open> = None;
    for row in rows.finish()? {
        let row = row?;
        if open.as_ref().is_none_or(|open| open.place != row.file) {
            files.extend(open.take().map(Open::finish).transpose()?.unwrap_or_default());
            open = Some(plan.begin(row.file.as_ref(), &tally)?);
        }
        if let Some(open) = &mut open {
            open.add(&row)?;
        }
        bar.inc(1);
    }
    // Nobody was rejected: the one list that was asked for is there, and empty.
    if open.is_none() && args.split.is_none() {
        open = Some(plan.begin(None, &tally)?);
    }
    files.extend(open.map(Open::finish).transpose()?.unwrap_or_default());
    bar.finish_and_clear();
    Ok(files)
}

/// What is to be written where.
struct Plan<'a> {
    args: &'a Args,
    paths: BTreeMap<Option<Place>, Vec<PathBuf>>,
    lists: Vec<List>,
    now: i64,
    sizes: BTreeMap<Option<Place>, u64>,
}

impl Plan<'_> {
    /// Begins the files of a place, or the one list of everything.
    fn begin(&self, place: Option<&Place>, tally: &Tally) -> Result<Open, RejectsError> {
        let of_place = place.map(|place| tally.only(place));
        let place = place.cloned();
        let subject = Subject {
            lists: &self.lists,
            by: self.args.by,
            tally: of_place.as_ref().unwrap_or(tally),
            now: self.now,
            bytes: self.sizes.get(&place).copied().unwrap_or(0),
        };
        let existing = if self.args.force { Existing::Replaced } else { Existing::Kept };
        let mut lists = Vec::new();
        for path in self.paths.get(&place).into_iter().flatten() {
            let file = NewFile::begin(path.clone(), existing)?;
            let content = match Form::of(path) {
                Some(Form::Csv) => {
                    let table = Table::begin(BufWriter::new(file.handle()?));
                    Content::Csv(Box::new(table.map_err(FileError::of("write", path))?))
                }
                Some(Form::Xlsx) | None => {
                    let book = Book::begin(&subject, folder(path));
                    Content::Xlsx(Box::new(book.map_err(sheet_fault(path))?))
                }
            };
            lists.push(OpenList { path: path.clone(), file, content });
        }
        Ok(Open { place, lists })
    }
}

/// The files that rows go to at the moment.
struct Open {
    place: Option<Place>,
    lists: Vec<OpenList>,
}

struct OpenList {
    path: PathBuf,
    file: NewFile,
    content: Content,
}

enum Content {
    Xlsx(Box<Book>),
    Csv(Box<Table<BufWriter<File>>>),
}

impl Open {
    fn add(&mut self, row: &Row) -> Result<(), RejectsError> {
        for OpenList { path, content, .. } in &mut self.lists {
            match content {
                Content::Xlsx(book) => book.add(row).map_err(sheet_fault(path))?,
                Content::Csv(table) => table.add(row).map_err(FileError::of("write", path))?,
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<PathBuf>, RejectsError> {
        let mut files = Vec::new();
        for OpenList { path, file, content } in self.lists {
            match content {
                Content::Xlsx(book) => book.finish(file.handle()?).map_err(sheet_fault(&path))?,
                Content::Csv(table) => {
                    let written = table.finish().and_then(|output| {
                        output.into_inner().map_err(std::io::IntoInnerError::into_error)
                    });
                    written.map_err(FileError::of("write", &path))?;
                }
            }
            files.push(file.keep()?);
        }
        Ok(files)
    }
}

/// The files of each place, none of them there already.
fn paths(
    args: &Args,
    tally: &Tally,
) -> Result<BTreeMap<Option<Place>, Vec<PathBuf>>, RejectsError> {
    let Some(folder) = &args.split else {
        return Ok(BTreeMap::from([(None, args.output.clone())]));
    };
    let forms: BTreeSet<Form> = args.format.iter().copied().collect();
    let (mut names, mut paths) = (Names::default(), BTreeMap::new());
    for (place, _) in tally.places() {
        let name = names.of(place, args.by);
        let of_place: Vec<PathBuf> =
            forms.iter().map(|form| folder.join(format!("{name}.{}", form.ending()))).collect();
        for path in &of_place {
            free(path, args)?;
        }
        paths.insert(Some(place.clone()), of_place);
    }
    Ok(paths)
}

fn free(path: &Path, args: &Args) -> Result<(), RejectsError> {
    // A dangling link counts too: what it points to is nobody's to make.
    if !args.force && path.symlink_metadata().is_ok() {
        return Err(RejectsError::Exists(path.to_owned()));
    }
    Ok(())
}

/// The writer of spreadsheets ends the program when the disk is full, so that room is looked for
/// before it begins.
fn room(folder: &Path, bytes: u64) -> Result<(), RejectsError> {
    let needed = bytes.saturating_mul(ROOM_PER_BYTE);
    let status = rustix::fs::statvfs(folder)
        .map_err(|error| FileError::of("look at", folder)(error.into()))?;
    let free = status.f_bavail.saturating_mul(status.f_frsize);
    if free < needed {
        return Err(RejectsError::Room { folder: folder.to_owned(), free, needed });
    }
    Ok(())
}

fn sheet_fault(path: &Path) -> impl FnOnce(XlsxError) -> RejectsError {
    move |source| RejectsError::Sheet { path: path.to_owned(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::super::row::By;
    use super::*;

    #[test]
    fn no_file_can_be_found_before_it_is_whole() {
        // With more rows written than any buffer holds the folder is still empty, in either form;
        // at the end it has exactly the files that were asked for.
        let folder = tempfile::tempdir().unwrap();
        let names = || std::fs::read_dir(folder.path()).unwrap().count();
        let (tally, lists) = (Tally::default(), [List::Other]);
        let subject = Subject { lists: &lists, by: By::Area, tally: &tally, now: 0, bytes: 0 };
        let begin = |name: &str| {
            let path = folder.path().join(name);
            let file = NewFile::begin(path.clone(), Existing::Kept).unwrap();
            let content = if name == "list.csv" {
                let output = BufWriter::new(file.handle().unwrap());
                Content::Csv(Box::new(Table::begin(output).unwrap()))
            } else {
                Content::Xlsx(Box::new(Book::begin(&subject, folder.path()).unwrap()))
            };
            OpenList { path, file, content }
        };
        let mut open = Open { place: None, lists: ["list.csv", "list.xlsx"].map(begin).into() };
        for record in 0..2_000 {
            open.add(&Row { record, full_name: "Nguyễn".repeat(20), ..Row::empty() }).unwrap();
        }
        assert!(open.lists[0].file.handle().unwrap().metadata().unwrap().len() > 100_000);
        assert_eq!(names(), 0);
        open.finish().unwrap();
        assert_eq!(names(), 2);
    }
}
