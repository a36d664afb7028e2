//! The daemon's program; for now the worker alone.

use std::path::PathBuf;
use std::process::ExitCode;

use signerd::hsm::worker::Channel;
use signerd::hsm::worker::WorkerArgs;
use signerd::hsm::worker::run;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let mut config = PathBuf::new();
    let mut channel = Channel::Activated;
    if args.next().as_deref() != Some("hsm-worker".as_ref()) {
        return ExitCode::from(64);
    }
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--config") => config = args.next().unwrap_or_default().into(),
            Some("--socket") => channel = Channel::Listen(args.next().unwrap_or_default().into()),
            Some("--tether") => channel = Channel::Tether,
            _ => return ExitCode::from(64),
        }
    }
    run(&WorkerArgs { config, channel })
}
