"""Prints every text that a user can see into one file, so that a person can read
them from end to end, and fails on those that have to be read twice.

texts_test.py SOURCE_FOLDER CLOISTER-VOCABULARY OUTPUT

The texts are the tables of lib/plan and all string literals with a space in them
of the sources that speak to users. Literals that follow each other are one text.
"""

import pathlib
import re
import subprocess
import sys

# Who speaks to users, and what of it speaks to nobody.
SPEAKERS = ("client", "lib/client", "lib/request", "lib/resolve", "lib/varlink", "daemon/front",
            "daemon/monitor", "daemon/config", "daemon/sweep")
SILENT = re.compile(r"seccomp_groups\.cpp$|schema_main\.cpp$")

TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|R"\((.*?)\)"|"((?:[^"\\\n]|\\.)*)"|\'(?:[^\'\\]|\\.)+\'', re.S)
INCLUDE = re.compile(r"^\s*#\s*include.*$", re.M)

# What a reader would stumble over: the pattern, and what to say instead.
STUMBLES = (
    (r"\bwhat (shall|is|was)\b", "name the thing"),
    (r"\bstands? (twice|there)\b", "duplicate key"),
    (r"\bno room\b|\bone (key|value) too many\b", "not implemented; unexpected"),
    (r"\broot's (own )?(word|policy|configuration)\b|\bof root's\b", "the administrator's"),
    (r"(?<!\bthere )(?<!\bThere )\bis no (?!longer\b)", "is not a"),
    (r"\bthere is no (option|verb|user|group|signal)\b", "unknown option, ..."),
    (r"\bnot built yet\b", "not implemented"),
    (r"\bsay (both|it)\b|\bkindly\b", None),
)


def literals(text):
    """(line, literal) of each string, those that follow each other joined."""
    text = INCLUDE.sub("", text)
    line, start, joined, end = 1, 0, [], None
    for match in TOKEN.finditer(text):
        raw = match.group(2) if match.group(2) is not None else match.group(1)
        between = text[end:match.start()] if end is not None else ""
        if raw is None:
            continue
        if joined and between.strip(" \n\\"):
            yield line, "".join(joined)
            joined = []
        if not joined:
            line = text.count("\n", 0, match.start()) + 1
        joined.append(raw)
        end = match.end()
    if joined:
        yield line, "".join(joined)


def texts_of(source):
    for folder in SPEAKERS:
        for path in sorted((source / folder).rglob("*.[ch]pp")):
            name = str(path.relative_to(source))
            if SILENT.search(name):
                continue
            for line, text in literals(path.read_text(encoding="utf-8")):
                if " " in text.strip():
                    yield f"{name}:{line}", text


def tables_of(vocabulary):
    printed = subprocess.run([vocabulary], check=True, stdout=subprocess.PIPE, text=True).stdout
    for row in printed.splitlines():
        table, name, *columns = row.rstrip("\t").split("\t")
        for text in columns:
            if " " in text:
                yield f"{table} {name}", text


def stumble(text):
    if "?" in text and "did you mean" not in text:
        return "a question"
    for pattern, instead in STUMBLES:
        found = re.search(pattern, text)
        if found:
            return f"{found.group(0)!r}" + (f": {instead}" if instead else "")
    return None


def main():
    source, vocabulary, output = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
    texts = list(tables_of(vocabulary)) + list(texts_of(source))
    width = max(len(where) for where, _ in texts)
    output.write_text("".join(f"{where:<{width}}  {text}\n" for where, text in texts), encoding="utf-8")
    failed = 0
    for where, text in texts:
        reason = stumble(text)
        if reason:
            failed += 1
            print(f"FAILED {where}: {reason}: {text}")
    # Each of these folders has something to say, and so has each table.
    for speaker in SPEAKERS + ("rule ", "member ", "step ", "hint ", "ending ", "cause "):
        if not any(where.startswith(speaker) for where, _ in texts):
            failed += 1
            print(f"FAILED no text of {speaker}")
    print(f"{len(texts)} texts in {output}")
    print(f"outcome: {len(texts) - failed} passed, {failed} failed, 0 skipped")
    sys.exit(failed != 0)


main()
