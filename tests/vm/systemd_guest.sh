# What systemd_test.sh runs in the booted Debian: docs/install.md, as an
# administrator, a member of the group and a stranger would go through it.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
export DEBIAN_FRONTEND=noninteractive
passed=0 failed=0 skipped=0

# expect NAME COMMAND...
expect() {
  name=$1
  shift
  if "$@" >/out 2>&1; then
    echo "ok $name"
    passed=$((passed + 1))
  else
    echo "FAILED $name: $(tr '\n' ' ' </out | cut -c1-400)"
    failed=$((failed + 1))
  fi
}
no() { ! "$@"; }
# ends CODE COMMAND...
ends() {
  wanted=$1
  shift
  code=0
  "$@" || code=$?
  [ "$code" = "$wanted" ] || { echo "ended with $code" && false; }
}
# says PATTERN COMMAND...: whatever its exit code
says() {
  pattern=$1
  shift
  "$@" >/said 2>&1
  cat /said
  grep -qE -- "$pattern" /said
}
# fails PATTERN COMMAND...: and says so
fails() {
  pattern=$1
  shift
  ! "$@" >/said 2>&1 || { echo "did not fail" && return 1; }
  cat /said
  grep -qE -- "$pattern" /said
}
soon() {
  for i in $(seq 100); do
    "$@" && return 0
    sleep 0.1
  done
  return 1
}
# by USER COMMAND...: with the groups and the login uid that a login would give
by() {
  user=$1
  shift
  (
    cd "/home/$user" || exit
    uid=$(id -u "$user")
    # shellcheck disable=SC2016 # for that shell, whose own login uid it becomes
    exec sh -c 'echo "$0" >/proc/self/loginuid && exec "$@"' "$uid" runuser -u "$user" -- \
      env "HOME=/home/$user" "XDG_RUNTIME_DIR=/run/user/$uid" "$@"
  )
}
active() { systemctl is-active "$@" >/dev/null; }
main_pid() { systemctl show -P MainPID cloisterd.service; }
nothing_failed() { [ -z "$(systemctl --failed --plain --no-legend)" ] || { systemctl --failed && false; }; }
# Writes, or takes away, the configuration.
configure() {
  mkdir -p /etc/cloister
  printf '%s\n' "$1" >/etc/cloister/cloisterd.json
}
good='{"rules": [{"name": "members", "groups": ["cloister"], "quota": {"jobs": 50}}]}'
bad='{"rules": [{"name": "members", "allow": {"nise": 1}}]}'

echo "== $(. /etc/os-release && echo "$PRETTY_NAME"), systemd $(systemctl --version | sed -n '1s/systemd //p')"
# The manager of this container covers parts of /proc, which a machine does not
# and which forbids a fresh /proc in a user namespace.
for i in 1 2 3; do
  awk '$5 ~ "^/proc/" { print $5 }' /proc/self/mountinfo | sort -r | xargs -r -n 1 umount 2>/dev/null
done
useradd --create-home ci
useradd --create-home stranger

# What is true of a service that has just been installed, however.
works() {
  expect "$1: the group is there" getent group cloister
  expect "$1: the socket can be enabled" systemctl enable --now cloisterd.socket
  usermod -a -G cloister ci
  expect "$1: PKG-01 the socket is root's and the group's" \
    [ "$(stat -c '%a %U:%G' /run/cloister/socket)" = '660 root:cloister' ]
  expect "$1: PKG-01 its directory is root's" [ "$(stat -c '%a %U:%G' /run/cloister)" = '755 root:root' ]
  expect "$1: a member reaches the service of the system" says '"mode": ?"system"' by ci cloister info --json
  expect "$1: a member's job runs as the member" \
    [ "$(by ci cloister run --quiet --verdict-file /tmp/verdict -- id -un)" = ci ]
  expect "$1: and the verdict says that the service ran it" grep -q '"mode":"system"' /tmp/verdict
  rm -f /tmp/verdict
  expect "$1: a stranger is refused by the system's" \
    fails '/run/cloister/socket: Permission denied' by stranger cloister --system run -- true
  expect "$1: U5 and does not run privately instead" \
    fails 'the system service is not for you.*group' by stranger cloister run -c 'echo it-ran'
  expect "$1: U5 nothing was run" no grep -q it-ran /said
  expect "$1: U5 unless told to" by stranger cloister --private run --quiet -- true
  expect "$1: U4 what a profile promises and is not there is said" \
    says '^cloister: the job runs without identity' by ci cloister run --profile untrusted -- true
  systemctl stop cloisterd.socket 2>/dev/null
  expect "$1: U5 while it is down, a member is told how to start it" \
    fails 'the system service does not answer.*systemctl start' by ci cloister run -c 'echo it-ran'
  expect "$1: U5 and nothing was run" no grep -q it-ran /said
  systemctl start cloisterd.socket
  expect "$1: U5 up again, it serves" by ci cloister run --quiet -- true
  expect "$1: the shipped configuration has no fault" cloisterd --check \
    --config "$(find /usr -name cloisterd.json -path '*doc*' | head -n 1)"
  expect "$1: nothing failed" nothing_failed
}

# --- meson install ----------------------------------------------------------------

echo "== meson install"
tar -C / --keep-directory-symlink -xf /cloister/installed.tar
systemctl daemon-reload
expect "U3 without the group, systemd says which is missing" fails . systemctl start cloisterd.socket
expect "U3 as docs/install.md has it" \
  says 'Failed to resolve group cloister' journalctl -q -u cloisterd.socket
systemctl reset-failed
expect "U3 by hand, as after an install into a DESTDIR" sh -c \
  'systemd-sysusers cloister.conf && systemd-tmpfiles --create cloister.conf && systemctl daemon-reload'
expect "U3 the group is there" getent group cloister
groupdel cloister
expect "U3 by what meson install ends with" \
  env MESON_INSTALL_PREFIX=/usr sh /cloister/after_install.sh
works "meson install"
systemctl disable --now cloisterd.socket >/dev/null 2>&1
expect "meson install: stopped, no socket is left" [ ! -e /run/cloister/socket ]
tar -tf /cloister/installed.tar | grep -v '/$' | sed 's|^\.||' | xargs rm -f
rm -rf /run/cloister /var/lib/cloister
groupdel cloister
systemctl daemon-reload
expect "nothing of it is left" no command -v cloister

# --- the package --------------------------------------------------------------------

echo "== package"
expect "the package installs" dpkg -i /cloister/one.deb
expect "and listens" active cloisterd.socket
works "package"
expect "PKG-03 no file of it is set-uid or set-gid" \
  no sh -c "dpkg -L cloister | xargs stat -c '%a %F %n' | grep -E '^[2-7][0-7]{3} |^/'"
expect "PKG-03 what the command and the service start is in no PATH" \
  no sh -c 'command -v cloister-front || command -v cloister-init || command -v cloister-network || command -v cloister-config || command -v cloister-relay || command -v cloister-sweep'
expect "a private service, by somebody who has no sbin in PATH" \
  by stranger env PATH=/usr/bin:/bin cloister --private run --quiet -- true

expect "the library's package installs" dpkg -i /cloister/library.deb
expect "a program that was built by the development package runs a job" ends 3 by ci /cloister/example

echo "== a broken configuration"
configure "$bad"
expect "U6 --check names the place" fails 'cloisterd.json: rules\[0\].allow.nise: ' cloisterd --check
expect "U6 --check ends with 78" ends 78 cloisterd --check
expect "U6 a reload fails" ends 1 systemctl reload cloisterd.service
expect "U6 the old one holds" by ci cloister run --quiet -- true
expect "U6 a restart is done" systemctl restart cloisterd.service
expect "U6 and the service runs" active cloisterd.service
for method in info ps 'run -- true' 'start -- true' 'policy explain /cloister/request.json'; do
  # shellcheck disable=SC2086 # a list of words
  expect "U6 $method: the place is told" \
    fails 'misconfigured.*/etc/cloister/cloisterd.json: rules\[0\].allow.nise: ' by ci cloister $method
done
expect "U6 a private service of root's tells it too" \
  fails 'misconfigured.*rules\[0\].allow.nise' cloister --private run -- true
for i in $(seq 30); do by ci cloister info; done >/dev/null 2>&1
expect "U6 thirty calls later the service runs" active cloisterd.service cloisterd.socket
expect "U6 a reload of the same fails" ends 1 systemctl reload cloisterd.service
expect "U6 the reason is in the journal" says 'nise' journalctl -q -u cloisterd.service
systemctl stop cloisterd.service
expect "U6 started by a connection, it tells the place" fails 'rules\[0\].allow.nise' by ci cloister info
configure '{ "rules": [ }'
expect "U6 a syntax error has its line" fails 'cloisterd.json: line 1: ' cloisterd --check
configure "$good"
chmod 666 /etc/cloister/cloisterd.json
expect "PKG-06 a file that others may write is no configuration" ends 1 systemctl reload cloisterd.service
chmod 644 /etc/cloister/cloisterd.json
expect "U6 mended, a reload is done" systemctl reload cloisterd.service
expect "U6 and calls are served" by ci cloister run --quiet -- true
expect "U6 by nobody but root" ends 69 by ci cloisterd --reload
expect "nothing failed" nothing_failed

# --- a user's own -------------------------------------------------------------------

echo "== a service of a user's own"
loginctl enable-linger stranger
soon [ -S "/run/user/$(id -u stranger)/bus" ]
expect "the user enables the socket" by stranger systemctl --user enable --now cloisterd.socket
expect "it is the user's alone" \
  [ "$(stat -c '%a %U' "/run/user/$(id -u stranger)/cloister/socket")" = '600 stranger' ]
expect "it answers" says '"mode": ?"user"' by stranger cloister --user info --json
expect "a job runs in it" by stranger cloister --user run --quiet -- true
expect "the service runs" by stranger systemctl --user is-active cloisterd.service
expect "it reloads" by stranger systemctl --user reload cloisterd.service

# --- upgrade and removal ------------------------------------------------------------

echo "== upgrade"
before=$(main_pid)
job=$(by ci cloister start -- sleep 1000)
expect "PKG-10 an upgrade during a job says that the service goes on" \
  says 'goes on as it was' dpkg -i /cloister/two.deb
expect "PKG-10 the job goes on" says "$job.*running" by ci cloister ps
expect "PKG-10 it is the same service" [ "$(main_pid)" = "$before" ]
expect "PKG-10 which serves" by ci cloister run --quiet -- true
expect "PKG-10 the job can be stopped" says 'SIG|signal|terminated|stopped' by ci cloister stop "$job"
expect "PKG-10 an upgrade without jobs takes the new one" dpkg -i /cloister/one.deb
expect "PKG-10 which is another process" [ "$(main_pid)" != "$before" ]
expect "PKG-10 that serves" by ci cloister run --quiet -- true
expect "PKG-10 the configuration is as it was" grep -q members /etc/cloister/cloisterd.json
expect "nothing failed" nothing_failed

echo "== removal"
by ci cloister start -- sleep 4242 >/dev/null
by stranger cloister --user start -- sleep 4243 >/dev/null
expect "there are jobs" soon pgrep -f 'sleep 424[23]'
expect "PKG-10 the package is removed" dpkg -r cloister
expect "PKG-10 its jobs have ended" soon no pgrep -f 'sleep 424[23]'
expect "PKG-10 no process of it is left" no pgrep cloister
expect "PKG-10 no socket is left" [ -z "$(find /run -name socket -path '*cloister*')" ]
expect "PKG-10 the system's unit is gone" no systemctl cat cloisterd.service
expect "PKG-10 nothing failed" nothing_failed
expect "PKG-10 nothing of the user's failed" \
  [ -z "$(by stranger systemctl --user --failed --plain --no-legend)" ]
expect "PKG-10 the configuration stays" grep -q members /etc/cloister/cloisterd.json
expect "PKG-10 it installs again" dpkg -i /cloister/one.deb
expect "PKG-10 and serves, by the old configuration" \
  says 'members' by ci cloister policy explain /cloister/request.json
expect "PKG-10 the package is purged" dpkg -P cloister
expect "PKG-10 nothing is left of it but the group" \
  [ -z "$(ls -d /etc/cloister /var/lib/cloister /run/cloister /usr/libexec/cloister /usr/share/cloister 2>/dev/null)" ]
expect "PKG-10 and nothing is started by a connection" fails . by ci cloister info
expect "PKG-10 nothing failed" nothing_failed

echo "outcome: $passed passed, $failed failed, $skipped skipped"
echo "guest: all was run"
systemctl poweroff
