//! Rules for findings: as few as can be, and none of their cells is anything but a finding.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use jiff::civil::Date;
use mimawari_targets::{AddrRange, AddrSet, PortSet, Protocol};

use super::acceptance::{build_rule_id, choose_unique_id};
use super::rule::{NewRule, RuleContent};
use super::words::to_slug;
use crate::baseline::{Baseline, DecisionFacts, RuleExpect, RuleMatch};
use crate::verdict::{Finding, FindingKind, FindingState};

/// Findings that are named above a rule.
const NAMED: usize = 6;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct ProposalRequest<'a> {
    /// Only findings at these ports.
    pub only: Option<&'a PortSet>,
    /// The last day of each rule.
    pub expires: Date,
    /// Now, since existing rules may have ended.
    pub now: Timestamp,
}

/// What a file of one owner is to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleProposal {
    /// Who answers for it; `None` when no rule or group is near.
    pub owner: Option<String>,
    /// The rules, by address.
    pub rules: Vec<NewRule>,
}

/// Rules, and what there are none for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProposedFile {
    /// One for each owner.
    pub proposals: Vec<RuleProposal>,
    /// How many findings the rules are for.
    pub findings: usize,
    /// Findings that count as drift and that no rule was made for: why, and how many.
    pub left: BTreeMap<&'static str, usize>,
}

/// Proposes rules for the confirmed ports that are open. The cells (address × port) of the rules are
/// exactly those of the findings. Exposed contents get none: each is accepted by itself, or mended.
#[must_use]
pub fn propose(
    findings: &[Finding],
    baselines: &[Baseline],
    request: &ProposalRequest<'_>,
) -> ProposedFile {
    let mut out = ProposedFile::default();
    let mut ports: BTreeMap<Option<&str>, ProposedCells<'_, (Protocol, u16)>> = BTreeMap::new();
    for f in findings.iter().filter(|f| f.state.is_drift()) {
        if let Some(why) = explain_skipped_finding(f, baselines, request) {
            *out.left.entry(why).or_default() += 1;
            continue;
        }
        let owner = f.owner.as_deref().map(str::trim).filter(|o| !o.is_empty());
        let Some(port) = f.port else { continue };
        let cells = ports.entry(owner).or_default();
        cells.entry((f.ip, (f.proto, port.get()))).or_default().push(f);
        out.findings += 1;
    }
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let owners: BTreeSet<Option<&str>> = ports.keys().copied().collect();
    for owner in owners {
        let mut rules = Vec::new();
        let mut add = |hosts: &[IpAddr], content: RuleContent, seen: Vec<&Finding>| {
            let hosts = compute_cidr_cover(hosts);
            let id = build_rule_id(&content, &hosts);
            let id = choose_unique_id(&id, |id| {
                taken.contains(id) || baselines.iter().any(|b| b.has(id))
            });
            taken.insert(id.clone());
            rules.push(NewRule {
                comments: describe_findings(seen),
                id,
                hosts,
                content,
                reason: String::new(),
                expires: Some(request.expires),
            });
        };
        if let Some(cells) = ports.get(&owner) {
            for (hosts, ports) in cover_cells(cells) {
                let of = |proto| {
                    let ports = ports.iter().filter(|(p, _)| *p == proto);
                    PortSet::from_ranges(ports.map(|(_, n)| (*n, *n)))
                };
                let [tcp, udp] = Protocol::ALL.map(of);
                let content = RuleContent::Ports { tcp, udp, expect: RuleExpect::May };
                add(&hosts, content, collect_product_findings(cells, &hosts, &ports));
            }
        }
        out.proposals.push(RuleProposal { owner: owner.map(str::to_owned), rules });
    }
    out
}

/// Why a finding gets no rule.
fn explain_skipped_finding(
    f: &Finding,
    baselines: &[Baseline],
    request: &ProposalRequest<'_>,
) -> Option<&'static str> {
    match f.kind {
        FindingKind::UnexpectedOpen => {}
        FindingKind::ExposedContent => {
            return Some(
                "exposed content is to be mended, or accepted one by one (`baseline accept`)",
            );
        }
        FindingKind::LegacyTls => return Some("legacy TLS is to be mended, not agreed to"),
        FindingKind::SuspectHost => {
            return Some("a host that answers on everything shows no port that is meant");
        }
        FindingKind::ForbiddenOpen => return Some("a `never` rule forbids it"),
        FindingKind::MissingRequired => return Some("it is missing, not open"),
    }
    if f.state != FindingState::Open {
        return Some("it was not seen open in this run");
    }
    if request.only.is_some_and(|only| !f.port.is_some_and(|p| only.contains(p))) {
        return Some("--only leaves its port out");
    }
    let mapped = matches!(f.ip, IpAddr::V6(a) if a.to_ipv4_mapped().is_some());
    if mapped || f.port.is_none() {
        return Some("it names no cell that a rule could");
    }
    let facts = DecisionFacts { check: "", vantage: &f.vantage, now: request.now };
    let allows =
        |b: &Baseline| matches!(b.decide(&f.subject(), &facts).says, RuleMatch::Allowed(_));
    baselines.iter().any(allows).then_some("a rule allows it by now")
}

type ProposedCells<'a, C> = BTreeMap<(IpAddr, C), Vec<&'a Finding>>;

/// A product: every address with every column.
type CellProduct<C> = (Vec<IpAddr>, Vec<C>);

/// Covers the cells exactly, by few products. What shares neither address nor column is apart; in
/// each such part either addresses that have the same columns are gathered, or columns that have
/// the same addresses, whichever gives fewer.
fn cover_cells<C: Ord + Clone>(cells: &ProposedCells<'_, C>) -> Vec<CellProduct<C>> {
    let mut rows: BTreeMap<IpAddr, Vec<C>> = BTreeMap::new();
    let mut columns: BTreeMap<C, Vec<IpAddr>> = BTreeMap::new();
    for (ip, c) in cells.keys() {
        rows.entry(*ip).or_default().push(c.clone());
        columns.entry(c.clone()).or_default().push(*ip);
    }
    let mut all = Vec::new();
    while let Some((start, _)) = rows.first_key_value() {
        // Everything that is reached from one address over shared columns.
        let mut to_do = vec![*start];
        let mut by_columns: BTreeMap<Vec<C>, Vec<IpAddr>> = BTreeMap::new();
        let mut by_addresses: BTreeMap<Vec<IpAddr>, Vec<C>> = BTreeMap::new();
        while let Some(ip) = to_do.pop() {
            let Some(of) = rows.remove(&ip) else { continue };
            for c in &of {
                let Some(addresses) = columns.remove(c) else { continue };
                to_do.extend(&addresses);
                by_addresses.entry(addresses).or_default().push(c.clone());
            }
            by_columns.entry(of).or_default().push(ip);
        }
        // Of two ways of the same length the one by column: a reason is more often about a service.
        if by_addresses.len() <= by_columns.len() {
            all.extend(by_addresses);
        } else {
            all.extend(by_columns.into_iter().map(|(columns, ips)| (ips, columns)));
        }
    }
    for (ips, columns) in &mut all {
        ips.sort_unstable();
        columns.sort_unstable();
    }
    all.sort();
    all
}

/// The findings of a product, by address.
fn collect_product_findings<'a, C: Ord + Clone>(
    cells: &ProposedCells<'a, C>,
    hosts: &[IpAddr],
    columns: &[C],
) -> Vec<&'a Finding> {
    let all = hosts.iter().flat_map(|ip| columns.iter().map(|c| (*ip, c.clone())));
    all.filter_map(|cell| cells.get(&cell)).flatten().copied().collect()
}

/// The fewest CIDR blocks that are exactly these addresses.
fn compute_cidr_cover(hosts: &[IpAddr]) -> Vec<AddrRange> {
    let set = AddrSet::from_ranges(hosts.iter().map(|ip| AddrRange::from(*ip)));
    set.ranges().flat_map(|r| split_into_cidrs(&r)).collect()
}

fn split_into_cidrs(range: &AddrRange) -> Vec<AddrRange> {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    };
    let v4 = range.first().is_ipv4();
    let ip = |n: u128| {
        if v4 {
            IpAddr::V4(u32::try_from(n).unwrap_or(u32::MAX).into())
        } else {
            IpAddr::V6(n.into())
        }
    };
    let (mut at, last) = (bits(range.first()), bits(range.last()));
    let mut out = Vec::new();
    loop {
        // The largest block that begins here and does not go beyond the end.
        let aligned = at.trailing_zeros().min(127);
        let left = last - at;
        let fits = left.checked_add(1).map_or(127, u128::ilog2);
        let end = at + ((1 << aligned.min(fits)) - 1);
        out.extend(AddrRange::new(ip(at), ip(end)));
        match end.checked_add(1) {
            Some(next) if next <= last => at = next,
            _ => return out,
        }
    }
}

/// What was seen, for the person who writes the reason.
fn describe_findings(seen: Vec<&Finding>) -> Vec<String> {
    let mut out: Vec<String> = seen.iter().take(NAMED).map(|f| describe_finding(f)).collect();
    if seen.len() > NAMED {
        let since = seen.iter().map(|f| f.first_seen).min().unwrap_or_default();
        let since = since.strftime("%Y-%m-%d");
        out.push(format!("and {} more, the first seen on {since}", seen.len() - NAMED));
    }
    out
}

fn describe_finding(f: &Finding) -> String {
    let port = f.port.map_or(0, mimawari_targets::Port::get);
    let at = std::net::SocketAddr::new(f.ip, port);
    let what = f.service.as_deref().unwrap_or("the service is not known");
    // The instant goes first, since what follows may be long and is cut.
    format!("{at}, first seen {}: {what}", f.first_seen.strftime("%Y-%m-%d"))
}

/// The name of an owner's file: `@corp/hosting` has `corp-hosting.toml`.
#[must_use]
pub fn build_file_name(owner: Option<&str>) -> String {
    let slug = to_slug(owner.unwrap_or_default(), 64);
    if slug.is_empty() { "unowned.toml".to_owned() } else { format!("{slug}.toml") }
}

#[cfg(test)]
#[path = "propose_tests.rs"]
pub(in crate::edit) mod tests;
