"""How does a stream that one agent makes reach callers of another, frame by frame?

Only when somebody wants it: an agent that finds an answer's turn taken asks the holder on the holder's own channel. The
holder then writes the stream's frames to a list in Redis, from the first on, for as long as it keeps being asked, and
the others read the list. Every item carries its number, so that one written twice is read once and one that is lost
ends the reading. The list is named after the turn: two tries at the same answer never mix.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace

from agent_runtime.cache.entry import Entry, pack, unpack
from agent_runtime.cache.flights import Flight, Part
from agent_runtime.errors import ApiError
from agent_runtime.redis.link import RedisLink
from agent_runtime.redis.wire import RedisUnavailable
from agentpool_api import keys

READ_EVERY_S = 0.02
ASK_EVERY_S = 0.5
WANTED_FOR_S = 2.0
"""The holder stops when nobody has asked for so long."""

SILENCE_S = 1.0
"""How long a turn may be over before a list without an end counts as broken off."""

WITHOUT_REDIS_S = 3.0
"""How long a stream survives without Redis."""

RETRY_S = 0.1
LIST_LIFE_MS = 10_000

_BROKEN = ApiError(502, "upstream_disconnected", "the shared stream broke off; try again", kind="server_error")


class Broadcast:
    """Streams for the pool's other agents, and theirs for this one. ``token`` names this agent in its turns."""

    def __init__(self, link: RedisLink, namespace: str, pool: str, token: str, clock: Callable[[], float]) -> None:
        self._link = link
        self._namespace = namespace
        self._pool = pool
        self._clock = clock
        self.key = keys.wanted(namespace, pool, token)
        """Channel on which this agent is asked."""
        self.stream_of: Callable[[str], Flight | None] = lambda _: None
        """The stream that is being made for an answer's key."""
        self._wanted_s: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def heard(self, message: bytes) -> None:
        """Another agent wants the stream of a turn."""
        turn, _, key = message.decode(errors="replace").partition(" ")
        asked_before, self._wanted_s[turn] = turn in self._wanted_s, self._clock()
        flight = self.stream_of(key)
        if flight is None:
            self._wanted_s.pop(turn) if not asked_before else None
        elif not asked_before:
            task = asyncio.get_running_loop().create_task(self._write(key, turn, flight))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def ask(self, key: str, turn: str) -> None:
        """Want the stream of a turn. Raises RedisUnavailable."""
        token = turn.partition(".")[0]
        await self._link.publish(keys.wanted(self._namespace, self._pool, token), f"{turn} {key}")

    async def read(self, key: str, turn: str, position: int) -> list[bytes]:
        """What is in the list from this position on. Raises RedisUnavailable."""
        return await self._link.list_from(keys.frames(self._namespace, self._pool, key, turn), position)

    async def is_held(self, key: str, turn: str) -> bool:
        """Is this turn still somebody's? Raises RedisUnavailable."""
        return await self._link.get(keys.flight(self._namespace, self._pool, key)) == turn.encode()

    async def _write(self, key: str, turn: str, flight: Flight) -> None:
        """Follow the agent's own stream, as one of its followers, into the list."""
        name, number = keys.frames(self._namespace, self._pool, key, turn), 0
        try:
            async for frames, usage_frame in flight.stream():
                await self._append(name, b"part %d %d\n" % (number, len(frames)) + frames + usage_frame)
                number += 1
                if self._clock() - self._wanted_s[turn] > WANTED_FOR_S:
                    return
            if flight.entry is not None:
                await self._append(name, b"end %d 0\n" % number + pack(replace(flight.entry, body=b"")))
        except ApiError:
            with suppress(RedisUnavailable):
                await self._append(name, b"broken %d 0\n" % number)
        except RedisUnavailable:
            return  # the others ask again, and read from the beginning what they have not read
        finally:
            del self._wanted_s[turn]

    async def _append(self, name: str, item: bytes) -> None:
        """Raises RedisUnavailable when Redis has been away for too long. May write an item twice."""
        give_up_s = self._clock() + WITHOUT_REDIS_S
        while True:
            try:
                return await self._link.append(name, item, LIST_LIFE_MS)
            except RedisUnavailable:
                if self._clock() > give_up_s:
                    raise
            await asyncio.sleep(RETRY_S)


class RemoteStream:
    """Reads a stream that another agent makes."""

    def __init__(self, broadcast: Broadcast, key: str, turn: str, clock: Callable[[], float]) -> None:
        self.turn = turn
        self.entry: Entry | None = None
        """What is known of the answer at its end, without its body."""
        self._broadcast = broadcast
        self._key = key
        self._clock = clock
        self._items: list[bytes] = []
        self._read = 0
        self._next = 0
        self._ended = False
        self._asked_s = float("-inf")

    async def has_begun(self) -> bool:
        """Are there frames? Asks for them. False also when Redis is away."""
        with suppress(RedisUnavailable):
            await self._look()
        return bool(self._items)

    async def parts(self) -> AsyncIterator[Part]:
        """The frames from the beginning, with usage frames apart. Raises ApiError where the stream breaks off."""
        alive_s = heard_s = self._clock()
        while not self._ended:
            for part in self._take():
                yield part
            try:
                await self._look()
                heard_s = self._clock()
                if self._items or await self._broadcast.is_held(self._key, self.turn):
                    alive_s = heard_s
            except RedisUnavailable:
                alive_s = max(alive_s, heard_s)
            now_s = self._clock()
            if now_s - heard_s > WITHOUT_REDIS_S or heard_s - alive_s > SILENCE_S:
                raise _BROKEN.copy()
            if not self._items:
                await asyncio.sleep(READ_EVERY_S)

    async def _look(self) -> None:
        now_s = self._clock()
        if now_s - self._asked_s >= ASK_EVERY_S:
            self._asked_s = now_s
            await self._broadcast.ask(self._key, self.turn)
        items = await self._broadcast.read(self._key, self.turn, self._read)
        self._read += len(items)
        self._items += items

    def _take(self) -> list[Part]:
        """The parts that have come. Raises ApiError at the mark of a broken stream, or when one is missing."""
        items, self._items = self._items, []
        parts: list[Part] = []
        for item in items:
            head, _, rest = item.partition(b"\n")
            kind, number, length = head.split(b" ")
            if int(number) < self._next:
                continue  # written again after Redis was away
            if int(number) > self._next or kind == b"broken":
                raise _BROKEN.copy()
            self._next += 1
            if kind == b"end":
                self.entry, self._ended = unpack(rest), True
            else:
                parts.append((rest[: int(length)], rest[int(length) :]))
        return parts
