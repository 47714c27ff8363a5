#!/bin/sh
# The main job on real input: programs of cloister's own and their unit tests are
# built and run inside the box of the default profile, for an unprivileged user: by
# root's service, and in private mode. The verdict says exited 0, and the files of the
# host that this user could have changed are as before.
#
#   main_job_test.sh CLOISTER CLOISTERD CLOISTER_FRONT CLOISTER_INIT PROFILES SOURCES
. "${0%/*}/../work/job.sh"
needs meson
sources=$6
serve

# By its owner or by everybody: what others of this host do meanwhile is theirs.
changed_since() {
  find /usr /etc /bin /sbin /lib /opt /srv /root /home /var /boot /tmp -xdev \
    \( -path /var/tmp -o -path "$directory" -o -path "$sources" \) -prune -o \
    \( -user "$user" -o -type f -perm -0002 \) -cnewer "$1" -print 2>/dev/null
}

main_job() {
  tar -c -C "$sources" --exclude='./build*' --exclude=./.git . | tar -x -C "$work"
  chown -R "$user:$user" "$work"
  # A lock of useradd, just now, is no change of the job's.
  sleep 1.1
  touch "$directory/before"
  sleep 1.1
  job default '
    set -e
    meson setup box -Doptimization=0 -Ddocs=disabled -Dsystemd=false
    ninja -C box cloister-init cloisterd \
      tests/unit/lease_test tests/unit/cause_test tests/unit/plan_check_test
    meson test -C box --no-rebuild --print-errorlogs lease cause "plan check"' \
    --workspace "$work" --cwd "$work"
  check "the build and its tests end with 0" exited 0
  ran=$(sed -n 's/^Ok: *//p' "$log" | tr -d ' ')
  check "its test programs passed" eval '[ "${ran:-0}" = 3 ] && said "^Fail: +0"'
  changed=$(changed_since "$directory/before")
  printf '%s\n' "$changed" >>"$log"
  check "the host's files are as before" [ -z "$changed" ]
}
in_each_mode main_job
finished
