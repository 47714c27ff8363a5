#!/bin/sh
# The main job on real input: cloister's own build and unit tests, inside the box
# of the default profile, for an unprivileged user: by root's service, and in
# private mode. The verdict says exited 0, and the host's files are as before.
#
#   main_job_test.sh CLOISTER CLOISTERD CLOISTER_FRONT CLOISTER_INIT PROFILES SOURCES
. "${0%/*}/../work/job.sh"
needs meson
sources=$6
serve

# What a job could have changed. Logs and caches of the host change by themselves.
changed_since() {
  find /usr /etc /bin /sbin /lib /opt /srv /root /home /var /boot -xdev \
    \( -path /var/log -o -path /var/cache -o -path /var/tmp -o -path "$sources" \) -prune -o \
    -cnewer "$1" -print 2>/dev/null
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
    meson test -C box --suite build --print-errorlogs' --workspace "$work" --cwd "$work"
  check "the build and its tests end with 0" exited 0
  ran=$(sed -n 's/^Ok: *//p' "$log" | tr -d ' ')
  check "its test programs passed" eval '[ "${ran:-0}" -ge 9 ] && said "^Fail: +0"'
  changed=$(changed_since "$directory/before")
  printf '%s\n' "$changed" >>"$log"
  check "the host's files are as before" [ -z "$changed" ]
}
in_each_mode main_job
finished
