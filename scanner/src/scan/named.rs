//! Which ports are asked for the names of the list, and which names no port is there for.
//!
//! A default site that says nothing (nginx's usual `return 444`), hangs or speaks something else
//! says nothing about the names on the same port. Every port that is not proven to speak another
//! protocol is asked for each listed name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use mimawari_base::signals::StopSignal;
use mimawari_base::uplink::Uplink;
use mimawari_look::http::{NamedPort, SiteTargets, VhostIndex, VirtualHost};
use mimawari_look::service::{ServiceConfig, detect_scheme, select_default_scheme};
use mimawari_probes::observation::UrlScheme;
use mimawari_targets::{AddrSet, Port, PortSet};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::confirm::UnprovenPort;

/// So many names are tried to find out by which scheme a port answers.
const NAMES_TRIED: usize = 8;

/// So many ports are found out about at once.
const AT_ONCE: usize = 64;

/// The ports among these that rows of the list may be served on, each with its scheme.
pub(super) async fn find_named_ports(
    unproven: &[UnprovenPort],
    vhosts: &VhostIndex,
    ports: Option<&PortSet>,
    uplink: &Uplink,
    stop: &StopSignal,
) -> Vec<NamedPort> {
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    let mut named = Vec::new();
    let mine = unproven.iter().filter(|u| ports.is_none_or(|p| p.contains(u.endpoint.port())));
    for u in mine {
        let rows = NamedRows::of(vhosts, *u);
        let endpoint = u.endpoint;
        for scheme in rows.schemes {
            named.push(NamedPort { endpoint, scheme, takes_any: false });
        }
        if rows.names.is_empty() {
            continue;
        }
        if u.tls || stop.is_stopped() {
            let scheme = if u.tls { UrlScheme::Https } else { select_default_scheme(endpoint) };
            named.push(NamedPort { endpoint, scheme, takes_any: true });
            continue;
        }
        let Ok(permit) = Arc::clone(&gate).acquire_owned().await else { break };
        let (stop, uplink) = (stop.clone(), uplink.clone());
        tasks.spawn(async move {
            let _permit = permit;
            let config = ServiceConfig { uplink, ..ServiceConfig::default() };
            for name in rows.names {
                if stop.is_stopped() {
                    break;
                }
                if let Some(scheme) = detect_scheme(endpoint, &name, &config).await {
                    return NamedPort { endpoint, scheme, takes_any: true };
                }
            }
            NamedPort { endpoint, scheme: select_default_scheme(endpoint), takes_any: true }
        });
    }
    while let Some(found) = tasks.join_next().await {
        named.extend(found.ok());
    }
    // A row with a scheme and one without may have the same in the end.
    let mut out: BTreeMap<_, NamedPort> = BTreeMap::new();
    for port in named {
        let key = (port.endpoint, port.scheme);
        let takes_any = port.takes_any;
        out.entry(key).or_insert(port).takes_any |= takes_any;
    }
    out.into_values().collect()
}

/// What the list says of a port.
struct NamedRows {
    /// Schemes that rows name.
    schemes: BTreeSet<UrlScheme>,
    /// The first names whose rows name none.
    names: Vec<String>,
}

impl NamedRows {
    fn of(vhosts: &VhostIndex, port: UnprovenPort) -> Self {
        let mut rows = Self { schemes: BTreeSet::new(), names: Vec::new() };
        let here = |v: &VirtualHost| v.port.is_none_or(|p| p == port.endpoint.port());
        for v in vhosts.hosts(port.endpoint.ip()).map_while(Result::ok).filter(here) {
            match v.scheme {
                Some(scheme) => {
                    rows.schemes.insert(scheme);
                }
                None if rows.names.len() < NAMES_TRIED => rows.names.push(v.host),
                None => {}
            }
        }
        rows
    }
}

/// Why no port is there for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdleSite {
    /// Nothing is open that it could be served on.
    NothingOpen,
    /// Its port is not one of the plan, so that nobody knows.
    PortNotPlanned,
    /// Its port speaks the other scheme.
    OtherScheme,
    /// Its port is left out by the configuration.
    LeftOut,
}

/// The rows of the plan's addresses that no port is asked for.
pub(super) fn find_idle_sites(
    vhosts: &VhostIndex,
    targets: &SiteTargets,
    plan: &AddrSet,
    planned: &PortSet,
    looked_at: Option<&PortSet>,
) -> impl Iterator<Item = (VirtualHost, IdleSite)> + use<> {
    let mut open: BTreeMap<IpAddr, Vec<(Port, UrlScheme, bool)>> = BTreeMap::new();
    for t in &targets.listed {
        open.entry(t.endpoint.ip()).or_default().push((t.endpoint.port(), t.scheme, true));
    }
    for t in &targets.named {
        open.entry(t.endpoint.ip()).or_default().push((t.endpoint.port(), t.scheme, t.takes_any));
    }
    let addresses: Vec<IpAddr> = vhosts.addresses().filter(|ip| plan.contains(*ip)).collect();
    let vhosts = vhosts.clone();
    let (planned, looked_at) = (planned.clone(), looked_at.cloned());
    addresses.into_iter().flat_map(move |ip| {
        let there = open.get(&ip).cloned().unwrap_or_default();
        let (planned, looked_at) = (planned.clone(), looked_at.clone());
        // An error is reported by whoever looks at the address.
        vhosts.hosts(ip).flatten().filter_map(move |v| {
            let mut of_port = there.iter().filter(|(p, ..)| v.port.is_none_or(|own| own == *p));
            if of_port.clone().any(|(_, s, any)| v.scheme.map_or(*any, |own| own == *s)) {
                return None;
            }
            let why = match v.port {
                Some(port) if !planned.contains(port) => IdleSite::PortNotPlanned,
                Some(port) if looked_at.as_ref().is_some_and(|l| !l.contains(port)) => {
                    IdleSite::LeftOut
                }
                _ if v.scheme.is_some() && of_port.next().is_some() => IdleSite::OtherScheme,
                _ => IdleSite::NothingOpen,
            };
            Some((v, why))
        })
    })
}
