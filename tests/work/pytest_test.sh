#!/bin/sh
# pytest with multiprocessing: semaphores and shared memory live in /dev/shm.
. "${0%/*}/job.sh"
needs python3
/usr/bin/python3 -c 'import pytest' 2>/dev/null ||
  { echo "python3-pytest is missing (run.sh --all installs it)" && exit 77; }
serve

processes() {
  cat >"$work/test_processes.py" <<'EOF'
import getpass
import multiprocessing
import os
import pathlib
import socket
from multiprocessing import shared_memory


def square(n):
    return n * n


def add(lock, total, block):
    for _ in range(1000):
        with lock:
            total.value += 1
    shared = shared_memory.SharedMemory(name=block)
    shared.buf[0] = 42
    shared.close()


def test_pool():
    with multiprocessing.Pool(4) as pool:
        assert pool.map(square, range(100)) == [n * n for n in range(100)]


def test_lock_and_memory():
    lock, total = multiprocessing.Lock(), multiprocessing.Value("i", 0, lock=False)
    block = shared_memory.SharedMemory(create=True, size=4096)
    workers = [multiprocessing.Process(target=add, args=(lock, total, block.name)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert total.value == 4000
    assert block.buf[0] == 42
    block.close()
    block.unlink()


def test_manager():
    with multiprocessing.Manager() as manager:
        shared = manager.dict(answer=42)
        assert shared["answer"] == 42


def test_spawned():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(square, [2, 3]) == [4, 9]


def test_names(tmp_path):
    assert getpass.getuser() == os.environ["USER"]
    assert socket.gethostbyname("localhost") == "127.0.0.1"
    (tmp_path / "file").write_text("x")
    pathlib.Path("result").write_text("42")
EOF
  chown -R "$user:$user" "$work"
  job build '/usr/bin/python3 -m pytest -v'
  check "pytest ends with 0" exited 0
  check "all five tests passed" said '=+ 5 passed in '
  check "the result is in the workspace" holds "$work/result" 42
}
in_each_mode processes
finished
