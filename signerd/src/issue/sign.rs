//! From a plan to verified certificates, in chunks that overlap.
//!
//! While the HSM signs one chunk, another is encoded and a third verified, packed and read back. The
//! order of the plan is kept. The first failure ends the batch; nothing of it is released.

use std::sync::Arc;

use policy::Catalogue;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::claims::claims;
use super::judge::Judged;
use super::plan::Plan;
use super::{Batch, IssueError, Issuing, Rules};
use crate::cpu::{self, Length};
use crate::hcert::{self, Claims, Hcert, HcertError, Refused, Unsigned};

/// How many certificates travel together? Enough to keep every worker busy while the chunk before is
/// verified, few enough that the last chunk of a batch is short.
const CHUNK: usize = 64;

/// How many chunks of one batch are with the HSM at once? Two keep it busy while a third is encoded; the
/// fourth covers the hand-over. More would only make other batches wait.
pub const CHUNKS_AT_THE_HSM: usize = 4;

/// How often is signed again what does not verify, before the batch is given up? A device that errs now and
/// then is outlasted, one that always does is found out by its proofs meanwhile.
const SIGNED_AGAIN_MAX: usize = 3;

/// Signs everything in the plan.
pub(super) async fn certify(
    app: &Arc<Issuing>,
    batch: &Batch,
    judged: &Judged,
    plan: &Plan,
) -> Result<Vec<Hcert>, IssueError> {
    let rules = batch.issuer_rules()?;
    let key = rules.key().to_owned();
    let window = Arc::new(Semaphore::new(CHUNKS_AT_THE_HSM));
    let mut chunks = JoinSet::new();
    for (index, planned) in plan.certificates.chunks(CHUNK).enumerate() {
        let claims: Vec<Claims> = planned
            .iter()
            .filter_map(|planned| {
                let approved = judged.records.get(planned.place.record)?.as_ref().ok()?;
                let dose = approved.doses().get(planned.place.approved)?;
                Some(claims(rules, approved, dose, planned, plan.issued_at))
            })
            .collect();
        let chunk = Chunk {
            app: Arc::clone(app),
            rules: Arc::clone(&batch.rules),
            signer: Arc::clone(&batch.signer),
            key: key.clone(),
            window: Arc::clone(&window),
        };
        chunks.spawn(async move { (index, chunk.certify(claims).await) });
    }
    let mut signed = Vec::new();
    while let Some(done) = chunks.join_next().await {
        let (index, hcerts) = done.map_err(|_| cpu::Lost)?;
        signed.push((index, hcerts?));
    }
    signed.sort_by_key(|(index, _)| *index);
    let signed: Vec<Hcert> = signed.into_iter().flat_map(|(_, hcerts)| hcerts).collect();
    if signed.len() == plan.certificates.len() { Ok(signed) } else { Err(IssueError::Incomplete) }
}

/// What every chunk of a batch shares.
struct Chunk {
    app: Arc<Issuing>,
    rules: Arc<Rules>,
    signer: Arc<hcert::SignerCertificate>,
    key: String,
    window: Arc<Semaphore>,
}

impl Chunk {
    async fn certify(self, claims: Vec<Claims>) -> Result<Vec<Hcert>, IssueError> {
        // The semaphore is never closed; the place is free again once the signatures are back.
        let place = self.window.acquire().await.map_err(|_| cpu::Lost)?;
        let signer = Arc::clone(&self.signer);
        let rules = Arc::clone(&self.rules);
        let length = Length::of_items(claims.len());
        let (unsigned, digests) =
            cpu::run(length, move || encode(&signer, &claims, rules.policy.catalogue())).await??;
        let signatures = self.app.pool.sign(&self.key, digests).await?;
        drop(place);
        let signer = Arc::clone(&self.signer);
        let Sealed { mut hcerts, refused } =
            cpu::run(length, move || seal(&signer, number(unsigned), &signatures)).await??;
        if !refused.is_empty() {
            hcerts.extend(self.sign_again(refused).await?);
            hcerts.sort_by_key(|(place, _)| *place);
        }
        Ok(hcerts.into_iter().map(|(_, hcert)| hcert).collect())
    }

    /// Has signed again what came with a signature that does not verify: a bit that fell over in a device or
    /// on the way. Each time every worker proves its keys before it signs on; where that does not help either,
    /// it is the batch's end.
    async fn sign_again(
        &self,
        mut refused: Vec<Numbered<Refused>>,
    ) -> Result<Vec<Numbered<Hcert>>, IssueError> {
        let mut hcerts = Vec::with_capacity(refused.len());
        for _ in 0..SIGNED_AGAIN_MAX {
            self.doubt(refused.len());
            let unsigned: Vec<_> =
                refused.into_iter().map(|(place, refused)| (place, refused.unsigned)).collect();
            let digests = unsigned.iter().map(|(_, unsigned)| unsigned.digest()).collect();
            let signatures = self.app.pool.sign(&self.key, digests).await?;
            let signer = Arc::clone(&self.signer);
            let sealed =
                cpu::run(Length::Short, move || seal(&signer, unsigned, &signatures)).await??;
            hcerts.extend(sealed.hcerts);
            refused = sealed.refused;
            if refused.is_empty() {
                return Ok(hcerts);
            }
        }
        self.doubt(refused.len());
        let error = refused.into_iter().next().map(|(_, refused)| refused.error.into());
        Err(error.unwrap_or(IssueError::Incomplete))
    }

    /// Tells of signatures that do not verify, and lets the workers prove themselves.
    fn doubt(&self, count: usize) {
        log::error!(count, key:% = self.key; "the token gave signatures that do not verify; none left");
        self.app.metrics.signatures_refused.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        self.app.pool.doubt();
    }
}

type Encoded = (Vec<Unsigned>, Vec<[u8; 32]>);

fn encode(
    signer: &hcert::SignerCertificate,
    claims: &[Claims],
    codes: &Catalogue,
) -> Result<Encoded, IssueError> {
    let unsigned = claims
        .iter()
        .map(|claims| hcert::prepare(signer.alg(), signer.kid(), claims, codes))
        .collect::<Result<Vec<_>, _>>()?;
    let digests = unsigned.iter().map(Unsigned::digest).collect();
    Ok((unsigned, digests))
}

/// With its place in the chunk.
type Numbered<T> = (usize, T);

fn number<T>(values: Vec<T>) -> Vec<Numbered<T>> {
    values.into_iter().enumerate().collect()
}

/// What became of a chunk.
struct Sealed {
    hcerts: Vec<Numbered<Hcert>>,
    /// Those whose signature does not verify.
    refused: Vec<Numbered<Refused>>,
}

/// Verifies, packs and reads back.
fn seal(
    signer: &hcert::SignerCertificate,
    unsigned: Vec<Numbered<Unsigned>>,
    signatures: &[Vec<u8>],
) -> Result<Sealed, IssueError> {
    let mut sealed = Sealed { hcerts: Vec::with_capacity(unsigned.len()), refused: Vec::new() };
    for ((place, unsigned), signature) in unsigned.into_iter().zip(signatures) {
        match unsigned.verify(signature, signer) {
            Ok(verified) => sealed.hcerts.push((place, verified.pack()?)),
            Err(refused) if matches!(refused.error, HcertError::Signature(_)) => {
                sealed.refused.push((place, *refused));
            }
            Err(refused) => return Err(refused.error.into()),
        }
    }
    Ok(sealed)
}
