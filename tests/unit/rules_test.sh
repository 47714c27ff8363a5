#!/bin/sh
# Each rule of authorisation, as the sources of the monitor name it, is tried in
# a test and explained in docs/security.md. The list is made of the sources: a
# rule that is new fails here until it has both.
set -eu
cd "${1:?the source folder}"

passed=0 failed=0
say() { # WHAT WORD
  echo "FAILED $1: $2"
  failed=$((failed + 1))
}

# Rules are words with hyphens, and nothing else in these files is, but names of
# programs and files of ours. Members of a rule of root's are NAME/MEMBER.
sources=$(find daemon/monitor -name '*.cpp' | grep -vE '/(main\.cpp|config/)')
# shellcheck disable=SC2086 # paths of this project hold no spaces
rules=$(grep -hoE '"[A-Za-z0-9_]+(-[A-Za-z0-9_]+)+"' $sources | tr -d '"' |
  grep -v '^cloister-' | sort -u)
# shellcheck disable=SC2086
members=$(grep -hoE '(member\(|denied\(.*, )"[a-z_.]+"\)' $sources |
  grep -oE '"[a-z_.]+"' | tr -d '"' | sort -u)

tests=$(find tests -name '*_test.cpp' -o -name '*_test.py' -o -name '*_test.sh' | grep -v '/rules_test.sh$')
table=$(grep -E '^\| .*`' docs/security.md)

check() { # RULE, AS IT STANDS IN A TEST, AS IT STANDS IN THE TABLE
  # shellcheck disable=SC2086
  if ! grep -qF -- "$2" $tests; then say "no test names the rule" "$1"
  elif ! printf '%s\n' "$table" | grep -qF -- "$3"; then say "no row of docs/security.md has the rule" "$1"
  else passed=$((passed + 1)); fi
}
for rule in $rules; do check "$rule" "$rule" "\`$rule\`"; done
for member in $members; do check "NAME/$member" "/$member\"" "\`/$member\`"; done

# A list that came out empty would find nothing.
for known in own-uid groups-are-not-shed confined-caller; do
  case " $(echo $rules) " in
    *" $known "*) passed=$((passed + 1)) ;;
    *) say "the list of rules lacks" "$known" ;;
  esac
done

echo "outcome: $passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
