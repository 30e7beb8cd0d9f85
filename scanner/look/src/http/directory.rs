//! Which sites this look asks, to know what a redirect to another of them is worth.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use mimawari_probes::observation::UrlScheme;

use super::SiteTargets;
use super::redirect::RedirectOrigin;
use super::vhosts::VhostIndex;

/// Names of a longer list are not gathered: 8 bytes each.
const NAMES_LIMIT: u64 = 4 << 20;

/// The sites of a look. Names are known by hashes, gathered when the first is asked for.
#[derive(Debug)]
pub(super) struct SiteDirectory {
    ports: HashSet<(IpAddr, u16, UrlScheme)>,
    listed: HashSet<u64>,
    rows: OnceCell<HashSet<u64>>,
    vhosts: Option<VhostIndex>,
    hashes: RandomState,
}

impl SiteDirectory {
    /// Of these targets.
    pub(super) fn of(targets: &SiteTargets) -> Self {
        let hashes = RandomState::new();
        let web = targets.listed.iter().map(|t| (&t.endpoint, t.scheme));
        let named = targets.named.iter().map(|t| (&t.endpoint, t.scheme));
        Self {
            ports: web.chain(named).map(|(e, s)| (e.ip(), e.port().get(), s)).collect(),
            listed: targets
                .listed
                .iter()
                .filter_map(|t| t.host.as_ref())
                .map(|h| hashes.hash_one(h.as_str()))
                .collect(),
            rows: OnceCell::new(),
            vhosts: targets.vhosts.clone(),
            hashes,
        }
    }

    /// Whether the site that a redirect of `own` at `ip` leads to is looked at as well.
    pub(super) fn is_looked_at(
        &self,
        to: &RedirectOrigin,
        ip: IpAddr,
        own: &RedirectOrigin,
    ) -> bool {
        if let Ok(there) = to.host.parse::<IpAddr>() {
            return self.ports.contains(&(there, to.port, to.scheme));
        }
        let name = self.hashes.hash_one(to.host.as_str());
        let is_known = to.host == own.host
            || self.listed.contains(&name)
            || self.rows.get_or_init(|| self.gather()).contains(&name);
        let here = self.ports.contains(&(ip, to.port, to.scheme));
        // Another name may live at another address.
        is_known && (here || to.host != own.host)
    }

    fn gather(&self) -> HashSet<u64> {
        let Some(vhosts) = self.vhosts.as_ref().filter(|v| v.rows() <= NAMES_LIMIT) else {
            return HashSet::new();
        };
        let rows = vhosts.addresses().flat_map(|ip| vhosts.hosts(ip)).map_while(Result::ok);
        rows.map(|row| self.hashes.hash_one(row.host.as_str())).collect()
    }
}
