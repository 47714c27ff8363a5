#!/usr/bin/env python3
"""Signals and terminals through the cloister command. See cli.py."""

import fcntl
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time

from cli import Terminal, case, expect, main, wait_for_line, wait_for_stop

# --- signals and terminals ---------------------------------------------------------


@case("signals are handed on")
def _(t):
    for name in "HUP", "INT", "QUIT", "USR1", "USR2", "TERM":
        process = t.popen("run", "-q", "-c",
                          f"trap 'echo {name}; exit 7' {name}; echo ready; "
                          "while :; do sleep 0.05; done")
        wait_for_line(process, "ready")
        process.send_signal(getattr(signal, "SIG" + name))
        out, _ = process.communicate(timeout=20)
        expect(out == name + "\n" and process.returncode == 7, name, out, process.returncode)


@case("a signal that the command was started to ignore is not handed on")
def _(t):
    def ignore():
        t.become()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = subprocess.Popen(t.argv("run", "-c", "echo ready; sleep 0.5; echo done"),
                               cwd=t.work, env=t.environment, preexec_fn=ignore, text=True,
                               stdout=subprocess.PIPE)
    wait_for_line(process, "ready")
    process.send_signal(signal.SIGHUP)
    expect(process.communicate(timeout=20)[0] == "done\n" and process.returncode == 0)


@case("SIGTSTP stops the job and the command, SIGCONT lets both go on")
def _(t):
    process = t.popen("run", "-c", "echo ready; read x; echo $x; exit 4", stdin=subprocess.PIPE)
    wait_for_line(process, "ready")
    process.send_signal(signal.SIGTSTP)
    wait_for_stop(process)
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate("on\n", timeout=20)
    expect(out == "on\n" and process.returncode == 4, out, err)


@case("a job that hangs before it starts is given up on a signal, with a verdict")
def _(t):
    fifo = os.path.join(t.work, "fifo")
    os.mkfifo(fifo)
    os.chown(fifo, t.uid, t.gid)
    path = os.path.join(t.work, "interrupted.json")
    process = t.popen("run", "--verdict-file", path, "--request", "-", "true",
                      stdin=subprocess.PIPE)
    process.stdin.write(json.dumps({"stdin": {"path": fifo}}))
    process.stdin.close()
    process.stdin = None
    time.sleep(0.5)
    expect(process.poll() is None, process.returncode)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    expect(process.returncode == -signal.SIGINT and "before the job had started" in err, err)
    with open(path) as file:
        verdict = json.load(file)
    expect(verdict["ending"] == "not_started" and verdict["cause"] == "canceled", verdict)


@case("the job ends with the command")
def _(t):
    marker = f"{7000 + os.getpid() % 1000}.{t.uid}"
    process = t.popen("run", "-c", f"echo ready; exec sleep {marker}")
    wait_for_line(process, "ready")
    process.kill()
    process.communicate(timeout=20)
    deadline = time.monotonic() + 10
    while subprocess.run(["pgrep", "-f", f"^sleep {marker}"], stdout=subprocess.DEVNULL).returncode == 0:
        expect(time.monotonic() < deadline, "the job is still there")
        time.sleep(0.05)


@case("a terminal is relayed, with its size, and the exit code comes through")
def _(t):
    terminal = Terminal(t, "run", "-t", "-c", "tty; stty size; echo ready; read x; echo got $x; exit 5")
    terminal.read_until(b"ready")
    expect(terminal.is_raw())
    os.write(terminal.fd, b"hello\r")
    code = terminal.end()
    expect(code == 5, code, terminal.out)
    expect(b"/dev/pts/" in terminal.out and b"30 100" in terminal.out, terminal.out)
    expect(b"got hello" in terminal.out, terminal.out)


@case("the terminal's size is followed")
def _(t):
    terminal = Terminal(t, "run", "-t", "-c",
                        "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done")
    terminal.read_until(b"ready")
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 51, 121, 0, 0))
    expect(terminal.end() == 0, terminal.out)
    expect(b"51 121" in terminal.out, terminal.out)


@case("keys make signals in the job's terminal, not in ours")
def _(t):
    terminal = Terminal(t, "run", "-t", "-c",
                        "trap 'exit 9' INT; echo ready; while :; do sleep 0.05; done")
    terminal.read_until(b"ready")
    os.write(terminal.fd, b"\x03")
    expect(terminal.end() == 9, terminal.out)


@case("our terminal is as before, however the job ended")
def _(t):
    for ending in "exit 0", "kill -9 $$", "sleep 60":
        master, slave = pty.openpty()
        before = termios.tcgetattr(slave)
        process = t.popen("run", "-q", "-t", "-c", f"echo ready; read x; {ending}", stdin=slave,
                          stdout=slave, stderr=slave)
        seen = b""
        while b"ready" not in seen:
            seen += os.read(master, 4096)
        expect(termios.tcgetattr(slave) != before)
        os.write(master, b"\r")
        if ending == "sleep 60":
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
        expect(termios.tcgetattr(slave) == before, ending)
        os.close(master)
        os.close(slave)


@case("input that ends and output that is long pass through a terminal")
def _(t):
    done = t("run", "-t", "cat", input="a\nb")
    expect(done.returncode == 0, done.returncode, done.err)
    expect(done.out.endswith("a\nb") or "a\r\nb" in done.out, done.out)
    done = t("run", "-t", "seq", "50000")
    expect(done.out.split() == [str(i) for i in range(1, 50001)])


# --- what a terminal means by its signals --------------------------------------------

# Programs of which the main process waits for another one, and for its own. MARK names
# those that are waited for: a signal that finds dash(1) between the fork of its child
# and the exec is lost for the child, and dash waits for it, at any terminal.
MARK = f"1000.{os.getpid()}"
WAITING = {
    "a shell with a sleeping child": (["bash", "-c", f"sh -c 'exec sleep {MARK}'; exit 3"], 1),
    "make with a sleeping child": (["make", "-f", "-", "--no-print-directory"], 1),
    "python": (["python3", "-c", "import time; time.sleep(1000)", MARK], 1),
    "a pipeline": (["sh", "-c", f"sleep {MARK} | grep {MARK}"], 2),
}
MAKEFILE = f"all:\n\t@sleep {MARK}; true\n"


def waiting_programs(t):
    for name, (argv, count) in WAITING.items():
        if not shutil.which(argv[0], path="/usr/bin:/bin"):
            print(f"skipped {name}: no {argv[0]} here ({t.label})", flush=True)
            continue
        yield name, argv, count


def wait_for_marked(count):
    """Until what a program waits for has been executed, all of it."""
    deadline = time.monotonic() + 20
    pattern = f"^(sleep|grep|python3 .*) {MARK}$"
    while (seen := subprocess.run(["pgrep", "-fc", pattern], stdout=subprocess.PIPE,
                                  text=True).stdout.strip()) != str(count):
        expect(time.monotonic() < deadline, seen, count)
        time.sleep(0.01)


def verdict_of(path):
    with open(path) as file:
        return json.load(file)


def expect_canceled(t, verdict, name, *facts):
    expect(verdict["cause"] == "canceled" and verdict["fault"] == "operator", verdict, *facts)
    expect(verdict["killed_by"] == {"signal": name, "uid": t.uid}, verdict["killed_by"], *facts)


@case("U2: without a terminal, a signal ends the job's whole process group")
def _(t):
    path = os.path.join(t.work, "verdict.json")
    for name, argv, count in waiting_programs(t):
        for number in signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP:
            process = t.popen("run", "-q", "--verdict-file", path, *argv, stdin=subprocess.PIPE)
            if argv[0] == "make":
                process.stdin.write(MAKEFILE)
            process.stdin.close()
            process.stdin = None
            wait_for_marked(count)
            process.send_signal(number)
            process.communicate(timeout=20)
            expect_canceled(t, verdict_of(path), number.name, name)


@case("U2: at a terminal, Ctrl-C and Ctrl-\\ end the job's whole process group")
def _(t):
    path = os.path.join(t.work, "verdict.json")
    makefile = os.path.join(t.work, "Makefile")
    with open(makefile, "w") as file:
        file.write(MAKEFILE)
    os.chmod(makefile, 0o644)
    for name, argv, count in waiting_programs(t):
        for key, number in (b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT):
            argv = ["make", "--no-print-directory"] if argv[0] == "make" else argv
            terminal = Terminal(t, "run", "--verdict-file", path, *argv)
            wait_for_marked(count)
            os.write(terminal.fd, key)
            terminal.end()
            expect_canceled(t, verdict_of(path), number.name, name, terminal.out)


@case("U2: Ctrl-C in a shell without -t ends what it runs, not the shell")
def _(t):
    terminal = Terminal(t, "run", "bash", "--norc", "-i")
    os.write(terminal.fd, b"echo rea''dy; sleep 1000\n")
    terminal.read_until(b"ready")
    time.sleep(0.3)  # sleep(1) has to be there
    os.write(terminal.fd, b"\x03")
    time.sleep(0.3)
    os.write(terminal.fd, b"exit 4\n")
    expect(terminal.end() == 4, terminal.out)


@case("U2: the second Ctrl-C ends a job that ignores the first, and the first says so")
def _(t):
    path = os.path.join(t.work, "verdict.json")
    stubborn = "trap '' INT; echo ready; while :; do sleep 0.05; done"
    terminal = Terminal(t, "run", "--verdict-file", path, "-c", stubborn)
    terminal.read_until(b"ready")
    os.write(terminal.fd, b"\x03")
    terminal.read_until(b"press Ctrl-C again to kill it")
    os.write(terminal.fd, b"\x03")
    expect(terminal.end() == 137, terminal.out)
    expect_canceled(t, verdict_of(path), "SIGKILL")

    process = t.popen("run", "--verdict-file", path, "-c", stubborn)
    wait_for_line(process, "ready")
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    expect(process.poll() is None)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    expect_canceled(t, verdict_of(path), "SIGKILL")


@case("U2: Ctrl-Z stops all of the job and the command")
def _(t):
    terminal = Terminal(t, "run", "-c", "echo ready; sleep 0.5 | cat; read x; exit $x")
    terminal.read_until(b"ready")
    os.write(terminal.fd, b"\x1a")
    _, status = os.waitpid(terminal.pid, os.WUNTRACED)
    expect(os.WIFSTOPPED(status), status)
    os.kill(terminal.pid, signal.SIGCONT)
    os.write(terminal.fd, b"6\n")
    expect(terminal.end() == 6, terminal.out)


@case("U2: a terminal that hangs up ends the job")
def _(t):
    path = os.path.join(t.work, "verdict.json")
    for name, argv, count in waiting_programs(t):
        argv = ["make", "--no-print-directory"] if argv[0] == "make" else argv
        terminal = Terminal(t, "run", "--verdict-file", path, *argv)
        wait_for_marked(count)
        os.close(terminal.fd)
        os.waitpid(terminal.pid, 0)
        expect_canceled(t, verdict_of(path), "SIGHUP", name)


@case("U10: what timeout(1) ends was canceled, whether it cleans up or not")
def _(t):
    path = os.path.join(t.work, "verdict.json")
    endings = {
        "raises it again": "trap 'sleep 0.2; trap - TERM; kill -TERM $$' TERM",
        "exits": "trap 'sleep 0.2; exit 9' TERM",
        "does nothing about it": ":",
    }
    for name, trap in endings.items():
        process = subprocess.Popen(
            ["timeout", "1", *t.argv("run", "-q", "--verdict-file", path, "-c",
                                     trap + "; while :; do sleep 0.05; done")],
            cwd=t.work, env=t.environment, preexec_fn=t.become, stdin=subprocess.DEVNULL)
        expect(process.wait(timeout=20) == 124, name)
        verdict = verdict_of(path)
        expect_canceled(t, verdict, "SIGTERM", name)
        expect(verdict["exit_code"] == (9 if name == "exits" else None), verdict)


@case("U10: a stop that comes to SIGKILL is of who asked for the stop", service=True)
def _(t):
    job = t("start", "-c", "trap '' TERM; while :; do sleep 0.05; done").out.strip()
    time.sleep(0.3)
    verdict = json.loads(t("stop", "--json", "--timeout", "200ms", job).out)
    expect(verdict["term_signal"] == "SIGKILL", verdict)
    expect_canceled(t, verdict, "SIGKILL")
    expect(t("rm", job).returncode == 0)


sys.exit(main())
