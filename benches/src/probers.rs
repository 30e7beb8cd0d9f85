//! The programs that ask a web server for a list of paths, each with its own defaults.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::bare;
use crate::web::{PLAIN, Site, TLS};

/// A program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Prober {
    /// This workspace's.
    Mimawari,
    /// A hyper connection that keeps nothing.
    Bare,
    /// wrk: as little as can be done for a request. Asks for one path only, unless pages are mixed
    /// in.
    Wrk,
    /// ffuf.
    Ffuf,
    /// gobuster.
    Gobuster,
    /// feroxbuster.
    Feroxbuster,
}

/// How mimawari comes to its many paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// One target, and the words as a user's own check.
    Checks,
    /// As many virtual hosts as it takes with the catalogue's own first tier.
    Vhosts,
}

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Paths {
    /// mimawari's release build.
    pub mimawari: PathBuf,
    /// feroxbuster, which no distribution has.
    pub feroxbuster: PathBuf,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// Over TLS.
    pub tls: bool,
    /// The words, one a line, without the slash.
    pub words: &'a [String],
    /// Whether some of them answer with a page.
    pub mixed: bool,
    /// mimawari's way.
    pub shape: Shape,
}

impl Task<'_> {
    const fn port(&self) -> u16 {
        if self.tls { TLS } else { PLAIN }
    }

    fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port())
    }
}

/// Number of the catalogue's paths in tier 1; more of them only make the run longer.
const TIER_1: usize = 40;
/// How long wrk runs.
const WRK: &str = "3s";

impl Prober {
    /// As it stands in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mimawari => "mimawari",
            Self::Bare => "bare hyper",
            Self::Wrk => "wrk",
            Self::Ffuf => "ffuf",
            Self::Gobuster => "gobuster",
            Self::Feroxbuster => "feroxbuster",
        }
    }

    /// What it is run with, in words.
    #[must_use]
    pub const fn settings(self) -> &'static str {
        match self {
            Self::Mimawari => "scan, method connect",
            Self::Bare => "1 connection, 1 thread",
            Self::Wrk => "-t1 -c2",
            Self::Ffuf => "-s (40 threads)",
            Self::Gobuster => "dir -q -z (10 threads)",
            Self::Feroxbuster => "-q -n (50 threads)",
        }
    }

    /// Name and version.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn version(self, paths: &Paths) -> Result<String> {
        let (program, argument): (&Path, &str) = match self {
            Self::Bare => return Ok(self.name().to_owned()),
            Self::Mimawari => (&paths.mimawari, "--version"),
            Self::Wrk => (Path::new("wrk"), "-v"),
            Self::Ffuf => (Path::new("ffuf"), "-V"),
            Self::Gobuster => (Path::new("gobuster"), "version"),
            Self::Feroxbuster => (&paths.feroxbuster, "-V"),
        };
        let out = Command::new(program).arg(argument).output().with_context(|| {
            format!("{} is not there; see the README of the benchmarks", program.display())
        })?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned()
            + &String::from_utf8_lossy(&out.stderr);
        let number = text
            .split(|c: char| c.is_whitespace() || c == '/')
            .find(|w| w.contains('.') && w.starts_with(|c: char| c.is_ascii_digit() || c == 'v'));
        Ok(format!("{} {}", self.name(), number.unwrap_or("?")))
    }

    /// The command line; writes what it reads into `folder`, where it will run.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn command(
        self,
        paths: &Paths,
        site: &Site,
        task: &Task<'_>,
        folder: &Path,
    ) -> Result<Vec<OsString>> {
        fs::write(folder.join("words"), task.words.join("\n") + "\n")?;
        let url = task.url();
        let text: Vec<&str> = match self {
            Self::Mimawari => {
                task.configure(folder)?;
                let mut line: Vec<OsString> = vec![paths.mimawari.clone().into()];
                line.extend(["scan", "-c", "patrol.toml", "--out", "run"].map(OsString::from));
                return Ok(line);
            }
            Self::Bare => {
                let mut line: Vec<OsString> = vec![std::env::current_exe()?.into()];
                line.extend([bare::WORD, &task.port().to_string(), "words"].map(OsString::from));
                if task.tls {
                    line.push(site.certificate().into());
                }
                return Ok(line);
            }
            Self::Wrk => {
                let one = format!("{url}/{}", task.words[0]);
                if task.mixed {
                    fs::write(folder.join("words.lua"), LUA)?;
                    return Ok(owned(&["wrk", "-t1", "-c2", "-d", WRK, "-s", "words.lua", &one]));
                }
                return Ok(owned(&["wrk", "-t1", "-c2", "-d", WRK, &one]));
            }
            Self::Ffuf => {
                let url = format!("{url}/FUZZ");
                return Ok(owned(&["ffuf", "-s", "-w", "words", "-u", &url]));
            }
            Self::Gobuster => {
                vec!["gobuster", "dir", "-q", "-z", "-k", "-w", "words", "-u", &url]
            }
            Self::Feroxbuster => {
                let mut line: Vec<OsString> = vec![paths.feroxbuster.clone().into()];
                line.extend(owned(&["-q", "-n", "-k", "--no-state", "-w", "words", "-u", &url]));
                return Ok(line);
            }
        };
        Ok(owned(&text))
    }

    /// Whether the run did what is measured: all paths asked, and the pages among them seen.
    ///
    /// # Errors
    /// When it did not.
    pub fn believe(self, task: &Task<'_>, folder: &Path, requests: u64) -> Result<()> {
        if requests < task.words.len() as u64 {
            bail!("the server saw {requests} requests for {} paths", task.words.len());
        }
        if self == Self::Mimawari {
            let text = fs::read_to_string(folder.join("run/run.json")).context("its run.json")?;
            let run: Value = serde_json::from_str(&text)?;
            let (planned, covered) =
                (&run["http"]["checks_planned"], &run["http"]["checks_covered"]);
            if planned != covered || planned.as_u64().is_none_or(|n| n < task.words.len() as u64) {
                bail!("{covered} of {planned} checks were covered");
            }
            return Ok(());
        }
        let pages = task.words.iter().filter(|w| w.starts_with(crate::web::PAGE)).count();
        if matches!(self, Self::Ffuf | Self::Gobuster | Self::Feroxbuster) {
            let out = fs::read_to_string(folder.join("stdout")).unwrap_or_default();
            let seen = out.lines().filter(|l| l.contains(crate::web::PAGE)).count();
            if seen < pages {
                bail!("it printed {seen} of {pages} pages");
            }
        }
        Ok(())
    }
}

fn owned(text: &[&str]) -> Vec<OsString> {
    text.iter().map(OsString::from).collect()
}

/// Asks for all words in turn, each request built once.
const LUA: &str = "\
local all, n = {}, 0
function init(args)
  for word in io.lines('words') do
    all[#all + 1] = wrk.format('GET', '/' .. word)
  end
end
function request()
  n = n % #all + 1
  return all[n]
end
";

impl Task<'_> {
    /// mimawari's configuration, and what it names.
    fn configure(&self, folder: &Path) -> Result<()> {
        let port = self.port();
        let mut text = format!(
            "version = 1\n[scope]\nallow = [\"127.0.0.1\"]\nauthorised_by = \"BENCH\"\n\
             [scan]\nports = \"{port}\"\nmethod = \"connect\"\n[http]\ntier = 1\npaths_per_site = 1000000\n\
             rate_per_site = 0\nrate_per_address = 0\nrate_per_network = 0\n"
        );
        match self.shape {
            Shape::Checks => {
                text += "checks = [\"many.toml\"]\n";
                fs::write(folder.join("many.toml"), own_checks(self.words))?;
            }
            Shape::Vhosts => {
                text += "vhosts = \"vhosts.csv\"\n";
                let scheme = if self.tls { "https" } else { "http" };
                let mut lines = String::new();
                for n in 0..self.words.len().div_ceil(TIER_1) {
                    let _ = writeln!(lines, "127.0.0.1,h{n}.example.jp,{port},{scheme}");
                }
                fs::write(folder.join("vhosts.csv"), lines)?;
            }
        }
        fs::write(folder.join("patrol.toml"), text).context("writing the configuration")
    }
}

/// A user's file with one check, whose fact no answer holds, at many paths.
#[must_use]
pub fn own_checks(words: &[String]) -> String {
    let mut text = "version = 1\n[[check]]\nid = \"many\"\ntitle = \"Many paths\"\nseverity = \"low\"\n\
         why = \"Benchmark.\"\nremedy = \"None.\"\nsignature = \"bytes that nobody sends\"\npaths.1 = [\n"
        .to_owned();
    for word in words {
        let _ = writeln!(text, "  \"/{word}\",");
    }
    text + "]\n[[check.rule]]\nas = \"bytes\"\nwhere = [{ starts = \"no answer begins so\" }]\n"
}
