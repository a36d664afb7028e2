//! `signerctl sign`: a records file in, certificates out, nothing signed twice.
//!
//! The file is first read through, so that a fault on its last line stops the run before anything is
//! signed. Then it is cut into batches; each gets an id that is on disk before it is sent, and its
//! results are on disk before it is marked done. However the run ends, the same command continues:
//! finished batches are skipped, open ones repeated with the same id and the same bytes, which the
//! daemon answers with the same certificates. The output holds personal data and is made for its owner
//! alone; the journal holds none.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::ProgressBar;
use serde_json::json;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::answer::{self, BatchResponse, RecordResult};
use super::batch::{self, Atomicity, Batch, Batches};
use super::client::{Client, ClientError, Reply};
use super::config::Settings;
use super::error::{CtlError, Outcome, refusal_remedy};
use super::journal::{Counts, Journal, Plan, State, Ticket};
use super::output::{FileError, PRIVATE_MODE, beside};
use super::records::{RecordReader, to_base64url};
use super::{Context, runtime};

/// Batches in flight unless told otherwise: one being signed, one on its way.
const PARALLEL_DEFAULT: &str = "2";
/// More batches in flight than this only wait in the daemon's queue.
const PARALLEL_MAX: u64 = 64;

/// The command line of `sign`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Records file: a JSON array, or one object per line
    file: PathBuf,
    /// Issuer whose key signs [default: the settings' issuer]
    #[arg(long, value_name = "ID")]
    issuer: Option<String>,
    /// Where the certificates go, as JSON lines; FILE.journal is kept beside it
    #[arg(long, short, value_name = "FILE", required_unless_present = "dry_run",
          value_parser = real_file)]
    output: Option<PathBuf>,
    /// Records per batch, 1 to 1000
    #[arg(long, value_name = "N", default_value = "1000", value_parser = batch_size)]
    batch_size: usize,
    /// Batches in flight, 1 to 64
    #[arg(long, value_name = "N", default_value = PARALLEL_DEFAULT,
          value_parser = clap::value_parser!(u64).range(1..=PARALLEL_MAX))]
    parallel: u64,
    /// Sign nothing of a batch in which a record is rejected
    #[arg(long)]
    atomic: bool,
    /// Read and cut the file, but send nothing
    #[arg(long)]
    dry_run: bool,
}

/// Why a run cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The output is there, but no journal says what it is.
    #[error("{0} is there already, without its journal")]
    OutputWithoutJournal(PathBuf),
    /// The output is shorter than the journal says, or gone.
    #[error("{0} was changed or removed since the run that its journal tells of")]
    OutputChanged(PathBuf),
    /// The records are not those of the run that is to be continued.
    #[error(
        "{path} was changed since the run was begun: batch {batch} (records from {first}) \
             has other bytes"
    )]
    RecordsChanged {
        /// The records file.
        path: PathBuf,
        /// The batch, from 0.
        batch: u64,
        /// Its first record, from 0.
        first: u64,
    },
    /// There are fewer records than the run had that is to be continued.
    #[error("{path} was changed since the run was begun: it has {now} batches, not {begun}")]
    RecordsMissing {
        /// The records file.
        path: PathBuf,
        /// How many there are now.
        now: u64,
        /// How many were begun.
        begun: u64,
    },
    /// A task of this program failed.
    #[error("a batch was lost inside signerctl")]
    Lost,
}

impl SignError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::OutputWithoutJournal(_) => "Choose another --output; nothing is overwritten.",
            Self::OutputChanged(_) => {
                "Put the output back as it was, or begin with another --output; doses that are \
                 signed already come back as dose.already_certified."
            }
            Self::RecordsChanged { .. } | Self::RecordsMissing { .. } => {
                "Continue with the records file as it was, or begin with another --output."
            }
            Self::Lost => "Repeat the same command; it continues.",
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// When a file, the settings or the server stop the run; the same command continues it.
pub fn run(args: &Args, context: &Context, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    let size = survey(&args.file, args.batch_size)?;
    let Some(output) = args.output.as_ref().filter(|_| !args.dry_run) else {
        return report_dry(size, context, out);
    };
    let settings = Settings::load(&context.config)?;
    let plan = Plan {
        issuer: settings.issuer(args.issuer.as_deref())?.to_owned(),
        batch_size: args.batch_size,
        atomic: args.atomic,
    };
    let client = Arc::new(Client::new(settings.signing()?, context.patience)?);
    let mut run = Run::open(&args.file, output, plan)?;
    run.check_size(size)?;
    run.bar = context.progress.bar(size.records, "records");
    let parallel = usize::try_from(args.parallel).unwrap_or(1);
    let driven = runtime()?.block_on(run.drive(&client, parallel));
    run.bar.finish_and_clear();
    driven?;
    run.report(context, output, out)
}

fn batch_size(text: &str) -> Result<usize, String> {
    match text.parse::<NonZeroUsize>() {
        Ok(size) if size.get() <= batch::RECORDS_MAX => Ok(size.get()),
        _ => Err(format!("a number from 1 to {}", batch::RECORDS_MAX)),
    }
}

/// Stdout cannot be cut back to what is durable, so that it is no output for `sign`.
fn real_file(text: &str) -> Result<PathBuf, String> {
    match text {
        "-" | "" => Err("the name of a file, so that the run can be continued".into()),
        name => Ok(PathBuf::from(name)),
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    records: u64,
    batches: u64,
}

/// Reads the whole file once, keeping nothing.
fn survey(file: &Path, records_max: usize) -> Result<Size, CtlError> {
    let mut size = Size::default();
    for batch in cut(file, records_max)? {
        let batch = batch.map_err(|source| CtlError::Records { path: file.to_owned(), source })?;
        size.records = size.records.saturating_add(batch.records());
        size.batches = size.batches.saturating_add(1);
    }
    Ok(size)
}

fn cut(
    file: &Path,
    records_max: usize,
) -> Result<Batches<RecordReader<BufReader<File>>>, FileError> {
    let file = File::open(file).map_err(FileError::of("open", file))?;
    Ok(Batches::new(RecordReader::new(BufReader::with_capacity(1 << 16, file)), records_max))
}

fn report_dry(size: Size, context: &Context, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    let Size { records, batches } = size;
    if context.json {
        writeln!(out, "{}", json!({ "records": records, "batches": batches, "sent": 0 }))?;
    } else {
        writeln!(out, "{records} records in {batches} batches can be read; nothing was sent")?;
    }
    Ok(Outcome::Done)
}

/// A run: its files, and what became of its batches in this process.
struct Run {
    file: PathBuf,
    plan: Plan,
    journal: Journal,
    output: File,
    output_path: PathBuf,
    bar: ProgressBar,
    replayed: u64,
    refused: u64,
}

/// A batch that was sent.
struct InFlight {
    number: u64,
    batch_id: Uuid,
    first: u64,
    lines: Vec<u64>,
    answer: JoinHandle<Result<Reply, ClientError>>,
}

impl Run {
    /// Opens output and journal, and cuts the output to what the journal vouches for.
    fn open(file: &Path, output_path: &Path, plan: Plan) -> Result<Self, CtlError> {
        let journal_path = beside(output_path, ".journal");
        if output_path.exists() && !journal_path.exists() {
            return Err(SignError::OutputWithoutJournal(output_path.to_owned()).into());
        }
        let journal = Journal::open(&journal_path, &plan)?;
        let mut output = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE_MODE)
            .open(output_path)
            .map_err(FileError::of("open", output_path))?;
        let good = journal.output_bytes();
        let length = output.metadata().map_err(FileError::of("read", output_path))?.len();
        if length < good {
            return Err(SignError::OutputChanged(output_path.to_owned()).into());
        }
        output
            .set_len(good)
            .and_then(|()| output.seek(SeekFrom::Start(good)))
            .and_then(|_| super::journal::sync_folder(output_path))
            .map_err(FileError::of("write", output_path))?;
        Ok(Self {
            file: file.to_owned(),
            plan,
            journal,
            output,
            output_path: output_path.to_owned(),
            bar: ProgressBar::hidden(),
            replayed: 0,
            refused: 0,
        })
    }

    fn check_size(&self, size: Size) -> Result<(), SignError> {
        let (now, begun) = (size.batches, self.journal.batches_begun());
        if now < begun {
            return Err(SignError::RecordsMissing { path: self.file.clone(), now, begun });
        }
        Ok(())
    }

    /// Sends every batch that is not done, at most `parallel` at a time, and stores answers in order.
    async fn drive(&mut self, client: &Arc<Client>, parallel: usize) -> Result<(), CtlError> {
        let mut flying = VecDeque::new();
        let submitted = self.submit_all(client, parallel, &mut flying).await;
        // What was sent is waited for also when something failed: the daemon signs it anyway.
        let mut first_fault = submitted.err();
        while let Some(next) = flying.pop_front() {
            let settled = self.settle(next).await;
            first_fault = first_fault.or(settled.err());
        }
        first_fault.map_or(Ok(()), Err)
    }

    async fn submit_all(
        &mut self,
        client: &Arc<Client>,
        parallel: usize,
        flying: &mut VecDeque<InFlight>,
    ) -> Result<(), CtlError> {
        let mut number: u64 = 0;
        for batch in cut(&self.file, self.plan.batch_size)? {
            let batch =
                batch.map_err(|source| CtlError::Records { path: self.file.clone(), source })?;
            if let Some((batch_id, request)) = self.prepare(number, &batch)? {
                if flying.len() >= parallel
                    && let Some(oldest) = flying.pop_front()
                {
                    self.settle(oldest).await?;
                }
                let client = Arc::clone(client);
                let answer =
                    tokio::spawn(async move { client.post("/v1/batches", request.into()).await });
                let Batch { first, lines, .. } = batch;
                flying.push_back(InFlight { number, batch_id, first, lines, answer });
            }
            number = number.saturating_add(1);
        }
        Ok(())
    }

    /// Id and bytes of a batch, durably noted; `None` if it is done.
    fn prepare(&mut self, number: u64, batch: &Batch) -> Result<Option<(Uuid, Vec<u8>)>, CtlError> {
        let atomicity = if self.plan.atomic { Atomicity::AllOrNone } else { Atomicity::Each };
        let request = |id| batch.request(&self.plan.issuer, atomicity, id);
        let (ticket, done) = match self.journal.state(number) {
            Some(State::Done(ticket)) => (Some(ticket), true),
            Some(State::Open(ticket)) => (Some(ticket), false),
            Some(State::Refused) | None => (None, false),
        };
        if let Some(ticket) = ticket {
            let bytes = request(ticket.batch_id)?;
            if batch::request_digest(&bytes) != ticket.digest {
                let (path, first) = (self.file.clone(), batch.first);
                return Err(SignError::RecordsChanged { path, batch: number, first }.into());
            }
            if done {
                self.bar.inc(batch.records());
            }
            return Ok((!done).then_some((ticket.batch_id, bytes)));
        }
        let batch_id = Uuid::new_v4();
        let bytes = request(batch_id)?;
        let digest = batch::request_digest(&bytes);
        self.journal.begin_batch(number, &Ticket { batch_id, digest })?;
        Ok(Some((batch_id, bytes)))
    }

    /// Waits for one batch and stores what came of it.
    async fn settle(&mut self, sent: InFlight) -> Result<(), CtlError> {
        let answer = sent.answer.await.map_err(|_| SignError::Lost)?;
        let records = u64::try_from(sent.lines.len()).unwrap_or(u64::MAX);
        match answer {
            Ok(reply) => {
                let response: BatchResponse = answer::decode(&reply.body)?;
                let of = (&response.batch_id, response.issuer.as_str(), response.results.len());
                answer::belongs(of, (&sent.batch_id, &self.plan.issuer, sent.lines.len()))?;
                self.store(sent.number, sent.first, &response)?;
                self.replayed = self.replayed.saturating_add(u64::from(reply.replayed));
            }
            Err(error) => {
                let Some(fault) = BatchFault::of(&error) else { return Err(error.into()) };
                self.refused = self.refused.saturating_add(1);
                if fault == BatchFault::IdIsFree {
                    let code = error.refused().map_or("", |(_, problem)| problem.code.as_str());
                    self.journal.refuse_batch(sent.number, code)?;
                }
                self.tell_refusal(sent.number, sent.first, &sent.lines, &error);
            }
        }
        self.bar.inc(records);
        Ok(())
    }

    /// Appends the results to the output, forces them to disk, then marks the batch done.
    fn store(&mut self, number: u64, first: u64, response: &BatchResponse) -> Result<(), CtlError> {
        let (text, counts) = render(first, response);
        self.output
            .write_all(text.as_bytes())
            .and_then(|()| self.output.sync_data())
            .map_err(FileError::of("write", &self.output_path))?;
        let added = u64::try_from(text.len()).unwrap_or(u64::MAX);
        let length = self.journal.output_bytes().saturating_add(added);
        Ok(self.journal.finish_batch(number, length, counts)?)
    }

    fn tell_refusal(&self, number: u64, first: u64, lines: &[u64], error: &ClientError) {
        let problem = error.refused().map(|(_, problem)| problem);
        let at = problem
            .and_then(|problem| problem.path.as_deref())
            .and_then(|path| path.strip_prefix("/records/"))
            .and_then(|path| path.split('/').next()?.parse::<usize>().ok())
            .and_then(|index| Some((index, lines.get(index)?)));
        let place = at.map_or_else(String::new, |(index, line)| {
            let record = first.saturating_add(u64::try_from(index).unwrap_or(0));
            format!(" (record {record}, line {line})")
        });
        let remedy = refusal_remedy(problem.map_or("", |problem| problem.code.as_str()));
        self.bar.suspend(|| {
            let text =
                format!("signerctl: batch {number}{place}: {error}\n  what to do: {remedy}\n");
            std::io::stderr().write_all(super::output::harmless_lines(&text).as_bytes()).ok();
        });
    }

    fn report(
        &self,
        context: &Context,
        output: &Path,
        out: &mut dyn Write,
    ) -> Result<Outcome, CtlError> {
        let Counts { records, certificates, rejected, withheld } = self.journal.totals();
        let (refused, replayed) = (self.refused, self.replayed);
        if context.json {
            let report = json!({
                "records": records, "certificates": certificates, "rejected": rejected,
                "withheld": withheld, "batches_refused": refused, "batches_replayed": replayed,
                "output": output.to_string_lossy(),
            });
            writeln!(out, "{report}")?;
        } else {
            writeln!(
                out,
                "{records} records: {certificates} certificates in {}; {rejected} records rejected, \
                 {withheld} withheld; {refused} batches refused",
                output.display()
            )?;
        }
        Ok(match (refused, rejected.saturating_add(withheld)) {
            (1.., _) => Outcome::SomeRefused,
            (0, 1..) => Outcome::SomeRejected,
            (0, 0) => Outcome::Done,
        })
    }
}

/// A refusal that concerns one batch only, so that the others go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BatchFault {
    /// Nothing was kept by the daemon: a corrected batch may be sent under a new id.
    IdIsFree,
    /// The id is known to the daemon: the batch must not be sent under another one.
    IdIsTaken,
}

impl BatchFault {
    fn of(error: &ClientError) -> Option<Self> {
        // Not `refused()`: what was given up after repetitions concerns every batch.
        let ClientError::Refused { status, .. } = error else { return None };
        match status {
            400 | 413 | 422 => Some(Self::IdIsFree),
            409 | 410 => Some(Self::IdIsTaken),
            _ => None,
        }
    }
}

/// The lines of one batch, and its counts.
fn render(first: u64, response: &BatchResponse) -> (String, Counts) {
    let kid = to_base64url(&response.kid.0);
    let (mut text, mut counts) = (String::new(), Counts::default());
    for (record, result) in (first..).zip(&response.results) {
        counts.records = counts.records.saturating_add(1);
        match result {
            RecordResult::Issued { certificates } => {
                for certificate in certificates {
                    counts.certificates = counts.certificates.saturating_add(1);
                    let line = json!({
                        "record": record, "dose": certificate.dose, "uvci": certificate.uvci,
                        "expires_at": certificate.expires_at, "hcert": certificate.hcert,
                        "kid": kid, "issuer": response.issuer,
                    });
                    text.push_str(&format!("{line}\n"));
                }
            }
            RecordResult::Rejected { reasons } => {
                counts.rejected = counts.rejected.saturating_add(1);
                let line = json!({ "record": record, "status": "rejected", "reasons": reasons });
                text.push_str(&format!("{line}\n"));
            }
            RecordResult::Withheld => {
                counts.withheld = counts.withheld.saturating_add(1);
                text.push_str(&format!("{}\n", json!({ "record": record, "status": "withheld" })));
            }
        }
    }
    (text, counts)
}
