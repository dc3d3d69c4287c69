"""Answers that say nearly the same take the room of one, and everybody gets their own."""

import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.cache.disk import DiskTier
from agent_runtime.cache.duplicates import Duplicates, rebuild
from agent_runtime.cache.entry import pack, unpack
from agent_runtime.cache.memory import MemoryTier
from agent_runtime.cache.policies import MODEL_OUTPUT
from agent_runtime.cache.responses import ResponseCache
from tests.unit.runtime.builders import entry, policies
from tests.unit.runtime.test_cache_memory import NOW, ask

CHANCE = random.Random(1)
WORDS = ["".join(CHANCE.choices("abcdefghijklmnop", k=6)) for _ in range(600)]


def answer(words: list[str], number: int = 0, **more):
    body = orjson.dumps({"id": f"chatcmpl-{number}", "choices": [{"message": {"content": " ".join(words)}}]})
    return entry(body, **more)


def test_an_answer_with_another_id_is_stored_as_what_differs_and_rebuilt_byte_by_byte() -> None:
    duplicates = Duplicates()
    first, second = answer(WORDS[:300]), answer([*WORDS[:150], "changed", *WORDS[151:300]], 1)
    assert duplicates.thin("t", first) == (first, None)
    thin, canonical = duplicates.thin("t", second)
    assert canonical is not None and canonical[0] == thin.base
    assert len(pack(thin)) < len(pack(second)) / 3
    stored, kept = unpack(pack(thin)), unpack(pack(canonical[1]))
    assert stored is not None and kept is not None and rebuild(stored, kept) == second
    assert (duplicates.found_total, duplicates.saved_bytes_total > 500, len(duplicates)) == (1, True, 1)


@pytest.mark.parametrize(
    ("other", "tenant"),
    [
        pytest.param(answer(WORDS[300:]), "t", id="other-words"),
        pytest.param(answer(WORDS[:200] + WORDS[400:500]), "t", id="a-third-differs"),
        pytest.param(answer(WORDS[:300], 1), "u", id="another-tenant"),
        pytest.param(answer(WORDS[:300], 1, streamed=True), "t", id="another-form"),
        pytest.param(
            answer(WORDS[:285] + WORDS[400:410], 1, kind=MODEL_OUTPUT), "t", id="a-model-output-not-like-enough"
        ),
        pytest.param(entry(b"{}"), "t", id="small"),
    ],
)
def test_what_is_not_alike_is_stored_as_it_is(other, tenant: str) -> None:
    duplicates = Duplicates()
    duplicates.thin("t", answer(WORDS[:300]))
    assert duplicates.thin(tenant, other) == (other, None)


@given(st.lists(st.integers(0, 299), max_size=6), st.binary(max_size=20))
def test_no_answer_is_ever_another_one(places: list[int], damage: bytes) -> None:
    words = list(WORDS[:300])
    for place in places:
        words[place] = "x"
    duplicates = Duplicates()
    duplicates.thin("t", answer(WORDS[:300]))
    whole = answer(words, 7)
    thin, canonical = duplicates.thin("t", whole)
    if canonical is None:
        assert thin == whole
        return
    assert rebuild(thin, canonical[1]) == whole
    other = answer(WORDS[1:301])
    assert rebuild(thin, other) in (None, whole)


def test_the_canonical_answer_outlives_those_that_need_it_and_is_seldom_stored_again() -> None:
    duplicates = Duplicates()
    duplicates.thin("t", answer(WORDS[:300], expires_s=NOW + 60))
    stored = 0
    alive_until_s = 0.0
    for number in range(1, 200):
        now_s = NOW + number
        like = answer(WORDS[:300], number, stored_s=now_s, expires_s=now_s + 60)
        _, canonical = duplicates.thin("t", like)
        if canonical is not None:
            stored += 1
            alive_until_s = canonical[1].expires_s
        assert alive_until_s >= like.expires_s
    assert stored <= 4


def test_room_is_bounded_and_old_ones_leave_first(monkeypatch) -> None:
    monkeypatch.setattr("agent_runtime.cache.duplicates.MAX_CANONICAL", 3)
    duplicates = Duplicates()
    chance = random.Random(2)
    answers = [answer(["".join(chance.choices("abcdefgh", k=8)) for _ in range(60)]) for _ in range(5)]
    for one in answers:
        duplicates.thin("t", one)
    assert len(duplicates) == 3
    assert duplicates.thin("t", answers[0])[1] is None
    assert duplicates.thin("t", answers[4])[1] is not None
    duplicates.clear()
    assert (len(duplicates), duplicates.thin("t", answers[4])[1]) == (0, None)


async def test_an_answer_on_disk_is_whole_again_after_a_restart_and_a_miss_without_its_canonical_one(tmp_path) -> None:
    def cache(disk: DiskTier) -> ResponseCache:
        return ResponseCache(MemoryTier(10, 10**6), None, policies(3600, "l3"), disk)

    disk = DiskTier(tmp_path, 10**6, 0.0, lambda: NOW)
    first = cache(disk)
    first.duplicates = Duplicates()
    first.store("other", answer(WORDS[:300]), NOW, "t")
    first.store("k", answer(WORDS[:300], 1), NOW, "t")
    await disk.aclose()
    disk = DiskTier(tmp_path, 10**6, 0.0, lambda: NOW)
    found = await cache(disk).lookup_shared(ask(), NOW)
    assert found is not None and found.entry == answer(WORDS[:300], 1)
    raw = await disk.get("k")
    assert raw is not None and raw.base
    await disk.drop([raw.base])
    assert await cache(disk).lookup_shared(ask(), NOW) is None
    await disk.aclose()
