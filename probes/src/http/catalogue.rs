//! The table of checks.

use std::collections::BTreeMap;

use super::matcher::{self, Matcher};
use crate::observation::Severity;

/// One check: paths that must not be served, and the fact about their content that makes it a hit.
#[derive(Debug, Clone)]
pub struct Check {
    /// A stable, lower-case name.
    pub id: &'static str,
    /// What is exposed, in a line.
    pub title: &'static str,
    /// How bad a hit is, unless the content says otherwise.
    pub severity: Severity,
    /// 1 for every hour, 2 for every day, 3 for every week.
    pub tier: u8,
    /// The paths that are asked for.
    pub paths: Vec<&'static str>,
    /// What it means for the customer.
    pub why: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    pub(super) matcher: Matcher,
}

/// All checks.
#[derive(Debug, Clone)]
pub struct Catalogue {
    checks: Vec<Check>,
}

/// One path to ask for, with the checks that read its answer.
#[derive(Debug, Clone)]
pub struct PathPlan<'a> {
    /// Path and query, as sent.
    pub path: String,
    /// At least one.
    pub checks: Vec<&'a Check>,
}

impl Catalogue {
    /// The checks that come with the product.
    #[must_use]
    pub fn builtin() -> Self {
        Self { checks: table() }
    }

    /// The check with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Check> {
        self.checks.iter().find(|c| c.id == id)
    }

    /// All checks, in the table's order.
    #[must_use]
    pub fn all(&self) -> &[Check] {
        &self.checks
    }

    /// The paths of all checks up to this tier, each once, in the table's order.
    #[must_use]
    pub fn plan(&self, tier: u8) -> Vec<PathPlan<'_>> {
        let mut plans: Vec<PathPlan<'_>> = Vec::new();
        let mut at: BTreeMap<&str, usize> = BTreeMap::new();
        for check in self.checks.iter().filter(|c| c.tier <= tier) {
            for path in &check.paths {
                if let Some(i) = at.get(path) {
                    plans[*i].checks.push(check);
                } else {
                    at.insert(path, plans.len());
                    plans.push(PathPlan { path: (*path).to_owned(), checks: vec![check] });
                }
            }
        }
        plans
    }
}

const ROTATE: &str =
    "Take the file away, then change every credential in it: it must count as read.";
const OUT_OF_ROOT: &str = "Move it out of the document root, and deny the path in the server.";

fn table() -> Vec<Check> {
    use Severity::{Critical, High, Medium};
    vec![
        Check {
            id: "php-source",
            title: "PHP source is served as text",
            severity: Critical,
            tier: 1,
            paths: vec![
                "/password.php",
                "/passwd.php",
                "/pass.php",
                "/config.php",
                "/config.inc.php",
                "/db.php",
                "/dbconfig.php",
                "/conn.php",
                "/connect.php",
                "/settings.php",
                "/wp-config.php",
                "/configuration.php",
                "/index.php",
            ],
            why: "The PHP handler is missing for this virtual host or folder, so every script in it, \
                  with its database passwords, can be read.",
            remedy: "Restore the PHP handler at once, then change every credential in the scripts.",
            matcher: matcher::php_source,
        },
        Check {
            id: "php-backup",
            title: "Copy of a PHP file is served as text",
            severity: High,
            tier: 1,
            paths: vec![
                "/wp-config.php.bak",
                "/wp-config.php.old",
                "/wp-config.php.orig",
                "/wp-config.php.save",
                "/wp-config.php.txt",
                "/wp-config.php~",
                "/config.php.bak",
                "/config.php.old",
                "/config.php~",
            ],
            why: "A copy with another ending is not run by PHP but handed out, passwords included.",
            remedy: ROTATE,
            matcher: matcher::php_backup,
        },
        Check {
            id: "vim-swap",
            title: "Swap file of an editor",
            severity: High,
            tier: 1,
            paths: vec!["/.wp-config.php.swp", "/wp-config.php.swp"],
            why: "It holds the text of the file that was being edited.",
            remedy: ROTATE,
            matcher: matcher::vim_swap,
        },
        Check {
            id: "dotenv",
            title: "Environment file with credentials",
            severity: Critical,
            tier: 1,
            paths: vec!["/.env", "/.env.local", "/.env.production", "/.env.bak", "/.env.old"],
            why: "It holds the application's database, mail and cloud credentials.",
            remedy: ROTATE,
            matcher: matcher::dotenv,
        },
        Check {
            id: "git-config",
            title: "Git repository in the document root",
            severity: High,
            tier: 1,
            paths: vec!["/.git/config"],
            why: "The whole source and its history can be rebuilt from it.",
            remedy: OUT_OF_ROOT,
            matcher: matcher::git_config,
        },
        Check {
            id: "git-head",
            title: "Git repository in the document root (HEAD)",
            severity: High,
            tier: 1,
            paths: vec!["/.git/HEAD"],
            why: "The whole source and its history can be rebuilt, even where the configuration is \
                  denied.",
            remedy: OUT_OF_ROOT,
            matcher: matcher::git_head,
        },
        Check {
            id: "git-credentials",
            title: "Stored Git credentials",
            severity: Critical,
            tier: 2,
            paths: vec!["/.git-credentials"],
            why: "It holds live user names and passwords of code hosts.",
            remedy: ROTATE,
            matcher: matcher::git_credentials,
        },
        Check {
            id: "sql-dump",
            title: "Database dump",
            severity: Critical,
            tier: 1,
            paths: vec![
                "/dump.sql",
                "/backup.sql",
                "/database.sql",
                "/db.sql",
                "/data.sql",
                "/mysql.sql",
            ],
            why: "It holds all rows of the database.",
            remedy: OUT_OF_ROOT,
            matcher: matcher::sql_dump,
        },
        Check {
            id: "sql-gz",
            title: "Compressed database dump",
            severity: Critical,
            tier: 2,
            paths: vec!["/dump.sql.gz", "/backup.sql.gz"],
            why: "It holds all rows of the database.",
            remedy: OUT_OF_ROOT,
            matcher: matcher::sql_gz,
        },
        Check {
            id: "pem-key",
            title: "Private key",
            severity: Critical,
            tier: 1,
            paths: vec!["/server.key", "/privkey.pem", "/private.key", "/key.pem"],
            why: "Whoever holds it can pose as the site.",
            remedy: "Take it away, revoke the certificate, and make a new key.",
            matcher: matcher::pem_key,
        },
        Check {
            id: "ssh-key",
            title: "SSH private key",
            severity: Critical,
            tier: 1,
            paths: vec!["/.ssh/id_rsa", "/id_rsa"],
            why: "It may open a shell on this server and others.",
            remedy: "Take it away, and remove its public half from every authorized_keys file.",
            matcher: matcher::ssh_key,
        },
        Check {
            id: "htpasswd",
            title: "Password file of the web server",
            severity: High,
            tier: 1,
            paths: vec!["/.htpasswd", "/htpasswd"],
            why: "Its hashes can be tried offline for as long as one likes.",
            remedy: ROTATE,
            matcher: matcher::htpasswd,
        },
        Check {
            id: "phpinfo",
            title: "PHP information page",
            severity: Medium,
            tier: 1,
            paths: vec!["/phpinfo.php", "/info.php"],
            why: "It shows the server's configuration and environment variables.",
            remedy: "Delete the script.",
            matcher: matcher::phpinfo,
        },
        Check {
            id: "server-status",
            title: "Apache status page",
            severity: Medium,
            tier: 1,
            paths: vec!["/server-status", "/server-status?auto"],
            why: "It shows the requests of all virtual hosts and who makes them.",
            remedy: "Restrict the location to the addresses of the monitoring.",
            matcher: matcher::server_status,
        },
        Check {
            id: "ds-store",
            title: "Finder's list of file names",
            severity: Medium,
            tier: 1,
            paths: vec!["/.DS_Store"],
            why: "It names files that nothing links to.",
            remedy: "Delete it, and deny the name in the server.",
            matcher: matcher::ds_store,
        },
        Check {
            id: "sftp-json",
            title: "File transfer settings of an editor",
            severity: Critical,
            tier: 1,
            paths: vec![
                "/.vscode/sftp.json",
                "/sftp-config.json",
                "/.ftpconfig",
                "/.remote-sync.json",
            ],
            why: "It holds the customer's account for changing the site.",
            remedy: ROTATE,
            matcher: matcher::sftp_json,
        },
        Check {
            id: "filezilla",
            title: "FileZilla's site list",
            severity: Critical,
            tier: 1,
            paths: vec!["/filezilla.xml", "/sitemanager.xml", "/recentservers.xml"],
            why: "It holds accounts for changing this and other sites.",
            remedy: ROTATE,
            matcher: matcher::filezilla,
        },
        Check {
            id: "aws-credentials",
            title: "AWS credentials",
            severity: Critical,
            tier: 2,
            paths: vec!["/.aws/credentials", "/aws/credentials"],
            why: "It opens a cloud account.",
            remedy: ROTATE,
            matcher: matcher::aws_credentials,
        },
        Check {
            id: "dir-listing",
            title: "Listing of a folder with copies",
            severity: Medium,
            tier: 2,
            paths: vec!["/backup/", "/backups/", "/old/", "/bak/", "/sql/"],
            why: "It leads to copies and dumps, whatever their names.",
            remedy: "Switch the listing off, and move the folder out of the document root.",
            matcher: matcher::dir_listing,
        },
        Check {
            id: "zip",
            title: "ZIP archive of the site",
            severity: High,
            tier: 2,
            paths: vec!["/backup.zip", "/www.zip", "/site.zip", "/html.zip"],
            why: "It is most often a copy of the whole site, configuration included.",
            remedy: OUT_OF_ROOT,
            matcher: matcher::zip,
        },
        Check {
            id: "tar-gz",
            title: "Compressed tar archive of the site",
            severity: High,
            tier: 2,
            paths: vec!["/backup.tar.gz", "/www.tar.gz", "/site.tar.gz"],
            why: "It is most often a copy of the whole site, configuration included.",
            remedy: OUT_OF_ROOT,
            matcher: matcher::tar_gz,
        },
        Check {
            id: "svn-wcdb",
            title: "Subversion working copy in the document root",
            severity: High,
            tier: 2,
            paths: vec!["/.svn/wc.db"],
            why: "The source can be rebuilt from it.",
            remedy: OUT_OF_ROOT,
            matcher: matcher::svn_wcdb,
        },
        Check {
            id: "svn-entries",
            title: "Subversion working copy in the document root (entries)",
            severity: High,
            tier: 2,
            paths: vec!["/.svn/entries"],
            why: "The source can be rebuilt from it.",
            remedy: OUT_OF_ROOT,
            matcher: matcher::svn_entries,
        },
    ]
}
