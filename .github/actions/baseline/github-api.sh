#!/usr/bin/env bash
# To be sourced: asks GitHub's REST API. Needs GH_TOKEN, GITHUB_API_URL, curl and jq.

# api METHOD PATH [BODY_FILE]: the answer on stdout; any status of 300 and more is an error that names what was asked.
api() {
    local method=$1 path=$2 body=${3-} answer status
    answer=$(mktemp) || return 1
    local args=(--silent --show-error --max-time 60 --request "$method" --output "$answer" --write-out '%{http_code}'
        --header 'Accept: application/vnd.github+json' --header 'X-GitHub-Api-Version: 2022-11-28'
        --user-agent mimawari-baseline)
    # What creates something is asked once: an answer that got lost must not become a second comment.
    [ "$method" = POST ] || args+=(--retry 3 --retry-connrefused)
    [ -z "$body" ] || args+=(--header 'Content-Type: application/json' --data-binary "@$body")
    # The token goes by stdin, since arguments can be read by every process of the machine.
    if ! status=$(printf 'header = "Authorization: Bearer %s"\n' "$GH_TOKEN" |
        curl --config - "${args[@]}" "$GITHUB_API_URL$path"); then
        rm -f "$answer"
        echo "error: $method $path: GitHub did not answer" >&2
        return 1
    fi
    if [ "$status" -ge 300 ]; then
        echo "error: $method $path: GitHub answered $status: $(jq -r '.message // empty' "$answer" 2>/dev/null | cut -c 1-300)" >&2
        rm -f "$answer"
        return 1
    fi
    cat "$answer"
    rm -f "$answer"
}

# api_all PATH: every page of a list, as one JSON array.
api_all() {
    local path=$1 page=1 list n
    local all='[]'
    case "$path" in *\?*) path="$path&" ;; *) path="$path?" ;; esac
    while [ "$page" -le 30 ]; do
        list=$(api GET "${path}per_page=100&page=$page") || return 1
        n=$(jq length <<<"$list") || return 1
        all=$(printf '%s\n%s\n' "$all" "$list" | jq -s -c 'add') || return 1
        [ "$n" -eq 100 ] || break
        page=$((page + 1))
    done
    printf '%s\n' "$all"
}

# as_body FILE: the file's text as {"body": …}, cut where GitHub would refuse it. GitHub takes 65,536 characters; here
# a character outside the basic plane counts as two, whichever way GitHub counts it.
as_body() {
    jq -R -s -c '
        def units: [explode[] | if . > 65535 then 2 else 1 end] | add // 0;
        def note: "\n\n**Cut here: the text was longer than a comment may be.**\n";
        if units <= 65000 then . else until(units <= 64000; .[:(length * 9 / 10 | floor)]) + note end
        | {body: .}' <"$1"
}

# quietly COMMAND…: runs it so that no line of its output is taken for a workflow command; for output that quotes what
# a pull request holds.
quietly() {
    local token rc=0
    token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    echo "::stop-commands::$token"
    "$@" || rc=$?
    echo "::$token::"
    return "$rc"
}

# fenced FILE: the text as a code block that it cannot end itself.
fenced() {
    local fence='```'
    while grep -qF -- "$fence" "$1"; do fence="$fence\`"; done
    printf '%stext\n' "$fence"
    # Colours and other control characters are for terminals.
    sed 's/\x1b\[[0-9;]*[A-Za-z]//g' "$1" | tr -d '\000-\010\013-\037\177'
    printf '\n%s\n' "$fence"
}

# no_links DIR…: a baseline is made of files. A link could name a file of the runner, and its text would be quoted in
# an error.
no_links() {
    local found
    found=$(git ls-files --stage -- "$@" | awk '$1 != "100644" && $1 != "100755" { sub(/^[^\t]*\t/, ""); print }')
    [ -z "$found" ] || {
        echo "error: no links in a baseline; these are no plain files:" >&2
        printf '%s\n' "$found" >&2
        return 1
    }
}

# output NAME VALUE: a step's output of one line.
output() {
    case "$2" in *$'\n'*) echo "error: the output $1 has several lines" >&2; return 1 ;; esac
    printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"
}
