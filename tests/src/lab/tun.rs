//! A host behind a point-to-point device without a link header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use tun_rs::{DeviceBuilder, SyncDevice};

use super::{Lab, link};

/// A tun device in the scanner's namespace. Behind it, every address of two prefixes answers: on one
/// port with SYN-ACK, on all others with RST. There is no kernel behind it, so what is read here is
/// exactly what was sent.
pub struct Tun {
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tun {
    /// Opens `tun0` and routes 198.19.64.0/24 and 2001:db8:19::4000/120 into it.
    ///
    /// # Panics
    /// When the device cannot be made.
    #[must_use]
    pub fn open(lab: &Lab, open_port: u16) -> Self {
        let device: SyncDevice = lab.scanner.run(|| {
            let device = DeviceBuilder::new().name("tun0").build_sync().expect("/dev/net/tun");
            link::address("tun0", Ipv4Addr::new(198, 18, 64, 1).into(), 32);
            link::address("tun0", "2001:db8:18:64::1".parse().expect("an address"), 128);
            link::set_up("tun0", true);
            link::route_into("tun0", Ipv4Addr::new(198, 19, 64, 0).into(), 24);
            link::route_into("tun0", "2001:db8:19::4000".parse().expect("an address"), 120);
            device
        });
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok(n) = device.recv(&mut buffer) {
                let packet = &buffer[..n];
                log.lock().expect("the log").push(packet.to_vec());
                if let Some(answer) = answer(packet, open_port) {
                    let _ = device.send(&answer);
                }
            }
        });
        Self { seen }
    }

    /// Destinations of all packets that came out of the device.
    ///
    /// # Panics
    /// When the reading thread did.
    #[must_use]
    pub fn destinations(&self) -> Vec<IpAddr> {
        self.seen
            .lock()
            .expect("the log")
            .iter()
            .filter_map(|p| addresses(p))
            .map(|a| a.1)
            .collect()
    }
}

/// Source and destination.
fn addresses(p: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match p.first()? >> 4 {
        4 => {
            let at = |i: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(p.get(i..i + 4)?).ok()?));
            Some((at(12)?.into(), at(16)?.into()))
        }
        6 => {
            let at = |i: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(p.get(i..i + 16)?).ok()?));
            Some((at(8)?.into(), at(24)?.into()))
        }
        _ => None,
    }
}

/// What a host answers to a SYN; `None` to everything else, and to a SYN whose checksum is wrong.
fn answer(p: &[u8], open_port: u16) -> Option<Vec<u8>> {
    let v4 = p.first()? >> 4 == 4;
    let (header, protocol, from, length) = if v4 { (20, p[9], 12, 4) } else { (40, p[6], 8, 16) };
    let tcp = p.get(header..)?;
    let checked = sum(&p[from..from + 2 * length]) + 6 + tcp.len() as u32 + sum(tcp);
    if protocol != 6 || tcp.get(13)? & 0x3f != 0x02 || fold(checked) != 0xffff {
        return None;
    }
    let open = u16::from_be_bytes([tcp[2], tcp[3]]) == open_port;
    let mut a = p[..header + 20].to_vec();
    for i in 0..length {
        a.swap(from + i, from + length + i);
    }
    let length_field = if v4 { 2 } else { 4 };
    let total = if v4 { 40u16 } else { 20 };
    a[length_field..length_field + 2].copy_from_slice(&total.to_be_bytes());
    if v4 {
        a[10..12].fill(0);
        let c = !fold(sum(&a[..20]));
        a[10..12].copy_from_slice(&c.to_be_bytes());
    }
    let acknowledged = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]).wrapping_add(1);
    let t = &mut a[header..];
    t.swap(0, 2);
    t.swap(1, 3);
    t[4..8].copy_from_slice(&if open { 7u32 } else { 0 }.to_be_bytes());
    t[8..12].copy_from_slice(&acknowledged.to_be_bytes());
    t[12] = 0x50;
    t[13] = if open { 0x12 } else { 0x14 };
    t[16..20].fill(0);
    let c = !fold(sum(&a[from..from + 2 * length]) + 6 + 20 + sum(&a[header..]));
    a[header + 16..header + 18].copy_from_slice(&c.to_be_bytes());
    Some(a)
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w.get(1).copied().unwrap_or(0))).sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
