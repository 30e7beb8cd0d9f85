"""Runs workflow files as GitHub's runner would: resolves reusable workflows and composite actions, evaluates the
expressions, sets the GITHUB_* files, and executes every `run` step with bash. The three actions of others are stood in
for by what they are used for here, and their inputs are looked at.
"""

import json
import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from expressions import Strict, Unknown, condition, substitute, text

LEVEL = {"none": 0, "read": 1, "write": 2}


class Refused(Exception):
    """What GitHub would refuse before anything runs, or what a stand-in cannot accept."""


def load(path):
    found = yaml.safe_load(Path(path).read_text())
    # YAML 1.1 reads the key `on` as true.
    if True in found:
        found["on"] = found.pop(True)
    return found


@dataclass
class Step:
    name: str
    outcome: str
    log: str = ""
    outputs: dict = field(default_factory=dict)


@dataclass
class Job:
    name: str
    result: str
    steps: list = field(default_factory=list)
    summary: str = ""

    @property
    def log(self):
        return "".join(s.log for s in self.steps)

    def step(self, name):
        return next(s for s in self.steps if s.name == name)

    @property
    def annotations(self):
        """(level, {file, line, title}, text) of every workflow command that the runner would obey."""
        found, stopped = [], None
        for line in self.log.splitlines():
            line = line.strip()
            if stopped:
                stopped = None if line == f"::{stopped}::" else stopped
                continue
            if m := re.fullmatch(r"::stop-commands::(.+)", line):
                stopped = m.group(1)
            elif m := re.fullmatch(r"::(error|warning|notice)(?: ([^:]*))?::(.*)", line):
                properties = dict(p.split("=", 1) for p in (m.group(2) or "").split(",") if "=" in p)
                found.append((m.group(1), properties, m.group(3)))
        return found


class Runner:
    """
    hub: the fake GitHub. tools: (owner/name, sha, folder) of the reusable workflows. trust: for each role the subjects
    that may take it. variables: the repository's `vars`. environment: what the runner's machine has.
    """

    def __init__(self, hub, tools, server, trust, variables, environment, work):
        self.hub, self.tools, self.server, self.trust = hub, tools, server, trust
        self.variables, self.machine, self.work = variables, environment, Path(work)
        self.roles, self.alerts = [], []
        self.runs = 0

    # What starts

    def starts(self, workflow, event, changed=()):
        """Whether the event starts the workflow, by its `on`."""
        on = workflow["on"]
        on = {on: None} if isinstance(on, str) else dict.fromkeys(on) if isinstance(on, list) else on
        if event["name"] not in on:
            return False
        filters = on[event["name"]] or {}
        if event["name"] == "schedule":
            return True
        if "branches" in filters and event["ref_name"] not in filters["branches"]:
            return False
        if "paths" in filters:
            patterns = [re.compile(re.escape(p).replace(r"\*\*", ".*").replace(r"\*", "[^/]*") + "$") for p in filters["paths"]]
            return any(p.match(c) for c in changed for p in patterns)
        return True

    def run(self, path, event, secrets_given=None):
        """Every job of a workflow file, in order of `needs`. Returns {name: Job}."""
        workflow = load(path)
        self.runs += 1
        if workflow.get("permissions") != {}:
            raise Refused(f"{path}: the workflow's own permissions are not empty")
        context = self.context(event)
        out = {}
        for id, job in workflow["jobs"].items():
            allowed = job.get("permissions", {})
            if not condition(job.get("if"), context | {"needs": Strict()}, "success"):
                out[id] = Job(id, "skipped")
                continue
            if "uses" not in job:
                out[id] = self.job(id, job, context, {}, allowed, workflow, event)
                continue
            m = re.fullmatch(r"([^/]+/[^/]+)/(\.github/workflows/[a-z-]+\.yml)@([0-9a-f]{40})", job["uses"])
            if not m or (m.group(1), m.group(3)) != self.tools[:2]:
                raise Refused(f"{path}: {job['uses']} is not of {self.tools[:2]}")
            called = load(self.tools[2] / m.group(2))
            out.update(self.call(id, called, job, context, allowed, event, secrets_given or {}))
        return out

    def call(self, caller, called, job, context, allowed, event, secrets_given):
        declared = called["on"]["workflow_call"]
        given = {k: substitute(v, context) for k, v in (job.get("with") or {}).items()}
        inputs = Strict()
        for name, value in given.items():
            if name not in declared["inputs"]:
                raise Refused(f"{caller}: there is no input {name}")
            kind = declared["inputs"][name]["type"]
            if not isinstance(value, {"string": str, "boolean": bool, "number": int}[kind]) and value is not None:
                raise Refused(f"{caller}: the input {name} is no {kind}: {value!r}")
        for name, about in declared["inputs"].items():
            if about.get("required") and name not in given:
                raise Refused(f"{caller}: the input {name} is missing")
            value = given[name] if name in given else about.get("default")
            inputs[name] = "" if value is None else value
        passed = Strict(dict.fromkeys(declared.get("secrets") or {}, ""))
        for name in job.get("secrets") or {}:
            if name not in passed:
                raise Refused(f"{caller}: there is no secret {name}")
            passed[name] = text(substitute(job["secrets"][name], context | {"secrets": secrets_given}))
        here = context | {"inputs": inputs, "secrets": passed}
        here["job"] = Strict(workflow_repository=self.tools[0], workflow_sha=self.tools[1])
        out = {}
        for id, inner in called["jobs"].items():
            wanted = inner["permissions"]
            for name, level in wanted.items():
                if LEVEL[level] > LEVEL[allowed.get(name, "none")]:
                    raise Refused(f"{caller}/{id} asks for {name}: {level}, and is only allowed {allowed.get(name, 'none')}")
            needs = inner.get("needs") or []
            needs = [needs] if isinstance(needs, str) else needs
            before = [out[f"{caller}/{n}"].result for n in needs]
            status = "success" if all(r == "success" for r in before) else "skipped"
            if not condition(inner.get("if"), here, status):
                out[f"{caller}/{id}"] = Job(id, "skipped")
                continue
            out[f"{caller}/{id}"] = self.job(id, inner, here, wanted, wanted, called, event)
        return out

    def context(self, event):
        github = Strict(
            event_name=event["name"], event=event["payload"], repository=self.hub.repository, ref=event["ref"],
            ref_name=event["ref_name"], sha=event["sha"], server_url=self.server, api_url=self.hub.url, run_id=str(7000 + self.runs),
        )
        return {"github": github, "vars": self.variables, "env": {}}

    # A job

    def job(self, id, job, context, _, permissions, workflow, event):
        if not isinstance(job.get("timeout-minutes"), int):
            raise Refused(f"{id}: no timeout")
        root = self.work / f"run-{self.runs}-{id}"
        shutil.rmtree(root, ignore_errors=True)
        workspace, temp, home = root / "workspace", root / "temp", root / "home"
        for folder in (workspace, temp, home):
            folder.mkdir(parents=True)
        granted = permissions
        if event.get("fork"):
            # What GitHub leaves of a fork's token.
            granted = {n: "read" for n in permissions if n != "id-token"}
        token = self.hub.token(granted)
        (temp / "event.json").write_text(json.dumps(event["payload"]))
        github = Strict(context["github"] | {"token": token, "workspace": str(workspace)})
        context = context | {"github": github, "steps": Strict(), "runner": Strict(temp=str(temp), os="Linux")}
        state = {
            "env": dict(self.machine) | {
                "HOME": str(home), "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(workspace), "RUNNER_TEMP": str(temp),
                "RUNNER_OS": "Linux", "GITHUB_REPOSITORY": self.hub.repository, "GITHUB_SERVER_URL": self.server,
                "GITHUB_API_URL": self.hub.url, "GITHUB_EVENT_NAME": event["name"], "GITHUB_EVENT_PATH": str(temp / "event.json"),
                "GITHUB_SHA": event["sha"], "GITHUB_REF": event["ref"], "GITHUB_REF_NAME": event["ref_name"],
                "GITHUB_RUN_ID": str(7000 + self.runs),
            },
            "permissions": granted, "event": event, "workspace": workspace, "temp": temp, "path": [], "status": "success",
            "shell": job.get("defaults", workflow.get("defaults", {})).get("run", {}).get("shell"),
        }
        result = Job(id, "success")
        for at, step in enumerate(job["steps"]):
            self.step(step, at, context, state, result)
        result.result = state["status"]
        summary = temp / "summary"
        result.summary = summary.read_text() if summary.exists() else ""
        if len(result.summary.encode()) > 1024 * 1024:
            raise Refused(f"{id}: a summary of more than 1 MiB")
        for held in [*list(self.hub.tokens), self.machine_secret(state)]:
            if held and (held in result.log or held in result.summary):
                raise Refused(f"{id}: a secret in the log")
        return result

    @staticmethod
    def machine_secret(state):
        return state["env"].get("AWS_SECRET_ACCESS_KEY")

    def step(self, step, at, context, state, result, prefix=""):
        name = prefix + step.get("name", step.get("uses", f"step {at}"))
        if not condition(step.get("if"), context, state["status"]):
            done = Step(name, "skipped")
        else:
            env = {k: text(substitute(v, context)) for k, v in (step.get("env") or {}).items()}
            done = self.uses(step, name, env, context, state, result) if "uses" in step else self.bash(step, name, env, context, state)
        result.steps.append(done)
        if "id" in step:
            conclusion = "success" if done.outcome == "failure" and step.get("continue-on-error") else done.outcome
            context["steps"][step["id"]] = {"outcome": done.outcome, "conclusion": conclusion, "outputs": done.outputs}
        if done.outcome == "failure" and not step.get("continue-on-error"):
            state["status"] = "failure"
        return done

    def bash(self, step, name, env, context, state):
        command = substitute(step["run"], context)
        if "${{" in step["run"]:
            raise Refused(f"{name}: an expression inside of a script")
        shell = step.get("shell", state["shell"])
        shell = "bash --noprofile --norc -eo pipefail {0}" if shell == "bash" else shell
        if not shell:
            raise Refused(f"{name}: no shell")
        files = {n: state["temp"] / f"{n.lower()}-{secrets.token_hex(4)}" for n in ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH")}
        for f in files.values():
            f.touch()
        script = state["temp"] / f"{secrets.token_hex(6)}.sh"
        script.write_text(command + "\n")
        full = state["env"] | env | {n: str(f) for n, f in files.items()}
        full["GITHUB_STEP_SUMMARY"] = str(state["temp"] / "summary")
        full["PATH"] = ":".join([*reversed(state["path"]), self.machine["PATH"]])
        where = state["workspace"] / (step.get("working-directory") or ".")
        done = subprocess.run([p.replace("{0}", str(script)) for p in shell.split()], cwd=where, env=full, text=True, errors="replace",
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=180)
        for line in files["GITHUB_PATH"].read_text().splitlines():
            state["path"].append(line)
        state["env"].update(self.file(files["GITHUB_ENV"]))
        return Step(name, "success" if done.returncode == 0 else "failure", done.stdout, self.file(files["GITHUB_OUTPUT"]))

    @staticmethod
    def file(path):
        out = {}
        for line in path.read_text().splitlines():
            key, eq, value = line.partition("=")
            if not eq or "<<" in key:
                raise Refused(f"not understood in {path.name}: {line!r}")
            out[key] = value
        return out

    # What others' actions are used for

    def uses(self, step, name, env, context, state, result):
        given = {k: substitute(v, context) for k, v in (step.get("with") or {}).items()}
        target = step["uses"]
        if target.startswith("$/"):
            return self.composite(self.tools[2] / target[2:], given, name, context, state, result)
        m = re.fullmatch(r"([\w-]+/[\w-]+)(/[\w-]+)?@[0-9a-f]{40}", target)
        if not m:
            raise Refused(f"{name}: {target} is not pinned")
        action = m.group(1) + (m.group(2) or "")
        known = {"actions/checkout": self.checkout, "aws-actions/configure-aws-credentials": self.role,
                 "github/codeql-action/upload-sarif": self.sarif}
        try:
            return Step(name, "success", known[action](given, state) or "")
        except AssertionError as e:
            return Step(name, "failure", f"{name}: {e}\n")

    def composite(self, folder, given, name, context, state, result):
        action = load(folder / "action.yml")
        for key in given:
            if key not in action["inputs"]:
                raise Refused(f"{name}: there is no input {key}")
        inputs = Strict({k: text(given.get(k, about.get("default", ""))) for k, about in action["inputs"].items()})
        inner = context | {"inputs": inputs, "steps": Strict()}
        inner["github"] = Strict(context["github"] | {"action_path": str(folder)})
        # A composite action sees no secrets and no job but what is handed to it.
        for hidden in ("secrets", "job", "vars"):
            inner.pop(hidden, None)
        held = state["status"]
        for at, step in enumerate(action["runs"]["steps"]):
            if step.get("shell") != "bash" and "run" in step:
                raise Refused(f"{name}: a step of a composite action without a shell")
            self.step(step, at, inner, state, result, prefix=f"{name}: ")
        outcome, state["status"] = state["status"], held
        outputs = {k: substitute(v["value"], inner) if self.there(v["value"], inner) else "" for k, v in action["outputs"].items()}
        return Step(name, outcome, "", outputs)

    @staticmethod
    def there(value, context):
        try:
            substitute(value, context)
            return True
        except Unknown:
            return False

    def checkout(self, given, state):
        assert given.get("persist-credentials") is False, "credentials would be left in the repository"
        assert not set(given) - {"persist-credentials", "fetch-depth"}, f"unexpected inputs: {given}"
        assert LEVEL[state["permissions"].get("contents", "none")] >= 1, "may not read contents"
        depth, event = given.get("fetch-depth", 1), state["event"]
        git = ["git", "-c", "protocol.file.allow=always", "-C", str(state["workspace"])]
        env = dict(self.machine) | {"HOME": str(state["temp"])}

        def call(*args):
            done = subprocess.run([*git, *args], env=env, text=True, capture_output=True)
            assert done.returncode == 0, f"git {args}: {done.stderr}"

        call("init", "--quiet")
        url = f"{self.server}/{self.hub.repository}.git"
        call("fetch", "--quiet", "--no-tags", *(["--depth", str(depth)] if depth else []), url, event["ref"])
        if event["name"] == "pull_request":
            call("checkout", "--quiet", "--detach", "FETCH_HEAD")
        else:
            call("checkout", "--quiet", "-B", event["ref_name"], "FETCH_HEAD")

    def role(self, given, state):
        assert state["permissions"].get("id-token") == "write", "no id-token: write"
        arn, event = given["role-to-assume"], state["event"]
        assert re.fullmatch(r"arn:aws:iam::\d{12}:role/[\w+=,.@/-]+", arn or ""), f"no role: {arn!r}"
        assert given.get("aws-region"), "no region"
        subject = f"repo:{self.hub.repository}:" + ("pull_request" if event["name"] == "pull_request" else f"ref:{event['ref']}")
        assert subject in self.trust.get(arn, ()), f"{arn} does not trust {subject}"
        self.roles.append((arn, subject))
        state["env"].update(AWS_ACCESS_KEY_ID="AKIDNOTASECRET", AWS_SECRET_ACCESS_KEY="not-a-secret-of-the-role",
                            AWS_SESSION_TOKEN="not-a-session", AWS_REGION=given["aws-region"], AWS_DEFAULT_REGION=given["aws-region"])

    def sarif(self, given, state):
        assert state["permissions"].get("security-events") == "write", "no security-events: write"
        assert set(given) == {"sarif_file", "checkout_path", "category"}, f"unexpected inputs: {given}"
        found = json.loads(Path(given["sarif_file"]).read_text())
        assert found["version"] == "2.1.0", "no SARIF 2.1.0"
        self.alerts.append(found)
