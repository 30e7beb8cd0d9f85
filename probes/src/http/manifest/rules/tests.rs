//! Every row of the table, by examples.

use super::*;

const KEY: &[u8] = b"-----BEGIN RSA PRIVATE KEY-----\nFAKEFAKEFAKE\n";
const PHP: &[u8] = b"<?php\n$fake = 'visibly-fake';\n";

/// A path and the file's content.
type Example = (&'static str, &'static [u8]);

/// For each row, in the table's order, files of which it is the one that decides.
#[rustfmt::skip]
fn examples() -> Vec<(&'static str, Vec<Example>)> {
    vec![
        ("empty", vec![(".env", b""), ("x.php", b""), (".git/HEAD", b""), ("index.html", b"")]),
        ("vcs", vec![(".git/config", b"[core]"), ("a/.svn/entries", b"12"), ("CVS/Root", b":x"), (".git/hooks/x.php", PHP)]),
        ("credentials", vec![(".ssh/id_rsa", KEY), (".aws/credentials", b"x"), ("a/.docker/config.json", b"{}")]),
        ("java", vec![("WEB-INF/web.xml", b"<web-app>"), ("app/META-INF/context.xml", b"x")]),
        ("template", vec![(".env.example", b"A=b")]),
        ("dotenv", vec![(".env", b"A=b"), ("sub/.ENV", b"A=b")]),
        ("dotenv", vec![(".env.production", b"A=b"), (".env.bak", b"A=b")]),
        ("htpasswd", vec![("htpasswd", b"u:h"), ("a/htpasswd.txt", b"u:h")]),
        ("htpasswd", vec![(".htpasswd", b"u:h"), (".htpasswd.bak", b"u:h")]),
        ("credentials", vec![(".netrc", b"x"), (".git-credentials", b"x")]),
        ("history", vec![(".bash_history", b"ls")]),
        ("dotfile", vec![(".gitignore", b"x"), (".editorconfig", b"x")]),
        ("vim-swap", vec![(".conn.php.swp", b"b0VIM 8.2"), ("conn.php.swp", b"b0VIM 8.2")]),
        ("dotfile", vec![(".htaccess", b"x"), (".user.ini", b"x"), (".DS_Store", b"\0\0\0\x01Bud1"), ("..a", b"x"), (".well-known", b"x"), (".hidden.php", PHP), (".well-known/.x", b"x")]),
        ("dot-folder", vec![(".vscode/sftp.json", b"{}"), ("a/.idea/b/c.xml", b"x"), (".x/index.php", PHP)]),
        ("encrypted-key", vec![("server.key", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nFAKE"), ("k.pem", b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n")]),
        ("key", vec![("server.key", KEY), ("all.pem", b"-----BEGIN CERTIFICATE-----\nFAKE\n-----END CERTIFICATE-----\r\n-----BEGIN PRIVATE KEY-----\r\nFAKE"), ("note.txt", KEY)]),
        ("key", vec![("privkey", KEY)]),
        ("key", vec![("id_ed25519", b"FAKE"), ("config/master.key", b"FAKE")]),
        ("key", vec![("a.ppk", b"PuTTY"), ("a.pfx", b"0"), ("a.p12", b"0"), ("a.kdbx", b"0")]),
        ("source-copy", vec![("conn.php~", PHP), ("#conn.php#", PHP), ("conn.bak", PHP), ("a.cgi.old", b"#!/usr/bin/perl\n"), ("x.asp.bak", b"<% a %>"), ("conn.php.org", PHP), ("conn.php_old", PHP)]),
        ("source-copy", vec![("conn.php.txt", PHP), ("conn.php.20240101", PHP), ("conn.php-2", PHP), ("conn.php (1).html", PHP)]),
        ("source-copy", vec![("wp-config.txt", PHP)]),
        ("source-view", vec![("index.phps", PHP)]),
        ("desktop", vec![("Thumbs.db", b"\xd0\xcf"), ("desktop.ini", b"x")]),
        ("database", vec![("data.bin", b"SQLite format 3\0rest"), ("a.db", b"SQLite format 3\0")]),
        ("dump", vec![("a.dat", b"PGDMP\x01")]),
        ("dump", vec![("shop.bak", b"TAPE\0\0")]),
        ("dump", vec![("a.sql", b"-- x\nINSERT INTO `t` VALUES (1);"), ("b.SQL", b"copy t (a) from stdin;")]),
        ("schema", vec![("install.sql", b"CREATE TABLE t (a int);")]),
        ("dump", vec![("a.sql.gz", b"\x1f\x8b"), ("a.dump", b"x")]),
        ("database", vec![("a.mdb", b"x"), ("b.sqlite3", b"x")]),
        ("php", vec![("index.php", PHP), ("a.PHTML", b"<?=1"), ("b.php5", b"<html><? echo 1 ?>"), (".well-known/a.php", PHP), ("c.php", b"\xef\xbb\xbf<?php\n"), ("日本.php", PHP)]),
        ("php-include", vec![("db.inc", PHP), ("config.inc", b"<?\n$a=1;")]),
        ("php-in-html", vec![("index.html", b"<html><?php echo 1 ?>"), ("a.htm", b"<?=$a?>")]),
        ("asp", vec![("a.asp", b"<% a %>"), ("a.aspx", b"<%@ Page %>"), ("a.jsp", b"<%= a %>")]),
        ("cgi", vec![("a.cgi", b"#!/usr/bin/perl\n"), ("a.py", b"#!/usr/bin/env python3\n"), ("a.pl", b"\xef\xbb\xbf#!/usr/bin/perl")]),
        ("cgi-binary", vec![("a.cgi", b"\x7fELF\x02")]),
        ("cgi-part", vec![("init.cgi", b"$title = 'x';"), ("jcode.pl", b"package jcode;"), ("A.pm", b"package A;")]),
        ("source", vec![("settings.py", b"SECRET_KEY = 'fake'"), ("a.rb", b"x = 1")]),
        ("static", vec![("cli.js", b"#!/usr/bin/env node\n"), ("howto.txt", b"#!/bin/sh\n")]),
        ("script", vec![("deploy.sh", b"#!/bin/sh\n"), ("bin/run", b"#!/bin/sh\n")]),
        ("config", vec![("web.config", b"<?xml version=\"1.0\"?>\n<configuration>")]),
        ("config", vec![("appsettings.json", b"{}"), ("appsettings.Production.json", b"{}")]),
        ("config", vec![("auth.json", b"{}"), ("app/etc/local.xml", b"<config>")]),
        ("config", vec![("prod.env", b"DB_PASSWORD=visibly-fake"), ("a.properties", b"x.password: visibly-fake"), ("my.cfg", b"token = \"visibly-fake\"")]),
        ("config", vec![("php.ini", b"x = 1"), ("a.conf", b"Listen 80"), ("a.ini", b"; password=commented\n"), ("b.ini", b"password =\n")]),
        ("config", vec![("config/database.yml", b"  password: visibly-fake"), ("docker-compose.yaml", b"X_TOKEN: visibly-fake"), ("secrets.toml", b"secret = 'visibly-fake'")]),
        ("config", vec![("parameters.yml", b"a: b")]),
        ("log", vec![("wp-content/debug.log", b"x"), ("a.log.gz", b"x")]),
        ("log", vec![("access.log.1", b"x"), ("error.log.20240101", b"x")]),
        ("log", vec![("error_log", b"x"), ("access_log-2024", b"x")]),
        ("core", vec![("core", b"\x7fELF"), ("core.1234", b"\x7fELF")]),
        ("copy", vec![("web.config.bak", b"password=\"visibly-fake\""), ("database.yml.old", b"password: visibly-fake")]),
        ("copy", vec![("index.html.bak", b"<html>"), ("a.jpg~", b"\xff\xd8"), ("x_old", b"x")]),
        ("site-copy", vec![("ROOT.war", b"PK")]),
        ("site-copy", vec![("backup.zip", b"PK"), ("www-2024-01-01.tar.gz", b"x"), ("public_html.tgz", b"x"), ("shop.example.jp.zip", b"PK"), ("www.shop.example.jp.zip", b"PK"), ("shop_20240101.7z", b"7z")]),
        ("password-list", vec![("passwd", b"admin:visibly-fake1")]),
        ("password-list", vec![("パスワード.txt", b"x"), ("a/ftp-password.xlsx", b"PK"), ("アカウント一覧.csv", b"x"), ("idpass.txt", b"x")]),
        ("password-list", vec![("kanri-memo.txt", b"ID: admin\nPW: visibly-fake1\n"), ("note.md", b"user: a\npassword: visibly-fake1\n")]),
        ("personal-data", vec![("members.csv", b"name,mail\na,a@example.jp\nb,b@example.jp\n")]),
        ("records", vec![("bbs/log.dat", b"1<>name<>visibly-fake<>a@example.jp\n")]),
        ("secret", vec![("config/app.json", b"{\"db\": {\"password\": \"visibly-fake1\"}}"), ("lib/settings.json", b"{\"dbPassword\":\"visibly-fake1\"}"), ("config.xml", b"<c><password>visibly-fake1</password></c>"), ("web.config.txt", b"<connectionStrings password='visibly-fake1'/>"), ("values.yaml", b"password: visibly-fake1\n")]),
        ("public", vec![
            ("index.html", b"<html>"), ("a.jpg", b"\xff\xd8"), ("plain.php", b"no tag at all"),
            ("feed.php", b"<?xml version=\"1.0\"?>"), ("x.inc", b"plain"), (".well-known/security.txt", b"Contact: x"),
            ("cert.pem", b"-----BEGIN CERTIFICATE-----\nFAKE"), ("id_rsa.pub", b"ssh-rsa AAAA"), ("talk.key", b"PK\x03\x04"),
            ("openapi.yaml", b"password: string"), ("catalogue.zip", b"PK"), ("database-course.zip", b"PK"),
            ("tutorial.html", b"&lt;?php"), ("a.asp", b"static"), ("messages.properties", b"title=x"), ("old", b"x"), ("~", b"x"), ("htpasswd.1.gz", b"x"), ("plain.php.txt", b"no tag"), ("a.inc.js", b"x"), ("db.3.gz", b"x"), ("lib.jsp.api.jar", b"PK\x03\x04\0<%"),
        ]),
    ]
}

#[test]
fn each_rule_decides_its_examples() {
    let hosts = ["shop.example.jp".to_owned()];
    let examples = examples();
    assert_eq!(examples.len(), RULES.len(), "one list of examples a row");
    for (row, (what, files)) in examples.iter().enumerate() {
        assert_eq!(RULES[row].what, *what, "row {row}");
        assert!(!files.is_empty());
        for (name, content) in files {
            let (rule, _) = decide(name.as_bytes(), content, &hosts);
            let at = RULES.iter().position(|r| std::ptr::eq(r, rule));
            assert_eq!(at, Some(row), "{name} was decided by {rule:?}, not by row {row}");
        }
    }
}

#[test]
fn public_files_are_the_only_ones_without_a_severity() {
    for r in RULES {
        assert_eq!(r.class == Public, r.severity == NONE, "{r:?}");
    }
}

#[test]
fn lines_are_not_picked_where_pages_have_them_too() {
    let lines = |name: &str, content: &[u8]| classify(name.as_bytes(), content, &[]).lines;
    for name in ["style.css.bak", "index.html~", "app.js.old", ".x/a.svg", "a.txt.orig"] {
        assert_eq!(lines(name, b"body { margin: 0 auto; }"), LineProof::None, "{name}");
    }
    assert_eq!(lines("index.html.bak", PHP), LineProof::Php);
    assert_eq!(lines("index.asp.bak", b"<% a %>"), LineProof::Asp);
    assert_eq!(lines("httpd.conf.bak", b"Listen 80"), LineProof::Text);
    assert_eq!(lines(".git/config", b"[core]"), LineProof::Text);
}

#[test]
fn names_that_are_not_text() {
    for name in [&b"\x83\x5c.php"[..], b"a\nb.php", b"\xff\xfe/\x80.php"] {
        assert_eq!(classify(name, PHP, &[]).what, "php");
    }
    assert_eq!(classify(b"", b"x", &[]).class, Public);
}
