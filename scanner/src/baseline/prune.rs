//! `mimawari baseline prune`

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_drift::edit::remove;
use mimawari_drift::stale::find_stale_rules;
use mimawari_drift::state::State;
use mimawari_store::{StateStore, StoreLocation};

use super::diff::render_diff;
use super::files::{self, TextFile};
use super::{note, resolve_now, sanitise_foreign_text};
use crate::cli::BaselinePruneArgs;
use crate::context::Context;
use crate::output::print;

/// `mimawari baseline prune`
///
/// # Errors
/// An unreadable baseline or state; a file that cannot be written.
pub async fn prune(args: &BaselinePruneArgs, context: &Context) -> Result<ExitStatus> {
    let now = resolve_now(args.now.as_deref(), context)?;
    let files = files::read_folder(&args.dir)?;
    let baseline = files::parse(&files)?;
    let state = match &args.state {
        None => {
            note(
                context,
                "without --state it is not known what was seen; only expired rules are looked for",
            );
            State::default()
        }
        Some(dir) if !dir.is_dir() => {
            return Err(Failure::new(format!("there is no state folder {}", dir.display()))
                .help("name the folder that `url` under [state] names")
                .into());
        }
        Some(dir) => StateStore::look(&StoreLocation::Folder(dir.clone()))?.latest().await?.state,
    };
    let stale = find_stale_rules(&baseline, &state.rules, now);
    if stale.is_empty() {
        print(&format!("{}: none of {} rules is stale\n", args.dir.display(), baseline.len()))?;
        return Ok(ExitStatus::Clean);
    }
    let mut out = String::new();
    for s in &stale {
        let _ = writeln!(out, "{}: `{}`: {}", s.place, sanitise_foreign_text(&s.id), s.why);
    }
    let mut edits: Vec<(&TextFile, String)> = Vec::new();
    for file in &files {
        let here =
            stale.iter().filter(|s| s.place.rsplit_once(':').is_some_and(|(f, _)| f == file.name));
        let ids: BTreeSet<&str> = here.map(|s| s.id.as_str()).collect();
        if ids.is_empty() {
            continue;
        }
        let text = remove(&file.text, &ids).ok_or_else(|| {
            Failure::new(format!(
                "{}: a stale rule is not written as a table of its own",
                file.name
            ))
            .help(format!("run `mimawari baseline fmt {}` first", file.name))
        })?;
        files::parse_with(&files, file, &text)?;
        let _ = write!(out, "\n{}", render_diff(&file.name, &file.text, &text));
        edits.push((file, text));
    }
    if args.write {
        for (file, text) in &edits {
            file.write(text)?;
        }
    }
    print(&out)?;
    let n = if stale.len() == 1 { "1 rule".to_owned() } else { format!("{} rules", stale.len()) };
    if args.write {
        note(context, &format!("{n} removed"));
    } else {
        note(context, &format!("{n} can go; nothing is written without --write"));
    }
    Ok(ExitStatus::Clean)
}
