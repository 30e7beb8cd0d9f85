//! An explanation for a terminal.

use mimawari_drift::baseline::RuleExpect;
use mimawari_drift::explain::{ExplainAnswer, ExplainedRule, RuleExplanation, RuleStanding};
use mimawari_drift::impact::format_expectation;
use mimawari_probes::observation::CellState;

use crate::clean::{clean, wrap};
use crate::words::{self, NAME, SENTENCE};

/// Width of the labels.
const LABEL: usize = 14;
/// Lines of one field.
const MAX_LINES: usize = 6;

/// The explanation as text for a terminal of `columns` columns (60 to 160 are used; 0 means unknown,
/// 100), without any escape sequence.
#[must_use]
pub fn render_explanation(e: &RuleExplanation, columns: usize) -> String {
    let columns = if columns == 0 { 100 } else { columns.clamp(60, 160) };
    let mut page = ExplainPage { out: String::new(), columns };
    for a in &e.answers {
        if !page.out.is_empty() {
            page.out.push('\n');
        }
        page.answer(a);
    }
    if e.answers.is_empty() {
        page.out.push_str(&format!("{}: not known\n", clean(&e.asked, NAME)));
    }
    for note in &e.notes {
        page.field("note", &clean(note, SENTENCE));
    }
    page.out
}

struct ExplainPage {
    out: String,
    columns: usize,
}

impl ExplainPage {
    fn field(&mut self, label: &str, text: &str) {
        let mut label = label;
        for line in wrap(text, self.columns.saturating_sub(LABEL + 2), MAX_LINES) {
            self.out.push_str(&format!("  {label:<LABEL$}{line}\n"));
            label = "";
        }
    }

    fn answer(&mut self, a: &ExplainAnswer) {
        let pool = a.finding.as_ref().filter(|f| f.pool.is_some());
        let place = pool
            .map_or_else(|| words::format_address(a.ip, a.port, a.proto), words::format_endpoint);
        let content = match (&a.host, &a.path) {
            (Some(h), Some(p)) => format!(" {}{}", clean(h, NAME), clean(p, NAME)),
            (None, Some(p)) => clean(p, NAME),
            _ => String::new(),
        };
        let severity = a.finding.as_ref().map(|f| f.severity.as_str());
        let severity = match a.standing {
            RuleStanding::Finding(s) if s.is_drift() => {
                severity.map_or_else(String::new, |s| format!(", {s}"))
            }
            _ => String::new(),
        };
        self.out
            .push_str(&format!("{place}{content}: {}{severity}\n", describe_standing(a.standing)));
        self.field("why", &clean(&a.why, SENTENCE));
        if let Some(f) = &a.finding {
            self.field(
                "finding",
                &format!("{} ({})", clean(&f.id, NAME), words::describe_finding(f)),
            );
        }
        match &a.rule {
            Some(rule) => self.rule(rule),
            None => self.field("rule", "none"),
        }
        let when =
            |t: Option<jiff::Timestamp>| t.map_or_else(|| "never".to_owned(), words::format_minute);
        let missed = a.finding.as_ref().is_some_and(|f| f.kind.is_requirement());
        let labels =
            if missed { ["first missed", "last missed"] } else { ["first seen", "last seen"] };
        self.field(labels[0], &when(a.first_seen));
        self.field(labels[1], &when(a.last_seen));
        let how = clean(&a.covered.how, SENTENCE);
        self.field(
            if a.path.is_some() { "port covered" } else { "last covered" },
            &match (a.covered.at, a.covered.state) {
                (Some(at), Some(state)) => {
                    format!("{}, {}: {}", words::format_minute(at), how, describe_cell_state(state))
                }
                (Some(at), None) => format!("{}, {how}", words::format_minute(at)),
                (None, _) => how,
            },
        );
        if let Some(k) = &a.acknowledged {
            self.field(
                "acknowledged",
                &format!(
                    "by {} until {}: {}",
                    clean(&k.by, NAME),
                    words::format_minute(k.until),
                    clean(&k.reason, SENTENCE)
                ),
            );
        }
        let mut label = "nearest";
        for n in &a.nearest {
            self.field(
                label,
                &format!(
                    "{} ({}, {}) {}",
                    clean(&n.id, NAME),
                    clean(&n.place, NAME),
                    clean(&n.owner, NAME),
                    clean(&n.missed, SENTENCE)
                ),
            );
            label = "";
        }
        for note in &a.notes {
            self.field("note", &clean(note, SENTENCE));
        }
    }

    fn rule(&mut self, r: &ExplainedRule) {
        let expect = match r.expect {
            Some(e) if e != RuleExpect::May => format!(", expect {}", format_expectation(e)),
            _ => String::new(),
        };
        let ended = if r.live { "" } else { ", expired" };
        self.field(
            "rule",
            &format!(
                "{} at {}{expect}{ended}",
                clean(&r.rule.id, NAME),
                clean(&r.rule.place, NAME)
            ),
        );
        self.field("owner", &clean(&r.rule.owner, NAME));
        self.field("reason", &clean(&r.rule.reason, SENTENCE));
        self.field("expires", r.rule.expires.as_deref().unwrap_or("never"));
        match (&r.commit, &r.commit_unknown) {
            (Some(c), _) => {
                let id: String = c.id.chars().take(12).collect();
                let at = c.at.map_or_else(String::new, |t| format!(", {}", words::format_day(t)));
                self.field(
                    "commit",
                    &format!(
                        "{} by {}{at}: {}",
                        clean(&id, NAME),
                        clean(&c.author, NAME),
                        clean(&c.summary, SENTENCE)
                    ),
                );
            }
            (None, Some(why)) => {
                self.field("commit", &format!("not known: {}", clean(why, SENTENCE)))
            }
            (None, None) => {}
        }
    }
}

const fn describe_standing(s: RuleStanding) -> &'static str {
    match s {
        RuleStanding::Finding(s) => words::describe_state(s),
        RuleStanding::AllowedUnseen => "allowed, never seen",
        RuleStanding::ForbiddenUnseen => "forbidden, never seen",
        RuleStanding::NeverSeen => "never seen, and not allowed",
        RuleStanding::NotInScope => "not in the scope",
    }
}

const fn describe_cell_state(s: CellState) -> &'static str {
    match s {
        CellState::Open => "open",
        CellState::Closed => "closed",
        CellState::Prohibited => "prohibited",
        CellState::Silent => "silent",
        CellState::NotProbed => "not probed",
    }
}
