//! Ids that are written in states, tickets and other programs: they never change.

use super::*;

#[test]
fn ids_of_findings_never_change() {
    let must = MUST.replace(HOST, "2001:db8::1");
    let mut s = Story::new(&format!("{NEVER}{must}"));
    let legacy = TlsFacts { version: "TLSv1.0".to_owned(), legacy: true, ..TlsFacts::default() };
    let run = || {
        let mut run = Run::new()
            .redis(Open)
            .cell("192.0.2.71", 6379, Open)
            .cell("2001:db8::1", 22, Closed)
            .content(ContentOutcome::Exposed)
            .http(ContentOutcome::Exposed, |h| {
                h.ip = ip("2001:db8::1");
                h.port = port(8443);
                h.host = None;
                h.path = "/.env".to_owned();
            })
            .web(|w| w.tls = Some(legacy.clone()));
        run.random.insert(ip("192.0.2.72"), 4);
        run = run.cell("192.0.2.72", 22, Open).cell("192.0.2.72", 6379, Open);
        let both: Vec<AddrRange> =
            ["192.0.2.0/24", "2001:db8::/64"].iter().map(|r| r.parse().expect("a range")).collect();
        run.scope = Scope::new(AddrSet::from_ranges(both), AddrSet::default(), "TEST-1");
        run
    };
    s.run(run());
    let v = s.run(run());
    let mut ids: Vec<(&str, String, &str)> = v
        .findings
        .iter()
        .map(|f| {
            let port = f.port.map_or("*".to_owned(), |p| p.to_string());
            let (host, path) = (f.host.as_deref(), f.path.as_deref());
            let place = format!("{} {port} {host:?} {path:?}", f.ip);
            (f.kind.as_str(), place, f.id.as_str())
        })
        .collect();
    ids.sort();
    let shown: Vec<String> = ids.iter().map(|(a, b, c)| format!("{a} {b} {c}")).collect();
    let expected = [
        "exposed-content 192.0.2.70 80 Some(\"shop.example.jp\") Some(\"/password.php\") 88a08e26f6dfc1d8",
        "exposed-content 2001:db8::1 8443 None Some(\"/.env\") b67a3a5e68848423",
        "forbidden-open 192.0.2.70 6379 None None eb52e957d1133ef9",
        "legacy-tls 192.0.2.70 443 None None 0d47b0fd58836c12",
        "missing-required 2001:db8::1 22 None None 39ba3685b7ccedcc",
        "suspect-host 192.0.2.72 * None None 7b34c394cba71918",
        "unexpected-open 192.0.2.70 443 None None 394a4b65e62839f0",
        "unexpected-open 192.0.2.70 80 None None 501e9888b17fb93f",
        "unexpected-open 192.0.2.70 8443 None None f93f38b0f56ece2f",
        "unexpected-open 192.0.2.71 6379 None None 6647f6ea14fdcab9",
    ];
    assert_eq!(shown, expected);
    for f in &v.findings {
        let id = f.subject().id_as(f.kind, &f.vantage);
        assert_eq!(id.as_str(), f.id, "a finding's subject gives its id");
    }
}
