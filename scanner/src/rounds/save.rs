//! Saving a run folder that is being written.
//!
//! Observations and coverage are only ever appended to, so any beginning of them is what SIGKILL
//! could have left behind; a save sends what was appended since the one before. The checkpoint is
//! read first: what it speaks of was on the disk before it, and so is in what is read after it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_runs::checkpoint::{CHECKPOINT, SavedCheckpoint};
use mimawari_runs::{RunMeta, RunStatus};
use mimawari_store::{ObjectFolder, WriteOutcome};
use mimawari_targets::{PlanShard, hex};
use sha2::{Digest, Sha256};

use super::attempt::{
    APPENDED, RUN, SEGMENT, SavedFile, SavedPiece, ShardAttempt, ShardSave, VERSION, WHOLE,
};
use super::to_json;

/// What of a run folder is saved, and where.
#[derive(Debug)]
pub(super) struct ShardSaver {
    pub objects: ObjectFolder,
    /// The folder of the attempt, as an object's name.
    pub prefix: String,
    /// The run folder.
    pub dir: PathBuf,
    pub round: String,
    /// Digest of the plan.
    pub plan: String,
    pub shard: PlanShard,
    pub cells: u64,
    pub attempt: ShardAttempt,
    /// The last save that was tried.
    pub sequence: u64,
    /// What is there of the files that are appended to.
    pub pieces: [Vec<SavedPiece>; 2],
}

impl ShardSaver {
    /// Saves the run folder as it is; `None` while there is none.
    ///
    /// May be dropped at any moment: what was sent by then is used by the next save.
    ///
    /// # Errors
    /// A [`Failure`]; what was saved before is as it was.
    pub(super) async fn save(&mut self, now: Timestamp) -> Result<Option<ShardSave>> {
        self.sequence += 1;
        let dir = self.dir.clone();
        let read = tokio::task::spawn_blocking(move || read_small(&dir)).await;
        let Some(small) = read.context("reading the run folder")?.map_err(|e| self.cannot(e))?
        else {
            return Ok(None);
        };
        let meta = &small.meta;
        let finished = match (&small.point, meta.status, &meta.sweep) {
            (_, RunStatus::Complete, Some(s)) | (None, _, Some(s)) => {
                s.cells.saturating_sub(s.not_probed)
            }
            (Some(saved), ..) => saved.sweep.settled(),
            (None, ..) => 0,
        };
        let mut files = Vec::new();
        for (i, name) in APPENDED.into_iter().enumerate() {
            self.send_appended(i, name).await?;
            files.push(SavedFile { name: name.to_owned(), pieces: self.pieces[i].clone() });
        }
        for (name, stem, bytes) in
            [("run.json", "run", Some(small.run)), (CHECKPOINT, "checkpoint", small.checkpoint)]
        {
            let Some(bytes) = bytes else { continue };
            let object = format!("{stem}-{:08}", self.sequence);
            let piece = self.send(object, bytes).await?;
            files.push(SavedFile { name: name.to_owned(), pieces: vec![piece] });
        }
        let total = files.iter().map(SavedFile::length).sum::<u64>();
        if total > RUN {
            return Err(Failure::new(format!("the run {} has {total} bytes", self.dir.display()))
                .help("divide the round into more shards")
                .into());
        }
        let save = ShardSave {
            version: VERSION,
            round: self.round.clone(),
            plan: self.plan.clone(),
            shard: self.shard,
            attempt: self.attempt.clone(),
            sequence: self.sequence,
            saved_at: now,
            run_id: meta.run_id.clone(),
            status: meta.status,
            cells: self.cells,
            finished: finished.min(self.cells),
            files,
        };
        // Last: from now on it counts.
        let name = format!("{}/{}", self.prefix, ShardSave::object(self.sequence));
        self.objects.create(&name, to_json(&save)?).await?;
        Ok(Some(save))
    }

    /// Sends what was appended to a file since the save before.
    async fn send_appended(&mut self, i: usize, name: &str) -> Result<()> {
        let sent = |pieces: &[SavedPiece]| pieces.iter().map(|p| p.length).sum::<u64>();
        // The end of a file may be taken back and written anew: half a record by a full disk, what
        // stands behind the checkpoint by whoever goes on. What was sent of it then is no more.
        while let Some((last, before)) = self.pieces[i].split_last() {
            let bytes = self.read(name, sent(before), last.length).await?;
            if hex::encode(&Sha256::digest(&bytes)) == last.sha256 {
                break;
            }
            self.pieces[i].pop();
        }
        loop {
            let at = sent(&self.pieces[i]);
            let bytes = self.read(name, at, SEGMENT).await?;
            if bytes.is_empty() {
                return Ok(());
            }
            let stem = name.split('.').next().unwrap_or(name);
            let digest = hex::encode(&Sha256::digest(&bytes)[..16]);
            let piece = self.send(format!("{stem}-{at:014}-{digest}"), bytes).await?;
            self.pieces[i].push(piece);
        }
    }

    /// At most `most` bytes of a file of the run folder, from `at` on.
    async fn read(&self, name: &str, at: u64, most: u64) -> Result<Vec<u8>> {
        let path = self.dir.join(name);
        let read = tokio::task::spawn_blocking(move || read_from(&path, at, most)).await;
        read.context("reading the run folder")?.map_err(|e| self.cannot(e))
    }

    /// Creates an object. One that is there by this name was sent by us, and the response was lost: the
    /// folder is ours alone, and the name is derived from the content.
    async fn send(&self, object: String, bytes: Vec<u8>) -> Result<SavedPiece> {
        let (length, sha256) = (bytes.len() as u64, hex::encode(&Sha256::digest(&bytes)));
        let name = format!("{}/{object}", self.prefix);
        match self.objects.create(&name, Bytes::from(bytes)).await? {
            WriteOutcome::Done | WriteOutcome::Conflict => {
                Ok(SavedPiece { object, length, sha256 })
            }
        }
    }

    fn cannot(&self, e: io::Error) -> anyhow::Error {
        Failure::new(format!("cannot read the run folder {}", self.dir.display()))
            .help("see what is wrong with the disk")
            .source(e)
            .into()
    }
}

/// The small files, read in the order that keeps them true.
struct SmallFile {
    checkpoint: Option<Vec<u8>>,
    point: Option<SavedCheckpoint>,
    run: Vec<u8>,
    meta: RunMeta,
}

fn read_small(dir: &Path) -> io::Result<Option<SmallFile>> {
    let read = |name: &str| match File::open(dir.join(name)) {
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(WHOLE).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    };
    let checkpoint = read(CHECKPOINT)?;
    let point = checkpoint.as_deref().map(SavedCheckpoint::decode).transpose()?;
    let Some(run) = read("run.json")? else { return Ok(None) };
    // The folder is made in this order; without them there is nothing to save yet.
    if APPENDED.iter().any(|name| !dir.join(name).exists()) {
        return Ok(None);
    }
    let meta = serde_json::from_slice(&run)?;
    Ok(Some(SmallFile { checkpoint, point, run, meta }))
}

/// At most `most` bytes of a file from `at` on.
fn read_from(path: &Path, at: u64, most: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
