# PID 1 of the machine that vm_test.sh boots. Says how each thing went and turns
# the machine off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /dev/pts /dev/shm
mount -t devpts devpts /dev/pts -o ptmxmode=0666,mode=0620,gid=5
mount -t tmpfs tmpfs /dev/shm -o mode=1777
mount -t cgroup2 cgroup2 /sys/fs/cgroup
chmod 1777 /tmp /var/tmp
ip link set lo up
hostname machine

passed=0 failed=0
# expect NAME COMMAND...
expect() {
  name=$1
  shift
  if "$@"; then
    echo "ok $name"
    passed=$((passed + 1))
  else
    echo "FAILED $name"
    failed=$((failed + 1))
  fi
}

# --- the tests of a host, on this kernel -----------------------------------------

echo "== Linux $(uname -r)"
for each in system/box system/scratch system/limits security/filters security/overlay security/places; do
  suite=${each%/*}
  echo "== $each"
  "/cloister/tests/$suite/$suite-tests" --source-file="*/${each#*/}_test.cpp" 2>&1
done

# --- a unit of systemd's: a cgroup that is the service's, with its processes in it ------

echo "== a delegated cgroup"
unit=/sys/fs/cgroup/unit.service
mkdir $unit
for each in memory pids cpu; do echo +$each >/sys/fs/cgroup/cgroup.subtree_control; done
# What systemd(1) does: a process enters the cgroup and becomes the command.
enter='echo $$ >"$0/cgroup.procs" && exec "$@"'
serve() {
  sh -c "$enter" $unit /cloister/cloisterd --socket /run/unit.socket 2>>/var/log/cloisterd &
  service=$!
  for i in $(seq 100); do
    ! CLOISTER_SOCKET=/run/unit.socket /cloister/cloister info >/dev/null 2>&1 || return 0
    sleep 0.1
  done
  return 1
}
limited() {
  CLOISTER_SOCKET=/run/unit.socket /cloister/cloister run --workspace none --memory 32M --pids 9 -- \
    sh -c "x=\$(tr '\\0' x </dev/zero)" 2>/said
  [ $? = 137 ] && grep -q 'limits.memory: 32 MiB' /said
}
expect "a service in a cgroup of its own starts" serve
expect "and limits memory" limited
kill $service
wait $service
expect "ended, it leaves a cgroup that it can be started in" [ -z "$(cat $unit/cgroup.subtree_control)" ]
expect "it starts again" serve
expect "and limits memory again" limited
kill -KILL $service
wait $service
sleep 1
expect "killed, it leaves one in which nothing can be started" [ -n "$(cat $unit/cgroup.subtree_control)" ]
mkdir $unit/.control
expect "ExecStopPost cleans up" sh -c "$enter" $unit/.control /cloister/cloisterd --clean-up
rmdir $unit/.control
expect "all of it" [ -z "$(cat $unit/cgroup.subtree_control)$(ls -d $unit/*/ 2>/dev/null)" ]
expect "and it starts again" serve
expect "and limits memory as before" limited
kill $service
wait $service
rmdir $unit

# --- a service as it is installed -----------------------------------------------------

useradd --create-home ci
mkdir -p /etc/tmpfiles.d
systemd-tmpfiles --create /usr/lib/tmpfiles.d/cloister.conf
/cloister/cloisterd --socket-mode 0666 2>/var/log/cloisterd &
service=$!
for i in $(seq 100); do [ -S /run/cloister/socket ] || sleep 0.1; done

# as USER COMMAND...
as() {
  user=$1
  shift
  (cd "/home/ci" && exec setpriv --reuid "$user" --regid "$user" --clear-groups env HOME=/home/ci "$@")
}
# run USER OPTION...: by the service
run() {
  user=$1
  shift
  as "$user" /cloister/cloister run --quiet "$@"
}

# ESC-17: a handler behind a pipe is started by the kernel, as root and outside of
# every box, with words of the payload's choice.
echo "== ESC-17"
printf '#!/bin/sh\necho "$@" >>/cores\ncat >/dev/null\n' >/handler
chmod 755 /handler
echo '|/handler %P %e' >/proc/sys/kernel/core_pattern
crash='ulimit -c unlimited 2>/dev/null; kill -SEGV $$'
handled() {
  sleep 0.3
  [ -s /cores ]
}
untouched() { ! handled; }
as ci sh -c "$crash"
expect "a crash outside of every box is handled" handled
rm -f /cores
for profile in default build untrusted; do
  for user in ci root; do
    run "$user" --workspace none --profile $profile -c "$crash"
    expect "$profile, $user: the crash is in the verdict" [ $? = 139 ]
    run "$user" --workspace none --profile $profile -c "$crash & wait"
    expect "$profile, $user: no handler was started" untouched
    rm -f /cores
  done
done
run ci --private --workspace none -c "$crash"
expect "private: no handler was started" untouched
rm -f /cores
echo '/tmp/core.%p' >/proc/sys/kernel/core_pattern
as ci sh -c "$crash"
expect "a core is written outside of every box" [ -n "$(ls /tmp/core.* 2>/dev/null)" ]
rm -f /tmp/core.*
run ci --workspace /home/ci -c "$crash"
expect "no core of a job is" [ -z "$(ls /tmp/core.* /home/ci/core* 2>/dev/null)" ]

# FS-10: what cleans by age finds nothing of ours, nor a place that another could take.
echo "== FS-10"
for place in /tmp /var/tmp /run /var/lib; do
  touch $place/old
  echo "d $place - - - 10d" >>/etc/tmpfiles.d/age.conf
done
run ci --workspace none --scratch /tmp/here -c 'cd /tmp/here; touch before; sleep 30; touch after' &
job=$!
for i in $(seq 100); do [ -n "$(ls /var/lib/cloister/scratch 2>/dev/null)" ] || sleep 0.1; done
paths() { find /run/cloister /var/lib/cloister -printf '%p %y %u %m\n' | sort; }
paths >/before
date -s '+2 years' >/dev/null
systemd-tmpfiles --clean
expect "the cleaner has cleaned" [ -z "$(ls -d /tmp/old /var/tmp/old /run/old /var/lib/old 2>/dev/null)" ]
paths >/after
expect "nothing of ours is gone or another's" cmp /before /after
expect "there was a job with a directory on disk" grep -q '/scratch/.*/before' /before
wait $job
expect "the job came to its end" [ $? = 0 ]
expect "and left nothing" [ -z "$(ls /var/lib/cloister/scratch)" ]
expect "the service serves" run ci --workspace none -- true
kill $service
wait $service
expect "the service has ended well" [ $? = 0 ]
cat /var/log/cloisterd
echo "outcome: $passed passed, $failed failed, 0 skipped"
echo "guest: all was run"
echo o >/proc/sysrq-trigger
sleep 60
