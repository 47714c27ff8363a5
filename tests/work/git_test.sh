#!/bin/sh
# git: where the workspace is the repository's root it works as outside; where it
# is a directory below, cloister says what is missing.
. "${0%/*}/job.sh"
needs git
serve

repository() {
  as_user git init -q -b main
  mkdir "$work/below"
  echo 42 >"$work/below/answer"
  chown -R "$user:$user" "$work"
  job build 'git add . && git -c user.name=u -c user.email=u@example.test commit -q -m one'
  check "git adds and commits" exited 0
  check "the commit is in the repository, outside" \
    eval '[ "$(as_user git show --format=%s HEAD:below/answer)" = 42 ]'
  check "its objects are the user's" \
    eval '[ -z "$(find "$work/.git" ! -user "$user" -print -quit)" ]'

  repository=$work
  work=$work/below
  note="repository's root, $repository, is outside the workspace"
  job build 'git status'
  check "git finds no repository from below its root" exited 128
  check "the note says why" said "$note"
  cloister plan --profile build true
  check "the plan says it" said "$note"
  cloister plan --json --profile build true
  check "and its JSON" eval 'jq -e --arg note "$note" "[.notes[] | select(test(\$note))] | length == 1" "$log"'
  job build 'git status --short && echo fine' --workspace "$repository"
  check "with the root as its workspace it works from below" said '^fine$'
  check "and nothing is noted" eval '! said "$note"'
  work=$repository
}
in_each_mode repository
finished
