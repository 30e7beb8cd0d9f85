//! One function for each command: reads its arguments, calls the parts, writes the results.

use std::io::{self, IsTerminal, Read as _, Write};
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use mimawari_base::failure::{Failure, Status};
use mimawari_base::files::write_atomically;
use mimawari_base::signals::Stop;
use mimawari_drift::state::State;
use mimawari_drift::verdict::Verdict;
use mimawari_look::http::connection::BODY_LIMIT;
use mimawari_notify::client::World;
use mimawari_notify::{Notifiers, StateLedger};
use mimawari_probes::format::{FormatFault, NEWER_HELP, read_document};
use mimawari_probes::gap::GapEffect;
use mimawari_probes::http::{Catalogue, Check};
use mimawari_runs::{Runs, judge};
use mimawari_store::published;
use mimawari_store::{Generation, Link, Meta, Origin, Random, Store};

use crate::cli::{
    ChecksCommand, JudgeArgs, ManifestArgs, MergeArgs, PatrolArgs, ReportArgs, ReportFormat,
    ScanArgs, SchemaArgs, SchemaFormat,
};
use crate::config::Config;
use crate::plan;
use crate::scan::{self, Context, Folder, Scanned, Seeds};

/// `mimawari scan`
///
/// # Errors
/// Whatever stops the scan; see [`scan::scan`].
pub async fn scan(args: &ScanArgs, context: &Context) -> Result<Status> {
    let mut config = Config::read(&args.selection.from.config)?;
    config.apply(&args.selection, Some(&args.tuning))?;
    config.look_by(&args.looking);
    warn(&config);
    if args.plan.plan {
        let prepared = scan::prepare(&config).await?;
        warn_of_targets(&prepared);
        let ask = plan::ask(&args.plan, &config, prepared.walk.plan())?;
        let estimate = plan::estimate::estimate(&ask);
        print(&if args.plan.json {
            plan::render::json(&estimate)?
        } else {
            plan::render::text(&estimate)
        })?;
        return Ok(Status::Clean);
    }
    if args.dry_run {
        let prepared = scan::prepare(&config).await?;
        warn_of_targets(&prepared);
        return match scan::dry_run(&prepared.walk, &mut io::stdout().lock()) {
            Ok(()) => Ok(Status::Clean),
            // `| head` closes the pipe; that is no error.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(Status::Clean),
            Err(e) => Err(Failure::new("cannot write to stdout").source(e).into()),
        };
    }
    context.stop.on_signals()?;
    let scanned = scan::scan(&config, context, Seeds::draw()?, args.selection.folder()).await?;
    print_result(&scan_summary(&scanned), &context.stop)?;
    Ok(if scanned.complete { Status::Clean } else { Status::Incomplete })
}

/// Logs the targets that will not be scanned.
pub(crate) fn warn_of_targets(prepared: &scan::Prepared) {
    for gap in prepared.gaps.iter().filter(|g| g.effect != GapEffect::Noted) {
        tracing::warn!("{}", mimawari_report::gap_sentence(gap));
    }
}

/// What a scan prints: the run folder, what is open, what was not covered.
fn scan_summary(s: &Scanned) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let m = &s.meta;
    if let Some(sweep) = &m.sweep {
        let _ = writeln!(
            out,
            "{} cells: {} open, {} closed, {} prohibited, {} silent, {} not probed",
            sweep.cells, sweep.open, sweep.closed, sweep.prohibited, sweep.silent, sweep.not_probed
        );
        let _ = match (sweep.recall_estimate, sweep.recall_interval) {
            (Some(r), Some((lo, hi))) => {
                writeln!(
                    out,
                    "recall {r:.5} (95 %: {lo:.5} to {hi:.5}), promised {}",
                    m.recall_promised
                )
            }
            _ => writeln!(out, "recall unknown: nothing answered"),
        };
    }
    if m.http.checks_planned > 0 {
        let _ = writeln!(
            out,
            "{} of {} content checks on {} web endpoints",
            m.http.checks_covered, m.http.checks_planned, m.http.targets
        );
    }
    for gap in m.gaps.iter().filter(|g| g.effect != GapEffect::Noted) {
        let _ = writeln!(out, "not covered: {}", mimawari_report::gap_sentence(gap));
    }
    let _ = writeln!(out, "{}", s.dir.display());
    out
}

/// `mimawari merge`
///
/// # Errors
/// A [`Failure`] when the runs do not belong together; see [`mimawari_runs::merge::merge`].
pub fn merge(args: &MergeArgs) -> Result<Status> {
    let meta = mimawari_runs::merge::merge(&args.runs, &args.out)?;
    let complete = meta.is_whole();
    let merged = Scanned { dir: args.out.clone(), meta, complete };
    print(&scan_summary(&merged))?;
    Ok(if complete { Status::Clean } else { Status::Incomplete })
}

/// `mimawari manifest`
///
/// # Errors
/// See [`crate::manifest::make`].
pub async fn manifest(args: &ManifestArgs, context: &Context) -> Result<Status> {
    crate::manifest::stop_on_signals(context)?;
    crate::manifest::make(args, context)
}

/// `mimawari patrol`
///
/// # Errors
/// Whatever stops the scan or the judgement.
pub async fn patrol(args: &PatrolArgs, context: &Context) -> Result<Status> {
    let mut config = Config::read(&args.selection.from.config)?;
    config.apply(&args.selection, Some(&args.tuning))?;
    config.look_by(&args.looking);
    warn(&config);
    context.stop.on_signals()?;
    let (verdict, _) = patrol_with(&config, context, args.selection.folder()).await?;
    if !config.notify.iter().any(|n| n.kind.writes_stdout()) {
        print_result(&summary(&verdict), &context.stop)?;
    }
    Ok(Status::from_verdict(verdict.exit))
}

/// The round itself: scan, judge, report into the run folder.
///
/// # Errors
/// Whatever stops the scan or the judgement.
pub async fn patrol_with(
    config: &Config,
    context: &Context,
    folder: Folder<'_>,
) -> Result<(Verdict, std::path::PathBuf)> {
    // What would stop the judgement, or the telling, is found before a packet is sent.
    let notifiers = notifiers(config, context).await?;
    let agreed = published::agreed(config.baseline_url.as_ref(), &config.baseline_dir).await?;
    let store = Store::open(&config.state)?;
    store.check().await?;
    let scanned = scan::scan(config, context, Seeds::draw()?, folder).await?;
    let verdict = settle_run(&store, config, context, &agreed, &scanned.dir, || Ok(())).await?;
    tell(&notifiers, config, &verdict, &scanned.dir).await;
    Ok((verdict, scanned.dir))
}

/// Judges one run upon the newest state, writes its reports into its folder, and saves the state;
/// `written` is called between the two.
///
/// # Errors
/// As [`settle`]; a report that cannot be written.
pub(crate) async fn settle_run(
    store: &Store,
    config: &Config,
    context: &Context,
    agreed: &published::Agreed,
    dir: &std::path::PathBuf,
    mut written: impl FnMut() -> Result<()>,
) -> Result<Verdict> {
    let (verdict, saved) = settle(store, |previous| {
        let runs = Runs::open(std::slice::from_ref(dir), &config.scope, &previous.state)?
            .with_max_age(config.scan.max_age);
        let mut judged = runs.judge(&agreed.baseline, &previous.state, (context.now)());
        agreed.note(&mut judged.0);
        mimawari_report::describe_verdict(&mut judged.0);
        // The state goes last: if a report could not be written, the next run finds everything new
        // again, which is better than a finding that nobody was told of.
        write_reports(&judged.0, dir)?;
        written()?;
        Ok(judged)
    })
    .await?;
    let folder = dir.display();
    tracing::info!(run = verdict.run_id, %folder, generation = saved.number, "reports written");
    Ok(verdict)
}

/// Judges by `judge` upon the newest state and saves what follows; again, if another run saved its
/// own in between. The verdict is that of the judgement that was saved.
///
/// # Errors
/// Whatever `judge` says; a state that cannot be read or written.
pub async fn settle(
    store: &Store,
    mut judge: impl FnMut(&Generation) -> Result<(Verdict, State)>,
) -> Result<(Verdict, Link)> {
    let attempt = |previous: &Generation| {
        let (verdict, state) = judge(previous)?;
        let run = Some(verdict.run_id.clone());
        let meta = Meta { at: verdict.judged_at, run, origin: Origin::Judged, by: None };
        Ok((verdict, state, meta))
    };
    store.settle(&mut Random::draw()?, attempt).await
}

/// The notifiers, with their secrets.
pub(crate) async fn notifiers(config: &Config, context: &Context) -> Result<Notifiers> {
    Ok(Notifiers::from_environment(&config.notify, World::of(context.now)).await?)
}

/// Tells what the verdict has to tell. The state is saved; nothing here changes the exit status.
pub(crate) async fn tell(notifiers: &Notifiers, config: &Config, verdict: &Verdict, run: &Path) {
    match StateLedger::open(&config.state) {
        Ok(ledger) => drop(notifiers.deliver(verdict, run, &ledger).await),
        Err(e) => {
            tracing::error!("no notifier is told: {}", mimawari_base::failure::line(&e));
        }
    }
}

/// Writes the verdict and its reports into a run folder.
///
/// # Errors
/// A [`Failure`] naming the file.
pub fn write_reports(verdict: &Verdict, dir: &Path) -> Result<()> {
    let files = [
        ("verdict.json", mimawari_report::json(verdict)),
        ("report.md", mimawari_report::markdown(verdict)),
        ("report.html", mimawari_report::html(verdict)),
    ];
    for (name, text) in files {
        let path = dir.join(name);
        write_atomically(&path, text.as_bytes()).map_err(|e| {
            Failure::new(format!("cannot write {}", path.display()))
                .help("the run is kept: judge it again with `mimawari judge --run` when there is room")
                .source(e)
        })?;
    }
    Ok(())
}

/// `mimawari judge`
///
/// # Errors
/// Unreadable runs, baseline or state.
pub async fn judge(args: &JudgeArgs, context: &Context) -> Result<Status> {
    let config = Config::read(&args.from.config)?;
    let now = match &args.now {
        None => (context.now)(),
        Some(text) => text.parse::<Timestamp>().map_err(|e| {
            Failure::new(format!("--now: `{text}` is not an instant"))
                .help("write RFC 3339, such as 2027-01-01T00:00:00Z")
                .source(e)
        })?,
    };
    let agreed = match &args.baseline {
        Some(dir) => published::agreed(None, dir).await?,
        None => published::agreed(config.baseline_url.as_ref(), &config.baseline_dir).await?,
    };
    let dirs = judge::named_runs(&args.run, &config.runs_dir)?;
    let judged = |previous: &Generation| {
        let runs = Runs::open(&dirs, &config.scope, &previous.state)?;
        let runs = runs.with_max_age(config.scan.max_age);
        let mut judged = runs.judge(&agreed.baseline, &previous.state, now);
        agreed.note(&mut judged.0);
        mimawari_report::describe_verdict(&mut judged.0);
        anyhow::Ok(judged)
    };
    // What went to stdout cannot be taken back, so it waits until the state is saved.
    let to_stdout = args.out == Path::new("-");
    let lines_on_stdout = args.save_state && config.notify.iter().any(|n| n.kind.writes_stdout());
    let verdict = if args.save_state {
        let notifiers = notifiers(&config, context).await?;
        if to_stdout && lines_on_stdout {
            return Err(Failure::new("the verdict and a notifier's lines would both go to stdout")
                .help("name a file for the verdict with --out FILE")
                .into());
        }
        let store = Store::open(&config.state)?;
        let saved = settle(&store, |previous| {
            let judged = judged(previous)?;
            if !to_stdout {
                write_out(&args.out, &mimawari_report::json(&judged.0))?;
            }
            Ok(judged)
        });
        let verdict = saved.await?.0;
        tell(&notifiers, &config, &verdict, &dirs[0]).await;
        verdict
    } else {
        let (verdict, _) = judged(&Store::look(&config.state)?.latest().await?)?;
        if !to_stdout {
            write_out(&args.out, &mimawari_report::json(&verdict))?;
        }
        verdict
    };
    if to_stdout {
        write_out(&args.out, &mimawari_report::json(&verdict))?;
    } else if !lines_on_stdout {
        print(&summary(&verdict))?;
    }
    Ok(Status::from_verdict(verdict.exit))
}

/// `mimawari report`
///
/// # Errors
/// An unreadable verdict or an unwritable output.
pub fn report(args: &ReportArgs) -> Result<Status> {
    let verdict = read_verdict(&args.verdict)?;
    let to_terminal = args.out == Path::new("-") && io::stdout().is_terminal();
    let text = match args.format {
        ReportFormat::Text => mimawari_report::text(&verdict, to_terminal, width()),
        ReportFormat::Json => mimawari_report::json(&verdict),
        ReportFormat::Markdown => mimawari_report::markdown(&verdict),
        ReportFormat::Html => mimawari_report::html(&verdict),
        ReportFormat::Sarif => crate::export::sarif(&verdict)?,
        ReportFormat::Csv => mimawari_report::csv(&verdict),
    };
    write_out(&args.out, &text)?;
    Ok(Status::Clean)
}

/// Reads a `verdict.json`; `-` is stdin.
///
/// # Errors
/// A [`Failure`] naming the file.
pub fn read_verdict(path: &Path) -> Result<Verdict> {
    let name = path.display();
    let text = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    }
    .map_err(|e| {
        Failure::new(format!("cannot read the verdict {name}"))
            .help("name a verdict.json that `mimawari patrol` or `judge` wrote")
            .source(e)
    })?;
    read_document(text.as_bytes()).map_err(|fault| {
        let failure = match fault {
            FormatFault::Newer { .. } => {
                Failure::new(format!("the verdict {name} {fault}")).help(NEWER_HELP)
            }
            FormatFault::Damaged(why) => Failure::new(format!("{name} is not a verdict: {why}"))
                .help("name a verdict.json that `mimawari patrol` or `judge` wrote"),
        };
        failure.into()
    })
}

/// `mimawari checks`
///
/// # Errors
/// An unknown id; a file of checks or a key that cannot be read.
pub fn checks(command: &ChecksCommand) -> Result<Status> {
    use std::fmt::Write as _;
    let mut out = String::new();
    match command {
        ChecksCommand::List { own } => out = check_list(&scan::catalogue(&own.checks)?),
        ChecksCommand::Show { id, own } => {
            let catalogue = scan::catalogue(&own.checks)?;
            let Some(check) = catalogue.get(id) else {
                let mut failure = Failure::new(format!("no check has the id `{id}`"));
                failure = failure.help("`mimawari checks list` names them all");
                return Err(failure.into());
            };
            out = check_in_full(check);
        }
        ChecksCommand::Digest { evidence_key, files } => {
            let key = scan::evidence_key(evidence_key)?;
            for file in files {
                let digest = file_digest(&key, file)?;
                let _ = writeln!(out, "{digest}  {}", file.display());
            }
        }
    }
    print(&out)?;
    Ok(Status::Clean)
}

/// A line a check, under the columns' names.
fn check_list(catalogue: &Catalogue) -> String {
    use std::fmt::Write as _;
    let width = catalogue.all().map(|c| c.id.len()).max().unwrap_or_default().max(2);
    let mut out = format!("{:width$}  severity  tier 1  tier 2  tier 3  title\n", "id");
    for c in catalogue.all() {
        let _ = write!(out, "{:width$}  {:<8}", c.id, c.severity.as_str());
        for tier in 1..=3 {
            let _ = match c.paths_in(tier) {
                0 => write!(out, "  {:>6}", "-"),
                n => write!(out, "  {n:>6}"),
            };
        }
        let _ = writeln!(out, "  {}", c.title);
    }
    out
}

/// Everything about a check that a reader of its findings may ask.
fn check_in_full(c: &Check) -> String {
    use std::fmt::Write as _;
    let mut out = format!("{}: {}\n\n", c.id, c.title);
    for (name, text) in [
        ("Severity", c.severity.as_str()),
        ("Why", c.why.as_str()),
        ("Remedy", c.remedy.as_str()),
        ("Signature", c.signature.as_str()),
    ] {
        let _ = writeln!(out, "{:<11}{text}", format!("{name}:"));
    }
    for (tier, when) in [(1, "hourly"), (2, "daily"), (3, "weekly")] {
        let patterns = c.patterns.iter().filter(|(of, _)| *of == tier);
        let mut patterns = patterns.map(|(_, pattern)| pattern).peekable();
        if patterns.peek().is_none() {
            continue;
        }
        let paths = match c.paths_in(tier) {
            1 => "1 path".to_owned(),
            n => format!("{n} paths"),
        };
        let _ = writeln!(out, "\nTier {tier}, {when}: {paths}");
        for pattern in patterns {
            let _ = writeln!(out, "  {pattern}");
        }
    }
    out
}

/// As the evidence of a hit on this file has it.
fn file_digest(key: &[u8; 32], path: &Path) -> Result<String> {
    let mut body = Vec::new();
    std::fs::File::open(path)
        .and_then(|f| f.take(BODY_LIMIT as u64).read_to_end(&mut body))
        .map_err(|e| {
            Failure::new(format!("cannot read the file `{}`", path.display()))
                .help("name the file that may have been served, as it lies on the web host")
                .source(e)
        })?;
    Ok(mimawari_probes::http::digest(key, &body))
}

/// `mimawari schema`
///
/// # Errors
/// An unwritable stdout.
pub fn schema(args: &SchemaArgs) -> Result<Status> {
    print(&schema_text(args.format)?)?;
    Ok(Status::Clean)
}

/// The JSON Schema of a format, as it is committed under `deploy/schemas`.
///
/// # Errors
/// Never in practice; serialising a schema cannot fail.
pub fn schema_text(format: SchemaFormat) -> Result<String> {
    use mimawari_drift::schema;
    Ok(match format {
        SchemaFormat::Verdict => schema::verdict(),
        SchemaFormat::Observation => schema::observation(),
        SchemaFormat::Baseline => schema::baseline(),
        SchemaFormat::Run => pretty(&schemars::schema_for!(mimawari_runs::RunMeta))?,
        SchemaFormat::Selfcheck => pretty(&schemars::schema_for!(crate::selfcheck::Document))?,
        SchemaFormat::Round => pretty(&schemars::schema_for!(crate::rounds::RoundResult))?,
        SchemaFormat::Manifest => {
            pretty(&schemars::schema_for!(mimawari_probes::http::manifest::ManifestLine<'_>))?
        }
    })
}

fn pretty(schema: &schemars::Schema) -> Result<String> {
    let mut text = serde_json::to_string_pretty(schema)?;
    text.push('\n');
    Ok(text)
}

pub(crate) fn warn(config: &Config) {
    for w in &config.warnings {
        tracing::warn!("{w}");
    }
}

pub(crate) fn width() -> usize {
    std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok()).unwrap_or(100)
}

/// The summary for the terminal or the pipe behind stdout.
#[must_use]
pub fn summary(verdict: &Verdict) -> String {
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    mimawari_report::text(verdict, colour, width())
}

/// Results to stdout; a reader that has gone away is no error.
///
/// # Errors
/// When stdout cannot be written for another reason.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to stdout").source(e).into())
        }
        _ => Ok(()),
    }
}

/// How long a run that was stopped waits for whoever reads its stdout.
const READER: Duration = Duration::from_secs(2);

/// As [`print`], for the end of a run: a run that was stopped does not wait for a reader that does
/// not read. Everything is in its folder by then.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn print_result(text: &str, stop: &Stop) -> Result<()> {
    let (done, printed) = std::sync::mpsc::channel();
    let text = text.to_owned();
    std::thread::spawn(move || done.send(print(&text)));
    let step = Duration::from_millis(100);
    let mut waited = Duration::ZERO;
    loop {
        match printed.recv_timeout(step) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) if stop.is_stopped() => waited += step,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if waited >= READER {
            tracing::warn!("stdout is not being read: the summary was not printed");
            return Ok(());
        }
    }
}

/// Writes a result to a file, or to stdout for `-`.
pub(crate) fn write_out(path: &Path, text: &str) -> Result<()> {
    if path == Path::new("-") {
        return print(text);
    }
    write_atomically(path, text.as_bytes()).map_err(|e| {
        Failure::new(format!("cannot write {}", path.display()))
            .help("choose another file with --out FILE")
            .source(e)
            .into()
    })
}
