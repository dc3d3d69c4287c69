"""Spend, heartbeats and cached answers in a real Redis, also when it is slow, frozen or gone."""

import os
import signal
import time

import pytest

from agent_runtime.redis import link as redis_link
from agentpool_api import keys
from agentpool_api.wire import Heartbeat, UsageRecord
from tests.redis.runtime_app.conftest import REQUEST_PATIENCE_S, RedisServer, Runtime, Start, until
from tests.redis.runtime_app.upstream import Upstream

COST = 52_000  # 10 × 2 + 4 × 8 USD a million, in nano-USD


async def ask(runtime: Runtime, content: str, **options) -> float:
    """Seconds an answer took."""
    began = time.perf_counter()
    async with runtime.chat(content, **options) as response:
        assert response.status == 200, await response.text()
        await response.read()
    return time.perf_counter() - began


def spent(server: RedisServer) -> int:
    values = server.command("HGETALL", keys.spend("default", "local"))
    pairs = dict(zip(values[::2], values[1::2], strict=True))
    assert all(name.endswith(":tokens") and int(name.split(":")[0]) % 900 == 0 for name in pairs)
    return sum(int(value) for value in pairs.values())


def records(server: RedisServer) -> list[UsageRecord]:
    entries = server.command("XRANGE", keys.usage("default"), "-", "+")
    return [UsageRecord.model_validate_json(fields[1]) for _, fields in entries]


async def test_every_answer_is_settled_with_its_cost_and_savings(
    start: Start, upstream: Upstream, redis_server: RedisServer
) -> None:
    runtime = await start(redis_url=redis_server.url)
    for _ in range(2):
        await ask(runtime, "one")
    await ask(runtime, "two", stream=True)
    await until(lambda: len(records(redis_server)) == 3)
    assert spent(redis_server) == 2 * COST
    found = records(redis_server)
    assert [(record.cost_nanousd, record.saved_nanousd, record.cache) for record in found] == [
        (COST, 0, ""),
        (0, COST, "l1"),
        (COST, 0, ""),
    ]
    assert len({record.request_id for record in found}) == 3
    assert found[0].model == "chat" and found[0].pool == "local"


async def test_a_repeated_settlement_counts_once(start: Start, upstream: Upstream, redis_server: RedisServer) -> None:
    runtime = await start(redis_url=redis_server.url)
    await ask(runtime, "one")
    await until(lambda: spent(redis_server) == COST)
    box = runtime.app.settlement
    charge = records(redis_server)[0]
    from agent_runtime.budget.settlement import Charge

    again = Charge(**(charge.model_dump() | {"request_id": charge.request_id}))
    box.add(again)
    assert await box.flush()
    assert spent(redis_server) == COST
    assert len(records(redis_server)) == 1


async def test_a_callers_request_id_never_makes_a_request_free(
    start: Start, upstream: Upstream, redis_server: RedisServer
) -> None:
    runtime = await start(redis_url=redis_server.url)
    for content in ("one", "two"):
        await ask(runtime, content, headers={"X-Request-Id": "same"})
    await until(lambda: spent(redis_server) == 2 * COST)


async def test_the_heartbeat_tells_the_work_and_goes_with_the_agent(
    start: Start, upstream: Upstream, redis_server: RedisServer
) -> None:
    runtime = await start(redis_url=redis_server.url)
    await ask(runtime, "one")
    await ask(runtime, "one")
    await runtime.app.pulse.beat()
    raw = redis_server.command("HGET", keys.heartbeats("default", "local"), "local")
    beat = Heartbeat.model_validate_json(raw)
    assert (beat.capacity, beat.in_flight, beat.queued) == (4, 0, 0)
    assert (beat.arrivals_total, beat.completed_total, beat.cache_hits_total) == (1, 1, 1)
    assert beat.service_seconds_total > 0 and beat.last_activity_s is not None
    await runtime.app.drain()
    assert redis_server.command("HGET", keys.heartbeats("default", "local"), "local") is None


async def test_problems_are_in_the_heartbeat(start: Start, upstream: Upstream, redis_server: RedisServer) -> None:
    raw = {
        "models": [{"name": "m", "endpoint": "http://127.0.0.1:9/v1", "apiKeySecretRef": {"name": "gone"}}],
        "auth": {"secretName": "missing"},
    }
    runtime = await start(raw, redis_url=redis_server.url, POD_NAME="p-1", AGENTPOOL_POOL="pool")
    field = "spec.runtime.models[0].endpoint"
    await until(lambda: field in [problem.field for problem in runtime.app.state.problems])
    await runtime.app.pulse.beat()
    beat = Heartbeat.model_validate_json(redis_server.command("HGET", keys.heartbeats("default", "pool"), "p-1"))
    assert [(problem.reason, problem.field) for problem in beat.problems] == [
        ("SecretMissing", "spec.runtime.auth.secretName"),
        ("SecretMissing", "spec.runtime.models[0].apiKeySecretRef"),
        ("EndpointUnreachable", field),
    ]
    async with runtime.session.get(f"{runtime.root}/readyz") as response:
        assert (response.status, (await response.json())["ready"]) == (503, False)


async def test_a_frozen_redis_costs_50_ms_once_and_nothing_is_lost(
    start: Start, upstream: Upstream, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "REQUEST_PATIENCE_S", REQUEST_PATIENCE_S)
    monkeypatch.setattr(redis_link, "BACKGROUND_PATIENCE_S", 60.0)  # no request waits as long as background work does
    runtime = await start(redis_url=redis_server.url)
    calm = [await ask(runtime, f"calm {number}") for number in range(10)]
    await until(lambda: spent(redis_server) == 10 * COST)
    await until(lambda: runtime.app.link.available)
    assert redis_server.process is not None
    os.kill(redis_server.process.pid, signal.SIGSTOP)
    try:
        first = await ask(runtime, "0")
        later = [await ask(runtime, str(number)) for number in range(1, 10)]
        assert await runtime.metric("agentpool_runtime_redis_available") == 0
    finally:
        os.kill(redis_server.process.pid, signal.SIGCONT)
    assert first < REQUEST_PATIENCE_S + 20  # what a busy machine adds at most
    assert min(later) < min(calm) + REQUEST_PATIENCE_S / 2  # nobody waits any more
    await until(lambda: spent(redis_server) == 20 * COST)
    await until(lambda: runtime.app.settlement.pending == 0)


async def test_a_restarted_redis_is_used_again(start: Start, upstream: Upstream, redis_server: RedisServer) -> None:
    runtime = await start(redis_url=redis_server.url)
    await ask(runtime, "one")
    await until(lambda: spent(redis_server) == COST)
    redis_server.stop()
    await ask(runtime, "two")
    redis_server.start()
    await until(lambda: spent(redis_server) == COST)  # the new one holds what came after
    await until(lambda: redis_server.command("HLEN", keys.heartbeats("default", "local")) == 1)


async def test_a_full_redis_is_as_good_as_none(start: Start, upstream: Upstream, redis_server: RedisServer) -> None:
    runtime = await start(redis_url=redis_server.url)
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    for number in range(5):
        await ask(runtime, str(number))
    redis_server.command("CONFIG", "SET", "maxmemory", "0")
    await until(lambda: spent(redis_server) == 5 * COST)


async def test_a_password_is_needed_and_never_shown(
    start: Start, upstream: Upstream, redis_server: RedisServer, caplog
) -> None:
    redis_server.command("CONFIG", "SET", "requirepass", "hunter2")
    wrong_url = redis_server.url.replace("redis://", "redis://:hunter3@")
    wrong = await start(redis_url=wrong_url, AGENTPOOL_DRAIN_TIMEOUT_S="1")
    right = await start(redis_url=redis_server.url.replace("redis://", "redis://:hunter2@"))
    for runtime in (wrong, right):
        await ask(runtime, "one")
    assert (wrong.app.link.available, right.app.link.available) == (False, True)
    assert "hunter" not in caplog.text + str([vars(record) for record in caplog.records])


async def test_without_redis_everything_works_in_the_process(runtime: Runtime) -> None:
    await ask(runtime, "one")
    await ask(runtime, "one")
    assert await runtime.metric("agentpool_runtime_settlements_pending") == 0
    assert await runtime.metric("agentpool_runtime_cost_usd_total") == COST / 1e9
