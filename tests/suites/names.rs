//! The names of types: one meaning a name, and two words where one says too little.
//!
//! A type that is called `Answer` in six modules makes a reader open all six. So no crate has a type name twice, and
//! the shares below may fall and not rise. Words that the glossary removed may not come back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Names that every crate may use as often as it likes, since their module says what they belong to.
const SHARED_BY_CUSTOM: [&str; 3] = ["Error", "Config", "Args"];

/// The largest share of type names of one word, in per cent.
const ONE_WORD_MOST: f64 = 45.0;

/// The largest share of types whose name another type has, in any crate, in per cent.
const SHARED_MOST: f64 = 12.0;

/// Words of the second table of docs/glossary.md, with what is said in their place.
const REMOVED_WORDS: [&str; 14] = [
    "told",
    "tell",
    "tells",
    "telling",
    "untold",
    "witness",
    "witnesses",
    "epitaph",
    "parcel",
    "parcels",
    "rung",
    "rungs",
    "asker",
    "blurred",
];

/// How often removed words stand in the product's sources: names of fields in formats that stay. Lower it with
/// each one that goes.
const REMOVED_IN_PRODUCT: usize = 133;

/// How often they stand in suites, benchmarks, workflows and deployment: what reads the names above.
const REMOVED_AROUND: usize = 1;

/// The words that a function's name begins with: verbs, the auxiliaries of questions, and `to`, `from`, `into` and `with`
/// of conversions.
const VERBS: &str = include_str!("names/verbs.txt");

struct TypeDefinition {
    name: String,
    package: String,
    place: String,
}

fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The source folders of the product, each with the folder of its package.
fn source_folders() -> Vec<(String, PathBuf)> {
    let root = workspace_root();
    let mut all = vec![
        ("targets".to_owned(), root.join("targets/src")),
        ("probes".to_owned(), root.join("probes/src")),
        ("scanner".to_owned(), root.join("scanner/src")),
    ];
    for entry in fs::read_dir(root.join("scanner")).expect("the folder of the scanner") {
        let dir = entry.expect("an entry").path();
        if dir.join("Cargo.toml").is_file() {
            let name = dir.file_name().expect("a name").to_string_lossy().into_owned();
            all.push((format!("scanner/{name}"), dir.join("src")));
        }
    }
    all
}

fn collect_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" {
                collect_files(&path, files);
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && name != "samples.rs" {
            files.push(path);
        }
    }
}

/// What follows `pub`, if that is there, with its place.
fn strip_visibility(line: &str) -> &str {
    let Some(after) = line.strip_prefix("pub") else { return line };
    let inner = after.strip_prefix('(').and_then(|inner| inner.split_once(')'));
    inner.map_or(after, |(_, rest)| rest).trim_start()
}

/// The name that a line defines, if it begins the definition of a type.
fn defined_type(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    // An associated type is part of its trait; what is indented belongs to an `impl`.
    let indented = rest.len() < line.len();
    rest = strip_visibility(rest);
    let (kind, after) = rest.split_once(' ')?;
    if !matches!(kind, "struct" | "enum" | "trait" | "union" | "type")
        || (kind == "type" && indented)
    {
        return None;
    }
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(after.len());
    let name = &after[..end];
    name.starts_with(|c: char| c.is_ascii_uppercase()).then_some(name)
}

fn defined_types() -> Vec<TypeDefinition> {
    let root = workspace_root();
    let mut all = Vec::new();
    for (package, dir) in source_folders() {
        let mut files = Vec::new();
        collect_files(&dir, &mut files);
        for file in files {
            let text = fs::read_to_string(&file).expect("a source file");
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            for (number, line) in code.lines().enumerate() {
                if let Some(name) = defined_type(line) {
                    let path = file.strip_prefix(&root).expect("below the root").display();
                    all.push(TypeDefinition {
                        name: name.to_owned(),
                        package: package.clone(),
                        place: format!("{path}:{}", number + 1),
                    });
                }
            }
        }
    }
    assert!(
        all.len() > 500,
        "only {} types were found; the test looks at the wrong place",
        all.len()
    );
    all
}

#[allow(clippy::cast_precision_loss, reason = "a few hundred names")]
fn share(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole as f64
}

#[test]
fn no_crate_has_a_type_name_twice() {
    let mut places: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for t in defined_types() {
        places.entry((t.package, t.name)).or_default().push(t.place);
    }
    let twice: Vec<String> = places
        .into_iter()
        .filter(|((_, name), at)| at.len() > 1 && !SHARED_BY_CUSTOM.contains(&name.as_str()))
        .map(|((_, name), at)| format!("{name}: {}", at.join(", ")))
        .collect();
    assert!(twice.is_empty(), "rename one of each:\n{}", twice.join("\n"));
}

#[test]
fn most_types_have_two_words_and_a_name_of_their_own() {
    let all = defined_types();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for t in &all {
        *counts.entry(&t.name).or_default() += 1;
    }
    let one_word: Vec<&TypeDefinition> = all
        .iter()
        .filter(|t| t.name.chars().filter(char::is_ascii_uppercase).count() == 1)
        .collect();
    let shared: Vec<&TypeDefinition> = all.iter().filter(|t| counts[t.name.as_str()] > 1).collect();
    let list = |types: &[&TypeDefinition]| -> String {
        types.iter().map(|t| format!("  {} {}\n", t.name, t.place)).collect()
    };
    let one_word_share = share(one_word.len(), all.len());
    assert!(
        one_word_share <= ONE_WORD_MOST,
        "{one_word_share:.1} % of {} type names have one word; at most {ONE_WORD_MOST} %:\n{}",
        all.len(),
        list(&one_word)
    );
    let shared_share = share(shared.len(), all.len());
    assert!(
        shared_share <= SHARED_MOST,
        "{shared_share:.1} % of {} types share their name; at most {SHARED_MOST} %:\n{}",
        all.len(),
        list(&shared)
    );
}

/// The name of a function of a module. Methods stand in an `impl` or a trait and are left out: their names are those of
/// properties as well, as Rust's API guidelines have it (C-GETTER).
fn defined_function(line: &str) -> Option<&str> {
    let mut rest = strip_visibility(line);
    for word in ["const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}

#[test]
fn functions_begin_with_a_verb() {
    let verbs: Vec<&str> = VERBS.lines().collect();
    assert!(verbs.is_sorted_by(|a, b| a < b), "names/verbs.txt: one a line, sorted, each once");
    let root = workspace_root();
    let (mut seen, mut wrong, mut used) = (0, Vec::new(), BTreeSet::new());
    for (_, dir) in source_folders() {
        let mut files = Vec::new();
        collect_files(&dir, &mut files);
        for file in files {
            let text = fs::read_to_string(&file).expect("a source file");
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            let mut before = "";
            for (number, line) in code.lines().enumerate() {
                let is_test = std::mem::replace(&mut before, line) == "#[test]";
                let Some(name) = defined_function(line).filter(|_| !is_test) else { continue };
                seen += 1;
                let first = name.split('_').next().unwrap_or_default();
                if name == "main" {
                    continue;
                }
                if let Ok(n) = verbs.binary_search(&first) {
                    used.insert(verbs[n]);
                } else {
                    let path = file.strip_prefix(&root).expect("below the root").display();
                    wrong.push(format!("{path}:{}: {name}", number + 1));
                }
            }
        }
    }
    assert!(seen > 1000, "only {seen} functions were found; the test looks at the wrong place");
    assert!(
        wrong.is_empty(),
        "name what they do, or add the verb to tests/suites/names/verbs.txt:\n{}",
        wrong.join("\n")
    );
    let unused: Vec<&&str> = verbs.iter().filter(|v| !used.contains(*v)).collect();
    assert!(unused.is_empty(), "no function begins with these any more: {unused:?}");
}

/// The words of a text, lower-case. A name is split at `_` and before each capital: `ToldBefore` is two words.
fn split_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut after_lower = false;
    for c in line.chars() {
        if !c.is_ascii_alphabetic() || (after_lower && c.is_ascii_uppercase()) {
            words.extend(Some(std::mem::take(&mut word)).filter(|w| !w.is_empty()));
        }
        if c.is_ascii_alphabetic() {
            word.push(c.to_ascii_lowercase());
        }
        after_lower = c.is_ascii_lowercase();
    }
    words.extend(Some(word).filter(|w| !w.is_empty()));
    words
}

/// `file:line: text` of each line that has a removed word.
fn find_removed_words(files: &[PathBuf]) -> Vec<String> {
    let root = workspace_root();
    let mut found = Vec::new();
    for file in files {
        // An image or an archive is no text.
        let Ok(text) = fs::read_to_string(file) else { continue };
        let path = file.strip_prefix(&root).expect("below the root").display();
        for (number, line) in text.lines().enumerate() {
            for word in split_words(line) {
                if REMOVED_WORDS.contains(&word.as_str()) {
                    found.push(format!("{path}:{}: {}", number + 1, line.trim()));
                }
            }
        }
    }
    found
}

/// All files below a folder. Folders that hold no source are left out: builds, generated schemas, and files that
/// programs of former versions wrote.
fn collect_all_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let generated =
            ["target", "golden", "schemas", "snapshots", "__pycache__", ".terraform", ".venv"];
        if path.is_dir() {
            if !generated.contains(&name.as_str()) {
                collect_all_files(&path, files);
            }
        } else if !path.is_symlink() {
            files.push(path);
        }
    }
}

fn check_ceiling(what: &str, found: &[String], ceiling: usize) {
    assert!(
        found.len() <= ceiling,
        "{} removed words in {what}, at most {ceiling}; docs/glossary.md has the words to use:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn removed_words_do_not_come_back() {
    let mut product = Vec::new();
    for (_, dir) in source_folders() {
        collect_all_files(&dir, &mut product);
    }
    product.retain(|f| f.extension().is_some_and(|e| e == "rs"));
    assert!(product.len() > 200, "only {} files were found", product.len());
    check_ceiling("the product", &find_removed_words(&product), REMOVED_IN_PRODUCT);

    let root = workspace_root();
    let mut around = Vec::new();
    for dir in ["tests/src", "tests/suites", "benches", "deploy", ".ci", ".github"] {
        collect_all_files(&root.join(dir), &mut around);
    }
    // These two hold the lists themselves.
    around.retain(|f| !f.ends_with("suites/names.rs") && !f.ends_with("suites/laws.rs"));
    assert!(around.len() > 200, "only {} files were found", around.len());
    check_ceiling("tests and deployment", &find_removed_words(&around), REMOVED_AROUND);
}

#[test]
fn words_are_split_out_of_names() {
    assert_eq!(split_words("DeliveryEnd::ToldBefore"), ["delivery", "end", "told", "before"]);
    assert_eq!(split_words("let told_open = x1;"), ["let", "told", "open", "x"]);
    assert_eq!(split_words("// a foretold HTTPAnswer"), ["a", "foretold", "httpanswer"]);
}

#[test]
fn definitions_are_recognised() {
    assert_eq!(defined_type("pub struct RuleBook {"), Some("RuleBook"));
    assert_eq!(defined_type("pub(crate) enum Cause<'a> {"), Some("Cause"));
    assert_eq!(defined_type("    pub(super) struct Inner(u8);"), Some("Inner"));
    assert_eq!(defined_type("type Key = (u8, u8);"), Some("Key"));
    assert_eq!(defined_type("    type Item = u8;"), None);
    assert_eq!(defined_type("    structure: u8,"), None);
    assert_eq!(defined_type("// struct Comment"), None);
}
