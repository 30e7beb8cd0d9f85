//! `mimawari ack`: somebody knows of a finding, for a time.

use anyhow::Result;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_drift::state::{AckTarget, State, TrackedFinding};
use mimawari_drift::verdict::{Acknowledgement, Finding};
use mimawari_probes::http::to_printable;
use mimawari_store::{GenerationMeta, GenerationOrigin, RandomSource, StateStore};

use crate::cli::ack::AckArgs;
use crate::config::Config;
use crate::context::Context;
use crate::output::print;

/// Longest acknowledgement: what is to be left alone for longer is agreed, and agreements are in the
/// baseline.
const MAX_DAYS: i64 = 90;
/// Longest text, in characters.
const MAX_TEXT: usize = 300;

/// `mimawari ack`
///
/// # Errors
/// No such finding, or one that is no drift; a time that has gone by or is too far; a state that
/// cannot be read or written.
pub async fn run_ack_command(args: &AckArgs, context: &Context) -> Result<ExitStatus> {
    let now = (context.now)();
    let until = args.until.as_deref().map(|text| parse_end_time(text, now)).transpose()?;
    let text = |s: &str| to_printable(s.trim().as_bytes(), MAX_TEXT);
    let reason = args.reason.as_deref().map(text);
    if reason.as_deref().is_some_and(str::is_empty) {
        return Err(Failure::new("--reason is empty")
            .help("say why, or name the ticket: whoever reads the report sees it")
            .into());
    }
    let by = text(&args.by);
    let store = StateStore::open(&Config::read(&args.from.config)?.state)?;
    let wanted = until.zip(reason).map(|(until, reason)| Acknowledgement {
        until,
        at: now,
        by: by.clone(),
        reason,
    });
    let (text, _) = store
        .settle(&mut RandomSource::draw()?, |latest| {
            let mut state = latest.state.clone();
            let text = match &args.rule {
                Some(rule) => acknowledge_rule(&mut state, rule, wanted.as_ref())?,
                None => acknowledge_findings(&mut state, args, wanted.as_ref())?,
            };
            let (run, by) = (state.last_run.clone(), Some(by.clone()));
            Ok((
                text,
                state,
                GenerationMeta { at: now, run, origin: GenerationOrigin::Acknowledged, by },
            ))
        })
        .await?;
    print(&text)?;
    Ok(ExitStatus::Clean)
}

/// Acknowledges what a rule speaks of, or takes that back.
fn acknowledge_rule(
    state: &mut State,
    rule: &str,
    wanted: Option<&Acknowledgement>,
) -> Result<String> {
    let name = to_printable(rule.as_bytes(), 80);
    let about =
        |t: &&TrackedFinding| t.finding.state.is_drift() && t.finding.rule.as_deref() == Some(rule);
    let n = state.findings.values().filter(about).count();
    if n == 0 && !state.rules.contains_key(rule) && !state.acknowledged_rules.contains_key(rule) {
        return Err(Failure::new(format!("no rule `{name}` is known to the state"))
            .help("the state knows the rules that the last run was judged by")
            .into());
    }
    match wanted {
        Some(wanted) => {
            let until = wanted.until;
            state.acknowledged_rules.insert(rule.to_owned(), wanted.clone());
            Ok(format!(
                "what the rule {name} speaks of is acknowledged until {until:.0}: {n} findings now, and \
                 those to come\n"
            ))
        }
        None if state.acknowledged_rules.remove(rule).is_some() => {
            Ok(format!("what the rule {name} speaks of is notified again\n"))
        }
        None => Err(Failure::new(format!("the rule `{name}` is not acknowledged"))
            .help("`mimawari ack --rule ID --until TIME --reason TEXT` does that")
            .into()),
    }
}

/// Acknowledges findings, or takes that back: all of them or none.
fn acknowledge_findings(
    state: &mut State,
    args: &AckArgs,
    wanted: Option<&Acknowledgement>,
) -> Result<String> {
    let mut findings: Vec<Finding> = Vec::new();
    if let Some(text) = &args.finding {
        findings.push(find(state, text)?.clone());
    }
    for text in &args.all_of {
        let all = state.find_all_drift(text);
        if all.is_empty() {
            // Says why there is none.
            find(state, text)?;
        }
        for f in all {
            if findings.iter().all(|known| known.id != f.id) {
                findings.push(f.clone());
            }
        }
    }
    let mut out = String::new();
    for f in &findings {
        let id = f.id.clone();
        match wanted {
            Some(wanted) => {
                let until = wanted.until;
                state.acknowledged.insert(id, wanted.clone());
                out.push_str(&format!("{} is acknowledged until {until:.0}\n", format_finding(f)));
            }
            None if state.acknowledged.remove(&id).is_some() => {
                out.push_str(&format!("{} is notified again\n", format_finding(f)));
            }
            None => {
                return Err(Failure::new(format!("{} is not acknowledged", format_finding(f)))
                    .help("`mimawari ack FINDING --until TIME --reason TEXT` does that")
                    .into());
            }
        }
    }
    Ok(out)
}

fn format_finding(f: &Finding) -> String {
    let subject = to_printable(f.subject().to_string().as_bytes(), 300);
    format!("{} ({} at {subject})", f.id, f.kind.as_str())
}

/// The one finding that is meant, and is drift.
fn find<'a>(state: &'a State, text: &str) -> Result<&'a Finding> {
    let name = to_printable(text.as_bytes(), 80);
    state.find_drift(text).map_err(|e| {
        let failure = Failure::new(match &e {
            AckTarget::None => format!("no finding that is drift is called `{name}`"),
            AckTarget::Settled(state) => {
                format!("the finding `{name}` is {} and no drift", state.as_str())
            }
            AckTarget::Several(ids) => {
                format!("`{name}` is more than one finding: {}", ids.join(", "))
            }
        });
        match e {
            AckTarget::Several(_) => failure.help("name one of them by its id"),
            _ => failure.help("the report and verdict.json name each finding's id; its first six digits are enough"),
        }
        .into()
    })
}

/// The instant that is meant: an instant, or the end of a day.
fn parse_end_time(text: &str, now: Timestamp) -> Result<Timestamp> {
    let day = |text: &str| {
        let next = text.parse::<Date>().ok()?.checked_add(1.day()).ok()?;
        Some(next.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    let shown = to_printable(text.as_bytes(), 40);
    let until = text.parse().ok().or_else(|| day(text)).ok_or_else(|| {
        Failure::new(format!("--until: `{shown}` is no day and no instant"))
            .help("write 2026-12-01, or 2026-12-01T18:00:00Z")
    })?;
    let latest = now.checked_add((MAX_DAYS * 24).hours())?;
    if until <= now {
        return Err(Failure::new(format!("--until: `{shown}` has gone by"))
            .help("name a time to come")
            .into());
    }
    if until > latest {
        return Err(Failure::new(format!("--until: `{shown}` is more than {MAX_DAYS} days ahead"))
            .help("what may stay open for longer is agreed: add it to the baseline, with an expiry")
            .into());
    }
    Ok(until)
}
