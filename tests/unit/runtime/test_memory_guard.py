import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.pod.cgroup import find_cgroup
from agent_runtime.pod.memory import DEFAULT_LIMIT_BYTES, MemoryGuard, Pressure, Shed, decide_pressure, make_guard


@pytest.mark.parametrize(
    ("used", "before", "after"),
    [
        (79, Pressure.NONE, Pressure.NONE),
        (80, Pressure.NONE, Pressure.SHED),
        (91, Pressure.SHED, Pressure.SHED),
        (92, Pressure.SHED, Pressure.REFUSE),
        (90, Pressure.REFUSE, Pressure.REFUSE),
        (86, Pressure.REFUSE, Pressure.SHED),
        (10, Pressure.REFUSE, Pressure.NONE),
        (150, Pressure.NONE, Pressure.REFUSE),
    ],
)
def test_pressure_by_use(used: int, before: Pressure, after: Pressure) -> None:
    assert decide_pressure(used, 100, before) is after


@given(st.integers(0, 200), st.integers(0, 200), st.sampled_from(list(Pressure)))
def test_more_use_never_means_less_pressure(one: int, other: int, before: Pressure) -> None:
    order = list(Pressure)
    low, high = sorted((one, other))
    assert order.index(decide_pressure(low, 100, before)) <= order.index(decide_pressure(high, 100, before))


def test_the_lowest_limit_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000")
    (tmp_path / "memory.current").write_text("700")
    cgroup = find_cgroup(tmp_path, tmp_path / "none")
    assert make_guard(None, (), cgroup).limit_bytes == 1000
    assert make_guard(800, (), cgroup).limit_bytes == 800
    assert make_guard(5000, (), cgroup).limit_bytes == 1000
    assert make_guard(None, (), None).limit_bytes == DEFAULT_LIMIT_BYTES


def guard_over(readings: Iterable[int | None], let_go: list[str]) -> MemoryGuard:
    read = iter(readings)
    sheds = [Shed(name, lambda name=name: let_go.append(name)) for name in ("l1", "embeddings")]
    return MemoryGuard(100, lambda: next(read), sheds)


def test_one_thing_goes_at_a_look_in_the_stated_order_until_there_is_room() -> None:
    let_go: list[str] = []
    guard = guard_over([85, 84, 83, 79], let_go)
    for now_s in range(4):
        guard.check(float(now_s))
    assert let_go == ["l1", "embeddings"]
    assert guard.sheds_total == {"garbage": 1, "l1": 1, "embeddings": 1}
    assert guard.pressure is Pressure.NONE


def test_nothing_goes_twice_within_its_rest() -> None:
    let_go: list[str] = []
    guard = guard_over([85] * 100 + [95] * 2, let_go)
    for tenth in range(99):
        guard.check(1000 + tenth / 10)
    assert guard.sheds_total == {"garbage": 1, "l1": 1, "embeddings": 1}
    guard.check(1010.0)
    assert guard.sheds_total["garbage"] == 2
    guard.check(1011.0)
    guard.check(1012.0)
    assert guard.sheds_total == {"garbage": 3, "l1": 2, "embeddings": 1}, "sooner while requests are refused"


def test_what_garbage_frees_spares_the_caches() -> None:
    let_go: list[str] = []
    guard = guard_over([85, 70, 70], let_go)
    for now_s in range(3):
        guard.check(float(now_s))
    assert let_go == []


def test_large_requests_between_two_looks_cannot_pass_the_limit() -> None:
    guard = MemoryGuard(1000, lambda: 500)
    guard.check(0.0)
    assert [guard.admits(50) for _ in range(3)] == [True, False, False]
    assert guard.admits(0)
    assert guard.refused_total == 2
    guard.check(1.0)
    assert not guard.admits(50), "the first is still on its way: the reading does not know of it"
    guard.arrived(50)
    assert not guard.admits(50), "it is there, and nobody has looked since"
    guard.check(2.0)
    assert guard.admits(50)


def test_answers_kept_between_two_looks_cannot_fill_what_requests_need() -> None:
    guard = MemoryGuard(1000, lambda: 600)
    guard.check(0.0)
    assert [guard.keeps(50) for _ in range(3)] == [True, False, False]
    assert guard.keeps(49)
    assert not guard.admits(50), "what was kept is in use, though nobody has looked yet"
    guard.check(1.0)
    assert guard.keeps(50)


def test_where_memory_cannot_be_read_nothing_adds_up() -> None:
    guard = MemoryGuard(1000, lambda: None)
    for now_s in range(10):
        guard.check(float(now_s))
        assert guard.admits(100)
        guard.arrived(100)
        assert guard.keeps(150)


def test_without_a_reading_nothing_changes() -> None:
    guard = guard_over([95, None, None], [])
    for now_s in range(3):
        guard.check(float(now_s))
    assert (guard.pressure, guard.peak_bytes) == (Pressure.REFUSE, 95)


async def test_the_watch_looks_more_often_when_less_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr("agent_runtime.pod.memory.asyncio.sleep", note)
    with pytest.raises(asyncio.CancelledError):
        await guard_over([10, 70, 10], []).watch_forever(lambda: 0.0)
    assert waits == [1.0, 0.1, 1.0]
