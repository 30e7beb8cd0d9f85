//! JSON Schemas of the formats, deterministic and pretty.

use mimawari_probes::observation::ObservationRecord;
use schemars::{JsonSchema, schema_for};

use crate::baseline::BaselineFile;
use crate::verdict::Verdict;

/// `verdict.json`
#[must_use]
pub fn render_verdict_schema() -> String {
    render_schema::<Verdict>()
}

/// One line of `observations.ndjson`
#[must_use]
pub fn render_observation_schema() -> String {
    render_schema::<ObservationRecord>()
}

/// A baseline file, read as JSON
#[must_use]
pub fn render_baseline_schema() -> String {
    render_schema::<BaselineFile>()
}

fn render_schema<T: JsonSchema>() -> String {
    // A schema is a JSON value already; printing one cannot fail.
    let mut text = serde_json::to_string_pretty(&schema_for!(T)).unwrap_or_default();
    text.push('\n');
    text
}
