//! What a server has to do with a file: the table of rules, and how a rule is held against a file.
//!
//! The first rule that is true of a file decides. A row reads: which names, which content, the
//! class, the reason in a word, how bad it is when the content is readable, and how lines are
//! picked.

use super::super::gate::is_placeholder;
use super::super::rule::{contains_personal_emails, is_account_list};
use super::FileClass::{self, Deny, Execute, Public};
use super::lines::{LineProof, measure_opening_tag, strip_bom};
use crate::observation::Severity::{self, Critical, High, Info, Low, Medium};

/// Severity of rows that are public.
const NONE: Severity = Info;

#[rustfmt::skip]
static RULES: &[ManifestRule] = &[
    // Nothing can leak from an empty file.
    build_rule(Any, Empty, Public, "empty", NONE, LineProof::None),

    // Below folders that no visitor has business in.
    build_rule(Under(&[".git", ".svn", ".hg", ".bzr", "cvs"]), Anything, Deny, "vcs", High, LineProof::Inner),
    build_rule(Under(&[".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker"]), Anything, Deny, "credentials", Critical, LineProof::Inner),
    build_rule(Under(&["web-inf", "meta-inf"]), Anything, Deny, "java", High, LineProof::Inner),

    // Names that begin with a dot.
    build_rule(Is(&[".env.example", ".env.sample", ".env.dist", ".env.template"]), Anything, Deny, "template", Low, LineProof::Inner),
    build_rule(Is(&[".env"]), Anything, Deny, "dotenv", Critical, LineProof::Text),
    build_rule(Starts(&[".env."]), Anything, Deny, "dotenv", Critical, LineProof::Text),
    build_rule(Is(&["htpasswd", "htpasswd.txt", "htpasswd.bak", "htpasswd.old"]), Anything, Deny, "htpasswd", High, LineProof::Text),
    build_rule(Starts(&[".htpasswd"]), Anything, Deny, "htpasswd", High, LineProof::Text),
    build_rule(Is(&[".netrc", ".pgpass", ".my.cnf", ".git-credentials", ".npmrc", ".pypirc", ".s3cfg", ".ftpconfig", ".ftppass", ".remote-sync.json"]), Anything, Deny, "credentials", Critical, LineProof::Text),
    build_rule(Starts(&[".bash_history", ".zsh_history", ".sh_history", ".mysql_history", ".psql_history", ".php_history", ".sqlite_history"]), Anything, Deny, "history", High, LineProof::Text),
    build_rule(Is(&[".gitignore", ".gitattributes", ".gitkeep", ".editorconfig", ".localized"]), Anything, Deny, "dotfile", Low, LineProof::None),
    build_rule(Any, Begins(b"b0VIM "), Deny, "vim-swap", High, LineProof::None),
    build_rule(Dot, Anything, Deny, "dotfile", Medium, LineProof::Inner),
    build_rule(UnderDot, Anything, Deny, "dot-folder", Medium, LineProof::Inner),

    // Keys. Certificates and public keys may be read by everyone.
    build_rule(Ending(&["pem", "key", "txt", "crt", "cer", "cert"]), EncryptedKey, Deny, "encrypted-key", Medium, LineProof::Text),
    build_rule(Ending(&["pem", "key", "txt", "crt", "cer", "cert"]), PrivateKey, Deny, "key", Critical, LineProof::Text),
    build_rule(Bare, PrivateKey, Deny, "key", Critical, LineProof::Text),
    build_rule(Is(&["id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "master.key"]), Anything, Deny, "key", Critical, LineProof::Text),
    build_rule(Ending(&["ppk", "pfx", "p12", "pkcs12", "jks", "keystore", "kdbx"]), Anything, Deny, "key", Critical, LineProof::Text),

    // Copies of code, which the server does not run: config.php~, config.php.20240101, #db.php#.
    build_rule(Older, Code, Deny, "source-copy", High, LineProof::Inner),
    build_rule(OlderCode, Code, Deny, "source-copy", High, LineProof::Inner),
    build_rule(Is(&["wp-config.txt", "config.txt", "configuration.txt", "settings.txt", "db.txt"]), Code, Deny, "source-copy", High, LineProof::Php),
    build_rule(Ending(&["phps"]), Code, Deny, "source-view", High, LineProof::Php),

    // Data bases and dumps of them.
    build_rule(Is(&["thumbs.db", "desktop.ini"]), Anything, Deny, "desktop", Low, LineProof::None),
    build_rule(Any, Begins(b"SQLite format 3\0"), Deny, "database", Critical, LineProof::None),
    build_rule(Any, Begins(b"PGDMP"), Deny, "dump", Critical, LineProof::None),
    build_rule(Ending(&["bak"]), Begins(b"TAPE"), Deny, "dump", Critical, LineProof::None),
    build_rule(Ending(&["sql"]), SqlRows, Deny, "dump", Critical, LineProof::Text),
    build_rule(Ending(&["sql"]), Anything, Deny, "schema", Medium, LineProof::Text),
    build_rule(Ending(&["sql.gz", "sql.bz2", "sql.xz", "sql.zst", "sql.zip", "sql.7z", "dump", "dump.gz", "pgdump"]), Anything, Deny, "dump", Critical, LineProof::Text),
    build_rule(Ending(&["db", "sqlite", "sqlite3", "mdb", "accdb", "rdb", "myd", "ibd", "mdf", "bson"]), Anything, Deny, "database", High, LineProof::None),

    // Code that must run. Without a tag it is text, which the server gives out rightfully.
    build_rule(Ending(&["php", "phtml", "pht", "php3", "php4", "php5", "php6", "php7", "php8"]), PhpTag, Execute, "php", Critical, LineProof::Php),
    build_rule(Ending(&["inc"]), PhpTag, Execute, "php-include", Critical, LineProof::Php),
    build_rule(Ending(&["html", "htm", "shtml", "xhtml"]), LongPhpTag, Execute, "php-in-html", Medium, LineProof::Php),
    build_rule(Ending(&["asp", "asa", "aspx", "ascx", "ashx", "asmx", "cshtml", "jsp", "jspx", "jspf"]), AspTag, Execute, "asp", Critical, LineProof::Asp),
    build_rule(Ending(&["cgi", "fcgi", "pl", "py", "rb"]), Shebang, Execute, "cgi", Critical, LineProof::Script),
    build_rule(Ending(&["cgi", "fcgi"]), Begins(b"\x7fELF"), Execute, "cgi-binary", Low, LineProof::None),
    // Parts of a program, and its settings and data under a name that is hoped not to be served.
    build_rule(Ending(&["cgi", "fcgi", "pl", "pm"]), Anything, Deny, "cgi-part", High, LineProof::Script),
    build_rule(Ending(&["py", "rb"]), Anything, Deny, "source", Medium, LineProof::Script),
    // Tools for a visitor's own machine that happen to begin like a script.
    build_rule(Ending(&["js", "mjs", "cjs", "ts", "css", "html", "htm", "md", "txt"]), Shebang, Public, "static", NONE, LineProof::None),
    build_rule(Any, Shebang, Execute, "script", Medium, LineProof::Script),

    // Configuration.
    build_rule(Ending(&["config"]), Holds(b"<configuration"), Deny, "config", High, LineProof::Text),
    build_rule(Starts(&["appsettings."]), Anything, Deny, "config", High, LineProof::Text),
    build_rule(Is(&["auth.json", "credentials.json", "secrets.json", "secret.json", "service-account.json", "sftp.json", "sftp-config.json", "local.xml", "filezilla.xml", "sitemanager.xml", "recentservers.xml"]), Anything, Deny, "config", High, LineProof::Text),
    build_rule(Ending(&["env", "ini", "conf", "cnf", "cfg", "properties", "tfvars", "tfstate"]), Secret, Deny, "config", Critical, LineProof::Text),
    build_rule(Ending(&["env", "ini", "conf", "cnf", "tfvars", "tfstate"]), Anything, Deny, "config", Medium, LineProof::Text),
    build_rule(YamlNamed, Secret, Deny, "config", Critical, LineProof::Text),
    build_rule(YamlNamed, Anything, Deny, "config", Medium, LineProof::Text),

    // Logs and what crashes leave.
    build_rule(Ending(&["log", "log.gz", "log.bz2", "log.xz"]), Anything, Deny, "log", Medium, LineProof::Text),
    build_rule(Within(".log."), Anything, Deny, "log", Medium, LineProof::Text),
    build_rule(Starts(&["access_log", "error_log"]), Anything, Deny, "log", Medium, LineProof::Text),
    build_rule(Starts(&["core"]), Begins(b"\x7fELF"), Deny, "core", High, LineProof::None),

    // Copies of anything else, and of the whole site.
    build_rule(Older, Secret, Deny, "copy", High, LineProof::Inner),
    build_rule(Older, Anything, Deny, "copy", Low, LineProof::Inner),
    build_rule(Ending(&["war"]), Anything, Deny, "site-copy", High, LineProof::None),
    build_rule(SiteArchive, Anything, Deny, "site-copy", High, LineProof::None),

    // Notes, lists and settings under any other name, by what is in them.
    build_rule(Is(&["passwd", "shadow", "accounts", "idpass"]), Anything, Deny, "password-list", High, LineProof::Text),
    build_rule(Telling, Anything, Deny, "password-list", High, LineProof::None),
    build_rule(Note, Accounts, Deny, "password-list", High, LineProof::None),
    build_rule(Table, People, Deny, "personal-data", High, LineProof::None),
    build_rule(Table, Records, Deny, "records", Medium, LineProof::None),
    build_rule(NoPage, SetsPassword, Deny, "secret", High, LineProof::None),

    build_rule(Any, Anything, Public, "public", NONE, LineProof::None),
];

/// Endings of pages and of what pages are made of: a password in them is mostly a word on a form.
const OF_PAGES: &[&str] = &[
    "html", "htm", "xhtml", "shtml", "css", "less", "scss", "js", "mjs", "cjs", "jsx", "ts", "tsx",
    "vue", "svelte", "svg", "map", "po", "pot", "rst", "adoc", "tpl", "twig", "mustache", "hbs",
];

/// Words in the name of a document with which it lists accounts: パスワード in UTF-8, Shift_JIS and
/// EUC-JP, アカウント and ログイン in UTF-8.
const TELLING: &[&[u8]] = &[
    b"password",
    b"passwd",
    b"idpass",
    b"id_pass",
    b"id-pass",
    "パスワード".as_bytes(),
    b"\x83p\x83X\x83\x8f\x81[\x83h",
    b"\xa5\xd1\xa5\xb9\xa5\xef\xa1\xbc\xa5\xc9",
    "アカウント".as_bytes(),
    "ログイン".as_bytes(),
    "暗証".as_bytes(),
];

/// Endings of archives.
const ARCHIVES: &[&str] = &[
    "tar", "tar.gz", "tgz", "tar.bz2", "tbz2", "tar.xz", "txz", "tar.zst", "zip", "7z", "rar",
    "gz", "bz2",
];

/// Stems of archives that hold a copy of a site: each alone or with a date behind it.
const SITE_STEMS: &[&str] = &[
    "backup",
    "backups",
    "bak",
    "www",
    "wwwroot",
    "wwwdata",
    "web",
    "website",
    "site",
    "html",
    "htdocs",
    "public_html",
    "httpdocs",
    "docroot",
    "db",
    "database",
    "data",
    "dump",
    "old",
    "src",
    "source",
    "wordpress",
    "full",
    "all",
];

/// Words in the name of a YAML or TOML file with which it holds settings of a program.
const YAML_WORDS: &[&str] = &[
    "config",
    "conf",
    "configuration",
    "settings",
    "secret",
    "secrets",
    "credential",
    "credentials",
    "database",
    "databases",
    "db",
    "parameters",
    "application",
    "compose",
    "env",
    "prod",
    "production",
    "staging",
    "auth",
    "keys",
    "vault",
    "inventory",
    "deploy",
    "params",
];

/// Endings by which somebody keeps an older state of a file.
const COPY_ENDINGS: &[&str] = &[
    "~", ".bak", ".back", ".backup", ".bk", ".old", ".orig", ".org", ".save", ".sav", ".swp",
    ".swo", ".tmp", ".copy", "_bak", "_bk", "_old", "_backup", "_copy", "-bak", "-old", "-backup",
];

/// Endings of code; anything but a letter or digit behind one makes a copy.
const CODE_ENDINGS: &[&str] =
    &[".php", ".phtml", ".inc", ".cgi", ".pl", ".py", ".rb", ".asp", ".aspx", ".jsp"];

/// Files whose lines also stand in pages.
const PAGE_ENDINGS: &[&str] = &[
    "html", "htm", "xhtml", "shtml", "css", "js", "mjs", "svg", "txt", "md", "csv", "tsv", "rst",
    "json", "xml", "less", "scss", "vue", "tpl", "twig",
];

/// Words before `=` or `:` that make the value a secret.
const SECRET_WORDS: &[&[u8]] = &[
    b"pass",
    b"pwd",
    b"secret",
    b"token",
    b"apikey",
    b"api_key",
    b"api-key",
    b"private_key",
    b"access_key",
    b"credential",
];

/// One row of the table.
#[derive(Debug)]
struct ManifestRule {
    name: NamePattern,
    content: ContentKind,
    class: FileClass,
    what: &'static str,
    severity: Severity,
    lines: LineProof,
}

const fn build_rule(
    name: NamePattern,
    content: ContentKind,
    class: FileClass,
    what: &'static str,
    severity: Severity,
    lines: LineProof,
) -> ManifestRule {
    ManifestRule { name, content, class, what, severity, lines }
}

use ContentKind::{
    Accounts, Anything, AspTag, Begins, Code, Empty, EncryptedKey, Holds, LongPhpTag, People,
    PhpTag, PrivateKey, Records, Secret, SetsPassword, Shebang, SqlRows,
};
use NamePattern::{
    Any, Bare, Dot, Ending, Is, NoPage, Note, Older, OlderCode, SiteArchive, Starts, Table,
    Telling, Under, UnderDot, Within, YamlNamed,
};

/// Which names; letters of ASCII in either case.
#[derive(Debug, Clone, Copy)]
enum NamePattern {
    Any,
    /// The file's name.
    Is(&'static [&'static str]),
    /// What the file's name begins with.
    Starts(&'static [&'static str]),
    /// What stands behind a dot at its end.
    Ending(&'static [&'static str]),
    /// What stands somewhere in it.
    Within(&'static str),
    /// Without a dot.
    Bare,
    /// With a dot at its beginning.
    Dot,
    /// Below a folder of this name.
    Under(&'static [&'static str]),
    /// Below a folder whose name begins with a dot, `.well-known` aside (RFC 8615).
    UnderDot,
    /// An older state of another file.
    Older,
    /// The same of code, by anything behind its ending.
    OlderCode,
    /// An archive that is named like a copy of the site.
    SiteArchive,
    /// YAML or TOML that is named like settings.
    YamlNamed,
    /// A document that is named like a list of accounts.
    Telling,
    /// A note: text under the usual endings, or without one.
    Note,
    /// A table or a file of records.
    Table,
    /// Anything but a page and what pages are made of.
    NoPage,
}

/// Which content, as far as it was read.
#[derive(Debug, Clone, Copy)]
enum ContentKind {
    Anything,
    Empty,
    Begins(&'static [u8]),
    Holds(&'static [u8]),
    /// `#!` at the beginning.
    Shebang,
    /// `<?php`, `<?=` or `<?`.
    PhpTag,
    /// `<?php` or `<?=`.
    LongPhpTag,
    /// `<%`.
    AspTag,
    /// Any of these.
    Code,
    /// A line that begins a private key in PEM form (RFC 7468), or OpenSSH's.
    PrivateKey,
    /// The same, encrypted with a passphrase.
    EncryptedKey,
    /// Statements that fill a table.
    SqlRows,
    /// A password or the like with a value.
    Secret,
    /// A list of accounts, as people write it.
    Accounts,
    /// Mail addresses of two people at least.
    People,
    /// Lines of fields with the sign that scripts for bulletin boards put between them.
    Records,
    /// A password or key with a value that is no word, in any kind of text.
    SetsPassword,
}

/// What a rule says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ManifestVerdict {
    pub(super) class: FileClass,
    pub(super) what: &'static str,
    pub(super) severity: Severity,
    pub(super) lines: LineProof,
}

/// Holds the table against a file: its path below the document root, its beginning, and the names
/// of its site.
pub(super) fn classify(path: &[u8], prefix: &[u8], hosts: &[String]) -> ManifestVerdict {
    let (rule, file) = decide(path, prefix, hosts);
    let lines = if rule.lines == LineProof::Inner { file.inner_lines() } else { rule.lines };
    ManifestVerdict { class: rule.class, what: rule.what, severity: rule.severity, lines }
}

fn decide<'a>(
    path: &[u8],
    prefix: &'a [u8],
    hosts: &'a [String],
) -> (&'static ManifestRule, RuleFile<'a>) {
    let file = RuleFile::new(path, prefix, hosts);
    let rule = RULES.iter().find(|r| file.is_named(r.name) && file.has(r.content));
    // The last row is true of every file.
    (rule.unwrap_or(&RULES[RULES.len() - 1]), file)
}

/// A file under the rules.
struct RuleFile<'a> {
    /// The folders above it, in lower case.
    folders: Vec<Vec<u8>>,
    /// In lower case.
    name: Vec<u8>,
    prefix: &'a [u8],
    hosts: &'a [String],
}

impl<'a> RuleFile<'a> {
    fn new(path: &[u8], prefix: &'a [u8], hosts: &'a [String]) -> Self {
        let mut folders: Vec<Vec<u8>> =
            path.split(|b| *b == b'/').map(<[u8]>::to_ascii_lowercase).collect();
        let name = folders.pop().unwrap_or_default();
        Self { folders, name, prefix, hosts }
    }

    fn is_named(&self, name: NamePattern) -> bool {
        match name {
            Any => true,
            Is(names) => names.iter().any(|n| self.name == n.as_bytes()),
            Starts(names) => names.iter().any(|n| self.name.starts_with(n.as_bytes())),
            Ending(endings) => endings.iter().any(|e| ends(&self.name, e)),
            Within(text) => find(&self.name, text.as_bytes()),
            Bare => !self.name.contains(&b'.'),
            Dot => self.name.starts_with(b"."),
            Under(names) => self.folders.iter().any(|f| names.iter().any(|n| f == n.as_bytes())),
            UnderDot => self.folders.iter().any(|f| f.starts_with(b".") && f != b".well-known"),
            Older => self.is_copy(),
            OlderCode => self.is_copy_of_code(),
            SiteArchive => self.is_site_archive(),
            YamlNamed => {
                self.is_named(Ending(&["yml", "yaml", "toml"]))
                    && split_words(&self.name).any(|w| YAML_WORDS.iter().any(|y| w == y.as_bytes()))
            }
            Telling => {
                let document = [
                    "txt", "md", "csv", "tsv", "xls", "xlsx", "ods", "doc", "docx", "odt", "rtf",
                    "pdf", "memo",
                ];
                (self.is_named(Bare) || document.iter().any(|e| ends(&self.name, e)))
                    && TELLING.iter().any(|t| memchr::memmem::find(&self.name, t).is_some())
            }
            Note => {
                self.is_named(Bare)
                    || self.is_named(Ending(&["txt", "md", "memo", "csv", "tsv", "text"]))
            }
            Table => {
                self.is_named(Bare)
                    || self.is_named(Ending(&["csv", "tsv", "dat", "data", "txt", "lst", "list"]))
            }
            NoPage => !OF_PAGES.iter().any(|e| ends(&self.name, e)),
        }
    }

    fn has(&self, content: ContentKind) -> bool {
        let text = strip_bom(self.prefix);
        match content {
            Anything => true,
            Empty => self.prefix.is_empty(),
            Begins(magic) => self.prefix.starts_with(magic),
            Holds(part) => find(text, part),
            Shebang => text.starts_with(b"#!"),
            PhpTag => measure_php_tags(text).any(|_| true),
            LongPhpTag => measure_php_tags(text).any(|length| length > 2),
            AspTag => find(text, b"<%"),
            // An archive may hold the bytes of a tag by chance.
            Code if text.contains(&0) => false,
            Code => self.has(PhpTag) || self.has(AspTag) || self.has(Shebang),
            PrivateKey => split_lines(text).any(begins_key),
            EncryptedKey => {
                let mut key = split_lines(text).skip_while(|l| !begins_key(l));
                let first = key.next().is_some_and(|l| find(l, b"ENCRYPTED"));
                first || key.next().is_some_and(|l| l.starts_with(b"Proc-Type: 4,ENCRYPTED"))
            }
            SqlRows => split_lines(text).any(|l| {
                let l = l[..l.len().min(12)].to_ascii_lowercase();
                l.starts_with(b"insert into ") || l.starts_with(b"copy ")
            }),
            Secret => !text.contains(&0) && split_lines(text).any(is_secret),
            Accounts => !text.contains(&0) && is_account_list(text),
            People => !text.contains(&0) && contains_personal_emails(text),
            Records => {
                let record = |l: &[u8]| memchr::memmem::find_iter(l, b"<>").count() >= 2;
                !text.contains(&0) && split_lines(text).any(record)
            }
            SetsPassword => !text.contains(&0) && split_lines(text).any(contains_password_value),
        }
    }

    fn is_copy(&self) -> bool {
        let name = &self.name;
        if COPY_ENDINGS.iter().any(|e| name.ends_with(e.as_bytes()) && name.len() > e.len()) {
            return true;
        }
        name.len() > 2 && name.starts_with(b"#") && name.ends_with(b"#")
    }

    fn is_copy_of_code(&self) -> bool {
        let behind = |at: usize| self.name.get(at).is_some_and(|b| !b.is_ascii_alphanumeric());
        CODE_ENDINGS.iter().any(|ending| {
            memchr::memmem::find_iter(&self.name, ending.as_bytes())
                .any(|at| behind(at + ending.len()))
        })
    }

    fn is_site_archive(&self) -> bool {
        let Some(stem) = ARCHIVES
            .iter()
            .filter(|e| ends(&self.name, e))
            .map(|e| &self.name[..self.name.len() - e.len() - 1])
            .min_by_key(|stem| stem.len())
        else {
            return false;
        };
        let is_date = |rest: &[u8]| rest.iter().all(|b| matches!(b, b'0'..=b'9' | b'-' | b'_'));
        let behind = |word: &[u8]| stem.strip_prefix(word).is_some_and(is_date);
        SITE_STEMS.iter().any(|s| behind(s.as_bytes()))
            || self.hosts.iter().any(|host| {
                let bare = host.strip_prefix("www.").unwrap_or(host);
                let label = bare.split('.').next().unwrap_or(bare);
                behind(host.as_bytes())
                    || behind(bare.as_bytes())
                    || behind(format!("www.{bare}").as_bytes())
                    || behind(label.as_bytes())
            })
    }

    /// How lines are picked from a file of any kind: by the ending below the one of the copy.
    fn inner_lines(&self) -> LineProof {
        if self.has(PhpTag) {
            return LineProof::Php;
        }
        if self.has(AspTag) {
            return LineProof::Asp;
        }
        let mut inner = &self.name[..];
        for ending in COPY_ENDINGS {
            inner = inner.strip_suffix(ending.as_bytes()).unwrap_or(inner);
        }
        if PAGE_ENDINGS.iter().any(|e| ends(inner, e)) { LineProof::None } else { LineProof::Text }
    }
}

/// Whether a name has this ending behind a dot and something before it.
fn ends(name: &[u8], ending: &str) -> bool {
    name.strip_suffix(ending.as_bytes())
        .and_then(|rest| rest.strip_suffix(b"."))
        .is_some_and(|stem| !stem.is_empty())
}

fn find(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

fn split_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| matches!(b, b'\n' | b'\r')).map(<[u8]>::trim_ascii)
}

fn split_words(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.split(|b| !b.is_ascii_alphanumeric())
}

/// The lengths of opening tags of PHP.
fn measure_php_tags(text: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memmem::find_iter(text, b"<?").filter_map(|at| measure_opening_tag(&text[at..]))
}

fn begins_key(line: &[u8]) -> bool {
    line.starts_with(b"-----BEGIN ") && line.ends_with(b"PRIVATE KEY-----")
}

/// Whether a line sets a password or the like to a value.
fn is_secret(line: &[u8]) -> bool {
    let line = &line[..line.len().min(512)];
    let Some(at) = line.iter().position(|b| matches!(b, b'=' | b':')) else { return false };
    let key = line[..at].to_ascii_lowercase();
    let value = line[at + 1..]
        .iter()
        .filter(|b| !matches!(b, b' ' | b'\t' | b'"' | b'\'' | b'=' | b'>' | b';' | b','))
        .count();
    value >= 3
        && !matches!(key.first(), Some(b'#' | b';' | b'/'))
        && SECRET_WORDS.iter().any(|w| find(&key, w))
}

/// Whether a line gives a password or key a value that is no word of a language: `password: x1`,
/// `"dbPassword": "x1"`, `<password>x1</password>`, `<a password='x1'/>`. What a link has as its
/// token is none.
fn contains_password_value(line: &[u8]) -> bool {
    const WORDS: [&[u8]; 8] = [
        b"password",
        b"passwd",
        b"passphrase",
        b"pass",
        b"pwd",
        b"secret",
        b"private_key",
        b"access_key",
    ];
    let line = &line[..line.len().min(4096)];
    let lower = line.to_ascii_lowercase();
    let is_key = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    WORDS.iter().any(|word| {
        memchr::memmem::find_iter(&lower, word).any(|at| {
            let key = lower[..at].iter().rposition(|b| !is_key(b));
            if key.is_some_and(|before| matches!(lower[before], b'?' | b'&' | b'#' | b'/')) {
                return false;
            }
            let rest = &line[at + word.len()..];
            let rest = rest.strip_prefix(b"\"").or(rest.strip_prefix(b"'")).unwrap_or(rest);
            let rest = rest.trim_ascii_start();
            let Some((b':' | b'=' | b'>', value)) = rest.split_first() else { return false };
            let value = value.trim_ascii_start();
            let value = value.strip_prefix(b">").unwrap_or(value).trim_ascii_start();
            let value = value.strip_prefix(b"\"").or(value.strip_prefix(b"'")).unwrap_or(value);
            let end =
                |b: &u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'<' | b',' | b';');
            let value = &value[..value.iter().position(end).unwrap_or(value.len())];
            let letters = value.iter().any(u8::is_ascii_alphabetic);
            let digits = value.iter().any(u8::is_ascii_digit);
            (6..=256).contains(&value.len()) && letters && digits && !is_placeholder(value)
        })
    })
}

#[cfg(test)]
mod tests;
