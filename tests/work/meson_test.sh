#!/bin/sh
# meson and ninja: a small project with a test.
. "${0%/*}/job.sh"
needs meson ninja gcc
serve

project() {
  cat >"$work/meson.build" <<'EOF'
project('small', 'c')
threads = dependency('threads')
small = executable('small', 'small.c', dependencies: threads)
test('two threads', small)
EOF
  cat >"$work/small.c" <<'EOF'
#include <pthread.h>
#include <stdio.h>
static void *set(void *to) { *(int *)to = 42; return NULL; }
int main(void) {
  pthread_t thread;
  int got = 0;
  if (pthread_create(&thread, NULL, set, &got) || pthread_join(thread, NULL)) return 1;
  printf("%d\n", got);
  return got != 42;
}
EOF
  chown -R "$user:$user" "$work"
  job build 'meson setup out && meson test -C out && out/small >result'
  check "meson sets up, builds and tests" exited 0
  check "meson's test passed" said '^Ok: +1'
  check "the result is in the workspace" holds "$work/result" 42
}
in_each_mode project
finished
