//! The files of a list: private, whole or not there, and never over another file by accident.
//!
//! A file is written without a name on the file system of its folder, for the owner alone, and is linked
//! to its name when it is on disk: however the program ends before that, nothing of it is left. Where
//! the file system cannot do that (`O_TMPFILE`), it has a passing name meanwhile, which is removed unless
//! the program is killed: SIGKILL and SIGINT alike leave it behind, readable for its owner. Names made from areas and units hold nothing but letters, digits, dots,
//! dashes and underscores, and do not differ in case alone.

use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
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
    content: Content,
}

/// Where the bytes are until the file has its name.
enum Content {
    /// On the file system, in no folder.
    Unnamed(File),
    /// Under a passing name, where there are no files without one.
    Passing(NamedTempFile),
}

impl NewFile {
    /// Begins a file.
    ///
    /// # Errors
    /// When its folder cannot be written.
    pub(super) fn begin(path: PathBuf, existing: Existing) -> Result<Self, FileError> {
        let content = match unnamed(folder(&path)).map_err(FileError::of("make", &path))? {
            Some(file) => Content::Unnamed(file),
            None => {
                let file = passing().tempfile_in(folder(&path));
                Content::Passing(file.map_err(FileError::of("make", &path))?)
            }
        };
        Ok(Self { path, existing, content })
    }

    /// Where to write.
    ///
    /// # Errors
    /// When the system gives no second handle.
    pub(super) fn handle(&self) -> Result<File, FileError> {
        self.content.file().try_clone().map_err(FileError::of("write", &self.path))
    }

    /// Gives the file its name, once it is on disk.
    ///
    /// # Errors
    /// When it cannot be written, or a file of that name has appeared in between.
    pub(super) fn keep(self) -> Result<PathBuf, FileError> {
        let Self { path, existing, content } = self;
        content.file().sync_all().map_err(FileError::of("write", &path))?;
        content.appear(&path, existing).map_err(FileError::of("make", &path))?;
        journal::sync_folder(&path).map_err(FileError::of("write", &path))?;
        Ok(path)
    }
}

impl Content {
    fn file(&self) -> &File {
        match self {
            Self::Unnamed(file) => file,
            Self::Passing(file) => file.as_file(),
        }
    }

    fn appear(self, path: &Path, existing: Existing) -> io::Result<()> {
        match (self, existing) {
            (Self::Unnamed(file), Existing::Kept) => link(&file, path),
            (Self::Unnamed(file), Existing::Replaced) => {
                // A link replaces nothing, but a new name can be moved over an old one. Where there is
                // no old one, the passing name is not needed.
                match link(&file, path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        let linked = passing().make_in(folder(path), |name| link(&file, name))?;
                        Ok(linked.into_temp_path().persist(path)?)
                    }
                    linked => linked,
                }
            }
            (Self::Passing(file), Existing::Kept) => Ok(file.persist_noclobber(path).map(drop)?),
            (Self::Passing(file), Existing::Replaced) => Ok(file.persist(path).map(drop)?),
        }
    }
}

/// A file without a name that can get one; `None` where the file system or a missing /proc forbids it.
fn unnamed(folder: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => {
            let file = File::from(file);
            Ok(by_descriptor(&file).exists().then_some(file))
        }
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn link(file: &File, path: &Path) -> io::Result<()> {
    Ok(rustix::fs::linkat(CWD, by_descriptor(file), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// The one way to an open file without a name that needs no privilege.
fn by_descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn passing() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".signerctl-").suffix(".part");
    builder.permissions(Permissions::from_mode(PRIVATE_MODE));
    builder
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

    fn files(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    /// Begins a file that has a passing name, as where there are none without a name.
    fn begin_passing(path: PathBuf, existing: Existing) -> Result<NewFile, FileError> {
        let file = passing().tempfile_in(folder(&path)).unwrap();
        Ok(NewFile { path, existing, content: Content::Passing(file) })
    }

    #[test]
    fn nothing_is_overwritten_by_accident() {
        // A file that appeared in between is kept unless told otherwise; what is given up leaves
        // nothing; files are the owner's alone; with and without passing names.
        for begin in [NewFile::begin, begin_passing] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("list.csv");
            drop(begin(path.clone(), Existing::Kept).unwrap());
            assert_eq!(files(folder.path()), 0);
            begin(path.clone(), Existing::Kept).unwrap().keep().unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::write(&path, "mine").unwrap();
            assert!(begin(path.clone(), Existing::Kept).unwrap().keep().is_err());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
            begin(path.clone(), Existing::Replaced).unwrap().keep().unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
            let other = folder.path().join("other.csv");
            begin(other, Existing::Replaced).unwrap().keep().unwrap();
            assert_eq!(files(folder.path()), 2);
        }
    }

    #[test]
    fn a_file_that_is_being_written_has_no_name() {
        // Bytes that are written stand in no folder, so that no way to end the program leaves them;
        // they are there, whole and private, with the name.
        use std::io::Write as _;
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.csv");
        let new = NewFile::begin(path.clone(), Existing::Kept).unwrap();
        new.handle().unwrap().write_all(b"Nguyen").unwrap();
        let metadata = new.content.file().metadata().unwrap();
        assert_eq!((metadata.len(), metadata.nlink(), files(folder.path())), (6, 0, 0));
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        new.keep().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "Nguyen");
        assert_eq!(files(folder.path()), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        // The error is that of the folder, not that of a passing name.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none/list.csv");
        let error = NewFile::begin(path, Existing::Kept).err().unwrap();
        assert_eq!(error.source.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("none/list.csv"), "{error}");
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
