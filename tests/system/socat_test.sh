#!/bin/sh
# The service as people without a library see it: socat, printf and jq.
#
#   socat_test.sh CLOISTERD CLOISTER_FRONT CLOISTER_INIT PROFILES
set -eu

for tool in socat jq; do
  command -v "$tool" >/dev/null || { echo "$tool is missing" && exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "needs root" && exit 77; }

directory=$(mktemp -d "${TMPDIR:-/tmp}/cloister-test-XXXXXX")
service=
finish() {
  [ -z "$service" ] || { kill "$service" && wait "$service" || true; }
  rm -rf "$directory"
}
trap finish EXIT INT TERM

mkdir -p "$directory/bin/config"
cp "$1" "$directory/bin/cloisterd"
cp "$2" "$directory/bin/cloister-front"
cp "$3" "$directory/bin/cloister-init"
for program in network config relay; do cp "$(dirname "$1")/cloister-$program" "$directory/bin/"; done
cp -r "$4" "$directory/bin/config/profiles"
"$directory/bin/cloisterd" --socket "$directory/socket" --runtime-dir "$directory/run" &
service=$!
tries=0
until [ -S "$directory/socket" ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] || { echo "the service does not start" && exit 1; }
  sleep 0.1
done

passed=0 failed=0
# expect NAME CALL FILTER: the last reply to CALL satisfies the jq FILTER.
expect() {
  answer=$(printf '%s\0' "$2" | socat -t 20 - "UNIX-CONNECT:$directory/socket" | tr '\0' '\n')
  if printf '%s\n' "$answer" | tail -n 1 | jq -e "$3" >/dev/null; then
    echo "ok $1"
    passed=$((passed + 1))
  else
    echo "FAILED $1: $answer"
    failed=$((failed + 1))
  fi
}

expect "GetInfo names the interface" '{"method":"org.varlink.service.GetInfo"}' \
  '.parameters.interfaces | index("io.cloister.Launcher")'
expect "the interface describes itself" \
  '{"method":"org.varlink.service.GetInterfaceDescription","parameters":{"interface":"io.cloister.Launcher"}}' \
  '.parameters.description | test("method Run\\(") and test("error LaunchFailed")'
expect "Run answers with the verdict" \
  '{"method":"io.cloister.Launcher.Run","parameters":{"request":{"argv":["/bin/sh","-c","exit 42"]}}}' \
  '.parameters.verdict | .exit_code == 42 and .ending == "exited" and .profile == "default"'
expect "Run with more streams, the verdict last" \
  '{"method":"io.cloister.Launcher.Run","more":true,"parameters":{"request":{"argv":["true"]}}}' \
  '.parameters.event == "ended" and .parameters.verdict.ok and (.continues | not)'
expect "a misspelt member is refused by its name" \
  '{"method":"io.cloister.Launcher.Run","parameters":{"request":{"argv":["true"],"no_new_priv":true}}}' \
  '.error == "io.cloister.Launcher.InvalidRequest" and .parameters.field == "no_new_priv"'
expect "what has no room yet is refused by name" \
  '{"method":"io.cloister.Launcher.Run","parameters":{"request":{"argv":["true"],"dumpable":false}}}' \
  '.error == "io.cloister.Launcher.Unsupported" and .parameters.feature == "dumpable"'
expect "List is empty again" '{"method":"io.cloister.Launcher.List"}' '.parameters.jobs == []'

echo "outcome: $passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
