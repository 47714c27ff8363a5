#!/bin/sh
# Installs what is missing, builds the programs of cloister in build/, and lets
# them do a real job: compile one of the tests and run it, isolated. That job has
# no network, sees the host read-only, and may write its workspace alone.
#
# For Debian 12 and 13, as root or as a user who may sudo.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*"; }
die() {
  printf 'quickstart: %s\n' "$*" >&2
  exit 1
}

# The oldest that will do; libboost-dev of Debian 12 is older.
boost=libboost-dev
! grep -q '^VERSION_ID="12"' /etc/os-release || boost=libboost1.81-dev
packages="g++ meson ninja-build pkg-config $boost nlohmann-json3-dev libseccomp-dev libcli11-dev
  doctest-dev"
missing=
for package in $packages; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
    missing="$missing $package"
done
if [ -n "$missing" ]; then
  say "1. installing$missing"
  if [ "$(id -u)" = 0 ]; then
    as_root=
  elif sudo -n true 2>/dev/null || { [ -t 0 ] && sudo true; }; then
    as_root='sudo'
  else
    die "these packages are missing:$missing. Install them as root, or run this as a user who may sudo"
  fi
  log=$(mktemp)
  # shellcheck disable=SC2086 # lists of words
  if ! { $as_root apt-get -q update &&
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install \
      $missing; } >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die 'the packages cannot be installed'
  fi
  rm -f "$log"
else
  say '1. every package is there'
fi

say '2. building (a few minutes the first time; build/quickstart.log says more)'
mkdir -p build
[ -e build/build.ninja ] || meson setup build -Dtests=false >build/quickstart.log 2>&1 || {
  cat build/quickstart.log >&2
  die 'the build cannot be configured'
}
# shellcheck disable=SC2046 # a list of words
ninja -C build cloister cloisterd cloister-front cloister-init cloister-network \
  cloister-config cloister-relay cloister-sweep \
  $(ls config/profiles/*.json) >build/quickstart.log 2>&1 || {
  tail -n 40 build/quickstart.log >&2
  die 'the build failed'
}

# A copy: what the job does to it is its own business.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
tar -c daemon lib tests | tar -x -C "$work"

say '3. one job: a test of these sources is compiled and run, in the box of the default profile'
code=0
./build/cloister --private run --name quickstart --workspace "$work" --cwd "$work" \
  --verdict-file build/verdict.json -c '
    set -e
    [ "$(grep -c : /proc/net/dev)" = 1 ] || { echo "there is a network"; exit 1; }
    if (: >/usr/cloister-was-here) 2>/dev/null; then echo "the host is writable"; exit 1; fi
    g++ -std=c++20 -D_GNU_SOURCE -Ilib -Ilib/include -Idaemon/monitor -Itests -o cause_test \
      tests/unit/cause_test.cpp tests/outcome.cpp daemon/monitor/life/cause.cpp
    ./cause_test >log || { cat log; exit 1; }
    grep -E "^(ok|outcome)" log | sed "s/^/   /"' || code=$?

say '4. its verdict, of build/verdict.json:'
tr ',' '\n' <build/verdict.json | grep -E '"(ok|ending|cause|exit_code|mode|wall_us|maxrss_kib)"' |
  sed 's/^[{ ]*/   /'
[ "$code" = 0 ] || die "the job did not succeed: exit code $code"
say '
What next:
  ./build/cloister run -- COMMAND              in the box, with the current directory writable
  ./build/cloister run --profile untrusted -- COMMAND
  ./build/cloister plan -- COMMAND             what such a job would have
  ./build/cloister info                        what works on this host
  sudo meson install -C build                  for a service, see docs/install.md
  sh tests/run.sh                              all tests that this machine can run'
