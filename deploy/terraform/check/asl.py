"""A small interpreter of the Amazon States Language (JSONPath), as much of it as deploy/stepfunctions uses.

Tasks are answered by a function; nothing is called and nothing waits. What it does not know it refuses.
https://states-language.net/spec.html
"""
import copy
import fnmatch
import json
import re

LIMIT = 256 * 1024  # bytes of a state's input or output


class Failed(Exception):
    """A state's error: its name and cause."""

    def __init__(self, error, cause=""):
        super().__init__(error)
        self.error, self.cause = error, cause


def lookup(path, data, context):
    """A JSONPath: names, [index] and [*]. A list for a path with [*]."""
    if path.startswith("$$"):
        data, path = context, path[1:]
    steps = re.findall(r"\.([A-Za-z0-9_]+)|\[(\d+|\*)\]", path)
    if "".join(f".{a}" if a else f"[{b}]" for a, b in steps) != path[1:]:
        raise ValueError(f"a path that is not understood: {path}")
    found, many = [data], False
    for name, index in steps:
        following = []
        for value in found:
            if name and isinstance(value, dict) and name in value:
                following.append(value[name])
            elif index == "*" and isinstance(value, list):
                following += value
            elif index.isdigit() and isinstance(value, list) and int(index) < len(value):
                following.append(value[int(index)])
        many = many or index == "*"
        found = following
    if many:
        return found
    if not found:
        raise Failed("States.ParameterPathFailure", f"no {path} in {json.dumps(data)[:300]}")
    return found[0]


def tokens(text):
    out = re.findall(r"\s*('(?:[^'\\]|\\.)*'|States\.\w+|\$[^,()\s]*|-?\d+|true|false|null|[(),])", text)
    if "".join(out).replace(" ", "") != text.replace(" ", ""):
        raise ValueError(f"an expression that is not understood: {text}")
    return out


def evaluate(text, data, context):
    """A path or an intrinsic function."""
    words = tokens(text)

    def expression():
        word = words.pop(0)
        if word.startswith("States."):
            assert words.pop(0) == "("
            arguments = []
            while words[0] != ")":
                arguments.append(expression())
                if words[0] == ",":
                    words.pop(0)
            words.pop(0)
            return intrinsic(word, arguments)
        if word.startswith("$"):
            return lookup(word, data, context)
        if word.startswith("'"):
            return re.sub(r"\\(.)", r"\1", word[1:-1])
        return json.loads(word)

    value = expression()
    if words:
        raise ValueError(f"more than an expression: {text}")
    return value


def intrinsic(name, a):
    def text(v):
        if isinstance(v, (dict, list)):
            raise Failed("States.IntrinsicFailure", f"{name} of an object")
        return v if isinstance(v, str) else json.dumps(v)
    try:
        if name == "States.Format":
            parts = a[0].split("{}")
            if len(parts) != len(a):
                raise Failed("States.IntrinsicFailure", "as many {} as arguments")
            return "".join(p + (text(v) if v is not None else "") for p, v in zip(parts, [*a[1:], None], strict=False))
        if name == "States.StringToJson":
            return json.loads(a[0])
        if name == "States.JsonToString":
            return json.dumps(a[0], separators=(",", ":"))
        if name == "States.JsonMerge":
            if a[2] is not False:
                raise ValueError("only shallow merges exist")
            return {**a[0], **a[1]}
        if name == "States.Array":
            return a
        if name == "States.ArrayGetItem":
            return a[0][a[1]]
        if name == "States.StringSplit":
            return [p for p in a[0].split(a[1]) if p]
    except (TypeError, IndexError, json.JSONDecodeError, AttributeError) as e:
        raise Failed("States.IntrinsicFailure", str(e)) from e
    raise ValueError(f"an intrinsic function that is not known: {name}")


def payload(template, data, context):
    if isinstance(template, dict):
        return {k[:-2] if k.endswith(".$") else k:
                evaluate(v, data, context) if k.endswith(".$") else payload(v, data, context)
                for k, v in template.items()}
    if isinstance(template, list):
        return [payload(v, data, context) for v in template]
    return template


def put(data, path, value):
    """ResultPath."""
    if path is None:
        return data
    if path == "$":
        return value
    names = path[2:].split(".")
    out = copy.deepcopy(data)
    inner = out
    for n in names[:-1]:
        inner = inner.setdefault(n, {})
    inner[names[-1]] = value
    return out


def holds(rule, data, context):
    if "And" in rule:
        return all(holds(r, data, context) for r in rule["And"])
    if "Or" in rule:
        return any(holds(r, data, context) for r in rule["Or"])
    if "Not" in rule:
        return not holds(rule["Not"], data, context)
    (operator, expected), = [(k, v) for k, v in rule.items() if k not in ("Variable", "Next", "Comment")]
    try:
        value = lookup(rule["Variable"], data, context)
    except Failed:
        if operator in ("IsPresent", "IsString"):
            return expected is False
        raise Failed("States.Runtime", f"no {rule['Variable']}") from None
    if operator == "IsPresent":
        return expected is True
    if operator == "IsString":
        return isinstance(value, str) is expected
    if operator == "BooleanEquals":
        return isinstance(value, bool) and value == expected
    if operator == "NumericEquals":
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value == expected
    if operator == "StringEquals":
        return isinstance(value, str) and value == expected
    if operator == "StringEqualsPath":
        return isinstance(value, str) and value == lookup(expected, data, context)
    if operator == "StringMatches":
        pattern = re.sub(r"([\[?])", r"[\1]", expected)
        return isinstance(value, str) and fnmatch.fnmatchcase(value, pattern)
    raise ValueError(f"an operator that is not known: {operator}")


def matches(names, error):
    for n in names:
        if n == "States.ALL":
            # https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
            return error not in ("States.DataLimitExceeded", "States.Runtime")
        if n == error or (n == "States.TaskFailed" and error != "States.Timeout" and not error.startswith(("States.Data", "States.Runtime", "ECS.", "AmazonECS."))):
            return True
    return False


class Machine:
    """`task(resource, parameters)` returns a result or raises Failed; it is called once an attempt."""

    def __init__(self, definition, task):
        self.definition, self.task, self.trace = definition, task, []

    def run(self, data, name="x", arn="arn:aws:states:ap-northeast-1:123456789012:execution:mimawari-round:x"):
        """(SUCCEEDED, output) or (FAILED, error, cause)."""
        self.context = {"Execution": {"Id": arn, "Name": name, "Input": data}}
        try:
            return ("SUCCEEDED", self.walk(self.definition, data, self.context))
        except Failed as e:
            return ("FAILED", e.error, e.cause)

    def walk(self, block, data, context):
        name = block["StartAt"]
        for _ in range(10_000):
            state = block["States"][name]
            self.trace.append(name)
            if len(json.dumps(data)) > LIMIT:
                raise Failed("States.DataLimitExceeded", name)
            name, data = self.step(name, state, data, context)
            if len(json.dumps(data)) > LIMIT:
                raise Failed("States.DataLimitExceeded", str(name))
            if name is None:
                return data
        raise ValueError("it goes round and round")

    def step(self, name, state, raw, context):
        kind = state["Type"]
        if kind == "Succeed":
            return None, raw
        if kind == "Fail":
            cause = evaluate(state["CausePath"], raw, context) if "CausePath" in state else state.get("Cause", "")
            raise Failed(state["Error"], cause)
        if kind == "Choice":
            for rule in state["Choices"]:
                if holds(rule, raw, context):
                    return rule["Next"], raw
            if "Default" not in state:
                raise Failed("States.NoChoiceMatched", name)
            return state["Default"], raw
        if kind == "Wait":
            return state.get("Next"), raw
        if kind == "Pass":
            given = lookup(state.get("InputPath", "$"), raw, context)
            result = payload(state["Parameters"], given, context) if "Parameters" in state else given
            return state.get("Next"), put(raw, state.get("ResultPath", "$"), result)
        if kind not in ("Task", "Map"):
            raise ValueError(f"a type that is not known: {kind}")
        retries = [0] * len(state.get("Retry", []))
        while True:
            try:
                if kind == "Task":
                    result = self.task(state["Resource"], payload(state["Parameters"], raw, context))
                else:
                    result = self.map(state, raw, context)
                if "ResultSelector" in state:
                    result = payload(state["ResultSelector"], result, context)
                if len(json.dumps(result)) > LIMIT:
                    raise Failed("States.DataLimitExceeded", name)
                return state.get("Next"), put(raw, state.get("ResultPath", "$"), result)
            except Failed as e:
                for i, r in enumerate(state.get("Retry", [])):
                    if matches(r["ErrorEquals"], e.error):
                        retries[i] += 1
                        again = retries[i] <= r.get("MaxAttempts", 3)
                        break
                else:
                    again = False
                if again:
                    continue
                for c in state.get("Catch", []):
                    if matches(c["ErrorEquals"], e.error):
                        what = {"Error": e.error, "Cause": e.cause}
                        return c["Next"], put(raw, c.get("ResultPath", "$"), what)
                raise

    def map(self, state, raw, context):
        items = lookup(state["ItemsPath"], raw, context)
        if not isinstance(items, list):
            raise Failed("States.Runtime", "the items are no list")
        out = []
        for i, item in enumerate(items):
            inner = {**context, "Map": {"Item": {"Index": i, "Value": item}}}
            data = payload(state["ItemSelector"], raw, inner) if "ItemSelector" in state else item
            out.append(self.walk(state["ItemProcessor"], data, inner))
        return out


def states(definition):
    """All states with their blocks, those of a Map's inside too: (name, state, block)."""
    for name, s in definition["States"].items():
        yield name, s, definition
        if "ItemProcessor" in s:
            yield from states(s["ItemProcessor"])


def following(state):
    out = [state.get("Next"), state.get("Default")]
    out += [c["Next"] for c in state.get("Choices", [])] + [c["Next"] for c in state.get("Catch", [])]
    return {n for n in out if n}
