//! The laws of the workspace, and that what is generated or described is true.

mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use mimawari::cli::SchemaFormat;
use mimawari::config::Config;
use mimawari_drift::baseline::Baseline;
use mimawari_look::http::connection::HttpAnswer;
use mimawari_probes::http::Catalogue;
use mimawari_targets::diagnostic::TextSource;

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

/// Every crate of the product.
const CRATES: [&str; 13] = [
    "targets",
    "probes",
    "scanner",
    "scanner/base",
    "scanner/drift",
    "scanner/engine",
    "scanner/look",
    "scanner/net",
    "scanner/notify",
    "scanner/rawio",
    "scanner/report",
    "scanner/runs",
    "scanner/store",
];

#[test]
fn every_crate_of_the_workspace_is_under_the_laws() {
    let workspace = manifest("");
    let members = workspace["workspace"]["members"].as_array().expect("members");
    let members: BTreeSet<&str> = members.iter().filter_map(toml::Value::as_str).collect();
    let known: BTreeSet<&str> = CRATES.into_iter().chain(["benches", "tests"]).collect();
    assert_eq!(members, known);
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

/// The crates that decide and never look or act. What they need to know is passed in.
const PURE: [&str; 5] = ["targets", "probes", "scanner/engine", "scanner/drift", "scanner/report"];

/// The exception: names are looked up by `targets`, in one file, and only with the feature `dns`.
const RESOLVING: &str = "targets/src/dns.rs";

#[test]
fn the_pure_crates_use_nothing_that_does_io() {
    let io = [
        "tokio",
        "socket2",
        "libc",
        "nix",
        "hyper",
        "getrandom",
        "rtnetlink",
        "caps",
        "tempfile",
        "rustix",
        "reqwest",
        "object_store",
        "hickory-resolver",
        "futures-util",
        "tracing",
        "mimawari-base",
    ];
    for dir in PURE {
        let m = manifest(dir);
        let used = m["dependencies"].as_table().expect("dependencies");
        for name in io {
            let of_dns = dir == "targets"
                && used.get(name).is_some_and(|d| d.get("optional") == Some(&true.into()));
            assert!(of_dns || !used.contains_key(name), "{dir} uses {name}");
        }
    }
    let features = &manifest("targets")["features"];
    assert_eq!(features.as_table().map(toml::Table::len), Some(2), "{features}");
}

/// Addresses are values, so `std::net` may be named for them alone.
#[test]
fn the_pure_crates_touch_no_file_socket_process_or_environment() {
    const VALUES: [&str; 6] =
        ["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6"];
    const ACTING: [&str; 11] = [
        "std::fs",
        "std::process",
        "std::env",
        "std::thread",
        "std::os",
        "io::stdin",
        "io::stdout",
        "io::stderr",
        "TcpStream",
        "UdpSocket",
        "ToSocketAddrs",
    ];
    let mut files = 0;
    for dir in PURE {
        for file in rust_files(&root().join(dir).join("src")) {
            let name = file.strip_prefix(root()).expect("below the root").display().to_string();
            // Tests read fixtures; whoever looks names up is named above.
            if name == RESOLVING || name.contains("/tests") || name.contains("_tests") {
                continue;
            }
            files += 1;
            let code = code_of(&file);
            for word in ACTING {
                assert!(!code.contains(word), "{name} has {word}");
            }
            for named in code.split("std::net::").skip(1) {
                // `IpAddr`, or `{IpAddr, SocketAddr}`.
                let words = match named.strip_prefix('{') {
                    Some(several) => several.split('}').next().unwrap_or_default(),
                    None => {
                        named.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default()
                    }
                };
                for word in words.split(',').map(str::trim).filter(|w| !w.is_empty()) {
                    assert!(VALUES.contains(&word), "{name} has std::net::{word}");
                }
            }
        }
    }
    assert!(files > 100, "only {files} files were read");
}

/// What the modules of a crate, by their first names, use of each other.
fn module_graph(src: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let first = |file: &Path| {
        let below = file.strip_prefix(src).expect("below src");
        let name = below.components().next().expect("a file").as_os_str().to_string_lossy();
        name.trim_end_matches(".rs").to_owned()
    };
    let files = rust_files(src);
    let modules: BTreeSet<String> = files.iter().map(|f| first(f)).collect();
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in &files {
        let of = first(file);
        // The roots name every module to declare it.
        if matches!(of.as_str(), "lib" | "main") {
            continue;
        }
        for used in code_of(file).split("crate::").skip(1) {
            let end = used.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let used = &used[..end.unwrap_or(used.len())];
            if used != of && modules.contains(used) {
                graph.entry(of.clone()).or_default().insert(used.to_owned());
            }
        }
    }
    graph
}

/// A way round, if there is one: the modules on it in order.
fn find_circle(graph: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk<'a>(
        graph: &'a BTreeMap<String, BTreeSet<String>>,
        at: &'a str,
        way: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> bool {
        if let Some(begin) = way.iter().position(|w| *w == at) {
            way.drain(..begin);
            return true;
        }
        if done.contains(at) {
            return false;
        }
        way.push(at);
        for next in graph.get(at).into_iter().flatten() {
            if walk(graph, next, way, done) {
                return true;
            }
        }
        way.pop();
        done.insert(at);
        false
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|from| {
        let mut way = Vec::new();
        walk(graph, from, &mut way, &mut done).then(|| way.into_iter().map(str::to_owned).collect())
    })
}

#[test]
fn no_arrow_between_modules_runs_back() {
    let mut arrows = 0;
    for dir in CRATES {
        let graph = module_graph(&root().join(dir).join("src"));
        arrows += graph.values().map(BTreeSet::len).sum::<usize>();
        assert_eq!(find_circle(&graph), None, "modules of {dir} use each other in a circle");
    }
    assert!(arrows > 100, "only {arrows} arrows were found");
    // The check itself: a circle is found wherever the search begins.
    let graph = [("a", "b"), ("b", "c"), ("c", "b")];
    let graph = graph.map(|(from, to)| (from.to_owned(), BTreeSet::from([to.to_owned()])));
    assert_eq!(find_circle(&BTreeMap::from(graph)), Some(vec!["b".to_owned(), "c".to_owned()]));
}

/// Which rule speaks of a thing is asked in one place. The compiler keeps the matchers behind it private.
#[test]
fn one_place_decides_which_rule_speaks() {
    let mut places = Vec::new();
    for file in rust_files(&root().join("scanner")) {
        if file.components().any(|c| c.as_os_str() == "target") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file");
        let is_book = file.ends_with("baseline/book.rs") || file.ends_with("baseline/nearest.rs");
        for line in text.lines().map(str::trim) {
            if line.contains("fn decide_with(") || line.contains("fn nearest_to(") {
                places.push(file.file_name().unwrap_or_default().to_string_lossy().into_owned());
            }
            let opens = ["pub fn port(", "pub fn web(", "pub fn whole_host(", "pub fn web_rules("];
            assert!(!is_book || !opens.iter().any(|o| line.contains(o)), "{}", file.display());
        }
    }
    assert_eq!(places, ["decide.rs", "decide.rs"]);
}

/// The keys that the reader takes and those of the schema are the same.
#[test]
fn the_schema_of_the_baseline_has_the_keys_that_are_read() {
    let schema: serde_json::Value =
        serde_json::from_str(&mimawari_drift::schema::render_baseline_schema()).expect("JSON");
    for (name, head) in [("AllowEntry", "[[allow]]"), ("AllowHttpEntry", "[[allow_http]]")] {
        let keys = schema["$defs"][name]["properties"].as_object().expect("properties");
        for key in keys.keys() {
            let text = format!("version = 1\nowner = \"x\"\n{head}\n{key} = 7\n");
            let refused = Baseline::parse(&[("a.toml".to_owned(), text)]).expect_err("refused");
            let unknown = format!("unknown key `{key}`");
            assert!(
                !refused.to_string().contains(&unknown),
                "{name} has `{key}`, which is not read"
            );
        }
        let text = format!("version = 1\nowner = \"x\"\n{head}\nnone = 7\n");
        let refused = Baseline::parse(&[("a.toml".to_owned(), text)]).expect_err("refused");
        assert!(refused.to_string().contains("unknown key `none`"), "{refused}");
    }
}

#[test]
fn only_rawio_may_hold_unsafe_code() {
    let workspace = manifest("");
    assert_eq!(workspace["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    for dir in CRATES.into_iter().chain(["benches"]).filter(|dir| *dir != "scanner/rawio") {
        assert_eq!(manifest(dir)["lints"]["workspace"].as_bool(), Some(true), "{dir}");
    }
    assert_eq!(manifest("tests")["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
}

/// What sends raw frames is opened in one file, whose type checks every frame: none can leave past the
/// scope.
#[test]
fn one_type_alone_sends_raw_frames() {
    let mut senders = Vec::new();
    for dir in ["scanner", "probes", "targets"] {
        for file in rust_files(&root().join(dir)) {
            let text = fs::read_to_string(&file).expect("a source file");
            let raw = ["Sender::packet", "Sender::raw_ip"];
            let path = file.strip_prefix(root()).expect("a file of the workspace");
            if raw.iter().any(|w| text.contains(w)) && !path.starts_with("scanner/rawio") {
                senders.push(path.display().to_string());
            }
        }
    }
    assert_eq!(senders, ["scanner/net/src/packet/transmit.rs"]);
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

/// Paths in the documents that describe the sources; how many `text` names.
fn check_paths(document: &str, text: &str) -> usize {
    let mut named = 0;
    for word in text.split('`').skip(1).step_by(2) {
        let tops = ["targets/", "probes/", "scanner/", "benches/", "deploy/", "tests/", ".ci/"];
        if tops.iter().any(|t| word.starts_with(t)) && !word.contains([' ', '*', '<']) {
            named += 1;
            assert!(root().join(word).exists(), "{document} names {word}, which is not there");
        }
    }
    named
}

#[test]
fn every_path_that_architecture_and_decisions_name_exists() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let named = check_paths("ARCHITECTURE.md", &text);
    assert!(named >= 10, "only {named} paths were found; the test looks at the wrong thing");
    let lines = text.lines().count();
    assert!(lines <= 110, "ARCHITECTURE.md has {lines} lines; two pages are 110");

    let text = fs::read_to_string(root().join("CONTRIBUTING.md")).expect("CONTRIBUTING.md");
    check_paths("CONTRIBUTING.md", &text);
    let (mut decisions, mut named) = (0, 0);
    for entry in fs::read_dir(root().join("docs/decisions")).expect("docs/decisions") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a decision");
        named += check_paths(&path.display().to_string(), &text);
        decisions += 1;
    }
    assert!(decisions > 30 && named >= decisions - 2, "{named} paths in {decisions} decisions");
}

/// Words of docs/glossary.md's second table that no document may use any more.
#[test]
fn documents_use_the_words_of_the_field() {
    let mut documents: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
            .map(|name| root().join(name))
            .to_vec();
    let mut dirs = ["docs", "docs/decisions", "deploy", "benches", "probes/catalogue"]
        .map(|dir| root().join(dir))
        .to_vec();
    let parts = fs::read_dir(root().join("deploy")).expect("deploy");
    dirs.extend(parts.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir()));
    for dir in dirs {
        let entries = fs::read_dir(&dir).expect("a folder of documents");
        documents.extend(entries.map(|entry| entry.expect("an entry").path()));
    }
    documents.retain(|path| {
        let is_document = path.extension().is_some_and(|e| e == "md");
        is_document && path.file_name().is_some_and(|n| n != "glossary.md")
    });
    assert!(documents.len() > 60, "only {} documents were found", documents.len());
    let gone = [
        "tell", "tells", "told", "telling", "untold", "witness", "rung", "ladder", "epitaph",
        "parcel", "blurred", "mend", "mended",
    ];
    for path in documents {
        let text = fs::read_to_string(&path).expect("a document");
        // What stands in backquotes is code or output.
        for prose in text.split('`').step_by(2) {
            for word in prose.split(|c: char| !c.is_alphanumeric()) {
                let word = word.to_lowercase();
                assert!(!gone.contains(&word.as_str()), "{}: `{word}`", path.display());
            }
            assert!(!prose.contains("held against"), "{}: `held against`", path.display());
        }
    }
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
        let generated = mimawari::schema::render_schema(format).expect("a schema");
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
                let added = Catalogue::builtin().add(&TextSource::new(document, block));
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
    let answer = HttpAnswer {
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
        ("scanner/look/src/http/connection.rs", "pub struct HttpAnswer "),
        ("probes/src/http/raw.rs", "pub struct RawHead<"),
        ("probes/src/http/check.rs", "pub struct HttpResponse<"),
        ("probes/src/http/gate.rs", "pub(super) struct PageContent<"),
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
