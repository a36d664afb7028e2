//! From an approved dose to the claims of its certificate.

use policy::value_set::COVID_19;
use policy::{Approved, ApprovedDose, IssuerRules};

use super::plan::Planned;
use crate::hcert::{Claims, Dcc, Name, Vaccination};

/// Where every vaccination that we certify took place: the statements come from Viet Nam's own units.
const COUNTRY_OF_VACCINATION: &str = "VN";

/// Fills the certificate of one dose; every value was approved by the judge.
pub(super) fn claims(
    rules: &IssuerRules,
    approved: &Approved,
    dose: &ApprovedDose,
    planned: &Planned,
    issued_at: i64,
) -> Claims {
    let names = approved.names();
    Claims {
        iss: rules.iss().to_owned(),
        issued_at,
        expires_at: planned.expires_at,
        dcc: Dcc {
            name: Name {
                family: names.r#fn.clone(),
                given: names.gn.clone(),
                family_standard: names.fnt.clone(),
                given_standard: names.gnt.clone(),
            },
            date_of_birth: approved.date_of_birth().to_owned(),
            vaccination: Vaccination {
                ci: planned.uvci.to_string(),
                co: COUNTRY_OF_VACCINATION.to_owned(),
                dn: dose.dn,
                dt: dose.date.clone(),
                is: rules.issuing_body().to_owned(),
                ma: dose.manufacturer.clone(),
                mp: dose.product.clone(),
                sd: dose.sd,
                tg: COVID_19.to_owned(),
                vp: dose.vaccine.clone(),
            },
        },
    }
}
