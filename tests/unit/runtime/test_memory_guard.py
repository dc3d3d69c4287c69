from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.cache.memory import MemoryTier
from agent_runtime.memory import (
    DEFAULT_LIMIT_BYTES,
    MemoryGuard,
    Pressure,
    decide_pressure,
    find_cgroup,
    make_guard,
    resident_bytes,
)
from tests.unit.runtime.builders import entry


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


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_version_2_of_cgroups(tmp_path: Path) -> None:
    write(tmp_path, memory__max="1000\n", memory__current="700\n", memory__stat="anon 1\ninactive_file 200\n")
    found = find_cgroup(tmp_path)
    assert found is not None and (found.limit_bytes(), found.used_bytes()) == (1000, 500)


def test_version_1_of_cgroups(tmp_path: Path) -> None:
    files = {"memory.limit_in_bytes": "1000", "memory.usage_in_bytes": "700", "memory.stat": "total_inactive_file 200"}
    write(tmp_path / "memory", **{name.replace(".", "__"): text for name, text in files.items()})
    found = find_cgroup(tmp_path)
    assert found is not None and (found.limit_bytes(), found.used_bytes()) == (1000, 500)


@pytest.mark.parametrize("limit", ["max", "9223372036854771712", "", "garbage"])
def test_no_limit_is_no_limit(tmp_path: Path, limit: str) -> None:
    write(tmp_path, memory__max=limit, memory__current="1")
    write(tmp_path / "memory", memory__limit_in_bytes=limit, memory__usage_in_bytes="1")
    assert find_cgroup(tmp_path) is None


def test_the_lowest_limit_counts(tmp_path: Path) -> None:
    write(tmp_path, memory__max="1000", memory__current="700")
    cgroup = find_cgroup(tmp_path)
    assert make_guard(None, None, cgroup).limit_bytes == 1000
    assert make_guard(800, None, cgroup).limit_bytes == 800
    assert make_guard(5000, None, cgroup).limit_bytes == 1000
    assert make_guard(None, None, None).limit_bytes == DEFAULT_LIMIT_BYTES


def test_the_process_knows_its_own_size() -> None:
    resident = resident_bytes()
    assert resident is not None and 10**7 < resident < 10**10


def test_cached_answers_go_first_and_not_in_every_second() -> None:
    tier = MemoryTier(100, 10**6)
    guard = MemoryGuard(100, lambda: 85, tier)
    for _ in range(5):
        tier.put("k", entry(), 1000.0)
        guard.check()
    assert guard.sheds_total == 1
    assert guard.pressure is Pressure.SHED
    for _ in range(6):
        guard.check()
    assert guard.sheds_total == 2
    assert tier.get("k", 1000.0) is None
    assert tier.entries == 0


def test_without_a_reading_nothing_changes() -> None:
    readings = iter([95, None, None])
    guard = MemoryGuard(100, lambda: next(readings), None)
    for _ in range(3):
        guard.check()
    assert (guard.pressure, guard.peak_bytes) == (Pressure.REFUSE, 95)
