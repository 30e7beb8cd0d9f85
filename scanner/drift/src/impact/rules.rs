//! What differs between two baselines, rule by rule and field by field.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use mimawari_targets::{AddrSet, PortSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cells::subtract_ports;
use crate::baseline::{Baseline, BaselineRule, HttpRule, RuleExpect, RuleHead};

/// Items of a list that are shown.
const MAX_ITEMS: usize = 8;

/// A rule, as far as a reader has to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleRef {
    /// Its id.
    pub id: String,
    /// `file:line`.
    pub place: String,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// The last day on which it holds, `YYYY-MM-DD`, UTC; absent if it has no end.
    pub expires: Option<String>,
}

impl RuleRef {
    /// Of a rule.
    #[must_use]
    pub fn of(head: &RuleHead) -> Self {
        Self {
            id: head.id.clone(),
            place: head.place.clone(),
            owner: head.owner.clone(),
            reason: head.reason.clone(),
            expires: head.ends.map(format_last_day),
        }
    }
}

/// The last day of something that ends at this instant, `YYYY-MM-DD`, UTC.
pub(crate) fn format_last_day(ends: Timestamp) -> String {
    let last = ends.checked_sub(SignedDuration::from_secs(1)).unwrap_or(ends);
    last.to_zoned(TimeZone::UTC).date().to_string()
}

/// What happened to a rule.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RuleChangeKind {
    /// Head has it, base has not.
    Added,
    /// Base has it, head has not.
    Removed,
    /// Both have it, and it differs.
    Changed,
    /// It differs by a later end and by nothing else.
    Renewed,
}

/// A rule that is not the same in base and head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleChange {
    /// What happened to it.
    pub what: RuleChangeKind,
    /// The rule as head has it; a removed one as base had it.
    pub rule: RuleRef,
    /// Whether it is about contents.
    pub http: bool,
    /// May, must or never under base; absent for an added rule and for one about contents.
    pub expected: Option<RuleExpect>,
    /// The same under head; absent for a removed rule and for one about contents.
    pub expects: Option<RuleExpect>,
    /// What differs. Of an added or removed rule nothing is listed here.
    pub fields: Vec<FieldChange>,
}

impl RuleChange {
    /// Whether it changes what must or must never be open.
    #[must_use]
    pub fn is_of_expectation(&self) -> bool {
        let strict = |e: Option<RuleExpect>| e.is_some_and(|e| e != RuleExpect::May);
        self.what != RuleChangeKind::Renewed && (strict(self.expected) || strict(self.expects))
    }
}

/// A field of a rule that differs. Of a list only what went and what came is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldChange {
    /// The field: `addresses`, `ports`, `expect`, `at_least`, `broad`, `checks`, `paths`, `names`, `vantages`,
    /// `owner`, `reason`, `expires`, `file`.
    pub field: String,
    /// What it was, or what went of a list; absent for nothing.
    pub was: Option<String>,
    /// What it is, or what came to a list; absent for nothing.
    pub now: Option<String>,
}

/// Every rule that differs, sorted by what happened, then by id.
#[must_use]
pub fn compare_rules(base: &Baseline, head: &Baseline) -> Vec<RuleChange> {
    let (was, now) = (index_rules_by_id(base), index_rules_by_id(head));
    let mut out = Vec::new();
    for (id, rule) in &now {
        match was.get(id) {
            None => out.push(rule.change(RuleChangeKind::Added, None)),
            Some(before) => {
                let fields = before.differences(rule);
                if !fields.is_empty() {
                    let mut change = rule.change(RuleChangeKind::Changed, Some(before));
                    if matches!(&fields[..], [f] if f.field == "expires" && f.was.is_some() && f.now > f.was)
                    {
                        change.what = RuleChangeKind::Renewed;
                    }
                    change.fields = fields;
                    out.push(change);
                }
            }
        }
    }
    for (_, rule) in was.iter().filter(|(id, _)| !now.contains_key(*id)) {
        out.push(rule.change(RuleChangeKind::Removed, None));
    }
    out.sort_by(|a, b| (a.what, &a.rule.id).cmp(&(b.what, &b.rule.id)));
    out
}

#[derive(Clone, Copy)]
enum AnyRule<'a> {
    Port(&'a BaselineRule),
    Http(&'a HttpRule),
}

fn index_rules_by_id(b: &Baseline) -> BTreeMap<&str, AnyRule<'_>> {
    let ports = b.rules().iter().map(|r| (r.head.id.as_str(), AnyRule::Port(r)));
    ports.chain(b.http_rules().iter().map(|r| (r.head.id.as_str(), AnyRule::Http(r)))).collect()
}

impl AnyRule<'_> {
    const fn head(&self) -> &RuleHead {
        match self {
            Self::Port(r) => &r.head,
            Self::Http(r) => &r.head,
        }
    }

    const fn expect(&self) -> Option<RuleExpect> {
        match self {
            Self::Port(r) => Some(r.expect),
            Self::Http(_) => None,
        }
    }

    fn change(&self, what: RuleChangeKind, before: Option<&AnyRule<'_>>) -> RuleChange {
        let (expected, expects) = match what {
            RuleChangeKind::Removed => (self.expect(), None),
            _ => (before.and_then(AnyRule::expect), self.expect()),
        };
        RuleChange {
            what,
            rule: RuleRef::of(self.head()),
            http: matches!(self, Self::Http(_)),
            expected,
            expects,
            fields: Vec::new(),
        }
    }

    fn differences(&self, now: &AnyRule<'_>) -> Vec<FieldChange> {
        let (a, b) = (self.head(), now.head());
        let mut out = Vec::new();
        let mut add = |field: &str, was: Option<String>, now: Option<String>| {
            if was != now {
                out.push(FieldChange { field: field.to_owned(), was, now });
            }
        };
        if a.addrs != b.addrs {
            add(
                "addresses",
                format_addresses(&a.addrs.subtract(&b.addrs)),
                format_addresses(&b.addrs.subtract(&a.addrs)),
            );
        }
        match (self, now) {
            (AnyRule::Port(x), AnyRule::Port(y)) => {
                let gone = [subtract_ports(&x.tcp, &y.tcp), subtract_ports(&x.udp, &y.udp)];
                let come = [subtract_ports(&y.tcp, &x.tcp), subtract_ports(&y.udp, &x.udp)];
                add("ports", format_ports(&gone), format_ports(&come));
                add(
                    "expect",
                    Some(format_expectation(x.expect).to_owned()),
                    Some(format_expectation(y.expect).to_owned()),
                );
                let of = |n: Option<u64>| n.map(|n| n.to_string());
                add("at_least", of(x.at_least), of(y.at_least));
                add("broad", Some(x.broad.to_string()), Some(y.broad.to_string()));
            }
            (AnyRule::Http(x), AnyRule::Http(y)) => {
                add(
                    "checks",
                    format_difference(&x.checks, &y.checks),
                    format_difference(&y.checks, &x.checks),
                );
                add(
                    "paths",
                    format_difference(&x.paths, &y.paths),
                    format_difference(&y.paths, &x.paths),
                );
                // No name is every site, so that the whole list is shown.
                add("names", format_sorted_list(&x.names), format_sorted_list(&y.names));
            }
            (AnyRule::Port(_), AnyRule::Http(_)) => {
                add("kind", Some("allow".to_owned()), Some("allow_http".to_owned()));
            }
            (AnyRule::Http(_), AnyRule::Port(_)) => {
                add("kind", Some("allow_http".to_owned()), Some("allow".to_owned()));
            }
        }
        add("vantages", format_sorted_list(&a.vantages), format_sorted_list(&b.vantages));
        add("owner", Some(a.owner.clone()), Some(b.owner.clone()));
        add("reason", Some(a.reason.clone()), Some(b.reason.clone()));
        add("expires", a.ends.map(format_last_day), b.ends.map(format_last_day));
        add("file", Some(extract_file_path(&a.place)), Some(extract_file_path(&b.place)));
        out
    }
}

/// The word as it is written in a baseline.
#[must_use]
pub const fn format_expectation(expect: RuleExpect) -> &'static str {
    match expect {
        RuleExpect::May => "may",
        RuleExpect::Must => "must",
        RuleExpect::Never => "never",
    }
}

/// A rule that has moved within its file has not changed, nor has one in a folder of another name.
fn extract_file_path(place: &str) -> String {
    let path = place.rsplit_once(':').map_or(place, |(path, _)| path);
    path.split_once('/').map_or(path, |(_, below)| below).to_owned()
}

fn format_addresses(set: &AddrSet) -> Option<String> {
    let n = set.ranges().count();
    list(set.ranges().take(MAX_ITEMS).map(|r| r.to_string()).collect(), n)
}

fn format_ports([tcp, udp]: &[PortSet; 2]) -> Option<String> {
    let all =
        tcp.ranges().iter().map(|r| ("tcp", r)).chain(udp.ranges().iter().map(|r| ("udp", r)));
    let n = tcp.ranges().len() + udp.ranges().len();
    let shown = all.take(MAX_ITEMS).map(|(proto, (a, b))| {
        if a == b { format!("{proto}/{a}") } else { format!("{proto}/{a}-{b}") }
    });
    list(shown.collect(), n)
}

fn format_difference(a: &[String], b: &[String]) -> Option<String> {
    let only: Vec<String> = a.iter().filter(|x| !b.contains(x)).cloned().collect();
    let n = only.len();
    list(only.into_iter().take(MAX_ITEMS).collect(), n)
}

fn format_sorted_list(a: &[String]) -> Option<String> {
    let mut sorted = a.to_vec();
    sorted.sort();
    list(sorted.iter().take(MAX_ITEMS).cloned().collect(), sorted.len())
}

fn list(shown: Vec<String>, of: usize) -> Option<String> {
    if shown.is_empty() {
        return None;
    }
    let more = of - shown.len();
    let shown = shown.join(", ");
    Some(if more > 0 { format!("{shown} and {more} more") } else { shown })
}
