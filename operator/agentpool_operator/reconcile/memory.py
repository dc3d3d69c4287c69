"""What survives a restart of the operator? The arrivals of a pool, and what was learned about its agents.

One hash per pool in Redis, written when something changed and once a minute at most for the arrivals. Its size and the
time of its last change are in its status, which is durable; they are here too for a status that was lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated
from zlib import crc32

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentpool_api import keys
from agentpool_operator.decide.history import History, from_bytes, to_bytes
from agentpool_operator.decide.spot import SpotState
from agentpool_operator.decide.state import PoolState as ScalingState
from agentpool_operator.observe.cluster import PoolKey
from agentpool_operator.redis_link import Command

log = structlog.get_logger(__name__)

KEPT_S = 15 * 86400
"""A history nobody has added to for so long is of no use."""

Figure = Annotated[float, Field(ge=0, allow_inf_nan=False)] | None


class Facts(BaseModel):
    """What is written of a pool, besides its arrivals. Times are Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    uid: str
    desired: Annotated[int, Field(ge=0)] | None = None
    last_scaled_at_s: Figure = None
    last_active_at_s: Figure = None
    woken_at_s: Figure = None
    service_s: Figure = None
    startup_s: Figure = None
    spot: SpotState = SpotState()


@dataclass(slots=True)
class Saved:
    """What was last written, so that the same is not written again."""

    facts: Facts | None = None
    minutes_end_s: int = 0


def read_memory(raw: Mapping[bytes, bytes], uid: str) -> tuple[Facts, History] | None:
    """What is remembered of the pool with this UID; None when there is nothing that can be used."""
    try:
        facts = Facts.model_validate_json(raw[b"facts"])
        if facts.uid != uid:
            return None
        return facts, from_bytes(raw[b"arrivals"]) if b"arrivals" in raw else History()
    except (KeyError, ValidationError, ValueError):
        if raw:
            log.warning("what was remembered of a pool cannot be read, it begins anew", uid=uid)
        return None


def with_memory(state: ScalingState, facts: Facts, history: History) -> ScalingState:
    """The state with what was remembered; what is known better by now stays."""
    return replace(
        state,
        history=state.history if len(state.history.minutes) >= len(history.minutes) > 0 else history,
        desired=facts.desired if state.desired is None else state.desired,
        last_scaled_at_s=_later(state.last_scaled_at_s, facts.last_scaled_at_s),
        last_active_at_s=facts.last_active_at_s,
        woken_at_s=facts.woken_at_s,
        drift=None,
        forecast=None,
    )


def save_commands(pool: PoolKey, facts: Facts, history: History, saved: Saved) -> list[Command]:
    """Commands that write what is new; notes in ``saved`` that it is written."""
    # Each pool at a second of its own: a thousand histories written at once would take the operator's time for seconds.
    second = crc32(pool.name.encode()) % 60
    # Not "later than": after a clock went back, an hour's arrivals would wait to be written until it has caught up.
    due = history.end_s is not None and (history.end_s + second) // 60 != (saved.minutes_end_s + second) // 60
    if not due and saved.facts is not None and _steady(facts) == _steady(saved.facts):
        return []
    key = keys.memory(*pool)
    fields: list[str | bytes] = ["facts", facts.model_dump_json()]
    saved.facts = facts
    if due and history.end_s is not None:
        fields += ["arrivals", to_bytes(history)]
        saved.minutes_end_s = history.end_s
    return [("HSET", key, *fields), ("EXPIRE", key, KEPT_S)]


def _steady(facts: Facts) -> str:
    """What is worth writing at once. The other figures move all the time and wait for the minute."""
    return json.dumps([facts.uid, facts.desired, facts.woken_at_s, facts.spot.limit, facts.spot.retry_at_s])


def _later(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)
