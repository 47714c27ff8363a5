#!/usr/bin/env python3
"""What it costs to compile the programs, in units.

A unit is the CPU time of one reference file: it includes <nlohmann/json.hpp>
alone and parses one text. The reference is compiled again whenever some time
has passed, and each file is compared with the references before and after it:
so the figures hold on any machine, busy or not. Precompiled headers are files
like all others.

Usage: compile_units.py BUILD PROGRAM... [--total N] [--file N]
"""
import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile

REFERENCE = """#include <nlohmann/json.hpp>
int main(int, char** words) { return static_cast<int>(nlohmann::json::parse(words[0]).size()); }
"""
PASSED = 10.0  # seconds of CPU time after which the reference is compiled again


def cpu_seconds(command, folder):
    """CPU time of a command that has to succeed."""
    environment = dict(os.environ, CCACHE_DISABLE="1")
    child = subprocess.Popen(command, cwd=folder, env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit("failed: " + shlex.join(command))
    return usage.ru_utime + usage.ru_stime


def compiler_call(entry, scratch):
    """The command of an entry without ccache, its output put aside."""
    words = shlex.split(entry["command"])
    if os.path.basename(words[0]) == "ccache":
        del words[0]
    for option, name in (("-o", "out.o"), ("-MF", "out.d")):
        words[words.index(option) + 1] = os.path.join(scratch, name)
    return words


def objects_of(build, programs):
    programs = [os.path.relpath(os.path.abspath(name), os.path.abspath(build)) if os.path.isabs(name)
                else name for name in programs]
    listed = subprocess.run(["ninja", "-C", build, "-t", "inputs", *programs],
                            check=True, capture_output=True, text=True)
    return {line.strip() for line in listed.stdout.splitlines()}


def entries_of(build, programs):
    """The files that are compiled for the programs, each once."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        entries = json.load(file)
    wanted = objects_of(build, programs)
    return [entry for entry in entries if entry["output"] in wanted]


class Reference:
    """The reference file, compiled with the options of another one."""

    def __init__(self, like, scratch):
        source = os.path.join(scratch, "reference.cpp")
        with open(source, "w", encoding="utf-8") as file:
            file.write(REFERENCE)
        self.command = compiler_call(like, scratch)
        self.command[self.command.index(like["file"])] = source
        if "-include" in self.command:  # a precompiled header
            at = self.command.index("-include")
            del self.command[at:at + 2]
        self.folder = like["directory"]

    def seconds(self):
        return cpu_seconds(self.command, self.folder)


def measure(entries, reference, scratch):
    """Units by file, and the seconds of each reference."""
    units, batch, passed = {}, {}, 0.0
    before = reference.seconds()
    references = [before]
    for number, entry in enumerate(entries, 1):
        name = os.path.normpath(os.path.join(entry["directory"], entry["file"]))
        batch[entry["output"]] = (name, cpu_seconds(compiler_call(entry, scratch), entry["directory"]))
        passed += batch[entry["output"]][1]
        if passed < PASSED and number < len(entries):
            continue
        after = reference.seconds()
        for output, (name, seconds) in batch.items():
            units[output] = (name, seconds / ((before + after) / 2))
        references.append(after)
        before, batch, passed = after, {}, 0.0
    return units, references


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="the build folder")
    parser.add_argument("programs", nargs="+", help="what is linked of the files")
    parser.add_argument("--total", type=float, default=float("inf"), help="units of all files, at most")
    parser.add_argument("--file", type=float, default=float("inf"), help="units of one file, at most")
    parser.add_argument("--only", default="", help="files whose path has this in it")
    parser.add_argument("--rows", type=int, default=25, help="heaviest files to show")
    given = parser.parse_args()

    entries = [e for e in entries_of(given.build, given.programs) if given.only in e["output"]]
    if not entries:
        sys.exit("no files are compiled for: " + " ".join(given.programs))
    with tempfile.TemporaryDirectory() as scratch:
        units, references = measure(entries, Reference(entries[0], scratch), scratch)

    heaviest = sorted(units.values(), key=lambda row: -row[1])
    top = os.path.commonpath([os.path.dirname(name) for name, _ in heaviest])
    for name, cost in heaviest[:given.rows]:
        print(f"{cost:6.2f}  {os.path.relpath(name, top)}")
    total = sum(cost for _, cost in heaviest)
    print(f"{total:6.1f}  units for {len(heaviest)} files; a unit was "
          f"{min(references):.1f} to {max(references):.1f} s in {len(references)} measurements")

    too_heavy = [name for name, cost in heaviest if cost > given.file]
    for name in too_heavy:
        print(f"over {given.file} units: {os.path.relpath(name, top)}")
    if total > given.total:
        print(f"over {given.total} units in all")
    sys.exit(1 if too_heavy or total > given.total else 0)


if __name__ == "__main__":
    main()
