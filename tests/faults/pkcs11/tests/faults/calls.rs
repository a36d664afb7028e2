//! What befalls any call: codes, delays, ends, and which calls are meant.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use pkcs11_faults::{Act, Code, Function, Line};

use crate::actor::{PIN, Token};

// With an empty script the module is the real one.
#[test]
fn an_empty_script_changes_nothing() {
    let token = Token::new();
    let mut user = token.user();
    for key in ["rsa", "ec"] {
        let signature = user.sign(key);
        assert!(user.verifies(key, &signature));
    }
    assert_eq!(user.tell("close 0"), "ok");
    assert_eq!(user.tell("finalize"), "ok");
    let tally = token.tally();
    assert_eq!((tally.calls(Function::C_Sign), tally.injected_at_all()), (2, 0));
}

// A code is returned instead of calling; the operation that was begun stays active.
#[test]
fn a_code_is_returned_instead_of_calling() {
    let token = Token::new();
    let mut user = token.user();
    token.play([Line::on(Function::C_Sign, Act::Return(Code::CKR_DEVICE_ERROR)).times(1)]);
    assert_eq!(user.tell("sign 0 ec"), "DeviceError");
    assert_eq!(user.tell("sign 0 ec"), "OperationActive");
    assert_eq!(user.tell("open"), "ok 1");
    assert!(user.tell("sign 1 ec").starts_with("ok "));
}

// A code is returned after calling; the operation is over.
#[test]
fn a_code_is_returned_after_calling() {
    let token = Token::new();
    let mut user = token.user();
    token.play([Line::on(Function::C_Sign, Act::ThenReturn(Code::CKR_DEVICE_MEMORY)).times(1)]);
    assert_eq!(user.tell("sign 0 ec"), "DeviceMemory");
    assert!(user.tell("sign 0 ec").starts_with("ok "));
}

// Any function can be struck, with any code, also a vendor's own; a star is all of them.
#[test]
fn any_function_returns_any_code() {
    let token = Token::new();
    let mut user = token.user();
    let vendor = Code(0x8000_1234);
    token.play([Line::on(Function::C_GetTokenInfo, Act::Return(vendor))]);
    assert_eq!(user.tell("token"), "VendorDefined(2147488308)");
    token.play([Line::on(Function::C_Initialize, Act::Return(Code::CKR_CANT_LOCK))]);
    assert_eq!(token.process().tell("initialize"), "CantLock");
    token.play([Line::on_any(Act::Return(Code::CKR_FUNCTION_FAILED))]);
    for order in ["token", "open", "sign 0 ec", "slots", "finalize"] {
        assert_eq!(user.tell(order), "FunctionFailed", "{order}");
    }
}

// A line strikes the calls that all of its conditions name.
#[test]
fn conditions_choose_the_calls() {
    let token = Token::new();
    let mut user = token.user();
    let failing = Line::on(Function::C_GetTokenInfo, Act::Return(Code::CKR_DEVICE_ERROR));
    let mut struck = |line: Line| {
        token.play([line]);
        (1..=12).filter(|_| user.tell("token") == "DeviceError").count()
    };
    assert_eq!(struck(failing.clone()), 12);
    assert_eq!(struck(failing.clone().times(2)), 2);
    assert_eq!(struck(failing.clone().after(7)), 5);
    assert_eq!(struck(failing.clone().every(3)), 4);
    assert_eq!(struck(failing.clone().after(2).every(3).times(2)), 2);
    assert_eq!(struck(failing.clone().chance(0.0, 1)), 0);
    let some = struck(failing.clone().chance(0.5, 1));
    assert!(0 < some && some < 12, "{some} of 12");
    assert_eq!(struck(failing.clone().chance(0.5, 1)), some, "a seed decides the same again");
    assert_eq!(struck(failing.clone().lasting(Duration::from_secs(60))), 12);
    assert_eq!(struck(failing.lasting(Duration::ZERO)), 0);
}

// A line for some time is over after it.
#[test]
fn a_line_ends_after_its_time() {
    let token = Token::new();
    let mut user = token.user();
    let failing = Line::on(Function::C_GetTokenInfo, Act::Return(Code::CKR_DEVICE_ERROR));
    token.play([failing.lasting(Duration::from_millis(300))]);
    let begin = Instant::now();
    while user.tell("token") == "DeviceError" {
        assert!(begin.elapsed() < Duration::from_secs(10), "it never ends");
    }
    assert!(begin.elapsed() >= Duration::from_millis(300));
}

// A delay makes a call longer, and lets the lines after it decide.
#[test]
fn a_delay_is_waited_for() {
    let token = Token::new();
    let mut user = token.user();
    let delay = Duration::from_millis(200);
    token.play([
        Line::on(Function::C_Sign, Act::Delay(delay)),
        Line::on(Function::C_Sign, Act::Return(Code::CKR_DEVICE_ERROR)).times(1),
    ]);
    for expected in ["DeviceError", "OperationActive"] {
        let begin = Instant::now();
        assert_eq!(user.tell("sign 0 ec"), expected);
        // The second one does not come as far as C_Sign.
        assert!(begin.elapsed() >= delay || expected == "OperationActive");
    }
    let begin = Instant::now();
    assert_eq!(user.tell("open"), "ok 1");
    assert!(user.tell("sign 1 ec").starts_with("ok "));
    assert!(begin.elapsed() >= delay);
}

// Sessions that are delayed are delayed at the same time.
#[test]
fn delays_of_sessions_overlap() {
    let token = Token::new();
    let mut user = token.user();
    token.play([Line::on(Function::C_Sign, Act::Delay(Duration::from_secs(1)))]);
    let begin = Instant::now();
    assert_eq!(user.tell("overlap 4 ec"), "ok");
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}: one waited for another");
}

// A call that hangs hangs until its process is killed, and nobody else with it.
#[test]
fn a_hanging_call_never_ends() {
    let token = Token::new();
    let (mut user, mut other) = (token.user(), token.user());
    token.play([Line::on(Function::C_Sign, Act::Hang).times(1)]);
    user.order("sign 0 ec");
    assert!(user.is_silent_for(Duration::from_millis(700)));
    token.play([]);
    assert!(other.tell("sign 0 ec").starts_with("ok "));
    assert!(user.is_silent_for(Duration::from_millis(300)), "a new script does not help");
}

// A process ends as the script says.
#[test]
fn a_crash_ends_the_process() {
    let token = Token::new();
    for (act, signal) in [(Act::Abort, 6), (Act::Kill, 9)] {
        let mut user = token.user();
        token.play([Line::on(Function::C_Sign, act).times(1)]);
        assert_eq!(user.tell("sign 0 ec"), "");
        assert_eq!(user.end().0.signal(), Some(signal));
    }
    assert_eq!(token.tally().injected(Function::C_Sign, "kill"), 1);
}

// A script that is not understood, or not there, ends the process and says why.
#[test]
fn a_bad_script_is_refused_loudly() {
    let token = Token::new();
    let mut user = token.user();
    token.play_text("# first\non C_Sign hand\n");
    assert_eq!(user.tell("token"), "");
    let (status, said) = user.end();
    assert_eq!(status.signal(), Some(6));
    assert!(said.contains("script: line 2: \"hand\" cannot happen to a call"), "{said}");

    token.play([]);
    let mut user = token.user();
    std::fs::remove_file(token.script()).unwrap();
    assert_eq!(user.tell("token"), "");
    assert!(user.end().1.contains("pkcs11-faults: the script"));
}

// A new script begins at the next call, with counters of its own.
#[test]
fn a_script_is_replaced_while_it_runs() {
    let token = Token::new();
    let mut user = token.user();
    let failing = Line::on(Function::C_GetTokenInfo, Act::Return(Code::CKR_DEVICE_ERROR)).times(1);
    for _ in 0..20 {
        token.play([failing.clone()]);
        assert_eq!(user.tell("token"), "DeviceError");
        assert_ne!(user.tell("token"), "DeviceError");
    }
    token.play([]);
    assert_ne!(user.tell("token"), "DeviceError");
    assert_eq!(user.tell(&format!("log-in 0 {PIN}")), "UserAlreadyLoggedIn");
    let files = std::fs::read_dir(token.script().parent().unwrap()).unwrap().count();
    assert!(files < 8, "counters of old scripts are left: {files} files");
}

// A call through the module with an empty script costs less than two microseconds more.
#[test]
fn an_empty_script_costs_nothing_to_speak_of() {
    let token = Token::new();
    let time = |mut actor: crate::actor::Actor| {
        for order in ["initialize", "slot"] {
            assert_eq!(actor.tell(order), "ok");
        }
        assert_eq!(actor.tell("open"), "ok 0");
        // The best of many: others use the machine, too.
        let rounds = (0..20).map(|_| actor.tell("time 0 2000"));
        let best = rounds.filter_map(|answer| answer.strip_prefix("ok ")?.parse().ok()).min();
        best.unwrap_or(u64::MAX)
    };
    let (without, with) = (time(token.honest_process()), time(token.process()));
    println!("a call takes {without} ns, and {with} ns through the module");
    assert!(with < without + 2_000, "{without} ns became {with} ns");
}
