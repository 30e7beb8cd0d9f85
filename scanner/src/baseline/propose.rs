//! `mimawari baseline propose`

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::{Timestamp, ToSpan};
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_base::files::create_temporary_file;
use mimawari_base::source_path::SourcePath;
use mimawari_drift::baseline::Baseline;
use mimawari_drift::edit::propose::{
    ProposalRequest, ProposedFile, RuleProposal, build_file_name, propose as proposed,
};
use mimawari_drift::edit::{append, render_new_file};
use mimawari_drift::verdict::Verdict;
use mimawari_runs::Runs;
use mimawari_store::StateStore;
use mimawari_targets::PortSet;

use super::diff::render_diff;
use super::files::{self, TextFile};
use super::{note, resolve_now, to_utc_date};
use crate::cli::BaselineProposeArgs;
use crate::config::Config;
use crate::context::Context;
use crate::output::print;
use crate::report::read_verdict;

/// `mimawari baseline propose`
///
/// # Errors
/// An unreadable verdict, run or baseline; a folder that cannot be written.
pub async fn propose(args: &BaselineProposeArgs, context: &Context) -> Result<ExitStatus> {
    let now = resolve_now(args.now.as_deref(), context)?;
    let only = args.only.as_deref().map(parse_ports).transpose()?;
    let expires =
        to_utc_date(now).checked_add(i32::from(args.expires_days).days()).map_err(|e| {
            Failure::new("--expires-days leads beyond the calendar")
                .help("name fewer days")
                .source(e)
        })?;
    let (verdict, baseline) = read_sources(args, now).await?;
    let baselines = read_existing(baseline.as_deref(), args.out.as_deref())?;
    let request = ProposalRequest { only: only.as_ref(), expires, now };
    let made = proposed(&verdict.findings, &baselines, &request);
    match &args.out {
        None => print(&join_files(&made))?,
        Some(dir) => write(dir, &made)?,
    }
    report_rest(context, &made);
    Ok(ExitStatus::Clean)
}

fn parse_ports(text: &str) -> Result<PortSet> {
    text.parse().map_err(|e: mimawari_targets::PortError| {
        Failure::new(format!("--only: {e}"))
            .help("write ports and ranges, such as 22,80,8000-8100")
            .into()
    })
}

/// The verdict, and the folder of the baseline that is there.
async fn read_sources(
    args: &BaselineProposeArgs,
    now: Timestamp,
) -> Result<(Verdict, Option<SourcePath>)> {
    if let Some(file) = &args.verdict {
        let usual = || Some(PathBuf::from("baseline")).filter(|d| d.is_dir());
        return Ok((
            read_verdict(file)?,
            args.baseline.clone().or_else(usual).map(SourcePath::from),
        ));
    }
    let config = Config::read(&args.config)?;
    let dir = args.baseline.as_ref().map_or(config.baseline_dir, SourcePath::from);
    let baseline = mimawari_store::baseline::read_baseline(&dir)?;
    let previous = StateStore::look(&config.state)?.latest().await?.state;
    let runs = Runs::open(&args.run, &config.scope, &previous)?.with_max_age(config.scan.max_age);
    let (verdict, _) = runs.judge(&baseline, &previous, now);
    Ok((verdict, Some(dir)))
}

/// What is there already: the baseline, and what lies where the rules are to go.
fn read_existing(baseline: Option<&Path>, out: Option<&Path>) -> Result<Vec<Baseline>> {
    let mut dirs: Vec<&Path> = Vec::new();
    dirs.extend(baseline);
    if let Some(out) = out.filter(|o| o.is_dir() && !dirs.iter().any(|d| is_same_folder(d, o))) {
        dirs.push(out);
    }
    let mut all = Vec::new();
    for dir in dirs {
        let paths = files::list(dir)?;
        let files = paths.iter().map(|p| TextFile::read(p)).collect::<Result<Vec<_>>>()?;
        all.push(files::parse(&files)?);
    }
    Ok(all)
}

fn is_same_folder(a: &Path, b: &Path) -> bool {
    matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

/// Every owner's file, one after the other.
fn join_files(made: &ProposedFile) -> String {
    let mut out = String::new();
    for p in &made.proposals {
        if made.proposals.len() > 1 {
            let gap = if out.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}# ===== {} =====", build_file_name(p.owner.as_deref()));
        }
        out.push_str(&render_new_file(p.owner.as_deref().unwrap_or_default(), &p.rules));
    }
    out
}

/// One file an owner. What is there is added to and never replaced.
fn write(dir: &Path, made: &ProposedFile) -> Result<()> {
    let failed = |path: &Path, e: std::io::Error| {
        Failure::new(format!("cannot write {}", path.display()))
            .help("name another folder with --out, or make it writable")
            .source(e)
    };
    fs::create_dir_all(dir).map_err(|e| failed(dir, e))?;
    let there: Vec<TextFile> =
        files::list(dir)?.iter().map(|p| TextFile::read(p)).collect::<Result<_>>()?;
    let mut taken: BTreeSet<PathBuf> = there.iter().map(|f| f.path.clone()).collect();
    // Everything is worked out before the first file is written.
    let mut edits: Vec<(&TextFile, String)> = Vec::new();
    let mut new: Vec<(PathBuf, String)> = Vec::new();
    for RuleProposal { owner, rules } in &made.proposals {
        let owner = owner.as_deref();
        let of = there.iter().find(|f| f.owner().as_deref() == Some(owner.unwrap_or_default()));
        if let Some(file) = of {
            let text = append(&file.text, rules).map_err(|e| {
                Failure::new(format!("{}: {e}", file.name))
                    .help(format!("run `mimawari baseline fmt {}` first", file.name))
            })?;
            edits.push((file, text));
            continue;
        }
        let name = build_file_name(owner);
        let stem = name.trim_end_matches(".toml");
        let numbered = (2u32..).map(|n| dir.join(format!("{stem}-{n}.toml")));
        let mut names = std::iter::once(dir.join(&name)).chain(numbered);
        let Some(path) = names.find(|p| !taken.contains(p) && !p.exists()) else { continue };
        taken.insert(path.clone());
        new.push((path, render_new_file(owner.unwrap_or_default(), rules)));
    }
    let mut out = String::new();
    for (file, text) in edits {
        file.write(&text)?;
        out.push_str(&render_diff(&file.name, &file.text, &text));
    }
    for (path, text) in new {
        create(&path, &text).map_err(|e| failed(&path, e))?;
        let _ = writeln!(out, "{}: written", path.display());
    }
    print(&out)
}

/// Writes a file that is not there yet, whole or not at all.
fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = create_temporary_file(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|e| e.error)?;
    Ok(())
}

/// Reports what is not in the result, and what is yet to do.
fn report_rest(context: &Context, made: &ProposedFile) {
    let findings = |n: usize| if n == 1 { "1 finding".to_owned() } else { format!("{n} findings") };
    for (why, n) in &made.left {
        note(context, &format!("{} without a rule: {why}", findings(*n)));
    }
    let rules: usize = made.proposals.iter().map(|p| p.rules.len()).sum();
    if rules == 0 {
        return note(context, "no confirmed port is open without a rule, so no rule is proposed");
    }
    let rules = if rules == 1 { "1 rule".to_owned() } else { format!("{rules} rules") };
    note(
        context,
        &format!(
            "{rules} for {}: write each reason; until then `mimawari baseline check` fails",
            findings(made.findings)
        ),
    );
    if made.proposals.iter().any(|p| p.owner.is_none()) {
        note(context, "some have no owner: write who answers for them");
    }
}
