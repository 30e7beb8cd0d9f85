//! Where the baseline lies: under which names its files are shown, and who owns them.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Result;
use mimawari_base::failure::Failure;
use mimawari_drift::lint::codeowners::CodeOwners;

/// Where GitHub looks, in its order.
const PLACES: [&str; 3] = [".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"];
/// GitHub takes no longer file.
const LONGEST: u64 = 3 << 20;

/// Where a baseline folder lies.
pub(super) struct RuleHome {
    /// Without links.
    dir: PathBuf,
    /// The top of the git repository around it.
    top: Option<PathBuf>,
}

impl RuleHome {
    /// # Errors
    /// A [`Failure`] when there is no such folder.
    pub fn of(dir: &Path) -> Result<Self> {
        let real = fs::canonicalize(dir).map_err(|e| {
            Failure::new(format!("cannot read the baseline {}", dir.display()))
                .help("name the folder with its .toml files: `mimawari baseline check DIR`")
                .source(e)
        })?;
        // A worktree has a file of this name.
        let top = real.ancestors().find(|a| a.join(".git").exists()).map(Path::to_owned);
        Ok(Self { dir: real, top })
    }

    /// A file of the folder as annotations name it: from the top of the repository, or else from
    /// the current directory.
    pub fn shown(&self, dir: &Path, name: &str) -> String {
        let here = || std::env::current_dir().ok().and_then(|d| fs::canonicalize(d).ok());
        let from = self.top.clone().or_else(here);
        let folder = from.and_then(|f| self.dir.strip_prefix(f).map(Path::to_owned).ok());
        join_with_slashes(&folder.unwrap_or_else(|| dir.to_owned()).join(name))
    }

    /// The CODEOWNERS file of the repository, and the baseline folder as it names it. Outside of a
    /// repository the nearest one above counts.
    ///
    /// # Errors
    /// A [`Failure`] when it is there and cannot be read.
    pub fn find_codeowners(&self) -> Result<Option<(CodeOwners, String)>> {
        let tops: Vec<&Path> = match &self.top {
            Some(top) => vec![top],
            None => self.dir.ancestors().collect(),
        };
        for top in tops {
            for place in PLACES {
                let path = top.join(place);
                if path.is_file() {
                    return Ok(Some((read(&path, place)?, self.below(top))));
                }
            }
        }
        Ok(None)
    }

    /// A CODEOWNERS file that was named.
    ///
    /// # Errors
    /// A [`Failure`] when it cannot be read.
    pub fn codeowners_at(&self, path: &Path) -> Result<(CodeOwners, String)> {
        let owners = read(path, &path.display().to_string())?;
        let real = fs::canonicalize(path).ok();
        let mut above = real.as_deref().and_then(Path::parent);
        if let Some(a) = above
            && (a.ends_with(".github") || a.ends_with("docs"))
        {
            above = a.parent();
        }
        let own = above.filter(|a| self.dir.starts_with(a));
        let top = self.top.as_deref().or(own).or(self.dir.parent()).unwrap_or(&self.dir);
        Ok((owners, self.below(top)))
    }

    fn below(&self, top: &Path) -> String {
        join_with_slashes(self.dir.strip_prefix(top).unwrap_or(&self.dir))
    }
}

fn join_with_slashes(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|c| c.as_os_str().to_string_lossy()).collect();
    parts.join("/").replacen("//", "/", 1)
}

fn read(path: &Path, name: &str) -> Result<CodeOwners> {
    let failed = |e: io::Error| {
        Failure::new(format!("cannot read {}", path.display()))
            .help("name the CODEOWNERS file with --codeowners FILE")
            .source(e)
    };
    let mut text = String::new();
    fs::File::open(path).and_then(|f| f.take(LONGEST).read_to_string(&mut text)).map_err(failed)?;
    Ok(CodeOwners::parse(name, &text))
}
