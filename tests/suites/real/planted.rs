//! A document root with files that must not be in one, and with pages that only look so.

use std::io::Write;

use super::*;

/// The paths that every server hands out as they are, unless it denies them by name.
pub const AS_THEY_ARE: [&str; 15] = [
    "/.git/config",
    "/.git/HEAD",
    "/.env",
    "/password.php",
    "/config.php.bak",
    "/wp-config.php.bak",
    "/dump.sql",
    "/backup.zip",
    "/backup.tar.gz",
    "/id_rsa",
    "/server.key",
    "/.htpasswd",
    "/.DS_Store",
    "/.vscode/sftp.json",
    "/.aws/credentials",
];

/// A folder without an index page.
pub const LISTED: &str = "/backup/";

/// A script whose page is bad; its source is not.
pub const PHPINFO: &str = "/phpinfo.php";

/// What all planted secrets hold; none may be in any output.
pub const SECRETS: &[&str] = &["FAKE-real", "AKIAFAKE", "RkFLRS1", "$apr1$FAKE"];

/// A page that quotes everything that checks look for, as a blog or a manual does.
const POST: &str = "<!DOCTYPE html>\n<html><head><title>How not to lose your secrets</title></head><body>\n\
    <p>Never leave these in a document root:</p>\n<pre>\n&lt;?php\n<?php\n\
    $db_password = 'FAKE-real-quoted';\ndefine('DB_PASSWORD', 'FAKE-real-quoted');\n</pre>\n<pre>\n\
    APP_NAME=x\nDB_PASSWORD=FAKE-real-quoted\nAPP_KEY=FAKE-real-quoted\n</pre>\n<pre>\n\
    [core]\n\trepositoryformatversion = 0\n\tbare = false\nref: refs/heads/main\n</pre>\n<pre>\n\
    -- MySQL dump 10.13\nCREATE TABLE `a` (x int);\nINSERT INTO `a` VALUES (1);\n</pre>\n<pre>\n\
    [default]\naws_access_key_id = AKIAFAKEFAKEFAKEFAKE\nadmin:$apr1$FAKEsalt$FAKEFAKEFAKEFAKEFAKE1.\n\
    {\"host\": \"sftp.example.jp\", \"password\": \"FAKE-real-quoted\"}\n\
    PK\x03\x04 b0VIM SQLite format 3\n</pre>\n</body></html>\n";

/// What the servers' pages for errors print: source that is nobody's.
pub const MISSING: &str = "<?php\n$db_password = 'FAKE-real-missing';\nrequire 'nothing.php';\n";

/// Paths at which the post stands, each the path of a check.
const QUOTING: [&str; 9] = [
    "wp-config.php.old",
    "config.php.old",
    ".env.bak",
    "backup.sql",
    "htpasswd",
    "private.key",
    "aws/credentials",
    ".ftpconfig",
    "site.zip",
];

/// Paths at which an empty file stands, each the path of a check.
const EMPTY: [&str; 8] = [
    ".env.local",
    "db.sql",
    "www.zip",
    "www.tar.gz",
    "key.pem",
    ".git-credentials",
    "sitemanager.xml",
    ".svn/entries",
];

/// Writes the files.
pub fn document_root(root: &Path) {
    let put = |name: &str, bytes: &[u8]| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a planted file");
    };
    put("index.html", b"<html><title>Shop</title></html>\n");
    put("password.php", b"<?php\n$user = 'x';\n$password = 'FAKE-real-hunter2';\n");
    put(".env", b"APP_NAME=x\nDB_PASSWORD=FAKE-real-dotenv\nAPP_KEY=FAKE-real-dotenv\n");
    put(".git/config", b"[core]\n\trepositoryformatversion = 0\n\tbare = false\n[remote \"origin\"]\n\turl = https://deploy:FAKE-real-git@git.example.jp/shop.git\n");
    put(".git/HEAD", b"ref: refs/heads/main\n");
    put("config.php.bak", b"<?php\n$db_password = 'FAKE-real-hunter2';\n");
    put("wp-config.php.bak", b"<?php\ndefine('DB_NAME', 'x');\ndefine('DB_PASSWORD', 'FAKE-real-hunter2');\n$table_prefix = 'wp_';\n");
    put("dump.sql", b"-- MySQL dump 10.13\nCREATE TABLE `a` (x int);\nINSERT INTO `a` VALUES ('FAKE-real-dump');\n");
    put(".htpasswd", b"admin:$apr1$FAKEsalt$FAKEFAKEFAKEFAKEFAKE1.\n");
    put(".DS_Store", b"\x00\x00\x00\x01Bud1\x00\x00\x10\x00");
    put(".vscode/sftp.json", b"{\"name\": \"shop\", \"host\": \"sftp.example.jp\", \"username\": \"x\", \"password\": \"FAKE-real-sftp\"}\n");
    put(".aws/credentials", b"[default]\naws_access_key_id = AKIAFAKEFAKEFAKEFAKE\naws_secret_access_key = FAKE-real-aws\n");
    put("phpinfo.php", b"<?php phpinfo();\n");
    put("backup/shop-2019.txt", b"x\n");
    // Put together here, so that nobody's scanner takes this file for a leak.
    let key = |kind: &str| {
        let kind = format!("{kind} PRIVATE ");
        format!("-----BEGIN {kind}KEY-----\nRkFLRS1ub3QtYS1rZXk=\n-----END {kind}KEY-----\n")
    };
    put("server.key", key("RSA").as_bytes());
    put("id_rsa", key("OPENSSH").as_bytes());
    put("backup.zip", &zip());
    put("backup.tar.gz", &tar_gz());
    for path in QUOTING {
        put(path, POST.as_bytes());
    }
    for path in EMPTY {
        put(path, b"");
    }
    put("missing.txt", MISSING.as_bytes());
}

/// The head of an archive with one file.
fn zip() -> Vec<u8> {
    let mut zip = b"PK\x03\x04\x14\x00\x00\x00\x00\x00".to_vec();
    zip.extend([0; 16]);
    zip.extend(9u16.to_le_bytes());
    zip.extend([0, 0]);
    zip.extend(b"index.phpxxxx");
    zip
}

fn tar_gz() -> Vec<u8> {
    let mut tar = vec![0u8; 1024];
    tar[..9].copy_from_slice(b"index.php");
    tar[257..262].copy_from_slice(b"ustar");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(&tar).expect("gzip");
    gz.finish().expect("gzip")
}
