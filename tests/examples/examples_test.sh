#!/bin/sh
# The five changes of CONTRIBUTING.md, as patches that anybody can try:
#
#   patch -p1 <tests/examples/mount.patch
#
# apply: each applies to the sources as they are, alone and after all others, and
# touches no more files than CONTRIBUTING.md says.
# build: the sources build with all of them, and the test cases that cover them pass.
#
#   examples_test.sh apply|build SOURCES
set -eu
what=$1 sources=$(realpath "$2")

# The patches that must exist, and how many files each may touch: of the programs, of
# the tests, in all; -: no limit. Files below tests/ are of the tests, CHANGELOG.md and
# docs/ do not count, all others are of the programs.
limits='
scalar     5  2 -
authorised -  - 7
mount      5  - -
cause      3  - -
method     11 - -'
examples=$(printf '%s\n' "$limits" | awk 'NF { print $1 }')
# The test cases that cover a change which only adds a row to a table and has no test
# case of its own.
walks='
scalar     every step of init and of the payload has a case that fails there
scalar     every field does in root'"'"'s service for a user what the table says
authorised every field does in root'"'"'s service for root what the table says'

work=
child=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT
trap '[ -z "$child" ] || { kill "$child" && wait "$child"; } 2>/dev/null || true; exit 130' INT TERM
# The users of the tests must be able to enter it, and no test may take it for a file of
# its own.
work=$(mktemp -d /var/tmp/cloister-examples-XXXXXX)
chmod 755 "$work"

passed=0 failed=0
# expect NAME COMMAND...
expect() {
  name=$1
  shift
  if "$@" >"$work/said" 2>&1; then
    echo "ok $name"
    passed=$((passed + 1))
  else
    cat "$work/said"
    echo "FAILED $name"
    failed=$((failed + 1))
  fi
}
finished() {
  echo "outcome: $passed passed, $failed failed, 0 skipped"
  [ "$failed" = 0 ]
  exit
}
# Runs a command in the background, so that a signal can end us meanwhile.
wait_for() {
  "$@" &
  child=$!
  status=0
  wait "$child" || status=$?
  child=
  return "$status"
}

patch_of() { echo "$sources/tests/examples/$1.patch"; }
files_of() { sed -nE 's|^diff --git a/.* b/(.*)$|\1|p' "$(patch_of "$1")"; }
copy_to() {
  mkdir "$1"
  tar -c -C "$sources" --exclude='./build*' --exclude=./.git . | tar -x -C "$1"
}
# As strict as git apply.
apply() { patch -p1 --fuzz=0 --force --silent --no-backup-if-mismatch -d "$1" <"$(patch_of "$2")"; }

# within LIMIT COUNT
within() { [ "$1" = - ] || [ "$2" -le "$1" ]; }
# few_enough EXAMPLE: prints its files, and fails if they are more than its limits.
few_enough() {
  files=$(files_of "$1" | grep -vE '^(CHANGELOG\.md|docs/)' || true)
  in_tests=$(printf '%s\n' "$files" | grep -c '^tests/' || true)
  in_all=$(printf '%s\n' "$files" | grep -c . || true)
  of_programs=$((in_all - in_tests))
  echo "$1: $of_programs files of the programs, $in_tests of the tests"
  printf '%s\n' "$files"
  # shellcheck disable=SC2046 # three words
  set -- $(printf '%s\n' "$limits" | awk -v name="$1" '$1 == name { print $2, $3, $4 }')
  [ "$of_programs" -gt 0 ] && within "$1" "$of_programs" && within "$2" "$in_tests" && within "$3" "$in_all"
}
# applies_last EXAMPLE
applies_last() {
  cp -r "$work/fresh" "$work/last"
  ended=0
  for other in $examples; do
    [ "$other" = "$1" ] || apply "$work/last" "$other" || ended=1
  done
  apply "$work/last" "$1" || ended=1
  rm -rf "$work/last"
  return "$ended"
}

if [ "$what" = apply ]; then
  copy_to "$work/fresh"
  there=$(cd "$sources/tests/examples" && find . -name '*.patch' | sed 's|^\./||; s|\.patch$||' | sort)
  expect 'the patches are those that have a limit' \
    [ "$there" = "$(printf '%s\n' "$examples" | sort)" ]
  for example in $examples; do
    expect "$example.patch touches as few files as it may" few_enough "$example"
    cat "$work/said"
    cp -r "$work/fresh" "$work/alone"
    expect "$example.patch applies alone" apply "$work/alone" "$example"
    rm -rf "$work/alone"
    expect "$example.patch applies after all the others" applies_last "$example"
  done
  finished
fi

[ -n "${CLOISTER_TEST_ALL:-}" ] || { echo 'builds all programs once more (run.sh --all)' && exit 77; }
[ "$(id -u)" = 0 ] || { echo 'needs root' && exit 77; }

tree=$work/all
build=$tree/build
copy_to "$tree"
for example in $examples; do expect "$example.patch applies" apply "$tree" "$example"; done
[ "$failed" = 0 ] || finished

# The options of run.sh, so that a compiler cache has most of the objects.
options=$(sed -n 's/^  configure build //p' "$sources/tests/run.sh")
# shellcheck disable=SC2086 # a list of words
expect 'all examples together configure' wait_for meson setup "$build" "$tree" $options
# Which files a program has, meson says only where each is compiled by itself.
# shellcheck disable=SC2086 # a list of words
expect 'and one file at a time' wait_for meson setup "$tree/apart" "$tree" $options -Dunity=off
for what in targets tests; do
  meson introspect "$tree/apart" --$what | sed "s|$tree/apart|$build|g" >"$work/$what"
done

# The test programs that are compiled from a changed file.
for example in $examples; do files_of "$example"; done |
  sed -n "s|^tests/.*\.cpp$|$tree/&|p" | sort -u |
  jq -R . | jq -rs --slurpfile targets "$work/targets" '. as $files | $targets[0][]
    | select(.type == "executable" and (.filename[0] | contains("/build/tests/")))
    | select([.target_sources[].sources[]?] | any(IN($files[]))) | .filename[0]' >"$work/programs"
# And the programs that these run.
jq -r --rawfile programs "$work/programs" --slurpfile targets "$work/targets" '
  [.[] | select(.cmd[0] | IN($programs | split("\n")[] | select(. != ""))) | .depends[]] as $ids
  | $targets[0][] | select(.type == "executable" and (.id | IN($ids[]))) | .filename[0]' \
  "$work/tests" | cat - "$work/programs" | sort -u | sed "s|^$build/||" >"$work/wanted"
# shellcheck disable=SC2046 # a list of words
expect 'all examples together build' wait_for ninja -C "$build" $(cat "$work/wanted")
[ "$failed" = 0 ] || finished

# cases_of EXAMPLE: names as they stand in the patch; the rest of a long one may be on
# the next line.
cases_of() {
  sed -nE '/^\+TEST_CASE\($/ { N; s/\n\+ *// }; s/^\+TEST_CASE\("([^"]*).*/\1/p' "$(patch_of "$1")"
  printf '%s\n' "$walks" | awk -v name="$1" '$1 == name' | sed -E 's/^[^ ]+ +//'
}
cases() {
  for example in $examples; do cases_of "$example"; done | sed 's/,/\\,/g; s/$/*/'
}

: >"$work/ran"
while read -r program; do
  environment=$(jq -r --arg program "$program" '[.[] | select(.cmd[0] == $program)][0].env
    | to_entries[] | "\(.key)=\(.value)"' "$work/tests")
  # shellcheck disable=SC2086 # a list of words
  wait_for env $environment timeout 900 "$program" --test-case="$(cases | paste -sd,)" >>"$work/ran" 2>&1 ||
    echo "ended with $?: $program" >>"$work/ran"
done <"$work/programs"

# passes EXAMPLE: none of its cases failed or was skipped.
passes() {
  cases_of "$1" >"$work/cases"
  [ -s "$work/cases" ] || { echo 'no test case shows it' && return 1; }
  while IFS= read -r case; do
    grep -qF "ok $case" "$work/ran" || { echo "not ok: $case" && return 1; }
  done <"$work/cases"
}
for example in $examples; do expect "the test cases of $example.patch pass" passes "$example"; done
expect 'no test case failed, was skipped or ended its program' \
  sh -c '! grep -E "^(FAILED|skipped|ended) " "$1"' sh "$work/ran"
[ "$failed" = 0 ] || cat "$work/ran"
finished
