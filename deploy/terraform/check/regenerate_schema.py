#!/usr/bin/env python3
"""Regenerates aws-schema.json: what the AWS provider knows of the types that the module uses.

The provider itself cannot be had from a package registry, but PyPI's `cdktn-provider-aws` is generated from
its schema. Names, kinds, what is a block and what is required are read out of it. Not needed by the checks:

    python3 -m venv v && v/bin/pip install cdktn-provider-aws==25.8.1
    v/bin/python deploy/terraform/check/regenerate_schema.py
"""
import io
import json
import pathlib
import re
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
# Optional in a configuration, and filled in by AWS where the module says nothing.
FILLED = {"id", "arn", "ipv6_cidr_block", "name", "tags_all", "default_version", "policy_id"}


def snake(name):
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def attributes(body):
    """The entries of an `attrs` object: name, what converts its value, is it a block, its kind."""
    out = []
    entry = r"(\w+): \{\s*value: (.*?),\s*isBlock: (true|false),\s*type: \"(\w+)\",\s*storageClassType: \"(\w+)\""
    for m in re.finditer(entry, body, re.S):
        out.append((m[1], m[2], m[3] == "true", m[4], m[5]))
    return out


def kind(collection, storage):
    scalar = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}
    if collection == "simple":
        return scalar.get(storage, "string")
    element = scalar.get(re.sub(r"(List|Map)$", "", storage), "string")
    return [collection, element]


def optional_names(dts, interface):
    """Which properties of an interface are optional."""
    m = re.search(r"export interface %s (?:extends [\w.]+ )?\{(.*?)\n\}" % re.escape(interface), dts, re.S)
    return {p[1]: p[2] == "?" for p in re.finditer(r"readonly (\w+)(\??):", m[1])} if m else {}


def block(js, dts, interface, attrs, owner):
    optional = {snake(k): v for k, v in optional_names(dts, interface).items()}
    cls = re.search(r"class %s extends .*?\n\}\n" % re.escape(owner), js, re.S)
    cls = cls[0] if cls else ""
    out = {"attributes": {}, "blocks": {}}
    for name, value, is_block, collection, storage in attrs:
        # Digits are spelled differently in the two places.
        must = not optional.get(name, next(
            (v for k, v in optional.items() if k.replace("_", "") == name.replace("_", "")), True))
        nested = re.search(r"(\w+)ToHclTerraform\b", value)
        if is_block and nested:
            fn = nested[1]
            inner = fn[0].upper() + fn[1:]
            body = re.search(r"function %sToHclTerraform\(struct\) \{(.*?)\n\}" % re.escape(fn), js, re.S)
            b = block(js, dts, inner, attributes(body[1]), inner + "OutputReference")
            single = re.search(r"new %sOutputReference\(this, \"%s\"" % (re.escape(inner), name), cls)
            b["nesting"] = "list" if single or collection == "struct" else collection
            b["max"] = 1 if single else 0
            b["min"] = 1 if must else 0
            out["blocks"][name] = b
        elif name == "timeouts":
            continue
        else:
            how = "required" if must else "filled" if name in FILLED else "optional"
            out["attributes"][name] = {"type": kind(collection, storage), "how": how}
    return out


def computed(cls, out):
    types = {"String": "string", "Number": "number", "Boolean": "bool",
             "List": ["list", "string"], "StringMap": ["map", "string"]}
    for m in re.finditer(r"this\.get(String|Number|Boolean|List|StringMap)Attribute\('([\w]+)'\)", cls):
        if m[2] not in out["attributes"] and m[2] not in out["blocks"]:
            out["attributes"][m[2]] = {"type": types[m[1]], "how": "computed"}


def read(tar, folder):
    def member(name):
        return tar.extractfile(f"package/lib/{folder}/{name}").read().decode()
    return member("index.js"), member("index.d.ts")


def main():
    from importlib.metadata import version

    import cdktn_provider_aws
    base = pathlib.Path(cdktn_provider_aws.__file__).parent / "_jsii"
    archive = next(base.glob("*.jsii.tgz"))
    used = {"resource": set(), "data": set()}
    for f in HERE.parent.rglob("*.tf"):
        for m in re.finditer(r'^(resource|data) "(aws_\w+)"', f.read_text(), re.M):
            used[m[1]].add(m[2])
    tar = tarfile.open(fileobj=io.BytesIO(archive.read_bytes()))
    names = {m.name.split("/")[2] for m in tar.getmembers() if m.name.count("/") == 3}
    out = {"from": f"cdktn-provider-aws {version('cdktn-provider-aws')}", "resource": {}, "data": {}}
    for sort in ("resource", "data"):
        for t in sorted(used[sort]):
            folder = t.removeprefix("aws_").replace("_", "-")
            folder = f"data-aws-{folder}" if sort == "data" else folder
            if folder not in names:
                sys.exit(f"{t}: no such {sort} in {archive.name}")
            js, dts = read(tar, folder)
            owner = re.search(r"export declare class (\w+) extends cdktn\.Terraform(?:Resource|DataSource)", dts)[1]
            cls = re.search(r"class %s extends .*?\n\}\n" % owner, js, re.S)[0]
            top = re.search(r"synthesizeHclAttributes\(\) \{(.*?)\n    \}", cls, re.S)[1]
            b = block(js, dts, owner + "Config", attributes(top), owner)
            computed(cls, b)
            b["attributes"].setdefault("id", {"type": "string", "how": "filled"})
            if t == "aws_region":
                b["attributes"]["region"]["how"] = "filled"
            out[sort][t] = b
    readme = tar.extractfile("package/README.md").read().decode()
    m = re.search(r"(\d+\.\d+\.\d+)", readme[readme.find("hashicorp/aws"):] or "")
    (HERE / "aws-schema.json").write_text(json.dumps(out, indent=1, sort_keys=True) + "\n")
    print(f"{len(out['resource'])} resources, {len(out['data'])} data sources"
          + (f", provider {m[1]}" if m else ""))


if __name__ == "__main__":
    main()
