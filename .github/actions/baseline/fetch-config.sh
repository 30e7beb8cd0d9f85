#!/usr/bin/env bash
# Copies the scans' own configuration, with the files beside it. Reads only.
#   SCAN_CONFIG   s3://bucket/…/patrol.toml
#   CONFIG_DIR    where it goes
# Prints the file's path.
set -euo pipefail

[[ $SCAN_CONFIG =~ ^s3://[^/]+/(.*/)?[A-Za-z0-9._-]+\.toml$ ]] || {
    echo "error: scan-config is s3://bucket/…/NAME.toml" >&2
    exit 2
}
mkdir -p "$CONFIG_DIR"
aws s3 cp --only-show-errors --recursive "${SCAN_CONFIG%/*}/" "$CONFIG_DIR" >&2
file=$CONFIG_DIR/${SCAN_CONFIG##*/}
[ -e "$file" ] || {
    echo "error: there is no $SCAN_CONFIG" >&2
    exit 2
}
printf '%s\n' "$file"
