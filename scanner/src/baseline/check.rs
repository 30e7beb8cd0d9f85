//! `mimawari baseline check`: reads what the lint needs, and writes what it found.

mod form;
mod place;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_base::source_path::SourcePath;
use mimawari_drift::baseline::Baseline;
use mimawari_drift::edit::format;
use mimawari_drift::lint::codeowners::CodeOwners;
use mimawari_drift::lint::{
    BUDGET, Lint, LintContext, LintProfile, OwnersSource, SiteNames, TextLocation,
    collect_all_site_addresses, lint, rules,
};
use mimawari_drift::state::State;
use mimawari_store::baseline::RuleFiles;
use mimawari_store::{StateStore, StoreLocation};
use mimawari_targets::diagnostic::{DiagnosticLevel, TextSource};
use mimawari_targets::{AddrSet, Scope, build_mistake_diagnostic};

use self::place::RuleHome;
use crate::cli::baseline::{BaselineCheckArgs, LintFormat};
use crate::config::Config;
use crate::context::Context;
use crate::output::print;
use crate::scan;

/// Longest baseline file, in bytes: some 25,000 rules.
const LONGEST: u64 = 4 << 20;
/// Files of one folder.
const MOST_FILES: usize = 1000;

/// `mimawari baseline check`
///
/// # Errors
/// A [`Failure`] when something that is named cannot be read. What is wrong with the baseline is a
/// result, and gives [`ExitStatus::Error`].
pub async fn run(args: &BaselineCheckArgs, context: &Context) -> Result<ExitStatus> {
    if let Some(id) = &args.explain {
        print(&explain(id)?)?;
        return Ok(ExitStatus::Clean);
    }
    let now = match &args.now {
        None => (context.now)(),
        Some(text) => text.parse::<Timestamp>().map_err(|e| {
            Failure::new(format!("--now: `{}` is not an instant", text.escape_debug()))
                .help("write RFC 3339, such as 2027-01-01T00:00:00Z")
                .source(e)
        })?,
    };
    let configs = args.configs.iter().map(|c| Config::read(c)).collect::<Result<Vec<_>>>()?;
    let dir = match (&args.dir, configs.first()) {
        (Some(dir), _) => dir.into(),
        (None, Some(config)) => config.baseline_dir.clone(),
        (None, None) => "baseline".into(),
    };
    let home = RuleHome::of(&dir)?;
    let mut unreadable = Vec::new();
    let files = read(&dir, |name| home.shown(&dir, name), &mut unreadable)?;
    let base = match &args.base {
        // Its errors were reported when it was new.
        Some(base) => Some(read(base, str::to_owned, &mut Vec::new())?),
        None => None,
    };
    if configs.is_empty() {
        tracing::info!(
            "no configuration is named with -c: this check does not know whether the addresses are in \
             the scope, and whether a scan probes what must be open"
        );
    }
    let owners = match &args.codeowners {
        Some(path) => Some(home.codeowners_at(path)?),
        None => home.find_codeowners()?,
    };
    let mut own: Vec<_> = args.checks.iter().map(SourcePath::from).collect();
    own.extend(configs.iter().flat_map(|c| c.http.checks.iter().cloned()));
    let catalogue = scan::load_catalogue(&own)?;
    let mut checks: BTreeSet<String> = catalogue.all().map(|c| c.id.to_string()).collect();
    checks.extend(["legacy-tls", "manifest"].map(str::to_owned));
    let state = match &args.state {
        Some(state) => {
            let at = StoreLocation::Folder(state.clone());
            let known = StateStore::look(&at)?.latest().await?.state;
            if known.last_run.is_none() {
                tracing::warn!(
                    "the state {} knows of no run: rules that nothing was seen of are not reported",
                    state.display()
                );
            }
            Some(known)
        }
        None => None,
    };
    let (scope, profiles) = read_profiles(&args.configs, &configs);
    let sites = collect_site_names(&files, &args.configs, &configs, state.as_ref());
    let found = lint(
        &files,
        &LintContext {
            now,
            scope: scope.as_ref(),
            profiles: &profiles,
            owners: match &owners {
                None => OwnersSource::Absent,
                Some((owners, folder)) => to_owners_source(owners, folder),
            },
            checks: Some(&checks),
            usage: state.as_ref().map(|s| &s.rules),
            sites: Some(&sites),
            base: base.as_deref(),
            budget: BUDGET,
            formatted: Some(&|text| format(text).unwrap_or_else(|_| text.to_owned())),
        },
    );
    let mut all = unreadable;
    all.extend(found);
    write_findings(args, &all, &files)
}

fn to_owners_source<'a>(owners: &'a CodeOwners, folder: &'a str) -> OwnersSource<'a> {
    OwnersSource::File { owners, folder }
}

/// Writes what was found; returns the exit status.
fn write_findings(
    args: &BaselineCheckArgs,
    all: &[Lint],
    files: &[(String, String)],
) -> Result<ExitStatus> {
    let is_error = |l: &&Lint| args.strict || l.rule.gravity == DiagnosticLevel::Error;
    let errors = all.iter().filter(is_error).count();
    let level = |l: &Lint| if is_error(&l) { "error" } else { "warning" };
    match args.format {
        LintFormat::Text => {
            let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            // One at a time: thousands of messages are not held twice.
            for l in all {
                let mut d = l.diagnostic.clone();
                if is_error(&l) {
                    d.gravity = DiagnosticLevel::Error;
                }
                print(&format!("{}\n\n", d.render(colour)))?;
            }
            let refused = all.iter().any(|l| l.rule.refused);
            print(&format_summary(errors, all.len() - errors, files, refused))?;
        }
        LintFormat::Json => print(&form::render_json(all, level)?)?,
        LintFormat::Sarif => print(&form::render_sarif(all, level))?,
        LintFormat::Github => print(&form::render_github(all, level))?,
    }
    Ok(if errors > 0 { ExitStatus::Error } else { ExitStatus::Clean })
}

/// `3 rules in 2 files: 1 error, 2 warnings`, and the digest, where a patrol would take them.
fn format_summary(
    errors: usize,
    warnings: usize,
    files: &[(String, String)],
    refused: bool,
) -> String {
    let count = |n: usize, what: &str| match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    let found = match (errors, warnings) {
        (0, 0) => "nothing to report".to_owned(),
        _ => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
    };
    let more = "`mimawari baseline check --explain ID` explains an id in brackets";
    let files_ = count(files.len(), "file");
    let baseline = if refused { None } else { Baseline::parse(files).ok() };
    let read = match baseline {
        Some((b, _)) => {
            format!("{} in {files_}, digest {}", count(b.len(), "rule"), b.digest())
        }
        None => format!("{files_}, which a patrol refuses"),
    };
    match (errors, warnings) {
        (0, 0) => format!("{found}: {read}\n"),
        _ => format!("{found}: {read}\n{more}\n"),
    }
}

/// One page, or the list.
fn explain(id: &str) -> Result<String> {
    if id.is_empty() {
        return Ok(rules::render_rule_table());
    }
    if let Some(rule) = rules::get(id) {
        return Ok(rule.explained());
    }
    let known: Vec<String> = rules::list_lint_rules().map(|r| format!("`{}`", r.id)).collect();
    let written: String = id.chars().take(40).filter(|c| !c.is_control() && *c != '`').collect();
    // The nearest one, by the same rule as for keys of a file.
    let message = format!("unknown variant `{written}`, expected one of {}", known.join(", "));
    let help = build_mistake_diagnostic(&TextSource::new("", ""), &message, 0..0).help;
    let help = help.filter(|h| h.starts_with("did you"));
    let list = "`mimawari baseline check --explain` lists them".to_owned();
    Err(Failure::new(format!("there is no rule with the id `{written}`"))
        .help(help.unwrap_or(list))
        .into())
}

/// The `*.toml` of a folder and its sub-folders, by the names that they are shown under.
///
/// A file that is no text, or too long, goes to `unreadable`.
fn read(
    dir: &Path,
    shown: impl Fn(&str) -> String,
    unreadable: &mut Vec<Lint>,
) -> Result<Vec<(String, String)>> {
    let failed = |path: &Path, e: io::Error| {
        Failure::new(format!("cannot read the baseline {}", path.display()))
            .help("name the folder with its .toml files: `mimawari baseline check DIR`")
            .source(e)
    };
    let files = RuleFiles::list(dir).map_err(|(path, e)| failed(&path, e))?;
    files.note_skipped();
    let paths = files.paths;
    if paths.is_empty() || paths.len() > MOST_FILES {
        let (title, help) = match paths.len() {
            0 => (
                "holds no .toml file".to_owned(),
                "write one with `version = 1` and `owner = \"…\"`; with no rule in it, everything open is drift",
            ),
            n => (
                format!("holds {n} .toml files, more than {MOST_FILES}"),
                "write one for each team",
            ),
        };
        return Err(Failure::new(format!("the baseline {} {title}", dir.display()))
            .help(help)
            .into());
    }
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let name = shown(&path.strip_prefix(dir).unwrap_or(&path).to_string_lossy());
        let mut bytes = Vec::new();
        fs::File::open(&path)
            .and_then(|f| f.take(LONGEST + 1).read_to_end(&mut bytes))
            .map_err(|e| failed(&path, e))?;
        let error = if bytes.len() as u64 > LONGEST {
            let source = TextSource::new(name.as_str(), "");
            let title = format!("the file is longer than {} MiB", LONGEST >> 20);
            let d = mimawari_targets::diagnostic::Diagnostic::error(title, &source, 0..0);
            d.help("divide it: one file for each team").into()
        } else {
            match TextSource::from_bytes(name.as_str(), bytes) {
                Ok(source) => {
                    files.push((name, source.text().to_owned()));
                    continue;
                }
                Err(e) => e,
            }
        };
        unreadable.extend(error.0.into_iter().map(|d| {
            let place = TextLocation { line: d.line(), column: 1 };
            let rule = &rules::reading::SYNTAX;
            Lint { rule, diagnostic: d.code(rule.id), start: place, end: place, rule_id: None }
        }));
    }
    Ok(files)
}

/// The sites at addresses of rules that allow a path for every site: those of the configurations' lists
/// and those that were seen.
fn collect_site_names(
    files: &[(String, String)],
    names: &[PathBuf],
    configs: &[Config],
    state: Option<&State>,
) -> SiteNames {
    let mut sites = SiteNames::default();
    let asked = collect_all_site_addresses(files);
    if asked.is_empty() {
        return sites;
    }
    let seen = state.into_iter().flat_map(|s| &s.sites).map(|s| &s.key);
    for key in seen.filter(|key| asked.contains(key.ip)) {
        if let Some(name) = &key.host {
            sites.add(key.ip, name);
        }
    }
    let files = names.iter().zip(configs);
    for (name, config) in files.filter(|(_, c)| c.http.vhosts.as_deref() != Some(Path::new("-"))) {
        // Where the rules are reviewed, the list may be missing; a run reads it anew.
        if let Err(e) = add_listed_sites(config, &asked, &mut sites) {
            tracing::warn!(
                "{}: {e:#}; rules that allow a path for several of its sites are not reported",
                name.display()
            );
        }
    }
    sites
}

fn add_listed_sites(config: &Config, asked: &AddrSet, sites: &mut SiteNames) -> Result<()> {
    let Some(list) = scan::read_vhosts(config)? else { return Ok(()) };
    for ip in list.addresses().filter(|ip| asked.contains(*ip)) {
        for host in list.hosts(ip) {
            if sites.is_full(ip) {
                break;
            }
            sites.add(ip, &host?.host);
        }
    }
    Ok(())
}

/// What the configurations allow and scan together.
fn read_profiles(names: &[PathBuf], configs: &[Config]) -> (Option<Scope>, Vec<LintProfile>) {
    let Some(first) = configs.first() else { return (None, Vec::new()) };
    let (mut allow, mut permitted) = (AddrSet::default(), AddrSet::default());
    let mut profiles = Vec::with_capacity(configs.len());
    for (name, config) in names.iter().zip(configs) {
        allow = allow.union(config.scope.allow());
        permitted = permitted.union(config.scope.permitted());
        let targets = match &config.scan.targets {
            None => config.scope.permitted().clone(),
            Some(t) if t.names().is_empty() => t.addrs().intersect(config.scope.permitted()),
            Some(_) => {
                tracing::info!(
                    "{}: where the names among its targets point is not asked here; they are taken \
                     to cover its whole scope",
                    name.display()
                );
                config.scope.permitted().clone()
            }
        };
        profiles.push(LintProfile { targets, ports: config.scan.ports.clone() });
    }
    // Denied is what every one of them denies.
    let denied = allow.subtract(&permitted);
    (Some(Scope::new(allow, denied, first.scope.authorised_by())), profiles)
}
