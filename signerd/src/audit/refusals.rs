//! Refused requests on their way to the log: counted, so that nobody can fill it by knocking.
//!
//! In goes every refusal with its peer, out comes one entry for each peer and code in about a minute. A
//! batch that was refused after its judgement has an entry of its own besides; this is for those who were
//! turned away before.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Diary;
use crate::tlog::fact::{Fact, Peer};

/// How often what was counted is told.
const PULSE: Duration = Duration::from_secs(60);
/// Most peers and codes that are told apart in that time: more are strangers' certificates, and count as
/// nobody's, so that memory and log are bounded by the number of codes.
const ROWS_MAX: usize = 256;

/// What was refused since it was last told.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<BTreeMap<(Peer, &'static str), u32>>);

impl Refusals {
    /// Counts a refusal.
    pub fn count(&self, peer: Peer, code: &'static str) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (peer, code);
        let is_one_too_many = rows.len() >= ROWS_MAX && !rows.contains_key(&key);
        let key = if is_one_too_many { (Peer::Nobody, code) } else { key };
        let count = rows.entry(key).or_default();
        *count = count.saturating_add(1);
    }

    /// Tells the diary what was counted.
    pub fn tell(&self, diary: &Diary) {
        let rows = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for ((peer, code), count) in rows {
            diary.tell(Fact::RequestsRefused { peer, code: code.to_owned(), count });
        }
    }

    /// Tells it every minute, for ever.
    pub async fn keep_telling(&self, diary: &Diary) {
        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pulse.tick().await;
            self.tell(diary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(refusals: &Refusals) -> Vec<((Peer, &'static str), u32)> {
        refusals.0.lock().unwrap().clone().into_iter().collect()
    }

    #[test]
    fn refusals_are_counted_by_peer_and_code() {
        // The same again is one row with a number; another peer or another code is another row; telling
        // begins anew.
        let refusals = Refusals::default();
        let client = || Peer::Client("moh-issuing".to_owned());
        refusals.count(client(), "issuer.not_allowed");
        refusals.count(client(), "issuer.not_allowed");
        refusals.count(client(), "rate.exceeded");
        refusals.count(Peer::Nobody, "tls.revoked");
        let counts: Vec<u32> = rows(&refusals).into_iter().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 1, 1]);
        refusals.tell(&Diary::new().0);
        assert_eq!(rows(&refusals), []);
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        // Beyond the bound strangers share one row, and none is lost; who is known already still counts
        // as himself.
        let refusals = Refusals::default();
        let stranger = |number: usize| {
            let mut sha256 = [0; 32];
            sha256[..8].copy_from_slice(&number.to_be_bytes());
            Peer::Stranger(sha256)
        };
        for number in 0..ROWS_MAX + 100 {
            refusals.count(stranger(number), "client.unknown");
        }
        refusals.count(stranger(3), "client.unknown");
        let rows = rows(&refusals);
        assert_eq!(rows.len(), ROWS_MAX + 1);
        assert!(rows.contains(&((Peer::Nobody, "client.unknown"), 100)));
        assert!(rows.contains(&((stranger(3), "client.unknown"), 2)));
    }
}
