//! Suites that share a binary and build their cases when it starts: one after the other, each as if it were alone.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use crate::lab::{Namespace, enter};

/// What `MIMAWARI_LAB` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabMode {
    /// Everything. A case that misses something it needs fails.
    Full,
    /// What a Linux machine can do without further packages.
    Usual,
    /// As usual, without the namespaces.
    Skip,
}

impl LabMode {
    /// Reads the variable; any other value is [`LabMode::Usual`].
    #[must_use]
    pub fn from_env() -> Self {
        match std::env::var("MIMAWARI_LAB").as_deref() {
            Ok("full") => Self::Full,
            Ok("skip") => Self::Skip,
            _ => Self::Usual,
        }
    }

    /// Whether this is [`LabMode::Full`].
    #[must_use]
    pub fn is_full(self) -> bool {
        self == Self::Full
    }
}

/// What is asked for: by the environment, and by the arguments.
#[derive(Debug)]
pub struct Selection {
    /// By `MIMAWARI_LAB`.
    pub mode: LabMode,
    arguments: Arguments,
}

impl Selection {
    /// Whether the case with this name is going to run, provided that it is not ignored. A suite makes what its cases
    /// share, such as an engine, only if one of them is.
    #[must_use]
    pub fn runs(&self, name: &str) -> bool {
        let Arguments { list, exact, filter, skip, .. } = &self.arguments;
        let fits = |pattern: &String| if *exact { name == pattern } else { name.contains(pattern) };
        !*list && filter.iter().all(fits) && !skip.iter().any(fits)
    }
}

/// The cases of one subject.
#[derive(Debug)]
pub struct Suite {
    /// Makes its cases. What is not to run is marked as ignored, so that it is counted.
    pub trials: fn(&Selection) -> Vec<Trial>,
    /// How many cases may run at once, where the machine's number of processors is too many.
    pub threads: Option<usize>,
}

/// Runs the suites one after the other: with `isolated` in namespaces with no way out, a network namespace for each
/// suite. Threads and processes that a suite starts stay in there.
#[must_use]
pub fn run_suites(suites: &[Suite], mode: LabMode, isolated: bool) -> ExitCode {
    let selection = Selection { mode, arguments: Arguments::from_args() };
    let isolated = isolated && !selection.arguments.list;
    if isolated && let Err(e) = enter() {
        eprintln!("the lab cannot be built: {e}");
        return ExitCode::FAILURE;
    }
    let mut failed = false;
    for suite in suites {
        let mut arguments = selection.arguments.clone();
        if arguments.test_threads.is_none() {
            arguments.test_threads = suite.threads;
        }
        let run = || libtest_mimic::run(&arguments, (suite.trials)(&selection)).has_failed();
        failed |= if isolated { Namespace::new().run(run) } else { run() };
    }
    if failed { ExitCode::from(101) } else { ExitCode::SUCCESS }
}
