#!/bin/sh
# A box inside the box, where the profile allows it: bubblewrap's, and our own.
. "${0%/*}/job.sh"
needs bwrap
serve

boxes() {
  job browser 'bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev --bind "$PWD" "$PWD" \
    sh -c "echo 42 >result; readlink /proc/self/ns/pid >inner; ls -d /proc/[0-9]* | wc -l >count"
    readlink /proc/self/ns/pid >outer'
  check "bwrap runs inside" exited 0
  check "what it ran wrote the workspace" holds "$work/result" 42
  check "in namespaces of its own" eval '! cmp -s "$work/inner" "$work/outer"'
  check "with a /proc of its own" test "$(cat "$work/count")" -lt 6

  rm -f "$work/result"
  job browser '/run/cloister/cloister --private run --profile build --verdict-file inner.json \
    -c "echo 42 >result; exit 7"' --ro "$directory/bin:/run/cloister" --unset env.CLOISTER_SOCKET
  check "the inner job's exit code comes out" exited 7
  check "what it ran wrote the workspace, our own" holds "$work/result" 42
  check "its verdict is its own" eval 'jq -e ".ending == \"exited\" and .exit_code == 7 and
    .mode == \"private\" and .profile == \"build\"" "$work/inner.json"'

  job build 'bwrap --unshare-all --ro-bind / / true'
  check "build allows no box inside" eval '[ "$code" != 0 ] && said "Operation not permitted|No permissions"'

  # A box is no way to the outer service.
  job browser "/run/cloister/cloister --socket $directory/socket run true" \
    --ro "$directory/bin:/run/cloister"
  check "the outer service is not reached from inside" said "cannot connect"
}
in_each_mode boxes
finished
