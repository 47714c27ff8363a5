#!/usr/bin/env python3
"""What captured output costs, beside a pipe into a file.

A job writes as many bytes to captured output, and into `cat >FILE`, in turn. Then jobs end
whose grandchild still holds the pipe: how long after the end is it told.

Usage: captured.py BUILD PROFILES [BYTES [ROUNDS]]      as root
"""
import datetime
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

PROGRAMS = ("cloisterd", "cloister-front", "cloister-init", "cloister-network",
            "cloister-config", "cloister-relay", "cloister-sweep")


class Service:
    """cloisterd in a folder of its own, and one connection to it."""

    def __init__(self, build, profiles, folder):
        os.makedirs(folder + "/bin/config")
        for program in PROGRAMS:
            shutil.copy(f"{build}/{program}", folder + "/bin")
        shutil.copytree(profiles, folder + "/bin/config/profiles")
        environment = dict(os.environ, HOME=folder)
        self.process = subprocess.Popen(
            [folder + "/bin/cloisterd", "--socket", folder + "/socket", "--runtime-dir", folder],
            env=environment, stderr=subprocess.DEVNULL)
        self.socket = socket.socket(socket.AF_UNIX)
        for _ in range(500):
            if self.socket.connect_ex(folder + "/socket") == 0:
                break
            time.sleep(0.01)
        self.rest = b""

    def call(self, method, parameters):
        call = {"method": "io.cloister.Launcher." + method, "parameters": parameters}
        self.socket.sendall(json.dumps(call).encode() + b"\0")
        while b"\0" not in self.rest:
            more = self.socket.recv(1 << 16)
            if not more:
                sys.exit("the service has closed the connection")
            self.rest += more
        reply, self.rest = self.rest.split(b"\0", 1)
        reply = json.loads(reply)
        if "error" in reply:
            sys.exit(f"{method}: {reply}")
        return reply["parameters"]

    def run(self, line, **members):
        """The verdict, and when it was here."""
        request = {"argv": ["sh", "-c", line], "profile": "none", "executable": "/bin/sh",
                   "env": {"PATH": "/usr/bin:/bin"}, **members}
        job = self.call("Start", {"request": request})["id"]
        verdict = self.call("Wait", {"id": job})["verdict"]
        told = time.time()
        self.call("Remove", {"id": job})
        if verdict["exit_code"] != 0:
            sys.exit(f"a job has failed: {verdict}")
        return verdict, told

    def stop(self):
        self.socket.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def throughput(service, folder, count, rounds):
    file = folder + "/raw"
    raw, captured = [], []
    for _ in range(rounds):
        verdict, _ = service.run(f"head -c {count} /dev/zero | cat >{file}; rm {file}")
        raw.append(verdict["wall_us"])
        verdict, _ = service.run(f"head -c {count} /dev/zero", stdout={"capture": {"max": count}})
        captured.append(verdict["wall_us"])
        if verdict["output"]["stdout"]["kept"] != count:
            sys.exit(f"not all was kept: {verdict['output']}")
    print(f"{count} bytes, {rounds} times in turn: captured at "
          f"{statistics.median(raw) / statistics.median(captured):.2f} of the pipe into a file")


def ends(service, rounds):
    for name, members in (("captured", {"stdout": {"capture": {}}}), ("not captured", {})):
        late = []
        for _ in range(rounds):
            verdict, told = service.run("setsid sleep 30 &", **members)
            ended = datetime.datetime.fromisoformat(verdict["ended_at"].replace("Z", "+00:00"))
            late.append((told - ended.timestamp()) * 1000)
        late.sort()
        print(f"a grandchild holds the pipe, {name}: told {statistics.median(late):.1f} ms after "
              f"the end, p99 {late[int(len(late) * 0.99)]:.1f} ms")


def main(build, profiles, count="1000000000", rounds="5"):
    with tempfile.TemporaryDirectory(prefix="cloister-bench-", dir="/var/tmp") as folder:
        service = Service(build, profiles, folder)
        try:
            throughput(service, folder, int(count), int(rounds))
            ends(service, 20 * int(rounds))
        finally:
            service.stop()


if os.geteuid() != 0:
    print("needs root")
    sys.exit(77)
main(*sys.argv[1:])
