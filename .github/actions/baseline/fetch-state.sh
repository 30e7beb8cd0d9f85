#!/usr/bin/env bash
# Copies what the newest generation of a state needs to be read into a folder. Reads only.
#   STATE_URL   s3://bucket/prefix as [state] url names it
#   STATE_DIR   where it goes
set -euo pipefail

case "$STATE_URL" in s3://?*) ;; *) echo "error: state-url is s3://bucket/prefix" >&2; exit 2 ;; esac
rest=${STATE_URL#s3://}
bucket=${rest%%/*}
prefix=${rest#"$bucket"}
prefix=${prefix#/}
prefix=${prefix%/}
prefix=${prefix:+$prefix/}generations/
mkdir -p "$STATE_DIR/generations"
get() { aws s3 cp --only-show-errors "s3://$bucket/$prefix$1" "$STATE_DIR/generations/$1" >&2; }

newest=$(aws s3api list-objects-v2 --bucket "$bucket" --prefix "$prefix" --query 'Contents[].Key' --output json |
    jq -r '.[]?' | sed -n 's|.*/\([0-9]\{14\}\.json\)$|\1|p' | LC_ALL=C sort | tail -n 1)
[ -n "$newest" ] || { echo "error: there is no state at $STATE_URL" >&2; exit 2; }
get "$newest"
# The generation that it was made from; the program holds them against each other.
parent=$(head -n 1 "$STATE_DIR/generations/$newest" | jq -r '.parent.number // empty')
[ -z "$parent" ] || get "$(printf '%014d.json' "$parent")"
