#!/bin/sh
# The table of programs in docs/security.md, compared with what was built: which
# programs there are, which have a JSON library in them, which ask the user
# database, and what they load. How many lines of code each is, is printed beside
# it and bounded by nothing.
#
#   root_test.sh SOURCES BUILD
set -eu
sources=${1:?the source folder} build=${2:?the build folder}

passed=0 failed=0

# expect NAME ACTUAL WANTED
expect() {
  if [ "$2" = "$3" ]; then
    echo "ok $1"
    passed=$((passed + 1))
  else
    printf 'FAILED %s: is\n%s\nand the table says\n%s\n' "$1" "$2" "$3"
    failed=$((failed + 1))
  fi
}

# Programs that `meson install` installs: bin, sbin and our own folder of libexec.
installed=$(tr ',{}' '\n\n\n' <"$build/meson-info/intro-installed.json" |
  sed -nE 's|^ *"([^"]*)": *"[^"]*/(s?bin\|libexec/cloister)/[^/"]*" *$|\1|p' | sort)
# "| `NAME` | JSON | names | libraries | ... |"
rows=$(sed -nE '/^## Programs/,/^## Rules/s/^\| `([a-z-]+)` \| ([a-z]+) \| ([a-z]+) \| ([a-z0-9_, -]+) \|.*/\1|\2|\3|\4/p' \
  "$sources/docs/security.md")
expect "each program that is installed has a row, and no other" \
  "$(for program in $installed; do basename "$program"; done | sort)" \
  "$(printf '%s\n' "$rows" | cut -d '|' -f 1 | sort)"

# Of the C and C++ run time, or what a sanitizer build adds.
runtime='lib(c|m|gcc_s|stdc\+\+|asan|ubsan|tsan|gcov|pthread|dl|rt|resolv)\.so|ld-linux'
libraries() {
  if ! readelf -lW "$1" | grep -q INTERP; then
    echo static
    return
  fi
  readelf -dW "$1" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p' | grep -vE "^($runtime)" |
    sed -E 's/\.so.*//' | sort | paste -sd ' ' | sed -e 's/ /, /g' -e 's/^$/none/'
}
# yes_if COMMAND...
yes_if() { if "$@"; then echo yes; else echo no; fi; }
has_json() { nm -C "$1" | grep -q 'nlohmann::'; }
# The program's own calls. A static one has the C library's functions in it, and
# calls those that are there as a whole.
asks_names() {
  nm "$1" | sed -E 's/@.*//' | awk '{ print $NF }' |
    grep -qE '^_*(get(pw|gr|sp|sg)(nam|uid|gid|ent)(_r)?|getgrouplist|initgroups|getaddrinfo|getnameinfo|gethostby(name|addr)2?(_r)?|getserv.*|getproto.*|getnetgrent.*)$'
}

for row in $(printf '%s\n' "$rows" | tr ' ' '_'); do
  name=$(printf '%s\n' "$row" | cut -d '|' -f 1)
  program=$(printf '%s\n' "$installed" | grep "/$name\$" || true)
  [ -n "$program" ] || continue # said above
  expect "$name has symbols to look at" "$(yes_if test "$(nm "$program" | wc -l)" -gt 20)" yes
  expect "$name: a JSON library" "$(yes_if has_json "$program")" \
    "$(printf '%s\n' "$row" | cut -d '|' -f 2)"
  expect "$name: the user database" "$(yes_if asks_names "$program")" \
    "$(printf '%s\n' "$row" | cut -d '|' -f 3)"
  expect "$name: libraries" "$(libraries "$program")" \
    "$(printf '%s\n' "$row" | cut -d '|' -f 4 | tr '_' ' ')"
done

# Comments and empty lines are not code.
lines_of() {
  for folder in "$@"; do find "$sources/$folder" -name '*.[ch]pp'; done | xargs cat |
    grep -cvE '^[[:space:]]*(//.*)?$'
}
echo "lines: cloisterd $(lines_of daemon/monitor)," \
  "cloister-config $(lines_of daemon/config), cloister-front $(lines_of daemon/front lib/resolve)," \
  "cloister-init $(lines_of daemon/init) (of which cloister-network has a part)," \
  "cloister-network $(lines_of daemon/network), cloister-relay $(lines_of daemon/relay)," \
  "cloister-sweep $(lines_of daemon/sweep)," \
  "shared: lib/plan $(lines_of lib/plan), lib/sys $(lines_of lib/sys)"

echo "outcome: $passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
