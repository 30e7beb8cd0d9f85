//! What the program says of a server that has stayed behind.

use super::desk::Desk;
use super::{kit, make_by_openssl};

/// Legacy TLS alone is a finding of its own, beside what is found by it, and allowed by its name.
pub fn legacy_tls_is_a_finding_of_its_own() {
    let openssl = kit();
    make_by_openssl(&openssl, "rsa", &["rsa:2048"]);
    let server = openssl.serve("rsa", &["-tls1"]).unwrap();
    let ip = server.address().ip();
    let desk = Desk::new(&[server.address()], "", "");
    let patrol = desk.patrol("r1", &[]);
    let said = &patrol.ran.stdout;
    assert_eq!(patrol.ran.status, Some(1), "{said}{}", patrol.ran.stderr);
    let legacy = "legacy-tls - - -";
    let found = patrol.findings();
    assert!(found.contains(&format!("{legacy} open")), "{found:?}");
    assert!(said.contains("accepts nothing newer than TLSv1.0"), "{said}");
    let site = patrol.of_kind("web").next().expect("a site");
    assert_eq!(
        (&site["tls"]["version"], &site["tls"]["legacy"]),
        (&"TLSv1.0".into(), &true.into())
    );
    // The files behind it are found all the same.
    let password = found.iter().any(|f| f.contains("/password.php"));
    let allow = |id: &str, check: &str| {
        let rule = format!(
            "[[allow_http]]\nid = \"{id}\"\nhosts = [\"{ip}\"]\nchecks = [\"{check}\"]\nreason = \"x\"\n"
        );
        desk.append("baseline/web.toml", &rule);
    };
    assert!(password, "{found:?}");
    allow("old", "legacy-tls");
    let patrol = desk.patrol("r2", &[]);
    let found = patrol.findings();
    assert!(found.contains(&format!("{legacy} allowed")), "{found:?}");
    assert!(found.iter().any(|f| f.contains("/password.php") && f.ends_with("open")), "{found:?}");
    assert_eq!(patrol.ran.status, Some(1));
    let check = patrol
        .of_kind("http")
        .find(|o| o["path"] == "/password.php")
        .and_then(|o| o["check"].as_str().map(str::to_owned))
        .expect("a finding");
    allow("file", &check);
    assert_eq!(desk.patrol("r3", &[]).ran.status, Some(0));
}
