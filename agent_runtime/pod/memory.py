"""How much memory is left, and what is given up before the kernel takes the process?

Above 70 % of the limit no more answers are kept in the process. Above 80 % what can be had again is let go, the
cheapest first: garbage, then the answers in the process, then embeddings; one of them per look, so that no more goes
than must. Above 92 % new requests are refused until it is 87 % again, so that those in flight can finish. Used memory
is what the kernel cannot take back by itself.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
from collections.abc import Callable, Iterable
from enum import Enum
from typing import NamedTuple

from agent_runtime.pod.cgroup import Cgroup, resident_bytes
from agent_runtime.telemetry.logs import log

DEFAULT_LIMIT_BYTES = 2048 * 2**20
"""Where neither the settings nor the container name a limit."""

KEEP_UP_TO = 0.70
"""Room is left for answers on their way: eight of 1 MiB each took 24 MB of a container of 128 MiB at times."""
SHED_FROM = 0.80
REFUSE_FROM = 0.92
ACCEPT_BELOW = 0.87
REST_S = 10.0
"""A collection stops the process for tens of milliseconds, and an empty cache costs money: each thing is let go at most
once in so many seconds."""
SHORT_REST_S = 2.0
"""The same while requests are refused, which costs more."""

LOOK_S = 1.0
CLOSE_LOOK_S = 0.1
CLOSE_LOOK_FROM = 0.60
"""A reading costs 0.1 ms; a burst of large requests can fill a small container within one second."""

COPIES = 5
"""Most memory a request takes for each byte of its body while it is read, parsed and sent on (3.0 to 4.8 measured by
the peak of the process, bodies of 1 to 32 MiB)."""


class Pressure(Enum):
    """What the memory in use asks for."""

    NONE = "none"
    SHED = "shed"
    REFUSE = "refuse"


class Shed(NamedTuple):
    """Something that can be let go, and comes back by itself."""

    name: str
    drop: Callable[[], object]


def decide_pressure(used_bytes: int, limit_bytes: int, before: Pressure) -> Pressure:
    """What to do at this use; refusing ends later than it begins, so that it does not flap."""
    share = used_bytes / limit_bytes
    if share >= REFUSE_FROM or (before is Pressure.REFUSE and share >= ACCEPT_BELOW):
        return Pressure.REFUSE
    return Pressure.SHED if share >= SHED_FROM else Pressure.NONE


class MemoryGuard:
    """Watches the memory; ``watch_forever`` does it all."""

    def __init__(self, limit_bytes: int, used_bytes: Callable[[], int | None], sheds: Iterable[Shed] = ()) -> None:
        """``sheds``: what can be let go, in this order; garbage goes before all of it."""
        self.limit_bytes = limit_bytes
        self.pressure = Pressure.NONE
        self.used = 0
        self.peak_bytes = 0
        self.refused_total = 0
        self._read = used_bytes
        self._sheds = (Shed("garbage", gc.collect), *sheds)
        self.sheds_total = {shed.name: 0 for shed in self._sheds}
        """Times each thing was let go."""
        self._shed_s: dict[str, float] = {}
        self._untrimmed = False
        self._arriving_bytes = 0
        """What bodies that are on their way will need."""
        self._unseen_bytes = 0
        """What was taken since the last reading."""

    async def watch_forever(self, clock: Callable[[], float]) -> None:
        """Look every second, and more often when less is left, until cancelled."""
        while True:
            self.check(clock())
            await asyncio.sleep(CLOSE_LOOK_S if self.used >= CLOSE_LOOK_FROM * self.limit_bytes else LOOK_S)

    def check(self, now_s: float) -> None:
        """Read the memory and act; without a reading everything stays as it is."""
        if self._untrimmed:  # what was let go at the last look may be free only now: another thread held it
            self._untrimmed = False
            give_back()
        self._unseen_bytes = 0
        used = self._read()
        if used is None:
            return
        self.used = used
        self.peak_bytes = max(self.peak_bytes, used)
        before, self.pressure = self.pressure, decide_pressure(used, self.limit_bytes, self.pressure)
        if self.pressure is not before:
            level = logging.INFO if self.pressure is Pressure.NONE else logging.WARNING
            log(level, "memory", pressure=self.pressure.value, used_bytes=used, limit_bytes=self.limit_bytes)
        if self.pressure is not Pressure.NONE:
            self._shed_next(now_s)

    def admits(self, body_bytes: int) -> bool:
        """Is there room for a request with a body of this size?

        What was taken since the last reading counts as used already, and so do bodies that are still to arrive: much
        may come between two readings. After True, ``arrived`` has to follow.
        """
        needed = self.used + self._unseen_bytes + self._arriving_bytes + COPIES * body_bytes
        if needed < REFUSE_FROM * self.limit_bytes and self.pressure is not Pressure.REFUSE:
            self._arriving_bytes += COPIES * body_bytes
            return True
        self.refused_total += 1
        return False

    def arrived(self, body_bytes: int) -> None:
        """A body that was admitted is there, or will never be: from the next reading on it is part of it."""
        self._arriving_bytes -= COPIES * body_bytes
        self._unseen_bytes += COPIES * body_bytes

    def keeps(self, answer_bytes: int) -> bool:
        """Is there room to keep an answer of this size in the process?

        What the process holds for later never fills what requests in flight need, however fast answers come.
        """
        room = self.used + self._unseen_bytes + answer_bytes < KEEP_UP_TO * self.limit_bytes
        if room:
            self._unseen_bytes += answer_bytes
        return room

    def _shed_next(self, now_s: float) -> None:
        """Let the first thing go that has had its rest, and hand free memory back to the kernel."""
        rest_s = SHORT_REST_S if self.pressure is Pressure.REFUSE else REST_S
        for shed in self._sheds:
            if now_s - self._shed_s.get(shed.name, -REST_S) >= rest_s:
                self._shed_s[shed.name] = now_s
                self.sheds_total[shed.name] += 1
                shed.drop()
                give_back()
                self._untrimmed = True
                return


def give_back() -> None:
    """Hand freed memory back to the kernel; without glibc it stays with the process."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def make_guard(limit_bytes: int | None, sheds: Iterable[Shed], cgroup: Cgroup | None) -> MemoryGuard:
    """The guard for a limit of the settings, else the container's, else the default for this process alone."""
    container = cgroup.limit_bytes() if cgroup is not None else None
    read = cgroup.used_bytes if cgroup is not None and container is not None else resident_bytes
    limits = [limit for limit in (limit_bytes, container) if limit]
    return MemoryGuard(min(limits) if limits else DEFAULT_LIMIT_BYTES, read, sheds)
