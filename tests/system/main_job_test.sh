#!/bin/sh
# The main job on real input: cloister's own build and unit tests, inside the box
# of the default profile, for an unprivileged user: by root's service, and in
# private mode. The verdict says exited 0, and the host's files are as before.
#
#   main_job_test.sh SOURCES CLOISTER CLOISTERD CLOISTER_FRONT CLOISTER_INIT
set -eu
sources=$1
[ "$(id -u)" = 0 ] || { echo "needs root: it makes a user" && exit 77; }
for tool in useradd setpriv meson jq; do
  command -v "$tool" >/dev/null || { echo "$tool is missing" && exit 77; }
done

user=cloister-test-m
directory=$(mktemp -d /tmp/cloister-test-XXXXXX)
service=
finish() {
  [ -z "$service" ] || { kill "$service" && wait "$service" || true; }
  userdel "$user" 2>/dev/null || true
  rm -rf "$directory"
}
trap finish EXIT
trap 'exit 130' INT TERM
userdel "$user" 2>/dev/null || true
useradd --no-create-home --home-dir "$directory/home" --shell /bin/sh --user-group "$user"
chmod 755 "$directory"
mkdir -p "$directory/bin/config" "$directory/home"
cp "$2" "$3" "$4" "$5" "$directory/bin"
cp -r "$sources/config/profiles" "$directory/bin/config"
chown "$user:$user" "$directory/home"
"$directory/bin/cloisterd" --socket "$directory/socket" --socket-mode 0666 \
  --runtime-dir "$directory/run" &
service=$!
tries=0
until [ -S "$directory/socket" ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] || { echo "the service does not start" && exit 1; }
  sleep 0.1
done

# What a job could have changed. Logs and caches of the host change by themselves.
changed_since() {
  find /usr /etc /bin /sbin /lib /opt /srv /root /home /var /boot -xdev \
    \( -path /var/log -o -path /var/cache -o -path /var/tmp -o -path "$sources" \) -prune -o \
    -cnewer "$1" -print 2>/dev/null
}

passed=0 failed=0
outcome() {  # outcome NAME OK DETAIL
  if [ "$2" = true ]; then
    echo "ok $1" && passed=$((passed + 1))
  else
    echo "FAILED $1: $3" && failed=$((failed + 1))
  fi
}

for mode in system private; do
  work=$directory/$mode
  mkdir "$work"
  tar -c -C "$sources" --exclude='./build*' --exclude=./.git . | tar -x -C "$work"
  chown -R "$user:$user" "$work"
  # A lock of useradd, just now, is no change of the job's.
  sleep 1.1
  touch "$directory/before"
  sleep 1.1
  code=0
  setpriv --reuid "$user" --regid "$user" --init-groups env -i PATH="$PATH" \
    HOME="$directory/home" CLOISTER_SOCKET="$directory/socket" \
    "$directory/bin/cloister" $([ $mode = system ] || echo --private) run \
    --workspace "$work" --cwd "$work" --verdict-file "$work/verdict.json" -c '
      set -e
      meson setup box -Doptimization=0 -Ddocs=disabled -Dsystemd=false
      meson test -C box --suite build --print-errorlogs' >"$work/log" 2>&1 || code=$?
  cp "$work/verdict.json" "$directory/$mode.json" || echo '{}' >"$directory/$mode.json"
  outcome "the build and its tests end with 0 ($mode)" \
    "$(jq '.ending == "exited" and .exit_code == 0 and .ok and .mode == "'$mode'"' "$directory/$mode.json")" \
    "exit code $code; $(tail -n 30 "$work/log")"
  ran=$(sed -n 's/^Ok: *//p' "$work/log" | tr -d ' ')
  outcome "its test programs passed ($mode)" \
    "$([ "${ran:-0}" -ge 9 ] && grep -qE '^Fail: +0' "$work/log" && echo true || echo false)" \
    "$(tail -n 12 "$work/log")"
  changed=$(changed_since "$directory/before")
  outcome "the host's files are as before ($mode)" "$([ -z "$changed" ] && echo true || echo false)" "$changed"
done
echo "outcome: $passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
