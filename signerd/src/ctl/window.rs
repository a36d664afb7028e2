//! `signerctl window`: how the signing windows stand, and an officer's override of one.
//!
//! Asks the officers' listener with the officer's certificate. In go an issuer, an end and a reason;
//! out comes how the window stands then, as a table or JSON. It decides nothing: whether the time is
//! allowed is for the daemon to say, which also keeps who asked.

use std::io::Write;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};
use policy::VIET_NAM;
use serde::{Deserialize, Serialize};

use super::answer;
use super::cbor;
use super::client::{Client, Reply};
use super::config::Settings;
use super::error::{CtlError, Outcome};
use super::output::harmless;
use super::{Context, runtime};

/// The command line of `window`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show how the windows of all issuers stand
    Show(Show),
    /// Let an issuer sign outside its window
    Open(Open),
    /// End an override before its time
    Close(Close),
}

#[derive(Debug, clap::Args)]
struct Show {
    /// This issuer alone
    #[arg(long, value_name = "ID")]
    issuer: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Open {
    /// Whose window [default: issuer of the settings]
    #[arg(long, value_name = "ID")]
    issuer: Option<String>,
    /// For how long, such as 2h or 1h30m; at most 24h
    #[arg(long = "for", value_name = "DURATION", required_unless_present = "until")]
    duration: Option<String>,
    /// Until when, in Viet Nam unless an offset stands behind it, such as 2026-11-24T06:00
    #[arg(long, value_name = "TIME", conflicts_with = "duration")]
    until: Option<String>,
    /// Why, in one sentence; it stands in the ledger and in the journal
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, clap::Args)]
struct Close {
    /// Whose window [default: issuer of the settings]
    #[arg(long, value_name = "ID")]
    issuer: Option<String>,
    /// Why, in one sentence; it stands in the ledger and in the journal
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// A value of the command line that is none; correct it, nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// No such issuer in the answer.
    #[error("the daemon has no issuer \"{0}\"")]
    Issuer(String),
    /// The id would not be one path segment.
    #[error("\"{0}\" is not an issuer id")]
    IssuerId(String),
    /// `--for` is no duration of at least a second.
    #[error("--for \"{0}\" is not a duration")]
    Duration(String),
    /// `--until` is no time.
    #[error("--until \"{0}\" is not a time")]
    Until(String),
}

impl WindowError {
    /// What to do about it.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Issuer(_) | Self::IssuerId(_) => {
                "Check --issuer; signerctl window show lists the issuers."
            }
            Self::Duration(_) => "Write it as 2h, 90m or 1h30m.",
            Self::Until(_) => {
                "Write it as 2026-11-24T06:00, or with an offset: 2026-11-24T06:00+07:00."
            }
        }
    }
}

/// How the window of one issuer stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Whose.
    pub issuer: String,
    /// Whether new batches are signed now.
    pub open: bool,
    /// The hours of the policy; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// Seconds until it opens by the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens_in: Option<u64>,
    /// What an officer opened.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "override")]
    pub opened: Option<Override>,
}

/// What an officer opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// When it ends, seconds since 1970.
    pub until: i64,
    /// Why.
    pub reason: String,
    /// Who opened it.
    pub officer: String,
    /// When it was opened, seconds since 1970.
    pub opened_at: i64,
}

/// Members in the order of their encodings: shorter first.
#[derive(Serialize)]
struct OpenBody<'a> {
    until: i64,
    reason: &'a str,
}

#[derive(Serialize)]
struct CloseBody<'a> {
    reason: &'a str,
}

/// Runs the verb.
///
/// # Errors
/// When the settings, the command line, the server or the output stop it.
pub fn run(args: &Args, context: &Context, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    let settings = Settings::load(&context.config)?;
    let client = Client::new(settings.officer()?, context.patience)?;
    let windows: Vec<Window> = match &args.action {
        Action::Show(show) => {
            let reply = runtime()?.block_on(client.fetch("/v1/windows"))?;
            selected(answer::decode(&reply.body)?, show.issuer.as_deref())?
        }
        Action::Open(open) => {
            let path = path(settings.issuer(open.issuer.as_deref())?, "open")?;
            let body = OpenBody { until: end(open, context.now)?, reason: &open.reason };
            vec![posted(&client, &path, &cbor::encode(&body)?)?]
        }
        Action::Close(close) => {
            let path = path(settings.issuer(close.issuer.as_deref())?, "close")?;
            let body = CloseBody { reason: &close.reason };
            vec![posted(&client, &path, &cbor::encode(&body)?)?]
        }
    };
    let text = if context.json { as_json(&windows) } else { as_table(&windows) };
    out.write_all(text.as_bytes())?;
    Ok(Outcome::Done)
}

fn posted(client: &Client, path: &str, body: &[u8]) -> Result<Window, CtlError> {
    let Reply { body, .. } = runtime()?.block_on(client.post(path, body.to_vec().into()))?;
    Ok(answer::decode(&body)?)
}

fn selected(windows: Vec<Window>, issuer: Option<&str>) -> Result<Vec<Window>, WindowError> {
    let Some(issuer) = issuer else { return Ok(windows) };
    let one: Vec<Window> = windows.into_iter().filter(|window| window.issuer == issuer).collect();
    if one.is_empty() { Err(WindowError::Issuer(issuer.to_owned())) } else { Ok(one) }
}

fn path(issuer: &str, action: &str) -> Result<String, WindowError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if issuer.is_empty() || !issuer.chars().all(plain) {
        return Err(WindowError::IssuerId(issuer.to_owned()));
    }
    Ok(format!("/v1/windows/{issuer}/{action}"))
}

/// When the override ends; one of the two is there.
fn end(open: &Open, now: i64) -> Result<i64, WindowError> {
    if let Some(text) = &open.duration {
        let duration: Option<SignedDuration> = text.parse().ok();
        let seconds = duration.map(|duration| duration.as_secs()).filter(|seconds| *seconds > 0);
        let end = seconds.and_then(|seconds| now.checked_add(seconds));
        return end.ok_or_else(|| WindowError::Duration(text.clone()));
    }
    let text = open.until.clone().unwrap_or_default();
    let local = || text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::fixed(VIET_NAM)).ok();
    let end = text.parse::<Timestamp>().ok().or_else(|| Some(local()?.timestamp()));
    end.map(Timestamp::as_second).ok_or(WindowError::Until(text))
}

fn as_json(windows: &[Window]) -> String {
    format!("{}\n", serde_json::json!(windows))
}

fn as_table(windows: &[Window]) -> String {
    let mut text = format!("{:<20}  {:<11}  {:<6}  {}\n", "ISSUER", "WINDOW", "NOW", "OVERRIDE");
    for window in windows {
        let hours = window.window.as_deref().unwrap_or("always");
        let now = if window.open { "open" } else { "closed" };
        let note = match (&window.opened, window.opens_in) {
            (Some(opened), _) => format!(
                "until {} by {}: {}",
                local_time(opened.until),
                opened.officer,
                opened.reason
            ),
            (None, Some(seconds)) => format!("none; opens in {}", hours_and_minutes(seconds)),
            (None, None) => "none".to_owned(),
        };
        let row = format!("{:<20}  {hours:<11}  {now:<6}  {note}", window.issuer);
        text.push_str(harmless(&row).trim_end());
        text.push('\n');
    }
    text
}

fn local_time(epoch: i64) -> String {
    let time = Timestamp::from_second(epoch).map(|time| VIET_NAM.to_datetime(time));
    time.map_or_else(|_| epoch.to_string(), |time| time.strftime("%Y-%m-%d %H:%M").to_string())
}

/// Rounded up, so that nobody comes a minute too early.
fn hours_and_minutes(seconds: u64) -> String {
    let minutes = seconds.div_ceil(60);
    format!("{}h{:02}m", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23T22:00 in Viet Nam.
    const NOW: i64 = 1_795_446_000;

    fn open(duration: Option<&str>, until: Option<&str>) -> Open {
        let (duration, until) = (duration.map(str::to_owned), until.map(str::to_owned));
        Open { issuer: None, duration, until, reason: "r".to_owned() }
    }

    #[test]
    fn an_end_is_a_duration_or_a_time_in_viet_nam() {
        // Durations count from now; a time without an offset is Viet Nam's, with one it is that one's.
        for (duration, until, expected) in [
            (Some("2h"), None, NOW + 7_200),
            (Some("1h30m"), None, NOW + 5_400),
            (None, Some("2026-11-24T06:00"), NOW + 8 * 3_600),
            (None, Some("2026-11-24 06:00"), NOW + 8 * 3_600),
            (None, Some("2026-11-24T06:00+07:00"), NOW + 8 * 3_600),
            (None, Some("2026-11-23T23:00:00Z"), NOW + 8 * 3_600),
        ] {
            assert_eq!(
                end(&open(duration, until), NOW).unwrap(),
                expected,
                "{duration:?} {until:?}"
            );
        }
        for (duration, until) in [
            (Some("soon"), None),
            (Some("0s"), None),
            (Some("-2h"), None),
            (None, Some("tomorrow")),
            (None, Some("2026-02-30T06:00")),
        ] {
            assert!(end(&open(duration, until), NOW).is_err(), "{duration:?} {until:?}");
        }
    }

    #[test]
    fn an_issuer_cannot_lead_elsewhere() {
        // What is not an id does not become a path.
        assert_eq!(path("vn-moh", "open").unwrap(), "/v1/windows/vn-moh/open");
        for bad in ["", "a/b", "..", "a?b", "A"] {
            assert!(path(bad, "open").is_err(), "{bad}");
        }
    }

    #[test]
    fn tables_say_what_is_open_and_by_whom() {
        // Hours, state and override stand in one line, times are local, nothing steers the terminal.
        let opened = Override {
            until: NOW + 7_200,
            reason: "bổ\u{1b} sung".into(),
            officer: "officer-1:00ff".into(),
            opened_at: NOW,
        };
        let window = |opened: Option<Override>, opens_in| Window {
            issuer: "vn-moh".into(),
            open: opened.is_some(),
            window: Some("17:00-21:00".into()),
            opens_in,
            opened,
        };
        let table = as_table(&[window(Some(opened), Some(1)), window(None, Some(68_399))]);
        assert!(
            table.contains("17:00-21:00  open    until 2026-11-24 00:00 by officer-1:00ff: bổ")
        );
        assert!(table.contains("closed  none; opens in 19h00m"), "{table}");
        assert!(!table.contains('\u{1b}'));
        let json: Vec<Window> = serde_json::from_str(&as_json(&[window(None, None)])).unwrap();
        assert_eq!(json, [window(None, None)]);
    }
}
