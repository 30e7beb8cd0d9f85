use std::fs;
use std::io::Write;

use mimawari_targets::diagnostic::{Diagnostic, DiagnosticList};
use mimawari_targets::{AddrRange, AddrSet, Scope};

use super::*;

fn scope() -> Scope {
    let set = |t: &[&str]| AddrSet::from_ranges(t.iter().map(|s| s.parse::<AddrRange>().unwrap()));
    let (allow, deny) = (["198.51.100.0/24", "2001:db8::/64"], ["198.51.100.1"]);
    Scope::new(set(&allow), set(&deny), "test")
}

fn index(text: &[u8]) -> Result<VhostIndex, DiagnosticList> {
    VhostIndex::spool("vhosts.csv", text, &scope(), &std::env::temp_dir())
}

fn all(index: &VhostIndex) -> Vec<VirtualHost> {
    index.addresses().flat_map(|ip| index.hosts(ip)).collect::<Result<_, _>>().unwrap()
}

fn read(text: &str) -> Result<Vec<VirtualHost>, DiagnosticList> {
    index(text.as_bytes()).map(|i| all(&i))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn refusal(text: &str) -> Diagnostic {
    let mut skipped = index(text.as_bytes()).unwrap().skipped().clone();
    assert_eq!((skipped.rows, skipped.shown.len()), (1, 1), "{skipped:?}");
    skipped.shown.remove(0)
}

#[test]
fn all_forms_of_a_line() {
    let text = "\u{feff}ip,host,port,scheme\r\n\
        198.51.100.7,Shop.Example.JP.\r\n\
        \r\n\
        # a remark, with a comma\r\n\
        \"198.51.100.7\",\"admin.example.jp\", 8443 ,HTTPS\r\n\
        2001:db8::7,xn--eckwd4c7c.example.jp,,http\r\n\
        198.51.100.8,a_b.example.jp,8080,\r\n\
        198.51.100.7,shop.example.jp\r\n";
    let v = |ip: &str, host: &str, port, scheme| VirtualHost {
        ip: ip.parse().unwrap(),
        host: host.to_owned(),
        port: Port::new(port),
        scheme,
    };
    assert_eq!(
        read(text).unwrap(),
        [
            v("198.51.100.7", "shop.example.jp", 0, None),
            v("198.51.100.7", "admin.example.jp", 8443, Some(UrlScheme::Https)),
            v("198.51.100.8", "a_b.example.jp", 8080, None),
            v("2001:db8::7", "xn--eckwd4c7c.example.jp", 0, Some(UrlScheme::Http)),
        ]
    );
    assert_eq!(read("").unwrap(), []);
    assert_eq!(read("\u{feff}").unwrap(), []);
    assert_eq!(read("ip,host\n").unwrap(), []);
    // Without a header, and without a line end.
    assert_eq!(read("198.51.100.7,a.example").unwrap().len(), 1);
}

#[test]
fn refusals_point_at_the_line() {
    let out = refusal("ip,host\r\n198.51.100.7,a.example\r\n\r\n203.0.113.9,b.example\r\n");
    assert_eq!(out.line(), 4);
    insta::assert_snapshot!(out, @r"
    error: 203.0.113.9 is not in the scope
     --> vhosts.csv:4:1
      |
    4 | 203.0.113.9,b.example
      | ^^^^^^^^^^^ no request may leave for this address
      |
    help: remove the line, or add the address to [scope] allow
    ");
    // Denied inside the allowed block.
    assert_eq!(refusal("198.51.100.1,a.example").title, "198.51.100.1 is not in the scope");
    insta::assert_snapshot!(refusal("# x\n198.51.100.7,ショ ップ.example.jp,80"), @r"
    error: host `ショ ップ.example.jp` has no A-label form
     --> vhosts.csv:2:14
      |
    2 | 198.51.100.7,ショ ップ.example.jp,80
      |              ^^^^^^^^^^^^^^^^^^^^
      |
    help: correct the name, or write its A-label form, such as xn--eckwd4c7c.example.jp
    ");
}

#[test]
fn each_mistake_has_its_own_words() {
    let cases = [
        ("198.51.100.7", "this line has no host"),
        ("198.51.100.7,", "`` is not a host name"),
        ("198.51.100.7,a.example,80,http,x", "this line has more than four fields"),
        ("shop,a.example", "`shop` is not an address"),
        ("198.51.100.0/24,a.example", "`198.51.100.0/24` is not an address"),
        ("198.51.100.7,a.example,0", "`0` is not a port"),
        ("198.51.100.7,a.example,http", "`http` is not a port"),
        ("198.51.100.7,a.example,,ftp", "`ftp` is not a scheme"),
        ("198.51.100.7,*.example", "`*.example` is a wildcard"),
        ("198.51.100.7,http://a.example/", "`http://a.example/` is a URL"),
        ("198.51.100.7,a.example:8080", "host `a.example:8080` holds a port"),
        ("198.51.100.7,198.51.100.7", "host `198.51.100.7` is an address"),
        ("198.51.100.7,[2001:db8::1]", "host `[2001:db8::1]` is an address"),
        ("198.51.100.7,-a.example", "`-a.example` is not a host name"),
        ("198.51.100.7,a..example", "`a..example` is not a host name"),
        ("198.51.100.7,a b.example", "`a b.example` is not a host name"),
        ("198.51.100.7,1.2.3", "`1.2.3` is not a host name"),
        ("198.51.100.7,\"a\r\nX: y\"", "`a\\nX: y` is not a host name"),
    ];
    for (text, title) in cases {
        assert_eq!(refusal(text).title, title, "{text}");
        assert!(refusal(text).help.is_some(), "{text}");
    }
}

#[test]
fn all_mistakes_are_named_up_to_a_bound() {
    let many = "203.0.113.9,a.example\n".repeat(50);
    let index = index(many.as_bytes()).unwrap();
    let skipped = index.skipped();
    assert_eq!((skipped.rows, skipped.shown.len()), (50, 20));
}

#[test]
fn not_utf8() {
    let rows = index(b"198.51.100.7,a.example\n198.51.100.7,\x83\x56\n").unwrap();
    let out = &rows.skipped().shown[0];
    assert_eq!((out.title.as_str(), out.line()), ("line 2 is not UTF-8", 2));
    let all = index(b"\xff\xfei\0p\0,\0h\0\n\0").unwrap_err().0;
    assert_eq!((all[0].title.as_str(), all.len()), ("this text is UTF-16", 1));
}

#[test]
fn a_line_has_a_limit_and_the_file_has_none() {
    let long = format!(
        "198.51.100.7,a.example\n198.51.100.7,{}\n203.0.113.9,x.example\n",
        "a".repeat(70_000)
    );
    let out = index(long.as_bytes()).unwrap_err().0.remove(0);
    assert_eq!((out.title.as_str(), out.line()), ("line 2 is over 64 KiB", 2));
    assert!(out.to_string().len() < 1000, "{out}");
    let open = format!("198.51.100.7,\"a.example\n{}", "198.51.100.7,b.example\n".repeat(5000));
    assert_eq!(index(open.as_bytes()).unwrap_err().0[0].title, "line 1 is over 64 KiB");
    // The line is in the message whatever lies before it.
    let far = format!("{}203.0.113.9,x.example\n", "198.51.100.7,b.example\n".repeat(70_000));
    assert_eq!(refusal(&far).line(), 70_001);
}

#[test]
fn no_field_holds_a_line_break() {
    for text in ["198.51.100.7,a.example,\"80\n\"", "198.51.100.7,a.example,,\"\rhttp\""] {
        assert_eq!(refusal(text).title, "a field holds a line break", "{text:?}");
    }
}

#[test]
fn hosts_are_those_of_the_address_and_each_once() {
    let text = "ip,host\n198.51.100.9,a.example\n198.51.100.9,b.example\n\n# remark\n\
        198.51.100.7,c.example\r198.51.100.9,A.example.\r\n198.51.100.9,a.example,80\n\
        2001:db8::ffff:0:1,d.example\n198.51.100.9,\"e.example\"";
    let index = index(text.as_bytes()).unwrap();
    assert_eq!(index.rows(), 7);
    let addresses: Vec<IpAddr> = index.addresses().collect();
    assert_eq!(addresses, ["198.51.100.7", "198.51.100.9", "2001:db8::ffff:0:1"].map(ip));
    let of = |a: &str| -> Vec<String> {
        index.hosts(ip(a)).map(|v| v.unwrap()).map(|v| format!("{} {:?}", v.host, v.port)).collect()
    };
    let port = format!("a.example {:?}", Port::new(80));
    assert_eq!(of("198.51.100.9"), ["a.example None", "b.example None", &port, "e.example None"]);
    assert_eq!(of("198.51.100.7"), ["c.example None"]);
    assert_eq!(of("2001:db8::ffff:0:1"), ["d.example None"]);
    // In the scope without a row, denied, and outside.
    for a in ["198.51.100.8", "198.51.100.1", "203.0.113.9", "2001:db8::ffff:0:2"] {
        assert_eq!((of(a).len(), index.count(ip(a))), (0, 0), "{a}");
    }
    assert_eq!(index.count(ip("198.51.100.9")), 5);
}

#[test]
fn many_readers_read_at_once() {
    fn is_send<T: Send + 'static>(_: &T) {}
    let mut text = String::new();
    for row in 0..30_000 {
        text.push_str(&format!("198.51.100.{},h{row}.example\n", 2 + row % 3));
        text.push_str(&format!("198.51.100.{},g{row}.example\n", 2 + row % 3));
    }
    let index = index(text.as_bytes()).unwrap();
    let mut readers: Vec<HostList> = index.addresses().map(|a| index.hosts(a)).collect();
    is_send(&readers);
    for row in 0..30_000 {
        for start in ["h", "g"] {
            let vhost = readers[row % 3].next().unwrap().unwrap();
            assert_eq!(vhost.host, format!("{start}{row}.example"));
        }
    }
    assert!(readers.iter_mut().all(|r| r.next().is_none()));
}

#[test]
fn a_list_that_changes_gives_an_error_and_never_another_host() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vhosts.csv");
    // Longer than a reader's buffer.
    let rows = 1000;
    let text = "198.51.100.7,aaa.example\n".repeat(rows) + "198.51.100.8,bbb.example\n";
    let ends = |changed: &str, same_time: bool| {
        fs::write(&path, &text).unwrap();
        let index = VhostIndex::open(&path.as_path().into(), &scope(), dir.path()).unwrap();
        let mut hosts = index.hosts(ip("198.51.100.8"));
        let mut begun = index.hosts(ip("198.51.100.7"));
        assert_eq!(begun.next().unwrap().unwrap().host, "aaa.example");
        let facts = fs::metadata(&path).unwrap();
        let mut file = fs::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        file.write_all(changed.as_bytes()).unwrap();
        // The same time as if the clock had not moved: what is left is to read the rows themselves.
        let later = std::time::Duration::from_secs(u64::from(!same_time));
        file.set_modified(facts.modified().unwrap() + later).unwrap();
        let error = hosts.next().unwrap().unwrap_err().to_string();
        assert!(error.contains(":1001: the list of virtual hosts changed"), "{error}");
        assert!(hosts.next().is_none(), "nothing comes after the error");
        begun.map(|v| v.map(|v| v.host)).filter_map(Result::err).count()
    };
    // Other lengths, whatever the time says.
    for changed in ["", "198.51.100.8,evil.example\n", &text.replace("bbb", "bbbbb")] {
        assert_eq!(ends(changed, true), 1);
    }
    // The same length at another time.
    assert_eq!(ends(&text.replace("bbb", "ccc"), false), 1);
    // The same length and time: another address, one outside the scope, and no address at all.
    for other in ["198.51.100.9", "203.0.113.99", "198.51.100.x"] {
        ends(&text.replace("198.51.100.8", other), true);
    }
}

#[test]
fn a_list_that_is_renamed_away_is_still_the_one_that_was_checked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vhosts.csv");
    fs::write(&path, "198.51.100.7,a.example\n").unwrap();
    let index = VhostIndex::open(&path.as_path().into(), &scope(), dir.path()).unwrap();
    fs::write(dir.path().join("new"), "198.51.100.7,b.example\n").unwrap();
    fs::rename(dir.path().join("new"), &path).unwrap();
    assert_eq!(all(&index)[0].host, "a.example");
}

#[test]
fn pipes_are_copied_and_folders_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (writer, to) = (path.clone(), "198.51.100.7,a.example\n".repeat(20_000));
    let writing = std::thread::spawn(move || fs::write(writer, to).unwrap());
    let index = VhostIndex::open(&path.as_path().into(), &scope(), dir.path()).unwrap();
    writing.join().unwrap();
    assert_eq!((index.rows(), all(&index).len()), (20_000, 1));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the copy has no name");

    let error = VhostIndex::open(&dir.path().into(), &scope(), dir.path()).unwrap_err();
    assert!(mimawari_base::failure::render(&error).contains("Is a directory"), "{error:#}");
    let error =
        VhostIndex::open(&dir.path().join("none").into(), &scope(), dir.path()).unwrap_err();
    assert!(mimawari_base::failure::render(&error).contains("none: No such file"), "{error:#}");
    let error = VhostIndex::spool("<stdin>", &b"x"[..], &scope(), &path).unwrap_err();
    assert!(error.0[0].title.starts_with("cannot keep a copy"), "{error}");
}
