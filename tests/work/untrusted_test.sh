#!/bin/sh
# Somebody else's programs, in C, for Node and in Python: with the tools of the
# system alone, and away from all that is anybody's.
. "${0%/*}/job.sh"
needs gcc
# Ids that are nobody's, for jobs to borrow.
echo '{"lease": {"first": 900000000, "count": 65536}}' >"$directory/cloisterd.json"
serve --config "$directory/cloisterd.json"

# run_untrusted LINE: with $work/src at /work/src, as a grader would.
run_untrusted() { job untrusted "$1" --ro "$work/src:/work/src"; }

programs() {
  mkdir "$work/src"
  cat >"$work/src/main.cpp" <<'EOF'
#include <cstdio>
#include <thread>
#include <vector>
int main() {
  std::vector<std::thread> threads;
  int parts[6] = {};
  for (int& part : parts) threads.emplace_back([&part] { part = 7; });
  for (std::thread& thread : threads) thread.join();
  int sum = 0;
  for (int part : parts) sum += part;
  std::printf("answer %d\n", sum);
}
EOF
  cat >"$work/src/main.py" <<'EOF'
import getpass, grp, multiprocessing, os, pathlib, pwd, socket, ssl, tempfile
def square(n):
    return n * n
if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        total = sum(pool.map(square, [1, 4, 5]))
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")
    pathlib.Path.home().joinpath("made").write_text("x")
    assert socket.gethostbyname("localhost") == "127.0.0.1"
    assert [entry.pw_name for entry in pwd.getpwall()] == ["root", "nobody"]
    assert grp.getgrgid(0).gr_name == "root"
    print("answer", total, getpass.getuser(), os.getcwd())
EOF
  cat >"$work/src/main.js" <<'EOF'
const { Worker, isMainThread, parentPort } = require("worker_threads");
if (isMainThread)
  new Worker(__filename).on("message", (n) => console.log("answer", n, require("os").homedir()));
else
  parentPort.postMessage(6 * 7);
EOF
  chown -R "$user:$user" "$work"

  run_untrusted 'c++ -pthread -O1 -o main src/main.cpp && ./main'
  check "a compiler, by its name in alternatives, and what it built" exited 0
  check "the program's answer comes out" said '^answer 42$'
  check "nothing is left in the caller's directory" eval '[ "$(ls "$work")" = src ]'
  run_untrusted '/usr/bin/python3 src/main.py'
  check "a Python program" exited 0
  check "its answer, and who it is" said '^answer 42 job /work$'
  if [ -x /usr/bin/node ]; then
    run_untrusted 'node src/main.js'
    check "a Node program" exited 0
    check "its answer, and its home" said '^answer 42 /work$'
  else
    echo "skipped a Node program ($mode) (node is missing)" && skipped=$((skipped + 1))
  fi
  run_untrusted 'cat src/main.js >src/other'
  check "what is bound read-only stays as it is" said 'Read-only file system'
  run_untrusted 'ls -A / /etc /home /root /var /srv /opt 2>&1; cat /etc/passwd /etc/hostname; hostname'
  check "no tree of the host's" eval '! said "^(home|root|var|srv|opt|boot|mnt)$"'
  check "and no name of its users or its own" eval \
    '! said "$user" && ! said "^$(hostname)$" && said "^job$"'
  run_untrusted 'head -c 80M /dev/zero >/tmp/full'
  check "/tmp ends at 64 MiB" said 'No space left on device'
  run_untrusted 'for at in / /usr /etc /bin /work /tmp; do
      (: >"$at/made") 2>/dev/null && echo "wrote in $at"; done; id -u'
  check "/work and /tmp can be written, and nothing else" eval \
    '[ "$(grep -c "^wrote in" "$log")" = 2 ] && said "^wrote in /work$" && said "^wrote in /tmp$"'
  if [ "$mode" = system ]; then
    check "it runs with an id that is nobody's" said '^900[0-9]{6}$'
    check "and the verdict has given up no identity" eval 'jq -e ".degraded | index(\"identity\") == null" "$verdict"'
  else
    check "without a pool it has the caller's id, and the verdict says so" eval \
      'said "^$(id -u "$user")$" && jq -e ".degraded | index(\"identity\") != null" "$verdict"'
  fi
}
in_each_mode programs
finished
