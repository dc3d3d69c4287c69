"""Nearly the same answers in Redis, through the whole runtime."""

import orjson

from tests.redis.runtime_app.conftest import RedisServer, Start, settings_for, until
from tests.redis.runtime_app.test_cache_and_coalescing import outcome
from tests.redis.runtime_app.upstream import Upstream, answer, completion

TEXT = " ".join(f"sentence {number} says something of its own." for number in range(60))


async def test_another_agent_gets_each_answer_as_it_was_made(
    start: Start, upstream: Upstream, redis_server: RedisServer
) -> None:
    made = iter(range(10))

    async def like_the_last(call) -> None:
        number = next(made)
        await answer(call, 200, orjson.dumps(completion(TEXT + f" And this is answer {number}.", id=f"c-{number}")))

    upstream.script = like_the_last
    settings = settings_for(upstream.url, cache={"deduplicate": True})
    first = await start(settings, redis_url=redis_server.url, POD_UID="first")
    second = await start(settings_for(upstream.url), redis_url=redis_server.url, POD_UID="second")
    bodies = [(await outcome(first.chat(f"question {number}")))[1] for number in range(4)]
    await until(lambda: len(redis_server.command("KEYS", "*response*")) == 5)  # with the canonical one
    sizes = sorted(redis_server.command("STRLEN", key) for key in redis_server.command("KEYS", "*response*"))
    assert sizes[2] < sizes[3] - 200  # three hold what differs only
    for number, body in enumerate(bodies):
        assert await outcome(second.chat(f"question {number}")) == ("l2", body)
    assert await first.metric("agentpool_runtime_cache_deduplicated_answers") == 3
    assert await first.metric("agentpool_runtime_cache_deduplicated_bytes") > 600
    assert await first.metric("agentpool_runtime_cache_canonical_answers") == 1
