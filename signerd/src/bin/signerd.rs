//! The daemon; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    signerd::daemon::main()
}
