//! Writing and reading a run folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use mimawari_engine::Chunk;
use mimawari_probes::observation::{CellState, Observation};
use mimawari_targets::{Port, Walk};

use super::coverage;
use super::meta::{ORDER, RunMeta, VERSION};
use super::observations;
use crate::failure::Failure;

const META: &str = "run.json";
const OBSERVATIONS: &str = "observations.ndjson";
const COVERAGE: &str = "coverage.bin";

/// A run folder being written.
#[derive(Debug)]
pub struct RunFolder {
    dir: PathBuf,
    observations: observations::Writer,
    coverage: coverage::Writer,
}

impl RunFolder {
    /// Makes the folder, or takes an existing one that holds no run.
    ///
    /// # Errors
    /// A [`Failure`] when it holds a run already or cannot be written.
    pub fn create(dir: &Path, meta: &RunMeta) -> Result<Self> {
        let failed = |what: &str, e: io::Error| {
            let help = match e.kind() {
                io::ErrorKind::StorageFull => {
                    "free some space, or choose another disk with --out DIR"
                }
                io::ErrorKind::PermissionDenied => {
                    "choose a folder you may write to with --out DIR"
                }
                _ => "choose another folder with --out DIR",
            };
            Failure::new(format!("cannot {what} the run folder {}", dir.display()))
                .help(help)
                .source(e)
        };
        if dir.join(META).exists() {
            return Err(Failure::new(format!("{} already holds a run", dir.display()))
                .help("a run is evidence and is never overwritten; choose another folder with --out DIR")
                .into());
        }
        fs::create_dir_all(dir).map_err(|e| failed("make", e))?;
        write_atomically(&dir.join(META), &to_json(meta)?).map_err(|e| failed("write", e))?;
        let observations = observations::Writer::create(&dir.join(OBSERVATIONS))
            .map_err(|e| failed("write", e))?;
        let coverage =
            coverage::Writer::create(&dir.join(COVERAGE)).map_err(|e| failed("write", e))?;
        Ok(Self { dir: dir.to_owned(), observations, coverage })
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes records; they are with the system when this returns.
    ///
    /// # Errors
    /// A [`Failure`]; the file then holds the whole lines before.
    pub fn observe(&mut self, observations: &[Observation]) -> Result<()> {
        self.observations.write(observations).map_err(|e| lost(&self.dir.join(OBSERVATIONS), e))
    }

    /// Writes the states of a finished chunk.
    ///
    /// # Errors
    /// A [`Failure`]; the chunk then counts as not covered.
    pub fn cover(&mut self, chunk: &Chunk) -> Result<()> {
        self.coverage
            .states(chunk.first_step, &chunk.states)
            .map_err(|e| lost(self.coverage.path(), e))
    }

    /// Writes what a late answer changed.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn amend(&mut self, step: u64, state: CellState) -> Result<()> {
        self.coverage.amended(step, state).map_err(|e| lost(self.coverage.path(), e))
    }

    /// Puts everything on the disk and replaces `run.json`.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn finish(&mut self, meta: &RunMeta) -> Result<()> {
        let path = self.dir.join(META);
        self.observations.sync().map_err(|e| lost(&self.dir.join(OBSERVATIONS), e))?;
        self.coverage.sync().map_err(|e| lost(self.coverage.path(), e))?;
        write_atomically(&path, &to_json(meta)?).map_err(|e| lost(&path, e))?;
        Ok(())
    }
}

fn lost(path: &Path, e: io::Error) -> anyhow::Error {
    let help = match e.kind() {
        io::ErrorKind::StorageFull => {
            "free some space and run again; everything written before is kept and can be judged"
        }
        _ => "everything written before is kept and can be judged",
    };
    Failure::new(format!("cannot write {}", path.display())).help(help).source(e).into()
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

/// Writes a file so that readers see the old or the new one, never half of it.
///
/// # Errors
/// Any I/O error; the old file is then untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    // A temporary file is private to its owner; a report is for whoever the folder is for.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|e| e.error)?;
    File::open(dir)?.sync_all()
}

/// A run folder as it was read.
#[derive(Debug)]
pub struct LoadedRun {
    /// `run.json`.
    pub meta: RunMeta,
    /// The latest record of each cell and of each (target, path).
    pub observations: Vec<Observation>,
    /// Cells by state: not probed, silent, prohibited, closed, open.
    pub counts: [u64; 5],
    /// What the reading found amiss, one sentence each.
    pub damage: Vec<String>,
    walk: Walk,
    coverage: coverage::Reader,
}

impl LoadedRun {
    /// Reads a run folder, also one that SIGKILL left behind.
    ///
    /// # Errors
    /// A [`Failure`] naming the file.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(META);
        let text = fs::read_to_string(&path).map_err(|e| {
            Failure::new(format!("{} is not a run folder: cannot read run.json", dir.display()))
                .help("name a folder that `mimawari scan` or `patrol` wrote")
                .source(e)
        })?;
        let damaged = |path: &Path, e: &dyn std::fmt::Display| {
            Failure::new(format!("{} is damaged: {e}", path.display()))
                .help("the run cannot be judged; run the scan again")
        };
        let meta: RunMeta = serde_json::from_str(&text).map_err(|e| damaged(&path, &e))?;
        if meta.version != VERSION || meta.plan.order != ORDER {
            return Err(Failure::new(format!(
                "{} is of version {} ({}), which this program does not know",
                path.display(),
                meta.version,
                meta.plan.order
            ))
            .help("judge it with the version that wrote it")
            .into());
        }
        let walk = meta.plan.walk(meta.shard).map_err(|e| damaged(&path, &e))?;
        let mut damage = Vec::new();
        let path = dir.join(OBSERVATIONS);
        let read = observations::read(&path).map_err(|e| damaged(&path, &e))?;
        if read.cut_off {
            damage.push("observations.ndjson ends in half a line, which was left out".to_owned());
        }
        let path = dir.join(COVERAGE);
        let coverage = coverage::Reader::open(&path).map_err(|e| damaged(&path, &e))?;
        if coverage.is_cut_off() {
            damage
                .push("coverage.bin ends in half a frame, whose cells are not covered".to_owned());
        }
        let counts = coverage.count(walk.len());
        let observations = latest(read.observations);
        Ok(Self { meta, observations, counts, damage, walk, coverage })
    }

    /// The final state of a cell; [`CellState::NotProbed`] if it is not of this run.
    ///
    /// A cell whose observation was written and whose chunk never was (SIGKILL) is open all the
    /// same; the judge looks at the observations for that.
    #[must_use]
    pub fn cell(&self, ip: IpAddr, port: Port) -> CellState {
        self.walk.step_of(ip, port).map_or(CellState::NotProbed, |step| self.coverage.state(step))
    }

    /// The shard's walk.
    #[must_use]
    pub const fn walk(&self) -> &Walk {
        &self.walk
    }
}

/// The latest record of each cell and of each (target, path), in the order of their keys.
fn latest(observations: Vec<Observation>) -> Vec<Observation> {
    let mut map = BTreeMap::new();
    for o in observations {
        let key = match &o {
            Observation::Tcp(t) => (t.ip, t.port, None),
            Observation::Http(h) => {
                (h.ip, h.port, Some((h.scheme, h.host.clone(), h.path.clone())))
            }
        };
        map.insert(key, o);
    }
    map.into_values().collect()
}
