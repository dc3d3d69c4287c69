"""L2: which answers have the pool's other agents stored in Redis?

Reads are bounded and a failure is a miss. Writes wait in a short queue and go out together, after the caller has its
answer; when Redis is away they are dropped, since a lost cache entry costs one call and no correctness.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from itertools import count
from typing import NamedTuple

from agent_runtime.cache.entry import Entry, pack, unpack
from agent_runtime.redis.link import RedisLink
from agent_runtime.redis.wire import RedisUnavailable
from agentpool_api import keys

MAX_PENDING = 512
MAX_PENDING_BYTES = 16 * 1024 * 1024
MAX_ENTRY_BYTES = 4 * 1024 * 1024
BATCH = 64
GATHER_S = 0.02
"""How long a write waits for company."""


LEASE_MS = 2000
"""An agent that dies while it makes an answer lets the others wait no longer than this."""

RENEW_S = 0.5

CLAIM = """
local kept = redis.call('GET', KEYS[1])
if kept then return kept end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return {redis.call('GET', KEYS[2])}
"""
CLAIM_SHA = hashlib.sha1(CLAIM.encode(), usedforsecurity=False).hexdigest()

RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"
RELEASE_SHA = hashlib.sha1(RELEASE.encode(), usedforsecurity=False).hexdigest()


class Turn(Enum):
    """Whose turn it is to make an answer that nobody has."""

    MINE = "mine"
    """This agent's: the others wait until it releases it."""
    TAKEN = "taken"
    """Another agent is making it."""
    ALONE = "alone"
    """This agent's, and the others do not know: there is an answer, or Redis is away."""


class _Release(NamedTuple):
    """A turn that is given back."""

    key: str
    turn: str
    unanswered: bool = False
    """Redis has not said yet whose turn it is: what gives it back must not overtake the asking, and goes the same way.
    """


class SharedTier:
    """Answers in Redis."""

    def __init__(self, link: RedisLink, namespace: str, pool: str, keep_stale_s: float = 0.0) -> None:
        self._keep_stale_s = keep_stale_s
        self._link = link
        self._namespace = namespace
        self._pool = pool
        self._pending: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._pending_bytes = 0
        self._releases: list[_Release] = []
        self._leases: dict[str, str] = {}
        self.token = secrets.token_hex(8)
        """Names this agent in its turns, ``<token>.<number>``."""
        self._turns = count()
        self._wake = asyncio.Event()
        self.dropped_total = 0

    async def get(self, key: str) -> Entry | None:
        """The answer another agent stored; None also when Redis is away or its bytes are damaged."""
        if not self._link.available:
            return None
        try:
            packed = await self._link.get(keys.response(self._namespace, self._pool, key))
        except RedisUnavailable:
            return None
        return unpack(packed) if packed is not None else None

    async def claim(self, key: str) -> tuple[Entry | None, Turn, str]:
        """The stored answer, or whose turn it is to make it; a taken turn with its name."""
        if not self._link.available:
            return None, Turn.ALONE, ""
        turn = f"{self.token}.{next(self._turns)}"
        names = [keys.response(self._namespace, self._pool, key), keys.flight(self._namespace, self._pool, key)]
        try:
            reply = await self._link.run(CLAIM, CLAIM_SHA, names, [turn, LEASE_MS], request=True)
        except RedisUnavailable:
            return None, Turn.ALONE, ""
        except asyncio.CancelledError:  # its caller has left, and Redis may give the turn all the same
            self._releases.append(_Release(key, turn, unanswered=True))
            self._wake.set()
            raise
        if isinstance(reply, bytes):
            return unpack(reply), Turn.ALONE, ""
        if isinstance(reply, list):
            return None, Turn.TAKEN, reply[0].decode()
        self._leases[key] = turn
        return None, Turn.MINE, turn

    def release(self, key: str) -> None:
        """Give the turn back soon, after what is stored of the answer."""
        self._releases.append(_Release(key, self._leases.pop(key, "")))
        self._wake.set()

    async def renew_forever(self) -> None:
        """Keep the turns of answers that are still being made until cancelled."""
        while True:
            await asyncio.sleep(RENEW_S)
            names = [keys.flight(self._namespace, self._pool, key) for key in list(self._leases)]
            if names:
                with suppress(RedisUnavailable):
                    await self._link.prolong(names, LEASE_MS)

    def put(self, key: str, entry: Entry) -> None:
        """Store the answer soon."""
        packed = pack(entry)
        if len(packed) > MAX_ENTRY_BYTES or not self._link.available:
            return
        if key in self._pending:
            self._pending_bytes -= len(self._pending.pop(key)[0])
        self._pending[key] = (packed, entry.expires_s + self._keep_stale_s)
        self._pending_bytes += len(packed)
        while len(self._pending) > MAX_PENDING or self._pending_bytes > MAX_PENDING_BYTES:
            self._take_oldest()
            self.dropped_total += 1
        self._wake.set()

    async def drop(self, keys_: Sequence[str]) -> None:
        """Forget answers; those that wait to be written too. When Redis is away they live until they expire."""
        for key in keys_:
            if key in self._pending:
                self._pending_bytes -= len(self._pending.pop(key)[0])
        try:
            await self._link.delete_many([keys.response(self._namespace, self._pool, key) for key in keys_])
        except RedisUnavailable:
            self.dropped_total += len(keys_)

    async def write_forever(self, clock: Callable[[], float]) -> None:
        """Send stored answers to Redis until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            await self.flush(clock())

    async def flush(self, now_s: float) -> None:
        """Send what waits, in batches."""
        releases, self._releases = self._releases, []
        await self._flush_answers(now_s)
        for each in releases:
            with suppress(RedisUnavailable):
                name = keys.flight(self._namespace, self._pool, each.key)
                await self._link.run(RELEASE, RELEASE_SHA, [name], [each.turn], request=each.unanswered)

    async def _flush_answers(self, now_s: float) -> None:
        while self._pending:
            batch = [self._take_oldest() for _ in range(min(BATCH, len(self._pending)))]
            entries = [
                (keys.response(self._namespace, self._pool, key), packed, int((expires_s - now_s) * 1000))
                for key, packed, expires_s in batch
                if expires_s - now_s >= 0.001
            ]
            try:
                await self._link.store_many(entries)
            except RedisUnavailable:
                self.dropped_total += len(batch) + len(self._pending)
                self._pending.clear()
                self._pending_bytes = 0

    def _take_oldest(self) -> tuple[str, bytes, float]:
        key, (packed, expires_s) = self._pending.popitem(last=False)
        self._pending_bytes -= len(packed)
        return key, packed, expires_s
