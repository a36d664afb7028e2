//! From a plan to verified certificates, in chunks that overlap.
//!
//! While the HSM signs one chunk, another is encoded and a third verified, packed and read back. The
//! order of the plan is kept. The first failure ends the batch; nothing of it is released.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::claims::claims;
use super::judge::Judged;
use super::plan::Plan;
use super::{Batch, IssueError, Issuing};
use crate::cpu;
use crate::hcert::{self, Claims, Hcert, Unsigned};

/// How many certificates travel together? Enough to keep every worker busy while the chunk before is
/// verified, few enough that the last chunk of a batch is short.
const CHUNK: usize = 64;

/// How many chunks of one batch are with the HSM at once? Two keep it busy while a third is encoded; the
/// fourth covers the hand-over. More would only make other batches wait.
pub const CHUNKS_AT_THE_HSM: usize = 4;

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
    signer: Arc<hcert::SignerCertificate>,
    key: String,
    window: Arc<Semaphore>,
}

impl Chunk {
    async fn certify(self, claims: Vec<Claims>) -> Result<Vec<Hcert>, IssueError> {
        // The semaphore is never closed; the place is free again once the signatures are back.
        let place = self.window.acquire().await.map_err(|_| cpu::Lost)?;
        let signer = Arc::clone(&self.signer);
        let (unsigned, digests) = cpu::run(move || encode(&signer, &claims)).await??;
        let signatures = self.app.pool.sign(&self.key, digests).await?;
        drop(place);
        let signer = self.signer;
        cpu::run(move || seal(&signer, unsigned, &signatures)).await?
    }
}

type Encoded = (Vec<Unsigned>, Vec<[u8; 32]>);

fn encode(signer: &hcert::SignerCertificate, claims: &[Claims]) -> Result<Encoded, IssueError> {
    let unsigned = claims
        .iter()
        .map(|claims| hcert::prepare(signer.alg(), signer.kid(), claims))
        .collect::<Result<Vec<_>, _>>()?;
    let digests = unsigned.iter().map(Unsigned::digest).collect();
    Ok((unsigned, digests))
}

/// Verifies, packs and reads back; a signature that does not verify ends here.
fn seal(
    signer: &hcert::SignerCertificate,
    unsigned: Vec<Unsigned>,
    signatures: &[Vec<u8>],
) -> Result<Vec<Hcert>, IssueError> {
    let pairs = unsigned.into_iter().zip(signatures);
    pairs.map(|(unsigned, signature)| Ok(unsigned.seal(signature, signer)?)).collect()
}
