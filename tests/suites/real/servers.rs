//! Five web servers, one document root: what each gives away is written down, and nothing else is
//! found.

use std::process::Stdio;

use super::daemon::nginx;
use super::*;

/// A server and what it does differently from handing out every file as it is.
struct Server {
    name: &'static str,
    ip: &'static str,
    start: fn(&Lab, &Path, &str) -> Daemon,
    /// Files that it refuses, with 403.
    denies: &'static [&'static str],
    /// Files that it runs instead of handing them out.
    runs: &'static [&'static str],
    /// What it makes itself.
    makes: &'static [&'static str],
}

const SERVERS: [Server; 5] = [
    // Nothing is denied by default.
    Server {
        name: "nginx",
        ip: "198.19.0.17",
        start: start_nginx,
        denies: &[],
        runs: &[],
        makes: &[planted::LISTED],
    },
    // Every distribution's configuration denies `.ht*`, and no other name with a dot.
    Server {
        name: "Apache httpd",
        ip: "198.19.0.18",
        start: start_apache,
        denies: &["/.htpasswd"],
        runs: &[],
        makes: &[planted::LISTED],
    },
    // Debian's configuration keeps script sources back even without a handler for them.
    Server {
        name: "lighttpd",
        ip: "198.19.0.19",
        start: start_lighttpd,
        denies: &["/password.php", planted::PHPINFO],
        runs: &[],
        makes: &[planted::LISTED],
    },
    // Runs every script, lists no folder, and answers a folder's path with the index page of the
    // folder above.
    Server {
        name: "PHP",
        ip: "198.19.0.20",
        start: start_php,
        denies: &[],
        runs: &["/password.php"],
        makes: &[planted::PHPINFO],
    },
    Server {
        name: "Python",
        ip: "198.19.0.21",
        start: start_python,
        denies: &[],
        runs: &[],
        makes: &[planted::LISTED],
    },
];

pub fn each() {
    let lab = Lab::new();
    let dir = folder();
    let d = dir.path();
    planted::document_root(&d.join("www"));
    let _running: Vec<Daemon> = SERVERS.iter().map(|s| (s.start)(&lab, d, s.ip)).collect();
    let run = patrol(&lab, d, "198.19.0.16/29", "ports = \"80\"");
    let (exposed, denied) = (run.ended("exposed"), run.ended("protected"));
    for server in &SERVERS {
        let on = |all: &BTreeSet<Place>| -> BTreeSet<String> {
            all.iter().filter(|(ip, ..)| ip == server.ip).map(|(.., path)| path.clone()).collect()
        };
        let owned = |paths: &[&str]| paths.iter().map(|p| (*p).to_owned()).collect::<BTreeSet<_>>();
        let mut expected = owned(&planted::AS_THEY_ARE);
        expected
            .retain(|p| !server.denies.contains(&p.as_str()) && !server.runs.contains(&p.as_str()));
        expected.extend(owned(server.makes));
        assert_eq!(on(&exposed), expected, "exposed by {} and written down", server.name);
        // Names may be denied that no file has, and a folder that is not listed is one of them.
        let mut there = on(&denied);
        there.retain(|p| d.join("www").join(p.trim_start_matches('/')).is_file());
        assert_eq!(there, owned(server.denies), "denied by {} and written down", server.name);
    }
    run.leaks_nothing(&lab, d);
}

fn start_nginx(lab: &Lab, d: &Path, ip: &str) -> Daemon {
    let servers = format!(
        "server {{ listen {ip}:80; root {}/www; error_page 404 /missing.txt;\n\
         location /backup/ {{ autoindex on; }} }}\n",
        d.display()
    );
    let file = conf(d, "nginx.conf", &nginx(d, &servers));
    start(lab, Command::new("nginx").args(["-c", &file, "-e", "stderr"]), &[&format!("{ip}:80")])
}

fn start_apache(lab: &Lab, d: &Path, ip: &str) -> Daemon {
    let shown = d.display();
    let mut text = String::new();
    for module in ["mpm_event", "authz_core", "dir", "autoindex", "mime"] {
        text += &format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n");
    }
    text += &format!(
        "ServerRoot {shown}\nServerName real.example.jp\nPidFile {shown}/apache.pid\nDefaultRuntimeDir {shown}\n\
         ErrorLog {shown}/apache.log\nListen {ip}:80\nUser www-data\nGroup www-data\nTypesConfig /etc/mime.types\n\
         DocumentRoot {shown}/www\nErrorDocument 404 /missing.txt\n\
         <Directory {shown}/www>\nOptions Indexes FollowSymLinks\nAllowOverride None\nRequire all granted\n</Directory>\n\
         <FilesMatch \"^\\.ht\">\nRequire all denied\n</FilesMatch>\n"
    );
    let file = conf(d, "apache.conf", &text);
    let mut command = Command::new("apache2");
    start(lab, command.args(["-D", "FOREGROUND", "-f", &file]), &[&format!("{ip}:80")])
}

fn start_lighttpd(lab: &Lab, d: &Path, ip: &str) -> Daemon {
    let shown = d.display();
    fs::create_dir_all(d.join("errors")).expect("a folder");
    fs::write(d.join("errors/404.html"), planted::MISSING).expect("an error page");
    let text = format!(
        "server.modules = (\"mod_access\")\nserver.document-root = \"{shown}/www\"\n\
         server.bind = \"{ip}\"\nserver.port = 80\nserver.errorfile-prefix = \"{shown}/errors/\"\n\
         server.errorlog = \"{shown}/lighttpd.log\"\n\
         index-file.names = (\"index.php\", \"index.html\")\nurl.access-deny = (\"~\", \".inc\")\n\
         static-file.exclude-extensions = (\".php\", \".pl\", \".fcgi\")\n\
         $HTTP[\"url\"] =~ \"^/backup/\" {{ dir-listing.activate = \"enable\" }}\n"
    );
    let file = conf(d, "lighttpd.conf", &text);
    start(lab, Command::new("lighttpd").args(["-D", "-f", &file]), &[&format!("{ip}:80")])
}

fn start_php(lab: &Lab, d: &Path, ip: &str) -> Daemon {
    let root = d.join("www").display().to_string();
    let mut command = Command::new("php");
    // phpinfo prints the environment.
    command.env("APP_SECRET", "FAKE-real-environment").stderr(Stdio::null());
    start(lab, command.args(["-S", &format!("{ip}:80"), "-t", &root]), &[&format!("{ip}:80")])
}

fn start_python(lab: &Lab, d: &Path, ip: &str) -> Daemon {
    let root = d.join("www").display().to_string();
    let mut command = Command::new("python3");
    command.stderr(Stdio::null());
    command.args(["-m", "http.server", "--bind", ip, "--directory", &root, "80"]);
    start(lab, &mut command, &[&format!("{ip}:80")])
}
