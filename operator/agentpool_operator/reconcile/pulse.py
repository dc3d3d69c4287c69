"""What happens every period? Redis is read for all pools at once, agents' time is charged, everybody gets a pass.

Two round trips however many pools there are: the first reads what agents report and how far they are charged, the
second charges them and reads what was spent. What is remembered of pools that are new to this process comes between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentpool_api import keys
from agentpool_api.scaling import Queue
from agentpool_api.wire import Heartbeat, whole_number
from agentpool_operator import metrics
from agentpool_operator.act.ledger import charge_command, trim_command
from agentpool_operator.act.notices import notice_commands
from agentpool_operator.decide.budget_windows import CarriedRecord
from agentpool_operator.decide.charges import plan_charges
from agentpool_operator.decide.facts import QueueFacts
from agentpool_operator.errors import ManifestRefusedError, RedisUnavailableError
from agentpool_operator.observe.cluster import ObjectKey, PoolKey
from agentpool_operator.observe.pod_times import observe_pod_times
from agentpool_operator.observe.queue import parse_queue, read_command
from agentpool_operator.observe.runtime_stats import parse_heartbeats
from agentpool_operator.observe.spend import SpendBook, live_fields
from agentpool_operator.reconcile.context import Context
from agentpool_operator.reconcile.memory import save_commands
from agentpool_operator.reconcile.policies import agent_prices
from agentpool_operator.reconcile.selection import budget_notice
from agentpool_operator.reconcile.sizing import recall
from agentpool_operator.redis_link import Command

FULL_READS_PER_PULSE = 100
"""Whole spend hashes read in one pulse, so that a thousand pools do not come due at once."""


RECALLED_AT_ONCE = 200
"""Pools whose memory is read in one round trip: two weeks of arrivals of a thousand would be tens of megabytes."""


async def pulse(context: Context) -> list[ObjectKey]:
    """Read and charge once; returns the objects that are due for a pass."""
    pools = [PoolKey(key.namespace, key.name) for key in context.store.keys("AgentPool")]
    budgets = context.store.keys("CostBudget")
    try:
        with metrics.REDIS_SECONDS.time():
            asked_s = context.clock()
            heartbeats, charged, queues = await _read_agents(context, pools, budgets, asked_s)
            await _recall(context, pools)
            context.readings.take_heartbeats(heartbeats, context.store, now_s=context.clock(), queues=queues)
            now_s = asked_s - context.readings.clock_ahead_s  # read once: a clock may jump between two looks at it
            await _charge_and_read_spend(context, pools, heartbeats, charged, now_s)
    except RedisUnavailableError:
        context.readings.lose_redis()
    return [*context.store.keys("AgentPool"), *budgets]


async def _read_agents(
    context: Context, pools: list[PoolKey], budgets: list[ObjectKey], asked_s: float
) -> tuple[dict[PoolKey, dict[str, Heartbeat]], dict[PoolKey, dict[str, int]], dict[PoolKey, QueueFacts]]:
    """Heartbeats and charged instants of every pool, by pod UID, and the queues that pools name; the budgets' carried
    spend goes into the readings."""
    commands: list[Command] = [("HGETALL", keys.heartbeats(*pool)) for pool in pools]
    commands += [("HGETALL", keys.charged_until(*pool)) for pool in pools]
    commands += [("HGETALL", keys.carried(budget.namespace, budget.name)) for budget in budgets]
    named = {pool: queue for pool in pools if (queue := _queue_of(context, pool)) is not None}
    first_queue = len(commands)
    commands += [read_command(pool.namespace, queue.stream, queue.group) for pool, queue in named.items()]
    *raw_answers, redis_time = await context.link.run([*commands, ("TIME",)])
    context.readings.clock_ahead_s = _ahead_s(redis_time, asked_s)
    metrics.CLOCK_AHEAD.set(context.readings.clock_ahead_s)
    queues = {
        pool: parse_queue(answer, keys.queue(pool.namespace, queue.stream), queue.group)
        for (pool, queue), answer in zip(named.items(), raw_answers[first_queue:], strict=False)
    }
    answers = [_hash(answer) for answer in raw_answers[:first_queue]]
    heartbeats = dict(zip(pools, map(parse_heartbeats, answers[: len(pools)]), strict=False))
    charged = dict(zip(pools, map(_instants, answers[len(pools) : 2 * len(pools)]), strict=False))
    carried = dict(zip(budgets, answers[2 * len(pools) :], strict=False))
    context.readings.carried = {key: CarriedRecord.parse(_texts(values)) for key, values in carried.items()}
    return heartbeats, charged, queues


async def _recall(context: Context, pools: list[PoolKey]) -> None:
    """Before any pass decides on them: a size made without the memory would be written, and taken back."""
    forgotten = [pool for pool in pools if _is_forgotten(context, pool)]
    for first in range(0, len(forgotten), RECALLED_AT_ONCE):
        part = forgotten[first : first + RECALLED_AT_ONCE]
        answers = await context.link.run([("HGETALL", keys.memory(*pool)) for pool in part])
        for pool, answer in zip(part, answers, strict=True):
            recall(context, pool, _hash(answer))


async def _charge_and_read_spend(
    context: Context,
    pools: list[PoolKey],
    heartbeats: Mapping[PoolKey, Mapping[str, Heartbeat]],
    charged: Mapping[PoolKey, Mapping[str, int]],
    now_s: float,
) -> None:
    """Charges come before reads in the same round trip, so what is read includes them."""
    readings = context.readings
    commands = [
        command for pool in pools for command in _charge_commands(context, pool, heartbeats[pool], charged[pool], now_s)
    ]
    commands += [command for pool in pools for command in _save_commands(context, pool)]
    commands += [command for pool in pools for command in _notice_commands(context, pool, now_s)]
    first_read = len(commands)
    fields = live_fields(now_s)
    due = [pool for pool in pools if readings.book(pool).is_due(now_s)][:FULL_READS_PER_PULSE]
    commands += [("HGETALL", keys.spend(*pool)) for pool in due]
    live = [pool for pool in pools if pool not in set(due) and readings.book(pool).read_s is not None]
    commands += [("HMGET", keys.spend(*pool), *fields) for pool in live]
    answers = await context.link.run(commands)
    metrics.CHARGES_REFUSED.inc(answers[:first_read].count(None))
    answers = answers[first_read:]
    for pool, answer in zip(due, answers, strict=False):
        _take_all(readings.book(pool), _hash(answer), fields, now_s)
    for pool, answer in zip(live, answers[len(due) :], strict=True):
        if isinstance(answer, list):
            readings.book(pool).take_live(fields, answer, now_s=now_s)
    readings.spend_read_s = now_s


def _take_all(book: SpendBook, raw: Mapping[bytes, bytes], fields: list[str], now_s: float) -> None:
    book.old_fields = book.take_all(raw, now_s=now_s)
    book.take_live(fields, [raw.get(name.encode()) for name in fields], now_s=now_s)


def _charge_commands(
    context: Context, pool: PoolKey, heartbeats: Mapping[str, Heartbeat], charged: Mapping[str, int], now_s: float
) -> list[Command]:
    metadata = context.store.metadata("AgentPool", *pool)
    if metadata is None:
        return []
    try:
        prices = agent_prices(context.pool_state(pool, metadata).spec)
    except ManifestRefusedError:
        return []  # its pass says what is wrong
    now_ms = int(now_s * 1000)
    pods = context.store.pods_of(pool)
    times = observe_pod_times(pool.name, pods, heartbeats, charged, prices, now_ms=now_ms)
    charges = plan_charges(times, charged, now_ms=now_ms)
    commands = [charge_command(*pool, charges)] if charges else []
    book = context.readings.book(pool)
    if book.old_fields:
        commands.append(trim_command(*pool, book.old_fields))
        book.old_fields = []
    return commands


def _queue_of(context: Context, pool: PoolKey) -> Queue | None:
    """The queue the pool names."""
    metadata = context.store.metadata("AgentPool", *pool)
    if metadata is None:
        return None
    try:
        return context.pool_state(pool, metadata).spec.scaling.queue
    except ManifestRefusedError:
        return None  # its pass says what is wrong


def _is_forgotten(context: Context, pool: PoolKey) -> bool:
    """Whether this process has yet to ask what Redis remembers of the pool."""
    metadata = context.store.metadata("AgentPool", *pool)
    if metadata is None:
        return False
    try:
        return not context.pool_state(pool, metadata).recalled
    except ManifestRefusedError:
        return False  # its pass says what is wrong


def _save_commands(context: Context, pool: PoolKey) -> list[Command]:
    state = context.pools.get(pool)
    if state is None or state.scaling is None or not state.recalled:
        return []
    return save_commands(pool, state.facts(state.scaling), state.scaling.history, state.saved)


def _notice_commands(context: Context, pool: PoolKey, now_s: float) -> list[Command]:
    metadata, state = context.store.metadata("AgentPool", *pool), context.pools.get(pool)
    if metadata is None or state is None:
        return []
    return notice_commands(*pool, budget_notice(context.store, metadata), state.told, now_s=now_s)


def _ahead_s(redis_time: Any, asked_s: float) -> float:
    """How far a clock that showed ``asked_s`` before Redis was asked for its time is ahead of it; 0 when it does not
    tell."""
    if not isinstance(redis_time, tuple):
        return 0.0
    seconds, microseconds = map(int, redis_time)
    return max(asked_s - seconds - microseconds / 1e6, 0.0)


def _hash(answer: Any) -> Mapping[bytes, bytes]:
    """An answer to HGETALL; a key of another type, which somebody else made, holds nothing."""
    return answer if isinstance(answer, dict) else {}


def _instants(raw: Mapping[bytes, bytes]) -> dict[str, int]:
    numbers = {uid.decode("utf-8", "replace"): whole_number(value) for uid, value in raw.items()}
    return {uid: number for uid, number in numbers.items() if number is not None}


def _texts(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in raw.items()}
