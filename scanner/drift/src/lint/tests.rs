use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::baseline::Baseline;

fn set(ranges: &[&str]) -> AddrSet {
    AddrSet::from_ranges(ranges.iter().map(|r| r.parse().expect("a range")))
}

/// What the examples are held against.
struct World {
    scope: Scope,
    profiles: Vec<LintProfile>,
    checks: BTreeSet<String>,
    usage: BTreeMap<String, RuleUse>,
    sites: SiteNames,
}

impl World {
    fn new() -> Self {
        let addrs = set(&["192.0.2.0/24", "2001:db8:10::/120"]);
        let at = |t: &str| t.parse().expect("an instant");
        let used = |since, last_seen: Option<&str>, unseen_runs| RuleUse {
            since: at(since),
            last_seen: last_seen.map(at),
            unseen_runs,
        };
        let usage = [
            ("old-sftp", used("2026-01-01T00:00:00Z", Some("2026-08-01T00:00:00Z"), 40)),
            ("never-seen", used("2026-11-01T00:00:00Z", None, 12)),
            ("live-sftp", used("2026-01-01T00:00:00Z", Some("2026-11-23T00:00:00Z"), 0)),
        ];
        Self {
            scope: Scope::new(addrs.clone(), set(&["192.0.2.255"]), "SEC-1042"),
            profiles: vec![LintProfile {
                targets: addrs.subtract(&set(&["192.0.2.255"])),
                ports: "22,80,443,8000-8999".parse().expect("ports"),
            }],
            checks: ["server-status", "git-config", "legacy-tls"].map(str::to_owned).into(),
            usage: usage.map(|(id, u)| (id.to_owned(), u)).into(),
            sites: ["shop.example.jp", "blog.example.jp"].iter().fold(
                SiteNames::default(),
                |mut sites, name| {
                    sites.add("192.0.2.80".parse().expect("an address"), name);
                    sites
                },
            ),
        }
    }

    fn lint(&self, files: &[(String, String)], codeowners: bool) -> Vec<Lint> {
        let is_toml = |(name, _): &&(String, String)| name.ends_with(".toml");
        let (base, now): (Vec<_>, Vec<_>) =
            files.iter().filter(is_toml).cloned().partition(|f| f.0.starts_with("base/"));
        let text = files.iter().find(|f| f.0 == "CODEOWNERS").map_or("* @corp/hosting", |f| &f.1);
        let owners = CodeOwners::parse("CODEOWNERS", text);
        let one_space = |text: &str| {
            let lines = text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "));
            lines.map(|l| l + "\n").collect::<String>()
        };
        lint(
            &now,
            &LintContext {
                scope: Some(&self.scope),
                profiles: &self.profiles,
                owners: match codeowners {
                    true => OwnersSource::File { owners: &owners, folder: "baseline" },
                    false => OwnersSource::Absent,
                },
                checks: Some(&self.checks),
                usage: Some(&self.usage),
                sites: Some(&self.sites),
                base: (!base.is_empty()).then_some(&base),
                formatted: Some(&one_space),
                ..LintContext::at(NOW.parse().expect("an instant"))
            },
        )
    }
}

const NOW: &str = "2026-11-24T12:00:00Z";

/// As many rules as the example of `not-compared` stands for.
fn tangle(rules: usize) -> Vec<(String, String)> {
    let mut text = "version = 1\nowner = \"@corp/hosting\"\n".to_owned();
    for i in 0..rules {
        let (a, b) = (i / 256, i % 256);
        let _ = writeln!(
            text,
            "[[allow]]\nid = \"r{i}\"\nhosts = [\"10.0.{a}.{b}-10.9.{a}.{b}\"]\nports = [\"tcp/{}\"]\nreason = \"Server number {i} of many\"",
            1024 + i
        );
    }
    vec![("team.toml".to_owned(), text)]
}

fn ids(lints: &[Lint]) -> Vec<&str> {
    lints.iter().map(|l| l.rule.id).collect()
}

#[test]
fn every_row_has_an_example_of_which_it_is_told_and_one_of_which_it_is_not() {
    let world = World::new();
    for rule in rules::list_lint_rules() {
        let bad = match rule.id {
            "not-compared" => {
                let lints = lint(&tangle(6000), &LintContext::at(Timestamp::UNIX_EPOCH));
                lints.into_iter().filter(|l| l.rule.id == "not-compared").collect()
            }
            id => world.lint(&rules::split_example_files(rule.bad), id != "no-codeowners"),
        };
        assert!(!bad.is_empty(), "{}", rule.id);
        for l in &bad {
            assert_eq!(l.rule.id, rule.id, "{l:#?}");
            assert_eq!(l.diagnostic.gravity, rule.gravity);
            assert!(l.diagnostic.help.as_ref().is_some_and(|h| !h.is_empty()), "{l:#?}");
        }
        assert_eq!(
            ids(&world.lint(&rules::split_example_files(rule.good), true)),
            [""; 0],
            "{}",
            rule.id
        );
        let baseline = |example| {
            let files = rules::split_example_files(example);
            let is_of_it = |f: &(String, String)| !f.0.contains('/') && f.0 != "CODEOWNERS";
            Baseline::parse(&files.into_iter().filter(is_of_it).collect::<Vec<_>>())
        };
        assert_eq!(baseline(rule.bad).is_err(), rule.refused, "{}", rule.id);
        assert!(baseline(rule.good).is_ok(), "{}", rule.id);
    }
}

#[test]
fn ids_and_pages_are_in_form() {
    let mut ids = BTreeSet::new();
    for rule in rules::list_lint_rules() {
        assert!(ids.insert(rule.id), "{} is there twice", rule.id);
        assert!(rule.id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", rule.id);
        assert_eq!(rules::get(rule.id), Some(rule));
        for line in rule.explained().lines() {
            assert!(line.chars().count() <= 110, "{line}");
        }
        assert!(rule.page.ends_with('.') && !rule.title.ends_with('.'), "{}", rule.id);
    }
}

#[test]
fn one_mistake_hides_no_other() {
    let text = "version = 1\nowner = 5\nwhat = 1\n\n[[allow]]\nid = \"a\n\n[[allow]]\nid = \"c\"\nhosts = [\"192.0.2.300\"]\n\n[[allow]]\nid = \"b\"\nhosts = [\"192.0.2.5/26\", 7]\nports = [\"tcp/0\", \"http\"]\nreasn = \"x\"\nexpect = \"maybe\"\nexpires = 2026-13-01\n";
    let files =
        [("a.toml".to_owned(), text.to_owned()), ("b.toml".to_owned(), "version = 3\n".to_owned())];
    let lints = lint(&files, &LintContext::at(Timestamp::UNIX_EPOCH));
    for id in [
        "syntax",
        "unknown-key",
        "wrong-value",
        "host-bits",
        "bad-port",
        "unknown-version",
        "owner-missing",
        "bad-address",
    ] {
        assert!(ids(&lints).contains(&id), "{id} of {:?}", ids(&lints));
    }
}

#[test]
fn places_are_lines_and_columns_of_characters() {
    let text = "version = 1\nowner = \"@a/b\"\ngroups = { \"日本\" = [\"192.0.2.5/26\"] }\n";
    let lints =
        lint(&[("a.toml".to_owned(), text.to_owned())], &LintContext::at(Timestamp::UNIX_EPOCH));
    let [l] = lints.as_slice() else { panic!("{lints:?}") };
    assert_eq!(
        (l.start, l.end),
        (TextLocation { line: 3, column: 20 }, TextLocation { line: 3, column: 34 })
    );
}

#[test]
fn thousands_of_rules_are_compared() {
    let files = tangle(2000);
    let lints = lint(&files, &LintContext::at(Timestamp::UNIX_EPOCH));
    assert!(!ids(&lints).contains(&"not-compared"));
    assert_eq!(ids(&lints).iter().filter(|t| **t == "too-broad").count(), 2000);
}

/// Texts that are nearly baselines: pieces of the examples with pieces of other texts among them.
fn nearly() -> impl Strategy<Value = Vec<(String, String)>> {
    let lines: Vec<String> = rules::list_lint_rules()
        .flat_map(|r| [r.bad, r.good])
        .flat_map(rules::split_example_files)
        .flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let line = prop_oneof![
        8 => prop::sample::select(lines),
        1 => "[a-z_\\[\\]{}\"'=., 0-9\u{1b}\u{202e}é-]{0,24}",
    ];
    let file = (any::<bool>(), prop::collection::vec(line, 0..24)).prop_map(|(head, lines)| {
        let head = if head { "version = 1\nowner = \"@a/b\"\n" } else { "" };
        format!("{head}{}", lines.join("\n"))
    });
    prop::collection::vec(file, 0..4).prop_map(|texts| {
        texts.into_iter().enumerate().map(|(i, t)| (format!("{i}.toml"), t)).collect()
    })
}

/// Rules with all keys, valid in most parts.
fn rules_in_form() -> impl Strategy<Value = Vec<(String, String)>> {
    let host = prop::sample::select(vec![
        "192.0.2.1",
        "192.0.2.0/24",
        "192.0.2.1/24",
        "::ffff:1.2.3.4",
        "2001:db8::/64",
        "x",
    ]);
    let port = prop::sample::select(vec!["tcp/22", "tcp/1-65535", "udp/53", "tcp/0", "tcp/9-1"]);
    let expect = prop::sample::select(vec!["may", "must", "never", "perhaps"]);
    let reason = prop::sample::select(vec!["", "todo", "Public web sites"]);
    let extra = prop::sample::select(vec![
        "",
        "broad = true",
        "broad = 1",
        "expires = 2026-12-31",
        "expires = 1979-05-27T07:32:00Z",
        "group = \"g\"",
        "nokey = 1",
    ]);
    let rule = (0..6u8, host, port, expect, reason, extra).prop_map(|(id, host, port, expect, reason, extra)| {
        format!("[[allow]]\nid = \"r{id}\"\nhosts = [\"{host}\"]\nports = [\"{port}\"]\nexpect = \"{expect}\"\nreason = \"{reason}\"\n{extra}\n")
    });
    prop::collection::vec(prop::collection::vec(rule, 0..4), 1..3).prop_map(|files| {
        let text =
            |rules: Vec<String>| format!("version = 1\nowner = \"@a/b\"\n{}", rules.concat());
        files.into_iter().enumerate().map(|(i, r)| (format!("{i}.toml"), text(r))).collect()
    })
}

fn holds(files: &[(String, String)]) {
    let world = World::new();
    let lints = world.lint(files, true);
    let mut turned = files.to_vec();
    turned.reverse();
    assert_eq!(world.lint(&turned, true), lints, "another order of the files");
    let refused = lints.iter().any(|l| l.rule.refused);
    assert_eq!(Baseline::parse(files).is_err(), refused, "{:?} of {files:?}", ids(&lints));
    for l in &lints {
        let texts = [&l.diagnostic.title, l.diagnostic.help.as_ref().expect("a remedy")];
        for text in texts.into_iter().chain(&l.rule_id) {
            assert!(text.chars().count() < 600, "{text}");
            assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
        }
        assert!(l.start <= l.end);
        let _ = l.diagnostic.render(false);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_told_of_alike_and_refused_as_a_patrol_does(files in nearly()) {
        holds(&files);
    }

    #[test]
    fn rules_are_refused_as_a_patrol_does(files in rules_in_form()) {
        holds(&files);
    }

    #[test]
    fn noise_is_no_panic(text in "\\PC{0,200}", owners in "\\PC{0,200}") {
        holds(&[("a.toml".to_owned(), text)]);
        let _ = CodeOwners::parse("CODEOWNERS", &owners).of("baseline/a.toml");
    }
}
