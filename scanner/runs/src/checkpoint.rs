//! `checkpoint.bin`: where a sweep was, so that it can be gone on with.
//!
//! ```text
//! magic   8 bytes; the digit is the major version
//! head    u32 length (little endian), JSON
//! crc     u32 CRC-32 of the head and of the cells
//! cells   raw deflate of one byte a cell of the chunks in work
//! ```
//!
//! Replaced whole, after what it speaks of is on the disk: after a power loss it is never ahead of
//! the coverage or the observations.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use mimawari_base::files::write_atomically;
use mimawari_engine::SweepCheckpoint;
use mimawari_probes::format::check_magic;
use serde::{Deserialize, Serialize};

/// The file's name in a run folder.
pub const CHECKPOINT: &str = "checkpoint.bin";
const MAGIC: &[u8; 8] = b"MMWCKP1\n";
/// No sweep has more cells in work; a reader believes no more.
const MAX_CELLS: u64 = 1 << 26;

/// A checkpoint with what belongs to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedCheckpoint {
    /// How long `coverage.bin` was: what stands behind was written later and is done again.
    pub coverage: u64,
    /// The sweep.
    pub sweep: SweepCheckpoint,
}

impl SavedCheckpoint {
    /// The file's bytes.
    ///
    /// # Errors
    /// None that come from outside.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        let head = serde_json::to_vec(self)?;
        let mut cells = DeflateEncoder::new(Vec::new(), Compression::fast());
        for chunk in &self.sweep.chunks {
            cells.write_all(&chunk.cells)?;
        }
        let cells = cells.finish()?;
        let mut out = Vec::with_capacity(MAGIC.len() + 8 + head.len() + cells.len());
        out.extend(MAGIC);
        out.extend((head.len() as u32).to_le_bytes());
        out.extend(&head);
        out.extend(compute_checksum(&head, &cells).to_le_bytes());
        out.extend(&cells);
        Ok(out)
    }

    /// Reads the file's bytes.
    ///
    /// # Errors
    /// `InvalidData` for anything that [`encode`](Self::encode) did not write.
    pub fn decode(bytes: &[u8]) -> io::Result<Self> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let cut = || bad("cut off");
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or_else(cut)?;
        check_magic(magic, MAGIC, "not a checkpoint")
            .map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| cut())?;
        let (head, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        let (crc, cells) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        if compute_checksum(head, cells) != u32::from_le_bytes(*crc) {
            return Err(bad("damaged: its checksum is wrong"));
        }
        let mut saved: Self = serde_json::from_slice(head)?;
        let total: u64 = saved.sweep.chunks.iter().map(|c| u64::from(c.length)).sum();
        if total > MAX_CELLS {
            return Err(bad("damaged: it has too many cells"));
        }
        let mut unpacked = DeflateDecoder::new(cells);
        for chunk in &mut saved.sweep.chunks {
            chunk.cells = vec![0; chunk.length as usize];
            unpacked.read_exact(&mut chunk.cells)?;
        }
        Ok(saved)
    }

    /// Reads the checkpoint of a run folder; `None` if there is none.
    ///
    /// # Errors
    /// Any I/O error, `InvalidData` if it is damaged.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(dir.join(CHECKPOINT)) {
            Ok(bytes) => Self::decode(&bytes).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn compute_checksum(head: &[u8], cells: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(cells);
    crc.finalize()
}

/// Writes checkpoints in a thread of its own: packing and syncing would hold the sweep up.
#[derive(Debug)]
pub struct CheckpointWriter {
    queue: Option<SyncSender<SavedCheckpoint>>,
    thread: Option<JoinHandle<()>>,
}

impl CheckpointWriter {
    /// A writer for a run folder. `files`: what has to be on the disk before a checkpoint is.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(dir: &Path, files: Vec<File>) -> io::Result<Self> {
        let (queue, waiting) = sync_channel::<SavedCheckpoint>(1);
        let path: PathBuf = dir.join(CHECKPOINT);
        let thread = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || {
            let mut failing = false;
            for saved in waiting {
                let written = files
                    .iter()
                    .try_for_each(File::sync_data)
                    .and_then(|()| write_atomically(&path, &saved.encode()?));
                match written {
                    Ok(()) => failing = false,
                    Err(e) if !failing => {
                        failing = true;
                        tracing::warn!(error = %e, "cannot write the checkpoint; the one before is kept");
                    }
                    Err(_) => {}
                }
            }
        })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Has a checkpoint written, unless the one before is still being written.
    pub fn offer(&self, saved: SavedCheckpoint) {
        if let Some(queue) = &self.queue {
            let _ = queue.try_send(saved);
        }
    }
}

impl Drop for CheckpointWriter {
    /// Waits for the last one.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mimawari_engine::{SweepConfig, SweepEngine};
    use mimawari_targets::{AddrRange, AddrSet, CellPlan, PlanShard, Scope};

    use super::*;

    fn saved() -> SavedCheckpoint {
        let range: AddrRange = "192.0.2.0/28".parse().unwrap();
        let scope = Scope::new(AddrSet::from_ranges([range]), AddrSet::default(), "test");
        let plan = CellPlan::new(scope.whole(), "1-10".parse().unwrap(), 7).unwrap();
        let config = SweepConfig { chunk_cells: 50, ..SweepConfig::default() };
        let mut sweep = SweepEngine::new(plan.walk(PlanShard::WHOLE), config);
        for ms in 0..70 {
            sweep.poll_transmit(Duration::from_millis(ms * 20));
        }
        SavedCheckpoint { coverage: 8, sweep: sweep.checkpoint().unwrap() }
    }

    #[test]
    fn reads_back_what_was_written() {
        let saved = saved();
        let again = SavedCheckpoint::decode(&saved.encode().unwrap()).unwrap();
        assert_eq!(format!("{saved:?}"), format!("{again:?}"));
        assert_eq!(again.sweep.chunks.len(), 2);
    }

    #[test]
    fn no_damage_is_believed() {
        let bytes = saved().encode().unwrap();
        for n in 0..bytes.len() {
            assert!(SavedCheckpoint::decode(&bytes[..n]).is_err(), "cut at {n}");
            let mut bad = bytes.clone();
            bad[n] ^= 0x04;
            assert!(SavedCheckpoint::decode(&bad).is_err(), "byte {n}");
        }
    }

    #[test]
    fn a_folder_without_one_has_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(SavedCheckpoint::read(dir.path()).unwrap().is_none());
        let writer = CheckpointWriter::start(dir.path(), Vec::new()).unwrap();
        writer.offer(saved());
        drop(writer);
        assert!(SavedCheckpoint::read(dir.path()).unwrap().is_some());
    }
}
