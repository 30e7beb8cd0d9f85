//! Templates of nuclei as checks of one's own. All of them are written for this test.

use mimawari_tests::fake::{Answer, Body, FakeSite, Fallback, Form};

use super::desk::Desk;

/// What each stands for, and the template.
const IMPORTED: [(&str, &str); 7] = [
    (
        "words, a status and a part",
        "id: corp-backup\ninfo:\n  name: Backup of the portal\n  author: tester\n  severity: high\n  \
         description: |\n    A copy of the portal.\n    It holds passwords.\n  remediation: Delete it.\n\
         http:\n  - method: GET\n    path:\n      - '{{BaseURL}}/portal.bak'\n      \
         - '{{BaseURL}}/old/portal.bak'\n    stop-at-first-match: true\n    matchers-condition: and\n    \
         matchers:\n      - type: word\n        words: ['portal_version', 'portal_secret']\n        \
         condition: and\n      - type: word\n        part: header\n        words: ['text/html']\n        \
         negative: true\n      - type: status\n        status: [200]\n    extractors:\n      \
         - type: regex\n        regex: ['v[0-9]+']\n",
    ),
    (
        "the old name, one expression or another",
        "id: corp-console\ninfo: {name: Console, author: x, severity: medium}\nrequests:\n  \
         - path: ['{{BaseURL}}/console?x=1']\n    matchers:\n      - type: regex\n        regex:\n          \
         - '(?i)console build [0-9]+'\n          - 'konsole-[a-z]{4}'\n",
    ),
    (
        "a raw request, no case, any status",
        "id: corp-raw\ninfo: {name: Raw, severity: low}\nhttp:\n  - raw:\n      - |\n        \
         GET /raw/page HTTP/1.1\n        Host: {{Hostname}}\n        Accept: */*\n\n    \
         matchers-condition: and\n    matchers:\n      - type: word\n        case-insensitive: true\n        \
         words: [CorpRawMark]\n      - type: status\n        status: [403, 500]\n",
    ),
    (
        "bytes and a field",
        "id: corp-bytes\ninfo: {name: Bytes, severity: critical}\nhttp:\n  - path: ['{{RootURL}}/b.bin']\n    \
         matchers-condition: and\n    matchers:\n      - type: binary\n        binary: ['C0FFEE00']\n      \
         - type: word\n        part: content_type\n        words: [octet-stream]\n",
    ),
    (
        "a list of names",
        "id: corp-list\ninfo: {name: List, severity: info}\nhttp:\n  - method: GET\n    \
         path: ['{{BaseURL}}/{{name}}.cfg']\n    payloads:\n      name: [one, 'two three']\n    \
         threads: 5\n    matchers:\n      - type: word\n        words: ['corp_list_mark']\n",
    ),
    (
        "an extractor alone, a brace, a range",
        "id: corp-extract\ninfo: {name: Extract, severity: low}\nhttp:\n  - path: ['{{BaseURL}}/x.json']\n    \
         headers: {Range: 'bytes=0-99'}\n    extractors:\n      - type: regex\n        \
         regex: ['{\"corp_mark\": ?\"[a-z]{4}\"']\n",
    ),
    (
        "the page of the site itself",
        "id: corp-root\ninfo: {name: Setup, severity: high}\nhttp:\n  - path: ['{{BaseURL}}']\n    \
         matchers:\n      - type: word\n        words: ['corp setup wizard']\n",
    ),
];

/// What is refused, and the reason.
const REFUSED: [(&str, &str); 14] = [
    (
        "id: a\ninfo: {name: a}\nhttp:\n  - method: POST\n    path: ['{{BaseURL}}/']\n    body: x\n",
        "has `body`",
    ),
    (
        "id: a\ninfo: {name: a}\nhttp:\n  - method: HEAD\n    path: ['{{BaseURL}}/']\n",
        "requests with HEAD",
    ),
    ("id: a\ninfo: {name: a}\ndns:\n  - name: x\n", "is about `dns`"),
    ("id: a\ninfo: {name: a}\nflow: http(1)\nhttp:\n  - path: ['{{BaseURL}}/']\n", "has `flow`"),
    (
        "id: a\ninfo: {name: a}\nhttp:\n  - path: ['{{BaseURL}}/a']\n    matchers:\n      - type: dsl\n        dsl: ['len(body) > 3']\n",
        "uses the matcher `dsl`",
    ),
    (
        "id: a\ninfo: {name: a}\nhttp:\n  - path: ['{{BaseURL}}/a']\n    matchers:\n      - type: status\n        status: [200]\n",
        "nothing but the status",
    ),
    (
        "id: a\ninfo: {name: a}\nhttp:\n  - path: ['{{BaseURL}}/a']\n    headers: {X-Api: 1}\n    matchers:\n      - type: word\n        words: [b]\n",
        "sends the header field `x-api`",
    ),
    (
        "id: a\ninfo: {name: a}\nhttp:\n  - path: ['{{BaseURL}}:8080/a']\n    matchers:\n      - type: word\n        words: [b]\n",
        "another port or host",
    ),
    (
        "id: a\ninfo: {name: a}\nhttp:\n  - path: ['http://192.0.2.1/a']\n    matchers:\n      - type: word\n        words: [b]\n",
        "another place than a path of the site",
    ),
    (
        "id: a\ninfo: {name: a}\nhttp:\n  - path: ['{{BaseURL}}/{{rand_base(5)}}']\n    matchers:\n      - type: word\n        words: [b]\n",
        "makes its path by an expression",
    ),
    (
        "id: a\ninfo: {name: a}\nhttp:\n  - path: ['{{BaseURL}}/a']\n    matchers:\n      - type: regex\n        regex: ['(a']\n",
        "is not understood",
    ),
    (
        "id: a\ninfo: {name: a}\nhttp:\n  - path: ['{{BaseURL}}/a']\n    matchers:\n      - type: regex\n        regex: ['a*']\n",
        "true of an empty answer",
    ),
    (
        "id: a\ninfo: {name: a}\nhttp:\n  - path: ['{{BaseURL}}/a']\n    matchers:\n      - type: word\n        part: interactsh_protocol\n        words: [b]\n",
        "looks at the part `interactsh_protocol`",
    ),
    ("id: [a\n", "cannot be read as YAML"),
];

fn desk() -> Desk {
    Desk::new(&["127.0.0.1:9".parse().expect("an address")], "", "")
}

#[test]
fn plain_templates_become_checks_that_find_the_same() {
    let portal = "portal_version = 3\nportal_secret = visibly-fake\n";
    let bytes = b"\x00\x01\xc0\xff\xee\x00end".to_vec();
    let typed = |a: Answer, kind: &str| a.form(Form::Untyped).header("Content-Type", kind);
    let server = FakeSite::new()
        .route("/old/portal.bak", typed(Answer::ok(portal), "text/plain"))
        .route("/console?x=1", Answer::ok("<p>Console Build 12</p>"))
        .route("/raw/page", Answer::status(403).body(Body::Bytes(b"<b>corprawmark</b>".to_vec())))
        .route("/b.bin", typed(Answer::ok(bytes), "application/octet-stream"))
        .route("/two%20three.cfg", Answer::ok("corp_list_mark"))
        .route("/x.json", Answer::ok("{\"corp_mark\": \"abcd\"}"))
        .route("/", Answer::ok("<title>x</title>corp setup wizard"))
        .start()
        .expect("a site");
    let desk = Desk::new(&[server.address()], "", "tier = 2\nchecks = [\"own.toml\"]");
    for (n, (_, text)) in IMPORTED.iter().enumerate() {
        desk.write(&format!("templates/exposures/{n}.yaml"), text);
    }
    desk.write("templates/notes.yaml", "just: notes\n");
    let ran = desk.run(&["checks", "import", "templates", "--out", "own.toml"]);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("imported 7 of 7 templates: 7 checks, 9 paths"), "{}", ran.stderr);
    assert!(ran.stderr.contains("1 other files are no templates"), "{}", ran.stderr);
    let shown = desk.run(&["checks", "show", "nuclei-corp-backup", "--checks", "own.toml"]);
    assert_eq!(shown.status, Some(0), "{}", shown.stderr);
    assert!(shown.stdout.contains("A copy of the portal. It holds passwords."), "{}", shown.stdout);
    let patrol = desk.patrol("r1", &[]);
    let found: Vec<String> =
        patrol.paths("exposed").into_iter().filter(|p| p.contains("nuclei-")).collect();
    assert_eq!(
        found,
        [
            "- / nuclei-corp-root",
            "- /b.bin nuclei-corp-bytes",
            "- /console?x=1 nuclei-corp-console",
            "- /old/portal.bak nuclei-corp-backup",
            "- /raw/page nuclei-corp-raw",
            "- /two%20three.cfg nuclei-corp-list",
            "- /x.json nuclei-corp-extract",
        ],
        "{}",
        patrol.ran.stdout
    );
}

/// Words prove less than a signature, and a page for every path holds them as well.
#[test]
fn a_page_for_every_path_is_no_finding_of_an_imported_check() {
    let page = "<p>{\"corp_mark\": \"abcd\"} portal_version portal_secret Console Build 12 konsole-abcd CorpRawMark</p>";
    let server =
        FakeSite::new().fallback(Fallback::Always(Answer::ok(page))).start().expect("a site");
    let desk = Desk::new(&[server.address()], "", "tier = 2\nchecks = [\"own.toml\"]");
    for (n, (_, text)) in IMPORTED.iter().enumerate() {
        desk.write(&format!("t/{n}.yml"), text);
    }
    assert_eq!(desk.run(&["checks", "import", "t", "--out", "own.toml"]).status, Some(0));
    let patrol = desk.patrol("r1", &[]);
    assert!(patrol.paths("exposed").is_empty(), "{:?}", patrol.paths("exposed"));
}

#[test]
fn what_cannot_be_imported_is_named_with_the_reason() {
    for (text, reason) in REFUSED {
        let desk = desk();
        desk.write("bad.yaml", text);
        let ran = desk.run(&["checks", "import", "bad.yaml"]);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{text}");
        let named = format!("not imported: bad.yaml {reason}");
        let found = ran.stderr.contains("bad.yaml") && ran.stderr.contains(reason);
        assert!(found, "{named}\n{}", ran.stderr);
        // Beside one that can, it does not get lost.
        desk.write("good.yaml", IMPORTED[1].1);
        let ran = desk.run(&["checks", "import", "good.yaml", "bad.yaml"]);
        assert_eq!(ran.status, Some(3), "{}", ran.stderr);
        assert!(ran.stdout.contains("id = \"nuclei-corp-console\""), "{}", ran.stdout);
        assert!(ran.stderr.contains("imported 1 of 2 templates"), "{}", ran.stderr);
        assert!(ran.stderr.contains(reason), "{}", ran.stderr);
    }
}

/// Aliases that would grow to gigabytes, nesting without end, and what is no text.
#[test]
fn hostile_templates_do_no_harm() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..12 {
        let before = vec![format!("*a{}", n - 1); 10].join(", ");
        bomb.push_str(&format!("a{n}: &a{n} [{before}]\n"));
    }
    let desk = desk();
    desk.write("bomb.yaml", bomb);
    desk.write("deep.yaml", "[".repeat(200_000));
    desk.write("bytes.yaml", [0xff, 0xfe, 0x00]);
    desk.write("escape.yaml", "id: a\ninfo: {name: a}\nhttp:\n  - \"\\e[31mx\": 1\n");
    for file in ["bomb.yaml", "deep.yaml", "bytes.yaml", "escape.yaml"] {
        let ran = desk.run(&["checks", "import", file]);
        assert_eq!(ran.status, Some(2), "{file}: {}", ran.stderr);
        assert!(!ran.stderr.contains('\u{1b}'), "{file}: {}", ran.stderr);
    }
}
