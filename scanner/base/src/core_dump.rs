//! No image of the process on a disk: bodies of published files, credentials and tokens are in its memory.

use nix::sys::resource::{Resource, setrlimit};

/// Forbids core dumps from here on, whatever ends the process. Where the kernel hands the image to a
/// program (core(5), "Piping core dumps to a program"), that program is given the limit and keeps
/// nothing either.
///
/// # Errors
/// What the system says; lowering a limit needs no privilege.
pub fn forbid_core_dumps() -> std::io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)
}
