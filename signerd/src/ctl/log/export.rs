//! `signerctl log export`: the log in a folder of one's own, whole or what is new of it.
//!
//! Asks the officers' listener for the checkpoint and the bundles of entries, makes the tiles of hashes
//! from them, and holds the root against the checkpoint. What an earlier export brought is not fetched
//! again, and its checkpoint must sign the beginning of what is there now: else nothing counts and the
//! export is refused. Files appear whole, the checkpoint last; whoever interrupts it loses nothing.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use indicatif::ProgressBar;
use serde_json::json;
use tokio::task::JoinSet;

use super::super::client::Client;
use super::super::config::Settings;
use super::super::error::{CtlError, Outcome};
use super::super::output::FileError;
use super::super::{Context, runtime};
use super::folder::{CHECKPOINT, Folder, HISTORY, Hashes};
use super::{LogError, audit_keys, fetch, marks};
use crate::tlog::bundle;
use crate::tlog::note::{AuditKey, Head};
use crate::tlog::path::TilePath;
use crate::tlog::tiles::{self, Node, TILE_WIDTH, TreeError};

/// Bundles that are asked for at once: the appliance has other things to do.
const REQUESTS_MAX: usize = 4;
/// Bundles whose hashes are appended at once.
const BUNDLES_AT_ONCE: usize = 64;
/// What keeps a second export out.
const LOCK: &str = ".lock";

/// The command line of `log export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder; made if it is not there, continued if it holds an earlier export
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Certificate of the audit key (PEM), and of those before it: without one no signature is verified
    #[arg(long, value_name = "FILE")]
    certificate: Vec<PathBuf>,
    /// The log's name [default: that of the earlier export, or any]
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
}

/// What an export came to.
struct Summary {
    head: Head,
    entries_before: u64,
    bundles_fetched: u64,
    checkpoints: usize,
}

/// Runs the verb.
///
/// # Errors
/// When the settings, the server or the folder stop it, or the log is not what was signed.
pub fn run(args: &Args, context: &Context, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    let keys = audit_keys(&args.certificate)?;
    let client = super::client(context, Settings::officer)?;
    let folder = Folder::at(&args.output);
    let _lock = super::lock(folder.path(), &folder.path().join(LOCK))?;
    let bar = context.progress.bar(0, "entries");
    let export = Export {
        client: Arc::new(client),
        folder,
        keys,
        origin: args.origin.clone(),
        bar: bar.clone(),
    };
    let summary = runtime()?.block_on(export.run());
    bar.finish_and_clear();
    let Summary { head, entries_before, bundles_fetched, checkpoints } = summary?;
    let is_verified = !args.certificate.is_empty();
    if context.json {
        let summary = json!({
            "origin": head.origin, "entries": head.size, "entries_before": entries_before,
            "signed_at": head.at, "bundles_fetched": bundles_fetched,
            "checkpoints_kept": checkpoints, "signature_verified": is_verified,
        });
        writeln!(out, "{summary}")?;
    } else {
        let note = if is_verified {
            "signature verified"
        } else {
            "signature NOT verified: no --certificate"
        };
        let (origin, size) = (&head.origin, head.size);
        let new = size.saturating_sub(entries_before);
        writeln!(out, "{origin}: {size} entries, {new} of them new; {note}")?;
    }
    Ok(Outcome::Done)
}

struct Export {
    client: Arc<Client>,
    folder: Folder,
    keys: Vec<AuditKey>,
    origin: Option<String>,
    bar: ProgressBar,
}

/// Which bundles that are there already are taken as they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reuse {
    /// Also those that an interrupted run left.
    All,
    /// Those that an earlier checkpoint signs.
    Signed,
}

impl Export {
    async fn run(&self) -> Result<Summary, CtlError> {
        let before = self.folder.checkpoint()?;
        let before = before.map(|note| self.open(&note, "the checkpoint held here")).transpose()?;
        let note = fetch::checkpoint(&self.client).await?;
        let head = self.open(&note, "the server's checkpoint")?;
        if let Some(before) = &before {
            compare(before, &head)?;
        }
        self.bar.set_length(head.size);
        let (mut fetched, mut root) = self.fill(before.as_ref(), &head, Reuse::All).await?;
        if root != head.root {
            // What an interrupted run left may be of a log that is no more: once again without it.
            (fetched, root) = self.fill(before.as_ref(), &head, Reuse::Signed).await?;
        }
        let accepted = self.accept(before.as_ref(), &head, root).await;
        let kept = match accepted {
            Ok(kept) => kept,
            Err(refused) => {
                self.remove_new(before.as_ref(), &head)?;
                return Err(refused);
            }
        };
        self.folder.put(&format!("{HISTORY}/{}", head.size), note.as_bytes())?;
        self.folder.put_last(CHECKPOINT, note.as_bytes())?;
        self.remove_old(before.as_ref(), &head)?;
        let entries_before = before.map_or(0, |before| before.size);
        Ok(Summary { head, entries_before, bundles_fetched: fetched, checkpoints: kept })
    }

    /// Reads a note; verifies its signature where there is a key to do it.
    fn open(&self, note: &str, place: &str) -> Result<Head, LogError> {
        let origin = self.origin.as_deref();
        let opened = if self.keys.is_empty() {
            Head::unverified(note, origin)
        } else {
            marks::open(note, &self.keys, origin)
        };
        opened.map_err(|cause| LogError::NotSigned { place: place.to_owned(), cause })
    }

    /// Brings all bundles and makes their tiles; gives how many were fetched, and the root.
    async fn fill(
        &self,
        before: Option<&Head>,
        head: &Head,
        reuse: Reuse,
    ) -> Result<(u64, Node), CtlError> {
        let full = u64::try_from(TILE_WIDTH).unwrap_or(u64::MAX);
        let signed = before.map_or(0, |before| before.size / full);
        // A part is fetched under its own name, and never over one that a checkpoint here signs.
        let is_same = before.is_some_and(|before| before.size == head.size);
        let is_there =
            |path: &TilePath| (path.is_full() || is_same) && self.folder.has(&path.to_string());
        // A bundle that is gone is fetched again, and all hashes from there on are made anew.
        let first = TilePath::bundles(signed.saturating_mul(full)).find(|path| !is_there(path));
        let first = first.map_or(signed, |path| path.number);
        let mut size = first.saturating_mul(full);
        self.bar.set_position(size);
        let todo = TilePath::bundles(head.size).skip(usize::try_from(first).unwrap_or(usize::MAX));
        let todo: Vec<TilePath> = todo.collect();
        let mut fetched = 0_u64;
        for some in todo.chunks(BUNDLES_AT_ONCE) {
            let taken = |path: &&TilePath| {
                is_there(path) && (is_same || reuse == Reuse::All || path.number < signed)
            };
            let wanted: Vec<TilePath> = some.iter().filter(|path| !taken(path)).copied().collect();
            fetched = fetched.saturating_add(u64::try_from(wanted.len()).unwrap_or(0));
            self.fetch(&wanted).await?;
            size = self.append(some, size)?;
        }
        let root = tiles::root(&mut self.folder.hashes(size), size).map_err(told)?;
        Ok((fetched, root))
    }

    /// Fetches bundles, several at once, and writes them.
    async fn fetch(&self, wanted: &[TilePath]) -> Result<(), CtlError> {
        let mut wanted = wanted.iter().copied();
        let mut running = JoinSet::new();
        loop {
            while running.len() < REQUESTS_MAX
                && let Some(path) = wanted.next()
            {
                let client = Arc::clone(&self.client);
                running.spawn(async move { (path, fetch::tile(&client, path).await) });
            }
            let Some(done) = running.join_next().await else { return Ok(()) };
            let Ok((path, bytes)) = done else { continue };
            let bytes = bytes?;
            let faulty = bundle::decode(&bytes, path.width).err();
            if let Some(fault) = faulty {
                return Err(LogError::NotTheSigned(format!("{path}: {fault}")).into());
            }
            self.folder.put(&path.to_string(), &bytes)?;
        }
    }

    /// Appends the hashes of bundles that are there, and gives the new size.
    fn append(&self, some: &[TilePath], size: u64) -> Result<u64, CtlError> {
        let mut leaves = Vec::new();
        for path in some {
            let gone = || LogError::NotTheSigned(format!("{path} is gone"));
            let (found, bytes) = self.folder.tile(*path)?.ok_or_else(gone)?;
            let entries = bundle::decode(&bytes, found.width)
                .map_err(|fault| LogError::NotTheSigned(format!("{path}: {fault}")))?;
            leaves.extend(entries.iter().take(path.width).map(|entry| tiles::leaf(entry)));
        }
        tiles::append(&mut self.folder.hashes(size), size, &leaves).map_err(told)?;
        let added = u64::try_from(leaves.len()).unwrap_or(0);
        self.bar.inc(added);
        Ok(size.saturating_add(added))
    }

    /// Holds what was brought against the checkpoint, the one before, and all that the server kept; gives
    /// how many of those were new here.
    async fn accept(
        &self,
        before: Option<&Head>,
        head: &Head,
        root: Node,
    ) -> Result<usize, CtlError> {
        let mut hashes = self.folder.hashes(head.size);
        if let Some(before) = before
            && tiles::root(&mut hashes, before.size).map_err(told)? != before.root
        {
            let size = before.size;
            let text =
                format!("the first {size} entries are no longer those of the checkpoint held here");
            return Err(LogError::Fork(text).into());
        }
        if root != head.root {
            let text = "the entries give another root".to_owned();
            return Err(LogError::NotTheSigned(text).into());
        }
        let known: BTreeSet<u64> = self.folder.history()?.iter().map(|kept| kept.size).collect();
        let mut after = known.last().copied().unwrap_or(0).min(head.size);
        let mut kept = 0_usize;
        loop {
            let page = fetch::checkpoints(&self.client, after).await?;
            let Some(last) = page.last() else { return Ok(kept) };
            after = last.size;
            for one in page.iter().filter(|one| one.size <= head.size) {
                self.keep(one, head, &mut hashes)?;
                kept = kept.saturating_add(1);
            }
            if after >= head.size {
                return Ok(kept);
            }
        }
    }

    /// Keeps a checkpoint of the server's history, if it signs what is here.
    fn keep(
        &self,
        one: &fetch::Kept,
        head: &Head,
        hashes: &mut Hashes<'_>,
    ) -> Result<(), CtlError> {
        let place = format!("the server's checkpoint of {} entries", one.size);
        let opened = self.open(&one.note, &place)?;
        let root = tiles::root(hashes, one.size).map_err(told)?;
        if (opened.size, opened.root, &opened.origin) != (one.size, root, &head.origin) {
            return Err(LogError::Fork(format!("{place} is not that of this log")).into());
        }
        Ok(self.folder.put(&format!("{HISTORY}/{}", one.size), one.note.as_bytes())?)
    }

    /// Removes what a refused export brought, as far as no earlier checkpoint signs it.
    fn remove_new(&self, before: Option<&Head>, head: &Head) -> Result<(), CtlError> {
        let old = paths(before.map_or(0, |before| before.size));
        let new = paths(head.size);
        for path in new.difference(&old) {
            self.folder.remove(path)?;
        }
        Ok(())
    }

    /// Removes the parts of tiles that have become longer.
    fn remove_old(&self, before: Option<&Head>, head: &Head) -> Result<(), CtlError> {
        let parts = |size: u64| -> BTreeSet<String> {
            let all = TilePath::hashes(size).chain(TilePath::bundles(size));
            all.filter(|path| !path.is_full()).map(|path| path.to_string()).collect()
        };
        let new = parts(head.size);
        for path in parts(before.map_or(0, |before| before.size)).difference(&new) {
            self.folder.remove(path)?;
        }
        Ok(())
    }
}

/// The files of a log of this many entries.
fn paths(size: u64) -> BTreeSet<String> {
    TilePath::hashes(size).chain(TilePath::bundles(size)).map(|path| path.to_string()).collect()
}

/// What two heads alone can say.
fn compare(before: &Head, head: &Head) -> Result<(), LogError> {
    if before.origin != head.origin {
        let text = format!("{} is held here, and this is {}", before.origin, head.origin);
        return Err(LogError::Fork(text));
    }
    if head.size < before.size {
        let text = format!(
            "the log has {} entries, and the checkpoint held here signs {}",
            head.size, before.size
        );
        return Err(LogError::Fork(text));
    }
    if head.size == before.size && head.root != before.root {
        let text = format!("another log of the same {} entries was signed", head.size);
        return Err(LogError::Fork(text));
    }
    Ok(())
}

fn told(error: TreeError<FileError>) -> LogError {
    match error {
        TreeError::Store(error) => error.into(),
        TreeError::Incomplete => LogError::NotTheSigned("tiles are missing or short".to_owned()),
    }
}
