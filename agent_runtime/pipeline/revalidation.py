"""How does a stale answer get replaced while its callers already have it (RFC 5861 section 3)?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from agent_runtime.cache.control import CacheControl
from agent_runtime.errors import ApiError
from agent_runtime.pipeline.forms import Reply
from agent_runtime.requests import Request


class Revalidations:
    """New answers that are made in the background, for no caller."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """Answers that are being made."""
        return len(self._tasks)

    def start(self, key: str, request: Request, make: Callable[[Request], Awaitable[Reply]]) -> None:
        """Make a new answer with ``make``, once however many callers got the stale one."""
        if key not in self._keys:
            self._keys.add(key)
            again = replace(request, control=CacheControl(no_cache=True), request_id=request.request_id + "-r")
            task = asyncio.get_running_loop().create_task(self._renew(key, again, make))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _renew(self, key: str, request: Request, make: Callable[[Request], Awaitable[Reply]]) -> None:
        try:
            reply = await make(request)
            if reply.frames is not None:
                async for _ in reply.frames:
                    pass
        except ApiError:
            return  # counted as the endpoint's failure; the next caller tries again
        finally:
            self._keys.discard(key)

    async def stop(self) -> None:
        """End all of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
