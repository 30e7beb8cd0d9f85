"""Holds deploy/kubernetes and deploy/batch against schemas and against the rules of this project."""

import copy
import json
import pathlib
import re
import sys

import botocore.session
import botocore.validate
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3] / "deploy"
VERSION = "1.37"
WORDS = {
    "IMAGEREF": "registry.example.jp/mimawari@sha256:" + "0" * 64,
    "ROUNDID": "nightly-2026-11-24",
    "ROUNDNAME": "nightly-2026-11-24",
    "SHARDCOUNT": "4",
}
FARGATE = {0.25: range(512, 2049), 1: range(2048, 8193)}
SENDS = {"mimawari-hourly", "mimawari-scan-nightly-2026-11-24"}

problems = []


def check(condition, where, what):
    if not condition:
        problems.append(f"{where}: {what}")


def rendered(path):
    text = path.read_text()
    for word, value in WORDS.items():
        text = text.replace(word, value)
    return [d for d in yaml.safe_load_all(text) if d]


def valid(document):
    """The errors of a manifest; kubernetes-validate stops at the first."""
    try:
        kubernetes_validate.validate(document, VERSION, strict=True)
    except kubernetes_validate.ValidationError as e:
        return [f"{'/'.join(map(str, e.path))}: {e.message}"]
    return []


def pod_of(document):
    spec = document["spec"]
    if document["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec, spec["template"]["spec"]


def manifest(where, document):
    for error in valid(document):
        problems.append(f"{where}: {error}")
    if document["kind"] not in ("Job", "CronJob"):
        return
    spec, pod = pod_of(document)
    name = document["metadata"]["name"]
    own = pod["securityContext"]
    check(own["runAsNonRoot"] and own["runAsUser"] == 65532, where, "runs as another user")
    check(own["seccompProfile"] == {"type": "RuntimeDefault"}, where, "no seccomp profile")
    check(pod["terminationGracePeriodSeconds"] == 120, where, "no time to save at SIGTERM")
    check(pod["restartPolicy"] == "Never", where, "podFailurePolicy needs restartPolicy Never")
    check("podFailurePolicy" in spec, where, "an error that stays would be tried again")
    check(not pod["automountServiceAccountToken"], where, "holds a token of the cluster")
    check(len(name) <= 63 and re.fullmatch(r"[a-z0-9-]+", name), where, f"not a name: {name}")
    (container,) = pod["containers"]
    security = container["securityContext"]
    check("@sha256:" in container["image"], where, "the image is not given by its digest")
    check(security["readOnlyRootFilesystem"], where, "the root can be written")
    check(not security.get("privileged"), where, "privileged")
    sends = name in SENDS
    wanted = {"drop": ["ALL"], "add": ["NET_RAW"]} if sends else {"drop": ["ALL"]}
    check(security["capabilities"] == wanted, where, f"capabilities {security['capabilities']}")
    # `false` sets no_new_privs, which voids the capability of the file.
    check(security["allowPrivilegeEscalation"] is sends, where, "allowPrivilegeEscalation")
    check([m["mountPath"] for m in container["volumeMounts"]] == ["/var/lib/mimawari"], where, "mounts")
    if spec.get("completionMode") == "Indexed":
        check(spec["backoffLimitPerIndex"] > 0, where, "one bad shard ends the others")
        check(spec["completions"] == spec["maxFailedIndexes"] == 4, where, "shards")


def batch():
    session = botocore.session.get_session()
    services = {
        "plan.json": ("batch", "RegisterJobDefinition"),
        "scan.json": ("batch", "RegisterJobDefinition"),
        "reduce.json": ("batch", "RegisterJobDefinition"),
        "rule.json": ("events", "PutRule"),
        "targets.json": ("events", "PutTargets"),
    }
    for name, (service, operation) in services.items():
        where = f"deploy/batch/{name}"
        asked = json.loads((ROOT / "batch" / name).read_text())
        shape = session.get_service_model(service).operation_model(operation).input_shape
        report = botocore.validate.ParamValidator().validate(asked, shape)
        check(not report.has_errors(), where, report.generate_report())
        if operation == "RegisterJobDefinition":
            own = asked["containerProperties"]
            size = {r["type"]: float(r["value"]) for r in own["resourceRequirements"]}
            check(size["MEMORY"] in FARGATE.get(size["VCPU"], ()), where, f"not a size of Fargate: {size}")
            check(own["readonlyRootFilesystem"], where, "the root can be written")
            # Fargate takes neither; a user would undo the image's.
            check(not {"privileged", "linuxParameters", "user", "ulimits"} & set(own), where, "refused by Fargate")
            names = {e["name"] for e in own["environment"]}
            # A shard that was stopped must not end as if it were handed in.
            check(("MIMAWARI_EXIT_ZERO" in names) == (name == "reduce.json"), where, "MIMAWARI_EXIT_ZERO")
    pattern = json.loads(json.loads((ROOT / "batch/rule.json").read_text())["EventPattern"])
    check(pattern["detail"]["status"] == ["FAILED"], "deploy/batch/rule.json", "another status")
    (target,) = json.loads((ROOT / "batch/targets.json").read_text())["Targets"]
    template = target["InputTransformer"]["InputTemplate"]
    filled = json.loads(template.replace("<round>", '"r"'))
    check(filled == {"Parameters": {"round": "r"}}, "deploy/batch/targets.json", template)


def main():
    seen = 0
    documents = {}
    for path in sorted((ROOT / "kubernetes").glob("*.yaml")):
        for document in rendered(path):
            where = f"deploy/kubernetes/{path.name} {document['kind']}"
            documents[document["metadata"]["name"]] = document
            manifest(where, document)
            seen += 1
    check(seen >= 8, "deploy/kubernetes", f"only {seen} manifests were found")
    batch()

    # The checks themselves: each of these mistakes must be noticed.
    for path, value in [
        (["completions"], "four"),
        (["completionsMode"], "Indexed"),
        (["template", "spec", "containers", 0, "securityContext", "readOnlyRootFileSystem"], True),
    ]:
        broken = copy.deepcopy(documents["mimawari-scan-nightly-2026-11-24"])
        place = broken["spec"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        check(valid(broken), "the schema", f"takes {path[-1]} = {value!r}")

    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{seen} manifests and 5 files of Batch and EventBridge: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
