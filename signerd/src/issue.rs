//! The spine: from a request body to an answer, in the order of the drawing in `ARCHITECTURE.md`.
//!
//! In go a known client and the bytes it sent; out comes the answer, or one error for the whole request.
//! It promises: nothing is signed that the judge did not approve; what will be signed is durable before
//! the HSM is touched; nothing leaves that was not verified and read back; the same id and bytes get the
//! same answer, also after a crash; a failure in the middle frees the id and the doses; nothing is begun for
//! a caller that has gone.

mod answer;
mod caller;
mod claims;
mod error;
mod judge;
mod plan;
mod rules;
mod sign;
pub mod window;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use policy::BatchFault;
use tokio::sync::OnceCell;

pub use self::caller::{Caller, Presence};
pub use self::error::IssueError;
use self::judge::{Hours, Judged, Rate, Terms};
use self::plan::Plan;
pub use self::rules::Rules;
pub use self::sign::CHUNKS_AT_THE_HSM;
use crate::access::Client;
use crate::audit::{Diary, Refusals, Seals};
use crate::clock::{self, Clock};
use crate::cpu::{self, Length};
use crate::failpoint::{self, Place};
use crate::hcert::{Hcert, SignerCertificate};
use crate::hsm::Pool;
use crate::ledger::{
    Attempt, BatchRef, Begin, Finished, Intended, Ledger, LedgerKeys, ReleaseCode, StoredIntent,
    Ticket,
};
use crate::metrics::Metrics;
use crate::tlog::fact::Fact;
use crate::wire::request;

/// Everything that issuing needs, put together once at start.
pub struct Issuing {
    /// What may be signed, for whom, and with which certificates; replaced as one by a reload.
    pub rules: ArcSwap<Rules>,
    /// What was intended and what was answered.
    pub ledger: Ledger,
    /// The worker processes.
    pub pool: Pool,
    /// The time.
    pub clock: Clock,
    /// Which one of a fleet this is, for the log.
    pub appliance: String,
    /// What Prometheus sees.
    pub metrics: Arc<Metrics>,
    /// What happens outside of a batch, for the log.
    pub diary: Diary,
    /// Who was turned away, for the log.
    pub refusals: Arc<Refusals>,
    /// Whether the log is signed as it grows.
    pub seals: Arc<Seals>,
    /// Derived from the token's secret once the first worker is up.
    pub ledger_keys: OnceCell<Arc<LedgerKeys>>,
}

/// An answer, and whether it was given before.
#[derive(Debug)]
pub struct Answer {
    /// The encoded `batch-response` or `preview-response`.
    pub body: Vec<u8>,
    /// Whether it comes from the ledger.
    pub replayed: bool,
}

/// Whether a preview also names what is odd about acceptable records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warnings {
    /// It does not: the form of the published contract.
    Hidden,
    /// It does.
    Shown,
}

/// One batch on its way down the spine.
struct Batch {
    client: Arc<Client>,
    body: Bytes,
    id: [u8; 16],
    issuer: String,
    atomic: bool,
    /// How long judging it takes.
    length: Length,
    rules: Arc<Rules>,
    signer: Arc<SignerCertificate>,
    keys: Arc<LedgerKeys>,
}

/// Judges and signs a batch, or answers what was answered before.
///
/// # Errors
/// One error for the whole request; then nothing was released, and the batch id is as it was.
pub async fn issue(
    app: Arc<Issuing>,
    client: Arc<Client>,
    body: Bytes,
    caller: Caller,
) -> Result<Answer, IssueError> {
    let batch = Batch::open(&app, client, body).await?;
    let digest = batch.digest().await?;
    // Whether an answer is still kept may be asked of a clock that is not fit to sign by.
    let about_now = clock::seconds_since_1970();
    let outcome = match app.ledger.begin(batch.reference(), digest, about_now).await? {
        Begin::Fresh(ticket) => fresh(&app, &batch, &caller, (ticket, Rate::Spend)).await,
        Begin::Resume(ticket, intent) => resume(&app, &batch, &caller, (ticket, intent)).await,
        Begin::Replay { sealed } => replay(&app, &batch, sealed).await,
        Begin::Conflict => Err(IssueError::Conflict),
        Begin::InProgress => Err(IssueError::InProgress),
        Begin::Expired => Err(IssueError::Expired),
    };
    if let Err(IssueError::Batch(fault)) = &outcome {
        app.diary.tell(batch.refused(match fault {
            BatchFault::DuplicateRecord { .. } => "duplicate_record",
            BatchFault::OverLimit { .. } => "over_limit",
        }));
    }
    outcome
}

/// Judges a batch and says what signing it would give; signs nothing, stores nothing.
///
/// # Errors
/// The same as [`issue`] up to the judgement.
pub async fn preview(
    app: Arc<Issuing>,
    client: Arc<Client>,
    body: Bytes,
    warnings: Warnings,
) -> Result<Answer, IssueError> {
    let batch = Batch::open(&app, client, body).await?;
    let now = app.clock.now()?;
    // The day's officer sees what the night will sign: neither window nor quota counts.
    let terms = Terms { rate: Rate::Spend, hours: Hours::Open };
    let mut judged = batch.judge(now, terms).await?;
    batch.reject_taken(&app, &mut judged, now).await?;
    let body = answer::preview(&batch, &judged, warnings)?;
    Ok(Answer { body, replayed: false })
}

/// Judges, intends and carries out; a batch that was refused by another's doses is judged without them.
async fn fresh(
    app: &Arc<Issuing>,
    batch: &Batch,
    caller: &Caller,
    (mut ticket, rate): (Ticket, Rate),
) -> Result<Answer, IssueError> {
    app.seals.check(Instant::now())?;
    let now = app.clock.now()?;
    let rules = batch.issuer_rules()?;
    let hours = window::hours(app, rules, now).await?;
    let mut judged = batch.judge(now, Terms { rate, hours }).await?;
    for _ in 0..INTEND_TRIES_MAX {
        if batch.atomic && judged.any_rejected() {
            // Nothing is intended, so nobody else looks whether other records' doses are taken.
            batch.reject_taken(app, &mut judged, now).await?;
            let body = answer::withheld(batch, &judged, now)?;
            count(app, batch, &judged, None);
            app.diary.tell(batch.refused("withheld"));
            return Ok(Answer { body, replayed: false });
        }
        if caller.is_gone() {
            return Err(IssueError::CallerGone);
        }
        let plan = Plan::draw(&judged, batch, now)?;
        let timer = app.metrics.commit_duration.start_timer();
        let intent = plan.intent(batch, &judged, rules);
        let intended = app.ledger.intend(ticket, intent).await?;
        timer.observe_duration();
        match intended {
            Intended::Open(attempt) => return carry_out(app, batch, judged, plan, attempt).await,
            Intended::Conflicts(again, conflicts) => {
                plan::reject_conflicts(&mut judged, &plan.conflicting(conflicts));
                ticket = again;
            }
            // Another appliance is at it, or was: the repeat gets its answer.
            Intended::Taken => return Err(IssueError::InProgress),
            Intended::OverQuota(over) => {
                app.diary.tell(batch.refused("quota"));
                let retry_after = window::next_day_opens_in(rules.signing_window(), now);
                return Err(IssueError::Quota { over, retry_after });
            }
        }
    }
    Err(IssueError::Contended)
}

/// How often may other batches take doses between our look and our intent? Each time, the conflicting
/// records are rejected and fewer are left.
const INTEND_TRIES_MAX: usize = 8;

/// Carries out an intent that a crash or a lost connection left open, under its own time and UVCIs.
async fn resume(
    app: &Arc<Issuing>,
    batch: &Batch,
    caller: &Caller,
    (ticket, intent): (Ticket, StoredIntent),
) -> Result<Answer, IssueError> {
    app.seals.check(Instant::now())?;
    match recall(app, batch, intent).await {
        Ok(Some((judged, plan))) => {
            let attempt = app.ledger.resume(ticket, clock::seconds_since_1970()).await?;
            carry_out(app, batch, judged, plan, attempt).await
        }
        Ok(None) => {
            log::warn!(batch:% = uuid(batch.id); "open intent released, the batch is judged anew");
            let now = clock::seconds_since_1970();
            let ticket = app.ledger.discard(ticket, ReleaseCode::Rules, now).await?;
            fresh(app, batch, caller, (ticket, Rate::Paid)).await
        }
        // A limit that was lowered meanwhile: the doses must not stay "in progress".
        Err(error @ IssueError::Batch(_)) => {
            let now = clock::seconds_since_1970();
            drop(app.ledger.discard(ticket, ReleaseCode::Rules, now).await?);
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// What was intended, if its key may still sign and the verdicts of its time still cover it.
async fn recall(
    app: &Arc<Issuing>,
    batch: &Batch,
    intent: StoredIntent,
) -> Result<Option<(Judged, Plan)>, IssueError> {
    let (now, months) = (app.clock.now()?, batch.issuer_rules()?.validity_months());
    let is_usable = policy::expiry(now, months, batch.signer.validity()).is_ok()
        && intent.kid == *batch.signer.kid().as_bytes()
        && intent.issuer == batch.issuer;
    if !is_usable {
        return Ok(None);
    }
    // It was intended at an hour that was right.
    let terms = Terms { rate: Rate::Paid, hours: Hours::Open };
    let mut judged = match batch.judge(intent.issued_at, terms).await {
        // The key of that time had not the validity that this one has.
        Err(IssueError::Key(_)) => return Ok(None),
        judged => judged?,
    };
    Ok(Plan::recall(&mut judged, batch, intent).map(|plan| (judged, plan)))
}

/// Signs what is intended, stores the answer and releases it; or frees the intent.
async fn carry_out(
    app: &Arc<Issuing>,
    batch: &Batch,
    judged: Judged,
    plan: Plan,
    attempt: Attempt,
) -> Result<Answer, IssueError> {
    let (answer, finished) = match certified(app, batch, &judged, &plan).await {
        Ok(certified) => certified,
        Err(error) => {
            // What failed first is what the client is told; a ledger that cannot be written now keeps
            // the intent open, and the repeat carries it out.
            let (code, now) = (release_code(&error), clock::seconds_since_1970());
            if let Err(also) = app.ledger.release(attempt, code, now).await {
                log::error!(batch:% = uuid(batch.id); "intent could not be freed: {also}");
            }
            return Err(error);
        }
    };
    let timer = app.metrics.commit_duration.start_timer();
    app.ledger.finish(attempt, finished).await?;
    timer.observe_duration();
    count(app, batch, &judged, Some(plan.certificates.len()));
    Ok(Answer { body: answer, replayed: false })
}

/// What the log is told about an intent that was not carried out.
fn release_code(error: &IssueError) -> ReleaseCode {
    match error {
        IssueError::Hsm(_) => ReleaseCode::Hsm,
        IssueError::Hcert(_) | IssueError::Incomplete => ReleaseCode::Certificate,
        _ => ReleaseCode::Internal,
    }
}

/// The answer, and what the ledger keeps of it.
async fn certified(
    app: &Arc<Issuing>,
    batch: &Batch,
    judged: &Judged,
    plan: &Plan,
) -> Result<(Vec<u8>, Finished), IssueError> {
    let signed = sign::certify(app, batch, judged, plan).await?;
    failpoint::pass(Place::BatchSigned);
    let cose_sha256 = signed.iter().map(Hcert::cose_sha256).collect();
    let answer = answer::issued(batch, judged, plan, signed)?;
    let sealed_answer = batch.seal(&answer).await?;
    let now = clock::seconds_since_1970();
    Ok((answer, Finished { sealed_answer, cose_sha256, now }))
}

async fn replay(app: &Issuing, batch: &Batch, sealed: Vec<u8>) -> Result<Answer, IssueError> {
    let (keys, body) = (Arc::clone(&batch.keys), batch.body.clone());
    let length = batch.length_with(&sealed);
    let body = cpu::run(length, move || keys.unseal(&body, &sealed)).await??;
    app.metrics.replays.inc();
    Ok(Answer { body, replayed: true })
}

impl Batch {
    /// Reads the head of the request and settles whether the client may use the issuer.
    async fn open(app: &Issuing, client: Arc<Client>, body: Bytes) -> Result<Self, IssueError> {
        let request = request::decode(&body)?;
        let (id, issuer, atomic) = (request.batch_id, request.issuer.to_owned(), request.atomic);
        let length = Length::of_items(request.records.len());
        drop(request);
        let rules = app.rules.load_full();
        // By the rules of this moment: the client was recognised before its body was read.
        let known = rules.policy.issuer(&issuer).is_some_and(|own| own.allows_client(&client.id));
        let signer = rules.signers.get(&issuer).filter(|_| known);
        let signer = Arc::clone(signer.ok_or(IssueError::IssuerNotAllowed)?);
        let keys = app.ledger_keys().await?;
        Ok(Self { client, body, id, issuer, atomic, length, rules, signer, keys })
    }

    /// The fact that the whole batch was refused after it was judged.
    fn refused(&self, code: &str) -> Fact {
        Fact::BatchRefused {
            client: self.client.id.clone(),
            batch_id: self.id,
            issuer: self.issuer.clone(),
            code: code.to_owned(),
        }
    }

    fn reference(&self) -> BatchRef {
        BatchRef { client: self.client.id.clone(), id: self.id }
    }

    fn issuer_rules(&self) -> Result<&policy::IssuerRules, IssueError> {
        self.rules.policy.issuer(&self.issuer).ok_or(IssueError::IssuerNotAllowed)
    }

    async fn digest(&self) -> Result<[u8; 32], IssueError> {
        let (keys, body) = (Arc::clone(&self.keys), self.body.clone());
        Ok(cpu::run(self.length_with(&[]), move || keys.request_digest(&body)).await?)
    }

    /// How long it takes to digest the body, which every key of an answer needs, and to go over these bytes.
    fn length_with(&self, bytes: &[u8]) -> Length {
        Length::of_bytes(self.body.len().saturating_add(bytes.len()))
    }

    async fn judge(&self, now: i64, terms: Terms) -> Result<Judged, IssueError> {
        let (rules, client) = (Arc::clone(&self.rules), Arc::clone(&self.client));
        let (body, issuer) = (self.body.clone(), self.issuer.clone());
        let signer = Arc::clone(&self.signer);
        cpu::run(self.length, move || {
            let (rules, client, issuer, signer) = (&rules, &client, &issuer, &signer);
            judge::Bench { rules, client, issuer, signer, now, terms }.judge(&body)
        })
        .await?
    }

    /// Rejects the records whose doses other batches have now.
    async fn reject_taken(
        &self,
        app: &Issuing,
        judged: &mut Judged,
        now: i64,
    ) -> Result<(), IssueError> {
        let pseudonyms = plan::pseudonyms(judged, &self.keys);
        let (values, except) = (pseudonyms.values(), Some(self.reference()));
        let reissue = plan::reissue(self.issuer_rules()?);
        let conflicts = app.ledger.conflicts(values, except, reissue, now).await?;
        plan::reject_conflicts(judged, &pseudonyms.conflicting(conflicts));
        Ok(())
    }

    async fn seal(&self, answer: &[u8]) -> Result<Vec<u8>, IssueError> {
        let (keys, body, answer) = (Arc::clone(&self.keys), self.body.clone(), answer.to_vec());
        let length = self.length_with(&answer);
        Ok(cpu::run(length, move || keys.seal(&body, &answer)).await??)
    }
}

impl Issuing {
    /// The keys of the ledger; waits for a first live worker, whose token has the secret.
    ///
    /// # Errors
    /// [`IssueError::Hsm`] without a token, [`IssueError::Ledger`] where it belongs to another secret.
    pub async fn ledger_keys(&self) -> Result<Arc<LedgerKeys>, IssueError> {
        let keys = self.ledger_keys.get_or_try_init(async || {
            let secret = self.pool.token_secret().await?;
            let keys = LedgerKeys::derive(secret.expose());
            self.ledger.bind(&keys).await?;
            Ok::<_, IssueError>(Arc::new(keys))
        });
        Ok(Arc::clone(keys.await?))
    }
}

/// Counts what a batch came to, once; `certificates` where they were released.
fn count(app: &Issuing, batch: &Batch, judged: &Judged, certificates: Option<usize>) {
    let metrics = &app.metrics;
    let labels = [batch.issuer.as_str(), batch.signer.alg().name()];
    let released = certificates.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    metrics.signed.with_label_values(&labels).inc_by(released);
    metrics.batch_records.observe(f64::from(u32::try_from(judged.records.len()).unwrap_or(0)));
    for verdict in &judged.records {
        let outcome = match verdict {
            Ok(_) if certificates.is_some() => "issued",
            Ok(_) => "withheld",
            Err(_) => "rejected",
        };
        metrics.records.with_label_values(&[&batch.issuer, outcome]).inc();
    }
    for code in judged.codes() {
        metrics.rejected.with_label_values(&[code]).inc();
    }
    for code in judged.warnings() {
        metrics.warnings.with_label_values(&[code]).inc();
    }
}

/// A batch id as people write it.
fn uuid(id: [u8; 16]) -> uuid::Uuid {
    uuid::Uuid::from_bytes(id)
}
