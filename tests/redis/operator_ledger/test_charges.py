"""Charges count exactly once, whoever sends them and however often."""

from __future__ import annotations

import asyncio
import random

from agentpool_api import keys
from agentpool_operator.act.ledger import carry_command, charge_command, trim_command
from agentpool_operator.decide.budget_windows import CarriedRecord
from agentpool_operator.decide.charges import Charge, PodTime, plan_charges
from agentpool_operator.redis_link import RedisLink

HOUR = 3_600_000
PRICE = 500_000_000
NOW = 500_000 * HOUR
SPEND, CHARGED, BEATS = keys.spend("n", "p"), keys.charged_until("n", "p"), keys.heartbeats("n", "p")


def charge(before: int | None, until: int | None, amount: int = 7, uid: str = "u") -> Charge:
    return Charge(uid=uid, name=f"pod-{uid}", charged_ms=before, until_ms=until, amounts=((900, amount),))


async def spent(link: RedisLink) -> dict[str, int]:
    (found,) = await link.run([("HGETALL", SPEND)])
    return {name.decode(): int(value) for name, value in found.items()}


async def test_a_charge_counts_and_is_remembered(link: RedisLink):
    await link.run([charge_command("n", "p", [charge(None, 1000)])])
    assert await spent(link) == {"900:agents": 7}
    assert await link.run([("HGET", CHARGED, "u")]) == [b"1000"]


async def test_a_charge_sent_twice_counts_once(link: RedisLink):
    for _ in range(2):
        await link.run([charge_command("n", "p", [charge(None, 1000)])])
    assert await spent(link) == {"900:agents": 7}


async def test_of_two_operators_one_charges(link: RedisLink):
    commands = [charge_command("n", "p", [charge(None, until)]) for until in (1000, 1500)]
    await asyncio.gather(*(link.run([command]) for command in commands))
    assert await spent(link) == {"900:agents": 7}


async def test_a_stale_charge_hurts_no_other_in_the_same_command(link: RedisLink):
    await link.run([("HSET", CHARGED, "stale", "5")])
    await link.run([charge_command("n", "p", [charge(3, 9, uid="stale"), charge(None, 9, amount=1, uid="new")])])
    assert await spent(link) == {"900:agents": 1}


async def test_a_forgotten_pod_leaves_nothing_behind(link: RedisLink):
    await link.run([("HSET", CHARGED, "u", "5"), ("HSET", BEATS, "pod-u", "{}", "other", "{}")])
    await link.run([charge_command("n", "p", [charge(5, None)])])
    assert await spent(link) == {"900:agents": 7}
    assert await link.run([("HGETALL", CHARGED), ("HKEYS", BEATS)]) == [{}, [b"other"]]


async def test_tokens_and_agents_share_a_bucket_without_mixing(link: RedisLink):
    await link.run([("HINCRBY", SPEND, "900:tokens", "40"), charge_command("n", "p", [charge(None, 1000)])])
    assert await spent(link) == {"900:tokens": 40, "900:agents": 7}


async def test_big_amounts_stay_exact(link: RedisLink):
    amount = 999_999_999 * 10**9 + 1
    await link.run([charge_command("n", "p", [charge(None, 1000, amount=amount)])])
    assert await spent(link) == {"900:agents": amount}


async def test_keys_expire_long_after_the_longest_window(link: RedisLink):
    await link.run([charge_command("n", "p", [charge(None, 1000)])])
    for lives_s in await link.run([("TTL", SPEND), ("TTL", CHARGED)]):
        assert 35 * 86400 < lives_s <= keys.SPEND_RETENTION_S


async def test_a_thousand_charges_of_one_pool_fit_one_command(link: RedisLink):
    many = [charge(None, 1000, amount=1, uid=f"u{number}") for number in range(1000)]
    await link.run([charge_command("n", "p", many)])
    assert await spent(link) == {"900:agents": 1000}


async def test_an_operator_killed_at_any_moment_neither_loses_nor_repeats_a_charge(link: RedisLink):
    """A hundred operators, each of which ends at some point of its pulse; the sum is that of one that never ended."""
    chance = random.Random(7)
    begin = NOW - HOUR
    now = begin
    while now < NOW:
        now = min(now + chance.randrange(1000, 60_000), NOW)
        (raw,) = await link.run([("HGETALL", CHARGED)])
        if chance.random() < 0.2:
            continue  # ended after it had read
        charged = {uid.decode(): int(until) for uid, until in raw.items()}
        time = PodTime(uid="u", name="p", price_nanousd_per_h=PRICE, begins_ms=begin, ends_ms=now, runs=True)
        command = charge_command("n", "p", plan_charges([time], charged, now_ms=now))
        for _ in range(chance.choice((1, 1, 2))):  # the answer was lost, and it was sent again
            await link.run([command])
    (raw,) = await link.run([("HGETALL", CHARGED)])
    last = PodTime(uid="u", name="p", price_nanousd_per_h=PRICE, begins_ms=begin, ends_ms=NOW, runs=True)
    rest = plan_charges([last], {uid.decode(): int(until) for uid, until in raw.items()}, now_ms=NOW)
    if rest:
        await link.run([charge_command("n", "p", rest)])
    assert sum((await spent(link)).values()) == PRICE


async def test_old_buckets_go_and_new_ones_stay(link: RedisLink):
    await link.run([("HSET", SPEND, "900:tokens", "1", "1800:tokens", "2")])
    await link.run([trim_command("n", "p", ["900:tokens"])])
    assert await spent(link) == {"1800:tokens": 2}


async def test_a_carried_record_replaces_the_one_before(link: RedisLink):
    key = keys.carried("n", "b")
    for record in (
        CarriedRecord(selector="s", amounts={"daily:x": 5}),
        CarriedRecord(selector="s", amounts={"daily:y": 6}, lost_until_s=9),
    ):
        await link.run([carry_command("n", "b", record)])
    (raw,) = await link.run([("HGETALL", key)])
    assert {name.decode(): value.decode() for name, value in raw.items()} == record.fields()
