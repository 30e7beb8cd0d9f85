//! nmap's XML, by its document type definition. masscan's imitation of it is read, too.
//!
//! A stream of events: no tree, and no entity but the five of XML itself is ever replaced. The reader's
//! memory is that of its longest tag, and [`Lines`] bounds that.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::net::IpAddr;

use anyhow::Result;
use jiff::Timestamp;
use mimawari_probes::gap::{Gap, ImportEnd};
use mimawari_probes::observation::CellState;
use mimawari_targets::{Port, PortSet};
use quick_xml::XmlVersion;
use quick_xml::errors::{Error, SyntaxError};
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::lines::LineReader;
use super::seen::{
    CellSink, ImportedFacts, SeenCells, SourceLocation, sanitise_foreign_text, to_service_facts,
};

/// Longest tag: the output of a script is one attribute.
const TAG: u64 = 16 << 20;
/// Deepest nesting; nmap's tables of scripts go a few levels down.
const DEPTH: usize = 64;

/// Reads a file.
///
/// # Errors
/// With the line: what is no XML or not nmap's, a number or address that is none, a kind of scan that
/// cannot tell an open port. A file that ends too early is no error; see [`Told::cut_off`].
pub(super) fn read(
    input: impl BufRead,
    name: &str,
    sink: &mut dyn CellSink,
) -> Result<ImportedFacts> {
    let mut reader = Reader::from_reader(LineReader::new(input, TAG));
    let mut buf = Vec::new();
    let mut state = NmapReading::default();
    let mut open: Vec<Box<str>> = Vec::new();
    loop {
        buf.clear();
        reader.get_mut().next_item();
        let begun = reader.get_ref().line();
        let event = reader.read_event_into(&mut buf);
        let place = SourceLocation { file: name, line: begun };
        match event {
            Ok(Event::Start(tag)) => {
                if open.len() >= DEPTH {
                    return Err(place.wrong("the elements are nested too deeply"));
                }
                let inside = open.last().map(AsRef::as_ref);
                state.element(inside, &tag, place, sink)?;
                open.push(tag.name().as_ref().into());
            }
            Ok(Event::Empty(tag)) => {
                let inside = open.last().map(AsRef::as_ref);
                state.element(inside, &tag, place, sink)?;
                state.end(tag.name().as_ref(), sink)?;
            }
            Ok(Event::End(tag)) => {
                open.pop();
                state.end(tag.name().as_ref(), sink)?;
            }
            Ok(Event::Eof) => break,
            Ok(_) => {}
            // The input ended inside a tag, as when the scanner was killed. In the middle of a file
            // this cannot be told: the reader goes on to the end in search of the end of the tag.
            Err(Error::Syntax(what)) if !matches!(what, SyntaxError::InvalidBangMarkup) => break,
            Err(e) => return Err(place.wrong(format_xml_error(&e))),
        }
    }
    if !state.begun {
        let place = SourceLocation { file: name, line: reader.get_ref().line() };
        return Err(place.wrong("there is no <nmaprun>: this is not the XML of nmap"));
    }
    Ok(state.told())
}

fn format_xml_error(e: &Error) -> String {
    mimawari_probes::http::to_printable(e.to_string().as_bytes(), 120)
}

/// Ports of one host that nmap counts without their numbers, as it did before 7.92.
#[derive(Debug, Default)]
struct CountedPorts {
    /// Ports that have numbers, in whatever element.
    named: BTreeSet<Port>,
    /// Groups without numbers, and state, reason and count of the first of them.
    groups: u64,
    first: Option<(CellState, u64)>,
}

impl CountedPorts {
    /// The ports of the only group, if its count is that of all scanned ports without another word:
    /// then the count says which they are.
    fn known(&self, scanned: &PortSet) -> Option<(PortSet, CellState)> {
        let (state, count) = self.first.filter(|_| self.groups == 1)?;
        if self.named.iter().any(|p| !scanned.contains(*p)) {
            return None;
        }
        let rest = scanned.iter().filter(|p| !self.named.contains(p));
        let rest = PortSet::from_ranges(rest.map(|p| (p.get(), p.get())));
        (u64::from(rest.len()) == count).then_some((rest, state))
    }
}

/// A port whose element is not at its end yet.
#[derive(Debug, Default)]
struct PortRead {
    number: Option<Port>,
    tcp: bool,
    state: String,
    reason: String,
    ttl: Option<u8>,
    service: Option<mimawari_probes::observation::ServiceFacts>,
    unconfirmed: bool,
}

#[derive(Debug, Default)]
struct NmapReading {
    begun: bool,
    imitated: bool,
    connect: bool,
    services: Option<PortSet>,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    finished: bool,
    failed: Option<String>,
    // Of the host that is being read:
    in_host: bool,
    ip: Option<IpAddr>,
    at: Option<Timestamp>,
    down: bool,
    port: Option<PortRead>,
    extra: String,
    counted: CountedPorts,
    /// Whether other protocols were scanned, too: counts without numbers are of all of them.
    other_scans: bool,
    // Counted for the gaps:
    other_protocols: u64,
    without_ranges: u64,
    unclear: u64,
    timed_out: u64,
}

/// An attribute's value without references. `None` if it is not there.
fn read_attribute(
    tag: &BytesStart<'_>,
    name: &str,
    place: SourceLocation<'_>,
) -> Result<Option<String>> {
    // Without the check for attributes that come twice, which takes the square of their number.
    for a in tag.attributes().with_checks(false) {
        let a = a.map_err(|e| place.wrong(format_xml_error(&e.into())))?;
        if a.key.as_ref() == name {
            let value = a.normalized_value(XmlVersion::Implicit1_0);
            return Ok(Some(value.map_err(|e| place.wrong(format_xml_error(&e)))?.into_owned()));
        }
    }
    Ok(None)
}

impl NmapReading {
    fn element(
        &mut self,
        inside: Option<&str>,
        tag: &BytesStart<'_>,
        place: SourceLocation<'_>,
        sink: &mut dyn CellSink,
    ) -> Result<()> {
        let get = |name: &str| read_attribute(tag, name, place);
        let text = |name: &str| get(name).map(Option::unwrap_or_default);
        let time = |name: &str| get(name)?.map(|t| place.time(&t)).transpose();
        match (inside, tag.name().as_ref()) {
            (None, "nmaprun") => {
                if self.begun {
                    return Err(place.wrong("a second <nmaprun>: import each scan on its own"));
                }
                self.begun = true;
                self.imitated = text("scanner")? != "nmap";
                self.started = time("start")?;
            }
            (None, other) => {
                return Err(place.wrong(format_args!(
                    "<{}> where <nmaprun> was to come: this is not the XML of nmap",
                    sanitise_foreign_text(other)
                )));
            }
            (Some("nmaprun"), "scaninfo") => self.scaninfo(tag, place)?,
            (Some("nmaprun"), "host") => {
                self.in_host = true;
                self.counted = CountedPorts::default();
                (self.ip, self.down) = (None, false);
                self.at = time("endtime")?.or(time("starttime")?);
                self.timed_out += u64::from(text("timedout")? == "true");
            }
            (Some("host"), "status") => self.down = text("state")? == "down",
            (Some("host"), "address") if self.ip.is_none() && text("addrtype")? != "mac" => {
                self.ip = Some(place.ip(&text("addr")?)?);
            }
            (Some("ports"), "extraports") => self.extra = text("state")?,
            (Some("extraports"), "extrareasons") => self.extra_reasons(tag, place, sink)?,
            (Some("ports"), "port") => {
                let tcp = text("protocol")? == "tcp";
                let number = if tcp { place.port(&text("portid")?)? } else { None };
                self.counted.named.extend(number);
                self.port = Some(PortRead { number, tcp, ..PortRead::default() });
            }
            (Some("port"), "state") => {
                let (state, reason) = (text("state")?, text("reason")?);
                let ttl = text("reason_ttl")?.parse().ok().filter(|n| *n > 0);
                if let Some(p) = &mut self.port {
                    (p.state, p.reason, p.ttl) = (state, reason, ttl);
                }
            }
            // What is named by its number alone is a guess and no fact.
            (Some("port"), "service") if text("method")? == "probed" => {
                let tunnel = text("tunnel")? == "ssl";
                let name = match (text("name")?, tunnel) {
                    (n, true) if n == "http" => "https".to_owned(),
                    (n, true) if n == "unknown" => "tls".to_owned(),
                    (n, _) => n,
                };
                let banner = [text("product")?, text("version")?, text("extrainfo")?];
                let banner: Vec<&str> =
                    banner.iter().map(|s| s.trim()).filter(|s| !s.is_empty()).collect();
                let found = to_service_facts(&name, &banner.join(" "));
                if let Some(p) = &mut self.port {
                    p.service = Some(found);
                }
            }
            // Our own export's word for an answer that a second look did not confirm.
            (Some("port"), "script") if text("id")? == "mimawari-unconfirmed" => {
                if let Some(p) = &mut self.port {
                    p.unconfirmed = true;
                }
            }
            (Some("runstats"), "finished") => {
                self.finished = true;
                self.ended = time("time")?;
                if get("exit")?.is_some_and(|e| e != "success") {
                    self.failed = Some(text("errormsg")?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn scaninfo(&mut self, tag: &BytesStart<'_>, place: SourceLocation<'_>) -> Result<()> {
        let kind = read_attribute(tag, "type", place)?.unwrap_or_default();
        if read_attribute(tag, "protocol", place)?.as_deref() != Some("tcp") {
            self.other_scans = true;
            return Ok(());
        }
        if !matches!(kind.as_str(), "syn" | "connect") {
            return Err(place.wrong(format_args!(
                "a scan of type `{}` cannot tell that a port is open; import one made with -sS or -sT",
                sanitise_foreign_text(&kind)
            )));
        }
        self.connect |= kind == "connect";
        if let Some(list) = read_attribute(tag, "services", place)? {
            self.services = Some(place.port_list(&list)?);
        }
        Ok(())
    }

    /// Ports that nmap counts instead of naming them one by one. Without their numbers (before nmap
    /// 7.92) the count says which they are only where nothing else is left; see [`CountedPorts`].
    fn extra_reasons(
        &mut self,
        tag: &BytesStart<'_>,
        place: SourceLocation<'_>,
        sink: &mut dyn CellSink,
    ) -> Result<()> {
        let reason = read_attribute(tag, "reason", place)?.unwrap_or_default();
        if read_attribute(tag, "proto", place)?.is_some_and(|p| p != "tcp") {
            self.other_protocols += 1;
            return Ok(());
        }
        let Some(list) = read_attribute(tag, "ports", place)? else {
            let count = read_attribute(tag, "count", place)?.and_then(|n| n.parse().ok());
            self.counted.groups += 1;
            if self.counted.first.is_none() {
                self.counted.first = count.map(|n| (convert_state(&self.extra, &reason), n));
            }
            return Ok(());
        };
        let ports = place.port_list(&list)?;
        self.counted.named.extend(ports.iter());
        let Some(ip) = self.ip.filter(|_| self.in_host && !self.down) else { return Ok(()) };
        match convert_state(&self.extra, &reason) {
            CellState::NotProbed | CellState::Open => self.unclear += u64::from(ports.len()),
            state => sink.ports(ip, &ports, state)?,
        }
        Ok(())
    }

    fn end(&mut self, name: &str, sink: &mut dyn CellSink) -> Result<()> {
        match name {
            "host" => {
                self.in_host = false;
                self.count_the_rest(sink)?;
            }
            "port" => {
                let Some(p) = self.port.take() else { return Ok(()) };
                if !p.tcp {
                    self.other_protocols += 1;
                    return Ok(());
                }
                let (Some(ip), Some(port), true, false) =
                    (self.ip, p.number, self.in_host, self.down)
                else {
                    return Ok(());
                };
                let state = convert_state(&p.state, &p.reason);
                if state == CellState::NotProbed {
                    self.unclear += 1;
                    return Ok(());
                }
                // nmap identifies a service on a connection of its own.
                let connected = (self.connect || p.service.is_some()) && !p.unconfirmed;
                let at = self.at.or(self.started);
                let (ttl, service) = (p.ttl, p.service);
                sink.port(SeenCells { ip, port, state, at, ttl, connected, service })?;
            }
            _ => {}
        }
        Ok(())
    }

    /// At the end of a host: what its group of ports without numbers says.
    fn count_the_rest(&mut self, sink: &mut dyn CellSink) -> Result<()> {
        let counted = std::mem::take(&mut self.counted);
        let scanned = self.services.as_ref().filter(|_| !self.other_scans && !self.imitated);
        let (Some((ports, state)), Some(ip), false) =
            (scanned.and_then(|s| counted.known(s)), self.ip, self.down)
        else {
            self.without_ranges += counted.groups;
            return Ok(());
        };
        match state {
            CellState::NotProbed | CellState::Open => self.unclear += u64::from(ports.len()),
            state => sink.ports(ip, &ports, state)?,
        }
        Ok(())
    }

    fn told(self) -> ImportedFacts {
        let counted = [
            (self.other_protocols, Gap::OtherProtocols { entries: self.other_protocols }),
            (self.without_ranges, Gap::PortsWithoutNumbers { groups: self.without_ranges }),
            (self.unclear, Gap::PortsUnclear { ports: self.unclear }),
            (self.timed_out, Gap::HostsGivenUp { hosts: self.timed_out }),
        ];
        let gaps = counted.into_iter().filter(|(n, _)| *n > 0).map(|(_, gap)| gap).collect();
        let cut_off = match (self.finished, &self.failed) {
            (false, _) => Some((ImportEnd::NoFinished, None)),
            (true, Some(why)) if why.is_empty() => Some((ImportEnd::ScanError, None)),
            (true, Some(why)) => {
                let why = mimawari_probes::http::to_printable(why.as_bytes(), 200);
                Some((ImportEnd::ScanError, Some(why)))
            }
            (true, None) => None,
        };
        let cut_off = cut_off.map(|(end, reason)| Gap::ImportCutOff { end, reason });
        let method = match (self.imitated, self.connect) {
            (true, _) => "masscan",
            (false, true) => "nmap connect",
            (false, false) => "nmap syn",
        };
        ImportedFacts {
            method: method.to_owned(),
            lists_answers_only: self.imitated.then_some("masscan"),
            services: self.services,
            started: self.started,
            ended: self.ended,
            cut_off,
            gaps,
        }
    }
}

/// What nmap's word for a port means here. What no answer told (`open|filtered`), and what an error on
/// the way to the host told (`host-unreach`), is not known.
fn convert_state(state: &str, reason: &str) -> CellState {
    match (state, reason) {
        ("open", _) => CellState::Open,
        ("closed", _) => CellState::Closed,
        // In the plural where nmap counts.
        ("filtered", "no-response" | "no-responses") => CellState::Silent,
        (
            "filtered",
            "admin-prohibited" | "admin-prohibiteds" | "host-prohibited" | "host-prohibiteds"
            | "net-prohibited" | "net-prohibiteds",
        ) => CellState::Prohibited,
        _ => CellState::NotProbed,
    }
}

#[cfg(test)]
mod tests;
