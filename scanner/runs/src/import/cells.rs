//! The states of cells that come in any order, written in the order of steps.
//!
//! Another scanner writes host by host; the coverage wants probing order, which is a permutation. So
//! cells are sorted: in memory while they are few, else in sorted runs of a temporary file that are
//! merged at the end. Memory does not grow with the file.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use mimawari_engine::ChunkResult;
use mimawari_probes::observation::CellState;

/// Cells that are sorted at once: 32 MiB.
const SORTED: usize = 1 << 22;
/// A gap in the steps that is rather filled with "not probed" than begun anew behind.
const GAP: u64 = 1 << 14;
/// Steps in one piece.
const CHUNK: usize = 1 << 20;
/// Bytes that are read ahead of each sorted run.
const AHEAD: usize = 1 << 14;

/// Step and state as one number that sorts by step: states are below 8.
const fn pack(step: u64, state: CellState) -> u64 {
    step << 3 | state as u64
}

/// Collects cells.
#[derive(Debug)]
pub(super) struct ImportCells {
    held: Vec<u64>,
    limit: usize,
    file: Option<File>,
    /// Where each sorted run lies: offset and length in bytes.
    runs: Vec<(u64, u64)>,
}

impl ImportCells {
    pub(super) const fn new() -> Self {
        Self::with_limit(SORTED)
    }

    const fn with_limit(limit: usize) -> Self {
        Self { held: Vec::new(), limit, file: None, runs: Vec::new() }
    }

    /// Adds a cell. Of several states of one cell the greatest counts: what was seen open once is
    /// open, so that nothing is resolved by a file that contradicts itself.
    ///
    /// # Errors
    /// When the temporary file, which is made in `dir`, cannot be written.
    pub(super) fn add(&mut self, step: u64, state: CellState, dir: &Path) -> io::Result<()> {
        self.held.push(pack(step, state));
        if self.held.len() >= self.limit {
            self.spill(dir)?;
        }
        Ok(())
    }

    fn spill(&mut self, dir: &Path) -> io::Result<()> {
        self.held.sort_unstable();
        let mut file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(dir)?,
        };
        let begin = file.seek(SeekFrom::End(0))?;
        let mut out = BufWriter::new(&mut file);
        for n in &self.held {
            out.write_all(&n.to_le_bytes())?;
        }
        out.flush()?;
        drop(out);
        self.runs.push((begin, self.held.len() as u64 * 8));
        self.held.clear();
        self.file = Some(file);
        Ok(())
    }

    /// Hands over all cells in pieces of consecutive steps, in order, and counts them by state.
    ///
    /// # Errors
    /// When the temporary file cannot be read, and whatever `take` returns.
    pub(super) fn finish(
        mut self,
        mut take: impl FnMut(ChunkResult) -> anyhow::Result<()>,
    ) -> anyhow::Result<[u64; 5]> {
        self.held.sort_unstable();
        let mut sources: Vec<Box<dyn Iterator<Item = io::Result<u64>>>> =
            vec![Box::new(std::mem::take(&mut self.held).into_iter().map(Ok))];
        if let Some(file) = &self.file {
            for (begin, length) in &self.runs {
                let part = SortPart { file: file.try_clone()?, at: *begin, end: begin + length };
                sources.push(Box::new(CellNumbers(BufReader::with_capacity(AHEAD, part))));
            }
        }
        let mut heap = BinaryHeap::new();
        for (i, source) in sources.iter_mut().enumerate() {
            if let Some(n) = source.next() {
                heap.push(Reverse((n?, i)));
            }
        }
        let mut piece = ChunkResult { first_step: 0, states: Vec::new() };
        let mut counts = [0u64; 5];
        while let Some(Reverse((n, i))) = heap.pop() {
            if let Some(next) = sources[i].next() {
                heap.push(Reverse((next?, i)));
            }
            let (step, state) = (n >> 3, CellState::from_u8((n & 7) as u8));
            let state = state.unwrap_or(CellState::NotProbed);
            let end = piece.first_step + piece.states.len() as u64;
            if !piece.states.is_empty() && step + 1 == end {
                // The same cell again; it comes later, so its state is the greater one.
                if let Some(last) = piece.states.last_mut() {
                    counts[*last as usize] -= 1;
                    counts[state as usize] += 1;
                    *last = state;
                }
                continue;
            }
            if piece.states.is_empty() {
                piece.first_step = step;
            } else if step - end > GAP || piece.states.len() >= CHUNK {
                take(std::mem::replace(
                    &mut piece,
                    ChunkResult { first_step: step, states: Vec::new() },
                ))?;
            } else {
                let gap = usize::try_from(step - end)?;
                piece.states.resize(piece.states.len() + gap, CellState::NotProbed);
            }
            counts[state as usize] += 1;
            piece.states.push(state);
        }
        if !piece.states.is_empty() {
            take(piece)?;
        }
        Ok(counts)
    }
}

/// A part of a file that others read, too.
struct SortPart {
    file: File,
    at: u64,
    end: u64,
}

impl Read for SortPart {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let want = buf.len().min(left);
        // The position is shared by all clones of the file.
        self.file.seek(SeekFrom::Start(self.at))?;
        let n = self.file.read(&mut buf[..want])?;
        self.at += n as u64;
        Ok(n)
    }
}

struct CellNumbers(BufReader<SortPart>);

impl Iterator for CellNumbers {
    type Item = io::Result<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut bytes = [0; 8];
        match self.0.read_exact(&mut bytes) {
            Ok(()) => Some(Ok(u64::from_le_bytes(bytes))),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(e) => Some(Err(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_cell_comes_once_in_order_with_its_greatest_state(
            cells in proptest::collection::vec((0u64..60_000, 1u8..5), 0..300),
            far in proptest::collection::vec((0u64..1 << 50, 1u8..5), 0..20),
            limit in 1usize..50,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut all = ImportCells::with_limit(limit);
            let mut expected: BTreeMap<u64, CellState> = BTreeMap::new();
            for (step, state) in cells.into_iter().chain(far) {
                let state = CellState::from_u8(state).unwrap();
                all.add(step, state, dir.path()).unwrap();
                let e = expected.entry(step).or_insert(state);
                *e = (*e).max(state);
            }
            let mut seen = BTreeMap::new();
            let mut end = 0;
            let counts = all
                .finish(|piece| {
                    assert!(piece.first_step >= end && !piece.states.is_empty());
                    for (step, state) in (piece.first_step..).zip(&piece.states) {
                        if *state != CellState::NotProbed {
                            seen.insert(step, *state);
                        }
                    }
                    end = piece.first_step + piece.states.len() as u64;
                    Ok(())
                })
                .unwrap();
            prop_assert_eq!(counts.iter().sum::<u64>(), expected.len() as u64);
            prop_assert_eq!(seen, expected);
        }
    }
}
