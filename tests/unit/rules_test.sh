#!/bin/sh
# Each rule of the table (lib/plan/refusals.hpp) has words and a remedy, is used by
# the monitor, tried in a test, and has a line in cloister-refusals(7); those of
# authorisation are explained in docs/security.md too.
#
# rules_test.sh SOURCE_FOLDER CLOISTER-VOCABULARY
set -eu
vocabulary=$(realpath "${2:?the program that prints the tables}")
cd "${1:?the source folder}"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

passed=0 failed=0
check() { # WHAT RULE COMMAND...
  what=$1 rule=$2
  shift 2
  if "$@"; then passed=$((passed + 1))
  else
    echo "FAILED $rule: $what"
    failed=$((failed + 1))
  fi
}

"$vocabulary" >"$work/tables"
python3 docs/refusals.py docs/cloister-refusals.7.scd.in "$vocabulary" >"$work/page"
grep -E '^\| .*`' docs/security.md >"$work/security"
find daemon/monitor -name '*.cpp' -exec cat {} + >"$work/monitor"
find tests \( -name '*_test.cpp' -o -name '*_test.py' -o -name '*_test.sh' \) ! -name rules_test.sh \
  -exec cat {} + >"$work/tests"

has() { grep -qE -- "$2" "$1"; }
has_text() { grep -qF -- "$2" "$1"; }
# In the middle of another sentence: a small letter first (or a field, or a name
# of its own), no period at the end.
is_sentence() {
  case $1 in '' | *. | *.' ' | [A-Z][a-z]*) return 1 ;; esac
}

# What the calls about jobs answer is told by the names of their errors: the tests
# of these calls look at those. Of a plan that is not sound no honest front knows.
told_by_error='no-such-job|shutting-down|preparing|unknown-signal|flaw|waits|max_connections'

rows=0
while IFS="$(printf '\t')" read -r table name id kind remedy words hint; do
  case $table in rule | member) ;; *) continue ;; esac
  rows=$((rows + 1))
  check "has no words that can stand in a sentence" "$name" is_sentence "$words"
  check "has no remedy that can stand in a sentence" "$name" is_sentence "$hint"
  check "has a remedy by nobody" "$name" test "$remedy" != none
  check "the monitor never refuses anything by it" "$name" has "$work/monitor" "Reason::$id\b"
  shown=$(printf '%s' "$name" | sed 's/_/\\\\_/g')
  check "has no line in cloister-refusals(7)" "$name" has_text "$work/page" \
    "*$(printf '%s' "$shown" | sed 's/\\\\/\\/g')*"
  if printf '%s\n' "$name" | grep -qxE "$told_by_error"; then continue; fi
  if [ "$table" = member ]; then
    check "no test names it" "$name" has_text "$work/tests" "/$name\""
    case $name in quota.*) ;; *)
      check "no row of docs/security.md has it" "$name" has_text "$work/security" "\`/$name\`" ;;
    esac
  else
    check "no test names it" "$name" has_text "$work/tests" "$name"
    case $kind in denied | invalid)
      check "no row of docs/security.md has it" "$name" has_text "$work/security" "\`$name\`" ;;
    esac
  fi
done <"$work/tables"

# A list that came out empty would find nothing.
check "the table has fewer rows than there are rules" "the list" test "$rows" -gt 80
for known in own-uid groups-are-not-shed confined-caller; do
  check "the table lacks it" "$known" has "$work/tables" "^rule	$known	"
done
# A rule that is named by its text is none of the table.
check "the monitor names a rule by a literal" "Reason" sh -c \
  "! grep -nE 'refus(e|al)\([^;]*\"[a-z0-9]+(-[a-z]+)+\"' '$work/monitor'"

echo "outcome: $passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
