"""The API as a caller sees it, against a well-behaved endpoint."""

import asyncio

import orjson
import pytest

from tests.redis.runtime_app.conftest import BEARER, Runtime, Start, settings_for
from tests.redis.runtime_app.upstream import DONE, STREAM, Upstream, answer, completion, priced_usage


async def test_an_answer_is_passed_on_untouched_and_tells_what_it_cost(runtime: Runtime, upstream: Upstream) -> None:
    async with runtime.chat(headers={"X-Request-Id": "mine"}) as response:
        assert response.status == 200
        assert await response.json() == completion()
        headers = response.headers
    assert headers["x-agentpool-cache"] == "miss"
    assert headers["x-agentpool-model"] == "chat"
    assert headers["x-agentpool-cost-usd"] == "0.000052"  # 10 × 2 + 4 × 8 USD a million
    assert headers["x-request-id"] == "mine"
    assert headers["x-agentpool-request-id"].startswith("req-")
    assert 0 < float(headers["x-agentpool-overhead-ms"]) < 60_000
    assert headers["cache-status"] == "agentpool; fwd=miss; stored"


async def test_the_endpoint_gets_its_own_key_and_name_and_every_unknown_field(
    runtime: Runtime, upstream: Upstream
) -> None:
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Cookie": "secret=1"}
    async with runtime.chat(headers=trace, service_tier="flex", brand_new={"a": [1, None]}) as response:
        assert response.status == 200
    call = upstream.calls[0]
    assert call.path == "/v1/chat/completions"
    assert call.json["model"] == "up"
    assert (call.json["service_tier"], call.json["brand_new"]) == ("flex", {"a": [1, None]})
    assert call.headers["authorization"] == "Bearer sk-upstream"
    assert call.headers["traceparent"] == trace["traceparent"]
    assert "cookie" not in call.headers


@pytest.mark.parametrize("asked", [True, False])
async def test_usage_in_the_stream_comes_only_when_asked_for_and_is_always_metered(
    runtime: Runtime, upstream: Upstream, asked: bool
) -> None:
    options = {"stream_options": {"include_usage": True}} if asked else {}
    async with runtime.chat(stream=True, **options) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        body = await response.read()
    assert body == b"".join([*STREAM, *([priced_usage(52_000)] if asked else []), DONE])
    assert upstream.calls[0].json["stream_options"] == {"include_usage": True}
    assert await runtime.metric("agentpool_runtime_cost_usd_total") == pytest.approx(0.000052)
    assert await runtime.metric("agentpool_runtime_estimated_usage_answers_total") == 0


async def test_embeddings(runtime: Runtime) -> None:
    body = {"model": "embed", "input": ["a"]}
    for expected in ("miss", "l1"):
        async with runtime.session.post(f"{runtime.url}/embeddings", json=body, headers=BEARER) as response:
            assert (await response.json())["data"][0]["embedding"] == [0.5, 0.25]
            assert response.headers["x-agentpool-cache"] == expected


async def test_models_are_listed_for_key_holders(runtime: Runtime) -> None:
    async with runtime.session.get(f"{runtime.url}/models", headers=BEARER) as response:
        assert [card["id"] for card in (await response.json())["data"]] == ["chat", "embed"]
    async with runtime.session.get(f"{runtime.url}/models/embed", headers=BEARER) as response:
        assert (await response.json())["object"] == "model"
    async with runtime.session.get(f"{runtime.url}/models/x", headers=BEARER) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (404, "model_not_found")
    async with runtime.session.get(f"{runtime.url}/models") as response:
        assert response.status == 401


async def test_health_and_metrics_need_no_key(runtime: Runtime) -> None:
    async with runtime.session.get(f"{runtime.root}/healthz") as response:
        assert response.status == 200
    for _ in range(1500):
        async with runtime.session.get(f"{runtime.root}/readyz") as response:
            report = await response.json()
        if report["ready"]:
            break
        await asyncio.sleep(0.02)
    assert report == {"ready": True, "draining": False, "problems": []}
    assert await runtime.metric("agentpool_runtime_ready") == 1


async def test_an_endpoint_that_does_not_count_is_metered_by_estimate(runtime: Runtime, upstream: Upstream) -> None:
    async def silent(call) -> None:
        whole = completion("x" * 400)
        del whole["usage"]
        await answer(call, 200, orjson.dumps(whole))

    upstream.script = silent
    async with runtime.chat("y" * 396) as response:
        assert response.status == 200
    assert await runtime.metric("agentpool_runtime_estimated_usage_answers_total") == 1
    assert await runtime.metric("agentpool_runtime_cost_usd_total") > 0.0008


async def test_a_model_without_a_price_is_served_and_reported(start: Start, upstream: Upstream) -> None:
    raw = settings_for(upstream.url)
    raw["models"] = [{"name": "nobody-knows", "endpoint": upstream.url}]
    runtime = await start(raw)
    async with runtime.chat(model="nobody-knows") as response:
        assert response.status == 200
        assert "x-agentpool-cost-usd" not in response.headers
    assert await runtime.metric("agentpool_runtime_unpriced_answers_total") == 1


async def test_a_json_endpoint_serves_a_caller_who_asked_for_a_stream(runtime: Runtime, upstream: Upstream) -> None:
    async def json_only(call) -> None:
        await answer(call, 200, orjson.dumps(completion("whole")))

    upstream.script = json_only
    async with runtime.chat(stream=True) as response:
        body = await response.text()
    assert '"content":"whole"' in body and body.endswith("data: [DONE]\n\n")
