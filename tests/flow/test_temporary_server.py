"""A server that a deploy starts for itself ends with it, however it ends."""

import os
import signal
import subprocess
import sys
import time

START = """
import sys, time
from pathlib import Path
from millrace.flow.endpoint import start_server
process, url = start_server(Path(sys.argv[1]), "staging", sys.argv[2], Path(sys.argv[3]))
print(process.pid, flush=True)
time.sleep(600)
"""


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_deploy_leaves_no_server_behind(shop, tmp_path):
    command = [sys.executable, "-c", START, str(shop), "late_orders", str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    server = int(parent.stdout.readline())
    assert is_running(server)

    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()

    end = time.monotonic() + 30
    while is_running(server) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_running(server)
