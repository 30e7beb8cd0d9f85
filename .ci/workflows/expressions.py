"""Expressions of GitHub Actions, as far as the workflows here use them; what is not known is an error, not empty."""

import re

TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>\d+)|(?P<op>==|!=|&&|\|\||[!().,\[\]])|(?P<name>[A-Za-z_][A-Za-z0-9_-]*))"
)
STATUS = ("success", "failure", "always", "cancelled")


class Unknown(Exception):
    """A name that the context does not have."""


class Strict(dict):
    """A context in which a name that is not there is an error."""


def text(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def truthy(value):
    return value not in ("", 0, False, None)


def equal(a, b):
    if isinstance(a, str) and isinstance(b, str):
        return a.lower() == b.lower()
    if isinstance(a, (dict, list)) or isinstance(b, (dict, list)):
        raise Unknown("objects are not compared here")

    def number(v):
        if v is None or v == "":
            return 0.0
        try:
            return float(v)
        except ValueError:
            return float("nan")

    return number(a) == number(b)


class Parser:
    def __init__(self, source, context, status):
        self.tokens, self.at, self.context, self.status = [], 0, context, status
        at = 0
        source = source.rstrip()
        while at < len(source):
            m = TOKEN.match(source, at)
            if not m:
                raise Unknown(f"cannot read the expression at: {source[at:]!r}")
            self.tokens.append((m.lastgroup, m.group(m.lastgroup)))
            at = m.end()

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else (None, None)

    def take(self, value=None):
        kind, found = self.peek()
        if value is not None and found != value:
            raise Unknown(f"expected {value}, found {found}")
        self.at += 1
        return kind, found

    def whole(self):
        value = self.either()
        if self.peek() != (None, None):
            raise Unknown(f"left over: {self.tokens[self.at:]}")
        return value

    def either(self):
        value = self.both()
        while self.peek()[1] == "||":
            self.take()
            other = self.both()
            value = value if truthy(value) else other
        return value

    def both(self):
        value = self.compared()
        while self.peek()[1] == "&&":
            self.take()
            other = self.compared()
            value = other if truthy(value) else value
        return value

    def compared(self):
        value = self.single()
        while self.peek()[1] in ("==", "!="):
            _, op = self.take()
            same = equal(value, self.single())
            value = same if op == "==" else not same
        return value

    def single(self):
        kind, value = self.take()
        if value == "!":
            return not truthy(self.single())
        if value == "(":
            inner = self.either()
            self.take(")")
            return inner
        if kind == "string":
            return value[1:-1].replace("''", "'")
        if kind == "number":
            return int(value)
        if kind != "name":
            raise Unknown(f"unexpected {value}")
        if value in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[value]
        if self.peek()[1] == "(":
            self.take()
            self.take(")")
            if value not in STATUS:
                raise Unknown(f"the function {value} is not known here")
            return {"success": self.status == "success", "failure": self.status == "failure", "always": True,
                    "cancelled": False}[value]
        if value not in self.context:
            raise Unknown(f"there is no context {value} here")
        found, path = self.context[value], value
        while self.peek()[1] == ".":
            self.take()
            _, key = self.take()
            path += f".{key}"
            if isinstance(found, Strict) and key not in found:
                raise Unknown(f"there is no {path}")
            found = found.get(key) if isinstance(found, dict) else None
        return found


def evaluate(source, context, status="success"):
    return Parser(source, context, status).whole()


def substitute(value, context):
    """A string with ${{ }} in it; the value itself when it is nothing but one expression."""
    if not isinstance(value, str):
        return value
    one = re.fullmatch(r"\s*\$\{\{(.*?)\}\}\s*", value, re.S)
    if one and "${{" not in one.group(1):
        return evaluate(one.group(1), context)
    return re.sub(r"\$\{\{(.*?)\}\}", lambda m: text(evaluate(m.group(1), context)), value, flags=re.S)


def condition(source, context, status):
    """Whether an `if` holds: without a status function, only while nothing has failed."""
    if source is None:
        return status == "success"
    source = str(source).strip()
    one = re.fullmatch(r"\$\{\{(.*)\}\}", source, re.S)
    source = one.group(1) if one else source
    asks = re.search(r"\b(success|failure|always|cancelled)\s*\(", source)
    if not asks and status != "success":
        return False
    return truthy(evaluate(source, context, status))
