#!/usr/bin/env python3
"""Changes one thing at a time in a copy of the sources and expects a test to fail.

mutate.py named [WORD...]       what keeps the host or a verdict safe (mutants.py): the test
                                that watches over it fails; those whose name has a word
mutate.py drawn SEED [ROOM...]  24 changes drawn by the seed (mutate_draw.py), or those of
                                the rooms; ROOM=N: as many. Fails if more than one survives

As root.
"""

import signal
import sys
import time

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from mutants import MUTANTS
from mutate_draw import ROOMS, draw
from mutate_try import MOST_FILES, Copy, fitting


SCHEMA = "config/request.schema.json"  # some tests read it


def report(passed, failed):
    print(f"outcome: {passed} passed, {failed} failed, 0 skipped")
    return failed == 0 and passed > 0


def named(copy, words):
    passed = failed = 0
    suites = {suite.command[0]: suite for suite in copy.suites()}
    chosen = [each for each in MUTANTS if not words or any(word in each[0] for word in words)]
    wanted = [suites[f"{copy.build}/{test}"] for *_, test, _ in chosen]
    said = copy.make({program for suite in wanted for program in suite.programs})
    if said:
        sys.exit(said)
    copy.keep_honest()
    for (name, file, before, after, _, case), suite in zip(chosen, wanted):
        said = f"there is no such line any more in {file}"
        caught = False
        with open(f"{copy.root}/{file}", encoding="utf-8") as source:
            whole = source.read()
        if whole.count(before) == 1:
            with copy.changed(file, whole.replace(before, after)):
                said = copy.make(suite.programs)
                if not said:
                    only = suite._replace(command=(suite.command[0], "--test-case=" + case))
                    outcome = copy.run(only, copy.build, suite.longest)
                    caught = bool(outcome.case)
                    said = outcome.said if not outcome.passed else "survived"
        passed, failed = passed + caught, failed + (not caught)
        print(f"ok mutant: {name} ({said})" if caught else f"FAILED mutant: {name}: {said}",
              flush=True)
    return report(passed, failed)


class Drawn:
    """Where a mutant is tried: the unit tests first, then the tests of services."""

    def __init__(self, copy):
        self.copy = copy
        suites = copy.suites()
        self.units = [suite for suite in suites if not suite.service]
        self.services = [suite for suite in suites if suite.service]
        said = copy.make({program for suite in suites for program in suite.programs} | {SCHEMA})
        if said:
            sys.exit(said)
        copy.keep_honest()

    def judge(self, mutant):
        """Who noticed, or `survived`; None for no mutant: it does not compile, or the
        compiler makes the same of it."""
        about = mutant.file + mutant.about
        changed = False
        with self.copy.changed(mutant.file, mutant.text):
            # A header may be in nearly all objects, or in those of one test.
            units = sorted(fitting(self.units, about),
                           key=lambda suite: self.copy.steps(suite) // 10)
            for suite in units + fitting(self.services, about)[:MOST_FILES]:
                if self.copy.make(suite.programs):
                    return None
                if not self.copy.differs(suite):
                    continue
                changed = True
                noticed = self.copy.notices(suite)
                if noticed:
                    return noticed
        return "survived" if changed else None


def drawn(copy, seed, shares):
    everywhere = Drawn(copy)
    caught, survivors, none = 0, [], 0
    for room in ROOMS:
        left = shares.get(room.name, 0)
        mutants = draw(room, copy.root, seed)
        while left:
            mutant = next(mutants)
            since = time.monotonic()
            verdict = everywhere.judge(mutant)
            if not verdict:
                none += 1
                continue
            left -= 1
            if verdict == "survived":
                survivors.append(mutant)
                print(f"SURVIVED {mutant}", flush=True)
            else:
                caught += 1
                print(f"caught {mutant}\n       by {verdict} ({time.monotonic() - since:.0f} s)",
                      flush=True)
    broken = {name: outcome for name, outcome in copy.baselines.items() if not outcome.passed}
    for name, outcome in broken.items():
        print(f"FAILED without a change, and so not asked: {name}: {outcome.said}")
    for mutant in survivors:
        print(f"FAILED mutant of seed {seed} survived: {mutant}")
    print(f"seed {seed}: {caught} of {caught + len(survivors)} caught"
          f" ({none} more did not compile, or to the same program)")
    report(caught, len(survivors) + len(broken))
    return len(survivors) <= 1 and not broken


def shares_of(words):
    known = {room.name: room.share for room in ROOMS}
    if not words:
        return known
    shares = {}
    for word in words:
        name, _, number = word.partition("=")
        if name not in known:
            sys.exit(f"mutate.py: unknown room: {name}; there are {', '.join(known)}")
        shares[name] = int(number or known[name])
    return shares


def main(words):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("mutate.py: told to end"))
    if words[:1] == ["named"]:
        with Copy() as copy:
            return named(copy, words[1:])
    if words[:1] == ["drawn"] and len(words) > 1:
        shares = shares_of(words[2:])
        with Copy() as copy:
            return drawn(copy, words[1], shares)
    sys.exit(__doc__)


sys.exit(0 if main(sys.argv[1:]) else 1)
