import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpool_operator.errors import ClusterUnavailableError
from agentpool_operator.work_queue import LONGEST_RETRY_S, WorkQueue, retry_delay_s


@contextlib.asynccontextmanager
async def running(queue, workers=2):
    tasks = [asyncio.create_task(queue.run_worker()) for _ in range(workers)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for is not ours to signal
            await asyncio.sleep(0.001)


async def test_a_key_asked_for_often_gets_one_pass():
    passes = []

    async def work(key):
        passes.append(key)

    queue = WorkQueue(work, lambda: 0.0)
    for _ in range(10):
        queue.add("a")
    async with running(queue):
        await until(lambda: passes)
        await asyncio.sleep(0.01)
    assert passes == ["a"]


async def test_a_key_is_never_worked_on_twice_at_once_and_is_not_lost():
    under_way, most, passes = 0, 0, 0
    go_on = asyncio.Event()

    async def work(key):
        nonlocal under_way, most, passes
        under_way += 1
        most = max(most, under_way)
        await go_on.wait()
        under_way -= 1
        passes += 1

    queue = WorkQueue(work, lambda: 0.0)
    queue.add("a")
    async with running(queue, workers=4):
        await until(lambda: under_way == 1)
        queue.add("a")
        queue.add("a")
        await asyncio.sleep(0.01)
        go_on.set()
        await until(lambda: passes == 2)
        await asyncio.sleep(0.01)
    assert (most, passes) == (1, 2)


async def test_a_failing_key_comes_back_and_does_not_hold_up_others():
    tried = {"bad": 0, "good": 0}

    async def work(key):
        tried[key] += 1
        if key == "bad":
            raise ClusterUnavailableError("no answer")

    queue = WorkQueue(work, lambda: 0.0)
    queue.add("bad")
    queue.add("good")
    async with running(queue, workers=1):
        await until(lambda: tried["good"] == 1)
        await until(lambda: tried["bad"] >= 2)


async def test_what_failed_is_not_tried_again_by_routine_but_by_news(monkeypatch):
    monkeypatch.setattr("agentpool_operator.work_queue.FIRST_RETRY_S", 60.0)
    tried = 0

    async def work(key):
        nonlocal tried
        tried += 1
        raise ClusterUnavailableError("no answer")

    queue = WorkQueue(work, lambda: 0.999)
    queue.add("a")
    async with running(queue):
        await until(lambda: tried == 1)
        queue.add_routinely("a")
        await asyncio.sleep(0.01)
        assert tried == 1
        queue.add("a")
        await until(lambda: tried == 2)


async def test_the_earlier_of_two_wishes_holds():
    passes = []

    async def work(key):
        passes.append(asyncio.get_running_loop().time())

    queue = WorkQueue(work, lambda: 0.0)
    start = asyncio.get_running_loop().time()
    queue.add_after("a", 0.01)
    queue.add_after("a", 30.0)
    async with running(queue):
        await until(lambda: passes)
    assert passes[0] - start < 25


async def test_work_may_ask_for_its_own_return():
    passes = []

    async def work(key):
        passes.append(key)
        return 0.001 if len(passes) < 3 else None

    queue = WorkQueue(work, lambda: 0.0)
    queue.add("a")
    async with running(queue):
        await until(lambda: len(passes) == 3)


@pytest.mark.parametrize(
    ("failures", "least", "most"), [(1, 0.25, 0.5), (2, 0.5, 1.0), (4, 2.0, 4.0), (50, 30.0, 60.0)]
)
def test_retries_come_later_and_later(failures, least, most):
    assert retry_delay_s(failures, 0.0) == least
    assert retry_delay_s(failures, 0.999999) == pytest.approx(most, rel=1e-3)


@given(st.integers(min_value=0, max_value=10**6), st.floats(min_value=0, max_value=1, exclude_max=True))
def test_a_retry_always_comes_within_the_longest_delay(failures, chance):
    assert 0 < retry_delay_s(failures, chance) <= LONGEST_RETRY_S


async def test_news_goes_before_a_round_of_routine():
    passes = []

    async def work(key):
        passes.append(key)

    queue = WorkQueue(work, lambda: 0.0)
    for number in range(100):
        queue.add_routinely(f"quiet-{number}")
    queue.add("new")
    queue.add("quiet-50")
    assert len(queue) == 101
    async with running(queue, workers=1):
        await until(lambda: len(passes) == 101)
    assert passes[:2] == ["new", "quiet-50"]
    assert len(set(passes)) == 101


async def test_a_round_of_passes_that_wait_for_nothing_lets_others_in_between():
    seen = []

    async def work(key):
        seen.append(key)

    async def other():
        for _ in range(5):
            seen.append("other")
            await asyncio.sleep(0)

    queue = WorkQueue(work, lambda: 0.0)
    for number in range(50):
        queue.add_routinely(number)
    async with running(queue, workers=1):
        await asyncio.gather(other(), until(lambda: len(seen) == 55))
    assert seen.index("other", seen.index("other") + 4) < 20


async def test_even_news_waits_for_a_pause_that_was_asked_for():
    tried_s = []

    async def work(key):
        tried_s.append(asyncio.get_running_loop().time())
        if len(tried_s) == 1:
            raise ClusterUnavailableError("too many requests", retry_after_s=0.6)

    queue = WorkQueue(work, lambda: 0.0)
    queue.add("a")
    async with running(queue):
        await until(lambda: tried_s)
        await asyncio.sleep(0.01)
        queue.add("a")
        await until(lambda: len(tried_s) == 2)
        queue.add("a")
        await until(lambda: len(tried_s) == 3)
    assert tried_s[1] - tried_s[0] >= 0.59
    assert not queue._not_before_s, "the pause is over"
