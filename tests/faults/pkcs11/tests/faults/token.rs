//! What befalls the token: lost and found, PINs, log-ins, sessions.

use std::time::{Duration, Instant};

use pkcs11_faults::{Act, Back, Function, Line, LogIn, State, TokenFlag};

use crate::actor::{Actor, PIN, Token};

/// What a token that is away says to everything.
fn assert_away(user: &mut Actor) {
    for (order, answer) in [
        ("slots", "ok 0"),
        ("token", "TokenNotPresent"),
        ("open", "TokenNotPresent"),
        ("sign 0 ec", "DeviceRemoved"),
    ] {
        assert_eq!(user.tell(order), answer, "{order}");
    }
    assert_eq!(user.tell(&format!("log-in 0 {PIN}")), "DeviceRemoved");
}

/// A process that was left with old sessions opens new ones and logs in again.
fn assert_needs_a_session(user: &mut Actor) {
    assert_eq!(user.tell("sign 0 ec"), "SessionHandleInvalid");
    assert_eq!(user.tell("open"), "ok 1");
    assert_eq!(user.tell("find 1 ec"), "ok 0", "nobody is logged in");
    assert_eq!(user.tell(&format!("log-in 1 {PIN}")), "ok");
    assert!(user.tell("sign 1 ec").starts_with("ok "));
}

// A token that is away answers as a removed one, and is back with the next script; sessions are dead.
#[test]
fn a_token_is_away_and_back_by_a_new_session() {
    let token = Token::new();
    let mut user = token.user();
    token.play([Line::token(State::Away(Back::Session))]);
    assert_away(&mut user);
    token.play([]);
    assert_needs_a_session(&mut user);
    assert_eq!(token.tally().losses(), 1);
}

// A token that is away for some time comes back by itself.
#[test]
fn a_token_comes_back_by_itself() {
    let token = Token::new();
    let mut user = token.user();
    token.play([Line::token(State::Away(Back::Session)).lasting(Duration::from_secs(2))]);
    let begin = Instant::now();
    assert_away(&mut user);
    while user.tell("slots") == "ok 0" {
        assert!(begin.elapsed() < Duration::from_secs(20), "it never comes back");
    }
    assert!(begin.elapsed() >= Duration::from_millis(1900));
    assert_needs_a_session(&mut user);
}

// A process that did not look while the token was away has lost its sessions, too.
#[test]
fn sessions_are_dead_for_who_did_not_look() {
    let token = Token::new();
    let (mut looking, mut sleeping) = (token.user(), token.user());
    token.play([Line::token(State::Away(Back::Session))]);
    assert_away(&mut looking);
    token.play([]);
    assert_needs_a_session(&mut sleeping);
}

// A token that was lost so is back only after finalising and initialising, while it is there.
#[test]
fn a_token_is_back_by_a_new_initialisation() {
    let token = Token::new();
    let mut user = token.user();
    token.play([Line::token(State::Away(Back::Initialize))]);
    assert_away(&mut user);
    assert_eq!(user.tell("finalize"), "ok");
    assert_eq!(user.tell("initialize"), "ok");
    token.play([]);
    assert_eq!(user.tell("slots"), "ok 0", "it was not there when it was looked for");
    assert_eq!(user.tell("finalize"), "ok");
    assert_eq!(user.tell("initialize"), "ok");
    assert_ne!(user.tell("slots"), "ok 0");
    assert_eq!(user.tell("open"), "ok 0");
    assert_eq!(user.tell(&format!("log-in 0 {PIN}")), "ok");
    assert!(user.tell("sign 0 ec").starts_with("ok "));
}

// A token that was lost so is back only for a new process.
#[test]
fn a_token_is_back_in_a_new_process() {
    let token = Token::new();
    let mut user = token.user();
    token.play([Line::token(State::Away(Back::Process))]);
    assert_away(&mut user);
    token.play([]);
    assert_eq!(user.tell("finalize"), "ok");
    assert_eq!(user.tell("initialize"), "ok");
    assert_eq!(user.tell("slots"), "ok 0");
    assert!(token.user().tell("sign 0 ec").starts_with("ok "));
}

// A call may lose the token, for all processes.
#[test]
fn a_call_loses_the_token() {
    let token = Token::new();
    let (mut user, mut other) = (token.user(), token.user());
    let loss = Line::on(Function::C_Sign, Act::LoseToken(Back::Session)).after(1).times(1);
    token.play([loss.lasting(Duration::from_secs(2))]);
    assert!(user.tell("sign 0 ec").starts_with("ok "));
    let begin = Instant::now();
    assert_eq!(user.tell("sign 0 ec"), "DeviceRemoved");
    assert_away(&mut other);
    while user.tell("slots") == "ok 0" {
        assert!(begin.elapsed() < Duration::from_secs(20), "it never comes back");
    }
    assert_needs_a_session(&mut other);
}

// The user is logged out behind one's back, until the next log-in.
#[test]
fn a_user_is_logged_out() {
    let token = Token::new();
    let mut user = token.user();
    token.play([Line::on(Function::C_SignInit, Act::LogOut).times(1)]);
    assert_eq!(user.tell("begin 0 ec"), "UserNotLoggedIn");
    assert_eq!(user.tell("find 0 ec"), "ok 0");
    assert_eq!(user.tell(&format!("log-in 0 {PIN}")), "ok");
    assert!(user.tell("sign 0 ec").starts_with("ok "));
    assert_eq!(token.tally().log_ins(LogIn::Right), 2);
}

// A token shows the flags that the script says.
#[test]
fn a_token_shows_a_flag() {
    let token = Token::new();
    let mut user = token.user();
    for (flag, word) in [
        (TokenFlag::CKF_USER_PIN_COUNT_LOW, "low=true"),
        (TokenFlag::CKF_USER_PIN_FINAL_TRY, "final=true"),
        (TokenFlag::CKF_USER_PIN_LOCKED, "locked=true"),
    ] {
        assert!(!user.tell("token").contains(word));
        token.play([Line::on(Function::C_GetTokenInfo, Act::Flag(flag))]);
        assert!(user.tell("token").contains(word));
        token.play([]);
    }
}

// A token counts wrong PINs of all processes, says when one is left, and locks.
#[test]
fn a_token_locks_after_wrong_pins() {
    let token = Token::new();
    token.play([Line::token(State::PinTries(3))]);
    let mut processes = [token.process(), token.process()];
    for process in &mut processes {
        assert_eq!(process.tell("initialize"), "ok");
        assert_eq!(process.tell("slot"), "ok");
        assert_eq!(process.tell("open"), "ok 0");
    }
    let [one, two] = &mut processes;
    let right = format!("log-in 0 {PIN}");
    assert!(one.tell("token").starts_with("ok low=false final=false locked=false"));
    assert_eq!(one.tell("log-in 0 000000"), "PinIncorrect");
    assert!(two.tell("token").starts_with("ok low=true final=false locked=false"));
    assert_eq!(two.tell("log-in 0 000000"), "PinIncorrect");
    assert!(one.tell("token").starts_with("ok low=true final=true locked=false"));
    // The right PIN forgives the wrong ones.
    assert_eq!(one.tell(&right), "ok");
    assert_eq!(one.tell("log-out 0"), "ok");
    assert!(one.tell("token").contains("final=false"));
    for _ in 0..3 {
        assert_eq!(two.tell("log-in 0 000000"), "PinIncorrect");
    }
    assert!(one.tell("token").contains("locked=true"));
    assert_eq!(one.tell(&right), "PinLocked");
    let tally = token.tally();
    let outcomes =
        [LogIn::Right, LogIn::Wrong, LogIn::Locked].map(|outcome| tally.log_ins(outcome));
    assert_eq!(outcomes, [1, 5, 1]);
}

// A token has so many sessions, and says so.
#[test]
fn sessions_are_limited() {
    let token = Token::new();
    token.play([Line::token(State::Sessions { all: 3, writing: 1 })]);
    let mut user = token.user();
    assert!(user.tell("token").ends_with("sessions=3 rw=1"));
    assert_eq!(user.tell("open-rw"), "ok 1");
    assert_eq!(user.tell("open-rw"), "SessionCount");
    assert_eq!(user.tell("open"), "ok 2");
    assert_eq!(user.tell("open"), "SessionCount");
    assert_eq!(user.tell("close 2"), "ok");
    assert_eq!(user.tell("open"), "ok 3");
}

// A token has read/write sessions only.
#[test]
fn sessions_are_read_write() {
    let token = Token::new();
    let mut user = token.user();
    token.play([Line::token(State::ReadWriteOnly)]);
    assert_eq!(user.tell("open"), "FunctionFailed");
    assert_eq!(user.tell("open-rw"), "ok 1");
    assert_eq!(token.tally().injected(Function::C_OpenSession, "read-write-only"), 1);
}

// A module that cannot lock says so to who wants threads.
#[test]
fn a_module_cannot_lock() {
    let token = Token::new();
    token.play([Line::on(Function::C_Initialize, Act::CannotLock)]);
    assert_eq!(token.process().tell("initialize"), "CantLock");
}

// Losing token and log-in while other threads are inside the real module crashes nobody.
#[test]
fn a_loss_among_many_calls_is_survived() {
    let token = Token::new();
    let mut user = token.user();
    let moment = Duration::from_millis(1);
    token.play([
        Line::on(Function::C_Sign, Act::LoseToken(Back::Session)).every(7).lasting(moment),
        Line::on(Function::C_SignInit, Act::LogOut).every(11),
    ]);
    for round in 0..60 {
        assert_ne!(user.tell("overlap 4 ec"), "", "ended in round {round}");
        if user.tell("open").starts_with("ok") {
            assert_ne!(user.tell(&format!("log-in-last {PIN}")), "", "ended in round {round}");
        }
    }
    token.play([]);
    assert_ne!(user.tell("token"), "");
    let tally = token.tally();
    assert!(tally.losses() > 3 && tally.injected(Function::C_SignInit, "log-out") > 0, "{tally}");
}
