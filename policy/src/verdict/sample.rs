//! A record that is in order, and a policy by which it is; tests spoil one thing at a time.

use super::Entry;
use crate::{
    evidence::{Evidence, FacilitySigner, IdentityStatement, Outcome},
    issuer::IssuerRules,
    policy_file::Policy,
    record::{Dose, Holder, Record},
    selection::Selection,
};

/// 2022-04-15, 10:00 in Viet Nam.
pub(crate) const NOW: i64 = 1_649_991_600;
pub(crate) const HOLDER_DIGEST: [u8; 32] = [0x11; 32];

const POLICY: &str = include_str!("sample.toml");

/// The text of the policy, with values of `[issuer.vn-moh]` replaced.
pub(crate) fn policy_text(replaced: &[(&str, &str)]) -> String {
    let mut text = POLICY.to_owned();
    for (key, value) in replaced {
        let start = text.find(&format!("\n{key} = ")).expect("a key of the sample") + 1;
        let end = start + text[start..].find('\n').expect("a line");
        text.replace_range(start..end, &format!("{key} = {value}"));
    }
    text
}

pub(crate) fn policy(replaced: &[(&str, &str)]) -> Policy {
    Policy::parse(&policy_text(replaced)).expect("a good policy")
}

pub(crate) fn rules(policy: &Policy) -> &IssuerRules {
    policy.issuer("vn-moh").expect("the sample's issuer")
}

/// Two doses of Comirnaty.
pub(crate) fn record() -> Record {
    Record {
        holder: Holder {
            full_name: "Nguyễn Bảo Duy".to_owned(),
            surname: None,
            date_of_birth: "1983-10-10".to_owned(),
            nationality: "VN".to_owned(),
            national_id: Some("079083001234".to_owned()),
            passport: None,
        },
        doses: vec![dose(1, "2021-06-20"), dose(2, "2021-07-20")],
        total_doses: 2,
    }
}

pub(crate) fn dose(number: u8, date: &str) -> Dose {
    Dose {
        number,
        date: date.to_owned(),
        vaccine: "1119349007".to_owned(),
        product: "EU/1/20/1528".to_owned(),
        manufacturer: "ORG-100030215".to_owned(),
        facility: "79-TTYT-Q1".to_owned(),
        managing_facility: None,
    }
}

pub(crate) fn entry(record: &Record) -> Entry<'_> {
    Entry {
        record,
        selected: None,
        holder_digest: HOLDER_DIGEST,
        identity: Evidence::Verified(statement()),
        facility: signed_by("79-TTYT-Q1"),
    }
}

pub(crate) fn statement() -> IdentityStatement {
    IdentityStatement {
        holder_digest: HOLDER_DIGEST,
        outcome: Outcome::Matched,
        checked_at: NOW - 86_400,
        age_days_max: None,
    }
}

pub(crate) fn signed_by(unit: &str) -> Evidence<FacilitySigner> {
    Evidence::Verified(FacilitySigner { unit: unit.to_owned() })
}

/// What an issuer that certifies each dose certifies of a record.
pub(crate) fn selection(record: &Record, requested: Option<&[u8]>) -> Selection {
    Selection::new(rules(&policy(&[])), record, requested)
}
