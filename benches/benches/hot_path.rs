//! What is computed for each packet: the next cell of the order, its address, and the way back from
//! an answer to its cell. A sender at a million packets a second has a microsecond for all of it.

#![allow(missing_docs, clippy::unwrap_used)] // what the macros make, and the set-up

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mimawari_targets::{AddrRange, AddrSet, Order, Plan, PortSet, Scope, Shard, Walk, list};

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
        let order = Order::new(len, 0x5eed);
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
        let order = Order::new(u64::try_from(set.len()).unwrap(), 1);
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

fn walk_of(ranges: u32) -> Walk {
    let scope = Scope::new(blocks(ranges), AddrSet::default(), "bench");
    let ports: PortSet = "top1000".parse().unwrap();
    Plan::new(scope.whole(), ports, 7).unwrap().walk(Shard::WHOLE)
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

criterion_group!(benches, order, addresses, walk, lists);
criterion_main!(benches);
