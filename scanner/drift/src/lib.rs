//! What was agreed, what was seen, and what differs.
//!
//! Pure: no file, socket, clock or random number. The same inputs give the same bytes.
//!
//! * [`baseline`]: the rules, read from reviewed text.
//! * [`edit`]: changes of that text, comments kept.
//! * [`state`]: what earlier runs knew.
//! * [`judge`]: the state machine of findings.
//! * [`sites`]: the inventory of web sites.
//! * [`verdict`]: what comes out.
//! * [`schema`]: JSON Schemas of the formats.

pub mod baseline;
pub mod edit;
pub mod freshness;
pub mod judge;
pub mod schema;
pub mod sites;
pub mod state;
pub mod verdict;
