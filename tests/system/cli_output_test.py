#!/usr/bin/env python3
"""Captured output through the cloister command. See cli.py."""

import base64
import json
import os
import signal
import subprocess
import sys
import time

from cli import case, expect, main, wait_for_line, wait_for_stop

# --- run ---------------------------------------------------------------------------


@case("run copies captured output, each stream to its own place")
def _(t):
    done = t("run", "--max-output", "1M", "-c", "echo out; echo err >&2; printf 'no end'")
    expect(done.returncode == 0, done.returncode, done.err)
    expect(done.out == "out\nno end" and done.err == "err\n", done.out, done.err)
    request = {"stdout": {"capture": {}}, "stderr": "stdout"}
    done = t("run", "--request", "-", "-c", "echo out; echo err >&2", input=json.dumps(request))
    expect(done.out == "out\nerr\n" and done.err == "", done.out, done.err)


@case("captured output comes as the job writes it, and all of it")
def _(t):
    process = t.popen("run", "--max-output", "1M", "-c", "echo first; read x; echo $x",
                      stdin=subprocess.PIPE)
    wait_for_line(process, "first")
    out, err = process.communicate("second\n", timeout=20)
    expect(out == "second\n" and process.returncode == 0, out, err)
    done = t("run", "--max-output", "10M", "seq", "1000000")
    expect(done.returncode == 0, done.returncode, done.err)
    expect(done.out == "".join(f"{i}\n" for i in range(1, 1000001)), len(done.out))
    # Bytes are bytes.
    process = subprocess.Popen(t.argv("run", "--max-output", "1M", "-c", r"printf '\000\377\n'"),
                               cwd=t.work, env=t.environment, preexec_fn=t.become,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    expect(process.communicate(timeout=20)[0] == b"\0\xff\n")


@case("a job that writes more than it may is killed, and the verdict says so")
def _(t):
    path = os.path.join(t.work, "verdict.json")
    for redirect, stream in ("", "stdout"), (" >&2", "stderr"):
        done = t("run", "--max-output", "10K", "--verdict-file", path, "-c",
                 f"head -c 5000 /dev/zero | tr '\\0' a{redirect}; exec yes{redirect}")
        with open(path) as file:
            verdict = json.load(file)
        expect(verdict["cause"] == "output" and not verdict["ok"], verdict)
        seen = verdict["output"][stream]
        expect(seen["kept"] == 10 * 1024 and seen["truncated"] and seen["bytes"] > seen["kept"], seen)
        text = done.out if stream == "stdout" else done.err
        expect(text.startswith("a" * 5000 + "y\ny\n"), text[:100])
    # Just as much is no more.
    done = t("run", "--max-output", "10K", "head", "-c", "10240", "/dev/zero")
    expect(done.returncode == 0 and len(done.out) == 10240, done.returncode, done.err)


@case("a job goes on where its request only has output truncated")
def _(t):
    request = {"stdout": {"capture": {"max": "4K", "on_limit": "truncate"}}}
    done = t("run", "--request", "-", "-c", "head -c 100000 /dev/zero; exit 3",
             input=json.dumps(request))
    expect(done.returncode == 3, done.returncode, done.err)
    expect(done.out.startswith("\0" * 4096), len(done.out))


@case("a limit on output and another place exclude each other")
def _(t):
    for options in ("--stdout", "null"), ("--stderr", "-"), ("-t",), ("--log", "x"):
        done = t("run", "--max-output", "1M", *options, "true")
        expect(done.returncode == 125 and "--max-output captures" in done.err, options, done.err)
    done = t("run", "--max-output", "1M", "--stderr", "stdout", "-c", "echo out; echo err >&2")
    expect(done.out == "out\nerr\n" and done.err == "", done.out, done.err)


@case("whose output nobody reads any more gets SIGPIPE, and there is a verdict")
def _(t):
    path = os.path.join(t.work, "verdict.json")
    process = t.popen("run", "-q", "--max-output", "100M", "--verdict-file", path, "-c",
                      "while :; do echo y; sleep 0.01; done")
    wait_for_line(process, "y")
    process.stdout.close()
    process.stdout = None
    process.communicate(timeout=20)
    with open(path) as file:
        verdict = json.load(file)
    expect(process.returncode == 128 + signal.SIGPIPE, process.returncode, verdict)
    expect(verdict["term_signal"] == "SIGPIPE", verdict)


@case("output that cannot be written is a failure")
def _(t):
    with open("/dev/full", "w") as full:
        done = t("run", "--max-output", "1M", "echo", "x", stdout=full)
    expect(done.returncode == 125 and "No space left" in done.err, done.returncode, done.err)


@case("signals are handed on while nobody reads what the job has written")
def _(t):
    marker = os.path.join(t.work, "signaled")
    process = t.popen("run", "-q", "--max-output", "100M", "-c",
                      f"trap 'touch {marker}; exit 7' TERM; head -c 2000000 /dev/zero & wait; "
                      "while :; do sleep 0.05; done")
    time.sleep(1)
    expect(process.poll() is None, process.returncode)
    process.send_signal(signal.SIGTERM)
    code = process.wait(timeout=20)
    process.communicate()
    expect(code == 7 and os.path.exists(marker), code)
    os.unlink(marker)


@case("SIGTSTP stops the job and the command while nobody reads what the job has written")
def _(t):
    process = t.popen("run", "-q", "--max-output", "100M", "-c",
                      "while :; do head -c 200000 /dev/zero; sleep 0.05; done")
    time.sleep(1)
    process.send_signal(signal.SIGTSTP)
    wait_for_stop(process)
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGTERM)
    code = process.wait(timeout=20)
    process.communicate()
    expect(code == 128 + signal.SIGTERM, code)


@case("a log has both streams in their order, and neither overwrites the other")
def _(t):
    path = os.path.join(t.work, "log")
    with open(path, "w") as file:
        file.write("what was there before, which is longer than all of the output\n")
    os.chown(path, t.uid, t.gid)
    done = t("run", "--log", "log", "-c", "echo 1; echo 2 >&2; echo 3; echo 4 >&2")
    expect(done.returncode == 0 and done.out == "" and done.err == "", done.out, done.err)
    with open(path) as file:
        expect(file.read() == "1\n2\n3\n4\n")
    done = t("run", "--log", "/nonexistent/log", "true")
    expect(done.returncode == 125 and "--log" in done.err, done.err)


# --- start and logs ----------------------------------------------------------------


def started(t, *arguments):
    done = t("start", *arguments)
    expect(done.returncode == 0, done.err)
    return done.out.strip()


@case("a started job's output is kept, and can be read until the job is forgotten", service=True)
def _(t):
    for profile in "default", "none":
        job = started(t, "--profile", profile, "-c", "echo out; echo err >&2; exit 3")
        expect(t("wait", "-q", job).returncode == 3)
        done = t("logs", job)
        expect(done.returncode == 0, done.returncode)
        expect(done.out == "out\n" and done.err == "err\n", profile, done.out, done.err)
        done = t("logs", "--stdout", job)
        expect(done.out == "out\n" and done.err == "", done.out, done.err)
        done = t("logs", "--stderr", job)
        expect(done.out == "" and done.err == "err\n", done.out, done.err)
        parts = [json.loads(line) for line in t("logs", "--json", job).out.splitlines()]
        expect(sorted((part["stream"], part["offset"], base64.b64decode(part["data"]))
                      for part in parts) == [("stderr", 0, b"err\n"), ("stdout", 0, b"out\n")], parts)
        expect(t("rm", job).returncode == 0)
        done = t("logs", job)
        expect(done.returncode == 125 and "no such job" in done.err, done.err)


@case("logs -f begins at the beginning and ends with the job", service=True)
def _(t):
    go = os.path.join(t.work, "go")
    job = started(t, "-c", f"echo first; while ! test -e {go}; do sleep 0.05; done; "
                  "echo last; echo err >&2; exit 4")
    process = t.popen("logs", "-f", job)
    wait_for_line(process, "first")
    expect(t("logs", job).out == "first\n")
    open(go, "w").close()
    out, err = process.communicate(timeout=20)
    expect(out == "last\n" and err == "err\n" and process.returncode == 0, out, err)
    expect(t("logs", "-f", job).out == "first\nlast\n")
    os.unlink(go)
    t("rm", job)


@case("logs -f that ends leaves the job alone, and so does one that nobody reads", service=True)
def _(t):
    job = started(t, "-c", "echo ready; exec sleep 60")
    process = t.popen("logs", "-f", job)
    wait_for_line(process, "ready")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    expect(process.returncode == -signal.SIGINT, process.returncode)
    expect(job in t("ps", "-q", "--state", "running").out)
    t("stop", job)
    t("rm", job)
    job = started(t, "-c", "seq 1000000")
    t("wait", job)
    process = t.popen("logs", job)
    wait_for_line(process, "1")
    process.stdout.close()
    process.stdout = None
    process.communicate(timeout=20)
    expect(process.returncode == -signal.SIGPIPE, process.returncode)
    t("rm", job)


@case("logs --tail begins with the last lines", service=True)
def _(t):
    go = os.path.join(t.work, "go")
    job = started(t, "-c", f"seq 100000; echo a >&2; echo b >&2; touch {go}.ready; "
                  f"while ! test -e {go}; do sleep 0.05; done; echo end")
    while not os.path.exists(go + ".ready"):
        time.sleep(0.05)
    done = t("logs", "--tail", "2", job)
    expect(done.out == "99999\n100000\n" and done.err == "a\nb\n", done.out, done.err)
    expect(t("logs", "--tail", "0", job).out == "")
    for options in (), ("--stdout",):
        process = t.popen("logs", "-f", "--tail", "1", *options, job)
        wait_for_line(process, "100000")
        if options:
            open(go, "w").close()
            out, err = process.communicate(timeout=20)
            expect(out == "end\n" and err == "", out, err)
        else:
            other = process
    out, err = other.communicate(timeout=20)
    expect(out == "end\n" and err == "b\n", out, err)
    for name in go, go + ".ready":
        os.unlink(name)
    t("rm", job)


@case("logs says how much was not kept", service=True)
def _(t):
    for keep, at in ("head", -1), ("tail", 0):
        request = {"stdout": {"capture": {"max": "4K", "keep": keep}}}
        done = t("start", "--request", "-", "-c", "head -c 10000 /dev/zero | tr '\\0' a",
                 input=json.dumps(request))
        job = done.out.strip()
        expect(done.returncode == 0 and t("wait", job).returncode == 0, done.err)
        done = t("logs", job)
        expect(done.out == "a" * 4096, len(done.out))
        expect(done.err == "cloister: 5904 bytes of stdout were not kept\n", keep, at, done.err)
        t("rm", job)


@case("a started job that writes more than it may is killed", service=True)
def _(t):
    job = started(t, "--max-output", "10K", "yes")
    t("wait", "-q", job)
    expect(json.loads(t("inspect", "--json", job).out)["verdict"]["cause"] == "output")
    expect(len(t("logs", job).out) == 10240)
    t("rm", job)


@case("a started job has its log in a file, or no output at all", service=True)
def _(t):
    job = started(t, "--log", "started.log", "-c", "echo out; echo err >&2")
    t("wait", job)
    with open(os.path.join(t.work, "started.log")) as file:
        expect(file.read() == "out\nerr\n")
    t("rm", job)
    job = started(t, "--stdout", "null", "-c", "echo out; echo err >&2")
    t("wait", job)
    done = t("logs", job)
    expect(done.out == "" and done.err == "err\n", done.out, done.err)
    t("rm", job)


@case("another user's output is another user's", service=True)
def _(t):
    if t.uid == 0:
        return
    done = subprocess.run([t.argv()[0], *t.options, "start", "echo", "secret"],
                          cwd="/", capture_output=True, text=True, stdin=subprocess.DEVNULL)
    job = done.stdout.strip()
    expect(done.returncode == 0, done.stderr)
    done = t("logs", job)
    expect(done.returncode == 125 and "no such job" in done.err and done.out == "", done.err)


sys.exit(main())
