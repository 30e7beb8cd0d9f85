//! Reads the catalogue as the program will, so that a mistake in it stops the build.

use std::collections::BTreeSet;
use std::path::Path;

use mimawari_targets::diagnostic::TextSource;
use serde::Deserialize;

#[path = "src/http/catalogue/format.rs"]
#[allow(dead_code, missing_docs, reason = "read for its mistakes alone")]
mod format;
#[path = "src/http/catalogue/paths.rs"]
#[allow(dead_code, missing_docs, reason = "read for its mistakes alone")]
mod paths;

/// As `observation::Severity` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

fn main() {
    println!("cargo::rerun-if-changed=catalogue");
    println!("cargo::rerun-if-changed=src/http/catalogue");
    let mut ids = BTreeSet::new();
    let mut files: Vec<_> = std::fs::read_dir("catalogue")
        .expect("probes/catalogue is there")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    let mut table = String::from("[\n");
    for path in &files {
        let name = path.file_name().and_then(|n| n.to_str()).expect("a name in UTF-8");
        let text = std::fs::read_to_string(path).expect("a file in UTF-8");
        match format::read(&TextSource::new(name, text), true) {
            Ok(checks) => {
                for check in checks {
                    assert!(ids.insert(check.id.clone()), "{name}: the id {} is taken", check.id);
                }
            }
            Err(diagnostics) => {
                for line in diagnostics.to_string().lines() {
                    println!("cargo::error={line}");
                }
            }
        }
        let absolute =
            Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join(path);
        table.push_str(&format!("    ({name:?}, include_str!({absolute:?})),\n"));
    }
    table.push(']');
    let out = std::env::var("OUT_DIR").expect("set by cargo");
    std::fs::write(Path::new(&out).join("catalogue.rs"), table).expect("a folder to write to");
}
