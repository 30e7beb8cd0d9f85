//! `coverage.bin`: the final state of every cell, exact and compact.
//!
//! An append-only file. After the magic come frames:
//!
//! ```text
//! kind   u8     1 = states of consecutive steps, 2 = one step changed by a late answer,
//!               3 = of which plan the steps are
//! first  u64    first step, little endian; for kind 3 the minor version
//! cells  u32    number of steps
//! size   u32    bytes of payload
//! crc    u32    CRC-32 of everything before and of the payload
//! payload       raw deflate of one CellState byte for each step; for kind 2 the byte itself; for kind
//!               3 a digest of the plan, its part and its shard
//! ```
//!
//! The digit of the magic is the major version. Kinds from 128 on may be passed over by a reader that does
//! not know them. Version 1.0 had no frame of kind 3.
//!
//! Steps are numbered in the shard's probing order, so the file grows with the sweep and no cell's
//! state is ever held twice. A frame that is cut off or does not fit its checksum ends the file:
//! the steps it would have held are not covered.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use mimawari_probes::format::{FormatFault, check_magic};
use mimawari_probes::observation::CellState;

const MAGIC: &[u8; 8] = b"MMWCOV1\n";
const HEADER: usize = 1 + 8 + 4 + 4 + 4;
const STATES: u8 = 1;
const AMENDED: u8 = 2;
const PLAN: u8 = 3;
/// A reader passes over kinds from here on that it does not know.
const OPTIONAL: u8 = 128;
/// Minor version: 1 has the digest of the plan.
const MINOR: u64 = 1;
/// No writer makes larger frames; a reader believes no larger ones.
const MAX_CELLS: u32 = 1 << 24;

/// Appends frames.
#[derive(Debug)]
pub struct CoverageWriter {
    file: File,
    path: PathBuf,
    /// Where the last whole frame ends.
    end: u64,
}

impl CoverageWriter {
    /// Begins a new file; it must not exist. `cells`: the digest of what the steps are.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn create(path: &Path, cells: &[u8; 32]) -> io::Result<Self> {
        Self::begin(File::create_new(path)?, path, cells)
    }

    fn begin(mut file: File, path: &Path, cells: &[u8; 32]) -> io::Result<Self> {
        file.write_all(MAGIC)?;
        let mut writer = Self { file, path: path.to_owned(), end: MAGIC.len() as u64 };
        writer.frame(PLAN, MINOR, 0, cells)?;
        Ok(writer)
    }

    /// Goes on in a file at `end`, a length that it had once ([`end`](Self::end)); what stands behind
    /// is taken off. `None`: from the beginning.
    ///
    /// # Errors
    /// Any I/O error; `InvalidData` if the file is none of coverage or shorter than that.
    pub fn append(path: &Path, end: Option<u64>, cells: &[u8; 32]) -> io::Result<Self> {
        let bad = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let mut file = File::options().read(true).write(true).open(path)?;
        let Some(end) = end else {
            file.set_len(0)?;
            return Self::begin(file, path, cells);
        };
        let mut magic = [0; 8];
        file.read_exact(&mut magic)?;
        check_magic(&magic, MAGIC, "not a coverage file").map_err(to_invalid_data)?;
        if end < magic.len() as u64 || file.metadata()?.len() < end {
            return Err(bad("shorter than its checkpoint says"));
        }
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        Ok(Self { file, path: path.to_owned(), end })
    }

    /// Length of the file up to its last whole frame.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// The states of the steps from `first` on. After an error the file is as it was before.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn states(&mut self, first: u64, states: &[CellState]) -> io::Result<()> {
        for (i, part) in states.chunks(MAX_CELLS as usize).enumerate() {
            let raw: Vec<u8> = part.iter().map(|s| *s as u8).collect();
            let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(&raw)?;
            let offset = i as u64 * u64::from(MAX_CELLS);
            self.frame(STATES, first + offset, part.len() as u32, &packed.finish()?)?;
        }
        Ok(())
    }

    /// A step whose state a late answer changed.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn amended(&mut self, step: u64, state: CellState) -> io::Result<()> {
        self.frame(AMENDED, step, 1, &[state as u8])
    }

    fn frame(&mut self, kind: u8, first: u64, cells: u32, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(HEADER + payload.len());
        bytes.push(kind);
        bytes.extend(first.to_le_bytes());
        bytes.extend(cells.to_le_bytes());
        bytes.extend((payload.len() as u32).to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes);
        crc.update(payload);
        bytes.extend(crc.finalize().to_le_bytes());
        bytes.extend(payload);
        if let Err(e) = self.file.write_all(&bytes) {
            // A full disk leaves half a frame behind; take it back, so that a later one can follow.
            let _ = self.file.set_len(self.end);
            let _ = self.file.seek(SeekFrom::Start(self.end));
            return Err(e);
        }
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Puts everything on the disk.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Where a frame of states lies.
#[derive(Debug, Clone, Copy)]
struct CoverageFrame {
    first: u64,
    cells: u32,
    offset: u64,
    size: u32,
}

/// Looks steps up. Only the frame asked last is held unpacked, so memory does not grow with the job.
#[derive(Debug)]
pub struct CoverageReader {
    file: RefCell<File>,
    /// Sorted by first step.
    frames: Vec<CoverageFrame>,
    amended: HashMap<u64, CellState>,
    unpacked: RefCell<Option<(usize, Vec<u8>)>>,
    /// Whether the file ended in the middle of a frame.
    cut_off: bool,
    /// The digest of what the steps are.
    cells: Option<[u8; 32]>,
}

impl CoverageReader {
    /// Opens a file and reads its frames' heads and checksums.
    ///
    /// # Errors
    /// Any I/O error; `InvalidData` if it is not a coverage file at all.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut magic = [0; 8];
        let mut cut_off = false;
        let (mut frames, mut amended) = (Vec::new(), HashMap::new());
        if length < 8 {
            cut_off = true;
        } else {
            file.read_exact(&mut magic)?;
            check_magic(&magic, MAGIC, "not a coverage file").map_err(to_invalid_data)?;
        }
        let mut cells = None;
        let mut at = 8u64;
        let mut payload = Vec::new();
        while !cut_off && at < length {
            let Some(frame) = read_frame(&mut file, at, length, &mut payload)? else {
                cut_off = true;
                break;
            };
            let (kind, frame) = frame;
            match (kind, payload.first().copied().and_then(CellState::from_u8)) {
                (STATES, _) => frames.push(frame),
                (AMENDED, Some(state)) => {
                    amended.insert(frame.first, state);
                }
                (PLAN, _) if payload.len() >= 32 => cells = payload.first_chunk().copied(),
                (OPTIONAL.., _) => {}
                _ => {
                    cut_off = true;
                    break;
                }
            }
            at = frame.offset + u64::from(frame.size);
        }
        frames.sort_by_key(|f| f.first);
        Ok(Self {
            file: RefCell::new(file),
            frames,
            amended,
            unpacked: RefCell::new(None),
            cut_off,
            cells,
        })
    }

    /// Whether the file ended in the middle of a frame, as after SIGKILL.
    #[must_use]
    pub const fn is_cut_off(&self) -> bool {
        self.cut_off
    }

    /// The digest of what the steps are; version 1.0 has none.
    #[must_use]
    pub const fn cells_digest(&self) -> Option<&[u8; 32]> {
        self.cells.as_ref()
    }

    /// The state of a step; [`CellState::NotProbed`] for one that no frame holds.
    #[must_use]
    pub fn state(&self, step: u64) -> CellState {
        if let Some(state) = self.amended.get(&step) {
            return *state;
        }
        let Some(i) = self.frames.partition_point(|f| f.first <= step).checked_sub(1) else {
            return CellState::NotProbed;
        };
        let frame = self.frames[i];
        let Ok(within) = usize::try_from(step - frame.first) else { return CellState::NotProbed };
        if within >= frame.cells as usize {
            return CellState::NotProbed;
        }
        let mut unpacked = self.unpacked.borrow_mut();
        if unpacked.as_ref().is_none_or(|(n, _)| *n != i) {
            *unpacked = self.unpack(frame).ok().map(|states| (i, states));
        }
        unpacked
            .as_ref()
            .and_then(|(_, states)| states.get(within))
            .and_then(|b| CellState::from_u8(*b))
            .unwrap_or(CellState::NotProbed)
    }

    /// The states of the steps from `first` on, in one go. Steps that no frame holds are left as
    /// they are.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn states(&self, first: u64, out: &mut [CellState]) -> io::Result<()> {
        let end = first + out.len() as u64;
        let from = self.frames.partition_point(|f| f.first <= first).saturating_sub(1);
        let overlapping = self.frames.iter().enumerate().skip(from);
        for (i, frame) in overlapping.take_while(|(_, f)| f.first < end) {
            let mut unpacked = self.unpacked.borrow_mut();
            if unpacked.as_ref().is_none_or(|(n, _)| *n != i) {
                *unpacked = Some((i, self.unpack(*frame)?));
            }
            let Some((_, states)) = unpacked.as_ref() else { continue };
            let skip = usize::try_from(first.saturating_sub(frame.first)).unwrap_or(usize::MAX);
            let at = usize::try_from(frame.first.saturating_sub(first)).unwrap_or(usize::MAX);
            for (to, from) in out.iter_mut().skip(at).zip(states.iter().skip(skip)) {
                *to = CellState::from_u8(*from).unwrap_or(CellState::NotProbed);
            }
        }
        for (step, state) in &self.amended {
            let place = step.checked_sub(first).and_then(|i| usize::try_from(i).ok());
            if let Some(place) = place.and_then(|i| out.get_mut(i)) {
                *place = *state;
            }
        }
        Ok(())
    }

    /// Number of cells by state: not probed, silent, prohibited, closed, open. Of `len` steps.
    #[must_use]
    pub fn count(&self, len: u64) -> [u64; 5] {
        let mut counts = [0u64; 5];
        let mut seen = 0u64;
        for frame in &self.frames {
            if let Ok(states) = self.unpack(*frame) {
                for s in &states {
                    if let Some(n) = counts.get_mut(usize::from(*s)) {
                        *n += 1;
                        seen += 1;
                    }
                }
            }
        }
        counts[0] += len.saturating_sub(seen);
        for (step, state) in &self.amended {
            let was = self.plain(*step);
            if was != *state {
                counts[was as usize] = counts[was as usize].saturating_sub(1);
                counts[*state as usize] += 1;
            }
        }
        counts
    }

    /// The state without amendments.
    fn plain(&self, step: u64) -> CellState {
        let bare = Self {
            file: RefCell::new(match self.file.borrow().try_clone() {
                Ok(f) => f,
                Err(_) => return CellState::NotProbed,
            }),
            frames: self.frames.clone(),
            amended: HashMap::new(),
            unpacked: RefCell::new(None),
            cut_off: self.cut_off,
            cells: self.cells,
        };
        bare.state(step)
    }

    fn unpack(&self, frame: CoverageFrame) -> io::Result<Vec<u8>> {
        let mut file = self.file.borrow_mut();
        file.seek(SeekFrom::Start(frame.offset))?;
        let packed = Read::take(&mut *file, u64::from(frame.size));
        let mut states = Vec::with_capacity(frame.cells as usize);
        DeflateDecoder::new(packed).take(u64::from(frame.cells)).read_to_end(&mut states)?;
        Ok(states)
    }
}

fn to_invalid_data(fault: FormatFault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}

/// The frame at `at` with its payload in `payload`, or `None` if it is cut off or damaged.
fn read_frame(
    file: &mut File,
    at: u64,
    length: u64,
    payload: &mut Vec<u8>,
) -> io::Result<Option<(u8, CoverageFrame)>> {
    if at + HEADER as u64 > length {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(at))?;
    let mut h = [0u8; HEADER];
    file.read_exact(&mut h)?;
    let le32 = |i: usize| u32::from_le_bytes([h[i], h[i + 1], h[i + 2], h[i + 3]]);
    let first = u64::from_le_bytes([h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8]]);
    let (cells, size, crc) = (le32(9), le32(13), le32(17));
    let offset = at + HEADER as u64;
    if cells > MAX_CELLS || offset + u64::from(size) > length {
        return Ok(None);
    }
    payload.clear();
    Read::take(&mut *file, u64::from(size)).read_to_end(payload)?;
    let mut hash = crc32fast::Hasher::new();
    hash.update(&h[..17]);
    hash.update(payload);
    if hash.finalize() != crc {
        return Ok(None);
    }
    Ok(Some((h[0], CoverageFrame { first, cells, offset, size })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coverage.bin");
        let mut w = CoverageWriter::create(&path, &[7; 32]).unwrap();
        w.states(0, &[CellState::Closed, CellState::Silent, CellState::Open]).unwrap();
        w.states(3, &[CellState::NotProbed; 5]).unwrap();
        w.amended(1, CellState::Open).unwrap();
        (dir, path)
    }

    #[test]
    fn reads_back_what_was_written() {
        let (_dir, path) = written();
        let r = CoverageReader::open(&path).unwrap();
        let states: Vec<_> = (0..9).map(|s| r.state(s)).collect();
        use CellState::{Closed, NotProbed, Open};
        assert_eq!(
            states,
            [Closed, Open, Open, NotProbed, NotProbed, NotProbed, NotProbed, NotProbed, NotProbed]
        );
        assert_eq!(r.count(10), [7, 0, 0, 1, 2]);
        assert!(!r.is_cut_off());
    }

    #[test]
    fn what_is_not_known_is_passed_over_where_it_may_be_and_a_newer_file_is_no_damage() {
        let (dir, path) = written();
        assert_eq!(CoverageReader::open(&path).unwrap().cells_digest(), Some(&[7; 32]));
        let end = std::fs::metadata(&path).unwrap().len();
        let mut w = CoverageWriter::append(&path, Some(end), &[7; 32]).unwrap();
        w.frame(OPTIONAL, 9, 9, b"later").unwrap();
        w.states(8, &[CellState::Open]).unwrap();
        let r = CoverageReader::open(&path).unwrap();
        assert_eq!(
            (r.state(0), r.state(8), r.is_cut_off()),
            (CellState::Closed, CellState::Open, false)
        );
        w.frame(OPTIONAL - 1, 9, 9, b"needed").unwrap();
        assert!(
            CoverageReader::open(&path).unwrap().is_cut_off(),
            "it may have changed what is before it"
        );
        let newer = dir.path().join("newer");
        std::fs::write(&newer, b"MMWCOV2\n and whatever it is").unwrap();
        let e = CoverageReader::open(&newer).unwrap_err();
        let fault = e.get_ref().unwrap().downcast_ref::<FormatFault>().unwrap();
        assert!(fault.is_newer(), "{fault}");
    }

    #[test]
    fn any_cut_leaves_a_readable_file_that_claims_no_more_than_it_holds() {
        let (dir, path) = written();
        let whole = std::fs::read(&path).unwrap();
        let full = CoverageReader::open(&path).unwrap();
        for n in 0..whole.len() {
            let cut = dir.path().join(format!("cut{n}"));
            std::fs::write(&cut, &whole[..n]).unwrap();
            let r = CoverageReader::open(&cut).unwrap();
            for step in 0..10 {
                let s = r.state(step);
                // Step 1 is silent until the late answer's frame is there.
                assert!(
                    s == CellState::NotProbed
                        || s == full.state(step)
                        || (step == 1 && s == CellState::Silent),
                    "cut at {n}: step {step} is {s:?}"
                );
            }
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let (dir, path) = written();
        let whole = std::fs::read(&path).unwrap();
        for i in 8..whole.len() {
            let mut bad = whole.clone();
            bad[i] ^= 0x10;
            let file = dir.path().join("bad");
            std::fs::write(&file, &bad).unwrap();
            let r = CoverageReader::open(&file).unwrap();
            assert!(r.is_cut_off(), "byte {i}");
        }
    }
}
