#!/bin/sh
# git clone over an outbound network: from a server in a test namespace, so that
# the machine needs no network itself.
if [ -z "${CLOISTER_TEST_OUTSIDE-}" ] && [ "$(id -u)" = 0 ]; then
  exec env CLOISTER_TEST_OUTSIDE=1 unshare --net --mount --propagation private "$0" "$@"
fi
. "${0%/*}/job.sh"
needs git pasta ip nsenter
[ -e /sys/class/misc/tun ] || { echo "this kernel has no tun devices" && exit 77; }

# The device file that every distribution makes by udev, and a container may lack.
mkdir -p /dev/net
mount -t tmpfs -o mode=755 tmpfs /dev/net
mknod -m 666 /dev/net/tun c 10 200

outside=
servers=
stop_servers() {
  for one in $servers $outside; do kill "$one" 2>/dev/null && wait "$one" || true; done
  finish
}
trap stop_servers EXIT
unshare --net sleep 600 &
outside=$!
until [ "$(readlink /proc/$outside/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
there() { nsenter --target "$outside" --net "$@"; }
ip link set lo up
ip link add up0 type veth peer name down0 netns "$outside"
ip address add 198.51.100.2/24 dev up0
ip link set up0 up
there ip link set lo up
there ip address add 198.51.100.1/24 dev down0
there ip link set down0 up
ip route add default via 198.51.100.1

git init -q -b main "$directory/repository"
echo 42 >"$directory/repository/answer"
git -C "$directory/repository" add answer
git -C "$directory/repository" -c user.name=u -c user.email=u@example.test commit -q -m one
touch "$directory/repository/.git/git-daemon-export-ok"
# Not by way of git(1) or a function: what is killed has to be the server itself.
daemon=$(git --exec-path)/git-daemon
nsenter --target "$outside" --net "$daemon" --reuseaddr --base-path="$directory" \
  --listen=198.51.100.1 "$directory" 2>/dev/null &
servers="$servers $!"
"$daemon" --reuseaddr --base-path="$directory" --listen=127.0.0.1 "$directory" 2>/dev/null &
servers="$servers $!"
for at in 198.51.100.1 127.0.0.1; do
  tries=0
  until git ls-remote -q "git://$at/repository" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 50 ] || { echo "git daemon does not answer at $at" && exit 1; }
    sleep 0.1
  done
done
serve

clone() {
  job fetch 'git clone -q git://198.51.100.1/repository clone'
  check "git clones from outside" exited 0
  check "all of it is there" holds "$work/clone/answer" 42
  check "and the user's" owned "$work/clone/.git/HEAD"
  job fetch 'git ls-remote git://127.0.0.1/repository'
  check "what listens at the host's loopback is not reached" exited 128
  check "there is nothing there" said 'unable to connect|Connection refused'
  job build 'git clone -q git://198.51.100.1/repository again'
  check "build has no way out" exited 128
  check "and git says so" said 'Network is unreachable'
}
in_each_mode clone
finished
