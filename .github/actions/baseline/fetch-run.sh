#!/usr/bin/env bash
# Fetches the newest finished round, so that it can be judged again. Reads only.
#   ROUNDS_URL    s3://bucket/prefix as [rounds] url names it, or a folder
#   ROUND_PREFIX  how the ids of the wanted profile begin, such as "hourly-"; such ids sort by time
#   RUN_DIR       where the run folder goes
# Prints the round's id; prints nothing (and succeeds) when no round has finished yet.
set -euo pipefail

[[ $ROUND_PREFIX =~ ^[A-Za-z0-9._-]{1,60}$ ]] || {
    echo "error: round-prefix: 1 to 60 of A-Z a-z 0-9 . _ -" >&2
    exit 2
}
case "$ROUNDS_URL" in
s3://*)
    rest=${ROUNDS_URL#s3://}
    bucket=${rest%%/*}
    prefix=${rest#"$bucket"}
    prefix=${prefix#/}
    prefix=${prefix%/}
    prefix=${prefix:+$prefix/}
    list() {
        aws s3api list-objects-v2 --bucket "$bucket" --prefix "$prefix$ROUND_PREFIX" --delimiter / \
            --query 'CommonPrefixes[].Prefix' --output json | jq -r '.[]?' | sed -n 's|.*/\([^/]*\)/$|\1|p'
    }
    result() {
        local keys
        # A listing distinguishes "not there" from "may not be read"; a read does not.
        keys=$(aws s3api list-objects-v2 --bucket "$bucket" --prefix "$prefix$1/result.json" \
            --query 'Contents[].Key' --output json) || return 2
        jq -e --arg key "$prefix$1/result.json" 'index($key) != null' <<<"${keys:-null}" >/dev/null 2>&1 || return 1
        aws s3 cp --only-show-errors "s3://$bucket/$prefix$1/result.json" - || return 2
    }
    get() { aws s3 cp --only-show-errors --recursive --exclude 'report.*' --exclude verdict.json \
        "s3://$bucket/$prefix$1/run/" "$2"; }
    ;;
'')
    echo "error: rounds-url is empty" >&2
    exit 2
    ;;
*)
    list() { find "$ROUNDS_URL" -mindepth 1 -maxdepth 1 -type d -name "$ROUND_PREFIX*" -printf '%f\n'; }
    result() { [ -e "$ROUNDS_URL/$1/result.json" ] || return 1; cat "$ROUNDS_URL/$1/result.json"; }
    get() { mkdir -p "$2" && cp -r "$ROUNDS_URL/$1/run/." "$2"; }
    ;;
esac

ids=$(list)
# The newest complete round; if none of the last ones is, the newest that came to its end at all.
fallback=''
chosen=''
tried=0
while IFS= read -r id; do
    [[ $id =~ ^[A-Za-z0-9._-]{1,80}$ ]] || continue
    # `hourly-eu-…` is another profile's, and would sort behind all of `hourly-`.
    [[ ${id#"$ROUND_PREFIX"} =~ ^[0-9] ]] || continue
    tried=$((tried + 1))
    [ "$tried" -le 50 ] || break
    rc=0
    json=$(result "$id") || rc=$?
    [ "$rc" != 1 ] || continue
    [ "$rc" = 0 ] || exit 2
    if [ "$(jq -r '.incomplete' <<<"$json")" = false ]; then
        chosen=$id
        break
    fi
    [ -n "$fallback" ] || fallback=$id
done < <(printf '%s\n' "$ids" | LC_ALL=C sort -r)
chosen=${chosen:-$fallback}
[ -n "$chosen" ] || exit 0
get "$chosen" "$RUN_DIR" >&2
[ -e "$RUN_DIR/run.json" ] || {
    echo "error: the round $chosen has no run folder" >&2
    exit 2
}
printf '%s\n' "$chosen"
