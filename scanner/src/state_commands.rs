//! `mimawari state`: what is known, how it came to be, and the way back.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use jiff::Timestamp;
use mimawari_base::duration;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_probes::http::to_printable;
use mimawari_store::{
    GenerationHeader, GenerationMeta, GenerationOrigin, HistoryEntry, RandomSource,
    StateGeneration, StateStore,
};

use crate::cli::state::{
    StateCommand, StateHistoryArgs, StateRetireVantageArgs, StateRollbackArgs, StateShowArgs,
};
use crate::config::Config;
use crate::context::Context;
use crate::output::print;

/// `mimawari state`
///
/// # Errors
/// An unreadable configuration or state.
pub async fn run_state_command(command: &StateCommand, context: &Context) -> Result<ExitStatus> {
    match command {
        StateCommand::Show(args) => show(args, (context.now)()).await,
        StateCommand::History(args) => run_history_command(args).await,
        StateCommand::Rollback(args) => rollback(args, (context.now)()).await,
        StateCommand::RetireVantage(args) => retire_vantage(args, (context.now)()).await,
    }
}

async fn show(args: &StateShowArgs, now: Timestamp) -> Result<ExitStatus> {
    let url = Config::read(&args.which.config)?.state;
    let latest = StateStore::look(&url)?.latest().await?;
    let url = url.to_string();
    print(&if args.json {
        render_state_json(&url, &latest, now)?
    } else {
        render_state(&url, &latest, now)
    })?;
    Ok(ExitStatus::Clean)
}

/// Findings by state.
fn count_by_state(latest: &StateGeneration) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for tracked in latest.state.findings.values() {
        *counts.entry(tracked.finding.state.as_str()).or_default() += 1;
    }
    counts
}

fn compute_age(of: Option<Timestamp>, now: Timestamp) -> Option<f64> {
    of.map(|at| at.duration_until(now).as_secs_f64().max(0.0))
}

fn render_state(url: &str, latest: &StateGeneration, now: Timestamp) -> String {
    let state = &latest.state;
    let mut out = String::new();
    let mut put = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<11}{value}");
    };
    put("state", to_printable(url.as_bytes(), 300));
    let Some(header) = &latest.header else {
        let text = if state.last_run.is_some() {
            "none yet; state.json of the former form will be taken over as generation 1"
        } else {
            "none yet: nothing has been saved here"
        };
        put("generation", text.to_owned());
        return out;
    };
    put(
        "generation",
        format!("{}, {}{}", latest.number, format_to_second(header.at), describe_origin(header)),
    );
    put("digest", latest.digest.clone());
    let run =
        state.last_run.as_ref().map_or("none".to_owned(), |r| to_printable(r.as_bytes(), 200));
    put("last run", run);
    if let Some(age) = compute_age(state.updated_at, now) {
        put("age", duration::format_duration(age));
    }
    let words: Vec<String> = count_by_state(latest)
        .iter()
        .map(|(state, n)| format!("{n} {}", state.replace('_', " ")))
        .collect();
    let findings = if words.is_empty() { "none".to_owned() } else { words.join(", ") };
    put("findings", findings);
    put("allowed", state.allowed.len().to_string());
    put("web sites", state.sites.len().to_string());
    out
}

fn render_state_json(url: &str, latest: &StateGeneration, now: Timestamp) -> Result<String> {
    let state = &latest.state;
    let value = serde_json::json!({
        "version": 1,
        "url": url,
        "generation": latest.number,
        "digest": (latest.number > 0).then_some(&latest.digest),
        "saved_at": latest.header.as_ref().map(|h| h.at),
        "origin": latest.header.as_ref().map(|h| h.origin),
        "last_run": state.last_run,
        "updated_at": state.updated_at,
        "age_seconds": compute_age(state.updated_at, now).map(f64::round),
        "findings": count_by_state(latest),
        "allowed": state.allowed.len(),
        "sites": state.sites.len(),
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&value)?))
}

async fn run_history_command(args: &StateHistoryArgs) -> Result<ExitStatus> {
    let url = Config::read(&args.which.config)?.state;
    let entries = StateStore::look(&url)?.history(usize::from(args.number)).await?;
    print(&render_history(&entries))?;
    // What cannot be gone on from is an error also where somebody only looks.
    let is_wrong = entries.iter().take(2).any(|e| e.wrong.is_some());
    Ok(if is_wrong { ExitStatus::Error } else { ExitStatus::Clean })
}

/// A line a generation, the newest first.
fn render_history(entries: &[HistoryEntry]) -> String {
    let mut out = String::new();
    if entries.is_empty() {
        return "no generation has been saved yet\n".to_owned();
    }
    for entry in entries {
        let _ = write!(out, "{:>8}", entry.number);
        if let Some(h) = &entry.header {
            let run = h.run.as_ref().map_or("-".to_owned(), |r| to_printable(r.as_bytes(), 60));
            let _ = write!(
                out,
                "  {}  {run:<22}  {}{}",
                format_to_second(h.at),
                format_counts(h),
                describe_origin(h)
            );
        }
        if let Some(wrong) = &entry.wrong {
            let _ = write!(out, "  {wrong}");
        }
        out.push('\n');
    }
    out
}

fn format_counts(h: &GenerationHeader) -> String {
    let of = |state: &str| h.counts.get(state).copied().unwrap_or(0);
    format!(
        "{} open, {} unverified, {} resolving, {} missing, {} allowed",
        of("open"),
        of("unverified"),
        of("resolving"),
        of("missing") + of("missing_unverified"),
        h.allowed
    )
}

fn describe_origin(header: &GenerationHeader) -> String {
    let by = header
        .by
        .as_deref()
        .map_or_else(String::new, |name| format!(" by {}", to_printable(name.as_bytes(), 60)));
    match header.origin {
        GenerationOrigin::Judged => String::new(),
        GenerationOrigin::TakenOver => " (taken over from state.json)".to_owned(),
        GenerationOrigin::Acknowledged => format!(" (a finding was acknowledged{by})"),
        GenerationOrigin::VantageRetired => format!(" (a vantage was retired{by})"),
        GenerationOrigin::RolledBack(to) => format!(" (generation {to} brought back)"),
    }
}

/// To the second.
fn format_to_second(at: Timestamp) -> String {
    format!("{at:.0}")
}

async fn rollback(args: &StateRollbackArgs, now: Timestamp) -> Result<ExitStatus> {
    let url = Config::read(&args.which.config)?.state;
    let link = StateStore::open(&url)?.rollback(args.to, now, &mut RandomSource::draw()?).await?;
    print(&format!(
        "generation {} is generation {} again; what was saved in between is kept, and what the \
         runs since then found is found again by the next\n",
        link.number, args.to
    ))?;
    Ok(ExitStatus::Clean)
}

async fn retire_vantage(args: &StateRetireVantageArgs, now: Timestamp) -> Result<ExitStatus> {
    let config = Config::read(&args.which.config)?;
    let name = to_printable(args.vantage.as_bytes(), 60);
    if config.vantage == args.vantage && !args.force {
        return Err(Failure::new(format!("`{name}` is the vantage of this configuration"))
            .help("give the new vantage in the configuration first, or add --force")
            .into());
    }
    let by = Some(to_printable(args.by.trim().as_bytes(), 60)).filter(|b| !b.is_empty());
    let (text, _) = StateStore::open(&config.state)?
        .settle(&mut RandomSource::draw()?, |latest| {
            let mut state = latest.state.clone();
            let Some(retired) = state.retire_vantage(&args.vantage) else {
                let known: Vec<String> =
                    state.known_vantages().iter().map(|v| to_printable(v.as_bytes(), 60)).collect();
                return Err(Failure::new(format!("nothing is known from a vantage `{name}`"))
                    .help(format!("the state knows: {}", known.join(", ")))
                    .into());
            };
            let text = format!(
                "vantage {name} is retired: {} findings are no longer probed, and {} allowed \
                 things are forgotten; none was seen to be closed\n",
                retired.findings, retired.allowed
            );
            let (run, by) = (state.last_run.clone(), by.clone());
            Ok((
                text,
                state,
                GenerationMeta { at: now, run, origin: GenerationOrigin::VantageRetired, by },
            ))
        })
        .await?;
    print(&text)?;
    Ok(ExitStatus::Clean)
}
