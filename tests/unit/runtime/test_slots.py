import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runtime.errors import ApiError
from agent_runtime.pipeline.slots import Slots


def make(capacity: int = 1, max_queued: int = 2, timeout_s: float = 5.0) -> Slots:
    return Slots(capacity, max_queued, timeout_s, asyncio.get_running_loop().time)


async def test_waiters_get_slots_in_order_of_arrival() -> None:
    slots = make()
    await slots.acquire()
    order: list[int] = []

    async def work(number: int) -> None:
        await slots.acquire()
        order.append(number)
        slots.release(0.1)

    tasks = []
    for number in range(2):
        tasks.append(asyncio.create_task(work(number)))
        await asyncio.sleep(0)
    slots.release(0.1)
    await asyncio.gather(*tasks)
    assert order == [0, 1]
    assert (slots.in_flight, slots.queued) == (0, 0)
    assert (slots.arrivals_total, slots.completed_total) == (3, 3)


async def test_a_full_queue_refuses_with_429_and_retry_after() -> None:
    slots = make(max_queued=0)
    await slots.acquire()
    with pytest.raises(ApiError) as error:
        await slots.acquire()
    assert (error.value.status, error.value.code) == (429, "queue_full")
    assert error.value.retry_after_s is not None
    assert slots.arrivals_total == 1


async def test_a_wait_that_takes_too_long_ends_with_503() -> None:
    slots = make(timeout_s=0.01)
    await slots.acquire()
    with pytest.raises(ApiError) as error:
        await slots.acquire()
    assert (error.value.status, error.value.code) == (503, "queue_timeout")
    assert slots.queued == 0


async def test_a_waiter_who_leaves_loses_no_slot() -> None:
    slots = make()
    await slots.acquire()
    waiter = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    slots.release(0.1)  # hands the slot to the waiter, who is cancelled before it runs
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert slots.in_flight == 0
    assert await slots.acquire() == 0.0


@given(st.lists(st.sampled_from(["acquire", "release", "cancel"]), max_size=40), st.integers(1, 3), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_slots_are_never_lost_nor_exceeded(steps: list[str], capacity: int, max_queued: int) -> None:
    async def play() -> None:
        slots = make(capacity, max_queued)
        tasks: list[asyncio.Task[float]] = []
        held = 0
        for step in steps:
            if step == "acquire":
                tasks.append(asyncio.create_task(slots.acquire()))
            elif step == "cancel" and tasks:
                tasks.pop().cancel()
            elif step == "release" and held:
                held -= 1
                slots.release(0.0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for task in [task for task in tasks if task.done()]:
                tasks.remove(task)
                held += task.exception() is None
            assert slots.in_flight <= capacity
            assert slots.queued <= max_queued
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert held <= slots.in_flight <= capacity

    asyncio.run(play())


async def test_a_waiter_who_leaves_in_the_moment_a_slot_comes_free_is_passed_over() -> None:
    slots = make()
    await slots.acquire()
    waiter = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    waiter.cancel()
    slots.release(0.1)
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert (slots.in_flight, slots.queued) == (0, 0)
