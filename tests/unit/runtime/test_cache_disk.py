import sqlite3
from pathlib import Path

import pytest

from agent_runtime.cache.disk import FILE, DiskTier
from agent_runtime.cache.responses import ResponseCache
from tests.unit.runtime.builders import entry, policies
from tests.unit.runtime.test_cache_memory import NOW, MemoryTier, ask


class Clock:
    now_s = NOW

    def __call__(self) -> float:
        return self.now_s


def make(folder: Path, max_bytes: int = 10**6, clock: Clock | None = None) -> DiskTier:
    return DiskTier(folder, max_bytes, 0.0, clock or Clock())


async def test_answers_outlive_the_process(tmp_path: Path) -> None:
    first = make(tmp_path)
    first.put("k", entry(b"kept"))
    await first.aclose()
    second = make(tmp_path)
    found = await second.get("k")
    assert found == entry(b"kept")
    assert second.bytes > 0
    await second.aclose()


async def test_an_answer_can_be_read_before_it_is_written(tmp_path: Path) -> None:
    tier = make(tmp_path)
    tier.put("k", entry())
    assert await tier.get("k") == entry()
    await tier.aclose()


async def test_the_file_keeps_its_size_and_drops_what_was_not_used(tmp_path: Path) -> None:
    clock = Clock()
    tier = make(tmp_path, max_bytes=20_000, clock=clock)
    for number in range(100):
        clock.now_s += 1
        tier.put(str(number), entry(bytes(range(256)) * 3, expires_s=NOW + 10**6))
        await tier.get("0")
        await tier.flush()
        assert tier.bytes <= 20_000
    assert await tier.get("0") is not None
    assert await tier.get("1") is None
    assert await tier.get("99") is not None
    await tier.aclose()


async def test_expired_answers_leave_the_file(tmp_path: Path) -> None:
    clock = Clock()
    tier = make(tmp_path, clock=clock)
    tier.put("old", entry(expires_s=NOW + 10))
    await tier.flush()
    clock.now_s += 11
    tier.put("new", entry(expires_s=NOW + 100))
    await tier.flush()
    assert (await tier.get("old"), await tier.get("new") is not None) == (None, True)
    await tier.aclose()


@pytest.mark.parametrize("content", [b"this is no database at all, but it is long enough to look like one" * 100, b""])
async def test_a_damaged_file_is_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    tier = make(tmp_path)
    assert await tier.get("k") is None
    tier.put("k", entry())
    await tier.flush()
    assert await tier.get("k") == entry()
    assert tier.rebuilt_total == bool(content)
    await tier.aclose()


async def test_a_page_damaged_later_is_noticed(tmp_path: Path) -> None:
    tier = make(tmp_path)
    for number in range(200):
        tier.put(str(number), entry(bytes(1000)))
    await tier.aclose()
    data = bytearray((tmp_path / FILE).read_bytes())
    data[4096 : len(data)] = b"\x5a" * (len(data) - 4096)
    (tmp_path / FILE).write_bytes(data)
    tier = make(tmp_path)
    assert await tier.get("1") is None
    tier.put("k", entry())
    await tier.flush()
    assert await tier.get("k") == entry()
    await tier.aclose()


async def test_a_disk_that_cannot_be_written_only_stops_writing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    clock = Clock()
    tier = make(blocked, clock=clock)
    tier.put("k", entry())
    await tier.flush()
    assert await tier.get("k") is None
    tier.put("k", entry())
    assert tier.dropped_total == 1
    await tier.aclose()


async def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    tier = make(tmp_path)
    tier.put("k", entry())
    await tier.flush()
    assert isinstance(tier._base, sqlite3.Connection)
    pages = tier._base.execute("PRAGMA page_count").fetchone()[0]
    tier._base.execute(f"PRAGMA max_page_count={pages}")
    tier.put("large", entry(bytes(range(256)) * 400, streamed=True, usage_frame=bytes(range(128)) * 3000))
    await tier.flush()
    assert await tier.get("k") == entry()
    assert await tier.get("large") is None
    await tier.aclose()


async def test_an_answer_from_the_disk_moves_up_with_its_remaining_life(tmp_path: Path) -> None:
    disk = make(tmp_path)
    disk.put("k", entry(stored_s=NOW - 50, expires_s=NOW + 10))
    cache = ResponseCache(MemoryTier(10, 100_000), None, policies(3600), disk)
    found = await cache.lookup_shared(ask(), NOW)
    assert found is not None and (found.tier, found.age_s) == ("l3", 50)
    promoted = cache.lookup(ask(), NOW + 9)
    assert promoted is not None and promoted.tier == "l1"
    assert cache.lookup(ask(), NOW + 10) is None
    await disk.aclose()


async def test_dropped_and_cleared_answers_are_gone(tmp_path: Path) -> None:
    tier = make(tmp_path)
    for key in "abc":
        tier.put(key, entry())
    await tier.flush()
    await tier.drop(["a"])
    assert (await tier.get("a"), await tier.get("b")) == (None, entry())
    await tier.clear()
    assert await tier.get("b") is None
    await tier.aclose()
