//! `mimawari baseline accept`

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::civil::Date;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_drift::baseline::RuleExpect;
use mimawari_drift::edit::acceptance::{self, AcceptedRule, FindingLookup, PREFIX};
use mimawari_drift::edit::append;
use mimawari_drift::verdict::Finding;

use super::diff::render_diff;
use super::files::{self, TextFile};
use super::{resolve_now, sanitise_foreign_text};
use crate::cli::{BaselineAcceptArgs, ExpectArg};
use crate::context::Context;
use crate::output::print;
use crate::report::read_verdict;

/// Findings that are named when more than one is meant.
const NAMED: usize = 10;

/// `mimawari baseline accept`
///
/// # Errors
/// An unknown finding, one that cannot be accepted, or a reason or an end that will not do; a
/// baseline that cannot be read, or has no file that the rule clearly belongs to.
pub fn accept(args: &BaselineAcceptArgs, context: &Context) -> Result<ExitStatus> {
    let now = resolve_now(args.now.as_deref(), context)?;
    let expires = args.expires.as_deref().map(parse_expiry_date).transpose()?;
    let verdict = match &args.verdict {
        Some(file) => file.clone(),
        None => find_newest_verdict(Path::new("runs"))?,
    };
    let from = verdict.display().to_string();
    let verdict = read_verdict(&verdict)?;
    let finding = acceptance::find(&verdict.findings, &args.finding)
        .map_err(|e| describe_lookup_failure(&args.finding, &from, &e))?;
    let files = files::read_folder(&args.dir)?;
    let baseline = files::parse(&files)?;
    let said = AcceptedRule {
        reason: &args.reason,
        expires,
        expect: match args.expect {
            ExpectArg::May => RuleExpect::May,
            ExpectArg::Must => RuleExpect::Must,
        },
        id: args.id.as_deref(),
    };
    let rule = acceptance::accept(finding, &said, &baseline, now)
        .map_err(|r| Failure::new(r.what).help(r.help))?;
    let file = choose(&files, args, finding)?;
    let text = append(&file.text, std::slice::from_ref(&rule)).map_err(|e| {
        Failure::new(format!("{}: {e}", file.name))
            .help(format!("run `mimawari baseline fmt {}` first", file.name))
    })?;
    files::parse_with(&files, file, &text)?;
    file.write(&text)?;
    print(&render_diff(&file.name, &file.text, &text))?;
    Ok(ExitStatus::Clean)
}

fn parse_expiry_date(text: &str) -> Result<Date> {
    let read = text.parse::<Date>().ok().filter(|d| d.to_string() == text);
    read.ok_or_else(|| {
        Failure::new(format!("--expires: `{}` is not a day", sanitise_foreign_text(text)))
            .help("write a date without a time, such as 2026-12-31; the rule holds through 23:59:59 UTC")
            .into()
    })
}

/// The verdict of the newest run; the names of runs begin with their time.
fn find_newest_verdict(dir: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let verdicts = entries.map(|e| e.path().join("verdict.json")).filter(|p| p.is_file());
    verdicts.max().ok_or_else(|| {
        Failure::new(format!("no run in {} has a verdict", dir.display()))
            .help("name the verdict with --verdict FILE")
            .into()
    })
}

fn describe_lookup_failure(wanted: &str, from: &str, e: &FindingLookup<'_>) -> Failure {
    let wanted = sanitise_foreign_text(wanted);
    match e {
        FindingLookup::Form => Failure::new(format!("`{wanted}` names no finding")).help(
            "write its id, 198.51.100.7:6379, [2001:db8::7]:443 or https://host/path, as the report has it",
        ),
        FindingLookup::Short => Failure::new(format!("`{wanted}` is too short for an id"))
            .help(format!("write at least {PREFIX} digits of it")),
        FindingLookup::None => Failure::new(format!("{from} has no finding `{wanted}`"))
            .help("`mimawari report --verdict FILE` shows them all"),
        FindingLookup::Many(all) => {
            let mut names: Vec<String> = all.iter().take(NAMED).map(|f| describe_finding_name(f)).collect();
            if all.len() > NAMED {
                names.push(format!("and {} more", all.len() - NAMED));
            }
            Failure::new(format!("`{wanted}` may be one of {} findings", all.len()))
                .help(format!("name one by its id: {}", names.join("; ")))
        }
    }
}

/// `3f9a01… exposed-content 198.51.100.7:80 /x for host`
fn describe_finding_name(f: &Finding) -> String {
    let at = match f.port {
        Some(port) => std::net::SocketAddr::new(f.ip, port.get()).to_string(),
        None => f.ip.to_string(),
    };
    let path = f.path.as_deref().map(|p| format!(" {p}")).unwrap_or_default();
    let host = f.host.as_deref().map(|h| format!(" for {h}")).unwrap_or_default();
    sanitise_foreign_text(&format!("{} {} {at}{path}{host}", f.id, f.kind.as_str()))
}

/// The file that the rule belongs to.
fn choose<'a>(
    files: &'a [TextFile],
    args: &BaselineAcceptArgs,
    finding: &Finding,
) -> Result<&'a TextFile> {
    let named: Vec<String> = files
        .iter()
        .map(|f| format!("{} ({})", f.name, sanitise_foreign_text(&f.owner().unwrap_or_default())))
        .collect();
    let help = format!("name one with --file: {}", named.join(", "));
    if let Some(wanted) = &args.file {
        let is = |f: &&TextFile| f.path == *wanted || f.path == args.dir.join(wanted);
        return files.iter().find(is).ok_or_else(|| {
            let what = format!("--file: {} is no file of the baseline", wanted.display());
            Failure::new(what).help(help).into()
        });
    }
    let owner = finding.owner.as_deref().map(str::trim).unwrap_or_default();
    let of: Vec<&TextFile> =
        files.iter().filter(|f| !owner.is_empty() && f.owner().as_deref() == Some(owner)).collect();
    // `baseline/hosting.toml:12`
    let near = finding.nearest.as_ref().and_then(|n| n.place.rsplit_once(':')).map(|(p, _)| p);
    // Behind the name of the folder.
    let near = near.map(|p| p.split_once('/').map_or(p, |(_, below)| below));
    let nearest = of.iter().find(|f| near.is_some_and(|n| f.path.ends_with(n)));
    match (of.as_slice(), nearest, files) {
        ([one], ..) => Ok(one),
        (_, Some(file), _) => Ok(file),
        ([], None, [only]) => Ok(only),
        ([], None, _) if owner.is_empty() => {
            Err(Failure::new("the finding has no owner, so that the rule may go into any file")
                .help(help)
                .into())
        }
        ([], None, _) => {
            let what = format!(
                "no file of the baseline is of the finding's owner, `{}`",
                sanitise_foreign_text(owner)
            );
            Err(Failure::new(what).help(help).into())
        }
        (many, None, _) => {
            let names: Vec<&str> = many.iter().map(|f| f.name.as_str()).collect();
            let what = format!(
                "{} files are of the finding's owner, `{}`",
                many.len(),
                sanitise_foreign_text(owner)
            );
            Err(Failure::new(what)
                .help(format!("name one with --file: {}", names.join(", ")))
                .into())
        }
    }
}
