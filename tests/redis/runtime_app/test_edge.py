"""Stored answers at addresses of their own, as standard HTTP caches need them."""

from __future__ import annotations

import orjson
import pytest

from tests.redis.runtime_app.conftest import BEARER, KEY, RedisServer, Runtime, Start, settings_for, until
from tests.redis.runtime_app.test_cache_and_coalescing import outcome
from tests.redis.runtime_app.upstream import Upstream, completion


async def get(runtime: Runtime, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    sent = BEARER | {name.replace("_", "-"): value for name, value in headers.items()}
    async with runtime.session.get(runtime.root + path, headers=sent) as response:
        return response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read()


async def stored(runtime: Runtime, **fields) -> tuple[str, str]:
    async with runtime.chat(**fields) as response:
        await response.read()
        return response.headers["content-location"], response.headers["etag"]


async def test_a_stored_answer_is_read_again_and_not_sent_twice(start: Start, upstream: Upstream) -> None:
    runtime = await start(settings_for(upstream.url, cache={"edgeMaxAge": "1m"}))
    path, tag = await stored(runtime)
    assert await stored(runtime) == (path, tag)
    status, headers, body = await get(runtime, path)
    assert (status, headers["etag"], orjson.loads(body)) == (200, tag, completion())
    assert headers["cache-control"] == "private, max-age=60" and headers["vary"] == "authorization"
    for wish in (tag, f'"other", W/{tag}', "*"):
        status, headers, body = await get(runtime, path, If_None_Match=wish)
        assert (status, headers["etag"], headers["cache-control"], body) == (304, tag, "private, max-age=60", b"")
    assert (await get(runtime, path, If_None_Match='"other"'))[0] == 200
    assert len(upstream.calls) == 1


async def test_a_new_answer_has_another_tag(start: Start, upstream: Upstream) -> None:
    runtime = await start()
    path, tag = await stored(runtime)
    path_after, tag_after = await stored(runtime, headers={"Cache-Control": "no-cache"})
    assert path_after == path and tag_after != tag
    assert (await get(runtime, path, If_None_Match=tag))[0] == 200


async def test_embeddings_have_addresses_and_streams_are_read_whole(runtime: Runtime, upstream: Upstream) -> None:
    body = {"model": "embed", "input": "hi"}
    async with runtime.session.post(f"{runtime.url}/embeddings", json=body, headers=BEARER) as response:
        vectors, path = await response.json(), response.headers["content-location"]
    assert orjson.loads((await get(runtime, path))[2]) == vectors
    await outcome(runtime.chat("streamed", stream=True))
    path, _ = await stored(runtime, content="streamed")
    assert orjson.loads((await get(runtime, path))[2])["choices"][0]["message"]["content"] == "hello"


async def test_other_agents_know_the_address(start: Start, upstream: Upstream, redis_server: RedisServer) -> None:
    first, second = [await start(redis_url=redis_server.url, POD_UID=uid) for uid in ("first", "second")]
    path, tag = await stored(first)
    await until(lambda: bool(redis_server.command("KEYS", "*response*")))
    assert (await get(second, path, If_None_Match=tag))[0] == 304
    assert (await get(second, path))[1]["x-agentpool-cache"] == "l1"


async def test_no_other_key_opens_an_address(start: Start, upstream: Upstream, tmp_path) -> None:
    runtime = await start(settings_for(upstream.url, cache={"edge": "Public"}))
    (tmp_path / "local-key" / "other").write_text("sk-other")
    path, _ = await stored(runtime)
    status, headers, _ = await get(runtime, path)
    assert (status, headers["cache-control"]) == (200, "public, max-age=300")
    runtime.app.secrets.reload()
    assert (await get(runtime, path, Authorization="Bearer sk-other"))[0] == 404
    assert (await get(runtime, path, Authorization="Bearer wrong"))[0] == 401
    assert (await get(runtime, path[:-1] + ("0" if path[-1] != "0" else "1")))[0] == 404
    assert KEY not in path


async def test_a_purged_or_expired_answer_is_at_no_address(start: Start, upstream: Upstream) -> None:
    runtime = await start()
    path, _ = await stored(runtime)
    async with runtime.session.post(f"{runtime.url}/cache/purge", headers=BEARER) as response:
        assert response.status == 200
    status, _, body = await get(runtime, path)
    assert (status, orjson.loads(body)["error"]["code"]) == (404, "answer_not_stored")


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_not_stored_or_not_wanted_has_no_address(start: Start, upstream: Upstream, stream: bool) -> None:
    runtime = await start(settings_for(upstream.url, cache={"edge": "Off"}))
    other = await start()
    for request in (runtime.chat(stream=stream), runtime.chat(), other.chat(temperature=1), other.chat(stream=True)):
        async with request as response:
            assert "content-location" not in response.headers and response.headers["cache-control"] == "no-store"
            await response.read()


async def test_the_list_of_models_is_not_sent_twice(runtime: Runtime) -> None:
    status, headers, body = await get(runtime, "/v1/models")
    assert status == 200 and headers["cache-control"] == "private, max-age=60" and body
    assert (await get(runtime, "/v1/models", If_None_Match=headers["etag"]))[::2] == (304, b"")
    assert (await get(runtime, "/v1/models/chat", If_None_Match=headers["etag"]))[0] == 200
