//! A state and a verdict that version 0.1.0 wrote: read for ever, and gone on from.

use super::*;

const STATE: &str = include_str!("../../golden/v1/life/state.json");
const VERDICT: &str = include_str!("../../golden/v1/life/verdict.json");

#[test]
fn a_state_and_a_verdict_of_the_first_version_are_read_and_gone_on_from() {
    let old = State::parse(STATE).expect("a state of version 1");
    let verdict: Verdict = serde_json::from_str(VERDICT).expect("a verdict of version 1");
    assert_eq!((verdict.exit, old.findings.len()), (1, 25));
    for t in old.findings.values() {
        let f = &t.finding;
        assert_eq!(f.subject().id_as(f.kind, &f.vantage).as_str(), f.id, "{f:?}");
    }
    // What is written again is read again.
    let text = serde_json::to_string(&old).expect("JSON");
    assert_eq!(State::parse(&text).expect("its own text"), old);
    // A run that covers nothing changes no identity and forgets nothing.
    let mut s = Story::new("");
    s.now = "2026-11-02T00:00:00Z".parse().expect("an instant");
    s.state = old.clone();
    s.run(Run::new());
    for (id, t) in &old.findings {
        let now = s.state.findings.get(id);
        let pending = t.finding.state == FindingState::MissingPending;
        assert!(pending || now.is_some_and(|n| n.finding.first_seen == t.finding.first_seen));
    }
}
