"""Requests that are refused: each with an OpenAI error object that says what to change."""

import asyncio

import orjson
import pytest

from tests.redis.runtime_app.conftest import BEARER, KEY, Runtime, Start, settings_for, until
from tests.redis.runtime_app.upstream import Upstream

CHAT = "/v1/chat/completions"
GOOD = orjson.dumps({"model": "chat", "messages": [{"role": "user", "content": "hi"}]})


async def raw(runtime: Runtime, request: bytes, *, then_close: bool = False) -> tuple[int, bytes]:
    """Bytes over a plain connection: status and body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", runtime.app.server.port)
    try:
        writer.write(request)
        await writer.drain()
        if then_close:
            writer.write_eof()
        async with asyncio.timeout(60):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
            )
            return int(head.split()[1]), await reader.readexactly(length)
    finally:
        writer.close()


@pytest.mark.parametrize("header", [None, "Bearer sk-wrong", "Bearer", f"Basic {KEY}", KEY])
async def test_a_wrong_key_is_a_401(runtime: Runtime, upstream: Upstream, header: str | None) -> None:
    headers = {"Authorization": header} if header else {}
    async with runtime.session.post(runtime.root + CHAT, data=GOOD, headers=headers) as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"], error["type"]) == (401, "invalid_api_key", "authentication_error")
        assert "local-key" in error["message"] and "sk-" not in error["message"]
    assert not upstream.calls


async def test_an_unknown_model_is_a_404_that_names_the_known_ones(runtime: Runtime) -> None:
    async with runtime.chat(model="gpt-99") as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"], error["param"]) == (404, "model_not_found", "model")
        assert "chat" in error["message"]


async def test_a_model_of_another_kind_is_not_found_either(runtime: Runtime) -> None:
    async with runtime.chat(model="embed") as response:
        assert response.status == 404


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model":1}', b"\x00" * 100, b'"' * 1000])
async def test_a_bad_body_is_a_400(runtime: Runtime, body: bytes) -> None:
    async with runtime.session.post(runtime.root + CHAT, data=body, headers=BEARER) as response:
        assert response.status == 400
        assert (await response.json())["error"]["message"]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_huge_body_is_a_413(start: Start, upstream: Upstream, chunked: bool) -> None:
    runtime = await start(settings_for(upstream.url, limits={"maxBodySize": "100k"}))
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n".encode()
    if chunked:
        request = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        request += b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    else:
        request = head + b"Content-Length: 99999999999\r\n\r\nxxx"
    status, body = await raw(runtime, request)
    assert (status, orjson.loads(body)["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", CHAT, 405),
        ("POST", "/metrics", 405),
        ("GET", "/", 404),
        ("POST", "/v1/nonsense", 404),
        ("DELETE", "/v1/models/chat", 405),
        ("GET", "/v1/../metrics/x", 404),
        ("OPTIONS", CHAT, 405),
    ],
)
async def test_unknown_paths_and_methods(runtime: Runtime, method: str, path: str, status: int) -> None:
    async with runtime.session.request(method, runtime.root + path, headers=BEARER) as response:
        assert response.status == status
        assert (await response.json())["error"]["code"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_malformed_http_is_a_400_error_object(runtime: Runtime, request_bytes: bytes) -> None:
    status, body = await raw(runtime, request_bytes)
    assert (status, orjson.loads(body)["error"]["code"]) == (400, "invalid_http")


async def test_endless_headers_are_a_431(runtime: Runtime) -> None:
    request = b"GET /healthz HTTP/1.1\r\n" + b"X-A: " + b"a" * 100_000
    status, body = await raw(runtime, request)
    assert (status, orjson.loads(body)["error"]["code"]) == (431, "headers_too_large")


async def test_slow_headers_are_a_408(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_runtime.http.protocol.HEADER_TIMEOUT_S", 0.1)
    runtime = await start()
    for beginning in (b"", b"GET /healthz HTTP/1.1\r\n"):
        status, body = await raw(runtime, beginning)
        assert (status, orjson.loads(body)["error"]["code"]) == (408, "request_timeout")


async def test_a_caller_who_leaves_while_sending_leaves_nothing_behind(runtime: Runtime) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", runtime.app.server.port)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 1000\r\n\r\n"
    writer.write(head.encode() + b"{")
    await writer.drain()
    await until(lambda: runtime.app.service.active == 1)
    writer.transport.abort()
    await until(lambda: runtime.app.service.active == 0)


async def test_pipelined_requests_are_answered_in_order(runtime: Runtime) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", runtime.app.server.port)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(GOOD)}\r\n\r\n"
    writer.write((head.encode() + GOOD) * 2 + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(60):
        data = await reader.read(-1)
    assert data.count(b"HTTP/1.1 200 OK") == 3
    assert data.endswith(b"ok\n")
    writer.close()


async def test_expect_continue_is_honoured(runtime: Runtime) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", runtime.app.server.port)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nExpect: 100-continue\r\n"
    writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(GOOD))
    async with asyncio.timeout(60):
        assert (await reader.readline()).startswith(b"HTTP/1.1 100")
        await reader.readline()
        writer.write(GOOD)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
