"""Many requests in one call."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from tests.redis.runtime_app.conftest import BEARER, Runtime, Start, settings_for, until
from tests.redis.runtime_app.upstream import Call, Upstream, answer, completion, model


def chat(content: str, custom_id: str | None = None, **fields: Any) -> dict[str, Any]:
    body = {"model": "chat", "messages": [{"role": "user", "content": content}]} | fields
    return {"body": body} | ({"custom_id": custom_id} if custom_id else {})


async def send(runtime: Runtime, requests: Any, **headers: str) -> tuple[int, Any]:
    payload = {"requests": requests}
    async with runtime.session.post(f"{runtime.url}/batch", json=payload, headers=BEARER | headers) as response:
        return response.status, await response.json()


async def echo(call: Call) -> None:
    """Later requests are answered sooner."""
    content = call.json["messages"][0]["content"]
    await asyncio.sleep(0.2 / (1 + int(content)))
    await answer(call, 200, orjson.dumps(completion(content)))


async def test_answers_come_in_the_order_of_the_requests(runtime: Runtime, upstream: Upstream) -> None:
    upstream.script = echo
    status, batch = await send(runtime, [chat(str(at), f"id-{at}") for at in range(12)])
    assert status == 200
    assert [line["custom_id"] for line in batch["data"]] == [f"id-{at}" for at in range(12)]
    said = [line["response"]["body"]["choices"][0]["message"]["content"] for line in batch["data"]]
    assert said == [str(at) for at in range(12)]
    assert all(line["response"]["request_id"].startswith("req-") for line in batch["data"])


async def test_what_fails_fails_alone(runtime: Runtime, upstream: Upstream) -> None:
    async def script(call: Call) -> None:
        if call.json.get("messages", [{}])[0].get("content") == "bad":
            await answer(call, 400, b'{"error":{"message":"no","type":"x","param":null,"code":"y"}}')
        else:
            await model(call)

    upstream.script = script
    embed = {"url": "/v1/embeddings", "body": {"model": "embed", "input": "a"}}
    wrong_url = {"url": "/v1/none", "body": {}}
    wrong_model = {"body": {"model": "none", "messages": [{"role": "user", "content": "a"}]}}
    items = [chat("good"), chat("bad"), chat("x", stream=True), wrong_url, wrong_model, embed]
    _, batch = await send(runtime, items)
    assert [line["response"]["status_code"] for line in batch["data"]] == [200, 400, 400, 400, 404, 200]
    assert [line["custom_id"] for line in batch["data"]] == list("012345")
    assert batch["data"][1]["response"]["body"]["error"]["code"] == "y"
    assert batch["data"][5]["response"]["body"]["data"][0]["embedding"] == [0.5, 0.25]
    assert await runtime.metric("agentpool_runtime_cost_usd_total") == pytest.approx(0.000052 + 3 * 2e-6)


async def test_five_of_a_model_are_worked_on_at_once(start: Start, upstream: Upstream) -> None:
    most = busy = 0

    async def script(call: Call) -> None:
        nonlocal most, busy
        busy += 1
        most = max(most, busy)
        await until(lambda: most >= 5)
        await asyncio.sleep(0.02)
        busy -= 1
        await model(call)

    upstream.script = script
    runtime = await start(settings_for(upstream.url), AGENTPOOL_CONCURRENCY="50")
    _, batch = await send(runtime, [chat(str(at)) for at in range(20)])
    assert {line["response"]["status_code"] for line in batch["data"]} == {200}, batch
    assert most == 5
    assert len(upstream.calls) == 20


async def test_equal_items_are_asked_once(runtime: Runtime, upstream: Upstream) -> None:
    _, batch = await send(runtime, [chat("same"), chat("same", "again")])
    assert [line["response"]["status_code"] for line in batch["data"]] == [200, 200]
    assert len(upstream.calls) == 1


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param(None, id="none"),
        pytest.param([], id="empty"),
        pytest.param([1], id="no-object"),
        pytest.param([{"custom_id": "a"}], id="no-body"),
        pytest.param([chat("a", "x"), chat("b", "x")], id="same-id"),
        pytest.param([{"custom_id": 1, "body": {}}], id="id-is-no-text"),
        pytest.param([chat("a")] * 1001, id="too-many"),
    ],
)
async def test_a_batch_that_cannot_be_read_is_refused_whole(
    runtime: Runtime, upstream: Upstream, requests: Any
) -> None:
    status, error = await send(runtime, requests)
    assert (status, error["error"]["code"]) == (400, "invalid_batch")
    assert not upstream.calls


async def test_a_batch_needs_a_key(runtime: Runtime) -> None:
    async with runtime.session.post(f"{runtime.url}/batch", json={"requests": [chat("a")]}) as response:
        assert response.status == 401


async def test_a_client_that_leaves_ends_its_items(start: Start, upstream: Upstream) -> None:
    async def script(call: Call) -> None:
        await asyncio.sleep(30)

    upstream.script = script
    runtime = await start(settings_for(upstream.url))
    task = asyncio.create_task(send(runtime, [chat(str(at)) for at in range(3)]))
    await until(lambda: len(upstream.calls) == 3)
    task.cancel()
    await until(lambda: runtime.app.service.active == 0)
    assert await runtime.metric("agentpool_runtime_client_disconnects_total") == 3
    assert await runtime.metric("agentpool_runtime_in_flight") == 0
