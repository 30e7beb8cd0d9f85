use proptest::prelude::*;

use super::*;
use crate::baseline::Baseline;

#[track_caller]
fn formatted(text: &str) -> String {
    let once = format(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(format(&once).unwrap_or_else(|e| panic!("{e}\n{once}")), once, "twice\n{text}");
    assert_eq!(collect_comment_texts(text), collect_comment_texts(&once));
    assert_eq!(meaning(text), meaning(&once), "{text}\n{once}");
    once
}

/// What the rules of a file say, whatever their order.
pub(in crate::edit) fn meaning(text: &str) -> Option<Vec<String>> {
    let (b, _) = Baseline::parse(&[("f".to_owned(), text.to_owned())]).ok()?;
    let sorted = |v: &[String]| {
        let mut v = v.to_vec();
        v.sort();
        v.dedup();
        v
    };
    let head = |h: &crate::baseline::RuleHead| {
        let addrs: Vec<String> = h.addrs.ranges().map(|r| r.to_string()).collect();
        std::format!("{} {} {addrs:?} {:?} {:?}", h.id, h.owner, h.reason, h.ends)
    };
    let rules = b
        .rules()
        .iter()
        .map(|r| std::format!("{} {} {} {:?} {}", head(&r.head), r.tcp, r.udp, r.expect, r.broad));
    let http = b
        .http_rules()
        .iter()
        .map(|r| std::format!("{} {:?} {:?}", head(&r.head), sorted(&r.checks), sorted(&r.paths)));
    Some(sorted(&rules.chain(http).collect::<Vec<_>>()))
}

#[test]
fn the_canonical_form() {
    let text = r#"#:schema https://example.invalid/mimawari/baseline.v1.json
# The team's file.

# about the owner
owner = '@corp/hosting' # who
version = 1
# below the top

# --- mail ---

# about mail
[[allow]] # header
reason = "x" # why
# about the ports
ports = [ # opening
  # the web
  "tcp/443", # tls
  "tcp/80", "udp/53", # dns
  "tcp/80",  # again
  # tail
] # behind the list
hosts = ["192.0.2.100", "192.0.2.9", "2001:DB8::1", "192.0.2.9-192.0.2.9", "192.0.2.64-192.0.2.127"]
id = "mail"
# below mail

[[allow_http]]
paths = ["/b", "/a"]
id = "h"
hosts = ["192.0.2.1"]
reason = """
two
lines"""
expires = 2026-12-31
[groups]
b = ["198.51.100.0/24"]
"a b" = ["192.0.2.2"]
# about the small
[[allow]]
id = "small"
group = "a b"
expect = "must"
ports = ["tcp/9", "tcp/10-20", "tcp/100"]
reason = "r"

# the end
"#;
    insta::assert_snapshot!(formatted(text));
}

#[test]
fn other_ways_to_write_the_same() {
    let text = r#"version = 1 # v
# g
groups.b = ["192.0.2.9", # nine
 "192.0.2.1"] # b
owner = "x"
groups.a = ["192.0.2.200"]
# before the rules
allow = [ # open
  # first
  { id = "z", hosts = ["192.0.2.3"], ports = ["tcp/1"], reason = "r" }, # z
  { id = "y", # id
    hosts = ["192.0.2.2" # two
    ], # hosts
    ports = ["tcp/1"], reason = "r", }, # y
  # tail
] # rules
# after the rules
allow_http = [
  # nothing yet
]
"#;
    insta::assert_snapshot!(formatted(text));
}

#[test]
fn long_lists_are_written_one_item_a_line() {
    let hosts: Vec<String> = (0..40).rev().map(|i| std::format!("\"192.0.2.{}\"", i * 2)).collect();
    let text = std::format!(
        "version = 1\nowner = \"x\"\n[groups]\ng = [{}]\nempty = [\n\n]\n",
        hosts.join(",")
    );
    let once = formatted(&text);
    assert!(once.contains("g = [\n    \"192.0.2.0\",\n    \"192.0.2.2\",\n"), "{once}");
    assert!(once.ends_with("    \"192.0.2.78\",\n]\nempty = []\n"), "{once}");
}

#[test]
fn crlf_and_a_byte_order_mark() {
    let text = "\u{feff}# head\r\n\r\nversion = 1\r\nowner = \"x\"\r\n\r\n# one\r\n[[allow]]\r\nid = \"a\"\r\nports = [\"tcp/1\"] # p\r\nhosts = [\"192.0.2.1\"]\r\nreason = \"\"\"a\r\nb\"\"\"\r\n";
    let once = formatted(text);
    assert!(
        once.starts_with("# head\n\nversion = 1\nowner = \"x\"\n\n# one\n[[allow]]\n"),
        "{once}"
    );
}

#[test]
fn what_cannot_be_read_is_told_with_its_line() {
    let refused = |text: &str| format(text).unwrap_err().to_string();
    let start = "version = 1\nowner = \"x\"\n";
    for (text, wanted) in [
        ("version = 1\nowner = ", "--> baseline:2:"),
        ("version = 2\nowner = \"x\"\n", "version 2 is not known"),
        ("owner = \"x\"\n", "the key `version` is missing"),
        (&std::format!("{start}ownr = 1\n"), "unknown key `ownr`"),
        (&std::format!("{start}[groups]\na = [\"192.0.2.1/24\"]\n"), "--> baseline:4:6"),
        (
            &std::format!("{start}[[allow]]\nid=\"a\"\nhosts=[]\nports=[\"443\"]\nreason=\"\"\n"),
            "`443` is not a protocol and a port",
        ),
    ] {
        let error = refused(text);
        assert!(error.contains(wanted), "{text}\n{error}");
    }
}

/// One mangled file: rules in any order, keys in any order, comments anywhere, lists in any form.
pub(in crate::edit) fn file() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec!["", "", "", "# one", "# two \" [", "#", "#:x", "# '''"]);
    let comment = word.prop_map(str::to_owned);
    let gap = prop::sample::select(vec![
        "",
        "",
        "\n",
        "\n\n",
        "# own\n",
        "\n# own\n",
        "# own\n\n",
        "# a\n# b\n\n# c\n",
    ]);
    let host = prop_oneof![
        (0u8..12).prop_map(|n| std::format!("192.0.2.{n}")),
        (0u8..4, 28u8..31).prop_map(|(n, p)| std::format!("192.0.2.{}/{p}", n * 16)),
        (0u8..12).prop_map(|n| std::format!("2001:DB8:0::{n:x}")),
        (1u8..5).prop_map(|n| std::format!("192.0.2.{n}-192.0.2.{}", n + 9)),
    ];
    let port = (prop::sample::select(vec!["tcp", "udp"]), 1u16..200, 0u16..3).prop_map(
        |(proto, p, more)| {
            if more == 0 {
                std::format!("{proto}/{p}")
            } else {
                std::format!("{proto}/{p}-{}", p + more)
            }
        },
    );
    fn list(
        item: impl Strategy<Value = String>,
        comment: impl Strategy<Value = String> + Clone,
    ) -> impl Strategy<Value = String> {
        let element = (item, comment.clone(), comment.clone(), any::<bool>());
        (prop::collection::vec(element, 1..6), comment.clone(), comment).prop_map(
            |(all, open, tail)| {
                let mut out = String::from("[");
                if !open.is_empty() {
                    out += &std::format!(" {open}\n");
                }
                for (item, above, behind, before_comma) in all {
                    if !above.is_empty() {
                        out += &std::format!("\n {above}\n");
                    }
                    if before_comma && !behind.is_empty() {
                        out += &std::format!("\"{item}\" {behind}\n,");
                    } else if behind.is_empty() {
                        out += &std::format!("\"{item}\", ");
                    } else {
                        out += &std::format!("'{item}', {behind}\n");
                    }
                }
                if !tail.is_empty() {
                    out += &std::format!("\n{tail}\n");
                }
                out + "]"
            },
        )
    }
    let rule = (
        prop::sample::select(vec!["allow", "allow_http"]),
        list(host.clone(), comment.clone()),
        list(port, comment.clone()),
        any::<u8>(),
        prop::collection::vec((gap.clone(), comment.clone()), 7),
        prop::sample::select(vec!["\"r\"", "'r # no'", "\"\"\"a\n# no\n\"\"\"", "\"\""]),
        (any::<bool>(), any::<bool>(), gap.clone()),
    );
    let rules = prop::collection::vec(rule, 0..6);
    let groups = prop::option::of((
        list(host, comment.clone()),
        prop::sample::select(vec!["[groups]\nedge = ", "[groups] # h\n# in\n\"edge\" = "]),
        any::<bool>(),
    ));
    (rules, groups, comment, prop::collection::vec(gap, 5)).prop_map(
        |(rules, groups, comment, gaps)| {
            let mut tables = Vec::new();
            let grouped = groups.is_some();
            for (i, (kind, hosts, ports, turn, gaps, reason, (expires, group, tail))) in
                rules.into_iter().enumerate()
            {
                let mut keys = vec![
                    std::format!("id = \"r{}\"", (i * 7) % 11),
                    std::format!("hosts = {hosts}"),
                    std::format!("reason = {reason}"),
                ];
                keys.push(match kind {
                    "allow" => std::format!("ports = {ports}"),
                    _ => "paths = [\"/b\", '/a', \"/b\"]".to_owned(),
                });
                if expires {
                    keys.push("expires = 2026-12-31".to_owned());
                }
                if group && grouped {
                    keys.push("group = \"edge\"".to_owned());
                }
                let n = keys.len();
                keys.rotate_left(usize::from(turn) % n);
                let mut table = std::format!("{}[[{kind}]] {}\n", gaps[0].0, gaps[0].1);
                for (key, (gap, behind)) in keys.iter().zip(&gaps[1..]) {
                    table += &std::format!("{gap}  {key} {behind}\n");
                }
                tables.push(table + tail);
            }
            if let Some((hosts, start, first)) = groups {
                let table = std::format!("{}{start}{hosts}\n", gaps[3]);
                if first { tables.insert(0, table) } else { tables.push(table) }
            }
            std::format!(
                "{}owner = 'x' {comment}\n{}version = 1\n{}{}{}",
                gaps[0],
                gaps[1],
                gaps[2],
                tables.concat(),
                gaps[4]
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn formatting_is_idempotent_and_loses_nothing(text in file()) {
        prop_assume!(FileLayout::read(&TextSource::new("f", text.as_str())).is_ok());
        formatted(&text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]{}#\"'=,\n a-z0-9./]{0,80}") {
        let _ = format(&std::format!("version = 1\nowner = \"x\"\n{text}"));
    }
}
