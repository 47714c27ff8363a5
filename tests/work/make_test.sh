#!/bin/sh
# make and gcc: a program of two sources, built in parallel and run.
. "${0%/*}/job.sh"
needs make gcc
serve

program() {
  cat >"$work/Makefile" <<'EOF'
CFLAGS = -O1 -flto=2
answer: main.o part.o
	$(CC) $(CFLAGS) -o $@ $^ -lm
result: answer
	./answer >$@
EOF
  printf '#include <stdio.h>\nint part(int);\nint main(void) { printf("%%d\\n", part(41)); }\n' \
    >"$work/main.c"
  printf '#include <math.h>\nint part(int n) { return (int)sqrt(n * n) + 1; }\n' >"$work/part.c"
  chown -R "$user:$user" "$work"
  job build 'make -j2 result'
  check "make builds with gcc and runs what it built" exited 0
  check "the result is in the workspace" holds "$work/result" 42
  check "and the user's" owned "$work/answer"
  variables="CC=cc CI_TOKEN=secret"
  job build 'echo "CC is $CC, CI is $CI, the token is ${CI_TOKEN-not there}"'
  check "what chooses the compiler passes, what may be a secret does not" \
    said '^CC is cc, CI is true, the token is not there$'
  variables=
  echo 'int part(int n) { return n +; }' >"$work/part.c"
  job build make
  check "make's own failure is the verdict's" exited 2
  check "and the compiler's message comes out" said 'part.c:1:.*error'
}
in_each_mode program
finished
