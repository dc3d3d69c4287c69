"""Requests that go together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.pipeline.windows import Windows
from agent_runtime.routing.batch_lines import Line, make_batch, read_batch


class Sender:
    """Doubles numbers, and notes what came together."""

    def __init__(self, *, hold: bool = False) -> None:
        self.batches: list[tuple[str, list[int]]] = []
        self.go_on = asyncio.Event()
        self.ended = False
        if not hold:
            self.go_on.set()

    async def __call__(self, group: str, items: Sequence[int]) -> list[int]:
        self.batches.append((group, list(items)))
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.ended = True
            raise
        if 13 in items:
            raise ValueError("unlucky")
        return [item * 2 for item in items]


async def test_a_full_window_goes_at_once_and_everybody_gets_its_own_result() -> None:
    sender = Sender()
    windows = Windows(sender, size=5, window_s=60)
    results = await asyncio.gather(*(windows.join("m", at) for at in range(10)))
    assert results == [at * 2 for at in range(10)]
    assert sender.batches == [("m", [0, 1, 2, 3, 4]), ("m", [5, 6, 7, 8, 9])]


async def test_a_window_goes_when_its_time_is_over() -> None:
    sender = Sender()
    windows = Windows(sender, size=5, window_s=0.02)
    assert await asyncio.gather(windows.join("m", 1), windows.join("m", 2)) == [2, 4]
    assert await windows.join("m", 3) == 6
    assert sender.batches == [("m", [1, 2]), ("m", [3])]


async def test_groups_do_not_mix() -> None:
    sender = Sender()
    windows = Windows(sender, size=2, window_s=60)
    await asyncio.gather(*(windows.join(group, at) for at, group in enumerate("abab")))
    assert sorted(sender.batches) == [("a", [0, 2]), ("b", [1, 3])]


async def test_what_fails_as_a_whole_fails_for_all() -> None:
    windows = Windows(Sender(), size=2, window_s=60)
    failures = await asyncio.gather(windows.join("m", 13), windows.join("m", 1), return_exceptions=True)
    assert [str(failure) for failure in failures] == ["unlucky", "unlucky"]


async def test_who_leaves_before_the_window_closes_is_left_out() -> None:
    sender = Sender()
    windows = Windows(sender, size=5, window_s=0.05)
    leaving = asyncio.create_task(windows.join("m", 1))
    staying = asyncio.create_task(windows.join("m", 2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 4
    assert sender.batches == [("m", [2])]


async def test_a_batch_that_everybody_left_ends() -> None:
    sender = Sender(hold=True)
    windows = Windows(sender, size=2, window_s=60)
    tasks = [asyncio.create_task(windows.join("m", at)) for at in range(2)]
    await asyncio.sleep(0.01)
    tasks[0].cancel()
    await asyncio.sleep(0.01)
    assert not sender.ended
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.01)
    assert sender.ended


async def test_a_window_that_everybody_left_sends_nothing() -> None:
    sender = Sender()
    windows = Windows(sender, size=5, window_s=0.01)
    task = asyncio.create_task(windows.join("m", 1))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0.03)
    assert not sender.batches


def test_answers_are_told_apart_by_their_id_not_by_their_place() -> None:
    sent = make_batch([b'{"a":1}', b'{"b":2}'])
    assert sent == (
        b'{"requests":[{"custom_id":"0","url":"/v1/chat/completions","body":{"a":1}},'
        b'{"custom_id":"1","url":"/v1/chat/completions","body":{"b":2}}]}'
    )
    answer = (
        b'{"data":[{"custom_id":"1","response":{"status_code":400,"body":{"error":{}}},"error":null},'
        b'{"custom_id":"0","response":{"status_code":200,"body":{"x": 1.50}}}]}'
    )
    assert read_batch(answer, 2) == [Line(200, b'{"x": 1.50}'), Line(400, b'{"error":{}}')]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b'{"data":null}',
        b'{"data":[{"custom_id":"7","response":{"status_code":200,"body":{}}}]}',
        b'{"data":[{"custom_id":"0","response":null,"error":{"code":"x"}}]}',
        b'{"data":[{"custom_id":"0","response":{"status_code":"ok","body":{}}}]}',
    ],
)
def test_an_answer_that_is_missing_or_unreadable_is_none(answer: bytes) -> None:
    assert read_batch(answer, 1) == [None]


@given(st.binary(max_size=200))
def test_no_answer_breaks_the_reader(answer: bytes) -> None:
    assert len(read_batch(answer, 3)) == 3
