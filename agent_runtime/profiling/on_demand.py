"""One profile of this agent at a time, for as long as was asked for."""

from __future__ import annotations

import asyncio
import os
from typing import Any
from urllib.parse import parse_qsl

from agent_runtime.errors import ApiError

PROFILE_S = (0.1, 60.0)
"""Shortest and longest profile."""


class Profiler:
    """Takes profiles."""

    def __init__(self) -> None:
        self._running = False

    async def cpu(self, query: bytes, pod: str) -> bytes:
        """A flame graph of the next seconds, as SVG. Raises ApiError."""
        from agent_runtime.profiling.flamegraph import flamegraph
        from agent_runtime.profiling.sampling import Sampler

        seconds = self._begin(query)
        sampler = Sampler()
        sampler.start()
        try:
            await asyncio.sleep(seconds)
        finally:
            stacks = sampler.stop()
            self._running = False
        spent_ms = {stack: nanoseconds / 1e6 for stack, nanoseconds in stacks.items()}
        share = sum(spent_ms.values()) / (seconds * 1e3)
        title = f"{pod or f'process {os.getpid()}'}: {seconds:g} s, {share:.1%} of a core"
        return flamegraph(spent_ms, title=title, unit="ms").encode()

    async def memory(self, query: bytes) -> dict[str, Any]:
        """What memory is held, and what the next seconds add to it. Raises ApiError."""
        from agent_runtime.profiling import allocations

        seconds = self._begin(query)
        try:
            allocations.start()
            await asyncio.sleep(seconds)
        finally:
            report = await asyncio.shield(asyncio.to_thread(allocations.stop))
            self._running = False
        return {"seconds": seconds, **report}

    def _begin(self, query: bytes) -> float:
        seconds = asked_seconds(query)
        if self._running:
            raise ApiError(409, "profile_running", "a profile of this agent is being made: wait for its end")
        self._running = True
        return seconds


def asked_seconds(query: bytes) -> float:
    """How long to look. Raises ApiError 400."""
    least, most = PROFILE_S
    try:
        seconds = float(dict(parse_qsl(query.decode("latin-1"))).get("seconds", ""))
    except ValueError:
        seconds = 0.0
    if not least <= seconds <= most:
        message = f"say how long in the URL, as ?seconds=10: a number between {least:g} and {most:g}"
        raise ApiError(400, "invalid_seconds", message, param="seconds")
    return seconds
