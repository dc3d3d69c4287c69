"""What an endpoint keeps of a response is for its key alone, at the endpoint that has it. The SDK as the judge."""

from __future__ import annotations

from typing import Any

import openai
import orjson
import pytest

from tests.redis.runtime_app.conftest import BEARER, RedisServer, Runtime, Start, settings_for, until
from tests.redis.runtime_app.test_endpoints_apart import two
from tests.redis.runtime_app.test_openai_sdk import client
from tests.redis.runtime_app.test_upstreams import refusing
from tests.redis.runtime_app.upstream import (
    Call,
    Upstream,
    answer,
    end_stream,
    response,
    response_events,
    start_stream,
    stream_part,
)

ITEM = {"type": "message", "id": "msg_0", "role": "user", "status": "completed", "content": []}
CALLS = [("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")]


class Store:
    """An endpoint that keeps its responses."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.cut_off = False

    async def __call__(self, call: Call) -> None:
        path, _, query = call.path.removeprefix("/v1/responses").partition("?")
        name, _, below = path.strip("/").partition("/")
        if not path:
            name = f"resp_{len(self.kept) + 1}"
            self.kept[name] = response(len(self.kept) + 1)
            await answer(call, 200, orjson.dumps(self.kept[name]))
        elif name not in self.kept:
            await answer(call, 404, orjson.dumps({"error": {"message": "the endpoint has none", "code": "gone"}}))
        elif call.method == "DELETE":
            del self.kept[name]
            await answer(call, 200, orjson.dumps({"id": name, "object": "response", "deleted": True}))
        elif below == "input_items":
            await answer(call, 200, orjson.dumps({"object": "list", "data": [ITEM], "has_more": False}))
        elif "stream=true" in query:
            await start_stream(call)
            for part in response_events()[: 2 if self.cut_off else None]:
                await stream_part(call, part)
            await end_stream(call)
        else:
            await answer(call, 200, orjson.dumps(self.kept[name]))


@pytest.fixture
def store(upstream: Upstream) -> Store:
    upstream.script = Store()
    return upstream.script


def send(runtime: Runtime, method: str, path: str, headers: dict[str, str] = BEARER) -> Any:
    return runtime.session.request(method, f"{runtime.url}/responses/{path}", headers=headers)


async def error_of(request: Any) -> tuple[int, str]:
    async with request as reply:
        return reply.status, (await reply.json())["error"]["code"]


async def test_a_response_is_read_listed_and_deleted_through_any_agent(
    start: Start, upstream: Upstream, store: Store, redis_server: RedisServer
) -> None:
    first, second = [await start(redis_url=redis_server.url) for _ in range(2)]
    async with client(first) as sdk:
        made = await sdk.responses.create(model="chat", input="hi")
    async with client(second) as sdk:
        assert await sdk.responses.retrieve(made.id, include=["message.output_text.logprobs"]) == made
        assert [item.id async for item in await sdk.responses.input_items.list(made.id, limit=2)] == ["msg_0"]
        assert (await sdk.responses.cancel(made.id)).id == made.id
        await sdk.responses.delete(made.id)
    asked = [(call.method, call.path.partition("?")[0], call.path.partition("?")[2]) for call in upstream.calls[1:]]
    assert [one[:2] for one in asked] == [
        ("GET", "/v1/responses/resp_1"),
        ("GET", "/v1/responses/resp_1/input_items"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("DELETE", "/v1/responses/resp_1"),
    ]
    assert "message.output_text.logprobs" in asked[0][2] and asked[1][2] == "limit=2"
    assert {call.headers["authorization"] for call in upstream.calls} == {"Bearer sk-upstream"}
    assert not store.kept


async def test_what_was_deleted_is_unknown_and_nobody_goes_on_from_it(
    start: Start, upstream: Upstream, store: Store, redis_server: RedisServer
) -> None:
    runtime = await start(redis_url=redis_server.url)
    async with client(runtime, max_retries=0) as sdk:
        made = await sdk.responses.create(model="chat", input="hi")
        await sdk.responses.delete(made.id)
        calls = len(upstream.calls)
        with pytest.raises(openai.NotFoundError) as refused:
            await sdk.responses.retrieve(made.id)
        assert refused.value.code == "response_not_found"
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.create(model="chat", input="and?", previous_response_id=made.id)
    assert len(upstream.calls) == calls
    assert redis_server.command("KEYS", "*resp*") == []


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_another_key_can_do_nothing_with_it(
    start: Start, upstream: Upstream, store: Store, redis_server: RedisServer, method: str, path: str
) -> None:
    first = await start(redis_url=redis_server.url)
    second = await start(redis_url=redis_server.url, AGENTPOOL_API_KEY="sk-other")
    async with client(first) as sdk:
        made = await sdk.responses.create(model="chat", input="hi")
    stranger = {"Authorization": "Bearer sk-other"}
    assert await error_of(send(second, method, made.id + path, stranger)) == (404, "response_not_found")
    assert await error_of(send(first, method, "resp_9" + path)) == (404, "response_not_found")
    assert await error_of(send(first, method, made.id + path, {})) == (401, "invalid_api_key")
    assert len(upstream.calls) == 1 and store.kept


async def test_the_endpoint_that_has_it_is_asked_and_its_word_is_passed_on(
    start: Start, upstream: Upstream, other: Upstream, redis_server: RedisServer
) -> None:
    raw = two(upstream, other)
    runtime = await start(raw, redis_url=redis_server.url)
    upstream.script, other.script = refusing(500), Store()
    async with client(runtime, max_retries=0) as sdk:
        made = await sdk.responses.create(model="chat", input="hi")
        upstream.calls.clear()
        told = await sdk.responses.with_raw_response.retrieve(made.id)
        assert (told.headers["x-agentpool-endpoint"], told.headers["x-agentpool-cache"]) == ("1", "bypass")
        other.script.kept.clear()
        with pytest.raises(openai.NotFoundError, match="the endpoint has none"):
            await sdk.responses.retrieve(made.id)
    assert upstream.calls == []


async def test_an_endpoint_that_left_the_pool_is_not_asked(
    start: Start, upstream: Upstream, other: Upstream, store: Store, redis_server: RedisServer
) -> None:
    before = await start(redis_url=redis_server.url)
    after = await start(settings_for(other.url), redis_url=redis_server.url)
    async with client(before) as sdk:
        made = await sdk.responses.create(model="chat", input="hi")
    async with send(after, "GET", made.id) as reply:
        assert reply.status == 404 and "has left the pool" in await reply.text()
    assert other.calls == []


async def test_events_are_passed_on_byte_for_byte(runtime: Runtime, upstream: Upstream, store: Store) -> None:
    async with client(runtime, max_retries=0) as sdk:
        made = await sdk.responses.create(model="chat", input="hi")
        async with send(runtime, "GET", f"{made.id}?stream=true&starting_after=0") as reply:
            assert await reply.read() == b"".join(response_events())
        assert upstream.calls[-1].path == "/v1/responses/resp_1?stream=true&starting_after=0"
        store.cut_off = True
        stream = await sdk.responses.retrieve(made.id, stream=True)
        with pytest.raises(openai.APIError, match="before the answer was whole"):
            async for _ in stream:
                pass
    await until(lambda: runtime.app.slots.in_flight == 0 and runtime.app.service.active == 0)


async def test_nothing_is_charged_and_the_calls_are_counted_apart(runtime: Runtime, store: Store) -> None:
    async with client(runtime) as sdk:
        made = await sdk.responses.create(model="chat", input="hi")
        cost_usd = await runtime.metric("agentpool_runtime_cost_usd_total")
        await sdk.responses.retrieve(made.id)
    assert await runtime.metric("agentpool_runtime_cost_usd_total") == cost_usd > 0
    async with runtime.session.get(f"{runtime.url}/stats", headers=BEARER) as reply:
        told = await reply.json()
    assert told["requests"]["by_operation"] == {"responses": 1, "stored_responses": 1}
    assert told["response_time"]["answers"] == 1


async def test_an_answer_that_is_no_json_is_not_passed_on(runtime: Runtime, upstream: Upstream, store: Store) -> None:
    async with client(runtime) as sdk:
        made = await sdk.responses.create(model="chat", input="hi")

    async def page(call: Call) -> None:
        await answer(call, 200, b"<html>", kind="text/html")

    upstream.script = page
    assert await error_of(send(runtime, "GET", made.id)) == (502, "upstream_invalid_answer")
    assert runtime.app.slots.in_flight == 0
