"""Who waits for the same answer? One call in flight serves every identical request of the process.

The first caller's task makes the call; later ones follow it. When the first caller leaves, its task goes on as long as
somebody follows, and is cancelled with the last of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from agent_runtime.cache.entry import Entry
from agent_runtime.errors import ApiError

MAX_KEPT_BYTES = 4 * 1024 * 1024
"""Largest answer kept for the cache and for callers who come later."""


Part = tuple[bytes, bytes]
"""Frames of a stream and, apart, its usage frame; either may be empty."""


class Caller:
    """One client connection while its request is answered. ``leave`` is called when it breaks."""

    __slots__ = ("gone", "on_leave")

    def __init__(self) -> None:
        self.gone = False
        self.on_leave: Callable[[], object] | None = None

    def leave(self) -> None:
        """The client is gone: stop the work nobody waits for."""
        if not self.gone:
            self.gone = True
            if self.on_leave is not None:
                self.on_leave()


class Flight:
    """A call in flight: what it has brought so far, and who follows it."""

    def __init__(self) -> None:
        self.entry: Entry | None = None
        self.error: ApiError | None = None
        self.open = True
        """Later callers may still join."""
        self.frames: list[Part] = []
        """A stream's frames and, apart, its usage frame, in order."""
        self.size_bytes = 0
        self._done = False
        self._followers = 0
        self._cancel: Callable[[], object] | None = None
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def keeps_all(self) -> bool:
        """Is the answer small enough to be stored?"""
        return self.size_bytes <= MAX_KEPT_BYTES

    def led_by(self, caller: Caller) -> None:
        """Let this caller's task make the call; what ended it on leaving now ends it with the last follower."""
        cancel = caller.on_leave

        def leave() -> None:
            self._cancel = cancel
            self._cancel_if_unwanted()

        caller.on_leave = leave

    def push(self, frames: bytes, usage_frame: bytes) -> None:
        """More of a stream arrived."""
        self.size_bytes += len(frames)
        if self.keeps_all or self._followers:
            self.frames.append((frames, usage_frame))
            self._wake()
        else:
            self.open = False
            self.frames.clear()

    def finish(self, entry: Entry | None) -> None:
        """The answer is whole."""
        self.entry = entry
        self._end()

    def fail(self, error: ApiError) -> None:
        """The call failed; all followers get this error."""
        self.error = error
        self._end()

    async def follow(self) -> Entry | None:
        """Wait for a whole answer. None when the flight ended without one. Raises ApiError."""
        self._followers += 1
        try:
            while not self._done:
                await self._changed()
        finally:
            self._leave()
        if self.error is not None:
            raise self.error.copy()
        return self.entry

    async def stream(self) -> AsyncIterator[Part]:
        """The stream's frames from its beginning, with its usage frame apart. Raises ApiError where it breaks."""
        self._followers += 1
        position = 0
        try:
            while True:
                while position < len(self.frames):
                    yield self.frames[position]
                    position += 1
                if self._done:
                    break
                await self._changed()
        finally:
            self._leave()
        if self.error is not None:
            raise self.error.copy()

    def _leave(self) -> None:
        self._followers -= 1
        self._cancel_if_unwanted()

    def _cancel_if_unwanted(self) -> None:
        if self._cancel is not None and self._followers == 0 and not self._done:
            self.open = False
            self._cancel()

    def _end(self) -> None:
        self._done = True
        self.open = False
        self._wake()

    def _wake(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    async def _changed(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future
