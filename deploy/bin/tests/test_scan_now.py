"""scan-now against moto's Step Functions and S3, on loopback, in a network namespace with no way out.

The state machines have the states and the input and output of deploy/stepfunctions; what runs a task there is a Pass
here. Environment: MOTO (moto_server), AWS (the CLI), MIMAWARI (the program). UPDATE=1 writes the snapshots anew.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request

import boto3

HERE = pathlib.Path(__file__).resolve().parent
SCRIPT = HERE.parent / "scan-now"
MOTO = os.environ["MOTO"]
AWS = pathlib.Path(os.environ["AWS"])
MIMAWARI = pathlib.Path(os.environ["MIMAWARI"]).resolve()
REGION = "eu-central-1"
ROUND = re.compile(r"now-\d{8}T\d{6}Z-tester-[0-9a-f]{8}")
CLEAN = {
    "version": 1, "exit": 0, "incomplete": False, "headline": "CLEAN: nothing open that is not agreed",
    "run_id": "20261124T150000Z-0000", "suspect": False, "shards": 3, "counts": {"open": 0, "allowed": 12, "new": 0},
    "coverage": {
        "cells_planned": 189, "cells_covered": 189, "recall_estimate": 0.99995, "recall_interval": [0.9998, 1.0],
        "recall_promised": 0.9999, "checks_planned": 171, "checks_covered": 171, "not_covered": [],
    },
    "missing_shards": [],
}
DRIFT = CLEAN | {
    "exit": 1, "headline": "DRIFT: 4 findings, 2 new", "counts": {"open": 3, "missing": 1, "new": 2},
}
GAP = CLEAN | {
    "exit": 3, "incomplete": True, "headline": "INCOMPLETE: 1 of 4 shards is missing",
    "suspect": True, "missing_shards": ["2/4"],
    "coverage": CLEAN["coverage"] | {
        "cells_covered": 142, "recall_estimate": None, "recall_interval": None,
        "not_covered": ["47 cells of shard 2/4 were not probed.", "1 of 2 canaries did not answer."],
    },
}
# Colours, a title, a line of its own, a command of GitHub Actions, right-to-left, an 8-bit CSI.
HOSTILE = "\x1b[31mDRIFT\x1b]0;x\x07\r\n::error::fake \u202egnp.exe\u009b2J \U0001f600 \"q\" \\ $(id) `id`"


def machine_text(*, result=None, fail=None, seconds=0, reduce=0):
    """ASL of a round: Plan, three shards, Reduce, ReadResult, and its end. Seconds: of a shard, of Reduce."""
    shard = {"Scan": {"Type": "Pass", "End": True}}
    if seconds:
        shard = {"Scan": {"Type": "Wait", "Seconds": seconds, "End": True}}
    states = {
        "Plan": {"Type": "Pass", "Result": {"shards": ["1/3", "2/3", "3/3"]}, "ResultPath": "$.plan", "Next": "Shards"},
        "Shards": {
            "Type": "Map", "ItemsPath": "$.plan.shards", "MaxConcurrency": 1, "ResultPath": "$.scanned",
            "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "Scan", "States": shard},
            "Next": "Reduce",
        },
        "Reduce": {"Type": "Pass", "Next": "ReadResult"},
        "ReadResult": {"Type": "Pass", "Next": "End"},
        "End": {"Type": "Succeed"},
    }
    if reduce:
        states["Reduce"] = {"Type": "Wait", "Seconds": reduce, "Next": "ReadResult"}
    if result is not None:
        states["ReadResult"]["Parameters"] = {"round.$": "$.round"} | result
    if fail:
        states["End"] = {"Type": "Fail", "Error": fail[0], "Cause": fail[1]}
    return json.dumps({"StartAt": "Plan", "States": states})


class ScanNow(unittest.TestCase):
    """Each case: what is printed (snapshot), and the exit status."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            cls.port = s.getsockname()[1]
        cls.endpoint = f"http://127.0.0.1:{cls.port}"
        cls.log = tempfile.TemporaryFile()
        recording = tempfile.NamedTemporaryFile()
        cls.addClassCleanup(recording.close)
        cls.server = subprocess.Popen(
            [MOTO, "-H", "127.0.0.1", "-p", str(cls.port)], stdout=cls.log, stderr=cls.log,
            env=os.environ | {"MOTO_RECORDER_FILEPATH": recording.name},
        )
        cls.addClassCleanup(cls.stop)
        until = time.monotonic() + 60
        while True:
            try:
                cls.moto("/moto-api/config", b'{"stepfunctions":{"execute_state_machine":true}}')
                break
            except OSError:
                if cls.server.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.1)
        session = boto3.Session("testing", "testing", region_name=REGION)
        cls.sfn = session.client("stepfunctions", endpoint_url=cls.endpoint)
        cls.s3 = session.client("s3", endpoint_url=cls.endpoint)
        cls.s3.create_bucket(Bucket="corp-scan", CreateBucketConfiguration={"LocationConstraint": REGION})

    @classmethod
    def stop(cls):
        cls.server.terminate()
        cls.server.wait(20)
        cls.log.close()

    @classmethod
    def moto(cls, path, body):
        request = urllib.request.Request(cls.endpoint + path, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read().decode()

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "patrol.toml").write_text(
            'version = 1\n[scope]\nallow = ["198.51.100.0/24", "2001:db8:10::/120"]\ndeny = ["198.51.100.1"]\n'
            'authorised_by = "SEC-0000"\n[scan]\nports = "22,80,443"\n'
        )
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        (self.bin / "aws").symlink_to(AWS.absolute())
        (self.bin / "mimawari").symlink_to(MIMAWARI)
        self.env = {
            "PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.folder), "USER": "tester",
            "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": self.endpoint, "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "2",
        }

    def machine(self, name=None, tags=(), **what):
        arn = self.sfn.create_state_machine(
            name=name or self.id().rsplit(".", 1)[1].removeprefix("test_"),
            definition=machine_text(**what), roleArn="arn:aws:iam::123456789012:role/rounds",
            tags=[{"key": k, "value": v} for k, v in tags],
        )["stateMachineArn"]
        self.addCleanup(self.sfn.delete_state_machine, stateMachineArn=arn)
        self.env["MIMAWARI_STATE_MACHINE"] = arn
        return arn

    def run_it(self, *arguments, stdin="", **env):
        self.process = subprocess.run(
            [SCRIPT, "--poll", "0.2", *arguments], cwd=self.folder, env=self.env | env, input=stdin,
            capture_output=True, text=True, errors="surrogateescape", timeout=120, start_new_session=True,
        )
        return self.process

    def shown(self, process):
        text = f"exit {process.returncode}\n-- stdout\n{process.stdout}-- stderr\n{process.stderr}"
        # Whatever happens, nothing but printable ASCII (and the quotation marks of our own help) is on the screen.
        self.assertRegex(text, re.compile(r"\A[\n -~“”…]*\Z"))
        text = ROUND.sub("ROUND", text).replace(self.endpoint, "ENDPOINT")
        text = re.sub(r"http://127\.0\.0\.1:\d+", "NOWHERE", text)
        text = text.replace(str(self.folder), "FOLDER")
        text = re.sub(r"ENDPOINT/(\S+)\?\S+", r"ENDPOINT/\1?SIGNED", text)
        text = re.sub(r"about \d+ packets", "about N packets", text)
        text = re.sub(r"execution:(\w+):e\d+", r"execution:\1:NAME", text)
        return re.sub(r"about \d+ s of sweep each, [\d.]+ USD", "about N s of sweep each, N USD", text)

    def check(self, process, status, snapshot=None):
        text = self.shown(process)
        path = HERE / "snapshots" / f"{snapshot or self.id().rsplit('.', 1)[1].removeprefix('test_')}.txt"
        if os.environ.get("UPDATE"):
            path.write_text(text)
        self.assertEqual(text, path.read_text(), path.name)
        self.assertEqual(process.returncode, status)

    def put(self, body, round_id, url="rounds"):
        body = body if isinstance(body, bytes) else json.dumps(body | {"round": round_id}).encode()
        self.s3.put_object(Bucket="corp-scan", Key=f"{url}/{round_id}/result.json", Body=body)

    def knows_rounds(self):
        """Whether the program is of a version whose configuration may have [rounds]."""
        return subprocess.run([MIMAWARI, "round", "--help"], capture_output=True).returncode == 0

    def rounds_table(self, url):
        return f'[rounds]\nurl = "{url}"\n' if self.knows_rounds() else ""

    def rounds_flag(self, url):
        return [] if self.knows_rounds() else ["--rounds", url]

    def execution(self, arn):
        found = self.sfn.list_executions(stateMachineArn=arn)["executions"]
        self.assertEqual(len(found), 1, found)
        return self.sfn.describe_execution(executionArn=found[0]["executionArn"])

    def follow(self, arn, round_id, *arguments, result=None):
        """A round that was started before, whose result is put where the round keeps it."""
        run = self.sfn.start_execution(
            stateMachineArn=arn, name=f"e{time.monotonic_ns()}", input=json.dumps({"round": round_id})
        )["executionArn"]
        if result is not None:
            self.put(result, round_id)
        return self.run_it("--follow", run, "--rounds", "s3://corp-scan/rounds", *arguments)

    # ---- what a round may come to

    def test_clean(self):
        arn = self.machine(result=CLEAN)
        self.check(self.run_it("198.51.100.0/26", "--ports", "22,80", "--tier", "2", "--shards", "3"), 0)
        execution = self.execution(arn)
        self.assertEqual(json.loads(execution["input"]), {
            "profile": "manual", "round": execution["name"], "shards": 3, "targets": "198.51.100.0/26",
            "ports": "22,80", "tier": "2",
        })

    def test_drift(self):
        report = "s3://corp-scan/rounds/R/run/report.html"
        self.machine(result=DRIFT | {"report": report})
        self.check(self.run_it("198.51.100.0/26", "2001:db8:10::7"), 1)

    def test_drift_with_its_report(self):
        arn = self.machine(fail=("Drift", "a machine that fails on drift"))
        report = "s3://corp-scan/rounds/now-x/run/report.html"
        process = self.follow(arn, "now-x", result=DRIFT | {"report": report})
        self.assertIn(f"{self.endpoint}/corp-scan/rounds/now-x/run/report.html?", process.stdout)
        self.check(process, 1)
        without = self.follow(arn, "now-x", "--no-presign", result=DRIFT | {"report": report})
        self.assertNotIn("ignature", without.stdout)

    def test_hostile(self):
        self.machine(result=DRIFT | {"headline": HOSTILE, "counts": {HOSTILE: HOSTILE}, "missing_shards": [HOSTILE]})
        self.check(self.run_it("198.51.100.7"), 1)
        for awk in ("mawk", "gawk", "busybox"):
            if path := shutil.which(awk):
                (self.bin / "awk").unlink(missing_ok=True)
                if awk == "busybox":
                    (self.bin / "awk").write_text(f'#!/bin/sh\nexec {path} awk "$@"\n')
                    (self.bin / "awk").chmod(0o755)
                else:
                    (self.bin / "awk").symlink_to(path)
                with self.subTest(awk):
                    self.check(self.run_it("198.51.100.7"), 1)
                    process = self.run_it("198.51.100.7", "--json")
                    self.assertTrue(process.stdout.isascii() and process.stdout.count("\n") == 1)
                    result = json.loads(process.stdout)
                    self.assertEqual(result["result"]["headline"], HOSTILE)
                    self.assertEqual((result["exit"], result["status"], result["report_url"]), (1, "SUCCEEDED", None))
                    self.assertEqual(process.returncode, 1)

    def test_incomplete(self):
        # The configuration says where the rounds are; the result is there before the machine ends.
        arn = self.machine(fail=("Incomplete", "shards are missing"), seconds=2)
        with (self.folder / "patrol.toml").open("a") as config:
            config.write('[state]\nurl = "s3://corp-scan/state"\n' + self.rounds_table("s3://corp-scan/configured"))
        process = self.start("198.51.100.0/26", "--shards", "4", *self.rounds_flag("s3://corp-scan/configured"))
        name = self.started(arn)["name"]
        self.put(GAP, name, url="configured")
        self.check(self.end(process), 3)

    def test_missing_shard_is_never_clean(self):
        self.machine(result=CLEAN | {"missing_shards": [f"{n}/30" for n in range(2, 30)]})
        self.check(self.run_it("198.51.100.7"), 3)

    def test_incomplete_is_never_clean(self):
        for n, lie in enumerate(({"incomplete": True}, {"incomplete": "no"}, {"incomplete": None})):
            self.machine(name=f"lie{n}", result=CLEAN | lie)
            with self.subTest(lie):
                self.assertEqual(self.run_it("198.51.100.7").returncode, 3)

    def test_failed(self):
        self.machine(fail=("TaskFailed", HOSTILE + "x" * 3000))
        self.check(self.run_it("198.51.100.7", "--rounds", "s3://corp-scan/rounds"), 2)

    def test_failed_though_the_result_is_clean(self):
        arn = self.machine(fail=("Broken", "after the reduce"))
        self.check(self.follow(arn, "now-y", result=CLEAN), 2)

    def test_no_result_of_this_round(self):
        arn = self.machine(fail=("Incomplete", ""))
        good = json.dumps(GAP | {"round": "now-z"}).encode()
        wrong = {
            "another round": good.replace(b"now-z", b"now-a"), "no JSON": b"<html>", "empty": b"", "cut": good[:-1],
            "twice": good[:-1] + b', "exit": 0}', "more": good + b" {}", "version": good.replace(b'"version": 1', b'"version": 2'),
            "exit": good.replace(b'"exit": 3', b'"exit": 77'), "deep": b"[" * 5000, "long": good + b" " * 300000,
            "control": good.replace(b"INCOMPLETE", b"\x1b[2J"), "nul": good.replace(b"INCOMPLETE", b"\x00"),
            "unterminated": good[:30] + b'"\\', "not a string": b'{"a\\ud83": 1}',
        }
        for what, body in wrong.items():
            with self.subTest(what):
                self.assertNotEqual(body, good)
                process = self.follow(arn, "now-z", result=body)
                self.assertEqual(process.returncode, 2, self.shown(process))
                self.assertIn("NO RESULT", process.stdout)
        self.assertEqual(self.follow(arn, "now-z", result=good).returncode, 3)

    def test_a_scheduled_round_is_followed(self):
        arn = self.machine(fail=("Incomplete", ""))
        run = self.sfn.start_execution(
            stateMachineArn=arn, name="0b5c", input='{"round":"hourly-2026-11-24T15:00:00Z"}'
        )["executionArn"]
        self.put(GAP, "hourly-2026-11-24T15-00-00Z")
        self.check(self.run_it("--follow", run, "--rounds", "s3://corp-scan/rounds"), 3)

    def test_workflow(self):
        # The step of the workflow, as the runner starts it: commands in a result are shown, and not obeyed.
        import yaml

        text = (HERE.parents[1] / "baseline-repo/.github/workflows/scan-now.yml").read_text()
        self.assertNotIn("${{", yaml.safe_load(text)["jobs"]["scan"]["steps"][-1]["run"])
        (self.folder / "step.sh").write_text(yaml.safe_load(text)["jobs"]["scan"]["steps"][-1]["run"])
        (self.folder / "mimawari").symlink_to(HERE.parents[2])
        self.machine(result=DRIFT | {"headline": "::error::fake", "counts": {"new": "```\n</pre>"}})
        for ranges, status in (("198.51.100.7, 198.51.100.9", 1), ("203.0.113.1", 2), ("198.51.100.7 $(touch x);", 2)):
            summary = self.folder / "summary.md"
            summary.unlink(missing_ok=True)
            process = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", self.folder / "step.sh"], cwd=self.folder,
                env=self.env | {
                    "RUNNER_TEMP": str(self.folder), "GITHUB_STEP_SUMMARY": str(summary), "RANGES": ranges,
                    "PORTS": "", "TIER": "as configured",
                }, capture_output=True, text=True, timeout=120,
            )
            self.assertEqual(process.returncode, status, process.stderr)
            lines = process.stdout.splitlines()
            self.assertEqual(f"::{lines[0].removeprefix('::stop-commands::')}::", lines[-1])
            self.assertIn(f"exit status {status}", summary.read_text().splitlines()[0])
            for line in summary.read_text().splitlines()[2:]:
                self.assertTrue(line == "" or line.startswith(("    ", "Refused")), line)
            self.assertFalse((self.folder / "x").exists())
            self.assertEqual("::error::fake" in summary.read_text(), status == 1)

    # ---- what is refused before anything starts

    def test_refused(self):
        arn = self.machine(result=CLEAN)
        self.moto("/moto-api/recorder/reset-recording", b"")
        self.moto("/moto-api/recorder/start-recording", b"")
        process = self.run_it("198.51.100.0/26", "203.0.113.0/28")
        denied = self.run_it("198.51.100.1")
        # What the environment says for scans changes nothing here.
        widened = self.run_it("203.0.113.9", MIMAWARI_TARGETS="198.51.100.0/26", MIMAWARI_EXIT_ZERO="1")
        recorded = self.moto("/moto-api/recorder/download-recording", None)
        self.assertEqual(recorded, "")
        self.check(process, 2)
        self.check(denied, 2, "refused_denied")
        self.check(widened, 2, "refused_widened")
        # The same with the configuration in S3: it is read, and nothing is started.
        config = (self.folder / "patrol.toml").read_bytes()
        self.s3.put_object(Bucket="corp-scan", Key="config/patrol.toml", Body=config)
        (self.folder / "patrol.toml").unlink()
        stored = self.run_it("-c", "s3://corp-scan/config/patrol.toml", "203.0.113.0/28")
        missing = self.run_it("-c", "s3://corp-scan/config/other.toml", "198.51.100.7")
        none = self.run_it("198.51.100.7")
        recorded = self.moto("/moto-api/recorder/download-recording", None)
        self.moto("/moto-api/recorder/stop-recording", b"")
        self.assertIn("/config", recorded)
        self.assertNotIn("AWSStepFunctions", recorded)
        self.check(stored, 2, "refused_by_the_scope_in_s3")
        self.check(missing, 2, "no_configuration_in_s3")
        self.check(none, 2, "no_configuration")
        self.assertEqual(self.sfn.list_executions(stateMachineArn=arn)["executions"], [])
        # And that recording would have shown it.
        self.moto("/moto-api/recorder/reset-recording", b"")
        self.moto("/moto-api/recorder/start-recording", b"")
        self.assertEqual(self.run_it("-c", "s3://corp-scan/config/patrol.toml", "198.51.100.7").returncode, 0)
        self.assertIn("AWSStepFunctions.StartExecution", self.moto("/moto-api/recorder/download-recording", None))
        self.moto("/moto-api/recorder/stop-recording", b"")

    def test_no_program(self):
        arn = self.machine(result=CLEAN)
        (self.bin / "mimawari").unlink()
        self.check(self.run_it("198.51.100.7"), 2)
        self.assertEqual(self.sfn.list_executions(stateMachineArn=arn)["executions"], [])

    def test_image(self):
        self.machine(result=CLEAN)
        (self.bin / "mimawari").unlink()
        (self.bin / "docker").write_text(
            f'#!/bin/bash\nprintf "%s\\n" "$*" >{self.folder}/docker.args\n'
            'while [ "$1" != img@sha256:00 ]; do [ "$1" != -v ] || from=${2%:/config:ro}; shift; done; shift\n'
            f'exec {MIMAWARI} "${{@/#\\/config/$from}}"\n'
        )
        (self.bin / "docker").chmod(0o755)
        self.assertEqual(self.run_it("198.51.100.7", "--image", "img@sha256:00").returncode, 0, self.process.stderr)
        self.assertIn("--network none --read-only", (self.folder / "docker.args").read_text())
        self.check(self.run_it("203.0.113.1", "--image", "img@sha256:00"), 2)

    def test_check_only(self):
        arn = self.machine(result=CLEAN)
        self.check(self.run_it("--check", "--all"), 0)
        self.assertEqual(self.sfn.list_executions(stateMachineArn=arn)["executions"], [])

    def test_usage(self):
        arn = self.machine(result=CLEAN)
        text = ""
        for arguments in (
            [], ["www.example.jp"], ["198.51.100.7;id"], ["@/etc/passwd"], ["--tier", "4", "198.51.100.7"],
            ["--shards", "0", "198.51.100.7"], ["--ports", "22\"", "198.51.100.7"], ["--bogus"], ["--ports"],
            ["--json=yes", "198.51.100.7"], ["--all", "198.51.100.7"], ["--state-machine", "x", "198.51.100.7"],
            ["--rounds", "file:///etc", "198.51.100.7"], ["--profile", "a b", "198.51.100.7"], ["--follow", "x"],
            ["198.51.100.300"], ["198.51.100.0/33"], ["--ports", "70000", "198.51.100.7"], ["--", "-x"],
            ["\x1b[2J\u202e"],
        ):
            process = self.run_it(*arguments)
            self.assertEqual(process.returncode, 2, arguments)
            text += f"$ scan-now {arguments!a}\n{self.shown(process)}"
        path = HERE / "snapshots" / "usage.txt"
        if os.environ.get("UPDATE"):
            path.write_text(text)
        self.assertEqual(text, path.read_text())
        self.assertEqual(self.sfn.list_executions(stateMachineArn=arn)["executions"], [])
        process = self.run_it("--help")
        self.assertEqual((process.returncode, process.stderr), (0, ""))
        self.assertIn("--state-machine", process.stdout)

    def test_too_many(self):
        arn = self.machine(result=CLEAN)
        self.check(self.run_it("-", stdin="".join(f"2001:db8:10::{n:x}\n" for n in range(1, 256)) * 3), 2)
        self.check(self.run_it("-", stdin="# a comment\n" * 6000 + "198.51.100.7\n"), 2, "too_long")
        self.assertEqual(self.sfn.list_executions(stateMachineArn=arn)["executions"], [])

    def test_stdin(self):
        arn = self.machine(result=CLEAN)
        process = self.run_it("-", "198.51.100.9", stdin="# new\n198.51.100.2, 198.51.100.3 # two\n\n198.51.100.4-198.51.100.5")
        self.assertEqual(process.returncode, 0, process.stderr)
        self.assertEqual(
            json.loads(self.execution(arn)["input"])["targets"],
            "198.51.100.2,198.51.100.3,198.51.100.4-198.51.100.5,198.51.100.9",
        )

    # ---- the machine by its tag

    def test_by_tag(self):
        del_env = self.env.pop
        self.machine(name="other", result=CLEAN, tags=[("Service", "mimawari")])
        del_env("MIMAWARI_STATE_MACHINE")
        self.check(self.run_it("198.51.100.7"), 2, "by_tag_none")
        arn = self.machine(name="a-round", result=CLEAN, tags=[("Service", "mimawari")])
        del_env("MIMAWARI_STATE_MACHINE")
        self.assertEqual(self.run_it("198.51.100.7").returncode, 0)
        self.assertEqual(self.execution(arn)["status"], "SUCCEEDED")
        self.machine(name="b-round", result=CLEAN, tags=[("Service", "mimawari")])
        del_env("MIMAWARI_STATE_MACHINE")
        self.check(self.run_it("198.51.100.7"), 2, "by_tag_several")

    # ---- what goes wrong on the way

    def test_unreachable(self):
        self.machine(result=CLEAN)
        with socket.socket() as s:  # bound and not listening: refused
            s.bind(("127.0.0.1", 0))
            self.check(self.run_it("198.51.100.7", AWS_ENDPOINT_URL=f"http://127.0.0.1:{s.getsockname()[1]}"), 2)

    def test_no_credentials(self):
        self.machine(result=CLEAN)
        del self.env["AWS_ACCESS_KEY_ID"], self.env["AWS_SECRET_ACCESS_KEY"]
        self.check(self.run_it("198.51.100.7"), 2)

    def test_wrong_credentials(self):
        arn = self.machine(result=CLEAN)
        self.moto("/moto-api/reset-auth", b"0")
        try:
            process = self.run_it("198.51.100.7")
        finally:
            self.moto("/moto-api/reset-auth", b"inf")
        self.check(process, 2)
        self.assertEqual(self.sfn.list_executions(stateMachineArn=arn)["executions"], [])

    def test_no_such_machine(self):
        self.env["MIMAWARI_STATE_MACHINE"] = f"arn:aws:states:{REGION}:123456789012:stateMachine:gone"
        self.check(self.run_it("198.51.100.7"), 2)

    # ---- waiting

    def start(self, *arguments):
        return subprocess.Popen(
            [SCRIPT, "--poll", "0.2", *arguments], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )

    def end(self, process):
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess([], process.returncode, out, err)

    def started(self, arn):
        until = time.monotonic() + 60
        while not (found := self.sfn.list_executions(stateMachineArn=arn)["executions"]):
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)
        return found[0]

    def until(self, process, begin):
        lines = []
        while not (lines and lines[-1].startswith(begin)):
            lines.append(process.stderr.readline())
            self.assertNotEqual(lines[-1], "", lines)
        return lines

    def stop_execution(self, arn):
        self.sfn.stop_execution(executionArn=self.execution(arn)["executionArn"])

    def test_no_wait(self):
        arn = self.machine(result=CLEAN, seconds=30)
        process = self.run_it("198.51.100.7", "--no-wait")
        self.assertEqual(self.execution(arn)["status"], "RUNNING")
        self.stop_execution(arn)
        self.check(process, 0)

    def test_timeout(self):
        arn = self.machine(result=CLEAN, seconds=30)
        process = self.run_it("198.51.100.7", "--timeout", "1")
        self.assertEqual(self.execution(arn)["status"], "RUNNING")
        self.stop_execution(arn)
        process.stderr = re.sub(r"(?m)^  (Plan|Shards|shard .*)\n", "", process.stderr)
        self.check(process, 3)

    def test_aborted(self):
        # Not within the Map, where moto's interpreter does not survive a stop.
        arn = self.machine(result=CLEAN, reduce=30)
        process = self.start("198.51.100.7", "--rounds", "s3://corp-scan/rounds")
        lines = self.until(process, "  Reduce")
        self.stop_execution(arn)
        ended = self.end(process)
        ended.stderr = "".join(lines) + ended.stderr
        self.check(ended, 3)

    def test_interrupted(self):
        for name, number, status in (("int", signal.SIGINT, 130), ("term", signal.SIGTERM, 143)):
            arn = self.machine(name=f"interrupted-{name}", result=CLEAN, seconds=30)
            process = self.start("198.51.100.7")
            lines = self.until(process, "  Shards")
            os.killpg(process.pid, number)
            ended = self.end(process)
            ended.stderr = "".join(lines) + ended.stderr
            self.assertEqual(self.execution(arn)["status"], "RUNNING")
            self.stop_execution(arn)
            self.check(ended, status, f"interrupted_{name}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
