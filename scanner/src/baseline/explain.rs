//! `mimawari baseline explain`

use std::path::{Path, PathBuf};

use anyhow::Result;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_base::source_path::SourcePath;
use mimawari_drift::explain::{ExplainQuestion, KnownFinding, LastCovered};
use mimawari_drift::judge::CoverageView;
use mimawari_drift::state::State;
use mimawari_probes::http::to_printable;
use mimawari_probes::observation::{CellState, Observation};
use mimawari_runs::Runs;
use mimawari_store::StateStore;
use mimawari_store::baseline::read_baseline;
use mimawari_targets::{Cell, PlanShard};

use super::blame::blame;
use super::resolve_now;
use crate::cli::baseline_plan::BaselineExplainArgs;
use crate::config::Config;
use crate::context::Context;
use crate::output::{detect_terminal_width, print};

/// Longest question that is repeated, in characters.
const MAX_SHOWN: usize = 200;

/// `mimawari baseline explain`
///
/// # Errors
/// A question that cannot be understood, an unknown id, an unreadable run, baseline or state.
pub async fn run(args: &BaselineExplainArgs, context: &Context) -> Result<ExitStatus> {
    let question: ExplainQuestion = args.what.parse().map_err(|e| {
        Failure::new(format!("cannot explain `{}`", to_printable(args.what.as_bytes(), MAX_SHOWN)))
            .help("write 192.0.2.70:22, [2001:db8::7]:443, 192.0.2.70:53/udp, https://shop.example.jp/.env, or the 16 hex digits of a finding's id")
            .source(e)
    })?;
    let config = Config::read(&args.from.config)?;
    let now = resolve_now(args.now.as_deref(), context)?;
    let dir = args.dir.as_ref().map_or_else(|| config.baseline_dir.clone(), SourcePath::from);
    let baseline = read_baseline(&dir)?;
    let saved = StateStore::look(&config.state)?.latest().await?.state;
    let (runs, note) = open(args, &config, &saved)?;
    // With a run at hand the answer is what a patrol would say under this baseline.
    let state = match &runs {
        Some(runs) => runs.judge(&baseline, &saved, now).1,
        None => saved,
    };
    let covered = |cell: Cell| find_last_covered(runs.as_ref(), &state, cell);
    let in_scope = |ip| config.scope.allows(ip);
    let known = KnownFinding {
        baseline: &baseline,
        state: &state,
        now,
        vantage: &config.vantage,
        in_scope: &in_scope,
        covered: &covered,
    };
    let mut explanation = known.explain(&args.what, &question);
    if explanation.answers.is_empty()
        && let ExplainQuestion::Finding(id) = &question
    {
        return Err(Failure::new(format!("no finding has the id `{id}`"))
            .help(
                "the ids are in verdict.json and in the reports; ask for IP:PORT or a URL instead",
            )
            .into());
    }
    explanation.notes.extend(note);
    for answer in &mut explanation.answers {
        let Some(rule) = &mut answer.rule else { continue };
        match split_place(&dir, &rule.rule.place).ok_or_else(|| "its line is not known".to_owned())
        {
            Ok((file, line)) => match blame(&dir, file, line) {
                Ok(commit) => rule.commit = Some(commit),
                Err(why) => rule.commit_unknown = Some(why),
            },
            Err(why) => rule.commit_unknown = Some(why),
        }
    }
    print(&if args.json {
        mimawari_report::plan::render_explanation_json(&explanation)
    } else {
        mimawari_report::plan::render_explanation(&explanation, detect_terminal_width())
    })?;
    Ok(ExitStatus::Clean)
}

/// File and line of `baseline/team.toml:12`; the file lies in the folder of the baseline.
fn split_place<'a>(dir: &Path, place: &'a str) -> Option<(&'a str, usize)> {
    let (path, line) = place.rsplit_once(':')?;
    let folder = dir.file_name().and_then(|f| path.strip_prefix(f.to_str()?));
    let file = folder.and_then(|p| p.strip_prefix('/')).unwrap_or(path);
    Some((file, line.parse().ok()?))
}

/// The run that was named, or the newest one that is found; and what has to be said about that.
fn open(
    args: &BaselineExplainArgs,
    config: &Config,
    saved: &State,
) -> Result<(Option<Runs>, Option<String>)> {
    let open = |dirs: &[PathBuf]| {
        anyhow::Ok(Runs::open(dirs, &config.scope, saved)?.with_max_age(config.scan.max_age))
    };
    if !args.run.is_empty() {
        return Ok((Some(open(&args.run)?), None));
    }
    let Some(dir) = find_newest_run(&config.runs_dir) else {
        let note = "No run was named and none was found: the answer is from the state alone.";
        return Ok((None, Some(note.to_owned())));
    };
    match open(std::slice::from_ref(&dir)) {
        Ok(runs) => Ok((Some(runs), None)),
        Err(e) => {
            let note =
                format!("The newest run cannot be read ({e}): the answer is from the state alone.");
            Ok((None, Some(note)))
        }
    }
}

/// The newest run of a folder; runs are named by their start.
fn find_newest_run(runs: &Path) -> Option<PathBuf> {
    let all = std::fs::read_dir(runs).ok()?.filter_map(|e| Some(e.ok()?.path()));
    all.filter(|p| p.join("run.json").is_file()).max()
}

/// When a cell was last covered.
fn find_last_covered(runs: Option<&Runs>, state: &State, at: Cell) -> LastCovered {
    let not_known = |how: String| LastCovered { how, ..LastCovered::default() };
    let Some((runs, first)) = runs.and_then(|r| Some((r, r.each().first()?))) else {
        return not_known("not known, without a run".to_owned());
    };
    let id = runs.each().iter().map(|r| r.meta.run_id.as_str()).collect::<Vec<_>>().join("+");
    let seen = runs.each().iter().flat_map(|r| &r.observations).any(|o| {
        matches!(o, Observation::Tcp(t) if Cell::tcp(t.ip, t.port) == at && t.state == CellState::Open)
    });
    let cell = match runs.cell(at.ip, at.port) {
        _ if seen => CellState::Open,
        // Open without a record: the record was lost, so nothing is known.
        CellState::Open => CellState::NotProbed,
        state => state,
    };
    if cell.is_covered() {
        let at = runs.each().iter().map(|r| r.meta.started_at).min();
        return LastCovered { at, state: Some(cell), how: format!("by the run {id}") };
    }
    let parts = first.meta.part.unwrap_or(PlanShard::WHOLE).count();
    let Some(part) = runs.part_of(at.ip, at.port) else {
        return not_known(format!("not known: it is not of the plan of the run {id}"));
    };
    let digest = first.meta.plan.digest(parts, &first.meta.vantage);
    let age = state.plans.get(&digest).and_then(|ages| ages.parts.get(&part));
    match age.and_then(|a| a.covered) {
        Some(at) => LastCovered {
            at: Some(at),
            state: None,
            how: match parts {
                1 => "with the whole plan".to_owned(),
                _ => format!("with the part {part}/{parts} of the plan"),
            },
        },
        None => not_known(format!("not known: the run {id} did not cover it")),
    }
}
