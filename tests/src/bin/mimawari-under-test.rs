//! The program itself under a name of the test package, so that the suites always run the binary
//! that was built from the same sources, whichever packages were asked for.

use std::process::ExitCode;

fn main() -> ExitCode {
    mimawari::main()
}
