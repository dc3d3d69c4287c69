"""What waits in the queue a pool names, and how fast is it worked off?

One script per queue runs in the round trip that reads everything else, so all of a queue's figures are of one moment.
Redis tells no lag after entries were deleted, or for a group that began in the middle of the stream (XINFO GROUPS);
then the unread entries are counted, up to a bound. A stream or group that is not there holds no task.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentpool_api import keys
from agentpool_operator.decide.facts import QueueFacts, Trouble
from agentpool_operator.observe.arrivals import ArrivalSeconds

COUNTED = 1000
"""Unread entries counted where Redis tells no lag: more are told as so many, for a guess could only be too much."""

OLDEST_ID_MS = 10**12
"""Ids from before 2001 are not times: their producer numbers the entries by itself."""

SCRIPT = """
local kind = redis.call('TYPE', KEYS[1])['ok']
if kind ~= 'stream' then return {kind} end
local function fields(flat)
  local found = {}
  for place = 1, #flat, 2 do found[flat[place]] = flat[place + 1] end
  return found
end
local group
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local each = fields(flat)
  if each['name'] == ARGV[1] then group = each end
end
if not group then return {kind} end
local after = '(' .. group['last-delivered-id']
local lag, added = group['lag'], fields(redis.call('XINFO', 'STREAM', KEYS[1]))['entries-added']
if not lag then
  lag = #redis.call('XRANGE', KEYS[1], after, '+', 'COUNT', ARGV[2])
  if lag >= tonumber(ARGV[2]) then added = false end
end
local unread = redis.call('XRANGE', KEYS[1], after, '+', 'COUNT', 1)[1]
local pending = redis.call('XPENDING', KEYS[1], ARGV[1])
return {kind, lag, pending[1], added or -1, unread and unread[1] or '', pending[2] or '', pending[4] or {}}
"""


def read_command(namespace: str, stream: str, group: str) -> tuple[str | int, ...]:
    """The command whose answer `parse_queue` takes."""
    return ("EVAL", SCRIPT, 1, keys.queue(namespace, stream), group, COUNTED)


def parse_queue(answer: Any, key: str, group: str) -> QueueFacts:
    """The facts of an answer; ``None`` is the answer of a Redis that refuses the command."""
    if not isinstance(answer, list) or not answer:
        return QueueFacts(key=key, trouble=Trouble(reason="QueueUnreadable", message=f"Redis refuses to read {key}"))
    kind = answer[0].decode()
    if kind == "none":
        message = f"{key} is not there: nothing was added yet, or it was deleted; it counts as empty"
        return _empty(key, "StreamMissing", message)
    if kind != "stream":
        message = f"{key} is a {kind}, not a stream: name another in scaling.queue.stream, or remove it"
        return QueueFacts(key=key, trouble=Trouble(reason="NotAStream", message=message))
    if len(answer) == 1:
        message = f"{key} has no group {group}: make it (XGROUP CREATE {key} {group} 0); it counts as empty"
        return _empty(key, "GroupMissing", message)
    lag, pending, added, unread, oldest_pending, held = answer[1:7]
    times = [at_s for at_s in map(_added_at_s, (unread, oldest_pending)) if at_s is not None]
    return QueueFacts(
        key=key,
        lag=int(lag),
        pending=int(pending),
        added=int(added) if int(added) >= 0 else None,
        oldest_at_s=min(times, default=None),
        held={consumer.decode("utf-8", "replace"): int(count) for consumer, count in held},
    )


@dataclass(frozen=True, slots=True)
class Worked:
    """What happened at a queue between two readings."""

    completed: int = 0
    held_s: float = 0.0
    """Time tasks were held by consumers beyond the time the agents' slots were busy, summed over tasks."""


class QueueTracker:
    """Folds the readings of one queue into arrivals, completions and time held."""

    def __init__(self) -> None:
        self._before: QueueFacts | None = None
        self._read_s = 0.0
        self.arrivals = ArrivalSeconds()

    def update(self, queue: QueueFacts, in_flight: int, *, now_s: float) -> Worked:
        """Take in a reading. ``in_flight`` are requests in the agents' slots: those that a task causes are one work
        with it, so only tasks beyond them count."""
        before, began_s = self._before, self._read_s
        self._before, self._read_s = queue, now_s
        if before is None or before.lag is None or before.pending is None:
            return Worked()
        if queue.lag is None or queue.pending is None:
            return Worked()
        held_s = max(queue.pending - in_flight, 0) * max(now_s - began_s, 0.0)
        if before.added is None or queue.added is None or queue.added < before.added:
            return Worked(held_s=held_s)  # not counted, or another stream of the same name
        arrived = queue.added - before.added
        self.arrivals.add(arrived, began_s, now_s)
        left = (before.lag + before.pending) + arrived - (queue.lag + queue.pending)
        return Worked(max(left, 0), held_s)


def _empty(key: str, reason: str, message: str) -> QueueFacts:
    return QueueFacts(key=key, lag=0, pending=0, trouble=Trouble(reason=reason, message=message))


def _added_at_s(entry_id: bytes) -> float | None:
    """Unix time in an entry's id; None for none, and for an id that is no time."""
    text = entry_id.decode().partition("-")[0]
    return int(text) / 1000 if text.isdigit() and int(text) >= OLDEST_ID_MS else None


def joined_arrivals(requests: Sequence[float] | None, tasks: Sequence[float] | None) -> Sequence[float] | None:
    """Requests and tasks of each of the last seconds, both told as ending now. Before agents reported there was no
    request; a queue that is not known adds nothing."""
    if requests is None or tasks is None:
        return requests
    length = max(len(requests), len(tasks))
    padded = [(0.0,) * (length - len(each)) + tuple(each) for each in (requests, tasks)]
    return array("d", (one + other for one, other in zip(*padded, strict=True)))
