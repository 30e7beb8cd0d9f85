#!/usr/bin/env bash
# Judges the last round again with the merged baseline and keeps what that changes, so that a merge settles findings at
# once and with no packet. Drift is an answer and no failure.
#   BASELINE_DIR, CONFIG       of the checked out repository (the current folder)
#   SCAN_CONFIG                the scans' own configuration on S3, in place of CONFIG; or empty
#   ROUNDS_URL, ROUND_PREFIX   see fetch-run.sh
#   NOTIFY_ENVIRONMENT         lines NAME=ARN of a secret in AWS Secrets Manager, for the configuration's notifiers; or empty
#   VERDICT_FILE               where the verdict goes
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=github-api.sh
. "$here/github-api.sh"

# What a merge re-opens is notified here or never: the next round finds it in the state. Names of secrets alone; the role reads
# them, and no variable of the runner itself is set.
while IFS= read -r line; do
    line=${line%$'\r'}
    [ -n "$line" ] || continue
    [[ $line =~ ^[A-Z][A-Z0-9_]{0,63}=arn:aws[a-z-]*:secretsmanager:[A-Za-z0-9:/_+=.@-]+$ ]] &&
        [[ $line != AWS_* && $line != MIMAWARI_* && $line != GITHUB_* && $line != LD_* ]] || {
        echo "::error title=not settled::notify-environment is a line NAME=ARN of a secret for each secret of the notifiers"
        exit 1
    }
    export "${line?}"
done <<<"${NOTIFY_ENVIRONMENT:-}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run=$work/run
mkdir "$run"
# What is out of the scope is settled as well, so that the scope must be the scans' own.
[ -z "${SCAN_CONFIG:-}" ] || CONFIG=$(CONFIG_DIR="$work/config" "$here/fetch-config.sh")
round=$(RUN_DIR="$run" "$here/fetch-run.sh")
if [ -z "$round" ]; then
    echo "::notice title=nothing to settle::no round of the profile $ROUND_PREFIX has finished yet"
    exit 0
fi
rc=0
mimawari judge -c "$CONFIG" --run "$run" --baseline "$BASELINE_DIR" --save-state --out "$VERDICT_FILE" || rc=$?
case "$rc" in
0 | 1) ;;
3) echo "::warning title=incomplete::the last round did not cover everything; what it did not see is not settled" ;;
*)
    echo "::error title=not settled::the verdict could not be written; the next scan will settle it"
    exit 1
    ;;
esac
output exit "$rc"
report=$work/report.md
mimawari --quiet report --verdict "$VERDICT_FILE" --format markdown --out "$report"
# A step's summary holds 1 MiB.
head -c 900000 "$report" | iconv -f UTF-8 -t UTF-8 -c >>"$GITHUB_STEP_SUMMARY" || true
ROUND=$round jq -r '"round \(env.ROUND): \(.counts.open) open, \(.counts.missing) missing, \(.counts.allowed) allowed, \(.counts.resolved) resolved"' \
    "$VERDICT_FILE"
