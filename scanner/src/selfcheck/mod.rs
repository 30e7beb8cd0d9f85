//! `mimawari selfcheck`: what works at this place, line by line, and what to do about what does not.
//!
//! Each check has a file with a pure function `judge` from facts to a line (`line::Found`), and the
//! few lines that gather the facts. Every check runs on a thread of its own and has a limit of time: a
//! store that never answers, a file system that hangs or a defect is a line, and the others go on.

mod baseline;
mod canaries;
mod capability;
mod clock;
mod counters;
mod identity;
mod kernel;
mod limits;
mod line;
mod mail;
mod names;
mod notifiers;
mod packets;
mod process;
mod ramp;
mod roots;
mod route;
mod sites;
mod sockets;
mod store;

use std::collections::BTreeSet;
use std::future::Future;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;
use mimawari_targets::Port;
use tokio::sync::oneshot;

use line::{CheckFinding, SweepResult, VERSION, render_verdict};
pub use line::{CheckLine, LineMark, SelfcheckReport};
use mimawari_base::failure::{ExitStatus, FailureKind};
use mimawari_base::signals::StopSignal;
use store::StoreKind;

use mimawari_notify::Notifiers;
use mimawari_notify::client::ClientContext;
use mimawari_store::StoreLocation;

use crate::cli::ScanMethod;
use crate::cli::selfcheck::SelfcheckArgs;
use crate::config::Config;
use crate::context::Context;
use crate::output::print;

/// What asks only this machine has so long.
const SHORT: Duration = Duration::from_secs(10);
/// What asks others has so long.
const LONG: Duration = Duration::from_secs(20);

/// The lines so far.
struct ReportBuilder {
    json: bool,
    checks: Vec<CheckLine>,
    stop: StopSignal,
}

impl ReportBuilder {
    /// Shows a line as soon as it is known.
    fn report(&mut self, name: &str, found: &CheckFinding) -> Result<()> {
        let check = CheckLine::new(name, found);
        if !self.json {
            print(&check.text())?;
        }
        self.checks.push(check);
        Ok(())
    }

    /// Runs a check on a thread of its own; a thread that hangs is left behind, and ends with the
    /// process.
    ///
    /// # Errors
    /// What to show instead, when it did not come to its end.
    async fn timed<T: Send + 'static>(
        &self,
        limit: Duration,
        check: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CheckFinding> {
        if self.stop.is_stopped() {
            return Err(CheckFinding::skip("stopped"));
        }
        let (done, result) = oneshot::channel();
        let thread = std::thread::Builder::new().name("selfcheck".to_owned());
        if let Err(e) = thread.spawn(move || drop(done.send(check()))) {
            let remedy = "allow more threads or memory";
            return Err(CheckFinding::fail(format!("no thread can be started: {e}"), remedy));
        }
        let mut watch = self.stop.watch();
        tokio::select! {
            result = result => result.map_err(|_| CheckFinding::fail(
                "the check ended by a defect of this program",
                "please report it, with what stands on stderr",
            )),
            () = tokio::time::sleep(limit) => Err(CheckFinding::fail(
                format!("no end within {} seconds", limit.as_secs()),
                "whoever is asked here does not answer: see that address, route and firewall are right",
            )),
            _ = watch.wait_for(|stopped| *stopped) => Err(CheckFinding::skip("stopped")),
        }
    }

    /// As [`Desk::timed`], for what waits by itself. It has a runtime of its own, so that it can be left.
    async fn timed_async<T, F>(
        &self,
        limit: Duration,
        check: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, CheckFinding>
    where
        T: Send + 'static,
        F: Future<Output = T>,
    {
        let inside = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|r| r.block_on(check()))
        };
        self.timed(limit, inside).await?.map_err(|e| {
            CheckFinding::fail(format!("no runtime can be started: {e}"), "allow more open files")
        })
    }

    /// Runs a check and reports its line.
    async fn check(
        &mut self,
        name: &str,
        limit: Duration,
        check: impl FnOnce() -> CheckFinding + Send + 'static,
    ) -> Result<()> {
        let found = self.timed(limit, check).await.unwrap_or_else(|instead| instead);
        self.report(name, &found)
    }
}

/// `mimawari selfcheck`
///
/// # Errors
/// Only an unwritable stdout; what does not work is a line.
pub async fn run(args: &SelfcheckArgs, context: &Context) -> Result<ExitStatus> {
    // As PID 1 a process without handlers ignores the signals.
    context.stop.stop_on_signals()?;
    let (began, began_at) = (Instant::now(), (context.now)());
    let mut desk =
        ReportBuilder { json: args.json, checks: Vec::new(), stop: context.stop.clone() };
    let config = read_config(&mut desk, &args.from.config).await?;
    let me = process::read();
    let method = config.as_ref().map(|c| c.scan.method);
    let output = config.as_ref().map(|c| c.runs_dir.clone());
    let look = move || identity::judge(&identity::look(me.uid, output.as_deref()));
    desk.check("identity", SHORT, look).await?;
    let look = move || capability::judge(&me, process::FileCapabilities::of_program(), method);
    desk.check("capability", SHORT, look).await?;
    let capable = (me.effective | me.permitted) & process::NET_RAW != 0;
    let raw = capable && method != Some(ScanMethod::Connect);
    let needed = method == Some(ScanMethod::Syn);
    desk.check("sockets", SHORT, move || {
        // Raises what is only permitted, for this thread.
        let _ = mimawari_net::packet::have_net_raw();
        sockets::judge(&sockets::look(), capable, needed)
    })
    .await?;
    let ways = find_routes(&desk, config.as_ref()).await;
    let interfaces = list_interfaces(&ways);
    let interface = interfaces.first().cloned().unwrap_or_else(|| "lo".to_owned());
    desk.check("ring", SHORT, move || {
        if !raw {
            return CheckFinding::skip("no raw sockets");
        }
        // Raises what is only permitted, for this thread.
        let _ = mimawari_net::packet::have_net_raw();
        sockets::judge_ring(&interface, &sockets::look_at_ring(&interface))
    })
    .await?;
    desk.check("kernel", SHORT, move || kernel::judge(kernel::release().as_deref(), me.seccomp))
        .await?;
    check_routes(&mut desk, config.as_ref(), ways, raw && !args.no_packets).await?;
    desk.check("counters", SHORT, move || {
        counters::judge(&interfaces.iter().map(|i| counters::look(i)).collect::<Vec<_>>())
    })
    .await?;
    desk.check("limits", SHORT, || limits::judge(&limits::look())).await?;
    let sweep = match config {
        Some(config) => {
            let times = CheckTimes { began, began_at, now: context.now };
            check_services(&mut desk, &config, &args.from.config, times).await?;
            let packets = packets::check(&mut desk, &config, args, raw).await?;
            match packets.rate {
                Some(rate) => SweepResult::Syn(rate, true),
                None if raw => SweepResult::Syn(config.scan.rate, false),
                None => SweepResult::Connect,
            }
        }
        None => SweepResult::Connect,
    };
    finish(&desk, sweep)
}

/// The last line, or the document, and the status.
fn finish(desk: &ReportBuilder, sweep: SweepResult) -> Result<ExitStatus> {
    let ok = !desk.stop.is_stopped() && desk.checks.iter().all(|c| c.status != LineMark::Fail);
    if desk.json {
        let document = SelfcheckReport { version: VERSION, ok, checks: desk.checks.clone() };
        print(&(serde_json::to_string_pretty(&document)? + "\n"))?;
    } else if desk.stop.is_stopped() {
        print("not ready: stopped before the end\n")?;
    } else {
        print(&render_verdict(&desk.checks, sweep))?;
    }
    Ok(if ok { ExitStatus::Clean } else { ExitStatus::Error })
}

async fn read_config(desk: &mut ReportBuilder, path: &Path) -> Result<Option<Arc<Config>>> {
    let file = path.to_owned();
    let read = desk.timed(SHORT, move || Config::read(&file)).await;
    let (found, config) = match read {
        Err(instead) => (instead, None),
        Ok(Err(e)) => (CheckFinding::of_error(&e), None),
        Ok(Ok(config)) => (judge_config(path, &config), Some(Arc::new(config))),
    };
    desk.report("config", &found)?;
    Ok(config)
}

fn judge_config(path: &Path, config: &Config) -> CheckFinding {
    let scope = &config.scope;
    let (allow, deny) = (scope.allow().ranges().count(), scope.deny().ranges().count());
    let what = format!(
        "{}: {allow} ranges allowed, {deny} denied, authorised by {}; {} ports, {} canaries",
        path.display(),
        scope.authorised_by(),
        config.scan.ports.len(),
        config.scan.canaries.len()
    );
    match config.warnings.as_slice() {
        [] => CheckFinding::ok(what),
        warnings => CheckFinding::warn(what, warnings.join("; ")),
    }
}

/// The ways of a sample of the targets; `None` without a configuration.
async fn find_routes(desk: &ReportBuilder, config: Option<&Arc<Config>>) -> RouteWays {
    let Some(config) = config.cloned() else {
        return Err(CheckFinding::skip("no configuration"));
    };
    desk.timed(SHORT, move || {
        let sample = match &config.scan.targets {
            Some(targets) => route::sample_addresses(targets.addrs()),
            None => route::sample_addresses(config.scope.permitted()),
        };
        route::look(&sample, &config.scan)
    })
    .await
}

type RouteWays = Result<std::io::Result<Vec<route::RoutePath>>, CheckFinding>;

fn list_interfaces(ways: &RouteWays) -> Vec<String> {
    let Ok(Ok(ways)) = ways else { return Vec::new() };
    let names = ways.iter().filter_map(|w| w.hop.as_ref()).map(|h| h.interface.clone());
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

async fn check_routes(
    desk: &mut ReportBuilder,
    config: Option<&Arc<Config>>,
    ways: RouteWays,
    ask: bool,
) -> Result<()> {
    let (Some(config), Ok(ways)) = (config.cloned(), &ways) else {
        return desk.report(
            "route",
            &ways.err().unwrap_or_else(|| CheckFinding::skip("no configuration")),
        );
    };
    if ways.as_ref().is_ok_and(Vec::is_empty) {
        return desk.report("route", &CheckFinding::skip("targets are names alone"));
    }
    let mut gateways = route::GatewayFacts::NotAsked;
    let found = match ways {
        Ok(list) if ask && list.iter().any(|w| w.hop.is_some()) => {
            let routed: Vec<IpAddr> =
                list.iter().filter(|w| w.hop.is_some()).map(|w| w.target).collect();
            let asked = desk.timed(LONG, move || {
                let scope = Arc::new(config.scope.clone());
                route::ask_gateways(&routed, &scope, &config.scan)
            });
            match asked.await {
                Ok(asked) => {
                    gateways = asked;
                    None
                }
                Err(instead) => Some(instead),
            }
        }
        _ => None,
    };
    desk.report("route", &found.unwrap_or_else(|| route::judge(ways, &gateways)))
}

/// By which clocks the check goes.
#[derive(Clone, Copy)]
struct CheckTimes {
    began: Instant,
    began_at: Timestamp,
    now: fn() -> Timestamp,
}

/// State, baseline and notifiers are the business of the task that reduces. Where rounds are divided among
/// tasks, one that only scans may well have no right to them.
fn allow_for_other_tasks(config: &Config, found: CheckFinding) -> CheckFinding {
    match (&config.rounds, found.mark, found.failure) {
        // No right to the store, or no secret: others have them.
        (Some(_), LineMark::Fail, Some(FailureKind::AccessDenied | FailureKind::SecretMissing)) => {
            CheckFinding::warn(
                found.what,
                format!(
                    "right for a task that only scans; for one that reduces: {}",
                    found.remedy.unwrap_or_default()
                ),
            )
        }
        _ => found,
    }
}

/// Everything but packets that a scan needs from others.
async fn check_services(
    desk: &mut ReportBuilder,
    config: &Arc<Config>,
    path: &Path,
    times: CheckTimes,
) -> Result<()> {
    // The store's clock is compared with ours, so it is asked first.
    let (state, now) = (config.state.clone(), times.now);
    let trial = desk
        .timed_async(LONG, move || async move {
            store::check_store_location(&state, StoreKind::State, &make_name(), now).await
        })
        .await;
    let store_clock = trial.as_ref().ok().and_then(|t| t.clock(&config.state));
    let (file, folder) = (path.to_owned(), config.baseline_dir.clone());
    desk.check("clock", SHORT, move || {
        clock::judge(&clock::ClockFacts {
            now: (times.now)(),
            store: store_clock,
            newest_file: clock::find_newest_time(&file, Some(&folder)),
            passed: (
                clock::compute_seconds_between(times.began_at, (times.now)()),
                times.began.elapsed(),
            ),
        })
    })
    .await?;
    check_resolver(desk, config).await?;
    // From stdin it can be read once, by the patrol.
    if config.http.vhosts.as_deref().is_some_and(|path| path != Path::new("-")) {
        let config = Arc::clone(config);
        desk.check("sites", LONG, move || sites::judge(&crate::scan::read_sites(&config))).await?;
    }
    let needed = needs_roots(config);
    desk.check("roots", SHORT, move || roots::judge(&roots::look(), needed)).await?;
    let found =
        trial.map_or_else(|instead| instead, |t| store::judge(&config.state, StoreKind::State, &t));
    desk.report("store", &allow_for_other_tasks(config, found))?;
    if let Some(rounds) = &config.rounds {
        let (url, now) = (rounds.url.clone(), times.now);
        let trial = desk
            .timed_async(LONG, move || async move {
                store::check_store_location(&url, StoreKind::Rounds, &make_name(), now).await
            })
            .await;
        let judge = |t| store::judge(&rounds.url, StoreKind::Rounds, &t);
        desk.report("rounds", &trial.map_or_else(|instead| instead, judge))?;
    }
    let (agreed, now) = (Arc::clone(config), (times.now)());
    let read = desk.timed_async(LONG, move || async move { read_baseline(&agreed).await }).await;
    let found = read.map_or_else(|instead| instead, |b| baseline::judge(&b, now));
    desk.report("baseline", &allow_for_other_tasks(config, found))?;
    if config.notify.is_empty() {
        return desk.report("notifiers", &CheckFinding::skip("none are configured"));
    }
    let (all, world) = (Arc::clone(config), ClientContext::of(times.now));
    let ready = desk
        .timed_async(LONG, move || async move {
            Notifiers::from_environment(&all.notify, world).await.map(drop)
        })
        .await;
    let found = ready.map_or_else(
        |instead| instead,
        |ready| notifiers::judge(&config.notify, ready.map_err(anyhow::Error::from)),
    );
    desk.report("notifiers", &allow_for_other_tasks(config, found))
}

async fn check_resolver(desk: &mut ReportBuilder, config: &Arc<Config>) -> Result<()> {
    let names = config.scan.targets.as_ref().map_or(&[][..], |t| t.names());
    let names: Vec<_> = names.iter().take(names::TRIED).cloned().collect();
    let used = !names.is_empty() || config.http.vhosts.is_some() && config.http.dns;
    if !used {
        return desk.report("resolver", &CheckFinding::skip("no names are used"));
    }
    let config = Arc::clone(config);
    let asked = desk
        .timed_async(LONG, move || async move {
            let resolver = crate::scan::build_resolver(&config)?;
            let resolution =
                mimawari_targets::dns::resolve_names(&names, &resolver, &config.scope).await;
            anyhow::Ok((!names.is_empty()).then_some(resolution))
        })
        .await;
    let found = match asked {
        Err(instead) => instead,
        Ok(Err(e)) => CheckFinding::of_error(&e),
        Ok(Ok(None)) => {
            CheckFinding::ok("set up; the virtual hosts' names are asked for during the scan")
        }
        Ok(Ok(Some(resolution))) => names::judge(&resolution),
    };
    desk.report("resolver", &found)
}

async fn read_baseline(config: &Config) -> Result<baseline::BaselineCheck> {
    let agreed =
        mimawari_store::published::agreed(config.baseline_url.as_ref(), &config.baseline_dir)
            .await?;
    let place = match &config.baseline_url {
        Some(url) => url.to_string(),
        None => config.baseline_dir.display().to_string(),
    };
    let (rules, digest) = (agreed.baseline.rules().len(), agreed.baseline.digest().to_owned());
    Ok(baseline::BaselineCheck { place, rules, digest, pointer: agreed.pointer })
}

/// Whether anything is reached by TLS whose certificate must be known.
fn needs_roots(config: &Config) -> bool {
    let is_tls = |l: &StoreLocation| match l {
        StoreLocation::Folder(_) => false,
        StoreLocation::S3(b) => !b.endpoint.as_ref().is_some_and(|e| e.starts_with("http://")),
    };
    is_tls(&config.state)
        || config.baseline_url.as_ref().is_some_and(is_tls)
        || config.notify.iter().any(|n| n.settings.uses_tls())
}

/// A name that nobody used.
fn make_name() -> String {
    let n = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
    format!("{n:016x}")
}

/// Whether the plan has TCP port 25.
fn has_smtp_port(config: &Config) -> bool {
    Port::new(25).is_some_and(|p| config.scan.ports.contains(p))
}
