//! What really went over the link.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mimawari_rawio::{InterfaceFacts, ReceiveRing, RingConfig};

use super::Lab;

/// Every frame that reaches the data centre's end of the link, by destination.
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Captured>>,
}

/// What was captured.
#[derive(Debug, Default, Clone)]
pub struct Captured {
    /// Number of frames by IP destination.
    pub destinations: BTreeMap<IpAddr, u64>,
    /// Number of frames that are not IP (ARP).
    pub other: u64,
    /// Frames that the capture itself lost; a test that counts on it must see 0.
    pub lost: u64,
}

impl Capture {
    /// Begins; returns when the capture is in place.
    ///
    /// # Panics
    /// When it cannot capture.
    #[must_use]
    pub fn start(lab: &Lab) -> Self {
        let mut ring = lab.centre.run(|| {
            let device = InterfaceFacts::by_name("v1").expect("the link's end");
            // Blocks for a second: this thread may have to wait for the machine.
            let config = RingConfig { block_size: 1 << 17, blocks: 256, ..RingConfig::default() };
            ReceiveRing::open(&device, &[], config).expect("a ring")
        });
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = Captured::default();
            loop {
                // Read before looking, so that what was there when the stop came is counted.
                let last = flag.load(Ordering::Acquire);
                let n = match ring.receive(Duration::from_millis(20), &mut |f| seen.count(f)) {
                    Ok(n) => n,
                    // A test has pulled the cable; it goes on when it is back.
                    Err(e) if e.kind() == std::io::ErrorKind::NetworkDown => 0,
                    Err(e) => panic!("the ring: {e}"),
                };
                if last && n == 0 {
                    break;
                }
            }
            seen.lost = ring.statistics().expect("its statistics").drops;
            seen
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends, and returns what was captured.
    ///
    /// # Panics
    /// When the capturing thread did.
    #[must_use]
    pub fn stop(mut self) -> Captured {
        self.stop.store(true, Ordering::Release);
        self.thread.take().expect("one thread").join().expect("the capture")
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Captured {
    fn count(&mut self, frame: &[u8]) {
        let ip: Option<IpAddr> = match frame.get(12..14) {
            Some([0x08, 0x00]) => {
                frame.get(30..34).and_then(|b| <[u8; 4]>::try_from(b).ok()).map(IpAddr::from)
            }
            Some([0x86, 0xdd]) => {
                frame.get(38..54).and_then(|b| <[u8; 16]>::try_from(b).ok()).map(IpAddr::from)
            }
            _ => None,
        };
        match ip {
            Some(ip) => *self.destinations.entry(ip).or_default() += 1,
            None => self.other += 1,
        }
    }
}
