//! Manifests: the format's errors, to whom the names may go, and what proves a file.

use std::io::BufReader;
use std::net::IpAddr;

use mimawari_probes::http::manifest::{
    FileClass, FileProof, Manifest, ManifestEntry, ManifestHeader, ManifestLine, PREFIX,
    parse_host_name,
};
use proptest::prelude::*;

const HEADER: &str = r#"{"v":1,"kind":"manifest","hosts":["Shop.example.jp"],"ips":[],"prefix":"/","made_at":"2026-11-24T06:00:00Z","program":"0.1.0"}"#;

fn of(name: &str, content: &[u8]) -> ManifestEntry {
    let prefix = &content[..content.len().min(PREFIX)];
    ManifestEntry::of(&format!("/{name}"), name.as_bytes(), content.len() as u64, prefix, &[])
}

fn read(text: &str) -> Result<Manifest, String> {
    Manifest::read("m.ndjson", text.as_bytes()).map_err(|d| {
        assert_eq!(d.0.len(), 1);
        assert!(d.0[0].help.is_some(), "{d}");
        format!("{}: {}", d.0[0].line(), d.0[0].title)
    })
}

fn file(path: &str, class: &str) -> String {
    format!(
        r#"{{"path":"{path}","length":9,"sha256":"{}","class":"{class}","what":"php"}}"#,
        "ab".repeat(32)
    )
}

fn manifest(hosts: &[&str], ips: &[&str]) -> Manifest {
    let header = serde_json::json!({
        "v": 1, "kind": "manifest", "hosts": hosts, "ips": ips, "prefix": "/",
        "made_at": "2026-11-24T06:00:00Z", "program": "0.1.0"
    });
    read(&format!("{header}\n{{\"kind\":\"end\",\"files\":0}}\n")).expect("a manifest")
}

#[test]
fn what_is_written_is_what_is_read() {
    let source =
        b"<?php\n$fake_user = 'visibly-fake';\n$fake_pass = 'visibly-fake';\ndefine('FAKE', 1);\n";
    let entries = [
        of("conn.php", source),
        of(".env", b"A=visibly-fake-value-here\n"),
        of("index.html", b"<p>hello</p>"),
        of("empty.php", b""),
    ];
    let header = ManifestHeader::new(
        vec!["shop.example.jp".into()],
        vec!["198.51.100.7".parse().unwrap(), "::ffff:198.51.100.8".parse().unwrap()],
        "/".into(),
        "2026-11-24T06:00:00Z".parse().unwrap(),
        "0.1.0",
    );
    let mut text = ManifestLine::Header(std::borrow::Cow::Borrowed(&header)).to_text().unwrap();
    for e in &entries {
        text += &ManifestLine::file(e).to_text().unwrap();
    }
    text += &ManifestLine::end(4, &["/locked/".to_owned()], 7).to_text().unwrap();
    let read = read(&text).expect("it is ours");
    assert_eq!(read.entries(), &entries[..2]);
    assert_eq!(entries[0].lines.len(), 3);
    assert_eq!((read.files(), read.unreadable()), (4, 7));
    assert_eq!(read.unreadable_paths(), ["/locked/"]);
    assert_eq!(read.hosts(), ["shop.example.jp"]);
    assert_eq!(read.made_at().to_string(), "2026-11-24T06:00:00Z");
    assert_eq!(read.ips()[1], "198.51.100.8".parse::<IpAddr>().unwrap());
    // No content goes into the file.
    assert!(!text.contains("visibly"), "{text}");
}

#[test]
fn each_mistake_is_told_with_its_line() {
    let end = "{\"kind\":\"end\",\"files\":1}\n";
    let f = |path: &str| file(path, "execute");
    let with = |line: &str| format!("{HEADER}\n{line}\n{end}");
    let cases = [
        (String::new(), "1: this manifest is empty"),
        ("hello\n".into(), "1: this is no manifest"),
        ("{\"kind\":\"run\"}\n".into(), "1: this is no manifest"),
        (
            HEADER.replace("\"v\":1", "\"v\":2"),
            "1: this manifest was written by a newer mimawari: it is of version 2, and this program reads version 1",
        ),
        (HEADER.replace("\"v\":1,", ""), "1: this manifest has no version"),
        (
            HEADER.replace("Shop.example.jp", "ショップ.jp"),
            "1: host `ショップ.jp` is not in ASCII; write the A-label form, such as xn--eckwd4c7c.example.jp",
        ),
        (
            HEADER.replace("\"Shop.example.jp\"", ""),
            "1: this manifest has neither hosts nor addresses, so its names may be sent nowhere",
        ),
        (
            HEADER.replace(r#""prefix":"/""#, r#""prefix":"/a""#),
            "1: the prefix is no folder of a URL",
        ),
        (
            HEADER.replace(r#""prefix":"/""#, r#""prefix":"/../""#),
            "1: the prefix is no folder of a URL",
        ),
        (format!("{HEADER}\n"), "1: this manifest was cut short: its last line is missing"),
        (
            format!("{HEADER}\n{}\n", f("/a.php")),
            "2: this manifest was cut short: its last line is missing",
        ),
        (format!("{HEADER}\n{}\n{{\"path\":\"/b", f("/a.php")), "3: this line was cut short"),
        (with(&f("a.php")), "2: this path does not begin with `/`"),
        (with(&f("/a b.php")), "2: this path is no percent-encoded path of a file"),
        (with(&f("/../a.php")), "2: this path is no percent-encoded path of a file"),
        (with(&f("/%2e%2e/a.php")), "2: this path is no percent-encoded path of a file"),
        (with(&f("/folder/")), "2: this path is no percent-encoded path of a file"),
        (
            with(&f(&format!("/{}", "a".repeat(13_000)))),
            "2: this path is no percent-encoded path of a file",
        ),
        (with(&f("/a.php").replace("abab", "xyxy")), "2: `sha256` is not 64 hexadecimal digits"),
        (with(&f("/a.php").replace("\"length\":9,", "")), "2: this line has no `length`"),
        (
            with(&f("/a.php").replace(":9,", ":-9,")),
            "2: this is no line of a manifest: invalid value: integer `-9`, expected u64",
        ),
        (
            with(&f("/a.php").replace("execute", "run")),
            "2: this is no line of a manifest: unknown variant `run`, expected one of `execute`, `deny`, `public`",
        ),
        (
            with(&f("/a.php").replace("}", r#","lines":["ab"]}"#)),
            "2: a digest of `lines` is not 16 hexadecimal digits",
        ),
        (
            with(&f("/a.php").replace("\"php\"", &format!("\"{}\"", "x".repeat(70)))),
            "2: `what` is over 64 bytes",
        ),
        (
            with(&f("/a.php").replace("\"php\"", &format!("\"{}\"", "x".repeat(70_000)))),
            "2: this line is over 64 KiB",
        ),
        (
            format!("{HEADER}\n{}\n\n{}\n{}\n{end}", f("/a.php"), f("/b.php"), f("/a.php"))
                .replace(":1}\n", ":3}\n"),
            "5: this path is on line 2 already",
        ),
        (
            format!("{HEADER}\n{end}"),
            "2: 0 files are in this manifest, and its end says another number",
        ),
        (
            format!("{HEADER}\n{}\n{end}{HEADER}\n", f("/a.php")),
            "4: something stands behind the end of this manifest",
        ),
        (
            format!("{HEADER}\n{HEADER}\n{end}"),
            "2: only the first line may begin a manifest, and only the last may end it",
        ),
        (
            with("[]"),
            "2: this is no line of a manifest: invalid length 0, expected struct ManifestRow with 11 elements",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(read(&text).map(|_| ()), Err(expected.to_owned()));
    }
    let under = HEADER.replace(r#""prefix":"/""#, r#""prefix":"/shop/""#);
    assert_eq!(
        read(&format!("{under}\n{}\n{end}", f("/a.php"))).map(|_| ()),
        Err("2: this path does not lie below the prefix /shop/".into())
    );
    assert!(read(&format!("{under}\n{}\n{end}", f("/shop/a.php"))).is_ok());
    // Line ends and a byte order mark that editors leave, and keys of later releases.
    let edited = with(&f("/a.php").replace('}', r#","new":1}"#)).replace('\n', "\r\n");
    assert!(read(&format!("\u{feff}{edited}")).is_ok());
}

#[test]
fn a_message_shows_no_digest() {
    let bad = format!("{HEADER}\n{}\n", file("no-slash", "deny"));
    let text = Manifest::read("m", bad.as_bytes()).unwrap_err().to_string();
    assert!(text.contains("no-slash") && !text.contains("abab"), "{text}");
}

#[test]
fn memory_is_bounded_whatever_comes() {
    /// Never ends, and never has a line feed.
    struct Endless;
    impl std::io::Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            buffer.fill(b'a');
            Ok(buffer.len())
        }
    }
    let e = Manifest::read("m", BufReader::new(Endless)).unwrap_err();
    assert_eq!(e.0[0].title, "this line is over 16384 KiB");
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("disk"))
        }
    }
    let e = Manifest::read("m", BufReader::new(Broken)).unwrap_err();
    assert_eq!(e.0[0].title, "cannot read on: disk");
}

#[test]
fn more_files_than_a_manifest_may_have_are_refused() {
    // Made as it is read, so that nothing of the text stays. Public files do not count.
    let lines = std::iter::once(format!("{HEADER}\n"))
        .chain((0..10).map(|i| file(&format!("/p{i}"), "public") + "\n"))
        .chain((0..=1_000_000).map(|i| file(&format!("/{i}"), "deny") + "\n"));
    let e = Manifest::read("m", BufReader::new(Generated { lines, rest: Vec::new() })).unwrap_err();
    assert_eq!(e.0[0].line(), 1_000_012);
    assert_eq!(e.0[0].title, "this manifest has over 1000000 files to be executed or denied");
}

struct Generated<I> {
    lines: I,
    rest: Vec<u8>,
}

impl<I: Iterator<Item = String>> std::io::Read for Generated<I> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.rest.is_empty() {
            self.rest = self.lines.next().unwrap_or_default().into_bytes();
        }
        let n = self.rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.rest[..n]);
        self.rest.drain(..n);
        Ok(n)
    }
}

#[test]
fn names_go_to_their_own_host_only() {
    let ip = |s: &str| s.parse::<IpAddr>().unwrap();
    let (here, there) = (ip("198.51.100.7"), ip("198.51.100.8"));

    let m = manifest(&["shop.example.jp", "WWW.shop.example.jp."], &[]);
    assert!(m.concerns(Some("shop.example.jp"), here));
    assert!(m.concerns(Some("SHOP.Example.jp."), there));
    assert!(m.concerns(Some("www.shop.example.jp"), there));
    for other in ["example.jp", "a.shop.example.jp", "shop.example.jp.evil.example", "", "shop"] {
        assert!(!m.concerns(Some(other), here), "{other}");
    }
    // The address itself serves whichever site is its default.
    assert!(!m.concerns(None, here));

    let m = manifest(&["shop.example.jp"], &["198.51.100.7", "2001:db8::7"]);
    assert!(m.concerns(Some("shop.example.jp"), here));
    assert!(m.concerns(Some("shop.example.jp"), ip("::ffff:198.51.100.7")));
    assert!(m.concerns(Some("shop.example.jp"), ip("2001:db8:0:0::7")));
    assert!(!m.concerns(Some("shop.example.jp"), there));
    assert!(!m.concerns(None, here));

    let m = manifest(&[], &["198.51.100.7"]);
    assert!(m.concerns(None, here));
    assert!(!m.concerns(None, there));
    assert!(!m.concerns(Some("shop.example.jp"), here));
}

#[test]
fn host_names() {
    assert_eq!(parse_host_name("Shop.Example.JP.").as_deref(), Ok("shop.example.jp"));
    assert!(parse_host_name("a_b.example").is_ok());
    for bad in [
        "",
        "a b",
        "a:80",
        "http://a/",
        "*.a.example",
        "198.51.100.7",
        "[::1]",
        "1.2.3",
        "-a",
        "パ",
    ] {
        assert!(parse_host_name(bad).is_err(), "{bad}");
    }
}

const SOURCE: &[u8] = b"<?php\n// settings\n$fake_user = 'shop';\n$fake_pass = 'visibly-fake';\nif ($x) {\n  $y = 1;\n}\ndefine('FAKE_DB', 'shop');\n";

#[test]
fn the_file_itself_is_proof() {
    let e = of("conn.php", SOURCE);
    assert_eq!((e.class, &*e.what), (FileClass::Execute, "php"));
    assert_eq!(e.proven(SOURCE, false), Some(FileProof::SameBytes));
    // Of a file that is not code, nothing but the whole counts as the same bytes.
    let image = [&b"\x89PNG\0"[..], &[7; 5000]].concat();
    let e = of("a.png.bak", &image);
    assert_eq!(e.class, FileClass::Deny);
    assert_eq!(e.proven(&image, false), Some(FileProof::SameBytes));
    assert_eq!(e.proven(&image, true), None, "there is more of it");
    assert_eq!(e.proven(&image[1..], false), None);
    assert_eq!(e.proven(&[&image[..], b"x"].concat(), false), None);
}

#[test]
fn of_a_large_file_the_first_64_kib_are() {
    let large: Vec<u8> = (0..PREFIX * 3).map(|i| (i * 31 % 251) as u8).collect();
    let e = of("a.db", &large);
    assert_eq!(e.length, 3 * PREFIX as u64);
    for (body, truncated) in
        [(&large[..PREFIX], true), (&large[..PREFIX + 9], true), (&large[..], false)]
    {
        assert_eq!(e.proven(body, truncated), Some(FileProof::SameBytes));
    }
    assert_eq!(e.proven(&large[..PREFIX - 1], true), None);
    let exact = of("b.db", &large[..PREFIX]);
    assert_eq!(exact.proven(&large[..PREFIX], false), Some(FileProof::SameBytes));
}

#[test]
fn the_source_is_known_again_however_it_was_changed() {
    let e = of("conn.php", SOURCE);
    let text = String::from_utf8(SOURCE.to_vec()).unwrap();
    let forms = [
        text.replace('\n', "\r\n"),
        text.replace('\n', "\r"),
        format!("\u{feff}{text}"),
        format!("<!-- added by a proxy -->\n{text}<script>counter()</script>"),
        format!("<div>added</div>{text}"),
        text.replace("    ", "\t").replace('\n', "  \n"),
        // A part of it is enough.
        text.lines().skip(1).map(|l| format!("{l}\n")).collect::<String>() + "<?php",
    ];
    for form in forms {
        assert!(e.proven(form.as_bytes(), false).is_some(), "{form:?}");
    }
    assert_eq!(e.proven(text.replace('\n', "\r\n").as_bytes(), false), Some(FileProof::Lines(4)));
}

#[test]
fn other_character_sets() {
    // A comment and a value in EUC-JP, and what a converting server makes of them.
    let (eucjp, utf8) = (&b"\xc0\xdf\xc4\xea"[..], "設定".as_bytes());
    let source = |word: &[u8]| {
        [
            &b"<?php // "[..],
            word,
            b"\n$title = '",
            word,
            b"';\n$fake_user = 'shop';\n",
            b"$fake_pass = 'visibly-fake';\n$fake_host = 'db.example';\n",
        ]
        .concat()
    };
    let e = of("conn.php", &source(eucjp));
    assert_eq!(e.proven(&source(eucjp), false), Some(FileProof::SameBytes));
    assert_eq!(e.proven(&source(utf8), false), Some(FileProof::Lines(3)));
    // Where only one line is in ASCII, that one decides.
    let short = |word: &[u8]| {
        [&b"<?php\n$title = '"[..], word, b"';\n$fake_pass = 'visibly-fake';\n"].concat()
    };
    assert_eq!(of("c.php", &short(eucjp)).proven(&short(utf8), false), Some(FileProof::Lines(1)));
}

#[test]
fn one_line_files() {
    for source in ["<?php $p='visibly-fake';", "<?=$a", "<? $p='fake';?>"] {
        let e = of("p.php", source.as_bytes());
        assert_eq!(e.class, FileClass::Execute);
        assert_eq!(e.proven(source.as_bytes(), false), Some(FileProof::SameBytes), "{source}");
        for framed in [format!("{source}<script>added()</script>"), format!("<p>added</p>{source}")]
        {
            assert_eq!(e.proven(framed.as_bytes(), false), Some(FileProof::SameBytes), "{framed}");
        }
    }
    let e = of("p.php", b"<?php $p='visibly-fake';\n");
    let body = b"<html>\r\n<?php $p='visibly-fake';\r\n</html>";
    assert_eq!(e.proven(body, false), Some(FileProof::Lines(1)));
    assert_eq!(e.proven(b"<html>\r\n<?php $p='another-one';\r\n", false), None);
}

#[test]
fn what_programs_say_too_proves_nothing() {
    for short in [&b""[..], b"1", b"ok\n", b"null", b"[]", b"{}", b"error\n", b"\r\n\r\n"] {
        let e = of(".state", short);
        assert_eq!(e.proven(short, false), None, "{short:?}");
        assert_eq!(e.proven(b"", false), None);
    }
    // From 8 bytes on it is the file.
    let e = of(".secret", b"12345678");
    assert_eq!(e.proven(b"12345678", false), Some(FileProof::SameBytes));
    // Public and empty files are never a hit.
    for e in [of("a.html", b"<p>hello there</p>"), of("plain.php", b"hello there, visitor")] {
        assert_eq!(e.class, FileClass::Public);
        assert_eq!(e.proven(b"<p>hello there</p>", false), None);
        assert_eq!(e.proven(b"hello there, visitor", false), None);
    }
    let e = of("empty.php", b"");
    assert_eq!(e.class, FileClass::Public);
    assert_eq!(e.proven(b"", false), None);
}

#[test]
fn lines_that_a_program_prints_are_not_its_source() {
    let source = br#"<?php $title = 'x'; ?>
<html><head>
<script>
$(function () { $('#a').hide(); });
$('#b').show(500);
var $c = $('#c').text();
</script>
<?php
echo <<<'HTML'
$('#in-nowdoc').hide(1);
$('#in-nowdoc').hide(2);
  HTML;
echo "
$('#in-string').hide(1);
$('#in-string').hide(2);
$('#in-string').hide(3);
";
/*
$comment = 'in a comment';
*/
?>
$outside = 'looks like code';
define('OUTSIDE', 'looks like code');
"#;
    let e = of("page.php", source);
    let printed = br#"<?xml version="1.0"?>
<html><head>
<script>
$(function () { $('#a').hide(); });
$('#b').show(500);
var $c = $('#c').text();
</script>
$('#in-nowdoc').hide(1);
$('#in-nowdoc').hide(2);
$('#in-string').hide(1);
$('#in-string').hide(2);
$('#in-string').hide(3);
$comment = 'in a comment';
$outside = 'looks like code';
define('OUTSIDE', 'looks like code');
"#;
    assert_eq!(e.proven(printed, false), None);
    assert!(e.proven(source, false).is_some());
}

#[test]
fn scripts_that_print_pages() {
    let source = b"#!/usr/local/bin/perl\nuse strict;\nmy $fake = 'visibly-fake';\nprint <<EOM;\n<html><head>\n<script>\nvar a = document.title;\nvar b = document.body.id;\nvar c = location.href + a;\n</script>\nEOM\nmy $other = $fake . 'x';\n";
    let e = of("bbs.cgi", source);
    assert_eq!(&*e.what, "cgi");
    let printed = b"<html><head>\n<a href=\"#!/top\">x</a>\n<script>\nvar a = document.title;\nvar b = document.body.id;\nvar c = location.href + a;\n</script>\n";
    assert_eq!(e.proven(printed, false), None);
    let crlf = String::from_utf8(source.to_vec()).unwrap().replace('\n', "\r\n");
    assert!(matches!(e.proven(crlf.as_bytes(), false), Some(FileProof::Lines(3..))));
}

#[test]
fn asp_pages() {
    let source = b"<%@ Page Language=\"C#\" %>\n<script>\nvar a = document.title;\nvar b = document.body.id;\nvar c = location.href + a;\n</script>\n<% string fake = \"visibly-fake\"; %>\n<%\nConnect(\"db.example\", fake);\n%>\n";
    let e = of("a.aspx", source);
    let printed = b"<script type=\"text/template\"><%= x %></script>\n<script>\nvar a = document.title;\nvar b = document.body.id;\nvar c = location.href + a;\n</script>\n";
    assert_eq!(e.proven(printed, false), None);
    let crlf = String::from_utf8(source.to_vec()).unwrap().replace('\n', "\r\n");
    assert_eq!(e.proven(crlf.as_bytes(), false), Some(FileProof::Lines(3)));
}

#[test]
fn a_denied_file_is_known_by_its_lines_too() {
    let log = b"[24-Nov-2026 06:00:00] PHP Notice: a\n[24-Nov-2026 06:00:01] PHP Notice: b\n[24-Nov-2026 06:00:02] PHP Notice: c\n";
    let e = of("wp-content/debug.log", log);
    // It has grown since.
    let grown = [&log[..], b"[24-Nov-2026 06:00:03] PHP Notice: d\n"].concat();
    assert_eq!(e.proven(&grown, false), Some(FileProof::Lines(3)));
    // Two lines are no proof where there are three.
    assert_eq!(e.proven(&log[..log.len() - 40], false), None);
    // The lines of a page stand in other pages rightfully.
    let page = b"<html><head>\n<meta charset=\"utf-8\">\n<title>Shop of the fake example</title>\n<link rel=\"stylesheet\" href=\"a.css\">\n";
    let e = of("index.html.bak", page);
    assert!(e.lines.is_empty());
    assert!(of(".x/part", page).lines.is_empty());
    assert_eq!(e.proven(page, false), Some(FileProof::SameBytes));
    // The last line of what was read may be cut.
    let long: Vec<u8> =
        (0..4000).flat_map(|i| format!("INSERT INTO t VALUES ({i:06});\n").into_bytes()).collect();
    let e = of("dump.sql", &long);
    assert_eq!(e.lines.len(), 32);
    let crlf = String::from_utf8(long).unwrap().replace('\n', "\r\n").into_bytes();
    let cut = &crlf[..PREFIX];
    // Some of the lines lie behind the first 64 KiB when each is a byte longer.
    assert!(
        matches!(e.proven(cut, true), Some(FileProof::Lines(25..=32))),
        "{:?}",
        e.proven(cut, true)
    );
}

/// A piece of a PHP file, with what it prints.
#[derive(Debug, Clone)]
enum Piece {
    Page(Vec<String>),
    Code(Vec<String>),
    Nowdoc(Vec<String>),
    Quoted(Vec<String>),
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let page = || {
        prop::sample::select(vec![
            "<script>$(function () { $('#a').show(); });</script>",
            "$('#menu').slideToggle(200);",
            "<p>price: $100 for all of it</p>",
            "var $x = $('.y').width();",
            "define(['a'], function () {});",
            "<?xml version=\"1.0\"?>",
            "<a href=\"#!/top\">top</a>",
            "it's \"quoted\" ?",
            "日本語の行 $x",
        ])
        .prop_map(str::to_owned)
    };
    let code = || {
        prop_oneof![
            "[a-z]{3,9}".prop_map(|v| format!("${v} = 'visibly-fake';")),
            "[A-Z]{3,9}".prop_map(|v| format!("define('{v}', \"visibly \\\" fake\");")),
            Just("if ($a > 1 and $b <= 2) { echo $c['d']; } // it's > here".to_owned()),
            Just("/* $comment ?? 'x' */ $after_comment = 1;".to_owned()),
            Just("#[Attribute] function f($argument) { return $argument; }".to_owned()),
        ]
    };
    let some = |s: BoxedStrategy<String>| prop::collection::vec(s, 1..5);
    let piece = prop_oneof![
        some(page().boxed()).prop_map(Piece::Page),
        some(code().boxed()).prop_map(Piece::Code),
        some(page().boxed()).prop_map(Piece::Nowdoc),
        some(page().boxed()).prop_map(Piece::Quoted),
    ];
    prop::collection::vec(piece, 1..12)
}

fn program(pieces: &[Piece]) -> (String, String) {
    let (mut source, mut printed) = (String::new(), String::new());
    for p in pieces {
        match p {
            Piece::Page(lines) => {
                let text = lines.join("\n") + "\n";
                source += &text;
                printed += &text;
            }
            Piece::Code(lines) => source += &format!("<?php\n{}\n?>\n", lines.join("\n")),
            Piece::Nowdoc(lines) => {
                let text = lines.join("\n");
                source += &format!("<?php\necho <<<'EOT'\n{text}\nEOT;\n?>\n");
                printed += &format!("{text}\n");
            }
            Piece::Quoted(lines) => {
                let text = lines.join("\n");
                let quoted = text.replace('\\', "\\\\").replace('\'', "\\'");
                source += &format!("<?php\necho '\n{quoted}\n';\n?>\n");
                printed += &format!("\n{text}\n");
            }
        }
    }
    (source, printed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn what_runs_is_never_proven_and_what_is_served_always(pieces in pieces()) {
        let (source, printed) = program(&pieces);
        let e = of("a.php", source.as_bytes());
        prop_assert_eq!(e.proven(printed.as_bytes(), false), None, "{}\n---\n{}", source, printed);
        if e.class == FileClass::Execute {
            prop_assert_eq!(e.proven(source.as_bytes(), false), Some(FileProof::SameBytes));
            if !e.lines.is_empty() {
                let crlf = source.replace('\n', "\r\n");
                prop_assert!(e.proven(crlf.as_bytes(), false).is_some());
                let marked = ["\u{feff}", &crlf, "<!-- more -->"].concat();
                prop_assert!(e.proven(marked.as_bytes(), false).is_some());
            }
            let code = pieces.iter().any(|p| matches!(p, Piece::Code(_)));
            prop_assert!(!code || !e.lines.is_empty(), "{}", source);
        }
    }

    #[test]
    fn nothing_panics(name in ".{0,20}", content in prop::collection::vec(any::<u8>(), 0..400), body in prop::collection::vec(any::<u8>(), 0..400)) {
        let e = ManifestEntry::of("/x", name.as_bytes(), content.len() as u64, &content, &[]);
        let _ = e.proven(&body, false);
        let proof = e.proven(&content, false);
        if e.class != FileClass::Public && content.len() >= 8 {
            prop_assert_eq!(proof, Some(FileProof::SameBytes));
        } else if e.class == FileClass::Public {
            prop_assert_eq!(proof, None);
        }
    }

    #[test]
    fn code_of_any_bytes_is_scanned(content in prop::collection::vec(prop::sample::select(b"<?php='\"`\\/*#[]<<<A\n\r$; ->%\xff".to_vec()), 0..300)) {
        for name in ["a.php", "a.asp", "a.cgi", ".env"] {
            let e = of(name, &content);
            prop_assert!(e.lines.len() <= 32);
            let _ = e.proven(&content, true);
        }
    }

    #[test]
    fn a_manifest_of_any_bytes_is_refused_or_read(lines in prop::collection::vec(prop_oneof![
        Just(HEADER.to_owned()), Just(file("/a", "deny")), Just("{\"kind\":\"end\",\"files\":1}".to_owned()),
        Just("{}".to_owned()), ".{0,30}",
    ], 0..6), cut in 0usize..400) {
        let text = lines.join("\n");
        let _ = Manifest::read("m", text.as_bytes());
        let _ = Manifest::read("m", &text.as_bytes()[..cut.min(text.len())]);
    }
}
