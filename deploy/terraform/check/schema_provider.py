#!/usr/bin/env python3
"""A provider for Terraform that knows the AWS provider's schema and does nothing.

`terraform validate` and `terraform test` with `mock_provider` need a schema, and no more. This process serves
aws-schema.json over the plugin protocol (version 6), so that both run on the whole module without the real
provider, without a network and without an account.

    schema_provider.py SOCKET       serves until its input is closed; prints a line when it is ready

https://github.com/hashicorp/terraform/tree/main/docs/plugin-protocol
"""
import json
import pathlib
import sys
from concurrent import futures

import grpc

HERE = pathlib.Path(__file__).resolve().parent
NESTING = {"single": 1, "list": 2, "set": 3, "map": 4}


# The few messages are written by hand: fields of protobuf, nothing generated.
def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value) if value else b""


def data(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def attribute(name, a):
    how = a["how"]
    return (data(1, name) + data(2, json.dumps(a["type"])) + number(4, how == "required")
            + number(5, how in ("optional", "filled")) + number(6, how in ("computed", "filled")))


def block(b):
    out = b"".join(data(2, attribute(n, a)) for n, a in sorted(b["attributes"].items()))
    for name, nested in sorted(b["blocks"].items()):
        out += data(3, data(1, name) + data(2, block(nested)) + number(3, NESTING[nested["nesting"]])
                    + number(4, nested["min"]) + number(5, nested["max"]))
    return out


def schema(b):
    return data(2, block(b))


def provider_schema():
    known = json.loads((HERE / "aws-schema.json").read_text())
    config = {"attributes": {"region": {"type": "string", "how": "optional"}}, "blocks": {
        "default_tags": {"attributes": {"tags": {"type": ["map", "string"], "how": "optional"}}, "blocks": {},
                         "nesting": "list", "min": 0, "max": 1}}}
    out = data(1, schema(config))
    for field, sort in ((2, "resource"), (3, "data")):
        for name, b in sorted(known[sort].items()):
            out += data(field, data(1, name) + data(2, schema(b)))
    return out


class Handler(grpc.GenericRpcHandler):
    def __init__(self):
        self.schema = provider_schema()

    def service(self, details):
        answer = {"GetProviderSchema": self.schema, "ValidateProviderConfig": b"", "ValidateResourceConfig": b"",
                  "ValidateDataResourceConfig": b"", "ConfigureProvider": b"", "StopProvider": b""}
        name = details.method.rsplit("/", 1)[-1]
        if name not in answer:
            return None
        return grpc.unary_unary_rpc_method_handler(lambda request, context: answer[name])


def main():
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Handler()],
                         options=[("grpc.max_send_message_length", -1)])
    server.add_insecure_port(f"unix:{sys.argv[1]}")
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    server.stop(0)


if __name__ == "__main__":
    main()
