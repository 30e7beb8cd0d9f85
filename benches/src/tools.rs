//! The scanners: how each is called on the lab, and what it says it found.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use mimawari_tests::lab::SCANNER_V4;
use serde_json::Value;

use crate::floor;
use crate::stage::Stage;

/// A scanner with a way to use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Tool {
    /// This workspace's release build.
    Mimawari,
    /// ZMap, one probe a cell.
    Zmap,
    /// ZMap, two probes a cell.
    #[value(name = "zmap-p2")]
    ZmapP2,
    /// masscan.
    Masscan,
    /// nmap, on a sixteenth of the addresses.
    Nmap,
    /// Two bare senders and a ring: what the kernel allows.
    Floor,
}

/// The binaries.
#[derive(Debug, Clone)]
pub struct Paths {
    /// mimawari
    pub mimawari: PathBuf,
    /// zmap
    pub zmap: PathBuf,
    /// masscan
    pub masscan: PathBuf,
    /// nmap
    pub nmap: PathBuf,
}

/// What a scanner found, and what it says of it.
#[derive(Debug, Default)]
pub struct Found {
    /// Cells that it says are open.
    pub open: BTreeSet<(Ipv4Addr, u16)>,
    /// Its own words on how sure it is.
    pub claim: String,
}

impl Tool {
    /// Its name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mimawari => "mimawari",
            Self::Zmap => "zmap",
            Self::ZmapP2 => "zmap-p2",
            Self::Masscan => "masscan",
            Self::Nmap => "nmap",
            Self::Floor => "floor",
        }
    }

    /// The rate it is asked for when the caller says nothing: what it was found to do best with.
    #[must_use]
    pub const fn usual_rate(self) -> &'static str {
        match self {
            Self::Mimawari | Self::Masscan => "1000000",
            Self::Zmap | Self::ZmapP2 => "100000",
            Self::Nmap => "20000",
            Self::Floor => "unlimited",
        }
    }

    /// Into which part of the addresses it is sent: one in so many.
    #[must_use]
    pub const fn part(self) -> u32 {
        match self {
            Self::Nmap => 16,
            _ => 1,
        }
    }

    /// Name and version, or why it cannot be used.
    ///
    /// # Errors
    /// A sentence: it is not installed, or too old for the task.
    pub fn version(self, paths: &Paths) -> Result<String> {
        let says = |path: &Path, arguments: &[&str]| -> Result<String> {
            let output =
                Command::new(path).args(arguments).output().map_err(|e| match e.kind() {
                    std::io::ErrorKind::NotFound => anyhow::anyhow!("not installed"),
                    _ => anyhow::Error::from(e),
                })?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            // The word that begins with a digit is the version.
            text.split_whitespace()
                .map(|w| w.strip_prefix('v').unwrap_or(w))
                .find(|w| w.starts_with(|c: char| c.is_ascii_digit()))
                .map(str::to_owned)
                .with_context(|| format!("{} does not print its version", path.display()))
        };
        Ok(match self {
            Self::Mimawari => format!("mimawari {}", says(&paths.mimawari, &["--version"])?),
            Self::Zmap | Self::ZmapP2 => {
                // The package's own configuration may be of another version.
                let version = says(&paths.zmap, &["--config=/dev/null", "--version"])?;
                let major = version.split('.').next().and_then(|v| v.parse().ok()).unwrap_or(0);
                if major < 4 {
                    bail!(
                        "ZMap {version} scans one port at a time; name a newer build with --zmap PATH"
                    );
                }
                format!("ZMap {version}")
            }
            Self::Masscan => format!("masscan {}", says(&paths.masscan, &["--version"])?),
            Self::Nmap => format!("nmap {}", says(&paths.nmap, &["--version"])?),
            Self::Floor => "bare sendmmsg".to_owned(),
        })
    }

    /// Writes what it needs into `folder` and returns its command line.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn command(
        self,
        paths: &Paths,
        stage: &Stage,
        rate: &str,
        folder: &Path,
        extra: &[String],
    ) -> Result<Vec<OsString>> {
        let prefix = stage.prefix(stage.hosts / self.part());
        let (ports, source) = (stage.port_list(), SCANNER_V4.to_string());
        let mac = stage.gateway.map(|b| format!("{b:02x}"));
        let mut line: Vec<OsString> = Vec::new();
        let mut add = |program: &Path, arguments: &[&str]| {
            line.push(program.into());
            line.extend(arguments.iter().map(OsString::from));
        };
        match self {
            Self::Mimawari => {
                let text = format!(
                    "version = 1\n[scope]\nallow = [\"{prefix}\"]\nauthorised_by = \"BENCH\"\n\
                     [scan]\ntargets = [\"{prefix}\"]\nports = \"{ports}\"\nmethod = \"syn\"\n\
                     [http]\nenabled = false\n"
                );
                fs::write(folder.join("patrol.toml"), text).context("writing patrol.toml")?;
                let _ = fs::remove_dir_all(folder.join("run"));
                add(
                    &paths.mimawari,
                    &["scan", "-c", "patrol.toml", "--rate", rate, "--out", "run"],
                );
                line.extend(extra.iter().map(OsString::from));
            }
            Self::Zmap | Self::ZmapP2 => {
                let probes = if self == Self::ZmapP2 { "2" } else { "1" };
                let (rate, mac) = (if rate == "unlimited" { "0" } else { rate }, mac.join(":"));
                // `--cooldown-time`: the lab answers at once.
                add(&paths.zmap, &["--config=/dev/null", "--blocklist-file=/dev/null", "--quiet"]);
                for argument in [
                    "--interface=v0",
                    &format!("--gateway-mac={mac}"),
                    &format!("--source-ip={source}"),
                    &format!("--rate={rate}"),
                    &format!("--probes={probes}"),
                    &format!("--target-ports={ports}"),
                    "--cooldown-time=2",
                    "--output-module=csv",
                    "--no-header-row",
                    "--output-fields=saddr,sport",
                    "--output-filter=success = 1 && repeat = 0",
                    "--output-file=found",
                    &prefix,
                ] {
                    line.push(argument.into());
                }
            }
            Self::Masscan => add(
                &paths.masscan,
                &[
                    &prefix,
                    &format!("-p{ports}"),
                    "--adapter",
                    "v0",
                    "--adapter-ip",
                    &source,
                    "--adapter-port",
                    "40000-40255",
                    "--router-mac",
                    &mac.join("-"),
                    "--rate",
                    rate,
                    "--wait",
                    "3",
                    "-oL",
                    "found",
                ],
            ),
            Self::Nmap => add(
                &paths.nmap,
                &[
                    "-sS",
                    "-n",
                    "-Pn",
                    "-T5",
                    "--min-rate",
                    rate,
                    "--max-retries",
                    "1",
                    "-e",
                    "v0",
                    "-p",
                    &ports,
                    "--open",
                    "-oG",
                    "found",
                    &prefix,
                ],
            ),
            Self::Floor => {
                line.push(std::env::current_exe()?.into());
                let cells = [stage.hosts.to_string(), stage.ports.len().to_string()];
                let first = stage.ports[0].to_string();
                line.extend(
                    [floor::WORD, &cells[0], &first, &cells[1], &mac.join(":")].map(Into::into),
                );
            }
        }
        Ok(line)
    }

    /// The command as a reader may want to repeat it, without paths and long lists.
    #[must_use]
    pub fn settings(self, rate: &str, extra: &[String]) -> String {
        match self {
            Self::Mimawari => format!("--rate {rate} {}", extra.join(" ")).trim_end().to_owned(),
            Self::Zmap => format!("-r {rate} -c 2"),
            Self::ZmapP2 => format!("-P 2 -r {rate} -c 2"),
            Self::Masscan => format!("--rate {rate} --wait 3"),
            Self::Nmap => format!("-sS -T5 --min-rate {rate} --max-retries 1"),
            Self::Floor => "2 senders, 16 MiB ring, 1 attempt".to_owned(),
        }
    }

    /// Reads what it found.
    ///
    /// # Errors
    /// When its output is not there or not as expected.
    pub fn found(self, folder: &Path) -> Result<Found> {
        let read = |name: &str| {
            fs::read_to_string(folder.join(name)).with_context(|| format!("reading {name}"))
        };
        Ok(match self {
            Self::Mimawari => mimawari(&read("run/observations.ndjson")?, &read("run/run.json")?)?,
            Self::Zmap | Self::ZmapP2 => pairs(&read("found")?, ','),
            Self::Masscan => masscan(&read("found").unwrap_or_default()),
            Self::Nmap => nmap(&read("found")?),
            Self::Floor => {
                Found { claim: read("stdout")?.trim().to_owned(), ..pairs(&read("found")?, ',') }
            }
        })
    }
}

fn mimawari(observations: &str, run: &str) -> Result<Found> {
    let mut found = Found::default();
    for line in observations.lines() {
        let o: Value = serde_json::from_str(line).context("a record of mimawari")?;
        if o["kind"] == "tcp"
            && o["state"] == "open"
            && let Some(ip) = o["ip"].as_str().and_then(|ip| ip.parse().ok())
            && let Some(port) = o["port"].as_u64().and_then(|p| u16::try_from(p).ok())
        {
            found.open.insert((ip, port));
        }
    }
    let run: Value = serde_json::from_str(run).context("mimawari's run.json")?;
    let sweep = &run["sweep"];
    let number =
        |v: &Value, digits: usize| v.as_f64().map_or("?".to_owned(), |n| format!("{n:.digits$}"));
    found.claim = format!(
        "recall {} ({}–{}), loss {}, ≤ {} attempts, {} sent, {} refused, {} lost in the ring, promise {}",
        number(&sweep["recall_estimate"], 6),
        number(&sweep["recall_interval"][0], 6),
        number(&sweep["recall_interval"][1], 6),
        number(&sweep["loss_estimate"], 4),
        sweep["attempts"],
        sweep["sent"],
        sweep["send_failures"],
        sweep["receive_lost"],
        if sweep["promise_kept"] == true { "kept" } else { "not kept" },
    );
    Ok(found)
}

/// `ip,port` lines.
fn pairs(text: &str, separator: char) -> Found {
    let pair = |l: &str| {
        let (ip, port) = l.split_once(separator)?;
        Some((ip.trim().parse().ok()?, port.trim().parse().ok()?))
    };
    Found { open: text.lines().filter_map(pair).collect(), claim: String::new() }
}

/// `open tcp PORT IP TIME` lines.
fn masscan(text: &str) -> Found {
    let cell = |l: &str| {
        let mut words = l.strip_prefix("open tcp ")?.split_whitespace();
        let port = words.next()?.parse().ok()?;
        Some((words.next()?.parse().ok()?, port))
    };
    Found { open: text.lines().filter_map(cell).collect(), claim: String::new() }
}

/// `Host: IP ()\tPorts: 22/open/tcp//ssh///, …` lines.
fn nmap(text: &str) -> Found {
    let mut found = Found::default();
    for line in text.lines() {
        let Some((ip, ports)) = line.strip_prefix("Host: ").and_then(|l| l.split_once("Ports: "))
        else {
            continue;
        };
        let Some(ip) = ip.split_whitespace().next().and_then(|ip| ip.parse().ok()) else {
            continue;
        };
        for port in ports.split('\t').next().unwrap_or_default().split(", ") {
            let mut fields = port.trim().split('/');
            if let (Some(Ok(port)), Some("open")) = (fields.next().map(str::parse), fields.next()) {
                found.open.insert((ip, port));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(found: &Found) -> Vec<String> {
        found.open.iter().map(|(ip, port)| format!("{ip}:{port}")).collect()
    }

    #[test]
    fn each_output_is_read() {
        assert_eq!(cells(&pairs("198.19.0.1,22\nbad\n", ',')), ["198.19.0.1:22"]);
        let list = "#masscan\nopen tcp 80 198.19.0.2 1700000000\n# end\n";
        assert_eq!(cells(&masscan(list)), ["198.19.0.2:80"]);
        let grep = "# Nmap\nHost: 198.19.0.3 ()\tStatus: Up\n\
                    Host: 198.19.0.3 ()\tPorts: 22/open/tcp//ssh///, 80/closed/tcp//http///\tIgnored\n";
        assert_eq!(cells(&nmap(grep)), ["198.19.0.3:22"]);
    }

    #[test]
    fn only_open_tcp_records_count() {
        let records = "{\"kind\":\"tcp\",\"state\":\"open\",\"ip\":\"198.19.0.1\",\"port\":22}\n\
                       {\"kind\":\"tcp\",\"state\":\"prohibited\",\"ip\":\"198.19.0.1\",\"port\":23}\n";
        let run = "{\"sweep\":{\"recall_estimate\":0.5,\"recall_interval\":[0.25,1.0],\"promise_kept\":true}}";
        let found = mimawari(records, run).expect("a run");
        assert_eq!(cells(&found), ["198.19.0.1:22"]);
        assert!(found.claim.starts_with("recall 0.500000 (0.250000–1.000000)"), "{}", found.claim);
    }
}
