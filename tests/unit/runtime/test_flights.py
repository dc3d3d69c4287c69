import asyncio

import pytest

from agent_runtime.cache.flights import MAX_KEPT_BYTES, Caller, Flight
from agent_runtime.errors import ApiError
from tests.unit.runtime.builders import entry


async def collect(flight: Flight) -> bytes:
    return b"".join([frames async for frames, _ in flight.stream()])


async def test_a_follower_gets_the_stream_from_its_beginning() -> None:
    flight = Flight()
    flight.push(b"a", b"")
    late = asyncio.create_task(collect(flight))
    await asyncio.sleep(0)
    flight.push(b"b", b"")
    flight.finish(None)
    assert await late == b"ab"
    assert await collect(flight) == b"ab"


async def test_followers_get_the_error_of_the_call_each_their_own() -> None:
    flight = Flight()
    waits = [asyncio.create_task(flight.follow()) for _ in range(2)]
    await asyncio.sleep(0)
    error = ApiError(502, "x", "broken")
    flight.fail(error)
    results = await asyncio.gather(*waits, return_exceptions=True)
    assert [str(result) for result in results] == ["broken", "broken"]
    assert results[0] is not results[1] is not error


async def led(flight: Flight, caller: Caller) -> asyncio.Task[None]:
    task = asyncio.create_task(asyncio.sleep(60))
    caller.on_leave = task.cancel
    flight.led_by(caller)
    await asyncio.sleep(0)
    return task


async def test_the_call_ends_when_its_only_caller_leaves() -> None:
    flight, caller = Flight(), Caller()
    task = await led(flight, caller)
    caller.leave()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not flight.open


async def test_the_call_goes_on_for_followers_and_ends_with_the_last_of_them() -> None:
    flight, caller = Flight(), Caller()
    task = await led(flight, caller)
    followers = [asyncio.create_task(flight.follow()) for _ in range(2)]
    await asyncio.sleep(0)
    caller.leave()
    followers[0].cancel()
    await asyncio.sleep(0.01)
    assert not task.cancelled() and not task.done()
    followers[1].cancel()
    await asyncio.sleep(0.01)
    assert task.cancelled()


async def test_a_finished_call_is_not_cancelled_by_those_who_leave() -> None:
    flight, caller = Flight(), Caller()
    task = await led(flight, caller)
    flight.finish(entry())
    caller.leave()
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()


async def test_an_answer_too_large_to_keep_takes_no_more_followers_and_no_memory() -> None:
    flight = Flight()
    flight.push(b"x" * MAX_KEPT_BYTES, b"")
    flight.push(b"y", b"")
    assert (flight.open, flight.keeps_all, flight.frames) == (False, False, [])


async def test_a_stream_that_fails_before_its_first_frame_raises_at_once() -> None:
    flight = Flight()
    wait = asyncio.create_task(collect(flight))
    await asyncio.sleep(0)
    flight.fail(ApiError(502, "x", "broken"))
    with pytest.raises(ApiError):
        await wait
