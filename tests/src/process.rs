//! The processes of one set-up, found by their command lines, whoever their parent is by now.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::setup::Setup;

/// The processes whose command line names the set-up's folder, and `word`.
pub fn of(setup: &Setup, word: &str) -> Vec<Pid> {
    let folder = setup.dir().display().to_string();
    let processes = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let ours = |process: &Path| {
        let command = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        command.contains(&folder) && command.contains(word)
    };
    processes
        .filter(|process| ours(&process.path()))
        .filter_map(|process| Pid::from_raw(process.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// The worker processes of a daemon: its children with `hsm-worker` in their command line.
pub fn workers_of(daemon: Pid) -> Vec<Pid> {
    let is_worker = |pid: &Pid| {
        let command = fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
        command.is_ok_and(|command| command.contains("hsm-worker"))
    };
    children_of(daemon).into_iter().filter(is_worker).collect()
}

/// The processes that a process has started and that have not ended.
pub fn children_of(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    processes
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The second field behind the parenthesised name is the parent.
            let of = stat.rsplit(')').next()?.split_whitespace().nth(1)?.to_owned();
            (of == parent).then(|| Pid::from_raw(pid))?
        })
        .collect()
}

/// Whether a process has mapped a file of this name; `None` where it is not ours to see.
pub fn maps(process: Pid, file: &str) -> Option<bool> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", process.as_raw_nonzero())).ok()?;
    Some(maps.contains(file))
}

/// Sends a signal to each; those that have ended meanwhile are passed over.
pub fn signal(processes: &[Pid], signal: Signal) {
    for process in processes {
        let _ = kill_process(*process, signal);
    }
}

/// Whether this process may do what only root may; says loudly what is skipped if not.
pub fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: {what}: only root can look");
    }
    root
}

/// Kills every child of this process; the workers of a daemon end with it.
pub fn end_children() {
    signal(&children_of(rustix::process::getpid()), Signal::KILL);
}
