#!/usr/bin/env python3
"""Every check of deploy/terraform and deploy/stepfunctions that needs no account, and the proof that each can fail.

    check.py            all of it
    check.py NAME...    some: fmt validate test rendered machines cfn checkov mutations
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import rendered
import rounds
from mutations import MUTATIONS
from terraform import Provider

HERE = pathlib.Path(__file__).resolve().parent
MODULE = HERE.parent
TOOLS = pathlib.Path(sys.executable).parent
FOLDERS = [".", "examples/minimal", "examples/complete"]


class Wrong(Exception):
    """What a check found."""


def terraform(provider, folder, command, *args):
    status, out, err = provider.run(folder, command, *args)
    if status:
        raise Wrong(f"terraform {command} in {folder}:\n{out}{err}")
    return out


def init(provider, folder):
    terraform(provider, folder, "init", "-backend=false", "-no-color", "-input=false")


def render(provider, module):
    """The examples as they would be made, by a provider that makes nothing."""
    init(provider, module)
    status, out, err = provider.run(module, "test", "-filter=tests/examples.tftest.hcl", "-verbose", "-json")
    found, said = {}, []
    for line in out.splitlines():
        d = json.loads(line)
        if d["type"] == "test_state":
            found[d["@testrun"]] = d["test_state"]
        if d["type"] == "diagnostic":
            said.append(f"{d['diagnostic']['summary']}: {d['diagnostic']['detail']}")
    if status:
        raise Wrong("terraform test of the examples:\n" + "\n".join(said) + err)
    return [rendered.Example(name, state) for name, state in sorted(found.items())]


def hold(checks, subject, what):
    for check in checks:
        try:
            check(subject)
        except Exception as e:  # a check that stumbles has found something too
            where = traceback.extract_tb(e.__traceback__)[-1]
            raise Wrong(f"{what}: {check.__name__}: {e or where.line} ({where.name}:{where.lineno})") from e


def assertions(examples):
    if len(examples) != 2:
        raise Wrong(f"{len(examples)} examples were made")
    for e in examples:
        hold(rendered.CHECKS, e, e.name)


def machines(examples):
    for e in examples:
        hold(rounds.ROUND, e.definition("round"), f"{e.name}: round")
        event = e.definition("event")
        if event:
            hold(rounds.EVENT, event, f"{e.name}: event")
    if not any(e.definition("event") for e in examples):
        raise Wrong("no example has the machine of events")


def pascal(v):
    """The task definition as CloudFormation spells it."""
    if isinstance(v, dict):
        return {k if k.startswith(("awslogs", "mode", "max-")) else k[0].upper() + k[1:]: pascal(x) for k, x in v.items()}
    return [pascal(x) for x in v] if isinstance(v, list) else v


def state_machine(definition):
    return {"Type": "AWS::StepFunctions::StateMachine", "Properties": {
        "RoleArn": "arn:aws:iam::123456789012:role/x", "Definition": definition}}


def lint(what, resources):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}, f)
        f.flush()
        p = subprocess.run([TOOLS / "cfn-lint", "--regions", "ap-northeast-1", "--", f.name], text=True, capture_output=True)
    if p.returncode:
        raise Wrong(f"{what}: cfn-lint:\n{p.stdout}{p.stderr}")


def cfn(examples):
    """cfn-lint knows the schemas of the States Language and of ECS: wrapped in a template, both are checked against them."""
    for e in examples:
        resources = {}
        for i, v in enumerate(e.of("aws_sfn_state_machine").values()):
            resources[f"Machine{i}"] = state_machine(json.loads(v["definition"]))
        for name, v in sorted(e.of("aws_ecs_task_definition").items()):
            resources["Task" + re.sub(r"[^A-Za-z0-9]", "", name)] = {"Type": "AWS::ECS::TaskDefinition", "Properties": {
                "RequiresCompatibilities": v["requires_compatibilities"], "NetworkMode": v["network_mode"], "Cpu": v["cpu"],
                "Memory": v["memory"], "RuntimePlatform": {"CpuArchitecture": v["runtime_platform"][0]["cpu_architecture"]},
                "ExecutionRoleArn": "arn:aws:iam::123456789012:role/x",
                "Volumes": [{"Name": w["name"]} for w in v["volume"]],
                "ContainerDefinitions": pascal(json.loads(v["container_definitions"]))}}
        lint(e.name, resources)


def checkov(module, only=None):
    command = [TOOLS / "checkov", "--directory", module, "--framework", "terraform", "--skip-download", "--quiet",
               "--compact", "--output", "json"]
    command += ["--check", only] if only else ["--config-file", HERE / "checkov.yaml"]
    p = subprocess.run(command, text=True, capture_output=True)
    try:
        report = json.loads(p.stdout)
    except json.JSONDecodeError:
        raise Wrong(f"checkov said nothing to be read:\n{p.stdout[-2000:]}{p.stderr[-2000:]}") from None
    summary = report.get("summary", report)
    if summary.get("parsing_errors") or (not only and summary.get("passed", 0) < 100):
        raise Wrong(f"checkov saw too little: {summary}")
    if summary["failed"]:
        raise Wrong("checkov:\n" + "\n".join(
            f"{c['check_id']} {c['resource']} {c['file_path']}:{c['file_line_range'][0]} {c['check_name']}"
            for c in report["results"]["failed_checks"]))
    return f"{summary['passed']} held"


def fmt(provider, module):
    out = terraform(provider, module, "fmt", "-check", "-recursive", "-diff", "-no-color")
    if out.strip():
        raise Wrong(out)


def validate(provider, module):
    for folder in FOLDERS:
        init(provider, module / folder)
        terraform(provider, module / folder, "validate", "-no-color")


def test(provider, module):
    init(provider, module)

    def some(names):
        status, out, err = provider.run(module, "test", "-no-color", *(f"-filter=tests/{n}.tftest.hcl" for n in names))
        if status:
            raise Wrong("\n".join(line for line in (out + err).splitlines() if not line.endswith(("... pass", "... skip"))))
        return int(re.findall(r"(\d+) passed, 0 failed", out)[0])

    with ThreadPoolExecutor(2) as pool:
        ran = sum(pool.map(some, (["refused_scope", "accepted"], ["refused_rest"])))
    if ran < 80:
        raise Wrong(f"only {ran} tests were run")
    return f"{ran} runs"


def copy(deploy, initialised=False):
    """The module and the machines beside each other, as the repository has them."""
    names = ["__pycache__", "check"] + ([] if initialised else [".terraform"])
    shutil.copytree(MODULE, deploy / "terraform", ignore=shutil.ignore_patterns(*names))
    shutil.copytree(MODULE.parent / "stepfunctions", deploy / "stepfunctions")
    return deploy / "terraform"


def spoil(m, deploy):
    target = deploy / m.file
    text = target.read_text()
    if not re.search(m.old, text, re.M | re.S):
        raise SystemExit(f"{m.name}: there is nothing to change in {m.file}")
    target.write_text(re.sub(m.old, m.new, text, count=1, flags=re.M | re.S))


def found(m, check, *args):
    """None if the defect is found by the check that is to find it, and for the right reason."""
    try:
        check(*args)
    except Wrong as e:
        return None if re.search(m.says, str(e), re.S) else f"{m.name}: found, but for another reason: {str(e)[:600]}"
    return f"{m.name}: `{m.check}` did not find it"


def one_by_one(some):
    """Defects that keep Terraform from making anything, and those of other programs: each by itself."""
    def single(m):
        with tempfile.TemporaryDirectory(prefix="mimawari-tf-") as to:
            module = copy(pathlib.Path(to), initialised=True)
            spoil(m, module.parent)
            if m.check == "checkov":
                # The file alone: all of it takes a while.
                (module / "alone").mkdir()
                shutil.copy(module.parent / m.file, module / "alone")
                return found(m, checkov, module / "alone", m.says)
            if m.check == "validate":
                return found(m, terraform, provider, module, "validate", "-no-color")
            if m.check == "fmt":
                return found(m, fmt, provider, module)
            return found(m, named_test, module, m.says)

    def named_test(module, says):
        for f in sorted((module / "tests").glob("*.tftest.hcl")):
            head, *runs = re.split(r"(?m)^(?=run \")", f.read_text())
            named = [r for r in runs if r.startswith(f'run "{says.split()[0]}"')]
            f.unlink() if not named else f.write_text(head + named[0])
        status, out, err = provider.run(module, "test", "-no-color")
        if status:
            raise Wrong(out + err)

    with Provider() as provider, ThreadPoolExecutor(2) as pool:
        return list(pool.map(single, some))


def together(some):
    """Defects that Terraform would make: all of them made in one go, and each tried against its check."""
    with tempfile.TemporaryDirectory(prefix="mimawari-tf-") as to, Provider() as provider:
        root = pathlib.Path(to)
        lines = ['mock_provider "aws" {', '  source = "./m0/terraform/tests/mocks"', "}"]
        for i, m in enumerate(some):
            copy(root / f"m{i}")
            spoil(m, root / f"m{i}")
            lines += [f'run "m{i}" {{', "  module {", f'    source = "./m{i}/terraform/examples/complete"', "  }", "}"]
        (root / "all.tftest.hcl").write_text("\n".join(lines) + "\n")
        init(provider, root)
        _status, out, err = provider.run(root, "test", "-verbose", "-json")
        made = {}
        for line in out.splitlines():
            d = json.loads(line)
            if d["type"] == "test_state":
                made[d["@testrun"]] = rendered.Example("complete", d["test_state"])
        if len(made) != len(some):
            raise Wrong(f"only {len(made)} of {len(some)} could be made:\n{out[-3000:]}{err}")
    checks = {"rendered": lambda e: hold(rendered.CHECKS, e, e.name), "cfn": lambda e: cfn([e])}
    return [found(m, checks[m.check], made[f"m{i}"]) for i, m in enumerate(some)]


def templates(some):
    """Defects of the machines: Terraform fills all templates in one go, without a provider."""
    values = {"cluster": "arn:aws:ecs:ap-northeast-1:123456789012:cluster/x", "subnets": '["subnet-1"]', "group": "sg-1",
              "task": {"scan": "arn:aws:ecs:ap-northeast-1:123456789012:task-definition/scan:1",
                       "reduce": "arn:aws:ecs:ap-northeast-1:123456789012:task-definition/reduce:1"},
              "public_ip": "ENABLED", "bucket": "x", "namespace": "mimawari", "shards": 1, "parallel": 10,
              "scan_time": 600, "reduce_time": 600, "time": 9999, "scan_launch": '{"LaunchType":"FARGATE"}',
              "own_subnets": ["subnet-1"], "most": 400, "machine": "arn:aws:states:ap-northeast-1:123456789012:stateMachine:x", "wait": 10, "ports": "all", "tier": "1"}
    with tempfile.TemporaryDirectory(prefix="mimawari-tf-") as to, Provider() as provider:
        root = pathlib.Path(to)
        whole = copy(root / "whole").parent
        files = {"round": "stepfunctions/round.asl.json.tftpl", "event": "stepfunctions/event.asl.json.tftpl"}
        for i, m in enumerate(some):
            (root / f"m{i}" / "stepfunctions").mkdir(parents=True)
            shutil.copy(whole / m.file, root / f"m{i}" / m.file)
            spoil(m, root / f"m{i}")
        paths = [f"m{i}/{m.file}" for i, m in enumerate(some)] + [f"whole/{f}" for f in files.values()]
        (root / "values.json").write_text(json.dumps(values))
        (root / "main.tf").write_text('locals {\n  values = jsondecode(file("values.json"))\n}\noutput "all" {\n  value = ['
                                      + ", ".join(f'templatefile("{p}", local.values)' for p in paths) + "]\n}\n")
        init(provider, root)
        terraform(provider, root, "apply", "-auto-approve", "-no-color")
        out = json.loads(terraform(provider, root, "output", "-json", "all"))
    checks = {"round": rounds.ROUND, "event": rounds.EVENT}
    kind = lambda f: pathlib.Path(f).name.split(".")[0]  # noqa: E731
    for name, text in zip(files, out[len(some):], strict=True):
        hold(checks[name], json.loads(text), name)  # unspoiled, they are right
    missed = []
    for m, text in zip(some, out, strict=False):
        definition = json.loads(text)
        if m.check == "machines":
            missed.append(found(m, hold, checks[kind(m.file)], definition, "machine"))
        else:
            missed.append(found(m, lint, "machine", {"Machine": state_machine(definition)}))
    return missed


def mutations():
    asl = [m for m in MUTATIONS if m.file.endswith(".asl.json.tftpl") and m.check in ("machines", "cfn")]
    many = [m for m in MUTATIONS if m not in asl and m.check in ("rendered", "cfn")]
    single = [m for m in MUTATIONS if m not in asl and m not in many]
    half = len(many) // 2
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(together, many[:half]), pool.submit(together, many[half:]),
                pool.submit(one_by_one, single), pool.submit(templates, asl)]
        missed = [r for j in jobs for r in j.result() if r]
    if missed:
        raise Wrong("defects that were not found:\n" + "\n".join(missed))
    return f"{len(MUTATIONS)} defects found"


def main():
    wanted = sys.argv[1:] or ["fmt", "validate", "test", "rendered", "machines", "cfn", "checkov", "mutations"]
    failed, examples = False, None
    with Provider() as provider:
        for name in wanted:
            began = time.monotonic()
            try:
                if name in ("rendered", "machines", "cfn") and examples is None:
                    examples = render(provider, MODULE)
                said = {
                    "fmt": lambda: fmt(provider, MODULE), "validate": lambda: validate(provider, MODULE),
                    "test": lambda: test(provider, MODULE), "rendered": lambda shown=examples: assertions(shown),
                    "machines": lambda shown=examples: machines(shown), "cfn": lambda shown=examples: cfn(shown),
                    "checkov": lambda: checkov(MODULE), "mutations": mutations,
                }[name]()
                print(f"ok    {name:10} {time.monotonic() - began:5.1f} s  {said or ''}", flush=True)
            except Wrong as e:
                failed = True
                print(f"FAIL  {name:10} {time.monotonic() - began:5.1f} s\n{e}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
