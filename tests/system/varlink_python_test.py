#!/usr/bin/env python3
# The service as python3-varlink sees it: introspection, typed calls, a stream of
# replies, an error of the interface. Nothing here is cloister's own code.
#
#   varlink_python_test.py CLOISTERD CLOISTER_FRONT CLOISTER_INIT PROFILES
import os
import shutil
import subprocess
import sys
import tempfile
import time

try:
    import varlink
except ImportError:
    print("python3-varlink is missing (Debian: in bookworm-backports, and later)")
    sys.exit(77)
if os.geteuid() != 0:
    print("needs root")
    sys.exit(77)

directory = tempfile.mkdtemp(prefix="cloister-test-")
service = None
failed = passed = 0


def check(name, good, seen=""):
    global failed, passed
    print(f"ok {name}" if good else f"FAILED {name}: {seen}")
    passed, failed = passed + bool(good), failed + (not good)


try:
    os.makedirs(directory + "/bin/config")
    beside = os.path.dirname(sys.argv[1])
    for program in sys.argv[1:4] + [
            beside + "/cloister-network", beside + "/cloister-config",
            beside + "/cloister-relay"]:
        shutil.copy(program, directory + "/bin")
    shutil.copytree(sys.argv[4], directory + "/bin/config/profiles")
    socket = directory + "/socket"
    service = subprocess.Popen(
        [directory + "/bin/cloisterd", "--socket", socket, "--runtime-dir", directory + "/run"])
    for _ in range(100):
        if os.path.exists(socket):
            break
        time.sleep(0.1)

    with varlink.Client(address="unix:" + socket) as client:
        with client.open("org.varlink.service") as standard:
            info = standard.GetInfo()
            check("GetInfo names the interface", "io.cloister.Launcher" in info["interfaces"], info)
        # Reads GetInterfaceDescription, and checks every call and reply against it.
        with client.open("io.cloister.Launcher") as launcher:
            run = launcher.Run({"profile": "none", "argv": ["sh", "-c", "exit 7"]})
            check("Run answers with the verdict", run["verdict"]["exit_code"] == 7, run)
            host = launcher.Describe()
            check("Describe says the mode", host["mode"] == "system", host)
            check("List is empty again", launcher.List()["jobs"] == [])
        with client.open("io.cloister.Launcher") as launcher:
            events = [reply["event"] for reply in
                      launcher.Run({"profile": "none", "argv": ["true"]}, _more=True)]
            check("Run with more streams", events == ["accepted", "started", "ended"], events)
        with client.open("io.cloister.Launcher") as launcher:
            try:
                launcher.Run({"argv": ["true"], "no_such_field": 1})
                check("an error of the interface is one of python's", False, "no error")
            except varlink.VarlinkError as error:
                check("an error of the interface is one of python's",
                      error.error() == "io.cloister.Launcher.InvalidRequest"
                      and error.parameters()["field"] == "no_such_field", error)
finally:
    if service:
        service.terminate()
        service.wait()
    shutil.rmtree(directory)
print(f"outcome: {passed} passed, {failed} failed, 0 skipped")
sys.exit(failed != 0)
