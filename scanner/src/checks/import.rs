//! `mimawari checks import`: another program's templates as a file of checks. Sends nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_probes::http::{Catalogue, format};
use mimawari_targets::diagnostic::TextSource;

use super::draft::{DraftCheck, build_unique_id};
use super::nuclei::{ImportRefusal, convert};
use crate::cli::ImportChecksArgs;
use crate::output;

/// Longest template that is read, bytes.
const TEMPLATE_LIMIT: u64 = 1 << 20;

/// Most folders within each other.
const DEPTH_LIMIT: usize = 32;

/// So many templates are named for each reason in the summary.
const SHOWN: usize = 3;

/// What came of the templates.
#[derive(Default)]
struct ImportedChecks {
    text: String,
    ids: BTreeSet<String>,
    templates: u64,
    checks: u64,
    paths: u64,
    /// Files that are YAML and no templates.
    others: u64,
    /// Those that are not imported, by reason.
    refused: BTreeMap<String, Vec<String>>,
}

/// `mimawari checks import`
///
/// # Errors
/// A file or folder that cannot be read; nothing at all that could be imported.
pub(super) fn import(args: &ImportChecksArgs) -> Result<ExitStatus> {
    let mut files = Vec::new();
    for path in &args.paths {
        collect(path, true, 0, &mut files)?;
    }
    files.sort();
    files.dedup();
    let mut imported = ImportedChecks::default();
    let builtin = Catalogue::builtin();
    for file in &files {
        let shown = file.display().to_string();
        let text = match read(file) {
            Ok(text) => text,
            Err(reason) => {
                imported.refuse(reason, shown);
                continue;
            }
        };
        match imported.take(&text, args.tier, &builtin) {
            Ok(()) => {}
            Err(ImportRefusal::NoTemplate) => imported.others += 1,
            Err(ImportRefusal::Beyond(reason)) => imported.refuse(reason, shown),
        }
    }
    for (reason, names) in &imported.refused {
        for name in names {
            tracing::warn!("not imported: {name} {reason}");
        }
    }
    if imported.checks == 0 {
        let mut failure = Failure::new("no template can be imported");
        failure = failure.help(
            "name files or folders of nuclei templates that are a plain GET with matchers, such as \
             its folder http/exposures",
        );
        return Err(failure.into());
    }
    output::write_out(&args.out, &imported.file())?;
    crate::stderr::write(imported.summary().as_bytes());
    Ok(if imported.refused.is_empty() { ExitStatus::Clean } else { ExitStatus::Incomplete })
}

impl ImportedChecks {
    /// Takes in a template: all of its checks, or none.
    fn take(
        &mut self,
        text: &str,
        tier: u8,
        builtin: &Catalogue,
    ) -> std::result::Result<(), ImportRefusal> {
        let drafts = convert(text)?;
        let (mut written, mut ids, mut paths) = (String::new(), BTreeSet::new(), 0);
        let count = drafts.len() as u64;
        for draft in drafts {
            let taken =
                |id: &str| self.ids.contains(id) || ids.contains(id) || builtin.get(id).is_some();
            let draft = DraftCheck { id: build_unique_id(&draft.id, taken), ..draft };
            let text = draft.written(tier);
            let source = TextSource::new("the template", format!("version = 1\n{text}"));
            if let Err(errors) = format::read(&source, false) {
                let first = errors.0.first().map(|d| d.title.clone()).unwrap_or_default();
                return Err(ImportRefusal::Beyond(format!("cannot be a check: {first}")));
            }
            paths += draft.paths.len() as u64;
            written.push('\n');
            written.push_str(&text);
            ids.insert(draft.id);
        }
        self.text.push_str(&written);
        self.ids.append(&mut ids);
        self.templates += 1;
        self.checks += count;
        self.paths += paths;
        Ok(())
    }

    fn refuse(&mut self, reason: String, name: String) {
        self.refused.entry(reason).or_default().push(name);
    }

    fn file(&self) -> String {
        format!(
            "# Checks made of nuclei templates by `mimawari checks import`. The licence of the\n\
             # templates is that of their authors.\nversion = 1\n{}",
            self.text
        )
    }

    fn summary(&self) -> String {
        let refused: usize = self.refused.values().map(Vec::len).sum();
        let mut out = format!(
            "imported {} of {} templates: {} checks, {} paths\n",
            self.templates,
            self.templates + refused as u64,
            self.checks,
            self.paths
        );
        if self.others > 0 {
            let _ = writeln!(out, "{} other files are no templates", self.others);
        }
        let mut reasons: Vec<(&String, &Vec<String>)> = self.refused.iter().collect();
        reasons.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.0.cmp(b.0)));
        for (reason, names) in reasons {
            let first = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
            let more = if names.len() > SHOWN { ", …" } else { "" };
            let _ = writeln!(out, "{:>6} not imported: {reason} ({first}{more})", names.len());
        }
        out
    }
}

/// The template files of a path; folders are read, links in them are not followed.
fn collect(path: &Path, named: bool, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |e: std::io::Error| {
        Failure::new(format!("cannot read {}", path.display()))
            .help("name a nuclei template, or a folder of them")
            .source(e)
    };
    let facts = if named { path.metadata() } else { path.symlink_metadata() }.map_err(failed)?;
    let is_yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
    if facts.is_file() && (named || is_yaml) {
        files.push(path.to_owned());
    }
    if facts.is_dir() && depth < DEPTH_LIMIT {
        for entry in std::fs::read_dir(path).map_err(failed)? {
            collect(&entry.map_err(failed)?.path(), false, depth + 1, files)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> std::result::Result<String, String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|f| f.take(TEMPLATE_LIMIT + 1).read_to_end(&mut bytes))
        .map_err(|e| format!("cannot be read: {e}"))?;
    if bytes.len() as u64 > TEMPLATE_LIMIT {
        return Err("is over 1 MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}
