"""What became of servers whose test run was killed? They outlive it; the next run ends them before it begins.

Every process that a test starts carries the id of the run's process in its environment. Whoever carries the id of a
process that is no more was left behind.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

RUN = "AGENTPOOL_TEST_RUN"


def mark() -> None:
    """From now on children of this process carry its id."""
    os.environ[RUN] = str(os.getpid())


def redis_command(port: int, program: str = "redis-server") -> list[str]:
    """A Redis that keeps nothing, and keeps its mark: it would write its title over its environment."""
    return [
        *(program, "--port", str(port), "--bind", "127.0.0.1"),
        *("--save", "", "--appendonly", "no", "--set-proc-title", "no"),
    ]


def end_abandoned() -> list[int]:
    """End what killed runs have left; the ids of those processes."""
    ended = []
    for pid, run in _carriers():
        if pid != os.getpid() and not Path(f"/proc/{run}").exists():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                ended.append(pid)
    return ended


def _carriers() -> Iterator[tuple[int, str]]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended, or is another user's
            for entry in (folder / "environ").read_bytes().split(b"\0"):
                name, _, value = entry.partition(b"=")
                if name == RUN.encode() and value.isdigit():
                    yield int(folder.name), value.decode()
