"""Bodies that are made to be read in two ways, or too deeply to be read at all."""

import json

import orjson
import pytest

from tests.redis.runtime_app.conftest import BEARER, Runtime, Start
from tests.redis.runtime_app.upstream import Upstream

DEEP = b"[" * 900 + b"]" * 900
HI = b'"messages":[{"role":"user","content":"hi"}]'


async def post(runtime: Runtime, path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    async with runtime.session.post(f"{runtime.url}/{path}", data=body, headers=BEARER | headers) as response:
        return response.status, await response.read()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", b'{"model":"chat",%s,"x":%s}' % (HI, DEEP)),
        ("chat/completions", b'{"model":"chat","stream":true,%s,"x":%s}' % (HI, DEEP)),
        ("responses", b'{"model":"chat","input":"hi","x":%s}' % DEEP),
        ("embeddings", b'{"model":"embed","input":["hi"],"x":%s}' % DEEP),
        ("batch", b'{"requests":[{"body":{"model":"chat",%s,"x":%s}}]}' % (HI, DEEP)),
        ("cache/purge", b'{"model":%s}' % DEEP),
    ],
)
async def test_a_body_nested_too_deeply_is_refused_in_words(
    runtime: Runtime, upstream: Upstream, path: str, body: bytes
) -> None:
    status, told = await post(runtime, path, body, **{"Cache-Control": "no-store"})
    assert (status, orjson.loads(told)["error"]["code"]) == (400, "invalid_json")
    assert b"levels are enough" in told
    assert not upstream.calls and not runtime.app.state.unexpected_errors


async def test_many_brackets_are_not_deep(runtime: Runtime) -> None:
    body = orjson.dumps({"model": "chat", "messages": [{"role": "user", "content": "hi"}] * 500})
    assert (await post(runtime, "chat/completions", body))[0] == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", b'{"model":"dear","model":"chat","user":"a","us\\u0065r":"b",%s}' % HI),
        ("chat/completions", b'{"model":"dear","stream":false,"model":"chat","stream":true,%s}' % HI),
        ("responses", b'{"previous_response_id":"resp_x","model":"chat","input":"hi","previous_response_id":null}'),
        ("responses", b'{"model":"chat","input":[{"type":"item_reference","id":"x","type":"message"}]}'),
    ],
)
async def test_a_name_given_twice_means_to_the_endpoint_what_it_meant_here(
    start: Start, upstream: Upstream, path: str, body: bytes
) -> None:
    """Also where the endpoint knows the model by the same name, so that nothing has to be changed."""
    place = {"endpoint": upstream.url, "apiKeyEnv": "UP_KEY"}
    runtime = await start({"models": [{"name": "chat"} | place, {"name": "dear"} | place]})
    assert (await post(runtime, path, body))[0] == 200
    sent = upstream.calls[0].body
    names: list[str] = []

    def note(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len(dict(pairs)) == len(pairs)
        names.extend(name for name, _ in pairs)
        return dict(pairs)

    read = json.loads(sent, object_pairs_hook=note)
    assert "model" in names and read["model"] == "chat"
    assert {name: read.get(name) for name in orjson.loads(body)} == orjson.loads(body)
