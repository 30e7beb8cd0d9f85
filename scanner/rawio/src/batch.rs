//! Frames waiting to be sent.

/// Frames of one batch, at most.
pub const CAPACITY: usize = 256;
/// Bytes of one frame, at most: more than any SYN, ARP request or neighbour solicitation.
pub const MAX_FRAME: usize = 256;

/// A preallocated batch of frames.
#[derive(Debug)]
pub struct SendBatch {
    bytes: Vec<u8>,
    lengths: Vec<u16>,
}

impl Default for SendBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl SendBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: vec![0; CAPACITY * MAX_FRAME], lengths: Vec::with_capacity(CAPACITY) }
    }

    /// Adds a frame; `false` when the batch is full or the frame is empty or longer than 256 bytes.
    #[inline]
    pub fn push(&mut self, frame: &[u8]) -> bool {
        self.slot(frame.len()).map(|slot| slot.copy_from_slice(frame)).is_some()
    }

    /// Adds a frame of `length` bytes to be written in place; `None` where [`push`](Self::push) says
    /// `false`. The bytes are those of an earlier frame or zeros: the caller writes all of them.
    #[inline]
    pub fn slot(&mut self, length: usize) -> Option<&mut [u8]> {
        let n = self.lengths.len();
        if n == CAPACITY || length == 0 || length > MAX_FRAME {
            return None;
        }
        self.lengths.push(length as u16);
        self.bytes.get_mut(n * MAX_FRAME..)?.get_mut(..length)
    }

    /// Forgets all frames behind the first `n`.
    pub fn truncate(&mut self, n: usize) {
        self.lengths.truncate(n);
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
        self.from(0)
    }

    /// The frames from number `first` on; none when there are not so many.
    pub(crate) fn from(&self, first: usize) -> impl Iterator<Item = &[u8]> {
        self.lengths
            .iter()
            .zip(self.bytes.chunks_exact(MAX_FRAME))
            .skip(first)
            .map(|(length, slot)| &slot[..usize::from(*length)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_pushed_and_no_more() {
        let mut b = SendBatch::new();
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

    #[test]
    fn frames_are_written_in_place_and_cut_off() {
        let mut b = SendBatch::new();
        assert!(b.slot(0).is_none() && b.slot(MAX_FRAME + 1).is_none());
        for i in 0..CAPACITY {
            b.slot(2).unwrap().fill(i as u8);
        }
        assert!(b.slot(1).is_none());
        assert!(b.from(254).eq([[254, 254], [255, 255]]) && b.from(256).next().is_none());
        b.truncate(1);
        assert!(b.slot(1).is_some() && b.len() == 2);
    }
}
