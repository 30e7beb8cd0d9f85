//! Verdicts that only the page shows in full: many findings, a history, maps.

use mimawari_drift::verdict::{
    Finding, FindingCounts, FindingState, MapMark, RangeMap, RunSummary, Verdict,
};
use mimawari_probes::observation::Severity;

use super::{at, content, drift, port};

/// As many findings as asked for, of which a few causes explain nearly all.
pub(crate) fn generate_findings(n: u32) -> Verdict {
    let mut v = drift();
    let owners = [Some("@corp/hosting"), Some("@corp/data"), None, Some("@corp/web")];
    let mut list: Vec<Finding> = (0..n.saturating_sub(v.findings.len() as u32))
        .map(|i| {
            let address = |base: u32, i: u32| std::net::Ipv4Addr::from(base + i).to_string();
            let fresh = i % 5 < 3;
            let mut f = match i % 5 {
                0 | 1 => port(&address(0xc612_0000, i / 5 * 2 + i % 5), 6379),
                2 => port(&address(0xc612_4000, i / 5), 9200),
                3 => port("198.19.255.9", u16::try_from(1 + i / 5 % 60_000).unwrap_or(1)),
                _ => content(
                    &address(0xc613_0000, i / 40 * 8),
                    80,
                    "shop.example.jp",
                    "/password.php",
                ),
            };
            f.id = format!("{:016x}", u64::from(i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            f.owner = owners[(i % 5) as usize % 4].map(str::to_owned);
            f.new = fresh;
            f.severity = if i % 5 == 2 { Severity::Medium } else { f.severity };
            if fresh {
                f.first_seen = at("2026-08-01T01:00:12Z");
            } else if i % 35 == 4 {
                f.state = FindingState::Unverified;
            }
            f
        })
        .collect();
    v.findings.append(&mut list);
    v.findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
    let count = |s| v.findings.iter().filter(|f| f.state == s).count() as u64;
    v.counts.open = count(FindingState::Open);
    v.counts.unverified = count(FindingState::Unverified);
    v.counts.new = v.findings.iter().filter(|f| f.new).count() as u64;
    v
}

/// A verdict with the runs before it: some suspect, some incomplete, and once none for three days.
pub(crate) fn with_history(mut v: Verdict, n: u32) -> Verdict {
    let end = v.judged_at;
    v.timeline = (0..n)
        .map(|i| {
            let back = i64::from(n - 1 - i);
            let pause = if i < n / 3 { 72 } else { 0 };
            let (suspect, cut) = (i % 23 == 11, i % 17 == 5);
            let planned = v.coverage.cells_planned;
            let open = if i % 9 < 2 { 0 } else { u64::from(i * 7 % 5 + i / 6) };
            RunSummary {
                run_id: format!("run-{i}"),
                vantage: "outside".to_owned(),
                at: end - jiff::SignedDuration::from_hours(back + pause),
                exit: if open > 0 {
                    1
                } else if suspect || cut {
                    3
                } else {
                    0
                },
                suspect,
                incomplete: suspect,
                cells_planned: planned,
                cells_covered: if cut { planned * u64::from(40 + i % 50) / 100 } else { planned },
                recall_estimate: (!suspect).then_some(0.99996),
                counts: FindingCounts {
                    open,
                    missing: u64::from(i % 11 == 3),
                    unverified: if cut { 3 } else { 0 },
                    resolving: u64::from(i % 6 == 4),
                    ..FindingCounts::default()
                },
            }
        })
        .collect();
    v
}

/// A verdict with a map of a small range, a large one, and one of IPv6.
pub(crate) fn with_maps(mut v: Verdict) -> Verdict {
    let mark = |index: u32, unexpected, missing, unverified, allowed| MapMark {
        index,
        allowed,
        unexpected,
        missing,
        unverified,
    };
    let edge = (0..64).map(|i| mark(i, 0, 0, 0, 1 + i % 3));
    let edge = edge.chain([mark(66, 1, 0, 0, 0), mark(67, 1, 0, 0, 1), mark(90, 0, 0, 2, 0)]);
    let edge = edge.chain([mark(91, 0, 0, 1, 0), mark(120, 0, 1, 0, 0)]);
    let wide = (0..4_096u32)
        .filter(|i| i.wrapping_mul(2_654_435_761) % 11 < 2 || (1_024..1_200).contains(i));
    let wide = wide.map(|i| match i {
        1_024..1_120 => mark(i, 3, 0, 0, 0),
        1_120..1_200 => mark(i, 0, 0, 4, 0),
        _ => mark(i, u32::from(i % 97 == 0), 0, 0, 2),
    });
    v.maps = vec![
        RangeMap { range: "198.51.100.0/24".to_owned(), cells: 256, marks: edge.collect() },
        RangeMap { range: "198.18.0.0/15".to_owned(), cells: 4_096, marks: wide.collect() },
        RangeMap {
            range: "2001:db8:10::/120".to_owned(),
            cells: 256,
            marks: vec![mark(5, 0, 1, 0, 0), mark(7, 0, 0, 0, 2)],
        },
    ];
    v
}
