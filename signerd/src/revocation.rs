//! Revocation lists as they are loaded: of each authority the newest, and which authorities have one.
//!
//! In: lists in DER, in any order and number. Out: those that count. A verifier looks at the first list
//! that fits and at no other, so that an old list left beside the new one would hide what was revoked
//! since.

use std::collections::HashMap;

use rustls_pki_types::CertificateRevocationListDer;
use x509_cert::Certificate;
use x509_cert::certificate::Rfc5280;
use x509_cert::crl::CertificateList;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};

/// `authorityKeyIdentifier` and `issuingDistributionPoint` (RFC 5280 §5.2): lists that differ in them
/// are not about the same certificates.
const SCOPES: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("2.5.29.35"), ObjectIdentifier::new_unwrap("2.5.29.28")];

/// Of the lists of one authority and scope, the one that was made last. What cannot be read stays: who
/// uses it will say so.
pub fn newest(
    lists: Vec<CertificateRevocationListDer<'static>>,
) -> Vec<CertificateRevocationListDer<'static>> {
    let mut kept = Vec::new();
    let mut by_scope: HashMap<Vec<Vec<u8>>, (u64, CertificateRevocationListDer<'static>)> =
        HashMap::new();
    for list in lists {
        let Some((scope, made_at)) = read(&list) else {
            kept.push(list);
            continue;
        };
        match by_scope.get_mut(&scope) {
            Some((known, _)) if *known >= made_at => {}
            _ => drop(by_scope.insert(scope, (made_at, list))),
        }
    }
    kept.extend(by_scope.into_values().map(|(_, list)| list));
    kept
}

/// The subjects of authorities that have no list, as RFC 4514 strings.
pub fn without_list<'a>(
    authorities: impl IntoIterator<Item = &'a [u8]>,
    lists: &[CertificateRevocationListDer<'_>],
) -> Vec<String> {
    let issuers: Vec<_> = lists
        .iter()
        .filter_map(|list| CertificateList::<Rfc5280>::from_der(list).ok())
        .map(|list| list.tbs_cert_list.issuer)
        .collect();
    let subjects = authorities.into_iter().filter_map(|der| {
        let authority = Certificate::from_der(der).ok()?;
        Some(authority.tbs_certificate().subject().clone())
    });
    subjects
        .filter(|subject| !issuers.contains(subject))
        .map(|subject| subject.to_string())
        .collect()
}

/// What a list is about, and when it was made, in seconds since 1970.
fn read(list: &CertificateRevocationListDer<'_>) -> Option<(Vec<Vec<u8>>, u64)> {
    let list = CertificateList::<Rfc5280>::from_der(list).ok()?.tbs_cert_list;
    let mut scope = vec![list.issuer.to_der().ok()?];
    let extensions = list.crl_extensions.unwrap_or_default();
    for extension in extensions.iter().filter(|extension| SCOPES.contains(&extension.extn_id)) {
        scope.push(extension.to_der().ok()?);
    }
    Some((scope, list.this_update.to_unix_duration().as_secs()))
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
        KeyIdMethod, KeyPair, SerialNumber,
    };

    use super::*;

    struct Authority {
        issuer: Issuer<'static, KeyPair>,
        der: Vec<u8>,
    }

    fn authority(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Authority { issuer: Issuer::new(params, key), der }
    }

    impl Authority {
        fn list(&self, year: i32) -> CertificateRevocationListDer<'static> {
            let params = CertificateRevocationListParams {
                this_update: rcgen::date_time_ymd(year, 1, 1),
                next_update: rcgen::date_time_ymd(2040, 1, 1),
                crl_number: SerialNumber::from(1),
                issuing_distribution_point: None,
                revoked_certs: Vec::new(),
                key_identifier_method: KeyIdMethod::Sha256,
            };
            params.signed_by(&self.issuer).unwrap().der().clone()
        }
    }

    #[test]
    fn of_each_authority_the_newest_list_counts() {
        // An old list beside the new one is left out, in whatever order they stand; lists of other
        // authorities, and what is no list, stay.
        let (one, other) = (authority("one"), authority("other"));
        let (old, new, others) = (one.list(2025), one.list(2026), other.list(2024));
        let junk = CertificateRevocationListDer::from(vec![1, 2, 3]);
        for lists in [[&old, &new, &others, &junk], [&others, &new, &junk, &old]] {
            let kept = newest(lists.into_iter().cloned().collect());
            assert_eq!(kept.len(), 3);
            assert!(kept.contains(&new) && kept.contains(&others) && kept.contains(&junk));
        }
    }

    #[test]
    fn an_authority_without_a_list_is_named() {
        // Of the authorities those are named for which there is no list.
        let (one, other) = (authority("one"), authority("other"));
        let lists = [one.list(2026)];
        let named = without_list([one.der.as_slice(), other.der.as_slice()], &lists);
        assert_eq!(named.len(), 1);
        assert!(named[0].contains("CN=other"), "{named:?}");
    }
}
