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
import rendered  # noqa: E402
import rounds  # noqa: E402
from mutations import MUTATIONS  # noqa: E402
from terraform import Provider  # noqa: E402

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


def cfn(examples):
    """cfn-lint knows the schemas of the States Language and of ECS: wrapped in a template, both are held against them."""
    for e in examples:
        resources = {}
        for i, v in enumerate(e.of("aws_sfn_state_machine").values()):
            resources[f"Machine{i}"] = {"Type": "AWS::StepFunctions::StateMachine", "Properties": {
                "RoleArn": "arn:aws:iam::123456789012:role/x", "Definition": json.loads(v["definition"])}}
        for name, v in sorted(e.of("aws_ecs_task_definition").items()):
            resources["Task" + re.sub(r"[^A-Za-z0-9]", "", name)] = {"Type": "AWS::ECS::TaskDefinition", "Properties": {
                "RequiresCompatibilities": v["requires_compatibilities"], "NetworkMode": v["network_mode"], "Cpu": v["cpu"],
                "Memory": v["memory"], "RuntimePlatform": {"CpuArchitecture": v["runtime_platform"][0]["cpu_architecture"]},
                "ExecutionRoleArn": "arn:aws:iam::123456789012:role/x",
                "Volumes": [{"Name": w["name"]} for w in v["volume"]],
                "ContainerDefinitions": pascal(json.loads(v["container_definitions"]))}}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            json.dump({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}, f)
            f.flush()
            p = subprocess.run([TOOLS / "cfn-lint", "--regions", "ap-northeast-1", "--", f.name], text=True, capture_output=True)
        if p.returncode:
            raise Wrong(f"{e.name}: cfn-lint:\n{p.stdout}{p.stderr}")


def checkov(module):
    command = [TOOLS / "checkov", "--directory", module, "--framework", "terraform", "--skip-download", "--quiet",
               "--compact", "--config-file", HERE / "checkov.yaml", "--output", "json"]
    p = subprocess.run(command, text=True, capture_output=True)
    try:
        report = json.loads(p.stdout)
    except json.JSONDecodeError:
        raise Wrong(f"checkov said nothing to be read:\n{p.stdout[-2000:]}{p.stderr[-2000:]}") from None
    summary = report.get("summary", report)
    if summary.get("parsing_errors") or summary.get("passed", 0) < 100:
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
    status, out, err = provider.run(module, "test", "-no-color", "-filter=tests/refused.tftest.hcl", "-filter=tests/accepted.tftest.hcl")
    if status:
        raise Wrong("\n".join(l for l in (out + err).splitlines() if not l.endswith(("... pass", "... skip"))))
    said, = re.findall(r"(\d+) passed, 0 failed", out)
    if int(said) < 80:
        raise Wrong(f"only {said} tests were run")
    return f"{said} runs"


def copy(to):
    """The module and the machines beside each other, as the repository has them."""
    out = pathlib.Path(to) / "deploy"
    ignore = shutil.ignore_patterns(".terraform", "__pycache__", "check")
    shutil.copytree(MODULE, out / "terraform", ignore=ignore)
    shutil.copytree(MODULE.parent / "stepfunctions", out / "stepfunctions")
    return out


def mutate(m):
    """None if the defect is found by the check that is to find it."""
    with tempfile.TemporaryDirectory(prefix="mimawari-tf-") as to, Provider() as provider:
        deploy = copy(to)
        target = deploy / m.file
        text = target.read_text()
        if not re.search(m.old, text, re.M | re.S):
            return f"{m.name}: there is nothing to change in {m.file}"
        target.write_text(re.sub(m.old, m.new, text, count=1, flags=re.M | re.S))
        module = deploy / "terraform"
        try:
            if m.check == "validate":
                init(provider, module)
                terraform(provider, module, "validate", "-no-color")
            elif m.check == "fmt":
                fmt(provider, module)
            elif m.check == "test":
                test(provider, module)
            elif m.check == "checkov":
                checkov(module)
            else:
                examples = render(provider, module)
                {"rendered": assertions, "machines": machines, "cfn": cfn}[m.check](examples)
        except Wrong as e:
            if re.search(m.says, str(e), re.S):
                return None
            return f"{m.name}: found, but for another reason: {str(e)[:600]}"
        return f"{m.name}: `{m.check}` did not find it"


def mutations():
    with ThreadPoolExecutor(2) as pool:
        missed = [r for r in pool.map(mutate, MUTATIONS) if r]
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
                    "test": lambda: test(provider, MODULE), "rendered": lambda: assertions(examples),
                    "machines": lambda: machines(examples), "cfn": lambda: cfn(examples),
                    "checkov": lambda: checkov(MODULE), "mutations": mutations,
                }[name]()
                print(f"ok    {name:10} {time.monotonic() - began:5.1f} s  {said or ''}", flush=True)
            except Wrong as e:
                failed = True
                print(f"FAIL  {name:10} {time.monotonic() - began:5.1f} s\n{e}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
