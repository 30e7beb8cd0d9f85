#!/usr/bin/env bash
# Reads the baseline of a pull request or a push, and says what is wrong with it as annotations. No network, no secret.
#   BASELINE_DIR, CONFIG  of the checked out repository (the current folder)
#   BASE_REV              the commit before the change, or empty
#   STRICT                "true": warnings are errors
#   FORMAT                "github" (annotations) or "sarif" (written to SARIF_FILE; errors in the rules do not fail it)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=github-api.sh
. "$here/github-api.sh"

no_links "$BASELINE_DIR" "$CONFIG" || {
    echo "::error title=no plain file::a baseline is made of plain files; the log names what is none"
    exit 1
}
args=()
[ ! -e "$CONFIG" ] || args+=(-c "$CONFIG")
[ "${STRICT:-}" != true ] || args+=(--strict)
base=$(mktemp -d)
trap 'rm -rf "$base"' EXIT
if [ -n "${BASE_REV:-}" ] && git cat-file -e "$BASE_REV^{commit}" 2>/dev/null &&
    [ -n "$(git ls-tree "$BASE_REV" -- "$BASELINE_DIR")" ]; then
    git archive "$BASE_REV" -- "$BASELINE_DIR" | tar -x -C "$base"
    args+=(--base "$base/$BASELINE_DIR")
fi

if [ "${FORMAT:-github}" = sarif ]; then
    rc=0
    mimawari baseline check "${args[@]}" --format sarif "$BASELINE_DIR" >"$SARIF_FILE" || rc=$?
    # The errors are in the file; the check itself is what stops a merge.
    jq -e '.version == "2.1.0"' "$SARIF_FILE" >/dev/null || exit 2
    echo "baseline check: status $rc"
    exit 0
fi

bad=0
rc=0
mimawari baseline check "${args[@]}" --format github "$BASELINE_DIR" || rc=$?
[ "$rc" = 0 ] || bad=1
# The check has already reported a file that cannot be read, so only a difference of form is reported here.
if [ "$bad" = 0 ]; then
    diff=$base/fmt.diff
    rc=0
    mimawari --quiet baseline fmt --check "$BASELINE_DIR" >"$diff" 2>"$base/fmt.err" || rc=$?
    if [ "$rc" != 0 ]; then
        bad=1
        echo "::error title=not in the common form::run: mimawari baseline fmt $(printf '%s' "$BASELINE_DIR" | tr -cd 'A-Za-z0-9._/-')"
        quietly cat "$diff" "$base/fmt.err"
        {
            echo "### The baseline is not in the common form"
            echo
            echo 'Run `mimawari baseline fmt`, or apply this:'
            echo
            head -c 200000 "$diff" >"$diff.cut"
            fenced "$diff.cut"
        } >>"$GITHUB_STEP_SUMMARY"
    fi
fi
[ "$bad" = 0 ] || { echo "The baseline cannot be merged like this."; exit 1; }
echo "The baseline is in order."
