//! The frame of a SARIF 2.1.0 log (OASIS standard of 27 March 2020), whatever the results are of.

use serde_json::{Map, Value, json};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A log of one run.
#[derive(Debug, Clone, Default)]
pub struct SarifLog {
    /// Name of the tool.
    pub tool: &'static str,
    /// What the results are results of (section 3.49).
    pub rules: Vec<Value>,
    /// The results (section 3.27).
    pub results: Vec<Value>,
    /// Other properties of the run (section 3.14).
    pub run: Map<String, Value>,
}

impl SarifLog {
    /// The log as text, inert on a terminal.
    #[must_use]
    pub fn write(self) -> String {
        let mut run = self.run;
        run.insert(
            "tool".to_owned(),
            json!({ "driver": {
                "name": self.tool,
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": self.rules,
            }}),
        );
        run.insert("columnKind".to_owned(), "unicodeCodePoints".into());
        run.insert("results".to_owned(), self.results.into());
        let log = json!({ "$schema": SCHEMA, "version": "2.1.0", "runs": [run] });
        crate::json::to_json_text(&log)
    }
}
