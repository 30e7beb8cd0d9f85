//! The one documented command, what it makes, and what it refuses.

use mimawari_tests::engine::Said;

use super::site::{BASE, Site, TAG, base};
use super::*;

const MOST: u64 = 25_000_000;

/// `deploy/bin/build-image TAG` with the suite's base image, some roots and no network.
pub fn image(engine: &Engine, roots: &Path, tag: &str, environment: &[(&str, &str)]) -> Said {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut command = engine.command(root.join("deploy/bin/build-image"));
    if let Some(binary) = std::env::var_os("BINARY") {
        command.env("BINARY", root.join(binary));
    }
    command.env("BASE", BASE).env("NETWORK", "none").env("CA_BUNDLE", roots);
    said(command.arg(tag).envs(environment.iter().copied()))
}

/// The same with the site's roots.
fn run(site: &Site, tag: &str, environment: &[(&str, &str)]) -> Said {
    image(&site.engine, &site.bundle, tag, environment)
}

pub fn as_documented(site: &Site) {
    assert!(site.built.contains("cap_net_raw=p, user 65532:65532"), "{}", site.built);
    let field = |format: &str| site.engine.ask(["image", "inspect", "--format", format, TAG]);
    let size: u64 = field("{{.Size}}").parse().expect("a size");
    assert!((5_000_000..MOST).contains(&size), "{size} bytes");
    assert_eq!(field("{{json .Config.Entrypoint}}"), "[\"/mimawari\"]");
    assert_eq!(field("{{json .Config.Volumes}}"), "{\"/var/lib/mimawari\":{}}");
    let version = field("{{index .Config.Labels \"org.opencontainers.image.version\"}}");
    let printed = site.engine.ask(["run", "--rm", TAG, "--version"]);
    assert_eq!(printed, format!("mimawari {version}"));

    // What a container of it sees, without asking the script or the engine.
    let id = site.engine.ask(["create", TAG]);
    let tar = site.dir.path().join("root.tar");
    site.engine.ask(["export", "--output", &tar.display().to_string(), &id]);
    site.engine.ask(["rm", &id]);
    let to = site.dir.path().join("root");
    fs::create_dir(&to).expect("a folder");
    let mut unpack = Command::new("tar");
    unpack.args(["--xattrs", "--xattrs-include=security.capability", "-x", "-f"]);
    let _ = said(unpack.arg(&tar).arg("-C").arg(&to)).expect(0);
    let getcap = said(Command::new("/sbin/getcap").arg(to.join("mimawari"))).expect(0).stdout;
    assert!(getcap.trim_end().ends_with(" cap_net_raw=p"), "{getcap}");
    use std::os::unix::fs::MetadataExt as _;
    let state = fs::metadata(to.join("var/lib/mimawari")).expect("the writable folder");
    assert_eq!((state.uid(), state.gid(), state.mode() & 0o777), (65532, 65532, 0o750));
    let mut found = Vec::new();
    files(&to, &mut found);
    // The engine's own, such as /.dockerenv and /etc/hosts, are empty.
    found.retain(|p| fs::symlink_metadata(p).is_ok_and(|m| m.len() > 0));
    let name = |p: &PathBuf| p.strip_prefix(&to).expect("below").display().to_string();
    let names: Vec<String> = found.iter().map(name).collect();
    assert_eq!(names, ["etc/group", "etc/passwd", "etc/ssl/certs/ca-certificates.crt", "mimawari"]);
    for path in &found {
        let mode = fs::symlink_metadata(path).expect("a file").mode();
        let program = *path == to.join("mimawari");
        assert_eq!(mode & 0o7777, if program { 0o755 } else { 0o644 }, "{}", path.display());
    }
}

/// Regular files below a folder, sorted.
fn files(dir: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(dir).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        let kind = fs::symlink_metadata(&path).expect("a file").file_type();
        if kind.is_dir() {
            files(&path, into);
        } else if kind.is_file() {
            into.push(path);
        }
    }
}

pub fn refused(site: &Site) {
    // The classic builder, asked for.
    let out = run(site, "mimawari:classic", &[("DOCKER_BUILDKIT", "0")]).expect(1);
    assert!(out.stderr.contains("loses the file capability"), "{}", out.all());
    assert!(out.stderr.contains("help: unset DOCKER_BUILDKIT"), "{}", out.all());
    // The classic builder, because the client has no other.
    let stub = site.dir.path().join("docker");
    let text = "#!/bin/sh\ncase $1 in buildx) exit 1;; version) echo 28.2.2;; *) exit 99;; esac\n";
    fs::write(&stub, text).expect("a stub");
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).expect("permissions");
    let stub = stub.display().to_string();
    let out = run(site, "mimawari:classic", &[("DOCKER", &stub)]).expect(1);
    assert!(out.stderr.contains("has no buildx"), "{}", out.all());
    assert!(out.stderr.contains("docker-buildx"), "{}", out.all());
    // The classic builder, without the script.
    let context = site.dir.path().join("context");
    fs::create_dir(&context).expect("a folder");
    for name in ["mimawari", "ca-certificates.crt", "passwd", "group"] {
        fs::write(context.join(name), "x").expect("a file");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut build = site.engine.command("/usr/bin/docker");
    build.env("DOCKER_BUILDKIT", "0").args(["build", "--network", "none", "--build-arg"]);
    build.arg(format!("BASE={BASE}")).arg("-f").arg(root.join("deploy/image/Dockerfile"));
    let out = said(build.arg(&context));
    assert!(out.status != 0 && out.all().contains("BuildKit"), "{}", out.all());

    // A build that lost the capability on the way, and says that all is well.
    base(Image::new())
        .script("/bin/setcap", "#!/bin/sh\n")
        .script("/bin/getcap", "#!/bin/sh\necho \"$1 cap_net_raw=p\"\n")
        .import(&site.engine, "lab/lossy");
    let out = run(site, "mimawari:lossy", &[("BASE", "lab/lossy")]).expect(1);
    assert!(out.stderr.contains("the file capability is not in the final image"), "{}", out.all());
    // A program that needs a loader.
    let out = run(site, "mimawari:dynamic", &[("BINARY", "/bin/sh")]).expect(1);
    assert!(out.stderr.contains("is not static"), "{}", out.all());
}
