"""Writes cloister-refusals(7): the text of a template, and the table of
lib/plan/refusals.hpp.

refusals.py TEMPLATE CLOISTER-VOCABULARY > cloister-refusals.7.scd
"""

import subprocess
import sys

ERRORS = {
    "denied": "Denied",
    "invalid": "InvalidRequest",
    "busy": "Busy",
    "shutting_down": "Busy",
    "unsupported": "Unsupported",
    "no_such_job": "NoSuchJob",
}


def escaped(text):
    return "".join("\\" + c if c in "\\*_" else c for c in text)


def sentence(text):
    return text if text.startswith(("uid_map", "unshare", "devices")) else text[0].upper() + text[1:]


def paragraph(row):
    what, name, _, kind, _, words, hint = row
    shown = ("_RULE_/" if what == "member" else "") + f"*{escaped(name)}*"
    return f"{shown} ({ERRORS[kind]})\n\t{escaped(sentence(words))}: {escaped(hint)}.\n"


def main():
    template_path, program = sys.argv[1:]
    printed = subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = [line.rstrip("\t").split("\t") for line in printed.splitlines()]
    with open(template_path, encoding="utf-8") as template:
        text = template.read()
    for what, remedy in (("rule", "client"), ("rule", "administrator"), ("rule", "host"), ("member", None)):
        chosen = [paragraph(row) for row in rows if row[0] == what and remedy in (None, row[4])]
        mark = f"@{(remedy or what).upper()}@\n"
        if mark not in text:
            sys.exit(f"{template_path} lacks {mark}")
        text = text.replace(mark, "\n".join(chosen))
    sys.stdout.write(text)


main()
