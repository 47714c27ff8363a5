#!/bin/sh
# gdb: a process of the box traces another one of its own.
. "${0%/*}/job.sh"
needs gdb gcc
serve

program() {
  cat >"$work/fault.c" <<'EOF'
#include <stdio.h>
static int inner(int n) {
  printf("%d\n", n);
  return n + 1;
}
int main(void) { return inner(41) - 42; }
EOF
  chown -R "$user:$user" "$work"
  job build 'gcc -g -O0 -o fault fault.c &&
    gdb -batch -nx -ex "break inner" -ex run -ex backtrace -ex "print n + 1" -ex continue ./fault'
  check "gdb runs a program" exited 0
  check "it stops at the breakpoint" said '^Breakpoint 1, inner \(n=41\) at fault.c:3'
  check "it walks the stack" said '^#1 .* in main \(\) at fault.c:6'
  check "it reads the program's memory" said '^\$1 = 42'
  check "it goes on to the end" said 'exited normally'
  # ADDR_NO_RANDOMIZE, personality(2): refusing it moves every address on every run.
  check "it fixes the addresses" eval '! said "disabling address space randomization"'
  job build 'sleep 60 & gdb -batch -nx -p $! -ex "info proc"; got=$?; kill $!; exit $got'
  check "gdb attaches to a process that is there" exited 0
  check "and sees whose it is" said "exe = '/usr/bin/(sleep|coreutils)"
}
in_each_mode program
finished
