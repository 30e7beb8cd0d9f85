//! What each file and each rule must have.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use mimawari_targets::build_mistake_diagnostic;

use super::{LintContext, OwnersSource, sanitise_excerpt};
use crate::baseline::{DocumentFile, PortList, ReadErrors, RuleEntry, RuleExpect, RuleKind};
use crate::lint_rules::policy as rule;
use crate::ports::find_sensitive_port;

/// What each file must have: an owner that CODEOWNERS knows, and the form of `baseline fmt`.
pub(super) fn check_files(
    lints: &mut ReadErrors,
    files: &[DocumentFile],
    context: &LintContext<'_>,
) {
    if let (OwnersSource::Absent, Some(first)) = (context.owners, files.first()) {
        let span = first.owner.as_ref().map_or(0..0, toml::Spanned::span);
        lints.report(
            &rule::NO_CODEOWNERS,
            0,
            span,
            None,
            "no CODEOWNERS file was found, so nobody is held to review these files",
            "write CODEOWNERS, .github/CODEOWNERS or docs/CODEOWNERS, or name the file with --codeowners",
        );
    }
    for (number, file) in files.iter().enumerate() {
        if let OwnersSource::File { owners, folder } = context.owners {
            check_owner(lints, number, file, owners, folder);
        }
        if let Some(format) = context.formatted
            && !file.broken
        {
            check_formatting(lints, number, file.source.text(), format);
        }
    }
}

fn check_owner(
    lints: &mut ReadErrors,
    number: usize,
    file: &DocumentFile,
    owners: &super::codeowners::CodeOwners,
    folder: &str,
) {
    let Some(owner) = &file.owner else { return };
    let name = file.source.name();
    // From the top of the repository, as CODEOWNERS has it; in a sub-folder as well.
    let below = format!("{folder}/");
    let path = match name.starts_with(&below) {
        true => name.to_owned(),
        false => format!("{folder}/{}", name.rsplit('/').next().unwrap_or(name)),
    };
    let path = path.trim_start_matches('/');
    let said = owner.get_ref().trim();
    let in_file = sanitise_excerpt(owners.name());
    let (title, help) = match owners.of(path) {
        // Names of GitHub are the same in upper and lower case.
        Some(o) if o.owners.iter().any(|x| x.eq_ignore_ascii_case(said)) => return,
        Some(o) if !o.owners.is_empty() => {
            let listed: Vec<String> =
                o.owners.iter().take(8).map(|x| sanitise_excerpt(x)).collect();
            (
                format!(
                    "`{}` does not own this file: {in_file}:{} gives it to {}",
                    sanitise_excerpt(said),
                    o.line,
                    listed.join(" ")
                ),
                "name the owner whose review the file needs, or change CODEOWNERS".to_owned(),
            )
        }
        found => {
            let place = found.map_or_else(
                || format!("no line of {in_file} names it"),
                |o| format!("{in_file}:{} names nobody", o.line),
            );
            (
                format!("nobody owns this file: {place}"),
                format!(
                    "add `/{} {}` to CODEOWNERS",
                    sanitise_excerpt(path),
                    sanitise_excerpt(said)
                ),
            )
        }
    };
    lints.report(&rule::OWNER_MISMATCH, number, owner.span(), None, title, help);
}

fn check_formatting(
    lints: &mut ReadErrors,
    number: usize,
    text: &str,
    format: &dyn Fn(&str) -> String,
) {
    let wanted = format(text);
    if wanted == text {
        return;
    }
    let mut at = 0;
    for (a, b) in text.split_inclusive('\n').zip(wanted.split_inclusive('\n')) {
        if a != b {
            break;
        }
        at += a.len();
    }
    let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
    let title = "the file is not in the common form, from this line on";
    let help = "run `mimawari baseline fmt`";
    lints.report(&rule::NOT_FORMATTED, number, at..end, None, title, help);
}

/// What each rule must have.
pub(super) fn check_rule(lints: &mut ReadErrors, e: &RuleEntry, context: &LintContext<'_>) {
    match &e.what {
        RuleKind::Ports(p) => {
            check_breadth(lints, e, p, context.budget);
            check_missing_expiry(lints, e, p, context.now);
        }
        RuleKind::Http(contents) => {
            let Some(known) = context.checks else { return };
            for check in contents.checks.iter().filter(|c| !known.contains(c.get_ref().as_str())) {
                let written = sanitise_excerpt(check.get_ref()).replace('`', "'");
                // The nearest one, by the same rule as for keys.
                let listed: Vec<String> = known.iter().map(|k| format!("`{k}`")).collect();
                let message =
                    format!("unknown variant `{written}`, expected one of {}", listed.join(", "));
                let source = mimawari_targets::diagnostic::TextSource::new("", "");
                let help = build_mistake_diagnostic(&source, &message, 0..0)
                    .help
                    .filter(|h| h.starts_with("did you"))
                    .unwrap_or_else(|| {
                        "`mimawari checks list` names them; --checks FILE adds your own".to_owned()
                    });
                let title = format!("no check has the id `{written}`");
                lints.report(&rule::UNKNOWN_CHECK, e.file, check.span(), e.id(), title, help);
            }
        }
    }
}

/// The name of a rule in a message.
pub(super) fn format_rule_name(e: &RuleEntry) -> String {
    e.id().map_or_else(|| "the rule".to_owned(), |id| format!("`{}`", sanitise_excerpt(id)))
}

fn check_breadth(lints: &mut ReadErrors, e: &RuleEntry, p: &PortList, budget: u128) {
    let Some(addrs) = &e.addrs else { return };
    let ports = u128::from(p.tcp.len() + p.udp.len());
    let cells = addrs.len().saturating_mul(ports);
    if p.broad || p.expect == RuleExpect::Never || cells <= budget {
        return;
    }
    let title = format!(
        "{} allows {} addresses × {ports} ports = {cells} cells, more than {budget}",
        format_rule_name(e),
        addrs.len(),
    );
    let help = "allow only what is needed; or write `broad = true` and an `expires`, so that a reviewer sees that it is meant";
    lints.report(&rule::TOO_BROAD, e.file, e.span.clone(), e.id(), title, help);
}

/// The end that rules for administration and data ports and broad rules need.
fn check_missing_expiry(lints: &mut ReadErrors, e: &RuleEntry, p: &PortList, now: Timestamp) {
    if e.expires.is_some() || p.expect == RuleExpect::Never {
        return;
    }
    let hit = p.items.iter().find_map(|(span, proto, (a, b))| {
        let set = mimawari_targets::PortSet::from_ranges([(*a, *b)]);
        Some((span, *proto, find_sensitive_port(&set)?))
    });
    let (span, title) = match hit {
        Some((span, proto, port)) => {
            let what = format!("{proto}/{port}, a port of administration or data");
            (span.clone(), format!("{} allows {what}, without an end", format_rule_name(e)))
        }
        None if p.broad => {
            (e.span.clone(), format!("{} is broad, and has no end", format_rule_name(e)))
        }
        None => return,
    };
    let help = match add_90_days(now) {
        Some(day) => format!("add the last day on which it is needed, such as `expires = {day}`"),
        None => "add the last day on which it is needed as `expires`".to_owned(),
    };
    lints.report(&rule::EXPIRES_MISSING, e.file, span, e.id(), title, help);
}

fn add_90_days(now: Timestamp) -> Option<jiff::civil::Date> {
    now.to_zoned(TimeZone::UTC).date().checked_add(90.days()).ok()
}
