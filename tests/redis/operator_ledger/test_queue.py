"""What the operator reads of a queue on a real Redis, in every state a stream and its group can be in."""

from __future__ import annotations

import time

import pytest

from agentpool_api import keys
from agentpool_operator.observe.cluster import PoolKey
from agentpool_operator.observe.queue import COUNTED, parse_queue, read_command
from agentpool_operator.observe.readings import Readings
from agentpool_operator.observe.store import Store
from agentpool_operator.reconcile.context import Context
from agentpool_operator.reconcile.pulse import pulse
from agentpool_operator.redis_link import RedisLink

KEY = keys.queue("team", "jobs")


def now_s() -> float:
    return time.time()  # noqa: TID251 - Redis makes its ids of the real time


async def seen(link: RedisLink, group: str = "agents"):
    (answer, _) = await link.run([read_command("team", "jobs", group), ("PING",)])
    return parse_queue(answer, KEY, group)


async def add(link: RedisLink, count: int) -> list[bytes]:
    return await link.run([("XADD", KEY, "*", "task", str(number)) for number in range(count)])


async def group_from(link: RedisLink, entry: str | bytes = "0") -> None:
    await link.run([("XGROUP", "CREATE", KEY, "agents", entry, "MKSTREAM")])


async def take(link: RedisLink, count: int, consumer: str = "pod-1") -> None:
    await link.run([("XREADGROUP", "GROUP", "agents", consumer, "COUNT", count, "STREAMS", KEY, ">")])


async def test_the_first_task_is_seen(link):
    """A rule that needs two messages before it acts leaves rare work lying (keda#7835)."""
    await group_from(link)
    await add(link, 1)
    queue = await seen(link)
    assert (queue.lag, queue.pending, queue.added, queue.trouble) == (1, 0, 1, None)
    assert 0 <= now_s() - queue.oldest_at_s < 100


async def test_pending_and_unread_tasks_are_told_apart_and_both_count(link):
    """Pending alone is not the backlog (keda#2819)."""
    await group_from(link)
    entries = await add(link, 10)
    await take(link, 3)
    await take(link, 1, "pod-2")
    await link.run([("XACK", KEY, "agents", entries[0])])
    queue = await seen(link)
    assert (queue.lag, queue.pending, queue.held) == (6, 3, {"pod-1": 2, "pod-2": 1})


async def test_a_worked_off_queue_is_empty_and_nothing_waits(link):
    await group_from(link)
    entries = await add(link, 3)
    await take(link, 3)
    await link.run([("XACK", KEY, "agents", *entries)])
    queue = await seen(link)
    assert (queue.lag, queue.pending, queue.oldest_at_s, queue.added) == (0, 0, None, 3)


@pytest.mark.parametrize("made", ["nothing", "stream without the group", "another group"])
async def test_what_is_not_there_holds_no_task_and_says_so(link, made):
    """A missing stream or group must never make a pool grow (keda#7447)."""
    if made != "nothing":
        await add(link, 50)
    if made == "another group":
        await link.run([("XGROUP", "CREATE", KEY, "others", "0")])
    queue = await seen(link)
    assert (queue.lag, queue.pending) == (0, 0)
    assert queue.trouble.reason == ("StreamMissing" if made == "nothing" else "GroupMissing")
    assert KEY in queue.trouble.message


async def test_a_deleted_stream_is_empty_at_once(link):
    await group_from(link)
    await add(link, 5)
    await link.run([("DEL", KEY)])
    queue = await seen(link)
    assert (queue.lag, queue.pending, queue.trouble.reason) == (0, 0, "StreamMissing")


async def test_a_key_of_another_type_is_refused_and_never_counted(link):
    await link.run([("RPUSH", KEY, "a", "b")])
    queue = await seen(link)
    assert (queue.lag, queue.pending, queue.trouble.reason) == (None, None, "NotAStream")
    assert "is a list, not a stream" in queue.trouble.message


async def raw_lag(link: RedisLink):
    ((group,), _) = await link.run([("XINFO", "GROUPS", KEY), ("PING",)])
    return dict(zip(group[::2], group[1::2], strict=True))[b"lag"]


async def test_where_redis_tells_no_lag_after_a_deletion_it_is_counted(link):
    await group_from(link)
    entries = await add(link, 10)
    await take(link, 2)
    await link.run([("XDEL", KEY, entries[5])])
    assert await raw_lag(link) is None
    queue = await seen(link)
    assert (queue.lag, queue.pending) == (7, 2)


async def test_where_redis_tells_no_lag_for_a_group_begun_in_the_middle_it_is_counted(link):
    entries = await add(link, 10)
    await group_from(link, entries[3])
    assert await raw_lag(link) is None
    assert (await seen(link)).lag == 6


async def test_counting_is_bounded_and_what_is_over_it_is_no_rate(link):
    entries = await add(link, COUNTED + 50)
    await group_from(link, entries[3])
    queue = await seen(link)
    assert (queue.lag, queue.added) == (COUNTED, None)


async def test_a_group_begun_at_the_end_has_nothing_to_do(link):
    await add(link, 10)
    await group_from(link, "$")
    assert (await seen(link)).lag == 0


async def test_ids_that_are_no_times_have_no_age(link):
    await group_from(link)
    await link.run([("XADD", KEY, "7-1", "task", "a")])
    queue = await seen(link)
    assert (queue.lag, queue.oldest_at_s) == (1, None)


async def test_the_oldest_pending_task_counts_for_the_age(link):
    await group_from(link)
    old = int((now_s() - 500) * 1000)
    await link.run([("XADD", KEY, f"{old}-0", "task", "a")])
    await take(link, 1)
    await add(link, 1)
    assert (await seen(link)).oldest_at_s == old / 1000


async def test_a_pool_reads_its_own_namespace_only(link):
    await link.run([("XADD", keys.queue("others", "jobs"), "*", "task", "secret")])
    assert (await seen(link)).trouble.reason == "StreamMissing"


async def test_a_redis_that_refuses_is_no_empty_queue(link):
    (answer, _) = await link.run([("EVAL", "return redis.call('NOPE')", 0), ("PING",)])
    queue = parse_queue(answer, KEY, "agents")
    assert (queue.lag, queue.trouble.reason) == (None, "QueueUnreadable")


class CountingLink:
    def __init__(self, link: RedisLink) -> None:
        self._link, self.round_trips = link, 0

    async def run(self, commands):
        self.round_trips += 1
        return await self._link.run(commands)


@pytest.mark.parametrize("pools", [1, 40])
async def test_the_queues_of_all_pools_are_read_in_the_two_round_trips_of_a_reading(link, pools):
    counting, store = CountingLink(link), Store()
    for number in range(pools):
        metadata = {"name": f"pool-{number}", "namespace": "team", "uid": f"u-{number}", "generation": 1}
        spec = {"agent": {"image": "mine:1"}, "scaling": {"queue": {"stream": "jobs", "group": "agents"}}}
        store.put({"kind": "AgentPool", "metadata": metadata, "spec": spec})
    await group_from(link)
    await add(link, 3)
    context = Context(settings=None, store=store, api=None, readings=Readings(), clock=now_s, link=counting)
    await pulse(context)
    first = counting.round_trips
    await pulse(context)
    assert (first, counting.round_trips - first) == (3, 2), "at first, what is remembered of the pools is read too"
    seen_of_all = [context.readings.of(PoolKey("team", f"pool-{number}")).queue.lag for number in range(pools)]
    assert seen_of_all == [3] * pools
