//! mimawari (見回り, the watchman's round): network exposure monitoring.
//!
//! The library behind the `mimawari` program: a file a command, and what the commands share. The crates
//! below do the work: `mimawari_net` sweeps and `mimawari_look` looks at what is open, both joined by
//! [`scan`]; `mimawari_runs` keeps what was seen and judges it, `mimawari_store` keeps the state,
//! `mimawari_notify` sends. [`demo`] shows all of it on loopback.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use jiff::Timestamp;

pub mod ack;
pub mod baseline;
pub mod checks;
pub mod cli;
pub mod config;
pub mod context;
pub mod demo;
pub mod export;
pub mod generate;
pub mod import;
pub mod judge;
pub mod logging;
pub mod manifest;
pub mod notify;
mod output;
pub mod patrol;
pub mod plan;
pub mod publish;
pub mod report;
pub mod rounds;
pub mod scan;
mod scan_command;
pub mod schema;
pub mod selfcheck;
mod settle;
pub mod state_commands;
mod stderr;

use mimawari_base::failure::{self, ExitStatus};
use mimawari_base::signals::{self, StopSignal};
use mimawari_net::packet::SocketOpener;

use cli::{BaselineCommand, Cli, Command};
use context::Context;

/// The program: reads the command line, runs the command, returns the exit status.
#[must_use]
pub fn main() -> ExitCode {
    let core_dumps = mimawari_base::core_dump::forbid_core_dumps();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            // --help and --version are no errors; everything else is a wrong command line.
            return if e.use_stderr() {
                ExitStatus::Error.into()
            } else {
                ExitStatus::Clean.into()
            };
        }
    };
    // Before any other thread is there: threads pass their capabilities on.
    let opener = confine(&cli.command);
    logging::init(cli.common.log_format, cli.common.quiet);
    let exit_zero = cli.common.exit_zero;
    if let Err(e) = core_dumps {
        tracing::warn!(error = %e, "a crash may write the memory of this process to a disk");
    }
    if let Err(e) = signals::handle_init_signals() {
        tracing::debug!(error = %e, "process 1 does not listen to SIGTERM");
    }
    let status = match run(&cli, opener) {
        Ok(ExitStatus::Drift | ExitStatus::Incomplete) if exit_zero => ExitStatus::Clean.into(),
        Ok(status) => status.into(),
        Err(e) => {
            stderr::write(format!("{}\n", failure::render(&e)).as_bytes());
            ExitStatus::Error.into()
        }
    };
    stderr::flush(LAST_WORDS);
    status
}

/// How long the last lines may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Leaves the capability for raw sockets to one thread; commands that send no packets have none at all.
/// The selfcheck reports what the process was given, and the demo makes a network of its own.
fn confine(command: &Command) -> SocketOpener {
    let confined = match command {
        Command::Selfcheck(_) | Command::Demo(_) => Ok(SocketOpener::default()),
        _ => SocketOpener::confine(),
    };
    confined.unwrap_or_else(|e| {
        stderr::write(format!("the program keeps its capabilities: {e}\n").as_bytes());
        SocketOpener::default()
    })
}

fn run(cli: &Cli, opener: SocketOpener) -> anyhow::Result<ExitStatus> {
    let context = Context {
        stop: StopSignal::new(),
        now: Timestamp::now,
        log_format: cli.common.log_format,
        quiet: cli.common.quiet,
        opener,
    };
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match &cli.command {
        Command::Patrol(args) => runtime()?.block_on(patrol::run_patrol_command(args, &context)),
        Command::Scan(args) => runtime()?.block_on(scan_command::scan(args, &context)),
        Command::Round(command) => runtime()?.block_on(rounds::round(command, &context)),
        Command::Merge(args) => scan_command::merge(args),
        Command::Judge(args) => runtime()?.block_on(judge::judge(args, &context)),
        Command::Report(args) => report::report(args),
        Command::Baseline(BaselineCommand::Publish(args)) => {
            runtime()?.block_on(publish::run(args, &context))
        }
        Command::Baseline(BaselineCommand::Plan(args)) => {
            runtime()?.block_on(baseline::plan::run(args, &context))
        }
        Command::Baseline(BaselineCommand::Explain(args)) => {
            runtime()?.block_on(baseline::explain::run(args, &context))
        }
        Command::Baseline(BaselineCommand::Check(args)) => {
            runtime()?.block_on(baseline::check::run(args, &context))
        }
        Command::Baseline(BaselineCommand::Fmt(args)) => baseline::run_fmt_command(args),
        Command::Baseline(BaselineCommand::Propose(args)) => {
            runtime()?.block_on(baseline::propose(args, &context))
        }
        Command::Baseline(BaselineCommand::Accept(args)) => baseline::accept(args, &context),
        Command::Baseline(BaselineCommand::Prune(args)) => {
            runtime()?.block_on(baseline::prune(args, &context))
        }
        Command::Export(args) => export::export(args),
        Command::Import(args) => import::run(args, &context),
        Command::Checks(command) => checks::run_checks_command(command),
        Command::Manifest(args) => {
            runtime()?.block_on(manifest::run_manifest_command(args, &context))
        }
        Command::Selfcheck(args) => runtime()?.block_on(selfcheck::run(args, &context)),
        Command::Ack(args) => runtime()?.block_on(ack::run_ack_command(args, &context)),
        Command::State(command) => {
            runtime()?.block_on(state_commands::run_state_command(command, &context))
        }
        Command::Notify(args) => runtime()?.block_on(notify::notify(args, &context)),
        Command::Demo(args) => runtime()?.block_on(demo::run(args, &context)),
        Command::Completions(args) => generate::run_completions_command(args),
        Command::Man(args) => generate::run_man_command(args),
        Command::Schema(args) => schema::run_schema_command(args),
    }
}
