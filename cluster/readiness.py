"""Is it up yet, and if it will never be: what did it say last?"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster import processes
from cluster.api import Api
from cluster.errors import ClusterError

_POLL_S = 0.1
_LOOKS = 5
"""So many looks in a row must miss a component before it counts as ended."""


class PortTakenError(ClusterError):
    """Another process bound our port first; a new choice of ports helps."""


def wait_for(state: Path, components: Sequence[str], what: str, until: float, condition: Callable[[], object]) -> None:
    """Return when `condition` is true.

    Raises ClusterError when a component that was started has ended, or at `until` (monotonic seconds).
    """
    while not condition():
        missing = _missing(state, components)
        if time.monotonic() > until:
            raise ClusterError(f"{what} was not ready in time; the logs are in {state}/logs")
        time.sleep(_POLL_S)
        # A process that is just being started has no environment to see, on a busy machine for more than one look.
        for _ in range(_LOOKS):
            if not missing:
                break
            time.sleep(_POLL_S)
            missing &= _missing(state, components)
        if missing:
            raise _ended(state, min(missing))


def node_ready(api: Api, name: str) -> bool:
    node = api.found(f"/api/v1/nodes/{name}") or {}
    conditions = node.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _missing(state: Path, components: Sequence[str]) -> set[str]:
    started = (c for c in components if processes.log_file(state, c).exists())
    return {c for c in started if not processes.find_component(state, c)}


def _ended(state: Path, component: str) -> ClusterError:
    log = processes.log_file(state, component)
    lines = log.read_text(errors="replace").strip().splitlines()
    if any("address already in use" in line for line in lines[-30:]):
        return PortTakenError(f"a port of {component} is used by another process; see {log}")
    return ClusterError(f"{component} ended: {lines[-1][:300] if lines else 'without a word'} (log: {log})")
