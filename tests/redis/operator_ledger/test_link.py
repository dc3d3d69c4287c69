"""A Redis that is away, frozen or broken never costs more than a moment."""

from __future__ import annotations

import asyncio
import time

import pytest

from agentpool_operator import redis_link
from agentpool_operator.errors import RedisUnavailableError
from agentpool_operator.redis_link import RedisLink
from agentpool_operator.settings import RedisAccess
from tests.redis.operator_ledger.conftest import Server

CONNECT_S, ANSWER_S = redis_link.CONNECT_S, redis_link.ANSWER_S


class Clock:
    """Monotonic seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


UNASKED = "did not answer a moment ago"


async def refused(link: RedisLink, why: str | None = None) -> None:
    with pytest.raises(RedisUnavailableError, match=why):
        await link.run([("PING",)])


async def test_a_frozen_redis_costs_a_bounded_time_once_and_then_nothing(
    server: Server, link: RedisLink, monkeypatch: pytest.MonkeyPatch
):
    await link.run([("PING",)])
    server.freeze()
    try:
        monkeypatch.setattr(redis_link, "ANSWER_S", ANSWER_S)
        monkeypatch.setattr(redis_link, "CONNECT_S", CONNECT_S)
        began = time.monotonic()
        await refused(link, "does not answer")
        assert time.monotonic() - began < 20  # one second, and what a busy machine adds
        await refused(link, UNASKED)
    finally:
        server.thaw()


async def test_a_process_that_was_busy_for_longer_than_redis_may_take_reads_the_answer(
    link: RedisLink, monkeypatch: pytest.MonkeyPatch
):
    await link.run([("PING",)])
    monkeypatch.setattr(redis_link, "CONNECT_S", 1.0)
    monkeypatch.setattr(redis_link, "ANSWER_S", 1.0)
    asyncio.get_running_loop().call_later(0.001, time.sleep, 3.0)
    assert await link.run([("BLPOP", "nothing", 0.1), ("PING",)]) == [None, True]


async def test_redis_is_found_again_when_the_circuit_closes(server: Server, monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    link = RedisLink(server.access, clock)
    try:
        server.freeze()
        with monkeypatch.context() as production:
            production.setattr(redis_link, "ANSWER_S", ANSWER_S)
            production.setattr(redis_link, "CONNECT_S", CONNECT_S)
            await refused(link, "does not answer")
        server.thaw()
        await refused(link, UNASKED)
        clock.now_s += 1.1
        assert await link.run([("PING",)]) == [True]
    finally:
        server.thaw()
        await link.close()


async def test_the_circuit_stays_open_longer_and_longer_up_to_five_seconds():
    clock = Clock()
    link = RedisLink(RedisAccess(url="redis://127.0.0.1:1/0"), clock)
    opened = []
    for _ in range(5):
        await refused(link)
        opened.append(link._open_until_s - clock.now_s)
        clock.now_s = link._open_until_s
    assert opened == [1.0, 2.0, 4.0, 5.0, 5.0]
    await link.close()


async def test_a_key_of_another_type_spoils_its_own_answer_only(link: RedisLink):
    answers = await link.run([("SET", "s", "text"), ("HGETALL", "s"), ("GET", "s")])
    assert answers == [True, None, b"text"]


async def test_a_redis_that_wants_another_password_says_so(server: Server, link: RedisLink):
    await link.run([("CONFIG", "SET", "requirepass", "secret")])
    try:
        stranger = RedisLink(server.access, time.monotonic)
        with pytest.raises(RedisUnavailableError, match="Authentication required"):
            await stranger.run([("PING",)])
        await stranger.close()
    finally:
        await link.run([("CONFIG", "SET", "requirepass", "")])


async def test_the_password_is_in_no_error(server: Server):
    link = RedisLink(RedisAccess(url="redis://:topsecret@127.0.0.1:1/0"), time.monotonic)
    with pytest.raises(RedisUnavailableError) as refused:
        await link.run([("PING",)])
    assert "topsecret" not in str(refused.value)
    await link.close()


async def test_nothing_to_ask_needs_no_redis():
    link = RedisLink(RedisAccess(url="redis://127.0.0.1:1/0"), time.monotonic)
    assert await link.run([]) == []
    await link.close()
