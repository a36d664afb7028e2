//! What a verification costs by itself: the library's, with a key that is parsed already.
//!
//! Beside each figure of processor time stands what nobody can take away from it on this machine, on this day
//! and with as many cores at work: two cores of one piece of silicon are each slower than one alone.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    ParsedPublicKey, RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaKeyPair, UnparsedPublicKey,
    VerificationAlgorithm,
};

use crate::{Outcome, cpu};

/// About as long as what is signed.
const MESSAGE: &[u8] = &[0x5A; 600];
/// How long it is measured.
const MEASURE: Duration = Duration::from_millis(500);

/// Processor time of a verification on P-256, in µs, while so many threads verify.
pub(crate) fn p256(threads: usize) -> Outcome<f64> {
    let pkcs8 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let signature = pkcs8.sign(&SystemRandom::new(), MESSAGE)?;
    let key = pkcs8.public_key().as_ref();
    verification(&ECDSA_P256_SHA256_FIXED, key, signature.as_ref(), threads)
}

/// The same of RSA-2048 by PSS.
pub(crate) fn rsa(threads: usize) -> Outcome<f64> {
    let key = RsaKeyPair::generate(KeySize::Rsa2048)?;
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), MESSAGE, &mut signature)?;
    verification(&RSA_PSS_2048_8192_SHA256, key.public_key().as_ref(), &signature, threads)
}

fn verification(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    signature: &[u8],
    threads: usize,
) -> Outcome<f64> {
    let key = ParsedPublicKey::new(algorithm, key)
        .or_else(|_| UnparsedPublicKey::new(algorithm, key).parse())?;
    let begin = cpu::own()?;
    let times = std::thread::scope(|scope| {
        let running: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| verify_for_a_while(&key, signature))).collect();
        running.into_iter().try_fold(0, |sum, one| {
            let times = one.join().map_err(|_| "a verification was lost")??;
            Outcome::Ok(sum + times)
        })
    })?;
    Ok((cpu::own()? - begin).as_secs_f64() * 1e6 / f64::from(times))
}

fn verify_for_a_while(key: &ParsedPublicKey, signature: &[u8]) -> Outcome<u32> {
    let begin = Instant::now();
    let mut times = 0;
    while begin.elapsed() < MEASURE {
        for _ in 0..100 {
            key.verify_sig(black_box(MESSAGE), black_box(signature))?;
        }
        times += 100;
    }
    Ok(times)
}
