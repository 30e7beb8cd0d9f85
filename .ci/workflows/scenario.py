"""A baseline repository lives through its own workflows: from the template, over a proposed finding, a refused and a good
pull request, a fork, the merge that settles the finding, to the weekly removal of old rules. GitHub is a strict fake on
loopback, S3 is moto's server, git and the program are real, and every script runs as it is.

Usage: scenario.py MIMAWARI MOTO_SERVER TOOLS_BIN      (a folder with `aws`)
"""

import datetime
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from github import GitHub
from runner import Refused, Runner, load

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "deploy/baseline-repo"
REPO, TOOLS, SHA = "example-org/baseline", "example-org/mimawari", "a1" * 20
READ, PUBLISH, SETTLE = (f"arn:aws:iam::000000000000:role/mimawari-{n}" for n in ("read", "publish", "settle"))
MAIN = f"repo:{REPO}:ref:refs/heads/main"
PULL = f"repo:{REPO}:pull_request"
# What the program's user may and the machine has; nothing of the machine that runs the tests.
AWS = {"AWS_ACCESS_KEY_ID": "AKIDNOTASECRET", "AWS_SECRET_ACCESS_KEY": "not-a-secret-of-the-test", "AWS_REGION": "us-east-1"}


def check(holds, what, more=""):
    if not holds:
        print(f"FAILED: {what}\n{more}")
        sys.exit(1)
    print(f"  ok  {what}")


class World:
    def __init__(self, mimawari, moto, tools, work):
        self.mimawari, self.work = str(Path(mimawari).resolve()), Path(work)
        bin = self.work / "bin"
        bin.mkdir()
        (bin / "aws").symlink_to(Path(tools).resolve() / "aws")
        # What a runner has, less what this machine may have besides: `gh` would ask the network.
        for program in Path("/usr/bin").iterdir():
            if program.name not in ("aws", "gh", "mimawari"):
                (bin / program.name).symlink_to(program)
        self.machine = {"PATH": str(bin), "LANG": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1",
                        "AWS_EC2_METADATA_DISABLED": "true"}
        port = self.free()
        self.moto = subprocess.Popen([moto, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.s3 = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                urllib.request.urlopen(self.s3 + "/moto-api/data.json", timeout=2).read()
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise SystemExit("moto's server does not come up")
        # What a job's environment has for the AWS CLI; credentials come with the role alone.
        self.machine["AWS_ENDPOINT_URL"] = self.s3
        self.hub = GitHub(REPO)
        self.server = f"file://{self.work}/remote"
        self.bare = self.work / f"remote/{REPO}.git"
        self.bare.mkdir(parents=True)
        self.call("git", "init", "--quiet", "--bare", "--initial-branch=main", self.bare)
        self.clone = self.work / "clone"
        self.variables = {"MIMAWARI_REGION": "us-east-1", "MIMAWARI_READ_ROLE": READ, "MIMAWARI_PUBLISH_ROLE": PUBLISH,
                          "MIMAWARI_SETTLE_ROLE": SETTLE, "MIMAWARI_ROUNDS": "s3://corp-scan/rounds",
                          "MIMAWARI_BASELINE": "s3://corp-scan/baseline", "MIMAWARI_STATE": "s3://corp-scan/state",
                          "MIMAWARI_CONFIG": "s3://corp-scan/config/patrol.toml"}
        trust = {READ: (PULL, MAIN), PUBLISH: (MAIN,), SETTLE: (MAIN,)}
        self.runner = Runner(self.hub, (TOOLS, SHA, ROOT), self.server, trust, self.variables, self.machine, self.work / "runs")

    @staticmethod
    def free():
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]

    def call(self, *args, cwd=None, env=None, ok=(0,), text=None):
        done = subprocess.run([str(a) for a in args], cwd=cwd, text=True, capture_output=True, input=text, timeout=120,
                              env=self.machine | AWS | {"HOME": str(self.work)} | (env or {}))
        if ok and done.returncode not in ok:
            raise SystemExit(f"{args}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def git(self, *args):
        return self.call("git", "-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", *args, cwd=self.clone).strip()

    def commit(self, message):
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)

    def event(self, name, **more):
        sha = self.git("rev-parse", "main")
        return {"name": name, "ref": "refs/heads/main", "ref_name": "main", "sha": sha, "payload": more}

    def push(self):
        before = self.call("git", "-C", self.bare, "rev-parse", "--verify", "--quiet", "main", ok=()).strip() or "0" * 40
        self.git("push", "--quiet", "origin", "main")
        return self.event("push", before=before)

    def pull(self, number, branch, fork=False):
        """The event of a pull request whose branch is `branch`, with the merge commit that GitHub makes."""
        head = self.git("rev-parse", branch)
        self.git("switch", "--quiet", "--detach", "main")
        self.git("merge", "--quiet", "--no-ff", "-m", f"Merge {branch}", branch)
        merge = self.git("rev-parse", "HEAD")
        self.git("push", "--quiet", "--force", "origin", f"HEAD:refs/pull/{number}/merge")
        self.git("switch", "--quiet", branch)
        changed = self.git("diff", "--name-only", f"main...{branch}").splitlines()
        payload = {"number": number, "pull_request": {"number": number, "head": {
            "sha": head, "ref": branch, "repo": {"full_name": "somebody/baseline" if fork else REPO}}}}
        return {"name": "pull_request", "ref": f"refs/pull/{number}/merge", "ref_name": f"{number}/merge", "sha": merge,
                "payload": payload, "fork": fork}, changed

    def workflow(self, name, event, changed=()):
        path = self.clone / f".github/workflows/{name}.yml"
        check(self.runner.starts(load(path), event, changed), f"{event['name']} starts {name}")
        return self.runner.run(path, event)

    def comments(self, number):
        return [c for c in self.hub.comments.values() if c["of"] == number]

    def state(self, *args):
        return json.loads(self.call(self.mimawari, *args))


def prepare(w):
    """The template, adopted, with the rules, the run and the state of the demonstration."""
    print("from the template")
    w.call(w.mimawari, "--quiet", "demo", "--out", w.work / "demo", "--method", "connect")
    w.call("git", "clone", "--quiet", w.bare, w.clone, ok=(0,))
    shutil.copytree(TEMPLATE, w.clone, dirs_exist_ok=True, symlinks=True)
    w.git("switch", "--quiet", "--orphan", "main") if w.git("branch", "--show-current") != "main" else None
    # The release: the program behind a script, packed as a release is.
    pack = w.work / "pack"
    pack.mkdir()
    (pack / "mimawari").write_text(f'#!/bin/sh\nexec "{w.mimawari}" "$@"\n')
    (pack / "mimawari").chmod(0o755)
    asset = "mimawari-x86_64-unknown-linux-gnu.tar.gz"
    w.call("tar", "-czf", w.work / asset, "-C", pack, "mimawari")
    w.hub.releases[TOOLS, "v1.4.0"] = {1: (asset, (w.work / asset).read_bytes())}
    w.digest = w.call("sha256sum", w.work / asset).split()[0]
    print("  " + w.call("./adopt", TOOLS, "1.4.0", SHA, w.digest, cwd=w.clone).strip())
    texts = {p.name: p.read_text() for p in (w.clone / ".github/workflows").glob("*.yml")}
    check(all(SHA in t and w.digest in t and "0.0.0" not in t and "0" * 40 not in t for t in texts.values()), "adopt sets every pin")

    # The template's own examples are in order before they are replaced.
    w.git("add", "-A")
    w.call(w.mimawari, "baseline", "check", "-c", "patrol.toml", "--strict", cwd=w.clone)
    w.call(w.mimawari, "baseline", "fmt", "--check", cwd=w.clone)
    check(True, "the examples of the template pass baseline check --strict and fmt --check")

    for old in (w.clone / "baseline").iterdir():
        old.unlink()
    rules = (w.work / "demo/baseline/demo.toml").read_text().replace("@demo/hosting", "@example-org/hosting")
    (w.clone / "baseline/hosting.toml").write_text(rules)
    w.call(w.mimawari, "baseline", "fmt", "baseline", cwd=w.clone)
    config = (w.work / "demo/patrol.toml").read_text()
    (w.clone / "patrol.toml").write_text(config)
    # The scans' own, with a file beside it.
    w.config = w.work / "config/patrol.toml"
    w.config.parent.mkdir()
    w.config.write_text(config.replace('[http]\n', '[http]\nvhosts = "vhosts.csv"\n').replace(
        'url = "state"', f'url = "s3://corp-scan/state"\nregion = "us-east-1"\nendpoint = "{w.s3}"'))
    (w.config.parent / "vhosts.csv").write_text("")
    publish = w.clone / ".github/workflows/publish.yml"
    publish.write_text(publish.read_text().replace("    secrets:", f"      endpoint: {w.s3}\n    secrets:"))

    w.call("aws", "s3", "mb", "s3://corp-scan")
    w.call("aws", "s3", "cp", "--recursive", w.work / "demo/state", "s3://corp-scan/state")
    w.call("aws", "s3", "cp", "--recursive", w.config.parent, "s3://corp-scan/config")
    w.commit("Begin")


def rounds(w):
    """The demonstration's run as the newest complete round, and others that must not be taken."""
    run = w.work / "demo/today"
    for id, incomplete, done in (("hourly-2026-11-24T13-00-00Z", False, True), ("hourly-2026-11-24T14-00-00Z", False, True),
                                 ("hourly-2026-11-24T15-00-00Z", True, True), ("hourly-2026-11-24T16-00-00Z", False, False),
                                 ("nightly-2026-11-25T00-00-00Z", False, True)):
        folder = w.work / "demo/yesterday" if id.startswith("nightly") or "T13" in id else run
        w.call("aws", "s3", "cp", "--recursive", folder, f"s3://corp-scan/rounds/{id}/run")
        if done:
            result = json.dumps({"version": 1, "round": id, "incomplete": incomplete})
            w.call("aws", "s3", "cp", "-", f"s3://corp-scan/rounds/{id}/result.json", text=result)


def begin(w):
    print("the first push to main")
    event = w.push()
    jobs = w.workflow("check", event)
    check(jobs["check/check"].result == "success", "check is green", jobs["check/check"].log)
    check(any(a[1].get("title") == "expired" for a in jobs["check/check"].annotations), "and warns of the expired rule")
    jobs = w.workflow("publish", event, ["baseline/hosting.toml"])
    check(jobs["publish/publish"].result == "success", "publish is green", jobs["publish/publish"].log)
    check(jobs["publish/settle"].result == "success" and "nothing to settle" in jobs["publish/settle"].log,
          "with no round yet there is nothing to settle", jobs["publish/settle"].log)


def proposal(w):
    print("a pull request of a proposed finding, as the program writes it")
    w.hub.comments[1] = {"id": 1, "of": 7, "body": "<!-- mimawari-plan -->\nmine", "user": {"login": "somebody", "type": "User"}}
    w.git("switch", "--quiet", "-c", "x$(touch${IFS}pwned)")
    branch = w.git("branch", "--show-current")
    w.call(w.mimawari, "baseline", "propose", "--verdict", w.work / "demo/today/verdict.json", "--baseline", "baseline",
           "--out", "baseline", "--only", "6379", cwd=w.clone)
    made = (w.clone / "baseline/unowned.toml").read_text()
    check('reason = ""' in made and "6379" in made, "propose writes the rule and leaves the reason to a person")
    w.commit("Proposed")
    event, changed = w.pull(7, branch)
    jobs = w.workflow("check", event)
    job = jobs["check/check"]
    annotations = {(a[0], a[1].get("file"), a[1].get("title")) for a in job.annotations}
    check(job.result == "failure", "check is red", job.log)
    check(("error", "baseline/unowned.toml", "empty-reason") in annotations, "with an annotation at the empty reason", annotations)
    check(all((w.clone / a[1]["file"]).exists() and int(a[1]["line"]) > 0 for a in job.annotations if "file" in a[1]),
          "annotations name files of the repository and lines")

    # No round is there yet: the plan says so, and is no failure of the pull request.
    (w.clone / "baseline/unowned.toml").write_text(made.replace('reason = ""', 'reason = "Cache of the shop until SHOP-12 moves it"')
                                                   .replace('owner = ""', 'owner = "@example-org/hosting"'))
    (w.clone / "baseline/unowned.toml").rename(w.clone / "baseline/shop.toml")
    w.commit("Say why")
    owners = w.clone / ".github/CODEOWNERS"
    owners.write_text(owners.read_text().replace("/baseline/platform.toml    @example-org/platform", "/baseline/shop.toml @example-org/hosting"))
    w.commit("Name who reviews it")
    event, changed = w.pull(7, branch)
    job = w.workflow("plan", event, changed)["plan/plan"]
    check(job.result == "success", "without a round the plan is no failure", job.log)
    mine = [c for c in w.comments(7) if c["id"] != 1]
    check(len(mine) == 1 and "No plan yet" in mine[0]["body"], "and its comment says so", mine)
    first = mine[0]["id"]

    rounds(w)
    job = w.workflow("check", event)["check/check"]
    check(job.result == "success", "with reason and owner check is green", job.log)
    job = w.workflow("plan", event, changed)["plan/plan"]
    check(job.result == "success", "plan is green", job.log)
    mine = [c for c in w.comments(7) if c["id"] != 1]
    check(len(mine) == 1 and mine[0]["id"] == first, "the comment was written anew in place: exactly one", mine)
    body = mine[0]["body"]
    check("6379" in body and "hourly-2026-11-24T14-00-00Z" in body and "No plan yet" not in body,
          "it names the finding that is silenced, by the newest complete round of the profile", body)
    check(w.hub.comments[1]["body"].endswith("mine"), "somebody else's comment with the marker is left alone")
    check(event["payload"]["pull_request"]["head"]["sha"][:12] in body, "it names the commit that it is for")

    print("a pull request that breaks the rules, and tries more")
    w.git("switch", "--quiet", "-c", "bad")
    evil = '$(touch pwned) `touch pwned` ${{ secrets.X }} ::error title=forged::forged \\u001b[31m\\n::warning title=forged::forged\\n```'
    (w.clone / "baseline/evil.toml").write_text(
        f'version = 1\nowner = "@example-org/hosting"\n\n[[allow]]\n  id = "{evil}"\n hosts = ["192.0.2.999"]\n'
        f'ports = ["tcp/80"]\nreason = "{evil}"\n\n::error title=forged::forged\n')
    w.commit("Evil")
    event, changed = w.pull(8, "bad")
    job = w.workflow("check", event)["check/check"]
    check(job.result == "failure", "check is red", job.log)
    check(any(a[1].get("file") == "baseline/evil.toml" for a in job.annotations), "and says where", job.log)
    check(not any(a[1].get("title") == "forged" for a in job.annotations), "no annotation can be forged from a file", job.log)
    job = w.workflow("plan", event, changed)["plan/plan"]
    check(job.result == "failure", "a plan that cannot be made is red", job.log)
    check(len(w.comments(8)) == 1 and "could not be made" in w.comments(8)[0]["body"], "and its comment says so", w.comments(8))
    check(not any(a[1].get("title") == "forged" for a in job.annotations), "nor from the log of the plan", job.log)
    # In order but for its form, so that the difference is printed, with a line that begins like a command.
    host = re.search(r'allow = \["([\d.]+)\.0/26"\]', (w.clone / "patrol.toml").read_text()).group(1)
    (w.clone / "baseline/evil.toml").write_text(
        'version = 1\nowner = "@example-org/security"\n\n[[allow]]\nid = "evil"\nreason = """Partner of the shop\n'
        f'::error title=forged::forged\n"""\n  hosts = ["{host}.53"]\nports = ["tcp/2222"]\nexpires = 2099-01-01\n')
    w.commit("Well-formed, and not in the common form")
    event, changed = w.pull(8, "bad")
    job = w.workflow("check", event)["check/check"]
    check(any(a[1].get("title") == "not in the common form" for a in job.annotations) and "::error title=forged" in job.log,
          "what is not in the common form is reported, with the difference", job.log)
    check(job.result == "failure" and not any(a[1].get("title") == "forged" for a in job.annotations),
          "and no annotation can be forged from that either", job.log)
    w.workflow("plan", event, changed)
    check(len(w.comments(8)) == 1, "still one comment")
    (w.clone / "baseline/evil.toml").unlink()
    (w.clone / "baseline/link.toml").symlink_to("/proc/self/environ")
    w.commit("A link")
    event, changed = w.pull(8, "bad")
    job = w.workflow("check", event)["check/check"]
    check(job.result == "failure" and "AWS_" not in job.log and "no plain file" in job.log, "a link is refused unread", job.log)
    job = w.workflow("plan", event, changed)["plan/plan"]
    check(job.result == "failure" and "could not be made" in w.comments(8)[0]["body"] and "AWS_" not in w.comments(8)[0]["body"],
          "by the plan as well", job.log)
    check(not list(w.work.rglob("pwned")), "nothing that was written there was executed")
    w.git("switch", "--quiet", branch)
    w.git("branch", "--quiet", "-D", "bad")
    return branch


def refusals(w, branch):
    print("forks, other triggers, other programs, other roles")
    event, changed = w.pull(9, branch, fork=True)
    before, roles = len(w.hub.log), len(w.runner.roles)
    job = w.workflow("check", event)["check/check"]
    check(job.result == "success", "a fork's pull request is checked", job.log)
    jobs = w.workflow("plan", event, changed)
    check(jobs["plan/plan"].result == "skipped", "and gets no plan")
    check(len(w.runner.roles) == roles and not w.comments(9), "no role was taken for it, and nothing was written")
    check(all(m == "GET" for m, *_ in w.hub.log[before:]), "GitHub was only read")
    event, changed = w.pull(7, branch)
    event["name"] = "pull_request_target"
    path = w.clone / ".github/workflows/plan.yml"
    check(not w.runner.starts(load(path), event, changed), "pull_request_target starts no plan")
    check(w.runner.run(path, event)["plan/plan"].result == "skipped", "and the reusable workflow refuses it besides")

    event, changed = w.pull(7, branch)
    text = path.read_text()
    path.write_text(text.replace(w.digest, "0" * 64))
    job = w.runner.run(path, event)["plan/plan"]
    path.write_text(text)
    mine = [c for c in w.comments(7) if c["id"] != 1]
    check(job.result == "failure" and "not the one given" in job.log, "another program than the given SHA-256 is not run", job.log)
    check(len(mine) == 1 and "could not be made" in mine[0]["body"], "and the comment says that there is no plan", mine)

    path.write_text(text.replace("pull-requests: write", "pull-requests: read"))
    try:
        w.runner.run(path, event)
        check(False, "a caller that grants too little is refused")
    except Refused as e:
        check("pull-requests: write" in str(e), "a caller that grants too little is refused")
    path.write_text(text.replace("vars.MIMAWARI_READ_ROLE }}", "vars.MIMAWARI_PUBLISH_ROLE }}"))
    job = w.runner.run(path, event)["plan/plan"]
    path.write_text(text)
    check(job.result == "failure" and "does not trust" in job.log, "a pull request gets no role that writes", job.log)
    path.write_text(text.replace("    secrets:", "      fail-on-silenced: high\n    secrets:"))
    job = w.runner.run(path, event)["plan/plan"]
    path.write_text(text)
    check(job.result == "failure" and any(a[1].get("title") == "silences findings" for a in job.annotations),
          "fail-on-silenced stops what silences a high finding", job.log)
    mine = [c for c in w.comments(7) if c["id"] != 1]
    check("6379" in mine[0]["body"], "with the plan in the comment")

    event, changed = w.pull(7, branch)
    # Without the scans' own configuration, the reviewed one of main is taken and not what the pull request makes of it.
    w.git("switch", "--quiet", "-c", "config")
    (w.clone / "patrol.toml").write_text("no configuration at all\n")
    w.commit("Another configuration")
    event, changed = w.pull(10, "config")
    config = w.variables.pop("MIMAWARI_CONFIG")
    job = w.workflow("plan", event, changed)["plan/plan"]
    w.variables["MIMAWARI_CONFIG"] = config
    check(job.result == "success", "the configuration is the reviewed one, not the pull request's", job.log)
    w.git("switch", "--quiet", branch)
    w.variables["MIMAWARI_CONFIG"] = "s3://corp-scan/config/other.toml"
    event, changed = w.pull(7, branch)
    job = w.workflow("plan", event, changed)["plan/plan"]
    w.variables["MIMAWARI_CONFIG"] = config
    check(job.result == "failure" and "other.toml" in w.comments(7)[-1]["body"], "a configuration that is not there is reported", job.log)

    sarif = w.clone / ".github/workflows/sarif.yml"
    sarif.write_text(re.sub(r"baseline-check\.yml", "baseline-sarif.yml", (w.clone / ".github/workflows/check.yml").read_text())
                     .replace("      contents: read", "      security-events: write\n      contents: read"))
    jobs = w.runner.run(sarif, event)
    sarif.unlink()
    check(jobs["check/sarif"].result == "success" and w.runner.alerts[-1]["runs"][0]["tool"]["driver"]["name"].startswith("mimawari"),
          "the same goes to code scanning where that is wanted", jobs["check/sarif"].log)


def merge(w, branch):
    print("the merge")
    w.git("switch", "--quiet", "main")
    w.git("merge", "--quiet", "--no-ff", "-m", "Merge", branch)
    roles = len(w.runner.roles)
    event = w.push()
    jobs = w.workflow("publish", event, ["baseline/shop.toml"])
    check(jobs["publish/publish"].result == "success", "publish is green", jobs["publish/publish"].log)
    pointer = json.loads(w.call("aws", "s3", "cp", "s3://corp-scan/baseline/current.json", "-"))
    check(pointer["commit"] == event["sha"] and not pointer["dirty"], "the published baseline is the merged commit", pointer)
    job = jobs["publish/settle"]
    check(job.result == "success", "settle is green", job.log)
    check(list(w.runner.roles[roles:]) == [(PUBLISH, MAIN), (SETTLE, MAIN)], "each job took its own role, for main")
    check("DRIFT" in job.summary or "drift" in job.summary.lower(), "the summary says what is left", job.summary)
    verdict = json.loads((w.runner.work / f"run-{w.runner.runs}-settle/temp/verdict.json").read_text())
    before = json.loads((w.work / "demo/today/verdict.json").read_text())
    id = next(f["id"] for f in before["findings"] if f["port"] == 6379 and f["state"] == "open")
    found = [f for f in verdict["findings"] if f["id"] == id]
    check([f["state"] for f in found] == ["allowed"], "the finding is allowed, not resolved", found)
    notified = [c["what"] for c in verdict["changes"] if c["finding"] == id]
    check(notified == ["allowed"], "and is notified as allowed, once", verdict["changes"])
    newest = sorted(w.call("aws", "s3", "ls", "s3://corp-scan/state/generations/").split()[3::4])[-1]
    check(newest > "00000000000002.json", "the state on S3 has a new generation", newest)
    # Judged again on the saved state: nothing is left to notify.
    again = w.work / "again.json"
    w.call(w.mimawari, "--quiet", "judge", "-c", w.config, "--run", w.work / "demo/today", "--baseline", "baseline",
           "--out", again, cwd=w.clone, ok=(1,))
    kept = json.loads(again.read_text())
    check(not kept.get("changes") and kept["counts"]["open"] == verdict["counts"]["open"], "the state holds it: judged again, nothing is new", kept)
    jobs = w.workflow("publish", event, ["baseline/shop.toml"])
    check(jobs["publish/publish"].result == "success" and "nothing to do" in jobs["publish/publish"].log, "the same again does nothing")


def rule(id, days):
    day = datetime.date.today() - datetime.timedelta(days=days)
    return f'\n[[allow]]\nid = "{id}"\nhosts = ["{{host}}"]\nports = ["tcp/2222"]\nreason = "Migration of the old shop"\nexpires = {day}\n'


def prune(w):
    print("the weekly prune")
    host = re.search(r'allow = \["([\d.]+)\.0/26"\]', (w.clone / "patrol.toml").read_text()).group(1)
    job = w.workflow("prune", w.event("schedule"))["prune/prune"]
    check(job.result == "success" and not w.hub.pulls, "with nothing to remove there is no pull request", job.log)
    shop = w.clone / "baseline/shop.toml"
    shop.write_text(shop.read_text() + rule("old-one", 60).replace("{host}", f"{host}.50"))
    w.call(w.mimawari, "baseline", "fmt", "baseline", cwd=w.clone)
    w.commit("A rule that ended long ago")
    w.push()
    job = w.workflow("prune", w.event("schedule"))["prune/prune"]
    check(job.result == "success" and len(w.hub.pulls) == 1, "an expired rule makes one pull request", job.log)
    number, pull = next(iter(w.hub.pulls.items()))
    check("old-one" in pull["body"] and "days ago" in pull["body"], "it says why the rule can go", pull["body"])
    tip = w.call("git", "-C", w.bare, "rev-parse", "mimawari/prune").strip()
    diff = w.call("git", "-C", w.bare, "diff", "main", "mimawari/prune")
    check("-id = \"old-one\"" in diff and "partner-vpn" not in diff, "and its branch removes it and nothing else", diff)
    job = w.workflow("prune", w.event("schedule"))["prune/prune"]
    check(job.result == "success" and len(w.hub.pulls) == 1, "a week later it is still one", job.log)
    check(w.call("git", "-C", w.bare, "rev-parse", "mimawari/prune").strip() == tip, "whose commit (and reviews) are untouched")
    shop.write_text(shop.read_text() + rule("old-two", 90).replace("{host}", f"{host}.51"))
    w.call(w.mimawari, "baseline", "fmt", "baseline", cwd=w.clone)
    w.commit("Another one")
    w.push()
    job = w.workflow("prune", w.event("schedule"))["prune/prune"]
    check(len(w.hub.pulls) == 1 and "old-two" in w.hub.pulls[number]["body"] and "2 rules" in w.hub.pulls[number]["title"],
          "another expired rule: the same pull request, written anew", job.log)
    diff = w.call("git", "-C", w.bare, "diff", "main", "mimawari/prune")
    check("old-one" in diff and "old-two" in diff, "upon the newest main")

    w.git("fetch", "--quiet", "origin", "mimawari/prune")
    w.git("switch", "--quiet", "--detach", "FETCH_HEAD")
    w.commit("A person's own commit")
    w.git("push", "--quiet", "origin", "HEAD:mimawari/prune")
    theirs = w.git("rev-parse", "HEAD")
    job = w.workflow("prune", w.event("schedule"))["prune/prune"]
    check(job.result == "success" and w.call("git", "-C", w.bare, "rev-parse", "mimawari/prune").strip() == theirs,
          "a person's own commits on the branch are left alone", job.log)
    w.git("switch", "--quiet", "main")
    w.git("merge", "--quiet", "--no-ff", "-m", "Merge", theirs)
    w.push()
    job = w.workflow("prune", w.event("schedule"))["prune/prune"]
    check(job.result == "success" and w.hub.pulls[number]["state"] == "closed", "when nothing is left to remove it is closed", job.log)
    job = w.workflow("check", w.event("push", before="0" * 40))["check/check"]
    check(job.result == "success", "and main is in order", job.log)
    shop.write_text(shop.read_text() + rule("old-three", 70).replace("{host}", f"{host}.52"))
    w.call(w.mimawari, "baseline", "fmt", "baseline", cwd=w.clone)
    w.commit("And another one")
    w.push()
    job = w.workflow("prune", w.event("workflow_dispatch"))["prune/prune"]
    new = [p for p in w.hub.pulls.values() if p["state"] == "open"]
    check(len(new) == 1 and new[0]["number"] != number and "old-three" in new[0]["body"], "the next rule makes a new pull request", job.log)


def limits(w):
    print("GitHub's limit of a comment")
    for name, character in (("plain", "x"), ("outside the basic plane", "\U0001F4A1"), ("Japanese", "見")):
        file = w.work / "long.md"
        file.write_text("<!-- mimawari-plan -->\n" + (character * 99 + "\n") * 1500)
        token = w.hub.token({"pull-requests": "write"})
        env = {"GH_TOKEN": token, "GITHUB_API_URL": w.hub.url, "GITHUB_REPOSITORY": REPO, "COMMENT_FILE": str(file),
               "PR_NUMBER": "77", "COMMENT_BY": "github-actions[bot]"}
        w.call(ROOT / ".github/actions/baseline/comment.sh", env=env)
        body = w.comments(77)[0]["body"]
        check(len(w.comments(77)) == 1 and 30000 < len(body) <= 65536 and body.endswith("may be.**\n"), f"150,000 characters, {name}: cut, and it says so")
    # More than a page of comments, ours behind them; and two of ours, of which one stays.
    ours = w.comments(77)[0]
    del w.hub.comments[ours["id"]]
    for n in range(2000, 2230):
        w.hub.comments[n] = {"id": n, "of": 77, "body": "talk", "user": {"login": "somebody", "type": "User"}}
    for n in (3000, 3001):
        w.hub.comments[n] = ours | {"id": n}
    file.write_text("<!-- mimawari-plan -->\nshort\n")
    w.call(ROOT / ".github/actions/baseline/comment.sh", env=env)
    left = [c for c in w.comments(77) if c["user"]["login"] == w.hub.bot]
    check([c["id"] for c in left] == [3000] and left[0]["body"].endswith("short\n"), "found behind 230 others; one of two stays", left)
    env["GH_TOKEN"] = w.hub.token({"pull-requests": "read"})
    done = subprocess.run([ROOT / ".github/actions/baseline/comment.sh"], env=w.machine | env, capture_output=True, text=True)
    check(done.returncode != 0 and "403" in done.stderr, "what GitHub refuses is an error", done.stderr)


def folders(w):
    """A round out of a folder, for those who keep none on S3."""
    print("rounds in a folder")
    rounds = w.work / "rounds"
    for id, incomplete in (("hourly-1", False), ("hourly-2", True), ("nightly-3", False), ("hourly-eu-4", False)):
        (rounds / id / "run").mkdir(parents=True)
        (rounds / id / "run/run.json").write_text(id)
        (rounds / id / "result.json").write_text(json.dumps({"incomplete": incomplete}))
    script = ROOT / ".github/actions/baseline/fetch-run.sh"

    def run(prefix, into):
        (w.work / into).mkdir()
        said = w.call(script, env={"ROUNDS_URL": str(rounds), "ROUND_PREFIX": prefix, "RUN_DIR": str(w.work / into)}).strip()
        return said, sorted(p.name for p in (w.work / into).iterdir())

    check(run("hourly-", "f1") == ("hourly-1", ["run.json"]), "the newest complete round of the profile")
    check(run("weekly-", "f2") == ("", []), "and none where there is none")
    shutil.rmtree(rounds / "hourly-1")
    check(run("hourly-", "f3") == ("hourly-2", ["run.json"]), "an incomplete one where no other is")


def notifying(w):
    """Who settles notifies: the notifiers' secrets come by name, and nothing else gets into the environment."""
    print("what settling notifies")
    script = ROOT / ".github/actions/baseline/settle.sh"
    bin, seen = w.work / "notifying", w.work / "notifying/seen"
    bin.mkdir()
    (bin / "mimawari").write_text(f'#!/bin/sh\nenv >"{seen}"\nexit 2\n')
    (bin / "mimawari").chmod(0o755)

    def run(variables):
        seen.unlink(missing_ok=True)
        env = w.machine | {"ROUNDS_URL": str(w.work / "rounds"), "ROUND_PREFIX": "hourly-", "CONFIG": "x", "BASELINE_DIR": "x",
                           "VERDICT_FILE": str(bin / "verdict.json"), "NOTIFY_ENVIRONMENT": variables,
                           "PATH": f"{bin}:{w.machine['PATH']}"}
        done = subprocess.run([script], env=env, text=True, capture_output=True, timeout=60)
        return done.stdout + done.stderr, seen.read_text().splitlines() if seen.exists() else None

    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:mimawari/all-AbCdEf:slack::"
    said, env = run(f"SLACK_WEBHOOK_URL={arn}\r\n\nHOOK_SECRET={arn}\n")
    check(env and {f"SLACK_WEBHOOK_URL={arn}", f"HOOK_SECRET={arn}"} <= set(env), "secrets are named to the program", said)
    check(run("")[1] is not None, "and need not be")
    for bad in ("SLACK_WEBHOOK_URL=https://hooks.example.invalid/not-a-secret", f"LD_PRELOAD={arn}", f"AWS_PROFILE={arn}", f"path={arn}", "x"):
        said, env = run(bad)
        check(env is None and "not-a-secret" not in said and "::error title=not settled::" in said, f"refused: {bad[:20]}", said)


def installation(w):
    print("the installation of the program")
    script = ROOT / ".github/actions/setup-mimawari/setup.sh"
    home = w.work / "setup"

    def run(path="", **more):
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        env = {"SETUP_VERSION": "1.4.0", "SETUP_SHA256": w.digest, "SETUP_REPOSITORY": TOOLS, "SETUP_PATH": "", "SETUP_ATTESTATION": "auto",
               "SETUP_ASSET": "mimawari-x86_64-unknown-linux-gnu.tar.gz", "GH_TOKEN": w.hub.token({"contents": "read"}),
               "GITHUB_API_URL": w.hub.url, "RUNNER_TEMP": str(home), "GITHUB_PATH": str(home / "path"), "GITHUB_OUTPUT": str(home / "out")}
        env = w.machine | env | {f"SETUP_{k}": v for k, v in more.items()}
        env["PATH"] = f"{path}:{env['PATH']}" if path else env["PATH"]
        done = subprocess.run([script], env=env, text=True, capture_output=True, timeout=60)
        installed = (home / "mimawari-bin/mimawari").exists()
        if (done.returncode == 0) != installed or (done.returncode == 0) != (home / "path").exists():
            check(False, "installed exactly if it succeeded", done.stdout + done.stderr)
        return done.returncode, done.stdout + done.stderr

    check(run()[0] == 0, "by version and SHA-256")
    check(run(ATTESTATION="require")[0] != 0, "an attestation that is required and cannot be verified stops it")
    for status, word in ((0, "verified"), (1, "refused")):
        bin = w.work / f"gh-{status}"
        bin.mkdir()
        (bin / "gh").write_text(f'#!/bin/sh\n[ "$1 $2 $4 $5" = "attestation verify --repo {TOOLS}" ] || exit 9\nexit {status}\n')
        (bin / "gh").chmod(0o755)
        check((run(path=bin, ATTESTATION="require")[0] == 0) == (status == 0), f"the attestation is {word} by gh")
    check(run(path=w.work / "gh-1", ATTESTATION="off")[0] == 0, "and not asked for where it is off")
    for what, more in {"another SHA-256": {"SHA256": "0" * 64}, "a SHA-256 in capitals": {"SHA256": "A" * 64}, "no SHA-256": {"SHA256": ""},
                       "a release that is not there": {"VERSION": "9.9.9"}, "a version that is a path": {"VERSION": "../1.4.0"},
                       "an asset that is not there": {"ASSET": "other.tar.gz"}, "an asset that is a path": {"ASSET": "../x"},
                       "a repository that is none": {"REPOSITORY": "x"}, "no version": {"VERSION": ""},
                       "a path to nothing": {"PATH": "/nonexistent"}}.items():
        status, said = run(**more)
        check(status != 0 and "::error title=setup-mimawari::" in said, f"refused: {what}", said)
    check(run(PATH=w.mimawari, VERSION="", SHA256="")[0] == 0, "by path")


def main():
    mimawari, moto, tools = sys.argv[1:]
    work = tempfile.mkdtemp(prefix="mimawari-workflows-")
    w = None
    try:
        w = World(mimawari, moto, tools, work)
        prepare(w)
        begin(w)
        branch = proposal(w)
        refusals(w, branch)
        merge(w, branch)
        prune(w)
        limits(w)
        folders(w)
        notifying(w)
        installation(w)
        print("the workflows did what they say")
    finally:
        if w:
            w.moto.terminate()
            w.moto.wait(timeout=10)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
