"""Every `aws …` in the documents under deploy/ names a service, an operation and options that the AWS CLI has.

Run by the Python of the CLI's own environment. Nothing is called: the CLI's model of the API is read.
"""

import re
import sys

import botocore.session
from botocore import xform_name
from check_commands import DEPLOY, lines

GLOBAL = {"--query", "--output", "--region", "--profile", "--max-items", "--cli-input-json", "--no-cli-pager"}
# What the CLI adds to the API.
CUSTOM = {
    ("s3", "cp"): {"--recursive"},
    ("logs", "tail"): {"--since", "--follow", "--filter-pattern"},
    ("sso", "login"): set(),
    ("ec2", "create-network-acl-entry"): {"--ingress", "--egress"},
}


def flags(session, service, operation):
    """The options of an operation, or None where there is no such operation."""
    custom = CUSTOM.get((service, operation))
    if service in ("s3", "sso") or (service, operation) == ("logs", "tail"):
        return None if custom is None else custom | GLOBAL
    service = "s3" if service == "s3api" else service  # `s3api` is the API
    if service not in session.get_available_services():
        return None
    model = session.get_service_model(service)
    for name in model.operation_names:
        if xform_name(name, "-") == operation:
            shape = model.operation_model(name).input_shape
            members = shape.members if shape else ()
            return (custom or set()) | GLOBAL | {f"--{xform_name(member, '-')}" for member in members}
    return None


def main():
    session = botocore.session.get_session()
    # That this can fail at all.
    assert flags(session, "stepfunctions", "no-such-operation") is None and flags(session, "s3", "fly") is None
    assert "--no-such-option" not in flags(session, "ecs", "run-task")
    seen = faults = 0
    for path in sorted(DEPLOY.rglob("*.md")):
        for number, line, _ in lines(path.read_text()):
            for found in re.finditer(r"(?:^|[\s(])aws ([a-z0-9]+) ([a-z0-9-]+)((?:\$\([^)]*\)|[^|;)])*)", line):
                service, operation, rest = found.groups()
                seen += 1
                known = flags(session, service, operation)
                fault = "no such command" if known is None else ", ".join(
                    flag for flag in re.findall(r"(?<=\s)--[a-z0-9-]+", rest) if flag not in known
                )
                if fault:
                    faults += 1
                    print(f"{path.relative_to(DEPLOY.parent)}:{number}: aws {service} {operation}: {fault}")
    print(f"{seen} commands of the AWS CLI in deploy's documents, {faults} that it does not have")
    assert seen >= 30, "fewer than the runbook alone has"
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
