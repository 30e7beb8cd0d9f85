#!/usr/bin/env bash
# Installs mimawari for the steps that follow; see action.yml. Everything comes by the environment.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../baseline/github-api.sh
. "$here/../baseline/github-api.sh"

fail() {
    printf '::error title=setup-mimawari::%s\n' "$1"
    exit 1
}

bin="$RUNNER_TEMP/mimawari-bin"
mkdir -p "$bin"
if [ -n "$SETUP_PATH" ]; then
    [ -x "$SETUP_PATH" ] || fail 'the given path is no program'
    ln -sf "$(realpath "$SETUP_PATH")" "$bin/mimawari"
else
    [[ $SETUP_VERSION =~ ^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$ ]] || fail 'give version, such as 1.4.0, or path'
    [[ $SETUP_SHA256 =~ ^[0-9a-f]{64}$ ]] || fail 'give sha256: 64 lower-case hexadecimal digits'
    [[ $SETUP_REPOSITORY =~ ^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$ ]] || fail 'give repository as owner/name'
    [[ $SETUP_ASSET =~ ^[A-Za-z0-9._-]+$ ]] || fail 'asset is the name of a file'
    case "$SETUP_ATTESTATION" in auto | require | off) ;; *) fail 'attestation is auto, require or off' ;; esac

    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    url=$(api GET "/repos/$SETUP_REPOSITORY/releases/tags/v$SETUP_VERSION" |
        jq -r --arg name "$SETUP_ASSET" '[.assets[] | select(.name == $name)][0].id // empty') ||
        fail "there is no release v$SETUP_VERSION in $SETUP_REPOSITORY, or it cannot be read"
    [ -n "$url" ] || fail "the release v$SETUP_VERSION has no asset $SETUP_ASSET"
    # curl does not hand the token to another host that it is sent on to.
    printf 'header = "Authorization: Bearer %s"\n' "$GH_TOKEN" |
        curl --config - --silent --show-error --fail --location --retry 3 --max-time 300 --max-filesize 209715200 \
            --header 'Accept: application/octet-stream' --header 'X-GitHub-Api-Version: 2022-11-28' \
            --user-agent mimawari-baseline --output "$work/$SETUP_ASSET" \
            "$GITHUB_API_URL/repos/$SETUP_REPOSITORY/releases/assets/$url" ||
        fail "the asset $SETUP_ASSET could not be downloaded"
    printf '%s  %s\n' "$SETUP_SHA256" "$work/$SETUP_ASSET" | sha256sum --check --status ||
        fail "SHA-256 of $SETUP_ASSET is $(sha256sum "$work/$SETUP_ASSET" | cut -c 1-64), not the one given; nothing was run"
    if [ "$SETUP_ATTESTATION" != off ]; then
        if command -v gh >/dev/null; then
            gh attestation verify "$work/$SETUP_ASSET" --repo "$SETUP_REPOSITORY" ||
                fail "the attestation of $SETUP_ASSET could not be verified; nothing was run"
        elif [ "$SETUP_ATTESTATION" = require ]; then
            fail 'the attestation is required, and there is no gh to verify it'
        else
            echo "note: no gh here, so the attestation was not verified; the SHA-256 was"
        fi
    fi
    case "$SETUP_ASSET" in
    *.tar.gz)
        tar -xzf "$work/$SETUP_ASSET" -C "$work" --no-same-owner
        program=$(find "$work" -type f -name mimawari -perm -100 | head -n 1)
        [ -n "$program" ] || fail "there is no mimawari in $SETUP_ASSET"
        ;;
    *) program="$work/$SETUP_ASSET" ;;
    esac
    install -m 755 "$program" "$bin/mimawari"
fi
echo "$bin" >>"$GITHUB_PATH"
version=$("$bin/mimawari" --version) || fail 'the program does not run here'
output version "$version"
echo "$version"
