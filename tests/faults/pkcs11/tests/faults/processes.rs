//! What processes that have the same script share.

use pkcs11_faults::{Act, Code, Function, Line, LogIn};

use crate::actor::{PIN, Token};

// A line counts the calls of all processes.
#[test]
fn a_line_counts_over_all_processes() {
    let token = Token::new();
    let mut users = [token.user(), token.user()];
    let failing = Line::on(Function::C_GetTokenInfo, Act::Return(Code::CKR_DEVICE_ERROR));
    token.play([failing.after(3).times(4)]);
    let mut struck = Vec::new();
    for _ in 0..5 {
        for user in &mut users {
            struck.push(user.tell("token") == "DeviceError");
        }
    }
    let expected = [false, false, false, true, true, true, true, false, false, false];
    assert_eq!(struck, expected);
}

// At most so often means so often, also when processes call at the same time.
#[test]
fn no_call_is_counted_twice() {
    let token = Token::new();
    let mut users = [token.user(), token.user(), token.user()];
    let before = token.tally();
    let failing = Line::on(Function::C_GetSessionInfo, Act::Delay(std::time::Duration::ZERO));
    token.play([failing.every(2).times(1000)]);
    for user in &mut users {
        user.order("time 0 2000");
    }
    for user in &mut users {
        assert!(user.answer().starts_with("ok "));
    }
    let tally = token.tally().since(&before);
    assert_eq!(tally.calls(Function::C_GetSessionInfo), 6000);
    assert_eq!(tally.injected(Function::C_GetSessionInfo, "delay"), 1000);
}

// The tally goes on over scripts and processes, also those that were killed, and tells log-ins apart.
#[test]
fn the_tally_goes_on() {
    let token = Token::new();
    drop(token.user());
    token.play([Line::on(Function::C_Login, Act::Return(Code::CKR_PIN_INCORRECT)).times(1)]);
    let mut process = token.process();
    for order in ["initialize", "slot", "open"] {
        assert!(process.tell(order).starts_with("ok"));
    }
    let right = format!("log-in 0 {PIN}");
    for (order, answer) in [
        (right.as_str(), "PinIncorrect"),
        ("log-in 0 000000", "PinIncorrect"),
        (&right, "ok"),
        (&right, "UserAlreadyLoggedIn"),
    ] {
        assert_eq!(process.tell(order), answer);
    }
    let tally = token.tally();
    assert_eq!(tally.calls(Function::C_Login), 5);
    assert_eq!(tally.injected(Function::C_Login, "return"), 1);
    let outcomes = [LogIn::Right, LogIn::Wrong, LogIn::Already, LogIn::Locked, LogIn::Failed];
    assert_eq!(outcomes.map(|outcome| tally.log_ins(outcome)), [2, 2, 1, 0, 0]);
    assert_eq!(tally.injected_at_all(), 1);
    let said = tally.to_string();
    assert!(said.contains("C_Login 5, return 1\n"), "{said}");
    assert!(said.ends_with("log-ins right 2, wrong 2, locked 0, already 1, failed 0, losses 0\n"));
}
