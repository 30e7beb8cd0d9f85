# Tasks of a maintainer; `just --list` shows them. All of them are ordinary commands and need no just.

# Format, lint and the pure crates' tests: minutes.
fast:
    .ci/fast

# Everything that must be true of a commit.
run:
    .ci/run

# What takes longer than a commit may: histories, scale, other scanners side by side.
full:
    .ci/full

# One suite: `just suite program state::`.
suite binary filter="":
    cargo test -p mimawari-tests --test {{ binary }} {{ filter }}

# Writes changed snapshots; read them with `git diff` before you commit.
bless binary="program" filter="":
    INSTA_UPDATE=always cargo test -p mimawari-tests --test {{ binary }} {{ filter }}

# Generated files: schemas of all formats, and the reference of the configuration.
schemas:
    MIMAWARI_BLESS=1 cargo test -p mimawari-tests --test pure laws::

# Python tools: the lock from requirements.in.
lock-python *arguments:
    .ci/python/lock {{ arguments }}
