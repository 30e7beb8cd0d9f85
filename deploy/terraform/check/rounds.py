"""The machines of deploy/stepfunctions, walked through everything that may go wrong.

Every function is a check: it raises AssertionError with what is wrong.
"""
import json
import re

import asl
from asl import Failed

ECS = "arn:aws:states:::ecs:runTask.sync"
GET = "arn:aws:states:::aws-sdk:s3:getObject"
METRIC = "arn:aws:states:::aws-sdk:cloudwatch:putMetricData"
ARN = "arn:aws:states:ap-northeast-1:123456789012:execution:mimawari-round:x"
INPUT = {"profile": "hourly", "round": "hourly-2026-11-24T15:00:00Z", "shards": 4, "targets": "", "ports": "top100",
         "tier": "1"}
KEY = "hourly-2026-11-24T15-00-00Z"
# Step Functions describes a task's end at length.
LONG = json.dumps({"Containers": [{"ExitCode": 2, "Name": "mimawari"}], "Attachments": "x" * 20_000},
                  separators=(",", ":"))


def stopped(code):
    return Failed("States.TaskFailed", LONG.replace('"ExitCode":2', f'"ExitCode":{code}'))


class World:
    """ECS, S3 and CloudWatch, as far as a round sees them. Each of `plan`, `reduce`, `metric` and `shards[...]` is
    a list of what the attempts raise (None: nothing); the last counts for all that follow."""

    def __init__(self, plan=(None,), reduce=(None,), metric=(None,), shards=None, items=4, claim=ARN, result=None,
                 planned=True, read=(None,), name=KEY):
        self.fate = {"plan": list(plan), "reduce": list(reduce), "metric": list(metric), "read": list(read)}
        self.fate |= {f"shard {k}": list(v) for k, v in (shards or {}).items()}
        self.calls, self.metrics, self.name = [], [], name
        names = [f"{i + 1}/{items}" for i in range(items)]
        self.objects = {}
        if planned:
            self.objects["shards.json"] = {"version": 1, "round": name, "claim": claim, "cells": 9, "shards": names}
        self.items, self.result = items, result
        self.missing = set()

    def attempt(self, what):
        self.calls.append(what)
        fate = self.fate.get(what, [None])
        n = self.calls.count(what) - 1
        raised = fate[min(n, len(fate) - 1)]
        if raised:
            if what.startswith("shard"):
                self.missing.add(what[6:])
            raise raised
        self.missing.discard(what[6:])

    def task(self, resource, p):
        if resource == ECS:
            override, = p["Overrides"]["ContainerOverrides"]
            env = {e["Name"]: e["Value"] for e in override["Environment"]}
            assert all(isinstance(v, str) for v in env.values()), f"not all texts: {env}"
            assert len(json.dumps(p["Overrides"])) <= 8192
            assert env["MIMAWARI_ROUND"].replace(":", "-") == self.name, env
            command = override["Command"]
            assert command[0] == "round", command
            if command[1] == "plan":
                assert env["MIMAWARI_CLAIM"] == ARN, env
                self.environment = env
                self.attempt("plan")
            elif command[1] == "scan":
                assert "shards.json" in self.objects
                self.attempt(f"shard {env['MIMAWARI_SHARD']}")
            elif command[1] == "reduce":
                self.attempt("reduce")
                missing = sorted(self.missing)
                self.objects["result.json"] = self.result or {
                    "version": 1, "round": self.name, "exit": 3 if missing else 1, "incomplete": bool(missing),
                    "headline": "DRIFT", "counts": {}, "coverage": {}, "missing_shards": missing}
            else:
                raise AssertionError(f"a command that is not known: {command}")
            # As much as a task's description is.
            return {"Containers": [{"ExitCode": 0}], "Attachments": "x" * 4000}
        if resource == GET:
            prefix, _, name = p["Key"].rpartition("/")
            assert prefix == f"rounds/{self.name}", p["Key"]
            self.attempt("read")
            if name not in self.objects:
                raise Failed("S3.NoSuchKeyException", name)
            return {"Body": json.dumps(self.objects[name]), "ContentLength": 1}
        if resource == METRIC:
            datum, = p["MetricData"]
            self.attempt("metric")
            self.metrics.append((datum["Dimensions"][0]["Value"], datum["Value"]))
            return {}
        raise AssertionError(f"a call that is not known: {resource}")


def run(definition, world, given=None):
    return asl.Machine(definition, world.task).run(INPUT if given is None else given, arn=ARN)


def most(definition):
    """How many shards the machine takes."""
    rule, = definition["States"]["NotTooMany"]["Choices"]
    return int(re.search(r"\[(\d+)\]$", rule["Variable"])[1])


def scans(world):
    return [c for c in world.calls if c.startswith("shard")]


def graph(definition):
    for name, state, block in asl.states(definition):
        for n in asl.following(state):
            assert n in block["States"], f"{name} goes to {n}, which there is not"
        assert state["Type"] in ("Succeed", "Fail", "Choice") or "Next" in state or state.get("End"), f"{name} ends nowhere"
        if state["Type"] == "Task":
            assert state.get("TimeoutSeconds"), f"{name} may take for ever"
            assert state.get("Retry"), f"{name} is tried once"
    blocks = [definition] + [s["ItemProcessor"] for _, s, _ in asl.states(definition) if "ItemProcessor" in s]
    for b in blocks:
        seen, todo = set(), [b["StartAt"]]
        while todo:
            n = todo.pop()
            if n not in seen:
                seen.add(n)
                todo += asl.following(b["States"][n])
        assert seen == set(b["States"]), f"never reached: {set(b['States']) - seen}"


def good(definition):
    w = World()
    end = run(definition, w)
    assert end[0] == "SUCCEEDED" and end[1]["headline"] == "DRIFT", end
    assert w.calls.count("plan") == 1 and len(scans(w)) == 4 and w.calls.count("reduce") == 1, w.calls
    assert w.metrics == [("hourly", 1)], w.metrics
    assert w.environment["MIMAWARI_SHARDS"] == "4" and w.environment["MIMAWARI_PORTS"] == "top100", w.environment


def on_demand(definition):
    """Numbers where texts are meant, and an input that says nothing."""
    w = World(items=1, name="x")
    end = run(definition, w, {})
    assert end[0] == "SUCCEEDED" and w.environment["MIMAWARI_SHARDS"] == "1", (end, w.calls)
    w = World(name="a.b-1")
    end = run(definition, w, {"round": "a.b-1", "tier": 2, "rate": 50, "targets": "198.51.100.0/26,198.51.100.7"})
    assert end[0] == "SUCCEEDED" and w.environment["MIMAWARI_TIER"] == "2" and w.environment["MIMAWARI_RATE"] == "50", end
    assert w.environment["MIMAWARI_TARGETS"] == "198.51.100.0/26,198.51.100.7"
    for name in ("a:b", "a:b:c:d", "::::"):
        w = World()
        end = run(definition, w, {"round": name})
        assert end[:2] == ("FAILED", "BadName") and not w.calls, (name, end)


def shard_dies(definition):
    w = World(shards={"2/4": [stopped(137)]})
    end = run(definition, w)
    assert end[:2] == ("FAILED", "Incomplete") and "2/4" in end[2], end
    assert w.calls.count("shard 2/4") == 4 and w.calls.count("reduce") == 1, w.calls
    assert w.metrics == [("hourly", 0)], w.metrics
    for error in ("States.Timeout", "ECS.AmazonECSException", "AmazonECS.Unknown", "States.HeartbeatTimeout", "Else"):
        w = World(shards={"1/4": [Failed(error, "x")]})
        end = run(definition, w)
        assert end[:2] == ("FAILED", "Incomplete") and w.calls.count("reduce") == 1, (error, end)


def shard_interrupted(definition):
    """Spot: status 3 or killed, then it goes on."""
    w = World(shards={"3/4": [stopped(3), stopped(137), None]})
    end = run(definition, w)
    assert end[0] == "SUCCEEDED" and w.calls.count("shard 3/4") == 3 and w.metrics == [("hourly", 1)], (end, w.calls)


def all_shards_die(definition):
    """The largest round there may be, and every shard with a long cause: Reduce all the same."""
    n = most(definition)
    w = World(items=n, shards={f"{i + 1}/{n}": [stopped(2)] for i in range(n)})
    end = run(definition, w)
    assert end[:2] == ("FAILED", "Incomplete") and w.calls.count("reduce") == 1, end[:2]


def large(definition):
    w = World(items=most(definition))
    end = run(definition, w)
    assert end[0] == "SUCCEEDED" and len(set(scans(w))) == most(definition), end[:2]


def too_many(definition):
    """More shards than the machine has time and history for: none is started, whoever planned them."""
    for plan in ([None], [stopped(137)]):
        w = World(items=most(definition) + 1, plan=plan)
        end = run(definition, w)
        assert end[:2] == ("FAILED", "TooManyShards") and not scans(w), (end[:2], w.calls)


def taken(definition):
    """Scheduler delivered twice: the other execution has the round."""
    w = World(plan=[stopped(2)], claim="another")
    end = run(definition, w)
    assert end[0] == "SUCCEEDED" and not scans(w) and "reduce" not in w.calls and not w.metrics, (end[:2], w.calls)
    # The other one is between plan.json and shards.json.
    none = Failed("S3.NoSuchKeyException", "")
    w = World(plan=[stopped(2)], claim="another", read=[none, none, None])
    end = run(definition, w)
    assert end[0] == "SUCCEEDED" and not scans(w), (end[:2], w.calls)


def own_plan(definition):
    """Plan wrote the plan and then died: the round is ours."""
    w = World(plan=[stopped(137)])
    end = run(definition, w)
    assert end[0] == "SUCCEEDED" and len(scans(w)) == 4 and "reduce" in w.calls, (end[:2], w.calls)


def refused(definition):
    w = World(plan=[stopped(2)], planned=False)
    end = run(definition, w)
    assert end[:2] == ("FAILED", "NotPlanned") and not scans(w) and "reduce" not in w.calls, (end[:2], w.calls)
    assert w.metrics == [("hourly", 0)] and "outside the scope" in end[2], w.metrics
    # After an event of AWS: no failure.
    w = World(plan=[stopped(2)], planned=False)
    end = run(definition, w, {**INPUT, "profile": "event"})
    assert end[0] == "SUCCEEDED" and not scans(w) and not w.metrics, end[:2]
    # But only a refusal is quiet.
    for error in (stopped(1), stopped(137), Failed("AmazonECS.Unknown", "capacity"), Failed("States.Timeout", "")):
        w = World(plan=[error], planned=False)
        end = run(definition, w, {**INPUT, "profile": "event"})
        assert end[:2] == ("FAILED", "NotPlanned") and not scans(w), (error.cause[-80:], end[:2])


def plan_slow_to_start(definition):
    w = World(plan=[Failed("ECS.ThrottlingException", ""), Failed("AmazonECS.Unknown", ""), None])
    assert run(definition, w)[0] == "SUCCEEDED"


def not_reduced(definition):
    w = World(reduce=[stopped(2)])
    end = run(definition, w)
    assert end[:2] == ("FAILED", "NotReduced") and w.calls.count("reduce") == 3 and w.metrics == [("hourly", 0)], end[:2]
    w = World(reduce=[stopped(137), None])
    assert run(definition, w)[0] == "SUCCEEDED"


def no_shard_list(definition):
    """S3 fails after the plan: Reduce says what is missing."""
    w = World(read=[Failed("S3.S3Exception", "x")])
    end = run(definition, w)
    assert end[:2] == ("FAILED", "NotReduced") and "reduce" in w.calls and not scans(w), (end[:2], w.calls)


def doubtful_result(definition):
    """What is not clearly complete is not complete."""
    whole = {"version": 1, "exit": 0, "incomplete": False, "missing_shards": []}
    assert run(definition, World(result=whole))[0] == "SUCCEEDED"
    assert run(definition, World(result={**whole, "exit": 1}))[0] == "SUCCEEDED"
    without = dict(whole)
    del without["missing_shards"]
    assert run(definition, World(result=without))[0] == "SUCCEEDED"
    for change in ({"exit": 2}, {"exit": 3}, {"incomplete": True}, {"incomplete": "no"}, {"incomplete": None},
                   {"missing_shards": ["2/4"]}, {"exit": "0"}):
        w = World(result={**whole, **change})
        end = run(definition, w)
        assert end[:2] == ("FAILED", "Incomplete") and w.metrics == [("hourly", 0)], (change, end[:2])
    for gone in ("exit", "incomplete"):
        w = World(result={k: v for k, v in whole.items() if k != gone})
        assert run(definition, w)[:2] == ("FAILED", "Incomplete"), gone


def no_metrics(definition):
    """A metric that cannot be sent changes no outcome."""
    dead = [Failed("CloudWatch.CloudWatchException", "")]
    assert run(definition, World(metric=dead))[0] == "SUCCEEDED"
    assert run(definition, World(metric=dead, shards={"1/4": [stopped(1)]}))[:2] == ("FAILED", "Incomplete")
    assert run(definition, World(metric=dead, reduce=[stopped(2)]))[:2] == ("FAILED", "NotReduced")
    assert run(definition, World(metric=dead, plan=[stopped(2)], planned=False))[:2] == ("FAILED", "NotPlanned")


def everything_once(definition):
    """Each call fails for ever in each way: a round that was planned is always reduced, and success is never
    claimed for what was not scanned."""
    errors = ["States.TaskFailed", "States.Timeout", "ECS.AmazonECSException", "S3.S3Exception", "States.Permissions", "Other"]
    for what in ("plan", "shard 1/4", "reduce", "metric", "read"):
        for e in errors:
            fate = [Failed(e, "x")]
            w = World(shards={"1/4": fate}) if what.startswith("shard") else World(**{what: fate})
            end = run(definition, w)
            looked = scans(w) or what == "read"
            assert not looked or "reduce" in w.calls, f"{what} {e}: not reduced"
            if end[0] == "SUCCEEDED":
                assert not w.missing and len(set(scans(w))) == 4, f"{what} {e}: a success that is none"


ROUND = [graph, good, on_demand, shard_dies, shard_interrupted, all_shards_die, large, too_many, taken, own_plan, refused,
         plan_slow_to_start, not_reduced, no_shard_list, doubtful_result, no_metrics, everything_once]


# The machine of events -------------------------------------------------------------------------------------

def event(definition, given, addresses=(), interfaces=(), exists=()):
    started = {}

    def task(resource, p):
        if resource.endswith("ec2:describeAddresses"):
            assert p["Filters"][0]["Values"], p
            return {"Addresses": list(addresses)}
        if resource.endswith("ec2:describeNetworkInterfaces"):
            assert p["Filters"][0]["Values"], p
            return {"NetworkInterfaces": list(interfaces)}
        assert resource.endswith("states:startExecution"), resource
        if p["Name"] in exists:
            raise Failed("StepFunctions.ExecutionAlreadyExistsException", "")
        assert p["Name"] not in started and len(p["Name"]) <= 80 and p["Input"]["round"] == p["Name"], p
        assert p["Input"]["profile"] == "event"
        started[p["Name"]] = p["Input"]["targets"]
        return {}

    end = asl.Machine(definition, task).run(given)
    assert end[0] == "SUCCEEDED", end
    return started


ID = "7bf73129-1428-4cd3-a780-95db273d1602"


def events(definition):
    def call(name, response):
        return {"id": ID, "name": name, "response": response}

    first = f"event-{ID}-0"
    assert event(definition, call("AllocateAddress", {"publicIp": "198.51.100.9"})) == {first: "198.51.100.9"}
    assert event(definition, call("AssociateAddress", {"associationId": "eipassoc-1"}),
                 addresses=[{"PublicIp": "198.51.100.9"}]) == {first: "198.51.100.9"}
    made = call("CreateNetworkInterface", {"networkInterface": {"networkInterfaceId": "eni-1"}})
    assert event(definition, made, interfaces=[{"Association": {"PublicIp": "198.51.100.9"}}]) == {first: "198.51.100.9"}
    assert event(definition, made, interfaces=[{"PrivateIpAddress": "10.0.0.1"}]) == {}, "no public address: no round"
    assert event(definition, made, interfaces=[]) == {}
    # A task of ours has an interface with a public address too: a round for it would start the next one, for ever.
    choice = definition["States"][definition["StartAt"]]
    group = next(r["StringEquals"] for r in choice["Choices"][0]["And"] if "StringEquals" in r)
    subnet = choice["Choices"][1]["And"][1]["Or"][0]["StringEquals"]
    assert group and subnet != "none", choice
    ours = {"groupSet": {"items": [{"groupId": group}]}}, {"subnetId": subnet, "groupSet": {"items": [{"groupId": "sg-else"}]}}
    for of in ours:
        one = call("CreateNetworkInterface", {"networkInterface": {"networkInterfaceId": "eni-1", **of}})
        assert event(definition, one, interfaces=[{"Association": {"PublicIp": "203.0.113.9"}}]) == {}, "rounds beget rounds"
    theirs = {"networkInterfaceId": "eni-1", "subnetId": "subnet-else", "groupSet": {"items": [{"groupId": "sg-else"}]}}
    assert event(definition, call("CreateNetworkInterface", {"networkInterface": theirs}),
                 interfaces=[{"Association": {"PublicIp": "198.51.100.9"}}]) == {first: "198.51.100.9"}
    run_ = call("RunInstances", {"instancesSet": {"items": [{"instanceId": "i-1"}, {"instanceId": "i-2"}]}})
    two = [{"Association": {"PublicIp": "198.51.100.9"}}, {}, {"Association": {"PublicIp": "198.51.100.10"}}]
    assert sorted(event(definition, run_, interfaces=two).values()) == ["198.51.100.10", "198.51.100.9"]
    assert len(event(definition, run_, interfaces=two, exists=[first])) == 1, "an event that came twice"
    assert event(definition, call("CreateSubnet", {"subnet": {"cidrBlock": "198.51.100.0/26"}})) == {first: "198.51.100.0/26"}
    for other in (call("DeleteSubnet", {}), call("RunInstances", None), call("AllocateAddress", {"allocationId": "x"})):
        assert event(definition, other) == {}, other


EVENT = [graph, events]
