#!/usr/bin/env python3
"""The cloister command: what it runs, shows and says. See cli.py."""

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time

from cli import EXAMPLE, EXAMPLE_SOURCE, PROBE, README, Target, case, environ, expect, main

# --- exit codes and what is said -------------------------------------------------


@case("the exit code is the job's own, and silence is success")
def _(t):
    for code in 0, 1, 2, 125, 255:
        done = t("run", "-c", f"exit {code}")
        expect(done.returncode == code, code, done.returncode, done.err)
        expect((done.err == "") == (code == 0), done.err)
        expect(done.err.count("\n") == (code != 0), done.err)


@case("a job ended by a signal makes 128 and its number")
def _(t):
    for number in signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV:
        done = t("run", "-c", f"kill -{int(number)} $$")
        expect(done.returncode == 128 + number, number, done.returncode)
        expect(number.name in done.err, done.err)


@case("a program that is missing makes 127, one that cannot run 126")
def _(t):
    done = t("run", "no-such-program")
    expect(done.returncode == 127, done.returncode)
    expect("no-such-program" in done.err and "No such file" in done.err, done.err)
    expect(t("run", "/etc/passwd").returncode == 126)


@case("what cloister itself cannot do makes 125, with field and reason")
def _(t):
    done = t("run", "--nice", "99", "true")
    expect(done.returncode == 125 and "nice" in done.err and "-20 to 19" in done.err, done.err)
    for field, request in (("dumpable", {"dumpable": False}),
                           ("seccomp", {"seccomp": {}}), ("landlock", {"landlock": {}})):
        done = t("run", "--request", "-", "true", input=json.dumps(request))
        expect(done.returncode == 125 and field in done.err, field, done.err)
    expect(t("run").returncode == 125)
    expect(t("fly").returncode == 125)


@case("exit codes of sysexits are named")
def _(t):
    expect("69 (EX_UNAVAILABLE)" in t("run", "-c", "exit 69").err)


@case("U4: what a named profile or the request promises and is not given is said, once")
def _(t):
    done = t("run", "--profile", "untrusted", "true")
    expect(done.returncode == 0 and done.err.count("\n") == 1, done.err)
    features = json.loads(t("info", "--json").out)["features"]["host"]
    for field in "limits.memory", "limits.pids", "limits.cpu_time":
        expect((field in done.err) == (features[field]["state"] != "available"), field, done.err)
    expect("limits.wall_time" not in done.err, done.err)
    # No service of this test has ids to lease.
    expect("its ids are the caller's" in done.err, done.err)
    expect(t("run", "-q", "--profile", "untrusted", "true").err == "")
    done = t("run", "--request", "-", "true",
             input=json.dumps({"dumpable": False, "best_effort": ["dumpable"]}))
    expect(done.returncode == 0 and "dumpable" in done.err, done.err)
    for profile in "default", "none":
        expect(t("run", "--profile", profile, "true").err == "", profile)


@case("U4: a job that is started says what it goes without, too", service=True)
def _(t):
    done = t("start", "--profile", "untrusted", "true")
    expect(done.returncode == 0 and "identity" in done.err, done.err)
    expect(t("wait", done.out.strip()).returncode == 0 and t("rm", done.out.strip()).returncode == 0)


@case("a limit that is reached is one line with its amount, and has its own exit code")
def _(t):
    features = json.loads(t("info", "--json").out)["features"]["host"]
    busy = ("-c", "while :; do :; done")
    rows = [("wall_time", ("--wall-time", "300ms", *busy), 124, "limits.wall_time: 0.300 s"),
            ("wall_time", ("--timeout", "300ms", *busy), 124, "limits.wall_time: 0.300 s"),
            ("cpu_time", ("--cpu-time", "300ms", *busy), 128 + 15, "limits.cpu_time: 0.300 s"),
            ("memory", ("--memory", "64M", "--swap", "0", "--cpus", "2", "python3", "-c",
                        "x = 'a' * 10**9"), 128 + 9, "limits.memory: 64 MiB"),
            ("pids", ("--pids", "3", "-c", "sleep 9 & sleep 9 & sleep 9 & exit 5"), 2,
             "limits.pids: 3")]
    for limit, arguments, code, words in rows:
        done = t("run", *arguments)
        if features["limits." + limit]["state"] == "available":
            expect(done.returncode == code, arguments, done.returncode, done.err)
            own = [line for line in done.err.splitlines() if line.startswith("cloister: ")]
            expect(len(own) == 1 and words in own[0], own)
        else:
            expect(done.returncode == 125 and "limits." + limit in done.err, done.err)
    for option in "--cpus=nan", "--cpus=inf", "--memory=x", "--pids=0", "--cpus=0", "--wall-time=5", "--cpu-time=0s", "--swap=1":
        done = t("run", option, "true")
        expect(done.returncode == 125 and "limits." in done.err, option, done.err)


@case("U1: two options at one place are refused, whichever comes last")
def _(t):
    for options in (("--ro", "/etc:/mnt", "--rw", "/usr:/mnt"), ("--tmpfs", "/mnt", "--ro", "/etc:/mnt")):
        done = t("run", *options, "true")
        expect(done.returncode == 125 and "same place: /mnt" in done.err, options, done.err)
    expect(t("run", "--ro", "/etc:/mnt", "--ro", "/etc:/mnt", "true").returncode == 0)


@case("-q says nothing")
def _(t):
    done = t("run", "-q", "-c", "exit 3")
    expect(done.returncode == 3 and done.err == "", done.err)


@case("--propagate-signal dies of the signal")
def _(t):
    done = t("run", "--propagate-signal", "-c", "kill -TERM $$")
    expect(done.returncode == -signal.SIGTERM, done.returncode)


@case("the verdict goes to a file and to a descriptor, the same one")
def _(t):
    path = os.path.join(t.work, "verdict.json")
    read, write = os.pipe()
    done = t("run", "--verdict-file", path, "--verdict-fd", str(write), "--name", "n", "-c",
             "exit 42", pass_fds=[write])
    os.close(write)
    with os.fdopen(read) as reader, open(path) as file:
        verdict, other = json.load(reader), json.load(file)
    expect(verdict == other)
    expect(done.returncode == 42)
    for key, value in (("ending", "exited"), ("exit_code", 42), ("wait_status", 42 << 8),
                       ("ok", False), ("cause", "payload"), ("name", "n"),
                       ("mode", "private" if t.private else "system")):
        expect(verdict[key] == value, key, verdict[key])


@case("a job that was refused has a verdict too")
def _(t):
    read, write = os.pipe()
    done = t("run", "--verdict-fd", str(write), "--request", "-", "true",
             input='{"dumpable": false}', pass_fds=[write])
    os.close(write)
    with os.fdopen(read) as reader:
        verdict = json.load(reader)
    expect(done.returncode == 125)
    expect(verdict["ending"] == "not_started" and verdict["failure"], verdict)
    expect("dumpable" in verdict["failure"]["message"], verdict["failure"])


@case("a verdict that cannot be written is a failure")
def _(t):
    done = t("run", "--verdict-file", "/nonexistent/v", "true")
    expect(done.returncode == 125 and "--verdict-file" in done.err, done.err)
    done = t("run", "--verdict-file", "/dev/full", "true")
    expect(done.returncode == 125 and "No space left" in done.err, done.err)
    expect(t("run", "--verdict-fd", "99", "true").returncode == 125)


# --- the job and its attributes ---------------------------------------------------


@case("stdin, stdout and stderr are the command's own")
def _(t):
    done = t("run", "-c", "cat; echo err >&2", input="text\n")
    expect(done.out == "text\n" and done.err == "err\n", done.out, done.err)
    with open(os.path.join(t.work, "in"), "w") as file:
        file.write("from a file")
    done = t("run", "--stdin", "in", "--stdout", "out", "--stderr", "stdout", "-c",
             "cat; echo err >&2")
    with open(os.path.join(t.work, "out")) as file:
        expect(file.read() == "from a fileerr\n")


@case("the environment is the usual variables and those that are named")
def _(t):
    with open(os.path.join(t.work, "env"), "w") as file:
        file.write("# a comment\nC=file\n")
    seen = environ(t.probe("-e", "A=1", "-e", "B", "--env-file", "env",
                           more_env={"B": "mine", "SECRET": "s"}))
    expect(seen == {"PATH": "/usr/bin:/bin", "HOME": t.environment["HOME"], "LANG": "C.UTF-8",
                    "A": "1", "B": "mine", "C": "file"}, seen)
    expect(environ(t.probe("--env-all", more_env={"SECRET": "s"}))["SECRET"] == "s")
    expect("HOME" not in environ(t.probe("--unset", "env.HOME")))


@case("each flag reaches the payload")
def _(t):
    seen = t.probe("--nice", "7", "--cpus-list", "0", "--umask", "0027", "--hostname", "cell",
                   "--rlimit", "nofile=100:200", "--rlimit", "RLIMIT_FSIZE=1M", "--setsid",
                   "--cwd", "/usr")
    expect(seen["nice"] == 7 and seen["affinity"] == [0], seen["nice"], seen["affinity"])
    expect(seen["umask"] == 0o27 and seen["hostname"] == "cell")
    expect(seen["rlimits"]["RLIMIT_NOFILE"] == {"soft": 100, "hard": 200}, seen["rlimits"])
    expect(seen["rlimits"]["RLIMIT_FSIZE"] == {"soft": 1 << 20, "hard": 1 << 20})
    expect(seen["sid"] == seen["pid"] and seen["cwd"] == "/usr", seen["cwd"])
    expect(seen["ruid"] == t.uid and seen["rgid"] == t.gid)
    expect(seen["no_new_privs"] == 1 and seen["capabilities"]["effective"] == 0)


@case("what no flag says is the caller's own")
def _(t):
    def lower():
        t.become()
        os.nice(3)
        os.umask(0o77)

    done = subprocess.run(t.argv("run", "--ro", PROBE + ":/tmp/probe", "/tmp/probe"), cwd=t.work,
                          env=t.environment, preexec_fn=lower, capture_output=True, text=True)
    seen = json.loads(done.stdout)
    expect(seen["nice"] == 3 and seen["umask"] == 0o77, seen["nice"], seen["umask"])


@case("a request from a file or stdin is taken, and flags win over it")
def _(t):
    request = {"argv": ["sh", "-c", "echo $A $B $0"], "env": {"A": "1", "B": "1"}, "name": "r"}
    path = os.path.join(t.work, "request.json")
    with open(path, "w") as file:
        json.dump(request, file)
    expect(t("run", "--request", path, "-e", "B=2").out == "1 2 sh\n")
    expect(t("run", "--request", "-", "-e", "B=2", input=json.dumps(request)).out == "1 2 sh\n")
    done = t("run", "--request", "-", "true", input='{"nmae": "x"}')
    expect(done.returncode == 125 and "nmae" in done.err, done.err)


@case("descriptors are passed by number, and no others are there")
def _(t):
    read, write = os.pipe()
    request = {"argv": ["sh", "-c", "echo passed >&7; ls /proc/self/fd | wc -l"],
               "file_actions": [{"receive": {"passed_fd": 0, "fd": 7}}]}
    done = t("run", "--request", "-", "--pass-fd", str(write), "--stdin", "null",
             input=json.dumps(request), pass_fds=[write])
    os.close(write)
    with os.fdopen(read) as reader:
        expect(reader.read() == "passed\n")
    expect(done.out.strip() == "5", done.out, done.err)  # 0 1 2 7, and that of ls


@case("it runs as oneself, and as another only if that is granted")
def _(t):
    done = t("run", "--as", "nobody", "id", "-un")
    if t.uid == 0:
        expect(done.out == "nobody\n", done.out, done.err)
        expect(t("run", "--as", "12345:54321", "-c", "id -u; id -g; id -G").out ==
               "12345\n54321\n54321\n")
    else:
        expect(done.returncode == 125 and "identity" in done.err, done.err)
    expect(t("run", "--as", "caller", "id", "-u").out == f"{t.uid}\n")


# --- the box -------------------------------------------------------------------------


@case("the current directory is the workspace, and all that can be written")
def _(t):
    done = t("run", "-c", "pwd; echo x > here; touch /usr/x 2>/dev/null || echo read-only")
    expect(done.out == t.work + "\nread-only\n", done.out, done.err)
    expect(os.path.exists(os.path.join(t.work, "here")))
    done = t("run", "--workspace", "none", "-c", f"test -e {t.work}/here || echo hidden")
    expect(done.out == "hidden\n", done.out, done.err)


@case("U15: what the person expects to be there and is not, is said before the job")
def _(t):
    home = t.environment["HOME"]
    done = t("run", "-c", "echo the job >&2", cwd=home)
    first, second = done.err.splitlines()
    expect("no workspace" in first and "starts in /" in first, first)
    expect(("home directory" if t.uid else "directory of the system") in first, first)
    expect("--workspace" in first and second == "the job", done.err)
    expect(t("run", "-q", "true", cwd=home).err == "")
    expect("no workspace" in t("plan", "true", cwd=home).out)
    # In / the job is where its caller is; what it could not write has a reason.
    expect(t("run", "true", cwd="/").err == "")
    done = t("run", "false", cwd="/")
    expect(done.returncode == 1 and "no workspace" in done.err, done.err)
    # A profile, or the request, that wants none misses none.
    for options in ("--workspace", "none"), ("--profile", "untrusted", "--best-effort", "identity"):
        expect("no workspace" not in t("run", *options, "true", cwd=home).err, options)


@case("U15: a current directory that is gone, or that cannot be read, is named with the reason")
def _(t):
    gone = os.path.join(t.work, "gone")

    def leave():
        os.makedirs(gone, exist_ok=True)
        os.chdir(gone)
        os.rmdir(gone)
        t.become()

    done = subprocess.run(t.argv("run", "pwd"), env=t.environment, preexec_fn=leave,
                          capture_output=True, text=True)
    expect(done.returncode == 0 and done.stdout == "/\n", done.stdout, done.stderr)
    expect("no workspace" in done.stderr and "gone" in done.stderr and
           "No such file" in done.stderr, done.stderr)
    if t.uid == 0:
        return
    closed = os.path.join(t.work, "closed")

    def enter():
        os.makedirs(closed, exist_ok=True)
        os.chdir(closed)
        os.chmod(closed, 0)
        t.become()

    done = subprocess.run(t.argv("run", "pwd"), env=t.environment, preexec_fn=enter,
                          capture_output=True, text=True)
    expect("no workspace" in done.stderr and "Permission denied" in done.stderr, done.stderr)


@case("U15: a home that is bound by name is said to be seen")
def _(t):
    home = t.environment["HOME"]
    for option in "--ro", "--rw":
        done = t("run", option, home, "true")
        expect(done.returncode == 0 and done.err.count("home directory") == 1, done.err)
        done = t("run", option, home + ":/tmp/elsewhere", "true")
        expect("home directory " + home in done.err, done.err)
    # Above it lies the empty one.
    done = t("run", "--ro", os.path.dirname(home), "-c", f"ls -A {home}")
    if os.path.dirname(home) != "/":
        expect(done.returncode == 0 and done.err == "" and done.out == "", done.out, done.err)


@case("U1: what is asked for inside the workspace holds, and the plan shows it")
def _(t):
    git = os.path.join(t.work, ".git")
    for name in git, os.path.join(t.work, "built"):
        os.makedirs(name, exist_ok=True)
        os.chown(name, t.uid, t.gid)
    for options in ("--ro", ".git"), ("--workspace", ".", "--ro", ".git"):
        done = t("run", *options, "-c", "touch .git/x; echo $?; touch beside && echo beside")
        expect(done.out == "1\nbeside\n" and "Read-only" in done.err, done.out, done.err)
        expect(not os.path.exists(os.path.join(git, "x")))
        table = json.loads(t("plan", "--json", *options, "true").out)["mounts"]
        row = next(row for row in table if row["at"] == git)
        expect(row["access"] == "ro" and row["kind"] == "bind", row)
        expect(row == table[-1] or len(row["at"].split("/")) <= len(table[-1]["at"].split("/")))
    with open(os.path.join(t.work, "built", "file"), "w", encoding="utf-8") as file:
        file.write("kept")
    done = t("run", "--tmpfs", "built", "-c", "ls built; echo x > built/file && cat built/file")
    expect(done.out == "x\n", done.out, done.err)
    with open(os.path.join(t.work, "built", "file"), encoding="utf-8") as file:
        expect(file.read() == "kept")
    request = json.dumps({"masked_paths": [git], "readonly_paths": [os.path.join(t.work, "built")]})
    done = t("run", "--request", "-", "-c", "ls -A .git; touch built/y", input=request)
    expect(done.returncode == 1 and done.out == "" and "Read-only" in done.err, done.out, done.err)
    # At its very place the option has it; said twice, nobody.
    done = t("run", "--ro", ".", "-c", "pwd; touch x")
    expect(done.out == t.work + "\n" and "Read-only" in done.err, done.out, done.err)
    done = t("run", "--workspace", ".", "--ro", ".", "true")
    expect(done.returncode == 125 and "workspace" in done.err and t.work in done.err, done.err)


@case("U9: HOME is set and private, wherever it points")
def _(t):
    home = os.path.join(t.work, "elsewhere")
    os.makedirs(home, exist_ok=True)
    with open(os.path.join(home, "key"), "w", encoding="utf-8") as file:
        file.write("canary")
    os.chown(home, t.uid, t.gid)
    show = "cat $HOME/key 2>/dev/null; touch $HOME/made && echo $HOME"
    # In the workspace it is the workspace's.
    expect(t("run", "-c", show, more_env={"HOME": home}).out == "canary" + home + "\n")
    done = t("run", "-c", show, more_env={"HOME": "/"})
    expect(done.out == "/run/home\n" and done.err.count("/run/home") == 1, done.out, done.err)
    bare = {name: value for name, value in t.environment.items() if name != "HOME"}
    done = subprocess.run(t.argv("run", "-c", show), cwd=t.work, env=bare, preexec_fn=t.become,
                          capture_output=True, text=True)
    expect(done.stdout == pwd.getpwuid(t.uid).pw_dir + "\n", done.stdout, done.stderr)
    # What the process says is hidden, whatever is asked for.
    outside = "/var/lib/cloister-home-test"
    shutil.copytree(home, outside)
    try:
        os.chmod(outside, 0o755)
        done = t("run", "-e", "HOME=/tmp/h", "-c", f"cat {outside}/key; echo $HOME",
                 more_env={"HOME": outside})
        if t.uid != 0:  # whose process's environment its equals alone can read
            expect(done.out == "/tmp/h\n", done.out, done.err)
        done = t("run", "-c", f"cat {outside}/key", more_env={"HOME": outside})
        expect(done.out == "" and "No such file" in done.err, done.out, done.err)
    finally:
        shutil.rmtree(outside)


@case("paths are bound read-only and writable")
def _(t):
    for name in "ro", "rw":
        os.makedirs(os.path.join(t.work, name), exist_ok=True)
        os.chown(os.path.join(t.work, name), t.uid, t.gid)
    done = t("run", "--workspace", "none", "--ro", "ro:/tmp/ro", "--rw", "rw:/tmp/rw", "-c",
             "echo x > /tmp/rw/f; touch /tmp/ro/f 2>/dev/null || echo read-only")
    expect(done.out == "read-only\n", done.out, done.err)
    expect(os.path.exists(os.path.join(t.work, "rw", "f")))
    done = t("run", "--ro", "/nonexistent", "true")
    expect(done.returncode == 125 and "/nonexistent" in done.err, done.err)


@case("its network is its own, or the host's")
def _(t):
    expect([i["name"] for i in t.probe("--net", "none")["interfaces"]] == ["lo"])
    own = os.stat("/proc/self/ns/net").st_ino
    expect(t.probe("--net", "host")["namespaces"]["net"] == own)
    expect(t.probe()["namespaces"]["net"] != own)


@case("the profile none is no box")
def _(t):
    seen = json.loads(t("run", "--profile", "none", PROBE).out)
    for name in "mnt", "net", "pid", "user", "uts", "ipc":
        expect(seen["namespaces"][name] == os.stat(f"/proc/self/ns/{name}").st_ino, name)
    expect(seen["cwd"] in (t.work, "/"), seen["cwd"])


# --- the other verbs -------------------------------------------------------------


@case("a started job is listed, inspected, signaled, waited for and removed", service=True)
def _(t):
    started = t("start", "--name", "nap", "--tag", "suite=cli", "sleep", "60")
    job = started.out.strip()
    expect(started.returncode == 0 and re.fullmatch(r"j-[0-9a-f]{32}", job), started.err)
    listed = t("ps")
    expect(any(job in line and "running" in line and "sleep 60" in line
               for line in listed.out.splitlines()), listed.out)
    expect(t("ps", "-q", "--tag", "suite=cli").out.split() == [job])
    expect(t("ps", "-q", "--tag", "suite=other").out == "")
    inspected = json.loads(t("inspect", "--json", job).out)
    expect(inspected["job"]["name"] == "nap" and inspected["verdict"] is None)
    expect(inspected["request"]["argv"] == ["sleep", "60"])
    expect("nap" in t("inspect", job).out)

    expect(t("wait", "--no-hang", job).returncode == 75)
    expect(t("kill", "-s", "STOP", job).returncode == 0)
    stopped = t("wait", "--stopped", job)
    expect(stopped.out == f"{job} stopped by SIGSTOP\n", stopped.out)
    expect(t("kill", "-s", "18", job).returncode == 0)
    expect(t("kill", "-s", "KILL", job).returncode == 0)
    waited = t("wait", "--json", job)
    event = json.loads(waited.out)
    expect(waited.returncode == 137 and event["event"] == "ended", waited.out)
    expect(event["verdict"]["cause"] == "canceled", event["verdict"]["cause"])

    expect(job in t("ps", "-a", "-q").out and job not in t("ps", "-q").out)
    expect(t("rm", job).returncode == 0)
    for verb in "rm", "inspect", "logs", "wait", "stop", "kill":
        done = t(verb, job)
        expect(done.returncode == 125 and job in done.err, verb, done.err)


@case("a job is stopped by its own signal, and by SIGKILL after its grace time", service=True)
def _(t):
    job = t("start", "--stop-signal", "INT", "-c",
            "trap 'exit 8' INT; while :; do sleep 0.05; done").out.strip()
    time.sleep(0.3)
    done = t("stop", job)
    expect(done.returncode == 0 and "exited with 8" in done.out, done.out, done.err)
    job = t("start", "-c", "trap '' TERM; while :; do sleep 0.05; done").out.strip()
    time.sleep(0.3)
    done = t("stop", "--json", "--timeout", "200ms", job)
    verdict = json.loads(done.out)
    expect(verdict["term_signal"] == "SIGKILL" and verdict["cause"] == "canceled", verdict)
    expect(t("rm", "--all").returncode == 0 and t("ps", "-aq").out == "")


@case("start says why a job did not start, and does not wait for one that did", service=True)
def _(t):
    done = t("start", "no-such-program")
    expect(done.returncode == 127 and done.out == "", done.returncode, done.err)
    begin = time.monotonic()
    done = t("start", "--json", "sleep", "30")
    expect(time.monotonic() - begin < 20 and json.loads(done.out)["pid"], done.out)
    expect(t("stop", "-q", json.loads(done.out)["id"]).returncode == 0)


@case("the same key and request are the same job", service=True)
def _(t):
    key = ["--idempotency-key", "cli", "sleep", "30"]
    one, two = t("start", *key).out, t("start", *key).out
    expect(one and one == two, one, two)
    done = t("start", "--idempotency-key", "cli", "sleep", "31")
    expect(done.returncode == 125 and "idempotency_key" in done.err, done.err)
    expect(t("stop", "-q", one.strip()).returncode == 0)


@case("other people's jobs are not there", service=True)
def _(t):
    job = t("start", "sleep", "30").out.strip()
    other = Target("other", t.options, 65534, 65534, "/nonexistent", False)
    for verb in "inspect", "logs", "kill", "stop", "rm":
        expect(other(verb, job).returncode == 125, verb)
    expect(job not in other("ps", "-aq").out)
    shutil.rmtree(other.work)
    expect(t("stop", "-q", job).returncode == 0)


@case("verbs about jobs need a service that knows some")
def _(t):
    if t.private:
        done = t("ps")
        expect(done.returncode == 125 and "no service" in done.err, done.err)
        expect(t("start", "true").returncode == 125)


@case("plan shows values, their origins and the steps, and launches nothing")
def _(t):
    done = t("plan", "--nice", "7", "-e", "A=1", "--", "touch", "planned")
    rows = [line.split() for line in done.out.splitlines()]
    expect(["nice", "7", "--nice"] in rows, done.out, done.err)
    expect(any(row[:1] == ["umask"] and row[-1] == "caller" for row in rows), done.out)
    expect(any(row[:1] == ["env.A"] and "-e," in row for row in rows), done.out)
    expect(any(row[:1] == ["mounts./proc"] and row[-1].endswith("/default.json") for row in rows),
           done.out)
    expect("execve" in done.out, done.out)
    expect(not os.path.exists(os.path.join(t.work, "planned")))
    plan = json.loads(t("plan", "--json", "--workspace", "none", "true").out)
    expect(plan["effective"]["argv"] == ["true"] and "workspace" not in plan["effective"])


@case("plan tells the file and the option behind each value")
def _(t):
    request = os.path.join(t.work, "request.json")
    with open(request, "w", encoding="utf-8") as file:
        json.dump({"argv": ["true"], "nice": 1, "umask": "0077", "env": {"B": "2"},
                   "mounts": [{"at": "/x/", "bind": "/usr"}]}, file)
    origins = json.loads(t("plan", "--json", "--request", request, "--nice", "4",
                           "--ro", "/etc:/y").out)["origins"]
    expect(origins["nice"] == "--nice", origins)
    for path in "umask", "env.B", "mounts./x", "argv":
        expect(origins[path] == "--request " + request, path, origins[path])
    expect(origins["mounts./y"] == "--ro", origins["mounts./y"])
    expect(origins["env.HOME"] == "caller", origins["env.HOME"])
    expect(origins["keyring"] == "constant", origins["keyring"])


@case("profiles are listed, shown and checked; one's own add names")
def _(t):
    own = os.path.join(t.work, "cloister", "profiles")
    os.makedirs(own)
    for name, text in {"mine": '{"profile": "default", /* ours */ "nice": 3}',
                       "none": '{"nice": 9}', "wrong": '{"nicest": 1}',
                       "roomless": '{"dumpable": false}'}.items():
        with open(os.path.join(own, name + ".json"), "w", encoding="utf-8") as file:
            file.write(text)
    here = {"XDG_CONFIG_HOME": t.work}
    listed = t("profile", "list", "--json", more_env=here)
    profiles = {each["file"]: each for each in json.loads(listed.out)}
    expect(any(each["name"] == "default" and each["problem"] is None
               for each in profiles.values()), listed.out)
    if t.uid == 0:  # whose environment only its equals can read: ~/.config it is
        return
    mine = profiles[own + "/mine.json"]
    expect((mine["name"], mine["base"], mine["problem"]) == ("mine", "default", None), mine)
    expect("never used" in profiles[own + "/none.json"]["problem"], profiles)
    expect("nicest" in profiles[own + "/wrong.json"]["problem"], profiles)

    shown = json.loads(t("profile", "show", "--json", "mine", more_env=here).out)
    expect(shown["effective"]["nice"] == 3, shown)
    expect(shown["origins"]["nice"] == "profile mine, " + own + "/mine.json", shown["origins"])
    expect(shown["origins"]["mounts./proc"].startswith("profile default, "), shown["origins"])
    expect("keyring" not in shown["origins"], shown["origins"])
    ran = t("run", "--profile", "mine", "-c", "ps -o ni= -p $$ || cut -d' ' -f19 /proc/$$/stat",
            more_env=here)
    expect(ran.out.strip() == "3", ran.out, ran.err)

    good = t("profile", "check", own + "/mine.json", own + "/none.json", more_env=here)
    expect(good.returncode == 0 and good.out.count(": good") == 2, good.out, good.err)
    for name, word in ("wrong", "nicest"), ("roomless", "dumpable"):
        bad = t("profile", "check", f"{own}/{name}.json", more_env=here)
        expect(bad.returncode == 125 and word in bad.err, bad.returncode, bad.err)
    unknown = t("run", "--profile", "absent", "true", more_env=here)
    expect(unknown.returncode == 125 and "default" in unknown.err and own in unknown.err,
           unknown.err)
    for arguments in ("list", "more"), ("show",), ("check",), ("burn",), ():
        expect(t("profile", *arguments).returncode == 125, arguments)


@case("info says which service it is")
def _(t):
    word = "private" if t.private else "system"
    expect(t("info").out.split()[1] == word + ":", t("info").out)
    expect(json.loads(t("info", "--json").out)["mode"] == word)


@case("help names every verb, and the version is known")
def _(t):
    text = t("--help").out
    for verb in "run start logs wait kill stop rm ps inspect plan info".split():
        expect(f"  {verb} " in text, verb)
        expect(f"usage: cloister {verb}" in t(verb, "--help").out, verb)
    expect(t("--version").out.startswith("cloister "))


@case("the example of the README is the one that is built, and it runs")
def _(t):
    with open(README) as readme, open(EXAMPLE_SOURCE) as source:
        expect("```cpp\n" + source.read() + "```" in readme.read())
    if not t.private:
        done = subprocess.run([EXAMPLE], cwd=t.work, preexec_fn=t.become, capture_output=True,
                              text=True, env=t.environment | {"CLOISTER_SOCKET": t.options[1]})
        expect(done.returncode == 3 and "I am 2\n" in done.stdout and "exited with 3" in done.stdout,
               done.stdout, done.stderr)


sys.exit(main())
