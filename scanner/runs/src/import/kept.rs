//! A sink for tests.

use std::net::IpAddr;

use anyhow::Result;
use mimawari_probes::observation::CellState;
use mimawari_targets::PortSet;

use super::seen::{CellSink, SeenCells};

/// What was told, a line each.
#[derive(Debug, Default)]
pub(super) struct ImportedRecord(pub(super) Vec<String>);

impl CellSink for ImportedRecord {
    fn port(&mut self, s: SeenCells) -> Result<()> {
        let connected = if s.connected { " connected" } else { "" };
        let service = s.service.map_or_else(String::new, |s| match s.banner {
            Some(banner) => format!(" {}: {banner}", s.name),
            None => format!(" {}", s.name),
        });
        self.0.push(format!("{} {} {:?}{connected}{service}", s.ip, s.port, s.state));
        Ok(())
    }

    fn ports(&mut self, ip: IpAddr, ports: &PortSet, state: CellState) -> Result<()> {
        self.0.push(format!("{ip} {ports} {state:?}"));
        Ok(())
    }
}
