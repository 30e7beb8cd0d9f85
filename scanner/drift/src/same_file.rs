//! One file under many names of an address.
//!
//! A default site answers to every name that still points to it, so that one file of it is found once
//! for each listed name. Each is a finding of its own, since each name is requested and resolved by
//! itself; together they are one thing to fix.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mimawari_targets::Port;

use crate::verdict::{Finding, SameFile};

/// Most groups of a verdict.
pub const MAX_SAME_FILES: usize = 1_000;

/// The files that are found under several names, in the order of their first findings.
#[must_use]
pub fn collect_same_files(findings: &[Finding]) -> Vec<SameFile> {
    type Key<'a> = (IpAddr, Port, &'a str, &'a str, &'a str);
    let mut order: Vec<Key<'_>> = Vec::new();
    let mut members: BTreeMap<Key<'_>, Vec<&Finding>> = BTreeMap::new();
    for f in findings.iter().filter(|f| f.state.is_drift()) {
        let (Some(port), Some(path), Some(check), Some(evidence)) =
            (f.port, &f.path, &f.check, &f.evidence)
        else {
            continue;
        };
        let key: Key<'_> = (f.ip, port, path, check, &evidence.digest);
        let of = members.entry(key).or_default();
        if of.is_empty() {
            order.push(key);
        }
        of.push(f);
    }
    let groups = order.into_iter().filter_map(|key| {
        let (ip, port, path, check, digest) = key;
        let of = members.get(&key).filter(|of| of.len() > 1)?;
        Some(SameFile {
            ip,
            port,
            path: path.to_owned(),
            check: check.to_owned(),
            digest: digest.to_owned(),
            findings: of.iter().map(|f| f.id.clone()).collect(),
            hosts: of.iter().map(|f| f.host.clone()).collect(),
        })
    });
    groups.take(MAX_SAME_FILES).collect()
}
