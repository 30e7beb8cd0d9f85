//! What time and use say of the rules.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::LintContext;
use super::policy::format_rule_name;
use crate::baseline::{DocumentFile, ReadErrors, RuleDocument, RuleEntry, RuleExpect, RuleKind};
use crate::lint_rules::upkeep as rule;
use crate::stale::{UNSEEN_DAYS, UNSEEN_RUNS};
use crate::state::RuleUse;

/// Before a rule ends, its owner is warned.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
/// A rule that nothing was seen of for so long, and in so many covered runs, is stale.
const STALE: SignedDuration = SignedDuration::from_hours(UNSEEN_DAYS * 24);

/// Ends, use and renewal of each rule.
pub(super) fn check_upkeep(
    lints: &mut ReadErrors,
    files: &[DocumentFile],
    entries: &[RuleEntry],
    context: &LintContext<'_>,
) {
    for e in entries {
        check_upcoming_expiry(lints, e, context.now);
        let known = context.usage.zip(e.id()).and_then(|(usage, id)| usage.get(id));
        if let Some(known) = known.filter(|_| e.is_live(context.now)) {
            check_usage(lints, e, known, context.now);
        }
    }
    let Some(base) = context.base else { return };
    // What is wrong with the files as they were is not reported.
    let RuleDocument { files: old_files, entries: old, .. } = RuleDocument::read(base);
    let old: HashMap<&str, &RuleEntry> = old.iter().filter_map(|e| Some((e.id()?, e))).collect();
    for e in entries {
        let Some(was) = e.id().and_then(|id| old.get(id)) else { continue };
        check_renewal(lints, (files, e), (&old_files, was));
    }
}

fn check_upcoming_expiry(lints: &mut ReadErrors, e: &RuleEntry, now: Timestamp) {
    let Some(expires) = &e.expires else { return };
    let text = &expires.get_ref().text;
    let days = expires.get_ref().at.duration_since(now).as_hours() / 24;
    let (which, title) = if !e.is_live(now) {
        (
            &rule::EXPIRED,
            format!("{} ended on {text} and allows nothing any more", format_rule_name(e)),
        )
    } else if expires.get_ref().at.duration_since(now) <= SOON {
        let when = match days {
            0 => "within a day".to_owned(),
            1 => "in a day".to_owned(),
            n => format!("in {n} days"),
        };
        (&rule::EXPIRES_SOON, format!("{} ends {when}, after {text}", format_rule_name(e)))
    } else {
        return;
    };
    let help = match which.id {
        "expired" => {
            "remove it; if it is still needed, give it a new end and a reason that says why"
        }
        _ => "let it end, or give it a new end and a reason that says why it is still needed",
    };
    lints.report(which, e.file, expires.span(), e.id(), title, help);
}

/// Whether anything was seen of what the rule allows. Of `must` a patrol reports itself what is
/// missing, and of `never` nothing is to be seen.
fn check_usage(lints: &mut ReadErrors, e: &RuleEntry, known: &RuleUse, now: Timestamp) {
    if e.ports().is_some_and(|p| p.expect != RuleExpect::May) {
        return;
    }
    let runs = known.unseen_runs;
    let quiet = now.duration_since(known.last_seen.unwrap_or(known.since));
    let day = |t: Timestamp| t.to_zoned(jiff::tz::TimeZone::UTC).date();
    let since = match known.last_seen {
        Some(t) => format!("since {}", day(t)),
        None => format!("in {runs} covered runs since {}", day(known.since)),
    };
    let (which, title, help) = if quiet >= STALE && runs >= UNSEEN_RUNS {
        let title = match known.last_seen {
            Some(_) => {
                format!(
                    "nothing that {} allows was seen {since}, in {runs} covered runs",
                    format_rule_name(e)
                )
            }
            None => format!("nothing that {} allows was ever seen, {since}", format_rule_name(e)),
        };
        (&rule::STALE, title, "remove the rule; what comes back later is then reported as drift")
    } else if known.last_seen.is_none() && runs > 0 {
        let title = format!("nothing that {} allows was ever seen, {since}", format_rule_name(e));
        (
            &rule::UNBACKED,
            title,
            "look whether the address and the port are right, or remove it until it is needed",
        )
    } else {
        return;
    };
    lints.report(which, e.file, e.span.clone(), e.id(), title, help);
}

/// A later end, and nothing else.
fn check_renewal(
    lints: &mut ReadErrors,
    (files, new): (&[DocumentFile], &RuleEntry),
    (old_files, old): (&[DocumentFile], &RuleEntry),
) {
    let (Some(to), Some(from)) = (&new.expires, &old.expires) else { return };
    if to.get_ref().at <= from.get_ref().at || !is_same_rule(new, old) {
        return;
    }
    let owner = |files: &[DocumentFile], e: &RuleEntry| {
        files[e.file].owner.as_ref().map(|o| o.get_ref().trim().to_owned())
    };
    if owner(files, new) != owner(old_files, old) {
        return;
    }
    let title = format!(
        "{} is renewed from {} to {}, and nothing else of it changes",
        format_rule_name(new),
        from.get_ref().text,
        to.get_ref().text
    );
    let help = "say in `reason` why it is still needed, so that the next reviewer knows";
    lints.report(&rule::RENEWAL_DATE_ONLY, new.file, to.span(), new.id(), title, help);
}

/// Whether two rules say the same, their ends aside.
fn is_same_rule(a: &RuleEntry, b: &RuleEntry) -> bool {
    let reason = |e: &RuleEntry| e.reason.as_ref().map(|r| r.get_ref().trim().to_owned());
    let texts = |l: &[toml::Spanned<String>]| -> Vec<String> {
        l.iter().map(|t| t.get_ref().clone()).collect()
    };
    let what = match (&a.what, &b.what) {
        (RuleKind::Ports(x), RuleKind::Ports(y)) => {
            (&x.tcp, &x.udp, x.expect, x.broad) == (&y.tcp, &y.udp, y.expect, y.broad)
        }
        (RuleKind::Http(a), RuleKind::Http(b)) => {
            texts(&a.checks) == texts(&b.checks)
                && texts(&a.paths) == texts(&b.paths)
                && texts(&a.names) == texts(&b.names)
        }
        _ => false,
    };
    let vantages = texts(&a.vantages) == texts(&b.vantages);
    what && vantages && a.addrs == b.addrs && reason(a) == reason(b)
}
