//! A ledger belongs to one secret of the token.

use signerd::ledger::{Blame, LedgerError, LedgerKeys, Retry};

use super::place::Place;

#[tokio::test]
async fn a_ledger_is_bound_to_the_secret_of_its_first_use() {
    // The secret of the first use is known again, also after a start; with another one, under which no dose
    // would be recognised, the ledger is refused, and what is kept of the secret does not tell it.
    let place = Place::new();
    let ledger = place.open();
    let (ours, others) = (LedgerKeys::derive(&[1; 32]), LedgerKeys::derive(&[2; 32]));
    ledger.bind(&ours).await.unwrap();
    ledger.bind(&ours).await.unwrap();
    ledger.close().await;
    let ledger = place.open();
    let refusal = ledger.bind(&others).await.unwrap_err();
    assert!(matches!(refusal, LedgerError::OtherSecret));
    assert_eq!((refusal.blame(), refusal.retry()), (Blame::Operator, Retry::Later));
    ledger.bind(&ours).await.unwrap();
    assert_ne!(ours.mark(), others.mark());
}
