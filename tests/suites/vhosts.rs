//! The list of virtual hosts at the size that hosting companies have, and its names against a name
//! server on loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use mimawari_look::http::pointing::{DnsSummary, check_names};
use mimawari_probes::gap::Gap;
use mimawari_probes::observation::DnsPointing;
use mimawari_report::describe_gap;
use mimawari_targets::dns::{NameResolver, SystemResolver};
use mimawari_targets::{AddrRange, AddrSet, Scope};
use mimawari_tests::fake::{FakeDns, FakeSite, Zone};
use tokio::sync::mpsc;

// ---------------------------------------------------------------------------------------------
// Size.

/// What a summary notes, as sentences.
fn sentences(summary: &DnsSummary) -> Vec<String> {
    summary.gaps().into_iter().map(|gap: Gap| describe_gap(&gap.noted())).collect()
}

/// Writes a list of distinct hosts over 4096 addresses, in the order of the addresses or in none.
fn write_list(path: &Path, rows: u32, sorted: bool) {
    let mut out = BufWriter::new(std::fs::File::create(path).unwrap());
    writeln!(out, "ip,host,port,scheme").unwrap();
    for row in 0..rows {
        // An odd factor makes a permutation of the numbers, whose upper bits are the address.
        let address = if sorted {
            u32::try_from(u64::from(row) * 4096 / u64::from(rows)).unwrap()
        } else {
            row.wrapping_mul(2_654_435_761) >> 20
        };
        let [_, _, high, low] = address.to_be_bytes();
        writeln!(out, "127.7.{high}.{low},shop-{row}.example.test,,").unwrap();
    }
    out.flush().unwrap();
}

/// Rows, hosts, addresses, growth of the peak in KiB, milliseconds of the pass and of reading.
fn read_in_a_process_of_its_own(path: &Path) -> [u64; 6] {
    let ran = Command::new(env!("CARGO_BIN_EXE_read-vhosts")).arg(path).output().unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let numbers: Vec<u64> = text.split_whitespace().map(|n| n.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

fn measure(rows: u32, sorted: bool) -> [u64; 6] {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vhosts.csv");
    write_list(&path, rows, sorted);
    let measured = read_in_a_process_of_its_own(&path);
    println!(
        "{rows} rows, {} MiB, {}: peak +{} KiB, pass {} ms, reading {} ms",
        std::fs::metadata(&path).unwrap().len() >> 20,
        if sorted { "sorted" } else { "shuffled" },
        measured[3],
        measured[4],
        measured[5]
    );
    assert_eq!(measured[..3], [u64::from(rows), u64::from(rows), 4096]);
    measured
}

#[test]
fn a_list_in_the_order_of_its_addresses_takes_next_to_no_memory() {
    let [.., grown, _, _] = measure(200_000, true);
    assert!(grown < 4 * 1024, "{grown} KiB");
}

#[test]
fn a_list_in_no_order_takes_24_bytes_a_row() {
    let [.., grown, _, _] = measure(200_000, false);
    assert!(grown < 8 * 1024, "{grown} KiB");
}

/// cargo test --release -p mimawari-tests --test program vhosts:: -- --ignored --nocapture
#[test]
#[ignore = "a measurement: two million rows take some seconds"]
fn two_million_rows() {
    let [.., grown, _, _] = measure(2_000_000, true);
    assert!(grown < 16 * 1024, "{grown} KiB");
    let [.., grown, _, _] = measure(2_000_000, false);
    assert!(grown < 96 * 1024, "{grown} KiB");
}

// ---------------------------------------------------------------------------------------------
// DNS.

fn scope() -> Scope {
    let set = |items: &[&str]| {
        AddrSet::from_ranges(items.iter().map(|i| i.parse::<AddrRange>().unwrap()))
    };
    Scope::new(set(&["198.51.100.0/24", "2001:db8::/120"]), set(&["198.51.100.66"]), "test")
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(addresses: &[&str]) -> Zone {
    Zone::Addresses(addresses.iter().map(|a| ip(a)).collect())
}

fn resolver(server: &FakeDns) -> SystemResolver {
    SystemResolver::with_nameservers(&[server.address()]).unwrap()
}

type CheckedNames = Vec<(String, IpAddr, DnsPointing)>;

async fn check(
    list: &[(&str, &str)],
    resolver: &impl NameResolver,
    at_once: usize,
) -> (CheckedNames, DnsSummary) {
    let (names_in, names) = mpsc::channel(4);
    let (out, mut answers) = mpsc::channel(4);
    let scope = scope();
    let give = async {
        for (name, address) in list {
            if names_in.send(((*name).to_owned(), ip(address))).await.is_err() {
                break;
            }
        }
        drop(names_in);
    };
    let take = async {
        let mut all = Vec::new();
        while let Some(one) = answers.recv().await {
            all.push(one);
        }
        all
    };
    let checking = check_names(names, resolver, &scope, at_once, out);
    let ((), checked, summary) = tokio::join!(give, take, checking);
    (checked, summary)
}

fn by_name(checked: &CheckedNames) -> BTreeMap<(&str, IpAddr), DnsPointing> {
    checked.iter().map(|(n, ip, p)| ((n.as_str(), *ip), *p)).collect()
}

#[tokio::test]
async fn each_name_has_the_place_where_it_points() {
    use DnsPointing::{Elsewhere, Here, Nowhere, Ours, Unknown};
    let server = FakeDns::start([
        ("here.example", at(&["198.51.100.7", "203.0.113.1"])),
        ("here6.example", at(&["2001:db8::7"])),
        ("ours.example", at(&["198.51.100.8"])),
        ("partly.example", at(&["198.51.100.8", "203.0.113.1"])),
        ("gone.example", at(&["203.0.113.1", "2001:db8:ffff::1"])),
        ("denied.example", at(&["198.51.100.66"])),
        ("mapped.example", at(&["::ffff:198.51.100.7"])),
        ("empty.example", at(&[])),
        ("alias.example", Zone::Alias("here.example".to_owned())),
        ("moved.example", Zone::Alias("gone.example".to_owned())),
        ("dangling.example", Zone::Alias("missing.example".to_owned())),
        ("loop.example", Zone::Alias("loop.example".to_owned())),
        ("broken.example", Zone::Code(2)),
        ("refused.example", Zone::Code(5)),
        ("_srv.a_b.example", at(&["198.51.100.7"])),
    ])
    .unwrap();
    let us = "198.51.100.7";
    let expected = [
        ("here.example", us, Here),
        ("here6.example", us, Ours),
        ("here6.example", "2001:db8::7", Here),
        ("ours.example", us, Ours),
        ("partly.example", us, Ours),
        ("gone.example", us, Elsewhere),
        ("denied.example", us, Elsewhere),
        ("mapped.example", us, Elsewhere),
        ("empty.example", us, Nowhere),
        ("missing.example", us, Nowhere),
        ("alias.example", us, Here),
        ("moved.example", us, Elsewhere),
        ("dangling.example", us, Nowhere),
        ("loop.example", us, Nowhere),
        ("broken.example", us, Unknown),
        ("refused.example", us, Unknown),
        ("_srv.a_b.example", us, Here),
        // Nothing that DNS could be asked for.
        ("a..example", us, Unknown),
    ];
    let list = expected.map(|(name, address, _)| (name, address));
    let (checked, summary) = check(&list, &resolver(&server), 8).await;
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(name, address, p)| ((*name, ip(address)), *p)).collect();
    assert_eq!(by_name(&checked), expected);
    assert_eq!(checked.len(), expected.len());
    let counts = (summary.here, summary.ours, summary.elsewhere, summary.nowhere, summary.unknown);
    assert_eq!((counts, summary.asked, summary.gave_up), ((4, 3, 4, 4, 3), 16, false));
    insta::assert_snapshot!(sentences(&summary).join("\n"), @r"
    DNS has only addresses outside the scope for 4 of the virtual hosts: gone.example, denied.example, mapped.example, moved.example.
    DNS has no address for 4 of the virtual hosts: empty.example, missing.example, dangling.example, loop.example.
    DNS gave no answer for 3 of the virtual hosts.
    ");
}

#[tokio::test]
async fn a_name_is_asked_for_once_however_many_addresses_it_has() {
    let server = FakeDns::start([
        ("many.example", at(&["198.51.100.7"])),
        ("gone.example", at(&["203.0.113.1"])),
    ])
    .unwrap();
    let addresses: Vec<String> = (2..60).map(|n| format!("198.51.100.{n}")).collect();
    let list: Vec<(&str, &str)> = addresses
        .iter()
        .flat_map(|a| [("many.example", a.as_str()), ("gone.example", a.as_str())])
        .collect();
    let (checked, summary) = check(&list, &resolver(&server), 32).await;
    assert_eq!(checked.len(), list.len());
    assert_eq!((summary.here, summary.ours, summary.elsewhere), (1, 57, 58));
    assert_eq!(
        sentences(&summary),
        ["DNS has only addresses outside the scope for 58 of the virtual hosts: gone.example."]
    );
    let asked = server.asked();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(asked.values().all(|n| *n == 1), "{asked:?}");
}

#[tokio::test]
async fn a_name_server_that_fails_everything_ends_the_check_early() {
    let names: Vec<String> = (0..5000).map(|n| format!("www.site{n}.example")).collect();
    let server = FakeDns::start(names.iter().map(|n| (n.as_str(), Zone::Code(2)))).unwrap();
    let list: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "198.51.100.7")).collect();
    let (checked, summary) = check(&list, &resolver(&server), 8).await;
    assert!(summary.gave_up);
    assert!((20..200).contains(&checked.len()), "{}", checked.len());
    assert!(checked.iter().all(|(_, _, p)| *p == DnsPointing::Unknown));
    assert_eq!(summary.unknown, checked.len() as u64);
    assert!(server.asked().len() < 400, "{}", server.asked().len());
    insta::assert_snapshot!(
        sentences(&summary)[1],
        @"The DNS cross-check ended early, since the name server did not answer; the other names were not looked up."
    );
}

/// Never answers, and takes no real time about it.
struct Silent;

impl NameResolver for Silent {
    fn lookup<'a>(
        &'a self,
        _: &'a mimawari_targets::list::HostName,
        _: mimawari_targets::dns::AddressFamily,
    ) -> futures_util::future::BoxFuture<'a, Result<Vec<IpAddr>, mimawari_targets::dns::ResolveError>>
    {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_name_server_ends_the_check_within_a_bounded_time() {
    let (start, names): (_, Vec<String>) =
        (tokio::time::Instant::now(), (0..5000).map(|n| format!("s{n}.example")).collect());
    let spread: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "198.51.100.7")).collect();
    let (checked, summary) = check(&spread, &Silent, 32).await;
    assert!(summary.gave_up && checked.len() < 100, "{}", checked.len());
    assert!(start.elapsed() <= Duration::from_secs(31), "{:?}", start.elapsed());

    // Under one domain it could be that domain alone, which takes longer to find out.
    let names: Vec<String> = (0..5000).map(|n| format!("s{n}.one.example")).collect();
    let one: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "198.51.100.7")).collect();
    let start = tokio::time::Instant::now();
    let (checked, summary) = check(&one, &Silent, 32).await;
    assert!(summary.gave_up && checked.len() < 200, "{}", checked.len());
    assert!(start.elapsed() <= Duration::from_secs(151), "{:?}", start.elapsed());
}

#[tokio::test]
async fn one_silent_name_holds_up_no_other() {
    let server = FakeDns::start([
        ("silent.example", Zone::Silence),
        ("here.example", at(&["198.51.100.7"])),
    ])
    .unwrap();
    let (names_in, names) = mpsc::channel(4);
    let (out, mut answers) = mpsc::channel(4);
    let (scope, resolver) = (scope(), resolver(&server));
    for name in ["silent.example", "here.example"] {
        names_in.send((name.to_owned(), ip("198.51.100.7"))).await.unwrap();
    }
    let watch = async {
        // The answer comes while the silent one is still under way; then nobody listens any more.
        let first = answers.recv().await;
        drop(answers);
        first
    };
    let (summary, first) = tokio::join!(check_names(names, &resolver, &scope, 2, out), watch);
    assert_eq!(first, Some(("here.example".to_owned(), ip("198.51.100.7"), DnsPointing::Here)));
    assert_eq!((summary.here, summary.unknown, summary.gave_up), (1, 0, false));
    // The sender sees it, too.
    assert!(names_in.send((String::new(), ip("198.51.100.7"))).await.is_err());
}

#[tokio::test]
async fn nothing_is_asked_when_there_is_no_name() {
    let server = FakeDns::start([]).unwrap();
    let (checked, summary) = check(&[], &resolver(&server), 32).await;
    assert_eq!((checked, summary.clone()), (vec![], DnsSummary::default()));
    assert!(summary.gaps().is_empty() && server.asked().is_empty());
}

// ---------------------------------------------------------------------------------------------
// The program.

#[test]
fn a_run_reports_which_of_the_names_no_longer_point_at_it() {
    let site = FakeSite::new().start().unwrap();
    let us = site.address();
    let server = FakeDns::start([
        ("here.example", at(&["127.0.0.1"])),
        ("gone.example", at(&["203.0.113.1"])),
    ])
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "version = 1\n[scope]\nallow = [\"127.0.0.1/32\"]\nauthorised_by = \"TEST-1\"\n\
         [scan]\nports = \"{}\"\nmethod = \"connect\"\nnameservers = [\"{}\"]\n\
         [http]\nvhosts = \"-\"\ndns = true\n",
        us.port(),
        server.address()
    );
    std::fs::write(dir.path().join("patrol.toml"), config).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_mimawari-under-test"))
        .args(["scan", "--out", "run"])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let list = "127.0.0.1,here.example\n127.0.0.1,gone.example\n127.0.0.1,idle.example,1\n";
    child.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
    let ran = child.wait_with_output().unwrap();
    // A listed site whose port is not planned is not covered.
    assert_eq!(ran.status.code(), Some(3), "{}", String::from_utf8_lossy(&ran.stderr));
    let meta = std::fs::read_to_string(dir.path().join("run/run.json")).unwrap();
    for note in [
        "DNS has only addresses outside the scope for 1 of the virtual hosts: gone.example.",
        "DNS has no address for 1 of the virtual hosts: idle.example.",
        "1 virtual hosts were not asked for, since their port is not one of `ports`: idle.example:1.",
    ] {
        assert!(meta.contains(note), "{meta}");
    }
    // A name is asked for where the list says, wherever it points.
    let hosts: BTreeSet<String> =
        site.requests().into_iter().filter_map(|seen| seen.host).collect();
    for host in ["here.example", "gone.example"] {
        assert!(hosts.iter().any(|h| h.starts_with(host)), "{hosts:?}");
    }
    assert!(!hosts.iter().any(|h| h.starts_with("idle.example")), "{hosts:?}");
}
