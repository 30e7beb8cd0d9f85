//! What is computed for each packet: the next cell of the order, its address, and the way back from
//! an answer to its cell. A sender at a million packets a second has a microsecond for all of it.

#![allow(missing_docs, clippy::unwrap_used)] // what the macros make, and the set-up

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mimawari_engine::{ProbeAnswer, ProbeReply, SweepConfig, SweepEngine};
use mimawari_probes::cookie::Cookie;
use mimawari_probes::wire::SynAckSigns;
use mimawari_probes::wire::{self, LinkHeader, SynTemplate};
use mimawari_targets::{
    AddrRange, AddrSet, CellPlan, PlanOrder, PlanShard, PortSet, ProbeOrder, Scope, list,
};

/// Calls in one iteration, so that the loop of the harness does not count.
const CALLS: u64 = 1024;

fn order(c: &mut Criterion) {
    let mut group = c.benchmark_group("order");
    group.throughput(Throughput::Elements(CALLS));
    // At a power of two no walk takes a second step; right behind one, half of them do.
    for (name, len) in [
        ("2^20", 1u64 << 20),
        ("2^20+1", (1 << 20) + 1),
        ("65536x1000", 65_536_000),
        ("2^48", 1 << 48),
    ] {
        let order = ProbeOrder::new(len, 0x5eed);
        let mut from = 0;
        let mut next = move || {
            from = (from + CALLS) % (len - CALLS);
            from..from + CALLS
        };
        group.bench_function(BenchmarkId::new("at", name), |b| {
            b.iter(|| next().map(|p| order.at(black_box(p))).fold(0, u64::wrapping_add));
        });
        group.bench_function(BenchmarkId::new("position_of", name), |b| {
            b.iter(|| next().map(|e| order.position_of(black_box(e))).fold(0, u64::wrapping_add));
        });
    }
    group.finish();
}

/// `count` blocks of 16 addresses, none adjacent to another.
fn blocks(count: u32) -> AddrSet {
    AddrSet::from_ranges((0..count).map(|i| {
        let ip = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + 32 * i + n));
        AddrRange::new(ip(0), ip(15)).unwrap()
    }))
}

fn addresses(c: &mut Criterion) {
    let mut group = c.benchmark_group("addresses");
    group.throughput(Throughput::Elements(CALLS));
    for count in [1, 100, 100_000] {
        let set = blocks(count);
        let order = ProbeOrder::new(u64::try_from(set.len()).unwrap(), 1);
        // In probing order: neighbours in time are not neighbours in memory.
        let some: Vec<u128> = (0..CALLS).map(|p| u128::from(order.at(p % order.len()))).collect();
        let ips: Vec<IpAddr> = some.iter().map(|n| set.nth(*n).unwrap()).collect();
        group.bench_function(BenchmarkId::new("nth", count), |b| {
            b.iter(|| some.iter().filter(|n| black_box(set.nth(**n)).is_some()).count());
        });
        group.bench_function(BenchmarkId::new("index_of", count), |b| {
            b.iter(|| ips.iter().filter(|ip| black_box(set.index_of(**ip)).is_some()).count());
        });
    }
    group.finish();
}

fn walk_of(ranges: u32) -> PlanOrder {
    let scope = Scope::new(blocks(ranges), AddrSet::default(), "bench");
    let ports: PortSet = "top1000".parse().unwrap();
    CellPlan::new(scope.whole(), ports, 7).unwrap().walk(PlanShard::WHOLE)
}

fn walk(c: &mut Criterion) {
    let mut group = c.benchmark_group("walk");
    group.throughput(Throughput::Elements(CALLS));
    for ranges in [1, 4096] {
        let walk = walk_of(ranges);
        let mut from = 0;
        group.bench_function(BenchmarkId::new("endpoint", ranges), |b| {
            b.iter(|| {
                from = (from + CALLS) % (walk.len() - CALLS);
                (from..from + CALLS).filter(|s| black_box(walk.endpoint(*s)).is_some()).count()
            });
        });
        let answers: Vec<_> = walk.iter().take(usize::try_from(CALLS).unwrap()).collect();
        group.bench_function(BenchmarkId::new("step_of", ranges), |b| {
            b.iter(|| {
                answers
                    .iter()
                    .filter(|e| black_box(walk.step_of(e.ip(), e.port())).is_some())
                    .count()
            });
        });
    }
    group.finish();
}

fn lists(c: &mut Criterion) {
    const LINES: u32 = 100_000;
    let text: String =
        (0..LINES).map(|i| format!("{}\n", Ipv4Addr::from_bits(0x0a00_0000 + 2 * i))).collect();
    let mut group = c.benchmark_group("lists");
    group.throughput(Throughput::Elements(u64::from(LINES)));
    group.sample_size(20);
    group.bench_function("parse_text", |b| {
        b.iter(|| list::parse_text("bench", black_box(&text)).unwrap());
    });
    group.finish();
}

/// A SYN frame for one probe, cookie apart, and the cookie.
fn probes(c: &mut Criterion) {
    let mut group = c.benchmark_group("probe");
    group.throughput(Throughput::Elements(CALLS));
    let header = LinkHeader::Ethernet { source: [2; 6], destination: [4; 6] };
    let cookie = Cookie::new([7; 16]);
    for (name, source, first) in [
        ("v4", IpAddr::from([198, 18, 0, 1]), IpAddr::from([198, 19, 0, 0])),
        ("v6", "2001:db8::1".parse().unwrap(), "2001:db8:19::".parse().unwrap()),
    ] {
        let to: Vec<IpAddr> = (0..CALLS)
            .map(|i| match first {
                IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() + i as u32).into(),
                IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() + u128::from(i)).into(),
            })
            .collect();
        let mut template = SynTemplate::new(header, source);
        group.bench_function(BenchmarkId::new("template", name), |b| {
            b.iter(|| {
                to.iter()
                    .map(|ip| black_box(template.frame(*ip, None, 1024, 443, 0x5eed)).len())
                    .sum::<usize>()
            });
        });
        group.bench_function(BenchmarkId::new("cookie", name), |b| {
            b.iter(|| {
                to.iter().fold(0, |n, ip| n ^ cookie.sequence(source, 1024, black_box(*ip), 443))
            });
        });
    }
    group.finish();
}

/// An answer from the wire: parsed, and its cookie verified.
fn answers(c: &mut Criterion) {
    const PORT: u16 = 40_000;
    let mut group = c.benchmark_group("answer");
    group.throughput(Throughput::Elements(CALLS));
    let cookie = Cookie::new([7; 16]);
    let own = IpAddr::from([198, 18, 0, 1]);
    let frames: Vec<Vec<u8>> = (0..CALLS as u32)
        .map(|i| {
            let host = Ipv4Addr::from_bits(0xc613_0000 + i);
            let sequence = cookie.sequence(own, PORT, host.into(), 443).wrapping_add(1);
            // A SYN the other way, made into its SYN-ACK.
            let header = LinkHeader::Ethernet { source: [4; 6], destination: [2; 6] };
            let mut template = SynTemplate::new(header, host.into());
            let mut frame = template.frame(own, None, 443, PORT, 1).to_vec();
            frame[14 + 20 + 8..14 + 20 + 12].copy_from_slice(&sequence.to_be_bytes());
            frame[14 + 20 + 13] = 0x12;
            frame
        })
        .collect();
    let read = |frame: &[u8]| {
        wire::classify(&cookie, &wire::parse(wire::LinkKind::Ethernet, frame)?, PORT, 8)
    };
    assert!(frames.iter().all(|f| read(f).is_some()), "the frames are no answers");
    group.bench_function("parse and classify", |b| {
        b.iter(|| frames.iter().filter(|f| read(black_box(f)).is_some()).count());
    });
    group.finish();
}

/// A probe handed out and its answer taken in: order, books, rate and all.
fn sweep(c: &mut Criterion) {
    let mut group = c.benchmark_group("sweep");
    group.throughput(Throughput::Elements(CALLS));
    group.bench_function("transmit and handle", |b| {
        let new = || {
            let config = SweepConfig { rate: u32::MAX, burst: u32::MAX, ..SweepConfig::default() };
            SweepEngine::new(walk_of(4096), config)
        };
        let (mut sweep, mut now) = (new(), Duration::ZERO);
        b.iter(|| {
            now += Duration::from_millis(1);
            let mut n = 0;
            while n < CALLS {
                let Some(probe) = sweep.poll_transmit(now) else {
                    // The pacer or the end of a chunk; a new sweep goes on at once.
                    while sweep.poll_event().is_some() {}
                    now += Duration::from_secs(2);
                    if sweep.is_done() {
                        (sweep, now) = (new(), Duration::from_secs(1));
                    }
                    continue;
                };
                n += 1;
                let (ip, port) = (probe.endpoint.ip(), probe.endpoint.port());
                let attempt = probe.attempt;
                sweep.handle(
                    now,
                    ProbeAnswer {
                        ip,
                        port,
                        attempt,
                        reply: ProbeReply::Rst,
                        ttl: None,
                        signs: SynAckSigns::default(),
                    },
                );
            }
        });
    });
    group.finish();
}

criterion_group!(benches, order, addresses, walk, lists, probes, answers, sweep);
criterion_main!(benches);
