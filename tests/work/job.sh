# Real work inside: sourced by scripts which each make one kind of it. A service of
# root's, an unprivileged user, and jobs of that user by the service and in private
# mode.
#
#   SCRIPT CLOISTER CLOISTERD CLOISTER_FRONT CLOISTER_INIT PROFILES [ARGUMENT...]
#
# What a job left behind is what is judged, and its verdict.
set -eu
[ "$(id -u)" = 0 ] || { echo "needs root: it makes a user" && exit 77; }

# needs TOOL...: those of the system alone. What else is in PATH may be somebody's
# own and lie where the user of the tests cannot go.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
needs() {
  for tool in "$@"; do
    command -v "$tool" >/dev/null || { echo "$tool is missing (run.sh --all installs it)" && exit 77; }
  done
}
needs useradd setpriv jq

user=cloister-test-w
directory=$(mktemp -d "${TMPDIR:-/tmp}/cloister-work-XXXXXX")
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
cp "$1" "$2" "$3" "$4" "$(dirname "$2")/cloister-network" \
  "$(dirname "$2")/cloister-config" "$(dirname "$2")/cloister-relay" "$directory/bin"
cp -r "$5" "$directory/bin/config/profiles"
chown "$user:$user" "$directory/home"

# serve [OPTION...]: as root.
serve() {
  "$directory/bin/cloisterd" --socket "$directory/socket" --socket-mode 0666 \
    --runtime-dir "$directory/run" "$@" 2>"$directory/service.log" &
  service=$!
  tries=0
  until [ -S "$directory/socket" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo "the service does not start" && exit 1; }
    sleep 0.1
  done
}

# as_user COMMAND...: in $work, with no variables but the usual ones and $variables.
variables=
# shellcheck disable=SC2086 # a list of words
as_user() {
  (cd "$work" && exec setpriv --reuid "$user" --regid "$user" --init-groups env -i \
    PATH=/usr/bin:/bin LANG=C.UTF-8 HOME="$directory/home" USER="$user" LOGNAME="$user" \
    CLOISTER_SOCKET="$directory/socket" $variables "$@")
}

# cloister VERB OPTION...: as the user, of $mode. Leaves $code, and what it said in $log.
cloister() {
  verb=$1
  shift
  code=0
  as_user "$directory/bin/cloister" $([ "$mode" = system ] || echo --private) "$verb" "$@" \
    >"$log" 2>&1 </dev/null || code=$?
}

# job PROFILE LINE [OPTION...]: `sh -c LINE` in the box of this profile, with
# $work as its workspace where the profile gives one. Leaves $verdict too.
job() {
  profile=$1 line=$2
  shift 2
  rm -f "$verdict"
  : >"$verdict"
  chown "$user" "$verdict"
  cloister run --profile "$profile" --verdict-file "$verdict" "$@" -c "$line"
}

passed=0 failed=0 skipped=0
# check OUTCOME COMMAND...: the command says whether it is so.
check() {
  outcome="$1 ($mode)"
  shift
  if "$@" >/dev/null 2>&1; then
    echo "ok $outcome" && passed=$((passed + 1))
  else
    echo "FAILED $outcome: exit code $code, $(head -c 1000 "$verdict")"
    tail -n 30 "$log"
    failed=$((failed + 1))
  fi
}

# The job ended by itself with this exit code, and the verdict says so.
exited() {
  jq -e --argjson code "$1" --arg mode "$mode" --arg profile "$profile" '.ending == "exited" and
    .exit_code == $code and .ok == ($code == 0) and .cause == "payload" and .mode == $mode and
    .profile == $profile' "$verdict" && [ "$code" = "$1" ]
}
said() { grep -qE -e "$1" "$log"; }
holds() { [ "$(cat "$1")" = "$2" ]; }
owned() { [ "$(stat -c %U "$1")" = "$user" ]; }

# in_each_mode FUNCTION: with a new $work, that is the user's.
in_each_mode() {
  for mode in system private; do
    work=$directory/home/$mode-$1 log=$directory/$mode-$1.log verdict=$directory/$mode-$1.json
    mkdir "$work"
    chown "$user:$user" "$work"
    : >"$log"
    : >"$verdict"
    "$1"
  done
}

finished() {
  echo "outcome: $passed passed, $failed failed, $skipped skipped"
  [ "$failed" = 0 ]
}
