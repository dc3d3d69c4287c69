"""How much memory is left, and what is given up before the kernel takes the process?

Above 80 % of the limit cached answers are let go, above 92 % new requests are refused until it is 87 % again, so that
those in flight can finish. Used memory is what the kernel cannot take back by itself: the working set, as the kubelet
counts it.
"""

from __future__ import annotations

import ctypes
import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from agent_runtime.cache.memory import MemoryTier
from agent_runtime.telemetry.logs import log

DEFAULT_LIMIT_BYTES = 2048 * 2**20
"""Where neither the settings nor the container name a limit."""

SHED_FROM = 0.80
REFUSE_FROM = 0.92
ACCEPT_BELOW = 0.87
REST_BEATS = 10
"""A collection stops the process for tens of milliseconds: at most one in so many beats."""

_NO_LIMIT = 2**60
"""cgroup v1 writes a number near 2^63 for none."""

CGROUPS = Path("/sys/fs/cgroup")


class Pressure(Enum):
    """What the memory in use asks for."""

    NONE = "none"
    SHED = "shed"
    REFUSE = "refuse"


def decide_pressure(used_bytes: int, limit_bytes: int, before: Pressure) -> Pressure:
    """What to do at this use; refusing ends later than it begins, so that it does not flap."""
    share = used_bytes / limit_bytes
    if share >= REFUSE_FROM or (before is Pressure.REFUSE and share >= ACCEPT_BELOW):
        return Pressure.REFUSE
    return Pressure.SHED if share >= SHED_FROM else Pressure.NONE


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The files of a container's memory controller."""

    limit: Path
    usage: Path
    stat: Path
    reclaimable: str
    """Name in ``stat`` of the file cache the kernel gives up first."""

    def limit_bytes(self) -> int | None:
        """The container's limit; None when it has none."""
        text = _text(self.limit)
        return int(text) if text.isdigit() and int(text) < _NO_LIMIT else None

    def used_bytes(self) -> int | None:
        """The container's working set; None when it cannot be read."""
        usage = _text(self.usage)
        if not usage.isdigit():
            return None
        for line in _text(self.stat).splitlines():
            name, _, value = line.partition(" ")
            if name == self.reclaimable and value.isdigit():
                return max(int(usage) - int(value), 0)
        return int(usage)


def find_cgroup(root: Path = CGROUPS) -> Cgroup | None:
    """The memory controller of this container, version 2 or 1; None outside of one."""
    second = Cgroup(root / "memory.max", root / "memory.current", root / "memory.stat", "inactive_file")
    folder = root / "memory"
    first = Cgroup(
        folder / "memory.limit_in_bytes",
        folder / "memory.usage_in_bytes",
        folder / "memory.stat",
        "total_inactive_file",
    )
    for found in (second, first):
        if found.limit_bytes() is not None:
            return found
    return None


def resident_bytes() -> int | None:
    """Memory of this process alone; None when it cannot be read."""
    fields = _text(Path("/proc/self/statm")).split()
    return int(fields[1]) * 4096 if len(fields) > 1 else None


class MemoryGuard:
    """Watches the memory; call ``check`` every second."""

    def __init__(self, limit_bytes: int, used_bytes: Callable[[], int | None], tier: MemoryTier | None) -> None:
        self.limit_bytes = limit_bytes
        self.pressure = Pressure.NONE
        self.used = 0
        self.peak_bytes = 0
        self.sheds_total = 0
        self._read = used_bytes
        self._tier = tier
        self._rest = 0

    def check(self) -> None:
        """Read the memory and act; without a reading everything stays as it is."""
        used = self._read()
        if used is None:
            return
        self.used = used
        self.peak_bytes = max(self.peak_bytes, used)
        before, self.pressure = self.pressure, decide_pressure(used, self.limit_bytes, self.pressure)
        if self.pressure is not before:
            level = logging.INFO if self.pressure is Pressure.NONE else logging.WARNING
            log(level, "memory", pressure=self.pressure.value, used_bytes=used, limit_bytes=self.limit_bytes)
        self._rest = max(self._rest - 1, 0)
        if self.pressure is not Pressure.NONE and self._rest == 0:
            self._rest = REST_BEATS
            self._shed()

    def _shed(self) -> None:
        """Let cached answers go (Redis and the disk still have them) and hand free memory back to the kernel."""
        self.sheds_total += 1
        if self._tier is not None:
            self._tier.clear()
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # glibc; without it freed memory stays with the process
            trim(0)


def make_guard(limit_bytes: int | None, tier: MemoryTier | None, cgroup: Cgroup | None) -> MemoryGuard:
    """The guard for a limit of the settings, else the container's, else the default for this process alone."""
    container = cgroup.limit_bytes() if cgroup is not None else None
    read = cgroup.used_bytes if cgroup is not None and container is not None else resident_bytes
    limits = [limit for limit in (limit_bytes, container) if limit]
    return MemoryGuard(min(limits) if limits else DEFAULT_LIMIT_BYTES, read, tier)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
