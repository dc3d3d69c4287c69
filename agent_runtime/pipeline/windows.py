"""Which requests go together? Those for the same model that come within a window, up to so many.

The window opens with the first request and closes when it is full or its time is over. Nothing here knows what is done
with a batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Windows(Generic[Item, Result]):
    """Collects items and sends them together. ``send`` gives the results in the order of its items."""

    def __init__(
        self, send: Callable[[str, Sequence[Item]], Awaitable[Sequence[Result]]], *, size: int, window_s: float
    ) -> None:
        self._send = send
        self._size = size
        self._window_s = window_s
        self._open: dict[str, _Window[Item, Result]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def join(self, group: str, item: Item) -> Result:
        """Go with the group's next batch and give this item's result. Raises what ``send`` raised for the whole batch.

        When all whose items are in a batch are cancelled, the batch is.
        """
        loop = asyncio.get_running_loop()
        window = self._open.get(group)
        if window is None:
            window = self._open[group] = _Window()
            window.timer = loop.call_later(self._window_s, self._close, group)
        future: asyncio.Future[Result] = loop.create_future()
        window.places.append((item, future))
        if len(window.places) == self._size:
            self._close(group)
        try:
            return await future
        except asyncio.CancelledError:
            window.leave()
            raise

    async def ended(self) -> None:
        """Wait until no batch is on its way."""
        await asyncio.gather(*self._sending, return_exceptions=True)

    def _close(self, group: str) -> None:
        window = self._open.pop(group)
        if window.timer is not None:
            window.timer.cancel()
        window.places = [(item, future) for item, future in window.places if not future.done()]
        if window.places:
            window.task = asyncio.get_running_loop().create_task(self._go(group, window))
            self._sending.add(window.task)
            window.task.add_done_callback(self._sending.discard)

    async def _go(self, group: str, window: _Window[Item, Result]) -> None:
        try:
            results = await self._send(group, [item for item, _ in window.places])
        except asyncio.CancelledError:
            for _, future in window.places:
                future.cancel()
            raise
        except Exception as error:
            for _, future in window.places:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(window.places, results, strict=True):
            if not future.done():
                future.set_result(result)


class _Window(Generic[Item, Result]):
    """One batch, from its first item to its results."""

    def __init__(self) -> None:
        self.places: list[tuple[Item, asyncio.Future[Result]]] = []
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None

    def leave(self) -> None:
        if self.task is not None and all(future.done() for _, future in self.places):
            self.task.cancel()
