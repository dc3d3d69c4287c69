"""How does the cost of an answer reach the ledger without holding the answer up, and without being lost?

Records wait in an outbox and go out together in one atomic step that counts each request id once, so a batch whose
outcome is unknown is simply sent again. While Redis is away the outbox fills; before it overflows, its oldest records
are folded into one per model and quarter of an hour: detail is lost, money is not.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from agent_runtime.redis.link import RedisLink
from agent_runtime.redis.wire import RedisUnavailable
from agent_runtime.telemetry.instruments import Instruments
from agent_runtime.telemetry.logs import log
from agentpool_api import keys

MAX_PENDING = 20_000
BATCH = 200
GATHER_S = 0.05
RETRY_S = 0.5
SETTLED_LIFE_S = 86_400
USAGE_MAXLEN = 1_000_000
"""Approximate bound of the usage stream: about 300 MB, or a day at 11 answers a second."""

SETTLE = """
local applied = 0
for i = 1, #ARGV - 2, 3 do
  local marker = KEYS[2 + (i + 2) / 3]
  if redis.call('SET', marker, '1', 'NX', 'EX', ARGV[#ARGV - 1]) then
    applied = applied + 1
    if ARGV[i + 1] ~= '0' then redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[#ARGV], '*', 'record', ARGV[i + 2])
  end
end
return applied
"""
SETTLE_SHA = hashlib.sha1(SETTLE.encode(), usedforsecurity=False).hexdigest()


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """A UsageRecord (agentpool_api/wire.py) in the form that costs least to make."""

    request_id: str
    at_s: float
    pool: str
    pod: str
    model: str
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost_nanousd: int
    saved_nanousd: int = 0
    cache: str = ""
    priced: bool = True
    estimated: bool = False


class Settlement:
    """The outbox of one process."""

    def __init__(self, link: RedisLink, namespace: str, pool: str, instruments: Instruments) -> None:
        self._link = link
        self._namespace = namespace
        self._pool = pool
        self._instruments = instruments
        self._pending: deque[Charge] = deque()
        self._sending: list[Charge] = []
        self._wake = asyncio.Event()

    @property
    def pending(self) -> int:
        return len(self._pending) + len(self._sending)

    def add(self, charge: Charge) -> None:
        """Take a charge in; it reaches the ledger soon."""
        self._pending.append(charge)
        if len(self._pending) > MAX_PENDING:
            self._fold()
        self._wake.set()

    async def settle_forever(self) -> None:
        """Write charges to the ledger until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            if not await self.flush():
                self._wake.set()
                await asyncio.sleep(RETRY_S)

    async def flush(self) -> bool:
        """Write all that waits. False when Redis is away; nothing is lost then."""
        while self._sending or self._pending:
            if not self._sending:
                self._sending = [self._pending.popleft() for _ in range(min(BATCH, len(self._pending)))]
            try:
                await self._send(self._sending)
            except RedisUnavailable:
                return False
            self._instruments.settled.inc(len(self._sending))
            self._sending = []
        return True

    async def drain(self, deadline_s: float, clock: Callable[[], float]) -> None:
        """Write all that waits before the deadline; say what could not be written."""
        while not await self.flush() and clock() < deadline_s:
            await asyncio.sleep(0.1)
            await self._link.probe()
        if self.pending:
            lost = [*self._sending, *self._pending]
            total = sum(charge.cost_nanousd for charge in lost)
            log(logging.ERROR, "usage could not be settled before the exit", records=len(lost), cost_nanousd=total)

    async def _send(self, batch: list[Charge]) -> None:
        names = [keys.spend(self._namespace, self._pool), keys.usage(self._namespace)]
        args: list[Any] = []
        for charge in batch:
            names.append(keys.settled(self._namespace, charge.request_id))
            bucket = f"{keys.spend_bucket(charge.at_s)}:tokens"
            args += [bucket, charge.cost_nanousd, msgspec.json.encode(charge)]
        await self._link.run(SETTLE, SETTLE_SHA, names, [*args, SETTLED_LIFE_S, USAGE_MAXLEN])

    def _fold(self) -> None:
        """Merge the older half of the outbox by model and spend bucket, keeping every sum."""
        older = [self._pending.popleft() for _ in range(len(self._pending) // 2)]
        merged = fold(older)
        self._instruments.settlements_folded.inc(len(older) - len(merged))
        self._pending.extendleft(reversed(merged))


def fold(charges: list[Charge]) -> list[Charge]:
    """Charges of one model and spend bucket as one, with the id of the first; tokens, cost and savings are summed."""
    merged: dict[tuple[str, int, bool], Charge] = {}
    for charge in charges:
        key = (charge.model, keys.spend_bucket(charge.at_s), charge.priced)
        first = merged.get(key)
        merged[key] = charge if first is None else _sum(first, charge)
    return list(merged.values())


def _sum(first: Charge, other: Charge) -> Charge:
    return msgspec.structs.replace(
        first,
        input_tokens=first.input_tokens + other.input_tokens,
        cached_input_tokens=first.cached_input_tokens + other.cached_input_tokens,
        output_tokens=first.output_tokens + other.output_tokens,
        cost_nanousd=first.cost_nanousd + other.cost_nanousd,
        saved_nanousd=first.saved_nanousd + other.saved_nanousd,
        cache="" if first.cache != other.cache else first.cache,
        estimated=first.estimated or other.estimated,
    )
