//! What explains the findings: their groups, in the words of the page.

use std::collections::HashMap;

use mimawari_drift::verdict::{Finding, FindingState, Verdict};

use crate::clean::clean;
use crate::groups::{FindingGroup, SharedTrait, group_findings};
use crate::words::{self, NAME, format_plural, group_digits};

/// Kinds of things that a group names before it counts the rest.
const NAMED: usize = 4;

/// The groups, and which finding is in which.
pub(crate) struct CauseRows {
    pub(crate) list: Vec<CauseRow>,
    /// By the finding's place in the verdict.
    pub(crate) of: Vec<u32>,
    /// How many of the groups explain those; the rest are the settled ones by state.
    pub(crate) explained: usize,
}

/// A group of findings with one explanation, or of settled ones in one state.
pub(crate) struct CauseRow {
    /// What it is: `tcp/6379`, `One host: 198.51.100.7`.
    pub(crate) title: String,
    /// Where, and what else.
    pub(crate) place: String,
    pub(crate) owner: String,
    /// The worst severity; `settled` or `pending` for what is no drift.
    pub(crate) tag: &'static str,
    /// First seen; empty for settled ones.
    pub(crate) since: String,
    pub(crate) new: u64,
    pub(crate) count: usize,
}

impl CauseRow {
    /// The number of findings, grouped by threes.
    pub(crate) fn number(&self) -> String {
        group_digits(self.count as u64)
    }

    /// The number of new ones, likewise.
    pub(crate) fn fresh(&self) -> String {
        group_digits(self.new)
    }
}

impl CauseRows {
    pub(crate) fn new(v: &Verdict) -> Self {
        let drift: Vec<&Finding> = v.findings.iter().filter(|f| f.state.is_drift()).collect();
        let all = group_findings(drift.iter().copied());
        // Two findings of one verdict may have the same id if it was made elsewhere: their place counts.
        let place: HashMap<*const Finding, usize> =
            v.findings.iter().enumerate().map(|(n, f)| (std::ptr::from_ref(f), n)).collect();
        let mut of = vec![0; v.findings.len()];
        let mut list = Vec::with_capacity(all.len());
        for group in &all {
            for f in &group.findings {
                if let Some(n) = place.get(&std::ptr::from_ref(*f)) {
                    of[*n] = u32::try_from(list.len()).unwrap_or(u32::MAX);
                }
            }
            list.push(build_cause_row(group));
        }
        let explained = list.len();
        for state in words::STATES.iter().filter(|s| !s.is_drift()) {
            let mut count = 0;
            for (n, f) in v.findings.iter().enumerate() {
                if f.state == *state {
                    of[n] = u32::try_from(list.len()).unwrap_or(u32::MAX);
                    count += 1;
                }
            }
            if count > 0 {
                list.push(build_settled_row(*state, count));
            }
        }
        Self { list, of, explained }
    }

    /// The first of those that explain, at most so many.
    pub(crate) fn first(&self, n: usize) -> &[CauseRow] {
        &self.list[..self.explained.min(n)]
    }
}

fn build_cause_row(g: &FindingGroup<'_>) -> CauseRow {
    let prefix = g.prefix.to_string();
    let first = g.what.first().map_or_else(String::new, |(w, _)| clean(w, NAME));
    let named = format_names(&g.what);
    let (title, place) = match (g.by, g.findings.len()) {
        (_, 1) => {
            (first, g.findings.first().map(|f| words::format_location(f)).unwrap_or_default())
        }
        (SharedTrait::Host, _) => (format!("One host: {prefix}"), named),
        (SharedTrait::Network, _) => (
            format!("One network: {prefix}"),
            format!("{}: {named}", format_address_count(g.addresses)),
        ),
        (SharedTrait::What, _) => {
            (first, format!("{} in {prefix}", format_address_count(g.addresses)))
        }
    };
    CauseRow {
        title,
        place,
        owner: match g.owners.as_slice() {
            [] => "no owner".to_owned(),
            [(one, _)] => clean(one, NAME),
            many => format!("{} owners", many.len()),
        },
        tag: g.severity.as_str(),
        since: words::format_minute(g.first_seen),
        new: g.findings.iter().filter(|f| f.new).count() as u64,
        count: g.findings.len(),
    }
}

fn format_address_count(n: usize) -> String {
    if n == 1 { "1 address".to_owned() } else { format!("{} addresses", group_digits(n as u64)) }
}

fn format_names(what: &[(String, usize)]) -> String {
    let mut s = what.iter().take(NAMED).map(|(w, _)| clean(w, NAME)).collect::<Vec<_>>().join(", ");
    if what.len() > NAMED {
        s.push_str(&format!(" and {}", format_plural((what.len() - NAMED) as u64, "other")));
    }
    s
}

fn build_settled_row(state: FindingState, count: usize) -> CauseRow {
    let mut title = words::describe_state(state).to_owned();
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    CauseRow {
        title,
        place: words::explain_state(state).to_owned(),
        owner: String::new(),
        // It may come to count: that is not settled.
        tag: if state == FindingState::MissingPending { "pending" } else { "settled" },
        since: String::new(),
        new: 0,
        count,
    }
}
