//! Log lines and progress, both on stderr.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mimawari_engine::SweepProgress;
use mimawari_look::http::ProbeCounts;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::cli::LogFormat;

/// Sets the logging up; a second call changes nothing.
pub fn init(format: LogFormat, quiet: bool) {
    let level = if quiet { "warn" } else { "info" };
    let filter = EnvFilter::try_from_env("MIMAWARI_LOG").unwrap_or_else(|_| {
        EnvFilter::new(format!("{level},hickory_resolver=off,hickory_net=off,object_store=off"))
    });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| LogWriter);
    let _ = match format {
        LogFormat::Json => builder.json().with_target(false).with_timer(UtcTime).try_init(),
        LogFormat::Text => builder
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .with_timer(UtcTime)
            .compact()
            .try_init(),
    };
}

/// Stderr, which never holds up who writes to it.
struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        crate::stderr::write(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// RFC 3339 in UTC, to the millisecond.
struct UtcTime;

impl FormatTime for UtcTime {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        write!(w, "{:.3}", jiff::Timestamp::now())
    }
}

/// How often a line is logged where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how a sweep goes: a bar on a terminal, a log line per interval otherwise.
#[derive(Debug)]
pub struct ProgressView {
    bar: Option<ProgressBar>,
    last_line: Duration,
}

impl ProgressView {
    /// A view of a sweep over `cells` cells.
    #[must_use]
    pub fn new(cells: u64, format: LogFormat, quiet: bool) -> Self {
        let bar =
            (!quiet && format == LogFormat::Text && std::io::stderr().is_terminal()).then(|| {
                let bar = ProgressBar::with_draw_target(Some(cells), ProgressDrawTarget::stderr());
                if let Ok(style) =
                    ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  ETA {eta}")
                {
                    bar.set_style(style);
                }
                bar
            });
        Self { bar, last_line: Duration::ZERO }
    }

    /// Shows the state at `now` since the start.
    pub fn show(&mut self, now: Duration, p: &SweepProgress) {
        let secs = now.as_secs_f64().max(0.001);
        if let Some(bar) = &self.bar {
            bar.set_position(p.finished);
            bar.set_message(format!(
                "{:.0} pps, attempt {}, {} answers, {} open, {} lost",
                p.sent as f64 / secs,
                p.attempt,
                p.answered,
                p.open,
                p.lost
            ));
        } else if now >= self.last_line + LINE_EVERY {
            self.last_line = now;
            tracing::info!(
                cells = p.cells,
                finished = p.finished,
                sent = p.sent,
                answers = p.answered,
                open = p.open,
                lost = p.lost,
                pps = (p.sent as f64 / secs).round(),
                attempt = p.attempt,
                "sweeping"
            );
        }
    }
}

impl Drop for ProgressView {
    /// Takes the bar off the screen.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What the content probing came to so far.
#[derive(Debug, Clone, Copy)]
pub struct ContentProgress {
    /// Sites and requests.
    pub counts: ProbeCounts,
    /// What was found, inventory aside.
    pub found: u64,
}

/// Shows how the content probing goes: a bar on a terminal, a log line per interval otherwise.
#[derive(Debug)]
pub struct ContentView {
    bar: Option<ProgressBar>,
    last_line: Duration,
}

impl ContentView {
    /// A view of a content probing that begins.
    #[must_use]
    pub fn new(format: LogFormat, quiet: bool) -> Self {
        let shown = !quiet && format == LogFormat::Text && std::io::stderr().is_terminal();
        let bar = shown.then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            match ProgressStyle::with_template("{bar:30} {pos}/{len} sites  {msg}  ETA {eta}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self { bar, last_line: Duration::ZERO }
    }

    /// How often it is worth showing something.
    #[must_use]
    pub const fn every(&self) -> Duration {
        if self.bar.is_some() { DRAW_EVERY } else { LINE_EVERY }
    }

    /// Shows the state at `now` since the start.
    pub fn show(&mut self, now: Duration, p: &ContentProgress) {
        let counts = p.counts;
        if let Some(bar) = &self.bar {
            bar.set_length(counts.planned);
            bar.set_position(counts.sites);
            bar.set_message(format!("{} requests, {} found", counts.requests, p.found));
        } else if now >= self.last_line + LINE_EVERY {
            self.last_line = now;
            tracing::info!(
                sites = counts.planned,
                finished = counts.sites,
                requests = counts.requests,
                found = p.found,
                "looking for published files"
            );
        }
    }
}

impl Drop for ContentView {
    /// Takes the bar off the screen.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows how far something is whose end is not known: a spinner on a terminal, a log line per
/// interval otherwise.
#[derive(Debug)]
pub struct CountView {
    bar: Option<ProgressBar>,
    doing: &'static str,
    last: Duration,
}

/// How often a terminal is drawn on.
const DRAW_EVERY: Duration = Duration::from_millis(100);

impl CountView {
    /// A view of what is being done, such as `reading`.
    #[must_use]
    pub fn new(doing: &'static str, format: LogFormat, quiet: bool) -> Self {
        let shown = !quiet && format == LogFormat::Text && std::io::stderr().is_terminal();
        let bar = shown.then(|| {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
                .with_style(ProgressStyle::default_spinner())
        });
        Self { bar, doing, last: Duration::ZERO }
    }

    /// Shows the state at `now` since the start: so many of what is counted. Cheap when it is not
    /// time yet.
    pub fn show(&mut self, now: Duration, count: u64, what: &str) {
        let every = if self.bar.is_some() { DRAW_EVERY } else { LINE_EVERY };
        if now < self.last + every {
            return;
        }
        self.last = now;
        match &self.bar {
            Some(bar) => {
                bar.set_message(format!("{} {count} {what}", self.doing));
                bar.tick();
            }
            None => tracing::info!(count, "{} {what}", self.doing),
        }
    }
}

impl Drop for CountView {
    /// Takes the spinner off the screen.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
