//! Runs as `nmap -oX` writes them, by its document type definition.

use std::io::{self, Write};
use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_probes::gap::GapEffect;
use mimawari_probes::observation::{CellState, ServiceFacts, TcpObservation};
use mimawari_targets::{Port, PortSet};

use super::cells::{HostCells, visit_hosts};
use super::xml::XmlAttribute;
use crate::judge::Runs;

/// Ports of one state and host that are named one by one; more of them are counted. As nmap has it.
const NAMED: usize = 25;

/// What is the same for all hosts.
struct NmapFacts<'a> {
    ports: &'a PortSet,
    connect: bool,
    start: Timestamp,
    end: Timestamp,
}

/// Writes the runs, host by host.
///
/// # Errors
/// A coverage that cannot be read, an output that cannot be written.
pub fn write(runs: &Runs, out: &mut dyn Write) -> io::Result<()> {
    let metas = || runs.loaded().iter().map(|r| &r.meta);
    let start = metas().map(|m| m.started_at).min().unwrap_or(Timestamp::UNIX_EPOCH);
    let end = metas().filter_map(|m| m.ended_at).max().unwrap_or(start).max(start);
    let connect = metas().all(|m| m.method.contains("connect"));
    let ids: Vec<&str> = metas().map(|m| m.run_id.as_str()).collect();
    let facts = NmapFacts { ports: runs.plan().ports(), connect, start, end };

    // `scanner` has one value only in the DTD; what it was stands in `args` and `version`.
    writeln!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE nmaprun>\n\
         <nmaprun scanner=\"nmap\" args=\"mimawari {} run {}\" start=\"{}\" version=\"mimawari {}\" xmloutputversion=\"1.05\">\n\
         <scaninfo type=\"{}\" protocol=\"tcp\" numservices=\"{}\" services=\"{}\"/>\n\
         <verbose level=\"0\"/>\n<debugging level=\"0\"/>",
        if connect { "connect" } else { "syn" },
        XmlAttribute(&ids.join("+")),
        start.as_second(),
        env!("CARGO_PKG_VERSION"),
        if connect { "connect" } else { "syn" },
        facts.ports.len(),
        facts.ports,
    )?;
    let mut hosts = 0u64;
    visit_hosts(runs, None, |host| {
        hosts += 1;
        write_host(&facts, host, out)
    })?;
    let gaps = runs.gaps();
    let why: Vec<String> = gaps
        .iter()
        .filter(|g| g.effect != GapEffect::Noted)
        .map(mimawari_report::describe_gap)
        .collect();
    let exit = if why.is_empty() {
        "exit=\"success\"".to_owned()
    } else {
        format!("exit=\"error\" errormsg=\"{}\"", XmlAttribute(&why.join(" ")))
    };
    writeln!(
        out,
        "<runstats><finished time=\"{}\" elapsed=\"{}\" {exit}/><hosts up=\"{hosts}\" down=\"0\" total=\"{hosts}\"/>\n\
         </runstats>\n</nmaprun>",
        end.as_second(),
        end.as_second() - start.as_second(),
    )
}

fn write_host(facts: &NmapFacts<'_>, host: &HostCells<'_>, out: &mut dyn Write) -> io::Result<()> {
    let at = |state: CellState| -> Vec<Port> {
        let cells = facts.ports.iter().zip(host.states);
        cells.filter(|(_, s)| **s == state).map(|(p, _)| p).collect()
    };
    let closed = at(CellState::Closed);
    let (silent, prohibited) = (at(CellState::Silent), at(CellState::Prohibited));
    let open = at(CellState::Open);
    // A host that was only silent is taken for up without proof, as with `nmap -Pn`.
    let reason = match (open.is_empty(), closed.is_empty()) {
        (false, _) => "syn-ack",
        (true, false) => facts.refused(),
        (true, true) => "user-set",
    };
    writeln!(
        out,
        "<host starttime=\"{}\" endtime=\"{}\"><status state=\"up\" reason=\"{reason}\" reason_ttl=\"0\"/>\n\
         <address addr=\"{}\" addrtype=\"{}\"/>\n<hostnames>\n</hostnames>\n<ports>",
        facts.start.as_second(),
        facts.end.as_second(),
        host.ip,
        match host.ip {
            IpAddr::V4(_) => "ipv4",
            IpAddr::V6(_) => "ipv6",
        },
    )?;
    let mut named: Vec<(Port, &str, &str)> = open.iter().map(|p| (*p, "open", "syn-ack")).collect();
    for (state, groups) in [
        ("closed", &[(facts.refused(), &closed)][..]),
        ("filtered", &[("no-response", &silent), ("admin-prohibited", &prohibited)]),
    ] {
        let count: usize = groups.iter().map(|(_, ports)| ports.len()).sum();
        if count <= NAMED {
            for (reason, ports) in groups {
                named.extend(ports.iter().map(|p| (*p, state, *reason)));
            }
            continue;
        }
        writeln!(out, "<extraports state=\"{state}\" count=\"{count}\">")?;
        for (reason, ports) in groups.iter().filter(|(_, ports)| !ports.is_empty()) {
            let list = PortSet::from_ranges(ports.iter().map(|p| (p.get(), p.get())));
            writeln!(
                out,
                "<extrareasons reason=\"{reason}\" count=\"{}\" proto=\"tcp\" ports=\"{list}\"/>",
                ports.len()
            )?;
        }
        writeln!(out, "</extraports>")?;
    }
    named.sort_unstable();
    for (port, state, reason) in named {
        let seen = host.seen.get(&(host.ip, port)).filter(|_| state == "open");
        let ttl = seen.and_then(|o| o.ttl).unwrap_or(0);
        write!(
            out,
            "<port protocol=\"tcp\" portid=\"{port}\"><state state=\"{state}\" reason=\"{reason}\" reason_ttl=\"{ttl}\"/>"
        )?;
        if let Some(o) = seen {
            write_open(o, out)?;
        }
        writeln!(out, "</port>")?;
    }
    writeln!(out, "</ports>\n</host>")
}

/// What is known of an open port beyond its being open.
fn write_open(o: &TcpObservation, out: &mut dyn Write) -> io::Result<()> {
    if let Some(service) = &o.service {
        write_service(service, out)?;
    }
    if !o.confirmed {
        // nmap has no word for it, and leaving it out would make more of the answer than it was.
        write!(
            out,
            "<script id=\"mimawari-unconfirmed\" output=\"A second, full connection was not accepted.\"/>"
        )?;
    }
    Ok(())
}

fn write_service(s: &ServiceFacts, out: &mut dyn Write) -> io::Result<()> {
    let tunnel = s.tls.is_some() || s.name == "https";
    // nmap names what is inside the tunnel.
    let name = match s.name.as_str() {
        "https" => "http",
        "tls" => "unknown",
        other => other,
    };
    let server = s.http.as_ref().and_then(|h| h.server.as_deref());
    let title = s.http.as_ref().and_then(|h| h.title.as_deref());
    let product = server.or(s.banner.as_deref());
    let extra: Vec<&str> = [title, s.banner.as_deref().filter(|b| Some(*b) != product)]
        .into_iter()
        .flatten()
        .collect();
    write!(out, "<service name=\"{}\"", XmlAttribute(name))?;
    if let Some(product) = product {
        write!(out, " product=\"{}\"", XmlAttribute(product))?;
    }
    if !extra.is_empty() {
        write!(out, " extrainfo=\"{}\"", XmlAttribute(&extra.join("; ")))?;
    }
    if tunnel {
        write!(out, " tunnel=\"ssl\"")?;
    }
    write!(out, " method=\"probed\" conf=\"{}\"/>", if name == "unknown" { 0 } else { 10 })
}

impl NmapFacts<'_> {
    /// How a closed port said so.
    const fn refused(&self) -> &'static str {
        if self.connect { "conn-refused" } else { "reset" }
    }
}

#[cfg(test)]
mod tests;
