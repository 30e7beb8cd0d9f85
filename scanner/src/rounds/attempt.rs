//! What one task saved of a shard: names, forms and bounds.

use std::fmt;

use anyhow::Result;
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_probes::format::VersionedFormat;
use mimawari_runs::RunStatus;
use mimawari_targets::{PlanShard, hex};
use serde::{Deserialize, Serialize};

/// Version of `save-SEQUENCE.json` and `done.json`.
pub(super) const VERSION: u32 = 1;
/// Bytes of a segment, at most.
pub(super) const SEGMENT: u64 = 32 << 20;
/// Bytes of a small file (run.json, checkpoint.bin), at most.
pub(super) const WHOLE: u64 = 256 << 20;
/// Bytes of all files of a run, at most; a task of Fargate has no larger disk.
pub(super) const RUN: u64 = 200 << 30;
/// Bytes of `save-SEQUENCE.json`, at most.
pub(super) const LIST: u64 = 8 << 20;
/// Bytes of `done.json`, at most.
pub(super) const SMALL: u64 = 64 << 10;

/// The files that are appended to, and those that are replaced.
pub(super) const APPENDED: [&str; 2] = ["observations.ndjson", "coverage.bin"];
pub(super) const REPLACED: [&str; 2] = ["run.json", "checkpoint.bin"];

/// The folder of a shard in its round.
pub(super) fn format_shard_folder(shard: PlanShard) -> String {
    format!("shards/{:05}", shard.index())
}

/// A task's own name among those that worked on its shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct ShardAttempt(String);

impl ShardAttempt {
    /// When it began, and 64 random bits.
    pub(super) fn draw(now: Timestamp) -> Result<Self> {
        let mut tail = [0; 8];
        getrandom::fill(&mut tail).map_err(|e| Failure::new(format!("no randomness: {e}")))?;
        let tail = hex::encode(&tail);
        Ok(Self(format!("{}-{tail}", now.strftime("%Y%m%dT%H%M%SZ"))))
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        is_plain(name).then(|| Self(name.to_owned()))
    }
}

impl TryFrom<String> for ShardAttempt {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::parse(&name).ok_or("not the name of an attempt")
    }
}

impl From<ShardAttempt> for String {
    fn from(a: ShardAttempt) -> Self {
        a.0
    }
}

impl fmt::Display for ShardAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a name can be used as one segment of an object's name.
fn is_plain(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=128).contains(&name.len()) && name.bytes().all(fits) && !name.starts_with('.')
}

/// An object that holds a file or a piece of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedPiece {
    /// Its name in the attempt's folder.
    pub object: String,
    /// Bytes.
    pub length: u64,
    /// SHA-256, hex.
    pub sha256: String,
}

/// A file of the run folder, as its pieces one behind the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedFile {
    pub name: String,
    pub pieces: Vec<SavedPiece>,
}

impl SavedFile {
    pub(super) fn length(&self) -> u64 {
        self.pieces.iter().fold(0, |n, p| n.saturating_add(p.length))
    }
}

/// `save-SEQUENCE.json`: a run folder as it was at one moment, as SIGKILL would have left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShardSave {
    pub version: u32,
    pub round: String,
    /// Digest of the round's `plan.json`.
    pub plan: String,
    pub shard: PlanShard,
    pub attempt: ShardAttempt,
    pub sequence: u64,
    pub saved_at: Timestamp,
    pub run_id: String,
    pub status: RunStatus,
    /// Cells of the shard.
    pub cells: u64,
    /// Cells that need no more probes.
    pub finished: u64,
    pub files: Vec<SavedFile>,
}

impl ShardSave {
    /// The object's name in the attempt's folder.
    pub(super) fn object(sequence: u64) -> String {
        format!("save-{sequence:08}.json")
    }

    /// The sequence of an object's name.
    pub(super) fn sequence(object: &str) -> Option<u64> {
        let digits = object.strip_prefix("save-")?.strip_suffix(".json")?;
        let sequence = digits.parse().ok()?;
        (Self::object(sequence) == object).then_some(sequence)
    }

    /// Sorts by how far a save came.
    pub(super) fn reach(&self) -> (bool, u64, u64, Timestamp) {
        let bytes = self.files.iter().fold(0, |n: u64, f| n.saturating_add(f.length()));
        (self.status == RunStatus::Complete, self.finished, bytes, self.saved_at)
    }

    /// Why it cannot be what a task of this shard saved under this name.
    pub(super) fn check(
        &self,
        plan: &str,
        shard: PlanShard,
        attempt: &ShardAttempt,
        sequence: u64,
    ) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!("version {} is not known", self.version));
        }
        if self.plan != plan {
            return Err("it is of another plan that had this id".to_owned());
        }
        if self.shard != shard || self.attempt != *attempt || self.sequence != sequence {
            return Err("it is of another shard or attempt".to_owned());
        }
        let mut total = 0u64;
        for (i, file) in self.files.iter().enumerate() {
            let appended = APPENDED.contains(&file.name.as_str());
            let known = appended || REPLACED.contains(&file.name.as_str());
            if !known || self.files[..i].iter().any(|f| f.name == file.name) {
                return Err("it names a file that no run has, or one twice".to_owned());
            }
            if !appended && file.pieces.len() != 1 {
                return Err(format!("{} is in several pieces", file.name));
            }
            for piece in &file.pieces {
                let most = if appended { SEGMENT } else { WHOLE };
                let hex =
                    piece.sha256.len() == 64 && piece.sha256.bytes().all(|b| b.is_ascii_hexdigit());
                if !is_plain(&piece.object) || piece.length > most || !hex {
                    return Err(format!("a piece of {} cannot be one", file.name));
                }
                total = total.saturating_add(piece.length);
            }
        }
        let has = |name: &str| self.files.iter().any(|f| f.name == name);
        if total > RUN || !has("run.json") || !APPENDED.iter().all(|name| has(name)) {
            return Err("it is no whole run, or too large a one".to_owned());
        }
        Ok(())
    }
}

impl VersionedFormat for ShardSave {
    const MAJOR: u32 = VERSION;

    fn major(&self) -> u32 {
        self.version
    }
}

impl VersionedFormat for ShardDone {
    const MAJOR: u32 = VERSION;

    fn major(&self) -> u32 {
        self.version
    }
}

/// `done.json`: the shard is handed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShardDone {
    pub version: u32,
    pub round: String,
    pub plan: String,
    pub shard: PlanShard,
    pub attempt: ShardAttempt,
    /// Which save of the attempt is the end.
    pub sequence: u64,
    pub at: Timestamp,
    pub cells: u64,
    pub finished: u64,
}
