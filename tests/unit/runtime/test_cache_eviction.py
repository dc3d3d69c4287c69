"""Which answers stay, and how much room they get."""

import random
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.cache.eviction import CHANGING, LRU, STEADY, Queues
from agent_runtime.cache.memory import MemoryTier, decide_scale
from agent_runtime.cache.shadow import ORDERS, Shadow, Sizes
from tests.unit.runtime.builders import entry

NOW = 1000.0
STEPS = st.lists(st.tuples(st.sampled_from("abcdefghij"), st.integers(1, 40)), max_size=80)


@given(STEPS, st.sampled_from(ORDERS), st.integers(1, 8), st.integers(20, 100), st.randoms())
def test_entries_and_bytes_are_both_true_and_never_passed(steps, order, max_entries, max_bytes, chance) -> None:
    queues, held = Queues(max_entries, max_bytes, order), dict[str, int]()
    for key, size in steps:
        if chance.random() < 0.3:
            assert queues.touch(key) == (key in held)
        elif chance.random() < 0.2:
            queues.remove(key)
            held.pop(key, None)
        elif chance.random() < 0.1:
            queues.follow(chance.choice(ORDERS))
        else:
            held[key] = size
            for gone in queues.add(key, size):
                del held[gone]
        assert len(queues) == len(held) <= max_entries
        assert queues.bytes == sum(held.values()) <= max_bytes
        assert all(key in queues for key in held)


@given(STEPS, st.integers(1, 8))
def test_with_all_the_room_for_newcomers_the_order_is_that_of_last_use(steps, max_entries) -> None:
    queues, lru = Queues(max_entries, 10**9, LRU), OrderedDict[str, None]()
    for key, size in steps:
        assert queues.touch(key) == (key in lru)
        if key in lru:
            lru.move_to_end(key)
            continue
        lru[key] = None
        expected = [lru.popitem(last=False)[0]] if len(lru) > max_entries else []
        assert queues.add(key, size) == expected


def test_a_scan_does_not_push_out_what_was_asked_for_twice() -> None:
    queues = Queues(100, 10**9, STEADY)
    for key in map(str, range(90)):
        queues.add(key, 1)
        queues.touch(key)
    for number in range(1000):
        queues.add(f"scan-{number}", 1)
    assert sum(str(number) in queues for number in range(90)) >= 89


def test_who_comes_back_soon_after_leaving_is_kept_longer() -> None:
    queues = Queues(20, 10**9, STEADY)
    for number in range(30):
        queues.add(str(number), 1)
    gone = next(str(number) for number in range(29, -1, -1) if str(number) not in queues)
    queues.add(gone, 1)
    for number in range(100, 200):
        queues.add(str(number), 1)
    assert gone in queues


def test_what_was_wanted_once_gives_way_to_what_is_wanted_now() -> None:
    """After all wanted keys changed: how much of the room is still lost to the old ones?"""
    left = {}
    for order in ORDERS:
        queues, chance = Queues(100, 10**9, order), random.Random(3)
        for phase in "ab":
            for _ in range(1000):
                key = f"{phase}{int(chance.paretovariate(0.6)) % 1000}"
                if not queues.touch(key):
                    queues.add(key, 1)
        left[order] = sum(f"a{number}" in queues for number in range(1000))
    assert left[STEADY] > 20 and left[CHANGING] == left[LRU] == 0


def play(tier: MemoryTier, keys: list[str]) -> int:
    hits = 0
    for key in keys:
        if tier.get(key, NOW) is not None:
            hits += 1
        else:
            tier.put(key, entry(b""), NOW)
    return hits


def test_the_order_follows_what_is_asked_for() -> None:
    tier = MemoryTier(100, 10**9)
    chance = random.Random(1)
    window = [str(max(at - int(chance.expovariate(1 / 45)), 0)) for at in range(20_000)]  # what is wanted moves on
    play(tier, window)
    assert tier.order is not STEADY
    popular = [str(int(chance.paretovariate(0.6))) for _ in range(20_000)]
    play(tier, popular)
    assert tier.order is STEADY and tier.newcomers_share < 0.2


@pytest.mark.parametrize(
    ("scale", "sizes", "memory_share", "most", "expected"),
    [
        pytest.param(1.0, None, 0.1, 8.0, 1.0, id="nothing-known"),
        pytest.param(1.0, Sizes(gain=0.05, loss=0.05), 0.1, 8.0, 2.0, id="more-brings-more"),
        pytest.param(1.0, Sizes(gain=0.005, loss=0.05), 0.1, 8.0, 1.0, id="more-brings-little"),
        pytest.param(1.0, Sizes(gain=0.05, loss=0.05), 0.65, 8.0, 1.0, id="memory-is-wanted-elsewhere"),
        pytest.param(4.0, Sizes(gain=0.05, loss=0.05), 0.1, 7.9, 4.0, id="at-the-most"),
        pytest.param(1.0, Sizes(gain=0.0, loss=0.001), 0.1, 8.0, 0.5, id="half-is-as-good"),
        pytest.param(0.125, Sizes(gain=0.0, loss=0.0), 0.1, 8.0, 0.125, id="smallest"),
        pytest.param(1.0, None, 0.76, 8.0, 0.5, id="memory-is-short"),
        pytest.param(0.125, None, 0.99, 8.0, 0.125, id="short-but-smallest"),
        pytest.param(1.0, None, 0.1, 0.6, 0.5, id="configured-above-a-quarter-of-the-limit"),
    ],
)
def test_the_size_follows_what_more_would_bring(scale, sizes, memory_share, most, expected) -> None:
    assert decide_scale(scale, sizes, memory_share, most) == expected


def test_an_adaptive_tier_grows_until_the_wanted_answers_fit_and_shrinks_when_memory_is_short() -> None:
    tier = MemoryTier(50, 100_000, adaptive=True)
    chance = random.Random(2)
    for _ in range(40):
        play(tier, [str(chance.randrange(160)) for _ in range(200)])
        tier.adapt(used_bytes=10**6, limit_bytes=10**8)
    assert tier.scale == 4.0 and tier.max_bytes == 400_000
    assert tier.entries > 150
    tier.adapt(used_bytes=80 * 10**6, limit_bytes=10**8)
    assert tier.scale == 2.0 and tier.entries <= 100


def test_a_tier_keeps_its_size_unless_told_otherwise() -> None:
    tier = MemoryTier(50, 100_000)
    play(tier, [str(number % 160) for number in range(5000)])
    tier.adapt(used_bytes=90, limit_bytes=100)
    assert tier.scale == 1.0 and tier.entries <= 50


def test_shadows_hold_a_sample_only() -> None:
    shadow = Shadow(100_000, 10**9)
    sampled = sum(shadow.samples(str(number)) for number in range(20_000))
    assert 50 < sampled < 200


def test_expired_answers_leave_memory_without_being_asked_for() -> None:
    tier = MemoryTier(10, 100_000)
    tier.put("k", entry(expires_s=NOW + 60), NOW)
    tier.put("l", entry(expires_s=NOW + 90), NOW)
    tier.settle(NOW + 60)
    assert (tier.entries, tier.evictions_total) == (1, 0)
    tier.put("l", entry(expires_s=NOW + 200), NOW + 70)
    tier.settle(NOW + 100)
    assert tier.entries == 1
