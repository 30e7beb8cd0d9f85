//! What reviewers want of a baseline: whether each rule says why, for how long, and for whom.
//!
//! What makes a file unreadable for a patrol is an error here as well ([`LintRule::refused`]);
//! everything else is reported by `baseline check` alone: a patrol must not go blind because a reason
//! is too short. Both read the same [`RuleDocument`], so they agree on what is refused.
//!
//! * `policy`: what each rule must have.
//! * `cells`: rules that share cells.
//! * `scanned`: what the scan profiles cover.
//! * `sites`: how many sites the addresses have, and rules that open all of them.
//! * `upkeep`: what time and use say of the rules.
//! * [`codeowners`]: who owns which file.
//! * [`rules`]: the table of everything that is reported, with its pages.

mod cells;
pub mod codeowners;
mod policy;
mod scanned;
mod sites;
mod upkeep;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use mimawari_targets::{AddrSet, PortSet, Scope};

use self::codeowners::CodeOwners;
pub use self::sites::{SiteNames, collect_all_site_addresses};
use crate::baseline::RuleDocument;
use crate::baseline::{LineStarts, sanitise_excerpt};
pub use crate::baseline::{Lint, TextLocation};
pub use crate::lint_rules as rules;
pub use crate::lint_rules::LintRule;
use crate::state::RuleUse;

/// Cells (addresses × ports) that a rule may allow without `broad = true`, where nothing else is
/// said: a /24 with 16 ports.
pub const BUDGET: u128 = 4096;

/// What the baseline is compared with. What is `None` is not asked about.
#[derive(Clone, Copy)]
pub struct LintContext<'a> {
    /// The time.
    pub now: Timestamp,
    /// What may be scanned at all.
    pub scope: Option<&'a Scope>,
    /// What is scanned. Empty: not known.
    pub profiles: &'a [LintProfile],
    /// Who owns the files.
    pub owners: OwnersSource<'a>,
    /// Ids that `checks` may name.
    pub checks: Option<&'a BTreeSet<String>>,
    /// What the state knows of the rules.
    pub usage: Option<&'a BTreeMap<String, RuleUse>>,
    /// The names of sites by address, as far as they are known.
    pub sites: Option<&'a SiteNames>,
    /// The files before a change.
    pub base: Option<&'a [(String, String)]>,
    /// Cells that a rule may allow without `broad = true`.
    pub budget: u128,
    /// What `baseline fmt` makes of a text.
    pub formatted: Option<&'a dyn Fn(&str) -> String>,
}

impl LintContext<'_> {
    /// Nothing to compare the files with but the time.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self {
            now,
            scope: None,
            profiles: &[],
            owners: OwnersSource::Unasked,
            checks: None,
            usage: None,
            sites: None,
            base: None,
            budget: BUDGET,
            formatted: None,
        }
    }
}

/// What one configuration scans.
#[derive(Debug, Clone)]
pub struct LintProfile {
    /// Addresses.
    pub targets: AddrSet,
    /// TCP ports.
    pub ports: PortSet,
}

/// Who owns the files.
#[derive(Debug, Clone, Copy)]
pub enum OwnersSource<'a> {
    /// Nobody looked.
    Unasked,
    /// There is no CODEOWNERS file.
    Absent,
    /// As a CODEOWNERS file has it.
    File {
        /// The file.
        owners: &'a CodeOwners,
        /// The baseline folder, relative to the top of the repository, with `/` between its parts.
        folder: &'a str,
    },
}

/// What is wrong with the files, given as (name, text): sorted by file and place. The same files
/// under the same context give the same list, in whatever order they come.
#[must_use]
pub fn lint(files: &[(String, String)], context: &LintContext<'_>) -> Vec<Lint> {
    let RuleDocument { files, entries, mistakes: mut lints } = RuleDocument::read(files);
    policy::check_files(&mut lints, &files, context);
    for e in &entries {
        policy::check_rule(&mut lints, e, context);
    }
    scanned::check_scope(&mut lints, &files, &entries, context);
    scanned::check_forbidden_ports(&mut lints, &entries);
    scanned::check_required_cells(&mut lints, &entries, context);
    sites::check_all_site_rules(&mut lints, &entries, context);
    upkeep::check_upkeep(&mut lints, &files, &entries, context);
    let places = LineStarts::of(&files);
    cells::report_shared_cells(&mut lints, &files, &places, &entries, context.now);
    lints.finish(&files, &places)
}
