//! `mimawari schema`: the JSON Schemas of the formats.

use anyhow::Result;
use mimawari_base::failure::ExitStatus;

use crate::cli::{SchemaArgs, SchemaFormat};
use crate::output::print;

/// `mimawari schema`
///
/// # Errors
/// An unwritable stdout.
pub fn run_schema_command(args: &SchemaArgs) -> Result<ExitStatus> {
    print(&render_schema(args.format)?)?;
    Ok(ExitStatus::Clean)
}

/// The JSON Schema of a format, as it is committed under `deploy/schemas`.
///
/// # Errors
/// Never in practice; serialising a schema cannot fail.
pub fn render_schema(format: SchemaFormat) -> Result<String> {
    use mimawari_drift::schema;
    Ok(match format {
        SchemaFormat::Verdict => schema::render_verdict_schema(),
        SchemaFormat::Observation => schema::render_observation_schema(),
        SchemaFormat::Baseline => schema::render_baseline_schema(),
        SchemaFormat::Run => pretty(&schemars::schema_for!(mimawari_runs::RunMeta))?,
        SchemaFormat::Selfcheck => {
            pretty(&schemars::schema_for!(crate::selfcheck::SelfcheckReport))?
        }
        SchemaFormat::Round => pretty(&schemars::schema_for!(crate::rounds::RoundResult))?,
        SchemaFormat::Manifest => {
            pretty(&schemars::schema_for!(mimawari_probes::http::manifest::ManifestLine<'_>))?
        }
    })
}

fn pretty(schema: &schemars::Schema) -> Result<String> {
    let mut text = serde_json::to_string_pretty(schema)?;
    text.push('\n');
    Ok(text)
}
