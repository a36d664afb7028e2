//! When files that trust rests on end: certificates, and revocation lists past their next update.
//!
//! In: DER. Out: for each file the earliest end, by which metrics and readiness warn before clients or
//! facilities are refused. What cannot be read has no end here; who uses it has refused it.

use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::DecodeOwned;
use x509_cert::time::Time;

/// A file, and when the first thing in it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The file, as the configuration names it.
    pub file: String,
    /// What is in it, for people.
    pub what: &'static str,
    /// The last second it is good, since 1970.
    pub at: i64,
    /// Whether nothing else can stand in for it, so that past its end peers are refused.
    pub needed: bool,
}

/// The end of a file of certificates; others may stand beside it.
pub fn of_certificates<'a>(file: &str, ders: impl IntoIterator<Item = &'a [u8]>) -> Option<End> {
    earliest((file, "certificate", false), ders, |certificate: Certificate| {
        Some(certificate.tbs_certificate().validity().not_after)
    })
}

/// The end of a file of revocation lists.
pub fn of_revocation_lists<'a>(
    file: &str,
    ders: impl IntoIterator<Item = &'a [u8]>,
) -> Option<End> {
    earliest((file, "revocation list", true), ders, |list: CertificateList| {
        list.tbs_cert_list.next_update
    })
}

fn earliest<'a, T: DecodeOwned>(
    (file, what, needed): (&str, &'static str, bool),
    ders: impl IntoIterator<Item = &'a [u8]>,
    end: impl Fn(T) -> Option<Time>,
) -> Option<End> {
    let ends = ders.into_iter().filter_map(|der| end(T::from_der(der).ok()?));
    let first = ends.map(|time| time.to_unix_duration().as_secs()).min()?;
    let at = i64::try_from(first).unwrap_or(i64::MAX);
    Some(End { file: file.to_owned(), what, at, needed })
}
