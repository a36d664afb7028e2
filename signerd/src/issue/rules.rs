//! The rules in force: all that a reload replaces, as one.
//!
//! A batch takes the rules when it comes in and keeps them to its end, so that a reload in the middle
//! neither drops it nor judges half of it by other rules. It promises that policy, registry, verifiers,
//! signer certificates and access table are of one reading of the files.

use std::collections::HashMap;
use std::sync::Arc;

use policy::{Approved, Entry, IssuerRules, Policy, Reason};
use rayon::prelude::*;

use crate::access::Access;
use crate::cpu;
use crate::ends::End;
use crate::hcert::SignerCertificate;
use crate::statement::{Units, Verifiers};
use crate::wire::record::DecodedRecord;
use crate::wire::request::RecordEntry;

/// What one reading of the configuration came to.
#[derive(Debug)]
pub struct Rules {
    /// The rules of the issuers, the value sets and the registry of units.
    pub policy: Policy,
    /// The gateways whose identity statements count.
    pub verifiers: Verifiers,
    /// The units whose signatures count.
    pub units: Units,
    /// The signer certificate of each issuer.
    pub signers: HashMap<String, Arc<SignerCertificate>>,
    /// Who may use which issuer, and how fast.
    pub access: Access,
    /// When the files that trust rests on end.
    pub ends: Vec<End>,
}

impl Rules {
    /// Judges decoded records at the time `now`, each with its statements, spread over the cores. A
    /// record that could not be decoded keeps that one reason.
    pub fn verdicts(
        &self,
        issuer: &IssuerRules,
        entries: &[RecordEntry<'_>],
        decoded: Vec<Result<DecodedRecord, Reason>>,
        now: i64,
    ) -> Vec<Result<Approved, Vec<Reason>>> {
        let entries = entries.par_iter().zip(decoded).with_min_len(cpu::MOMENT_ITEMS);
        let verdicts = entries.map(|(entry, decoded)| {
            let decoded = decoded.map_err(|reason| vec![reason])?;
            policy::judge(&self.evidence(entry, &decoded, now), issuer, &self.policy, now)
        });
        verdicts.collect()
    }

    fn evidence<'a>(
        &self,
        entry: &'a RecordEntry<'a>,
        decoded: &'a DecodedRecord,
        now: i64,
    ) -> Entry<'a> {
        Entry {
            record: &decoded.record,
            selected: entry.doses.as_deref(),
            holder_digest: decoded.holder_digest,
            identity: self.verifiers.check(entry.identity_statement, now),
            facility: self.units.check(entry.facility_signature, entry.record, now),
        }
    }
}
