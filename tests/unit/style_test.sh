#!/bin/sh
# One style, by tools: clang-format for all sources, clang-tidy for those of the
# programs. Both are of the version that Debian 12 has; another has other opinions.
#
#   style_test.sh format|tidy SOURCES BUILD
set -eu
what=$1 build=$3
cd "$2"

tool=clang-$what
command -v "$tool" >/dev/null || { echo "$tool is missing (Debian: $tool)" && exit 77; }
"$tool" --version | grep -q 'version 14\.' || { echo "$tool is not version 14" && exit 77; }

passed=0 failed=0
found() { # FILE OUTPUT
  if [ -z "$2" ]; then
    passed=$((passed + 1))
  else
    printf '%s\nFAILED %s: %s\n' "$2" "$tool" "$1"
    failed=$((failed + 1))
  fi
}

case $what in
  format)
    for file in $(find lib daemon client tests -name '*.[ch]pp'); do
      found "$file" "$(clang-format --dry-run "$file" 2>&1 | grep warning: || true)"
    done
    ;;
  tidy)
    [ -n "${CLOISTER_TEST_ALL:-}" ] || { echo "takes minutes (run.sh --all)" && exit 77; }
    # Each file by itself, for one that includes too little to show; with the headers that
    # were generated where it is built.
    calls=$(mktemp -d "$build.XXXXXX")
    trap 'rm -r "$calls"' EXIT
    meson setup -Dunity=off -Db_pch=false "$calls" >/dev/null
    # An option that clang 14 has not.
    sed -i "s|$calls|$build|g; s/ -ftrivial-auto-var-init=zero//" "$calls/compile_commands.json"
    # What the compiler itself warns of, it says when it builds.
    seen=$(find daemon lib/plan lib/sys -name '*.cpp' | xargs -P 2 -n 4 clang-tidy -p "$calls" \
      --quiet --extra-arg=-Wno-unknown-warning-option 2>/dev/null |
      grep -E '^[^ ]+:[0-9]+:[0-9]+: (warning|error):' | grep -v 'clang-diagnostic-[^e]' | sort -u || true)
    found "daemon, lib/plan and lib/sys" "$seen"
    ;;
esac
echo "outcome: $passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
