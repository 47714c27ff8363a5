#!/usr/bin/env python3
"""Runs a command as if this machine lacked something, so that a test which needs it
has to find out. Only the command and its children see the difference. As root.

without.py FEATURE COMMAND [ARGUMENT...]
"""

import ctypes
import errno
import os
import platform
import signal
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000
MNT_DETACH = 2
# x86_64, unistd_64.h
KEYRINGS = 248, 249, 250
LANDLOCK = 444, 445, 446


def must(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def load_filter(instructions):
    """seccomp(2), classic BPF. Needs no no_new_privs, since we have CAP_SYS_ADMIN."""
    code = b"".join(struct.pack("HBBI", *each) for each in instructions)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(buffer))
    must(libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0))  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def load(offset):
    return (0x20, 0, 0, offset)  # BPF_LD | BPF_W | BPF_ABS


def fails(error):
    return (0x06, 0, 0, 0x00050000 | error)  # SECCOMP_RET_ERRNO


ALLOW = (0x06, 0, 0, 0x7FFF0000)


def refuse(calls):
    body = [load(0)]
    for number in calls:
        body += [(0x15, 0, 1, number), fails(errno.ENOSYS)]  # BPF_JEQ
    load_filter(body + [ALLOW])


def own_mounts():
    must(libc.unshare(CLONE_NEWNS))
    must(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))


def unmount(kind):
    own_mounts()
    with open("/proc/self/mounts") as table:
        places = [line.split()[1] for line in table if line.split()[2] == kind]
    for place in reversed(places):
        must(libc.umount2(place.encode(), MNT_DETACH))


def no_programs_in_tmp():
    own_mounts()
    must(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, b"mode=1777"))
    os.environ["TMPDIR"] = "/var/tmp"  # as run.sh does


FEATURES = {
    "landlock": lambda: refuse(LANDLOCK),
    "keyrings": lambda: refuse(KEYRINGS),
    "cgroup-v1": lambda: unmount("cgroup"),
    "cgroup-v2": lambda: unmount("cgroup2"),
    "programs-in-tmp": no_programs_in_tmp,
    "processors": lambda: os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]),
}

if len(sys.argv) < 3 or sys.argv[1] not in FEATURES:
    sys.exit("without.py " + "|".join(FEATURES) + " COMMAND [ARGUMENT...]")
if platform.machine() != "x86_64":
    sys.exit("without.py: the numbers are those of x86_64")
for number in signal.SIGPIPE, signal.SIGXFSZ:  # which Python ignores
    signal.signal(number, signal.SIG_DFL)
FEATURES[sys.argv[1]]()
os.execvp(sys.argv[2], sys.argv[2:])
