#!/usr/bin/env bash
# Removes the rules that nothing needs any more, on a branch of its own with one pull request, both written anew in place.
#   BASELINE_DIR    of the checked out repository (the current folder), at the branch that is merged into
#   BASE_BRANCH     that branch
#   PRUNE_BRANCH    the branch of the proposal
#   STATE_URL       s3://…, or empty: only expired rules are then found
#   GH_TOKEN        may write contents and pull requests
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=github-api.sh
. "$here/github-api.sh"

name='mimawari[bot]'
email='mimawari-prune@users.noreply.github.com'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git check-ref-format "refs/heads/$PRUNE_BRANCH" && [ "$PRUNE_BRANCH" != "$BASE_BRANCH" ] || {
    echo "error: the branch of the proposal cannot be called so" >&2
    exit 2
}
no_links "$BASELINE_DIR"

args=()
if [ -n "${STATE_URL:-}" ]; then
    STATE_DIR="$work/state" "$here/fetch-state.sh"
    args+=(--state "$work/state")
fi
mimawari baseline prune "${args[@]}" --write "$BASELINE_DIR" >"$work/out"
quietly cat "$work/out"
# The reasons come first, one a line; then an empty line and the difference.
sed '/^$/,$d' "$work/out" >"$work/reasons"

# The token goes by the environment, since arguments can be read by every process of the machine.
authorised() {
    GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=http.extraHeader \
        GIT_CONFIG_VALUE_0="Authorization: Basic $(printf 'x-access-token:%s' "$GH_TOKEN" | base64 -w 0)" \
        GIT_TERMINAL_PROMPT=0 git "$@"
}
remote="$GITHUB_SERVER_URL/$GITHUB_REPOSITORY.git"
owner=${GITHUB_REPOSITORY%%/*}
open=$(api_all "/repos/$GITHUB_REPOSITORY/pulls?state=open&head=$owner:$PRUNE_BRANCH&base=$BASE_BRANCH")
# The filter is GitHub's; a fork's branch of the same name is not ours.
pr=$(jq -r --arg branch "$PRUNE_BRANCH" --arg repository "$GITHUB_REPOSITORY" \
    '[.[] | select(.head.ref == $branch and .head.repo.full_name == $repository)][0].number // empty' <<<"$open")

if git diff --quiet -- "$BASELINE_DIR"; then
    if [ -n "$pr" ]; then
        jq -n -c '{state: "closed"}' >"$work/close"
        api PATCH "/repos/$GITHUB_REPOSITORY/pulls/$pr" "$work/close" >/dev/null
        echo "::notice title=closed::nothing is left to remove, so #$pr was closed"
    else
        echo "Nothing to remove."
    fi
    exit 0
fi

rules=$(wc -l <"$work/reasons")
title="Remove $rules rules that nothing needs any more"
[ "$rules" != 1 ] || title="Remove 1 rule that nothing needs any more"

git switch --quiet --force-create "$PRUNE_BRANCH"
git add -- "$BASELINE_DIR"
git -c user.name="$name" -c user.email="$email" -c commit.gpgSign=false commit --quiet \
    --message "$title" --message "$(sed 's/^/- /' "$work/reasons")"

push=yes
if theirs=$(authorised fetch --quiet --no-tags "$remote" "refs/heads/$PRUNE_BRANCH" 2>/dev/null && git rev-parse FETCH_HEAD); then
    if [ -n "$pr" ] && [ "$(git log -1 --format=%ce "$theirs")" != "$email" ]; then
        # Somebody works on the proposal: their commits are not thrown away. What was closed or merged is done with.
        echo "::warning title=left alone::the branch $PRUNE_BRANCH holds somebody's own commits; merge it or delete it"
        exit 0
    fi
    # The same proposal upon the same base is left as it is, and so are the reviews that it has.
    [ "$(git rev-parse "$theirs^{tree}" "$theirs^")" != "$(git rev-parse 'HEAD^{tree}' 'HEAD^')" ] || push=no
else
    theirs=''
fi
if [ "$push" = yes ]; then
    authorised push --quiet --force-with-lease="refs/heads/$PRUNE_BRANCH:$theirs" "$remote" \
        "HEAD:refs/heads/$PRUNE_BRANCH"
fi

{
    echo "These rules can go; nothing that is open depends on them:"
    echo
    # A line is: file:line: `id`: why
    sed 's/^/- /' "$work/reasons"
    cat <<'TEXT'

**What to do.** If a rule is really over, approve. If it is still needed, leave this open, and give the rule a new end
and a reason that says why, in a pull request of your own: the next round of this one leaves it out.

A rule is proposed when it expired more than 30 days ago, or when nothing that it allows was seen for 30 days in 10
runs that covered all of it. Merging silences nothing: a port that opens again later is a finding again.

<sub>Written anew in place every week. Commits of your own on this branch are respected: it is then left alone.</sub>
TEXT
} >"$work/body.md"
as_body "$work/body.md" | jq -c --arg title "$title" --arg head "$PRUNE_BRANCH" --arg base "$BASE_BRANCH" \
    '. + {title: $title, base: $base} + {head: $head}' >"$work/pr"
if [ -n "$pr" ]; then
    jq -c 'del(.head)' "$work/pr" >"$work/patch"
    api PATCH "/repos/$GITHUB_REPOSITORY/pulls/$pr" "$work/patch" >/dev/null
    echo "::notice title=proposed::#$pr was written anew: $title"
else
    pr=$(api POST "/repos/$GITHUB_REPOSITORY/pulls" "$work/pr" | jq -r .number)
    echo "::notice title=proposed::#$pr: $title"
fi
