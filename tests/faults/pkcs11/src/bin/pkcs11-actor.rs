//! Does with a token what it is told on standard input, and says what came of it, a line for a line.
//!
//! ```text
//!   pkcs11-actor MODULE      initialize | finalize | slots | slot | open | open-rw | close N
//!                            log-in N PIN | log-in-last PIN | log-out N | token | mechanisms
//!                            time N COUNT | overlap COUNT LABEL
//!                            find | sign | begin | point | label | id | always   N LABEL
//!                            is N LABEL OTHER | verify N LABEL HEX
//! ```
//!
//! N counts sessions from 0. An answer is `ok` and what was found out, or the name of the error. It uses
//! the same crate as the daemon's worker, so that both see the same faults.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program of the tests: whatever it does not understand is a fault of the test"
)]

use std::fmt::Write as _;
use std::io::{BufRead as _, Write as _};
use std::time::Instant;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::Error;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Limit, Slot};
use cryptoki::types::AuthPin;

/// What is signed: the size of a SHA-256 digest.
const DIGEST: [u8; 32] = [7; 32];

struct Actor {
    pkcs11: Pkcs11,
    slot: Option<Slot>,
    sessions: Vec<Option<Session>>,
}

fn main() {
    let module = std::env::args_os().nth(1).expect("a module");
    let pkcs11 = Pkcs11::new(module).expect("the module loads");
    // As in the worker: it is never unloaded.
    std::mem::forget(pkcs11.clone());
    let mut actor = Actor { pkcs11, slot: None, sessions: Vec::new() };
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match actor.act(&words) {
            Ok(found) => format!("ok {found}").trim_end().to_owned(),
            Err(Error::Pkcs11(code, _)) => format!("{code:?}"),
            Err(other) => format!("{other}"),
        };
        println!("{answer}");
        std::io::stdout().flush().expect("somebody listens");
    }
    // Neither the sessions' clean-up nor the module's: the worker has none, either.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}

impl Actor {
    fn act(&mut self, words: &[&str]) -> Result<String, Error> {
        let done = |()| String::new();
        match *words {
            ["initialize"] => {
                let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
                self.pkcs11.initialize(arguments).map(done)
            }
            ["finalize"] => {
                self.sessions.clear();
                self.pkcs11.clone().finalize().map(done)
            }
            ["slots"] => Ok(self.pkcs11.get_slots_with_token()?.len().to_string()),
            ["slot"] => {
                self.slot = Some(self.initialized_slot()?);
                Ok(String::new())
            }
            ["open"] => self.open(|actor, slot| actor.pkcs11.open_ro_session(slot)),
            ["open-rw"] => self.open(|actor, slot| actor.pkcs11.open_rw_session(slot)),
            ["close", n] => {
                let session = self.sessions.get_mut(number(n)).and_then(Option::take);
                session.expect("an open session").close().map(done)
            }
            ["log-in", n, pin] => {
                let pin = AuthPin::new(pin.into());
                self.session(n).login(UserType::User, Some(&pin)).map(done)
            }
            ["log-in-last", pin] => {
                let last = (self.sessions.len() - 1).to_string();
                self.act(&["log-in", &last, pin])
            }
            ["log-out", n] => self.session(n).logout().map(done),
            ["token"] => self.token(),
            ["mechanisms"] => {
                let slot = self.slot.expect("a slot");
                let list = self.pkcs11.get_mechanism_list(slot)?;
                let info = self.pkcs11.get_mechanism_info(slot, MechanismType::ECDSA);
                let info = info.map_or_else(|_| "no", |_| "yes");
                let listed = list.contains(&MechanismType::ECDSA);
                Ok(format!("{} listed={listed} info={info}", list.len()))
            }
            ["overlap", count, label] => self.overlap(number(count), label),
            ["time", n, count] => self.time(n, number(count)),
            [verb, n, label, ref rest @ ..] => self.with_key(verb, n, label, rest),
            _ => panic!("not understood: {words:?}"),
        }
    }

    fn initialized_slot(&self) -> Result<Slot, Error> {
        for slot in self.pkcs11.get_slots_with_token()? {
            if self.pkcs11.get_token_info(slot)?.token_initialized() {
                return Ok(slot);
            }
        }
        panic!("no token is initialised")
    }

    fn open(
        &mut self,
        open: impl Fn(&Self, Slot) -> Result<Session, Error>,
    ) -> Result<String, Error> {
        let session = open(self, self.slot.expect("a slot"))?;
        self.sessions.push(Some(session));
        Ok((self.sessions.len() - 1).to_string())
    }

    fn session(&self, n: &str) -> &Session {
        self.sessions.get(number(n)).and_then(Option::as_ref).expect("an open session")
    }

    fn token(&self) -> Result<String, Error> {
        let info = self.pkcs11.get_token_info(self.slot.expect("a slot"))?;
        let limit = |limit| match limit {
            Limit::Max(count) => format!("{count}"),
            other => format!("{other:?}"),
        };
        Ok(format!(
            "low={} final={} locked={} sessions={} rw={}",
            info.user_pin_count_low(),
            info.user_pin_final_try(),
            info.user_pin_locked(),
            limit(info.max_session_count()),
            limit(info.max_rw_session_count()),
        ))
    }

    /// Nanoseconds that one of so many short calls takes.
    fn time(&self, n: &str, count: usize) -> Result<String, Error> {
        let session = self.session(n);
        let begin = Instant::now();
        for _ in 0..count {
            session.get_session_info()?;
        }
        let count = u128::try_from(count).expect("a count");
        Ok((begin.elapsed().as_nanos() / count).to_string())
    }

    /// Signs in so many sessions at the same time.
    fn overlap(&self, count: usize, label: &str) -> Result<String, Error> {
        let slot = self.slot.expect("a slot");
        let pkcs11 = &self.pkcs11;
        let sign = || {
            let session = pkcs11.open_ro_session(slot)?;
            // Nobody may be logged in, and then there is no key.
            for key in find(&session, ObjectClass::PRIVATE_KEY, label)? {
                session.sign(&mechanism(&session, key)?, key, &DIGEST)?;
            }
            Ok::<(), Error>(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..count).map(|_| scope.spawn(sign)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
        })?;
        Ok(String::new())
    }

    fn with_key(&self, verb: &str, n: &str, label: &str, rest: &[&str]) -> Result<String, Error> {
        let session = self.session(n);
        let private = |label| find(session, ObjectClass::PRIVATE_KEY, label);
        let only = |found: Vec<ObjectHandle>| *found.first().expect("a key with this label");
        match (verb, rest) {
            ("find", []) => Ok(private(label)?.len().to_string()),
            ("is", [other]) => Ok((private(label)? == private(other)?).to_string()),
            ("sign", []) => {
                let key = only(private(label)?);
                session.sign(&mechanism(session, key)?, key, &DIGEST).map(|bytes| hex(&bytes))
            }
            ("begin", []) => {
                let key = only(private(label)?);
                session.sign_init(&mechanism(session, key)?, key).map(|()| String::new())
            }
            ("verify", [signature]) => {
                let key = only(find(session, ObjectClass::PUBLIC_KEY, label)?);
                session
                    .verify(&mechanism(session, key)?, key, &DIGEST, &unhex(signature))
                    .map(|()| String::new())
            }
            ("point", []) => {
                let key = only(find(session, ObjectClass::PUBLIC_KEY, label)?);
                read(session, key, AttributeType::EcPoint)
            }
            ("label", []) => read(session, only(private(label)?), AttributeType::Label),
            ("id", []) => read(session, only(private(label)?), AttributeType::Id),
            ("always", []) => {
                read(session, only(private(label)?), AttributeType::AlwaysAuthenticate)
            }
            _ => panic!("not understood: {verb} {rest:?}"),
        }
    }
}

fn find(session: &Session, class: ObjectClass, label: &str) -> Result<Vec<ObjectHandle>, Error> {
    session.find_objects(&[Attribute::Class(class), Attribute::Label(label.into())])
}

/// The mechanism that the daemon uses for such a key.
fn mechanism(session: &Session, key: ObjectHandle) -> Result<Mechanism<'static>, Error> {
    let types = session.get_attributes(key, &[AttributeType::KeyType])?;
    Ok(match types.first() {
        Some(Attribute::KeyType(KeyType::RSA)) => Mechanism::RsaPkcsPss(PkcsPssParams {
            hash_alg: MechanismType::SHA256,
            mgf: PkcsMgfType::MGF1_SHA256,
            s_len: 32.into(),
        }),
        _ => Mechanism::Ecdsa,
    })
}

fn read(session: &Session, key: ObjectHandle, name: AttributeType) -> Result<String, Error> {
    Ok(match session.get_attributes(key, &[name])?.first() {
        Some(Attribute::EcPoint(bytes) | Attribute::Label(bytes) | Attribute::Id(bytes)) => {
            hex(bytes)
        }
        Some(Attribute::AlwaysAuthenticate(says)) => says.to_string(),
        other => format!("{other:?}"),
    })
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string grows");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| {
        u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex")
    };
    pairs.iter().map(byte).collect()
}
