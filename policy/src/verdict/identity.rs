//! The rule about the person's identity (Công văn 1908, Annex 01-2 and 02-3): only who the national
//! population database knows by exactly these data may be certified.

use super::case::{Case, Report};
use crate::{
    calendar::SECONDS_PER_DAY,
    evidence::{Evidence, IdentityStatement, Outcome},
    issuer::Assurance,
    reason::ReasonCode::{
        IdentityHolderDiffers, IdentityMismatched, IdentityNotFound, IdentityStatementInvalid,
        IdentityStatementMissing, IdentityStatementStale,
    },
};

const PATH: &str = "/identity_statement";
/// How far the verifier's clock may be ahead of ours.
const CLOCK_AHEAD_SECONDS_MAX: i64 = 300;

/// There is a statement, of this holder, recent, and it says "matched". An issuer of the level
/// "asserted" does without one; a statement that is there counts all the same.
pub(super) fn person_is_the_databases(case: &Case<'_>, report: &mut Report) {
    match &case.entry.identity {
        Evidence::Missing if case.rules.assurance() == Assurance::Asserted => {}
        Evidence::Missing => report.add(IdentityStatementMissing, PATH),
        Evidence::Refused(code) => report.add(*code, PATH),
        Evidence::Verified(statement) => statement_speaks_for_holder(case, statement, report),
    }
}

fn statement_speaks_for_holder(
    case: &Case<'_>,
    statement: &IdentityStatement,
    report: &mut Report,
) {
    let age_seconds = case.now.saturating_sub(statement.checked_at);
    let age_days_max = case.rules.statement_age_days_max();
    let age_days_max = statement.age_days_max.map_or(age_days_max, |own| own.min(age_days_max));
    let age_seconds_max = i64::from(age_days_max) * SECONDS_PER_DAY;
    if age_seconds < -CLOCK_AHEAD_SECONDS_MAX {
        report.add(IdentityStatementInvalid, PATH);
    }
    if age_seconds > age_seconds_max {
        report.add(IdentityStatementStale, PATH);
    }
    if statement.holder_digest != case.entry.holder_digest {
        // What it says about somebody else says nothing about this holder.
        return report.add(IdentityHolderDiffers, PATH);
    }
    match statement.outcome {
        Outcome::Matched => {}
        Outcome::Mismatched => report.add(IdentityMismatched, PATH),
        Outcome::NotFound => report.add(IdentityNotFound, PATH),
    }
}
