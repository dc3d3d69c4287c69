"""Several endpoints that are not alike: their names, their prices, and what only one of them knows."""

import asyncio
from typing import Any

import openai
import orjson
import pytest

from tests.redis.runtime_app.conftest import PRICE, RedisServer, Runtime, Start, until
from tests.redis.runtime_app.test_openai_sdk import client
from tests.redis.runtime_app.test_upstreams import refusing, status_of
from tests.redis.runtime_app.upstream import Upstream, answer, completion, response

CHEAP = {"inputPerMillion": "1", "outputPerMillion": "2"}
COST_NANOUSD = 10 * 2000 + 4 * 8000
CHEAP_COST_NANOUSD = 10 * 1000 + 4 * 2000
"""Of the scripted endpoint's 10 tokens in and 4 out."""


def two(first: Upstream, second: Upstream, **changes: Any) -> dict[str, Any]:
    """A model whose second endpoint has neither name nor the model's price."""
    places = [
        {"name": "west", "url": first.url, "apiKeyEnv": "UP_KEY"},
        {"url": second.url, "priority": 1, "price": CHEAP},
    ]
    return {"models": [{"name": "chat", "endpoints": places, "price": PRICE}]} | changes


async def test_an_answer_names_its_endpoint_and_nothing_else_of_it(
    start: Start, upstream: Upstream, other: Upstream
) -> None:
    runtime = await start(two(upstream, other))
    async with runtime.chat() as first, runtime.chat() as again:
        assert first.headers["x-agentpool-endpoint"] == "west"
        assert again.headers["x-agentpool-cache"] == "l1"
        assert "x-agentpool-endpoint" not in again.headers
    upstream.script = refusing(500)
    async with runtime.chat("else", stream=True) as second:
        assert second.headers["x-agentpool-endpoint"] == "1"
        told = " ".join(second.headers.values())
        await second.read()
    assert other.url.split("/")[2] not in told and "sk-upstream" not in told


async def test_a_model_with_one_endpoint_has_nothing_to_name(runtime: Runtime) -> None:
    async with runtime.chat() as response:
        assert response.status == 200
        assert "x-agentpool-endpoint" not in response.headers


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_an_answer_costs_what_its_endpoint_charges(
    start: Start, upstream: Upstream, other: Upstream, redis_server: RedisServer, stream: bool
) -> None:
    runtime = await start(two(upstream, other), redis_url=redis_server.url)
    assert await status_of(runtime.chat(stream=stream)) == 200
    upstream.script = refusing(500)
    assert await status_of(runtime.chat("else", stream=stream)) == 200
    await until(lambda: redis_server.command("XLEN", "agentpool:{default}:usage") == 2)
    records = redis_server.command("XRANGE", "agentpool:{default}:usage", "-", "+")
    assert [orjson.loads(record[1][1])["cost_nanousd"] for record in records] == [COST_NANOUSD, CHEAP_COST_NANOUSD]


async def test_a_caller_who_leaves_is_charged_at_the_price_of_the_endpoint_that_was_asked(
    start: Start, upstream: Upstream, other: Upstream
) -> None:
    raw = two(upstream, other)
    raw["models"][0]["endpoints"][0]["price"] = {"inputPerMillion": "1000"}
    runtime = await start(raw)
    asked = []

    async def slow(call: Any) -> None:
        asked.append(call)
        await asyncio.sleep(60)

    upstream.script = slow
    leaving = asyncio.create_task(status_of(runtime.chat("x" * 3984)))
    await until(lambda: bool(asked))
    leaving.cancel()
    await until(lambda: runtime.app.service.active == 0)
    assert await runtime.metric("agentpool_runtime_cost_usd_total") == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_who_goes_on_from_a_response_reaches_the_endpoint_that_has_it(
    start: Start, upstream: Upstream, other: Upstream, redis_server: RedisServer, stream: bool
) -> None:
    raw = two(upstream, other)
    first, second = [await start(raw, redis_url=redis_server.url) for _ in range(2)]
    upstream.script = refusing(500)
    async with client(first) as sdk:
        made = await sdk.responses.create(model="chat", input="hi", stream=stream)
        if stream:
            async for _ in made:
                pass
    upstream.calls.clear()
    upstream.script = answers
    for agent in (first, second):
        async with client(agent) as sdk:
            await sdk.responses.create(model="chat", input="and?", previous_response_id="resp_1")
    assert [call.json.get("previous_response_id") for call in other.calls] == [None, "resp_1", "resp_1"]
    assert upstream.calls == []


async def answers(call: Any) -> None:
    await answer(call, 200, orjson.dumps(response(9) if call.path.endswith("responses") else completion()))


async def test_the_endpoint_that_has_a_response_is_not_replaced_by_one_that_has_not(
    start: Start, upstream: Upstream, other: Upstream
) -> None:
    runtime = await start(two(upstream, other, connections={"retries": 0}))
    async with client(runtime, max_retries=0) as sdk:
        await sdk.responses.create(model="chat", input="hi")
        upstream.script = refusing(500)
        with pytest.raises(openai.InternalServerError):
            await sdk.responses.create(model="chat", input="and?", previous_response_id="resp_1")
    assert other.calls == []


async def test_a_response_of_an_endpoint_that_is_gone_may_be_gone_on_from_anywhere(
    start: Start, upstream: Upstream, other: Upstream, redis_server: RedisServer
) -> None:
    runtime = await start(two(upstream, other), redis_url=redis_server.url)
    async with client(runtime) as sdk:
        await sdk.responses.create(model="chat", input="hi")
    later = await start(two(other, other), redis_url=redis_server.url)
    async with client(later) as sdk:
        await sdk.responses.create(model="chat", input="and?", previous_response_id="resp_1")
    assert len(other.calls) == 1
