"""Which processes belong to a cluster, and how are they started and ended?

Every process carries the cluster's state folder in its environment, and the kernel's process table is searched for
it. There are no pid files, so none can be stale: a process is ours because it says so now. Signals go through a pidfd
taken before the environment is read, so a pid that is reused in between is never hit.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STATE = "AGENTPOOL_CLUSTER_STATE"
_COMPONENT = "AGENTPOOL_CLUSTER_COMPONENT"


@dataclass(frozen=True, slots=True)
class Process:
    """A live process of a cluster; containerd's shims are components named `containerd-shim`."""

    pid: int
    component: str


def log_file(state: Path, component: str) -> Path:
    return state / "logs" / f"{component}.log"


def spawn(state: Path, component: str, argv: Sequence[str | Path]) -> None:
    """Start `argv` in a session of its own, adopted by init, so that it outlives the calling shell."""
    log = log_file(state, component)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        subprocess.run(
            ["setsid", "--fork", *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | {_STATE: str(state), _COMPONENT: component},
            cwd="/",
            check=True,
        )


def find(state: Path) -> list[Process]:
    """Every live process of the cluster."""
    found = (_read(int(entry.name), state) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [process for process in found if process]


def find_component(state: Path, component: str) -> Process | None:
    """The component's process; None: not running. A child it started itself (a mount, an iptables) is not meant."""
    same = [process for process in find(state) if process.component == component]
    pids = {process.pid for process in same}
    return next((process for process in same if _parent(process.pid) not in pids), None)


def pids(state: Path, components: Iterable[str]) -> dict[str, int | None]:
    """Process id of each component; None: not running."""
    found = {component: find_component(state, component) for component in components}
    return {component: process.pid if process else None for component, process in found.items()}


def send(state: Path, processes: Sequence[Process], signum: signal.Signals) -> None:
    for process in processes:
        with _pidfd(process, state) as pidfd:
            if pidfd is not None:
                signal.pidfd_send_signal(pidfd, signum)


def kill(state: Path, processes: Sequence[Process], deadline_s: float = 10.0) -> None:
    """End the processes at once and return when the kernel has taken them away."""
    until = time.monotonic() + deadline_s
    for process in processes:
        with _pidfd(process, state) as pidfd:
            if pidfd is not None:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                select.select([pidfd], [], [], max(0.0, until - time.monotonic()))


def kill_all(state: Path) -> None:
    """End every process of the cluster, also those that are born while it happens."""
    while processes := find(state):
        kill(state, processes)


@contextmanager
def _pidfd(process: Process, state: Path) -> Iterator[int | None]:
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield pidfd if _read(process.pid, state) == process else None
    finally:
        os.close(pidfd)


def _read(pid: int, state: Path) -> Process | None:
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if f"{_STATE}={state}".encode() not in environ:
            return None
        if "containerd-shim" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode():
            return Process(pid, "containerd-shim")
    except OSError:  # ended meanwhile, or another user's
        return None
    prefix = f"{_COMPONENT}=".encode()
    return Process(pid, next((e[len(prefix) :].decode() for e in environ if e.startswith(prefix)), "unknown"))


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[1])
