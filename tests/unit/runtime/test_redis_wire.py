import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.redis.wire import RedisUnavailable, UnknownScript, Wire, parse_url


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.aborted = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.sent += data

    def abort(self) -> None:
        self.aborted = True


def make(patience_s: float = 5.0) -> tuple[Wire, Transport]:
    wire, transport = Wire(patience_s), Transport()
    wire.connection_made(transport)
    return wire, transport


async def test_answers_come_in_the_order_of_the_calls_however_they_are_cut() -> None:
    wire, transport = make()
    calls = [wire.call("GET", "a"), wire.call("GET", "b"), wire.call("INCR", "c")]
    for byte in b"$1\r\nx\r\n$-1\r\n:3\r\n":
        wire.data_received(bytes([byte]))
    assert await asyncio.gather(*calls) == [b"x", None, 3]
    assert transport.sent.count(b"*") == 3


async def test_an_answer_nobody_waits_for_any_more_is_dropped() -> None:
    wire, _ = make()
    left, stayed = wire.call("GET", "a"), wire.call("GET", "b")
    left.cancel()
    wire.data_received(b"$1\r\nx\r\n$1\r\ny\r\n")
    assert await stayed == b"y"


async def test_errors_of_redis_fail_only_their_call() -> None:
    wire, _ = make()
    calls = [wire.call("EVALSHA", "x", 0), wire.call("SET", "k", "v"), wire.call("GET", "a")]
    wire.data_received(b"-NOSCRIPT no\r\n-OOM full\r\n$1\r\nx\r\n")
    with pytest.raises(UnknownScript):
        await calls[0]
    with pytest.raises(RedisUnavailable, match="OOM"):
        await calls[1]
    assert await calls[2] == b"x"


@pytest.mark.parametrize("data", [b"HTTP/1.1 400\r\n\r\n", b"\x00\x00"])
async def test_a_server_that_is_not_redis_breaks_the_connection(data: bytes) -> None:
    wire, transport = make()
    call = wire.call("PING")
    wire.data_received(data)
    with pytest.raises(RedisUnavailable):
        await call
    assert transport.aborted


async def test_silence_fails_every_call_that_waits_and_all_later_ones() -> None:
    wire, transport = make(patience_s=0.02)
    calls = [wire.call("GET", "a"), wire.call("GET", "b")]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [RedisUnavailable] * 2
    assert transport.aborted
    with pytest.raises(RedisUnavailable):
        await wire.call("GET", "c")


async def test_a_lost_connection_fails_its_calls() -> None:
    wire, _ = make()
    call = wire.call("GET", "a")
    wire.connection_lost(None)
    with pytest.raises(RedisUnavailable):
        await call


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", ("h", 6379, None, None, 0)),
        ("redis://h:1/2", ("h", 1, None, None, 2)),
        ("redis://:p%40ss@h/0", ("h", 6379, None, "p@ss", 0)),
        ("redis://me:pw@h?db=3", ("h", 6379, "me", "pw", 3)),
        ("redis://[::1]:7", ("::1", 7, None, None, 0)),
    ],
)
def test_addresses(url: str, expected: tuple) -> None:
    address = parse_url(url)
    assert (address.host, address.port, address.username, address.password, address.database) == expected


def test_tls_checks_the_certificate() -> None:
    address = parse_url("rediss://h")
    assert address.tls is not None and address.tls.check_hostname
    assert parse_url("unix:///run/redis.sock").path == "/run/redis.sock"


@pytest.mark.parametrize("url", ["http://h", "redis://h/x", "redis://h:x", "rediss://h?ssl_ca_certs=/nowhere"])
def test_a_bad_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_url(url)


@given(st.text(max_size=40))
def test_no_address_raises_anything_else(url: str) -> None:
    with contextlib.suppress(ValueError):
        parse_url("redis://" + url)
