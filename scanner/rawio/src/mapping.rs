//! Memory shared with the kernel.

use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::Socket;

/// A mapping of a ring of blocks; unmapped when dropped.
#[derive(Debug)]
pub(crate) struct RingMapping {
    start: NonNull<u8>,
    block_size: usize,
    blocks: usize,
}

// SAFETY: the mapping belongs to this value alone; the pointer is not tied to the thread that made it.
unsafe impl Send for RingMapping {}

/// Offset of `block_status` in a block's head (`tpacket_block_desc`, `linux/if_packet.h`).
const STATUS: usize = 8;

impl RingMapping {
    /// Maps the ring of a packet socket.
    pub(crate) fn of_ring(socket: &Socket, block_size: usize, blocks: usize) -> io::Result<Self> {
        Self::map(libc::MAP_SHARED, socket.as_raw_fd(), block_size, blocks)
    }

    /// Anonymous memory of the same shape, to test without a ring.
    #[cfg(test)]
    pub(crate) fn anonymous(block_size: usize, blocks: usize) -> io::Result<Self> {
        Self::map(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, block_size, blocks)
    }

    fn map(
        flags: libc::c_int,
        fd: libc::c_int,
        block_size: usize,
        blocks: usize,
    ) -> io::Result<Self> {
        // The status is read as an aligned 32-bit integer.
        assert!(block_size >= 64 && block_size.is_multiple_of(8) && blocks > 0);
        let length = block_size.checked_mul(blocks).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours. The
        // ring can only be read by mapping it, and the standard library has no `mmap`.
        let p = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                fd,
                0,
            )
        };
        if p == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(p.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, block_size, blocks })
    }

    /// Number of blocks.
    pub(crate) const fn blocks(&self) -> usize {
        self.blocks
    }

    fn status(&self, block: usize) -> &AtomicU32 {
        assert!(block < self.blocks);
        // SAFETY: the address lies in the mapping, since `block` is in range and a block is longer
        // than its head; it is aligned, since mappings are aligned to pages and blocks to 8 bytes.
        // The kernel writes it concurrently, which an atomic allows.
        unsafe {
            let p = self.start.as_ptr().add(block * self.block_size + STATUS);
            AtomicU32::from_ptr(p.cast())
        }
    }

    /// The bytes of a block that the kernel has handed over, or `None` while it holds it.
    pub(crate) fn filled(&mut self, block: usize) -> Option<&[u8]> {
        // Acquire: what the kernel wrote before it set the bit is visible after it is seen.
        if self.status(block).load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the range lies in the mapping. While the bit is set the kernel leaves the block
        // alone, and it is cleared only by `release`, which takes `self` mutably and so ends this
        // borrow. The head's status word may be read as plain bytes for the same reason.
        Some(unsafe {
            std::slice::from_raw_parts(
                self.start.as_ptr().add(block * self.block_size),
                self.block_size,
            )
        })
    }

    /// Hands a block back to the kernel.
    pub(crate) fn release(&mut self, block: usize) {
        // Release: our reads of the block are over before the kernel sees it is free.
        self.status(block).store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }

    /// Writes into a block, as the kernel would.
    #[cfg(test)]
    pub(crate) fn fill(&mut self, block: usize, bytes: &[u8]) {
        assert!(block < self.blocks && bytes.len() <= self.block_size);
        // SAFETY: the range lies in this anonymous mapping, which nobody else knows.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.start.as_ptr().add(block * self.block_size),
                bytes.len(),
            );
        }
    }
}

impl Drop for RingMapping {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `map` made; no borrow of it can outlive `self`.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.block_size * self.blocks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_readable_only_while_it_is_ours() {
        let mut m = RingMapping::anonymous(4096, 2).unwrap();
        assert!(m.filled(0).is_none() && m.filled(1).is_none());
        let mut block = vec![7u8; 4096];
        block[STATUS..STATUS + 4].copy_from_slice(&libc::TP_STATUS_USER.to_ne_bytes());
        m.fill(1, &block);
        assert!(m.filled(0).is_none());
        assert_eq!(m.filled(1), Some(&block[..]));
        m.release(1);
        assert!(m.filled(1).is_none());
    }
}
