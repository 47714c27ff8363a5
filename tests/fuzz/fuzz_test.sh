#!/bin/sh
# Builds the fuzz target with clang and runs it: no finding is the pass.
# The build is kept, the corpus too, so that the next run goes on from there.
#
#   fuzz_test.sh SOURCE_FOLDER BUILD_FOLDER PART
#
# PART is one of those in target.cpp; each has a corpus of its own.
# CLOISTER_FUZZ_SECONDS: how long, 60 if unset. A finding is kept in
# BUILD_FOLDER/findings; `CLOISTER_FUZZ_PART=PART BUILD_FOLDER/target FILE` does it
# again.
set -eu
[ -n "${CLOISTER_TEST_ALL:-}" ] || { echo "takes minutes (run.sh --all)" && exit 77; }
source=$1
build=$2
part=$3
seconds=${CLOISTER_FUZZ_SECONDS:-60}

clang=$(command -v clang++-14 || command -v clang++ || true)
[ -n "$clang" ] || { echo "clang is missing (Debian: clang)" && exit 77; }
corpus=$build/corpus-$part
mkdir -p "$build/objects" "$corpus" "$build/findings"
# Without the checks for null, which the address sanitizer sees too: less to
# compile.
flags="-std=c++20 -D_GNU_SOURCE -O1 -g1 -fno-strict-aliasing -fno-omit-frame-pointer
  -I$source/lib/include -I$source/lib -I$source/daemon/monitor -I$source/daemon/config
  -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize=null,vptr
  -fno-sanitize-recover=undefined"
echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' \
  >"$build/empty.cpp"
# shellcheck disable=SC2086 # a list of words
"$clang" $flags -fsanitize=fuzzer "$build/empty.cpp" -o "$build/empty" 2>"$build/empty.log" ||
  { echo "clang has no libFuzzer (Debian: libclang-rt-14-dev)" && exit 77; }

sources="tests/fuzz/target.cpp tests/fuzz/framing.cpp tests/fuzz/text.cpp tests/fuzz/block.cpp
  tests/fuzz/merge.cpp tests/fuzz/policy.cpp
  lib/varlink/frame.cpp lib/varlink/envelope.cpp lib/varlink/render.cpp lib/varlink/failure.cpp
  lib/varlink/verdict.cpp lib/varlink/verdict_json.cpp
  tests/fuzz/seccomp.cpp lib/plan/check.cpp lib/plan/builder.cpp lib/plan/policy.cpp lib/sys/names.cpp lib/sys/words.cpp lib/sys/root.cpp
  $(cd "$source" && find lib/request -name '*.cpp' ! -name schema_main.cpp)
  $(cd "$source" && echo daemon/monitor/decide/authorise*.cpp)
  daemon/monitor/config/config.cpp
  $(cd "$source" && find daemon/config -name '*.cpp' ! -name main.cpp | sort)
  daemon/monitor/decide/capabilities.cpp daemon/monitor/admit/label.cpp daemon/monitor/host/lease.cpp daemon/monitor/admit/peer.cpp
  daemon/monitor/decide/policy.cpp daemon/monitor/decide/subordinate.cpp daemon/monitor/decide/restraint.cpp
  daemon/monitor/decide/client_ids.cpp"
# Two at a time: each takes 1 GiB at its worst. A header that is newer than an
# object compiles it again, whether it is one of its own or not.
newest=$(find "$source/lib" "$source/daemon/monitor" "$source/daemon/config" "$source/tests/fuzz" -name '*.[ch]pp' \
  -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2-)
if [ ! "$build/target" -nt "$newest" ]; then
  # shellcheck disable=SC2086
  printf '%s\n' $sources | xargs -P 2 -I NAME sh -c \
    'object=$1/objects/$(echo "$4" | tr / _).o
     [ "$object" -nt "$6" ] || exec "$2" $3 -c "$5/$4" -o "$object"' \
    compile "$build" "$clang" "$(echo $flags)" NAME "$source" "$newest"
  "$clang" -fsanitize=fuzzer,address,undefined "$build"/objects/*.o -o "$build/target.new"
  "$clang" -std=c++20 -O1 -I"$source/lib" "$source/tests/fuzz/seeds.cpp" \
    "$source/lib/plan/builder.cpp" "$source/lib/plan/check.cpp" -o "$build/seeds"
  mv "$build/target.new" "$build/target"
fi
"$build/seeds" "$part" "$corpus"
if [ "$part" = policy ]; then cp "$source/config/cloisterd.json" "$corpus"; fi
for profile in "$source"/config/profiles/*.json; do
  name=$(basename "$profile" .json)
  case $part in
    policy | seccomp) cat "$profile" ;; # refused, but JSON
    protocol) printf 1 && cat "$profile" ;;
    # A profile a line, then a request.
    merge) sed 's,//.*,,' "$profile" | tr -d '\n' && printf '\n{"argv":["a"]}' ;;
  esac >"$corpus/profile-$name"
done

export ASAN_OPTIONS=abort_on_error=1:detect_leaks=1
export UBSAN_OPTIONS=print_stacktrace=1
status=0
CLOISTER_FUZZ_PART=$part "$build/target" -max_total_time="$seconds" -max_len=6000 -timeout=10 \
  -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="$build/findings/$part-" "$corpus" \
  >"$build/log-$part" 2>&1 || status=$?
runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/log-$part")
if [ "$status" != 0 ]; then
  grep -E 'does not hold|ERROR|SUMMARY|runtime error|Test unit written|^ +#[0-9] ' "$build/log-$part" || tail -n 20 "$build/log-$part"
  echo "the fuzzer found something after ${runs:-an unknown number of} runs: $build/log-$part"
  exit 1
fi
# A target that ran a handful of times was not fuzzed.
[ "${runs:-0}" -ge 100 ] || { echo "only ${runs:-0} runs in $seconds s" && exit 1; }
echo "$runs runs in $seconds s, nothing found"
