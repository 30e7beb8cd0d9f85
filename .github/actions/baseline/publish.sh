#!/usr/bin/env bash
# Publishes the baseline of the checked out commit.
#   BASELINE_DIR, PUBLISH_TO   what, and where to: s3://bucket/prefix or a folder
#   PUBLISH_ENDPOINT           of an S3-compatible store, or empty
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=github-api.sh
. "$here/github-api.sh"

no_links "$BASELINE_DIR"
args=(--to "$PUBLISH_TO")
[ -z "${PUBLISH_ENDPOINT:-}" ] || args+=(--endpoint "$PUBLISH_ENDPOINT")
out=$(mktemp)
trap 'rm -f "$out"' EXIT
rc=0
mimawari baseline publish "${args[@]}" "$BASELINE_DIR" >"$out" || rc=$?
quietly cat "$out"
[ "$rc" = 0 ] || {
    echo "::error title=not published::the baseline that scans read is unchanged; the log says why"
    exit 1
}
{
    echo "### Baseline"
    echo
    fenced "$out"
} >>"$GITHUB_STEP_SUMMARY"
