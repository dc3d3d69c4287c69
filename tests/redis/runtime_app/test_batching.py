"""Requests that wait for each other and go to their model together."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from agent_runtime.errors import RuntimeSetupError
from agent_runtime.settings import parse_settings
from agentpool_api.wire import BudgetAction, BudgetNotice
from tests.redis.runtime_app.conftest import BEARER, PRICE, RedisServer, Runtime, Start, settings_for, until
from tests.redis.runtime_app.upstream import Call, Upstream, answer, completion, model

MAY = {"x-agentpool-batch": "true"}
ALONE_NANOUSD = 52_000
"""Cost of one answer of the scripted endpoint at the tests' prices."""


class Endpoint:
    """Answers batches, the last line first; single calls as ever. ``statuses`` are what lines get by their content."""

    def __init__(self, upstream: Upstream, **statuses: int) -> None:
        self.upstream = upstream
        self.statuses = statuses
        upstream.script = self

    async def __call__(self, call: Call) -> None:
        if not call.path.endswith("/batch"):
            await model(call)
            return
        lines = []
        for line in reversed(call.json["requests"]):
            content = line["body"]["messages"][0]["content"]
            status = self.statuses.get(content, 200)
            body = completion(content) if status == 200 else {"error": {"message": content, "type": "x", "code": "y"}}
            lines.append({"custom_id": line["custom_id"], "response": {"status_code": status, "body": body}})
        await answer(call, 200, orjson.dumps({"object": "list", "data": lines}))

    @property
    def batches(self) -> list[list[Any]]:
        return [call.json["requests"] for call in self.upstream.calls if call.path.endswith("/batch")]


def pool(upstream: Upstream, *, batch: bool = True, **batching: Any) -> dict[str, Any]:
    settings = settings_for(upstream.url, batching={"window": "30s"} | batching)
    if batch:
        settings["models"][0]["batch"] = {"discountPercent": 25}
    return settings


async def ask(runtime: Runtime, content: str, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    """Status, headers and text (or the error's code) of an answer."""
    async with runtime.chat(content, headers=headers, **fields) as response:
        body = await response.json()
        if response.status != 200:
            return response.status, response.headers, body["error"]["code"]
        return 200, response.headers, body["choices"][0]["message"]["content"]


async def together(runtime: Runtime, *contents: str, headers: dict[str, str] | None = None) -> list[Any]:
    return await asyncio.gather(*(ask(runtime, content, headers) for content in contents))


async def test_five_requests_go_in_one_call_each_with_its_own_answer_and_the_discount(
    start: Start, upstream: Upstream, redis_server: RedisServer
) -> None:
    endpoint = Endpoint(upstream)
    runtime = await start(pool(upstream), redis_url=redis_server.url)
    answers = await together(runtime, *"abcde", headers=MAY)
    assert [text for _, _, text in answers] == list("abcde")
    assert {headers["x-agentpool-batch"] for _, headers, _ in answers} == {"size=5"}
    assert [len(batch) for batch in endpoint.batches] == [5]
    assert endpoint.batches[0][0]["body"]["model"] == "up"
    assert upstream.calls[0].headers["authorization"] == "Bearer sk-upstream"
    assert len(upstream.calls) == 1
    each = ALONE_NANOUSD * 3 // 4
    assert {headers["x-agentpool-cost-usd"] for _, headers, _ in answers} == {f"{each / 1e9:.6f}"}
    assert await runtime.metric("agentpool_runtime_batch_saved_usd_total") == pytest.approx(5 * 13e-6)
    assert await runtime.metric("agentpool_runtime_batched_requests_total") == 5
    async with runtime.session.get(f"{runtime.url}/stats", headers=BEARER) as response:
        assert (await response.json())["saved_usd"]["batches"] == "0.000065"
    await until(lambda: runtime.app.settlement is not None and runtime.app.settlement.pending == 0)
    usage = redis_server.command("XLEN", "agentpool:{default}:usage")
    assert usage == 5
    _, headers, _ = await ask(runtime, "c", MAY)
    assert (headers["x-agentpool-cache"], "x-agentpool-batch" in headers) == ("l1", False)


async def test_one_that_fails_fails_alone_and_what_may_pass_is_tried_alone(start: Start, upstream: Upstream) -> None:
    endpoint = Endpoint(upstream, bad=400, busy=429)
    runtime = await start(pool(upstream, size=3))
    good, bad, busy = await together(runtime, "good", "bad", "busy", headers=MAY)
    assert (good[0], good[2]) == (200, "good")
    assert (bad[0], bad[2]) == (400, "y")
    assert busy[0] == 200
    assert "x-agentpool-batch" not in busy[1]
    assert [len(batch) for batch in endpoint.batches] == [3]
    assert len(upstream.calls) == 2
    assert await runtime.metric("agentpool_runtime_cost_usd_total") == pytest.approx(ALONE_NANOUSD * 1.75e-9)


async def test_without_a_batch_endpoint_they_go_on_alone_at_the_same_time(start: Start, upstream: Upstream) -> None:
    busy = 0

    async def script(call: Call) -> None:
        nonlocal busy
        busy += 1
        await until(lambda: busy == 3)
        await model(call)

    upstream.script = script
    runtime = await start(pool(upstream, batch=False, size=3))
    assert [status for status, _, _ in await together(runtime, *"abc", headers=MAY)] == [200] * 3
    assert {call.path for call in upstream.calls} == {"/v1/chat/completions"}
    assert await runtime.metric("agentpool_runtime_batches_total") == 1


async def test_an_endpoint_that_has_no_batches_after_all_gets_single_calls(start: Start, upstream: Upstream) -> None:
    async def script(call: Call) -> None:
        if call.path.endswith("/batch"):
            await answer(call, 404, b'{"error":{"message":"no"}}')
        else:
            await model(call)

    upstream.script = script
    runtime = await start(pool(upstream, size=2))
    answers = await together(runtime, *"ab", headers=MAY)
    assert [status for status, _, _ in answers] == [200, 200]
    assert await runtime.metric("agentpool_runtime_cost_usd_total") == pytest.approx(2 * ALONE_NANOUSD * 1e-9)


async def test_a_batch_that_fails_whole_fails_for_each(start: Start, upstream: Upstream) -> None:
    async def script(call: Call) -> None:
        await answer(call, 400, b'{"error":{"message":"no","type":"x","param":null,"code":"y"}}')

    upstream.script = script
    runtime = await start(pool(upstream, size=2))
    assert [(status, code) for status, _, code in await together(runtime, *"ab", headers=MAY)] == [(400, "y")] * 2
    assert await runtime.metric("agentpool_runtime_in_flight") == 0


@pytest.mark.parametrize(
    ("mode", "headers", "waits"),
    [
        pytest.param("OnRequest", None, False, id="not-asked"),
        pytest.param("OnRequest", MAY, True, id="asked"),
        pytest.param("Off", MAY, False, id="off"),
        pytest.param("Always", None, True, id="always"),
        pytest.param("Always", {"x-agentpool-batch": "false"}, False, id="always-but-not-this"),
    ],
)
async def test_who_waits(
    start: Start, upstream: Upstream, mode: str, headers: dict[str, str] | None, waits: bool
) -> None:
    Endpoint(upstream)
    runtime = await start(pool(upstream, mode=mode, window="20ms"))
    _, told, _ = await ask(runtime, "a", headers)
    assert ("x-agentpool-batch" in told) is waits


async def test_a_budget_makes_requests_wait_where_that_saves(start: Start, upstream: Upstream) -> None:
    Endpoint(upstream)
    settings = pool(upstream, window="20ms")
    settings["models"].append({"name": "plain", "endpoint": upstream.url, "price": PRICE})
    runtime = await start(settings)
    notice = BudgetNotice(left_percent=8, actions=[BudgetAction.BATCH_REQUESTS])
    runtime.app.budget.take(notice.model_dump_json().encode(), 0.0)
    assert (await ask(runtime, "a"))[1]["x-agentpool-batch"] == "size=1"
    assert "x-agentpool-batch" not in (await ask(runtime, "a", model="plain"))[1]
    assert "x-agentpool-batch" not in (await ask(runtime, "b", {"x-agentpool-batch": "false"}))[1]
    async with runtime.chat("c", stream=True) as response:
        assert "x-agentpool-batch" not in response.headers
        await response.read()


async def test_who_leaves_is_left_out_and_when_all_leave_the_call_ends(start: Start, upstream: Upstream) -> None:
    async def script(call: Call) -> None:
        await asyncio.sleep(30)

    upstream.script = script
    runtime = await start(pool(upstream, size=3, window="2s"))
    early = asyncio.create_task(ask(runtime, "early", MAY))
    tasks = [asyncio.create_task(ask(runtime, str(at), MAY)) for at in range(2)]
    await until(lambda: runtime.app.service.active == 3 or bool(upstream.calls))
    early.cancel()
    await until(lambda: bool(upstream.calls))
    for task in tasks:
        task.cancel()
    await until(lambda: upstream.lost == 1 and runtime.app.service.active == 0)
    assert await runtime.metric("agentpool_runtime_in_flight") == 0


async def test_a_wrong_word_is_refused_by_name(runtime: Runtime, upstream: Upstream) -> None:
    async with runtime.chat("a", headers={"x-agentpool-batch": "maybe"}) as response:
        assert response.status == 400
        assert "x-agentpool-batch" in (await response.json())["error"]["message"]
    assert not upstream.calls


def test_only_chat_models_have_batches() -> None:
    models = [{"name": "e", "kind": "embeddings", "endpoint": "http://x/v1", "batch": {"discountPercent": 25}}]
    with pytest.raises(RuntimeSetupError, match=r"models\[0\].batch"):
        parse_settings({"models": models}, refuse_unknown=True)


async def test_another_pool_is_an_endpoint_with_batches(start: Start, upstream: Upstream) -> None:
    inner = await start(settings_for(upstream.url, auth={"enabled": False}), AGENTPOOL_CONCURRENCY="10")
    settings = pool(upstream)
    settings["models"][0] |= {"endpoint": inner.url, "upstreamModel": "chat"}
    outer = await start(settings)
    requests = [{"body": {"model": "chat", "messages": [{"role": "user", "content": text}]}} for text in "abcde"]
    sent = {"requests": requests}
    async with outer.session.post(f"{outer.url}/batch", json=sent, headers=BEARER | MAY) as response:
        lines = (await response.json())["data"]
    assert [line["response"]["status_code"] for line in lines] == [200] * 5
    assert sorted(call.json["messages"][0]["content"] for call in upstream.calls) == list("abcde")
    assert await outer.metric("agentpool_runtime_batches_total") == 1
    assert await outer.metric("agentpool_runtime_upstream_calls_total") == 1
