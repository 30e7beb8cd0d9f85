#!/usr/bin/env bash
# Puts one comment on a pull request, and writes it anew in place when it is there already.
#   COMMENT_FILE  its text; the first line is the hidden marker by which it is found again
#   PR_NUMBER     the pull request
#   COMMENT_BY    who writes it; others' comments are left alone, whatever they begin with
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=github-api.sh
. "$here/github-api.sh"

[[ $PR_NUMBER =~ ^[0-9]+$ ]] || { echo "error: this is no pull request" >&2; exit 2; }
marker=$(head -n 1 "$COMMENT_FILE")
case "$marker" in '<!-- '*' -->') ;; *) echo "error: the comment has no marker" >&2; exit 2 ;; esac
body=$(mktemp)
trap 'rm -f "$body"' EXIT
as_body "$COMMENT_FILE" >"$body"

ids=$(api_all "/repos/$GITHUB_REPOSITORY/issues/$PR_NUMBER/comments" |
    jq -r --arg marker "$marker" --arg by "$COMMENT_BY" \
        '.[] | select(.user.login == $by and (.body | split("\n")[0] | rtrimstr("\r")) == $marker) | .id')
first=''
for id in $ids; do
    if [ -z "$first" ]; then
        first=$id
        api PATCH "/repos/$GITHUB_REPOSITORY/issues/comments/$id" "$body" >/dev/null
        echo "comment $id was written anew"
    else
        # Two at once should not be; if they are, one stays.
        api DELETE "/repos/$GITHUB_REPOSITORY/issues/comments/$id" >/dev/null
        echo "comment $id was one too many"
    fi
done
if [ -z "$first" ]; then
    api POST "/repos/$GITHUB_REPOSITORY/issues/$PR_NUMBER/comments" "$body" | jq -r '"comment \(.id) was written"'
fi
