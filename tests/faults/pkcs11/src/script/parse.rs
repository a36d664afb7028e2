//! Reads a script, or says exactly what is wrong with it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Act, Back, LINES_MAX, Line, Script, State, When};
use crate::function::Function;

/// What is wrong with a script, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScriptError {
    line: usize,
    problem: String,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for ScriptError {}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// The first line that is not understood, and why.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let mut lines = Vec::new();
        for (index, text) in text.lines().enumerate() {
            let error = |problem| ScriptError { line: index + 1, problem };
            let mut words = Words(words(text).map_err(error)?.into_iter());
            if words.0.len() == 0 {
                continue;
            }
            if lines.len() == LINES_MAX {
                return Err(error(format!("a script has at most {LINES_MAX} lines")));
            }
            lines.push(line(&mut words).map_err(error)?);
        }
        Ok(Self(lines))
    }
}

/// A word, and whether it stood in quotes.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Word {
    text: String,
    quoted: bool,
}

/// Takes a line apart at its spaces; a number sign outside of quotes ends it.
fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let (text, after, quoted) = match rest.strip_prefix('"') {
            Some(inside) => {
                let (text, after) = inside.split_once('"').ok_or("a quote is not closed")?;
                if !after.is_empty() && !after.starts_with(char::is_whitespace) {
                    return Err(format!("a space is missing behind \"{text}\""));
                }
                (text, after, true)
            }
            None => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                let (text, after) = rest.split_at(end);
                (text, after, false)
            }
        };
        words.push(Word { text: text.to_owned(), quoted });
        rest = after.trim_start();
    }
    Ok(words)
}

struct Words(std::vec::IntoIter<Word>);

impl Words {
    fn word(&mut self, what: &str) -> Result<String, String> {
        match self.0.next() {
            Some(Word { text, quoted: false }) => Ok(text),
            Some(Word { text, .. }) => Err(format!("\"{text}\" stands where {what} should")),
            None => Err(format!("{what} is missing")),
        }
    }

    fn label(&mut self) -> Result<String, String> {
        match self.0.next() {
            Some(Word { text, quoted: true }) => Ok(text),
            Some(Word { text, .. }) => Err(format!("the label {text} is not in quotes")),
            None => Err("a label in quotes is missing".to_owned()),
        }
    }

    fn value<T: FromStr<Err = String>>(&mut self, what: &str) -> Result<T, String> {
        self.word(what)?.parse()
    }

    fn number(&mut self, what: &str) -> Result<u32, String> {
        number(&self.word(what)?)
    }

    /// The next word, if there is one that is neither quoted nor a condition.
    fn optional(&mut self) -> Option<String> {
        let next = self.0.as_slice().first()?;
        if next.quoted || next.text.contains('=') {
            return None;
        }
        self.0.next().map(|word| word.text)
    }

    /// The next condition, as name and value.
    fn condition(&mut self) -> Result<Option<(String, String)>, String> {
        let Some(word) = self.0.next() else { return Ok(None) };
        match word.text.split_once('=') {
            Some((name, value)) if !word.quoted => Ok(Some((name.to_owned(), value.to_owned()))),
            _ => Err(format!("\"{}\" is one word too many", word.text)),
        }
    }
}

fn line(words: &mut Words) -> Result<Line, String> {
    match words.word("the kind of line")?.as_str() {
        "on" => on(words),
        "token" => token(words),
        other => Err(format!("\"{other}\" begins no line: write on or token")),
    }
}

fn on(words: &mut Words) -> Result<Line, String> {
    let name = words.word("a function")?;
    let function = if name == "*" { None } else { Some(name.parse()?) };
    let act = act(words)?;
    if !act.fits(function) {
        return Err(format!("\"{}\" cannot befall {name}", act.word()));
    }
    let mut back = None;
    let mut when = When::default();
    while let Some((name, value)) = words.condition()? {
        match name.as_str() {
            "after" => when.after = number(&value)?,
            "every" => when.every = positive(&value)?,
            "times" => when.times = Some(positive(&value)?),
            "seed" => when.seed = number(&value)?,
            "for" => when.lasts = Some(duration(&value)?),
            "chance" => when.chance = chance(&value)?,
            "except" if function == Some(Function::C_Sign) => {
                when.except = Some(digest(&value)?);
            }
            "back" if matches!(act, Act::LoseToken(_)) => back = Some(value.parse()?),
            _ => return Err(format!("\"{name}\" is no condition of this line")),
        }
    }
    let act = match (act, back) {
        (Act::LoseToken(_), Some(back)) => Act::LoseToken(back),
        (act, _) => act,
    };
    Ok(Line::On { function, act, when })
}

fn act(words: &mut Words) -> Result<Act, String> {
    let word = words.word("what happens")?;
    Ok(match word.as_str() {
        "return" => Act::Return(words.value("a return code")?),
        "then-return" => Act::ThenReturn(words.value("a return code")?),
        "delay" => Act::Delay(duration(&words.word("a duration")?)?),
        "hang" => Act::Hang,
        "abort" => Act::Abort,
        "kill" => Act::Kill,
        "log-out" => Act::LogOut,
        "lose-token" => Act::LoseToken(Back::Session),
        "cannot-lock" => Act::CannotLock,
        "garbage" => match words.optional() {
            Some(attribute) => Act::GarbageOf(attribute.parse()?),
            None => Act::Garbage,
        },
        "short" => Act::Short,
        "long" => Act::Long,
        "empty" => Act::Empty,
        "flip" => Act::Flip(words.optional().map(|bit| number(&bit)).transpose()?),
        "signed-by" => Act::SignedBy(words.label()?),
        "nothing" => Act::Nothing,
        "object" => Act::Object(words.label()?),
        "flag" => Act::Flag(words.value("a flag")?),
        other => return Err(format!("\"{other}\" cannot happen to a call")),
    })
}

fn token(words: &mut Words) -> Result<Line, String> {
    let word = words.word("what the token is like")?;
    let mut state = match word.as_str() {
        "away" => State::Away(Back::Session),
        "pin-tries" => State::PinTries(positive(&words.word("a number")?)?),
        "sessions" => {
            let all = words.number("the number of sessions")?;
            let writing = words.optional().map_or(Ok(all), |writing| number(&writing))?;
            State::Sessions { all, writing }
        }
        "without" => State::Without(words.value("a mechanism")?),
        "read-write-only" => State::ReadWriteOnly,
        "raw-point" => State::RawPoint,
        "always-authenticate" => State::AlwaysAuthenticate,
        other => return Err(format!("\"{other}\" is nothing that a token is like")),
    };
    let mut lasts = None;
    while let Some((name, value)) = words.condition()? {
        match (name.as_str(), state) {
            ("for", _) => lasts = Some(duration(&value)?),
            ("back", State::Away(_)) => state = State::Away(value.parse()?),
            _ => return Err(format!("\"{name}\" is no condition of this line")),
        }
    }
    Ok(Line::Token { state, lasts })
}

fn number<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("\"{text}\" is no number that fits here"))
}

fn positive<N: FromStr + PartialEq + From<u8>>(text: &str) -> Result<N, String> {
    let number: N = number(text)?;
    if number == N::from(0) { Err("0 would be never".to_owned()) } else { Ok(number) }
}

fn chance(text: &str) -> Result<f64, String> {
    let chance: f64 = number(text)?;
    let fits = (0.0..=1.0).contains(&chance);
    fits.then_some(chance).ok_or_else(|| format!("\"{text}\" is not from 0 to 1"))
}

fn digest(text: &str) -> Result<[u8; 32], String> {
    let wrong = || format!("\"{text}\" is no digest: write 64 hexadecimal digits");
    let mut digest = [0; 32];
    if text.len() != 2 * digest.len() || !text.is_ascii() {
        return Err(wrong());
    }
    for (place, digits) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = str::from_utf8(digits).map_err(|_| wrong())?;
        *place = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

fn duration(text: &str) -> Result<Duration, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number = number(digits);
    match (number, unit) {
        (Ok(number), "us") => Ok(Duration::from_micros(number)),
        (Ok(number), "ms") => Ok(Duration::from_millis(number)),
        (Ok(number), "s") => Ok(Duration::from_secs(number)),
        _ => Err(format!("\"{text}\" is no duration: write a whole number and us, ms or s")),
    }
}

impl FromStr for Back {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|back| back.word() == text);
        found
            .ok_or_else(|| format!("\"{text}\": a token is back by session, initialize or process"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{AttributeName, Code, Mechanism, TokenFlag};

    // What is written is read as it was meant.
    #[test]
    fn every_line_reads_what_it_writes() {
        let label = || "an other key".to_owned();
        let acts = [
            (Function::C_Login, Act::Return(Code::CKR_GENERAL_ERROR)),
            (Function::C_Login, Act::ThenReturn(Code(0x8000_0001))),
            (Function::C_Sign, Act::Delay(Duration::from_micros(1_500))),
            (Function::C_Sign, Act::Hang),
            (Function::C_Sign, Act::Abort),
            (Function::C_Sign, Act::Kill),
            (Function::C_Sign, Act::LogOut),
            (Function::C_Sign, Act::LoseToken(Back::Process)),
            (Function::C_Initialize, Act::CannotLock),
            (Function::C_Sign, Act::Garbage),
            (Function::C_GetAttributeValue, Act::GarbageOf(AttributeName::CKA_EC_POINT)),
            (Function::C_Sign, Act::Short),
            (Function::C_Sign, Act::Long),
            (Function::C_Sign, Act::Empty),
            (Function::C_Sign, Act::Flip(None)),
            (Function::C_Sign, Act::Flip(Some(511))),
            (Function::C_Sign, Act::SignedBy(label())),
            (Function::C_FindObjects, Act::Nothing),
            (Function::C_FindObjects, Act::Object(label())),
            (Function::C_GetTokenInfo, Act::Flag(TokenFlag::CKF_USER_PIN_LOCKED)),
        ];
        let states = [
            State::Away(Back::Initialize),
            State::PinTries(3),
            State::Sessions { all: 16, writing: 4 },
            State::Without(Mechanism::CKM_ECDSA),
            State::ReadWriteOnly,
            State::RawPoint,
            State::AlwaysAuthenticate,
        ];
        let second = Duration::from_secs(1);
        let mut lines = vec![Line::on_any(Act::Hang).after(7).every(2).times(9).chance(0.25, 5)];
        lines.extend(acts.into_iter().map(|(function, act)| Line::on(function, act)));
        lines.push(Line::on(Function::C_Sign, Act::Garbage).except([0x5a; 32]));
        lines.extend(states.map(|state| Line::token(state).lasting(second)));
        let script = Script(lines);
        assert_eq!(Script::parse(&script.to_string()), Ok(script));
    }

    // Empty lines and comments say nothing.
    #[test]
    fn a_comment_says_nothing() {
        let script = Script::parse("# a\n\n  on C_Sign signed-by \"a # b\" # c\n").unwrap();
        let expected = Line::on(Function::C_Sign, Act::SignedBy("a # b".to_owned()));
        assert_eq!(script, Script(vec![expected]));
    }

    // What is not understood is refused, with its line and its reason.
    #[test]
    fn a_bad_script_is_refused_exactly() {
        for (text, reason) in [
            ("of C_Sign hang", "\"of\" begins no line: write on or token"),
            ("on C_Sing hang", "\"C_Sing\" is no function of PKCS#11"),
            ("on C_Sign", "what happens is missing"),
            ("on C_Sign hang 3", "\"3\" is one word too many"),
            ("on C_Sign return", "a return code is missing"),
            ("on C_Sign delay 5", "\"5\" is no duration: write a whole number and us, ms or s"),
            ("on C_Login short", "\"short\" cannot befall C_Login"),
            ("on * garbage", "\"garbage\" cannot befall *"),
            ("on C_Sign signed-by key", "the label key is not in quotes"),
            ("on C_Sign signed-by \"key", "a quote is not closed"),
            ("on C_Sign hang time=3", "\"time\" is no condition of this line"),
            ("on C_Sign hang times=0", "0 would be never"),
            ("on C_Sign hang times=-1", "\"-1\" is no number that fits here"),
            ("on C_Sign hang chance=1.5", "\"1.5\" is not from 0 to 1"),
            ("on C_Sign hang back=session", "\"back\" is no condition of this line"),
            ("on C_Sign hang except=5a", "\"5a\" is no digest: write 64 hexadecimal digits"),
            ("on C_Login hang except=5a", "\"except\" is no condition of this line"),
            ("token away back=soon", "\"soon\": a token is back by session, initialize or process"),
            ("token gone", "\"gone\" is nothing that a token is like"),
            ("token away times=2", "\"times\" is no condition of this line"),
        ] {
            let error = Script::parse(&format!("\n{text}\n")).unwrap_err();
            assert_eq!(error.to_string(), format!("line 2: {reason}"), "{text}");
        }
        let error = Script::parse("on C_Sign return CKR_NEVER").unwrap_err().to_string();
        assert!(error.starts_with("line 1: \"CKR_NEVER\" is no return code: write a number"));
        let long = "on C_Sign hang\n".repeat(LINES_MAX + 1);
        assert!(Script::parse(&long).unwrap_err().to_string().contains("at most 64 lines"));
    }
}
