//! Two tokens with the same keys: each can fail for itself, and the daemon signs as long as one does not.

use std::process::Command;
use std::time::{Duration, Instant};

use signerd_tests::pool::{LIVE, both_live, two_workers};
use signerd_tests::shim::{Act, Back, Code, Function, Line, LogIn, Shim, State};
use signerd_tests::{Batch, Client, Daemon, Evidence, Setup, Verifier};

/// How long may the daemon take to sign on both again?
const BACK: Duration = Duration::from_secs(5);

/// A set-up with a token and its clone, each with one worker and failing by a script of its own.
struct Pair {
    setup: Setup,
    first: Shim,
    second: Shim,
}

impl Pair {
    fn new() -> Self {
        let setup = two_workers(&[("workers", 1), ("call_deadline_ms", 1_000)]);
        let from_to = [setup.path("tokens"), setup.path("tokens-b")];
        assert!(Command::new("cp").arg("-a").args(&from_to).status().unwrap().success());
        let [tokens, clone] = from_to.map(|path| path.display().to_string());
        let conf = setup.text("softhsm2.conf").replace(&tokens, &clone);
        std::fs::write(setup.path("softhsm2-b.conf"), conf).unwrap();
        let text = setup.text("hsm.toml");
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
            line.split('"').nth(1).unwrap().to_owned()
        };
        let [module, label, serial] = ["path", "label", "serial"].map(value);
        let second = Shim::before(module.as_ref(), &setup, "faults-b");
        let [real, script] = second.environment().map(|(_, path)| path.display().to_string());
        let replica = format!(
            "[[replica]]\nlabel = \"{label}\"\nserial = \"{serial}\"\n\n\
             [replica.module]\npath = \"{shim}\"\n\n[replica.module.environment]\n\
             SOFTHSM2_CONF = \"{conf}\"\nPKCS11_FAULTS_MODULE = \"{real}\"\n\
             PKCS11_FAULTS_SCRIPT = \"{script}\"\n\n[pool]",
            shim = Shim::module().display(),
            conf = setup.path("softhsm2-b.conf").display(),
        );
        let first = Shim::under(&setup);
        setup.change("hsm.toml", "[pool]", &replica);
        Self { setup, first, second }
    }
}

fn signatures(shim: &Shim) -> u64 {
    shim.tally().calls(Function::C_Sign)
}

/// Signs a batch that must be answered.
async fn sign(pair: &Pair, people: usize) {
    let batch = Batch::about(&Evidence::of(&pair.setup), "vn-moh-ec", people);
    let answer = Client::new(&pair.setup).sign(batch.body).await.unwrap();
    assert_eq!(answer.statuses(), vec!["issued"; people], "{answer:?}");
    assert_eq!(Verifier::of(&pair.setup).verify(&answer), 2 * people);
}

/// Signs until the tokens have made so many signatures each since the counts that are given.
async fn sign_until_both_did(pair: &Pair, before: [u64; 2]) {
    let begin = Instant::now();
    loop {
        sign(pair, 40).await;
        let now = [&pair.first, &pair.second].map(signatures);
        if now.iter().zip(before).all(|(now, before)| *now > before) {
            return;
        }
        assert!(begin.elapsed() < BACK, "{before:?} {now:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tokens_share_the_work_and_one_is_enough() {
    // Both sign. While one is away, dead in every call, or hangs, every batch is signed by the other one
    // without a refusal; it is taken back by itself, and no PIN is tried in vain.
    let pair = Pair::new();
    let mut daemon = Daemon::ready(&pair.setup);
    both_live(&mut daemon);
    sign_until_both_did(&pair, [&pair.first, &pair.second].map(signatures)).await;
    let failures = [
        Line::token(State::Away(Back::Process)),
        Line::on_any(Act::Return(Code::CKR_DEVICE_ERROR)),
        Line::on(Function::C_Sign, Act::Hang),
    ];
    for (number, failure) in failures.into_iter().enumerate() {
        let (failing, other) = match number % 2 {
            0 => (&pair.second, &pair.first),
            _ => (&pair.first, &pair.second),
        };
        failing.play([failure]);
        for _ in 0..6 {
            sign(&pair, 40).await;
        }
        assert!(signatures(other) > 0);
        daemon.wait_until("left with one", |daemon| daemon.metric(LIVE) == 1.0);
        sign(&pair, 40).await;
        failing.mend();
        both_live(&mut daemon);
        sign_until_both_did(&pair, [&pair.first, &pair.second].map(signatures)).await;
    }
    for shim in [&pair.first, &pair.second] {
        assert_eq!(shim.tally().log_ins(LogIn::Wrong), 0);
    }
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_signs_with_another_key_is_left_out() {
    // Where one token signs with another key than the certificate's, none of its signatures leaves: every
    // batch is answered with certificates that verify, and the token is used again once it signs rightly.
    let pair = Pair::new();
    let mut daemon = Daemon::ready(&pair.setup);
    both_live(&mut daemon);
    pair.second.play([Line::on(Function::C_Sign, Act::SignedBy("audit".to_owned()))]);
    for _ in 0..10 {
        sign(&pair, 40).await;
    }
    daemon.wait_until("left with one", |daemon| daemon.metric(LIVE) == 1.0);
    assert!(daemon.metric("signerd_hsm_signatures_refused_total") > 0.0);
    pair.second.mend();
    both_live(&mut daemon);
    sign_until_both_did(&pair, [&pair.first, &pair.second].map(signatures)).await;
    assert!(daemon.stop().success());
}
