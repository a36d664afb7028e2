//! Ends the process when one call into the module takes too long.
//!
//! A hung PKCS#11 call cannot be cancelled, and the front cannot signal another user's process, so
//! the worker watches itself: a session thread says until when it wants to be back, and a thread
//! of this module looks at the clock. It promises an end within a tenth of the deadline after it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use super::channel::Outlet;
use super::end_now;
use super::fault::Fault;
use super::say;

/// Longest time between two looks at the clock; with short deadlines it is a tenth of them.
const TICK_MAX: Duration = Duration::from_millis(250);
/// Marks a lane that makes no call.
const IDLE: u64 = 0;

/// The watch over all lanes of a worker.
#[derive(Clone)]
pub(super) struct Watchdog(Arc<Watch>);

struct Watch {
    epoch: Instant,
    /// For each lane the time, in milliseconds after the epoch, by which its call must be over.
    until: Vec<AtomicU64>,
    outlet: Mutex<Arc<Outlet>>,
}

impl Watchdog {
    /// Begins to watch that many lanes, whose calls have that deadline.
    pub(super) fn start(lanes: usize, deadline: Duration, outlet: Arc<Outlet>) -> Self {
        let watchdog = Self(Arc::new(Watch {
            epoch: Instant::now(),
            until: (0..lanes).map(|_| AtomicU64::new(IDLE)).collect(),
            outlet: Mutex::new(outlet),
        }));
        let watch = Arc::clone(&watchdog.0);
        let tick = TICK_MAX.min(deadline / 10);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(tick);
                watch.look();
            }
        });
        watchdog
    }

    /// Says that the lane makes a call now; each must end before it is this old.
    pub(super) fn watch(&self, lane: usize, deadline: Duration) -> Watched<'_> {
        let watched = Watched { watch: Some(&self.0), lane, deadline };
        watched.again();
        watched
    }

    /// Who is told now.
    pub(super) fn outlet(&self) -> Arc<Outlet> {
        self.0.outlet()
    }

    /// Who is told of an overrun from now on.
    pub(super) fn tell(&self, outlet: Arc<Outlet>) {
        *self.0.outlet.lock().unwrap_or_else(PoisonError::into_inner) = outlet;
    }
}

impl Watch {
    fn now(&self) -> u64 {
        millis(self.epoch.elapsed())
    }

    fn outlet(&self) -> Arc<Outlet> {
        Arc::clone(&self.outlet.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn look(&self) {
        let now = self.now();
        let overrun = |until: &AtomicU64| {
            let until = until.load(Ordering::Relaxed);
            until != IDLE && now > until
        };
        if !self.until.iter().any(overrun) {
            return;
        }
        let fault = Fault::token("a call into the PKCS#11 module overran its deadline");
        say(&fault.to_string());
        // The front notices the end in any case.
        let _ = self.outlet().bid_farewell(&fault);
        end_now();
    }
}

/// A call being watched; dropping it ends the watch.
pub(super) struct Watched<'w> {
    watch: Option<&'w Watch>,
    lane: usize,
    deadline: Duration,
}

impl Watched<'_> {
    /// A call that who sent this process watches: it ends the process where it takes too long.
    pub(super) const fn by_the_command() -> Self {
        Self { watch: None, lane: 0, deadline: Duration::ZERO }
    }

    /// Says that the next call begins now.
    pub(super) fn again(&self) {
        let Some(watch) = self.watch else { return };
        let until = watch.now().saturating_add(millis(self.deadline)).max(1);
        self.set(until);
    }

    fn set(&self, until: u64) {
        if let Some(place) = self.watch.and_then(|watch| watch.until.get(self.lane)) {
            place.store(until, Ordering::Relaxed);
        }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.set(IDLE);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
