//! What is allowed stays in sight: a list of bounded length in every verdict.

use mimawari_drift::subject::Subject;
use mimawari_drift::verdict::{AllowedCounts, MAX_ALLOWED};

use super::*;

const SECRET: &str = "[[allow_http]]\nid = \"s\"\nhosts = [\"192.0.2.70\"]\npaths = [\"/password.php\"]\nnames = [\"shop.example.jp\"]\nreason = \"from the first run\"\n";

fn places(v: &Verdict) -> Vec<String> {
    v.allowed.iter().map(|a| a.subject.to_string()).collect()
}

#[test]
fn a_secret_that_became_a_rule_is_listed_in_every_run() {
    let web = RULE.replace("6379", "80");
    let mut s = Story::new("");
    s.run(Run::new().content(ContentOutcome::Exposed));
    s.rules(&format!("{SECRET}{web}{}", RULE.replace("\"r\"", "\"q\"")));
    let secret = "192.0.2.70:80 shop.example.jp/password.php";
    // Seen, seen again, and not looked at: it is allowed and there as far as is known.
    for run in [
        Run::new().content(ContentOutcome::Exposed).redis(Open),
        Run::new().content(ContentOutcome::Exposed).redis(Open),
        Run::new().redis(Open),
    ] {
        let v = s.run(run);
        assert_eq!(places(&v), [secret, "192.0.2.70:6379", "192.0.2.70:80"], "contents first");
        let a = &v.allowed[0];
        assert_eq!(
            (a.kind, a.severity, a.rule.as_str()),
            (ExposedContent, Severity::Critical, "s")
        );
        assert_eq!((a.owner.as_str(), a.reason.as_str()), ("@t/t", "from the first run"));
        assert_eq!(a.subject.id("default").as_str(), a.id);
        let counts = AllowedCounts { contents: 1, ports: 2, ..AllowedCounts::default() };
        assert_eq!(v.allowed_counts, counts);
    }
    // It is gone, or no rule allows it any more.
    let v = s.run(Run::new().content(ContentOutcome::Absent).redis(Open));
    assert_eq!(places(&v), ["192.0.2.70:6379", "192.0.2.70:80"]);
    s.rules("");
    assert!(s.run(Run::new().redis(Open)).allowed.is_empty());
}

#[test]
fn what_a_rule_allows_from_now_on_is_listed_at_once_though_nobody_looked() {
    let mut s = Story::new("");
    s.run(Run::new().redis(Open));
    s.rules(RULE);
    assert_eq!(places(&s.run(Run::new())), ["192.0.2.70:6379"]);
}

#[test]
fn what_is_allowed_from_elsewhere_is_listed_there() {
    let mut s = Story::new(RULE);
    s.run(Run::new().redis(Open).from("office"));
    assert!(s.run(Run::new().redis(Closed)).allowed.is_empty());
    assert_eq!(places(&s.run(Run::new().from("office"))), ["192.0.2.70:6379"]);
}

#[test]
fn the_list_is_bounded_and_keeps_the_worst() {
    let rule = "[[allow]]\nid = \"w\"\nhosts = [\"192.0.2.0/24\"]\nports = [\"tcp/1-65535\"]\nreason = \"x\"\n";
    let mut s = Story::new(&format!("{rule}{SECRET}"));
    let mut run = Run::new().content(ContentOutcome::Exposed).redis(Open);
    for n in 0..200u16 {
        for p in 0..10 {
            run = run.cell(&format!("192.0.2.{n}"), 20_000 + p, Open);
        }
    }
    let v = s.run(run);
    assert_eq!((v.allowed.len(), v.allowed_counts.total()), (MAX_ALLOWED, 2_003));
    assert_eq!(places(&v)[..2], ["192.0.2.70:80 shop.example.jp/password.php", "192.0.2.70:6379"]);
    let ports: Vec<&Subject> = v.allowed[2..].iter().map(|a| &a.subject).collect();
    assert!(ports.is_sorted(), "of one severity by place");
}
