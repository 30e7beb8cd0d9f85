//! Which rules are no longer needed, and why.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::baseline::{Baseline, RuleExpect, RuleHead};
use crate::state::RuleUse;

/// A rule that expired is left alone for so many days: somebody may be about to renew it.
pub const EXPIRED_DAYS: i64 = 30;
/// Days without a sight after which a rule is stale, …
pub const UNSEEN_DAYS: i64 = 30;
/// … if as many runs covered all of its cells in that time.
pub const UNSEEN_RUNS: u32 = 10;

/// A rule that can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleRule {
    /// The rule's id.
    pub id: String,
    /// `file:line`.
    pub place: String,
    /// Why, as half a sentence: `it expired on 2026-09-01, 84 days ago`.
    pub why: String,
}

/// The rules that expired more than [`EXPIRED_DAYS`] ago, and those that allow what was not seen
/// for [`UNSEEN_DAYS`] in [`UNSEEN_RUNS`] runs that looked for it. What must or must never be open
/// is not stale for not being seen: that is what such a rule is for.
#[must_use]
pub fn find_stale_rules(
    baseline: &Baseline,
    used: &BTreeMap<String, RuleUse>,
    now: Timestamp,
) -> Vec<StaleRule> {
    let ports = baseline.rules().iter().map(|r| (&r.head, r.expect));
    let http = baseline.http_rules().iter().map(|r| (&r.head, RuleExpect::May));
    let why = |(head, expect): (&RuleHead, RuleExpect)| {
        let unseen = || match expect {
            RuleExpect::May => explain_unseen(used.get(&head.id)?, now),
            RuleExpect::Must | RuleExpect::Never => None,
        };
        let why = explain_expired(head, now).or_else(unseen)?;
        Some(StaleRule { id: head.id.clone(), place: head.place.clone(), why })
    };
    ports.chain(http).filter_map(why).collect()
}

fn explain_expired(head: &RuleHead, now: Timestamp) -> Option<String> {
    let end = head.ends?;
    let since = now.duration_since(end);
    // The last day is the one before the instant at which the rule ends.
    let day = end.checked_sub(SignedDuration::from_secs(1)).ok()?.strftime("%Y-%m-%d");
    (since > from_days(EXPIRED_DAYS))
        .then(|| format!("it expired on {day}, {} days ago", count_whole_days(since)))
}

fn explain_unseen(of: &RuleUse, now: Timestamp) -> Option<String> {
    let since = now.duration_since(of.last_seen.unwrap_or(of.since));
    if since < from_days(UNSEEN_DAYS) || of.unseen_runs < UNSEEN_RUNS {
        return None;
    }
    let (n, runs) = (count_whole_days(since), of.unseen_runs);
    Some(match of.last_seen {
        Some(_) => format!(
            "nothing that it allows was seen for {n} days, in {runs} runs that covered all of it"
        ),
        None => format!(
            "nothing that it allows was ever seen, in {n} days and {runs} runs that covered all of it"
        ),
    })
}

fn from_days(n: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * n)
}

fn count_whole_days(d: SignedDuration) -> i64 {
    d.as_hours() / 24
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: &str) -> Timestamp {
        format!("{day}T00:00:00Z").parse().unwrap()
    }

    fn rule(id: &str, more: &str) -> String {
        format!(
            "[[allow]]\nid = \"{id}\"\nhosts = [\"192.0.2.{}\"]\nports = [\"tcp/22\"]\nreason = \"x\"\n{more}\n",
            id.len()
        )
    }

    #[test]
    fn only_what_is_long_gone_is_stale() {
        let text = [
            "version = 1\nowner = \"@t/t\"\n".to_owned(),
            rule("a", "expires = 2026-10-24"),
            rule("bb", "expires = 2026-10-25"),
            rule("ccc", ""),
            rule("dddd", "expect = \"must\""),
            rule("eeeee", "expect = \"never\""),
            rule("ffffff", ""),
            rule("ggggggg", ""),
            rule("hhhhhhhh", "expires = 2026-01-01\nexpect = \"must\""),
            "[[allow_http]]\nid = \"w\"\nhosts = [\"192.0.2.1\"]\npaths = [\"/\"]\nreason = \"x\"\n"
                .to_owned(),
        ]
        .concat();
        let (baseline, _) = Baseline::parse(&[("b.toml".to_owned(), text)]).unwrap();
        let of = |last: Option<&str>, unseen_runs| RuleUse {
            since: at("2026-10-25"),
            last_seen: last.map(at),
            unseen_runs,
        };
        let used = BTreeMap::from([
            ("ccc".to_owned(), of(None, 10)),
            ("dddd".to_owned(), of(None, 99)),
            ("eeeee".to_owned(), of(None, 99)),
            ("ffffff".to_owned(), of(None, 9)),
            ("ggggggg".to_owned(), of(Some("2026-10-26"), 99)),
            ("w".to_owned(), of(Some("2026-10-20"), 11)),
        ]);
        let found: Vec<String> = find_stale_rules(&baseline, &used, at("2026-11-24"))
            .into_iter()
            .map(|s| format!("{} {}: {}", s.id, s.place, s.why))
            .collect();
        assert_eq!(
            found,
            [
                "ccc b.toml:15: nothing that it allows was ever seen, in 30 days and 10 runs that covered all of it",
                "hhhhhhhh b.toml:45: it expired on 2026-01-01, 326 days ago",
                "w b.toml:52: nothing that it allows was seen for 35 days, in 11 runs that covered all of it",
            ]
        );
        // A day later the first has been expired for more than 30 days; the second is not yet.
        let ids: Vec<String> = find_stale_rules(&baseline, &used, at("2026-11-25"))
            .into_iter()
            .map(|s| s.id)
            .filter(|id| id.starts_with(['a', 'b']))
            .collect();
        assert_eq!(ids, ["a"]);
    }
}
