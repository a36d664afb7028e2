//! The routes of the officers' listener: how signing windows stand, open one, close one.
//!
//! In go requests of people with a certificate of the officers' authority; out come the windows as they
//! stand then. What an officer does is durable in the ledger before it is answered, and stands in the
//! journal with the officer's id. It judges no batch; [`crate::issue::window`] knows what a window is.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use jiff::Timestamp;
use policy::VIET_NAM;

use super::exchange::{self, Asked, Exchange, Phase, Place, Reply, Routes};
use super::log::{self, LogRoute};
use super::problem;
use crate::access::Officer;
use crate::clock;
use crate::issue::window::{self, WindowState};
use crate::issue::{IssueError, Issuing};
use crate::ledger::{WINDOW_OVERRIDE_SECONDS_MAX, WindowClosing, WindowOverride};
use crate::logging;
use crate::tlog::fact::Peer;
use crate::wire::cbor::write;
use crate::wire::officer::{self, OverrideEntry, WindowEntry};
use crate::wire::problem::Problem;

/// Longest body: a time and a sentence need less than 300 bytes.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// The officers' side of HTTP.
pub struct Officers {
    app: Arc<Issuing>,
    exchange: Exchange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route<'a> {
    Windows,
    Open(&'a str),
    Close(&'a str),
    Log(LogRoute<'a>),
}

impl<'a> Route<'a> {
    fn find(path: &'a str) -> Option<Self> {
        if let Some(route) = LogRoute::find(path) {
            return Some(Self::Log(route));
        }
        let rest = path.strip_prefix("/v1/windows")?;
        if rest.is_empty() {
            return Some(Self::Windows);
        }
        match rest.strip_prefix('/')?.split_once('/')? {
            (issuer, "open") => Some(Self::Open(issuer)),
            (issuer, "close") => Some(Self::Close(issuer)),
            _ => None,
        }
    }

    fn method(self) -> Method {
        match self {
            Self::Windows | Self::Log(_) => Method::GET,
            Self::Open(_) | Self::Close(_) => Method::POST,
        }
    }
}

impl Routes for Officers {
    async fn answer(
        &self,
        certificate: &[u8],
        request: Request<Incoming>,
        phase: Phase,
    ) -> Response<Full<Bytes>> {
        let asked = self.exchange.ask(&request, place(request.uri().path()));
        let (head, mut body) = request.into_parts();
        let result = self.reply(certificate, (&head, &mut body), phase, &asked).await;
        let peer = || match Officer::of(certificate) {
            Some(officer) => Peer::Officer(officer.id),
            None => exchange::stranger(certificate),
        };
        self.exchange.answer(asked, (&head, &mut body), peer, result).await
    }
}

impl Officers {
    /// The routes over everything that issuing needs; a body may take `body_wait` to arrive.
    pub fn new(app: Arc<Issuing>, body_wait: Duration) -> Self {
        app.metrics.name_routes(LABELS, problem::CODES);
        let (metrics, refusals) = (Arc::clone(&app.metrics), Arc::clone(&app.refusals));
        let body_bytes_max = BODY_BYTES_MAX;
        Self { app, exchange: Exchange { metrics, refusals, body_bytes_max, body_wait } }
    }

    async fn reply(
        &self,
        certificate: &[u8],
        (head, body): (&Parts, &mut Incoming),
        phase: Phase,
        asked: &Asked,
    ) -> Result<Reply, Problem> {
        let officer = Officer::of(certificate).ok_or_else(problem::officer_unknown)?;
        let route = Route::find(head.uri.path()).ok_or_else(problem::not_found)?;
        if head.method != route.method() {
            return Err(problem::method_not_allowed());
        }
        match route {
            Route::Log(LogRoute::Checkpoint) => return log::checkpoint(&self.app).await,
            Route::Log(LogRoute::Tile(tile)) => return log::tile(&self.app, tile).await,
            _ if asked.wanted.answer.is_none() => return Err(problem::not_acceptable()),
            Route::Log(LogRoute::Proof(uvci)) => {
                return log::proof(&self.app, uvci, |_| true).await;
            }
            Route::Log(LogRoute::Consistency { from, to }) => {
                return log::consistency(&self.app, from, to).await;
            }
            Route::Log(LogRoute::Checkpoints) => {
                return log::checkpoints(&self.app, head.uri.query()).await;
            }
            _ => {}
        }
        let (Route::Open(issuer) | Route::Close(issuer)) = route else {
            return self.windows().await;
        };
        self.exchange.check_announced(head)?;
        if phase == Phase::Draining {
            return Err(problem::draining());
        }
        let rules = self.app.rules.load_full();
        let rules = rules.policy.issuer(issuer).ok_or_else(problem::issuer_unknown)?;
        let always_open = rules.signing_window().is_none();
        let body = self.exchange.body(body).await?;
        let done = match route {
            Route::Windows | Route::Log(_) | Route::Close(_) => {
                self.close(issuer, officer, &body).await
            }
            Route::Open(_) if always_open => Err(problem::window_always_open()),
            Route::Open(_) => self.open(issuer, officer, &body).await,
        };
        done?;
        self.entry(issuer).await
    }

    /// The windows of all issuers.
    async fn windows(&self) -> Result<Reply, Problem> {
        let states = self.states().await?;
        encoded(&states.iter().map(entry).collect::<Vec<_>>())
    }

    /// The window of one issuer, after it was changed.
    async fn entry(&self, issuer: &str) -> Result<Reply, Problem> {
        let states = self.states().await?;
        let state = states.iter().find(|state| state.issuer == issuer);
        encoded(&entry(state.ok_or_else(problem::issuer_unknown)?))
    }

    async fn open(&self, issuer: &str, officer: Officer, body: &[u8]) -> Result<(), Problem> {
        let asked = officer::decode_open(body).map_err(|error| problem::request(&error))?;
        let now = self.app.clock.now().map_err(|error| problem::of(&error.into()))?;
        let seconds = asked.until.saturating_sub(now);
        if !(1..=WINDOW_OVERRIDE_SECONDS_MAX).contains(&seconds) {
            return Err(problem::window_invalid());
        }
        let opened = WindowOverride {
            issuer: issuer.to_owned(),
            opened_at: now,
            until: asked.until,
            officer: officer.id,
            reason: asked.reason,
        };
        let before = self.app.ledger.open_window(opened.clone()).await.map_err(refused)?;
        if before.as_ref().is_some_and(|before| before.says_the_same(&opened)) {
            return Ok(());
        }
        let WindowOverride { officer, reason, .. } = &opened;
        let until = local(opened.until);
        ::log::warn!(officer:%, issuer:%, until:%, reason:%; "signing window opened by an officer");
        self.observe(now).await;
        Ok(())
    }

    async fn close(&self, issuer: &str, officer: Officer, body: &[u8]) -> Result<(), Problem> {
        let asked = officer::decode_close(body).map_err(|error| problem::request(&error))?;
        let now = self.app.clock.now().map_err(|error| problem::of(&error.into()))?;
        let closing = WindowClosing {
            issuer: issuer.to_owned(),
            at: now,
            officer: officer.id,
            reason: asked.reason,
        };
        let closed = self.app.ledger.close_window(closing.clone()).await.map_err(refused)?;
        if let Some(closed) = closed {
            let WindowClosing { officer, reason, .. } = &closing;
            let (until, opened_by) = (local(closed.until), &closed.officer);
            ::log::warn!(officer:%, issuer:%, until:%, opened_by:%, reason:%; "override of the signing window closed by an officer");
            self.observe(now).await;
        }
        Ok(())
    }

    async fn states(&self) -> Result<Vec<WindowState>, Problem> {
        // Looking does not need a clock that is fit to sign by.
        window::states(&self.app, clock::seconds_since_1970()).await.map_err(refused)
    }

    /// The metrics follow at once; where they cannot, the daemon's pulse makes up for it.
    async fn observe(&self, now: i64) {
        if let Err(error) = window::observe(&self.app, now).await {
            ::log::warn!("windows not observed: {}", logging::chain(&error));
        }
    }
}

/// Every label that a path can have.
const LABELS: &[&str] = &[
    "/v1/windows",
    "/v1/windows/{issuer}/open",
    "/v1/windows/{issuer}/close",
    log::CHECKPOINT,
    log::CHECKPOINTS,
    log::CONSISTENCY,
    log::PROOF,
    log::TILE,
    "other",
];

fn place(path: &str) -> Place {
    let route = Route::find(path);
    let label = match route {
        Some(Route::Windows) => "/v1/windows",
        Some(Route::Open(_)) => "/v1/windows/{issuer}/open",
        Some(Route::Close(_)) => "/v1/windows/{issuer}/close",
        Some(Route::Log(route)) => route.label(),
        None => "other",
    };
    Place { label, method: route.map(Route::method) }
}

fn entry(state: &WindowState) -> WindowEntry<'_> {
    WindowEntry {
        open: state.is_open(),
        issuer: &state.issuer,
        window: state.window.map(|window| window.to_string()),
        opens_in: state.opens_in,
        opened: state.opened.as_ref().map(|opened| OverrideEntry {
            until: opened.until,
            reason: &opened.reason,
            officer: &opened.officer,
            opened_at: opened.opened_at,
        }),
    }
}

fn encoded<T: serde::Serialize>(value: &T) -> Result<Reply, Problem> {
    let body = write::to_vec(value).map_err(|error| problem::of(&error.into()))?;
    Ok(Reply::cbor(body))
}

fn refused(error: crate::ledger::LedgerError) -> Problem {
    ::log::warn!("officer's request not carried out: {}", logging::chain(&error));
    problem::of(&IssueError::from(error))
}

/// A time as people in Viet Nam read it, for the journal.
fn local(epoch: i64) -> String {
    Timestamp::from_second(epoch)
        .map_or_else(|_| epoch.to_string(), |time| time.display_with_offset(VIET_NAM).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_routes_or_nowhere() {
        // Three forms of path are routes; whatever else is none, and has the one label for that.
        for (path, route) in [
            ("/v1/windows", Some(Route::Windows)),
            ("/v1/windows/vn-moh/open", Some(Route::Open("vn-moh"))),
            ("/v1/windows/vn-moh/close", Some(Route::Close("vn-moh"))),
            ("/v1/windows/", None),
            ("/v1/windows/vn-moh", None),
            ("/v1/windows/vn-moh/shut", None),
            ("/v1/windows/a/b/open", None),
            ("/v1/windowsx", None),
            ("/v1/batches", None),
        ] {
            assert_eq!(Route::find(path), route, "{path}");
            assert!(LABELS.contains(&place(path).label));
            assert_eq!(place(path).method.is_some(), route.is_some());
        }
    }

    #[test]
    fn the_journal_has_local_times() {
        // Midnight UTC is seven in the morning in Viet Nam.
        assert_eq!(local(1_650_067_200), "2022-04-16T07:00:00+07:00");
    }
}
