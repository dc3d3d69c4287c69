"""Which code takes the processor's time? Stacks of all threads, looked at a hundred times a second.

A thread's stack weighs the processor time that the thread has used since the last look, so that code which waits weighs
nothing. While it runs, threads hand over the interpreter within 0.2 ms: otherwise the sampler would come to its look
only when the event loop goes to sleep, and see nothing but that.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from types import FrameType

INTERVAL_S = 0.01
HAND_OVER_S = 0.0002
DEEPEST = 100
"""Frames of a stack; what lies further from its root is left out."""

Stack = tuple[str, ...]
"""Thread, then functions from the root to the leaf."""


class Sampler:
    """Samples from ``start`` to ``stop``."""

    def __init__(self) -> None:
        self._stacks: Counter[Stack] = Counter()
        self._used_ns: dict[int, int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="profiler", daemon=True)
        self._hand_over_s = sys.getswitchinterval()

    def start(self) -> None:
        sys.setswitchinterval(min(HAND_OVER_S, self._hand_over_s))
        self._thread.start()

    def stop(self) -> Counter[Stack]:
        """End it; gives the nanoseconds of processor time each stack took."""
        self._ended.set()
        self._thread.join()
        sys.setswitchinterval(self._hand_over_s)
        return self._stacks

    def _work(self) -> None:
        self._look(count=False)
        while not self._ended.wait(INTERVAL_S):
            self._look(count=True)

    def _look(self, *, count: bool) -> None:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        own = threading.get_ident()
        for ident, frame in sys._current_frames().items():
            if ident == own or ident not in names:
                continue
            used_ns = _thread_time_ns(ident)
            spent_ns = used_ns - self._used_ns.get(ident, used_ns if not count else 0)
            self._used_ns[ident] = used_ns
            if count and spent_ns > 0:
                self._stacks[(names[ident], *functions(frame))] += spent_ns


def functions(frame: FrameType | None) -> list[str]:
    """Names of the functions of a stack, from its root."""
    names: list[str] = []
    while frame is not None:
        module = frame.f_globals.get("__name__", "?")
        names.append(f"{module}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    return names[::-1][:DEEPEST]


def _thread_time_ns(ident: int) -> int:
    """Processor time of a thread of this process; 0 when it has just ended."""
    try:
        return time.clock_gettime_ns(time.pthread_getcpuclockid(ident))
    except OSError:
        return 0
