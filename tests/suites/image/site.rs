//! The engine, the image, and a private network with servers.

use super::*;

/// The tag that is built.
pub const TAG: &str = "mimawari:suite";
/// The image for the build's first stage.
pub const BASE: &str = "lab/base";
/// The private network; the host's end is its first address.
pub const NETWORK: &str = "198.19.40.0/24";
/// nginx: a site with a published repository.
pub const WEB: &str = "198.19.40.10";
/// Redis.
pub const REDIS: &str = "198.19.40.11";
/// Visibly no secret, and may be in no output.
pub const SECRET: &str = "FAKE-image-git";

/// Docker's default capabilities less CAP_NET_RAW, one by one: Fargate knows no other way.
const DROPPED: [&str; 13] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "MKNOD",
    "AUDIT_WRITE",
    "SETFCAP",
];

const NGINX: &str = "daemon off; pid /tmp/nginx.pid; error_log stderr crit; worker_processes 1;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
    server { listen 80; root /www; }
    server {
        listen 8443 ssl; ssl_certificate /tls.crt; ssl_certificate_key /tls.key;
        location / { return 200 ok; }
    }
}
";

/// What all cases share. Fields are dropped in their order: containers end before the engine does.
pub struct Site {
    pub engine: Engine,
    /// What the build printed.
    pub built: String,
    /// The build's roots: this machine's, and the one that signed for nginx.
    pub bundle: PathBuf,
    pub dir: tempfile::TempDir,
}

impl Site {
    /// # Panics
    /// When anything of it cannot be made: a site that is not there must fail its cases.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let engine = Engine::start();
        let key = rcgen::generate_simple_self_signed(vec!["hooks.lab".to_owned()])
            .expect("a certificate");
        let bundle = dir.path().join("roots.crt");
        let roots = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").expect("CA roots");
        fs::write(&bundle, roots + &key.cert.pem()).expect("the bundle");

        base(Image::new().program("setcap").program("getcap")).import(&engine, BASE);
        let git = format!(
            "[core]\n\trepositoryformatversion = 0\n\tbare = false\n[remote \"origin\"]\n\turl = https://deploy:{SECRET}@git.example.jp/shop.git\n"
        );
        Image::new()
            .program("nginx")
            .file("/nginx.conf", NGINX)
            .file("/tls.crt", key.cert.pem())
            .file("/tls.key", key.signing_key.serialize_pem())
            .file("/www/index.html", "<html><title>Shop</title></html>\n")
            .file("/www/.git/config", git)
            .file("/www/.git/HEAD", "ref: refs/heads/main\n")
            .import(&engine, "lab/web");
        Image::new().program("redis-server").import(&engine, "lab/redis");
        let mut site = Self { engine, built: String::new(), bundle, dir };
        site.built = build::image(&site.engine, &site.bundle, TAG, &[]).expect(0).all();
        site.serve();
        site
    }

    /// The private network and its servers. They live as long as the engine.
    fn serve(&self) {
        self.engine.ask(["network", "create", "--internal", "--subnet", NETWORK, "lab"]);
        let run = ["run", "--detach", "--network", "lab", "--ip"];
        let nginx = [WEB, "--network-alias", "hooks.lab", "lab/web", "/bin/nginx", "-p", "/tmp"];
        let conf = ["-c", "/nginx.conf"];
        self.engine.ask(run.iter().chain(&nginx).chain(&conf));
        let redis = [REDIS, "lab/redis", "/bin/redis-server", "--protected-mode", "no"];
        self.engine.ask(run.iter().chain(&redis));
        // From the host's end of the bridge.
        for at in [format!("{WEB}:80"), format!("{REDIS}:6379")] {
            let end = Instant::now() + Duration::from_secs(60);
            while std::net::TcpStream::connect(&at).is_err() {
                assert!(Instant::now() < end, "nobody listens at {at}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// A desk for one case: configuration and baseline, read-only in the container, and a volume.
    pub fn desk(&self, name: &str, scan: &str) -> Desk<'_> {
        let dir = self.dir.path().join(name);
        fs::create_dir_all(dir.join("baseline")).expect("a folder");
        let config = format!(
            "version = 1\n[scope]\nallow = [\"{NETWORK}\"]\nauthorised_by = \"TEST-1\"\n[scan]\n{scan}\n\
             [http]\ntier = 1\n[state]\nurl = \"/var/lib/mimawari/state\"\n\
             [[notify]]\nkind = \"slack\"\nwebhook_env = \"HOOK\"\n"
        );
        fs::write(dir.join("patrol.toml"), config).expect("a configuration");
        let baseline = format!(
            "version = 1\nowner = \"@test/team\"\n[[allow]]\nid = \"web\"\nhosts = [\"{WEB}\"]\n\
             ports = [\"tcp/80\", \"tcp/8443\"]\nreason = \"The shop\"\n"
        );
        fs::write(dir.join("baseline/b.toml"), baseline).expect("a baseline");
        let readable = fs::Permissions::from_mode(0o755);
        use std::os::unix::fs::PermissionsExt as _;
        for path in [self.dir.path(), &dir] {
            fs::set_permissions(path, readable.clone()).expect("permissions");
        }
        Desk { site: self, dir, volume: name.to_owned() }
    }
}

/// What the Dockerfile's first stage runs besides setcap.
pub fn base(image: Image) -> Image {
    image.program("sh").program("mkdir").program("chmod")
}

/// Where one case stands.
pub struct Desk<'a> {
    site: &'a Site,
    dir: PathBuf,
    volume: String,
}

impl<'a> Desk<'a> {
    /// The arguments of `docker run`, as Fargate starts a task.
    fn arguments(&self, more: &[&str], program: &[&str]) -> Vec<String> {
        let mut all: Vec<String> = ["--read-only", "--network", "lab"].map(str::to_owned).into();
        all.extend(DROPPED.map(|c| format!("--cap-drop={c}")));
        all.push(format!("--volume={}:/etc/mimawari:ro", self.dir.display()));
        all.push(format!("--volume={}:/var/lib/mimawari", self.volume));
        all.push("--env=HOOK=https://hooks.lab:8443/services/TFAKE/BFAKE/not-a-real-secret".into());
        all.extend(more.iter().map(|s| (*s).to_owned()));
        all.push(TAG.to_owned());
        all.extend(program.iter().map(|s| (*s).to_owned()));
        all
    }

    /// Runs the program in a container to its end.
    pub fn program(&self, more: &[&str], program: &[&str]) -> mimawari_tests::engine::Said {
        let run = ["run", "--rm"].map(str::to_owned);
        self.site.engine.docker(run.into_iter().chain(self.arguments(more, program)))
    }

    /// Starts the program in a container.
    pub fn start(&self, more: &[&str], program: &[&str]) -> Container<'a> {
        self.site.engine.run(self.arguments(more, program))
    }

    /// A file in the volume, seen from this machine.
    pub fn path(&self, name: &str) -> PathBuf {
        let at = ["volume", "inspect", "--format", "{{.Mountpoint}}", &self.volume];
        Path::new(&self.site.engine.ask(at)).join(name)
    }

    /// A JSON file in the volume.
    pub fn json(&self, name: &str) -> Value {
        let path = self.path(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_str(&text).expect("JSON")
    }
}
