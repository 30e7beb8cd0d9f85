//! What the demonstration stages, prints, and expects to find.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use mimawari_base::failure::Failure;
use mimawari_drift::verdict::{FindingCause, FindingKind, FindingState, Verdict};

use super::centre::{DemoCentre, MAIL_OCTET, PORTS};
use super::filter_drift;
use crate::cli::ScanMethod;

/// The shipped configuration and baseline; `{…}` is filled in with this machine's addresses.
const PATROL: &str = include_str!("patrol.toml");
const BASELINE: &str = include_str!("baseline.toml");

/// Writes the configuration and the baseline.
pub(super) fn write(
    out: &Path,
    centre: &DemoCentre,
    expiry: Timestamp,
    method: ScanMethod,
) -> Result<()> {
    let ports: Vec<String> = PORTS.iter().map(|p| centre.port(*p).to_string()).collect();
    let day = expiry.to_zoned(TimeZone::UTC).date().to_string();
    let method = match method {
        ScanMethod::Auto => "auto",
        ScanMethod::Syn => "syn",
        ScanMethod::Connect => "connect",
    };
    let mut fill: Vec<(String, String)> = vec![
        ("{network}".to_owned(), centre.network()),
        ("{ports}".to_owned(), ports.join(",")),
        ("{yesterday}".to_owned(), day),
        ("{method}".to_owned(), method.to_owned()),
    ];
    for host in ["shop", "spa", "status", "bastion", "partner", "mail"] {
        fill.push((format!("{{{host}}}"), centre.host(host).to_string()));
    }
    for port in PORTS {
        fill.push((format!("{{port-{port}}}"), centre.port(*port).to_string()));
    }
    let filled = |text: &str| fill.iter().fold(text.to_owned(), |t, (k, v)| t.replace(k, v));
    let put = |path: &Path, text: &str| {
        std::fs::write(path, filled(text)).map_err(|e| {
            Failure::new(format!("cannot write {}", path.display()))
                .help("choose another folder with --out DIR")
                .source(e)
        })
    };
    let baseline = out.join("baseline");
    std::fs::create_dir_all(&baseline)
        .map_err(|e| Failure::new(format!("cannot make {}", baseline.display())).source(e))?;
    put(&out.join("patrol.toml"), PATROL)?;
    put(&baseline.join("demo.toml"), BASELINE)?;
    Ok(())
}

/// What is about to be shown.
pub(super) fn render_introduction(centre: &DemoCentre) -> String {
    let mut s = String::new();
    let _ = writeln!(
        s,
        "A small data centre on {}, inside this process; no packet leaves this machine.\n\
         Its owners agreed to a shop, an application, a status page and a bastion, and expect a mail\n\
         server at {}. Two rounds follow: one as of yesterday, one as of now.\n",
        centre.network(),
        centre.ip(MAIL_OCTET),
    );
    s
}

/// What the verdict says differently from what was staged.
pub(super) fn compare(v: &Verdict, centre: &DemoCentre) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |what: &str, true_: bool| {
        if !true_ {
            wrong.push(format!("not as staged: {what}"));
        }
    };
    let unexpected: Vec<_> = filter_drift(v, FindingKind::UnexpectedOpen)
        .filter(|f| f.state == FindingState::Open)
        .map(|f| (f.ip, f.port.map(mimawari_targets::Port::get), f.cause))
        .collect();
    let at = |name: &str, port: u16| (centre.host(name), Some(centre.port(port)));
    let is = |name: &str, port: u16, cause: FindingCause| {
        let (ip, port) = at(name, port);
        unexpected.contains(&(ip, port, cause))
    };
    expect("the cache is open and nobody agreed", is("cache", 6379, FindingCause::Unmatched));
    expect("the partner's rule has expired", is("partner", 1194, FindingCause::Expired));
    expect("two unexpected ports", unexpected.len() == 2);
    let resolved: Vec<_> = filter_drift(v, FindingKind::UnexpectedOpen)
        .filter(|f| f.state == FindingState::Resolved)
        .map(|f| (f.ip, f.port.map(mimawari_targets::Port::get)))
        .collect();
    expect("the old server was taken down", resolved == [at("old", 8080)]);
    let content: Vec<_> = filter_drift(v, FindingKind::ExposedContent)
        .map(|f| (f.ip, f.path.as_deref(), f.state))
        .collect();
    expect(
        "password.php is served as source, and nothing else",
        content == [(centre.host("shop"), Some("/password.php"), FindingState::Open)],
    );
    let missing: Vec<_> =
        filter_drift(v, FindingKind::MissingRequired).map(|f| (f.ip, f.state)).collect();
    expect(
        "the mail server is missing",
        missing == [(centre.ip(MAIL_OCTET), FindingState::Missing)],
    );
    expect("the run is complete", !v.incomplete);
    expect("exit status 1", v.exit == 1);
    wrong
}
