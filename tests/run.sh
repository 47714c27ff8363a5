#!/bin/sh
# Installs what is missing, builds, runs the tests and ends with one line:
#
#   N passed, N failed, N skipped
#
#   --all         the sanitized build as well, and tests that need heavy tools
#   --sanitize    the build with AddressSanitizer and UBSan only
#   --soak        the long runs at full length
#   --suite NAME  one suite: build, system, security, work, vm, faults, fuzz or bench
#   --without FEATURE  as if this machine lacked it (tests/without.py)
#   --mutants     what is to be noticed when it is taken away (tests/mutants.py), and nothing else
#   --mutate SEED  24 changes drawn by the seed, each to be noticed (tests/mutate.py), and nothing else
#
# For Debian 12 and 13, as root or as a user who may sudo. Without either it runs what
# an unprivileged user can run, and the rest counts as skipped.
set -eu
cd "$(dirname "$0")/.."

all=false
sanitize=false
plain=true
mutants=
lacking=
suite=
while [ $# -gt 0 ]; do
  case $1 in
    --all) all=true sanitize=true ;;
    --sanitize) sanitize=true plain=false ;;
    --soak) export CLOISTER_SOAK=1 ;;
    --without) lacking="${2:?--without needs a feature}" && shift ;;
    --mutants) mutants=named ;;
    --mutate) mutants="drawn ${2:?--mutate needs a seed}" && shift ;;
    --suite) suite=${2:?--suite needs a name} && shift ;;
    *) echo "run.sh: unknown option $1" >&2 && exit 2 ;;
  esac
  shift
done
# Whoever names a suite that takes minutes wants it.
case $all:$suite in true:* | *:vm | *:fuzz) export CLOISTER_TEST_ALL=1 ;; esac

# as_root COMMAND...
if [ "$(id -u)" = 0 ]; then
  may_be_root=true
  as_root() { "$@"; }
elif sudo -n true 2>/dev/null; then
  may_be_root=true
  as_root() { sudo -n --preserve-env=CLOISTER_SOAK,CLOISTER_TEST_ALL,TMPDIR "$@"; }
else
  may_be_root=false
fi

install_missing() {
  missing=
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
      missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  if ! $may_be_root; then
    echo "run.sh: missing packages:$missing (neither root nor sudo to install them)" >&2
    exit 1
  fi
  echo "installing$missing"
  as_root apt-get -q update
  # shellcheck disable=SC2086 # a list of words
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $missing
}
# The oldest that will do; libboost-dev of Debian 12 is older.
boost=libboost-dev
! grep -q '^VERSION_ID="12"' /etc/os-release || boost=libboost1.81-dev
install_missing g++ meson ninja-build pkg-config $boost nlohmann-json3-dev \
  libseccomp-dev libcli11-dev scdoc doctest-dev jq socat uidmap bubblewrap strace binutils procps passt \
  iproute2 patch
if $all; then
  install_missing clang clang-format clang-tidy libclang-rt-dev python3
  # What works inside is shown with: tests/work.
  install_missing gdb git rsync golang-go default-jdk-headless python3-pytest mmdebstrap chromium
  # The oldest kernel, and what is a whole machine's own: tests/vm.
  install_missing qemu-system-x86 cpio kmod e2fsprogs systemd util-linux
  # A Debian with systemd, and the package that is installed there.
  install_missing debootstrap systemd-container debhelper dpkg-dev
  command -v busybox >/dev/null || install_missing busybox-static
  # A machine may have others than Debian's, which leave no room for those.
  [ -x /usr/bin/node ] || install_missing nodejs
  [ -x /usr/bin/npm ] || install_missing npm
  # Not in Debian 12 itself, but in its backports.
  if apt-cache show python3-varlink >/dev/null 2>&1; then install_missing python3-varlink; fi
fi

# configure FOLDER OPTIONS...: also when the folder was configured before.
configure() {
  folder=$1
  shift
  if [ -e "$folder/build.ninja" ]; then
    meson configure "$folder" "$@"
  else
    meson setup "$folder" "$@"
  fi
}

# Copies of the programs run where temporary files are, which some mount noexec.
case $(findmnt --noheadings --output OPTIONS --target "${TMPDIR:-/tmp}") in
  *noexec*) export TMPDIR=/var/tmp ;;
esac

passed=0 failed=0 skipped=0
rows=$(mktemp) failures=$(mktemp)
trap 'rm -f "$rows" "$failures"' EXIT
trap 'exit 130' INT TERM
patience=2  # a machine may be slower than the one that the limits were written on

# Adds up what meson wrote about one run: a line of JSON a test program. A
# program that counts its cases says so in its last line; a script is one case.
# One that ended badly without saying which case failed is a failure all the same.
count() {
  printf '\n'
  jq -r '
    (.stdout // "") as $out
    | ($out | split("\n")) as $lines
    | ([$lines[] | capture("^outcome: (?<p>[0-9]+) passed, (?<f>[0-9]+) failed, (?<s>[0-9]+) skipped$")]
       | last) as $own
    | (.result | IN("OK", "EXPECTEDFAIL")) as $good
    | if .result == "SKIP" then
        "skipped \(.name) (\([$lines[] | select(. != "")] | last // "no reason given"))", "count 0 0 1"
      elif $own then
        ($lines[] | select(test("^(FAILED|skipped) "))),
        (if $good then empty else $out, (.stderr // ""),
           (if ($own.f | tonumber) == 0 then "FAILED \(.name): \(.result)" else empty end) end),
        "ok \(.name): \($own.p) cases in \(.duration | floor) s",
        ($lines[] | select(test("^(ok|FAILED|skipped) ([SU][0-9]+|[A-Z]+-[0-9]+)[: ]")) | "row " + .),
        "count \($own.p) \(if $good or ($own.f | tonumber) > 0 then $own.f else 1 end) \($own.s)"
      elif $good then "ok \(.name)", "count 1 0 0"
      else $out, (.stderr // ""), "FAILED \(.name): \(.result)", "count 0 1 0"
      end' "$1" >"$2"
  grep -vE '^(count|row) ' "$2" || true
  grep '^row ' "$2" >>"$rows" || true
  grep '^FAILED ' "$2" | sed "s|$| in $folder|" >>"$failures" || true
  eval "$(awk '$1 == "count" { p += $2; f += $3; s += $4 }
    END { printf "p=%d f=%d s=%d", p, f, s }' "$2")"
  # shellcheck disable=SC2154 # set by eval
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

# The cases that are named after a row of what was found (S1, U10) or of what is to
# hold (FD-03), by row.
print_rows() {
  printf '\nrows of %s, in cases\n' "$1"
  sort "$rows" | awk '
    { tag = $3; sub(/:$/, "", tag); ++seen[tag "\t" $2]; all[tag] = 1 }
    $2 == "skipped" { sub(/^.*[(]/, ""); sub(/[)][^)]*$/, ""); if (!index(why[tag], $0)) why[tag] = why[tag] "  " $0 }
    END { for (tag in all)
      printf "row %-8s %3d passed, %d failed, %d not run%s\n", tag, seen[tag "\tok"],
        seen[tag "\tFAILED"], seen[tag "\tskipped"], why[tag] }' | sort -V
}

# run FOLDER USER SUITE: USER is `self` or `root`.
run() {
  log=$1/meson-logs/$3-$2
  status=0
  set -- "$1" "$2" "$3" ${lacking:+"$PWD/tests/without.py" "$lacking"} \
    meson test -C "$1" --no-rebuild --suite "$3" --logbase "$3-$2" \
    --num-processes 1 --timeout-multiplier "$patience"
  folder=$1 user=$2 name=$3
  shift 3
  rm -f "$log.json" 2>/dev/null || true
  echo "suite $name in $folder"
  if [ "$user" = root ]; then as_root "$@" || status=$?; else "$@" || status=$?; fi
  if [ -s "$log.json" ]; then
    count "$log.json" "$folder/meson-logs/$name.outcome"
  elif [ "$status" != 0 ]; then
    echo "FAILED suite $name: meson ended with $status and left no record" | tee -a "$failures"
    failed=$((failed + 1))
  fi
}

run_suites() {
  folder=$1
  : >"$rows"
  for name in ${suite:-build system security work vm faults fuzz bench}; do
    # What is measured under sanitizers says nothing, a fuzzer brings its own, and
    # the work of other people's programs is theirs.
    case $folder:$name in
      build-sanitize:bench | build-sanitize:fuzz | build-sanitize:work | build-sanitize:vm) continue ;;
    esac
    case $name in
      build | fuzz) run "$folder" self "$name" ;;
      *)
        if $may_be_root; then
          run "$folder" root "$name"
        else
          echo "skipped suite $name (needs root)"
          skipped=$((skipped + 1))
        fi
        ;;
    esac
  done
  print_rows "$1"
}

if [ -n "$mutants" ]; then
  $may_be_root || { echo 'run.sh: --mutants and --mutate need root, or sudo' >&2 && exit 1; }
  # shellcheck disable=SC2086 # a word, or a word and a seed
  as_root tests/mutate.py $mutants
  exit
fi
if $plain; then
  # For /usr, as what is packaged of it in a test.
  configure build -Dbuildtype=release -Doptimization=2 -Dwerror=true -Dtests=true -Dprefix=/usr
  ninja -C build
  run_suites build
fi
if $sanitize; then
  # -O1: the sanitizers see the same, and the build takes half the time.
  configure build-sanitize -Dbuildtype=debug -Doptimization=1 -Dwerror=true \
    -Db_sanitize=address,undefined -Db_lundef=false
  ninja -C build-sanitize
  patience=4
  export ASAN_OPTIONS=abort_on_error=1:detect_stack_use_after_return=0
  export UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1
  run_suites build-sanitize
fi

[ ! -s "$failures" ] || { printf '\nwhat failed\n' && cat "$failures"; }
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
