//! The cases. Each has devices or ports of its own, so they may run side by side.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use caps::{CapSet, Capability};
use mimawari_rawio::{
    FrameSender, InterfaceFacts, LinkKind, ReceiveRing, RingConfig, SendBatch, SendOutcome, filter,
};

use crate::frames::{Tcp, ethernet, tagged, v4, v6};
use crate::tap::{Tap, set_up};

/// Name and body of every case.
pub const CASES: &[(&str, fn())] = &[
    ("lo_answers_are_seen_once_in_the_ring", lo_in_the_ring),
    ("lo_answers_are_seen_once_without_a_ring", lo_without_a_ring),
    ("a_group_of_rings_shares_the_frames", a_group_of_rings_shares_the_frames),
    ("raw_ip_sends_both_families_in_order", raw_ip_sends_both_families_in_order),
    ("a_bad_frame_is_the_one_that_is_blamed", a_bad_frame_is_the_one_that_is_blamed),
    ("ethernet_frames_leave_byte_by_byte", ethernet_frames_leave_byte_by_byte),
    ("bare_packets_leave_and_arrive", bare_packets_leave_and_arrive),
    ("a_full_queue_is_told_and_nothing_is_lost", a_full_queue_is_told_and_nothing_is_lost),
    ("only_what_passes_the_filter_arrives", only_what_passes_the_filter_arrives),
    ("frames_of_a_vlan_are_not_the_interface_s", frames_of_a_vlan_are_not_the_interface_s),
    ("losses_of_the_ring_are_counted", losses_of_the_ring_are_counted),
    ("a_dead_interface_is_told_and_may_come_back", a_dead_interface_is_told_and_may_come_back),
    ("devices_are_what_they_are", devices_are_what_they_are),
    ("cap_net_raw_is_enough_and_needed", cap_net_raw_is_enough_and_needed),
];

/// Against a hang only; everything waited for is an event.
const PATIENCE: Duration = Duration::from_secs(30);

/// The kernel refuses this block size, which is negative to it.
fn refused() -> RingConfig {
    RingConfig { block_size: 1 << 31, blocks: 1, ..RingConfig::default() }
}

fn both() -> [RingConfig; 2] {
    [RingConfig::default(), refused()]
}

fn batch<'a>(frames: impl IntoIterator<Item = &'a Vec<u8>>) -> SendBatch {
    let mut batch = SendBatch::new();
    for frame in frames {
        assert!(batch.push(frame));
    }
    batch
}

#[track_caller]
fn send(sender: &mut FrameSender, frames: &[Vec<u8>]) {
    let SendOutcome { sent, error } = sender.send(&batch(frames));
    assert!(error.is_none(), "{error:?}");
    assert_eq!(sent, frames.len());
}

/// Receives until a frame is `last`; it and all before it.
#[track_caller]
fn until(ring: &mut ReceiveRing, last: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let begun = Instant::now();
    let mut all = Vec::new();
    while !all.last().is_some_and(|f: &Vec<u8>| last(f)) {
        assert!(begun.elapsed() < PATIENCE, "what was waited for never came; seen: {all:02x?}");
        let before = all.len();
        let n = ring
            .receive(Duration::from_millis(100), &mut |f| {
                if !all.last().is_some_and(|f: &Vec<u8>| last(f)) {
                    all.push(f.to_vec());
                }
            })
            .unwrap();
        assert!(n >= all.len() - before);
    }
    all
}

/// Flags, destination port and acknowledgement of a TCP segment on `lo`.
fn tcp(frame: &[u8]) -> (u8, u16, u32) {
    let at = 14 + if frame[12] == 8 { 20 } else { 40 };
    (
        frame[at + 13],
        u16::from_be_bytes([frame[at + 2], frame[at + 3]]),
        u32::from_be_bytes(frame[at + 8..at + 12].try_into().unwrap()),
    )
}

fn lo_in_the_ring() {
    lo(RingConfig::default(), 61_000, true);
}

fn lo_without_a_ring() {
    lo(refused(), 61_100, false);
}

/// SYNs to a port where somebody listens and to one where nobody does.
fn lo(config: RingConfig, first: u16, mapped: bool) {
    const SYN_ACK: u8 = 0x12;
    const RST_ACK: u8 = 0x14;
    let device = InterfaceFacts::by_name("lo").unwrap();
    let mut sender = FrameSender::raw_ip().unwrap();
    let mut ring = ReceiveRing::open(
        &device,
        &filter::build_reply_filter(device.kind, first, first + 7),
        config,
    )
    .unwrap();
    assert_eq!(ring.is_mapped(), mapped);
    assert_eq!(ring.refusal().is_some(), !mapped);
    let mut attempts = first..;
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let open = listener.local_addr().unwrap().port();
        // Bound and not listening: closed, and nobody else can take it.
        let placeholder = socket2::Socket::new(
            socket2::Domain::for_address((ip, 0).into()),
            socket2::Type::STREAM,
            None,
        )
        .unwrap();
        placeholder.bind(&std::net::SocketAddr::from((ip, 0)).into()).unwrap();
        let closed = placeholder.local_addr().unwrap().as_socket().unwrap().port();
        for (port, flags) in [(open, SYN_ACK), (closed, RST_ACK)] {
            let source_port = attempts.next().unwrap();
            // The answer's number is one more, also past the end of the numbers.
            for sequence in [0x1234_5678, u32::MAX] {
                let syn = Tcp {
                    source: ip,
                    destination: ip,
                    source_port,
                    destination_port: port,
                    sequence,
                };
                send(&mut sender, &[syn.packet()]);
                let seen = until(&mut ring, |f| tcp(f).0 == flags);
                // Our own SYN leaves by the same interface and must not be seen; nor must anything
                // be seen twice, which would come up in the next turn.
                let seen: Vec<_> = seen.iter().map(|f| tcp(f)).collect();
                assert_eq!(seen, [(flags, source_port, sequence.wrapping_add(1))], "{ip} {port}");
            }
        }
    }
    assert_eq!(ring.statistics().unwrap().drops, 0);
}

fn a_group_of_rings_shares_the_frames() {
    const FRAMES: u16 = 300;
    let device = InterfaceFacts::by_name("lo").unwrap();
    let to = 61_150;
    let program = filter::build_reply_filter(device.kind, to, to);
    for config in both() {
        let mut rings = ReceiveRing::open_group(&device, &program, config, 3).unwrap();
        assert_eq!(rings.len(), 3);
        let mut sender = FrameSender::raw_ip().unwrap();
        let ip = IpAddr::from(Ipv4Addr::LOCALHOST);
        let from = |source_port| Tcp {
            source: ip,
            destination: ip,
            source_port,
            destination_port: to,
            sequence: 1,
        };
        let frames: Vec<Vec<u8>> = (0..FRAMES).map(|n| from(10_000 + n).packet()).collect();
        for some in frames.chunks(100) {
            send(&mut sender, some);
        }
        let begun = Instant::now();
        let mut seen = vec![Vec::new(); 3];
        // Until each was seen, and not until as many came as there are: one that comes twice (as all do on
        // `lo`, leaving and arriving) must not pass for another.
        let all = |seen: &[Vec<u16>]| seen.iter().flatten().copied().collect::<HashSet<u16>>();
        while all(&seen).len() < FRAMES.into() {
            assert!(begun.elapsed() < PATIENCE, "{:?}", seen.iter().map(Vec::len));
            for (ring, seen) in rings.iter_mut().zip(&mut seen) {
                ring.receive(Duration::from_millis(1), &mut |f| {
                    // Not the RSTs to them, which pass the filter of nobody.
                    seen.push(u16::from_be_bytes([f[34], f[35]]));
                })
                .unwrap();
            }
        }
        assert!(seen.iter().all(|s| s.len() > 30), "one ring has nearly all");
        let packets: u64 = rings.iter_mut().map(|r| r.statistics().unwrap().packets).sum();
        assert_eq!(packets, u64::from(FRAMES), "some came twice");
    }
}

fn raw_ip_sends_both_families_in_order() {
    let device = InterfaceFacts::by_name("lo").unwrap();
    let (first, last) = (61_200, 61_203);
    let mut ring = ReceiveRing::open(
        &device,
        &filter::build_reply_filter(device.kind, first, last),
        RingConfig::default(),
    )
    .unwrap();
    let mut sender = FrameSender::raw_ip().unwrap();
    // To ports of the filter's range, so that the ring sees them arrive; runs of each family.
    let frames: Vec<Vec<u8>> = (0..200u32)
        .map(|i| {
            let ip: IpAddr =
                if i % 7 < 4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
            Tcp {
                source: ip,
                destination: ip,
                source_port: 61_300,
                destination_port: first,
                sequence: i,
            }
            .packet()
        })
        .collect();
    send(&mut sender, &frames);
    let seen = until(&mut ring, |f| f[14..] == frames[199]);
    assert!(seen.iter().map(|f| &f[14..]).eq(frames.iter().map(|f| &f[..])));
}

fn a_bad_frame_is_the_one_that_is_blamed() {
    let tap = &mut Tap::ethernet("bad0");
    let good = |i: u32| v4(61_000, i).frame();
    let mut sender = FrameSender::packet(&tap.device()).unwrap();
    for at in [0, 1, 5] {
        let mut frames: Vec<Vec<u8>> = (0..8).map(good).collect();
        // Too short to say what it is.
        frames[at].truncate(13);
        let SendOutcome { sent, error } = sender.send(&batch(&frames));
        assert_eq!((sent, error.unwrap().kind()), (at, ErrorKind::InvalidInput));
        assert_eq!(tap.read(), frames[..at]);
        // The rest goes without it, and without being copied.
        let SendOutcome { sent, error } = sender.send_from(&batch(&frames), at + 1);
        assert!(error.is_none() && sent == 7 - at);
        assert_eq!(tap.read(), frames[at + 1..]);
    }
    let SendOutcome { sent, error } = sender.send_from(&batch(&[good(0)]), 2);
    assert!(sent == 0 && error.is_none());
    let ip: IpAddr = Ipv4Addr::LOCALHOST.into();
    let syn = Tcp { source: ip, destination: ip, source_port: 9, destination_port: 9, sequence: 9 };
    let mut frames = vec![syn.packet(); 4];
    frames[2][0] = 0x25;
    let SendOutcome { sent, error } = FrameSender::raw_ip().unwrap().send(&batch(&frames));
    assert_eq!((sent, error.unwrap().kind()), (2, ErrorKind::InvalidInput));
    // Nothing to send is nothing wrong.
    let SendOutcome { sent, error } = sender.send(&SendBatch::new());
    assert!(sent == 0 && error.is_none());
}

fn ethernet_frames_leave_byte_by_byte() {
    let tap = &mut Tap::ethernet("out0");
    let mut sender = FrameSender::packet(&tap.device()).unwrap();
    let frames: Vec<Vec<u8>> = (0..256u32)
        .map(|i| match i % 3 {
            0 => v4(61_000, i).frame(),
            1 => v6(61_000, i).frame(),
            _ => ethernet(0x0806, &vec![i as u8; 28 + i as usize % 215]),
        })
        .collect();
    send(&mut sender, &frames);
    assert_eq!(tap.read(), frames);
}

fn bare_packets_leave_and_arrive() {
    let tun = &mut Tap::bare("bare0");
    let device = tun.device();
    let mut sender = FrameSender::packet(&device).unwrap();
    let packets: Vec<Vec<u8>> = (0..64u32)
        .map(|i| if i % 3 == 0 { v6(61_000, i).packet() } else { v4(61_000, i).packet() })
        .collect();
    send(&mut sender, &packets);
    let on_the_cable = |packet: &Vec<u8>| {
        let kind: [u8; 4] =
            if packet[0] >> 4 == 4 { [0, 0, 0x08, 0x00] } else { [0, 0, 0x86, 0xdd] };
        [&kind[..], packet].concat()
    };
    assert_eq!(tun.read(), packets.iter().map(on_the_cable).collect::<Vec<_>>());

    for config in both() {
        let mut ring = ReceiveRing::open(
            &device,
            &filter::build_reply_filter(device.kind, 61_000, 61_007),
            config,
        )
        .unwrap();
        let last = v4(61_007, u32::MAX).packet();
        let foreign = v4(60_999, 0).packet();
        for packet in packets.iter().chain([&foreign, &last]) {
            tun.write(&on_the_cable(packet));
        }
        let seen = until(&mut ring, |f| f == last);
        assert_eq!(seen[..64], packets);
        assert_eq!(seen.len(), 65);
    }
}

fn a_full_queue_is_told_and_nothing_is_lost() {
    let tap = &mut Tap::ethernet("full0");
    let mut sender = FrameSender::packet(&tap.device()).unwrap();
    let mut sequence = 0u32;
    let mut left = 0;
    // Nobody reads, so the device's queue fills up.
    let error = loop {
        let frames: Vec<Vec<u8>> = (0..256).map(|i| v4(61_000, sequence + i).frame()).collect();
        let outcome = sender.send(&batch(&frames));
        left += outcome.sent;
        sequence += 256;
        if let Some(e) = outcome.error {
            assert!(outcome.sent < 256);
            break e;
        }
        assert_eq!(outcome.sent, 256);
        assert!(left < 1 << 20, "the queue takes everything");
    };
    assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS));
    // What was said to have left did, in order, and nothing else.
    let expected: Vec<_> = (0..left as u32).map(|i| v4(61_000, i).frame()).collect();
    assert_eq!(tap.read(), expected);
    // With room again it goes on.
    send(&mut sender, &[v4(61_000, 7).frame()]);
    assert_eq!(tap.read(), [v4(61_000, 7).frame()]);
}

fn only_what_passes_the_filter_arrives() {
    for (i, config) in both().into_iter().enumerate() {
        let tap = &mut Tap::ethernet(&format!("in{i}"));
        let device = tap.device();
        let mut ring = ReceiveRing::open(
            &device,
            &filter::build_reply_filter(device.kind, 61_000, 61_007),
            config,
        )
        .unwrap();
        // What we send ourselves would pass, and is not seen.
        let mut sender = FrameSender::packet(&device).unwrap();
        send(&mut sender, &[v4(61_000, 1).frame(), v6(61_000, 1).frame()]);
        let mut wanted = Vec::new();
        for sequence in 0..300 {
            let port = 60_990 + (sequence % 30) as u16;
            for frame in [v4(port, sequence).frame(), v6(port, sequence).frame()] {
                tap.write(&frame);
                if (61_000..=61_007).contains(&port) {
                    wanted.push(frame);
                }
            }
        }
        let mut arp = ethernet(0x0806, &[0; 28]);
        for operation in 1..=2 {
            arp[21] = operation;
            tap.write(&arp);
        }
        wanted.push(arp);
        // Long ones are cut.
        let mut long = v4(61_000, 999).frame();
        long.resize(1500, 7);
        tap.write(&long);
        wanted.push(long[..512].to_vec());
        let last = v4(61_000, u32::MAX).frame();
        tap.write(&last);
        wanted.push(last.clone());
        assert_eq!(until(&mut ring, |f| f == last), wanted);
        // There is nothing more, and that is no error.
        assert_eq!(ring.receive(Duration::ZERO, &mut |f| panic!("{f:02x?}")).unwrap(), 0);
        let statistics = ring.statistics().unwrap();
        assert_eq!((statistics.packets, statistics.drops), (wanted.len() as u64, 0));
    }
}

fn frames_of_a_vlan_are_not_the_interface_s() {
    let tap = &mut Tap::ethernet("vlan0");
    let device = tap.device();
    let open = |program: &[filter::BpfInstruction]| {
        ReceiveRing::open(&device, program, RingConfig::default()).unwrap()
    };
    let (mut ours, mut all) =
        (open(&filter::build_reply_filter(device.kind, 61_000, 61_007)), open(&[]));
    let frame = |n| v4(61_000, n).frame();
    tap.write(&tagged(frame(1), 10));
    // Of no VLAN, but with a priority.
    tap.write(&tagged(frame(2), 0xe000));
    tap.write(&tagged(tagged(frame(3), 20), 10));
    tap.write(&frame(4));
    assert_eq!(until(&mut ours, |f| f == frame(4)), [frame(2), frame(4)]);
    // Without the filter the first looks as if it were of this network.
    assert!(until(&mut all, |f| f == frame(4)).contains(&frame(1)));
}

fn losses_of_the_ring_are_counted() {
    const SENT: u64 = 1000;
    let tap = &mut Tap::ethernet("lossy0");
    let device = tap.device();
    let small = RingConfig { block_size: 4096, blocks: 2, retire: Duration::from_millis(1) };
    let mut ring =
        ReceiveRing::open(&device, &filter::build_reply_filter(device.kind, 61_000, 61_007), small)
            .unwrap();
    assert!(ring.is_mapped());
    for sequence in 0..SENT {
        tap.write(&v4(61_000, sequence as u32).frame());
        // Not counted, since it does not pass.
        tap.write(&v4(1, sequence as u32).frame());
    }
    let first = ring.statistics().unwrap();
    assert_eq!(first.packets, SENT);
    assert!(first.drops > 0 && first.drops < SENT, "{first:?}");
    // Asking resets.
    assert_eq!(ring.statistics().unwrap(), Default::default());
    let mut seen = HashSet::new();
    let begun = Instant::now();
    while (seen.len() as u64) < SENT - first.drops {
        assert!(begun.elapsed() < PATIENCE, "{} of {first:?}", seen.len());
        ring.receive(Duration::from_millis(100), &mut |f| assert!(seen.insert(f.to_vec())))
            .unwrap();
    }
    // What was emptied takes frames again.
    let last = v4(61_001, 0).frame();
    tap.write(&last);
    assert_eq!(until(&mut ring, |f| f == last), std::slice::from_ref(&last));
    assert_eq!(ring.statistics().unwrap().drops, 0);
}

fn a_dead_interface_is_told_and_may_come_back() {
    for (i, config) in both().into_iter().enumerate() {
        let name = format!("dead{i}");
        let tap = &mut Tap::ethernet(&name);
        let device = tap.device();
        let mut ring = ReceiveRing::open(
            &device,
            &filter::build_reply_filter(device.kind, 61_000, 61_007),
            config,
        )
        .unwrap();
        let mut sender = FrameSender::packet(&device).unwrap();
        set_up(&name, false);
        assert!(!tap.device().up);
        let e = ring.receive(PATIENCE, &mut |f| panic!("{f:02x?}")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NetworkDown);
        let outcome = sender.send(&batch(&[v4(61_000, 0).frame()]));
        assert_eq!(outcome.sent, 0);
        assert_eq!(outcome.error.unwrap().kind(), ErrorKind::NetworkDown);
        set_up(&name, true);
        let frame = v4(61_000, 1).frame();
        tap.write(&frame);
        assert_eq!(until(&mut ring, |f| f == frame), std::slice::from_ref(&frame));
        send(&mut sender, std::slice::from_ref(&frame));
        assert_eq!(tap.read(), [frame]);
    }
}

fn devices_are_what_they_are() {
    let (tap, tun) = (Tap::ethernet("kind0"), Tap::bare("kind1"));
    let (ether, bare) = (tap.device(), tun.device());
    assert_eq!((ether.kind, bare.kind), (LinkKind::Ethernet, LinkKind::None));
    assert!(ether.up && bare.up && !ether.loopback && !bare.loopback);
    let text = std::fs::read_to_string("/proc/self/net/dev").unwrap();
    assert!(text.contains("kind0") && ether.name == "kind0");
    // TAP makes up an address, and it is an individual one.
    assert!(ether.mac.is_some_and(|m| m != [0; 6] && m[0] & 1 == 0));
    assert_eq!((bare.mac, ether.mtu, bare.mtu), (None, 1500, 1500));
    assert_eq!(InterfaceFacts::by_index(ether.index).unwrap(), ether);
    drop(tap);
    assert_eq!(InterfaceFacts::by_name("kind0").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(InterfaceFacts::by_index(ether.index).unwrap_err().kind(), ErrorKind::NotFound);
}

/// Everything that needs a privilege.
fn privileged(device: &InterfaceFacts) -> [io::Result<()>; 4] {
    let program = filter::build_reply_filter(device.kind, 61_400, 61_400);
    let ring = |config| ReceiveRing::open(device, &program, config);
    [
        FrameSender::packet(device).map(drop),
        FrameSender::raw_ip().map(drop),
        ring(RingConfig::default()).map(|r| assert!(r.is_mapped())),
        ring(refused()).map(drop),
    ]
}

fn cap_net_raw_is_enough_and_needed() {
    let keep = |wanted: &[Capability]| {
        let wanted = wanted.iter().copied().collect();
        for set in [CapSet::Effective, CapSet::Permitted] {
            caps::set(None, set, &wanted).unwrap();
        }
    };
    // Capabilities are a thread's own, and this one ends with the case.
    std::thread::spawn(move || {
        keep(&[Capability::CAP_NET_RAW]);
        let lo = InterfaceFacts::by_name("lo").unwrap();
        for result in privileged(&lo) {
            result.unwrap();
        }
        let ip: IpAddr = Ipv4Addr::LOCALHOST.into();
        let somebody = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap().port();
        let syn = Tcp {
            source: ip,
            destination: ip,
            source_port: 61_400,
            destination_port: somebody,
            sequence: 1,
        };
        send(&mut FrameSender::raw_ip().unwrap(), &[syn.packet()]);
        keep(&[]);
        let lo = InterfaceFacts::by_name("lo").unwrap();
        for result in privileged(&lo) {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied);
        }
    })
    .join()
    .unwrap();
}
