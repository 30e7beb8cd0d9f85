//! What was agreed, what was seen, and what differs.
//!
//! Pure: no file, socket, clock or random number. The same inputs give the same bytes.
//!
//! * [`baseline`]: the rules, read from reviewed text.
//! * [`subject`]: what is judged; [`id`]: what a finding about it is called; [`id_map`]: a map by it.
//! * [`lint_rules`]: everything that can be wrong with a baseline, each with its page.
//! * [`lint`]: what reviewers want of the rules.
//! * [`edit`]: changes of that text, comments kept.
//! * [`state`]: what earlier runs knew; [`outbox`], [`pending`]: what receivers have
//!   not taken yet.
//! * [`judge`]: the state machine of findings.
//! * [`impact`]: what a change of the baseline would do to a verdict.
//! * [`explain`]: why a cell or a content is judged as it is.
//! * [`sites`]: the inventory of web sites.
//! * [`same_file`]: one file under many names.
//! * [`stale`]: which rules are no longer needed, and why.
//! * [`kind`], [`verdict`]: what comes out.
//! * [`schema`]: JSON Schemas of the formats.

pub mod baseline;
pub mod edit;
pub mod explain;
pub mod freshness;
pub mod id;
pub mod id_map;
pub mod impact;
pub mod judge;
pub mod kind;
pub mod lint;
pub mod lint_rules;
pub mod outbox;
pub mod pending;
pub mod ports;
pub(crate) mod reason;
pub mod same_file;
pub mod schema;
pub mod sites;
pub mod stale;
pub mod state;
pub mod subject;
pub mod verdict;
