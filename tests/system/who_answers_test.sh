#!/bin/sh
# U5: which service the command takes, and that it never takes another one
# silently. In a mount namespace whose /run and unit folders are the test's own.
#
#   who_answers_test.sh CLOISTER CLOISTERD
set -u
[ "$(id -u)" = 0 ] || { echo 'needs root, for a mount namespace and a user' && exit 77; }
if [ "${3-}" != inside ]; then
  exec unshare --mount --propagation private sh "$0" "$1" "$2" inside
fi
cloister=$(realpath "$1") cloisterd=$(realpath "$2") user=cloister-who-test
passed=0 failed=0 services=

work=$(mktemp -d)
chmod 755 "$work"
stop_services() {
  for pid in $services; do kill "$pid" && wait "$pid"; done 2>/dev/null
  services=
}
finish() {
  stop_services
  pkill -KILL -u $user 2>/dev/null
  userdel --remove $user 2>/dev/null
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
userdel --remove $user 2>/dev/null
useradd --create-home $user || exit 1
uid=$(id -u $user)
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/lock /run/user/"$uid" /run/cloister
chown $user: /run/user/"$uid"
chmod 700 /run/user/"$uid"
mkdir -p /etc/systemd/system
mount -t tmpfs -o mode=0755 tmpfs /etc/systemd/system

# as_user ARGUMENTS...: the command, as somebody who is in no group.
as_user() {
  (cd "$work" && setpriv --reuid "$uid" --regid "$uid" --clear-groups env -i PATH=/usr/bin:/bin \
    HOME=/home/$user XDG_RUNTIME_DIR=/run/user/"$uid" "$cloister" "$@") >"$work/out" 2>"$work/err"
}
# expect NAME COMMAND...
expect() {
  name=$1
  shift
  if "$@"; then
    echo "ok U5: $name"
    passed=$((passed + 1))
  else
    echo "FAILED U5: $name"
    cat "$work/out" "$work/err"
    failed=$((failed + 1))
  fi
}
runs() { as_user run -c 'echo ran' && grep -qx ran "$work/out" && [ ! -s "$work/err" ]; }
runs_in() { as_user run --verdict-file "$work/verdict" true && jq -e ".mode == \"$1\"" "$work/verdict" >"$work/out"; }
# refused WORDS: code 125, these words, one line, and nothing ran.
refused() {
  as_user run -c 'echo ran'
  [ $? = 125 ] && [ ! -s "$work/out" ] && grep -qe "$1" "$work/err" &&
    grep -qe --private "$work/err" && [ "$(wc -l <"$work/err")" = 1 ]
}
# serve USER SOCKET MODE
serve() {
  setpriv --reuid "$1" --regid "$1" --clear-groups env -i PATH=/usr/bin:/bin HOME=/home/$user \
    XDG_RUNTIME_DIR=/run/user/"$uid" "$cloisterd" --socket "$2" --socket-mode "$3" 2>>"$work/log" &
  services="$services $!"
  for _ in $(seq 100); do [ -S "$2" ] && return 0; sleep 0.1; done
  return 1
}
touch "$work/verdict"
chmod 666 "$work/verdict"

if ! as_user --private run true; then
  echo "skipped U5 (private mode does not work for a user here: $(cat "$work/err"))"
  echo 'outcome: 0 passed, 0 failed, 1 skipped'
  exit 0
fi

expect 'without a service it runs privately, and says nothing' runs

mkdir -p /etc/systemd/system/sockets.target.wants
touch /etc/systemd/system/sockets.target.wants/cloisterd.socket
expect 'a system service that is enabled and has no socket is down' refused 'systemctl start'
rm -r /etc/systemd/system/sockets.target.wants

mkdir -p /run/systemd/system/sockets.target.wants
ln -s nowhere /run/systemd/system/sockets.target.wants/cloisterd.socket
expect 'a system service that is enabled until the next boot is down, too' refused 'systemctl start'
rm -r /run/systemd
ln -s nowhere /run/cloister/socket
expect 'a socket that is a link to nowhere is no reason to run privately' refused 'systemctl start'
rm /run/cloister/socket

python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("/run/cloister/socket")'
chmod 666 /run/cloister/socket
expect 'a system service whose socket nobody listens on is down' refused 'systemctl start'
rm /run/cloister/socket

serve 0 /run/cloister/socket 0660
expect 'who is not in its group is told so' refused 'group'
expect 'and runs privately by saying so' as_user --private run true
serve "$uid" /run/user/"$uid"/cloister/socket 0600
expect 'who is not in its group may have a service of their own' runs_in user
chmod 666 /run/cloister/socket
expect 'who is in its group has the system service' runs_in system
stop_services

python3 -c 'import os, socket, sys
os.makedirs(sys.argv[1], exist_ok=True)
socket.socket(socket.AF_UNIX).bind(sys.argv[1] + "/socket")' /run/user/"$uid"/cloister
chmod 777 /run/user/"$uid"/cloister/socket
expect "a user's own service whose socket nobody listens on is down" refused 'systemctl --user start'

echo "outcome: $passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
