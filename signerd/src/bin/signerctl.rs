//! The program `signerctl`; see `signerd::ctl`.

use std::process::ExitCode;

fn main() -> ExitCode {
    signerd::ctl::main()
}
