//! The checks: data in `probes/catalogue/`, read once, and the paths they come to on a target.

pub mod format;
pub mod paths;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use mimawari_targets::diagnostic::{Diagnostic, DiagnosticList, TextSource};

pub use self::format::{CheckFixture, CheckSource as Check};
use self::paths::PathTemplate;
pub use self::paths::{DayName, NameLists};
use super::manifest::{Manifest, ManifestEntry};
pub(super) use crate::observation::Severity;

/// The files that come with the product, by name.
const FILES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/catalogue.rs"));

/// All checks.
#[derive(Debug, Clone)]
pub struct Catalogue {
    checks: Vec<Arc<Check>>,
}

/// What an answer is held against.
#[derive(Debug, Clone)]
pub enum ContentProbe {
    /// A check of the catalogue.
    Check(Arc<Check>),
    /// A file of the target's own document root.
    File(ListedFile),
}

/// A file in a manifest.
#[derive(Debug, Clone)]
pub struct ListedFile {
    manifest: Arc<Manifest>,
    index: usize,
}

impl ListedFile {
    fn all(manifest: &Arc<Manifest>) -> impl Iterator<Item = Self> {
        (0..manifest.entries().len()).map(|index| Self { manifest: Arc::clone(manifest), index })
    }
}

impl std::ops::Deref for ListedFile {
    type Target = ManifestEntry;

    fn deref(&self) -> &ManifestEntry {
        &self.manifest.entries()[self.index]
    }
}

/// One path to ask for, with everything that its answer is held against.
#[derive(Debug, Clone)]
pub struct PathPlan {
    /// Path and query, as sent.
    pub path: Arc<str>,
    /// At least one.
    pub probes: Arc<[ContentProbe]>,
}

/// The paths up to a tier.
#[derive(Debug, Clone)]
pub struct RequestPlan {
    fixed: Vec<PathPlan>,
    named: Vec<(PathTemplate, Arc<Check>)>,
}

impl Catalogue {
    /// The checks that come with the product.
    ///
    /// # Panics
    /// Never: the build has read the same files.
    #[must_use]
    pub fn builtin() -> Self {
        static CHECKS: OnceLock<Vec<Arc<Check>>> = OnceLock::new();
        let checks = CHECKS.get_or_init(|| {
            let read = |(name, text): &(&str, &str)| {
                format::read(&TextSource::new(*name, *text), true).expect("read by the build")
            };
            FILES.iter().flat_map(read).map(Arc::new).collect()
        });
        Self { checks: checks.clone() }
    }

    /// Adds the checks of a user's file. Its fixtures, where it has any, must hold.
    ///
    /// # Errors
    /// Every mistake of the file, with its line and a remedy.
    pub fn add(&mut self, source: &TextSource) -> Result<(), DiagnosticList> {
        let mut errors = Vec::new();
        for check in format::read(source, false)? {
            if self.get(&check.id).is_some() {
                let title = format!("the id `{}` is taken by another check", check.id);
                errors.push(
                    Diagnostic::error(title, source, check.place.clone())
                        .help("give it another id; `mimawari checks list` names those in use"),
                );
            }
            for (place, failure) in super::fixtures::collect_fixture_failures(&check) {
                errors.push(
                    Diagnostic::error(failure, source, place)
                        .help("correct the rule or the fixture"),
                );
            }
            self.checks.push(Arc::new(check));
        }
        if errors.is_empty() { Ok(()) } else { Err(DiagnosticList(errors)) }
    }

    /// The check with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Check> {
        self.checks.iter().map(|c| &**c).find(|c| c.id == id)
    }

    /// All checks, in the order of the files.
    pub fn all(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().map(|c| &**c)
    }

    /// The paths of all checks up to this tier, each once; those of the lower tiers come first.
    #[must_use]
    pub fn plan(&self, tier: u8) -> RequestPlan {
        let mut merged = MergedPath::default();
        let mut named = Vec::new();
        for t in 1..=tier {
            for check in &self.checks {
                for (_, template) in check.paths.iter().filter(|(of, _)| *of == t) {
                    match template.fixed() {
                        Some(path) => merged.add(path, ContentProbe::Check(Arc::clone(check))),
                        None => named.push((template.clone(), Arc::clone(check))),
                    }
                }
            }
        }
        RequestPlan { fixed: merged.finish(), named }
    }
}

impl RequestPlan {
    /// The paths that every target is asked for.
    #[must_use]
    pub fn fixed(&self) -> &[PathPlan] {
        &self.fixed
    }

    /// The paths of a target: of its files, of the checks for everybody, of its names. Files come
    /// first: what its owner knows is worth more than a guess.
    #[must_use]
    pub fn on(&self, names: NameLists<'_>, manifests: &[&Arc<Manifest>]) -> Cow<'_, [PathPlan]> {
        if self.named.is_empty() && manifests.is_empty() {
            return Cow::Borrowed(&self.fixed);
        }
        let mut merged = MergedPath::default();
        for file in manifests.iter().flat_map(|m| ListedFile::all(m)) {
            let path = file.path.clone();
            merged.add(&path, ContentProbe::File(file));
        }
        for plan in &self.fixed {
            for probe in &*plan.probes {
                merged.add(&plan.path, probe.clone());
            }
        }
        for (template, check) in &self.named {
            for path in template.on(names) {
                merged.add(&path, ContentProbe::Check(Arc::clone(check)));
            }
        }
        Cow::Owned(merged.finish())
    }
}

impl Check {
    /// How many paths it has in a tier, those with names of the target counted once.
    #[must_use]
    pub fn paths_in(&self, tier: u8) -> usize {
        self.paths.iter().filter(|(of, _)| *of == tier).count()
    }

    /// The lowest tier in which any of its paths is asked for.
    #[must_use]
    pub fn tier(&self) -> u8 {
        self.patterns.iter().map(|(tier, _)| *tier).min().unwrap_or(3)
    }
}

/// Paths with their probes, each path once, in the order in which they came.
#[derive(Default)]
struct MergedPath {
    plans: Vec<(Arc<str>, Vec<ContentProbe>)>,
    at: HashMap<Arc<str>, usize>,
}

impl MergedPath {
    fn add(&mut self, path: &str, probe: ContentProbe) {
        if let Some(i) = self.at.get(path) {
            let probes = &mut self.plans[*i].1;
            let same = |p: &ContentProbe| match (p, &probe) {
                (ContentProbe::Check(a), ContentProbe::Check(b)) => Arc::ptr_eq(a, b),
                _ => false,
            };
            if !probes.iter().any(same) {
                probes.push(probe);
            }
        } else {
            let path: Arc<str> = path.into();
            self.at.insert(Arc::clone(&path), self.plans.len());
            self.plans.push((path, vec![probe]));
        }
    }

    fn finish(self) -> Vec<PathPlan> {
        let plan = |(path, probes): (Arc<str>, Vec<ContentProbe>)| PathPlan {
            path,
            probes: probes.into(),
        };
        self.plans.into_iter().map(plan).collect()
    }
}
