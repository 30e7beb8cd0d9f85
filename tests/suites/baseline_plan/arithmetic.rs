//! Whatever the baselines are, the figures add up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_drift::baseline::{Baseline, DecisionFacts, RuleMatch};
use mimawari_drift::impact::{ImpactSide, NewlyAllowed, compare};
use mimawari_drift::judge::{CoverageView, RunInput, judge};
use mimawari_drift::state::State;
use mimawari_drift::subject::Subject;
use mimawari_drift::verdict::{RunFacts, VerdictCoverage};
use mimawari_probes::observation::{CellState, Observation};
use mimawari_targets::{AddrRange, AddrSet, Cell, Port, PortSet, Protocol, Scope};
use proptest::prelude::*;

use super::kit;

const ADDRESSES: u8 = 16;
const PORTS: u16 = 6;

/// First address, how many more, first port, how many more, must, expired, UDP as well.
type Rule = (u8, u8, u16, u16, bool, bool, bool);

fn rules() -> impl Strategy<Value = Vec<Option<Rule>>> {
    let rule = (
        0..ADDRESSES,
        0u8..6,
        1..=PORTS,
        0u16..3,
        any::<bool>(),
        prop::bool::weighted(0.2),
        any::<bool>(),
    );
    prop::collection::vec(prop::option::weighted(0.8, rule), 5)
}

fn baseline(rules: &[Option<Rule>]) -> Baseline {
    let mut text = "version = 1\nowner = \"@t/t\"\n".to_owned();
    for (i, (a, n, p, m, must, expired, udp)) in
        rules.iter().enumerate().filter_map(|(i, r)| Some((i, (*r)?)))
    {
        let last = (a + n).min(ADDRESSES + 3);
        let udp = if udp { format!(", \"udp/{p}\"") } else { String::new() };
        text.push_str(&format!(
            "[[allow]]\nid = \"r{i}\"\nhosts = [\"10.0.0.{a}-10.0.0.{last}\"]\nports = [\"tcp/{p}-{}\"{udp}]\nexpect = \"{}\"\nreason = \"x\"\n{}",
            p + m,
            if must { "must" } else { "may" },
            if expired { "expires = 2026-01-31\n" } else { "" }
        ));
    }
    Baseline::parse(&[("b.toml".to_owned(), text)]).unwrap_or_else(|e| panic!("{e}")).0
}

fn facts(now: Timestamp) -> DecisionFacts<'static> {
    DecisionFacts { check: "", vantage: "default", now }
}

fn says(b: &Baseline, cell: Cell, now: Timestamp) -> RuleMatch<'_> {
    b.decide(&Subject::Port(cell), &facts(now)).says
}

struct Run(BTreeMap<(IpAddr, Port), CellState>);

impl CoverageView for Run {
    fn cell(&self, ip: IpAddr, port: Port) -> CellState {
        self.0.get(&(ip, port)).copied().unwrap_or(CellState::NotProbed)
    }

    fn in_scope(&self, _: IpAddr) -> bool {
        true
    }
}

fn addr(n: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, n])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_parts_add_up_and_the_lists_divide_the_findings(
        before in rules(),
        mut after in rules(),
        same in prop::collection::vec(any::<bool>(), 5),
        history in rules(),
        states in prop::collection::vec(0u8..5, usize::from(ADDRESSES) * usize::from(PORTS)),
    ) {
        for (i, same) in same.iter().enumerate() {
            if *same {
                after[i] = before[i];
            }
        }
        let (base, head) = (baseline(&before), baseline(&after));
        let now: Timestamp = kit::NOW.parse().unwrap();
        let cells = (0..ADDRESSES).flat_map(|a| (1..=PORTS).map(move |p| (addr(a), kit::port(p))));
        let run = Run(cells.zip(states.iter().map(|s| CellState::from_u8(*s).unwrap())).collect());
        let observations: Vec<Observation> = run.0.iter()
            .filter(|(_, s)| **s == CellState::Open)
            .map(|((ip, p), _)| kit::open(&ip.to_string(), p.get()))
            .collect();
        let set = AddrSet::from_ranges([AddrRange::new(addr(0), addr(ADDRESSES - 1)).unwrap()]);
        let scope = Scope::new(set.clone(), AddrSet::default(), "TEST-1");
        let ports = PortSet::from_ranges([(1, PORTS)]);
        let input = RunInput {
            run_id: "r",
            vantage: "default",
            scope: &scope,
            observations: &observations,
            coverage: &run,
            totals: VerdictCoverage::default(),
            facts: RunFacts::default(),
            suspect_because: Vec::new(),
            gaps: Vec::new(),
            addresses: &set,
            ports: &ports,
            turn: None,
        };
        // A state of before, so that there are things that were allowed, open and missing.
        let first = judge(&input, &baseline(&history), &State::default(), now).1;
        let (base_verdict, base_state) = judge(&input, &base, &first, now);
        let (head_verdict, head_state) = judge(&input, &head, &first, now);
        let mut newly = NewlyAllowed::between(&base, &head, "default", now);
        let planned: Vec<_> = newly.planned_cells(&set, &ports).collect();
        prop_assert_eq!(newly.planned(&set, &ports), planned.len() as u128);
        prop_assert_eq!(planned.iter().collect::<BTreeSet<_>>().len(), planned.len());
        // With every cell of the run, or only with those that are asked for: the result is the same.
        let mut by_all = newly.clone();
        for ((ip, port), state) in &run.0 {
            by_all.saw(*ip, *port, *state);
        }
        for (ip, port) in planned {
            newly.saw(ip, port, run.cell(ip, port));
        }
        prop_assert_eq!(by_all.total(), newly.total());

        // Cell by cell, by the question that the judge asks.
        let mut expected = [0u128; 5];
        let mut cells = 0u128;
        for a in 0..=ADDRESSES + 8 {
            for p in 1..=PORTS + 4 {
                for proto in [Protocol::Tcp, Protocol::Udp] {
                    let allowed = |b: &Baseline| matches!(says(b, Cell::new(addr(a), proto, kit::port(p)), now), RuleMatch::Allowed(_));
                    if allowed(&head) && !allowed(&base) {
                        cells += 1;
                        let state = if proto == Protocol::Tcp { run.cell(addr(a), kit::port(p)) } else { CellState::NotProbed };
                        expected[state as usize] += 1;
                    }
                }
            }
        }
        let side = |baseline, verdict, state| ImpactSide { baseline, verdict, state };
        let impact = compare(side(&base, &base_verdict, &base_state), side(&head, &head_verdict, &head_state), newly, "default");
        let n = impact.newly_allowed;
        prop_assert_eq!(n.cells, cells);
        let of = |s: CellState| expected[s as usize];
        prop_assert_eq!(u128::from(n.open), of(CellState::Open));
        prop_assert_eq!(u128::from(n.closed), of(CellState::Closed));
        prop_assert_eq!(u128::from(n.prohibited), of(CellState::Prohibited));
        prop_assert_eq!(u128::from(n.silent), of(CellState::Silent));
        prop_assert_eq!(n.never_observed, of(CellState::NotProbed));
        for c in impact.newly_allowed_by.iter().map(|r| r.cells).chain([n]) {
            let parts = u128::from(c.open + c.closed + c.prohibited + c.silent) + c.never_observed;
            prop_assert_eq!(parts, c.cells);
        }
        let sum: u128 = impact.newly_allowed_by.iter().map(|r| r.cells.cells).sum();
        prop_assert!(sum >= cells && impact.newly_allowed_by.iter().all(|r| r.cells.cells <= cells));

        // Silenced, re-opened and left divide the drift of the two verdicts.
        let drift = |v: &mimawari_drift::verdict::Verdict| -> BTreeSet<String> {
            v.findings.iter().filter(|f| f.state.is_drift()).map(|f| f.id.clone()).collect()
        };
        let (was, is) = (drift(&base_verdict), drift(&head_verdict));
        let silenced: BTreeSet<String> = impact.silenced.iter().map(|s| s.finding.id.clone()).collect();
        let reopened: BTreeSet<String> = impact.reopened.iter().map(|r| r.finding.id.clone()).collect();
        let left: BTreeSet<String> = impact.left.iter().map(|l| l.id.clone()).collect();
        prop_assert_eq!(&silenced, &(&was - &is));
        prop_assert_eq!(&reopened, &(&is - &was));
        prop_assert_eq!(&left, &(&was & &is));
        prop_assert_eq!(impact.silenced.len() + impact.left.len(), was.len());
        for s in impact.silenced.iter().filter(|s| s.finding.port.is_some()) {
            let f = &s.finding;
            if let Some(rule) = &s.by {
                let found = says(&head, Cell::new(f.ip, f.proto, f.port.unwrap()), now);
                prop_assert!(matches!(found, RuleMatch::Allowed(h) if h.id == rule.id), "{:?}", rule);
            }
        }
    }
}

/// A prefix of IPv6 with every port, twice over: exact as long as it can be, and never wrapped.
#[test]
fn huge_prefixes_are_counted_and_never_wrap() {
    let none = baseline(&[]);
    let now: Timestamp = kit::NOW.parse().unwrap();
    for (hosts, ports, cells) in [
        ("\"2001:db8::/64\"", "\"tcp/443\"", 1u128 << 64),
        ("\"2001:db8::/64\", \"2001:db8:0:1::/64\"", "\"tcp/443\", \"udp/443\"", 1 << 66),
        ("\"::/0\"", "\"tcp/1-65535\"", u128::MAX),
        ("\"::/0\", \"0.0.0.0/0\"", "\"tcp/1-65535\", \"udp/1-65535\"", u128::MAX),
        ("\"0.0.0.0/0\"", "\"tcp/1-65535\", \"udp/1-65535\"", (1 << 32) * 65_535 * 2),
    ] {
        let text = format!(
            "version = 1\nowner = \"@t/t\"\n[[allow]]\nid = \"x\"\nhosts = [{hosts}]\nports = [{ports}]\nreason = \"x\"\nbroad = true\n"
        );
        let head = Baseline::parse(&[("b.toml".to_owned(), text)]).unwrap().0;
        let mut newly = NewlyAllowed::between(&none, &head, "default", now);
        assert_eq!(newly.total().cells, cells, "{hosts} {ports}");
        newly.saw(kit::ip("2001:db8::1"), kit::port(443), CellState::Open);
        newly.saw(kit::ip("192.0.2.1"), kit::port(443), CellState::Closed);
        let c = newly.total();
        assert_eq!(u128::from(c.open + c.closed) + c.never_observed, cells);
    }
}

/// Five thousand rules, all new, and five thousand others that went.
#[test]
fn five_thousand_rules_take_no_time_to_speak_of() {
    let many = |from: u32| {
        let mut text = "version = 1\nowner = \"@t/t\"\n".to_owned();
        for n in 0..5_000u32 {
            let ip = std::net::Ipv4Addr::from(0x0a00_0000 + n * 16 + from);
            text.push_str(&format!(
                "[[allow]]\nid = \"r{n}-{from}\"\nhosts = [\"{ip}-10.{}\"]\nports = [\"tcp/80\", \"tcp/443\"]\nreason = \"x\"\n",
                std::net::Ipv4Addr::from(0x0a00_0000 + n * 16 + from + 11).to_string().split_once('.').unwrap().1
            ));
        }
        Baseline::parse(&[("b.toml".to_owned(), text)]).unwrap_or_else(|e| panic!("{e}")).0
    };
    let (base, head) = (many(0), many(4));
    let begun = std::time::Instant::now();
    let newly = NewlyAllowed::between(&base, &head, "default", kit::NOW.parse().unwrap());
    assert_eq!(newly.total().cells, 5_000 * 4 * 2);
    println!("5,000 rules against 5,000 in {:?}", begun.elapsed());
    // Far above what it takes, far below what every rule against every other would.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

/// The judge asks for the nearest rule of every finding.
#[test]
fn a_hundred_thousand_questions_to_five_thousand_rules_take_no_time_to_speak_of() {
    let mut text = "version = 1\nowner = \"@t/t\"\n".to_owned();
    for n in 0..5_000u32 {
        text.push_str(&format!(
            "[[allow]]\nid = \"r{n}\"\nhosts = [\"10.{}.{}.0/27\"]\nports = [\"tcp/80\", \"tcp/443\"]\nreason = \"x\"\n",
            n >> 8,
            n & 255
        ));
    }
    let b = Baseline::parse(&[("b.toml".to_owned(), text)]).unwrap_or_else(|e| panic!("{e}")).0;
    let now: Timestamp = kit::NOW.parse().unwrap();
    let begun = std::time::Instant::now();
    let mut found = 0;
    for n in 0..100_000u32 {
        let ip = IpAddr::V4((0x0a00_0000 + n * 13).into());
        let port = kit::port(if n % 2 == 0 { 80 } else { 6379 });
        found += usize::from(!b.nearest_to(&Subject::tcp(ip, port), &facts(now), 1).is_empty());
    }
    println!("{found} of 100,000 in {:?}", begun.elapsed());
    assert!(found > 45_000, "{found}");
    // Far above what it takes, far below what a look at every rule would.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}
