//! What the readers of other scanners' files tell, and whom they tell it.

use std::net::IpAddr;

use anyhow::Result;
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_probes::gap::Gap;
use mimawari_probes::observation::{CellState, ServiceFacts};
use mimawari_targets::{Port, PortSet};

/// One port of one address, as a file tells it.
#[derive(Debug, Clone)]
pub(super) struct SeenCells {
    pub(super) ip: IpAddr,
    pub(super) port: Port,
    pub(super) state: CellState,
    /// When; `None` if the file does not say.
    pub(super) at: Option<Timestamp>,
    pub(super) ttl: Option<u8>,
    /// Whether a full connection was made, not only one answer seen.
    pub(super) connected: bool,
    pub(super) service: Option<ServiceFacts>,
}

/// Takes what a reader finds.
pub(super) trait CellSink {
    /// One port.
    fn port(&mut self, seen: SeenCells) -> Result<()>;
    /// Many ports of one address that are alike, none of them open.
    fn ports(&mut self, ip: IpAddr, ports: &PortSet, state: CellState) -> Result<()>;
}

/// What a file says of the whole scan.
#[derive(Debug, Default)]
pub(super) struct ImportedFacts {
    /// Which scanner, and how.
    pub(super) method: String,
    /// The scanner that lists what answered and nothing else, if it is one.
    pub(super) lists_answers_only: Option<&'static str>,
    /// The TCP ports that were scanned, if the file says so.
    pub(super) services: Option<PortSet>,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
    /// Why the file is not that of a whole scan; `None` if it is.
    pub(super) cut_off: Option<Gap>,
    /// What the run notes of the file.
    pub(super) gaps: Vec<Gap>,
}

/// A place in a file, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceLocation<'a> {
    pub(super) file: &'a str,
    pub(super) line: u64,
}

impl SourceLocation<'_> {
    /// That something there is wrong.
    pub(super) fn wrong(self, what: impl std::fmt::Display) -> anyhow::Error {
        Failure::new(format!("{}, line {}: {what}", self.file, self.line))
            .help("nothing was imported; --format must be that of the file, and the file as the scanner wrote it")
            .into()
    }

    /// An address. IPv4 inside IPv6 is IPv4.
    pub(super) fn ip(self, text: &str) -> Result<IpAddr> {
        let ip = text.parse::<IpAddr>().map_err(|_| {
            self.wrong(format_args!("`{}` is no IP address", sanitise_foreign_text(text)))
        })?;
        Ok(ip.to_canonical())
    }

    /// A port; `None` for port 0, which is no port that can be agreed on.
    pub(super) fn port(self, text: &str) -> Result<Option<Port>> {
        let n: u16 = text.parse().map_err(|_| {
            self.wrong(format_args!("`{}` is no port number", sanitise_foreign_text(text)))
        })?;
        Ok(Port::new(n))
    }

    /// Seconds since 1970. Fractions are left out.
    pub(super) fn time(self, text: &str) -> Result<Timestamp> {
        let whole = text.split('.').next().unwrap_or_default();
        let parsed = whole.parse().ok().and_then(|n| Timestamp::from_second(n).ok());
        parsed.ok_or_else(|| {
            self.wrong(format_args!(
                "`{}` is no time in seconds since 1970",
                sanitise_foreign_text(text)
            ))
        })
    }

    /// A list of ports and ranges, as nmap writes it: `1-3,22`.
    pub(super) fn port_list(self, text: &str) -> Result<PortSet> {
        let mut ranges = Vec::new();
        for item in text.split(',').map(str::trim).filter(|i| !i.is_empty()) {
            let (from, to) = item.split_once('-').unwrap_or((item, item));
            let (from, to) = match (from.parse::<u16>(), to.parse::<u16>()) {
                (Ok(a), Ok(b)) if a <= b => (a, b),
                _ => {
                    return Err(self.wrong(format_args!(
                        "`{}` is no list of ports",
                        sanitise_foreign_text(item)
                    )));
                }
            };
            if to > 0 {
                ranges.push((from.max(1), to));
            }
        }
        Ok(PortSet::from_ranges(ranges))
    }
}

/// Foreign text in a message.
pub(super) fn sanitise_foreign_text(text: &str) -> String {
    mimawari_probes::http::to_printable(text.as_bytes(), 40)
}

/// Longest service name and banner that is taken over.
const NAME: usize = 40;
const BANNER: usize = 256;

/// A service of foreign text.
pub(super) fn to_service_facts(name: &str, banner: &str) -> ServiceFacts {
    let name = mimawari_probes::http::to_printable(name.as_bytes(), NAME);
    let banner = mimawari_probes::http::to_printable(banner.trim().as_bytes(), BANNER);
    ServiceFacts {
        name: if name.is_empty() { "unknown".to_owned() } else { name },
        banner: (!banner.is_empty()).then_some(banner),
        ..ServiceFacts::default()
    }
}
