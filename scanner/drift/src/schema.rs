//! JSON Schemas of the formats, deterministic and pretty.

use mimawari_probes::observation::ObservationRecord;
use schemars::{JsonSchema, schema_for};

use crate::baseline::BaselineFile;
use crate::verdict::Verdict;

/// `verdict.json`
#[must_use]
pub fn verdict() -> String {
    text::<Verdict>()
}

/// One line of `observations.ndjson`
#[must_use]
pub fn observation() -> String {
    text::<ObservationRecord>()
}

/// A baseline file, read as JSON
#[must_use]
pub fn baseline() -> String {
    text::<BaselineFile>()
}

fn text<T: JsonSchema>() -> String {
    // A schema is a JSON value already; printing one cannot fail.
    let mut text = serde_json::to_string_pretty(&schema_for!(T)).unwrap_or_default();
    text.push('\n');
    text
}
