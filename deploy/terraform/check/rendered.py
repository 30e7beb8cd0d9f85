"""What the examples became, checked against the rules of deploy/terraform/README.md.

Every function is a check of one example's resources; it raises AssertionError with what is wrong.
"""
import ipaddress
import json
import pathlib
import re

GIVEN_BY_FARGATE = {
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE", "NET_RAW",
    "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP",
}
# (role or document, Sid): a resource that cannot be narrowed. Everything else must be.
UNNARROWED = {
    ("execution", "PullToken"), ("machine", "RoundMetric"), ("machine", "Logs"), ("machine", "Traces"),
    ("operator", "Find"), ("scan-now", "Find"), ("event-machine", "FindAddress"), ("event-machine", "Logs"), ("event-machine", "Traces"),
}


class Example:
    def __init__(self, name, state):
        self.name, self.all = name, {}

        def collect(module):
            for r in module.get("resources", []):
                if r["mode"] == "managed":
                    self.all[re.sub(r"^module\.mimawari\.", "", r["address"])] = r["values"]
            for m in module.get("child_modules", []):
                collect(m)
        collect(state["root_module"])
        self.outputs = state["outputs"]["mimawari"]["value"]

    def of(self, kind):
        found = {a: v for a, v in self.all.items() if a.split(".")[0] == kind}
        assert found, f"no {kind}"
        return found

    def one(self, address):
        assert address in self.all, f"no {address}"
        return self.all[address]

    def policies(self):
        for v in self.of("aws_iam_role_policy").values():
            yield v["name"], json.loads(v["policy"])
        for v in self.of("aws_iam_policy").values():
            yield "operator", json.loads(v["policy"])

    def statement(self, document, sid):
        for name, d in self.policies():
            for s in d["Statement"]:
                if name == document and s.get("Sid") == sid:
                    return s
        raise AssertionError(f"{document} has no {sid}")

    def definition(self, name):
        found = [v for a, v in self.of("aws_sfn_state_machine").items() if a.split(".")[1].startswith(name)]
        return json.loads(found[0]["definition"]) if found else None


def many(v):
    return v if isinstance(v, list) else [v]


def task_definitions(e):
    tasks = e.of("aws_ecs_task_definition")
    assert len(tasks) == 2
    for address, t in tasks.items():
        assert t["requires_compatibilities"] == ["FARGATE"] and t["network_mode"] == "awsvpc", address
        container, = json.loads(t["container_definitions"])
        caps = container["linuxParameters"]["capabilities"]
        assert "ALL" not in caps["drop"], "drop ALL blinds the scanner: Fargate cannot add NET_RAW"
        assert "NET_RAW" not in caps["drop"], "NET_RAW must stay"
        assert set(caps["drop"]) == GIVEN_BY_FARGATE - {"NET_RAW"} and len(caps["drop"]) == 13, caps["drop"]
        assert not caps.get("add"), "Fargate adds none but SYS_PTRACE"
        assert not container.get("privileged") and "dockerSecurityOptions" not in container, address
        assert container["readonlyRootFilesystem"] is True, f"{address}: a root that can be written"
        assert container["user"] == "65532:65532", container["user"]
        assert 30 <= container["stopTimeout"] <= 120, f"stopTimeout {container['stopTimeout']}"
        assert re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", container["image"]), "an image without a digest"
        assert [m["containerPath"] for m in container["mountPoints"]] == ["/var/lib/mimawari"]
        assert [v["name"] for v in t["volume"]] == [m["sourceVolume"] for m in container["mountPoints"]]
        assert container["logConfiguration"]["logDriver"] == "awslogs"
        env = {v["name"]: v["value"] for v in container["environment"]}
        assert env["MIMAWARI_CONFIG"] == f"s3://{e.outputs['bucket']}/config/patrol.toml", env
        assert env["MIMAWARI_LOG_FORMAT"] == "json" and env["AWS_REGION"], env
        assert t["task_role_arn"] != t["execution_role_arn"]
        assert t["skip_destroy"] is True, "a round that runs could start no more tasks after an apply"
        assert env["TMPDIR"] == env["MIMAWARI_WORK"] == "/var/lib/mimawari", "the one folder that can be written"


def exit_statuses(e):
    """A shard that was stopped ends with 3; if that were made 0, nobody would start it again."""
    for name in ("scan", "reduce"):
        container, = json.loads(e.one(f'aws_ecs_task_definition.this["{name}"]')["container_definitions"])
        env = {v["name"]: v["value"] for v in container["environment"]}
        assert env.get("MIMAWARI_EXIT_ZERO") == ("true" if name == "reduce" else None), f"{name}: {env}"
        mode = container["logConfiguration"]["options"]["mode"]
        assert name == "scan" or mode == "blocking", "the metrics are log lines: none may be dropped"


def secrets(e):
    scan, = json.loads(e.one('aws_ecs_task_definition.this["scan"]')["container_definitions"])
    assert not scan["secrets"], "the task that faces the network needs no secret"
    for name, d in e.policies():
        for s in d["Statement"]:
            if "secretsmanager:GetSecretValue" in many(s["Action"]):
                assert name in ("execution", "settle") and all(":secret:" in r or len(r) == 8 for r in many(s["Resource"])), s
    holders = [a for a, v in e.of("aws_iam_role_policy").items() if "GetSecretValue" in v["policy"]]
    assert set(holders) <= {'aws_iam_role_policy.execution["reduce"]', 'aws_iam_role_policy.github["settle"]'}, holders
    # Whoever saves the state notifies what changed, and ends with 2 before it judges if a notifier lacks its secret.
    assert len(holders) == (2 if e.name == "complete" else 0), f"settle cannot notify: {holders}"
    for _v in (a for kind, a in e.all.items() if kind.startswith("aws_secretsmanager_secret_version")):
        raise AssertionError("a secret's value would stand in Terraform's state")


def actions(e):
    for name, d in e.policies():
        assert d["Version"] == "2012-10-17"
        for s in d["Statement"]:
            assert s["Effect"] == "Allow" and "NotAction" not in s and "NotResource" not in s, s
            for action in many(s["Action"]):
                assert "*" not in action, f"{name}: {action}"
            if "*" in many(s["Resource"]):
                assert (name, s["Sid"]) in UNNARROWED, f"{name}: {s['Sid']} is for every resource"


def pass_role(e):
    passed = [(n, s) for n, d in e.policies() for s in d["Statement"] if "iam:PassRole" in many(s["Action"])]
    (name, s), = passed
    assert name == "machine" and s["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}, s
    roles = {v["arn"] for a, v in e.of("aws_iam_role").items()
             if a in ("aws_iam_role.scan", "aws_iam_role.reduce") or a.startswith("aws_iam_role.execution")}
    assert len(roles) == 4 and set(many(s["Resource"])) == roles, s["Resource"]


def roles_apart(e):
    """Who may write what; the prefixes are the walls."""
    bucket = f"arn:aws:s3:::{e.outputs['bucket']}"
    may = {}
    for name, d in e.policies():
        for s in d["Statement"]:
            for a in many(s["Action"]):
                if a in ("s3:PutObject", "s3:DeleteObject", "s3:GetObject"):
                    may.setdefault((name, a), set()).update(r.removeprefix(bucket + "/") for r in many(s["Resource"]))
    assert may["scan", "s3:PutObject"] == {"rounds/*/plan.json", "rounds/*/shards.json", "rounds/*/shards/*"}, may
    assert not any("state" in r for r in may["scan", "s3:GetObject"]), "scan reads the state"
    assert may["reduce", "s3:PutObject"] == {"rounds/*/result.json", "rounds/*/run/*", "state/*"}, may
    assert may["reduce", "s3:DeleteObject"] == {"state/*"}
    assert {n for n, a in may if a == "s3:DeleteObject"} <= {"reduce", "settle"}
    assert may["operator", "s3:GetObject"] == {"config/*", "rounds/*/result.json", "rounds/*/run/*"}
    assert ("read", "s3:PutObject") not in may, "a pull request's workflow is the pull request's own"
    assert may.get(("settle", "s3:PutObject"), {"state/*"}) == may.get(("settle", "s3:DeleteObject"), {"state/*"}) == {"state/*"}
    assert ("operator", "s3:PutObject") not in may and ("machine", "s3:PutObject") not in may
    if ("publish", "s3:PutObject") in may:
        assert may["publish", "s3:PutObject"] == {"baseline/*"} and may["publish", "s3:GetObject"] == {"baseline/*"}
    for name, d in e.policies():
        for s in d["Statement"]:
            if "s3:ListBucket" in many(s["Action"]):
                assert s["Condition"]["StringLike"]["s3:prefix"], f"{name} lists everything"


def trust(e):
    for address, r in e.of("aws_iam_role").items():
        for s in json.loads(r["assume_role_policy"])["Statement"]:
            c = s.get("Condition", {}).get("StringEquals", {})
            if "Federated" in s["Principal"]:
                assert c["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com", s
                kind = {"ref:refs/heads/main"} if r["name"].endswith(("-publish", "-settle")) else \
                    {"pull_request", "ref:refs/heads/main"} if r["name"].endswith("-read") else {"environment:scan-now"}
                subjects = {re.fullmatch(r"repo:example/exposure-baseline:(.*)", sub)[1] for sub in many(c["token.actions.githubusercontent.com:sub"])}
                assert subjects == kind, f"{r['name']} trusts {subjects}"
            else:
                assert c.get("aws:SourceAccount") == "123456789012", f"{address}: anybody's service may take it"


def run_task(e):
    s = e.statement("machine", "RunTask")
    assert s["Condition"]["ArnEquals"]["ecs:cluster"].endswith(f":cluster/{e.outputs['cluster_name']}"), s
    assert all(re.search(r":task-definition/[a-z]+-(scan|reduce):\*$", r) for r in many(s["Resource"])), s


def bucket(e):
    e.one("aws_s3_bucket.this")
    assert e.one("aws_s3_bucket_versioning.this")["versioning_configuration"][0]["status"] == "Enabled"
    block = e.one("aws_s3_bucket_public_access_block.this")
    assert all(block[k] is True for k in ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"))
    assert e.one("aws_s3_bucket_ownership_controls.this")["rule"][0]["object_ownership"] == "BucketOwnerEnforced"
    policy = json.loads(e.one("aws_s3_bucket_policy.this")["policy"])
    assert all(s["Effect"] == "Deny" for s in policy["Statement"])
    tls, = [s for s in policy["Statement"] if s["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}]
    assert len(tls["Resource"]) == 2
    for rule in e.one("aws_s3_bucket_lifecycle_configuration.this")["rule"]:
        prefix = rule["filter"][0]["prefix"] if rule["filter"] else ""
        expires = [x for x in rule["expiration"] or [] if x["days"] or x["date"]]
        assert not expires or prefix == "rounds/", f"what is current under {prefix!r} would be lost"
        assert rule["expiration"] or prefix == "", f"markers of what was deleted under {prefix!r} would pile up"


def configuration(e):
    import tomllib
    toml = tomllib.loads(e.one('aws_s3_object.config["patrol.toml"]')["content"])
    assert toml["scope"]["allow"] and toml["scope"]["authorised_by"] == "SEC-1042"
    for table in ("baseline", "state", "rounds"):
        assert toml[table]["url"] == f"s3://{e.outputs['bucket']}/{table}", toml[table]
    if e.name == "complete":
        assert toml["scan"]["rate_per_host"] == 200 and toml["scan"]["rate"] == 10000, toml["scan"]
        assert set(toml["http"]) == {"vhosts", "user_agent", "evidence_key"}, toml["http"]
    assert {"kind": "emf"} in toml["notify"], "the alarms live from the metrics"


def baseline_repository(e):
    """The variables that the workflows of the template read are those that the module outputs, and no others."""
    template = pathlib.Path(__file__).resolve().parents[2] / "baseline-repo/.github/workflows"
    read = {v for f in template.glob("*.yml") for v in re.findall(r"vars\.(\w+)", f.read_text())}
    variables = e.outputs["github_variables"]
    if variables is not None:
        assert read == set(variables), f"read and not set, or set and not read: {sorted(read ^ set(variables))}"
        for name, table in (("MIMAWARI_ROUNDS", "rounds"), ("MIMAWARI_STATE", "state"), ("MIMAWARI_BASELINE", "baseline")):
            assert variables[name] == f"s3://{e.outputs['bucket']}/{table}", variables[name]
        line = r"[A-Z][A-Z0-9_]*=\S+"
        assert all(re.fullmatch(line, n) for n in variables["MIMAWARI_NOTIFY"].split("\n")), variables["MIMAWARI_NOTIFY"]


def network(e):
    for kind in ("aws_nat_gateway", "aws_egress_only_internet_gateway", "aws_networkfirewall_firewall"):
        assert not any(a.startswith(kind + ".") for a in e.all), f"{kind} tracks connections"
    for kind in ("aws_vpc_security_group_ingress_rule", "aws_vpc_security_group_egress_rule"):
        rules = e.of(kind).values()
        assert {r["cidr_ipv4"] or r["cidr_ipv6"] for r in rules} == {"0.0.0.0/0", "::/0"}, kind
        assert all(r["ip_protocol"] == "-1" and r["from_port"] is None for r in rules), f"{kind}: flows would be tracked"
    for s in e.of("aws_subnet").values():
        assert s["map_public_ip_on_launch"] is False
    owned = [ipaddress.ip_network(r) for r in re.findall(r'"([0-9a-f.:]+/\d+)"', e.outputs["patrol_toml"].split("deny")[0])]
    numbers = {}
    for r in e.of("aws_network_acl_rule").values():
        direction = "out" if r["egress"] else "in"
        numbers.setdefault(direction, []).append(r["rule_number"])
        net = ipaddress.ip_network(r["cidr_block"] or r["ipv6_cidr_block"])
        ports = (r["from_port"], r["to_port"])
        if net.prefixlen == 0:
            assert r["protocol"] in ("1", "58") or ports == {"in": (32768, 60999), "out": (443, 443)}[direction], r
        else:
            assert any(o.version == net.version and o.subnet_of(net) for o in owned), f"{net} holds nothing of ours"
            assert ports == {"in": (1024, 65535), "out": (0, 65535)}[direction], r
    for o in owned:
        for egress in (True, False):
            assert any(r["egress"] is egress and ipaddress.ip_network(r["cidr_block"] or r["ipv6_cidr_block"]).prefixlen
                       and ipaddress.ip_network(r["cidr_block"] or r["ipv6_cidr_block"]).version == o.version
                       and o.subnet_of(ipaddress.ip_network(r["cidr_block"] or r["ipv6_cidr_block"]))
                       for r in e.of("aws_network_acl_rule").values()), f"{o} would be scanned and never answer"
    for direction, n in numbers.items():
        assert len(n) == len(set(n)) and len(n) + 2 <= 20, (direction, n)


def machine(e):
    d = e.definition("round")
    scan = d["States"]["Scan"]["ItemProcessor"]["States"]["ScanShard"]["Parameters"]
    for p in (scan, d["States"]["Plan"]["Parameters"], d["States"]["Reduce"]["Parameters"]):
        assert ("LaunchType" in p) != ("CapacityProviderStrategy" in p), "one of the two, not both"
        assert p["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "ENABLED"
    for p in (d["States"]["Plan"]["Parameters"], d["States"]["Reduce"]["Parameters"]):
        assert p["LaunchType"] == "FARGATE", "who plans and who judges is not taken away"
    arns = {k.split('"')[1]: t["arn"] for k, t in e.of("aws_ecs_task_definition").items()}
    assert scan["TaskDefinition"] == arns["scan"] and d["States"]["Plan"]["Parameters"]["TaskDefinition"] == arns["scan"]
    assert d["States"]["Reduce"]["Parameters"]["TaskDefinition"] == arns["reduce"]
    assert d["States"]["Scan"]["MaxConcurrency"] <= 40
    event = e.definition("event")
    if event:
        whose = json.dumps(event["States"]["Whose"]["Choices"])
        assert e.outputs["security_group_id"] in whose, "rounds would be started for our own tasks"
        assert all(s in whose for s in e.outputs["subnet_ids"]), "rounds would be started for our own tasks"
    for m in e.of("aws_sfn_state_machine").values():
        assert m["logging_configuration"][0]["level"] == "ERROR" and m["tracing_configuration"][0]["enabled"] is True


def time_for_reduce(e):
    """The time of the whole is longer than all its parts may take, or it would cut Reduce off."""
    d = e.definition("round")
    scan = d["States"]["Scan"]["ItemProcessor"]["States"]["ScanShard"]
    assert d["TimeoutSeconds"] >= 4 * scan["TimeoutSeconds"] + 3 * d["States"]["Reduce"]["TimeoutSeconds"], d["TimeoutSeconds"]


def schedules(e):
    for s in e.of("aws_scheduler_schedule").values():
        target, = s["target"]
        given = json.loads(target["input"])
        assert re.fullmatch(r"[a-z0-9-]+-<aws\.scheduler\.scheduled-time>", given["round"]), given
        assert "<aws.scheduler.scheduled-time>" in target["input"], "escaped: Scheduler would not see it"
        assert set(given) == {"profile", "round", "shards", "targets", "ports", "tier", "rate"}, given
        assert all(isinstance(v, str) for k, v in given.items() if k != "shards"), given
        assert target["dead_letter_config"][0]["arn"] == e.one("aws_sqs_queue.dead")["arn"]
        assert target["retry_policy"][0]["maximum_retry_attempts"] <= 185
        assert len(given["round"].replace("<aws.scheduler.scheduled-time>", "2026-11-24T15:00:00Z")) <= 80
    assert e.one("aws_sqs_queue.dead")["sqs_managed_sse_enabled"] is True


def alarms(e):
    """Names and dimensions of what the program writes (scanner/report, `emf`) and the machine reports."""
    written = {"Coverage", "Suspect", "DeliveryFailures", "OldestUnverified", "FindingsOpen", "FindingsAcknowledged",
               "FindingsUnverified", "FindingsResolving", "FindingsMissing"}
    vantage = re.search(r'vantage = "([^"]+)"', e.outputs["patrol_toml"])[1]
    seen = set()
    for address, a in e.of("aws_cloudwatch_metric_alarm").items():
        assert a["alarm_actions"], f"{address} notifies nobody"
        metrics = [(q["metric"][0]["namespace"], q["metric"][0]["metric_name"], q["metric"][0]["dimensions"]) for q in a["metric_query"] if q["metric"]] \
            if a["metric_query"] else [(a["namespace"], a["metric_name"], a["dimensions"])]
        for namespace, name, dimensions in metrics:
            seen.add(name)
            if namespace == "mimawari" and name != "RoundComplete":
                assert name in written and dimensions == {"Vantage": vantage}, (name, dimensions)
    assert written | {"RoundComplete", "ExecutionsFailed", "ApproximateNumberOfMessagesVisible"} <= seen, seen
    q, = [a["metric_query"] for address, a in e.of("aws_cloudwatch_metric_alarm").items() if address.endswith("open_too_long")]
    formula, = [m["expression"] for m in q if m["expression"]]
    for counted in ("open", "unverified", "missing"):
        assert f"FILL({counted}, REPEAT)" in formula.split(" - ")[0], f"a finding that is {counted} stays open unseen: {formula}"
    watched = {a["dimensions"]["StateMachineArn"] for a in e.of("aws_cloudwatch_metric_alarm").values() if a["metric_name"] == "ExecutionsFailed"}
    assert len(watched) == len(e.of("aws_sfn_state_machine")), f"a machine fails unheard: {watched}"
    # A week between two rounds of a profile is no alarm.
    unverified, = [a["threshold"] for a in e.of("aws_cloudwatch_metric_alarm").values() if a["metric_name"] == "OldestUnverified"]
    weekly = any(" ? * " in s["schedule_expression"] for s in e.of("aws_scheduler_schedule").values())
    assert not weekly or unverified > 7 * 86400, f"pages between two weekly rounds: {unverified} s"
    for address, a in e.of("aws_cloudwatch_metric_alarm").items():
        if '"no-round-' in address or '"no-figures"' in address:
            assert a["treat_missing_data"] == "breaching", f"{address}: silence would look like health"


def encrypted(e):
    for address, g in e.of("aws_cloudwatch_log_group").items():
        assert g["kms_key_id"] and g["retention_in_days"], address
    for t in e.of("aws_sns_topic").values():
        assert t["kms_master_key_id"] and "alias/aws/sns" not in t["kms_master_key_id"], "CloudWatch cannot publish under AWS's key"
    assert e.one("aws_kms_key.this[0]")["enable_key_rotation"] is True


CHECKS = [task_definitions, exit_statuses, secrets, actions, pass_role, roles_apart, trust, run_task, bucket, configuration,
          baseline_repository,
          network, machine, time_for_reduce, schedules, alarms, encrypted]
