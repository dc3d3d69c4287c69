"""Answers that outlive the runtime."""

from tests.redis.runtime_app.conftest import BEARER, Start, settings_for
from tests.redis.runtime_app.test_cache_and_coalescing import outcome
from tests.redis.runtime_app.upstream import Upstream


async def test_a_restarted_agent_serves_what_it_stored_unless_it_was_purged(
    start: Start, upstream: Upstream, tmp_path
) -> None:
    settings = settings_for(upstream.url, cache={"diskSize": "1Mi"})
    where = {"AGENTPOOL_CACHE_DIR": str(tmp_path / "cache")}
    first = await start(settings, **where)
    body = (await outcome(first.chat()))[1]
    await first.app.drain()
    second = await start(settings, **where)
    assert await outcome(second.chat()) == ("l3", body)
    assert await outcome(second.chat()) == ("l1", body)
    assert await second.metric("agentpool_runtime_cache_disk_bytes") > 0
    async with second.session.post(f"{second.url}/cache/purge", headers=BEARER) as response:
        assert response.status == 200
    await second.app.drain()
    third = await start(settings, **where)
    assert (await outcome(third.chat()))[0] == "miss"
    assert len(upstream.calls) == 2
