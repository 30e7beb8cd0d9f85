//! Rules that allow a path for every site of an address, where it has several: one customer's file is
//! then allowed for all others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mimawari_targets::{AddrRange, AddrSet};

use super::policy::format_rule_name;
use super::{LintContext, sanitise_excerpt};
use crate::baseline::{ContentMatch, ReadErrors, RuleDocument, RuleEntry, RuleKind};
use crate::lint_rules::policy as rule;

/// Names that are kept of one address; beyond, there are "at least so many".
const MOST_NAMES: usize = 1_000;
/// Names that a message shows.
const SHOWN: usize = 3;

/// The names of sites by address.
#[derive(Debug, Clone, Default)]
pub struct SiteNames(BTreeMap<IpAddr, BTreeSet<String>>);

impl SiteNames {
    /// Adds a site, whose name is in lower case.
    pub fn add(&mut self, ip: IpAddr, name: &str) {
        let names = self.0.entry(ip).or_default();
        if names.len() < MOST_NAMES && !names.contains(name) {
            names.insert(name.to_owned());
        }
    }

    /// Whether no more names of an address are kept.
    #[must_use]
    pub fn is_full(&self, ip: IpAddr) -> bool {
        self.0.get(&ip).is_some_and(|names| names.len() >= MOST_NAMES)
    }

    /// The addresses with more than one site among these.
    fn shared(&self, addrs: &AddrSet) -> impl Iterator<Item = (IpAddr, &BTreeSet<String>)> {
        let ranges: Vec<AddrRange> = addrs.ranges().collect();
        ranges
            .into_iter()
            .flat_map(|r| self.0.range(r.first()..=r.last()))
            .filter(|(_, names)| names.len() > 1)
            .map(|(ip, names)| (*ip, names))
    }
}

/// A rule that allows paths whatever the site.
fn select_all_site_rule(e: &RuleEntry) -> Option<(&ContentMatch, &AddrSet)> {
    match &e.what {
        RuleKind::Http(c) if !c.paths.is_empty() && c.names.is_empty() => {
            Some((c, e.addrs.as_deref()?))
        }
        _ => None,
    }
}

/// The addresses of rules that allow a path for every site: of others it need not be known how many
/// sites they have.
#[must_use]
pub fn collect_all_site_addresses(files: &[(String, String)]) -> AddrSet {
    let document = RuleDocument::read(files);
    let rules = document.entries.iter().filter_map(select_all_site_rule);
    AddrSet::from_ranges(rules.flat_map(|(_, addrs)| addrs.ranges()))
}

/// Path rules without `names` where an address has more than one site.
pub(super) fn check_all_site_rules(
    lints: &mut ReadErrors,
    entries: &[RuleEntry],
    context: &LintContext<'_>,
) {
    let Some(sites) = context.sites else { return };
    for e in entries.iter().filter(|e| e.is_live(context.now)) {
        let Some((contents, addrs)) = select_all_site_rule(e) else { continue };
        let Some(path) = contents.paths.first() else { continue };
        let Some((ip, names)) = sites.shared(addrs).max_by_key(|(_, names)| names.len()) else {
            continue;
        };
        let listed: Vec<String> = names.iter().take(SHOWN).map(|n| sanitise_excerpt(n)).collect();
        let more = if names.len() > SHOWN { ", …" } else { "" };
        let count = match names.len() {
            n if n >= MOST_NAMES => format!("at least {n}"),
            n => n.to_string(),
        };
        let title = format!(
            "{} allows `{}` for every site, and {ip} has {count}: {}{more}",
            format_rule_name(e),
            sanitise_excerpt(path.get_ref()),
            listed.join(", ")
        );
        let help = format!(
            "name the sites that it is for, such as `names = [\"{}\"]`",
            listed.first().map_or("", String::as_str)
        );
        lints.report(&rule::ALL_SITES, e.file, path.span(), e.id(), title, help);
    }
}
