//! This process as PKCS#11 knows it, an application: its sessions, and what it may still use.

use std::collections::{HashMap, HashSet};

use cryptoki_sys::{CK_MECHANISM_TYPE, CK_OBJECT_CLASS, CK_SESSION_HANDLE, CK_SLOT_ID};

/// Sessions and log-in of this process.
pub(crate) struct Application {
    sessions: HashMap<CK_SESSION_HANDLE, Session>,
    /// Sessions that were open when the token was lost.
    dead: HashSet<CK_SESSION_HANDLE>,
    /// The user was logged out without having asked.
    pub(crate) logged_out: bool,
    /// The token was away, to be back by a new process, when this one started.
    pub(crate) started_without: bool,
    /// The token was away, to be back by a new initialisation, at the last one.
    initialized_without: bool,
    losses_at_start: u64,
    losses_at_initialize: u64,
}

/// What has to be remembered of a session.
#[derive(Clone, Default)]
pub(crate) struct Session {
    pub(crate) slot: CK_SLOT_ID,
    pub(crate) writes: bool,
    /// The class that the last search was for.
    pub(crate) class: Option<CK_OBJECT_CLASS>,
    /// The mechanism and its parameter that the last signature was begun with.
    pub(crate) mechanism: Option<(CK_MECHANISM_TYPE, Vec<u8>)>,
}

impl Application {
    /// A process that starts after so many losses.
    pub(crate) fn new(losses: [u64; 3]) -> Self {
        let [_, losses_at_initialize, losses_at_start] = losses;
        Self {
            sessions: HashMap::new(),
            dead: HashSet::new(),
            logged_out: false,
            started_without: false,
            initialized_without: false,
            losses_at_start,
            losses_at_initialize,
        }
    }

    /// Begins anew at `C_Initialize`.
    pub(crate) fn initialized(&mut self, losses: [u64; 3], away: bool) {
        [_, self.losses_at_initialize, _] = losses;
        self.initialized_without = away;
        self.finalized();
    }

    /// Forgets what ends with `C_Finalize`.
    pub(crate) fn finalized(&mut self) {
        self.sessions.clear();
        self.dead.clear();
        self.logged_out = false;
    }

    /// Whether the token, wherever it is, is out of this process's sight.
    pub(crate) fn is_blind(&self, losses: [u64; 3]) -> bool {
        let [_, initialize, start] = losses;
        self.started_without
            || self.initialized_without
            || start > self.losses_at_start
            || initialize > self.losses_at_initialize
    }

    pub(crate) fn opened(&mut self, handle: CK_SESSION_HANDLE, slot: CK_SLOT_ID, writes: bool) {
        self.dead.remove(&handle);
        self.sessions.insert(handle, Session { slot, writes, ..Session::default() });
    }

    pub(crate) fn closed(&mut self, handle: CK_SESSION_HANDLE) {
        self.dead.remove(&handle);
        self.sessions.remove(&handle);
    }

    pub(crate) fn closed_all(&mut self, slot: CK_SLOT_ID) {
        self.sessions.retain(|_, session| session.slot != slot);
    }

    pub(crate) fn is_dead(&self, handle: CK_SESSION_HANDLE) -> bool {
        self.dead.contains(&handle)
    }

    pub(crate) fn session(&self, handle: CK_SESSION_HANDLE) -> Option<&Session> {
        self.sessions.get(&handle)
    }

    /// Changes what is remembered of a session.
    pub(crate) fn note(&mut self, handle: CK_SESSION_HANDLE, change: impl FnOnce(&mut Session)) {
        if let Some(session) = self.sessions.get_mut(&handle) {
            change(session);
        }
    }

    /// How many sessions are open with a slot, altogether and read-write.
    pub(crate) fn count(&self, slot: CK_SLOT_ID) -> (usize, usize) {
        let of_slot = || self.sessions.values().filter(|session| session.slot == slot);
        (of_slot().count(), of_slot().filter(|session| session.writes).count())
    }

    /// Makes all sessions dead, and returns them.
    pub(crate) fn lose_sessions(&mut self) -> Vec<CK_SESSION_HANDLE> {
        let lost: Vec<_> = self.sessions.drain().map(|(handle, _)| handle).collect();
        self.dead.extend(&lost);
        self.logged_out = false;
        lost
    }

    /// A log-in is of a slot: any session of it will do to end it.
    pub(crate) fn one_session_of_each_slot(&self) -> Vec<CK_SESSION_HANDLE> {
        let by_slot: HashMap<_, _> =
            self.sessions.iter().map(|(handle, session)| (session.slot, *handle)).collect();
        by_slot.into_values().collect()
    }
}
