//! `mimawari ack`: somebody knows of a finding, for a time.

use anyhow::Result;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use mimawari_base::failure::{Failure, Status};
use mimawari_drift::state::{NotFound, State};
use mimawari_drift::verdict::{Acknowledgement, Finding};
use mimawari_probes::http::printable;
use mimawari_store::{Meta, Origin, Random, Store};

use crate::cli::ack::AckArgs;
use crate::commands::print;
use crate::config::Config;
use crate::scan::Context;

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
pub async fn ack(args: &AckArgs, context: &Context) -> Result<Status> {
    let now = (context.now)();
    let until = args.until.as_deref().map(|text| end(text, now)).transpose()?;
    let text = |s: &str| printable(s.trim().as_bytes(), MAX_TEXT);
    let reason = args.reason.as_deref().map(text);
    if reason.as_deref().is_some_and(str::is_empty) {
        return Err(Failure::new("--reason is empty")
            .help("say why, or name the ticket: whoever reads the report sees it")
            .into());
    }
    let by = text(&args.by);
    let store = Store::open(&Config::read(&args.from.config)?.state)?;
    let (told, _) = store
        .settle(&mut Random::draw()?, |latest| {
            let mut state = latest.state.clone();
            let finding = find(&state, &args.finding)?.clone();
            let id = finding.id.clone();
            let told = match (until, &reason) {
                (Some(until), Some(reason)) => {
                    let (by, reason) = (by.clone(), reason.clone());
                    state.acknowledged.insert(id, Acknowledgement { until, at: now, by, reason });
                    format!("{} is acknowledged until {until:.0}\n", shown(&finding))
                }
                _ if state.acknowledged.remove(&id).is_some() => {
                    format!("{} is told of again\n", shown(&finding))
                }
                _ => {
                    return Err(Failure::new(format!("{} is not acknowledged", shown(&finding)))
                        .help("`mimawari ack FINDING --until TIME --reason TEXT` does that")
                        .into());
                }
            };
            let meta = Meta { at: now, run: state.last_run.clone(), origin: Origin::Acknowledged };
            Ok((told, state, meta))
        })
        .await?;
    print(&told)?;
    Ok(Status::Clean)
}

fn shown(f: &Finding) -> String {
    let place = match f.port {
        Some(port) => std::net::SocketAddr::new(f.ip, port.get()).to_string(),
        None => f.ip.to_string(),
    };
    let path = f.path.as_deref().map(|p| printable(p.as_bytes(), 200)).unwrap_or_default();
    format!("{} ({} at {place}{path})", f.id, f.kind.as_str())
}

/// The one finding that is meant, and is drift.
fn find<'a>(state: &'a State, text: &str) -> Result<&'a Finding> {
    let name = printable(text.as_bytes(), 80);
    state.find_drift(text).map_err(|e| {
        let failure = Failure::new(match &e {
            NotFound::None => format!("no finding that is drift is called `{name}`"),
            NotFound::Settled(state) => {
                format!("the finding `{name}` is {} and no drift", state.as_str())
            }
            NotFound::Several(ids) => {
                format!("`{name}` is more than one finding: {}", ids.join(", "))
            }
        });
        match e {
            NotFound::Several(_) => failure.help("name one of them by its id"),
            _ => failure.help("the report and verdict.json name each finding's id; its first six digits are enough"),
        }
        .into()
    })
}

/// The instant that is meant: an instant, or the end of a day.
fn end(text: &str, now: Timestamp) -> Result<Timestamp> {
    let day = |text: &str| {
        let next = text.parse::<Date>().ok()?.checked_add(1.day()).ok()?;
        Some(next.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    let shown = printable(text.as_bytes(), 40);
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
