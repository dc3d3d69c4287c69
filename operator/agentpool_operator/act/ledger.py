"""How is spend written to Redis so that it counts exactly once?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentpool_api import keys
from agentpool_operator.decide.budget_windows import CarriedRecord
from agentpool_operator.decide.charges import Charge
from agentpool_operator.redis_link import Command

CHARGE = """
-- KEYS: charged, spend, heartbeats. ARGV: retention in seconds, then per charge: uid, pod, charged before, charged
-- until ('' forgets the pod), number of amounts, and for each a field and an amount.
local place = 2
while place <= #ARGV do
  local uid, pod, before = ARGV[place], ARGV[place + 1], ARGV[place + 2]
  local until_, count = ARGV[place + 3], ARGV[place + 4]
  place = place + 5
  if (redis.call('HGET', KEYS[1], uid) or '') == before then
    for amount = 0, tonumber(count) - 1 do
      redis.call('HINCRBY', KEYS[2], ARGV[place + 2 * amount], ARGV[place + 2 * amount + 1])
    end
    if until_ ~= '' then
      redis.call('HSET', KEYS[1], uid, until_)
    else
      redis.call('HDEL', KEYS[1], uid)
      redis.call('HDEL', KEYS[3], pod)
    end
  end
  place = place + 2 * tonumber(count)
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[1])
return redis.status_reply('OK')
"""


def charge_command(namespace: str, pool: str, charges: Sequence[Charge]) -> Command:
    """One command that charges a pool's pods. Each charge counts only if nobody charged the pod meanwhile, so sending
    it twice, or from two operators, counts once."""
    arguments: list[str | int] = [keys.SPEND_RETENTION_S]
    for charge in charges:
        before = "" if charge.charged_ms is None else charge.charged_ms
        until = "" if charge.until_ms is None else charge.until_ms
        arguments += [charge.uid, charge.name, before, until, len(charge.amounts)]
        for bucket, amount in charge.amounts:
            arguments += [f"{bucket}:agents", amount]
    names = (keys.charged_until(namespace, pool), keys.spend(namespace, pool), keys.heartbeats(namespace, pool))
    return ("EVAL", CHARGE, len(names), *names, *arguments)


def trim_command(namespace: str, pool: str, fields: Iterable[str]) -> Command:
    """Drop buckets older than is kept."""
    return ("HDEL", keys.spend(namespace, pool), *fields)


REPLACE = """
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV))
return redis.status_reply('OK')
"""


def carry_command(namespace: str, budget: str, record: CarriedRecord) -> Command:
    """Write down what a budget has spent beyond what its pools' spend shows, in place of what was there.

    The record never expires: that it is gone means that Redis has lost its data.
    """
    pairs = [text for pair in record.fields().items() for text in pair]
    return ("EVAL", REPLACE, 1, keys.carried(namespace, budget), *pairs)
