//! The laws of the workspace, and that what is generated or described is true.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mimawari::cli::SchemaFormat;
use mimawari::config::Config;
use mimawari_drift::baseline::Baseline;
use mimawari_look::http::connection::Answer;
use mimawari_probes::http::Catalogue;
use mimawari_targets::diagnostic::Source;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn manifest(dir: &str) -> toml::Table {
    let path = root().join(dir).join("Cargo.toml");
    fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        .parse()
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What a package uses of the workspace, tests of its own included.
fn uses(dir: &str) -> BTreeSet<String> {
    let m = manifest(dir);
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .iter()
        .filter_map(|k| m.get(*k)?.as_table())
        .flat_map(|t| t.keys())
        .filter(|k| k.starts_with("mimawari"))
        .cloned()
        .collect()
}

#[track_caller]
fn may_use(dir: &str, allowed: &[&str]) {
    let allowed: BTreeSet<String> = allowed.iter().map(|a| (*a).to_owned()).collect();
    let used = uses(dir);
    assert!(used.is_subset(&allowed), "{dir} uses {used:?}, and may use {allowed:?}");
}

#[test]
fn crates_use_only_what_the_design_allows() {
    may_use("targets", &[]);
    may_use("probes", &["mimawari-targets"]);
    may_use("scanner/base", &["mimawari-targets"]);
    let below = ["mimawari-base", "mimawari-drift", "mimawari-probes", "mimawari-targets"];
    may_use("scanner/store", &below);
    let sending = ["mimawari-report", "mimawari-store"];
    may_use("scanner/notify", &[&below[..], &sending].concat());
    may_use("scanner/runs", &[&below[..], &["mimawari-engine", "mimawari-report"]].concat());
    let sweep = [
        "mimawari-base",
        "mimawari-engine",
        "mimawari-probes",
        "mimawari-rawio",
        "mimawari-targets",
    ];
    may_use("scanner/net", &sweep);
    may_use("scanner/look", &["mimawari-base", "mimawari-probes", "mimawari-targets"]);
    may_use("scanner/rawio", &[]);
    may_use("scanner/engine", &["mimawari-probes", "mimawari-targets"]);
    may_use("scanner/drift", &["mimawari-probes", "mimawari-targets"]);
    may_use("scanner/report", &["mimawari-drift", "mimawari-probes", "mimawari-targets"]);
}

#[test]
fn the_pure_crates_use_nothing_that_does_io() {
    let io =
        ["tokio", "socket2", "libc", "nix", "hyper", "getrandom", "rtnetlink", "caps", "tempfile"];
    for dir in ["probes", "scanner/engine", "scanner/drift", "scanner/report"] {
        let m = manifest(dir);
        let used = m["dependencies"].as_table().expect("dependencies");
        for name in io {
            assert!(!used.contains_key(name), "{dir} uses {name}");
        }
    }
}

#[test]
fn only_rawio_may_hold_unsafe_code() {
    let workspace = manifest("");
    assert_eq!(workspace["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    for dir in [
        "targets",
        "probes",
        "scanner",
        "scanner/base",
        "scanner/look",
        "scanner/net",
        "scanner/notify",
        "scanner/runs",
        "scanner/store",
        "scanner/engine",
        "scanner/drift",
        "scanner/report",
        "benches",
    ] {
        assert_eq!(manifest(dir)["lints"]["workspace"].as_bool(), Some(true), "{dir}");
    }
    assert_eq!(manifest("tests")["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
}

#[test]
fn the_engine_and_the_judge_know_no_clock() {
    for dir in [
        "scanner/engine/src",
        "scanner/drift/src",
        "scanner/report/src",
        "probes/src",
        "targets/src",
    ] {
        for file in rust_files(&root().join(dir)) {
            let text = fs::read_to_string(&file).expect("a source file");
            for word in ["Instant::now", "SystemTime::now", "Timestamp::now", "thread::sleep"] {
                assert!(!text.contains(word), "{} has {word}", file.display());
            }
        }
    }
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push(path);
        }
    }
    all
}

#[test]
fn the_top_level_is_as_agreed() {
    for name in ["Cargo.toml", "scanner", "probes", "targets", "benches", "deploy", "tests"] {
        assert!(root().join(name).exists(), "{name}");
    }
}

#[test]
fn every_path_that_architecture_names_exists() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let mut named = 0;
    for word in text.split('`').skip(1).step_by(2) {
        let tops = ["targets/", "probes/", "scanner/", "benches/", "deploy/", "tests/", ".ci/"];
        if tops.iter().any(|t| word.starts_with(t)) && !word.contains([' ', '*', '<']) {
            named += 1;
            assert!(root().join(word).exists(), "ARCHITECTURE.md names {word}, which is not there");
        }
    }
    assert!(named >= 10, "only {named} paths were found; the test looks at the wrong thing");
}

#[test]
fn committed_schemas_are_the_generated_ones() {
    // To renew: MIMAWARI_BLESS=1 cargo test -p mimawari-tests --test pure laws::
    let bless = std::env::var_os("MIMAWARI_BLESS").is_some();
    for (format, name) in [
        (SchemaFormat::Verdict, "verdict.v1.json"),
        (SchemaFormat::Observation, "observation.v1.json"),
        (SchemaFormat::Baseline, "baseline.v1.json"),
        (SchemaFormat::Run, "run.v1.json"),
        (SchemaFormat::Selfcheck, "selfcheck.v1.json"),
        (SchemaFormat::Round, "round.v1.json"),
        (SchemaFormat::Manifest, "manifest.v1.json"),
    ] {
        let path = root().join("deploy/schemas").join(name);
        let generated = mimawari::commands::schema_text(format).expect("a schema");
        if bless {
            fs::write(&path, &generated).expect("writing the schema");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == generated,
            "{name} is stale: MIMAWARI_BLESS=1 cargo test -p mimawari-tests --test pure laws::"
        );
    }
}

/// The texts of a document's ```toml blocks.
fn toml_blocks(text: &str) -> Vec<&str> {
    let blocks = text.split("```toml\n").skip(1);
    blocks.map(|b| b.split_once("```").map_or(b, |(block, _)| block)).collect()
}

#[test]
fn every_example_of_the_documents_is_understood() {
    let scope = "version = 1\n[scope]\nallow = [\"198.51.100.0/24\"]\nauthorised_by = \"x\"\n";
    let mut read = 0;
    for document in ["README.md", "probes/catalogue/README.md"] {
        let text = fs::read_to_string(root().join(document)).expect("a document");
        for block in toml_blocks(&text) {
            let done = if block.contains("[[check]]") {
                // The example of the form may bear an id of the catalogue.
                let block = block.replace("id = \"git-config\"", "id = \"example\"");
                let added = Catalogue::builtin().add(&Source::new(document, block));
                added.map_err(|e| e.to_string())
            } else if block.contains("[[allow") {
                let whole = block.contains("owner =");
                let start = if whole { "" } else { "version = 1\nowner = \"x\"\n" };
                Baseline::parse(&[(document.to_owned(), format!("{start}{block}"))])
                    .map(drop)
                    .map_err(|e| e.to_string())
            } else {
                let whole = block.contains("[scope]");
                let text = if whole { block.to_owned() } else { format!("{scope}{block}") };
                Config::parse(document, &text, Path::new("."))
                    .map(drop)
                    .map_err(|e| format!("{e:#}"))
            };
            assert_eq!(done, Ok(()), "{document}:\n{block}");
            read += 1;
        }
    }
    assert!(read >= 5, "only {read} examples were found");
}

/// Keys of `patrol.toml`, from the structures that it is read into.
#[test]
fn every_key_of_the_configuration_is_in_the_readme() {
    let source = fs::read_to_string(root().join("scanner/src/config/file.rs")).expect("it");
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let keys: Vec<&str> = source
        .lines()
        .filter_map(|l| l.trim().strip_prefix("pub ")?.split_once(": ").map(|(key, _)| key))
        .collect();
    assert!(keys.len() > 30, "{keys:?}");
    for key in keys {
        let named = readme.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        assert!(named.into_iter().any(|w| w == key), "README.md does not name `{key}`");
    }
}

/// The code of a file without its tests.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("a source file");
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

/// What was not covered, doubted or noted is a `Gap`. Its sentence is made by `report` alone, so no other
/// code builds one, and none looks for words in one.
#[test]
fn gaps_have_types_and_no_code_reads_their_sentences() {
    const LISTS: [&str; 5] =
        [".notes", ".not_covered", ".incomplete_because", ".suspect_because", ".gaps"];
    const READING: [&str; 5] =
        [".contains(\"", ".starts_with(", ".ends_with(", ".strip_prefix(", ".find(\""];
    // These hold sentences because documents have them, or because they answer a question in words.
    const HOLD: [&str; 6] =
        ["verdict.rs", "gaps.rs", "explain.rs", "impact/mod.rs", "types.rs", "rounds/show.rs"];
    let mut statements = 0;
    for dir in ["targets/src", "probes/src", "scanner"] {
        for file in rust_files(&root().join(dir)) {
            let name = file.strip_prefix(root()).expect("below the root").display().to_string();
            if name.starts_with("scanner/report/") || name.contains("/tests") {
                continue;
            }
            let code = code_of(&file);
            for line in code.lines().map(str::trim) {
                let field = line.strip_prefix("pub(super) ").or_else(|| line.strip_prefix("pub "));
                let field = field.unwrap_or(line).trim_start_matches("pub(crate) ");
                let is_list = ["notes: ", "not_covered: ", "_because: ", "damage: "]
                    .iter()
                    .any(|list| field.contains(&format!("{list}Vec<String>")));
                assert!(
                    !is_list || HOLD.iter().any(|held| name.ends_with(held)),
                    "{name}: a list of gaps is no list of sentences: {line}"
                );
            }
            // The answers of `explain` are sentences, and its notes with them.
            if name.ends_with("explain.rs") {
                continue;
            }
            for statement in code.split([';', '{', '}']) {
                if !LISTS.iter().any(|list| statement.contains(list))
                    && !statement.contains("gap_sentence(")
                {
                    continue;
                }
                statements += 1;
                let builds = [".push(format!", ".push(\"", ".extend(format!", ".insert(0, format!"];
                for word in builds.iter().chain(&READING) {
                    assert!(!statement.contains(word), "{name}: {word} in {statement}");
                }
            }
        }
    }
    assert!(
        statements > 50,
        "only {statements} statements were found; the test looks at the wrong thing"
    );
}

#[test]
fn an_answer_shows_nothing_of_its_content() {
    let answer = Answer {
        status: 200,
        headers: [(http::header::SERVER, http::HeaderValue::from_static("zzz-secret"))]
            .into_iter()
            .collect(),
        body: b"zzz-secret".to_vec(),
        truncated: false,
        cut_short: None,
        total: None,
        malformed: false,
    };
    let shown = format!("{answer:?}");
    assert!(!shown.contains("zzz") && !shown.contains("122") && shown.contains("10"), "{shown}");
}

/// What holds a body has no `Debug` of its own, and no log line is made of one.
#[test]
fn no_log_line_is_made_of_a_body() {
    for (file, holder) in [
        ("scanner/look/src/http/connection.rs", "pub struct Answer "),
        ("probes/src/http/raw.rs", "pub struct Head<"),
        ("probes/src/http/check.rs", "pub struct Response<"),
        ("probes/src/http/gate.rs", "pub(super) struct Content<"),
    ] {
        let text = fs::read_to_string(root().join(file)).expect(file);
        let (before, _) = text.split_once(holder).unwrap_or_else(|| panic!("{file}: {holder}"));
        let mut attributes = before.lines().rev().take_while(|l| !l.is_empty());
        assert!(
            !attributes.any(|l| l.contains("derive") && l.contains("Debug")),
            "{file}: {holder}"
        );
    }
    let mut lines = 0;
    for file in rust_files(&root().join("scanner")) {
        let text = fs::read_to_string(&file).expect("a source file");
        for call in text.split("tracing::").skip(1) {
            let call = call.split_once(";\n").map_or(call, |(call, _)| call);
            if ["trace!", "debug!", "info!", "warn!", "error!"].iter().any(|m| call.starts_with(m))
            {
                lines += 1;
                for word in ["body", "answer.", "response", "content."] {
                    assert!(!call.contains(word), "{}: {call}", file.display());
                }
            }
        }
    }
    assert!(lines > 10, "only {lines} log lines were found");
}
