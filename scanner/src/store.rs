//! The state between runs: a folder with one file, replaced whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;
use mimawari_drift::state::State;

use crate::failure::Failure;
use crate::run::write_atomically;

const FILE: &str = "state.json";

/// The state's folder, locked: two patrols over one state would each overwrite what the other saw.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    _lock: File,
}

impl Store {
    /// Opens the folder, making it if needed, and locks it.
    ///
    /// # Errors
    /// A [`Failure`] when it cannot be made or another process holds it.
    pub fn open(dir: &Path) -> Result<Self> {
        let failed = |e: io::Error| {
            Failure::new(format!("cannot open the state folder {}", dir.display()))
                .help("make it writable, or name another one as `url` under [state]")
                .source(e)
        };
        fs::create_dir_all(dir).map_err(failed)?;
        let lock = File::create(dir.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: dir.join(FILE), _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(Failure::new(format!(
                "another mimawari is using the state folder {}",
                dir.display()
            ))
            .help("wait for it to end, or judge its run later with `mimawari judge`")
            .into()),
            Err(std::fs::TryLockError::Error(e)) => Err(failed(e).into()),
        }
    }

    /// The last state; the empty one only if there has never been any.
    ///
    /// # Errors
    /// A [`Failure`] when the file cannot be read or understood.
    pub fn load(&self) -> Result<State> {
        read(&self.path)
    }

    /// Replaces the state.
    ///
    /// # Errors
    /// A [`Failure`]; the old state is then untouched.
    pub fn save(&self, state: &State) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(state)?;
        text.push(b'\n');
        write_atomically(&self.path, &text).map_err(|e| {
            Failure::new(format!("cannot write the state {}", self.path.display()))
                .help("the state before is untouched; mend the folder and judge the run again with `mimawari judge --save-state`")
                .source(e)
        })?;
        Ok(())
    }
}

/// The state of a folder without locking it, for a replay that writes nothing.
///
/// # Errors
/// As [`Store::load`].
pub fn load_unlocked(dir: &Path) -> Result<State> {
    read(&dir.join(FILE))
}

fn read(path: &Path) -> Result<State> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
        Err(e) => {
            return Err(Failure::new(format!("cannot read the state {}", path.display()))
                .help("make it readable; it is never taken for empty")
                .source(e)
                .into());
        }
    };
    State::parse(&text).map_err(|e| {
        Failure::new(format!("the state {} cannot be understood", path.display()))
            .help("restore it from a backup; delete it only if you accept that every finding is new again")
            .source(e)
            .into()
    })
}
