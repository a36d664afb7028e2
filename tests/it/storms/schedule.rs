//! What befalls a token and for how long: the written schedules, and random ones of the same words.

use std::time::Duration;

use signerd_tests::random::Random;
use signerd_tests::shim::{Act, Back, Code, Function, Line, Script, State};

/// Faults and how long they last.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) name: String,
    pub(super) lines: Vec<Line>,
    pub(super) lasts: Duration,
}

/// Every code that says that something can be mended.
const CODES: [Code; 16] = [
    Code::CKR_SESSION_HANDLE_INVALID,
    Code::CKR_SESSION_CLOSED,
    Code::CKR_DEVICE_ERROR,
    Code::CKR_DEVICE_REMOVED,
    Code::CKR_DEVICE_MEMORY,
    Code::CKR_TOKEN_NOT_PRESENT,
    Code::CKR_USER_NOT_LOGGED_IN,
    Code::CKR_OBJECT_HANDLE_INVALID,
    Code::CKR_KEY_HANDLE_INVALID,
    Code::CKR_CRYPTOKI_NOT_INITIALIZED,
    Code::CKR_GENERAL_ERROR,
    Code::CKR_FUNCTION_FAILED,
    Code::CKR_OPERATION_ACTIVE,
    Code::CKR_HOST_MEMORY,
    Code::CKR_SESSION_COUNT,
    Code(0x8000_0042),
];

/// Every function that a worker calls; what signs comes most often.
const FUNCTIONS: [Function; 16] = [
    Function::C_Sign,
    Function::C_Sign,
    Function::C_Sign,
    Function::C_SignInit,
    Function::C_SignInit,
    Function::C_FindObjectsInit,
    Function::C_FindObjects,
    Function::C_FindObjectsFinal,
    Function::C_GetAttributeValue,
    Function::C_OpenSession,
    Function::C_CloseSession,
    Function::C_Login,
    Function::C_Initialize,
    Function::C_Finalize,
    Function::C_GetSlotList,
    Function::C_GetTokenInfo,
];

/// The schedules of the table.
pub(super) fn written() -> Vec<Schedule> {
    let table = include_str!("schedules.txt").lines();
    table.filter(|line| !line.is_empty() && !line.starts_with('#')).map(read).collect()
}

fn read(row: &str) -> Schedule {
    let mut cells = row.split('|').map(str::trim);
    let mut cell = || cells.next().unwrap_or_else(|| panic!("a cell is missing: {row}"));
    let (name, lasts, lines) = (cell(), cell(), cell());
    let Script(lines) =
        Script::parse(&lines.replace(';', "\n")).unwrap_or_else(|error| panic!("{name}: {error}"));
    let lasts = match lasts.strip_suffix("ms") {
        Some(number) => number.parse().map(Duration::from_millis),
        None => lasts.trim_end_matches('s').parse().map(Duration::from_secs),
    };
    let lasts = lasts.unwrap_or_else(|error| panic!("{name}: {error}"));
    Schedule { name: name.to_owned(), lines, lasts }
}

/// From one to three faults, for a short time.
pub(super) fn any(random: &mut Random) -> Schedule {
    let mut lines = Vec::new();
    // Without a loss there is neither a search nor a log-in that could fail.
    match random.below(3) {
        0 => lines.push(Line::on(Function::C_SignInit, Act::LogOut).every(10)),
        1 => {
            let lost = Act::Return(Code::CKR_SESSION_HANDLE_INVALID);
            lines.push(Line::on(Function::C_Sign, lost).every(10));
        }
        _ => {}
    }
    for _ in 0..=random.below(3) {
        lines.push(line(random));
    }
    let lasts = Duration::from_millis(50 + random.below(51) as u64);
    let name = Script(lines.clone()).to_string().trim_end().replace('\n', "; ");
    Schedule { name, lines, lasts }
}

fn line(random: &mut Random) -> Line {
    let moment = Duration::from_millis(20 + random.below(80) as u64);
    let back = [Back::Session, Back::Initialize, Back::Process][random.below(3)];
    let sign = |act| Line::on(Function::C_Sign, act);
    let line = match random.below(40) {
        0 => return Line::token(State::Away(back)).lasting(moment),
        1 => return Line::token(State::Sessions { all: 1 + random.below(3) as u32, writing: 1 }),
        2 => sign(Act::LoseToken(back)).lasting(moment),
        3 => sign(Act::Garbage),
        4 => sign(Act::Short),
        5 => sign(Act::Long),
        6 => sign(Act::Empty),
        7 | 8 => sign(Act::Flip(None)),
        9 => sign(Act::SignedBy("audit".to_owned())),
        10 => Line::on(Function::C_FindObjects, Act::Nothing),
        11 => Line::on(Function::C_FindObjects, Act::Object("audit".to_owned())),
        12 => Line::on(Function::C_SignInit, Act::LogOut),
        13 => Line::on(FUNCTIONS[random.below(FUNCTIONS.len())], Act::Hang),
        14 => Line::on(FUNCTIONS[random.below(FUNCTIONS.len())], Act::Abort),
        15 => Line::on(FUNCTIONS[random.below(FUNCTIONS.len())], Act::Kill),
        16 => Line::on(FUNCTIONS[random.below(FUNCTIONS.len())], Act::Delay(moment)),
        17 => sign(Act::ThenReturn(CODES[random.below(CODES.len())])),
        _ => {
            let code = CODES[random.below(CODES.len())];
            Line::on(FUNCTIONS[random.below(FUNCTIONS.len())], Act::Return(code))
        }
    };
    let line = line.after(random.below(20) as u64).every(1 + random.below(6) as u64);
    if random.below(2) == 0 { line.times(1 + random.below(6) as u64) } else { line }
}
