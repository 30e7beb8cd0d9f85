"""Every `mimawari …` and `scan-now …` in the documents under deploy/ is one that the program takes.

Usage: check_commands.py MIMAWARI

A command line is handed to the program with --help behind it: what the parser does not know is refused before the help
is shown, and nothing is run. What stands for a value is taken as one. Not seen: required arguments that are missing.
"""

import os
import pathlib
import re
import shlex
import subprocess
import sys

DEPLOY = pathlib.Path(__file__).resolve().parents[2]
# Commands that a program of before them does not have. One that has some of them must have them all.
NEWER = ("round", "selfcheck", "completions", "man")


def lines(text):
    """(number, shell text, whether a span) of the fenced blocks, joined at backslashes, and of the code spans."""
    fence, start, joined = None, 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if mark := re.match(r"\s*(`{3,})(\w*)", line):
            if fence is None:
                fence = mark[2]
            else:
                fence, joined = None, ""
            continue
        if fence is None:
            for span in re.findall(r"`([^`]+)`", line):
                yield number, span, True
        elif fence in ("", "console", "sh", "bash", "shell", "text"):
            start = start if joined else number
            joined += " " + line.strip().removeprefix("$ ").removesuffix("\\")
            if not line.rstrip().endswith("\\"):
                yield start, joined.strip(), False
                joined = ""


def commands(text):
    """(number, words) of each command of the program or of scan-now."""
    for number, line, span in lines(text):
        for array in re.findall(r'"command":\s*\[([^\]]*)\]', line):
            yield number, ["mimawari", *re.findall(r'"([^"]*)"', array)]
        if not re.search(r"(^|[\s/])(mimawari|scan-now)\s", line + " "):
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&()<>")
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:
            yield number, ["unreadable", line]
            continue
        command = []
        for word in [*words, ";"]:
            if re.fullmatch(r"[|;&()<>]+", word):
                at = [i for i, w in enumerate(command) if w.rsplit("/", 1)[-1] in ("mimawari", "scan-now")]
                # Behind sudo, env and the like; but not an argument of another program, such as `install -m 755 mimawari`.
                at = at[1:] if len(at) > 1 and at[1] == at[0] + 1 else at  # sudo -u mimawari mimawari
                if at and all(re.match(r"(sudo|env|timeout|ssh|mimawari$|[A-Z_]+=|\d+|-|\w+\d$)", w) for w in command[: at[0]]):
                    if len(command) > at[0] + 1:
                        words = [command[at[0]].rsplit("/", 1)[-1], *command[at[0] + 1 :]]
                        # In a sentence, `mimawari scan --resume` names an option without its value.
                        if span and words[-1].startswith("--"):
                            words[-1] = words[-1].removesuffix("=") + ("" if words[0] == "scan-now" else "?")
                        yield number, words
                # What stands behind < or > is a file.
                command = ["a-file"] if word[0] in "<>" else []
            else:
                command.append(word)


def taken(program, words):
    """What the program says against it, or nothing."""
    words = [w for w in words if w not in ("…", "...") and not w.startswith("…")]
    if words and words[-1].endswith("?"):
        words[-1] = words[-1].removesuffix("?")
        return taken(program, words) and taken(program, [*words, "1"])
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MIMAWARI_")}
    done = subprocess.run([program, *words, "--help"], capture_output=True, text=True, timeout=60, env=clean)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["refused"])[0]


def main():
    program = sys.argv[1]
    helped = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    known = set(re.findall(r"^  ([a-z]+) ", helped, re.M))
    scan_now = subprocess.run([DEPLOY / "bin/scan-now", "--help"], capture_output=True, text=True, check=True).stdout
    old = not any(command in known for command in NEWER)
    # That this can fail at all.
    for wrong in (["scan", "--no-such-flag"], ["no-such-command"], ["state", "no-such-command"], ["scan", "--rate"]):
        assert taken(program, wrong), wrong
    seen = faults = skipped = 0
    for path in sorted(DEPLOY.rglob("*.md")):
        for number, (name, *words) in commands(path.read_text()):
            where = f"{path.relative_to(DEPLOY.parent)}:{number}"
            seen += 1
            if name == "unreadable":
                fault = "the shell could not read it"
            elif name == "scan-now":
                flags = [w.split("=")[0] for w in words if re.match(r"--?[a-z]", w)]
                fault = ", ".join(f"no option {f}" for f in flags if not re.search(rf"(?<!\S){f}\b", scan_now))
            elif old and words[0] in NEWER:
                skipped += 1
                print(f"SKIPPED, the program is older than `{words[0]}`: {where}: {shlex.join([name, *words])}")
                continue
            else:
                fault = taken(program, words)
            if fault:
                faults += 1
                print(f"{where}: {shlex.join([name, *words])}\n    {fault}")
    print(f"{seen} commands in deploy's documents, {faults} not taken, {skipped} SKIPPED")
    assert seen >= 40, "fewer commands than the runbook alone has: are they still found?"
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
