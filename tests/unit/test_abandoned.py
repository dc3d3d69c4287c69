"""A run that is killed leaves nothing for the next one to trip over."""

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.abandoned import end_abandoned

RUN = """
import subprocess, sys, time
from tests.abandoned import mark
mark()
print(subprocess.Popen(["setsid", "sleep", "300"]).pid, flush=True)
time.sleep(300)
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_servers_of_a_killed_run_are_ended_and_those_of_a_live_one_are_not() -> None:
    root = Path(__file__).parents[2]
    run = subprocess.Popen([sys.executable, "-c", RUN], cwd=root, stdout=subprocess.PIPE, text=True)
    assert run.stdout
    with run:
        server = int(run.stdout.readline())
        end_abandoned()
        assert is_alive(server)
        run.kill()
        run.wait()
    end_s = time.monotonic() + 60
    while is_alive(server):
        assert time.monotonic() < end_s
        end_abandoned()  # more than once: a process that becomes another program shows no environment for a moment
        time.sleep(0.01)
    assert is_alive(os.getpid())
