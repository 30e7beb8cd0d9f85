//! moto's server beside the engine, and the AWS CLI that talks to it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use mimawari_tests::engine::Said;

use super::site::{BASE, base};
use super::*;

/// The host's end of the private network, by which containers reach moto's server.
const HOST: &str = "198.19.40.1";
/// Two servers; each listens at ports of its own.
pub const SERVERS: [&str; 2] = ["198.19.40.20", "198.19.40.21"];
/// Listening ports of each, spread over what is swept.
pub const OPEN: [u16; 8] = [8003, 8125, 8250, 8375, 8500, 8625, 8750, 8997];
/// The image that the jobs run: the built one, with configuration and baseline.
pub const IMAGE: &str = "lab/configured";
pub const BUCKET: &str = "pipeline";
pub const QUEUE: &str = "rounds";

/// Everything. Fields are dropped in their order: moto's server lets go of containers first.
pub struct Cloud {
    moto: Moto,
    pub engine: Engine,
    dir: tempfile::TempDir,
}

impl Cloud {
    /// # Panics
    /// When anything of it cannot be made.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let engine = Engine::start();
        engine.ask(["network", "create", "--internal", "--subnet", site::NETWORK, "lab"]);
        let moto = Moto::start(&engine);
        let cloud = Self { moto, engine, dir };
        cloud.images();
        cloud.serve();
        cloud.account();
        cloud
    }

    fn images(&self) {
        base(Image::new().program("setcap").program("getcap")).import(&self.engine, BASE);
        let roots = Path::new("/etc/ssl/certs/ca-certificates.crt");
        let _ = build::image(&self.engine, roots, site::TAG, &[]).expect(0);
        let at = |name: &str| self.dir.path().join(name);
        for name in ["sharded", "single"] {
            let place = |what: &str| {
                format!(
                    "url = \"s3://{BUCKET}/{name}/{what}\"\nregion = \"us-east-1\"\nendpoint = \"http://{HOST}:{}\"",
                    self.moto.port
                )
            };
            let config = format!(
                "version = 1\n[scope]\nallow = [\"{}\"]\nauthorised_by = \"TEST-1\"\n\
                 [scan]\ntargets = {SERVERS:?}\nports = \"8000-8999\"\nrate = 50\nmethod = \"syn\"\n\
                 [http]\nports = \"80\"\n[state]\n{}\n[rounds]\n{}\nsave_every = \"2s\"\n",
                site::NETWORK,
                place("state"),
                place("rounds")
            );
            fs::write(at(&format!("{name}.toml")), config).expect("a configuration");
        }
        fs::create_dir(at("baseline")).expect("a folder");
        let rule = format!(
            "version = 1\nowner = \"@test/team\"\n[[allow]]\nid = \"a\"\nhosts = [\"{}\"]\n\
             ports = [\"tcp/8003\"]\nreason = \"Agreed\"\n",
            SERVERS[0]
        );
        fs::write(at("baseline/b.toml"), rule).expect("a baseline");
        let text = format!(
            "FROM {}\nCOPY . /etc/mimawari/\nENV AWS_ACCESS_KEY_ID=AKIDNOTASECRET \
             AWS_SECRET_ACCESS_KEY=not-a-secret-key AWS_REGION=us-east-1\n",
            site::TAG
        );
        fs::write(at("Dockerfile"), text).expect("a Dockerfile");
        let mut build = self.engine.command("/usr/bin/docker");
        build.env("DOCKER_BUILDKIT", "1").args(["build", "--network", "none", "--tag", IMAGE]);
        let _ = said(build.arg(self.dir.path())).expect(0);
    }

    fn serve(&self) {
        let listen: String = OPEN.iter().map(|p| format!("listen {p}; ")).collect();
        let conf = format!(
            "daemon off; pid /tmp/nginx.pid; error_log stderr crit; worker_processes 1;\n\
             events {{ worker_connections 64; }}\nhttp {{ access_log off;\n\
             client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;\n\
             uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;\n\
             server {{ {listen} location / {{ return 200 ok; }} }} }}\n"
        );
        let web = Image::new().program("nginx").file("/nginx.conf", conf);
        web.import(&self.engine, "lab/web");
        for ip in SERVERS {
            let run = ["run", "--detach", "--network", "lab", "--ip", ip, "lab/web", "/bin/nginx"];
            self.engine.ask(run.iter().chain(&["-p", "/tmp", "-c", "/nginx.conf"]));
            let end = Instant::now() + Duration::from_secs(60);
            while std::net::TcpStream::connect((ip, OPEN[0])).is_err() {
                assert!(Instant::now() < end, "nobody listens at {ip}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Bucket, compute environment, queue, job definitions, rule.
    fn account(&self) {
        self.aws(&["s3api", "create-bucket", "--bucket", BUCKET]);
        let trust = "{\"Version\":\"2012-10-17\",\"Statement\":[]}";
        let role = ["iam", "create-role", "--role-name", "batch", "--assume-role-policy-document"];
        let role = self.aws(&[role.as_slice(), &[trust, "--query", "Role.Arn"]].concat());
        let subnet = self.aws(&["ec2", "describe-subnets", "--query", "Subnets[0].SubnetId"]);
        let group =
            self.aws(&["ec2", "describe-security-groups", "--query", "SecurityGroups[0].GroupId"]);
        let resources =
            format!("type=FARGATE,maxvCpus=16,subnets={subnet},securityGroupIds={group}");
        self.aws(&[
            "batch",
            "create-compute-environment",
            "--compute-environment-name",
            "fargate",
            "--type",
            "MANAGED",
            "--service-role",
            &role,
            "--compute-resources",
            &resources,
        ]);
        let queue = self.aws(&[
            "batch",
            "create-job-queue",
            "--job-queue-name",
            QUEUE,
            "--state",
            "ENABLED",
            "--priority",
            "1",
            "--compute-environment-order",
            "order=1,computeEnvironment=fargate",
            "--query",
            "jobQueueArn",
        ]);
        let mut register = self.command(deploy("register"));
        for key in ["EXECUTION_ROLE", "PLAN_ROLE", "SCAN_ROLE", "REDUCE_ROLE", "EVENTS_ROLE"] {
            register.env(key, &role);
        }
        register.env("IMAGE", IMAGE).env("CONFIG", "/etc/mimawari/sharded.toml");
        let _ = said(register.env("QUEUE_ARN", queue)).expect(0);
    }

    /// A command with the account's credentials and the CLI.
    pub fn command(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        let cli = root().join("target/tools/python/bin/aws");
        assert!(cli.exists(), "{} is missing: run .ci/python/install", cli.display());
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.dir.path())
            .env("AWS", cli)
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.moto.port))
            .env("AWS_ACCESS_KEY_ID", "AKIDNOTASECRET")
            .env("AWS_SECRET_ACCESS_KEY", "not-a-secret-key")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_PAGER", "")
            .stdin(Stdio::null());
        command
    }

    fn cli(&self, args: &[&str]) -> Said {
        let mut command = self.command(root().join("target/tools/python/bin/aws"));
        said(command.args(args).args(["--output", "text"]))
    }

    /// Asks the CLI; its answer as text.
    #[track_caller]
    pub fn aws(&self, args: &[&str]) -> String {
        self.cli(args).expect(0).stdout.trim().to_owned()
    }

    /// An object's JSON; `None` when it is not there.
    pub fn object(&self, key: &str) -> Option<Value> {
        let out = self.cli(&["s3", "cp", "--quiet", &format!("s3://{BUCKET}/{key}"), "-"]);
        (out.status == 0).then(|| serde_json::from_str(&out.stdout).expect("JSON"))
    }

    /// A job's status.
    pub fn status(&self, job: &str) -> String {
        self.aws(&["batch", "describe-jobs", "--jobs", job, "--query", "jobs[0].status"])
    }

    /// Waits for a job's end and returns its status.
    pub fn end(&self, job: &str) -> String {
        let end = Instant::now() + Duration::from_secs(300);
        loop {
            let status = self.status(job);
            if status == "SUCCEEDED" || status == "FAILED" {
                return status;
            }
            assert!(Instant::now() < end, "{job} is still {status}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// What all jobs printed so far.
    pub fn logs(&self) -> String {
        let streams = ["logs", "describe-log-streams", "--log-group-name", "/aws/batch/job"];
        let out =
            self.cli(&[streams.as_slice(), &["--query", "logStreams[].logStreamName"]].concat());
        let mut all = String::new();
        for stream in out.stdout.split_whitespace() {
            let events = ["logs", "get-log-events", "--log-group-name", "/aws/batch/job"];
            let of = ["--log-stream-name", stream, "--query", "events[].message"];
            all += &format!("{stream}\n{}\n", self.cli(&[events.as_slice(), &of].concat()).stdout);
        }
        all
    }
}

/// A program of `deploy/batch/`.
pub fn deploy(name: &str) -> PathBuf {
    root().join("deploy/batch").join(name)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// moto's server; it ends when this is dropped.
struct Moto {
    child: Child,
    port: u16,
}

impl Moto {
    fn start(engine: &Engine) -> Self {
        let program = root().join("target/tools/python/bin/moto_server");
        let mut command = engine.command(&program);
        let mut child = command
            .args(["-H", "0.0.0.0", "-p", "0"])
            .env("PYTHONUNBUFFERED", "1")
            .env("MOTO_DOCKER_NETWORK_NAME", "lab")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}; run .ci/python/install", program.display()));
        let mut lines = BufReader::new(child.stderr.take().expect("its stderr")).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|l| l.split_once("Running on http://127.0.0.1:")?.1.trim().parse().ok())
            .expect("moto's port");
        // What it prints must be read, or it blocks.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, port }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
