//! Searches an exported log: which entries are about this certificate, batch, client, issuer, time, event?
//!
//! In go a folder and what is looked for, out come the entries in their order, at most so many. Bundles
//! that do not hold the bytes that are looked for are not taken apart, and entries are decoded only when
//! they fit. It verifies nothing: that is what `check` is for.

use std::collections::BTreeSet;

use memchr::memmem::Finder;
use rayon::prelude::*;

use super::LogError;
use super::folder::Folder;
use crate::tlog::bundle;
use crate::tlog::fact::{Entry, NotAnEntry};
use crate::tlog::glance::Glance;
use crate::tlog::note::Head;
use crate::tlog::path::TilePath;
use crate::tlog::tiles::TILE_WIDTH;

/// Bundles that are in memory at once.
const BUNDLES_AT_ONCE: usize = 256;

/// What is looked for: entries that fit all of it.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// About this certificate: its entry, and those of its batch that are no certificates.
    pub uvci: Option<[u8; 16]>,
    /// About batches of this client's id.
    pub batch_id: Option<[u8; 16]>,
    /// About this client, and the batches it sent.
    pub client: Option<String>,
    /// About this issuer, and the batches it signed.
    pub issuer: Option<String>,
    /// Of this event.
    pub event: Option<String>,
    /// At this time or later, seconds since 1970.
    pub since: Option<i64>,
    /// Before this time.
    pub until: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// An entry that was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// Its number.
    pub number: u64,
    /// What it says.
    pub entry: Result<Entry, NotAnEntry>,
}

/// The first entries that fit, and whether there are more.
///
/// # Errors
/// [`LogError`] where the folder is no export, or cannot be read.
pub fn scan(folder: &Folder, wanted: &Wanted) -> Result<(Vec<Found>, bool), LogError> {
    let absent = || LogError::NotAnExport(folder.path().to_owned());
    let note = folder.checkpoint()?.ok_or_else(absent)?;
    let head = Head::unverified(&note, None).map_err(|cause| LogError::NotSigned {
        place: super::folder::CHECKPOINT.to_owned(),
        cause,
    })?;
    let batches = if wanted.is_about_something() {
        wanted.batches(folder, head.size)?
    } else {
        BTreeSet::new()
    };
    let mut found: Vec<Found> = Vec::new();
    let more = |found: &[Found]| found.len() > wanted.limit;
    let bundles: Vec<TilePath> = TilePath::bundles(head.size).collect();
    for some in bundles.chunks(BUNDLES_AT_ONCE) {
        let fit = |path: &TilePath| {
            let mut fit = Vec::new();
            each(folder, *path, |number, bytes, glance| {
                if wanted.fits(number, glance, &batches) {
                    fit.push(Found { number, entry: Entry::decode(bytes) });
                }
            })?;
            Ok::<_, LogError>(fit)
        };
        let fitting = some.par_iter().map(fit).collect::<Result<Vec<_>, _>>()?;
        found.extend(fitting.into_iter().flatten());
        if more(&found) {
            break;
        }
    }
    let is_cut = more(&found);
    found.truncate(wanted.limit);
    Ok((found, is_cut))
}

impl Wanted {
    /// Whether it is about a certificate, a batch, a client or an issuer.
    fn is_about_something(&self) -> bool {
        let Self { uvci, batch_id, client, issuer, .. } = self;
        uvci.is_some() || batch_id.is_some() || client.is_some() || issuer.is_some()
    }

    /// The numbers of the batches that it is about.
    fn batches(&self, folder: &Folder, size: u64) -> Result<BTreeSet<u64>, LogError> {
        let needles = [
            self.uvci.as_ref().map(<[u8; 16]>::as_slice),
            self.batch_id.as_ref().map(<[u8; 16]>::as_slice),
            self.client.as_deref().map(str::as_bytes),
            self.issuer.as_deref().map(str::as_bytes),
        ];
        let finders: Vec<Finder<'_>> = needles.into_iter().flatten().map(Finder::new).collect();
        let bundles: Vec<TilePath> = TilePath::bundles(size).collect();
        let of = |path: &TilePath| {
            let Some((_, bytes)) = folder.tile(*path)? else { return Ok(Vec::new()) };
            if finders.iter().any(|finder| finder.find(&bytes).is_none()) && self.uvci.is_none() {
                return Ok(Vec::new());
            }
            if let (Some(uvci), Some(finder)) = (&self.uvci, finders.first())
                && (finder.find(&bytes).is_none() || uvci.is_empty())
            {
                return Ok(Vec::new());
            }
            let mut batches = Vec::new();
            each(folder, *path, |number, _, glance| batches.extend(self.batch(number, glance)))?;
            Ok::<_, LogError>(batches)
        };
        let batches = bundles.par_iter().map(of).collect::<Result<Vec<_>, _>>()?;
        Ok(batches.into_iter().flatten().collect())
    }

    /// The batch that an entry makes this about, if it does.
    fn batch(&self, number: u64, glance: &Glance<'_>) -> Option<u64> {
        match self.uvci {
            Some(uvci) => glance.batch.filter(|_| glance.uvci == Some(uvci.as_slice())),
            None => (glance.event == INTENDED && self.names(glance)).then_some(number),
        }
    }

    /// Whether an entry itself has the batch id, client and issuer that are looked for.
    fn names(&self, glance: &Glance<'_>) -> bool {
        let id = self.batch_id.as_ref();
        id.is_none_or(|id| glance.batch_id == Some(id.as_slice()))
            && self.client.as_deref().is_none_or(|client| glance.client == Some(client))
            && self.issuer.as_deref().is_none_or(|issuer| glance.issuer == Some(issuer))
    }

    fn fits(&self, number: u64, glance: &Glance<'_>, batches: &BTreeSet<u64>) -> bool {
        let in_time = self.since.is_none_or(|since| glance.at >= since)
            && self.until.is_none_or(|until| glance.at < until);
        if !in_time || self.event.as_deref().is_some_and(|event| event != glance.event) {
            return false;
        }
        if !self.is_about_something() {
            return true;
        }
        let of_batch = batches.contains(&glance.batch.unwrap_or(number));
        match self.uvci {
            // Of the certificates of the batch this one alone.
            Some(uvci) => of_batch && glance.uvci.is_none_or(|other| other == uvci.as_slice()),
            None => of_batch || self.names(glance),
        }
    }
}

/// The event that makes a batch.
const INTENDED: &str = "batch.intended";

/// Gives every entry of a bundle that is one.
fn each(
    folder: &Folder,
    path: TilePath,
    mut give: impl FnMut(u64, &[u8], &Glance<'_>),
) -> Result<(), LogError> {
    let Some((found, bytes)) = folder.tile(path)? else { return Ok(()) };
    let Ok(entries) = bundle::decode(&bytes, found.width) else { return Ok(()) };
    let first = path.number.saturating_mul(u64::try_from(TILE_WIDTH).unwrap_or(u64::MAX));
    for (number, entry) in (first..).zip(entries.into_iter().take(path.width)) {
        if let Some(glance) = Glance::at(entry) {
            give(number, entry, &glance);
        }
    }
    Ok(())
}
