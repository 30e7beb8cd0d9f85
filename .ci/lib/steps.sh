#!/usr/bin/env bash
# For .ci/fast, .ci/run and .ci/full: named steps with their seconds, and one thing that runs beside them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0
# A panic still names its line; what goes is the line tables, which take time to make and to link.
export CARGO_PROFILE_DEV_DEBUG=0
export PATH="$PATH:/usr/sbin:/sbin"
export DEBIAN_FRONTEND=noninteractive

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
packages() {
    # policy-rc.d: the servers are started by the tests, in their own namespaces, never by the system.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
work=$(mktemp -d)

# Begins a step; the seconds of the one before go into the table.
table=() current='' begun=0
step() {
    [ -z "$current" ] || table+=("$(printf '%6d  %s' $((SECONDS - begun)) "$current")")
    current=$1 begun=$SECONDS
    [ -z "$current" ] || printf '\n== %s (%ss)\n' "$current" "$SECONDS"
}

# Ends the last step and prints the table, with the lines of what ran beside.
print_steps() {
    step ""
    printf '\n== seconds of each step\n'
    printf '%s\n' "${table[@]}"
    [ ! -f "$work/beside-table" ] || cat "$work/beside-table"
    printf '%6d  in all\n' "$SECONDS"
}

# One thing that runs beside the steps: its output is kept apart until it is joined, and its failure is
# the failure of the run.
beside=''
begin_beside() {
    "$@" >"$work/beside" 2>&1 &
    beside=$!
}
join() {
    [ -n "$beside" ] || return 0
    local pid=$beside rc=0
    beside=''
    wait "$pid" || rc=$?
    cat "$work/beside"
    [ "$rc" = 0 ] || { echo "FAILED: what ran beside the steps, exit $rc" >&2; exit "$rc"; }
}

ended() {
    local rc=$?
    [ -z "$beside" ] || { kill "$beside" 2>/dev/null || :; cat "$work/beside"; }
    rm -rf "$work"
    [ "$rc" = 0 ] || printf '\nFAILED (exit %s) in: %s (%ss)\n' "$rc" "$current" "$SECONDS" >&2
}
trap ended EXIT

install_build_needs() {
    local need=()
    # OpenSSL is built from source.
    command -v perl >/dev/null || need+=(perl)
    command -v make >/dev/null || need+=(make)
    command -v python3 >/dev/null || need+=(python3)
    python3 -c 'import ensurepip, venv' 2>/dev/null || need+=(python3-venv)
    command -v git >/dev/null || need+=(git)
    command -v flock >/dev/null || need+=(util-linux)
    [ "${#need[@]}" = 0 ] || { as_root apt-get update -qq && packages "${need[@]}"; }
}

# What most mistakes show in: minutes, and no package but the compiler's.
fast_lane() {
    step "fmt"
    cargo fmt --all --check

    step "ruff"
    "$(.ci/python/install ruff)/ruff" check --quiet .

    step "test: the pure crates"
    cargo test --locked --quiet -p mimawari-targets -p mimawari-probes -p mimawari-engine -p mimawari-drift -p mimawari-report

    step "clippy"
    cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
}
