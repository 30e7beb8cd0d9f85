"""What no linter knows of the workflows and of the template repository.

Usage: static.py MIMAWARI FILE…
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import yaml

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "deploy/baseline-repo"
wrong = []


def must(holds, what):
    if not holds:
        wrong.append(what)


def steps_of(document):
    if "runs" in document:
        yield "runs", document["runs"].get("steps", []), document["runs"]
    for id, job in (document.get("jobs") or {}).items():
        yield id, job.get("steps", []), job


def workflow(path):
    text = path.read_text()
    document = yaml.safe_load(text)
    name = path.relative_to(ROOT)
    for line in text.splitlines():
        if m := re.match(r"\s*(?:- )?uses: (\S+)(.*)$", line):
            target, comment = m.groups()
            if target.startswith("$/"):
                must((ROOT / target[2:] / "action.yml").exists() or (ROOT / target[2:]).is_file(), f"{name}: {target} is not there")
            elif not target.startswith("./"):
                must(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", target), f"{name}: {target} is not pinned by a full commit")
                must(re.fullmatch(r" # v\d+(\.\d+)*", comment), f"{name}: {target} does not say which version it is")
    if "jobs" in document:
        own = document.get("permissions")
        must(isinstance(own, dict) and set(own.values()) <= {"read", "none"}, f"{name}: the workflow's own permissions are too wide or not stated")
    for id, steps, job in steps_of(document):
        if "jobs" in document:
            must(isinstance(job.get("permissions"), dict) or own, f"{name}: {id}: no permissions of its own")
            if "uses" not in job:
                must(isinstance(job.get("timeout-minutes"), int), f"{name}: {id}: no timeout")
        for step in steps:
            run = step.get("run", "")
            must("${{" not in run, f"{name}: {id}: an expression inside of a script")
            lines = [s for s in run.splitlines() if s.strip() and not s.strip().startswith("#")]
            must(len(lines) <= (3 if "baseline-" in path.name else 20), f"{name}: {id}: a script of {len(lines)} lines belongs into a file, where it is tested")
            if "$/" in step.get("uses", ""):
                inputs = yaml.safe_load((ROOT / step["uses"][2:] / "action.yml").read_text())["inputs"]
                for key in step.get("with") or {}:
                    must(key in inputs, f"{name}: {id}: {step['uses']} has no input {key}")


def callers():
    """What the template's workflows hand to the reusable ones exists there, and what those require is handed over."""
    for path in sorted((TEMPLATE / ".github/workflows").glob("*.yml")):
        for id, job in yaml.safe_load(path.read_text())["jobs"].items():
            m = re.match(r"[\w.-]+/[\w.-]+/(\.github/workflows/baseline-[\w-]+\.yml)@", job.get("uses", ""))
            if not m:
                continue
            called = yaml.safe_load((ROOT / m.group(1)).read_text())
            inputs = called[True]["workflow_call"]["inputs"]
            given = job.get("with") or {}
            must(set(given) <= set(inputs), f"{path.name}: {id}: no such inputs: {set(given) - set(inputs)}")
            missing = {n for n, about in inputs.items() if about.get("required")} - set(given)
            must(not missing, f"{path.name}: {id}: missing inputs: {missing}")
            wanted = {}
            for inner in called["jobs"].values():
                for right, level in inner["permissions"].items():
                    wanted[right] = "write" if "write" in (level, wanted.get(right)) else level
            must(job["permissions"] == wanted, f"{path.name}: {id}: grants {job['permissions']}, needed is {wanted}")


def template(mimawari):
    printed = subprocess.run([mimawari, "schema", "baseline"], capture_output=True, check=True, timeout=30).stdout
    for copy in (ROOT / "deploy/schemas/baseline.v1.json", TEMPLATE / "schema/baseline.v1.json"):
        must(copy.read_bytes() == printed, f"{copy.relative_to(ROOT)} is not what `mimawari schema baseline` prints")
    schema = json.loads(printed)
    # In the schema's terms a day is a string; TOML has a type of its own for it.
    def plain(v):
        return {k: plain(x) for k, x in v.items()} if isinstance(v, dict) else [plain(x) for x in v] if isinstance(v, list) \
            else v if isinstance(v, (str, int, bool, float)) else v.isoformat()
    files = sorted((TEMPLATE / "baseline").glob("*.toml"))
    must(files, "the template has no rules")
    owners = (TEMPLATE / ".github/CODEOWNERS").read_text()
    for file in files:
        text = file.read_text()
        first = re.match(r"#:schema (\S+)\n", text)
        must(first and (file.parent / first.group(1)).resolve() == TEMPLATE / "schema/baseline.v1.json",
             f"{file.name}: its first line does not name the schema")
        found = plain(tomllib.loads(text))
        for error in jsonschema.Draft202012Validator(schema).iter_errors(found):
            must(False, f"{file.name}: {error.message}")
        must(re.search(rf"^/baseline/{re.escape(file.name)} +{re.escape(found['owner'])}$", owners, re.M),
             f"{file.name}: CODEOWNERS does not name {found['owner']}")
    # A schema that accepts everything would be no help.
    must(not jsonschema.Draft202012Validator(schema).is_valid({"version": 1, "owner": "@a/b", "alow": []}), "the schema accepts an unknown key")
    for file in (".vscode/settings.json", ".vscode/extensions.json"):
        json.loads((TEMPLATE / file).read_text())
    for file in (".taplo.toml", "patrol.toml"):
        tomllib.loads((TEMPLATE / file).read_text())
    for file in (".pre-commit-config.yaml", ".github/dependabot.yml"):
        yaml.safe_load((TEMPLATE / file).read_text())
    # Documentation's own addresses, and nobody's.
    for file in (*files, TEMPLATE / "patrol.toml", TEMPLATE / "README.md"):
        for address in re.findall(r"\b\d{1,3}(?:\.\d{1,3}){3}\b", file.read_text()):
            must(address.startswith(("192.0.2.", "198.51.100.", "203.0.113.")), f"{file.name}: {address} is not for documentation")
    # Every file that the README names is there.
    for name in re.findall(r"`((?:\.github|baseline|schema|\.vscode)/[\w./-]+|adopt|patrol\.toml)`", (TEMPLATE / "README.md").read_text()):
        must((TEMPLATE / name).exists() or name.endswith("scan-now.yml"), f"README: there is no {name}")


def main():
    mimawari, *files = sys.argv[1:]
    for file in files:
        workflow(ROOT / file)
    callers()
    template(str(Path(mimawari).resolve()))
    for line in wrong:
        print(f"FAILED: {line}")
    if wrong:
        sys.exit(1)
    print("pins, permissions, timeouts, inputs, schema, examples and owners are as they must be")


if __name__ == "__main__":
    main()
