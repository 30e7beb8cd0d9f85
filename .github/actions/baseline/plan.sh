#!/usr/bin/env bash
# Judges the last run twice, with the baseline before and after a pull request, and writes the comment that says what
# the change would do. Always writes a comment: also when the plan cannot be made, and then the step's output `ok` is
# `false`.
#   BASELINE_DIR, CONFIG            in the checked out merge commit (the current folder), whose first parent is the base
#   COMMENT_FILE                    where the comment goes
#   FAIL_ON_SILENCED                a severity or empty: the plan is not ok if it would silence such a finding
#   EARLIER                         outcomes of the steps before: anything but `success` is reported in the comment
#   HEAD_SHA, RUN_URL               for the footer
#   SCAN_CONFIG                     the scans' own configuration on S3, or empty
#   ROUNDS_URL, ROUND_PREFIX        see fetch-run.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=github-api.sh
. "$here/github-api.sh"

: "${BASELINE_DIR:?}" "${CONFIG:?}" "${COMMENT_FILE:?}"
marker='<!-- mimawari-plan -->'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

footer() {
    printf '\n<sub>For %s; made by [this run](%s). Written anew with every push.</sub>\n' "${HEAD_SHA:0:12}" "$RUN_URL"
}

# write_comment TITLE FILE: a comment in place of a plan.
write_comment() {
    {
        printf '%s\n## %s\n\n' "$marker" "$1"
        head -c 20000 "$2" >"$work/cut"
        # No half character at the end.
        iconv -f UTF-8 -t UTF-8 -c "$work/cut" >"$work/cut.utf8" || true
        fenced "$work/cut.utf8"
        footer
    } >"$COMMENT_FILE"
}

failed() {
    write_comment "The plan of this change could not be made" "$1"
    quietly cat "$1"
    echo "::error title=no plan::the plan could not be made; the comment and the log say why"
    output ok false
    exit 0
}

for outcome in $EARLIER; do
    [ "$outcome" = success ] || {
        echo "A step before the plan failed (credentials or installation). The log of the run says which." >"$work/why"
        failed "$work/why"
    }
done
no_links "$BASELINE_DIR" "$CONFIG" 2>"$work/why" || failed "$work/why"

# The base is the merge commit's first parent: exactly what merging would change, however old the branch is.
mkdir "$work/base" "$work/run"
git archive HEAD^1 | tar -x -C "$work/base" 2>"$work/why" || failed "$work/why"
if [ -z "$(find "$work/base/$BASELINE_DIR" -maxdepth 1 -name '*.toml' 2>/dev/null)" ]; then
    # The first rules of all: before them nothing was agreed.
    mkdir -p "$work/base/$BASELINE_DIR"
    printf 'version = 1\nowner = "@nobody"\n' >"$work/base/$BASELINE_DIR/empty.toml"
fi
# The configuration says what is in the scope and where the state is, so it is the scans' own; else the reviewed one of
# the base, and never the pull request's.
if [ -n "${SCAN_CONFIG:-}" ]; then
    config=$(CONFIG_DIR="$work/config" "$here/fetch-config.sh" 2>"$work/why") || failed "$work/why"
else
    config="$work/base/$CONFIG"
    [ -e "$config" ] || config=$CONFIG
fi

round=$(RUN_DIR="$work/run" "$here/fetch-run.sh" 2>"$work/why") || failed "$work/why"
if [ -z "$round" ]; then
    echo "No round of the profile \"$ROUND_PREFIX\" has finished yet, so there is nothing to judge twice." >"$work/why"
    write_comment "No plan yet" "$work/why"
    output ok true
    exit 0
fi

args=(--base "$work/base/$BASELINE_DIR" --head "$BASELINE_DIR" --run "$work/run" -c "$config" --format markdown)
[ -z "${FAIL_ON_SILENCED:-}" ] || args+=(--fail-on-silenced "$FAIL_ON_SILENCED")
rc=0
mimawari --quiet baseline plan "${args[@]}" --out "$work/plan.md" 2>"$work/why" || rc=$?
case "$rc" in
0) output ok true ;;
1)
    echo "::error title=silences findings::this change would silence a finding of severity $FAIL_ON_SILENCED or more; the comment says which"
    output ok false
    ;;
*) failed "$work/why" ;;
esac
[ "$(head -n 1 "$work/plan.md")" = "$marker" ] || {
    echo "the plan does not begin with its marker" >"$work/why"
    failed "$work/why"
}
{
    cat "$work/plan.md"
    printf '\n<sub>Round `%s`.</sub>' "$round"
    footer
} >"$COMMENT_FILE"
cat "$COMMENT_FILE" >>"$GITHUB_STEP_SUMMARY"
