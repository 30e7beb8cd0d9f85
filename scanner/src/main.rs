//! The `mimawari` program. Everything is in the library; see `cli.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mimawari::main()
}
