//! Checks of the user's own.

use mimawari_tests::fake::{Answer, FakeSite};

use super::desk::Desk;

const GOOD: &str = r#"version = 1

[[check]]
id = "corp-settings"
title = "Settings of the portal in the document root"
severity = "high"
why = "The password of its database is in it."
remedy = "Deny the file in the server, and change the password."
signature = "a [portal] section with a database password"
paths.1 = ["/portal/settings.ini"]
paths.3 = ["/{old,backup}/settings.ini", "/{label}.ini"]

[[check.rule]]
as = "text"
where = [
    { line = '(?P<shown>\[portal\])' },
    { line = 'db_pass\s*=\s*(?P<secret>\S+)' },
]

[[check.hit]]
text = "[portal]\ndb_pass = not-a-real-one\n"
[[check.miss]]
text = "[portal]\ntheme = dark\n"
"#;

fn desk() -> Desk {
    let nowhere = "127.0.0.1:9".parse().expect("an address");
    Desk::new(&[nowhere], "", "checks = [\"own.toml\"]")
}

#[test]
fn a_file_of_checks_is_listed_shown_and_looked_for() {
    let text = "[portal]\ndb_pass = visibly-fake\n";
    let server = FakeSite::new()
        .route("/portal/settings.ini", Answer::ok(text))
        .route("/backup/settings.ini", Answer::ok(text))
        .start()
        .expect("a site");
    let desk = Desk::new(&[server.address()], "", "checks = [\"own.toml\"]");
    desk.write("own.toml", GOOD);
    let patrol = desk.patrol("r1", &[]);
    assert_eq!(patrol.ran.status, Some(1), "{}", patrol.ran.stderr);
    assert_eq!(patrol.paths("exposed"), ["- /portal/settings.ini corp-settings"]);
    for words in ["corp-settings", "Settings of the portal", "and change the password"] {
        assert!(patrol.ran.stdout.contains(words), "{words}: {}", patrol.ran.stdout);
    }
    let patrol = desk.patrol("r2", &["--tier", "3"]);
    let both = ["- /backup/settings.ini corp-settings", "- /portal/settings.ini corp-settings"];
    assert_eq!(patrol.paths("exposed"), both);
    // The baseline knows it by its name.
    let rule = format!(
        "[[allow_http]]\nid = \"s\"\nhosts = [\"{}\"]\nchecks = [\"corp-settings\"]\nreason = \"x\"\n",
        server.address().ip()
    );
    desk.append("baseline/web.toml", &rule);
    assert_eq!(desk.patrol("r3", &[]).ran.status, Some(0));

    let shown = desk.run(&["checks", "show", "corp-settings", "--checks", "own.toml"]);
    assert_eq!(shown.status, Some(0), "{}", shown.stderr);
    insta::assert_snapshot!("own_check", shown.stdout);
    let list = desk.run(&["checks", "list", "--checks", "own.toml"]).stdout;
    assert!(list.contains("corp-settings"), "{list}");
    assert!(!desk.run(&["checks", "list"]).stdout.contains("corp-settings"));
    // The titles stand under each other, and nothing is wider than its column.
    let at = list.find("title").expect("the columns' names");
    for line in list.lines() {
        let before = &line[..at];
        assert!(before.ends_with("  ") && !line[at..].starts_with(' '), "{line}");
    }
}

/// What is said of a text instead of [`GOOD`].
fn refused(desk: &Desk, text: &str) -> String {
    desk.write("own.toml", text);
    let ran = desk.run(&["checks", "list", "--checks", "own.toml"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{text}");
    assert!(ran.stderr.contains("own.toml:") && ran.stderr.contains("help:"), "{}", ran.stderr);
    ran.stderr
}

#[test]
fn every_mistake_is_reported_with_its_line_and_its_remedy() {
    let desk = desk();
    let mut messages = String::new();
    let line = r"{ line = '(?P<shown>\[portal\])' }";
    for (from, to) in [
        ("version = 1\n", ""),
        ("version = 1", "version = 2"),
        ("severity", "serverity"),
        ("\"high\"", "\"hihg\""),
        ("\"high\"", "3"),
        ("corp-settings", "Corp Settings"),
        ("corp-settings", "git-config"),
        ("why = \"The password of its database is in it.\"\n", ""),
        ("\"Deny the file in the server, and change the password.\"", "\"\""),
        ("paths.1", "paths.4"),
        ("paths.1 = [\"/portal/settings.ini\"]", "paths.1 = \"/portal/settings.ini\""),
        ("\"/portal/settings.ini\"", "\"portal/settings.ini\""),
        ("/{label}.ini", "/{lable}.ini"),
        ("/{label}.ini", "/a b.ini"),
        ("as = \"text\"", "as = \"txt\""),
        ("as = \"text\"\n", ""),
        (line, "{ lnie = 'x' }"),
        (line, "{ line = 'x', has = 'y' }"),
        (line, "{ nocase = true }"),
        (line, "{ has = 'x', min = 2 }"),
        (line, "{ line = '(?P<shown>[portal' }"),
        (line, "{ find = 'x*' }"),
        (line, "{ key = 'type' }"),
        (line, "{ key = '/type' }"),
        (line, "{ hex = '1f 8' }"),
        (line, "{ shape = 'dot-env' }"),
        (line, "{ any = [] }"),
        ("text = \"[portal]\\ndb_pass = not-a-real-one\\n\"", "txt = \"[portal]\""),
        ("text = \"[portal]\\ndb_pass = not-a-real-one\\n\"", "text = 5"),
        ("not-a-real-one", ""),
        ("theme = dark", "db_pass = x"),
        ("[[check.hit]]\n", "[[check.hit]]\nseverity = \"low\"\n"),
        ("[[check.hit]]\n", "[[check.hit]]\nlabel = \"review\"\n"),
        ("[[check.rule]]", "[[check.rules]]"),
        ("title = \"Settings", "title = Settings"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let text = GOOD.replacen(from, to, 1);
        messages += &format!("### {from} -> {to}\n{}\n", refused(&desk, &text));
    }
    let twice = format!("{GOOD}{}", GOOD.replace("version = 1\n", ""));
    messages += &format!("### the same check twice\n{}\n", refused(&desk, &twice));
    insta::assert_snapshot!("mistakes", messages);
}

#[test]
fn all_mistakes_of_a_file_are_reported_at_once() {
    let desk = desk();
    let text = GOOD.replace("paths.1", "paths.7").replace("\\S+)", "\\S+").replace("/{old", "{old");
    let message = refused(&desk, &text);
    assert_eq!(message.matches("error:").count(), 3, "{message}");
}

/// A run stops at it before a packet is sent.
#[test]
fn a_patrol_stops_at_a_mistake() {
    let server = FakeSite::new().start().expect("a site");
    let desk = Desk::new(&[server.address()], "", "checks = [\"own.toml\"]");
    let ran = desk.run(&["patrol"]);
    assert_eq!(ran.status, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot read the checks"), "{}", ran.stderr);
    desk.write("own.toml", GOOD.replace("paths.1", "paths.0"));
    let ran = desk.run(&["patrol"]);
    assert_eq!(ran.status, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("own.toml:10"), "{}", ran.stderr);
    assert_eq!(server.connections(), 0);
    desk.write("own.toml", b"\xff\xfeversion");
    let ran = desk.run(&["checks", "list", "--checks", "own.toml"]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.stderr.contains("UTF-16"), "{}", ran.stderr);
}
