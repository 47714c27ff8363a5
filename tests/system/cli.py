"""The command as people use it: against a service of root's, as root and as an
unprivileged user, and in private mode as that user. Without root, in private
mode as oneself. What the files of cases share.

FILE CLOISTER CLOISTERD PROBE README README_EXAMPLE EXAMPLE_PROGRAM
"""

import fcntl
import json
import os
import pty
import pwd
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

CLOISTER, CLOISTERD, PROBE, README, EXAMPLE_SOURCE, EXAMPLE = map(os.path.abspath, sys.argv[1:])
USER = "cloister-cli-test"
CASES = []

# Ignored where a shell has put us into the background, or nohup(1); a child of ours
# would ignore them too.
for number in signal.SIGHUP, signal.SIGQUIT:
    signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


def case(name, service=False):
    """A case; `service`: it needs one that outlives the command."""

    def add(function):
        CASES.append((name, service, function))
        return function

    return add


def expect(condition, *facts):
    if not condition:
        raise AssertionError(" ".join(repr(fact) for fact in facts))


class Target:
    """Whom the command runs as, and which service it talks to."""

    def __init__(self, label, options, uid, gid, home, private):
        self.label, self.options, self.private = label, options, private
        self.uid, self.gid = uid, gid
        self.work = tempfile.mkdtemp(prefix="cloister-cli-")
        os.chown(self.work, uid, gid)
        os.chmod(self.work, 0o755)
        self.environment = {"PATH": "/usr/bin:/bin", "HOME": home, "LANG": "C.UTF-8"}

    def become(self):
        if os.getuid() != self.uid:
            os.setgroups([])
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)

    def argv(self, *arguments):
        return [CLOISTER, *self.options, *arguments]

    def popen(self, *arguments, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        options.setdefault("cwd", self.work)
        environment = self.environment | options.pop("more_env", {})
        return subprocess.Popen(self.argv(*arguments), text=True, preexec_fn=self.become,
                                env=environment, **options)

    def __call__(self, *arguments, input=None, **options):
        if input is not None:
            options["stdin"] = subprocess.PIPE
        process = self.popen(*arguments, **options)
        process.out, process.err = process.communicate(input, timeout=60)
        return process

    def probe(self, *options, **others):
        """What a job sees that is run with these options."""
        done = self("run", *options, "--ro", PROBE + ":/tmp/probe", "/tmp/probe", **others)
        expect(done.returncode == 0, done.returncode, done.err)
        return json.loads(done.out)


def environ(seen):
    return dict(entry.split("=", 1) for entry in seen["environ"])


def wait_for_stop(process):
    """Until it is stopped, waitid(2)."""
    deadline = time.monotonic() + 20
    while (state := os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            process.kill()
        expect(time.monotonic() < deadline, "it did not stop")
        time.sleep(0.02)
    expect(os.WIFSTOPPED(state[1]), state)


def wait_for_line(process, line):
    seen = process.stdout.readline()
    expect(seen == line + "\n", seen)


class Terminal:
    """A command in a terminal of its own, 30 rows by 100 columns."""

    def __init__(self, target, *arguments):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            target.become()
            os.chdir(target.work)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
            argv = target.argv(*arguments)
            os.execve(argv[0], argv, target.environment)
        self.out = b""

    def read_until(self, text):
        deadline = time.monotonic() + 20
        while text not in self.out:
            expect(time.monotonic() < deadline, text, self.out)
            if select.select([self.fd], [], [], 0.2)[0]:
                self.out += os.read(self.fd, 65536)

    def end(self):
        try:
            while select.select([self.fd], [], [], 20)[0]:
                data = os.read(self.fd, 65536)
                if not data:
                    break
                self.out += data
        except OSError:  # EIO: the last process with the terminal is gone
            pass
        deadline = time.monotonic() + 20
        while (state := os.waitpid(self.pid, os.WNOHANG))[0] == 0:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise AssertionError(f"it does not end: {self.out!r}")
            time.sleep(0.02)
        status = state[1]
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)

    def is_raw(self):
        return not termios.tcgetattr(self.fd)[3] & (termios.ICANON | termios.ECHO)


def run_all(targets):
    passed = failed = 0
    for target in targets:
        for name, service, function in CASES:
            if service and target.private:
                continue
            start = time.monotonic()
            try:
                function(target)
                passed += 1
                print(f"ok {name} ({target.label}, {time.monotonic() - start:.1f} s)", flush=True)
            except Exception as error:  # whatever it is, the other cases still count
                failed += 1
                print(f"FAILED {name} ({target.label}): {type(error).__name__}: {error}",
                      flush=True)
        shutil.rmtree(target.work)
    return passed, failed


def remove_user():
    """The user is the tests' own, and so are all its processes; of a run that was
    killed, too."""
    subprocess.run(["pkill", "-KILL", "-u", USER], check=False, stderr=subprocess.DEVNULL)
    for _ in range(50):
        if subprocess.run(["userdel", "--remove", USER], check=False,
                          stderr=subprocess.DEVNULL).returncode in (0, 6):  # 6: there is none
            return
        time.sleep(0.1)


def main():
    if os.getuid() != 0:
        home = pwd.getpwuid(os.getuid()).pw_dir
        alone = Target("private", ["--private", "--cloisterd", CLOISTERD], os.getuid(),
                       os.getgid(), home, True)
        passed, failed = run_all([alone])
        print(f"outcome: {passed} passed, {failed} failed, 1 skipped")
        print("skipped the service of the system (needs root)")
        return failed != 0
    directory = tempfile.mkdtemp(prefix="cloister-cli-")
    os.chmod(directory, 0o755)
    path = os.path.join(directory, "socket")
    remove_user()
    subprocess.run(["useradd", "--create-home", USER], check=True)
    service = subprocess.Popen([CLOISTERD, "--socket", path, "--socket-mode", "0666"],
                               start_new_session=True)
    try:
        user = pwd.getpwnam(USER)
        while not os.path.exists(path):
            expect(service.poll() is None, "cloisterd did not start")
            time.sleep(0.02)
        ids = user.pw_uid, user.pw_gid, user.pw_dir
        passed, failed = run_all([
            Target("service, root", ["--socket", path], 0, 0, "/root", False),
            Target("service, user", ["--socket", path], *ids, False),
            Target("private, user", ["--private", "--cloisterd", CLOISTERD], *ids, True),
        ])
    finally:
        service.terminate()
        service.wait(timeout=30)
        remove_user()
        shutil.rmtree(directory)
    print(f"outcome: {passed} passed, {failed} failed, 0 skipped")
    return failed != 0

