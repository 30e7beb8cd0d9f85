//! Frames waiting to be sent.

/// Frames of one batch, at most.
pub const CAPACITY: usize = 256;
/// Bytes of one frame, at most: more than any SYN, ARP request or neighbour solicitation.
pub const MAX_FRAME: usize = 256;

/// A preallocated batch of frames.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    lengths: Vec<u16>,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: vec![0; CAPACITY * MAX_FRAME], lengths: Vec::with_capacity(CAPACITY) }
    }

    /// Adds a frame; `false` when the batch is full or the frame is empty or longer than 256 bytes.
    #[inline]
    pub fn push(&mut self, frame: &[u8]) -> bool {
        let n = self.lengths.len();
        if n == CAPACITY || frame.is_empty() || frame.len() > MAX_FRAME {
            return false;
        }
        self.bytes[n * MAX_FRAME..][..frame.len()].copy_from_slice(frame);
        self.lengths.push(frame.len() as u16);
        true
    }

    /// Number of frames.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Forgets all frames.
    pub fn clear(&mut self) {
        self.lengths.clear();
    }

    /// The frames in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.lengths
            .iter()
            .zip(self.bytes.chunks_exact(MAX_FRAME))
            .map(|(length, slot)| &slot[..usize::from(*length)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_pushed_and_no_more() {
        let mut b = Batch::new();
        assert!(!b.push(&[]));
        assert!(!b.push(&[0; MAX_FRAME + 1]));
        for i in 0..CAPACITY {
            assert!(b.push(&vec![i as u8; 1 + i % MAX_FRAME]));
        }
        assert!(!b.push(&[1]));
        assert!(b.iter().enumerate().all(|(i, f)| f == vec![i as u8; 1 + i % MAX_FRAME]));
        b.clear();
        assert!(b.is_empty() && b.push(&[1]));
        assert_eq!(b.iter().collect::<Vec<_>>(), [[1]]);
    }
}
