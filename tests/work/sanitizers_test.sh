#!/bin/sh
# Sanitizers: LeakSanitizer stops its own threads by ptrace(2) to look for what
# they hold, and ThreadSanitizer wants its addresses as personality(2) fixes them.
. "${0%/*}/job.sh"
needs gcc
serve

leaks() {
  cat >"$work/leak.c" <<'EOF'
#include <pthread.h>
#include <stdlib.h>
static void *wait_for_ever(void *unused) {
  for (;;) pthread_testcancel();
  return unused;
}
int main(int count, char **words) {
  pthread_t thread;
  pthread_create(&thread, NULL, wait_for_ever, NULL);
  void *volatile lost = malloc(4242);
  if (count > 1) free(lost);
  lost = words;
  return 0;
}
EOF
  cat >"$work/race.c" <<'EOF'
#include <pthread.h>
static int total;
static void *add(void *unused) {
  total++;
  return unused;
}
int main(void) {
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, add, NULL);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  return 0;
}
EOF
  chown -R "$user:$user" "$work"
  for compiler in gcc clang; do
    if ! echo 'int main(void) {}' | "$compiler" -fsanitize=leak -x c - \
      -o "$directory/a.out" 2>/dev/null; then
      echo "skipped sanitizers of $compiler ($mode) ($compiler, or its sanitizers, are missing)"
      skipped=$((skipped + 1))
      continue
    fi
    for kind in leak address; do
      job build "$compiler -g -pthread -fsanitize=$kind -o $kind leak.c"
      check "$compiler builds with -fsanitize=$kind" exited 0
      job build "./$kind free"
      check "$compiler, $kind: no leak, nothing said" exited 0
      job build "./$kind"
      check "$compiler, $kind: the leak is found" said 'detected memory leaks'
      check "$compiler, $kind: with its size" said 'leak of 4242 byte'
      check "$compiler, $kind: and makes the exit code" exited "$([ $kind = leak ] && echo 23 || echo 1)"
    done
    job build "$compiler -g -pthread -fsanitize=thread -o thread race.c && ./thread"
    check "$compiler, thread: the race is found, and makes the exit code" exited 66
    check "$compiler, thread: with its place" said 'data race .*/race.c:4'
  done
}
in_each_mode leaks
finished
