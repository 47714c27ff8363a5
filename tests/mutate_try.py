"""A copy of the sources in which one thing at a time is changed, built and tried."""

import contextlib
import filecmp
import glob
import json
import math
import os
import re
import shutil
import subprocess
import tempfile
import time
from typing import NamedTuple

SOURCES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Those of run.sh, but a change compiles one file and not its whole library.
OPTIONS = ("-Dbuildtype=release", "-Doptimization=2", "-Dwerror=true", "-Dtests=true",
           "-Dprefix=/usr", "-Dunity=off")
# What the compiler says of a change is no test that has noticed it.
QUIET = "".join(f'#pragma GCC diagnostic ignored "-W{each}"\n' for each in (
    "unused-variable", "unused-but-set-variable", "unused-parameter", "unused-function",
    "unused-value", "unused-const-variable", "unused-result", "empty-body", "parentheses",
    "conversion", "type-limits", "implicit-fallthrough", "logical-op", "bool-operation",
    "tautological-compare", "dangling-else", "misleading-indentation"))

# A broken init runs as root: it may kill all that it sees, mount over what it sees and
# name the host. So each program runs where it sees only what it has started, which ends
# with it. The shell is process 1 there, leads a session, and reaps what loses its parent.
APART = ("unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
         "--mount-proc", "--propagation", "private", "setsid", "sh", "-c",
         'mount --bind "$1" "$2" || exit; shift 2; "$@"; exit $?', "sh")
LOCK = "/run/lock/cloister-tests"  # tests/system/service.cpp
LONGEST = 300  # s, as tests/*/meson.build say: what may take longer is no quick judge
# Of the tests of services, for one mutant: those that know most of its words. What only
# others would notice counts as a survivor.
MOST_FILES = 12
MOST_MEMORY = 8 << 30  # bytes of address space, of a program without a service


class Suite(NamedTuple):
    name: str
    command: tuple
    environment: dict
    programs: tuple  # of the build, all that it runs
    service: bool  # starts services; one such program runs on a machine at a time
    longest: int
    text: str


class Outcome(NamedTuple):
    passed: bool
    case: str  # the first that failed, if one is known
    said: str
    seconds: float


def split_words(text):
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)
    return {word.lower() for word in words if len(word) >= 4}


def parent_of(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return int(stat.read().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def holds_lock(ancestor):
    """Whether a process below this one is the program of tests whose turn it is."""
    try:
        inode = str(os.stat(LOCK).st_ino)
    except FileNotFoundError:
        return False
    with open("/proc/locks", encoding="utf-8") as locks:
        lines = [line.split() for line in locks]
    for words in lines:
        if words[1] != "FLOCK" or words[5].rsplit(":", 1)[1] != inode:
            continue
        pid = int(words[4])
        while pid > 1 and pid != ancestor:
            pid = parent_of(pid)
        if pid == ancestor:
            return True
    return False


class Copy:
    """As root: the tests of the service make users."""

    def __init__(self):
        # In /tmp the tests' own files could not be told from it.
        self.root = tempfile.mkdtemp(prefix="cloister-mutants-", dir="/var/tmp")
        # Where nobody but root may go the users of the tests could not.
        os.chmod(self.root, 0o755)
        subprocess.run(f"tar -c --exclude=./build* --exclude=./.git . | tar -x -C {self.root}",
                       shell=True, cwd=SOURCES, check=True)
        self.build = self.root + "/build"
        self.honest = self.root + "/build-honest"
        self.killed = None  # a suite that could not clean up
        self.baselines = {}
        self.seconds = {}  # that a suite takes, by name
        subprocess.run(["meson", "setup", self.build, self.root, *OPTIONS],
                       check=True, stdout=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.killed:
            # The next program of its kind removes the users that it finds.
            self.run(self.killed, self.honest, limit=2 * LONGEST)
        shutil.rmtree(self.root)

    def make(self, programs):
        """What the build says if it fails."""
        made = subprocess.run(["ninja", "-C", self.build, *programs],
                              capture_output=True, text=True)
        return made.stdout[-2000:] if made.returncode else ""

    def steps(self, suite):
        """Of the build, that it needs now."""
        told = subprocess.run(["ninja", "-C", self.build, "-n", *suite.programs],
                              capture_output=True, text=True, check=True)
        return told.stdout.count("\n[")

    def keep_honest(self):
        shutil.copytree(self.build, self.honest, symlinks=True)

    @contextlib.contextmanager
    def changed(self, file, text):
        path = os.path.join(self.root, file)
        with open(path, encoding="utf-8") as source:
            whole = source.read()
        with open(path, "w", encoding="utf-8") as source:
            source.write(QUIET + text)
        try:
            yield
        finally:
            with open(path, "w", encoding="utf-8") as source:
                source.write(whole)

    def introspect(self, what):
        told = subprocess.run(["meson", "introspect", self.build, "--" + what], check=True,
                              capture_output=True, text=True)
        return json.loads(told.stdout)

    def suites(self):
        """The test programs of the unit tests and of those of services."""
        targets = {each["id"]: each for each in self.introspect("targets")
                   if each["type"] == "executable"}
        out = []
        for test in self.introspect("tests"):
            part = os.path.relpath(test["cmd"][0], self.build).split("/")
            if part[0] != "tests" or part[1] not in ("unit", "system", "security", "hostile"):
                continue
            if test["timeout"] > LONGEST:
                continue
            ran = [targets[each] for each in test["depends"] if each in targets]
            programs = tuple(os.path.relpath(each["filename"][0], self.build) for each in ran)
            # A unit test may have the name of a system test.
            name = test["name"] if test["name"].startswith(part[1]) else f"{part[1]} {test['name']}"
            out.append(Suite(name, tuple(test["cmd"]), test["env"], programs, part[1] != "unit",
                             test["timeout"], self.text_of(test, ran)))
        return out

    def text_of(self, test, ran):
        sources = [file for each in ran if each["filename"][0] == test["cmd"][0]
                   for part in each["target_sources"] for file in part["sources"]]
        chosen = [word.split("*")[1] for word in test["cmd"] if word.startswith("--source-file=")]
        text = ""
        for file in sources:
            if file.endswith(tuple(chosen) or ".cpp"):
                with open(file, encoding="utf-8") as source:
                    text += source.read()
        return text

    def differs(self, suite):
        """False: its programs are byte by byte what they are without the change."""
        return any(not filecmp.cmp(f"{self.build}/{each}", f"{self.honest}/{each}", shallow=False)
                   for each in suite.programs)

    def run(self, suite, programs, limit, *more):
        """Runs it with the programs of that build folder. The limit counts from its turn."""
        command = [*APART, programs, self.build, *suite.command, *more]
        if not suite.service:
            command = ["prlimit", f"--as={MOST_MEMORY}", *command]
        disk_before = set(glob.glob("/var/tmp/cloister-test-*"))
        started = None if suite.service else time.monotonic()
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT,
                                       env={**os.environ, **suite.environment})
            try:
                while process.poll() is None:
                    time.sleep(0.02)
                    if not started:
                        started = time.monotonic() if holds_lock(process.pid) else None
                    elif time.monotonic() - started > limit:
                        process.kill()
            finally:
                process.kill()  # also when we are told to end
            seconds = time.monotonic() - (started or time.monotonic())
            output.seek(0)
            said = output.read()
        case = re.search(r"^FAILED (.*)$", said, re.M)
        if suite.service and process.returncode not in (0, 1):
            self.killed = suite
            self.remove_new(disk_before)
        if process.returncode == 0:
            return Outcome(True, "", said, seconds)
        if seconds > limit:
            said = f"no end within {limit:.0f} s"
        elif case:
            said = case[1]
        else:
            said = f"ended with {process.returncode}: {' '.join(said[-300:].split())}"
        return Outcome(False, case[1] if case else "", said, seconds)

    def remove_new(self, before):
        for path in set(glob.glob("/var/tmp/cloister-test-*")) - before:
            shutil.rmtree(path, ignore_errors=True)

    def baseline(self, suite):
        """Without a change. Twice, if it has to be: a machine may be busy."""
        if suite.name not in self.baselines:
            outcome = self.run(suite, self.honest, 2 * suite.longest)
            if not outcome.passed:
                outcome = self.run(suite, self.honest, 2 * suite.longest)
            self.baselines[suite.name] = outcome
            self.learn(suite, outcome)
        return self.baselines[suite.name]

    def learn(self, suite, outcome):
        if outcome.passed:
            self.seconds[suite.name] = max(outcome.seconds, self.seconds.get(suite.name, 0))

    def limit(self, suite):
        """Seconds after which it is as good as failed, by what it takes otherwise."""
        known = self.seconds.get(suite.name)
        return suite.longest if known is None else 30 + 5 * known

    def notices(self, suite):
        """What of the suite fails with the change, twice, and in between not without;
        empty: nothing. Most pass, and of those nobody asks how they are without it."""
        limit = self.limit(suite)
        outcome = self.run(suite, self.build, limit, "--abort-after=1")
        if outcome.passed:
            self.learn(suite, outcome)
            return ""
        only = ["--test-case=" + outcome.case.replace(",", r"\,")] if outcome.case else []
        # The suite alone says whether it can be asked at all; and this machine, now, is
        # what the case has to pass on.
        honest = self.baseline(suite)
        if not honest.passed or not self.run(suite, self.honest, limit, *only).passed:
            return ""
        again = self.run(suite, self.build, self.limit(suite), "--abort-after=1", *only)
        return "" if again.passed else f"{suite.name}: {again.said}"


def fitting(suites, about):
    """First those whose text shares the rarest words with the changed lines."""
    words = split_words(about)
    texts = {suite.name: split_words(suite.text) for suite in suites}
    weight = {word: math.log(len(suites) / (1 + sum(word in text for text in texts.values())))
              for word in words}
    return sorted(suites, key=lambda suite: (
        -sum(weight[word] for word in words & texts[suite.name]), suite.longest))
