//! Thousands of findings, and hostile text.

use std::collections::HashSet;

use mimawari_probes::observation::CellState;

use super::kit::{self, Covered, Fixture};

const CONFIG: &str = r#"version = 1

[scope]
allow = ["198.18.0.0/20"]
authorised_by = "SEC-1042"

[scan]
ports = "22,6379,9200,20000-20799"
"#;

/// Four causes: a template with two ports, a service and a subnet; and forty findings of no cause.
fn cells() -> Vec<(String, u16)> {
    let mut all = Vec::new();
    for n in 0..740u32 {
        all.push((format!("198.18.{}.{}", n / 250, n % 250), 6379));
        all.push((format!("198.18.{}.{}", n / 250, n % 250), 9200));
        all.push((format!("198.18.{}.{}", 4 + n / 250, n % 250), 22));
        all.push((format!("198.18.15.{}", n % 250), 20_000 + (n % 40) as u16));
    }
    for n in 0..40u32 {
        all.push((format!("198.18.{}.77", 8 + n % 7), 20_040 + n as u16 * 7));
    }
    all
}

fn fixture() -> Fixture {
    let f = Fixture::new(CONFIG);
    let cells = cells();
    let observations: Vec<_> = cells.iter().map(|(h, p)| kit::open(h, *p)).collect();
    let open: HashSet<_> = cells.iter().map(|(h, p)| (kit::ip(h), *p)).collect();
    kit::write(&f, "runs/r1", &observations, Covered::All, |ip, port| {
        if open.contains(&(ip, port.get())) { CellState::Open } else { CellState::Closed }
    });
    let head = "version = 1\nowner = \"@corp/hosting\"\n";
    f.baseline("base", head);
    f.baseline(
        "head",
        &format!(
            "{head}[[allow]]\nid = \"all\"\nhosts = [\"198.18.0.0/20\"]\nports = [\"tcp/22\", \"tcp/6379\", \"tcp/9200\", \"tcp/20000-20799\"]\nreason = \"Everything\"\n"
        ),
    );
    f
}

#[test]
fn three_thousand_findings_make_a_comment_that_can_be_read() {
    let f = fixture();
    for (base, head, title) in [
        ("base", "head", "### Would silence: 3,000 findings"),
        ("head", "base", "### Would re-open: 3,000 findings"),
    ] {
        let ran = f.run(&[
            "baseline",
            "plan",
            "--base",
            base,
            "--head",
            head,
            "--run",
            "runs/r1",
            "--now",
            kit::NOW,
            "--format",
            "markdown",
        ]);
        assert_eq!(ran.status, Some(0), "{}", ran.stderr);
        let s = ran.stdout;
        let n = s.chars().count();
        assert!(n < 60_000, "{n}");
        assert!(s.contains(title), "{s}");
        // The causes come first and explain nearly all; every finding of the folded table is counted.
        let at = s.find(title).unwrap();
        let groups: usize = s[at..]
            .lines()
            .skip_while(|l| !l.starts_with("|--:"))
            .skip(1)
            .take_while(|l| l.starts_with("| "))
            .take(5)
            .map(|l| l.split('|').nth(1).unwrap().trim().replace(',', "").parse::<usize>().unwrap())
            .sum();
        assert!(groups >= 2_900, "{groups}");
        let folded = s.split("<details><summary>All that would be").nth(1).unwrap();
        let rows =
            folded.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| Severity")).count();
        assert!(rows > 100, "{rows}");
        let more = format!("{} more findings in `--format json`.", (3_000 - rows) / 1000);
        let counted = folded.lines().find(|l| l.contains("more findings in")).unwrap_or(&more);
        assert_eq!(
            counted.replace(',', ""),
            format!("{} more findings in `--format json`.", 3_000 - rows)
        );
        assert_eq!(s.matches("<details>").count(), s.matches("</details>").count());
        if base == "base" {
            let shown: Vec<&str> =
                s.split("<details><summary>All").next().unwrap().lines().collect();
            insta::assert_snapshot!("many_markdown", shown.join("\n"));
        }
    }
    let ran = f.plan(&[]);
    insta::assert_snapshot!("many_text", ran.stdout);
}

#[test]
fn hostile_text_is_inert() {
    let f = kit::small();
    let head = |owner: &str, rules: &str| format!("version = 1\nowner = \"{owner}\"\n{rules}");
    let hostile = r#"\u001b[31m</details><script>alert(1)</script> @everyone #1 | `x` https://evil.example ![x](y)\u202e"#;
    let rule = |id: &str, more: &str| {
        format!(
            "[[allow]]\nid = \"{id}\"\nhosts = [\"198.51.100.0/26\"]\nports = [\"tcp/6379\", \"tcp/443\"]\nreason = \"{hostile}\"\n{more}\n"
        )
    };
    let http = format!(
        "[[allow_http]]\nid = \"http {hostile}\"\nhosts = [\"198.51.100.0/26\"]\nchecks = [\"{hostile}\"]\npaths = [\"/server-status\"]\nreason = \"{hostile}\"\n"
    );
    f.baseline("base", &head("@corp/hosting", &rule("stays", "")));
    let all = format!(
        "{}{}{http}",
        rule("stays", "broad = true"),
        rule(hostile, "").replace("/26", "/27")
    );
    f.baseline("head", &head(hostile, &all));
    let markdown = f.plan(&["--format", "markdown"]).stdout;
    assert!(markdown.contains("stays") && markdown.contains("alert"), "{markdown}");
    for line in
        markdown.lines().filter(|l| !l.starts_with("<details>") && !l.starts_with("</details>"))
    {
        let outside = outside_of_spans(line);
        for bad in ["<", "@", "#1", "://", "!["] {
            assert!(line == MARKER || !outside.contains(bad), "{bad}: {line}");
        }
    }
    for (i, out) in [
        f.plan(&[]).stdout,
        markdown,
        f.plan(&["--format", "json"]).stdout,
        f.run(&["baseline", "explain", "198.51.100.21:6379", "head", "--now", kit::NOW]).stdout,
        f.run(&["baseline", "explain", "198.51.100.21:6379", "head", "--now", kit::NOW, "--json"])
            .stdout,
    ]
    .iter()
    .enumerate()
    {
        assert!(out.len() > 100, "{i}: {out}");
        assert!(!out.contains('\u{1b}') && !out.contains('\u{202e}'), "{i}: {out}");
    }
    let ran = f.run(&["baseline", "explain", "\u{1b}[31m", "head"]);
    assert_eq!(ran.status, Some(2));
    assert!(!ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
}

const MARKER: &str = "<!-- mimawari-plan -->";

/// What stands outside of the code spans of a line, without what is escaped.
fn outside_of_spans(line: &str) -> String {
    let (mut out, mut in_span) = (String::new(), false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if !in_span => drop(chars.next()),
            '`' => in_span = !in_span,
            c if !in_span => out.push(c),
            _ => {}
        }
    }
    assert!(!in_span, "a span that does not end: {line}");
    out
}

/// Five thousand rules for one group, and forty-five thousand for single hosts of it.
fn wide(more: &str) -> String {
    use std::fmt::Write as _;
    let mut text =
        "version = 1\nowner = \"@corp/hosting\"\n[groups]\nedge = [\"198.18.0.0/15\"]\n".to_owned();
    for n in 0..5_000 {
        let _ = writeln!(
            text,
            "[[allow]]\nid = \"g{n}\"\ngroup = \"edge\"\nports = [\"tcp/{}\"]\nreason = \"x\"",
            10_000 + n
        );
    }
    for n in 0..45_000u32 {
        let host = std::net::Ipv4Addr::from(0xc612_0000 + n * 2);
        let _ = writeln!(
            text,
            "[[allow]]\nid = \"h{n}\"\nhosts = [\"{host}\"]\nports = [\"tcp/{}\"]\nreason = \"x\"",
            1 + n % 9_000
        );
    }
    text + more
}

/// Each rule once, and not once for each piece of the address space that others cut it into: that took
/// 3.4 GB. The limit is one of addresses, of which threads and the allocator take some hundred MiB.
#[test]
fn memory_is_bounded_by_the_rules_as_they_are_written() {
    let f = Fixture::new(CONFIG);
    kit::write(&f, "runs/r1", &[], Covered::All, |_, _| CellState::Closed);
    f.baseline("base", &wide(""));
    let new =
        "[[allow]]\nid = \"new\"\ngroup = \"edge\"\nports = [\"tcp/1-9999\"]\nreason = \"x\"\n";
    f.baseline("head", &wide(new));
    let program = env!("CARGO_BIN_EXE_mimawari-under-test");
    let ran = std::process::Command::new("/bin/sh")
        .args(["-c", "ulimit -v 1048576; exec \"$0\" \"$@\"", program, "baseline", "plan"])
        .args(["--base", "base", "--head", "head", "--run", "runs/r1", "--now", kit::NOW])
        .args(["--format", "json"])
        .current_dir(f.path(""))
        .env_clear()
        .env("MALLOC_ARENA_MAX", "2")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let impact: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    // Every host rule allowed one of the ports already.
    let cells = (1u64 << 17) * 9_999 - 45_000;
    assert_eq!(impact["newly_allowed"]["cells"], cells);
}
