//! The files of a list: private, whole or not there, and never over another file by accident.
//!
//! A file is written under a passing name in the folder of its own, for the owner alone, and gets its
//! name when it is on disk. Names made from areas and units hold nothing but letters, digits, dots,
//! dashes and underscores, and do not differ in case alone.

use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::row::{By, Place};
use crate::ctl::journal;
use crate::ctl::output::{FileError, PRIVATE_MODE};

/// Most characters of a name that come from an area or unit: the file system takes 255 bytes.
const NAME_CHARS_MAX: usize = 100;

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Form {
    /// A spreadsheet
    Xlsx,
    /// Comma-separated values
    Csv,
}

impl Form {
    /// The ending of a file of this form.
    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::Xlsx => "xlsx",
            Self::Csv => "csv",
        }
    }

    /// The form of a file name, by its ending.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?;
        [Self::Xlsx, Self::Csv].into_iter().find(|form| ending.eq_ignore_ascii_case(form.ending()))
    }
}

/// Whether a file that is there already may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Kept,
    Replaced,
}

/// A file that is being written.
pub(super) struct NewFile {
    path: PathBuf,
    existing: Existing,
    file: NamedTempFile,
}

impl NewFile {
    /// Begins a file.
    ///
    /// # Errors
    /// When its folder cannot be written.
    pub(super) fn begin(path: PathBuf, existing: Existing) -> Result<Self, FileError> {
        let file = tempfile::Builder::new()
            .prefix(".signerctl-")
            .suffix(".part")
            .permissions(Permissions::from_mode(PRIVATE_MODE))
            .tempfile_in(folder(&path))
            .map_err(FileError::of("make", &path))?;
        Ok(Self { path, existing, file })
    }

    /// Where to write.
    ///
    /// # Errors
    /// When the system gives no second handle.
    pub(super) fn handle(&self) -> Result<File, FileError> {
        self.file.as_file().try_clone().map_err(FileError::of("write", &self.path))
    }

    /// Gives the file its name, once it is on disk.
    ///
    /// # Errors
    /// When it cannot be written, or a file of that name has appeared in between.
    pub(super) fn keep(self) -> Result<PathBuf, FileError> {
        let Self { path, existing, file } = self;
        file.as_file().sync_all().map_err(FileError::of("write", &path))?;
        match existing {
            Existing::Kept => file.persist_noclobber(&path),
            Existing::Replaced => file.persist(&path),
        }
        .map_err(|error| FileError::of("make", &path)(error.error))?;
        journal::sync_folder(&path).map_err(FileError::of("write", &path))?;
        Ok(path)
    }
}

/// The folder that a file lies in.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Gives every place a file name of its own.
#[derive(Default)]
pub(super) struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    /// The name of a place's file, without its ending.
    pub(super) fn of(&mut self, place: &Place, by: By) -> String {
        let kind = match by {
            By::Area => "area",
            By::Province => "province",
            By::Facility => "unit",
            By::Approver => "approver",
        };
        let name = match place {
            Place::Known { id, .. } => format!("{kind}-{}", safe(id)),
            Place::NoArea => "no-area".to_owned(),
            Place::Unregistered => "not-registered".to_owned(),
        };
        let mut candidates = (2..).map(|n: u64| format!("{name}~{n}"));
        let mut free = name.clone();
        while !self.taken.insert(free.to_lowercase()) {
            free = candidates.next().unwrap_or_default();
        }
        free
    }
}

fn safe(id: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    id.chars().take(NAME_CHARS_MAX).map(|c| if allowed(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_safe_and_differ() {
        // Separators and letters outside ASCII become underscores, names that would be the same on
        // some file system get a number, and the longest still fits.
        let mut names = Names::default();
        let mut name =
            |id: &str| names.of(&Place::Known { id: id.to_owned(), name: String::new() }, By::Area);
        assert_eq!(name("79"), "area-79");
        assert_eq!(name("../../etc"), "area-.._.._etc");
        assert_eq!(name("Hà Nội"), "area-H__N_i");
        assert_eq!(name("hà nội"), "area-h__n_i~2");
        assert_eq!(name("H__N_i"), "area-H__N_i~3");
        assert!(name(&"x".repeat(500)).len() < 200);
        assert_eq!(names.of(&Place::Unregistered, By::Facility), "not-registered");
    }

    #[test]
    fn nothing_is_overwritten_by_accident() {
        // A file that appeared in between is kept unless told otherwise; what is given up leaves
        // nothing; files are the owner's alone.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.csv");
        drop(NewFile::begin(path.clone(), Existing::Kept).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        NewFile::begin(path.clone(), Existing::Kept).unwrap().keep().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "mine").unwrap();
        assert!(NewFile::begin(path.clone(), Existing::Kept).unwrap().keep().is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        NewFile::begin(path.clone(), Existing::Replaced).unwrap().keep().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_ending_tells_the_form() {
        // .xlsx and .csv in any case, and nothing else.
        assert_eq!(Form::of(Path::new("a/b.XLSX")), Some(Form::Xlsx));
        assert_eq!(Form::of(Path::new("b.csv")), Some(Form::Csv));
        assert_eq!(Form::of(Path::new("xlsx")), None);
        assert_eq!(Form::of(Path::new("b.xls")), None);
    }
}
