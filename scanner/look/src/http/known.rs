//! What was found before. It is asked for with more patience: that it is gone is to be sure.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use mimawari_targets::{Endpoint, Port};

/// Paths at which something was found before, by site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownPaths {
    sites: HashMap<(IpAddr, Port), HashMap<Option<String>, HashSet<String>>>,
}

impl KnownPaths {
    /// Adds one.
    pub fn add(&mut self, ip: IpAddr, port: Port, host: Option<&str>, path: &str) {
        let site = self.sites.entry((ip, port)).or_default();
        site.entry(host.map(str::to_owned)).or_default().insert(path.to_owned());
    }

    /// Those of one site.
    pub(super) fn at(&self, endpoint: &Endpoint, host: Option<&str>) -> Option<&HashSet<String>> {
        let sites = self.sites.get(&(endpoint.ip(), endpoint.port()))?;
        sites.get(&host.map(str::to_owned))
    }
}
