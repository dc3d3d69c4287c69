"""The pool chooses the model: what the endpoint gets, what the caller is told, what is saved."""

from __future__ import annotations

import math
from typing import Any

import pytest

from agent_runtime.errors import RuntimeSetupError
from agent_runtime.settings import parse_settings
from agentpool_api import keys
from agentpool_api.wire import BudgetAction, BudgetNotice
from tests.redis.runtime_app.conftest import BEARER, RedisServer, Runtime, Start, until
from tests.redis.runtime_app.upstream import Upstream

HARD = "Design an algorithm, analyze its cost and prove that it ends:\n```py\ndef f(x):\n```"


def model(name: str, price: str, accuracy: int, quality: int, time: str, **more: Any) -> dict[str, Any]:
    profile = {"accuracyPercent": accuracy, "qualityPercent": quality, "responseTime": time} | more
    return {"name": name, "price": {"inputPerMillion": price, "outputPerMillion": price}, "profile": profile}


def pool(url: str, mode: str, **more: Any) -> dict[str, Any]:
    models = [
        model("large", "30", 98, 95, "2s", vision=True, contextTokens=100_000),
        model("medium", "10", 96, 90, "1500ms", contextTokens=32_000),
        model("small", "1.5", 92, 85, "1s", tools=False, contextTokens=16_000),
    ]
    return {"models": [one | {"endpoint": url} for one in models], "rightSizing": {"mode": mode} | more}


async def ask(
    runtime: Runtime, content: Any = "hi", headers: dict[str, str] | None = None, **fields: Any
) -> tuple[int, Any, Any]:
    async with runtime.chat(content, headers=headers, **({"model": "auto"} | fields)) as response:
        return response.status, response.headers, await response.read()


@pytest.mark.parametrize(
    ("content", "headers", "fields", "chosen", "reason"),
    [
        pytest.param("hi", {}, {}, "small", "short-and-simple", id="simple"),
        pytest.param("hi", {"x-agentpool-complexity": "moderate"}, {}, "medium", "score", id="said-to-be-moderate"),
        pytest.param("hi", {"x-agentpool-complexity": "0.9"}, {}, "large", "reasoning", id="said-to-be-hard"),
        pytest.param(HARD, {}, {}, "large", "reasoning", id="hard"),
        pytest.param("hi", {"x-agentpool-min-quality": "0.88"}, {}, "medium", "short-and-simple", id="quality"),
        pytest.param(
            HARD,
            {"x-agentpool-accuracy": "0.95", "x-agentpool-max-latency-ms": "5000"},
            {},
            "medium",
            "time-and-tolerance",
            id="tolerant",
        ),
        pytest.param(HARD, {"x-agentpool-max-latency-ms": "1000"}, {}, "small", "only-one-fits", id="fast"),
        pytest.param("hi", {}, {"tools": [{"type": "function"}]}, "medium", "short-and-simple", id="tools"),
        pytest.param("word " * 16_000, {}, {}, "medium", "score", id="context"),
        pytest.param(
            [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:,"}}],
            {},
            {},
            "large",
            "only-one-fits",
            id="image",
        ),
    ],
)
async def test_auto_goes_to_the_model_that_fits(
    start: Start,
    upstream: Upstream,
    content: Any,
    headers: dict[str, str],
    fields: dict[str, Any],
    chosen: str,
    reason: str,
) -> None:
    runtime = await start(pool(upstream.url, "OnRequest"))
    status, told, _ = await ask(runtime, content, headers, **fields)
    assert status == 200
    assert upstream.calls[0].json["model"] == chosen
    assert told["x-agentpool-model"] == chosen
    assert f'model="{chosen}", reason={reason}, ' in told["x-agentpool-right-sizing"]


async def test_the_saving_is_told_and_counted_by_what_was_really_used(start: Start, upstream: Upstream) -> None:
    runtime = await start(pool(upstream.url, "OnRequest"))
    _, told, _ = await ask(runtime, max_tokens=100)
    assert 'instead-of="large"' in told["x-agentpool-right-sizing"]
    assert told["x-agentpool-right-sizing"].endswith("saved-usd=0.002907")  # 102 tokens × 28.5 USD a million, expected
    saved = await runtime.metric("agentpool_runtime_right_sizing_saved_usd_total")
    assert saved == pytest.approx(14 * 28.5e-6)  # 14 tokens used
    assert await runtime.metric("agentpool_runtime_right_sized_requests_total") == 1


async def test_a_chosen_answer_serves_those_who_name_the_model(start: Start, upstream: Upstream) -> None:
    runtime = await start(pool(upstream.url, "OnRequest"))
    await ask(runtime)
    _, told, _ = await ask(runtime, model="small")
    assert told["x-agentpool-cache"] == "l1"
    _, told, _ = await ask(runtime, stream=True)
    assert told["x-agentpool-cache"] == "l1"
    assert 'model="small"' in told["x-agentpool-right-sizing"]
    assert len(upstream.calls) == 1


async def test_a_named_model_is_kept_unless_the_pool_may_replace_it(start: Start, upstream: Upstream) -> None:
    runtime = await start(pool(upstream.url, "OnRequest"))
    _, told, _ = await ask(runtime, model="large")
    assert "x-agentpool-right-sizing" not in told
    runtime = await start(pool(upstream.url, "Always"))
    _, told, _ = await ask(runtime, "again", model="large")
    assert 'model="small", reason=short-and-simple' in told["x-agentpool-right-sizing"]
    _, told, _ = await ask(runtime, HARD, model="small")
    assert told["x-agentpool-model"] == "small"  # never a dearer one than was asked for
    assert [call.json["model"] for call in upstream.calls] == ["large", "small", "small"]


async def test_what_the_budget_leaves_moves_the_choice_and_its_end_moves_it_back(
    start: Start, upstream: Upstream, redis_server: RedisServer
) -> None:
    runtime = await start(pool(upstream.url, "OnRequest"), redis_url=redis_server.url, POD_NAMESPACE="team")
    key, moderate = keys.budget_notice("team", "local"), {"x-agentpool-complexity": "moderate"}
    view = runtime.app.budget

    async def told(notice: BudgetNotice, content: str) -> str:
        redis_server.command("SET", key, notice.model_dump_json())
        left = None if notice.left_percent is None else notice.left_percent / 100
        await until(lambda: view.left == left)
        _, headers, _ = await ask(runtime, content, moderate)
        return str(headers["x-agentpool-right-sizing"])

    assert 'model="medium", reason=score' in await told(BudgetNotice(), "a")
    assert 'model="small", reason=score' in await told(BudgetNotice(left_percent=40), "b")
    cheap = BudgetNotice(left_percent=90, actions=[BudgetAction.CHEAPER_MODELS])
    assert 'model="small", reason=budget' in await told(cheap, "c")
    assert await runtime.metric("agentpool_runtime_budget_left_ratio") == 0.9
    assert await runtime.metric("agentpool_runtime_budget_action") == 1
    assert 'model="medium", reason=score' in await told(BudgetNotice(), "d")
    assert math.isnan(await runtime.metric("agentpool_runtime_budget_left_ratio"))


@pytest.mark.parametrize(
    ("complexity", "chosen"),
    [("simple", "small"), ("moderate", "medium"), ("complex", "medium"), ("reasoning", "large")],
)
async def test_each_class_of_task_has_its_model_streamed_and_replayed(
    start: Start, upstream: Upstream, complexity: str, chosen: str
) -> None:
    runtime = await start(pool(upstream.url, "OnRequest"))
    wish = {"x-agentpool-complexity": complexity}
    _, told, first = await ask(runtime, headers=wish, stream=True)
    assert (told["x-agentpool-model"], told["x-agentpool-cache"]) == (chosen, "miss")
    _, told, second = await ask(runtime, headers=wish, stream=True)
    assert (told["x-agentpool-model"], told["x-agentpool-cache"]) == (chosen, "l1")
    assert first == second
    assert len(upstream.calls) == 1


async def test_the_pools_quality_floor_holds(start: Start, upstream: Upstream) -> None:
    runtime = await start(pool(upstream.url, "Always", minQualityPercent=90))
    _, told, _ = await ask(runtime, model="large")
    assert told["x-agentpool-model"] == "medium"


async def test_auto_without_a_model_that_fits_is_refused_with_what_to_change(start: Start, upstream: Upstream) -> None:
    runtime = await start(pool(upstream.url, "OnRequest"))
    status, _, body = await ask(runtime, headers={"x-agentpool-min-quality": "0.99"})
    assert status == 400
    assert b"no_model_fits" in body and b"min-quality" in body
    assert not upstream.calls


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-agentpool-min-quality", "high"),
        ("x-agentpool-min-quality", "1.5"),
        ("x-agentpool-accuracy", "nan"),
        ("x-agentpool-accuracy", "-0.1"),
        ("x-agentpool-max-latency-ms", "1s"),
        ("x-agentpool-max-latency-ms", "inf"),
        ("x-agentpool-complexity", "hard"),
    ],
)
async def test_a_wrong_header_is_refused_by_name(start: Start, upstream: Upstream, header: str, value: str) -> None:
    runtime = await start(pool(upstream.url, "OnRequest"))
    status, _, body = await ask(runtime, headers={header: value})
    assert status == 400
    assert header.encode() in body


async def test_auto_is_listed_where_it_may_be_asked_for(start: Start, upstream: Upstream) -> None:
    for mode, listed in (("OnRequest", True), ("Off", False)):
        runtime = await start(pool(upstream.url, mode))
        async with runtime.session.get(f"{runtime.url}/models", headers=BEARER) as response:
            assert ("auto" in [card["id"] for card in (await response.json())["data"]]) is listed
    status, _, _ = await ask(runtime)
    assert status == 404


def test_right_sizing_without_a_profile_stops_the_start() -> None:
    models = [{"name": "m", "endpoint": "http://x/v1"}]
    with pytest.raises(RuntimeSetupError, match="give models"):
        parse_settings({"models": models, "rightSizing": {"mode": "Always"}}, refuse_unknown=True)
