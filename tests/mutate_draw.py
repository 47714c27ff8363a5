"""Draws mutants by a seed: single changes to the code that decides, launches, ends and
reads jobs. Where there is something to change is found in the text as it stands."""

import glob
import os
import random
import re
from typing import NamedTuple


class Room(NamedTuple):
    name: str
    share: int  # of 24
    sources: tuple  # patterns; a file is in the first room that names it


ROOMS = (
    Room("authorise", 5, ("daemon/monitor/decide/*.cpp",)),
    Room("plan", 4, ("lib/plan/*.cpp", "lib/plan/*.hpp")),
    Room("end", 4, ("daemon/init/reap.cpp", "daemon/monitor/life/*.cpp")),
    Room("init", 7, ("daemon/init/*.cpp",)),
    Room("request", 4, ("lib/request/*.cpp", "lib/request/*.hpp")),
)
# What writes a Plan checks none, what runs during the build runs in no job, and numbers
# that programs agree on, whatever they are, bound nothing.
NOT_OF_THE_ROOM = tuple(f"lib/plan/{name}" for name in (
    "builder.cpp", "builder.hpp", "kernel_files.hpp", "messages.hpp", "order.hpp", "record.hpp",
    "steps.hpp")) + ("lib/request/schema_main.cpp",)


class Mutant(NamedTuple):
    kind: str
    file: str
    line: int
    shown: str
    text: str  # of the whole file, changed
    about: str  # the lines around the change

    def __str__(self):
        return f"{self.file}:{self.line}: {self.kind}: {self.shown}"


def shown(text, begin, end, after):
    """The line, with the change in it."""

    def short(code):
        code = " ".join(code.split())
        return code if len(code) <= 70 else code[:67] + "..."

    first = text.rfind("\n", 0, begin) + 1
    last = text.find("\n", end)
    change = f"{{{short(text[begin:end])} => {after}}}"
    return " ".join((text[first:begin].strip(), change, text[end:last].strip())).strip()


def blank(match):
    return re.sub(r"[^\n]", " ", match.group())


NO_CODE = re.compile(
    r"//[^\n]*|/\*.*?\*/|'(?:\\.|[^'\\\n])'|\"(?:\\.|[^\"\\\n])*\""
    r"|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*|^[ \t]*template <[^\n]*|\bstatic_assert\([^;]*;"
    r"|\boperator\W+\(|\basm\(.*?\);",
    re.S | re.M,
)


def closing(code, at):
    """The place after the bracket that closes the one at `at`; 0 without one."""
    depth = 0
    for place in range(at, len(code)):
        depth += (code[place] in "([{") - (code[place] in ")]}")
        if depth == 0:
            return place + 1
    return 0


def end_of_statement(code, at):
    while at < len(code) and code[at] not in ";}":
        at = closing(code, at) if code[at] in "([{" else at + 1
        if at == 0:
            return 0
    return at + 1 if at < len(code) and code[at] == ";" else 0


def arguments(code, opening):
    """Where each argument of a call begins and ends."""
    end = closing(code, opening) - 1
    begin, out, at = opening + 1, [], opening + 1
    while at < end:
        if code[at] in "([{":
            at = closing(code, at)
            continue
        if code[at] == ",":
            out.append((begin, at))
            begin = at + 1
        at += 1
    return out + [(begin, end)]


# Each kind finds, in code without comments and strings, from where to where what is
# put; a slice is what stands there.
def replacing(*pairs):
    def find(code):
        for pattern, after in pairs:
            for match in re.finditer(pattern, code):
                yield match.start(), match.end(), after

    return find


COMPARISONS = replacing(
    *((f"(?<= ){before}(?= )", after) for before, after in
      (("<", "<="), ("<=", "<"), (">", ">="), (">=", ">"), ("==", "!="), ("!=", "=="))))
CONNECTIVES = replacing((r"(?<= )&&(?= )", "||"), (r"(?<= )\|\|(?= )", "&&"))
NEGATIONS = replacing((r"(?<=[( ])!(?=[a-z(])", ""))


def bounds(code):
    yield from replacing((r" [+-] 1\b(?!')", ""))(code)
    # Not the size of an array: a larger one shows nothing.
    for match in re.finditer(r"(?<=[ (,{])(?:\w+::)*kMax\w+(?=[,);} ])", code):
        if not re.match(r" (?:=|\+ 1)", code[match.end():]):
            yield match.start(), match.end(), f"({match.group()} + 1)"
            yield match.start(), match.end(), f"({match.group()} - 1)"
    for match in re.finditer(r"(?<!= )(?<=[ (,{])(?:[2-9]|[1-9]\d+)(?=[,)};])", code):
        yield match.start(), match.end(), str(int(match.group()) + 1)


# 0, or of no effect in a process of one thread that closes what it opens, or in one that
# may open for reading what it opens to name.
NO_FLAG = r"(?!\w*CLOEXEC|\w*Cloexec|O_RDONLY|O_PATH)"
FLAG = rf"(?:\w+::)*{NO_FLAG}(?:k[A-Z]\w*|[A-Z][A-Z0-9_]{{2,}})\b(?![(:{{])"
FLAGS = replacing((rf" \| {FLAG}", ""), (rf"\b{FLAG} \| ", ""))

# What is given back when the process ends, and hints to the machine or the compiler.
NO_STEP = re.compile(
    r"(?:[\w.>-]*\W)?(?:close|reserve|shrink_to_fit|sched_yield|munmap|free)\W"
    r"|call\(Call::(?:close|munmap|sched_yield|umask)\b|static_cast<void>"
    r"|(?:if|for|while|switch|return|else|case|using)\b")
STATEMENT = re.compile(
    r"(?<=[;{}:)])(?:[ \t]*\n)+[ \t]+(?:case [\w:]+: |if \([^;{}\n]*\) )?"
    r"(?P<step>(?:\+\+|--)?[A-Za-z_][\w:.>\[\]-]*(?:\(| (?:[|&+-]|<<)?= |;))")


def steps(code):
    for match in STATEMENT.finditer(code):
        begin = match.start("step")
        end = end_of_statement(code, begin)
        if end and not NO_STEP.match(code[begin:end]):
            yield begin, end, ";"


def guards(code):
    for match in re.finditer(r"\bif \(", code):
        body = closing(code, match.end() - 1)
        then = re.match(r"\s*(?:fail\(|(?:return|throw|continue|break|co_return)\b)", code[body:])
        end = end_of_statement(code, body) if then else 0
        if end and not re.match(r"\s*else\b", code[end:]):
            yield match.start(), end, ";"


def ignored_errors(code):
    for match in re.finditer(r"\bmust(?:_fd)?(?=\()", code):
        parts = arguments(code, match.end())
        if len(parts) >= 3:
            yield match.start(), closing(code, match.end()), slice(*parts[2])
    yield from replacing((r"\breturn false(?=;)", "return true"))(code)


KINDS = {
    "comparison turned": COMPARISONS,
    "and for or": CONNECTIVES,
    "negation dropped": NEGATIONS,
    "bound off by one": bounds,
    "flag dropped": FLAGS,
    "step left out": steps,
    "guard left out": guards,
    "error ignored": ignored_errors,
}


def mutants_of(root, file):
    with open(os.path.join(root, file), encoding="utf-8") as source:
        text = source.read()
    code = NO_CODE.sub(blank, text)
    lines = text.splitlines(keepends=True)
    for kind, find in KINDS.items():
        for begin, end, after in find(code):
            if isinstance(after, slice):
                after = text[after].strip()
            line = text.count("\n", 0, begin) + 1
            about = "".join(lines[max(0, line - 6):line + 5])
            yield Mutant(kind, file, line, shown(text, begin, end, after),
                         text[:begin] + after + text[end:], about)


def sources_of(room, root):
    taken = set(NOT_OF_THE_ROOM)
    for other in ROOMS:
        found = sorted(os.path.relpath(path, root) for pattern in other.sources
                       for path in glob.glob(os.path.join(root, pattern)))
        files = [file for file in found if file not in taken]
        taken.update(files)
        if other is room:
            return files
    raise KeyError(room)


def draw(room, root, seed):
    """Endless for all purposes: each kind in turn, and of that kind any place; no line twice."""
    dice = random.Random(f"{seed} {room.name}")
    files = sources_of(room, root)
    if not files:
        raise SystemExit(f"there is nothing to change in {room.name}: {', '.join(room.sources)}")
    places = {}
    for file in files:
        for mutant in mutants_of(root, file):
            places.setdefault(mutant.kind, []).append(mutant)
    kinds = sorted(places)
    dice.shuffle(kinds)
    for kind in kinds:
        dice.shuffle(places[kind])
    seen = set()
    while any(places.values()):
        for kind in kinds:
            while places[kind]:
                mutant = places[kind].pop()
                if (mutant.file, mutant.line) not in seen:
                    seen.add((mutant.file, mutant.line))
                    yield mutant
                    break
