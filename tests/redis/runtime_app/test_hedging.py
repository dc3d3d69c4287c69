"""What a call that is sent twice costs: both are in the ledger, each at the price of its endpoint."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import pytest

from agent_runtime.usage import estimate
from tests.redis.runtime_app.conftest import RedisServer, Runtime, Start, until
from tests.redis.runtime_app.test_upstreams import served_by, silent, status_of
from tests.redis.runtime_app.upstream import Call, Upstream, answer, completion

BEFORE = 20
"""Calls after which the runtime knows what late means."""

QUESTION = "what does it cost to ask this twice?"
SENT_TOKENS = estimate({"messages": [{"role": "user", "content": QUESTION}]}, 0).input_tokens

FIRST_NANOUSD = 10 * 2000 + 4 * 8000
"""Of the scripted endpoint's 10 tokens in and 4 out at the model's price."""

SECOND_PRICE = {"inputPerMillion": "1", "outputPerMillion": "3"}
SECOND_NANOUSD = 10 * 1000 + 4 * 3000


@pytest.fixture
async def hedging(start: Start, upstream: Upstream, other: Upstream, redis_server: RedisServer) -> Runtime:
    """A runtime that sends late calls to the second endpoint, too, and has seen calls that were not late."""
    raw = served_by(upstream, other, hedgePercent=50)
    raw["models"][0]["endpoints"][1]["price"] = SECOND_PRICE
    runtime = await start(raw, redis_url=redis_server.url)
    for number in range(BEFORE):
        assert await status_of(runtime.chat(f"before {number}")) == 200
    assert other.calls == []
    return runtime


async def charges(redis_server: RedisServer, count: int) -> list[tuple[bool, int, bool]]:
    """Of the calls after those at the beginning: is it a second one, its cost, is that estimated?

    The pool's spend must be that of all records.
    """
    await until(lambda: redis_server.command("XLEN", "agentpool:{default}:usage") >= BEFORE + count)
    entries = redis_server.command("XRANGE", "agentpool:{default}:usage", "-", "+")
    records: list[dict[str, Any]] = [orjson.loads(fields[1]) for _, fields in entries]
    spend = redis_server.command("HVALS", "agentpool:{default}:spend:local")
    assert sum(int(value) for value in spend) == sum(record["cost_nanousd"] for record in records)
    return sorted(
        (record["request_id"].endswith("-hedge"), record["cost_nanousd"], record["estimated"])
        for record in records[BEFORE:]
    )


async def test_a_call_that_was_cut_off_is_charged_for_what_it_was_sent(
    hedging: Runtime, upstream: Upstream, redis_server: RedisServer
) -> None:
    upstream.script = silent
    assert await status_of(hedging.chat(QUESTION)) == 200
    lost, won = (True, SENT_TOKENS * 2000, True), (False, SECOND_NANOUSD, False)
    assert await charges(redis_server, 2) == [won, lost]
    lost_usd = await hedging.metric("agentpool_runtime_upstream_hedge_cost_usd_total")
    assert lost_usd == pytest.approx(lost[1] / 1e9)


async def test_when_both_calls_were_answered_both_are_charged_for_all_they_used(
    hedging: Runtime, upstream: Upstream, other: Upstream, redis_server: RedisServer
) -> None:
    both = asyncio.Event()

    async def first(call: Call) -> None:
        await both.wait()
        await answer(call, 200, orjson.dumps(completion("first")))

    async def second(call: Call) -> None:
        both.set()
        await asyncio.sleep(0)  # the first one writes in the same round of the loop
        await answer(call, 200, orjson.dumps(completion("second")))
        time.sleep(0.1)  # noqa: ASYNC251  (and nobody reads before both answers are there)

    upstream.script, other.script = first, second
    async with hedging.chat(QUESTION) as reply:
        assert (await reply.json())["choices"][0]["message"]["content"] == "first"
    assert await charges(redis_server, 2) == [(False, FIRST_NANOUSD, False), (True, SECOND_NANOUSD, False)]
    lost_usd = await hedging.metric("agentpool_runtime_upstream_hedge_cost_usd_total")
    assert lost_usd == pytest.approx(SECOND_NANOUSD / 1e9)


async def test_a_caller_who_leaves_is_charged_for_both_calls(
    hedging: Runtime, upstream: Upstream, other: Upstream, redis_server: RedisServer
) -> None:
    upstream.script = other.script = silent
    leaving = asyncio.ensure_future(status_of(hedging.chat(QUESTION)))
    await until(lambda: len(other.calls) == 1)
    leaving.cancel()
    sent = [(False, SENT_TOKENS * 2000, True), (True, SENT_TOKENS * 1000, True)]
    assert await charges(redis_server, 2) == sent
