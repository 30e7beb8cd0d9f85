//! Which way the targets go.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use mimawari_net::packet::{PacketConfig, PacketError, PacketSweep, netlink, route};
use mimawari_probes::gap::Gap;
use mimawari_report::describe_gap;
use mimawari_targets::{AddrRange, AddrSet, CellPlan, PlanShard, PortSet, Scope};

use super::line::CheckFinding;
use crate::config::ScanConfig;

/// Ranges of each family whose first address stands for them.
const SAMPLE: usize = 8;

/// The way of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePath {
    /// To whom.
    pub target: IpAddr,
    /// How; `None`: no route.
    pub hop: Option<RouteHop>,
}

/// The next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteHop {
    /// By which interface.
    pub interface: String,
    /// From which address, where the kernel says.
    pub source: Option<IpAddr>,
    /// By which router.
    pub gateway: Option<IpAddr>,
}

/// Whether the routers answer.
#[derive(Debug, Clone, PartialEq)]
pub enum GatewayFacts {
    /// Nobody asked.
    NotAsked,
    /// What the sweep will say: no gaps, all answer.
    Asked(Vec<Gap>),
    /// The sweep could not begin; what is wrong, and the remedy.
    Refused(String, String),
}

/// First addresses of some of the ranges, of both families.
#[must_use]
pub fn sample_addresses(addrs: &AddrSet) -> Vec<IpAddr> {
    let of = |v4| {
        let firsts = addrs.ranges().map(|r| r.first());
        firsts.filter(move |ip: &IpAddr| ip.is_ipv4() == v4).take(SAMPLE)
    };
    of(true).chain(of(false)).collect()
}

/// Asks the kernel. Sends nothing.
///
/// # Errors
/// What netlink says.
pub fn look(sample: &[IpAddr], scan: &ScanConfig) -> std::io::Result<Vec<RoutePath>> {
    let interface = scan.interface.as_deref();
    let ranges: Vec<AddrRange> = sample.iter().map(|ip| (*ip).into()).collect();
    let kernel = netlink::read(&ranges)?;
    let device = match interface {
        None => None,
        Some(name) => match kernel.interfaces.iter().find(|i| i.name == name) {
            Some(i) => Some(i.index),
            None => return Err(std::io::Error::other(format!("there is no interface {name}"))),
        },
    };
    let matched = route::split_into_segments(&ranges, &kernel.routes, device);
    let hops = netlink::look_up(sample.to_vec(), device, &scan.sources)?;
    let name = |index| {
        let found = kernel.interfaces.iter().find(|i| i.index == index);
        found.map_or_else(|| format!("number {index}"), |i| i.name.clone())
    };
    Ok(sample
        .iter()
        .zip(hops)
        .map(|(target, hop)| {
            // Restricted to a device, the kernel takes what has no route for on-link.
            let known = device.is_none()
                || route::find_segment(&matched, *target).is_some_and(|s| matched[s].hop.is_some());
            let hop = hop.filter(|_| known).map(|h| RouteHop {
                interface: if h.local { "lo".to_owned() } else { name(h.device) },
                source: h.source,
                gateway: h.gateway,
            });
            RoutePath { target: *target, hop }
        })
        .collect())
}

/// Opens a sweep of the sample as a scan would, which asks the routers for their Ethernet addresses.
/// Needs NET_RAW; sends no SYN.
#[must_use]
pub fn ask_gateways(sample: &[IpAddr], scope: &Arc<Scope>, scan: &ScanConfig) -> GatewayFacts {
    let config = PacketConfig {
        interface: scan.interface.clone(),
        sources: scan.sources.clone(),
        attempts: 1,
        ..PacketConfig::default()
    };
    let set = AddrSet::from_ranges(sample.iter().map(|ip| AddrRange::from(*ip)));
    let refused = |e: String| GatewayFacts::Refused(e, "see the lines above".to_owned());
    let plan = match scope.narrow(&set) {
        Err(e) => return refused(e.to_string()),
        Ok(set) => match CellPlan::new(set, PortSet::from_ranges([(1, 1)]), 0) {
            Err(e) => return refused(e.to_string()),
            Ok(plan) => plan,
        },
    };
    match PacketSweep::open(&plan.walk(PlanShard::WHOLE), Arc::clone(scope), &config) {
        Ok(sweep) => GatewayFacts::Asked(sweep.gaps().to_vec()),
        // The check of the capability reports it.
        Err(PacketError::MissingCapability { .. }) => GatewayFacts::NotAsked,
        Err(e) => GatewayFacts::Refused(e.to_string(), e.help()),
    }
}

/// Judges.
#[must_use]
pub fn judge(ways: &std::io::Result<Vec<RoutePath>>, gateways: &GatewayFacts) -> CheckFinding {
    const ROUTE: &str = "add a route, or an address of that family, or take these targets out; an IPv6 \
                         target needs a dual-stack subnet";
    let ways = match ways {
        Ok(ways) => ways,
        Err(e) => {
            return CheckFinding::fail(
                format!("the kernel does not show its routes: {e}"),
                "set `interface` under [scan] to \"auto\" or to one that there is; allow netlink sockets",
            );
        }
    };
    let mut by: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    let mut without = Vec::new();
    for way in ways {
        match &way.hop {
            None => without.push(way.target),
            Some(hop) => by.entry(describe_hop(hop)).or_default().push(way.target),
        }
    }
    let named = |ips: &[IpAddr]| match ips {
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        [] => "nothing".to_owned(),
    };
    let routed: Vec<String> = by.iter().map(|(way, ips)| format!("{} {way}", named(ips))).collect();
    if by.is_empty() {
        return CheckFinding::fail(format!("no route to {}", named(&without)), ROUTE);
    }
    let mut what = routed.join("; ");
    match gateways {
        GatewayFacts::Refused(e, remedy) => {
            return CheckFinding::fail(format!("{what}; {e}"), remedy);
        }
        GatewayFacts::Asked(gaps) => {
            let unreachable =
                |g: &&Gap| matches!(g, Gap::NoRoute { .. } | Gap::PathUnusable { .. });
            let all: Vec<String> = gaps
                .iter()
                .filter(unreachable)
                .map(|gap| describe_gap(&gap.clone().not_covered()))
                .collect();
            if !all.is_empty() {
                return CheckFinding::warn(format!("{what}; {}", all.join(" ")), ROUTE);
            }
            if ways.iter().any(|w| w.hop.as_ref().is_some_and(|h| h.gateway.is_some())) {
                what.push_str("; the gateway answers");
            }
        }
        GatewayFacts::NotAsked => {
            if ways.iter().any(|w| w.hop.as_ref().is_some_and(|h| h.gateway.is_some())) {
                what.push_str("; the gateway was not asked");
            }
        }
    }
    if without.is_empty() {
        CheckFinding::ok(what)
    } else {
        CheckFinding::warn(format!("{what}; no route to {}: not probed", named(&without)), ROUTE)
    }
}

fn describe_hop(hop: &RouteHop) -> String {
    let mut text = format!("by {}", hop.interface);
    if let Some(source) = hop.source {
        text.push_str(&format!(" from {source}"));
    }
    match hop.gateway {
        Some(gateway) => text.push_str(&format!(" via {gateway}")),
        None => text.push_str(", on link"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::line::LineMark;
    use super::*;

    fn way(target: &str, gateway: Option<&str>) -> RoutePath {
        RoutePath {
            target: target.parse().unwrap(),
            hop: Some(RouteHop {
                interface: "eth0".to_owned(),
                source: Some("192.0.2.7".parse().unwrap()),
                gateway: gateway.map(|g| g.parse().unwrap()),
            }),
        }
    }

    fn lost(target: &str) -> RoutePath {
        RoutePath { target: target.parse().unwrap(), hop: None }
    }

    #[test]
    fn ways_are_joined_and_gateways_named() {
        let ways = Ok(vec![
            way("198.51.100.1", Some("192.0.2.1")),
            way("198.51.100.9", Some("192.0.2.1")),
        ]);
        let found = judge(&ways, &GatewayFacts::Asked(Vec::new()));
        assert_eq!(found.mark, LineMark::Ok);
        assert_eq!(
            found.what,
            "198.51.100.1 and 1 more by eth0 from 192.0.2.7 via 192.0.2.1; the gateway answers"
        );
        let found = judge(&ways, &GatewayFacts::NotAsked);
        assert!(found.what.ends_with("the gateway was not asked"), "{}", found.what);
    }

    #[test]
    fn what_has_no_way_is_said() {
        let some = Ok(vec![way("198.51.100.1", None), lost("2001:db8::1")]);
        let found =
            judge(&some, &GatewayFacts::Asked(vec![Gap::NoRoute { ranges: "2001:db8::1".into() }]));
        assert_eq!(found.mark, LineMark::Warn);
        assert!(found.what.contains("2001:db8::1"), "{}", found.what);
        assert_eq!(judge(&some, &GatewayFacts::NotAsked).mark, LineMark::Warn);
        assert_eq!(
            judge(&Ok(vec![lost("2001:db8::1")]), &GatewayFacts::NotAsked).mark,
            LineMark::Fail
        );
        let refused = GatewayFacts::Refused("the gateway is silent".into(), "look".into());
        assert_eq!(judge(&some, &refused).mark, LineMark::Fail);
        let e = Err(std::io::Error::other("no interface"));
        assert_eq!(judge(&e, &GatewayFacts::NotAsked).mark, LineMark::Fail);
    }

    #[test]
    fn both_families_are_in_the_sample() {
        let set = AddrSet::from_ranges(
            (0..20u8)
                .map(|n| format!("198.51.100.{}", n * 2))
                .chain(["2001:db8::/64".to_owned()])
                .map(|r| r.parse::<AddrRange>().unwrap()),
        );
        let sample = sample_addresses(&set);
        assert_eq!(sample.len(), SAMPLE + 1);
        assert!(sample.iter().any(IpAddr::is_ipv6));
    }
}
