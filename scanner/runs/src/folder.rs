//! Writing and reading a run folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use mimawari_base::failure::Failure;
use mimawari_base::files::write_atomically;
use mimawari_drift::subject::Subject;
use mimawari_engine::ChunkResult;
use mimawari_probes::format::{FormatFault, NEWER_HELP, read_document};
use mimawari_probes::gap::Gap;
use mimawari_probes::http::to_printable;
use mimawari_probes::observation::{
    CellState, HttpObservation, Observation, TcpObservation, UrlScheme,
};
use mimawari_targets::{Cell, PlanOrder, Port};

use super::checkpoint::{CHECKPOINT, CheckpointWriter, SavedCheckpoint};
use super::coverage;
use super::meta::{ORDER, RunMeta, RunStatus};
use super::observations;

const META: &str = "run.json";
const OBSERVATIONS: &str = "observations.ndjson";
const COVERAGE: &str = "coverage.bin";

/// A run folder being written.
#[derive(Debug)]
pub struct RunFolder {
    dir: PathBuf,
    observations: observations::ObservationWriter,
    coverage: coverage::CoverageWriter,
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
        let observations = observations::ObservationWriter::create(&dir.join(OBSERVATIONS))
            .map_err(|e| failed("write", e))?;
        let coverage = coverage::CoverageWriter::create(&dir.join(COVERAGE), &meta.cells_digest())
            .map_err(|e| failed("write", e))?;
        lock_folder(dir, observations.file())?;
        Ok(Self { dir: dir.to_owned(), observations, coverage })
    }

    /// Takes up a folder whose run did not come to its end. Returns it with the checkpoint to go on
    /// from, `None` when the run was killed before its first one, and with the open cells that were
    /// seen so far.
    ///
    /// # Errors
    /// A [`Failure`] when another process is writing it, or it is damaged.
    pub fn resume(dir: &Path) -> Result<(Self, Option<SavedCheckpoint>, Vec<TcpObservation>)> {
        let damaged = |name: &str, e: io::Error| {
            Failure::new(format!("{} cannot be gone on with", dir.join(name).display()))
                .help("run the scan again into another folder; this one can still be judged")
                .source(e)
        };
        let file = File::options()
            .read(true)
            .write(true)
            .open(dir.join(OBSERVATIONS))
            .map_err(|e| damaged(OBSERVATIONS, e))?;
        lock_folder(dir, &file)?;
        let observations =
            observations::ObservationWriter::append(file).map_err(|e| damaged(OBSERVATIONS, e))?;
        let saved = SavedCheckpoint::read(dir).map_err(|e| damaged(CHECKPOINT, e))?;
        let mut latest = LatestRun::default();
        observations::read(&dir.join(OBSERVATIONS), |o| latest.take(o, |_| false))
            .map_err(|e| damaged(OBSERVATIONS, e))?;
        let open = latest
            .0
            .into_values()
            .filter_map(|o| match o {
                Observation::Tcp(t) if t.state == CellState::Open => Some(t),
                _ => None,
            })
            .collect();
        let coverage = coverage::CoverageWriter::append(
            &dir.join(COVERAGE),
            saved.as_ref().map(|s| s.coverage),
            &read_meta(dir)?.cells_digest(),
        )
        .map_err(|e| damaged(COVERAGE, e))?;
        Ok((Self { dir: dir.to_owned(), observations, coverage }, saved, open))
    }

    /// Replaces `run.json`.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn describe(&self, meta: &RunMeta) -> Result<()> {
        let path = self.dir.join(META);
        write_atomically(&path, &to_json(meta)?).map_err(|e| describe_write_failure(&path, e))
    }

    /// A writer of checkpoints for this folder.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn checkpointer(&self) -> Result<CheckpointWriter> {
        let start = || {
            let files =
                vec![self.observations.file().try_clone()?, self.coverage.file().try_clone()?];
            CheckpointWriter::start(&self.dir, files)
        };
        start().map_err(|e| describe_write_failure(&self.dir.join(CHECKPOINT), e))
    }

    /// A checkpoint of the sweep, with what belongs to it in this folder.
    #[must_use]
    pub fn save(&self, sweep: mimawari_engine::SweepCheckpoint) -> SavedCheckpoint {
        SavedCheckpoint { coverage: self.coverage.end(), sweep }
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
        self.observations
            .write(observations)
            .map_err(|e| describe_write_failure(&self.dir.join(OBSERVATIONS), e))
    }

    /// Writes the states of a finished chunk.
    ///
    /// # Errors
    /// A [`Failure`]; the chunk then counts as not covered.
    pub fn cover(&mut self, chunk: &ChunkResult) -> Result<()> {
        self.coverage
            .states(chunk.first_step, &chunk.states)
            .map_err(|e| describe_write_failure(self.coverage.path(), e))
    }

    /// Writes what a late answer changed.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn amend(&mut self, step: u64, state: CellState) -> Result<()> {
        self.coverage
            .amended(step, state)
            .map_err(|e| describe_write_failure(self.coverage.path(), e))
    }

    /// Puts everything on the disk and replaces `run.json`.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn finish(&mut self, meta: &RunMeta) -> Result<()> {
        self.observations
            .sync()
            .map_err(|e| describe_write_failure(&self.dir.join(OBSERVATIONS), e))?;
        self.coverage.sync().map_err(|e| describe_write_failure(self.coverage.path(), e))?;
        self.describe(meta)?;
        if meta.status == RunStatus::Complete {
            // Nothing is left to go on with. It may be that there never was one.
            let _ = fs::remove_file(self.dir.join(CHECKPOINT));
        }
        Ok(())
    }
}

/// What a folder's coverage says of a step by now; not probed where it cannot be read.
#[must_use]
pub fn read_state(dir: &Path, step: u64) -> CellState {
    let reader = coverage::CoverageReader::open(&dir.join(COVERAGE));
    reader.map_or(CellState::NotProbed, |r| r.state(step))
}

/// Keeps two processes from writing one run. The lock ends with the process, whatever ends it.
fn lock_folder(dir: &Path, file: &File) -> Result<()> {
    match file.try_lock() {
        Err(fs::TryLockError::WouldBlock) => {
            Err(Failure::new(format!("another process is writing the run {}", dir.display()))
                .help("wait for it to end, or stop it")
                .into())
        }
        // A file system without locks is no reason not to scan.
        Ok(()) | Err(fs::TryLockError::Error(_)) => Ok(()),
    }
}

/// The `run.json` of a folder.
///
/// # Errors
/// A [`Failure`] naming the file.
pub fn read_meta(dir: &Path) -> Result<RunMeta> {
    let path = dir.join(META);
    let text = fs::read(&path).map_err(|e| {
        Failure::new(format!("{} is not a run folder: cannot read run.json", dir.display()))
            .help("name a folder that `mimawari scan` or `patrol` wrote")
            .source(e)
    })?;
    let meta: RunMeta =
        read_document(&text).map_err(|fault| describe_format_fault(&path, &fault))?;
    if meta.plan.order != ORDER {
        return Err(Failure::new(format!(
            "{} has the order {}, which this program does not know",
            path.display(),
            to_printable(meta.plan.order.as_bytes(), 40)
        ))
        .help("judge it with the version that wrote it")
        .into());
    }
    Ok(meta)
}

/// What is wrong with a document of a run folder.
fn describe_format_fault(path: &Path, fault: &FormatFault) -> Failure {
    let failure = Failure::new(format!("{} {fault}", path.display()));
    failure.help(if fault.is_newer() {
        NEWER_HELP
    } else {
        "the run cannot be judged; run the scan again"
    })
}

/// What is wrong with a file of a run folder that cannot be read.
fn describe_read_failure(path: &Path, e: &io::Error) -> Failure {
    match e.get_ref().and_then(|inner| inner.downcast_ref::<FormatFault>()) {
        Some(fault) => describe_format_fault(path, fault),
        None => describe_damage(path, e),
    }
}

/// `run.json` and `coverage.bin` say different things of what the steps are.
fn describe_plan_mismatch(dir: &Path) -> Failure {
    Failure::new(format!(
        "run.json and coverage.bin of {} are not of one plan: which cells were covered is not known",
        dir.display()
    ))
    .help(
        "restore run.json as mimawari wrote it (a program that rounds numbers above 2^53 may have written \
         it anew), or run the scan again",
    )
}

fn describe_damage(path: &Path, e: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("{} is damaged: {e}", path.display()))
        .help("the run cannot be judged; run the scan again")
}

fn describe_write_failure(path: &Path, e: io::Error) -> anyhow::Error {
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

/// A run folder as it was read.
#[derive(Debug)]
pub struct LoadedRun {
    /// `run.json`.
    pub meta: RunMeta,
    /// The latest record of each host, of each cell and of each (target, path).
    pub observations: Vec<Observation>,
    /// Cells by state: not probed, silent, prohibited, closed, open.
    pub counts: [u64; 5],
    /// What is wrong with the files.
    pub damage: Vec<Gap>,
    walk: PlanOrder,
    coverage: coverage::CoverageReader,
}

impl LoadedRun {
    /// Reads a run folder, also one that SIGKILL left behind.
    ///
    /// # Errors
    /// A [`Failure`] naming the file.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_for(dir, |_| true)
    }

    /// The same, with no more of the content checks than is `needed`: of a million that found
    /// nothing only those count that found something before.
    ///
    /// # Errors
    /// A [`Failure`] naming the file.
    pub fn open_for(dir: &Path, needed: impl Fn(&HttpObservation) -> bool) -> Result<Self> {
        let meta = read_meta(dir)?;
        let path = dir.join(META);
        let walk = meta.walk().map_err(|e| describe_damage(&path, &e))?;
        let mut damage = Vec::new();
        let path = dir.join(OBSERVATIONS);
        let mut latest = LatestRun::default();
        let read = observations::read(&path, |o| latest.take(o, &needed));
        let end = read.map_err(|e| describe_read_failure(&path, &e))?;
        if end.cut_off {
            damage.push(Gap::ObservationsCutOff);
        }
        if end.unknown > 0 {
            damage.push(Gap::RecordsUnknown { records: end.unknown });
        }
        let path = dir.join(COVERAGE);
        let coverage =
            coverage::CoverageReader::open(&path).map_err(|e| describe_read_failure(&path, &e))?;
        let is_its = match coverage.cells_digest() {
            Some(digest) => *digest == meta.cells_digest(),
            // Version 1.0 wrote none.
            None => !meta.seed_is_rounded(),
        };
        if !is_its {
            return Err(describe_plan_mismatch(dir).into());
        }
        if coverage.is_cut_off() {
            damage.push(Gap::CoverageCutOff);
        }
        let counts = coverage.count(walk.len());
        let observations = latest.0.into_values().collect();
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

    /// The final states of the steps from `first` on.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn states(&self, first: u64, out: &mut [CellState]) -> io::Result<()> {
        self.coverage.states(first, out)
    }

    /// The shard's walk.
    #[must_use]
    pub const fn walk(&self) -> &PlanOrder {
        &self.walk
    }
}

/// The latest record of each host, of each cell and of each (target, path), in the order of their
/// keys.
#[derive(Default)]
struct LatestRun(BTreeMap<RecordKey, Observation>);

/// What a record is about, and by which scheme it was asked. A site is a content without a path.
type RecordKey = (Subject, Option<UrlScheme>);

fn build_record_key(o: &Observation) -> RecordKey {
    let site = |cell, scheme: UrlScheme, host: &Option<String>, path: &str| {
        (Subject::content(cell, host.as_deref(), path), Some(scheme))
    };
    match o {
        Observation::Host(h) => (Subject::Host(h.ip), None),
        Observation::Tcp(t) => (Subject::tcp(t.ip, t.port), None),
        // No path is empty.
        Observation::Web(w) => site(Cell::tcp(w.ip, w.port), w.scheme, &w.host, ""),
        Observation::Http(h) => site(Cell::tcp(h.ip, h.port), h.scheme, &h.host, &h.path),
    }
}

impl LatestRun {
    fn take(&mut self, o: Observation, needed: impl Fn(&HttpObservation) -> bool) {
        let key = build_record_key(&o);
        let is_needed = match &o {
            // What replaces an earlier record is needed as that was.
            Observation::Http(h) => needed(h) || self.0.contains_key(&key),
            _ => true,
        };
        if is_needed {
            self.0.insert(key, o);
        }
    }
}

#[cfg(test)]
mod tests {
    use mimawari_probes::observation::{ContentOutcome, Severity};

    use super::*;

    fn http(path: &str, outcome: ContentOutcome) -> HttpObservation {
        HttpObservation {
            ip: "198.51.100.7".parse().unwrap(),
            port: Port::new(80).unwrap(),
            scheme: UrlScheme::Http,
            host: None,
            path: path.to_owned(),
            check: "dotenv".to_owned(),
            outcome,
            severity: Severity::Critical,
            at: "2026-11-24T08:00:00Z".parse().unwrap(),
            evidence: None,
            reason: None,
            title: None,
            remedy: None,
        }
    }

    #[test]
    fn only_what_can_change_a_verdict_is_kept_and_always_its_latest_record() {
        let mut latest = LatestRun::default();
        let needed =
            |h: &HttpObservation| h.outcome == ContentOutcome::Exposed || h.path == "/known";
        for (path, outcome) in [
            ("/a", ContentOutcome::Absent),
            ("/known", ContentOutcome::Absent),
            ("/.env", ContentOutcome::Exposed),
            // A resumed run looked again, and it was gone.
            ("/.env", ContentOutcome::Absent),
            ("/b", ContentOutcome::Exposed),
        ] {
            latest.take(Observation::Http(Box::new(http(path, outcome))), needed);
        }
        let kept: Vec<(String, ContentOutcome)> = latest
            .0
            .into_values()
            .map(|o| match o {
                Observation::Http(h) => (h.path.clone(), h.outcome),
                other => panic!("{other:?}"),
            })
            .collect();
        let is = |path: &str, outcome| (path.to_owned(), outcome);
        assert_eq!(
            kept,
            [
                is("/.env", ContentOutcome::Absent),
                is("/b", ContentOutcome::Exposed),
                is("/known", ContentOutcome::Absent)
            ]
        );
    }
}
