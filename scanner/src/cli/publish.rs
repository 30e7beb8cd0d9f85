//! Arguments of `baseline publish`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `baseline publish`.
#[derive(Debug, Args)]
#[command(after_help = "\
The baseline is checked, written under its digest, and only then named by the pointer current.json,
which moves forward only: a commit that is older than the published one is refused. Scans that name
the same place as `url` under [baseline] read the pointer once a run.

Credentials come from the environment, as with AWS's own tools.

Examples:
  mimawari baseline publish --to s3://corp-scan/baseline
  mimawari baseline publish --to /srv/mimawari/baseline policies/baseline
  mimawari baseline publish --to s3://corp-scan/baseline --force-back    after `git checkout OLD`")]
pub struct PublishArgs {
    /// The baseline folder.
    #[arg(value_name = "DIR", default_value = "baseline", env = "MIMAWARI_BASELINE")]
    pub dir: PathBuf,
    /// Where it is published: s3://bucket/prefix, or a folder.
    #[arg(long, value_name = "URL", env = "MIMAWARI_PUBLISH_TO")]
    pub to: String,
    /// The bucket's region [default: AWS_REGION].
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// Another endpoint than AWS's own, for emulators.
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Publish an older commit than the published one; it is recorded as a step back.
    #[arg(long)]
    pub force_back: bool,
}
