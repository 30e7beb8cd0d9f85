//! Target lists as people write them, and the messages they get.
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions, too

use std::net::IpAddr;

use insta::assert_snapshot;
use mimawari_targets::diagnostic::{DiagnosticList, TextSource};
use mimawari_targets::list::{self, HostName, MAX_BYTES, MAX_ERRORS, NameError, TargetList};
use mimawari_targets::{AddrRange, Port, PortError, PortSet};

fn read(text: &str) -> Result<TargetList, DiagnosticList> {
    list::parse_text("targets.txt", text)
}

fn refusal(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

/// One line for each item: the message and the remedy.
fn refusals(items: &[&str]) -> String {
    items
        .iter()
        .map(|item| {
            let DiagnosticList(d) =
                list::parse_items("--targets", &[(*item).to_owned()]).unwrap_err();
            assert_eq!(d.len(), 1, "{item}");
            format!("{}: {}\n", d[0].title, d[0].help.as_deref().unwrap())
        })
        .collect()
}

fn summary(t: &TargetList) -> String {
    let addrs = t.addrs().ranges().map(|r| r.to_string());
    addrs.chain(t.names().iter().map(ToString::to_string)).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_list_with_everything_that_is_tolerated() {
    let text = "\u{feff}# the edge\r\n198.51.100.0/25\r\n\r\n   198.51.100.128/25   # adjacent\r\n\
        192.0.2.10 - 192.0.2.12\r\n\t2001:db8::/120\r\nWWW.Example.JP.\r\nweb-1.example.jp#x\r\n203.0.113.7";
    assert_snapshot!(
        summary(&read(text).unwrap()),
        @"192.0.2.10-192.0.2.12 198.51.100.0/24 203.0.113.7 2001:db8::/120 www.example.jp web-1.example.jp"
    );
}

#[test]
fn every_mistake_is_shown_with_its_line() {
    assert_snapshot!(refusal("198.51.100.0/24\n198.51.100.7/24 # host bits\n\nexample_host.jp\n10.0.0.9-10.0.0.1\n198.51.100.200\nwww.example.jp\nWWW.example.jp.\n"), @"
error: `198.51.100.7/24` has host bits set
 --> targets.txt:2:1
  |
2 | 198.51.100.7/24 # host bits
  | ^^^^^^^^^^^^^^^
  |
help: write `198.51.100.0/24` for the block, or `198.51.100.7` for the one address

error: host name `example_host.jp` has the character `_`
 --> targets.txt:4:1
  |
4 | example_host.jp
  | ^^^^^^^^^^^^^^^
  |
help: write the name of the host itself, or its address; host names have no underscore

error: range `10.0.0.9-10.0.0.1` is inverted
 --> targets.txt:5:1
  |
5 | 10.0.0.9-10.0.0.1
  | ^^^^^^^^^^^^^^^^^
  |
help: write `10.0.0.1-10.0.0.9`

error: `198.51.100.200` overlaps `198.51.100.0/24`
 --> targets.txt:6:1
  |
6 | 198.51.100.200
  | ^^^^^^^^^^^^^^ the first is on line 1
  |
help: list each target once; remove one of the two

error: `www.example.jp` is listed twice
 --> targets.txt:8:1
  |
8 | WWW.example.jp.
  | ^^^^^^^^^^^^^^^ the first is on line 7
  |
help: list each target once; remove one of the two
");
}

#[test]
fn each_mistake_has_its_message_and_remedy() {
    assert_snapshot!(refusals(&[
        "",
        "198.51.100.7/24",
        "2001:db8::1/64",
        "198.51.100.0/33",
        "2001:db8::/129",
        "198.51.100.0/",
        "198.51.100.0/+8",
        "198.51.100.0/024",
        "198.51.100.0/255.255.255.0",
        "198.51.100.7/0.0.0.255",
        "198.51.100.0/255.0.255.0",
        "198.51.100.0/0.0.0.0",
        "198.51.100.20-198.51.100.10",
        "198.51.100.1-20",
        "198.51.100.1-2001:db8::1",
        "::ffff:198.51.100.7",
        "::ffff:c633:6407",
        "::ffff:0:0/96",
        "198.051.100.007",
        "010.0.0.0/8",
        "fe80::1%eth0",
        "fe80::%1/64",
        "198.51.100.*",
        "198.51.*.*",
        "198.*.100.1",
        "*.example.jp",
        "198.51.100.7:443",
        "[2001:db8::1]:443",
        "[2001:db8::1]",
        "www.example.jp:8443",
        "https://www.example.jp/",
        "198.51.100.1,198.51.100.2",
        "a.example.jp b.example.jp",
        "198.51.100",
        "198.51.100.256",
        "300",
        "0x7f000001",
        "host.0x1f",
        "2001:db8::zz",
        "example..jp",
        ".",
        "-a.example.jp",
        "a-.example.jp",
        "_dmarc.example.jp",
        "日本.example",
        "exam\u{1b}ple.jp",
        "\u{202e}pj.elpmaxe",
        "example.jp/24",
    ]), @"
a target is empty: write an address, a CIDR block, a range or a host name
`198.51.100.7/24` has host bits set: write `198.51.100.0/24` for the block, or `198.51.100.7` for the one address
`2001:db8::1/64` has host bits set: write `2001:db8::/64` for the block, or `2001:db8::1` for the one address
`198.51.100.0/33`: the prefix length must be a number from 0 to 32: write a prefix length of at most 32, such as `198.51.100.0/32`
`2001:db8::/129`: the prefix length must be a number from 0 to 128: write a prefix length of at most 128, such as `2001:db8::/128`
`198.51.100.0/`: the prefix length must be a number from 0 to 32: write a prefix length of at most 32, such as `198.51.100.0/32`
`198.51.100.0/+8`: the prefix length must be a number from 0 to 32: write a prefix length of at most 32, such as `198.51.100.0/32`
`198.51.100.0/024` has a number with leading zeros: write `198.51.100.0/24`
`198.51.100.0/255.255.255.0` has a dotted netmask: write `198.51.100.0/24`
`198.51.100.7/0.0.0.255` has a dotted netmask: write `198.51.100.0/24`
`198.51.100.0/255.0.255.0` has a dotted netmask: write a prefix length, such as /24; this mask is not one block
`198.51.100.0/0.0.0.0` has a dotted netmask: write a prefix length, such as /24; this mask is not one block
range `198.51.100.20-198.51.100.10` is inverted: write `198.51.100.10-198.51.100.20`
range `198.51.100.1-20` does not end in a whole address: write `198.51.100.1-198.51.100.20`
range `198.51.100.1-2001:db8::1` mixes IPv4 and IPv6: write one range for each family
`::ffff:198.51.100.7` is an IPv4-mapped IPv6 address: write the IPv4 address itself, `198.51.100.7`
`::ffff:c633:6407` is an IPv4-mapped IPv6 address: write the IPv4 address itself, `198.51.100.7`
`::ffff:0:0` is an IPv4-mapped IPv6 address: write the IPv4 address itself, `0.0.0.0`
`198.051.100.007` has a number with leading zeros: write `198.51.100.7`
`010.0.0.0/8` has a number with leading zeros: write `10.0.0.0/8`
`fe80::1%eth0` has an IPv6 zone: leave the zone out; an address of one link only cannot be a target
`fe80::%1/64` has an IPv6 zone: leave the zone out; an address of one link only cannot be a target
`198.51.100.*` has a wildcard: write `198.51.100.0/24`
`198.51.*.*` has a wildcard: write `198.51.0.0/16`
`198.*.100.1` has a wildcard: write a CIDR block or a range
host name `*.example.jp` has the character `*`: list each host by name; a wildcard cannot be looked up
`198.51.100.7:443` has a port: write `198.51.100.7`; ports are chosen apart from addresses
`[2001:db8::1]:443` has a port: write `2001:db8::1`; ports are chosen apart from addresses
`[2001:db8::1]` has brackets: write `2001:db8::1`
`www.example.jp:8443` has a port: write `www.example.jp`; ports are chosen apart from names
`https://www.example.jp/` is a URL: write the host alone, without scheme and path
`198.51.100.1,198.51.100.2` is more than one target: write each target as an item or a line of its own
`a.example.jp b.example.jp` is more than one target: write each target as an item or a line of its own
`198.51.100` is not an address, a CIDR block or a range: write 198.51.100.0/24, 198.51.100.10-198.51.100.20, 198.51.100.7 or 2001:db8::/120
`198.51.100.256` is not an address, a CIDR block or a range: write 198.51.100.0/24, 198.51.100.10-198.51.100.20, 198.51.100.7 or 2001:db8::/120
`300` is not an address, a CIDR block or a range: write 198.51.100.0/24, 198.51.100.10-198.51.100.20, 198.51.100.7 or 2001:db8::/120
`0x7f000001` is neither an address nor a host name: its last label is a number: write the address in full, such as 198.51.100.7, or a host name
`host.0x1f` is neither an address nor a host name: its last label is a number: write the address in full, such as 198.51.100.7, or a host name
`2001:db8::zz` is not an address, a CIDR block or a range: write 198.51.100.0/24, 198.51.100.10-198.51.100.20, 198.51.100.7 or 2001:db8::/120
host name `example..jp` has an empty label: write a host name such as www.example.jp
`.` is not an address, a CIDR block or a range: write 198.51.100.0/24, 198.51.100.10-198.51.100.20, 198.51.100.7 or 2001:db8::/120
host name `-a.example.jp` has a label that begins or ends with a hyphen: write a host name such as www.example.jp
host name `a-.example.jp` has a label that begins or ends with a hyphen: write a host name such as www.example.jp
host name `_dmarc.example.jp` has the character `_`: write the name of the host itself, or its address; host names have no underscore
host name `日本.example` has the character `日`: write the name in its ASCII form, which begins with xn--
host name `exam�ple.jp` has the character `�`: write a host name such as www.example.jp
host name `�pj.elpmaxe` has the character `�`: write a host name such as www.example.jp
`example.jp/24` is not an address, a CIDR block or a range: write 198.51.100.0/24, 198.51.100.10-198.51.100.20, 198.51.100.7 or 2001:db8::/120
");
}

#[test]
fn names_have_limits() {
    let label = "a".repeat(63);
    let name = |s: &str| s.parse::<HostName>();
    assert!(name(&label).is_ok());
    assert!(matches!(name(&format!("a{label}")), Err(NameError::LabelTooLong(_))));
    let longest = format!("{label}.{label}.{label}.{}", &label[..61]);
    assert_eq!(longest.len(), 253);
    assert_eq!(name(&longest).unwrap().as_str(), longest);
    assert_eq!(name(&format!("{longest}.")).unwrap().as_str(), longest);
    assert!(matches!(name(&format!("{longest}b")), Err(NameError::TooLong(_))));
    let flood = name(&"x".repeat(10 << 20)).unwrap_err();
    assert!(flood.to_string().len() < 200);
    assert_eq!(name("XN--Wgv71A119E.Example").unwrap().to_string(), "xn--wgv71a119e.example");
    assert!(name("1.2.3.4-web.example").is_ok());
    assert!(name("3com").is_ok());
}

#[test]
fn overlaps_are_found_whatever_the_order() {
    // Of three nested ranges, each but the first in address order is reported once.
    let d = read("10.0.0.0/8\n10.1.0.0/16\n10.1.1.0/24\n10.2.0.1\n11.0.0.0/8").unwrap_err();
    let lines: Vec<usize> = d.0.iter().map(|d| d.line()).collect();
    assert_eq!(lines, [2, 3, 4]);
    // The later line is the culprit, also when it is the wider one.
    let d = read("10.1.0.0/16\n10.0.0.0/8").unwrap_err();
    assert_eq!((d.0.len(), d.0[0].line()), (1, 2));
    // Chains: 1-5, 4-9, 8-12.
    let d = read("10.0.0.8-10.0.0.12\n10.0.0.1-10.0.0.5\n10.0.0.4-10.0.0.9").unwrap_err();
    assert_eq!(d.0.iter().map(|d| d.line()).collect::<Vec<_>>(), [3, 3]);
    assert!(read("10.0.0.0-10.0.0.4\n10.0.0.5-10.0.0.9\n::a00:0-::a00:9").is_ok());
}

#[test]
fn a_list_of_nothing_is_refused_and_an_empty_array_is_not() {
    assert_snapshot!(refusal("# nothing yet\n\n"), @"
error: the list names no target
 --> targets.txt:1:1
  |
1 | # nothing yet
  | ^
  |
help: write one CIDR block, range, address or host name on each line
");
    assert!(list::parse_items("--targets", &[]).unwrap().is_empty());
    assert!(list::parse_spanned(&TextSource::new("x", ""), &[]).unwrap().is_empty());
}

#[test]
fn mistakes_in_a_larger_file_point_into_it() {
    let text =
        "[scope]\nallow = [\"198.51.100.0/24\", \"198.51.100.9\"]\ndeny = [\"10.0.0.1/8\"]\n";
    let source = TextSource::new("patrol.toml", text);
    let span = |s: &str| {
        let at = text.find(s).unwrap();
        (at..at + s.len(), s.trim_matches('"').to_owned())
    };
    let items = [span("\"198.51.100.0/24\""), span("\"198.51.100.9\""), span("\"10.0.0.1/8\"")];
    assert_snapshot!(list::parse_spanned(&source, &items).unwrap_err(), @r#"
error: `198.51.100.9` overlaps `198.51.100.0/24`
 --> patrol.toml:2:29
  |
2 | allow = ["198.51.100.0/24", "198.51.100.9"]
  |                             ^^^^^^^^^^^^^^ the first is on line 2
  |
help: list each target once; remove one of the two

error: `10.0.0.1/8` has host bits set
 --> patrol.toml:3:9
  |
3 | deny = ["10.0.0.1/8"]
  |         ^^^^^^^^^^^^
  |
help: write `10.0.0.0/8` for the block, or `10.0.0.1` for the one address
"#);
    assert_eq!(summary(&list::parse_spanned(&source, &items[..1]).unwrap()), "198.51.100.0/24");
}

#[test]
fn many_mistakes_are_counted_and_the_first_are_shown() {
    let text: String = (0..MAX_ERRORS + 7).map(|i| format!("10.0.{i}.1/24\n")).collect();
    let DiagnosticList(d) = read(&text).unwrap_err();
    assert_eq!(d.len(), MAX_ERRORS + 1);
    assert!(d.iter().map(|d| d.line()).eq(1..=MAX_ERRORS + 1));
    assert_eq!(d[MAX_ERRORS].title, "and 7 more mistakes in this list");
    // Exactly the limit: all shown, none counted.
    let text: String = (0..MAX_ERRORS).map(|i| format!("10.0.{i}.1/24\n")).collect();
    assert_eq!(read(&text).unwrap_err().0.len(), MAX_ERRORS);
    // Mistakes of three kinds, shown in the order of the list.
    let text: String = (0..100).map(|i| format!("10.0.0.0/8\nh.jp\n1.1.{i}.1/24\n")).collect();
    let DiagnosticList(d) = read(&text).unwrap_err();
    assert!(d.windows(2).all(|w| w[0].span.start < w[1].span.start));
    assert_eq!(d[MAX_ERRORS].title, format!("and {} more mistakes in this list", 298 - MAX_ERRORS));
}

#[test]
fn a_million_lines_are_read_and_a_million_mistakes_too() {
    let ip = |i: u32| IpAddr::V4((0x0a00_0000 + 2 * i).into());
    let good: String = (0..1_000_000).map(|i| format!("{}\n", ip(i))).collect();
    assert_eq!(read(&good).unwrap().addrs().len(), 1_000_000);
    let reversed: String = (0..1_000_000).rev().map(|i| format!("{}\n", ip(i))).collect();
    assert_eq!(read(&reversed).unwrap(), read(&good).unwrap());
    // Each overlaps the first.
    let nested = format!("10.0.0.0/8\n{good}");
    let DiagnosticList(d) = read(&nested).unwrap_err();
    assert_eq!(d[MAX_ERRORS].title, "and 999950 more mistakes in this list");
    let bad = "198.51.100.1/24\n".repeat(1_000_000);
    assert_eq!(read(&bad).unwrap_err().0.len(), MAX_ERRORS + 1);
    let names: String = (0..1_000_000).map(|i| format!("h{i}.example.jp\n")).collect();
    assert_eq!(read(&names).unwrap().names().len(), 1_000_000);
}

#[test]
fn a_text_without_end_is_refused() {
    let text = "\n".repeat(MAX_BYTES + 1);
    assert_snapshot!(refusal(&text), @"
error: the list is longer than 64 MiB
 --> targets.txt:1:1
  |
1 |
  | ^
  |
help: write ranges and CIDR blocks instead of single addresses
");
}

#[test]
fn a_line_without_end_is_cut() {
    let line = format!("198.51.100.1\n{}\n", "z/".repeat(5 << 20));
    let message = refusal(&line);
    assert!(message.len() < 20_000, "{}", message.len());
    assert!(message.contains("targets.txt:2:1"), "{message}");
}

#[test]
fn control_characters_do_not_reach_the_screen() {
    let text = "198.51.100.1\u{1b}[2J\u{9b}31m\u{202e}\u{7}\n";
    let message = list::parse_text("evil\u{1b}]0;name", text).unwrap_err().to_string();
    assert!(!message.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\u{7}']), "{message:?}");
    assert!(message.contains("198.51.100.1"));
}

#[test]
fn bytes_that_are_no_text_are_shown_by_line() {
    let error = TextSource::from_bytes("list", b"198.51.100.1\nb\xffd\n".to_vec()).unwrap_err();
    assert_snapshot!(error, @"
error: this line is not UTF-8
 --> list:2:2
  |
2 | b�d
  |  ^
  |
help: save the text as UTF-8
");
    let error = TextSource::from_bytes("list", b"\xff\xfe1\0".to_vec()).unwrap_err();
    assert_snapshot!(error, @"
error: this text is UTF-16
 --> list:1:1
  |
1 |
  | ^
  |
help: save it as UTF-8
");
    assert_eq!(TextSource::from_bytes("list", b"ok".to_vec()).unwrap().text(), "ok");
}

#[test]
fn lists_are_joined() {
    let mut a = read("10.0.0.0/24\na.example").unwrap();
    a.extend(read("10.0.0.128/24-").unwrap_or_default());
    a.extend(read("10.0.0.128-10.0.1.255\nb.example\nA.example").unwrap());
    assert_eq!(summary(&a), "10.0.0.0/23 a.example b.example");
}

#[test]
fn the_named_port_lists() {
    let ports = |s: &str| s.parse::<PortSet>().unwrap();
    let (hundred, thousand) = (ports("top100"), ports("top1000"));
    assert_eq!((hundred.len(), thousand.len(), ports("all").len()), (100, 1000, 65_535));
    assert!(hundred.iter().all(|p| thousand.contains(p)));
    let mut sorted: Vec<Port> = thousand.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted, thousand.iter().collect::<Vec<_>>());
    // A named list may stand beside single ports, and twice.
    assert_eq!(ports("22,top100, 60000,top100").len(), 101);
    assert_eq!(ports("all,22,top1000"), PortSet::all());
}

#[test]
fn port_lists_are_strict() {
    let refused = |s: &str| s.parse::<PortSet>().unwrap_err().to_string();
    let all: Vec<String> = [
        "",
        " ",
        "22,,80",
        "22,",
        "0",
        "65536",
        "99999999999",
        "080",
        "0-10",
        "+22",
        "22-",
        "-22",
        "80-22",
        "22,20-30",
        "443,443",
        "http",
        "top10",
        "22 80",
        "1-2-3",
        "\u{1b}[31m",
        "２２",
    ]
    .iter()
    .map(|s| refused(s))
    .collect();
    assert_snapshot!(all.join("\n"), @"
the port list is empty; name at least one port, such as 22,80,443
the port list is empty; name at least one port, such as 22,80,443
the port list has an empty item; remove the extra comma
the port list has an empty item; remove the extra comma
port `0` is out of range; ports go from 1 to 65535
port `65536` is out of range; ports go from 1 to 65535
port `99999999999` is out of range; ports go from 1 to 65535
port `080` has leading zeros; write `80`
port `0` is out of range; ports go from 1 to 65535
`+22` is not a port; write a number, a range such as 8000-8100, or top100, top1000, all
`22-` is not a port; write a number, a range such as 8000-8100, or top100, top1000, all
`-22` is not a port; write a number, a range such as 8000-8100, or top100, top1000, all
port range `80-22` is inverted; write `22-80`
`20-30` overlaps `22`; list each port once
`443` overlaps `443`; list each port once
`http` is not a port; write a number, a range such as 8000-8100, or top100, top1000, all
`top10` is not a port; write a number, a range such as 8000-8100, or top100, top1000, all
`22 80` is not a port; write a number, a range such as 8000-8100, or top100, top1000, all
`2-3` is not a port; write a number, a range such as 8000-8100, or top100, top1000, all
`�[31m` is not a port; write a number, a range such as 8000-8100, or top100, top1000, all
`２２` is not a port; write a number, a range such as 8000-8100, or top100, top1000, all
");
    assert!(refused(&"9".repeat(1 << 20)).len() < 400);
    // Many items, and the overlap at the very end.
    let many = (1..=65_535).map(|p| p.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(many.parse::<PortSet>().unwrap(), PortSet::all());
    assert!(matches!(format!("{many},7").parse::<PortSet>(), Err(PortError::Overlap { .. })));
}

#[test]
fn a_set_is_read_from_json_with_the_same_rules() {
    let read = |s: &str| serde_json::from_str::<mimawari_targets::AddrSet>(s);
    assert_eq!(read(r#"["192.0.2.0/24"]"#).unwrap().len(), 256);
    let error = read(r#"["192.0.2.1/24"]"#).unwrap_err().to_string();
    assert!(error.starts_with("`192.0.2.1/24` has host bits set"), "{error}");
    assert!(serde_json::from_str::<PortSet>("\"0\"").is_err());
    assert!("192.0.2.0/24".parse::<AddrRange>().unwrap().contains("192.0.2.255".parse().unwrap()));
}
